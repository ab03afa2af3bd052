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
    AttrItem swept, cross;
    bool crosses;
    Axis *own;
    uint32_t nown;
} Sets;

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
        if (!axes_have(b->axes, b->n, a->axes[i])) return false;
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

/* Reductions of what dots made go over the columns.  Where they go two ways
 * the columns are those of the more numerous; the others cross. */
static bool find_swept(Sets *s)
{
    uint32_t n[2] = {0, 0};
    AttrItem ways[2] = {{0}, {0}};
    for (uint32_t i = 0; i < s->fn->ninsts; i++) {
        const AttrItem *axes = reduced_axes(s->m, &s->fn->insts[i]);
        if (!axes || s->depth[i] < 2) continue;
        uint32_t w = n[0] && !same_axes(axes, &ways[0]);
        if (n[w] && !same_axes(axes, &ways[w])) return false;
        ways[w] = *axes;
        n[w]++;
    }
    bool second = n[1] > n[0];
    s->swept = ways[second];
    s->cross = ways[!second];
    s->crosses = n[1] > 0;
    return n[0] > 0 && n[0] != n[1] && (!s->crosses || s->cross.n == 1);
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
        if (!axes_have(s->own, s->nown, ti->axes[i].axis) &&
            !axes_have(s->swept.axes, s->swept.n, ti->axes[i].axis))
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
            if (!axes_have(s->swept.axes, s->swept.n, a) &&
                !axes_have(s->own, s->nown, a))
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
    if (s->crosses && same_axes(sum, &s->cross)) {
        s->role[i] = TILE_cross;
        return pair && side && has_swept(s, in->type) && has_wide(s, in->type);
    }
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

/* Devices do, which those of a kernel cannot. */
static bool meets(const Inst *in)
{
    return (op_info((Op)in->op)->flags & OPF_COMM) != 0;
}

static bool value_role(Sets *s, uint32_t i)
{
    const Inst *in = &s->fn->insts[i];
    if (meets(in)) return false;
    for (uint32_t k = 0; k < in->nargs; k++) {
        uint32_t a = inst_arg(s->fn, in, k).id;
        uint32_t t = s->turn[a] + s->sweep[a];
        if (t > s->turn[i]) s->turn[i] = t;
        if (s->role[a] == TILE_cross) return false;
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

static uint32_t count_axes(const Sets *s, Value v, const Axis *of, uint32_t n)
{
    const TypeInfo *ti = type_info(s->m, value_type(s->fn, v));
    uint32_t found = 0;
    for (uint32_t i = 0; i < ti->naxes; i++)
        found += axes_have(of, n, ti->axes[i].axis);
    return found;
}

/* A result holds one value, or one vector, for every row. */
static bool is_whole(const Sets *s, Value v)
{
    return count_axes(s, v, s->own, s->nown) == s->nown &&
           (s->role[v.id] == TILE_row || s->role[v.id] == TILE_wide);
}

/* For every column, of any row axes that do not cross. */
static bool is_crossing(const Sets *s, Value v)
{
    return count_axes(s, v, s->own, s->nown) + 1 == s->nown &&
           count_axes(s, v, s->swept.axes, s->swept.n) == s->swept.n;
}

static bool is_zero(const Sets *s, Value v)
{
    const Inst *in = inst_of(s->fn, v);
    if (in->op != OP_map || in->nargs || type_dtype(s->m, in->type) != DT_i32)
        return false;
    const ExprInfo *e = expr_info(s->m, attr_expr(s->m, in->attr));
    return e->op == SC_const && e->i == 0;
}

/* Of what crosses one result more says whose turn it is. */
static bool results_fit(const Sets *s, TileFit *out)
{
    uint32_t whole = 0, cross = 0, turns = 0;
    for (uint32_t i = 0; i < s->fn->nresults; i++) {
        Value v = s->fn->result_values[i];
        bool one = s->crosses && is_crossing(s, v);
        if (one && is_zero(s, v)) {
            out->turns_at = i;
            turns++;
        } else if (one && s->role[v.id] == TILE_cross) {
            cross++;
        } else {
            whole += is_whole(s, v);
        }
    }
    return whole + cross + turns == s->fn->nresults && turns == s->crosses;
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
    *out = (TileFit){.own = s.own,
                     .nown = s.nown,
                     .swept = s.swept.axes,
                     .nswept = s.swept.n,
                     .turns = turns,
                     .role = s.role,
                     .sweep = s.sweep,
                     .turn = s.turn,
                     .crosses = s.crosses};
    if (s.crosses) out->cross = s.cross.axes[0];
    return results_fit(&s, out);
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

/* A part of FN: what it makes of what it is given (NULL: parameters alone);
 * `cross`: which of it crosses (NULL: nothing). */
typedef struct PartSpec {
    const Fn *fn;
    const char *stem;
    const bool *given, *made, *cross;
} PartSpec;

static DType sums_dtype(const Module *m, const Fn *fn, const Inst *in)
{
    DType d = type_dtype(m, value_type(fn, inst_arg(fn, in, 0)));
    return attr_dtype(m, in->attr, AT_acc, dtype_acc(d));
}

/* A 0 for each vector that V adds to: for each element of its pairs, which have
 * been reduced to no vector yet, but for the axis that V sums. */
static void add_turns(Builder *b, const Fn *fn, uint32_t v, const bool *plain)
{
    Module *m = b->m;
    const Inst *in = &fn->insts[v];
    Value pair = inst_arg(fn, in, plain[inst_arg(fn, in, 0).id]);
    const AttrItem *sum = reduced_axes(m, in);
    Type t = type_with_dtype(m, value_type(fn, pair), DT_i32);
    for (uint32_t i = 0; i < sum->n; i++)
        t = type_without_axis(m, t, sum->axes[i]);
    const TypeInfo *ti = type_info(m, t);
    for (uint32_t i = 0; i < ti->naxes; i++)
        if (!type_axis(m, in->type, ti->axes[i].axis)) return;
    AttrList l = {.n = 0};
    attr_put_id(&l, AT_body, expr_i32(m, 0).id);
    Value zero = emit(b, OP_map, t, attr_intern(m, &l), NULL, 0);
    builder_result(b, zero, (Port){.loc = in->loc});
}

static TilePart part_new(Module *m, const PartSpec *s, Arena *a)
{
    const Fn *fn = s->fn;
    const bool *given = s->given, *made = s->made;
    size_t n = (size_t)fn->ninsts + 1;
    bool *needed = NEW_ARRAY(a, bool, n);
    Value *map = NEW_ARRAY(a, Value, n), *args = NEW_ARRAY(a, Value, n);
    Value *results = NEW_ARRAY(a, Value, n);
    for (uint32_t i = 0; i < fn->ninsts; i++)
        if (made[i]) mark(fn, i, given, needed);
    Fn *part = fn_new(m, fn_fresh_name(m, s->stem), VIEW_local);
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
        Type t = in->type;
        if (s->cross && s->cross[i])
            t = type_with_dtype(m, t, sums_dtype(m, fn, in));
        map[i] = emit(&b, (Op)in->op, t, in->attr, from, in->nargs);
    }
    uint32_t crosses = 0;
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        if (!made[i]) continue;
        builder_result(&b, map[i], (Port){.loc = fn->insts[i].loc});
        results[nmade++] = (Value){i};
        if (s->cross && s->cross[i]) crosses = i;
    }
    results[nmade] = NO_VALUE;
    if (crosses) add_turns(&b, fn, crosses, find_plain(fn, a));
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

/* Sums of parameters, what devices exchange of them, and operands of
 * contractions that are not parameters, with what they are made of. */
static bool *find_before(const Fn *fn, bool *given, Arena *a)
{
    bool *plain = find_plain(fn, a);
    bool *before = NEW_ARRAY(a, bool, (size_t)fn->ninsts + 1);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        bool sum = in->op == OP_reduce || meets(in);
        if (sum && plain[i]) given[i] = true;
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
            if (!axes_have(fit.own, fit.nown, ti->axes[i].axis))
                n *= type_local_size(m, &ti->axes[i]);
        if (!tile_lanes(n)) return false;
    }
    return true;
}

/* What the way of the rows alone makes of what crosses: maps. */
static bool find_after(const Fn *fn, const bool *rows, const bool *cross,
                       bool *after, Arena *a)
{
    bool *needed = NEW_ARRAY(a, bool, (size_t)fn->ninsts + 1);
    for (uint32_t i = 0; i < fn->ninsts; i++)
        if (rows[i]) mark(fn, i, cross, needed);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        after[i] = needed[i] && !cross[i];
        if (after[i] && fn->insts[i].op != OP_map) return false;
    }
    return true;
}

static bool is_pair_axis(const TileFit *fit, Axis x)
{
    return axes_have(fit->own, fit->nown, x) ||
           axes_have(fit->swept, fit->nswept, x);
}

/* What tensor cores take: pairs and sides of 16 bits, vectors of 16 to 128.
 * Where masks go by integers (documents), the parts of the pairs that are left
 * are small, and would mostly wait for one another. */
static const char *why_not_cores(const Module *m, const Fn *fn,
                                 const TileFit *fit)
{
    for (uint32_t i = 0; i < fn->nparams; i++) {
        const TypeInfo *ti = type_info(m, fn->params[i].type);
        bool whole = dtype_class(ti->dtype) == DC_int;
        for (uint32_t k = 0; k < ti->naxes && whole; k++)
            if (is_pair_axis(fit, ti->axes[k].axis))
                return "masks read integers, so which blocks of rows add to "
                       "which columns is not known";
    }
    for (uint32_t v = fn->nparams; v < fn->ninsts; v++) {
        const Inst *in = &fn->insts[v];
        if (in->op != OP_einsum) continue;
        for (uint32_t k = 0; k < 2; k++) {
            Type t = value_type(fn, inst_arg(fn, in, k));
            if (dtype_bytes(type_dtype(m, t)) != 2)
                return "tensor cores take operands of 16 bits";
            const TypeInfo *ti = type_info(m, t);
            int64_t n = 1;
            for (uint32_t i = 0; i < ti->naxes; i++) {
                if (!is_pair_axis(fit, ti->axes[i].axis))
                    n *= type_local_size(m, &ti->axes[i]);
            }
            bool pair = fit->role[inst_arg(fn, in, k).id] == TILE_pair;
            if (!pair && (n % 16 || n > 128))
                return "registers hold no vectors but of 16, 32, ... 128";
        }
    }
    return NULL;
}

/* The parts in one, if they can be; else says why not. */
static bool join_parts(Module *m, const PartSpec *columns, const bool *rows,
                       const AttrItem *way, TileCut *out, Arena *a)
{
    const Fn *fn = columns->fn;
    size_t n = (size_t)fn->ninsts + 1;
    bool *made = NEW_ARRAY(a, bool, n), *cross = NEW_ARRAY(a, bool, n);
    bool *after = NEW_ARRAY(a, bool, n);
    uint32_t *depth = find_depths(m, fn, a);
    uint32_t ncross = 0;
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const AttrItem *axes = reduced_axes(m, &fn->insts[i]);
        cross[i] =
            axes && depth[i] > 1 && same_axes(axes, way) && !columns->given[i];
        made[i] = columns->made[i] || cross[i];
        ncross += cross[i];
    }
    out->apart = "the columns take sums from the rows";
    if (ncross != 1 || !find_after(fn, rows, cross, after, a)) return false;
    PartSpec spec = {fn, str_of(m, fn->name), columns->given, made, cross};
    TilePart part = part_new(m, &spec, a);
    TileFit fit;
    if (!tile_fit(m, part.fn, &fit, a) || !fit.crosses) return false;
    out->apart = why_not_cores(m, part.fn, &fit);
    if (out->apart) return false;
    out->parts[0] = part;
    out->nparts = 1;
    out->crosses = true;
    out->after = after;
    return true;
}

