/*
 * hoist.c: what every turn of a repeat computes alike is computed once.
 *
 * An instruction of a body is the same in every turn if all its operands are:
 * invariant parameters, and such instructions.  Those that cost something and
 * are small are moved in front of the repeat, with what they need, and come
 * back in as invariant operands.  A cheap map is computed again inside, where
 * it is merged with its users and no value has to be kept; so is a large one,
 * say a bias for each pair of positions, which attention makes tile by tile.
 * What talks to other devices stays: a gather is repeated on purpose.
 *
 * Only a body that a single repeat uses changes, and only without a condition:
 * that would have to run before the first turn.
 */
#include "canonicalise.h"

#include <string.h>

typedef struct Hoist {
    Module *m;
    const Fn *body;
    uint32_t id;           /* of the body */
    uint32_t carry, whole; /* operands: carried; those and invariant */
    int64_t room;          /* elements of a value that is kept */
    bool *alike;           /* of the body: the same in every turn */
    bool *moved;           /* alike, and needed by something that costs */
    bool *given;           /* moved, and an operand of the new body */
    uint32_t ngiven;
} Hoist;

static bool is_free(Hoist *h, const Inst *in)
{
    if (op_info((Op)in->op)->flags & OPF_FREE) return true;
    return in->op == OP_map && canon_is_cheap(h->m, attr_expr(h->m, in->attr));
}

static void find_alike(Hoist *h)
{
    const Fn *fn = h->body;
    for (uint32_t i = h->carry; i < h->whole; i++)
        h->alike[i] = true;
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        uint32_t flags = op_info((Op)in->op)->flags;
        h->alike[i] = (flags & OPF_PURE) && !(flags & OPF_COMM) &&
                      in->op != OP_done && in->op != OP_pending;
        for (uint32_t k = 0; k < in->nargs; k++)
            h->alike[i] = h->alike[i] && h->alike[inst_arg(fn, in, k).id];
    }
}

static bool is_worth(Hoist *h, uint32_t i)
{
    const Inst *in = &h->body->insts[i];
    return h->alike[i] && !is_free(h, in) &&
           !type_info(h->m, in->type)->is_tuple &&
           type_local_elements(h->m, in->type) <= h->room;
}

/* Backwards: what is worth it is moved, and so is what a moved one needs. */
static void find_moved(Hoist *h)
{
    const Fn *fn = h->body;
    for (uint32_t i = fn->ninsts; i-- > fn->nparams;) {
        const Inst *in = &fn->insts[i];
        if (!h->moved[i] && !is_worth(h, i)) continue;
        h->moved[i] = true;
        for (uint32_t k = 0; k < in->nargs; k++)
            h->moved[inst_arg(fn, in, k).id] = true;
    }
}

/* Backwards: what the new body needs and is worth it is given; for anything
 * else it needs the operands. */
static void find_given(Hoist *h)
{
    const Fn *fn = h->body;
    bool *needed = NEW_ARRAY(h->m->scratch, bool, fn->ninsts);
    for (uint32_t j = 0; j < fn->nresults; j++)
        needed[fn->result_values[j].id] = true;
    for (uint32_t i = fn->ninsts; i-- > fn->nparams;) {
        const Inst *in = &fn->insts[i];
        if (!needed[i]) continue;
        h->given[i] = is_worth(h, i);
        h->ngiven += h->given[i];
        for (uint32_t k = 0; k < in->nargs && !h->given[i]; k++)
            needed[inst_arg(fn, in, k).id] = true;
    }
}

/* What is kept is small beside what is carried: an eighth of it. */
static int64_t room_of(const Module *m, const Fn *body, uint32_t carry)
{
    int64_t most = 0;
    for (uint32_t i = 0; i < carry; i++) {
        int64_t n = type_local_elements(m, body->params[i].type);
        if (n > most) most = n;
    }
    return most / 8;
}

static Hoist *plan_hoist(Module *m, const Inst *in, const uint32_t *nuses)
{
    FnRef f = attr_fn(m, in->attr, AT_fn);
    Hoist *h = NEW(m->scratch, Hoist);
    *h = (Hoist){.m = m, .body = fn_of(m, f), .id = f.id};
    if (nuses[f.id] != 1 || h->body->kind.id || attr_get(m, in->attr, AT_while))
        return NULL;
    h->carry = (uint32_t)attr_int(m, in->attr, AT_carry, 0);
    h->whole = h->carry + (uint32_t)attr_int(m, in->attr, AT_invariant, 0);
    h->room = room_of(m, h->body, h->carry);
    h->given = NEW_ARRAY(m->scratch, bool, h->body->ninsts);
    h->alike = NEW_ARRAY(m->scratch, bool, h->body->ninsts);
    h->moved = NEW_ARRAY(m->scratch, bool, h->body->ninsts);
    find_alike(h);
    find_moved(h);
    find_given(h);
    return h->ngiven ? h : NULL;
}

