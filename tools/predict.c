/*
 * predict.c: what a step takes and moves, by the clock of play.c.
 */
#include "play.h"

#include <stdlib.h>

#include "../runtime/reserve.h"

/* -------------------------------------------------------------- counting -- */

static int by_start(const void *a, const void *b)
{
    const Played *x = a, *y = b;
    return x->start < y->start ? -1 : x->start > y->start;
}

/* The seconds in which something else than collectives runs. */
static double busy(const Play *x)
{
    Prediction *p = x->p;
    double covered = 0, until = 0;
    if (!p->played.n) return 0;
    qsort(p->played.at, p->played.n, sizeof *p->played.at, by_start);
    for (uint32_t i = 0; i < p->played.n; i++) {
        const Played *r = &p->played.at[i];
        double from = r->start > until ? r->start : until;
        double end = r->start + r->seconds;
        if (x->w->im->commands[r->command].kind == TITAN_COMMAND_collective ||
            end <= from)
            continue;
        covered += end - from;
        until = end;
    }
    return covered;
}

/* What all stages take and move, and of one rank what the busiest does. */
static void sum_up(const World *w, Prediction *p)
{
    Arena *a = w->a;
    uint32_t most = 0;
    double seconds = 0, all = 0;
    Prediction sum = {0};
    for (uint32_t s = 0; s < w->n; s++) {
        Prediction *one = w->plays[s].p;
        one->busy = busy(&w->plays[s]);
        if (one->seconds > seconds) seconds = one->seconds;
        if (one->busy > w->plays[most].p->busy) most = s;
        all += one->busy;
        vec_push(a, &sum.stages, one->busy);
        for (uint32_t i = 0; i < one->played.n; i++)
            vec_push(a, &sum.played, one->played.at[i]);
        for (uint32_t i = 0; i < one->moved.n; i++)
            vec_push(a, &sum.moved, one->moved.at[i]);
    }
    *p = *w->plays[most].p;
    p->stage = most;
    p->seconds = seconds;
    p->exposed = sum.moved.n ? seconds - p->busy : 0;
    p->bubble = seconds > 0 ? 1 - all / (seconds * w->n) : 0;
    p->stages.at = sum.stages.at;
    p->stages.n = sum.stages.n;
    p->played.at = sum.played.at;
    p->played.n = sum.played.n;
    p->moved.at = sum.moved.at;
    p->moved.n = sum.moved.n;
}

bool predict(Arena *a, const TitanImage *im, const char *entry, Prediction *p)
{
    const TitanEntry *e = titan_entry(im, entry);
    *p = (Prediction){0};
    if (!e) return false;
    p->machine = machine_of_target((TitanTarget)im->header->target);
    if (!p->machine) return false;
    World w = {.a = a, .im = im, .machine = p->machine};
    play(&w, (uint32_t)(e - im->entries));
    sum_up(&w, p);
    return true;
}

/* ---------------------------------------------------------------- memory -- */

uint64_t rank_needs(const TitanImage *im, uint64_t *reserve)
{
    const Machine *m = machine_of_target((TitanTarget)im->header->target);
    uint64_t most = im->header->arena_bytes;
    *reserve = 0;
    for (uint32_t i = 0; m && i < im->nstages; i++) {
        uint64_t beside = reserve_planned(im, i, m->host);
        uint64_t needs = im->stages[i].arena_bytes + beside;
        if (needs <= most) continue;
        most = needs;
        *reserve = beside;
    }
    return most;
}
