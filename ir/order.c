/*
 * order.c: what happens before what among the steps of a function (order.h).
 *
 * A clock counts, for each stream, the steps that are known to be done.  A
 * step begins with the clock of the one before it on its stream and takes the
 * larger counts of every step that it waits for.  Events are signalled before
 * they are waited for, so one sweep is enough.
 */
#include "ir.h"

typedef struct OrderSweep {
    const Module *m;
    StepOrder o;
    uint32_t last[MOST_STREAMS]; /* the last step of each, plus 1; 0: none */
    uint32_t count[MOST_STREAMS];
    Map signals; /* event -> step */
} OrderSweep;

/* Everything in front of the end of step `of`. */
static void take_clock(OrderSweep *w, uint32_t step, uint32_t of)
{
    uint32_t *to = w->o.done[step];
    const uint32_t *from = w->o.done[of];
    for (uint32_t k = 0; k < MOST_STREAMS; k++)
        if (to[k] < from[k]) to[k] = from[k];
    uint32_t k = w->o.stream[of];
    if (to[k] < w->o.place[of]) to[k] = w->o.place[of];
}

static void sweep_step(OrderSweep *w, uint32_t i)
{
    const Inst *in = &w->o.fn->insts[i];
    uint32_t of, s = (uint32_t)attr_int(w->m, in->attr, AT_stream, 0);
    CHECK(s < MOST_STREAMS);
    w->o.stream[i] = s;
    w->o.place[i] = ++w->count[s];
    if (w->last[s]) take_clock(w, i, w->last[s] - 1);
    w->last[s] = i + 1;
    const AttrItem *wait = attr_get(w->m, in->attr, AT_wait);
    for (uint32_t k = 0; wait && k < wait->n; k++)
        if (map_find(&w->signals, (uint64_t)wait->ints[k], &of))
            take_clock(w, i, of);
    if (attr_get(w->m, in->attr, AT_signal))
        map_add(&w->signals, (uint64_t)attr_int(w->m, in->attr, AT_signal, 0),
                i);
}

StepOrder order_of(const Module *m, const Fn *fn, Arena *a)
{
    OrderSweep w = {.m = m, .o = {.fn = fn}};
    size_t n = (size_t)fn->ninsts + 1;
    w.o.stream = NEW_ARRAY(a, uint32_t, n);
    w.o.place = NEW_ARRAY(a, uint32_t, n);
    w.o.done = arena_alloc(a, n * sizeof *w.o.done);
    map_init(&w.signals, a);
    for (uint32_t i = 0; i < fn->ninsts; i++)
        if (is_step(&fn->insts[i])) sweep_step(&w, i);
    return w.o;
}

bool order_before(const StepOrder *o, uint32_t early, uint32_t late)
{
    return o->done[late][o->stream[early]] >= o->place[early];
}

uint32_t module_streams(const Module *m)
{
    int64_t most = 0;
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        for (uint32_t i = 0; i < fn->ninsts && fn->view == VIEW_kernel; i++) {
            int64_t s = attr_int(m, fn->insts[i].attr, AT_stream, 0);
            if (s > most) most = s;
        }
    }
    return (uint32_t)most + 1;
}
