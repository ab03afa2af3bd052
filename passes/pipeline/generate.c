/*
 * generate.c: the schedules in which a backward is one action, and the
 * interleaved one in which it is two.
 *
 * With several stages a rank the microbatches go round in groups: a rank runs
 * its first stage for as many as go into a round, then its second for the
 * same, and so on; backwards from its last stage to its first.
 */
#include "schedule.h"

#include "make.h"

void make_row(Make *k, ActionKind kind, uint32_t stage, uint32_t micro)
{
    Action x = {.kind = kind, .stage = stage, .micro = micro};
    vec_push(k->ask->arena, &k->s->rows[k->rank], x);
}

uint32_t chunk_stage(const Make *k, uint32_t chunk)
{
    uint32_t ranks = k->s->ranks;
    if (k->placing == PLACING_loop || chunk == 0)
        return chunk * ranks + k->rank;
    return 2 * ranks - 1 - k->rank;
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* ------------------------------------------------------ one stage a rank -- */

static void make_gpipe(Make *k)
{
    for (uint32_t m = 0; m < k->s->micros; m++)
        make_row(k, ACTION_forward, k->rank, m);
    for (uint32_t m = 0; m < k->s->micros; m++)
        make_row(k, ACTION_backward, k->rank, m);
}

static void make_1f1b(Make *k)
{
    uint32_t n = k->s->micros, warm = least(n, k->s->stages - k->rank);
    for (uint32_t m = 0; m < warm; m++)
        make_row(k, ACTION_forward, k->rank, m);
    for (uint32_t m = 0; m < n; m++) {
        make_row(k, ACTION_backward, k->rank, m);
        if (warm + m < n) make_row(k, ACTION_forward, k->rank, warm + m);
    }
}

/* ------------------------------------------------- several stages a rank -- */

static void make_loopedbfs(Make *k)
{
    uint32_t n = k->s->micros, chunks = k->ask->chunks;
    for (uint32_t c = 0; c < chunks; c++)
        for (uint32_t m = 0; m < n; m++)
            make_row(k, ACTION_forward, chunk_stage(k, c), m);
    for (uint32_t c = chunks; c-- > 0;)
        for (uint32_t m = n; m-- > 0;)
            make_row(k, ACTION_backward, chunk_stage(k, c), m);
}

/* How many microbatches go round together. */
static uint32_t round_of(const Make *k)
{
    uint32_t rounds = k->s->micros / k->s->ranks;
    return k->s->micros / (rounds ? rounds : 1);
}

/* The i-th forward, or backward, of a rank. */
static void make_nth(Make *k, ActionKind kind, uint32_t i)
{
    uint32_t round = round_of(k), chunks = k->ask->chunks;
    uint32_t chunk = i / round % chunks;
    uint32_t micro = i / (round * chunks) * round + i % round;
    if (kind != ACTION_forward) chunk = chunks - 1 - chunk;
    make_row(k, kind, chunk_stage(k, chunk), micro);
}

static void make_interleaved(Make *k)
{
    uint32_t all = k->s->micros * k->ask->chunks;
    uint32_t warm = least(all, (k->ask->chunks - 1) * round_of(k) +
                                   2 * (k->s->ranks - 1 - k->rank));
    for (uint32_t i = 0; i < warm; i++)
        make_nth(k, ACTION_forward, i);
    for (uint32_t i = 0; i < all; i++) {
        if (warm + i < all) make_nth(k, ACTION_forward, warm + i);
        make_nth(k, ACTION_backward, i);
    }
}

/* Weights wait until a rank has run as many pairs as it has ranks in front. */
static void make_zerobubble(Make *k)
{
    uint32_t all = k->s->micros * k->ask->chunks, weights = 0;
    uint32_t warm = least(all, (k->ask->chunks - 1) * round_of(k) +
                                   (k->s->ranks - 1 - k->rank));
    for (uint32_t i = 0; i < warm; i++)
        make_nth(k, ACTION_forward, i);
    for (uint32_t i = 0; i < all; i++) {
        if (warm + i < all) make_nth(k, ACTION_forward, warm + i);
        make_nth(k, ACTION_input, i);
        if (i >= k->rank) make_nth(k, ACTION_weight, weights++);
    }
    while (weights < all)
        make_nth(k, ACTION_weight, weights++);
}

/* ----------------------------------------------------------------- rules -- */

static bool asks_round(ScheduleKind k)
{
    return k == SCHEDULE_interleaved || k == SCHEDULE_zerobubble;
}

static bool check_micros(const ScheduleAsk *ask, ScheduleKind k)
{
    uint32_t stages = ask->ranks * ask->chunks, n = ask->micros;
    bool full = k == SCHEDULE_1f1b || k == SCHEDULE_dualpipev;
    if (n == 0) {
        Report *r = diag_error(ask->diag, DIAG_pipeline_micros, ask->at,
                               "a pipeline runs no microbatch");
        report_help(r, "set accumulate to at least 1");
        return false;
    }
    if (full && n < stages) {
        Report *r = diag_error(ask->diag, DIAG_pipeline_micros, ask->at,
                               "%s needs as many microbatches as stages: there "
                               "%s %u microbatch%s, %u stages",
                               schedule_name(k), n == 1 ? "is" : "are", n,
                               n == 1 ? "" : "es", stages);
        report_help(r,
                    "%u microbatches or more, by accumulate or by fewer rows "
                    "a microbatch, or gpipe",
                    stages);
        return false;
    }
    uint32_t rounds = n / ask->ranks ? n / ask->ranks : 1;
    if (asks_round(k) && n % rounds) {
        Report *r = diag_error(ask->diag, DIAG_pipeline_micros, ask->at,
                               "%s runs microbatches in %u equal rounds: %u "
                               "do not divide by %u",
                               schedule_name(k), rounds, n, rounds);
        report_help(r,
                    "%u microbatches, a multiple of the %u ranks, by "
                    "accumulate or by microbatch",
                    (n + ask->ranks - 1) / ask->ranks * ask->ranks, ask->ranks);
        return false;
    }
    return true;
}

static bool check_chunks(const ScheduleAsk *ask, ScheduleKind k)
{
    uint32_t low = schedule_chunks(k, false), high = schedule_chunks(k, true);
    if (ask->chunks >= low && ask->chunks <= high) return true;
    Report *r = diag_error(ask->diag, DIAG_pipeline_stages, ask->at,
                           "%s has %u stage%s a rank%s, the plan asks for "
                           "chunks %u",
                           schedule_name(k), low, low == 1 ? "" : "s",
                           low == high ? "" : " or more", ask->chunks);
    if (high == 1)
        report_help(r, "write chunks 1, or schedule interleaved_1f1b");
    else
        report_help(r, "write chunks %u", low);
    return false;
}

static MakeRow *const makers[] = {
#define SCHEDULE(name, text, least, most, placing) make_##name,
#include "schedules.def"
#undef SCHEDULE
};

Schedule *schedule_make(const ScheduleAsk *ask, ScheduleKind kind)
{
    if (!check_chunks(ask, kind) || !check_micros(ask, kind)) return NULL;
    Schedule *s = schedule_new(ask->arena, ask->ranks, ask->ranks * ask->chunks,
                               ask->micros);
    Make k = {.ask = ask, .s = s, .placing = schedule_placing(kind)};
    for (k.rank = 0; k.rank < ask->ranks; k.rank++) {
        for (uint32_t c = 0; c < ask->chunks; c++)
            s->owner[chunk_stage(&k, c)] = k.rank;
        makers[kind](&k);
    }
    return s;
}
