/*
 * joint.c: forward and backward in one function.
 *
 * The forward is copied (calls and repeats on the way in the form that hands
 * out their record), then one sweep from the last instruction to the first
 * hands each cotangent on to the operands by the rule of the op, grad_<op>.
 * Contributions to one value are added in the order of that sweep, so the
 * order of sums is a fact of the program.
 *
 * What the backward reads of the forward is not decided here (cut.c).
 */
#include "autodiff.h"

DType cot_dtype(DType d)
{
    return d == DT_f64 ? DT_f64 : DT_f32;
}

Type cot_type(Module *m, Type t)
{
    return type_with_dtype(m, t, cot_dtype(type_dtype(m, t)));
}

Str cot_name(Module *m, Str name)
{
    return str_printf(&m->strs, "d_%s", str_of(m, name));
}

Value emit_zeros(Builder *b, Type t)
{
    const TypeInfo *info = type_info(b->m, t);
    Expr zero = expr_float(b->m, info->dtype, 0);
    return emit_map_over(b, zero, NULL, 0, info->axes, info->naxes);
}

/* ------------------------------------------------- what the rules call -- */

bool grad_wants(const Grad *g, Value v, uint32_t i)
{
    Value x = inst_arg(g->fn, inst_of(g->fn, v), i);
    return g->flow.varied[x.id] && g->flow.useful[x.id];
}

Value grad_operand(const Grad *g, Value v, uint32_t i)
{
    return g->map[inst_arg(g->fn, inst_of(g->fn, v), i).id];
}

Value grad_wide(Grad *g, Value v, uint32_t i)
{
    Value x = grad_operand(g, v, i);
    return emit_cast(&g->b, x,
                     cot_dtype(type_dtype(g->m, value_type(g->b.fn, x))));
}

static void add_to(Grad *g, Value *sum, Value contribution)
{
    bool first = value_eq(*sum, NO_VALUE);
    *sum =
        first ? contribution : emit_binary(&g->b, SC_add, *sum, contribution);
}

void grad_give(Grad *g, Value v, uint32_t i, Value contribution)
{
    Value x = inst_arg(g->fn, inst_of(g->fn, v), i);
    if (!grad_wants(g, v, i)) return;
    CHECK(type_eq(value_type(g->b.fn, contribution),
                  cot_type(g->m, value_type(g->fn, x))));
    add_to(g, &g->cot[x.id], contribution);
}

Value grad_sum_to(Grad *g, Value x, Type t)
{
    const TypeInfo *have = type_info(g->m, value_type(g->b.fn, x));
    Axis *gone = NEW_ARRAY(g->ad->arena, Axis, have->naxes + 1);
    uint32_t n = 0;
    for (uint32_t i = 0; i < have->naxes; i++)
        if (!type_axis(g->m, t, have->axes[i].axis))
            gone[n++] = have->axes[i].axis;
    if (n == 0) return x;
    return emit_reduce(&g->b, "sum", x, gone, n, have->dtype, have->dtype);
}

Value grad_field(Grad *g, Value tuple, uint32_t i)
{
    Type t = value_type(g->fn, tuple);
    Value cot = g->cot[tuple.id];
    if (g->cot_fields[tuple.id]) cot = g->cot_fields[tuple.id][i];
    if (!value_eq(cot, NO_VALUE)) return cot;
    return emit_zeros(&g->b, cot_type(g->m, tuple_field(g->m, t, i)));
}

void grad_proj(Grad *g, Value v, Value cot)
{
    const Inst *in = inst_of(g->fn, v);
    Value tuple = inst_arg(g->fn, in, 0);
    Value **fields = &g->cot_fields[tuple.id];
    if (!g->flow.fields[tuple.id]) return;
    if (!*fields) {
        uint32_t n = tuple_fields(g->m, value_type(g->fn, tuple));
        *fields = no_values(g->ad->arena, n);
    }
    add_to(g, &(*fields)[attr_int(g->m, in->attr, AT_index, 0)], cot);
}

static GradRule *const grad_rules[OP_count] = {
#define OP(name, least, most, flags, views, req, opt) [OP_##name] = grad_##name,
#include "../../ir/ops.def"
#undef OP
};

/* ------------------------------------------------------------- forward -- */

static Grad grad_new(Autodiff *ad, const Fn *of, Flow flow)
{
    Grad g = {.ad = ad, .m = ad->m, .fn = of, .flow = flow};
    Fn *fn = fn_new(ad->m, of->name, of->view);
    builder_init(&g.b, ad->m, fn);
    g.map = no_values(ad->arena, of->ninsts);
    g.cot = no_values(ad->arena, of->ninsts);
    g.cot_fields = NEW_ARRAY(ad->arena, Value *, of->ninsts + 1);
    g.derived = NEW_ARRAY(ad->arena, Derived *, of->ninsts + 1);
    g.records = NEW_ARRAY(ad->arena, Value *, of->ninsts + 1);
    g.parts = NEW_ARRAY(ad->arena, Parts *, of->ninsts + 1);
    for (uint32_t i = 0; i < of->nparams; i++)
        g.map[i] = builder_param(&g.b, of->params[i]);
    return g;
}

static bool goes_through(const Grad *g, Value v)
{
    return g->flow.varied[v.id] && g->flow.useful[v.id];
}

