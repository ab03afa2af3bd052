/*
 * tile.c: the roles of a region's values, and the cut by direction.
 */
#include "ir.h"

typedef struct Sets {
    const Module *m;
    const Fn *fn;
    uint32_t *depth; /* per value: reductions on the way to it, itself too */
    TileRole *role;
    bool *sweep;
    uint32_t *turn;
    AttrItem swept;
    Axis *own;
    uint32_t nown;
} Sets;

static bool in_list(const Axis *axes, uint32_t n, Axis a)
{
    for (uint32_t i = 0; i < n; i++)
        if (axes[i].id == a.id) return true;
    return false;
}

/* The axes that a reduction takes away, or NULL. */
static const AttrItem *reduced_axes(const Module *m, const Inst *in)
{
    if (in->op == OP_reduce) return attr_get(m, in->attr, AT_axes);
    if (in->op == OP_einsum) return attr_get(m, in->attr, AT_sum);
    return NULL;
}

static bool same_axes(const AttrItem *a, const AttrItem *b)
{
    if (a->n != b->n) return false;
    for (uint32_t i = 0; i < a->n; i++)
        if (!in_list(b->axes, b->n, a->axes[i])) return false;
    return true;
}

static uint32_t *find_depths(const Module *m, const Fn *fn, Arena *a)
{
    uint32_t *depth = NEW_ARRAY(a, uint32_t, (size_t)fn->ninsts + 1);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        for (uint32_t k = 0; k < in->nargs; k++) {
            uint32_t d = depth[inst_arg(fn, in, k).id];
            if (d > depth[i]) depth[i] = d;
        }
        if (reduced_axes(m, in)) depth[i]++;
    }
    return depth;
}

/* Reductions of what dots made go over the columns. */
static bool find_swept(Sets *s)
{
    bool found = false;
    for (uint32_t i = 0; i < s->fn->ninsts; i++) {
        const AttrItem *axes = reduced_axes(s->m, &s->fn->insts[i]);
        if (!axes || s->depth[i] < 2) continue;
        if (found && !same_axes(axes, &s->swept)) return false;
        s->swept = *axes;
        found = true;
    }
    return found;
}

static bool has_swept(const Sets *s, Type t)
{
    for (uint32_t i = 0; i < s->swept.n; i++)
        if (type_axis(s->m, t, s->swept.axes[i])) return true;
    return false;
}

static bool has_wide(const Sets *s, Type t)
{
    const TypeInfo *ti = type_info(s->m, t);
    for (uint32_t i = 0; i < ti->naxes; i++)
        if (!in_list(s->own, s->nown, ti->axes[i].axis) &&
            !in_list(s->swept.axes, s->swept.n, ti->axes[i].axis))
            return true;
    return false;
}

static void find_own(Sets *s)
{
    for (uint32_t i = 0; i < s->fn->ninsts; i++) {
        const Inst *in = &s->fn->insts[i];
        if (in->op != OP_einsum || s->depth[i] != 1) continue;
        const TypeInfo *ti = type_info(s->m, in->type);
        for (uint32_t k = 0; k < ti->naxes; k++) {
            Axis a = ti->axes[k].axis;
            if (!in_list(s->swept.axes, s->swept.n, a) &&
                !in_list(s->own, s->nown, a))
                s->own[s->nown++] = a;
        }
    }
}

static TileRole arg_role(const Sets *s, const Inst *in, uint32_t i)
{
    return s->role[inst_arg(s->fn, in, i).id];
}

static bool einsum_role_of(Sets *s, uint32_t i, const Inst *in)
{
    const AttrItem *sum = reduced_axes(s->m, in);
    if (s->depth[i] == 1 && !same_axes(sum, &s->swept)) {
        s->role[i] = TILE_dot;
        return !has_wide(s, in->type) && has_swept(s, in->type);
    }
    TileRole x = arg_role(s, in, 0), y = arg_role(s, in, 1);
    bool pair = x == TILE_pair || y == TILE_pair;
    bool side = x == TILE_side || y == TILE_side;
    s->sweep[i] = true;
    s->role[i] = TILE_wide;
    return pair && side && same_axes(sum, &s->swept) && has_wide(s, in->type) &&
           !has_swept(s, in->type);
}

static bool map_role(Sets *s, uint32_t i, const Inst *in)
{
    bool swept = has_swept(s, in->type), wide = has_wide(s, in->type);
    s->role[i] = swept ? TILE_pair : wide ? TILE_wide : TILE_row;
    return in->op == OP_map && !(swept && wide);
}

