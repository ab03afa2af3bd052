/*
 * fill.c: what waits for no collective stands in front of what does.
 *
 * The list is played: stream 0 takes the first step that has all it needs, and
 * collectives run beside, those of a group one after the other.  So where the
 * next step of the list needs what devices still exchange, a later one fills
 * the time: the gradient of a weight, or the next part of a product (chunk.c).
 *
 * A collective that somebody waits for should begin early: what leads to one
 * goes in front of what leads to none, which can fill later, and a short step
 * that it needs next goes in front of both.
 *
 * Where nothing waits the order stays.  Gathers of what is there from the begin
 * hold nobody up: they have been made in the turn before (turns.c).
 */
#include "schedule.h"

typedef struct Fill {
    const List *l;
    uint32_t *needs; /* by step: those in front of it that have no place */
    bool *placed;
    bool *leads;   /* by step: a collective that is waited for needs it */
    bool *feeds;   /* by step: one needs it next, and takes longer */
    double *ready; /* by step: when all that it needs is done */
    double now;    /* when stream 0 is free */
    double links[MOST_STREAMS]; /* when those of a group are */
    uint32_t *order, n;
} Fill;

static bool is_before(const Fill *x, uint32_t early, uint32_t late)
{
    return early < late && row_has(x->l->before, x->l, late, early);
}

static bool is_work(const Step *s)
{
    return !s->talks && !s->transfer;
}

/* It needs something of the list, and something needs it: of a gather, if only
 * in the next turn (turns.c). */
static bool is_waited_for(const Fill *x, uint32_t step)
{
    const Step *s = &x->l->steps[step];
    return has_needs(x->l, step) && (s->reader < x->l->n || s->grows);
}

static bool find_leads(Fill *x)
{
    bool any = false;
    for (uint32_t i = x->l->n; i-- > 0;) {
        const Step *s = &x->l->steps[i];
        bool waited = s->talks && is_waited_for(x, i);
        x->leads[i] |= waited;
        any |= waited;
        for (uint32_t k = 0; (k = row_next(x->l->before, x->l, i, k)) < i;
             k++) {
            x->leads[k] |= x->leads[i];
            x->feeds[k] |= waited && x->l->steps[k].time <= s->time;
        }
    }
    return any;
}

static double *links_of(Fill *x, const Step *s)
{
    return &x->links[s->group];
}

static void place(Fill *x, uint32_t step)
{
    const Step *s = &x->l->steps[step];
    double begin = x->ready[step], end = begin;
    if (s->talks ? begin > 0 : is_work(s)) {
        double *free = s->talks ? links_of(x, s) : &x->now;
        if (begin < *free) begin = *free;
        *free = end = begin + (s->talks ? talk_time(s) : s->time);
    }
    x->placed[step] = true;
    x->order[x->n++] = step;
    for (uint32_t k = step + 1; k < x->l->n; k++) {
        if (!is_before(x, step, k)) continue;
        x->needs[k]--;
        if (x->ready[k] < end) x->ready[k] = end;
    }
}

static bool is_open(const Fill *x, uint32_t i, bool talks)
{
    return x->l->steps[i].talks == talks && !x->placed[i] && !x->needs[i];
}

/* What begins next on the links, or on stream 0, and when: of those that could
 * begin at once, the first.  None: the number of all steps. */
static uint32_t next_of(Fill *x, bool talks, double *begin)
{
    uint32_t next = x->l->n;
    for (uint32_t i = 0; i < x->l->n; i++) {
        if (!is_open(x, i, talks)) continue;
        double free = talks ? *links_of(x, &x->l->steps[i]) : x->now;
        double at = x->ready[i] < free ? free : x->ready[i];
        if (next < x->l->n && at >= *begin) continue;
        next = i;
        *begin = at;
    }
    return next;
}

/* In the place of a step of stream 0 that could begin at once. */
static uint32_t what_leads(const Fill *x, uint32_t step)
{
    uint32_t first = x->l->n;
    for (uint32_t i = 0; i < x->l->n; i++) {
        if (!is_open(x, i, false) || x->ready[i] > x->now) continue;
        if (x->feeds[i]) return i;
        if (x->leads[i] && first == x->l->n) first = i;
    }
    return first == x->l->n ? step : first;
}

static void play(Fill *x)
{
    while (x->n < x->l->n) {
        double talk = 0, work = 0;
        uint32_t collective = next_of(x, true, &talk);
        uint32_t step = next_of(x, false, &work);
        if (collective < x->l->n && (step == x->l->n || talk <= work))
            step = collective;
        else if (work <= x->now)
            step = what_leads(x, step);
        place(x, step);
    }
}

static bool has_messages(const List *l)
{
    for (uint32_t i = 0; i < l->n; i++)
        if (l->steps[i].message) return true;
    return false;
}

Fn *list_filled(Module *m, const List *l)
{
    size_t n = (size_t)l->n + 1;
    Fill x = {.l = l};
    if (has_messages(l)) return l->fn;
    x.needs = NEW_ARRAY(m->scratch, uint32_t, n);
    x.placed = NEW_ARRAY(m->scratch, bool, n);
    x.leads = NEW_ARRAY(m->scratch, bool, n);
    x.feeds = NEW_ARRAY(m->scratch, bool, n);
    x.ready = NEW_ARRAY(m->scratch, double, n);
    x.order = NEW_ARRAY(m->scratch, uint32_t, n);
    for (uint32_t i = 0; i < l->n; i++)
        for (uint32_t k = 0; (k = row_next(l->before, l, i, k)) < i; k++)
            x.needs[i]++;
    if (!find_leads(&x)) return l->fn;
    play(&x);
    return list_in_order(m, l, x.order);
}
