/*
 * predict.c: plays the list of an entry.
 */
#include "predict.h"

#include <stdlib.h>
#include <string.h>

#include "../runtime/ranks.h"

/* A message, to which one side has come, or both. */
typedef struct Meet {
    double start, end; /* end: 0 while one is waited for */
} Meet;

/* All stages. */
typedef struct World {
    Arena *a;
    const TitanImage *im;
    double *events;
    uint32_t *moved_row; /* by command, plus 1 */
    VEC(Meet) meets;
    Map by_message; /* a meeting, plus 1 */
} World;

/* One stage. */
typedef struct Play {
    World *w;
    Arena *a;
    const TitanImage *im;
    Prediction *p;
    uint32_t stage;
    VEC(uint32_t) commands; /* as they run, loops too */
    uint32_t next;
    uint32_t waits;                /* in a meeting, plus 1; 0: it does not */
    Map messages;                  /* on a channel, so far */
    double at[TITAN_MOST_STREAMS]; /* when each stream is free */
    const TitanCommand
        *last; /* a collective, with nothing but signals behind */
} Play;

/* ---------------------------------------------------------------- seconds --
 */

/* How far apart the members of a group are, in ranks. */
static uint32_t spread_of(const TitanImage *im, uint32_t group)
{
    uint32_t far = 0;
    TitanRange levels = im->groups[group].levels;
    for (uint32_t i = 0; i < levels.n; i++) {
        uint32_t mesh = im->levels[levels.first + i].mesh, stride = 1;
        for (uint32_t k = mesh + 1; k < im->nmesh; k++)
            stride *= im->mesh[k].size;
        far += (im->mesh[mesh].size - 1) * stride;
    }
    return far;
}

static bool leaves_host(const Play *x, const TitanCommand *cmd)
{
    uint32_t group = x->im->collectives[cmd->index].group;
    return spread_of(x->im, group) >= x->p->machine->host;
}

static double collective_seconds(const Play *x, const TitanCommand *cmd)
{
    const Machine *m = x->p->machine;
    double link = leaves_host(x, cmd) ? m->network : m->link;
    bool joined = x->last && collectives_join(x->im, x->last, cmd);
    return (joined ? 0 : m->collective) +
           work_moved(x->im, cmd) / (link * m->links);
}

static double seconds_of(const Play *x, const TitanCommand *cmd)
{
    const Machine *m = x->p->machine;
    if (cmd->kind == TITAN_COMMAND_collective)
        return collective_seconds(x, cmd);
    double offloaded = work_offloaded(x->im, cmd);
    if (offloaded > 0) return m->command + offloaded / (m->bus * m->links);
    Work w = work_of(x->im, cmd);
    double kept = cmd->kind == TITAN_COMMAND_gemm ? m->library : m->products;
    double memory = w.bytes / (m->memory * m->copies);
    double sums = w.flops / (machine_flops(m, w.width) * kept);
    return m->command + (memory > sums ? memory : sums);
}

/* ------------------------------------------------------------------- play --
 */

static void count_moved(Play *x, uint32_t command, double seconds)
{
    const TitanCommand *cmd = &x->im->commands[command];
    Prediction *p = x->p;
    uint32_t *row = &x->w->moved_row[command];
    if (!*row) {
        vec_push(x->a, &p->moved, ((Moved){.command = command}));
        *row = p->moved.n;
    }
    Moved *m = &p->moved.at[*row - 1];
    double bytes = work_moved(x->im, cmd);
    m->times++;
    m->bytes += bytes;
    m->seconds += seconds;
    *(leaves_host(x, cmd) ? &p->network : &p->link) += bytes;
    p->collectives += seconds;
}

static void put_played(Play *x, uint32_t command, double start, double seconds)
{
    const TitanCommand *cmd = &x->im->commands[command];
    Played row = {command, cmd->stream, x->stage, start, seconds};
    x->at[cmd->stream] = start + seconds;
    vec_push(x->a, &x->p->played, row);
    if (cmd->kind == TITAN_COMMAND_collective)
        count_moved(x, command, seconds);
    else if (cmd->kind == TITAN_COMMAND_gemm)
        x->p->products += seconds;
    else
        x->p->rest += seconds;
}

static bool is_message(const TitanImage *im, const TitanCommand *cmd)
{
    if (cmd->kind != TITAN_COMMAND_collective) return false;
    uint32_t kind = im->collectives[cmd->index].kind;
    return kind == TITAN_COLLECTIVE_send || kind == TITAN_COLLECTIVE_receive;
}

/* Which message it is: the so-and-so-many-th between two stages on a channel.
 */
static uint64_t message_of(Play *x, const TitanCollective *c)
{
    bool sends = c->kind == TITAN_COLLECTIVE_send;
    uint64_t from = sends ? x->stage : c->peer, to = sends ? c->peer : x->stage;
    uint64_t channel = (from << 12 | to) << 20 | c->channel;
    uint32_t n = 0;
    map_find(&x->messages, channel, &n);
    map_set(&x->messages, channel, n + 1);
    return channel << 20 | n;
}

/* It begins when both sides have come to it; false: the other has not. */
static bool play_message(Play *x, uint32_t command)
{
    World *w = x->w;
    const TitanCommand *cmd = &x->im->commands[command];
    double seconds = seconds_of(x, cmd), at = x->at[cmd->stream];
    if (x->waits) {
        Meet m = w->meets.at[x->waits - 1];
        if (m.end == 0) return false;
        x->waits = 0;
        put_played(x, command, m.start, m.end - m.start);
        return true;
    }
    uint64_t key = message_of(x, &x->im->collectives[cmd->index]);
    uint32_t of;
    if (map_find(&w->by_message, key, &of)) {
        Meet *m = &w->meets.at[of - 1];
        if (m->start < at) m->start = at;
        m->end = m->start + seconds;
        put_played(x, command, m->start, seconds);
        return true;
    }
    vec_push(x->a, &w->meets, ((Meet){.start = at}));
    map_add(&w->by_message, key, w->meets.n);
    x->waits = w->meets.n;
    return false;
}

