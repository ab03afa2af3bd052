/*
 * column.c: which values of a group are sums or maxima over some of its rows,
 * or reductions of neighbouring columns.
 */
#include "ir.h"

/* A result beside the sums has the axis whole, so its parts are no rows. */
static bool has_whole(const Module *m, const Fn *group, const TypeAxis *whole)
{
    for (uint32_t r = 0; r < group->nresults; r++) {
        Type t = value_type(group, group->result_values[r]);
        const TypeAxis *a = type_axis(m, t, whole->axis);
        if (a && a->size == whole->size) return true;
    }
    return false;
}

/* A reduction of the second part of an axis that keeps its name. */
static bool reduces_part(const Module *m, const Fn *group, Value v,
                         ColumnSum *out)
{
    const Inst *in = inst_of(group, v);
    if (in->op != OP_reduce) return false;
    const AttrItem *axes = attr_get(m, in->attr, AT_axes);
    const Inst *cut = inst_of(group, inst_arg(group, in, 0));
    if (cut->op != OP_split || axes->n != 1) return false;
    const AttrItem *to = attr_get(m, cut->attr, AT_to);
    Axis axis = attr_axis(m, cut->attr, AT_axis);
    if (to->n != 2 || to->axes[0].id != axis.id ||
        to->axes[1].id != axes->axes[0].id)
        return false;
    out->of = inst_arg(group, cut, 0);
    out->axis = axis;
    out->turns = type_local_size(m, type_axis(m, cut->type, to->axes[1]));
    return has_whole(m, group, type_axis(m, value_type(group, out->of), axis));
}

bool column_sum(const Module *m, const Fn *group, Value v, ColumnSum *out)
{
    Attr a = inst_of(group, v)->attr;
    return !fn_is(m, group, FK_product) && reduces_part(m, group, v, out) &&
           (attr_is(m, a, AT_kind, "sum") || attr_is(m, a, AT_kind, "max"));
}

bool product_tally(const Module *m, const Fn *group, Value v, ColumnSum *out)
{
    return fn_is(m, group, FK_product) && reduces_part(m, group, v, out);
}

bool column_cut(const Module *m, const Fn *group, Value v)
{
    ColumnSum sum;
    for (uint32_t i = v.id + 1; i < group->ninsts; i++) {
        const Inst *in = &group->insts[i];
        if (in->op == OP_reduce && value_eq(inst_arg(group, in, 0), v) &&
            (column_sum(m, group, (Value){i}, &sum) ||
             product_tally(m, group, (Value){i}, &sum)))
            return true;
    }
    return false;
}

/* Whether some reduction of the group is over the axis: one inside a row. */
static bool is_inner(const Module *m, const Fn *g, Axis axis)
{
    for (uint32_t i = g->nparams; i < g->ninsts; i++) {
        const Inst *in = &g->insts[i];
        const AttrItem *axes =
            in->op == OP_reduce ? attr_get(m, in->attr, AT_axes) : NULL;
        for (uint32_t k = 0; axes && k < axes->n; k++)
            if (axes->axes[k].id == axis.id) return true;
    }
    return false;
}

bool row_pick(const Module *m, const Fn *g, Value v)
{
    const Inst *in = inst_of(g, v);
    if (in->op != OP_gather || !is_inner(m, g, attr_axis(m, in->attr, AT_axis)))
        return false;
    const TypeInfo *t = type_info(m, in->type);
    for (uint32_t i = 0; i < t->naxes; i++)
        if (is_inner(m, g, t->axes[i].axis)) return false;
    return true;
}
