/*
 * index.c: derivatives of ops with indices, and the ops that have none.
 *
 * What was read by index is added up by the same index, and the other way
 * round.  Indices outside read zero and are dropped, so both directions agree
 * without a check.
 */
#include "autodiff.h"

static Axis indexed_axis(const Grad *g, Value v)
{
    return attr_axis(g->m, inst_of(g->fn, v)->attr, AT_axis);
}

/* X with axis A under a name that nothing else has. */
static Value renamed(Grad *g, Value x, Axis a, Axis fresh)
{
    if (!type_axis(g->m, value_type(g->b.fn, x), a)) return x;
    return emit_rename(&g->b, x, &a, &fresh, 1);
}

/* Every element of X is read at most once: no axis of the ids or of the
 * cotangent is summed. */
static bool reads_once(const Grad *g, Type xt, Value ids, Value cot, Axis axis)
{
    Type all =
        type_union(g->m, value_type(g->b.fn, cot), value_type(g->b.fn, ids));
    const TypeInfo *info = type_info(g->m, all);
    for (uint32_t i = 0; i < info->naxes; i++) {
        Axis a = info->axes[i].axis;
        if (a.id == axis.id || !type_axis(g->m, xt, a)) return false;
    }
    return true;
}

/* where(ids == index(axis), cot, 0): a map, which merges with what else the
 * operand gets (a label's logit with the softmax). */
static Value one_hot(Grad *g, Value ids, Value cot, TypeAxis axis)
{
    Module *m = g->m;
    DType di = type_dtype(m, value_type(g->b.fn, ids));
    DType dc = type_dtype(m, value_type(g->b.fn, cot));
    Expr id = expr_cast(m, DT_i64, expr_arg(m, 0, di));
    Expr at = expr_cast(m, DT_i64, expr_index(m, axis.axis));
    if (di == DT_i32) {
        id = expr_arg(m, 0, di);
        at = expr_index(m, axis.axis);
    }
    Expr here = expr_op2(m, SC_eq, id, at);
    Expr body =
        expr_op(m, SC_where, here, expr_arg(m, 1, dc), expr_float(m, dc, 0));
    return emit_map_over(&g->b, body, (Value[]){ids, cot}, 2, &axis, 1);
}

/* Whose products are quantised, those of its derivative are. */
static Value marked_alike(Grad *g, const Inst *gather, Value made)
{
    const AttrItem *recipe = attr_get(g->m, gather->attr, AT_recipe);
    const Inst *in = inst_of(g->b.fn, made);
    if (!recipe || in->op != OP_scatter) return made;
    const AttrItem *sum = attr_get(g->m, gather->attr, AT_sum);
    const AttrItem *sent = attr_get(g->m, gather->attr, AT_sent);
    Value args[2] = {inst_arg(g->b.fn, in, 0), inst_arg(g->b.fn, in, 1)};
    AttrList l = attr_list(g->m, in->attr);
    attr_put_id(&l, AT_recipe, recipe->id);
    attr_put_axes(&l, AT_sum, sum->axes, sum->n);
    if (sent) {
        const AttrItem *parts = attr_get(g->m, gather->attr, AT_parts);
        attr_put_axes(&l, AT_sent, sent->axes, sent->n);
        attr_put_ints(&l, AT_parts, parts->ints, parts->n);
    }
    return emit(&g->b, OP_scatter, in->type, attr_intern(g->m, &l), args, 2);
}

void grad_gather(Grad *g, Value v, Value cot)
{
    if (!grad_wants(g, v, 0)) return;
    Axis axis = indexed_axis(g, v);
    Value ids = grad_operand(g, v, 1);
    Type xt = value_type(g->b.fn, grad_operand(g, v, 0));
    if (reads_once(g, xt, ids, cot, axis)) {
        Value dx = one_hot(g, ids, cot, *type_axis(g->m, xt, axis));
        grad_give(g, v, 0, dx);
        return;
    }
    const TypeAxis *of_ids = type_axis(g->m, value_type(g->b.fn, ids), axis);
    if (of_ids) {
        /* the axis of the ids came back under the name of the indexed one */
        Axis fresh = axis_fresh(g->m, axis_name(g->m, axis), of_ids->size);
        ids = renamed(g, ids, axis, fresh);
        cot = renamed(g, cot, axis, fresh);
    }
    const TypeInfo *info = type_info(g->m, xt);
    Axis *keep = NEW_ARRAY(g->ad->arena, Axis, info->naxes + 1);
    uint32_t n = 0;
    for (uint32_t i = 0; i < info->naxes; i++)
        if (info->axes[i].axis.id != axis.id) keep[n++] = info->axes[i].axis;
    TypeAxis whole = *type_axis(g->m, xt, axis);
    Value dx = emit_scatter(&g->b, ids, cot, whole, keep, n,
                            cot_dtype((DType)info->dtype));
    grad_give(g, v, 0, marked_alike(g, inst_of(g->fn, v), dx));
}

