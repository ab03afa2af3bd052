/*
 * merge.c: maps into the maps that read them, sums of sums into one.
 *
 * A map is taken into a map of its phase when nothing is computed twice for
 * it: it has no other use and the same elements; or it costs nothing (a
 * broadcast, a mask of indices); or it is cheap, all its users are such maps,
 * and what it reads is no larger than what it makes, so that it goes.
 * A pinned map stays: its dtype is the user's, and a place of its own.  So does
 * a sum that a matmul can make (added.h).  A sum that one map rounds takes the
 * rounding into itself.
 */
#include "../added.h"
#include "../cast.h"
#include "canonicalise.h"

enum { MOST_NODES = 256, MOST_OPERANDS = 40 };

typedef struct Merge {
    Module *m;
    Rewrite rw;
    Uses uses; /* of the old function */
    bool changed;
} Merge;

/* ---------------------------------------------------------------- bodies -- */

bool canon_is_cheap(Module *m, Expr body)
{
    enum { MOST = 12 };
    uint32_t n;
    const Expr *walk = expr_walk(m, body, m->scratch, &n);
    if (n > MOST) return false;
    for (uint32_t i = 0; i < n; i++)
        if (!scalar_is_cheap((ScalarOp)expr_info(m, walk[i])->op)) return false;
    return true;
}

/* ----------------------------------------------------------------- users -- */

static const Inst *user(const Merge *g, Value old, uint32_t i)
{
    return inst_of(g->rw.old, g->uses.at[g->uses.first[old.id] + i]);
}

static uint32_t nusers(const Merge *g, Value old)
{
    return g->uses.first[old.id + 1] - g->uses.first[old.id];
}

static bool used_once(const Merge *g, Value old)
{
    return nusers(g, old) == 1 && !g->uses.nresult[old.id];
}

static bool used_by_maps(const Merge *g, Value old)
{
    uint8_t phase = inst_of(g->rw.old, old)->phase;
    for (uint32_t i = 0; i < nusers(g, old); i++) {
        const Inst *u = user(g, old, i);
        if (u->op != OP_map || u->phase != phase) return false;
    }
    return !g->uses.nresult[old.id];
}

/* At most one operand has axes, and no element of it is wider than the
 * result's. */
static bool reads_little(const Merge *g, const Inst *map)
{
    const Fn *fn = g->rw.b.fn;
    uint32_t tensors = 0;
    for (uint32_t i = 0; i < map->nargs; i++) {
        Type t = value_type(fn, inst_arg(fn, map, i));
        if (!type_info(g->m, t)->naxes) continue;
        tensors++;
        if (dtype_bytes(type_dtype(g->m, t)) >
            dtype_bytes(type_dtype(g->m, map->type)))
            return false;
    }
    return tensors <= 1;
}

/* ------------------------------------------------------------------ maps -- */

/* A matmul can make the old value, of its product. */
static bool is_of_matmul(const Merge *g, Value old)
{
    uint32_t einsum;
    const Inst *in = inst_of(g->rw.old, old);
    return map_adds_einsum(g->m, g->rw.old, in, &g->uses, &einsum) ||
           map_scales_einsum(g->m, g->rw.old, in, &g->uses, &einsum);
}

/* A matmul scales by one number, so what makes it stays. */
static bool is_scale(const Merge *g, Value old, const Inst *into)
{
    uint32_t einsum;
    return map_scales_einsum(g->m, g->rw.old, into, &g->uses, &einsum) &&
           value_eq(inst_arg(g->rw.old, into, 1 - einsum), old);
}

/* Old operand `old`, which has become MAP, goes into the map INTO. */
static bool is_taken(const Merge *g, Value old, const Inst *map,
                     const Inst *into)
{
    Module *m = g->m;
    if (map->op != OP_map || map->phase != into->phase ||
        attr_flag(m, map->attr, AT_pinned) || is_of_matmul(g, old) ||
        is_scale(g, old, into) || map_scales_operand(m, g->rw.old, into))
        return false;
    Expr body = attr_expr(m, map->attr);
    if (expr_info(m, body)->op == SC_arg) return true;
    bool cheap = canon_is_cheap(m, body);
    if (cheap && map->nargs == 0) return true;
    bool same =
        type_info(m, map->type)->naxes == type_info(m, into->type)->naxes;
    if (same && used_once(g, old)) return true;
    return cheap && reads_little(g, map) && used_by_maps(g, old);
}

/* The operands of the map under construction and what stands in its body for
 * each operand of the old one. */
typedef struct Parts {
    VEC(Value) args;
    Expr *with;
    uint32_t nodes;
} Parts;

