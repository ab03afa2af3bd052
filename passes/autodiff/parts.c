/*
 * parts.c: cotangents of parts of a value.
 *
 * A value that is taken apart by slices or picks (the halves of a rotation,
 * three projections in one) gets a cotangent for each part.  They are kept
 * until the sweep comes to the value and then laid side by side, with zeros in
 * the gaps; padding each and adding up would read and write the whole value
 * once for every part.
 */
#include "autodiff.h"

static bool overlaps(const Part *a, const Part *b)
{
    return a->start < b->start + b->size && b->start < a->start + a->size;
}

static bool fits(const Parts *ps, Axis axis, const Part *part, bool pick)
{
    if (ps->axis.id != axis.id || ps->picks != pick) return false;
    for (uint32_t i = 0; i < ps->parts.n; i++)
        if (overlaps(&ps->parts.at[i], part)) return false;
    return true;
}

static void insert(Arena *a, Parts *ps, Part part)
{
    vec_push(a, &ps->parts, part);
    for (uint32_t i = ps->parts.n - 1; i > 0; i--) {
        Part *at = &ps->parts.at[i];
        if (at[-1].start < at[0].start) return;
        Part swap = at[0];
        at[0] = at[-1];
        at[-1] = swap;
    }
}

/* A part alone, in a value of zeros. */
static Value padded(Grad *g, Axis axis, const Part *part, int64_t whole,
                    bool pick)
{
    Value x = part->cot;
    if (pick) x = emit_stack(&g->b, &x, 1, axis);
    int64_t high = whole - part->start - part->size;
    return emit_pad(&g->b, x, axis, part->start, high, 1);
}

void grad_give_part(Grad *g, Value v, Axis axis, Part part, bool pick)
{
    Value x = inst_arg(g->fn, inst_of(g->fn, v), 0);
    if (!grad_wants(g, v, 0)) return;
    Parts **ps = &g->parts[x.id];
    if (!*ps) {
        *ps = NEW(g->ad->arena, Parts);
        (*ps)->axis = axis;
        (*ps)->picks = pick;
    }
    if (fits(*ps, axis, &part, pick)) {
        insert(g->ad->arena, *ps, part);
        return;
    }
    int64_t whole = type_size(g->m, value_type(g->fn, x), axis);
    grad_give(g, v, 0, padded(g, axis, &part, whole, pick));
}

static Value gap(Grad *g, Type t, Axis axis, int64_t size)
{
    TypeAxis ta = *type_axis(g->m, t, axis);
    ta.size = size;
    return emit_zeros(&g->b, type_with_axis(g->m, t, ta));
}

static Value joined(Grad *g, const Parts *ps, Type t)
{
    uint32_t n = 0;
    int64_t at = 0, whole = type_size(g->m, t, ps->axis);
    Value *xs = NEW_ARRAY(g->ad->arena, Value, 2 * ps->parts.n + 1);
    for (uint32_t i = 0; i < ps->parts.n; i++) {
        const Part *part = &ps->parts.at[i];
        if (part->start > at) xs[n++] = gap(g, t, ps->axis, part->start - at);
        xs[n++] =
            ps->picks ? emit_stack(&g->b, &part->cot, 1, ps->axis) : part->cot;
        at = part->start + part->size;
    }
    if (at < whole) xs[n++] = gap(g, t, ps->axis, whole - at);
    return emit_concat(&g->b, xs, n, ps->axis);
}

Value emit_parts(Grad *g, Value x)
{
    const Parts *ps = g->parts[x.id];
    Type t = cot_type(g->m, value_type(g->fn, x));
    int64_t whole = type_size(g->m, t, ps->axis);
    if (ps->parts.n == 1)
        return padded(g, ps->axis, &ps->parts.at[0], whole, ps->picks);
    if (!ps->picks || ps->parts.n < whole) return joined(g, ps, t);
    Value *xs = NEW_ARRAY(g->ad->arena, Value, ps->parts.n);
    for (uint32_t i = 0; i < ps->parts.n; i++)
        xs[i] = ps->parts.at[i].cot;
    return emit_stack(&g->b, xs, ps->parts.n, ps->axis);
}
