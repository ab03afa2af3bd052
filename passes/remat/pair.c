/*
 * pair.c: a repeat and the one that runs its backward.
 *
 * The backward is a repeat of later phase over the same axis with as many
 * turns, whose turns read rows that the forward stacked.  Whatever it reads
 * besides, at turn i it may read what turn i of the forward did, so any value
 * of the forward's body can be made again in it; which of two repeats belongs
 * to the other is a question of worth, not of meaning.
 *
 * The rows, the operands that both take, the turn, and what the backward
 * makes from them in the way the forward did, are values of the forward's
 * body.  All else is the backward's own.
 */
#include "remat.h"

#include "../same.h"

enum { DEEP = 8 }; /* the longest chain that is seen to be made twice */

static bool is_turn(const Fn *body, uint32_t v)
{
    return v + 1 == body->nparams;
}

bool is_at_hand(const Pair *p, uint32_t v)
{
    return v < p->of->nparams && v >= p->f.carry;
}

/* The stacked result of F that operand V is, or -1. */
static int64_t row_of(const Module *m, const Fn *caller, Value v, Value forward)
{
    const Inst *in = inst_of(caller, v);
    if (in->op != OP_proj || !value_eq(inst_arg(caller, in, 0), forward))
        return -1;
    int64_t at = attr_int(m, in->attr, AT_index, 0);
    Repeat f = repeat_of(m, inst_of(caller, forward));
    return at >= f.carry ? at : -1;
}

/* --------------------------------------------------------------- finding -- */

static bool fits(const Module *m, const Fn *caller, Value forward,
                 const Pair *p)
{
    const Inst *in = inst_of(caller, forward);
    if (in->op != OP_repeat || in->phase >= inst_of(caller, p->backward)->phase)
        return false;
    Repeat f = repeat_of(m, in);
    return !f.has_while && f.axis.id == p->b.axis.id && f.count == p->b.count &&
           f.reverse != p->b.reverse;
}

/* The one of which the backward reads most rows. */
static bool find_forward(const Module *m, Pair *p)
{
    uint32_t most = 0;
    const Inst *b = inst_of(p->caller, p->backward);
    for (uint32_t i = p->caller->nparams; i < p->backward.id; i++) {
        uint32_t rows = 0;
        if (!fits(m, p->caller, (Value){i}, p)) continue;
        for (uint32_t k = p->b.carry + p->b.invariant; k < b->nargs; k++)
            rows += row_of(m, p->caller, inst_arg(p->caller, b, k),
                           (Value){i}) >= 0;
        if (rows <= most) continue;
        most = rows;
        p->forward = (Value){i};
    }
    if (most == 0) return false;
    p->f = repeat_of(m, inst_of(p->caller, p->forward));
    return true;
}

/* -------------------------------------------------------------- matching -- */

static Value param_same(const Module *m, const Pair *p, uint32_t i)
{
    const Inst *f = inst_of(p->caller, p->forward);
    const Inst *b = inst_of(p->caller, p->backward);
    if (is_turn(p->back, i)) return (Value){p->of->nparams - 1};
    if (i < p->b.carry) return NO_VALUE;
    Value operand = inst_arg(p->caller, b, i);
    bool stacked = i >= p->b.carry + p->b.invariant;
    int64_t row = stacked ? row_of(m, p->caller, operand, p->forward) : -1;
    if (row >= 0) return p->of->result_values[row];
    uint32_t first = p->f.carry + (stacked ? p->f.invariant : 0);
    uint32_t end = stacked ? f->nargs : p->f.carry + p->f.invariant;
    for (uint32_t k = first; k < end; k++)
        if (same_value(p->caller, inst_arg(p->caller, f, k), operand, DEEP))
            return (Value){k};
    return NO_VALUE;
}

