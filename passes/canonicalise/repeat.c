/*
 * repeat.c: repeats lose what their turns do not need.
 *
 *     a carried value that no result needs, not even its own next value's
 *     reader, goes; one that every turn hands on as it came is an invariant
 *     operand, and its final value is the first
 *     an invariant or stacked operand that no turn reads goes
 *     a stacked result that nobody reads goes
 *
 * A body is changed in its place, so only one that a single repeat uses is.
 * A condition reads the carried and invariant operands by their places:
 * with one, these stay.
 */
#include "canonicalise.h"

#include <string.h>

typedef struct Plan {
    const Fn *body;
    uint32_t id;              /* of the body */
    uint32_t carry, whole, n; /* operands: carried; those and invariant; all */
    bool fixed;               /* there is a condition */
    bool *needed;             /* of the body's instructions */
    bool *live;               /* of its results */
    bool *same;               /* carried values that never change */
    uint32_t *field;          /* new field, by old result */
} Plan;

static Value param(uint32_t i)
{
    return (Value){i};
}

/* ------------------------------------------------------------- analysis -- */

static void count_uses(const Module *m, uint32_t *uses)
{
    for (uint32_t i = 0; i < m->fns.n; i++) {
        const Fn *fn = m->fns.at[i];
        for (uint32_t k = 0; k < fn->ninsts; k++) {
            FnRef callees[2];
            uint32_t n = inst_callees(m, &fn->insts[k], callees);
            while (n-- > 0)
                uses[callees[n].id]++;
        }
    }
}

static void mark_from(const Plan *p, Value root)
{
    const Fn *fn = p->body;
    if (p->needed[root.id]) return;
    p->needed[root.id] = true;
    for (uint32_t i = root.id + 1; i-- > fn->nparams;) {
        if (!p->needed[i]) continue;
        const Inst *in = &fn->insts[i];
        for (uint32_t k = 0; k < in->nargs; k++)
            p->needed[inst_arg(fn, in, k).id] = true;
    }
}

/* A result is live that somebody reads, and the next value of what a live
 * result reads. */
static void find_live(const Plan *p)
{
    for (uint32_t i = 0; i < p->body->ninsts; i++)
        if (!(op_info((Op)p->body->insts[i].op)->flags & OPF_PURE))
            mark_from(p, (Value){i});
    for (bool more = true; more;) {
        more = false;
        for (uint32_t j = 0; j < p->body->nresults; j++)
            if (p->live[j] && !p->same[j])
                mark_from(p, p->body->result_values[j]);
        for (uint32_t j = 0; j < p->carry; j++) {
            if (p->live[j] || !p->needed[j]) continue;
            p->live[j] = more = true;
        }
    }
}

static void find_read(const Module *m, const Fn *caller, const Uses *uses,
                      Value repeat, bool *live)
{
    for (uint32_t i = uses->first[repeat.id]; i < uses->first[repeat.id + 1];
         i++) {
        const Inst *user = inst_of(caller, uses->at[i]);
        live[attr_int(m, user->attr, AT_index, 0)] = true;
    }
}

static bool stays(const Plan *p, uint32_t i)
{
    if (p->fixed && i < p->whole) return true;
    if (i < p->carry) return p->live[i] && !p->same[i];
    return p->needed[i];
}

/* A carried value that becomes an invariant one. */
static bool demoted(const Plan *p, uint32_t i)
{
    return i < p->carry && p->same[i] && p->needed[i];
}

static bool changes(const Plan *p)
{
    for (uint32_t i = 0; i < p->n; i++)
        if (!stays(p, i)) return true;
    for (uint32_t j = p->carry; j < p->body->nresults; j++)
        if (!p->live[j]) return true;
    return false;
}

static Plan *plan_repeat(Module *m, const Fn *caller, const Uses *uses, Value v,
                         const uint32_t *nuses)
{
    const Inst *in = inst_of(caller, v);
    FnRef f = attr_fn(m, in->attr, AT_fn);
    Plan *p = NEW(m->scratch, Plan);
    p->body = fn_of(m, f);
    p->id = f.id;
    if (nuses[f.id] != 1 || p->body->kind.id) return NULL;
    p->n = in->nargs;
    p->carry = (uint32_t)attr_int(m, in->attr, AT_carry, 0);
    p->whole = p->carry + (uint32_t)attr_int(m, in->attr, AT_invariant, 0);
    p->fixed = attr_get(m, in->attr, AT_while) != NULL;
    p->needed = NEW_ARRAY(m->scratch, bool, p->body->ninsts);
    p->live = NEW_ARRAY(m->scratch, bool, p->body->nresults);
    p->same = NEW_ARRAY(m->scratch, bool, p->body->nresults);
    find_read(m, caller, uses, v, p->live);
    for (uint32_t i = 0; i < p->carry; i++) {
        p->same[i] = !p->fixed && value_eq(p->body->result_values[i], param(i));
        p->live[i] = p->live[i] || p->fixed;
    }
    find_live(p);
    return changes(p) ? p : NULL;
}

/* ----------------------------------------------------------------- body -- */

static void body_param(const Plan *p, Rewrite *rw, uint32_t i)
{
    Value v = builder_param(&rw->b, p->body->params[i]);
    rewrite_set(rw, param(i), v);
}

/* Carried, invariant, those carried before, stacked, the turn. */
static void body_params(const Plan *p, Rewrite *rw)
{
    for (uint32_t i = 0; i < p->whole; i++)
        if (stays(p, i)) body_param(p, rw, i);
    for (uint32_t i = 0; i < p->carry; i++)
        if (demoted(p, i)) body_param(p, rw, i);
    for (uint32_t i = p->whole; i < p->n; i++)
        if (stays(p, i)) body_param(p, rw, i);
    body_param(p, rw, p->n);
}