static void keep_operand(Merge *g, Parts *p, uint32_t i, Value v)
{
    DType d = type_dtype(g->m, value_type(g->rw.b.fn, v));
    p->with[i] = expr_arg(g->m, p->args.n, d);
    vec_push(g->m->scratch, &p->args, v);
}

static void take_operand(Merge *g, Parts *p, uint32_t i, const Inst *map)
{
    Module *m = g->m;
    const Fn *fn = g->rw.b.fn;
    Expr *shifted = NEW_ARRAY(m->scratch, Expr, map->nargs);
    for (uint32_t k = 0; k < map->nargs; k++) {
        Value v = inst_arg(fn, map, k);
        shifted[k] = expr_arg(m, p->args.n, type_dtype(m, value_type(fn, v)));
        vec_push(m->scratch, &p->args, v);
    }
    p->with[i] = expr_subst(m, attr_expr(m, map->attr),
                            &(ExprSubst){.with = shifted, .n = map->nargs});
}

static bool has_room(const Merge *g, const Parts *p, const Inst *map,
                     uint32_t left)
{
    uint32_t nodes = expr_nodes(g->m, attr_expr(g->m, map->attr));
    return p->nodes + nodes <= MOST_NODES &&
           p->args.n + map->nargs + left <= MOST_OPERANDS;
}

static void merge_map(Merge *g, Value old)
{
    Module *m = g->m;
    const Inst *in = inst_of(g->rw.old, old);
    Expr body = attr_expr(m, in->attr);
    Parts p = {.with = NEW_ARRAY(m->scratch, Expr, in->nargs),
               .nodes = expr_nodes(m, body)};
    bool taken = false;
    for (uint32_t i = 0; i < in->nargs; i++) {
        Value was = inst_arg(g->rw.old, in, i);
        Value v = rewrite_value(&g->rw, was);
        const Inst map = *inst_of(g->rw.b.fn, v);
        if (is_taken(g, was, &map, in) &&
            has_room(g, &p, &map, in->nargs - i - 1)) {
            p.nodes += expr_nodes(m, attr_expr(m, map.attr));
            take_operand(g, &p, i, &map);
            taken = true;
        } else {
            keep_operand(g, &p, i, v);
        }
    }
    if (!taken) {
        rewrite_copy(&g->rw, old);
        return;
    }
    AttrList l = attr_list(m, in->attr);
    body = expr_subst(m, body, &(ExprSubst){.with = p.with, .n = in->nargs});
    attr_put_id(&l, AT_body, body.id);
    g->rw.b.loc = in->loc;
    g->rw.b.phase = (Phase)in->phase;
    Value v = emit(&g->rw.b, OP_map, in->type, attr_intern(m, &l), p.args.at,
                   p.args.n);
    value_set_name(&g->rw.b, v, g->rw.old->names[old.id]);
    rewrite_set(&g->rw, old, v);
    g->changed = true;
}

/* ----------------------------------------------------------------- moves -- */

/* A move between two maps is made on the operands of the first, so that the
 * maps meet. */
static bool merge_move(Merge *g, Value old)
{
    const Fn *fn = g->rw.old;
    const Inst *in = inst_of(fn, old);
    Value from = inst_arg(fn, in, 0);
    const Inst *map = inst_of(fn, from);
    if (map->op != OP_map || map->phase != in->phase ||
        attr_flag(g->m, map->attr, AT_pinned) || !used_once(g, from) ||
        !used_by_maps(g, old) || !nusers(g, old) || is_of_matmul(g, from))
        return false;
    Inst made = *inst_of(g->rw.b.fn, rewrite_value(&g->rw, from));
    if (made.op != OP_map || !type_eq(made.type, map->type)) return false;
    Value *args = NEW_ARRAY(g->m->scratch, Value, made.nargs);
    for (uint32_t i = 0; i < made.nargs; i++)
        args[i] = inst_arg(g->rw.b.fn, &made, i);
    g->rw.b.loc = map->loc;
    g->rw.b.phase = (Phase)map->phase;
    Value v = push_move(&g->rw.b, in, &made, args);
    if (value_eq(v, NO_VALUE)) return false;
    value_set_name(&g->rw.b, v, fn->names[old.id]);
    rewrite_set(&g->rw, old, v);
    return g->changed = true;
}

/* ------------------------------------------------------------------ sums -- */

static DType acc_of(const Merge *g, const Fn *fn, const Inst *in)
{
    DType d = type_dtype(g->m, value_type(fn, inst_arg(fn, in, 0)));
    return attr_dtype(g->m, in->attr, AT_acc, dtype_acc(d));
}

/* A reduction of the whole result of another of its kind, which was not
 * rounded in between. */
