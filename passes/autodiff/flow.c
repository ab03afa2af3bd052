/*
 * flow.c: which values the derivative goes through.
 *
 * A forward sweep marks what is varied, a backward sweep what is useful; the
 * reverse sweep of joint.c visits what is both.  Calls are looked into, field
 * by field; a repeat is swept until what it carries is stable, which is at
 * most once for each carried value.
 */
#include "autodiff.h"

uint32_t tuple_fields(const Module *m, Type t)
{
    const TypeInfo *info = type_info(m, t);
    return info->is_tuple ? info->nfields : 1;
}

Type tuple_field(const Module *m, Type t, uint32_t i)
{
    const TypeInfo *info = type_info(m, t);
    return info->is_tuple ? info->fields[i] : t;
}

Flow flow_new(Module *m, Arena *arena, const Fn *fn, uint32_t n)
{
    Flow f = {.m = m, .arena = arena, .fn = fn, .n = n};
    f.varied = NEW_ARRAY(arena, bool, fn->ninsts + 1);
    f.useful = NEW_ARRAY(arena, bool, fn->ninsts + 1);
    f.fields = NEW_ARRAY(arena, bool *, fn->ninsts + 1);
    f.masks = NEW_ARRAY(arena, Masks, fn->ninsts + 1);
    return f;
}

static bool is_float(const Flow *f, Value v)
{
    const TypeInfo *t = type_info(f->m, value_type(f->fn, v));
    return !t->is_tuple && dtype_class(t->dtype) == DC_float;
}

static Flow callee_flow(const Flow *f, const Inst *in, const bool *params)
{
    const Fn *fn = fn_of(f->m, attr_fn(f->m, in->attr, AT_fn));
    Flow c = flow_new(f->m, f->arena, fn, fn->ninsts);
    for (uint32_t i = 0; i < fn->nparams; i++)
        c.varied[i] = params[i] && is_float(&c, (Value){i});
    flow_forward(&c);
    return c;
}

/* Which parameters of the function of a call or repeat are varied. */
static bool *varied_params(const Flow *f, const Inst *in)
{
    const Fn *fn = fn_of(f->m, attr_fn(f->m, in->attr, AT_fn));
    bool *params = NEW_ARRAY(f->arena, bool, fn->nparams + 1);
    for (uint32_t i = 0; i < in->nargs; i++)
        params[i] = f->varied[inst_arg(f->fn, in, i).id];
    if (in->op != OP_repeat) return params;

    Repeat r = repeat_of(f->m, in);
    for (bool more = true; more;) {
        Flow c = callee_flow(f, in, params);
        more = false;
        for (uint32_t i = 0; i < r.carry; i++) {
            if (params[i] || !c.varied[c.fn->result_values[i].id]) continue;
            params[i] = more = true;
        }
    }
    return params;
}

static void call_forward_flow(Flow *f, Value v, const Inst *in)
{
    Flow c = callee_flow(f, in, varied_params(f, in));
    bool *fields = NEW_ARRAY(f->arena, bool, c.fn->nresults + 1);
    for (uint32_t i = 0; i < c.fn->nresults; i++) {
        fields[i] = c.varied[c.fn->result_values[i].id];
        /* what a repeat carries may leave it as it came */
        if (in->op == OP_repeat && i < repeat_of(f->m, in).carry)
            fields[i] |= f->varied[inst_arg(f->fn, in, i).id];
        f->varied[v.id] |= fields[i];
    }
    f->fields[v.id] = fields;
}

/* Whether a derivative goes from the result to operand i. */
static bool passes(const Flow *f, const Inst *in, uint32_t i)
{
    if (!f->varied[inst_arg(f->fn, in, i).id]) return false;
    if (in->op != OP_map) return true;
    return expr_depends(f->m, f->arena, attr_expr(f->m, in->attr), i);
}

static bool any_passes(const Flow *f, const Inst *in)
{
    for (uint32_t i = 0; i < in->nargs; i++)
        if (passes(f, in, i)) return true;
    return false;
}

void flow_forward(Flow *f)
{
    for (uint32_t i = 0; i < f->n; i++) {
        Value v = {i};
        const Inst *in = inst_of(f->fn, v);
        if (f->varied[i] || !any_passes(f, in)) continue;
        if (inst_calls(in))
            call_forward_flow(f, v, in);
        else if (in->op == OP_proj)
            f->varied[i] = f->fields[inst_arg(f->fn, in, 0).id]
                                    [attr_int(f->m, in->attr, AT_index, 0)];
        else
            f->varied[i] = is_float(f, v);
    }
}

/* ------------------------------------------------------------ backward -- */

/* The flow through a callee when the results OUT get a cotangent. */
static Flow callee_back(const Flow *f, const Inst *in, const bool *params,
                        const bool *out)
{
    Flow c = callee_flow(f, in, params);
    for (uint32_t i = 0; i < c.fn->nresults; i++)
        c.useful[c.fn->result_values[i].id] |= out[i];
    flow_backward(&c);
    return c;
}

static void call_backward_flow(Flow *f, Value v, const Inst *in)
{
    Masks *k = &f->masks[v.id]; /* out was set by the uses of the fields */
    bool *params = varied_params(f, in);
    uint32_t carry = in->op == OP_repeat ? repeat_of(f->m, in).carry : 0;
    Flow c = callee_back(f, in, params, k->out);
    for (bool more = carry > 0; more;) {
        more = false;
        for (uint32_t i = 0; i < carry; i++) {
            bool result = c.varied[c.fn->result_values[i].id];
            if (k->out[i] || !c.useful[i] || !params[i] || !result) continue;
            k->out[i] = more = true;
        }
        if (more) c = callee_back(f, in, params, k->out);
    }
    k->in = NEW_ARRAY(f->arena, bool, c.fn->nparams + 1);
    for (uint32_t i = 0; i < c.fn->nparams; i++) {
        /* a loop that may end before its first turn hands back what it got */
        bool kept = i < carry && k->out[i];
        k->in[i] = params[i] && (c.useful[i] || kept);
    }
    for (uint32_t i = 0; i < in->nargs; i++)
        if (k->in[i]) f->useful[inst_arg(f->fn, in, i).id] = true;
}

static void mark_field(Flow *f, Value tuple, int64_t index)
{
    Masks *k = &f->masks[tuple.id];
    uint32_t n = tuple_fields(f->m, value_type(f->fn, tuple));
    if (!k->out) k->out = NEW_ARRAY(f->arena, bool, n + 1);
    k->out[index] = f->fields[tuple.id][index];
    f->useful[tuple.id] = true;
}

void flow_backward(Flow *f)
{
    for (uint32_t i = f->n; i-- > 0;) {
        Value v = {i};
        const Inst *in = inst_of(f->fn, v);
        if (!f->useful[i] || !f->varied[i]) continue;
        if (inst_calls(in)) {
            if (!f->fields[i]) continue; /* wanted itself */
            if (!type_info(f->m, in->type)->is_tuple) mark_field(f, v, 0);
            call_backward_flow(f, v, in);
        } else if (in->op == OP_proj) {
            if (f->fields[inst_arg(f->fn, in, 0).id])
                mark_field(f, inst_arg(f->fn, in, 0),
                           attr_int(f->m, in->attr, AT_index, 0));
        } else {
            for (uint32_t k = 0; k < in->nargs; k++)
                f->useful[inst_arg(f->fn, in, k).id] |= passes(f, in, k);
        }
    }
}