static Fn *rebuild_body(Module *m, const Plan *p)
{
    const Fn *old = p->body;
    Rewrite rw = {.old = old, .map = NEW_ARRAY(m->scratch, Value, old->ninsts)};
    Fn *fn = fn_new(m, old->name, old->view);
    fn->loc = old->loc;
    builder_init(&rw.b, m, fn);
    memset(rw.map, 0xff, old->ninsts * sizeof *rw.map);
    body_params(p, &rw);
    for (uint32_t i = old->nparams; i < old->ninsts; i++)
        if (p->needed[i]) rewrite_copy(&rw, (Value){i});
    for (uint32_t j = 0; j < old->nresults; j++)
        if (j < p->carry ? stays(p, j) : p->live[j])
            builder_result(&rw.b, rewrite_value(&rw, old->result_values[j]),
                           old->results[j]);
    return fn;
}

/* --------------------------------------------------------------- caller -- */

static void put_count(AttrList *l, AttrKey k, uint32_t n)
{
    attr_drop(l, k);
    if (n) attr_put_int(l, k, n);
}

typedef VEC(Value) Operands;

static void take(Rewrite *rw, Operands *o, const Inst *in, uint32_t i)
{
    Value v = rewrite_value(rw, inst_arg(rw->old, in, i));
    vec_push(rw->b.m->scratch, o, v);
}

static void rebuild_repeat(Rewrite *rw, Plan *p, Value old)
{
    Module *m = rw->b.m;
    const Inst *in = inst_of(rw->old, old);
    const TypeInfo *tuple = type_info(m, in->type);
    AttrList l = attr_list(m, in->attr);
    Operands o = {0};
    for (uint32_t i = 0; i < p->carry; i++)
        if (stays(p, i)) take(rw, &o, in, i);
    put_count(&l, AT_carry, o.n);
    uint32_t carried = o.n;
    for (uint32_t i = p->carry; i < p->whole; i++)
        if (stays(p, i)) take(rw, &o, in, i);
    for (uint32_t i = 0; i < p->carry; i++)
        if (demoted(p, i)) take(rw, &o, in, i);
    put_count(&l, AT_invariant, o.n - carried);
    for (uint32_t i = p->whole; i < p->n; i++)
        if (stays(p, i)) take(rw, &o, in, i);

    Type *fields = NEW_ARRAY(m->scratch, Type, tuple->nfields);
    uint32_t n = 0;
    p->field = NEW_ARRAY(m->scratch, uint32_t, tuple->nfields);
    for (uint32_t j = 0; j < tuple->nfields; j++) {
        if (!(j < p->carry ? stays(p, j) : p->live[j])) continue;
        p->field[j] = n;
        fields[n++] = tuple->fields[j];
    }
    rw->b.loc = in->loc;
    rw->b.phase = (Phase)in->phase;
    Value v = emit(&rw->b, OP_repeat, type_tuple(m, fields, n),
                   attr_intern(m, &l), o.at, o.n);
    value_set_name(&rw->b, v, rw->old->names[old.id]);
    rewrite_set(rw, old, v);
}

static void rebuild_field(Rewrite *rw, const Plan *p, Value old)
{
    const Inst *in = inst_of(rw->old, old);
    Value repeat = inst_arg(rw->old, in, 0);
    uint32_t j = (uint32_t)attr_int(rw->b.m, in->attr, AT_index, 0);
    if (j < p->carry && p->same[j]) {
        Value first = inst_arg(rw->old, inst_of(rw->old, repeat), j);
        rewrite_set(rw, old, rewrite_value(rw, first));
        return;
    }
    rw->b.loc = in->loc;
    rw->b.phase = (Phase)in->phase;
    Value v = emit_proj(&rw->b, rewrite_value(rw, repeat), p->field[j]);
    value_set_name(&rw->b, v, rw->old->names[old.id]);
    rewrite_set(rw, old, v);
}

static Fn *rebuild_caller(Module *m, const Fn *fn, Plan **plans)
{
    Rewrite rw;
    rewrite_begin(&rw, m, fn);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        Value v = {i};
        if (plans[i])
            rebuild_repeat(&rw, plans[i], v);
        else if (in->op == OP_proj && plans[inst_arg(fn, in, 0).id])
            rebuild_field(&rw, plans[inst_arg(fn, in, 0).id], v);
        else
            rewrite_copy(&rw, v);
    }
    return rewrite_end(&rw);
}

static bool trim_fn(Module *m, uint32_t f, const uint32_t *nuses)
{
    const Fn *fn = m->fns.at[f];
    bool any = false;
    Uses uses = fn_uses(fn, m->scratch);
    Plan **plans = NEW_ARRAY(m->scratch, Plan *, fn->ninsts);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        if (fn->insts[i].op != OP_repeat) continue;
        plans[i] = plan_repeat(m, fn, &uses, (Value){i}, nuses);
        if (!plans[i]) continue;
        m->fns.at[plans[i]->id] = rebuild_body(m, plans[i]);
        any = true;
    }
    if (any) m->fns.at[f] = rebuild_caller(m, fn, plans);
    return any;
}

bool canon_repeats(Module *m)
{
    bool any = false;
    uint32_t *nuses = NEW_ARRAY(m->scratch, uint32_t, m->fns.n);
    count_uses(m, nuses);
    for (uint32_t i = 0; i < m->fns.n; i++) {
        if (m->fns.at[i]->view == VIEW_kernel) continue;
        any = trim_fn(m, i, nuses) || any;
        any = canon_hoist(m, i, nuses) || any;
    }
    return any;
}
