/*
 * join.c: a loss and its backward in one region.
 *
 * The backward of a region makes the large values inside again.  For the
 * loss, which ends the forward, that is not needed: the cotangent of a row
 * seldom depends on the loss (it is a weight over a number of rows), so both
 * directions can run at once, tile by tile, and the logits of a tile are made
 * one time.  This pairs each call of a forward with the call of its backward
 * where nothing that the backward takes, but the record, depends on the
 * forward.
 *
 * Attention is left alone: its two directions are far apart, or as good as
 * that.
 */
#include "autodiff.h"

#include <string.h>

#include "../outline.h"
#include "../same.h"

enum { REMADE = 12 }; /* the longest chain that is seen to be made again */

typedef struct Pair {
    const Derived *d;
    Value forward, backward; /* the calls */
} Pair;

static bool is_call_of(const Module *m, const Fn *fn, Value v, FnRef callee)
{
    const Inst *in = inst_of(fn, v);
    return in->op == OP_call && attr_fn(m, in->attr, AT_fn).id == callee.id;
}

/* V is result `field` of the call: the call itself, or a proj of it. */
static bool is_field(const Module *m, const Fn *fn, Value v, Value call,
                     uint32_t field)
{
    const Inst *in = inst_of(fn, v);
    if (value_eq(v, call)) return field == 0;
    return in->op == OP_proj && value_eq(inst_arg(fn, in, 0), call) &&
           attr_int(m, in->attr, AT_index, 0) == field;
}

/* The backward reads the operands and the record of this forward. */
static bool belong(const Module *m, const Fn *fn, const Pair *p)
{
    const Inst *f = inst_of(fn, p->forward), *b = inst_of(fn, p->backward);
    const Derived *d = p->d;
    for (uint32_t i = 0; i < d->nparams; i++)
        if (!same_value(fn, inst_arg(fn, b, i), inst_arg(fn, f, d->params[i]),
                        REMADE))
            return false;
    for (uint32_t i = 0; i < d->nsaved; i++)
        if (!is_field(m, fn, inst_arg(fn, b, d->nparams + i), p->forward,
                      d->saved[i]))
            return false;
    return true;
}

static bool *depending(Arena *a, const Fn *fn, Value on)
{
    bool *dep = NEW_ARRAY(a, bool, fn->ninsts + 1);
    dep[on.id] = true;
    for (uint32_t i = on.id + 1; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        for (uint32_t k = 0; k < in->nargs; k++)
            dep[i] |= dep[inst_arg(fn, in, k).id];
    }
    return dep;
}

static bool can_join(Autodiff *ad, const Fn *fn, const Pair *p)
{
    if (!belong(ad->m, fn, p)) return false;
    const bool *dep = depending(ad->arena, fn, p->forward);
    const Inst *b = inst_of(fn, p->backward);
    for (uint32_t i = p->d->nparams + p->d->nsaved; i < b->nargs; i++)
        if (dep[inst_arg(fn, b, i).id]) return false;
    return true;
}

static bool find_forward(Autodiff *ad, const Fn *fn, Pair *p)
{
    for (uint32_t i = fn->nparams; i < p->backward.id; i++) {
        p->forward = (Value){i};
        if (is_call_of(ad->m, fn, p->forward, p->d->forward) &&
            can_join(ad, fn, p))
            return true;
    }
    return false;
}

static bool find_pair(Autodiff *ad, const Fn *fn, Pair *p)
{
    for (uint32_t k = 0; k < ad->derived.n; k++) {
        p->d = ad->derived.at[k];
        if (!fn_is(ad->m, p->d->of, FK_loss)) continue;
        for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
            p->backward = (Value){i};
            if (is_call_of(ad->m, fn, p->backward, p->d->backward) &&
                find_forward(ad, fn, p))
                return true;
        }
    }
    return false;
}

/* ------------------------------------------------------------- inlining -- */

