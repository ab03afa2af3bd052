/*
 * order.c: verifying streams and events of the kernel view.
 *
 * What each launch and loop says is checked with its op.  Once for the module:
 * that the list writes what it reads (K5), and that every two steps that touch
 * the same bytes are ordered as in the list (EV4, EV5); in one stream all are.
 */
#include "verify.h"

/* The step in front of this one that signals an event, or NULL. */
static const Inst *signaller(const Verify *vf, int64_t event)
{
    for (uint32_t i = 0; i < vf->v.id; i++) {
        const Inst *in = &vf->fn->insts[i];
        if (is_step(in) && attr_get(vf->m, in->attr, AT_signal) &&
            attr_int(vf->m, in->attr, AT_signal, 0) == event)
            return in;
    }
    return NULL;
}

static bool check_waits(const Verify *vf)
{
    const AttrItem *wait = verify_list(vf, AT_wait);
    for (uint32_t i = 0; wait && i < wait->n; i++) {
        if (!signaller(vf, wait->ints[i]))
            return verify_fail(vf, "nothing before it signals event %lld (EV3)",
                               (long long)wait->ints[i]);
        for (uint32_t k = 0; k < i; k++)
            if (wait->ints[k] == wait->ints[i])
                return verify_fail(vf, "it waits twice for event %lld (EV3)",
                                   (long long)wait->ints[i]);
    }
    return true;
}

bool verify_step(const Verify *vf)
{
    int64_t stream = verify_int(vf, AT_stream, 0);
    int64_t event = verify_int(vf, AT_signal, 0);
    if (stream < 0 || stream >= MOST_STREAMS)
        return verify_fail(vf, "stream %lld, streams count from 0 to %d (EV1)",
                           (long long)stream, MOST_STREAMS - 1);
    if (event < 0) return verify_fail(vf, "events count from 0 (EV2)");
    if (verify_list(vf, AT_signal) && signaller(vf, event))
        return verify_fail(vf, "event %lld is signalled before (EV2)",
                           (long long)event);
    return check_waits(vf);
}

/* ------------------------------------------------------------ the module -- */

typedef struct Judge {
    Module *m;
    const Fn *fn;
    bool one_stream;
    StepOrder order;
} Judge;

static const char *callee_name(const Judge *j, const Inst *in)
{
    return str_of(j->m, fn_of(j->m, attr_fn(j->m, in->attr, AT_fn))->name);
}

static bool fail_pair(const Judge *j, uint32_t early, uint32_t late,
                      const char *why)
{
    const Inst *x = &j->fn->insts[early], *in = &j->fn->insts[late];
    Verify vf = {j->m, j->fn, {late}, in};
    return verify_fail(
        &vf,
        "@%s on stream %u is not ordered with @%s on stream %u before it, %s",
        callee_name(j, in), j->order.stream[late], callee_name(j, x),
        j->order.stream[early], why);
}

static bool check_clash(void *user, const Access *early, const Access *late)
{
    const Judge *j = user;
    if (order_before(&j->order, early->step, late->step)) return true;
    return fail_pair(j, early->step, late->step,
                     "and one writes what the other uses (EV4)");
}

/* By space of the function's own, and from there on by access: the next write,
 * plus 1; 0: none. */
typedef struct Writes {
    uint32_t *first, *next;
} Writes;

static Writes writes_of(const Judge *j, const FnSteps *s)
{
    uint32_t spaces = s->own;
    for (uint32_t i = 0; i < s->n; i++)
        if (s->at[i].space >= spaces) spaces = s->at[i].space + 1;
    Writes w = {
        NEW_ARRAY(j->m->scratch, uint32_t, (size_t)(spaces - s->own) + 1),
        NEW_ARRAY(j->m->scratch, uint32_t, (size_t)s->n + 1)};
    for (uint32_t i = s->n; i-- > 0;) {
        if (!s->at[i].write || s->at[i].space < s->own) continue;
        uint32_t *first = &w.first[s->at[i].space - s->own];
        w.next[i] = *first;
        *first = i + 1;
    }
    return w;
}

/* The list has to be an order in which all is written before it is read: the
 * other orders are held against it alone.  A turn may read what an earlier turn
 * of the same loop has written.  A place of a base is other buffers' too. */
static bool is_written(const Judge *j, const FnSteps *s, const Writes *w,
                       const Access *read)
{
    bool loop = j->fn->insts[read->step].op == OP_loop;
    for (uint32_t i = w->first[read->space - s->own]; i; i = w->next[i - 1]) {
        const Access *x = &s->at[i - 1];
        if (x->step > read->step) return false;
        if (x->first < read->end && read->first < x->end &&
            (loop || x->step < read->step))
            return true;
    }
    return false;
}

/* A transfer may bring a row that the turn writes over. */
static bool is_transfer(const Judge *j, const Inst *in)
{
    const Fn *fn = fn_of(j->m, attr_fn(j->m, in->attr, AT_fn));
    return fn_kind(j->m, fn) == FK_transfer;
}

static bool check_written(const Judge *j, const FnSteps *s)
{
    ArenaMark mark = arena_mark(j->m->scratch);
    Writes w = writes_of(j, s);
    for (uint32_t i = 0; i < s->n; i++) {
        const Access *x = &s->at[i];
        const Inst *in = &j->fn->insts[x->step];
        if (x->write || x->space < s->own || is_transfer(j, in) ||
            is_written(j, s, &w, x))
            continue;
        Verify vf = {j->m, j->fn, {x->step}, in};
        return verify_fail(&vf, "@%s reads what nothing before it writes (K5)",
                           callee_name(j, in));
    }
    arena_pop(j->m->scratch, mark);
    return true;
}

/* A host point is alone. */
static bool check_point(const Judge *j, uint32_t point)
{
    Verify vf = {j->m, j->fn, {point}, &j->fn->insts[point]};
    if (j->order.stream[point] != 0)
        return verify_fail(&vf, "a guarded loop in stream %u (EV5)",
                           j->order.stream[point]);
    for (uint32_t i = 0; i < j->fn->ninsts; i++) {
        if (!is_step(&j->fn->insts[i]) || i == point) continue;
        uint32_t early = i < point ? i : point, late = i < point ? point : i;
        if (!order_before(&j->order, early, late))
            return fail_pair(j, early, late,
                             "and one of them is guarded (EV5)");
    }
    return true;
}

static bool check_steps(void *user, const FnSteps *s)
{
    Judge *j = user;
    j->fn = fn_of(j->m, s->fn);
    if (!check_written(j, s)) return false;
    if (j->one_stream) return true;
    j->order = order_of(j->m, j->fn, j->m->scratch);
    for (uint32_t i = 0; i < j->fn->ninsts; i++)
        if (s->point[i] && !check_point(j, i)) return false;
    return steps_clashes(s, j->m->scratch, check_clash, j);
}

bool verify_module_order(Module *m)
{
    Judge j = {.m = m, .one_stream = module_streams(m) == 1};
    return steps_walk(m, m->scratch, check_steps, &j);
}