/* Values that another part cannot be given. */
static bool any_but_results(const Fn *fn, const bool *rows)
{
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        bool result = false;
        for (uint32_t r = 0; r < fn->nresults; r++)
            result |= fn->result_values[r].id == i;
        if (rows[i] && !result) return true;
    }
    return false;
}

/* A constant is made by no part. */
static bool is_constant(const Fn *fn, Value v)
{
    const Inst *in = inst_of(fn, v);
    return in->op == OP_map && in->nargs == 0;
}

bool tile_cut(Module *m, const Fn *fn, bool one, TileCut *out, Arena *a)
{
    size_t n = (size_t)fn->ninsts + 1;
    bool *rows = NEW_ARRAY(a, bool, n), *columns = NEW_ARRAY(a, bool, n);
    bool *given = NEW_ARRAY(a, bool, n), *needed = NEW_ARRAY(a, bool, n);
    *out = (TileCut){.before = find_before(fn, given, a),
                     .after = NEW_ARRAY(a, bool, n),
                     .nparts = 1};
    uint32_t *depth = find_depths(m, fn, a);
    const AttrItem *way = find_direction(m, fn, depth);
    for (uint32_t i = 0; i < fn->nresults; i++) {
        Value v = fn->result_values[i];
        const AttrItem *axes = last_sweep(m, fn, v);
        if (is_constant(fn, v)) continue;
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
    PartSpec first = {fn, name, given, rows, NULL};
    PartSpec second = {fn, arena_printf(a, "%s.columns", name), taken, columns,
                       NULL};
    if (one && out->nparts == 2) {
        PartSpec both = second;
        both.given = given;
        if (!any_but_results(fn, rows) &&
            join_parts(m, &both, rows, way, out, a))
            return true;
    }
    out->parts[0] = part_new(m, &first, a);
    if (out->nparts == 2) out->parts[1] = part_new(m, &second, a);
    for (uint32_t i = 0; i < out->nparts; i++)
        if (!fits(m, &out->parts[i], a)) return false;
    return true;
}
