/*
 * call.c: the derivative of a call.
 *
 * The callee is differentiated as a function of its own: its forward hands
 * out a record, its backward is called with what it reads.  A region is
 * called like any other function and so keeps its definition.
 */
#include "autodiff.h"

/* ------------------------------------------------------------- forward -- */

static Type result_type(Module *m, const Inst *in, const Fn *fn)
{
    Repeat r = {.carry = fn->nresults};
    if (in->op == OP_repeat) r = repeat_of(m, in);
    if (in->op == OP_call && fn->nresults == 1) return fn->results[0].type;
    return repeat_type(m, fn, r.carry, r.axis, r.count);
}

static Value field_of(Builder *b, Value v, uint32_t i)
{
    bool tuple = type_info(b->m, value_type(b->fn, v))->is_tuple;
    return tuple ? emit_proj(b, v, i) : v;
}

/* A record, under the name that the callee has for it. */
static Value record_of(Builder *b, Value v, uint32_t i, const Fn *forward)
{
    Value record = field_of(b, v, i);
    value_set_name(b, record, forward->names[forward->result_values[i].id]);
    return record;
}

Value call_forward(Grad *g, Value v, const Derived *d)
{
    const Inst *in = inst_of(g->fn, v);
    Value *args = NEW_ARRAY(g->ad->arena, Value, in->nargs + 1u);
    for (uint32_t i = 0; i < in->nargs; i++)
        args[i] = grad_operand(g, v, i);
    const Fn *forward = fn_of(g->m, d->forward);
    Type t = result_type(g->m, in, forward);
    Attr attr = attr_with_id(g->m, in->attr, AT_fn, d->forward.id);
    Value all = emit(&g->b, (Op)in->op, t, attr, args, in->nargs);

    Value *records = NEW_ARRAY(g->ad->arena, Value, d->nsaved + 2);
    bool was_tuple = type_info(g->m, in->type)->is_tuple;
    Value made = was_tuple ? all : field_of(&g->b, all, 0);
    value_set_name(&g->b, made, g->fn->names[v.id]);
    for (uint32_t i = 0; i < d->nsaved; i++)
        records[i] = record_of(&g->b, all, d->saved[i], forward);
    if (d->ran) records[d->nsaved] = field_of(&g->b, all, d->ran);
    g->records[v.id] = records;
    return made;
}

/* ------------------------------------------------------------ backward -- */

void call_backward(Back *k)
{
    const Derived *d = k->d;
    for (uint32_t i = 0; i < d->nparams; i++)
        take_param(k, (Value){d->params[i]}, d->of->params[d->params[i]]);
    take_saved(k);
    take_cots(k, 0, d->of->nresults);
    copy_body(k);
    for (uint32_t i = 0; i < d->of->nparams; i++) {
        Value cot = k->j->cots[i];
        if (!value_eq(cot, NO_VALUE)) give_cot(k, k->map[cot.id], i);
    }
}

void grad_call(Grad *g, Value v, Value cot)
{
    const Derived *d = g->derived[v.id];
    (void)cot; /* grad_field looks it up */
    if (!d) return;
    const Inst *in = inst_of(g->fn, v);
    const Fn *backward = fn_of(g->m, d->backward);
    Value *args = NEW_ARRAY(g->ad->arena, Value, backward->nparams + 1);
    uint32_t n = 0;
    for (uint32_t i = 0; i < d->nparams; i++)
        args[n++] = grad_operand(g, v, d->params[i]);
    for (uint32_t i = 0; i < d->nsaved; i++)
        args[n++] = g->records[v.id][i];
    for (uint32_t i = 0; i < d->of->nresults; i++)
        if (d->masks.out[i]) args[n++] = grad_field(g, v, i);
    if (backward->nresults == 0) return;

    Attr attr = attr_with_id(g->m, in->attr, AT_fn, d->backward.id);
    Value all =
        emit(&g->b, OP_call, result_type(g->m, in, backward), attr, args, n);
    for (uint32_t i = 0; i < in->nargs; i++)
        if (d->cot_at[i] != NO_RESULT)
            grad_give(g, v, i, field_of(&g->b, all, d->cot_at[i]));
}
