/*
 * emit.c: a region in turns, of which each has one block of an axis.
 *
 *      region      what is made before, the ring, what is made after
 *      .turn       the block goes on to the next device; what it gave is added;
 *                  the last turn stands behind the others and sends no block
 *      .block      the region of one block: its sums and its maximum
 *
 * Sums of blocks are merged in the dtype that they are made in.  With a maximum
 * M of the blocks so far and m of this one, what is a multiple of exp(-M) is
 * made smaller:
 *
 *      M' = max(M, m)      S' = S exp(M - M') + s exp(m - M')
 *
 * A block of which a row sees nothing has m = -inf, and its sums count for
 * nothing.  What belongs to a block goes round with it and is at home again
 * when all turns are done.
 */
#include <math.h>

#include "ring.h"

/* Values that go round or are added up, in the order in which they are
 * carried: blocks, positions, the maximum, sums, what is at home later. */
typedef struct Carried {
    Value old; /* of the region; positions: NO_VALUE */
    Share share;
    Type type;
} Carried;

typedef struct Emit {
    Ring *r;
    Module *m;
    VEC(Carried) carried;
    VEC(Value) given; /* values of the region that all turns read */
    Value *map;       /* old value -> in the function being made */
    Value positions;
    FnRef block, turn;
} Emit;

/* ---------------------------------------------------------------- types -- */

/* A device's part of the axis, under the same name, so that it lies in memory
 * as the axis does. */
static TypeAxis part_axis(const Emit *e)
{
    const TypeAxis *a = &e->r->axis;
    return (TypeAxis){.axis = a->axis, .size = type_local_size(e->m, a)};
}

static Type block_type(Emit *e, Type t)
{
    if (!type_axis(e->m, t, e->r->axis.axis)) return t;
    return type_with_axis(e->m, t, part_axis(e));
}

static Type carried_type(Emit *e, Value old, Share s)
{
    const Inst *in = inst_of(e->r->fn, old);
    Type t = block_type(e, in->type);
    DType d = type_dtype(e->m, t);
    if (s == SHARE_sum) d = attr_dtype(e->m, in->attr, AT_acc, dtype_acc(d));
    if (s == SHARE_home) d = dtype_acc(d);
    return type_with_dtype(e->m, t, d);
}

/* ------------------------------------------------------------- gathering -- */

static void carry(Emit *e, Value old, Share s)
{
    Carried c = {old, s, carried_type(e, old, s)};
    vec_push(e->m->scratch, &e->carried, c);
}

static void carry_all(Emit *e, Share s)
{
    const Ring *r = e->r;
    for (uint32_t i = 0; i < r->fn->ninsts; i++)
        if (s == SHARE_home ? r->home[i] : r->share[i] == s)
            carry(e, (Value){i}, s);
}

static Type positions_type(Emit *e)
{
    TypeAxis a = e->r->axis;
    return block_type(e, type_with_axis(e->m, type_scalar(e->m, DT_i32), a));
}

static bool is_made_in_block(Share s)
{
    return s == SHARE_wide || s == SHARE_sum || s == SHARE_max;
}

static void gather_given(Emit *e)
{
    const Ring *r = e->r;
    bool *seen = NEW_ARRAY(e->m->scratch, bool, r->fn->ninsts);
    for (uint32_t i = 0; i < r->fn->ninsts; i++) {
        const Inst *in = &r->fn->insts[i];
        for (uint32_t k = 0; k < in->nargs && is_made_in_block(r->share[i]);
             k++) {
            Value v = inst_arg(r->fn, in, k);
            if (r->share[v.id] != SHARE_before || seen[v.id]) continue;
            seen[v.id] = true;
            vec_push(e->m->scratch, &e->given, v);
        }
    }
}

static void gather_carried(Emit *e)
{
    carry_all(e, SHARE_block);
    if (e->r->counts) {
        Carried c = {NO_VALUE, SHARE_block, positions_type(e)};
        vec_push(e->m->scratch, &e->carried, c);
    }
    carry_all(e, SHARE_max);
    carry_all(e, SHARE_sum);
    carry_all(e, SHARE_home);
}

