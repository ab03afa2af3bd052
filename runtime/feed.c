/*
 * feed.c: the inputs of a step, from token files to ports.
 */
#include "feed.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Which shift of the token sequence a field is; -1: not known. */
static int field_shift(const char *name)
{
    if (strcmp(name, "tokens") == 0) return 0;
    return strcmp(name, "labels") == 0 ? 1 : -1;
}

static TitanStatus check_input(Feed *f, const TitanPort *p)
{
    const char *name = titan_string(f->im, p->path);
    if (field_shift(name) < 0)
        return titan_fail(f->story, TITAN_MISMATCH,
                          "the program wants the field \"%s\"; token data has "
                          "\"tokens\" and \"labels\"",
                          name);
    if (strcmp(titan_dtype_name(p->dtype), "i32") != 0 || p->axes.n == 0)
        return titan_fail(f->story, TITAN_MISMATCH,
                          "the field \"%s\" has dtype %s, i32 is needed", name,
                          titan_dtype_name(p->dtype));
    int64_t length = f->im->axes[p->axes.first + p->axes.n - 1].size;
    int64_t rows = titan_elements(f->im, p->axes) / (length ? length : 1);
    if (f->length && (rows != f->rows || length != f->length))
        return titan_fail(f->story, TITAN_MISMATCH,
                          "the fields of the data differ in shape");
    f->rows = rows;
    f->length = length;
    return TITAN_OK;
}

static TitanStatus check_inputs(Feed *f)
{
    for (uint32_t i = 0; i < f->entry->ports.n; i++) {
        const TitanPort *p = &f->im->ports[f->entry->ports.first + i];
        if (p->role == TITAN_ROLE_input) TRY(check_input(f, p));
    }
    if (f->length > 0) return TITAN_OK;
    return titan_fail(f->story, TITAN_MISMATCH,
                      "the entry \"%s\" reads no tokens",
                      titan_string(f->im, f->entry->name));
}

/* The rows of a step begin with this one of all. */
static int64_t first_row(const Feed *f, int64_t step)
{
    return (step - 1 + f->skipped) * f->rows;
}

/* Row g of the run has tokens[g T .. g T + T - 1] and, as labels, those one
 * further on (DESIGN: token files). */
static TitanStatus fill_input(Feed *f, const TitanPort *p, int64_t step)
{
    int64_t first = first_row(f, step);
    int shift = field_shift(titan_string(f->im, p->path));
    Window w;
    TRY(window_open(f->device, TITAN_BASE_io, p->offset,
                    (size_t)(f->rows * f->length) * sizeof(int32_t), false,
                    &w));
    int32_t *to = (int32_t *)(void *)w.at;
    TitanStatus st = TITAN_OK;
    for (int64_t g = 0; g < f->rows && st == TITAN_OK; g++)
        st = tokens_read(f->story, &f->tokens, (first + g) * f->length + shift,
                         f->length, p->bound, to + g * f->length);
    TitanStatus closed = window_close(f->device, &w, st == TITAN_OK);
    return st == TITAN_OK ? closed : st;
}

TitanStatus feed_open(Feed *f, const FeedOptions *o)
{
    if (o->npaths == 0)
        return titan_fail(f->story, TITAN_USAGE,
                          "no data: name token or text files with --data");
    TRY(check_inputs(f));
    f->epochs = o->epochs;
    return tokens_open(f->story, o->paths, o->npaths, &f->tokens);
}

void feed_close(Feed *f)
{
    tokens_close(&f->tokens);
}

TitanStatus feed_wait(Feed *f, int64_t step, bool *more)
{
    int64_t end = (first_row(f, step) + f->rows) * f->length;
    *more = !f->epochs || end < f->epochs * f->tokens.n;
    return TITAN_OK;
}

TitanStatus feed_step(Feed *f, int64_t step)
{
    for (uint32_t i = 0; i < f->entry->ports.n; i++) {
        const TitanPort *p = &f->im->ports[f->entry->ports.first + i];
        if (p->role == TITAN_ROLE_input) TRY(fill_input(f, p, step));
    }
    return TITAN_OK;
}

TitanStatus feed_state(Feed *f, int64_t step, char **json)
{
    *json = NULL;
    if (asprintf(json,
                 "{\"version\": 1, \"step\": %" PRId64 ", \"skipped\": %" PRId64
                 ", \"seq\": %" PRId64 "}",
                 step, f->skipped, f->length) < 0)
        return titan_fail(f->story, TITAN_UNAVAILABLE, "out of memory");
    return TITAN_OK;
}

TitanStatus feed_restore(Feed *f, const char *json)
{
    const char *skipped = strstr(json, "\"skipped\": ");
    if (!skipped)
        return titan_fail(f->story, TITAN_BAD_DATA,
                          "the state of the data cannot be read");
    f->skipped = strtoll(skipped + strlen("\"skipped\": "), NULL, 10);
    return TITAN_OK;
}

TitanStatus feed_skip(Feed *f, int64_t batches)
{
    f->skipped += batches;
    return TITAN_OK;
}

FeedWait feed_waited(Feed *f)
{
    (void)f;
    return (FeedWait){0};
}

void feed_about(const Feed *f, char *text, size_t size)
{
    snprintf(text, size, "%" PRId64 " tokens of data", f->tokens.n);
}
