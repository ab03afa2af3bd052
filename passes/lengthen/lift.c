/*
 * lift.c: concatenations of weights move out of the bodies of repeats.
 *
 *     %r = repeat ..., %wk, %wv        body: %w = concat %wk, %wv
 *
 * becomes a concatenation, with the repeat's axis, in front of the repeat, of
 * which the body takes a row.  What the body takes without need then, a
 * canonicalise removes.
 */
#include "lengthen.h"

typedef struct Lift {
    Lengthen *w;
    uint32_t id; /* of the body */
    const Fn *body;
    uint32_t carry;
    bool *weight;  /* by value: names and places of weights */
    Value *concat; /* that are lifted */
    uint32_t n;
} Lift;

static void find_concats(Lift *l)
{
    const Fn *fn = l->body;
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (in->op == OP_arg) {
            l->weight[i] = i >= l->carry && l->w->slots[l->id][i];
            continue;
        }
        bool all = in->nargs > 0 && in->nargs <= MOST_TERMS;
        for (uint32_t k = 0; k < in->nargs; k++)
            all = all && l->weight[inst_arg(fn, in, k).id];
        l->weight[i] = all && (in->op == OP_rename || in->op == OP_merge);
        if (all && in->op == OP_concat) l->concat[l->n++] = (Value){i};
    }
}

static Lift *plan(Lengthen *w, const Inst *in)
{
    const Module *m = w->m;
    FnRef f = attr_fn(m, in->attr, AT_fn);
    Lift *l = NEW(w->a, Lift);
    *l = (Lift){.w = w, .id = f.id, .body = fn_of(m, f)};
    l->carry = (uint32_t)attr_int(m, in->attr, AT_carry, 0);
    l->weight = NEW_ARRAY(w->a, bool, (size_t)l->body->ninsts + 1);
    l->concat = NEW_ARRAY(w->a, Value, (size_t)l->body->ninsts + 1);
    find_concats(l);
    return l->n ? l : NULL;
}

/* The concatenations become stacked parameters in front of the turn. */
static Fn *rebuild_body(const Lift *l)
{
    const Fn *old = l->body;
    Module *m = l->w->m;
    Rewrite rw = {.old = old, .map = NEW_ARRAY(l->w->a, Value, old->ninsts)};
    Fn *fn = fn_new(m, old->name, old->view);
    fn->loc = old->loc;
    builder_init(&rw.b, m, fn);
    for (uint32_t i = 0; i < old->ninsts; i++)
        rw.map[i] = NO_VALUE;
    for (uint32_t i = 0; i < old->nparams; i++) {
        for (uint32_t k = 0; k < l->n && i + 1 == old->nparams; k++) {
            Value v = l->concat[k];
            Port p = {.name = old->names[v.id],
                      .type = value_type(old, v),
                      .loc = inst_of(old, v)->loc};
            rewrite_set(&rw, v, builder_param(&rw.b, p));
        }
        rewrite_set(&rw, (Value){i}, builder_param(&rw.b, old->params[i]));
    }
    for (uint32_t i = old->nparams; i < old->ninsts; i++)
        if (value_eq(rw.map[i], NO_VALUE)) rewrite_copy(&rw, (Value){i});
    return rewrite_end(&rw);
}

/* Value V of the body, of all that the repeat is handed. */
static Value outside(Rewrite *rw, const Lift *l, const Inst *repeat, Value v)
{
    Module *m = rw->b.m;
    const Inst *in = inst_of(l->body, v);
    const AttrItem *from = attr_get(m, in->attr, AT_from);
    const AttrItem *to = attr_get(m, in->attr, AT_to);
    Value args[MOST_TERMS];
    if (in->op == OP_arg)
        return rewrite_value(rw, inst_arg(rw->old, repeat, v.id));
    for (uint32_t k = 0; k < in->nargs; k++)
        args[k] = outside(rw, l, repeat, inst_arg(l->body, in, k));
    rw->b.loc = in->loc;
    rw->b.phase = PHASE_forward; /* so that all repeats share it */
    if (in->op == OP_rename)
        return emit_rename(&rw->b, args[0], from->axes, to->axes, from->n);
    Axis axis = attr_axis(m, in->attr, AT_axis);
    if (in->op == OP_merge)
        return emit_merge(&rw->b, args[0], from->axes, from->n, axis);
    return emit_concat(&rw->b, args, in->nargs, axis);
}

static void rebuild_repeat(Rewrite *rw, const Lift *l, Value old)
{
    const Inst *in = inst_of(rw->old, old);
    VEC(Value) args = {0};
    for (uint32_t i = 0; i < in->nargs; i++)
        vec_push(l->w->a, &args, rewrite_value(rw, inst_arg(rw->old, in, i)));
    for (uint32_t k = 0; k < l->n; k++)
        vec_push(l->w->a, &args, outside(rw, l, in, l->concat[k]));
    rw->b.loc = in->loc;
    rw->b.phase = (Phase)in->phase;
    Value v = emit(&rw->b, OP_repeat, in->type, in->attr, args.at, args.n);
    value_set_name(&rw->b, v, rw->old->names[old.id]);
    rewrite_set(rw, old, v);
}

bool lengthen_lift(Lengthen *w, uint32_t f)
{
    Module *m = w->m;
    const Fn *fn = m->fns.at[f];
    Lift **plans = NEW_ARRAY(w->a, Lift *, (size_t)fn->ninsts + 1);
    bool any = false;
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        if (fn->insts[i].op != OP_repeat) continue;
        plans[i] = plan(w, &fn->insts[i]);
        any |= plans[i] != NULL;
    }
    if (!any) return false;
    Rewrite rw;
    rewrite_begin(&rw, m, fn);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        if (plans[i])
            rebuild_repeat(&rw, plans[i], (Value){i});
        else
            rewrite_copy(&rw, (Value){i});
    }
    for (uint32_t i = 0; i < fn->ninsts; i++)
        if (plans[i]) m->fns.at[plans[i]->id] = rebuild_body(plans[i]);
    m->fns.at[f] = rewrite_end(&rw);
    return true;
}
