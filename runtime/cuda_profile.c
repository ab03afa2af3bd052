/*
 * cuda_profile.c: where the time of a step goes, command by command.
 *
 * The step is captured once more, and replayed: commands follow each other as
 * they do in an ordinary step.  Where CUPTI can be opened it says what each
 * node of that graph took (cuda_cupti.c).  Elsewhere there is an event in
 * front of each command and one behind the last: a command ends where the next
 * one on its stream begins, so on one stream the times add up to the step's,
 * and each event is something more that streams wait for.
 */
#include "cuda_profile.h"

#include <stdio.h>
#include <stdlib.h>

/* --------------------------------------------------------------- capture -- */

static TitanStatus record_event(Cuda *c, CuStream stream, CuEvent *out)
{
    if (!*out) CU_TRY(c, cuEventCreate(out, CU_event_default));
    CU_TRY(c, cuEventRecordWithFlags(*out, stream, CU_event_record_external));
    return TITAN_OK;
}

static TitanStatus add_launch(Cuda *c, const TitanCommand *cmd, uint32_t *out)
{
    CudaProfile *p = c->profile;
    if (p->n == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 1024;
        Launch *more = realloc(p->launches, p->cap * sizeof *more);
        if (!more) return titan_no_memory(c->story);
        p->launches = more;
    }
    p->launches[p->n] = (Launch){.command = cmd, .next = NONE};
    *out = p->n++;
    return TITAN_OK;
}

/* One that was begun while another command was walked is there already. */
static TitanStatus find_launch(Cuda *c, const TitanCommand *cmd, uint32_t *out)
{
    CudaProfile *p = c->profile;
    uint32_t *early = &p->early[cmd->stream];
    if (*early == NONE || p->launches[*early].command != cmd)
        return add_launch(c, cmd, out);
    *out = *early;
    *early = NONE;
    return TITAN_OK;
}

/* A stream belongs to the graph only behind its first wait. */
static TitanStatus note(void *user, const TitanCommand *cmd)
{
    Cuda *c = user;
    CudaProfile *p = c->profile;
    uint32_t *last = &p->last[cmd->stream], i;
    if (cmd->kind == TITAN_COMMAND_wait && cmd->stream > 0 && *last == NONE)
        return TITAN_OK;
    TRY(find_launch(c, cmd, &i));
    if (*last != NONE) p->launches[*last].next = i;
    *last = p->walked = i;
    p->launches[i].joins = p->joined[cmd->stream];
    p->joined[cmd->stream] = false;
    if (!p->cupti)
        return record_event(c, c->streams[cmd->stream], &p->launches[i].before);
    cuda_cupti_part(p->cupti, i, PART_own);
    return TITAN_OK;
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
    if (!l || l->meets) return TITAN_OK;
    l->meets = true;
    return c->profile->cupti ? TITAN_OK
                             : record_event(c, c->streams[stream], &l->met);
}

/* What comes is done for LAUNCH, or, at its end, for what is walked. */
static void turn_to(CudaProfile *p, uint32_t launch, CudaPart part, bool end)
{
    cuda_cupti_part(p->cupti, end ? p->walked : launch, end ? PART_own : part);
}

TitanStatus cuda_profile_adds(Cuda *c, uint32_t stream, CuStream on, bool end)
{
    CudaProfile *p = c->profile;
    Launch *l = launch_on(c, stream);
    if (!l) return TITAN_OK;
    if (p->cupti) {
        turn_to(p, p->last[stream], PART_adds, end);
        return TITAN_OK;
    }
    return !end && l->added[0] ? TITAN_OK : record_event(c, on, &l->added[end]);
}

void cuda_profile_copies(Cuda *c, uint32_t stream, bool end)
{
    CudaProfile *p = c->profile;
    if (launch_on(c, stream) && p->cupti)
        turn_to(p, p->last[stream], PART_copies, end);
}

void cuda_profile_joins(Cuda *c, uint32_t stream)
{
    if (c->profile && c->profile->open) c->profile->joined[stream] = true;
}

TitanStatus cuda_profile_early(Cuda *c, const TitanCommand *cmd, bool end)
{
    CudaProfile *p = c->profile;
    if (!p || !p->open || !p->cupti) return TITAN_OK;
    uint32_t *early = &p->early[cmd->stream];
    if (*early == NONE || p->launches[*early].command != cmd)
        TRY(add_launch(c, cmd, early));
    turn_to(p, *early, PART_own, end);
    return TITAN_OK;
}

static TitanStatus capture(Cuda *c, const TitanEntry *e)
{
    CudaProfile *p = c->profile;
    p->n = 0;
    for (uint32_t i = 0; i < TITAN_MOST_STREAMS; i++)
        p->last[i] = p->early[i] = NONE;
    CudaWatch watch = {.user = c, .command = note};
    p->open = true;
    TitanStatus st = cuda_capture(c, e, &watch, &p->plan);
    p->open = false;
    return st;
}

