/*
 * steps.c: the launches and loops of a kernel function, in an order that its
 * streams and events allow.
 *
 * Without `order` that is the order of the list.  With it the next step is any
 * whose predecessors are done: mostly one of a stream that the seed favours, so
 * that this stream runs as far ahead of the others as it may, which is where an
 * event that is missing shows.  A loop is one step.
 *
 * A buffer of the frame or a lane is poisoned after the last step that uses
 * it, last in the order of this run, but for bytes that another buffer took
 * over, row by row, in that very loop, whether it was born there or before
 * (live.h).  No other buffer that holds something has bytes of it then: two
 * that are used together share bytes only where the older one dies in a loop,
 * in all orders, and what the loop fills of the younger one it is handed, so
 * both are operands of that step.
 */
#include "run.h"

struct Queue {
    Frame *f;
    StepOrder order;
    uint32_t *left; /* by step: predecessors that are not done */
    bool *done;     /* by instruction */
    uint32_t streams;
    uint32_t *root; /* by value: the buffer or argument behind it */
    uint32_t *uses; /* by root: steps that use it and are not done */
    bool any;       /* order that is allowed; else that of the list */
    uint32_t first; /* in that of the list: the first step that is not done */
};

/* How often a step uses each root is no matter: it counts once an operand. */
static void count_uses(Queue *q)
{
    const Fn *fn = q->f->fn;
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        q->root[i] = in->op == OP_view ? q->root[inst_arg(fn, in, 0).id] : i;
        for (uint32_t k = 0; k < in->nargs && is_step(in); k++)
            q->uses[q->root[inst_arg(fn, in, k).id]]++;
    }
    for (uint32_t i = 0; i < fn->nresults; i++) /* never the last use */
        q->uses[q->root[fn->result_values[i].id]]++;
}

static void count_left(Queue *q)
{
    const Fn *fn = q->f->fn;
    for (uint32_t i = 0; i < fn->ninsts; i++)
        for (uint32_t k = 0; k < i && is_step(&fn->insts[i]); k++)
            if (is_step(&fn->insts[k]) && order_before(&q->order, k, i))
                q->left[i]++;
}

static bool is_temporary(const Queue *q, const Inst *in)
{
    const Module *m = q->f->r->m;
    return in->op == OP_buffer && !attr_is(m, in->attr, AT_base, "io") &&
           !attr_is(m, in->attr, AT_base, "persistent");
}

static bool uses_root(const Queue *q, uint32_t step, uint32_t root)
{
    const Fn *fn = q->f->fn;
    const Inst *in = &fn->insts[step];
    for (uint32_t k = 0; k < in->nargs; k++)
        if (q->root[inst_arg(fn, in, k).id] == root) return true;
    return false;
}

/* Another buffer that step `step` uses has byte `at`, and goes on to *to; else
 * *to is where the next one begins. */
static bool is_taken(const Queue *q, uint32_t step, uint32_t root, int64_t at,
                     int64_t *to)
{
    const Frame *f = q->f;
    const Val *v = &f->vals[root];
    bool taken = false;
    for (uint32_t i = 0; i < f->fn->ninsts; i++) {
        const Val *x = &f->vals[i];
        if (i == root || f->fn->insts[i].op != OP_buffer ||
            x->place.space != v->place.space || q->uses[i] == 0 ||
            !uses_root(q, step, i))
            continue;
        int64_t begin = x->place.offset, end = begin + place_extent(f->r, x);
        bool here = begin <= at && at < end;
        if (here && (!taken || end > *to)) *to = end;
        if (!here && !taken && begin > at && begin < *to) *to = begin;
        taken |= here;
    }
    return taken;
}

static void poison_rest(const Queue *q, uint32_t step, uint32_t root)
{
    const Run *r = q->f->r;
    const Val *v = &q->f->vals[root];
    bool loop = q->f->fn->insts[step].op == OP_loop;
    int64_t at = v->place.offset, end = at + place_extent(r, v);
    while (at < end) {
        int64_t to = end;
        bool taken = loop && is_taken(q, step, root, at, &to);
        if (to > end) to = end;
        if (!taken) place_poison(r, v, at, to);
        at = to;
    }
}

