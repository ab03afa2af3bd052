/*
 * dense.c: collectives whose types have no splits.
 *
 * In front of `localise` an axis that is split says what a collective does; the
 * sizes in a type are those of the whole tensor.  Behind it each type is what
 * one device holds, and what comes from several devices, or goes to them, has
 * an axis of its own, the *group axis*, with one index per device of the group.
 */
#include "ir.h"

int64_t group_size(const Module *m, const MeshAxis *over, uint32_t n)
{
    int64_t size = 1;
    for (uint32_t i = 0; i < n; i++)
        if (__builtin_mul_overflow(size, m->mesh.at[over[i].id].size, &size))
            return INT64_MAX;
    return size;
}

static Axis first_of(const Module *m, const Inst *in, AttrKey k)
{
    const AttrItem *list = attr_get(m, in->attr, k);
    return list->n ? list->axes[0] : NO_AXIS;
}

bool collective_is_dense(const Module *m, const Fn *fn, const Inst *in,
                         Axis *group)
{
    *group = NO_AXIS;
    switch ((Op)in->op) {
    case OP_all_gather:
        *group = attr_axis(m, in->attr, AT_axis);
        return !type_axis(m, value_type(fn, inst_arg(fn, in, 0)), *group);
    case OP_reduce_scatter:
        *group = attr_axis(m, in->attr, AT_axis);
        return attr_get(m, in->attr, AT_kind) != NULL;
    case OP_all_to_all:
        *group = first_of(m, in, AT_from);
        return group->id != NO_AXIS.id &&
               group->id == first_of(m, in, AT_to).id;
    case OP_all_reduce:
        return attr_get(m, in->attr, AT_kind) != NULL;
    case OP_permute:
        return true;
    default:
        return false;
    }
}

const Inst *group_collective(const Fn *group)
{
    return &group->insts[group->nparams];
}

const Inst *launched_message(const Module *m, const Inst *in)
{
    if (in->op != OP_launch) return NULL;
    const Fn *g = fn_of(m, attr_fn(m, in->attr, AT_fn));
    if (!fn_is(m, g, FK_collective)) return NULL;
    const Inst *of = group_collective(g);
    return is_message(of) ? of : NULL;
}

bool pieces_lie_apart(const Module *m, Layout l, Axis group)
{
    const TypeAxis *g = type_axis(m, l.type, group);
    if (!layout_is_packed(m, l)) return false;
    return !g || g->size == 1 ||
           layout_stride(m, l, group) * g->size == type_elements(m, l.type);
}

bool collective_takes(const Module *m, const Fn *group, Layout from, Layout to)
{
    Axis g;
    const TypeInfo *t = type_info(m, from.type);
    if (!collective_is_dense(m, group, group_collective(group), &g) ||
        !pieces_lie_apart(m, from, g) || !pieces_lie_apart(m, to, g))
        return false;
    for (uint32_t i = 0; i < t->naxes; i++) {
        Axis a = t->axes[i].axis;
        if (a.id != g.id && t->axes[i].size > 1 &&
            from.stride[i] != layout_stride(m, to, a))
            return false;
    }
    return true;
}
