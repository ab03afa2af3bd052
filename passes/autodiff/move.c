/*
 * move.c: derivatives of ops that move elements: each is the op that moves
 * them back, with zeros where nothing came from and sums where an element
 * went to several places.
 */
#include "autodiff.h"

/* The type of operand 0, as it was differentiated. */
static Type operand_type(const Grad *g, Value v)
{
    return value_type(g->fn, inst_arg(g->fn, inst_of(g->fn, v), 0));
}

static Axis axis_attr(const Grad *g, const Inst *in)
{
    return attr_axis(g->m, in->attr, AT_axis);
}

void grad_rename(Grad *g, Value v, Value cot)
{
    const Inst *in = inst_of(g->fn, v);
    const AttrItem *from = attr_get(g->m, in->attr, AT_from);
    const AttrItem *to = attr_get(g->m, in->attr, AT_to);
    grad_give(g, v, 0, emit_rename(&g->b, cot, to->axes, from->axes, from->n));
}

void grad_split(Grad *g, Value v, Value cot)
{
    const Inst *in = inst_of(g->fn, v);
    const AttrItem *to = attr_get(g->m, in->attr, AT_to);
    grad_give(g, v, 0,
              emit_merge(&g->b, cot, to->axes, to->n, axis_attr(g, in)));
}

void grad_merge(Grad *g, Value v, Value cot)
{
    const Inst *in = inst_of(g->fn, v);
    const AttrItem *from = attr_get(g->m, in->attr, AT_from);
    TypeAxis *to = NEW_ARRAY(g->ad->arena, TypeAxis, from->n + 1);
    for (uint32_t i = 0; i < from->n; i++)
        to[i] = *type_axis(g->m, operand_type(g, v), from->axes[i]);
    grad_give(g, v, 0, emit_split(&g->b, cot, axis_attr(g, in), to, from->n));
}

void grad_slice(Grad *g, Value v, Value cot)
{
    const Inst *in = inst_of(g->fn, v);
    Axis axis = axis_attr(g, in);
    int64_t start = attr_int(g->m, in->attr, AT_start, 0);
    int64_t step = attr_int(g->m, in->attr, AT_step, 1);
    int64_t n = type_size(g->m, in->type, axis);
    int64_t whole = type_size(g->m, operand_type(g, v), axis);
    int64_t high = whole - (start + (n - 1) * step + 1);
    if (step == 1)
        grad_give_part(g, v, axis, (Part){start, n, cot}, false);
    else
        grad_give(g, v, 0, emit_pad(&g->b, cot, axis, start, high, step));
}

void grad_pick(Grad *g, Value v, Value cot)
{
    const Inst *in = inst_of(g->fn, v);
    int64_t at = attr_int(g->m, in->attr, AT_start, 0);
    grad_give_part(g, v, axis_attr(g, in), (Part){at, 1, cot}, true);
}

void grad_pad(Grad *g, Value v, Value cot)
{
    const Inst *in = inst_of(g->fn, v);
    Axis axis = axis_attr(g, in);
    int64_t n = type_size(g->m, operand_type(g, v), axis);
    grad_give(g, v, 0,
              emit_slice(&g->b, cot, axis, attr_int(g->m, in->attr, AT_low, 0),
                         n, attr_int(g->m, in->attr, AT_step, 1)));
}

void grad_concat(Grad *g, Value v, Value cot)
{
    const Inst *in = inst_of(g->fn, v);
    Axis axis = axis_attr(g, in);
    int64_t start = 0;
    for (uint32_t i = 0; i < in->nargs; i++) {
        Type t = value_type(g->fn, inst_arg(g->fn, in, i));
        int64_t n = type_size(g->m, t, axis);
        if (grad_wants(g, v, i))
            grad_give(g, v, i, emit_slice(&g->b, cot, axis, start, n, 1));
        start += n;
    }
}

void grad_stack(Grad *g, Value v, Value cot)
{
    const Inst *in = inst_of(g->fn, v);
    for (uint32_t i = 0; i < in->nargs; i++)
        if (grad_wants(g, v, i))
            grad_give(g, v, i, emit_pick(&g->b, cot, axis_attr(g, in), i));
}

void grad_window(Grad *g, Value v, Value cot)
{
    const Inst *in = inst_of(g->fn, v);
    const AttrItem *to = attr_get(g->m, in->attr, AT_to);
    const AttrItem *coef = attr_get(g->m, in->attr, AT_coef);
    TypeAxis axis = *type_axis(g->m, operand_type(g, v), axis_attr(g, in));
    grad_give(g, v, 0,
              emit_fold(&g->b, cot, axis, to->axes, coef->ints, to->n,
                        attr_int(g->m, in->attr, AT_start, 0)));
}

void grad_fold(Grad *g, Value v, Value cot)
{
    const Inst *in = inst_of(g->fn, v);
    const AttrItem *to = attr_get(g->m, in->attr, AT_to);
    const AttrItem *coef = attr_get(g->m, in->attr, AT_coef);
    TypeAxis *sizes = NEW_ARRAY(g->ad->arena, TypeAxis, to->n + 1);
    for (uint32_t i = 0; i < to->n; i++)
        sizes[i] = *type_axis(g->m, operand_type(g, v), to->axes[i]);
    grad_give(g, v, 0,
              emit_window(&g->b, cot, axis_attr(g, in), sizes, coef->ints,
                          to->n, attr_int(g->m, in->attr, AT_start, 0)));
}

/* An element is in every later sum: the sums of what comes later. */
void grad_cumsum(Grad *g, Value v, Value cot)
{
    const Inst *in = inst_of(g->fn, v);
    grad_give(g, v, 0,
              emit_cumsum(&g->b, cot, axis_attr(g, in),
                          !attr_flag(g->m, in->attr, AT_reverse),
                          attr_flag(g->m, in->attr, AT_exclusive)));
}