static bool value_role(Sets *s, uint32_t i)
{
    const Inst *in = &s->fn->insts[i];
    for (uint32_t k = 0; k < in->nargs; k++) {
        uint32_t a = inst_arg(s->fn, in, k).id;
        uint32_t t = s->turn[a] + s->sweep[a];
        if (t > s->turn[i]) s->turn[i] = t;
    }
    if (in->op == OP_reduce) {
        s->sweep[i] = true;
        s->role[i] = TILE_row;
        return same_axes(reduced_axes(s->m, in), &s->swept) &&
               !has_wide(s, in->type);
    }
    if (in->op == OP_einsum) return einsum_role_of(s, i, in);
    if (s->depth[i] > 0) return map_role(s, i, in);
    s->role[i] = TILE_side;
    return true;
}

/* A result holds one value, or one vector, for every row. */
static bool is_whole(const Sets *s, Value v)
{
    const TypeInfo *ti = type_info(s->m, value_type(s->fn, v));
    uint32_t own = 0;
    for (uint32_t i = 0; i < ti->naxes; i++)
        own += in_list(s->own, s->nown, ti->axes[i].axis);
    return own == s->nown &&
           (s->role[v.id] == TILE_row || s->role[v.id] == TILE_wide);
}

bool tile_fit(const Module *m, const Fn *fn, TileFit *out, Arena *a)
{
    size_t n = (size_t)fn->ninsts + 1;
    uint32_t most = 0;
    for (uint32_t i = 0; i < fn->ninsts; i++)
        most += type_info(m, fn->insts[i].type)->naxes;
    Sets s = {.m = m,
              .fn = fn,
              .depth = find_depths(m, fn, a),
              .role = NEW_ARRAY(a, TileRole, n),
              .sweep = NEW_ARRAY(a, bool, n),
              .turn = NEW_ARRAY(a, uint32_t, n),
              .own = NEW_ARRAY(a, Axis, most + 1)};
    if (!find_swept(&s)) return false;
    find_own(&s);
    uint32_t turns = 0;
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        if (!value_role(&s, i)) return false;
        if (s.sweep[i] && s.turn[i] + 1 > turns) turns = s.turn[i] + 1;
    }
    for (uint32_t i = 0; i < fn->nresults; i++)
        if (!is_whole(&s, fn->result_values[i])) return false;
    *out = (TileFit){.own = s.own,
                     .nown = s.nown,
                     .swept = s.swept.axes,
                     .nswept = s.swept.n,
                     .turns = turns,
                     .role = s.role,
                     .sweep = s.sweep,
                     .turn = s.turn};
    return true;
}

/* ----------------------------------------------------------------- the cut */

/* Marks what v needs, but does not go through values that are given. */
static void mark(const Fn *fn, uint32_t v, const bool *given, bool *needed)
{
    if (needed[v]) return;
    needed[v] = true;
    if (given && given[v]) return;
    const Inst *in = &fn->insts[v];
    for (uint32_t i = 0; i < in->nargs; i++)
        mark(fn, inst_arg(fn, in, i).id, given, needed);
}

static TilePart part_new(Module *m, const Fn *fn, const char *stem,
                         const bool *given, const bool *made, Arena *a)
{
    size_t n = (size_t)fn->ninsts + 1;
    bool *needed = NEW_ARRAY(a, bool, n);
    Value *map = NEW_ARRAY(a, Value, n), *args = NEW_ARRAY(a, Value, n);
    Value *results = NEW_ARRAY(a, Value, n);
    for (uint32_t i = 0; i < fn->ninsts; i++)
        if (made[i]) mark(fn, i, given, needed);
    Fn *part = fn_new(m, fn_fresh_name(m, stem), VIEW_local);
    part->kind = module_str(m, fn_kind_word(FK_tile));
    part->loc = fn->loc;
    Builder b;
    builder_init(&b, m, part);
    uint32_t nargs = 0, nmade = 0;
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        bool outside = i < fn->nparams || (given && given[i]);
        if (!needed[i] || !outside) continue;
        Port port = {.type = fn->insts[i].type, .loc = fn->insts[i].loc};
        port.name = i < fn->nparams ? fn->params[i].name : fn->names[i];
        map[i] = builder_param(&b, port);
        args[nargs++] = (Value){i};
    }
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        if (!needed[i] || (given && given[i])) continue;
        const Inst *in = &fn->insts[i];
        Value *from = NEW_ARRAY(a, Value, (size_t)in->nargs + 1);
        for (uint32_t k = 0; k < in->nargs; k++)
            from[k] = map[inst_arg(fn, in, k).id];
        b.loc = in->loc;
        b.phase = (Phase)in->phase;
        map[i] = emit(&b, (Op)in->op, in->type, in->attr, from, in->nargs);
    }
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        if (!made[i]) continue;
        builder_result(&b, map[i], (Port){.loc = fn->insts[i].loc});
        results[nmade++] = (Value){i};
    }
    return (TilePart){part, args, results};
}

