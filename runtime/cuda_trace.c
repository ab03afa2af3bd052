/*
 * cuda_trace.c: a profile as events for a viewer of traces.
 */
#include "cuda_profile.h"
#include "trace.h"
#include "work.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* What is written goes to EVENTS, in us from the trace's begin, which is LATE
 * ms before the step's. */
typedef struct Writing {
    const Cuda *c;
    json_t *events;
    double late;
} Writing;

static json_t *event(const Writing *w, const char *name, uint32_t row,
                     Interval x)
{
    return json_pack("{s:s, s:s, s:i, s:i, s:f, s:f}", "name", name, "ph", "X",
                     "pid", (int)w->c->rank.rank, "tid", (int)row, "ts",
                     (w->late + x.start) * 1e3, "dur", x.ms * 1e3);
}

static json_t *arguments(const Cuda *c, const Launch *l)
{
    char source[512];
    Work w = work_of(c->im, l->command);
    double s = l->own.ms * 1e-3;
    snprintf(source, sizeof source, "%s:%" PRIu32,
             titan_string(c->im, l->command->file), l->command->line);
    return json_pack("{s:s, s:f, s:f, s:f, s:f, s:f, s:f, s:s}", "source",
                     source, "bytes", w.bytes, "flops", w.flops, "GB_per_s",
                     cuda_rate(w.bytes, s) / 1e9, "TFLOP_per_s",
                     cuda_rate(w.flops, s) / 1e12, "waits", l->waits * 1e3,
                     "predicted", cuda_predicted(c, l->command) * 1e6, "class",
                     class_words(w.limit));
}

static void add_command(Writing *w, const Launch *l)
{
    char name[160];
    if (!command_works(l->command) || !l->own.there) return;
    command_name(w->c->im, l->command, name, sizeof name);
    json_t *e = event(w, name, l->command->stream, l->own);
    json_object_set_new(e, "args", arguments(w->c, l));
    json_array_append_new(w->events, e);
}

/* What is done beside the stream of a command. */
static void add_beside(Writing *w, const Launch *l, const char *what,
                       Interval x)
{
    char name[160], text[176];
    if (!x.there) return;
    command_name(w->c->im, l->command, name, sizeof name);
    snprintf(text, sizeof text, "%s of %s", what, name);
    json_array_append_new(
        w->events, event(w, text, TITAN_MOST_STREAMS + l->command->stream, x));
}

static void add_name(Writing *w, const char *what, uint32_t row,
                     const char *words, uint32_t number)
{
    char name[64];
    snprintf(name, sizeof name, "%s %" PRIu32, words, number);
    json_array_append_new(w->events, json_pack("{s:s, s:s, s:i, s:i, s:{s:s}}",
                                               "name", what, "ph", "M", "pid",
                                               (int)w->c->rank.rank, "tid",
                                               (int)row, "args", "name", name));
}

static void add_names(Writing *w)
{
    add_name(w, "process_name", 0, "rank", w->c->rank.rank);
    for (uint32_t i = 0; i < w->c->im->header->streams; i++) {
        add_name(w, "thread_name", i, "stream", i);
        if (w->c->beside)
            add_name(w, "thread_name", TITAN_MOST_STREAMS + i, "beside stream",
                     i);
    }
}

/* The events without the brackets around them; NULL: no memory. */
static char *text_of(const Cuda *c, uint64_t from)
{
    const CudaProfile *p = c->profile;
    Writing w = {.c = c, .events = json_array()};
    /* numbers of today have more bits than a double's */
    if (from && p->begin) w.late = (double)(int64_t)(p->begin - from) * 1e-6;
    add_names(&w);
    for (uint32_t i = 0; i < p->n; i++)
        add_command(&w, &p->launches[i]);
    for (uint32_t i = 0; i < p->n; i++) {
        add_beside(&w, &p->launches[i], "adds", p->launches[i].adds);
        add_beside(&w, &p->launches[i], "copies", p->launches[i].copies);
    }
    char *text = json_dumps(w.events, JSON_COMPACT);
    json_decref(w.events);
    if (!text) return NULL;
    size_t n = strlen(text) - 2;
    memmove(text, text + 1, n);
    text[n] = '\0';
    return text;
}

static void add_up(const Cuda *c, Profiled *out)
{
    const CudaProfile *p = c->profile;
    for (uint32_t i = 0; i < c->im->ncommands; i++) {
        const Row *r = &p->rows[i];
        if (!r->n || !command_works(r->command)) continue;
        bool moves = r->command->kind == TITAN_COMMAND_collective;
        *(moves ? &out->collectives : &out->computes) += r->ms / p->steps;
        out->waits += r->waits / p->steps;
    }
}

TitanStatus cuda_profiled(TitanDevice *d, uint64_t from)
{
    Cuda *c = (Cuda *)d;
    CudaProfile *p = c->profile;
    if (!p || p->steps == 0)
        return titan_fail(c->story, TITAN_USAGE,
                          "--profile needs at least one step");
    TRY(cuda_profile_settle(c));
    free(p->text);
    p->text = text_of(c, from);
    if (!p->text) return titan_no_memory(c->story);
    Profiled *out = &d->profiled;
    *out = (Profiled){.begin = p->begin,
                      .step = p->step_ms / p->steps,
                      .idle = p->idle_ms / p->steps,
                      .bytes = strlen(p->text),
                      .text = p->text};
    snprintf(out->how, sizeof out->how, "%s", p->how);
    add_up(c, out);
    return TITAN_OK;
}

TitanStatus cuda_profile_write(TitanDevice *d, const char *path)
{
    Trace t;
    TRY(cuda_profiled(d, 0));
    TRY(cuda_profile_table(d));
    TRY(trace_begin(d->story, path, d->profiled.how, &t));
    trace_add(&t, d->profiled.text, d->profiled.bytes);
    return trace_end(&t);
}
