/*
 * tile.c: a region, run tile by tile along some of its axes.
 *
 *     attention(q, k, v)           repeat batch
 *                           ->       repeat kv
 *                                      repeat seq_1 (16 rows of seq at a time)
 *                                        the ops of attention, on one tile
 *
 * The call becomes a nest of repeats.  A *level* is one axis of the nest: with
 * tile 1 the axis is gone inside; else it is split, and the inner part stays.
 * A parameter with the axis is a stacked operand, the others are invariant.  A
 * result with the axis is stacked; one that is a sum over the axis is carried,
 * in the dtype in which it is summed, and each tile adds its part.
 *
 * What the ops make of whole operands alone (a cast of the weights) is computed
 * in front of the nest and handed in like a parameter.
 *
 * Levels are chosen so that the largest intermediate value is small.  First
 * the axes over which everything is independent; then tiles along the axis that
 * makes the least be read again, of enough rows for a matmul.
 */
#include "../region.h"
#include "fuse.h"

enum { MOST_LEVELS = 6, LEAST_ROWS = 64, LANE_FACTOR = 4, ORDERED_FACTOR = 16 };

typedef struct Level {
    Axis axis;
    int64_t size, tile;
    Axis outer, rows; /* of the split; inside, the rows have the axis's name */
    const ResultUse *results;
    bool counted; /* some map asks for the index along the axis */
} Level;

typedef struct Tile {
    Fuse *fx;
    const Fn *region;
    RegionAxes axes;
    Level levels[MOST_LEVELS];
    uint32_t nlevels;
    int64_t budget; /* bytes of the largest value of a tile */
    bool parallel;  /* turns of the outermost level run in lanes */
    bool *whole;    /* by value: the same in every tile */
    bool *handed;   /* by value: a parameter, or whole and read by the tiles */
    bool *sums;     /* by result: a sum over some level */
    Type *wide;     /* by result: its type while it is summed */
} Tile;

/* ----------------------------------------------------- choosing levels -- */

static Type largest_value(const Tile *t)
{
    const Module *m = t->fx->m;
    const Fn *fn = t->region;
    bool *seen = NEW_ARRAY(t->fx->a, bool, (size_t)fn->ninsts + 1);
    for (uint32_t i = 0; i < fn->nresults; i++)
        seen[fn->result_values[i].id] = true;
    Type best = {0};
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        Type x = fn->insts[i].type;
        bool is_cut = !seen[i] && !type_info(m, x)->is_tuple;
        if (is_cut && (!best.id || type_bytes(m, x) > type_bytes(m, best)))
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

/* Turns run side by side where nothing is carried and the scratch of a lane
 * stays small; else in order, with larger tiles. */
static void choose_levels(Tile *t, Type large)
{
    add_batch_levels(t, large);
    int64_t bytes = add_row_levels(t, large);
    t->parallel =
        t->nlevels > 0 && !t->fx->gpu && bytes <= t->budget * LANE_FACTOR;
    for (uint32_t r = 0; r < t->region->nresults && t->parallel; r++)
        t->parallel = t->levels[0].results[r] == RESULT_slice;
    if (t->parallel || t->nlevels == 0) return;
    t->nlevels = 0;
    t->budget *= ORDERED_FACTOR;
    add_batch_levels(t, large);
    add_row_levels(t, large);
}

/* ----------------------------------------------------------------- sums -- */

static Type wide_type(Tile *t, Type r)
{
    DType d = type_dtype(t->fx->m, r);
    bool narrow = dtype_class(d) == DC_float && !dtype_computes(d);
    return type_with_dtype(t->fx->m, r, narrow ? DT_f32 : d);
}

static void find_sums(Tile *t)
{
    const Fn *fn = t->region;
    t->sums = NEW_ARRAY(t->fx->a, bool, (size_t)fn->nresults + 1);
    t->wide = NEW_ARRAY(t->fx->a, Type, (size_t)fn->nresults + 1);
    for (uint32_t r = 0; r < fn->nresults; r++) {
        for (uint32_t l = 0; l < t->nlevels; l++)
            t->sums[r] |= t->levels[l].results[r] == RESULT_sum;
        Type type = fn->results[r].type;
        t->wide[r] = t->sums[r] ? wide_type(t, type) : type;
    }
}

/* ------------------------------------------------ the ops on one tile -- */

/* What a level of the nest hands to the next one. */
typedef struct Scope {
    Builder *b;
    Value *values; /* of the region: those handed in, cut so far */
    Value *sums;   /* by result: what was summed so far; or NO_VALUE */
    Value *turns;  /* by level so far */
} Scope;

static Type tile_type(const Tile *t, Type x)
{
    Module *m = t->fx->m;
    for (uint32_t i = 0; i < t->nlevels; i++) {
        const Level *l = &t->levels[i];
        if (!type_axis(m, x, l->axis)) continue;
        x = l->tile > 1
                ? type_with_axis(m, x,
                                 (TypeAxis){.axis = l->axis, .size = l->tile})
                : type_without_axis(m, x, l->axis);
    }
    return x;
}

/* The axes of a sum that are left inside a tile. */
static uint32_t tile_axes(const Tile *t, const AttrItem *item, Axis *out)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < item->n; i++) {
        bool gone = false;
        for (uint32_t k = 0; k < t->nlevels; k++)
            gone |= t->levels[k].axis.id == item->axes[i].id &&
                    t->levels[k].tile == 1;
        if (!gone) out[n++] = item->axes[i];
    }
    return n;
}