typedef struct Inline {
    Builder b;
    const Fn *old;
    Value *map;     /* by value of old */
    Value **fields; /* of calls: by result */
} Inline;

static void inline_call(Inline *x, Value v)
{
    Module *m = x->b.m;
    const Inst *in = inst_of(x->old, v);
    const Fn *callee = fn_of(m, attr_fn(m, in->attr, AT_fn));
    Value *map = no_values(m->scratch, callee->ninsts);
    for (uint32_t i = 0; i < in->nargs; i++)
        map[i] = x->map[inst_arg(x->old, in, i).id];
    /* in one phase, so that what both directions make is made once */
    for (uint32_t i = callee->nparams; i < callee->ninsts; i++)
        map[i] = copy_inst(&x->b, callee, (Value){i}, map, PHASE_forward);
    Value *fields = NEW_ARRAY(m->scratch, Value, callee->nresults + 1);
    for (uint32_t i = 0; i < callee->nresults; i++)
        fields[i] = map[callee->result_values[i].id];
    x->fields[v.id] = fields;
    x->map[v.id] = fields[0];
}

static void inline_inst(Inline *x, Value v)
{
    const Inst *in = inst_of(x->old, v);
    if (in->op == OP_call) {
        inline_call(x, v);
    } else {
        CHECK(in->op == OP_proj);
        Value tuple = inst_arg(x->old, in, 0);
        int64_t at = attr_int(x->b.m, in->attr, AT_index, 0);
        x->map[v.id] = x->fields[tuple.id][at];
    }
}

/* A function of two calls, with their bodies in their place. */
static Fn *inline_both(Module *m, const Fn *old)
{
    Inline x = {.old = old};
    Fn *fn = fn_new(m, old->name, old->view);
    fn->kind = old->kind;
    fn->loc = old->loc;
    builder_init(&x.b, m, fn);
    x.map = no_values(m->scratch, old->ninsts);
    x.fields = NEW_ARRAY(m->scratch, Value *, old->ninsts + 1);
    for (uint32_t i = 0; i < old->nparams; i++)
        x.map[i] = builder_param(&x.b, old->params[i]);
    for (uint32_t i = old->nparams; i < old->ninsts; i++)
        inline_inst(&x, (Value){i});
    for (uint32_t i = 0; i < old->nresults; i++)
        builder_result(&x.b, x.map[old->result_values[i].id], (Port){0});
    return fn;
}

/* ----------------------------------------------------------------- join -- */

/* The backward reads what the forward read, not what was made again. */
static void share_operands(Fn *fn, const Pair *p)
{
    const Inst *f = inst_of(fn, p->forward), *b = inst_of(fn, p->backward);
    for (uint32_t i = 0; i < p->d->nparams; i++)
        fn->args[b->first + i] = inst_arg(fn, f, p->d->params[i]);
}

static Fn *join(Autodiff *ad, Fn *fn, const Pair *p)
{
    Module *m = ad->m;
    share_operands(fn, p);
    bool *in = NEW_ARRAY(ad->arena, bool, fn->ninsts + 1);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *inst = &fn->insts[i];
        Value v = {i};
        if (inst->op == OP_proj) v = inst_arg(fn, inst, 0);
        in[i] = value_eq(v, p->forward) || value_eq(v, p->backward);
    }
    Str stem = str_printf(&m->strs, "%s.joint", str_of(m, p->d->of->name));
    Outline o = {
        .in = in,
        .copied = NEW_ARRAY(ad->arena, bool, fn->ninsts + 1),
        .name = fn_fresh_name(m, str_of(m, stem)),
        .kind = str_printf(&m->strs, "%s.joint", str_of(m, p->d->of->kind)),
        .finish = inline_both};
    return outline(m, fn, &o);
}

Fn *join_losses(Autodiff *ad, Fn *fn)
{
    Pair p;
    while (find_pair(ad, fn, &p))
        fn = join(ad, fn, &p);
    return fn;
}
