/*
 * cut.c: which axes of a region are cut, and how large the tiles are.
 *
 * Levels are chosen so that the largest intermediate value in memory is small.
 * First the axes over which everything is independent; then tiles along the
 * axis that makes the least be read again, of enough rows for a matmul.
 */
#include "tile.h"

enum { LEAST_ROWS = 64, LANE_FACTOR = 4, ORDERED_FACTOR = 16 };

/* What a matmul gives, or reads and is made from what one gives, lies in
 * memory: maps and sums in between are made on the way. */
static bool *stored_values(const Tile *t)
{
    const Fn *fn = t->region;
    bool *below = NEW_ARRAY(t->fx->a, bool, (size_t)fn->ninsts + 1);
    bool *stored = NEW_ARRAY(t->fx->a, bool, (size_t)fn->ninsts + 1);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        bool einsum = in->op == OP_einsum;
        below[i] = stored[i] = einsum;
        for (uint32_t k = 0; k < in->nargs; k++) {
            uint32_t x = inst_arg(fn, in, k).id;
            below[i] |= below[x];
            stored[x] |= einsum && below[x];
        }
    }
    return stored;
}

static Type largest_value(const Tile *t)
{
    const Module *m = t->fx->m;
    const Fn *fn = t->region;
    bool *stored = stored_values(t);
    for (uint32_t i = 0; i < fn->nresults; i++)
        stored[fn->result_values[i].id] = false;
    Type best = {0};
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        Type x = fn->insts[i].type;
        if (stored[i] && (!best.id || type_bytes(m, x) > type_bytes(m, best)))
            best = x;
    }
    return best;
}

/* Independent, and a batch axis of every product. */
static bool is_batch_like(const Tile *t, const RegionAxis *a)
{
    const Fn *fn = t->region;
    if (a->use != AXIS_parallel) return false;
    for (uint32_t i = 0; i < fn->ninsts; i++)
        if (fn->insts[i].op == OP_einsum &&
            einsum_role(t->fx->m, fn, &fn->insts[i], a->axis) != EINSUM_batch)
            return false;
    return true;
}

static bool is_counted(const Tile *t, Axis axis)
{
    const Module *m = t->fx->m;
    const Fn *fn = t->region;
    for (uint32_t i = 0; i < fn->ninsts; i++)
        if (fn->insts[i].op == OP_map &&
            expr_uses_index(m, attr_expr(m, fn->insts[i].attr), axis))
            return true;
    return false;
}

static void add_level(Tile *t, const RegionAxis *a, int64_t tile)
{
    Level *l = &t->levels[t->nlevels++];
    *l = (Level){.axis = a->axis,
                 .size = a->size,
                 .tile = tile,
                 .outer = a->axis,
                 .results = a->results,
                 .counted = is_counted(t, a->axis)};
}

static void name_axes(Tile *t)
{
    Module *m = t->fx->m;
    for (uint32_t i = 0; i < t->nlevels; i++) {
        Level *l = &t->levels[i];
        if (l->tile == 1) continue;
        l->outer = axis_fresh(m, axis_name(m, l->axis), l->size / l->tile);
        l->rows = axis_fresh(m, axis_name(m, l->axis), l->tile);
    }
}

static bool is_level(const Tile *t, Axis a)
{
    for (uint32_t i = 0; i < t->nlevels; i++)
        if (t->levels[i].axis.id == a.id) return true;
    return false;
}

/* The largest first, so that the turns shared by the threads are many. */
static void add_batch_levels(Tile *t, Type large)
{
    for (;;) {
        const RegionAxis *best = NULL;
        for (uint32_t i = 0; i < t->axes.n; i++) {
            const RegionAxis *a = &t->axes.at[i];
            if (a->size > 1 && type_axis(t->fx->m, large, a->axis) &&
                !is_level(t, a->axis) && is_batch_like(t, a) &&
                (!best || a->size > best->size))
                best = a;
        }
        if (!best || t->nlevels == MOST_LEVELS) return;
        add_level(t, best, 1);
    }
}

static bool can_cut(const Tile *t, Type large, const RegionAxis *a)
{
    return a->size > 1 && a->use != AXIS_internal && !is_level(t, a->axis) &&
           type_axis(t->fx->m, large, a->axis);
}

/* The largest divisor up to `want`; at least `least` where there is one. */
static int64_t divisor_near(int64_t size, int64_t want, int64_t least)
{
    int64_t best = 0;
    for (int64_t d = 1; d <= size; d++) {
        if (size % d) continue;
        if (d <= want && d >= least) best = d;
        if (d > want && !best) return d;
    }
    return best ? best : size;
}