static bool makes_same(const Pair *p, const Inst *in, uint32_t at)
{
    const Inst *of = &p->of->insts[at];
    if (of->op != in->op || !type_eq(of->type, in->type) ||
        of->attr.id != in->attr.id || of->nargs != in->nargs)
        return false;
    for (uint32_t k = 0; k < in->nargs; k++)
        if (!value_eq(p->same[inst_arg(p->back, in, k).id],
                      inst_arg(p->of, of, k)))
            return false;
    return true;
}

static Value inst_same(const Pair *p, uint32_t i)
{
    const Inst *in = &p->back->insts[i];
    if (!(op_info((Op)in->op)->flags & OPF_PURE)) return NO_VALUE;
    for (uint32_t k = p->of->nparams; k < p->of->ninsts; k++)
        if (makes_same(p, in, k)) return (Value){k};
    return NO_VALUE;
}

static void find_params(Module *m, Pair *p)
{
    p->same = NEW_ARRAY(m->scratch, Value, p->back->ninsts + 1);
    for (uint32_t i = 0; i < p->back->nparams; i++)
        p->same[i] = param_same(m, p, i);
}

void pair_match(Pair *p)
{
    for (uint32_t i = p->back->nparams; i < p->back->ninsts; i++)
        p->same[i] = inst_same(p, i);
}

void pair_keep_read(Module *m, const Pair *p, const bool *wanted, bool *given)
{
    const Fn *back = p->back;
    bool *read = NEW_ARRAY(m->scratch, bool, back->ninsts + 1);
    for (uint32_t i = back->nparams; i < back->ninsts; i++) {
        const Inst *in = &back->insts[i];
        for (uint32_t k = 0; wanted[i] && k < in->nargs; k++)
            read[inst_arg(back, in, k).id] = true;
    }
    for (uint32_t i = 0; i < back->nparams; i++)
        given[i] &= read[i];
}

void pair_copy(Module *m, Pair *p, const bool *wanted)
{
    Rewrite rw;
    rewrite_begin(&rw, m, p->of);
    for (uint32_t i = p->of->nparams; i < p->of->ninsts; i++) {
        if (i == p->early) p->early = rw.b.fn->ninsts;
        rewrite_copy(&rw, (Value){i});
    }
    p->late = rw.b.fn->ninsts;
    if (p->early > p->late) p->early = p->late;
    for (uint32_t i = 0; i < p->back->ninsts; i++)
        if (!value_eq(p->same[i], NO_VALUE))
            p->same[i] = rewrite_value(&rw, p->same[i]);
    for (uint32_t i = p->back->nparams; i < p->back->ninsts; i++) {
        const Inst *in = &p->back->insts[i];
        if (!wanted[i]) continue;
        Value *args = NEW_ARRAY(m->scratch, Value, in->nargs + 1u);
        for (uint32_t k = 0; k < in->nargs; k++)
            args[k] = p->same[inst_arg(p->back, in, k).id];
        rw.b.loc = in->loc;
        rw.b.phase = PHASE_forward;
        p->same[i] =
            emit(&rw.b, (Op)in->op, in->type, in->attr, args, in->nargs);
        value_set_name(&rw.b, p->same[i], p->back->names[i]);
    }
    p->of = rewrite_end(&rw);
}

bool pair_begin(Module *m, Fn *caller, Value backward, Pair *out)
{
    *out = (Pair){.caller = caller,
                  .backward = backward,
                  .b = repeat_of(m, inst_of(caller, backward))};
    if (!find_forward(m, out)) return false;
    out->of = fn_of(m, out->f.fn);
    out->back = fn_of(m, out->b.fn);
    out->early = out->late = out->of->ninsts;
    find_params(m, out);
    return true;
}

/* Rows that are read by more than the backward's turns. */
static void find_asked(Module *m, const Uses *u, Pair *p)
{
    const Fn *fn = p->caller;
    p->asked = NEW_ARRAY(m->scratch, bool, p->of->nresults + 1);
    const Inst *b = inst_of(fn, p->backward);
    for (uint32_t at = u->first[p->forward.id];
         at < u->first[p->forward.id + 1]; at++) {
        uint32_t i = u->at[at].id;
        int64_t row = row_of(m, fn, (Value){i}, p->forward);
        if (row < 0) continue;
        uint32_t read = u->first[i + 1] - u->first[i] + u->nresult[i];
        for (uint32_t k = p->b.carry + p->b.invariant; k < b->nargs; k++)
            read -= inst_arg(fn, b, k).id == i;
        p->asked[row] |= read > 0;
    }
}

