/*
 * give.c: what only a backward is handed, its forward is handed too.
 *
 * The forward can quantise early (early.c) what it has the scales of.  Those of
 * weights are made in front of all repeats (once.c), rows' and columns'; which
 * the backward alone multiplies by, the forward never saw:
 *
 *     %s = map ..                         [layer, column]
 *     %f = repeat .., %w fn @forward
 *     %b = repeat .., %w, %s fn @backward
 *
 * becomes
 *
 *     %f = repeat .., %w, %s fn @forward
 *
 * where a row of %s is a parameter that nobody reads yet.
 *
 * So it is of what the forward gathers for its backward alone (gathered.c),
 * where there are several devices and a rule keeps that.
 */
#include "remat.h"

typedef struct Give {
    Value forward; /* of the caller */
    Value *values; /* of the caller, stacked */
    uint32_t n;
} Give;

/* Other repeats that run the body have nothing to hand it. */
static bool runs_once(const Module *m, FnRef body)
{
    uint32_t n = 0;
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        for (uint32_t i = 0; fn && i < fn->ninsts; i++)
            n += fn->insts[i].op == OP_repeat &&
                 attr_fn(m, fn->insts[i].attr, AT_fn).id == body.id;
    }
    return n == 1;
}

static bool find_give(Module *m, Fn *caller, uint32_t backward, Give *out)
{
    Pair p;
    const Inst *in = &caller->insts[backward];
    if (in->op != OP_repeat || in->phase == PHASE_forward ||
        !pair_begin(m, caller, (Value){backward}, &p) || !runs_once(m, p.f.fn))
        return false;
    bool *given = NEW_ARRAY(m->scratch, bool, p.back->nparams + 1);
    pair_match(&p);
    for (uint32_t i = p.b.carry + p.b.invariant; i < in->nargs; i++)
        given[i] = value_eq(p.same[i], NO_VALUE) &&
                   inst_arg(caller, in, i).id < p.forward.id;
    /* a turn may have gathered what it would quantise */
    (m->mesh.n ? pair_keep_gathered : pair_keep_asked)(m, &p, given);
    *out = (Give){p.forward, NEW_ARRAY(m->scratch, Value, in->nargs + 1u), 0};
    for (uint32_t i = 0; i < in->nargs; i++)
        if (given[i]) out->values[out->n++] = inst_arg(caller, in, i);
    return out->n > 0;
}

/* The body with a parameter for a row of each, in front of the turn. */
static Fn *body_with(Module *m, const Fn *old, const Fn *caller, Axis axis,
                     const Give *g)
{
    Rewrite rw = {.old = old, .map = no_values(m->scratch, old->ninsts)};
    Fn *fn = fn_new(m, old->name, old->view);
    fn->loc = old->loc;
    builder_init(&rw.b, m, fn);
    for (uint32_t i = 0; i < old->nparams; i++) {
        for (uint32_t k = 0; i + 1 == old->nparams && k < g->n; k++) {
            Type t = value_type(caller, g->values[k]);
            builder_param(&rw.b,
                          (Port){.name = caller->names[g->values[k].id],
                                 .type = type_without_axis(m, t, axis),
                                 .loc = inst_of(caller, g->values[k])->loc});
        }
        rewrite_set(&rw, (Value){i}, builder_param(&rw.b, old->params[i]));
    }
    for (uint32_t i = old->nparams; i < old->ninsts; i++)
        rewrite_copy(&rw, (Value){i});
    return rewrite_end(&rw);
}

static void give(Module *m, uint32_t f, const Give *g)
{
    const Fn *caller = m->fns.at[f];
    const Inst *in = inst_of(caller, g->forward);
    Repeat r = repeat_of(m, in);
    m->fns.at[r.fn.id] = body_with(m, fn_of(m, r.fn), caller, r.axis, g);
    Rewrite rw;
    rewrite_begin(&rw, m, caller);
    for (uint32_t i = caller->nparams; i < caller->ninsts; i++) {
        if (i != g->forward.id) {
            rewrite_copy(&rw, (Value){i});
            continue;
        }
        Value *args = NEW_ARRAY(m->scratch, Value, in->nargs + g->n + 1u);
        for (uint32_t k = 0; k < in->nargs; k++)
            args[k] = rewrite_value(&rw, inst_arg(caller, in, k));
        for (uint32_t k = 0; k < g->n; k++)
            args[in->nargs + k] = rewrite_value(&rw, g->values[k]);
        rw.b.loc = in->loc;
        rw.b.phase = (Phase)in->phase;
        Value v =
            emit(&rw.b, OP_repeat, in->type, in->attr, args, in->nargs + g->n);
        value_set_name(&rw.b, v, caller->names[i]);
        rewrite_set(&rw, (Value){i}, v);
    }
    m->fns.at[f] = rewrite_end(&rw);
}

void pairs_give(Module *m, bool gathered)
{
    if (m->mesh.n && !gathered) return;
    for (uint32_t f = 0; f < m->fns.n; f++) {
        Give g;
        for (uint32_t i = 0; m->fns.at[f] && i < m->fns.at[f]->ninsts; i++)
            if (find_give(m, m->fns.at[f], i, &g)) give(m, f, &g);
    }
}