static Value forward_inst(Grad *g, Value v)
{
    const Inst *in = inst_of(g->fn, v);
    bool callee = inst_calls(in);
    if (!callee || !goes_through(g, v) || !g->flow.fields[v.id])
        return copy_inst(&g->b, g->fn, v, g->map, (Phase)in->phase);

    FnRef fn = attr_fn(g->m, in->attr, AT_fn);
    Repeat r = {0};
    if (in->op == OP_repeat) r = repeat_of(g->m, in);
    Derived *d = derive(g->ad, fn, in->op == OP_repeat ? &r : NULL,
                        &g->flow.masks[v.id]);
    g->derived[v.id] = d;
    g->b.loc = in->loc;
    g->b.phase = (Phase)in->phase;
    return call_forward(g, v, d);
}

static void emit_forward(Grad *g, Joint *j)
{
    j->forward_at = g->b.fn->ninsts;
    j->plain = true;
    for (uint32_t i = g->fn->nparams; i < g->flow.n; i++) {
        g->map[i] = forward_inst(g, (Value){i});
        if (g->derived[i]) j->plain = false;
    }
    j->map = g->map;
    j->fn = g->b.fn;
    j->backward_at = g->b.fn->ninsts;
}

/* ------------------------------------------------------------ backward -- */

static void emit_backward(Grad *g)
{
    Str pass = module_str(g->m, "autodiff");
    for (uint32_t i = g->flow.n; i-- > 0;) {
        Value v = {i};
        const Inst *in = inst_of(g->fn, v);
        if (!goes_through(g, v)) continue;
        g->b.loc = loc_derive(g->m, in->loc, pass);
        if (g->parts[i]) add_to(g, &g->cot[i], emit_parts(g, v));
        if (!value_eq(g->cot[i], NO_VALUE) || g->cot_fields[i])
            grad_rules[in->op](g, v, g->cot[i]);
    }
}

/* Parameters for the cotangents of the results that have one. */
static void add_cot_params(Grad *g, Joint *j, const bool *out)
{
    Module *m = g->m;
    j->cots_at = g->b.fn->ninsts;
    j->cot_param = NEW_ARRAY(g->ad->arena, uint32_t, g->fn->nresults + 1);
    for (uint32_t i = 0; i < g->fn->nresults; i++) {
        if (!out[i]) continue;
        Port port = {.type = cot_type(m, g->fn->results[i].type),
                     .loc = g->fn->results[i].loc};
        Str name = g->fn->names[g->fn->result_values[i].id];
        if (name.id) port.name = cot_name(m, name);
        j->cot_param[i] = builder_param(&g->b, port).id;
    }
}

static Flow fn_flow(Autodiff *ad, const Fn *of, const Masks *masks)
{
    Flow f = flow_new(ad->m, ad->arena, of, of->ninsts);
    for (uint32_t i = 0; i < of->nparams; i++)
        f.varied[i] = masks->in[i];
    flow_forward(&f);
    for (uint32_t i = 0; i < of->nresults; i++)
        if (masks->out[i]) f.useful[of->result_values[i].id] = true;
    flow_backward(&f);
    return f;
}

Joint joint_of_fn(Autodiff *ad, const Fn *of, const Masks *masks)
{
    Joint j = {.of = of};
    Grad g = grad_new(ad, of, fn_flow(ad, of, masks));
    add_cot_params(&g, &j, masks->out);
    emit_forward(&g, &j);

    j.results = NEW_ARRAY(ad->arena, Value, of->nresults + 1);
    g.b.phase = PHASE_backward;
    for (uint32_t i = 0; i < of->nresults; i++) {
        Value r = of->result_values[i];
        j.results[i] = g.map[r.id];
        if (masks->out[i]) add_to(&g, &g.cot[r.id], (Value){j.cot_param[i]});
    }
    emit_backward(&g);
    j.cots = no_values(ad->arena, of->nparams);
    for (uint32_t i = 0; i < of->nparams; i++)
        if (masks->in[i]) j.cots[i] = g.cot[i];
    return j;
}

static Flow grad_flow(Autodiff *ad, const Fn *of, Value v)
{
    const Inst *in = inst_of(of, v);
    Flow f = flow_new(ad->m, ad->arena, of, v.id);
    for (uint32_t i = 1; i < in->nargs; i++)
        f.varied[inst_arg(of, in, i).id] = true;
    flow_forward(&f);
    f.useful[inst_arg(of, in, 0).id] = true;
    flow_backward(&f);
    return f;
}

Joint joint_of_grad(Autodiff *ad, const Fn *of, Value v)
{
    Joint j = {.of = of};
    const Inst *in = inst_of(of, v);
    Grad g = grad_new(ad, of, grad_flow(ad, of, v));
    j.cots_at = g.b.fn->ninsts;
    emit_forward(&g, &j);

    Value loss = inst_arg(of, in, 0);
    g.b.phase = PHASE_backward;
    g.b.loc = loc_derive(ad->m, in->loc, module_str(ad->m, "autodiff"));
    DType d = cot_dtype(type_dtype(ad->m, value_type(of, loss)));
    g.cot[loss.id] = emit_const(&g.b, d, 1);
    emit_backward(&g);
    j.cots = no_values(ad->arena, in->nargs);
    for (uint32_t i = 1; i < in->nargs; i++) {
        Value p = inst_arg(of, in, i), cot = g.cot[p.id];
        Type t = value_type(of, p);
        if (value_eq(cot, NO_VALUE)) cot = emit_zeros(&g.b, cot_type(ad->m, t));
        j.cots[i - 1] = emit_cast(&g.b, cot, type_dtype(ad->m, t));
    }
    return j;
}
