/*
 * decode.c: texts are gone on with, row by row of a batch.
 *
 * Every token of a prompt but the last is read chunk by chunk, which fills the
 * cache; each step then reads one token a row, the last of the prompt first,
 * and gives the next.  Rows of one batch have prompts of any length: they go
 * their own positions.  A row that has ended, or has no text, stands at
 * position -1 until the others have ended.
 */
#include "decode.h"

#include "../clock.h"
#include "../narrow.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { NOWHERE = -1 };

/* ----------------------------------------------------------------- ports -- */

static TitanStatus find_entry(const Decoder *d, const char *name,
                              const TitanEntry **out)
{
    *out = titan_entry(d->im, name);
    if (*out) return TITAN_OK;
    return titan_fail(d->story, TITAN_MISMATCH,
                      "the program has no entry \"%s\"; compile it with "
                      "--entries generate, or with all",
                      name);
}

static TitanStatus find_port(const Decoder *d, const TitanEntry *e,
                             TitanRole role, const char *name,
                             const TitanPort **out)
{
    *out = titan_port(d->im, e, role, name);
    if (*out && strcmp(titan_dtype_name((*out)->dtype), "i32") == 0)
        return TITAN_OK;
    return titan_fail(d->story, TITAN_MISMATCH,
                      "the entry \"%s\" has no %s \"%s\" of i32",
                      titan_string(d->im, e->name),
                      role == TITAN_ROLE_input ? "input" : "output", name);
}

static int64_t elements(const Decoder *d, const TitanPort *p)
{
    return titan_elements(d->im, p->axes);
}

static bool is_setting(const char *name)
{
    return strcmp(name, "temperature") == 0 || strcmp(name, "top_k") == 0 ||
           strcmp(name, "top_p") == 0;
}

/* Inputs that nobody fills. */
static TitanStatus check_inputs(const Decoder *d, const TitanEntry *e,
                                const TitanPort *a, const TitanPort *b)
{
    for (uint32_t i = 0; i < e->ports.n; i++) {
        const TitanPort *p = &d->im->ports[e->ports.first + i];
        const char *name = titan_string(d->im, p->path);
        if (p->role != TITAN_ROLE_input || p == a || p == b) continue;
        if (e == d->step && is_setting(name) && elements(d, p) == d->rows)
            continue;
        return titan_fail(d->story, TITAN_MISMATCH,
                          "the entry \"%s\" wants \"%s\", which generating "
                          "does not give, or not in this shape",
                          titan_string(d->im, e->name), name);
    }
    return TITAN_OK;
}

static TitanStatus find_ports(Decoder *d)
{
    TRY(find_entry(d, "generate.init", &d->init));
    TRY(find_entry(d, "generate.prompt", &d->prompt));
    TRY(find_entry(d, "generate.step", &d->step));
    TRY(find_port(d, d->prompt, TITAN_ROLE_input, "tokens", &d->tokens));
    TRY(find_port(d, d->prompt, TITAN_ROLE_input, "pos", &d->places));
    TRY(find_port(d, d->step, TITAN_ROLE_input, "token", &d->token));
    TRY(find_port(d, d->step, TITAN_ROLE_input, "pos", &d->place));
    TRY(find_port(d, d->step, TITAN_ROLE_output, "next", &d->next));
    uint32_t a = d->tokens->bound, b = d->token->bound;
    d->vocab = a && (!b || a < b) ? a : b;
    d->rows = elements(d, d->token);
    d->chunk = d->rows ? elements(d, d->tokens) / d->rows : 0;
    bool fits = d->rows > 0 && d->chunk > 0 &&
                elements(d, d->tokens) == d->rows * d->chunk &&
                elements(d, d->places) == d->rows * d->chunk &&
                elements(d, d->place) == d->rows &&
                elements(d, d->next) == d->rows;
    if (!fits)
        return titan_fail(d->story, TITAN_MISMATCH,
                          "the inputs of \"generate.prompt\" and "
                          "\"generate.step\" differ in rows");
    TRY(check_inputs(d, d->prompt, d->tokens, d->places));
    return check_inputs(d, d->step, d->token, d->place);
}

static TitanStatus put(const Decoder *d, const TitanPort *p, const void *from)
{
    return device_put(d->device, p, from,
                      (size_t)elements(d, p) * titan_dtype_bytes(p->dtype));
}

static TitanStatus put_scalar(const Decoder *d, const TitanEntry *e,
                              const char *name, int64_t value)
{
    const TitanPort *p = titan_port(d->im, e, TITAN_ROLE_scalar, name);
    return p ? put(d, p, &value) : TITAN_OK;
}