/* The operands that stand for index() along cut axes. */
typedef struct Counting {
    const Tile *t;
    uint32_t nargs;
    int operand[MOST_LEVELS]; /* -1: not used yet */
} Counting;

static Expr index_of_tile(Module *m, Axis a, void *user)
{
    Counting *c = user;
    for (uint32_t i = 0; i < c->t->nlevels; i++) {
        const Level *l = &c->t->levels[i];
        if (l->axis.id != a.id) continue;
        if (c->operand[i] < 0) c->operand[i] = (int)c->nargs++;
        Expr turn = expr_arg(m, (uint32_t)c->operand[i], DT_i32);
        if (l->tile == 1) return turn;
        Expr base =
            expr_op(m, SC_mul, turn, expr_int(m, DT_i32, l->tile), (Expr){0});
        return expr_op(m, SC_add, base, expr_index(m, a), (Expr){0});
    }
    return (Expr){0};
}

static Value tile_map(const Tile *t, const Scope *s, const Inst *in,
                      const Value *args, Expr body)
{
    Module *m = t->fx->m;
    Value *all = NEW_ARRAY(t->fx->a, Value, (size_t)in->nargs + MOST_LEVELS);
    Expr *with = NEW_ARRAY(t->fx->a, Expr, (size_t)in->nargs + 1);
    for (uint32_t i = 0; i < in->nargs; i++) {
        all[i] = args[i];
        with[i] = expr_arg(m, i, type_dtype(m, value_type(s->b->fn, args[i])));
    }
    Counting c = {.t = t, .nargs = in->nargs};
    for (uint32_t i = 0; i < MOST_LEVELS; i++)
        c.operand[i] = -1;
    ExprSubst subst = {with, in->nargs, index_of_tile, &c};
    body = expr_subst(m, body, &subst);
    for (uint32_t i = 0; i < t->nlevels; i++)
        if (c.operand[i] >= 0) all[c.operand[i]] = s->turns[i];
    AttrList l = {.n = 0};
    attr_put_id(&l, AT_body, body.id);
    Type type = type_with_dtype(m, tile_type(t, in->type), expr_dtype(m, body));
    return emit(s->b, OP_map, type, attr_intern(m, &l), all, c.nargs);
}

/* A sum over axes of the attribute KEY; none may be left. */
static Value tile_sum(const Tile *t, const Scope *s, const Inst *in,
                      const Value *args, DType d)
{
    Module *m = t->fx->m;
    AttrKey key = in->op == OP_einsum ? AT_sum : AT_axes;
    const AttrItem *item = attr_get(m, in->attr, key);
    Axis *axes = NEW_ARRAY(t->fx->a, Axis, (size_t)item->n + 1);
    uint32_t n = tile_axes(t, item, axes);
    if (n == 0 && in->op == OP_reduce) return emit_cast(s->b, args[0], d);
    AttrList l = attr_list(m, in->attr);
    attr_drop(&l, key);
    attr_put_axes(&l, key, axes, n);
    Type type = type_with_dtype(m, tile_type(t, in->type), d);
    return emit(s->b, (Op)in->op, type, attr_intern(m, &l), args, in->nargs);
}

static Value tile_inst(const Tile *t, const Scope *s, const Inst *in,
                       const Value *args)
{
    Module *m = t->fx->m;
    s->b->loc = in->loc;
    s->b->phase = (Phase)in->phase;
    if (in->op == OP_map)
        return tile_map(t, s, in, args, attr_expr(m, in->attr));
    if (in->op == OP_einsum || in->op == OP_reduce)
        return tile_sum(t, s, in, args, type_dtype(m, in->type));
    return emit(s->b, (Op)in->op, tile_type(t, in->type), in->attr, args,
                in->nargs);
}