/* The axes of the last reduction on the way to a value, or NULL. */
static const AttrItem *last_sweep(const Module *m, const Fn *fn, Value v)
{
    const Inst *in = inst_of(fn, v);
    if (reduced_axes(m, in)) return reduced_axes(m, in);
    const AttrItem *axes = NULL;
    for (uint32_t i = 0; i < in->nargs && !axes; i++)
        axes = last_sweep(m, fn, inst_arg(fn, in, i));
    return axes;
}

/* Values without an einsum below. */
static bool *find_plain(const Fn *fn, Arena *a)
{
    bool *plain = NEW_ARRAY(a, bool, (size_t)fn->ninsts + 1);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        plain[i] = in->op != OP_einsum;
        for (uint32_t k = 0; k < in->nargs; k++)
            plain[i] &= plain[inst_arg(fn, in, k).id];
    }
    return plain;
}

/* Sums of parameters, and operands of contractions that are not parameters,
 * with what they are made of. */
static bool *find_before(const Fn *fn, bool *given, Arena *a)
{
    bool *plain = find_plain(fn, a);
    bool *before = NEW_ARRAY(a, bool, (size_t)fn->ninsts + 1);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (in->op == OP_reduce && plain[i]) given[i] = true;
        for (uint32_t k = 0; in->op == OP_einsum && k < in->nargs; k++) {
            uint32_t x = inst_arg(fn, in, k).id;
            if (plain[x] && x >= fn->nparams) given[x] = true;
        }
    }
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++)
        if (given[i]) mark(fn, i, NULL, before);
    return before;
}

/* The way the rows go: inner sweeps say it, else the first result. */
static const AttrItem *find_direction(const Module *m, const Fn *fn,
                                      const uint32_t *depth)
{
    for (uint32_t i = 0; i < fn->ninsts; i++)
        if (fn->insts[i].op == OP_reduce && depth[i] > 1)
            return reduced_axes(m, &fn->insts[i]);
    return last_sweep(m, fn, fn->result_values[0]);
}

int64_t tile_lanes(int64_t n)
{
    enum { WIDEST = 16, THREADS = 32 };
    for (int64_t w = 1; w <= WIDEST; w *= 2)
        if (n % w == 0 && n / w <= THREADS) return w;
    return 0;
}

static bool fits(const Module *m, const TilePart *p, Arena *a)
{
    TileFit fit;
    if (!tile_fit(m, p->fn, &fit, a)) return false;
    for (uint32_t v = 0; v < p->fn->ninsts; v++) {
        if (fit.role[v] != TILE_wide) continue;
        const TypeInfo *ti = type_info(m, p->fn->insts[v].type);
        int64_t n = 1;
        for (uint32_t i = 0; i < ti->naxes; i++)
            if (!in_list(fit.own, fit.nown, ti->axes[i].axis))
                n *= type_local_size(m, &ti->axes[i]);
        if (!tile_lanes(n)) return false;
    }
    return true;
}

bool tile_cut(Module *m, const Fn *fn, TileCut *out, Arena *a)
{
    size_t n = (size_t)fn->ninsts + 1;
    bool *rows = NEW_ARRAY(a, bool, n), *columns = NEW_ARRAY(a, bool, n);
    bool *given = NEW_ARRAY(a, bool, n), *needed = NEW_ARRAY(a, bool, n);
    *out = (TileCut){.before = find_before(fn, given, a), .nparts = 1};
    uint32_t *depth = find_depths(m, fn, a);
    const AttrItem *way = find_direction(m, fn, depth);
    for (uint32_t i = 0; i < fn->nresults; i++) {
        Value v = fn->result_values[i];
        const AttrItem *axes = last_sweep(m, fn, v);
        if (!axes || !way) return false;
        bool row = same_axes(axes, way);
        (row ? rows : columns)[v.id] = true;
        if (!row) out->nparts = 2;
        if (!row) mark(fn, v.id, given, needed);
    }
    bool *taken = NEW_ARRAY(a, bool, n);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const AttrItem *axes = reduced_axes(m, &fn->insts[i]);
        bool row = axes && depth[i] > 1 && same_axes(axes, way) && needed[i];
        rows[i] |= row && !given[i];
        taken[i] = row || given[i];
    }
    const char *name = str_of(m, fn->name);
    const char *other = arena_printf(a, "%s.columns", name);
    out->parts[0] = part_new(m, fn, name, given, rows, a);
    if (out->nparts == 2)
        out->parts[1] = part_new(m, fn, other, taken, columns, a);
    for (uint32_t i = 0; i < out->nparts; i++)
        if (!fits(m, &out->parts[i], a)) return false;
    return true;
}