static bool merge_reduce(Merge *g, Value old)
{
    Module *m = g->m;
    const Fn *fn = g->rw.old;
    const Inst *in = inst_of(fn, old);
    Value from = inst_arg(fn, in, 0);
    const Inst *inner = inst_of(fn, from);
    if (inner->op != OP_reduce || inner->phase != in->phase ||
        !used_once(g, from) ||
        attr_str(m, inner->attr, AT_kind).id !=
            attr_str(m, in->attr, AT_kind).id)
        return false;
    DType acc = acc_of(g, fn, in);
    if (acc_of(g, fn, inner) != acc || type_dtype(m, inner->type) != acc)
        return false;
    const AttrItem *a = attr_get(m, inner->attr, AT_axes);
    const AttrItem *b = attr_get(m, in->attr, AT_axes);
    Axis *axes = NEW_ARRAY(m->scratch, Axis, (size_t)a->n + b->n);
    for (uint32_t i = 0; i < a->n + b->n; i++)
        axes[i] = i < a->n ? a->axes[i] : b->axes[i - a->n];
    AttrList l = attr_list(m, inner->attr);
    attr_put_axes(&l, AT_axes, axes, a->n + b->n);
    Value x = rewrite_value(&g->rw, inst_arg(fn, inner, 0));
    g->rw.b.loc = in->loc;
    g->rw.b.phase = (Phase)in->phase;
    Value v = emit(&g->rw.b, OP_reduce, in->type, attr_intern(m, &l), &x, 1);
    value_set_name(&g->rw.b, v, fn->names[old.id]);
    rewrite_set(&g->rw, old, v);
    return g->changed = true;
}

/* ------------------------------------------------------------- roundings -- */

/* Whether MAP rounds its one operand and does nothing else. */
static bool is_rounding(const Merge *g, const Inst *map)
{
    const Module *m = g->m;
    return is_cast(m, g->rw.old, map) && !attr_flag(m, map->attr, AT_pinned) &&
           dtype_class(type_dtype(m, map->type)) == DC_float;
}

/* A contraction rounds to any narrower dtype, a reduction to its operand's. */
static bool may_round_to(const Merge *g, const Fn *fn, const Inst *sum, DType d)
{
    DType from = type_dtype(g->m, value_type(fn, inst_arg(fn, sum, 0)));
    if (sum->op == OP_reduce) return d == from;
    return dtype_bytes(d) < dtype_bytes(type_dtype(g->m, sum->type));
}

/* A sum that is rounded, and otherwise not used, rounds itself. */
static bool merge_rounding(Merge *g, Value old)
{
    Module *m = g->m;
    const Fn *fn = g->rw.old;
    const Inst *in = inst_of(fn, old);
    if (!is_rounding(g, in)) return false;
    Value from = inst_arg(fn, in, 0);
    const Inst *sum = inst_of(fn, from);
    if ((sum->op != OP_einsum && sum->op != OP_reduce) ||
        sum->phase != in->phase || !used_once(g, from) ||
        attr_flag(m, sum->attr, AT_pinned) ||
        type_dtype(m, sum->type) != acc_of(g, fn, sum) ||
        !may_round_to(g, fn, sum, type_dtype(m, in->type)))
        return false;
    Value args[2];
    for (uint32_t i = 0; i < sum->nargs; i++)
        args[i] = rewrite_value(&g->rw, inst_arg(fn, sum, i));
    g->rw.b.loc = sum->loc;
    g->rw.b.phase = (Phase)in->phase;
    Value v =
        emit(&g->rw.b, (Op)sum->op, in->type, sum->attr, args, sum->nargs);
    value_set_name(&g->rw.b, v, fn->names[old.id]);
    rewrite_set(&g->rw, old, v);
    return g->changed = true;
}

/* ------------------------------------------------------------- functions -- */

static void merge_inst(Merge *g, Value old)
{
    uint8_t op = inst_of(g->rw.old, old)->op;
    bool move = op_has((Op)op, OPF_SAME);
    if (op == OP_map && merge_rounding(g, old)) return;
    if (op == OP_map)
        merge_map(g, old);
    else if (!(move && merge_move(g, old)) &&
             !(op == OP_reduce && merge_reduce(g, old)))
        rewrite_copy(&g->rw, old);
}

Fn *canon_merge(Module *m, const Fn *fn, bool *changed)
{
    Merge g = {.m = m, .uses = fn_uses(fn, m->scratch)};
    rewrite_begin(&g.rw, m, fn);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++)
        merge_inst(&g, (Value){i});
    *changed = *changed || g.changed;
    return rewrite_end(&g.rw);
}