/* An axis of the updates that neither ids nor result have was summed. */
void grad_scatter(Grad *g, Value v, Value cot)
{
    if (!grad_wants(g, v, 1)) return;
    Type t = value_type(g->b.fn, grad_operand(g, v, 1));
    Value read =
        emit_gather(&g->b, cot, grad_operand(g, v, 0), indexed_axis(g, v));
    grad_give(g, v, 1, grad_sum_to(g, grad_broadcast(g, read, t), t));
}

/* ----------------------------------------------------------------- put -- */

/* The position among those that may write one element of BASE: the logical
 * index over the axes of T that the base has not. */
static Expr place_number(Grad *g, Type t, Type base, Axis axis)
{
    const TypeInfo *info = type_info(g->m, t);
    Expr place = expr_int(g->m, DT_i64, 0);
    for (uint32_t i = 0; i < info->naxes; i++) {
        const TypeAxis *ta = &info->axes[i];
        bool aligned = type_axis(g->m, base, ta->axis) != NULL;
        if (aligned && ta->axis.id != axis.id) continue;
        Expr size = expr_int(g->m, DT_i64, ta->size);
        Expr index = expr_cast(g->m, DT_i64, expr_index(g->m, ta->axis));
        place = expr_op2(g->m, SC_mul, place, size);
        place = expr_op2(g->m, SC_add, place, index);
    }
    return place;
}

/* bool over the writes of a put: this one is the last to its element. */
static Value last_writes(Grad *g, Value v)
{
    Builder *b = &g->b;
    Axis axis = indexed_axis(g, v);
    Value ids = grad_operand(g, v, 1);
    Type base = value_type(b->fn, grad_operand(g, v, 0));
    Type writes = type_union(g->m, value_type(b->fn, ids),
                             value_type(b->fn, grad_operand(g, v, 2)));
    const TypeInfo *over = type_info(g->m, writes);
    Value place = emit_map_over(b, place_number(g, writes, base, axis), NULL, 0,
                                over->axes, over->naxes);
    const TypeInfo *all = type_info(g->m, base);
    Value none = emit_map_over(b, expr_int(g->m, DT_i64, -1), NULL, 0,
                               all->axes, all->naxes);
    Value last = emit_put(b, none, ids, place, axis);
    return emit_binary(b, SC_eq, emit_gather(b, last, ids, axis), place);
}

void grad_put(Grad *g, Value v, Value cot)
{
    Axis axis = indexed_axis(g, v);
    Value ids = grad_operand(g, v, 1);
    Type xt = cot_type(g->m, value_type(g->b.fn, grad_operand(g, v, 2)));
    if (grad_wants(g, v, 0))
        grad_give(g, v, 0,
                  emit_put(&g->b, cot, ids, emit_zeros(&g->b, xt), axis));
    if (!grad_wants(g, v, 2)) return;
    Value read = emit_gather(&g->b, cot, ids, axis);
    Value zero = emit_const(&g->b, type_dtype(g->m, xt), 0);
    Value taken = emit_where(&g->b, last_writes(g, v), read, zero);
    grad_give(g, v, 2, grad_sum_to(g, taken, xt));
}

/* ----------------------------------------------------------------- none -- */

/* Results that are integers, arguments, and ops of other views. */
#define NO_DERIVATIVE(op)                       \
    void grad_##op(Grad *g, Value v, Value cot) \
    {                                           \
        (void)g, (void)v, (void)cot;            \
    }

NO_DERIVATIVE(arg)
NO_DERIVATIVE(top)
NO_DERIVATIVE(grad)
NO_DERIVATIVE(coord)
NO_DERIVATIVE(recv)
NO_DERIVATIVE(buffer)
NO_DERIVATIVE(view)
NO_DERIVATIVE(counter)
NO_DERIVATIVE(launch)
NO_DERIVATIVE(loop)

/* `grad` is an op of the global view, which has no collectives. */
#define NOT_GLOBAL(op)                          \
    void grad_##op(Grad *g, Value v, Value cot) \
    {                                           \
        (void)g, (void)v, (void)cot;            \
        BUG("derivative of a collective");      \
    }

NOT_GLOBAL(all_gather)
NOT_GLOBAL(reduce_scatter)
NOT_GLOBAL(all_reduce)
NOT_GLOBAL(all_to_all)
NOT_GLOBAL(permute)
NOT_GLOBAL(cut)
NOT_GLOBAL(part)
NOT_GLOBAL(reshard)
NOT_GLOBAL(done)
NOT_GLOBAL(pending)
NOT_GLOBAL(send)