/* WHY: not by CUPTI. */
static TitanStatus by_events(Cuda *c, const TitanEntry *e, const char *why)
{
    CudaProfile *p = c->profile;
    cuda_cupti_free(p->cupti);
    p->cupti = NULL;
    p->steps = 0;
    snprintf(p->how, sizeof p->how, "events (%s)", why);
    cuda_plan_release(c, &p->plan);
    return capture(c, e);
}

static TitanStatus open_profile(Cuda *c, const TitanEntry *e)
{
    char why[160];
    CudaProfile *p = c->profile = calloc(1, sizeof *c->profile);
    if (p) p->rows = calloc((size_t)c->im->ncommands + 1, sizeof *p->rows);
    if (!p || !p->rows) return titan_no_memory(c->story);
    CU_TRY(c, cuEventCreate(&p->end, CU_event_default));
    p->cupti = cuda_cupti_new(why, sizeof why);
    if (!p->cupti || !cuda_cupti_listen(p->cupti, why, sizeof why))
        return by_events(c, e, why);
    cuda_cupti_about(p->how, sizeof p->how);
    TitanStatus st = capture(c, e);
    bool heard = cuda_cupti_heard(p->cupti, why, sizeof why);
    if (st != TITAN_OK || heard) return st;
    return by_events(c, e, why);
}

/* ----------------------------------------------------------------- times -- */

/* The last event belongs to no command: it is behind the graph. */
static TitanStatus between(Cuda *c, CuEvent from, CuEvent to, double *ms)
{
    float x = 0;
    CU_TRY(c, cuEventElapsedTime(&x, from, to));
    *ms = x;
    return TITAN_OK;
}

void cuda_profile_count(Cuda *c, const Launch *l)
{
    Row *row = &c->profile->rows[l->command - c->im->commands];
    row->command = l->command;
    row->n++;
    row->ms += l->own.ms;
    row->waits += l->waits;
}

static TitanStatus read_events(Cuda *c)
{
    CudaProfile *p = c->profile;
    double step = 0;
    for (uint32_t i = 0; i < p->n; i++) {
        Launch *l = &p->launches[i];
        CuEvent next = l->next == NONE ? p->end : p->launches[l->next].before;
        TRY(between(c, p->launches[0].before, l->before, &l->own.start));
        TRY(between(c, l->before, next, &l->own.ms));
        l->own.there = true;
        if (l->met) TRY(between(c, l->before, l->met, &l->waits));
        if (l->added[1]) {
            TRY(between(c, p->launches[0].before, l->added[0], &l->adds.start));
            TRY(between(c, l->added[0], l->added[1], &l->adds.ms));
            l->adds.there = true;
        }
        cuda_profile_count(c, l);
    }
    if (p->n) TRY(between(c, p->launches[0].before, p->end, &step));
    p->step_ms += step;
    return TITAN_OK;
}

/* One step by CUPTI has to do with all ranks of a process, and is over for all
 * of them when the next one begins: it is clear then whether it is seen. */
static TitanStatus begin_step(Cuda *c, const TitanEntry *e)
{
    CudaProfile *p = c->profile;
    if (!p) TRY(open_profile(c, e));
    p = c->profile;
    if (p->cupti && p->steps > 0 && !cuda_cupti_any(p->cupti))
        TRY(by_events(c, e, "CUPTI says nothing of the GPU"));
    return p->cupti ? cuda_cupti_begin(c) : TITAN_OK;
}

TitanStatus cuda_profile(TitanDevice *d, const TitanEntry *e)
{
    Cuda *c = (Cuda *)d;
    if (cuda_has_while(c->im, e))
        return titan_fail(c->story, TITAN_USAGE,
                          "--profile cannot time a step with a `while` loop");
    TRY(begin_step(c, e));
    CudaProfile *p = c->profile;
    TRY(cuda_replay(c, &p->plan));
    CU_TRY(c, cuEventRecord(p->end, c->stream));
    TRY(cuda_wait_event(c, p->end));
    if (p->cupti)
        cuda_cupti_end();
    else
        TRY(read_events(c));
    p->steps++;
    return TITAN_OK;
}

void cuda_profile_rest(Cuda *c)
{
    if (c->profile && c->profile->cupti) cuda_cupti_rest(c->profile->cupti);
}

TitanStatus cuda_profile_settle(Cuda *c)
{
    return c->profile->cupti ? cuda_cupti_read(c) : TITAN_OK;
}

void cuda_profile_free(Cuda *c)
{
    CudaProfile *p = c->profile;
    if (!p) return;
    cuda_cupti_free(p->cupti);
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
    free(p->text);
    free(p);
    c->profile = NULL;
}
