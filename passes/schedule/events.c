/*
 * events.c: the waits and signals that keep the order of a list.
 *
 * One sweep with clocks as in ir/order.c: a step knows how far every stream is
 * when it begins.  Of the steps that have to come before it, latest first, it
 * waits for those that it does not know to be done, and then knows what they
 * knew.  So what follows from another wait is not waited for.
 */
#include "schedule.h"

typedef struct Clock {
    uint32_t done[MOST_STREAMS]; /* steps of each stream, counted from 1 */
} Clock;

typedef struct Sweep {
    Module *m;
    Arena *a;
    const List *l;
    Clock *clock;     /* by step: when it ends */
    uint32_t *place;  /* by step: on its stream, from 1 */
    uint64_t *waits;  /* rows of bits */
    bool *signals;    /* by step */
    int64_t *numbers; /* scratch: events */
    Clock last[MOST_STREAMS];
} Sweep;

static void take_clock(Clock *to, const Clock *from)
{
    for (uint32_t k = 0; k < MOST_STREAMS; k++)
        if (to->done[k] < from->done[k]) to->done[k] = from->done[k];
}

/* The last step in front of K that step I has to wait for, plus 1; 0: none. */
static uint32_t last_needed(const List *l, uint32_t i, uint32_t k)
{
    uint32_t before = row_last(l->before, l, i, k);
    uint32_t joined = row_last(l->joined, l, i, k);
    return before > joined ? before : joined;
}

static void sweep_step(Sweep *w, uint32_t i)
{
    const List *l = w->l;
    uint32_t mine = l->steps[i].stream;
    Clock c = w->last[mine];
    for (uint32_t k = i; (k = last_needed(l, i, k)) > 0;) {
        uint32_t other = l->steps[--k].stream;
        if (c.done[other] >= w->place[k]) continue;
        row_set(w->waits, l, i, k);
        w->signals[k] = true;
        take_clock(&c, &w->clock[k]);
    }
    w->place[i] = ++c.done[mine];
    w->clock[i] = w->last[mine] = c;
}

static void write_step(Sweep *w, uint32_t i, const int64_t *event)
{
    const List *l = w->l;
    Inst *in = &l->fn->insts[l->steps[i].inst];
    uint32_t n = 0;
    for (uint32_t k = 0; (k = row_next(w->waits, l, i, k)) < i; k++)
        w->numbers[n++] = event[k];
    AttrList a = attr_list(w->m, in->attr);
    attr_drop(&a, AT_stream);
    attr_drop(&a, AT_wait);
    attr_drop(&a, AT_signal);
    if (l->steps[i].stream) attr_put_int(&a, AT_stream, l->steps[i].stream);
    if (n) attr_put_ints(&a, AT_wait, w->numbers, n);
    if (w->signals[i]) attr_put_int(&a, AT_signal, event[i]);
    in->attr = attr_intern(w->m, &a);
}

uint32_t list_events(Module *m, const List *l, Arena *a)
{
    size_t n = (size_t)l->n + 1;
    Sweep w = {.m = m, .a = a, .l = l};
    w.clock = NEW_ARRAY(a, Clock, n);
    w.place = NEW_ARRAY(a, uint32_t, n);
    w.waits = NEW_ARRAY(a, uint64_t, n * l->words);
    w.signals = NEW_ARRAY(a, bool, n);
    w.numbers = NEW_ARRAY(a, int64_t, n);
    int64_t *event = NEW_ARRAY(a, int64_t, n);
    uint32_t events = 0;
    for (uint32_t i = 0; i < l->n; i++)
        sweep_step(&w, i);
    for (uint32_t i = 0; i < l->n; i++) {
        event[i] = events;
        events += w.signals[i];
    }
    for (uint32_t i = 0; i < l->n; i++)
        write_step(&w, i, event);
    return events;
}
