/*
 * streams.c: checks that each part of a list between two host points can be
 * captured: every stream comes from stream 0 and goes back to it, and no wait
 * looks out of its part.
 *
 * Each stream counts its commands and knows how many of every other are done:
 * those in front of a signal that it has waited for, and what that stream knew.
 * Stream 0 has to know all at a host point.  Loops are walked
 * once: what holds behind one turn holds behind the next, which begins with
 * more streams in the part and the same signals.
 */
#include "streams.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct Signal {
    uint64_t part; /* in which it was given, from 1; 0: not yet */
    uint64_t done[TITAN_MOST_STREAMS]; /* commands in front of it */
} Signal;

typedef struct Streams {
    TitanStory *story;
    const TitanImage *im;
    Signal *signals; /* by event */
    uint64_t part;
    bool in[TITAN_MOST_STREAMS]; /* the stream belongs to the part */
    /* by stream: how many of each are done as far as it knows */
    uint64_t done[TITAN_MOST_STREAMS][TITAN_MOST_STREAMS];
} Streams;

#define BAD(s, ...) \
    titan_fail((s)->story, TITAN_BAD_DATA, "image: " __VA_ARGS__)

/* A host point: what is behind it is another part. */
static TitanStatus cut(Streams *s)
{
    for (uint32_t k = 1; k < s->im->header->streams; k++) {
        if (s->in[k] && s->done[0][k] != s->done[k][k])
            return BAD(s, "stream %" PRIu32 " goes on over a host point", k);
        s->in[k] = false;
    }
    s->part++;
    return TITAN_OK;
}

static TitanStatus wait_for(Streams *s, const TitanCommand *c)
{
    const Signal *e = &s->signals[c->index];
    if (e->part != s->part)
        return BAD(s, "event %" PRIu32 " is waited for and not signalled",
                   c->index);
    uint64_t *done = s->done[c->stream];
    for (uint32_t k = 0; k < TITAN_MOST_STREAMS; k++)
        if (done[k] < e->done[k]) done[k] = e->done[k];
    s->in[c->stream] = true;
    return TITAN_OK;
}

static TitanStatus add_command(Streams *s, const TitanCommand *c)
{
    if (c->kind == TITAN_COMMAND_wait) TRY(wait_for(s, c));
    if (!s->in[c->stream])
        return BAD(s, "stream %" PRIu32 " does not begin with a wait",
                   c->stream);
    uint64_t *done = s->done[c->stream];
    if (c->kind != TITAN_COMMAND_signal) {
        done[c->stream]++;
        return TITAN_OK;
    }
    Signal *e = &s->signals[c->index];
    e->part = s->part;
    memcpy(e->done, done, sizeof e->done);
    return TITAN_OK;
}

static TitanStatus check_program(Streams *s, const TitanProgram *p)
{
    for (uint32_t i = 0; i < p->commands.n; i++)
        TRY(add_command(s, &s->im->commands[p->commands.first + i]));
    return TITAN_OK;
}

static TitanStatus check_list(Streams *s, TitanRange runs)
{
    uint64_t guarded = 0; /* a bit for each loop around, innermost lowest */
    TRY(cut(s));
    for (uint32_t i = runs.first; i < runs.first + runs.n; i++) {
        const TitanRun *r = &s->im->runs[i];
        bool point = r->kind == TITAN_RUN_segment;
        if (r->kind == TITAN_RUN_program)
            TRY(check_program(s, &s->im->programs[r->program]));
        if (r->kind == TITAN_RUN_loop) {
            point = (r->flags & TITAN_LOOP_while) != 0;
            guarded = guarded << 1 | point;
        }
        if (r->kind == TITAN_RUN_end) {
            point = guarded & 1;
            guarded >>= 1;
        }
        if (point) TRY(cut(s));
    }
    return cut(s);
}

TitanStatus streams_check(TitanStory *story, const TitanImage *im)
{
    uint32_t events = im->header->events;
    Streams s = {.story = story, .im = im, .in = {true}};
    if (events > im->ncommands)
        return BAD(&s, "%" PRIu32 " events of %" PRIu32 " commands", events,
                   im->ncommands);
    s.signals = calloc((size_t)events + 1, sizeof *s.signals);
    if (!s.signals) return titan_no_memory(story);
    TitanStatus st = TITAN_OK;
    for (uint32_t i = 0; i < im->nentries && st == TITAN_OK; i++)
        st = check_list(&s, im->entries[i].runs);
    free(s.signals);
    return st;
}