/* ----------------------------------------------------------------- block -- */

static Value param_of(Builder *b, Type t)
{
    return builder_param(b, (Port){.type = t});
}

static Value block_map(Emit *e, Builder *b, const Inst *in, Value *args)
{
    Module *m = e->m;
    uint32_t n = in->nargs;
    Axis around = e->r->axis.axis;
    ExprSubst s = {.with = expr_args(m, b->fn, args, n), .n = n};
    Expr body = expr_subst(m, attr_expr(m, in->attr), &s);
    if (expr_uses_index(m, body, around)) {
        body = expr_subst_index(m, body, around, expr_arg(m, n, DT_i32));
        args[n++] = e->positions;
    }
    return emit(b, OP_map, block_type(e, in->type),
                attr_with_id(m, in->attr, AT_body, body.id), args, n);
}

static Value block_inst(Emit *e, Builder *b, Value v)
{
    const Fn *fn = e->r->fn;
    const Inst *in = inst_of(fn, v);
    Value *args = NEW_ARRAY(e->m->scratch, Value, (size_t)in->nargs + 2);
    for (uint32_t i = 0; i < in->nargs; i++)
        args[i] = e->map[inst_arg(fn, in, i).id];
    b->loc = in->loc;
    b->phase = (Phase)in->phase;
    if (in->op == OP_map) return block_map(e, b, in, args);
    Type t = e->r->share[v.id] == SHARE_sum ? carried_type(e, v, SHARE_sum)
                                            : block_type(e, in->type);
    return emit(b, (Op)in->op, t, in->attr, args, in->nargs);
}

/* A sum that is rounded is added up before it is. */
static Value unrounded(const Ring *r, Value v)
{
    const Inst *in = inst_of(r->fn, v);
    while (in->op == OP_map && in->nargs == 1) {
        const ExprInfo *x = expr_info(r->m, attr_expr(r->m, in->attr));
        if (x->op != SC_cast || expr_info(r->m, x->args[0])->op != SC_arg)
            break;
        v = inst_arg(r->fn, in, 0);
        in = inst_of(r->fn, v);
    }
    return v;
}

/* What a block gives to be carried: blocks give nothing. */
static Value block_result(Emit *e, Builder *b, const Carried *c)
{
    Value v = e->map[unrounded(e->r, c->old).id];
    if (c->share != SHARE_home || type_eq(value_type(b->fn, v), c->type))
        return v;
    return emit_cast(b, v, type_dtype(e->m, c->type));
}

static FnRef emit_block(Emit *e)
{
    const Fn *fn = e->r->fn;
    const char *name =
        arena_printf(e->m->scratch, "%s.block", str_of(e->m, fn->name));
    Fn *made = fn_new(e->m, fn_fresh_name(e->m, name), VIEW_local);
    Builder b;
    made->kind = fn->kind;
    made->loc = fn->loc;
    builder_init(&b, e->m, made);
    b.no_fold = true;
    for (uint32_t i = 0; i < e->carried.n; i++) {
        const Carried *c = &e->carried.at[i];
        if (c->share != SHARE_block) continue;
        Value v = param_of(&b, c->type);
        if (value_eq(c->old, NO_VALUE))
            e->positions = v;
        else
            e->map[c->old.id] = v;
    }
    for (uint32_t i = 0; i < e->given.n; i++)
        e->map[e->given.at[i].id] =
            param_of(&b, value_type(fn, e->given.at[i]));
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        Share s = e->r->share[i];
        if (s == SHARE_whole)
            e->map[i] = e->map[inst_arg(fn, &fn->insts[i], 0).id];
        else if (is_made_in_block(s))
            e->map[i] = block_inst(e, &b, (Value){i});
    }
    for (uint32_t i = 0; i < e->carried.n; i++)
        if (e->carried.at[i].share != SHARE_block)
            builder_result(&b, block_result(e, &b, &e->carried.at[i]),
                           (Port){.loc = fn->loc});
    return module_add_fn(e->m, made);
}

/* ------------------------------------------------------------------ turn -- */