/* One value for all rows. */
static TitanStatus put_setting(const Decoder *d, const char *name, double value)
{
    const TitanPort *p = titan_port(d->im, d->step, TITAN_ROLE_input, name);
    if (!p) return TITAN_OK;
    bool whole = strcmp(titan_dtype_name(p->dtype), "i32") == 0;
    for (int64_t r = 0; r < d->rows; r++) {
        float x = (float)value;
        int32_t i = (int32_t)value;
        memcpy(&d->ids[r], whole ? (void *)&i : (void *)&x, sizeof i);
    }
    return put(d, p, d->ids);
}

/* --------------------------------------------------------------- prompts -- */

static TitanStatus run_prompt(Decoder *d)
{
    TRY(put(d, d->tokens, d->ids));
    TRY(put(d, d->places, d->at));
    return titan_while(d->story, device_run(d->device, d->prompt),
                       "reading a prompt");
}

static void fill_nowhere(Decoder *d)
{
    for (int64_t i = 0; i < d->rows * d->chunk; i++) {
        d->ids[i] = 0;
        d->at[i] = NOWHERE;
    }
}

static TitanStatus check_prompt(const Decoder *d, const Passage *t)
{
    if (t->n == 0)
        return titan_fail(d->story, TITAN_USAGE, "a prompt has no token");
    if ((int64_t)t->n > d->context)
        return titan_fail(
            d->story, TITAN_USAGE,
            "a prompt has %zu tokens; the program remembers %" PRId64, t->n,
            d->context);
    for (size_t i = 0; i < t->n; i++)
        if (d->vocab && t->prompt[i] >= d->vocab)
            return titan_fail(d->story, TITAN_BAD_DATA,
                              "token %zu of a prompt is %" PRIu32
                              ", the vocabulary has %" PRIu32,
                              i, t->prompt[i], d->vocab);
    return TITAN_OK;
}

/* The part of a prompt that the chunk from FROM reads. */
static void fill_chunk(Decoder *d, const Passage *t, int64_t row, int64_t from)
{
    int32_t *ids = d->ids + row * d->chunk, *at = d->at + row * d->chunk;
    int64_t end = (int64_t)t->n - 1 - from;
    for (int64_t i = 0; i < d->chunk && i < end; i++) {
        ids[i] = (int32_t)t->prompt[from + i];
        at[i] = (int32_t)(from + i);
    }
}

/* Until a device that runs behind has read the last chunk. */
static TitanStatus wait(Decoder *d)
{
    return device_get(d->device, d->tokens, d->ids,
                      (size_t)elements(d, d->tokens) * sizeof *d->ids);
}

static TitanStatus read_prompts(Decoder *d, const Passage *texts, size_t n)
{
    int64_t longest = 0;
    double begin = seconds_now();
    for (size_t i = 0; i < n; i++) {
        TRY(check_prompt(d, &texts[i]));
        int64_t length = (int64_t)texts[i].n - 1;
        if (length > longest) longest = length;
        d->prompt_tokens += length;
    }
    for (int64_t from = 0; from < longest; from += d->chunk) {
        fill_nowhere(d);
        for (size_t i = 0; i < n; i++)
            fill_chunk(d, &texts[i], (int64_t)i, from);
        TRY(run_prompt(d));
    }
    TRY(wait(d));
    d->prompt_seconds += seconds_now() - begin;
    return TITAN_OK;
}

/* ----------------------------------------------------------------- steps -- */

/* Some texts, the first of which has number FIRST. */
typedef struct Batch {
    Passage *texts;
    size_t first, n;
    const Choice *choice;
    Listener *listener;
} Batch;

/* The token of a row that is read next, and where it stands. */
static void begin_rows(Decoder *d, const Batch *b)
{
    for (int64_t r = 0; r < d->rows; r++) {
        bool used = (size_t)r < b->n;
        const Passage *t = &b->texts[used ? r : 0];
        d->ids[r] = used ? (int32_t)t->prompt[t->n - 1] : 0;
        d->at[r] = used ? (int32_t)t->n - 1 : NOWHERE;
    }
}

static TitanStatus end_row(Decoder *d, int64_t row, Passage *t, Ending why)
{
    t->ending = why;
    d->ids[row] = 0;
    d->at[row] = NOWHERE;
    return TITAN_OK;
}