static bool is_taken(const Pairs *pairs, const Pair *p)
{
    for (uint32_t i = 0; i < pairs->at.n; i++)
        if (pairs->at.at[i]->caller == p->caller &&
            value_eq(pairs->at.at[i]->forward, p->forward))
            return true;
    return false;
}

static bool same_repeat(const Repeat *x, const Repeat *y)
{
    return x->fn.id == y->fn.id && x->axis.id == y->axis.id &&
           x->count == y->count && x->carry == y->carry &&
           x->invariant == y->invariant && x->reverse == y->reverse;
}

/* Microbatches of a pipeline run one body, and what the backward's parameters
 * are decides what all its values are. */
static bool is_like(const Pair *p, const Pair *q)
{
    if (!same_repeat(&p->f, &q->f) || !same_repeat(&p->b, &q->b)) return false;
    for (uint32_t i = 0; i < p->back->nparams; i++)
        if (!value_eq(p->same[i], q->same[i])) return false;
    return memcmp(p->asked, q->asked, p->of->nresults * sizeof *p->asked) == 0;
}

static const Pair *find_like(const Pairs *pairs, const Pair *p)
{
    for (uint32_t i = 0; i < pairs->at.n; i++)
        if (is_like(p, pairs->at.at[i]->like)) return pairs->at.at[i]->like;
    return NULL;
}

/* The first twin that no other pair has. */
static uint32_t free_twin(const Pairs *pairs)
{
    uint32_t n = 1;
    for (uint32_t i = 0; i < pairs->at.n; i++) {
        const Pair *p = pairs->at.at[i];
        if (p->twins + p->of->ninsts > n) n = p->twins + p->of->ninsts;
    }
    return n;
}

/* What the two bodies have to do with each other. */
static void find_bodies(Module *m, const Pairs *pairs, Pair *p)
{
    p->like = find_like(pairs, p);
    if (p->like) {
        p->of = p->like->of;
        p->same = p->like->same;
        p->early = p->like->early;
        p->late = p->like->late;
        p->turns = p->like->turns;
        p->products = p->like->products;
        p->twins = p->like->twins;
        return;
    }
    pair_match(p);
    pair_add_early(m, p);
    pair_add_gathered(m, p);
    p->products = products_find(m, p->of);
    p->twins = free_twin(pairs);
}

static void find_in(Module *m, const PassCtx *cx, Fn *fn, Pairs *out)
{
    Uses u = fn_uses(fn, m->scratch);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (in->op != OP_repeat || in->phase == PHASE_forward) continue;
        Pair p;
        if (!pair_begin(m, fn, (Value){i}, &p)) {
            pass_missed(m, cx, in->loc,
                        "this repeat reads no rows of another one");
            continue;
        }
        if (is_taken(out, &p)) {
            pass_missed(m, cx, in->loc,
                        "another repeat is the backward of the one whose rows "
                        "this reads");
            continue;
        }
        p.path = forward_path(m, p.of);
        find_asked(m, &u, &p);
        find_bodies(m, out, &p);
        Pair *kept = NEW(m->scratch, Pair);
        *kept = p;
        if (!kept->like) kept->like = kept;
        vec_push(m->scratch, &out->at, kept);
    }
}

Pairs pairs_find(Module *m, const PassCtx *cx, const RematRules *rules)
{
    Pairs pairs = {0};
    pairs_give(m, remat_has_budget(rules) || remat_says_gathered(rules));
    for (uint32_t i = 0; i < m->fns.n; i++)
        if (m->fns.at[i]) find_in(m, cx, m->fns.at[i], &pairs);
    return pairs;
}