typedef struct Turn {
    Emit *e;
    Builder b;
    Value was, is, base; /* the maximum before and of this block; of both */
} Turn;

/* X op Y, each in its own dtype. */
static Value map2(Turn *t, ScalarOp op, Value x, Value y)
{
    Value args[2] = {x, y};
    const Expr *e = expr_args(t->e->m, t->b.fn, args, 2);
    return emit_map(&t->b, expr_op2(t->e->m, op, e[0], e[1]), args, 2);
}

/* S exp(M - base) + s exp(m - base); -inf stands for nothing. */
static Value merge_scaled(Turn *t, Value sum, Value part)
{
    Module *m = t->e->m;
    DType d = type_dtype(m, value_type(t->b.fn, t->was));
    DType to = type_dtype(m, value_type(t->b.fn, sum));
    Expr low = expr_float(m, d, -INFINITY), x[2];
    Expr base = expr_op(m, SC_where, expr_op2(m, SC_eq, expr_arg(m, 4, d), low),
                        expr_float(m, d, 0), expr_arg(m, 4, d));
    for (uint32_t i = 0; i < 2; i++) {
        Expr own = expr_arg(m, 2 + i, d);
        Expr factor = expr_op1(m, SC_exp, expr_op2(m, SC_sub, own, base));
        Expr y =
            expr_op2(m, SC_mul, expr_arg(m, i, to), expr_cast(m, to, factor));
        x[i] = expr_op(m, SC_where, expr_op2(m, SC_eq, own, low),
                       expr_float(m, to, 0), y);
    }
    return emit_map(&t->b, expr_op2(m, SC_add, x[0], x[1]),
                    (Value[]){sum, part, t->was, t->is, t->base}, 5);
}

static Value merged(Turn *t, const Carried *c, Value sum, Value part)
{
    if (c->share == SHARE_max) return t->base;
    if (t->e->r->scaled[c->old.id]) return merge_scaled(t, sum, part);
    return map2(t, SC_add, sum, part);
}

/* To the next device. */
static Value go_on(Turn *t, Value v)
{
    AttrList l = {.n = 0};
    const TypeAxis *a = &t->e->r->axis;
    attr_put_mesh(&l, AT_over, a->splits, a->nsplits);
    attr_put_int(&l, AT_shift, 1);
    return emit(&t->b, OP_permute, value_type(t->b.fn, v),
                attr_intern(t->e->m, &l), &v, 1);
}

static Value call_block(Turn *t, const Value *carried, const Value *given)
{
    Emit *e = t->e;
    uint32_t n = 0;
    Value *args =
        NEW_ARRAY(e->m->scratch, Value, (size_t)e->carried.n + e->given.n + 1);
    for (uint32_t i = 0; i < e->carried.n; i++)
        if (e->carried.at[i].share == SHARE_block) args[n++] = carried[i];
    for (uint32_t i = 0; i < e->given.n; i++)
        args[n++] = given[i];
    return emit_call(&t->b, e->block, args, n);
}

static Value field_of(Turn *t, Value made, uint32_t i)
{
    bool tuple = type_info(t->e->m, value_type(t->b.fn, made))->is_tuple;
    return tuple ? emit_proj(&t->b, made, i) : made;
}

/* What is carried to the next turn; behind the last one no block goes on. */
static void next_values(Turn *t, Value *carried, Value made, bool last)
{
    Emit *e = t->e;
    uint32_t field = 0;
    for (uint32_t i = 0; i < e->carried.n; i++) {
        const Carried *c = &e->carried.at[i];
        Value v = carried[i];
        if (c->share != SHARE_block) {
            Value part = field_of(t, made, field++);
            if (c->share == SHARE_max) {
                t->was = v;
                t->is = part;
                t->base = map2(t, SC_max, v, part);
            }
            v = merged(t, c, v, part);
        }
        bool goes = c->share == SHARE_block ? !last : c->share == SHARE_home;
        carried[i] = goes ? go_on(t, v) : v;
    }
}