/* Bytes that are read again, or read and written, in every tile along the
 * axis: what does not have it. */
static int64_t repeated_bytes(const Tile *t, const RegionAxis *a)
{
    const Module *m = t->fx->m;
    const Fn *fn = t->region;
    int64_t bytes = 0;
    for (uint32_t i = 0; i < fn->nparams; i++)
        if (!type_axis(m, fn->params[i].type, a->axis))
            bytes += type_bytes(m, fn->params[i].type);
    for (uint32_t r = 0; r < fn->nresults; r++)
        if (a->results[r] == RESULT_sum)
            bytes += 2 * type_bytes(m, fn->results[r].type);
    return bytes;
}

/* The uncut axes beside A in the first product that has it on one side. */
static int64_t beside(const Tile *t, const RegionAxis *a)
{
    const Module *m = t->fx->m;
    const Fn *fn = t->region;
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (in->op != OP_einsum || !type_axis(m, in->type, a->axis)) continue;
        EinsumRole role = einsum_role(m, fn, in, a->axis);
        if (role == EINSUM_batch) continue;
        const TypeInfo *ti = type_info(m, in->type);
        int64_t n = 1;
        for (uint32_t k = 0; k < ti->naxes; k++)
            if (ti->axes[k].axis.id != a->axis.id &&
                !is_level(t, ti->axes[k].axis) &&
                einsum_role(m, fn, in, ti->axes[k].axis) == role)
                n *= type_local_size(m, &ti->axes[k]);
        return n;
    }
    return 1;
}

static const RegionAxis *cheapest_cut(const Tile *t, Type large,
                                      const bool *tried)
{
    const RegionAxis *best = NULL;
    int64_t least = 0;
    for (uint32_t i = 0; i < t->axes.n; i++) {
        const RegionAxis *a = &t->axes.at[i];
        if (tried[i] || !can_cut(t, large, a)) continue;
        int64_t bytes = repeated_bytes(t, a);
        if (best && bytes >= least) continue;
        best = a;
        least = bytes;
    }
    return best;
}

/* Cuts rows until the largest value of a tile is about the budget; gives its
 * bytes. */
static int64_t add_row_levels(Tile *t, Type large)
{
    bool *tried = NEW_ARRAY(t->fx->a, bool, (size_t)t->axes.n + 1);
    int64_t bytes = type_bytes(t->fx->m, large);
    for (uint32_t i = 0; i < t->nlevels; i++)
        bytes /= t->levels[i].size;
    while (bytes > t->budget && t->nlevels < MOST_LEVELS) {
        const RegionAxis *a = cheapest_cut(t, large, tried);
        if (!a) break;
        tried[a - t->axes.at] = true;
        int64_t other = beside(t, a);
        int64_t least = (LEAST_ROWS + other - 1) / other;
        int64_t want = t->budget / (bytes / a->size + 1);
        if (want < least) want = least;
        int64_t tile = divisor_near(a->size, want, least);
        if (tile == a->size) continue;
        add_level(t, a, tile);
        bytes = bytes / a->size * tile;
    }
    return bytes;
}

/* Turns run side by side where nothing is carried, ranks do not meet and the
 * scratch of a lane stays small; else in order, with larger tiles. */
static void choose_levels(Tile *t, Type large)
{
    add_batch_levels(t, large);
    int64_t bytes = add_row_levels(t, large);
    t->parallel = t->nlevels > 0 && !t->fx->gpu && !region_meets(t->region) &&
                  bytes <= t->budget * LANE_FACTOR;
    for (uint32_t r = 0; r < t->region->nresults && t->parallel; r++)
        t->parallel = t->levels[0].results[r] == RESULT_slice;
    if (t->parallel || t->nlevels == 0) return;
    t->nlevels = 0;
    t->budget *= ORDERED_FACTOR;
    add_batch_levels(t, large);
    add_row_levels(t, large);
}

bool tile_choose(Tile *t)
{
    Module *m = t->fx->m;
    t->axes = region_axes(m, t->region, t->fx->a);
    t->budget = t->fx->tile_bytes;
    Type large = largest_value(t);
    if (!large.id || type_bytes(m, large) <= t->budget) return false;
    choose_levels(t, large);
    name_axes(t);
    return t->nlevels > 0;
}