static void given_params(const Hoist *h, Rewrite *rw)
{
    const Fn *old = h->body;
    for (uint32_t i = old->nparams; i < old->ninsts; i++) {
        if (!h->given[i]) continue;
        Port p = {.name = old->names[i],
                  .type = old->insts[i].type,
                  .loc = old->insts[i].loc};
        rewrite_set(rw, (Value){i}, builder_param(&rw->b, p));
    }
}

/* The given values become parameters after the invariant ones. */
static Fn *rebuild_body(const Hoist *h)
{
    const Fn *old = h->body;
    Rewrite rw = {.old = old};
    Fn *fn = fn_new(h->m, old->name, old->view);
    fn->loc = old->loc;
    builder_init(&rw.b, h->m, fn);
    rw.map = NEW_ARRAY(h->m->scratch, Value, old->ninsts);
    memset(rw.map, 0xff, old->ninsts * sizeof *rw.map);
    for (uint32_t i = 0; i < old->nparams; i++) {
        if (i == h->whole) given_params(h, &rw);
        rewrite_set(&rw, (Value){i}, builder_param(&rw.b, old->params[i]));
    }
    for (uint32_t i = old->nparams; i < old->ninsts; i++)
        if (!h->given[i]) rewrite_copy(&rw, (Value){i});
    return rewrite_end(&rw);
}

/* The moved instructions, in front of the repeat; returns, by value of the
 * body, what they have become. */
static Value *emit_moved(Rewrite *rw, const Hoist *h, const Inst *repeat)
{
    const Fn *fn = h->body;
    Value *map = NEW_ARRAY(h->m->scratch, Value, fn->ninsts);
    for (uint32_t i = h->carry; i < h->whole; i++)
        map[i] = rewrite_value(rw, inst_arg(rw->old, repeat, i));
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (!h->moved[i]) continue;
        Value *args = NEW_ARRAY(h->m->scratch, Value, in->nargs);
        for (uint32_t k = 0; k < in->nargs; k++)
            args[k] = map[inst_arg(fn, in, k).id];
        rw->b.loc = in->loc;
        rw->b.phase =
            (Phase)(in->phase > repeat->phase ? in->phase : repeat->phase);
        map[i] = emit(&rw->b, (Op)in->op, in->type, in->attr, args, in->nargs);
        value_set_name(&rw->b, map[i], fn->names[i]);
    }
    return map;
}

static void rebuild_repeat(Rewrite *rw, const Hoist *h, Value old)
{
    Module *m = h->m;
    const Inst *in = inst_of(rw->old, old);
    const Value *moved = emit_moved(rw, h, in);
    VEC(Value) args = {0};
    for (uint32_t i = 0; i < h->whole; i++)
        vec_push(m->scratch, &args,
                 rewrite_value(rw, inst_arg(rw->old, in, i)));
    for (uint32_t i = h->body->nparams; i < h->body->ninsts; i++)
        if (h->given[i]) vec_push(m->scratch, &args, moved[i]);
    for (uint32_t i = h->whole; i < in->nargs; i++)
        vec_push(m->scratch, &args,
                 rewrite_value(rw, inst_arg(rw->old, in, i)));
    AttrList l = attr_list(m, in->attr);
    attr_put_int(&l, AT_invariant, h->whole - h->carry + h->ngiven);
    rw->b.loc = in->loc;
    rw->b.phase = (Phase)in->phase;
    Value v =
        emit(&rw->b, OP_repeat, in->type, attr_intern(m, &l), args.at, args.n);
    value_set_name(&rw->b, v, rw->old->names[old.id]);
    rewrite_set(rw, old, v);
}

bool canon_hoist(Module *m, uint32_t f, const uint32_t *nuses)
{
    const Fn *fn = m->fns.at[f];
    Hoist **plans = NEW_ARRAY(m->scratch, Hoist *, fn->ninsts);
    bool any = false;
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        if (fn->insts[i].op != OP_repeat) continue;
        plans[i] = plan_hoist(m, &fn->insts[i], nuses);
        if (!plans[i]) continue;
        m->fns.at[plans[i]->id] = rebuild_body(plans[i]);
        any = true;
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
    m->fns.at[f] = rewrite_end(&rw);
    return true;
}