static FnRef emit_turn(Emit *e)
{
    const Fn *fn = e->r->fn;
    const char *name =
        arena_printf(e->m->scratch, "%s.turn", str_of(e->m, fn->name));
    Turn t = {.e = e};
    Fn *made = fn_new(e->m, fn_fresh_name(e->m, name), VIEW_local);
    made->loc = fn->loc;
    builder_init(&t.b, e->m, made);
    t.b.no_fold = true;
    t.b.phase = (Phase)inst_of(fn, fn->result_values[0])->phase;
    Value *carried = NEW_ARRAY(e->m->scratch, Value, e->carried.n);
    Value *given = NEW_ARRAY(e->m->scratch, Value, (size_t)e->given.n + 1);
    for (uint32_t i = 0; i < e->carried.n; i++)
        carried[i] = param_of(&t.b, e->carried.at[i].type);
    for (uint32_t i = 0; i < e->given.n; i++)
        given[i] = param_of(&t.b, value_type(fn, e->given.at[i]));
    param_of(&t.b, type_scalar(e->m, DT_i32));
    next_values(&t, carried, call_block(&t, carried, given), false);
    for (uint32_t i = 0; i < e->carried.n; i++)
        builder_result(&t.b, carried[i], (Port){.loc = fn->loc});
    return module_add_fn(e->m, made);
}

/* ---------------------------------------------------------------- region -- */

/* T without the sums that are pending over the splits of A. */
static Type settled(Emit *e, Type t, const TypeAxis *a)
{
    TypeInfo info = *type_info(e->m, t);
    MeshAxis *left = NEW_ARRAY(e->m->scratch, MeshAxis, info.npending + 1);
    uint32_t n = 0;
    for (uint32_t i = 0; i < info.npending; i++) {
        bool split = false;
        for (uint32_t k = 0; k < a->nsplits; k++)
            split |= info.pending[i].id == a->splits[k].id;
        if (!split) left[n++] = info.pending[i];
    }
    info.pending = left;
    info.npending = n;
    if (!n) info.pending_kind = PENDING_none;
    return type_intern(e->m, &info);
}

static Value as_part(Emit *e, Builder *b, Value v, TypeAxis to)
{
    AttrList l = {.n = 0};
    attr_put_axes(&l, AT_from, &to.axis, 1);
    attr_put_axes(&l, AT_to, &to.axis, 1);
    Type t = settled(e, value_type(b->fn, v), &to);
    return emit(b, OP_part, type_with_axis(e->m, t, to), attr_intern(e->m, &l),
                &v, 1);
}

static Value constant_of(Emit *e, Builder *b, Type t, double x)
{
    const TypeInfo info = *type_info(e->m, t);
    TypeInfo made = info;
    AttrList l = {.n = 0};
    made.npending = 0;
    made.pending_kind = PENDING_none;
    attr_put_id(&l, AT_body, expr_float(e->m, (DType)info.dtype, x).id);
    Value v = emit(b, OP_map, type_intern(e->m, &made), attr_intern(e->m, &l),
                   NULL, 0);
    if (!info.npending) return v;
    l.n = 0;
    attr_put_mesh(&l, AT_over, info.pending, info.npending);
    return emit(b, OP_pending, t, attr_intern(e->m, &l), &v, 1);
}

static Value positions_of(Emit *e, Builder *b)
{
    TypeAxis a = e->r->axis;
    Type t = type_with_axis(e->m, type_scalar(e->m, DT_i32), a);
    AttrList l = {.n = 0};
    attr_put_id(&l, AT_body, expr_index(e->m, a.axis).id);
    return emit(b, OP_map, t, attr_intern(e->m, &l), NULL, 0);
}

static Value begin_of(Emit *e, Rewrite *rw, const Carried *c)
{
    if (c->share == SHARE_max)
        return constant_of(e, &rw->b, c->type, -INFINITY);
    if (c->share != SHARE_block) return constant_of(e, &rw->b, c->type, 0);
    Value v = value_eq(c->old, NO_VALUE) ? positions_of(e, &rw->b)
                                         : rewrite_value(rw, c->old);
    return as_part(e, &rw->b, v, part_axis(e));
}

