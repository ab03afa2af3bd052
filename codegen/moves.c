/*
 * moves.c: evaluation rules of the ops that only say where an element is.
 */
#include "lower.h"

static Value operand(const Lower *l, const Inst *in, uint32_t i)
{
    return inst_arg(l->fn, in, i);
}

static Type operand_type(const Lower *l, const Inst *in, uint32_t i)
{
    return value_type(l->fn, operand(l, in, i));
}

/* The operand's index, by name, with `at` along one axis. */
static const Ix *with_axis(Lower *l, const Inst *in, const Ix *ix, Type to,
                           Axis axis, Ix at)
{
    const TypeInfo *info = type_info(l->m, to);
    Ix *out = NEW_ARRAY(l->k->arena, Ix, info->naxes);
    for (uint32_t i = 0; i < info->naxes; i++)
        out[i] = info->axes[i].axis.id == axis.id
                     ? at
                     : ix_along(l, in->type, ix, info->axes[i].axis);
    return out;
}

Node eval_rename(Lower *l, Value v, const Inst *in, const Ix *ix, Node guard)
{
    (void)v;
    const AttrItem *from = attr_get(l->m, in->attr, AT_from);
    const AttrItem *to = attr_get(l->m, in->attr, AT_to);
    const TypeInfo *info = type_info(l->m, operand_type(l, in, 0));
    Ix *at = NEW_ARRAY(l->k->arena, Ix, info->naxes);
    for (uint32_t i = 0; i < info->naxes; i++) {
        Axis name = info->axes[i].axis;
        for (uint32_t j = 0; j < from->n; j++)
            if (from->axes[j].id == info->axes[i].axis.id) name = to->axes[j];
        at[i] = ix_along(l, in->type, ix, name);
    }
    return eval(l, operand(l, in, 0), at, guard);
}

Node eval_split(Lower *l, Value v, const Inst *in, const Ix *ix, Node guard)
{
    (void)v;
    const AttrItem *to = attr_get(l->m, in->attr, AT_to);
    Ix flat = ix_const(l->k, 0);
    for (uint32_t i = 0; i < to->n; i++) {
        flat = ix_scale(l->k, flat, axis_extent(l, in->type, to->axes[i]));
        flat = ix_add(l->k, flat, ix_along(l, in->type, ix, to->axes[i]));
    }
    const Ix *at = with_axis(l, in, ix, operand_type(l, in, 0),
                             attr_axis(l->m, in->attr, AT_axis), flat);
    return eval(l, operand(l, in, 0), at, guard);
}

Node eval_merge(Lower *l, Value v, const Inst *in, const Ix *ix, Node guard)
{
    (void)v;
    const AttrItem *from = attr_get(l->m, in->attr, AT_from);
    Type t = operand_type(l, in, 0);
    int64_t *sizes = NEW_ARRAY(l->k->arena, int64_t, from->n);
    Ix *parts = NEW_ARRAY(l->k->arena, Ix, from->n);
    for (uint32_t i = 0; i < from->n; i++)
        sizes[i] = axis_extent(l, t, from->axes[i]);
    Ix flat = ix_along(l, in->type, ix, attr_axis(l->m, in->attr, AT_axis));
    ix_cut(l->k, flat, sizes, from->n, parts);
    const TypeInfo *info = type_info(l->m, t);
    Ix *at = NEW_ARRAY(l->k->arena, Ix, info->naxes);
    for (uint32_t i = 0; i < info->naxes; i++) {
        uint32_t j = 0;
        while (j < from->n && from->axes[j].id != info->axes[i].axis.id)
            j++;
        at[i] = j < from->n ? parts[j]
                            : ix_along(l, in->type, ix, info->axes[i].axis);
    }
    return eval(l, operand(l, in, 0), at, guard);
}

Node eval_slice(Lower *l, Value v, const Inst *in, const Ix *ix, Node guard)
{
    (void)v;
    Axis axis = attr_axis(l->m, in->attr, AT_axis);
    Ix at = ix_add_scaled(
        l->k, ix_const(l->k, attr_int(l->m, in->attr, AT_start, 0)),
        ix_along(l, in->type, ix, axis), attr_int(l->m, in->attr, AT_step, 1));
    return eval(l, operand(l, in, 0),
                with_axis(l, in, ix, operand_type(l, in, 0), axis, at), guard);
}

Node eval_pick(Lower *l, Value v, const Inst *in, const Ix *ix, Node guard)
{
    (void)v;
    Ix at = ix_const(l->k, attr_int(l->m, in->attr, AT_start, 0));
    return eval(l, operand(l, in, 0),
                with_axis(l, in, ix, operand_type(l, in, 0),
                          attr_axis(l->m, in->attr, AT_axis), at),
                guard);
}

