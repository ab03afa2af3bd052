/*
 * tile.c: the ops of a region on one tile.
 *
 * Types lose the axes of levels with tile 1 and shrink along the others, and
 * index() along a level counts from the tile's first row.  Where a result is a
 * sum over tiles, its part is taken before it is rounded to a narrow dtype.
 */
#include "tile.h"

Type tile_type(const Tile *t, Type x)
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
        Expr base = expr_op2(m, SC_mul, turn, expr_i32(m, l->tile));
        return expr_op2(m, SC_add, base, expr_index(m, a));
    }
    return (Expr){0};
}

static Value tile_map(const Tile *t, const Scope *s, const Inst *in,
                      const Value *args, Expr body)
{
    Module *m = t->fx->m;
    Value *all = NEW_ARRAY(t->fx->a, Value, (size_t)in->nargs + MOST_LEVELS);
    for (uint32_t i = 0; i < in->nargs; i++)
        all[i] = args[i];
    Counting c = {.t = t, .nargs = in->nargs};
    for (uint32_t i = 0; i < MOST_LEVELS; i++)
        c.operand[i] = -1;
    ExprSubst subst = {expr_args(m, s->b->fn, args, in->nargs), in->nargs,
                       index_of_tile, &c};
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

void tile_body(const Tile *t, const Scope *s, Value *results)
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
