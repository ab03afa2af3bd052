/*
 * predict.c: plays the list of an entry.
 */
#include "predict.h"

#include <stdlib.h>
#include <string.h>

#include "../runtime/ranks.h"

typedef struct Play {
    Arena *a;
    const TitanImage *im;
    Prediction *p;
    double at[TITAN_MOST_STREAMS]; /* when each stream is free */
    double *events;
    uint32_t *moved_row; /* by command, plus 1 */
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
    if (!x->moved_row[command]) {
        vec_push(x->a, &p->moved, ((Moved){.command = command}));
        x->moved_row[command] = p->moved.n;
    }
    Moved *m = &p->moved.at[x->moved_row[command] - 1];
    double bytes = work_moved(x->im, cmd);
    m->times++;
    m->bytes += bytes;
    m->seconds += seconds;
    *(leaves_host(x, cmd) ? &p->network : &p->link) += bytes;
    p->collectives += seconds;
}

static void play_command(Play *x, uint32_t command)
{
    const TitanCommand *cmd = &x->im->commands[command];
    double *at = &x->at[cmd->stream], start = *at;
    if (cmd->kind == TITAN_COMMAND_signal) x->events[cmd->index] = start;
    if (cmd->kind == TITAN_COMMAND_wait && x->events[cmd->index] > start)
        *at = x->events[cmd->index];
    if (cmd->kind == TITAN_COMMAND_wait) x->last = NULL;
    if (!command_works(cmd)) return;
    double seconds = seconds_of(x, cmd);
    x->last = cmd->kind == TITAN_COMMAND_collective ? cmd : NULL;
    *at += seconds;
    Played row = {command, cmd->stream, start, seconds};
    vec_push(x->a, &x->p->played, row);
    if (cmd->kind == TITAN_COMMAND_collective) {
        count_moved(x, command, seconds);
        return;
    }
    *(cmd->kind == TITAN_COMMAND_gemm ? &x->p->products : &x->p->rest) +=
        seconds;
}

static void play_runs(Play *x, uint32_t from, uint32_t to)
{
    const TitanImage *im = x->im;
    for (uint32_t i = from; i < to; i++) {
        const TitanRun *r = &im->runs[i];
        if (r->kind == TITAN_RUN_loop) {
            for (int64_t k = 0; k < r->count; k++)
                play_runs(x, i + 1, r->program);
            i = r->program;
        } else if (r->kind == TITAN_RUN_program) {
            TitanRange c = im->programs[r->program].commands;
            for (uint32_t k = 0; k < c.n; k++)
                play_command(x, c.first + k);
        }
    }
}

static int by_start(const void *a, const void *b)
{
    const Played *x = a, *y = b;
    return x->start < y->start ? -1 : x->start > y->start;
}

/* The seconds in which nothing but collectives runs, or waits for them. */
static double exposed(Play *x)
{
    Prediction *p = x->p;
    double covered = 0, until = 0;
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
    return p->moved.n ? p->seconds - covered : 0;
}

bool predict(Arena *a, const TitanImage *im, const char *entry, Prediction *p)
{
    const TitanEntry *e = titan_entry(im, entry);
    *p = (Prediction){.machine =
                          machine_of_target((TitanTarget)im->header->target)};
    if (!e || !p->machine) return false;
    Play x = {.a = a, .im = im, .p = p};
    x.events = NEW_ARRAY(a, double, (size_t)im->header->events + 1);
    x.moved_row = NEW_ARRAY(a, uint32_t, (size_t)im->ncommands + 1);
    memset(x.events, 0, ((size_t)im->header->events + 1) * sizeof *x.events);
    memset(x.moved_row, 0, ((size_t)im->ncommands + 1) * sizeof *x.moved_row);
    play_runs(&x, e->runs.first, e->runs.first + e->runs.n);
    for (uint32_t i = 0; i < im->header->streams; i++)
        if (x.at[i] > p->seconds) p->seconds = x.at[i];
    p->exposed = exposed(&x);
    return true;
}
