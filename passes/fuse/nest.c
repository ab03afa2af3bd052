/*
 * nest.c: a region, run tile by tile along some of its axes.
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
 * in the dtype in which it is summed, and each tile adds its part.  The first
 * turn that does so stands in front of the repeat: nothing is added to zeros.
 *
 * What the ops make of whole operands alone (a cast of the weights) is computed
 * in front of the nest and handed in like a parameter.
 */
#include "tile.h"

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

static Value add_turn(Nest *n)
{
    Module *m = n->t->fx->m;
    Value v = builder_param(&n->body, (Port){.name = module_str(m, "turn"),
                                             .type = type_scalar(m, DT_i32)});
    if (!n->level->first || !n->level->counted) return v;
    Value first = emit_const(&n->body, DT_i32, (double)n->level->first);
    return emit_binary(&n->body, SC_add, v, first);
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
    if (stacked) n->inner.turns[depth] = add_turn(n);
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

static void emit_turns(const Tile *t, uint32_t depth, const Scope *s,
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
    body->kind = module_str(
        m, fn_kind_word(depth == 0 && t->parallel ? FK_lane : FK_turn));
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

/* -------------------------------------------------------- the first turn -- */

/* Sums begin with what the first turn gives, not with zeros that it adds to. */
static bool begins_sums(const Tile *t, uint32_t depth, const Scope *s)
{
    const Level *l = &t->levels[depth];
    bool any = false;
    for (uint32_t r = 0; r < t->region->nresults; r++)
        any |= l->results[r] == RESULT_sum && value_eq(s->sums[r], NO_VALUE);
    return any && !t->parallel && l->size > l->tile;
}

/* V without the axis of the level, or COUNT tiles of it from turn AT on. */
static Value cut_value(const Level *l, Builder *b, Value v, int64_t at,
                       int64_t count)
{
    if (value_eq(v, NO_VALUE) ||
        !type_axis(b->m, value_type(b->fn, v), l->axis))
        return v;
    if (count == 1 && l->tile == 1) return emit_pick(b, v, l->axis, at);
    return emit_slice(b, v, l->axis, at * l->tile, count * l->tile, 1);
}

/* What the turns see: all of them from AT on, or that one. */
static Scope cut_scope(const Tile *t, uint32_t depth, const Scope *s,
                       int64_t at, int64_t count)
{
    const Level *l = &t->levels[depth];
    Arena *a = t->fx->a;
    uint32_t nvalues = t->region->ninsts, nresults = t->region->nresults;
    Scope in = {.b = s->b,
                .values = NEW_ARRAY(a, Value, (size_t)nvalues + 1),
                .sums = NEW_ARRAY(a, Value, (size_t)nresults + 1),
                .turns = NEW_ARRAY(a, Value, MOST_LEVELS)};
    for (uint32_t i = 0; i < nvalues; i++)
        if (t->handed[i])
            in.values[i] = cut_value(l, s->b, s->values[i], at, count);
    for (uint32_t r = 0; r < nresults; r++)
        in.sums[r] = cut_value(l, s->b, s->sums[r], at, count);
    for (uint32_t i = 0; i < depth; i++)
        if (t->levels[i].counted) in.turns[i] = s->turns[i];
    return in;
}

static void emit_turn(const Tile *t, uint32_t depth, Scope *in, Value *results)
{
    const Level *l = &t->levels[depth];
    if (l->counted)
        in->turns[depth] = emit_const(in->b, DT_i32, (double)l->first);
    emit_nest(t, depth + 1, in, results);
}

/* The turns after the first, which go on with its sums. */
static void emit_others(const Tile *t, uint32_t depth, const Scope *s,
                        const Value *first, Value *results)
{
    Tile others = *t;
    Level *l = &others.levels[depth];
    int64_t count = l->size / l->tile - 1;
    Scope in = cut_scope(t, depth, s, 1, count);
    for (uint32_t r = 0; r < t->region->nresults; r++)
        if (l->results[r] == RESULT_sum) in.sums[r] = first[r];
    l->size -= l->tile;
    l->first++;
    l->outer = l->axis;
    if (l->tile > 1 && count > 1)
        l->outer = axis_fresh(t->fx->m, axis_name(t->fx->m, l->axis), count);
    if (count == 1)
        emit_turn(&others, depth, &in, results);
    else
        emit_turns(&others, depth, &in, results);
}

static void emit_level(const Tile *t, uint32_t depth, const Scope *s,
                       Value *results)
{
    const Level *l = &t->levels[depth];
    if (!begins_sums(t, depth, s)) {
        emit_turns(t, depth, s, results);
        return;
    }
    uint32_t n = t->region->nresults;
    Value *first = NEW_ARRAY(t->fx->a, Value, (size_t)n + 1);
    Scope in = cut_scope(t, depth, s, 0, 1);
    emit_turn(t, depth, &in, first);
    emit_others(t, depth, s, first, results);
    for (uint32_t r = 0; r < n; r++) {
        Value parts[2] = {first[r], results[r]};
        if (l->results[r] != RESULT_slice) continue;
        if (l->tile > 1) {
            results[r] = emit_concat(s->b, parts, 2, l->axis);
        } else if (l->size == 2) {
            results[r] = emit_stack(s->b, parts, 2, l->axis);
        } else {
            parts[0] = emit_stack(s->b, parts, 1, l->axis);
            results[r] = emit_concat(s->b, parts, 2, l->axis);
        }
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
    if (!tile_choose(&t)) return false;
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