Node eval_pad(Lower *l, Value v, const Inst *in, const Ix *ix, Node guard)
{
    (void)v;
    Kir *k = l->k;
    Axis axis = attr_axis(l->m, in->attr, AT_axis);
    Type t = operand_type(l, in, 0);
    int64_t step = attr_int(l->m, in->attr, AT_step, 1);
    Ix low = ix_const(k, -attr_int(l->m, in->attr, AT_low, 0));
    Ix from = ix_add(k, ix_along(l, in->type, ix, axis), low);
    Ix at = ix_div(k, from, step);
    Node here = node_inside(k, at, axis_extent(l, t, axis));
    here = node_and(k, here, node_divides(k, from, step));
    Node x = eval(l, operand(l, in, 0), with_axis(l, in, ix, t, axis, at),
                  node_and(k, guard, here));
    return node_or_zero(k, here, x);
}

Node eval_concat(Lower *l, Value v, const Inst *in, const Ix *ix, Node guard)
{
    (void)v;
    Kir *k = l->k;
    Axis axis = attr_axis(l->m, in->attr, AT_axis);
    Ix whole = ix_along(l, in->type, ix, axis);
    int64_t first = axis_extent(l, in->type, axis);
    Node out = {0};
    for (uint32_t i = in->nargs; i-- > 0;) {
        Type t = operand_type(l, in, i);
        int64_t size = axis_extent(l, t, axis);
        first -= size;
        Ix at = ix_add(k, whole, ix_const(k, -first));
        Node here = node_inside(k, at, size);
        if (node_info(k, here)->op == KN_const) continue; /* never */
        Node x = eval(l, operand(l, in, i), with_axis(l, in, ix, t, axis, at),
                      node_and(k, guard, here));
        out = out.id && here.id
                  ? node_scalar(k, SC_where, type_dtype(l->m, in->type), here,
                                x, out)
                  : x;
    }
    return out;
}

Node eval_stack(Lower *l, Value v, const Inst *in, const Ix *ix, Node guard)
{
    (void)v;
    Kir *k = l->k;
    Ix at = ix_along(l, in->type, ix, attr_axis(l->m, in->attr, AT_axis));
    Node out = {0};
    for (uint32_t i = in->nargs; i-- > 0;) {
        Node here = node_inside(k, ix_add(k, at, ix_const(k, -(int64_t)i)), 1);
        if (node_info(k, here)->op == KN_const) continue;
        const Ix *from =
            ix_by_name(l, in->type, ix, operand_type(l, in, i), ix_const(k, 0));
        Node x = eval(l, operand(l, in, i), from, node_and(k, guard, here));
        out = out.id && here.id
                  ? node_scalar(k, SC_where, type_dtype(l->m, in->type), here,
                                x, out)
                  : x;
    }
    return out;
}

Node eval_window(Lower *l, Value v, const Inst *in, const Ix *ix, Node guard)
{
    (void)v;
    Kir *k = l->k;
    Axis axis = attr_axis(l->m, in->attr, AT_axis);
    const AttrItem *to = attr_get(l->m, in->attr, AT_to);
    const AttrItem *coef = attr_get(l->m, in->attr, AT_coef);
    Type t = operand_type(l, in, 0);
    Ix at = ix_const(k, attr_int(l->m, in->attr, AT_start, 0));
    for (uint32_t i = 0; i < to->n; i++)
        at = ix_add_scaled(k, at, ix_along(l, in->type, ix, to->axes[i]),
                           coef->ints[i]);
    Node here = node_inside(k, at, axis_extent(l, t, axis));
    Node x = eval(l, operand(l, in, 0), with_axis(l, in, ix, t, axis, at),
                  node_and(k, guard, here));
    return node_or_zero(k, here, x);
}

/* The ids' axes may have the name of the axis that goes: then it is looked
 * up for the ids alone. */
Node eval_gather(Lower *l, Value v, const Inst *in, const Ix *ix, Node guard)
{
    (void)v;
    Kir *k = l->k;
    Axis axis = attr_axis(l->m, in->attr, AT_axis);
    const Ix *from =
        ix_by_name(l, in->type, ix, operand_type(l, in, 1), ix_const(k, 0));
    Node id = eval(l, operand(l, in, 1), from, guard);
    Type t = operand_type(l, in, 0);
    Ix at = ix_node(k, id);
    Node here = node_inside(k, at, axis_extent(l, t, axis));
    Node x = eval(l, operand(l, in, 0), with_axis(l, in, ix, t, axis, at),
                  node_and(k, guard, here));
    return node_or_zero(k, here, x);
}