/* The value of a result before it is rounded to a narrow dtype. */
static Value wide_part(const Tile *t, const Scope *s, const Value *made,
                       uint32_t r)
{
    Module *m = t->fx->m;
    Value v = t->region->result_values[r];
    const Inst *in = inst_of(t->region, v);
    DType d = type_dtype(m, t->wide[r]);
    if (d == type_dtype(m, in->type)) return made[v.id];
    Value *args = NEW_ARRAY(t->fx->a, Value, (size_t)in->nargs + 1);
    for (uint32_t i = 0; i < in->nargs; i++)
        args[i] = made[inst_arg(t->region, in, i).id];
    bool acc = in->op == OP_einsum || in->op == OP_reduce;
    if (acc && attr_dtype(m, in->attr, AT_acc, DT_f32) == d)
        return tile_sum(t, s, in, args, d);
    if (in->op == OP_map) {
        const ExprInfo *e = expr_info(m, attr_expr(m, in->attr));
        if (e->op == SC_cast && expr_dtype(m, e->args[0]) == d)
            return tile_map(t, s, in, args, e->args[0]);
    }
    return emit_cast(s->b, made[v.id], d);
}

static void tile_body(const Tile *t, const Scope *s, Value *results)
{
    const Fn *fn = t->region;
    Value *made = NEW_ARRAY(t->fx->a, Value, (size_t)fn->ninsts + 1);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (t->handed[i]) made[i] = s->values[i];
        if (t->handed[i] || t->whole[i]) continue;
        Value *args = NEW_ARRAY(t->fx->a, Value, (size_t)in->nargs + 1);
        for (uint32_t k = 0; k < in->nargs; k++)
            args[k] = made[inst_arg(fn, in, k).id];
        made[i] = tile_inst(t, s, in, args);
        value_set_name(s->b, made[i], fn->names[i]);
    }
    for (uint32_t r = 0; r < fn->nresults; r++) {
        results[r] = made[fn->result_values[r].id];
        if (!t->sums[r]) continue;
        results[r] = wide_part(t, s, made, r);
        if (!value_eq(s->sums[r], NO_VALUE))
            results[r] = emit_binary(s->b, SC_add, s->sums[r], results[r]);
    }
}

/* ------------------------------------------------------------- the nest -- */

/* One repeat in the making: operands by sort, and the body's function. */
typedef struct Nest {
    const Tile *t;
    const Level *level;
    const Scope *outer;
    Builder body;
    VEC(Value) operands;
    Scope inner;
} Nest;

static Value add_operand(Nest *n, Value v, bool stacked)
{
    Module *m = n->t->fx->m;
    Builder *b = n->outer->b;
    Type type = value_type(b->fn, v);
    if (stacked) {
        const Level *l = n->level;
        if (l->tile > 1) {
            TypeAxis to[2] = {{.axis = l->outer, .size = l->size / l->tile},
                              {.axis = l->rows, .size = l->tile}};
            v = emit_split(b, v, l->axis, to, 2);
            v = emit_rename(b, v, &l->rows, &l->axis, 1);
            type = value_type(b->fn, v);
        }
        type = type_without_axis(m, type, l->outer);
    }
    vec_push(n->t->fx->a, &n->operands, v);
    return builder_param(&n->body,
                         (Port){.name = b->fn->names[v.id], .type = type});
}

static bool has_level_axis(const Nest *n, Value v)
{
    return type_axis(n->t->fx->m, value_type(n->outer->b->fn, v),
                     n->level->axis) != NULL;
}

static bool is_carried(const Nest *n, uint32_t r)
{
    return n->level->results[r] != RESULT_slice;
}

/* The type of result R at this level. */
static Type level_type(const Nest *n, uint32_t r)
{
    Tile cut = *n->t;
    cut.nlevels = (uint32_t)(n->level - n->t->levels);
    return tile_type(&cut, n->t->wide[r]);
}

static Value zeros(const Nest *n, Type type)
{
    Module *m = n->t->fx->m;
    DType d = type_dtype(m, type);
    Expr zero =
        dtype_class(d) == DC_float ? expr_float(m, d, 0) : expr_int(m, d, 0);
    AttrList l = {.n = 0};
    attr_put_id(&l, AT_body, zero.id);
    return emit(n->outer->b, OP_map, type, attr_intern(m, &l), NULL, 0);
}

