/*
 * profiles.c: what the ranks of a mesh say of the steps that were profiled: the
 * first one's commands, which rank the others wait for, and a trace.
 *
 * All ranks of a trace count from the begin of the first one's step, where
 * their clocks are those of machines; else each from its own.
 */
#include "crew.h"
#include "trace.h"

#include <inttypes.h>
#include <stdlib.h>

/* In the trace, for viewers take no more than so much; lines of the table. */
enum { MOST_TRACED = 16, MOST_LINES = 16 };

typedef struct RankRow {
    uint32_t rank;
    Profiled said;
} RankRow;

static TitanStatus ask(Crew *c, uint32_t rank, uint64_t from, RankRow *out)
{
    Order o = {.kind = ORDER_profiled, .profiled.begin = from};
    TRY(c->class->one(c, rank, &o));
    *out = (RankRow){rank, o.profiled};
    return TITAN_OK;
}

static TitanStatus ask_all(Crew *c, RankRow *rows)
{
    TRY(ask(c, 0, 0, &rows[0]));
    for (uint32_t r = 1; r < c->ranks; r++)
        TRY(ask(c, r, rows[0].said.begin, &rows[r]));
    return TITAN_OK;
}

/* Who comes late finds the others there. */
static int by_collectives(const void *a, const void *b)
{
    const RankRow *x = a, *y = b;
    if (x->said.collectives != y->said.collectives)
        return x->said.collectives < y->said.collectives ? -1 : 1;
    return x->rank < y->rank ? -1 : x->rank > y->rank;
}

static void print_ranks(RankRow *rows, uint32_t n)
{
    qsort(rows, n, sizeof *rows, by_collectives);
    printf("\n%-6s %10s %10s %12s %10s %10s  (the first is the one that others "
           "wait for most)\n",
           "rank", "step ms", "computes", "collectives", "of it waits",
           "nothing");
    for (uint32_t i = 0; i < n; i++) {
        const Profiled *p = &rows[i].said;
        if (n > MOST_LINES && i == MOST_LINES / 2) {
            printf("...\n");
            i = n - MOST_LINES / 2 - 1;
            continue;
        }
        printf("%-6" PRIu32 " %10.3f %10.3f %12.3f %10.3f %10.3f\n",
               rows[i].rank, p->step, p->computes, p->collectives, p->waits,
               p->idle);
    }
}

static TitanStatus add_rank(Crew *c, const RankRow *r, Trace *t)
{
    PartRun whole = {.bytes = r->said.bytes};
    Order o = {.kind = ORDER_trace,
               .parts = &whole,
               .nparts = 1,
               .at = malloc(r->said.bytes + 1)};
    if (!o.at) return titan_no_memory(c->story);
    char *text = o.at;
    TitanStatus st = c->class->one(c, r->rank, &o);
    if (st == TITAN_OK) trace_add(t, text, r->said.bytes);
    free(text);
    return st;
}

static TitanStatus write_trace(Crew *c, const RankRow *rows, const char *path)
{
    Trace t;
    uint32_t n = c->ranks < MOST_TRACED ? c->ranks : MOST_TRACED;
    TitanStatus st = TITAN_OK;
    TRY(trace_begin(c->story, path, rows[0].said.how, &t));
    for (uint32_t r = 0; r < n && st == TITAN_OK; r++)
        st = add_rank(c, &rows[r], &t);
    TitanStatus end = trace_end(&t);
    return st == TITAN_OK ? end : st;
}

TitanStatus crew_profile_write(Crew *c, const char *path)
{
    RankRow *rows = calloc(c->ranks, sizeof *rows);
    if (!rows) return titan_no_memory(c->story);
    TitanStatus st = ask_all(c, rows);
    if (st == TITAN_OK) st = c->first->class->profile_table(c->first);
    if (st == TITAN_OK) st = write_trace(c, rows, path);
    if (st == TITAN_OK) print_ranks(rows, c->ranks);
    free(rows);
    return st;
}
