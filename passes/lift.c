/*
 * lift.c: what repeats make of weights alone is made in front of them.
 *
 *     %r = repeat ..., %wk, %wv        body: %w = concat %wk, %wv
 *
 * becomes a concatenation, with the repeat's axis, in front of the repeat, of
 * which the body takes a row.  What is made of invariant operands becomes one.
 * Names and places, concatenations, maps and reductions of weights can be
 * moved; what is small, in front of all repeats.
 */
#include "lift.h"

#include "repeat.h"

/* How a body sees what a value is made of: a row in each turn, or all of it in
 * all of them. */
typedef enum Seen { SEEN_none, SEEN_whole, SEEN_row } Seen;

typedef struct Plan {
    const Lift *l;
    const Fn *body;
    uint32_t carry, whole; /* operands: carried; those and invariant */
    Seen *seen;            /* by value; none: not made of weights alone */
    Value *lifted;         /* those that become invariant first */
    Value *made;           /* what they are outside, or none */
    uint32_t n, ninvariant;
} Plan;

static bool can_move(const Module *m, const Inst *in)
{
    if (in->nargs == 0 || in->nargs > MOST_LIFTED_ARGS) return false;
    return in->op == OP_rename || in->op == OP_merge || in->op == OP_concat ||
           in->op == OP_reduce ||
           (in->op == OP_map && !attr_flag(m, in->attr, AT_pinned));
}

static Seen param_seen(const Plan *p, uint32_t id, uint32_t i)
{
    if (value_eq(p->l->weights->origin[id][i], NO_VALUE)) return SEEN_none;
    return i < p->whole ? SEEN_whole : SEEN_row;
}

static Seen inst_seen(const Plan *p, const Inst *in)
{
    if (!can_move(p->l->m, in)) return SEEN_none;
    Seen seen = p->seen[inst_arg(p->body, in, 0).id];
    for (uint32_t k = 1; k < in->nargs; k++)
        if (p->seen[inst_arg(p->body, in, k).id] != seen) return SEEN_none;
    return seen;
}

static void find_lifted(Plan *p, uint32_t id, Seen seen)
{
    for (uint32_t i = p->body->nparams; i < p->body->ninsts; i++)
        if (p->seen[i] == seen && p->l->wanted(p->l->user, id, (Value){i}))
            p->lifted[p->n++] = (Value){i};
}

static Plan *plan(const Lift *l, const Inst *repeat)
{
    const Module *m = l->m;
    Repeat r = repeat_of(m, repeat);
    uint32_t id = r.fn.id;
    Plan *p = NEW(m->scratch, Plan);
    *p = (Plan){.l = l,
                .body = m->fns.at[id],
                .carry = r.carry,
                .whole = r.carry + r.invariant};
    const Fn *fn = p->body;
    p->seen = NEW_ARRAY(m->scratch, Seen, (size_t)fn->ninsts + 1);
    p->lifted = NEW_ARRAY(m->scratch, Value, (size_t)fn->ninsts + 1);
    p->made = no_values(m->scratch, fn->ninsts);
    for (uint32_t i = 0; i < fn->ninsts; i++)
        p->seen[i] = i < fn->nparams ? param_seen(p, id, i)
                                     : inst_seen(p, &fn->insts[i]);
    find_lifted(p, id, SEEN_whole);
    p->ninvariant = p->n;
    find_lifted(p, id, SEEN_row);
    return p->n ? p : NULL;
}

static void lifted_params(const Plan *p, Rewrite *rw, uint32_t from,
                          uint32_t to)
{
    for (uint32_t k = from; k < to; k++) {
        Value v = p->lifted[k];
        Port port = {.name = p->body->names[v.id],
                     .type = value_type(p->body, v),
                     .loc = inst_of(p->body, v)->loc};
        rewrite_set(rw, v, builder_param(&rw->b, port));
    }
}

/* What is lifted becomes parameters: behind the invariant ones, and in front of
 * the turn. */
static Fn *rebuild_body(const Plan *p)
{
    const Fn *old = p->body;
    Module *m = p->l->m;
    Rewrite rw = {.old = old, .map = NEW_ARRAY(m->scratch, Value, old->ninsts)};
    Fn *fn = fn_new(m, old->name, old->view);
    fn->loc = old->loc;
    builder_init(&rw.b, m, fn);
    for (uint32_t i = 0; i < old->ninsts; i++)
        rw.map[i] = NO_VALUE;
    for (uint32_t i = 0; i < old->nparams; i++) {
        if (i == p->whole) lifted_params(p, &rw, 0, p->ninvariant);
        if (i + 1 == old->nparams) lifted_params(p, &rw, p->ninvariant, p->n);
        rewrite_set(&rw, (Value){i}, builder_param(&rw.b, old->params[i]));
    }
    for (uint32_t i = old->nparams; i < old->ninsts; i++)
        if (value_eq(rw.map[i], NO_VALUE)) rewrite_copy(&rw, (Value){i});
    return rewrite_end(&rw);
}

static Value outside_reduce(Rewrite *rw, const Inst *in, Value x)
{
    Module *m = rw->b.m;
    const AttrItem *axes = attr_get(m, in->attr, AT_axes);
    DType acc = dtype_acc(type_dtype(m, value_type(rw->b.fn, x)));
    return emit_reduce(&rw->b, str_of(m, attr_str(m, in->attr, AT_kind)), x,
                       axes->axes, axes->n, type_dtype(m, in->type),
                       attr_dtype(m, in->attr, AT_acc, acc));
}