static void add_carried(Nest *n)
{
    for (uint32_t r = 0; r < n->t->region->nresults; r++) {
        n->inner.sums[r] = NO_VALUE;
        if (!is_carried(n, r)) continue;
        Value v = n->outer->sums[r];
        if (value_eq(v, NO_VALUE)) v = zeros(n, level_type(n, r));
        Value param = add_operand(n, v, false);
        /* What every tile gives whole is summed anew in each. */
        if (n->level->results[r] == RESULT_sum) n->inner.sums[r] = param;
    }
}

/* Parameters and outer turns that have the axis (STACKED) or lack it. */
static void add_values(Nest *n, bool stacked)
{
    const Tile *t = n->t;
    uint32_t depth = (uint32_t)(n->level - t->levels);
    for (uint32_t i = 0; i < t->region->ninsts; i++)
        if (t->handed[i] && has_level_axis(n, n->outer->values[i]) == stacked)
            n->inner.values[i] = add_operand(n, n->outer->values[i], stacked);
    for (uint32_t i = 0; i < depth && !stacked; i++)
        if (t->levels[i].counted)
            n->inner.turns[i] = add_operand(n, n->outer->turns[i], false);
    for (uint32_t r = 0; r < t->region->nresults && stacked; r++) {
        Value sum = n->outer->sums[r];
        if (!is_carried(n, r) && !value_eq(sum, NO_VALUE))
            n->inner.sums[r] = add_operand(n, sum, true);
    }
    if (stacked)
        n->inner.turns[depth] = builder_param(
            &n->body, (Port){.name = module_str(t->fx->m, "turn"),
                             .type = type_scalar(t->fx->m, DT_i32)});
}

static void emit_nest(const Tile *t, uint32_t depth, const Scope *s,
                      Value *results);

/* Carried results first, then stacked ones; gives the type of the repeat. */
static Type add_results(Nest *n, const Value *values, uint32_t *order)
{
    const Tile *t = n->t;
    Module *m = t->fx->m;
    uint32_t nresults = t->region->nresults, at = 0;
    Type *fields = NEW_ARRAY(t->fx->a, Type, (size_t)nresults + 1);
    for (int stacked = 0; stacked < 2; stacked++) {
        for (uint32_t r = 0; r < nresults; r++) {
            if (is_carried(n, r) == (stacked == 1)) continue;
            Value v = values[r];
            Type type = value_type(n->body.fn, v);
            if (stacked)
                type = type_with_axis(
                    m, type,
                    (TypeAxis){.axis = n->level->outer,
                               .size = n->level->size / n->level->tile});
            builder_result(&n->body, v, (Port){.loc = n->body.loc});
            fields[at] = type;
            order[at++] = r;
        }
    }
    return type_tuple(m, fields, nresults);
}

static Value emit_repeat(Nest *n, FnRef body, Type type, uint32_t carry,
                         uint32_t invariant)
{
    Module *m = n->t->fx->m;
    AttrList l = {.n = 0};
    attr_put_id(&l, AT_fn, body.id);
    attr_put_id(&l, AT_axis, n->level->outer.id);
    attr_put_int(&l, AT_count, n->level->size / n->level->tile);
    if (carry) attr_put_int(&l, AT_carry, carry);
    if (invariant) attr_put_int(&l, AT_invariant, invariant);
    return emit(n->outer->b, OP_repeat, type, attr_intern(m, &l),
                n->operands.at, n->operands.n);
}

/* Stacked tiles as rows of the whole axis. */
static Value joined(Builder *b, const Level *l, Value v)
{
    Axis parts[2] = {l->outer, l->rows};
    v = emit_rename(b, v, &l->axis, &l->rows, 1);
    return emit_merge(b, v, parts, 2, l->axis);
}

