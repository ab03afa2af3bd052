/*
 * simulate.c: when each action of a schedule runs, if each kind takes as long
 * as somebody says and transfers take none.
 *
 * A rank runs its row in order; an action starts when the rank is free and what
 * it reads is there: a forward reads the stage before, a backward its own
 * forward and the stage behind.  The order of starts is one order of the whole
 * pipeline, in which everything comes behind what it reads; a transfer belongs
 * where the action ends that makes it, on both sides, behind what has begun
 * there by then.  So no rank ever waits for another in a circle, even where a
 * send waits to be received, and none waits long.
 */
#include <math.h>
#include <stdlib.h>

#include "schedule.h"

typedef struct Clock {
    const Schedule *s;
    const ActionCosts *costs;
    double *end[ACTION_count]; /* by stage, microbatch; NAN: not yet */
    double *free;              /* by rank */
    uint32_t *next;            /* by rank */
    uint32_t *open;            /* by rank: forwards without their backward */
} Clock;

static double *end_at(const Clock *c, ActionKind k, uint32_t stage,
                      uint32_t micro)
{
    return &c->end[k][(size_t)stage * c->s->micros + micro];
}

/* A backward's inputs are there with it, in one part or two. */
static double back_end(const Clock *c, uint32_t stage, uint32_t micro)
{
    double whole = *end_at(c, ACTION_backward, stage, micro);
    return isnan(whole) ? *end_at(c, ACTION_input, stage, micro) : whole;
}

/* When what an action reads is there; NAN: not yet. */
static double ready_at(const Clock *c, Action x)
{
    uint32_t last = c->s->stages - 1;
    switch (x.kind) {
    case ACTION_forward:
        return x.stage ? *end_at(c, x.kind, x.stage - 1, x.micro) : 0;
    case ACTION_backward:
    case ACTION_input:
        return x.stage < last ? back_end(c, x.stage + 1, x.micro)
                              : *end_at(c, ACTION_forward, last, x.micro);
    case ACTION_weight:
        return *end_at(c, ACTION_input, x.stage, x.micro);
    case ACTION_idle:
    case ACTION_count:
        break;
    }
    return 0;
}

static void skip_idle(Clock *c, uint32_t rank)
{
    const ActionVec *row = &c->s->rows[rank];
    while (c->next[rank] < row->n && row->at[c->next[rank]].kind == ACTION_idle)
        c->next[rank]++;
}

/* The rank whose next action can start first. */
static bool first_rank(Clock *c, uint32_t *rank, double *start)
{
    bool found = false;
    for (uint32_t r = 0; r < c->s->ranks; r++) {
        skip_idle(c, r);
        if (c->next[r] == c->s->rows[r].n) continue;
        double at = ready_at(c, c->s->rows[r].at[c->next[r]]);
        if (isnan(at)) continue;
        if (at < c->free[r]) at = c->free[r];
        if (found && at >= *start) continue;
        found = true;
        *rank = r;
        *start = at;
    }
    return found;
}

static void run_action(Clock *c, Simulation *sim, uint32_t r, double start)
{
    Action x = c->s->rows[r].at[c->next[r]];
    double cost = c->costs->at[x.kind];
    sim->order[sim->n++] = (Started){r, c->next[r]++, start, start + cost};
    c->free[r] = *end_at(c, x.kind, x.stage, x.micro) = start + cost;
    sim->busy += cost;
    if (c->free[r] > sim->length) sim->length = c->free[r];
    if (x.kind == ACTION_forward && ++c->open[r] > sim->held[r])
        sim->held[r] = c->open[r];
    if (x.kind == ACTION_backward || x.kind == ACTION_weight) c->open[r]--;
}

static double moment_time(const Moment *x)
{
    return x->ends ? x->of->end : x->of->start;
}

static int by_time(const void *a, const void *b)
{
    const Moment *x = a, *y = b;
    double s = moment_time(x), t = moment_time(y);
    if (s != t) return s < t ? -1 : 1;
    if (x->ends != y->ends) return x->ends ? -1 : 1;
    return x->of < y->of ? -1 : x->of > y->of;
}

static void find_moments(Arena *a, Simulation *sim)
{
    uint32_t n = 0;
    sim->moments = NEW_ARRAY(a, Moment, 2 * (size_t)sim->n + 1);
    for (uint32_t i = 0; i < sim->n; i++) {
        sim->moments[n++] = (Moment){&sim->order[i], false};
        sim->moments[n++] = (Moment){&sim->order[i], true};
    }
    if (n) qsort(sim->moments, n, sizeof *sim->moments, by_time);
}

Simulation schedule_run(Arena *a, const Schedule *s, const ActionCosts *costs)
{
    Clock c = {.s = s, .costs = costs};
    Simulation sim = {.held = NEW_ARRAY(a, uint32_t, s->ranks + 1)};
    size_t cells = (size_t)s->stages * s->micros;
    for (int k = 0; k < ACTION_count; k++) {
        c.end[k] = NEW_ARRAY(a, double, cells + 1);
        for (size_t i = 0; i < cells; i++)
            c.end[k][i] = NAN;
    }
    c.free = NEW_ARRAY(a, double, s->ranks + 1);
    c.next = NEW_ARRAY(a, uint32_t, s->ranks + 1);
    c.open = NEW_ARRAY(a, uint32_t, s->ranks + 1);
    uint32_t all = 0, rank = 0;
    for (uint32_t r = 0; r < s->ranks; r++)
        all += s->rows[r].n;
    sim.order = NEW_ARRAY(a, Started, all + 1);
    for (double start = 0; first_rank(&c, &rank, &start);)
        run_action(&c, &sim, rank, start);
    find_moments(a, &sim);
    for (uint32_t r = 0; r < s->ranks; r++)
        sim.stuck += s->rows[r].n - c.next[r];
    if (sim.length > 0) sim.bubble = 1 - sim.busy / (sim.length * s->ranks);
    return sim;
}
