/*
 * moves.c: what one mesh axis may do in ops that give new names and places, or
 * go by computed indices.
 *
 * An axis that is sliced, padded, windowed, concatenated along or sorted is
 * whole; every other one may be split.  Of an axis that is cut into parts, or
 * made of them, the first part has the splits, which have to divide it.  Where
 * an axis is read or added to by indices, each device does its own part.
 */
#include "shard.h"

static Axis own_axis(const Ways *w)
{
    return attr_axis(w->m, w->in->attr, AT_axis);
}

static const AttrItem *list_of(const Ways *w, AttrKey key)
{
    return attr_get(w->m, w->in->attr, key);
}

/* Maxima go through moves too, where one is at hand. */
static void also_maximum(Ways *w)
{
    const Shard *s = w->s;
    uint32_t raw = s->args.at[w->it->first].raw;
    if (*where_at(s, w->mesh, s->raws.at[raw].node) != WHERE_max) return;
    Where *in = way_add(w, WHERE_max);
    for (uint32_t i = 0; i < w->it->n; i++)
        in[i] = WHERE_max;
}

/* ---------------------------------------------------------------- names -- */

/* From axis A of the operand to axis B of the result. */
static void along(Ways *w, Axis a, Axis b)
{
    if (!way_splits(w, way_type(w, 0), a) || !way_splits(w, way_result(w), b))
        return;
    way_add(w, where_axis(b))[0] = where_axis(a);
}

void shard_rename(Ways *w)
{
    const AttrItem *from = list_of(w, AT_from), *to = list_of(w, AT_to);
    ways_along_all_but(w, to->axes, to->n);
    for (uint32_t i = 0; i < from->n; i++)
        along(w, from->axes[i], to->axes[i]);
    way_linear(w);
    also_maximum(w);
}

/* In blocks: parts of an axis that is spread head and tail are not one part of
 * its first factor. */
static void along_blocks(Ways *w, Axis a, Axis b)
{
    bool even =
        way_divides(w, way_type(w, 0), a) && way_divides(w, way_result(w), b);
    if (even && !way_zig(w, a) && !way_zig(w, b)) along(w, a, b);
}

void shard_split(Ways *w)
{
    const AttrItem *to = list_of(w, AT_to);
    ways_along_all_but(w, to->axes, to->n);
    along_blocks(w, own_axis(w), to->axes[0]);
    way_linear(w);
    also_maximum(w);
}

void shard_merge(Ways *w)
{
    const AttrItem *from = list_of(w, AT_from);
    Axis axis = own_axis(w);
    ways_along_all_but(w, &axis, 1);
    along_blocks(w, from->axes[0], axis);
    way_linear(w);
    also_maximum(w);
}

/* --------------------------------------------------------------- places -- */

/* Works along one axis of the result. */
static void all_but_one(Ways *w)
{
    Axis axis = own_axis(w);
    ways_along_all_but(w, &axis, 1);
    way_linear(w);
}

void shard_slice(Ways *w)
{
    all_but_one(w);
    also_maximum(w);
}

void shard_pick(Ways *w)
{
    all_but_one(w);
    also_maximum(w);
}

void shard_pad(Ways *w)
{
    all_but_one(w);
}

void shard_concat(Ways *w)
{
    all_but_one(w);
    also_maximum(w);
}

void shard_stack(Ways *w)
{
    all_but_one(w);
    also_maximum(w);
}

void shard_window(Ways *w)
{
    const AttrItem *to = list_of(w, AT_to);
    ways_along_all_but(w, to->axes, to->n);
    way_linear(w);
}

void shard_fold(Ways *w)
{
    all_but_one(w);
}

/* -------------------------------------------------------------- indices -- */

/* Along an axis of the result that the operands from FIRST on may have. */
static void from_operands(Ways *w, Axis a, uint32_t first)
{
    if (!way_splits(w, way_result(w), a)) return;
    Where *in = way_add(w, where_axis(a));
    for (uint32_t i = first; i < w->it->n; i++)
        if (type_axis(w->m, way_type(w, i), a)) in[i] = where_axis(a);
}

/* The axis that is read may come back from the ids: then it is theirs. */
void shard_gather(Ways *w)
{
    Axis axis = own_axis(w);
    const TypeInfo *t = type_info(w->m, way_result(w));
    for (uint32_t i = 0; i < t->naxes; i++) {
        Axis a = t->axes[i].axis;
        from_operands(w, a, a.id == axis.id ? 1 : 0);
    }
    if (way_splits(w, way_type(w, 0), axis))
        way_add(w, WHERE_sum)[0] = where_axis(axis);
    way_add(w, WHERE_sum)[0] = WHERE_sum;
}

/* An axis that the result lacks is summed; its own one is not in operands. */
void shard_scatter(Ways *w)
{
    Type all = type_union(w->m, way_type(w, 0), way_type(w, 1));
    const TypeInfo *t = type_info(w->m, all);
    ways_along_all_but(w, NULL, 0);
    for (uint32_t i = 0; i < t->naxes; i++) {
        Axis a = t->axes[i].axis;
        if (type_axis(w->m, way_result(w), a) || !way_splits(w, all, a))
            continue;
        Where *in = way_add(w, WHERE_sum);
        for (uint32_t k = 0; k < 2; k++)
            if (type_axis(w->m, way_type(w, k), a)) in[k] = where_axis(a);
    }
}

void shard_put(Ways *w)
{
    Axis axis = own_axis(w);
    ways_along_all_but(w, &axis, 1);
}

void shard_top(Ways *w)
{
    const AttrItem *to = list_of(w, AT_to);
    ways_along_all_but(w, to->axes, to->n);
}