/* False: it waits for another stage. */
static bool play_command(Play *x, uint32_t command)
{
    const TitanCommand *cmd = &x->im->commands[command];
    double *at = &x->at[cmd->stream], start = *at, *events = x->w->events;
    if (cmd->kind == TITAN_COMMAND_signal) events[cmd->index] = start;
    if (cmd->kind == TITAN_COMMAND_wait && events[cmd->index] > start)
        *at = events[cmd->index];
    if (cmd->kind == TITAN_COMMAND_wait) x->last = NULL;
    if (!command_works(cmd)) return true;
    bool done = true;
    if (is_message(x->im, cmd))
        done = play_message(x, command);
    else
        put_played(x, command, start, seconds_of(x, cmd));
    x->last = cmd->kind == TITAN_COMMAND_collective ? cmd : NULL;
    return done;
}

static void list_commands(Play *x, uint32_t from, uint32_t to)
{
    const TitanImage *im = x->im;
    for (uint32_t i = from; i < to; i++) {
        const TitanRun *r = &im->runs[i];
        if (r->kind == TITAN_RUN_loop) {
            for (int64_t k = 0; k < r->count; k++)
                list_commands(x, i + 1, r->program);
            i = r->program;
        } else if (r->kind == TITAN_RUN_program) {
            TitanRange c = im->programs[r->program].commands;
            for (uint32_t k = 0; k < c.n; k++)
                vec_push(x->a, &x->commands, c.first + k);
        }
    }
}

/* Each goes on as far as it can, until none can. */
static void play_all(Play *at, uint32_t n)
{
    for (bool progress = true; progress;) {
        progress = false;
        for (uint32_t s = 0; s < n; s++)
            while (at[s].next < at[s].commands.n &&
                   play_command(&at[s], at[s].commands.at[at[s].next])) {
                at[s].next++;
                progress = true;
            }
    }
}

/* --------------------------------------------------------------- counting --
 */

static int by_start(const void *a, const void *b)
{
    const Played *x = a, *y = b;
    return x->start < y->start ? -1 : x->start > y->start;
}

/* The seconds in which something else than collectives runs. */
static double busy(Play *x)
{
    Prediction *p = x->p;
    double covered = 0, until = 0;
    if (!p->played.n) return 0;
    qsort(p->played.at, p->played.n, sizeof *p->played.at, by_start);
    for (uint32_t i = 0; i < p->played.n; i++) {
        const Played *r = &p->played.at[i];
        double from = r->start > until ? r->start : until;
        double end = r->start + r->seconds;
        if (x->im->commands[r->command].kind == TITAN_COMMAND_collective ||
            end <= from)
            continue;
        covered += end - from;
        until = end;
    }
    return covered;
}

static void end_stage(Play *x)
{
    for (uint32_t i = 0; i < x->im->header->streams; i++)
        if (x->at[i] > x->p->seconds) x->p->seconds = x->at[i];
    x->p->busy = busy(x);
}

/* What all stages take and move, and of one rank what the busiest does. */
static void sum_up(Arena *a, const Play *at, uint32_t n, Prediction *p)
{
    uint32_t most = 0;
    double seconds = 0, all = 0;
    Prediction sum = {0};
    for (uint32_t s = 0; s < n; s++) {
        const Prediction *one = at[s].p;
        if (one->seconds > seconds) seconds = one->seconds;
        if (one->busy > at[most].p->busy) most = s;
        all += one->busy;
        vec_push(a, &sum.stages, one->busy);
        for (uint32_t i = 0; i < one->played.n; i++)
            vec_push(a, &sum.played, one->played.at[i]);
        for (uint32_t i = 0; i < one->moved.n; i++)
            vec_push(a, &sum.moved, one->moved.at[i]);
    }
    *p = *at[most].p;
    p->seconds = seconds;
    p->exposed = sum.moved.n ? seconds - p->busy : 0;
    p->bubble = seconds > 0 ? 1 - all / (seconds * n) : 0;
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
    *p = (Prediction){.machine =
                          machine_of_target((TitanTarget)im->header->target)};
    if (!e || !p->machine) return false;
    World w = {.a = a, .im = im};
    uint32_t n = im->nstages, row = (uint32_t)(e - im->entries);
    w.events = NEW_ARRAY(a, double, (size_t)im->header->events + 1);
    w.moved_row = NEW_ARRAY(a, uint32_t, (size_t)im->ncommands + 1);
    map_init(&w.by_message, a);
    Play *at = NEW_ARRAY(a, Play, (size_t)n + 1);
    for (uint32_t s = 0; s < n; s++) {
        const TitanEntry *of = &im->entries[im->stages[s].entries.first + row];
        at[s] = (Play){.w = &w, .a = a, .im = im, .stage = s};
        at[s].p = NEW(a, Prediction);
        at[s].p->machine = p->machine;
        map_init(&at[s].messages, a);
        list_commands(&at[s], of->runs.first, of->runs.first + of->runs.n);
    }
    play_all(at, n);
    for (uint32_t s = 0; s < n; s++)
        end_stage(&at[s]);
    sum_up(a, at, n, p);
    return true;
}