/* What a row does with its next token. */
static TitanStatus take_token(Decoder *d, const Batch *b, int64_t row)
{
    Passage *t = &b->texts[row];
    int64_t id = d->ids[row];
    if (id == b->choice->end) return end_row(d, row, t, END_token);
    TRY(b->listener->token(b->listener, b->first + (size_t)row, (uint32_t)id));
    t->made++;
    d->step_tokens++;
    d->at[row]++;
    if (t->made >= b->choice->most) return end_row(d, row, t, END_most);
    if (d->at[row] >= d->context) return end_row(d, row, t, END_context);
    return TITAN_OK;
}

static TitanStatus one_step(Decoder *d, const Batch *b, int64_t step,
                            size_t *left)
{
    TRY(put(d, d->token, d->ids));
    TRY(put(d, d->place, d->at));
    TRY(put_scalar(d, d->step, "step", step));
    TRY(device_run(d->device, d->step));
    TRY(device_get(d->device, d->next, d->ids,
                   (size_t)d->rows * sizeof *d->ids));
    *left = 0;
    for (size_t r = 0; r < b->n; r++) {
        if (b->texts[r].ending != END_none) continue;
        TRY(take_token(d, b, (int64_t)r));
        *left += b->texts[r].ending == END_none;
    }
    return TITAN_OK;
}

/* Batches of one call are drawn apart. */
static TitanStatus put_settings(const Decoder *d, const Batch *b)
{
    const Choice *c = b->choice;
    TRY(put_setting(d, "temperature", c->temperature));
    TRY(put_setting(d, "top_k", (double)c->top_k));
    TRY(put_setting(d, "top_p", c->top_p));
    uint64_t apart = UINT64_C(0x9e3779b97f4a7c15) * b->first;
    return put_scalar(d, d->step, "seed", (int64_t)((uint64_t)c->seed ^ apart));
}

static TitanStatus run_batch(Decoder *d, const Batch *b)
{
    size_t left = b->n;
    for (size_t i = 0; i < b->n; i++) {
        b->texts[i].ending = b->choice->most > 0 ? END_none : END_most;
        b->texts[i].made = 0;
    }
    TRY(read_prompts(d, b->texts, b->n));
    if (b->choice->most == 0) return TITAN_OK;
    TRY(put_settings(d, b));
    begin_rows(d, b);
    double begin = seconds_now();
    for (int64_t step = 1; left > 0; step++)
        TRY(titan_while(d->story, one_step(d, b, step, &left),
                        "making token %" PRId64, step));
    d->step_seconds += seconds_now() - begin;
    return TITAN_OK;
}

TitanStatus decoder_run(Decoder *d, Passage *texts, size_t n, const Choice *c,
                        Listener *l)
{
    for (size_t first = 0; first < n; first += (size_t)d->rows) {
        Batch b = {texts + first, first, n - first, c, l};
        if (b.n > (size_t)d->rows) b.n = (size_t)d->rows;
        TRY(run_batch(d, &b));
    }
    return TITAN_OK;
}

/* ------------------------------------------------------------------ open -- */

/* A prompt of nothing says how many positions there are. */
static TitanStatus find_context(Decoder *d)
{
    const TitanPort *p =
        titan_port(d->im, d->prompt, TITAN_ROLE_record, "context");
    char context[8];
    if (!p)
        return titan_fail(d->story, TITAN_MISMATCH,
                          "the entry \"generate.prompt\" has no record "
                          "\"context\"");
    fill_nowhere(d);
    TRY(run_prompt(d));
    TRY(device_get(d->device, p, context, titan_dtype_bytes(p->dtype)));
    d->context = (int64_t)narrow_load_one(p->dtype, context);
    return TITAN_OK;
}

TitanStatus decoder_open(Decoder *d, TitanStory *s, const TitanImage *im,
                         TitanDevice *device)
{
    *d = (Decoder){.story = s, .im = im, .device = device};
    TRY(find_ports(d));
    size_t n = (size_t)(d->rows * d->chunk);
    d->ids = calloc(n, sizeof *d->ids);
    d->at = calloc(n, sizeof *d->at);
    if (!d->ids || !d->at) return titan_no_memory(s);
    TRY(titan_while(s, device_prepare(device, d->prompt),
                    "preparing to read prompts"));
    TRY(titan_while(s, device_prepare(device, d->step),
                    "preparing to make tokens"));
    TRY(put_scalar(d, d->init, "seed", 0));
    TRY(titan_while(s, device_run(device, d->init), "beginning a session"));
    return find_context(d);
}

void decoder_close(Decoder *d)
{
    free(d->ids);
    free(d->at);
    *d = (Decoder){0};
}
