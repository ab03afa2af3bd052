/*
 * move.c: a rename, split or merge of a map's result, made on the map's
 * operands instead.
 *
 * What the map says of an axis by index(axis) is said by the new axes:
 *
 *     rename a to b           index(a)  is  index(b)
 *     split  a to (b, c)      index(a)  is  index(b) * size(c) + index(c)
 *     merge  (b, c) to a      index(b)  is  index(a) / size(c),
 *                             index(c)  is  index(a) mod size(c)
 *
 * An operand that lacks the axis is left as it is; one that has a part of the
 * axes to be merged has no merged form, and then nothing is done.
 */
#include "canonicalise.h"

typedef struct Move {
    Module *m;
    const Inst *in;
    Type before, after; /* of the map's result */
    const AttrItem *from, *to;
    Axis axis; /* split and merge */
} Move;

/* --------------------------------------------------------------- indices -- */

static Expr renamed_index(Module *m, Axis a, void *user)
{
    const Move *v = user;
    for (uint32_t i = 0; i < v->from->n; i++)
        if (v->from->axes[i].id == a.id) return expr_index(m, v->to->axes[i]);
    return (Expr){0};
}

static Expr split_index(Module *m, Axis a, void *user)
{
    const Move *v = user;
    if (a.id != v->axis.id) return (Expr){0};
    Expr e = expr_index(m, v->to->axes[0]);
    for (uint32_t i = 1; i < v->to->n; i++) {
        int64_t size = type_size(m, v->after, v->to->axes[i]);
        e = expr_op2(m, SC_mul, e, expr_i32(m, size));
        e = expr_op2(m, SC_add, e, expr_index(m, v->to->axes[i]));
    }
    return e;
}

/* The index of a part: the merged index without the parts inside it, modulo
 * its size; the first part needs no modulo. */
static Expr merged_index(Module *m, Axis a, void *user)
{
    const Move *v = user;
    int64_t inside = 1;
    for (uint32_t i = v->from->n; i-- > 0;) {
        int64_t size = type_size(m, v->before, v->from->axes[i]);
        if (v->from->axes[i].id == a.id) {
            Expr e = expr_op2(m, SC_idiv, expr_index(m, v->axis),
                              expr_i32(m, inside));
            return i ? expr_op2(m, SC_imod, e, expr_i32(m, size)) : e;
        }
        inside *= size;
    }
    return (Expr){0};
}

/* -------------------------------------------------------------- operands -- */

/* How many of the listed axes a type has. */
static uint32_t naxes_of(const Move *v, Type t, const AttrItem *axes)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < axes->n; i++)
        n += type_axis(v->m, t, axes->axes[i]) != NULL;
    return n;
}

static Value move_renamed(const Move *v, Builder *b, Value x)
{
    Axis *from = NEW_ARRAY(v->m->scratch, Axis, v->from->n);
    Axis *to = NEW_ARRAY(v->m->scratch, Axis, v->from->n);
    uint32_t n = 0;
    for (uint32_t i = 0; i < v->from->n; i++) {
        if (!type_axis(v->m, value_type(b->fn, x), v->from->axes[i])) continue;
        from[n] = v->from->axes[i];
        to[n++] = v->to->axes[i];
    }
    return n ? emit_rename(b, x, from, to, n) : x;
}

static Value move_split(const Move *v, Builder *b, Value x)
{
    if (!type_axis(v->m, value_type(b->fn, x), v->axis)) return x;
    TypeAxis *to = NEW_ARRAY(v->m->scratch, TypeAxis, v->to->n);
    for (uint32_t i = 0; i < v->to->n; i++)
        to[i] = *type_axis(v->m, v->after, v->to->axes[i]);
    return emit_split(b, x, v->axis, to, v->to->n);
}

static Value move_operand(const Move *v, Builder *b, Value x)
{
    switch (v->in->op) {
    case OP_rename:
        return move_renamed(v, b, x);
    case OP_split:
        return move_split(v, b, x);
    default:
        if (!naxes_of(v, value_type(b->fn, x), v->from)) return x;
        return emit_merge(b, x, v->from->axes, v->from->n, v->axis);
    }
}

static bool can_move(const Move *v, const Fn *fn, const Value *args, uint32_t n)
{
    if (v->in->op != OP_merge) return true;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t has = naxes_of(v, value_type(fn, args[i]), v->from);
        if (has && has != v->from->n) return false;
    }
    return true;
}

/* i32 counts the moved axes if it counts the whole of each. */
static bool counts_fit(const Move *v, Expr body)
{
    const TypeInfo *t = type_info(v->m, v->after);
    for (uint32_t i = 0; i < t->naxes; i++)
        if (t->axes[i].size > INT32_MAX) return false;
    t = type_info(v->m, v->before);
    for (uint32_t i = 0; i < t->naxes; i++)
        if (t->axes[i].size > INT32_MAX &&
            expr_uses_index(v->m, body, t->axes[i].axis))
            return false;
    return true;
}

Value push_move(Builder *b, const Inst *move, const Inst *map,
                const Value *args)
{
    Module *m = b->m;
    Move v = {.m = m, .in = move, .before = map->type, .after = move->type};
    v.from = attr_get(m, move->attr, AT_from);
    v.to = attr_get(m, move->attr, AT_to);
    if (move->op != OP_rename) v.axis = attr_axis(m, move->attr, AT_axis);
    Expr body = attr_expr(m, map->attr);
    if (!can_move(&v, b->fn, args, map->nargs) || !counts_fit(&v, body))
        return NO_VALUE;
    Value *moved = NEW_ARRAY(m->scratch, Value, map->nargs);
    for (uint32_t i = 0; i < map->nargs; i++)
        moved[i] = move_operand(&v, b, args[i]);
    ExprSubst s = {.user = &v};
    s.index_with = move->op == OP_rename  ? renamed_index
                   : move->op == OP_split ? split_index
                                          : merged_index;
    Attr attr = attr_with_id(m, map->attr, AT_body, expr_subst(m, body, &s).id);
    return emit(b, OP_map, move->type, attr, moved, map->nargs);
}
