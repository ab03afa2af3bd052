/*
 * cuda_profile.c: where the time of a step goes, command by command.
 *
 * The step is captured once more, with an event in front of each command and
 * one behind the last, and replayed: commands follow each other as they do in
 * an ordinary step, and on one stream the times between events add up to the
 * step's.  A command ends where the next one on its stream begins.
 */
#include "cuda_profile.h"

#include <stdlib.h>

/* --------------------------------------------------------------- capture -- */

static TitanStatus record_event(Cuda *c, CuStream stream, CuEvent *out)
{
    if (!*out) CU_TRY(c, cuEventCreate(out, CU_event_default));
    CU_TRY(c, cuEventRecordWithFlags(*out, stream, CU_event_record_external));
    return TITAN_OK;
}

/* A stream belongs to the graph only behind its first wait. */
static TitanStatus note(void *user, const TitanCommand *cmd)
{
    Cuda *c = user;
    CudaProfile *p = c->profile;
    uint32_t *last = &p->last[cmd->stream];
    if (cmd->kind == TITAN_COMMAND_wait && cmd->stream > 0 && *last == NONE)
        return TITAN_OK;
    if (p->n == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 1024;
        Launch *more = realloc(p->launches, p->cap * sizeof *more);
        if (!more) return titan_no_memory(c->story);
        p->launches = more;
    }
    Launch *l = &p->launches[p->n++];
    *l = (Launch){.command = cmd, .next = NONE};
    if (*last != NONE) p->launches[*last].next = p->n - 1;
    *last = p->n - 1;
    return record_event(c, c->streams[cmd->stream], &l->before);
}

/* The launch that a stream is at; NULL: nobody wants to know. */
static Launch *launch_on(const Cuda *c, uint32_t stream)
{
    CudaProfile *p = c->profile;
    bool any = p && p->open && p->last[stream] != NONE;
    return any ? &p->launches[p->last[stream]] : NULL;
}

TitanStatus cuda_profile_met(Cuda *c, uint32_t stream)
{
    Launch *l = launch_on(c, stream);
    return l && !l->met ? record_event(c, c->streams[stream], &l->met)
                        : TITAN_OK;
}

TitanStatus cuda_profile_adds(Cuda *c, uint32_t stream, CuStream on, bool end)
{
    Launch *l = launch_on(c, stream);
    if (!l || (!end && l->added[0])) return TITAN_OK;
    return record_event(c, on, &l->added[end]);
}

/* The last event belongs to no command: it is a graph of its own. */
static TitanStatus capture(Cuda *c, const TitanEntry *e)
{
    c->profile = calloc(1, sizeof *c->profile);
    CudaProfile *p = c->profile;
    if (p) p->rows = calloc((size_t)c->im->ncommands + 1, sizeof *p->rows);
    if (!p || !p->rows) return titan_no_memory(c->story);
    for (uint32_t i = 0; i < TITAN_MOST_STREAMS; i++)
        p->last[i] = NONE;
    CudaWatch watch = {.user = c, .command = note};
    p->open = true;
    TitanStatus st = cuda_capture(c, e, &watch, &p->plan);
    p->open = false;
    TRY(st);
    CU_TRY(c, cuEventCreate(&p->end, CU_event_default));
    return TITAN_OK;
}

static TitanStatus between(Cuda *c, CuEvent from, CuEvent to, double *ms)
{
    float x = 0;
    CU_TRY(c, cuEventElapsedTime(&x, from, to));
    *ms = x;
    return TITAN_OK;
}

static TitanStatus read_times(Cuda *c)
{
    CudaProfile *p = c->profile;
    double step = 0;
    for (uint32_t i = 0; i < p->n; i++) {
        Launch *l = &p->launches[i];
        CuEvent next = l->next == NONE ? p->end : p->launches[l->next].before;
        TRY(between(c, p->launches[0].before, l->before, &l->start));
        TRY(between(c, l->before, next, &l->ms));
        if (l->met) TRY(between(c, l->before, l->met, &l->waits));
        if (l->added[1]) {
            TRY(between(c, p->launches[0].before, l->added[0], &l->adds[0]));
            TRY(between(c, l->added[0], l->added[1], &l->adds[1]));
        }
        Row *row = &p->rows[l->command - c->im->commands];
        row->command = l->command;
        row->n++;
        row->ms += l->ms;
        row->waits += l->waits;
    }
    if (p->n) TRY(between(c, p->launches[0].before, p->end, &step));
    p->step_ms += step;
    p->steps++;
    return TITAN_OK;
}

TitanStatus cuda_profile(TitanDevice *d, const TitanEntry *e)
{
    Cuda *c = (Cuda *)d;
    if (cuda_has_while(c->im, e))
        return titan_fail(c->story, TITAN_USAGE,
                          "--profile cannot time a step with a `while` loop");
    if (!c->profile) TRY(capture(c, e));
    TRY(cuda_replay(c, &c->profile->plan));
    CU_TRY(c, cuEventRecord(c->profile->end, c->stream));
    TRY(cuda_wait_event(c, c->profile->end));
    return read_times(c);
}

void cuda_profile_free(Cuda *c)
{
    CudaProfile *p = c->profile;
    if (!p) return;
    cuda_plan_release(c, &p->plan);
    for (uint32_t i = 0; i < p->n; i++) {
        const Launch *l = &p->launches[i];
        CuEvent const all[] = {l->before, l->met, l->added[0], l->added[1]};
        for (size_t k = 0; k < sizeof all / sizeof *all; k++)
            if (all[k]) c->cu.cuEventDestroy(all[k]);
    }
    if (p->end) c->cu.cuEventDestroy(p->end);
    free(p->launches);
    free(p->rows);
    free(p);
    c->profile = NULL;
}
