/*
 * apart.c: collectives that have time leave the links to those that have none.
 *
 * Each group of devices has a stream of its own (choose.c), but all streams
 * share the links.  A collective is *exposed* where a step of the list reads
 * what it brings before other work has covered it, or the next turn does; and
 * it is *idle* where no step of the list needs it: what a turn gathers for the
 * next, gradients that are summed.  Stream 0 works in stretches, each from one
 * that is exposed to the next.  So
 *
 *     idle ones   stand in the first stretch whose work covers them, behind the
 *                 exposed one at its begin, for which they wait (choose.c):
 * what is moved while nothing computes has the links for itself
 *
 * and those of one group keep their order.  Where no stretch has so much work
 * left, they stand where they can be first.
 */
#include "schedule.h"

typedef struct Stretch {
    uint32_t first, end; /* places in the list */
    double left;         /* microseconds of work that cover nothing yet */
} Stretch;

typedef struct Apart {
    const List *l;
    Stretch *stretch;
    uint32_t n;
    uint32_t *behind; /* by step: the place that it goes behind */
    uint32_t *last;   /* by group: that of the last one */
} Apart;

static double work_between(const List *l, uint32_t from, uint32_t to)
{
    double works = 0;
    for (uint32_t i = from; i < to; i++)
        if (!l->steps[i].talks && !l->steps[i].transfer)
            works += l->steps[i].time;
    return works;
}

bool is_exposed(const List *l, uint32_t step)
{
    const Step *s = &l->steps[step];
    if (!s->talks || s->message || s->point) return s->talks;
    if (s->reader == l->n) return s->grows && has_needs(l, step);
    return work_between(l, step + 1, s->reader) < talk_time(s);
}

static bool is_idle(const List *l, uint32_t step)
{
    const Step *s = &l->steps[step];
    return s->talks && s->reader == l->n && !is_exposed(l, step);
}

/* What covers nothing of the collectives that somebody waits for. */
static double left_of(const List *l, uint32_t first, uint32_t end)
{
    double left = work_between(l, first, end);
    for (uint32_t i = first; i < end; i++) {
        const Step *s = &l->steps[i];
        if (!s->talks || s->reader == l->n) continue;
        double covers = work_between(l, i + 1, s->reader), own = talk_time(s);
        left -= covers < own ? covers : own;
    }
    return left;
}

static void find_stretches(Apart *x)
{
    const List *l = x->l;
    for (uint32_t i = 0, end; i < l->n; i = end) {
        for (end = i + 1; end < l->n && !is_exposed(l, end);)
            end++;
        x->stretch[x->n++] = (Stretch){i, end, left_of(l, i, end)};
    }
}

/* The last place that an idle one has to be behind; the first, where it is
 * behind none. */
static uint32_t least_place(const Apart *x, uint32_t step)
{
    uint32_t place = x->last[x->l->steps[step].group];
    uint32_t last = row_last(x->l->before, x->l, step, step);
    return last > place + 1 ? last - 1 : place;
}

/* Of the work of a stretch, what is left behind a place. */
static double room_behind(const Apart *x, const Stretch *s, uint32_t place)
{
    double works = work_between(x->l, place, s->end);
    return works < s->left ? works : s->left;
}

static void put_idle(Apart *x, uint32_t step)
{
    const Step *s = &x->l->steps[step];
    uint32_t least = least_place(x, step);
    Stretch *in = NULL;
    for (uint32_t i = 0; i < x->n; i++) {
        Stretch *t = &x->stretch[i];
        if (t->end <= least) continue;
        uint32_t place = least > t->first ? least : t->first;
        bool fits = room_behind(x, t, place) >= s->time;
        if (in && !fits) continue;
        in = t;
        x->behind[step] = place;
        if (fits) break;
    }
    in->left -= s->time;
    x->last[s->group] = x->behind[step];
}

Fn *collectives_apart(Module *m, const List *l)
{
    size_t n = (size_t)l->n + 1;
    Apart x = {.l = l};
    x.stretch = NEW_ARRAY(m->scratch, Stretch, n);
    x.behind = NEW_ARRAY(m->scratch, uint32_t, n);
    x.last = NEW_ARRAY(m->scratch, uint32_t, MOST_STREAMS);
    bool *idle = NEW_ARRAY(m->scratch, bool, n);
    uint32_t *order = NEW_ARRAY(m->scratch, uint32_t, n), placed = 0;
    find_stretches(&x);
    for (uint32_t i = 0; i < l->n; i++) {
        idle[i] = is_idle(l, i);
        if (idle[i]) put_idle(&x, i);
    }
    for (uint32_t p = 0; p < l->n; p++) {
        if (!idle[p]) order[placed++] = p;
        for (uint32_t i = 0; i < l->n; i++)
            if (idle[i] && x.behind[i] == p) order[placed++] = i;
    }
    return list_in_order(m, l, order);
}
