/*
 * outline.c: a set of instructions becomes a function and a call of it.
 *
 * The instructions outside keep their order, but for those that the call
 * needs: they are put in front of it, and the call in front of the first
 * instruction that reads one of its results.
 */
#include "outline.h"

#include <string.h>

typedef struct Out {
    Module *m;
    const Fn *old;
    const Outline *o;
    Value *inputs, *outputs;
    uint32_t ninputs, noutputs;
    FnRef callee;
    Builder b;
    Value *map; /* by value of old; NO_VALUE: not emitted yet */
} Out;

static bool is_inside(const Out *out, uint32_t v)
{
    return out->o->in[v] || out->o->copied[v];
}

/* Inputs and outputs, each in the order of the function. */
static void find_ports(Out *out)
{
    Arena *a = out->m->scratch;
    const Fn *fn = out->old;
    bool *read = NEW_ARRAY(a, bool, fn->ninsts + 1);
    bool *given = NEW_ARRAY(a, bool, fn->ninsts + 1);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        for (uint32_t k = 0; k < in->nargs; k++) {
            uint32_t x = inst_arg(fn, in, k).id;
            if (is_inside(out, i) && !is_inside(out, x)) read[x] = true;
            if (!out->o->in[i] && out->o->in[x]) given[x] = true;
        }
    }
    for (uint32_t i = 0; i < fn->nresults; i++)
        given[fn->result_values[i].id] |= out->o->in[fn->result_values[i].id];
    out->inputs = NEW_ARRAY(a, Value, fn->ninsts + 1);
    out->outputs = NEW_ARRAY(a, Value, fn->ninsts + 1);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        if (read[i]) out->inputs[out->ninputs++] = (Value){i};
        if (given[i] && out->o->in[i])
            out->outputs[out->noutputs++] = (Value){i};
    }
}

static Value copy(Builder *b, const Fn *from, Value v, const Value *map)
{
    const Inst *in = inst_of(from, v);
    Value *args = NEW_ARRAY(b->m->scratch, Value, in->nargs + 1u);
    for (uint32_t i = 0; i < in->nargs; i++)
        args[i] = map[inst_arg(from, in, i).id];
    b->loc = in->loc;
    b->phase = (Phase)in->phase;
    Value made = emit(b, (Op)in->op, in->type, in->attr, args, in->nargs);
    value_set_name(b, made, from->names[v.id]);
    return made;
}

/* ------------------------------------------------------------ the callee -- */

static Fn *make_callee(Out *out)
{
    Builder b;
    const Fn *old = out->old;
    Fn *fn = fn_new(out->m, out->o->name, old->view);
    fn->kind = out->o->kind;
    fn->loc = inst_of(old, out->outputs[0])->loc;
    builder_init(&b, out->m, fn);
    Value *map = no_values(out->m->scratch, old->ninsts);
    for (uint32_t i = 0; i < out->ninputs; i++) {
        Value v = out->inputs[i];
        Port port = {.name = old->names[v.id],
                     .type = value_type(old, v),
                     .loc = inst_of(old, v)->loc};
        map[v.id] = builder_param(&b, port);
    }
    for (uint32_t i = 0; i < old->ninsts; i++)
        if (is_inside(out, i)) map[i] = copy(&b, old, (Value){i}, map);
    for (uint32_t i = 0; i < out->noutputs; i++)
        builder_result(&b, map[out->outputs[i].id], (Port){0});
    return out->o->finish ? out->o->finish(out->m, fn) : fn;
}

static bool same_inst(const Fn *a, const Fn *b, uint32_t i)
{
    const Inst *x = &a->insts[i], *y = &b->insts[i];
    return x->op == y->op && x->phase == y->phase && x->nargs == y->nargs &&
           type_eq(x->type, y->type) && x->attr.id == y->attr.id &&
           (x->nargs == 0 || !memcmp(a->args + x->first, b->args + y->first,
                                     x->nargs * sizeof *a->args));
}

static bool same_fn(const Fn *a, const Fn *b)
{
    if (!str_eq(a->kind, b->kind) || a->view != b->view || a->entry ||
        a->nparams != b->nparams || a->ninsts != b->ninsts ||
        a->nresults != b->nresults)
        return false;
    for (uint32_t i = 0; i < a->ninsts; i++)
        if (!same_inst(a, b, i)) return false;
    for (uint32_t i = 0; i < a->nresults; i++)
        if (!value_eq(a->result_values[i], b->result_values[i])) return false;
    return true;
}

FnRef fn_add_once(Module *m, Fn *fn)
{
    for (uint32_t i = 0; i < m->fns.n; i++)
        if (m->fns.at[i] && same_fn(m->fns.at[i], fn)) return (FnRef){i};
    return module_add_fn(m, fn);
}

/* ------------------------------------------------------------ the caller -- */

static void place(Out *out, Value v);

static void place_call(Out *out)
{
    Value *args = NEW_ARRAY(out->m->scratch, Value, out->ninputs + 1);
    for (uint32_t i = 0; i < out->ninputs; i++) {
        place(out, out->inputs[i]);
        args[i] = out->map[out->inputs[i].id];
    }
    const Inst *first = inst_of(out->old, out->outputs[0]);
    out->b.loc = first->loc;
    out->b.phase = (Phase)first->phase;
    Value all = emit_call(&out->b, out->callee, args, out->ninputs);
    for (uint32_t i = 0; i < out->noutputs; i++) {
        Value v = out->outputs[i];
        Value made = out->noutputs == 1 ? all : emit_proj(&out->b, all, i);
        value_set_name(&out->b, made, out->old->names[v.id]);
        out->map[v.id] = made;
    }
}

static void place(Out *out, Value v)
{
    if (!value_eq(out->map[v.id], NO_VALUE)) return;
    if (out->o->in[v.id]) {
        place_call(out);
        return;
    }
    const Inst *in = inst_of(out->old, v);
    for (uint32_t i = 0; i < in->nargs; i++)
        place(out, inst_arg(out->old, in, i));
    out->map[v.id] = copy(&out->b, out->old, v, out->map);
}

Fn *outline(Module *m, const Fn *fn, const Outline *o)
{
    Out out = {.m = m, .old = fn, .o = o};
    find_ports(&out);
    CHECK(out.noutputs > 0);
    out.callee = fn_add_once(m, make_callee(&out));

    Fn *made = fn_new(m, fn->name, fn->view);
    made->entry = fn->entry;
    made->kind = fn->kind;
    made->loc = fn->loc;
    builder_init(&out.b, m, made);
    out.map = no_values(m->scratch, fn->ninsts);
    for (uint32_t i = 0; i < fn->nparams; i++)
        out.map[i] = builder_param(&out.b, fn->params[i]);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++)
        if (!o->in[i]) place(&out, (Value){i});
    for (uint32_t i = 0; i < fn->nresults; i++) {
        place(&out, fn->result_values[i]);
        builder_result(&out.b, out.map[fn->result_values[i].id],
                       fn->results[i]);
    }
    return made;
}