static Value emit_repeat(Emit *e, Builder *b, const Value *carried,
                         const Value *given)
{
    uint32_t n = e->carried.n, all = n + e->given.n;
    Value *args = NEW_ARRAY(e->m->scratch, Value, (size_t)all + 1);
    Type *types = NEW_ARRAY(e->m->scratch, Type, n);
    int64_t turns = (int64_t)e->r->ndevices - 1;
    for (uint32_t i = 0; i < all; i++)
        args[i] = i < n ? carried[i] : given[i - n];
    for (uint32_t i = 0; i < n; i++)
        types[i] = e->carried.at[i].type;
    AttrList l = {.n = 0};
    attr_put_id(&l, AT_fn, e->turn.id);
    attr_put_id(&l, AT_axis, axis_fresh(e->m, "ring", turns).id);
    attr_put_int(&l, AT_count, turns);
    attr_put_int(&l, AT_carry, n);
    attr_put_int(&l, AT_invariant, e->given.n);
    return emit(b, OP_repeat, type_tuple(e->m, types, n), attr_intern(e->m, &l),
                args, all);
}

/* All turns, the last behind the repeat; what is carried at the end. */
static Value *emit_ring(Emit *e, Rewrite *rw)
{
    uint32_t n = e->carried.n;
    Value *carried = NEW_ARRAY(e->m->scratch, Value, n);
    Value *given = NEW_ARRAY(e->m->scratch, Value, (size_t)e->given.n + 1);
    for (uint32_t i = 0; i < n; i++)
        carried[i] = begin_of(e, rw, &e->carried.at[i]);
    for (uint32_t i = 0; i < e->given.n; i++)
        given[i] = rewrite_value(rw, e->given.at[i]);
    Value made = emit_repeat(e, &rw->b, carried, given);
    for (uint32_t i = 0; i < n; i++)
        carried[i] = emit_proj(&rw->b, made, i);
    Turn t = {.e = e, .b = rw->b};
    next_values(&t, carried, call_block(&t, carried, given), true);
    rw->b = t.b;
    return carried;
}

static void take_result(Emit *e, Rewrite *rw, const Carried *c, Value v)
{
    DType d = type_dtype(e->m, value_type(e->r->fn, c->old));
    if (c->share == SHARE_home) v = as_part(e, &rw->b, v, e->r->axis);
    rewrite_set(rw, c->old, emit_cast(&rw->b, v, d));
}

static void copy_all(Emit *e, Rewrite *rw, Share share)
{
    const Fn *fn = e->r->fn;
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++)
        if (e->r->share[i] == share) rewrite_copy(rw, (Value){i});
}

/* What is laid already is only brought further, if at all. */
static void copy_homes(Emit *e, Rewrite *rw)
{
    const Fn *fn = e->r->fn;
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (e->r->share[i] != SHARE_home) continue;
        Value v = rewrite_value(rw, inst_arg(fn, in, 0));
        if (!type_eq(value_type(rw->b.fn, v), in->type))
            v = emit(&rw->b, OP_reshard, in->type, (Attr){0}, &v, 1);
        rewrite_set(rw, (Value){i}, v);
    }
}

Fn *ring_emit(Ring *r)
{
    Emit e = {.r = r, .m = r->m};
    Rewrite rw;
    e.map = NEW_ARRAY(r->m->scratch, Value, r->fn->ninsts);
    gather_carried(&e);
    gather_given(&e);
    e.block = emit_block(&e);
    e.turn = emit_turn(&e);
    rewrite_begin(&rw, r->m, r->fn);
    rw.b.no_fold = true;
    copy_all(&e, &rw, SHARE_before);
    rw.b.loc = r->fn->loc;
    rw.b.phase = (Phase)inst_of(r->fn, r->fn->result_values[0])->phase;
    const Value *made = emit_ring(&e, &rw);
    for (uint32_t i = 0; i < e.carried.n; i++)
        if (e.carried.at[i].share != SHARE_block)
            take_result(&e, &rw, &e.carried.at[i], made[i]);
    copy_homes(&e, &rw);
    copy_all(&e, &rw, SHARE_after);
    Fn *fn = rewrite_end(&rw);
    fn->kind = (Str){0};
    return fn;
}