/* False: it waits for a message. */
static bool run_step(Queue *q, uint32_t i)
{
    Frame *f = q->f;
    const Inst *in = &f->fn->insts[i];
    f->next = i;
    f->blocked = false;
    run_inst(f, (Value){i}, &f->vals[i]);
    if (f->blocked) return false;
    q->done[i] = true;
    for (uint32_t k = 0; k < in->nargs && !f->r->failed; k++) {
        uint32_t root = q->root[inst_arg(f->fn, in, k).id];
        if (--q->uses[root] == 0 && is_temporary(q, &f->fn->insts[root]))
            poison_rest(q, i, root);
    }
    return true;
}

static uint32_t draw(Run *r, uint32_t n)
{
    return philox(r->o.order, 0, r->draws++) % n;
}

/* Any step that may run now; UINT32_MAX: all are done. */
static uint32_t any_ready(Queue *q)
{
    Run *r = q->f->r;
    uint32_t favourite = (uint32_t)(r->o.order % q->streams);
    bool favour = draw(r, 4) != 0;
    uint32_t n = 0, pick = UINT32_MAX, favoured = UINT32_MAX;
    for (uint32_t i = 0; i < q->f->fn->ninsts; i++) {
        if (!is_step(&q->f->fn->insts[i]) || q->done[i] || q->left[i]) continue;
        if (draw(r, ++n) == 0) pick = i;
        if (q->order.stream[i] == favourite) favoured = i;
    }
    return favour && favoured != UINT32_MAX ? favoured : pick;
}

static bool run_any_order(Queue *q, bool *progress)
{
    const Fn *fn = q->f->fn;
    for (;;) {
        uint32_t i = any_ready(q);
        if (i == UINT32_MAX || q->f->r->failed) return true;
        if (!run_step(q, i)) return false;
        *progress = true;
        for (uint32_t k = i + 1; k < fn->ninsts; k++)
            if (is_step(&fn->insts[k]) && order_before(&q->order, i, k))
                q->left[k]--;
    }
}

static bool run_in_order(Queue *q, bool *progress)
{
    const Fn *fn = q->f->fn;
    for (; q->first < fn->ninsts && !q->f->r->failed; q->first++) {
        if (!is_step(&fn->insts[q->first])) continue;
        if (!run_step(q, q->first)) return false;
        *progress = true;
    }
    return true;
}

Queue *places_begin(Frame *f)
{
    Run *r = f->r;
    const Fn *fn = f->fn;
    size_t n = (size_t)fn->ninsts + 1;
    Queue *q = NEW(&r->temp, Queue);
    *q = (Queue){.f = f, .streams = r->streams};
    q->root = NEW_ARRAY(&r->temp, uint32_t, n);
    q->uses = NEW_ARRAY(&r->temp, uint32_t, n);
    q->left = NEW_ARRAY(&r->temp, uint32_t, n);
    q->done = NEW_ARRAY(&r->temp, bool, n);
    count_uses(q);
    for (uint32_t i = 0; i < fn->ninsts && !r->failed; i++) {
        const Inst *in = &fn->insts[i];
        bool filled = in->op == OP_arg && !f->outer; /* of an entry */
        if (!filled && !is_step(in)) run_inst(f, (Value){i}, &f->vals[i]);
    }
    if (!r->o.order || q->streams == 1) return q;
    q->order = order_of(r->m, fn, &r->temp);
    count_left(q);
    q->any = true;
    return q;
}

bool places_go(Queue *q, bool *progress)
{
    return q->any ? run_any_order(q, progress) : run_in_order(q, progress);
}

void run_places(Frame *f)
{
    bool progress;
    places_go(places_begin(f), &progress);
}