static void emit_level(const Tile *t, uint32_t depth, const Scope *s,
                       Value *results)
{
    Module *m = t->fx->m;
    uint32_t nresults = t->region->nresults;
    Nest n = {.t = t, .level = &t->levels[depth], .outer = s};
    Fn *body =
        fn_new(m,
               fn_fresh_name(m, arena_printf(t->fx->a, "%s.tile",
                                             str_of(m, t->region->name))),
               VIEW_local);
    FnRef ref = module_add_fn(m, body);
    body->loc = t->region->loc;
    body->kind = module_str(m, depth == 0 && t->parallel ? "lane" : "turn");
    builder_init(&n.body, m, body);
    n.inner = (Scope){
        .b = &n.body,
        .values = NEW_ARRAY(t->fx->a, Value, (size_t)t->region->ninsts + 1),
        .sums = NEW_ARRAY(t->fx->a, Value, (size_t)nresults + 1),
        .turns = NEW_ARRAY(t->fx->a, Value, MOST_LEVELS)};
    add_carried(&n);
    uint32_t carry = n.operands.n;
    add_values(&n, false);
    uint32_t invariant = n.operands.n - carry;
    add_values(&n, true);
    Value *inner = NEW_ARRAY(t->fx->a, Value, (size_t)nresults + 1);
    emit_nest(t, depth + 1, &n.inner, inner);
    uint32_t *order = NEW_ARRAY(t->fx->a, uint32_t, (size_t)nresults + 1);
    Type type = add_results(&n, inner, order);
    Value repeat = emit_repeat(&n, ref, type, carry, invariant);
    for (uint32_t i = 0; i < nresults; i++) {
        Value v = emit_proj(s->b, repeat, i);
        bool cut = n.level->tile > 1 && !is_carried(&n, order[i]);
        results[order[i]] = cut ? joined(s->b, n.level, v) : v;
    }
}

static void emit_nest(const Tile *t, uint32_t depth, const Scope *s,
                      Value *results)
{
    if (depth == t->nlevels)
        tile_body(t, s, results);
    else
        emit_level(t, depth, s, results);
}

/* Values with no part in any level, with axes of their own: scalars are as
 * well computed in each tile. */
static void find_whole(Tile *t)
{
    const Module *m = t->fx->m;
    const Fn *fn = t->region;
    t->whole = NEW_ARRAY(t->fx->a, bool, (size_t)fn->ninsts + 1);
    t->handed = NEW_ARRAY(t->fx->a, bool, (size_t)fn->ninsts + 1);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        bool whole = type_info(m, in->type)->naxes > 0;
        for (uint32_t k = 0; k < t->nlevels; k++)
            whole &= !type_axis(m, in->type, t->levels[k].axis);
        for (uint32_t k = 0; k < in->nargs; k++) {
            uint32_t x = inst_arg(fn, in, k).id;
            whole &= t->whole[x];
        }
        t->whole[i] = whole;
        for (uint32_t k = 0; k < in->nargs && !whole; k++) {
            uint32_t x = inst_arg(fn, in, k).id;
            t->handed[x] |= t->whole[x] || x < fn->nparams;
        }
    }
    for (uint32_t r = 0; r < fn->nresults; r++) {
        uint32_t x = fn->result_values[r].id;
        t->handed[x] |= t->whole[x] || x < fn->nparams;
    }
}

static Value *emit_whole(const Tile *t, Builder *b, const Value *args)
{
    const Fn *fn = t->region;
    Value *made = NEW_ARRAY(t->fx->a, Value, (size_t)fn->ninsts + 1);
    memcpy(made, args, fn->nparams * sizeof *made);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (!t->whole[i]) continue;
        Value *at = NEW_ARRAY(t->fx->a, Value, (size_t)in->nargs + 1);
        for (uint32_t k = 0; k < in->nargs; k++)
            at[k] = made[inst_arg(fn, in, k).id];
        b->loc = in->loc;
        b->phase = (Phase)in->phase;
        made[i] = emit(b, (Op)in->op, in->type, in->attr, at, in->nargs);
        value_set_name(b, made[i], fn->names[i]);
    }
    return made;
}

bool fuse_tile(Fuse *fx, Builder *b, const Fn *region, const Value *args,
               Value *results)
{
    Tile t = {.fx = fx, .region = region};
    t.budget = fx->tile_bytes;
    t.axes = region_axes(fx->m, region, fx->a);
    Type large = largest_value(&t);
    if (!large.id || type_bytes(fx->m, large) <= t.budget) return false;
    choose_levels(&t, large);
    if (t.nlevels == 0) return false;
    name_axes(&t);
    find_sums(&t);
    find_whole(&t);
    Scope s = {.b = b,
               .sums = NEW_ARRAY(fx->a, Value, (size_t)region->nresults + 1)};
    s.values = emit_whole(&t, b, args);
    for (uint32_t r = 0; r < region->nresults; r++)
        s.sums[r] = NO_VALUE;
    emit_nest(&t, 0, &s, results);
    for (uint32_t r = 0; r < region->nresults; r++)
        results[r] = emit_cast(b, results[r],
                               type_dtype(fx->m, region->results[r].type));
    return true;
}