/* Value V of the body, of all that the repeat is handed. */
static Value outside(Rewrite *rw, const Plan *p, const Inst *repeat, Value v)
{
    Module *m = rw->b.m;
    const Inst *in = inst_of(p->body, v);
    const AttrItem *from = attr_get(m, in->attr, AT_from);
    const AttrItem *to = attr_get(m, in->attr, AT_to);
    Value args[MOST_LIFTED_ARGS];
    if (in->op == OP_arg)
        return rewrite_value(rw, inst_arg(rw->old, repeat, v.id));
    for (uint32_t k = 0; k < in->nargs; k++)
        args[k] = outside(rw, p, repeat, inst_arg(p->body, in, k));
    rw->b.loc = in->loc;
    rw->b.phase = PHASE_forward; /* so that all repeats share it */
    if (in->op == OP_map)
        return emit_map(&rw->b, attr_expr(m, in->attr), args, in->nargs);
    if (in->op == OP_reduce) return outside_reduce(rw, in, args[0]);
    if (in->op == OP_rename)
        return emit_rename(&rw->b, args[0], from->axes, to->axes, from->n);
    Axis axis = attr_axis(m, in->attr, AT_axis);
    if (in->op == OP_merge)
        return emit_merge(&rw->b, args[0], from->axes, from->n, axis);
    return emit_concat(&rw->b, args, in->nargs, axis);
}

static void rebuild_repeat(Rewrite *rw, const Plan *p, Value old)
{
    Module *m = rw->b.m;
    const Inst *in = inst_of(rw->old, old);
    VEC(Value) args = {0};
    for (uint32_t i = 0; i <= in->nargs; i++) {
        uint32_t from = i == p->whole ? 0 : p->ninvariant;
        uint32_t to = i == in->nargs ? p->n : p->ninvariant;
        for (uint32_t k = from; k < to; k++) {
            if (value_eq(p->made[k], NO_VALUE))
                p->made[k] = outside(rw, p, in, p->lifted[k]);
            vec_push(m->scratch, &args, p->made[k]);
        }
        if (i < in->nargs)
            vec_push(m->scratch, &args,
                     rewrite_value(rw, inst_arg(rw->old, in, i)));
    }
    AttrList l = attr_list(m, in->attr);
    attr_drop(&l, AT_invariant);
    if (p->whole - p->carry + p->ninvariant)
        attr_put_int(&l, AT_invariant, p->whole - p->carry + p->ninvariant);
    rw->b.loc = in->loc;
    rw->b.phase = (Phase)in->phase;
    Value v =
        emit(&rw->b, OP_repeat, in->type, attr_intern(m, &l), args.at, args.n);
    value_set_name(&rw->b, v, rw->old->names[old.id]);
    rewrite_set(rw, old, v);
}

/* Whether it is made of what the caller has in front of its instruction AT. */
static bool is_there(const Plan *p, const Fn *caller, const Inst *repeat,
                     Value v, uint32_t at)
{
    const Inst *in = inst_of(p->body, v);
    if (in->op == OP_arg) return inst_arg(caller, repeat, v.id).id < at;
    for (uint32_t k = 0; k < in->nargs; k++)
        if (!is_there(p, caller, repeat, inst_arg(p->body, in, k), at))
            return false;
    return true;
}

/* In front of the first repeat, the caller's AT, little things are made that
 * can be there: who reads a weight can do so for all of them. */
static void make_first(Rewrite *rw, Plan *const *plans, uint32_t at)
{
    for (uint32_t i = at; i < rw->old->ninsts; i++) {
        const Inst *repeat = &rw->old->insts[i];
        for (uint32_t k = 0; plans[i] && k < plans[i]->n; k++) {
            Value v = plans[i]->lifted[k];
            const Lift *l = plans[i]->l;
            uint32_t body = attr_fn(l->m, repeat->attr, AT_fn).id;
            if (l->small && l->small(l->user, body, v) &&
                is_there(plans[i], rw->old, repeat, v, at))
                plans[i]->made[k] = outside(rw, plans[i], repeat, v);
        }
    }
}

bool lift_out(const Lift *l, uint32_t f)
{
    Module *m = l->m;
    const Fn *fn = m->fns.at[f];
    Plan **plans = NEW_ARRAY(m->scratch, Plan *, (size_t)fn->ninsts + 1);
    bool any = false;
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        if (fn->insts[i].op != OP_repeat) continue;
        plans[i] = plan(l, &fn->insts[i]);
        any |= plans[i] != NULL;
    }
    if (!any) return false;
    Rewrite rw;
    bool first = true;
    rewrite_begin(&rw, m, fn);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        if (first && fn->insts[i].op == OP_repeat) {
            make_first(&rw, plans, i);
            first = false;
        }
        if (plans[i])
            rebuild_repeat(&rw, plans[i], (Value){i});
        else
            rewrite_copy(&rw, (Value){i});
    }
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        if (!plans[i]) continue;
        uint32_t body = attr_fn(m, fn->insts[i].attr, AT_fn).id;
        m->fns.at[body] = rebuild_body(plans[i]);
    }
    m->fns.at[f] = rewrite_end(&rw);
    return true;
}
