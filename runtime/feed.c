/*
 * feed.c: the inputs of a step: which fields the entry has, the reader that
 * makes them, and the way to the device.
 */
#include "feed.h"

#include "data/reader.h"
#include "data/state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct FeedData {
    TitanStory story; /* of everything that reads */
    Tokenizer *tokenizer;
    Mix mix;
    ReaderShape shape;
    Reader *reader; /* NULL before the first step is asked for */
    Mark *begin;    /* where it began */
    int64_t first;  /* the step that it began with */
    bool over;      /* the data ended before that */
    bool once;      /* without inputs: what is read to its end is one step */
};

/* ---------------------------------------------------------------- inputs -- */

static int field_of(const char *name)
{
    int f = 0;
    while (f < FIELDS && strcmp(name, field_names[f]) != 0)
        f++;
    return f;
}

static TitanStatus unknown_field(Feed *f, const char *name)
{
    char known[128] = "";
    for (int i = 0; i < FIELDS; i++) {
        size_t n = strlen(known);
        snprintf(known + n, sizeof known - n, "%s\"%s\"",
                 i == 0            ? ""
                 : i + 1 == FIELDS ? " and "
                                   : ", ",
                 field_names[i]);
    }
    return titan_fail(f->story, TITAN_MISMATCH,
                      "the program wants the field \"%s\"; data has %s", name,
                      known);
}

/* Tokens and labels are below the vocabulary; the other fields count the tokens
 * of a row. */
static TitanStatus check_bound(Feed *f, const TitanPort *p, int field)
{
    uint32_t *bound = &f->data->mix.o.bound;
    if (p->bound == 0) return TITAN_OK;
    if (field == FIELD_tokens || field == FIELD_labels) {
        if (*bound == 0 || p->bound < *bound) *bound = p->bound;
        return TITAN_OK;
    }
    if (p->bound >= f->length) return TITAN_OK;
    return titan_fail(f->story, TITAN_MISMATCH,
                      "the field \"%s\" goes up to %" PRId64
                      ", the program takes what is below %" PRIu32,
                      field_names[field], f->length - 1, p->bound);
}

static TitanStatus check_input(Feed *f, const TitanPort *p)
{
    const char *name = titan_string(f->im, p->path);
    int field = field_of(name);
    if (field == FIELDS) return unknown_field(f, name);
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
    f->data->shape.wants[field] = true;
    return check_bound(f, p, field);
}

static TitanStatus check_inputs(Feed *f)
{
    for (uint32_t i = 0; i < f->entry->ports.n; i++) {
        const TitanPort *p = &f->im->ports[f->entry->ports.first + i];
        if (p->role == TITAN_ROLE_input) TRY(check_input(f, p));
    }
    return TITAN_OK;
}

/* --------------------------------------------------------------- opening -- */

/* A number, or how the tokenizer writes it; without either its end of text. */
static TitanStatus find_end(Feed *f, const char *text, int64_t *out)
{
    const Tokenizer *t = f->data->tokenizer;
    char *end;
    if (!text) {
        *out = t ? tokenizer_eos(t) : -1;
        return TITAN_OK;
    }
    *out = strtoll(text, &end, 10);
    if (*text && !*end && *out >= 0) return TITAN_OK;
    *out = t ? tokenizer_find(t, text, strlen(text)) : -1;
    if (*out >= 0) return TITAN_OK;
    return titan_fail(f->story, TITAN_USAGE,
                      "--document-end %s is neither a number nor a token%s",
                      text, t ? "" : " (there is no --tokenizer)");
}

static TitanStatus open_mix(Feed *f, const FeedOptions *o)
{
    FeedData *d = f->data;
    StreamOptions *st = &d->mix.o;
    bool shares = d->shape.wants[FIELD_labels] || o->pack == PACK_chunks;
    MixOptions mix = {.paths = o->paths, .npaths = o->npaths};
    st->tokenizer = d->tokenizer;
    st->text_key = o->text_key;
    st->length = f->length;
    st->span = f->length + shares;
    st->stride = o->pack == PACK_chunks ? st->span : f->length;
    st->seed = (uint64_t)o->seed;
    st->shuffle = o->shuffle;
    st->epochs = o->epochs;
    st->fill = o->fill;
    TRY(find_end(f, o->end_token, &st->end_token));
    mix.stream = *st;
    TitanStatus code = mix_open(&d->story, &mix, &d->mix);
    if (code != TITAN_OK) *f->story = d->story;
    return code;
}

static void shape_reader(Feed *f, const FeedOptions *o)
{
    ReaderShape *s = &f->data->shape;
    s->rows = f->rows;
    s->passes = o->passes > 0 ? o->passes : 1;
    s->ranks = o->ranks > 0 ? o->ranks : 1;
    s->rank = o->rank;
    s->apart = o->pack == PACK_documents;
}

/* Texts end the run where they have a token that the model has not; the data of
 * validation is read with the same tokenizer. */
static TitanStatus open_tokenizer(Feed *f, const FeedOptions *o)
{
    FeedData *d = f->data;
    if (!o->tokenizer) return TITAN_OK;
    TRY(tokenizer_open(f->story, o->tokenizer, &d->tokenizer));
    uint32_t n = tokenizer_size(d->tokenizer), bound = d->mix.o.bound;
    if (bound && n > bound && !o->fill)
        fprintf(stderr,
                "warning: the tokenizer has %" PRIu32
                " ids, the model's vocabulary %" PRIu32
                ": a text with one of the others ends the run; -D sets it when "
                "the program is compiled\n",
                n, bound);
    return TITAN_OK;
}

TitanStatus feed_open(Feed *f, const FeedOptions *o)
{
    FeedData *d = f->data = calloc(1, sizeof *d);
    if (!d) return titan_no_memory(f->story);
    d->first = 1;
    d->once = o->fill;
    TRY(check_inputs(f));
    if (f->length == 0) return TITAN_OK;
    if (o->npaths == 0)
        return titan_fail(f->story, TITAN_USAGE,
                          "no data: name token or text files with --data");
    shape_reader(f, o);
    TRY(open_tokenizer(f, o));
    TRY(open_mix(f, o));
    d->begin = calloc(d->mix.n, sizeof *d->begin);
    if (!d->begin) return titan_no_memory(f->story);
    mix_marks(&d->mix, d->begin);
    return TITAN_OK;
}

void feed_close(Feed *f)
{
    FeedData *d = f->data;
    if (!d) return;
    reader_free(d->reader);
    mix_close(&d->mix);
    free(d->begin);
    if (d->tokenizer) tokenizer_free(d->tokenizer);
    free(d);
    f->data = NULL;
}

/* ----------------------------------------------------------------- steps -- */

/* The batch of a step; NULL where the entry has no inputs. */
static TitanStatus take(Feed *f, int64_t step, const Batch **out)
{
    FeedData *d = f->data;
    *out = NULL;
    if (f->length == 0) return TITAN_OK;
    if (!d->reader) TRY(reader_new(f->story, &d->mix, &d->shape, &d->reader));
    const Batch *b = *out = reader_take(d->reader, step - d->first);
    if (!b)
        return titan_fail(f->story, TITAN_INTERNAL,
                          "the rows of step %" PRId64 " are no longer held",
                          step);
    if (b->status != TITAN_OK) *f->story = b->story;
    return b->status;
}

TitanStatus feed_wait(Feed *f, int64_t step, bool *more)
{
    const Batch *b;
    *more = !f->data->over;
    if (!*more) return TITAN_OK;
    TRY(take(f, step, &b));
    *more = b ? b->whole : !f->data->once || step == f->data->first;
    return TITAN_OK;
}

TitanStatus feed_step(Feed *f, int64_t step)
{
    const Batch *b;
    TRY(take(f, step, &b));
    for (uint32_t i = 0; i < f->entry->ports.n; i++) {
        const TitanPort *p = &f->im->ports[f->entry->ports.first + i];
        if (p->role != TITAN_ROLE_input) continue;
        const int32_t *from = b->field[field_of(titan_string(f->im, p->path))];
        TRY(device_put(f->device, p, from,
                       (size_t)(f->rows * f->length) * sizeof *from));
    }
    return TITAN_OK;
}

TitanStatus feed_labels(Feed *f, int64_t step, int64_t *labels)
{
    const Batch *b;
    TRY(take(f, step, &b));
    *labels = b && b->field[FIELD_labels] ? b->valid : 1;
    return TITAN_OK;
}

void feed_about(const Feed *f, char *text, size_t size)
{
    if (f->length == 0)
        snprintf(text, size, "no data");
    else
        mix_about(&f->data->mix, text, size);
}

/* ----------------------------------------------------------------- state -- */

TitanStatus feed_state(Feed *f, int64_t step, char **json)
{
    FeedData *d = f->data;
    const Batch *b = NULL;
    if (step >= d->first) TRY(take(f, step, &b));
    return state_print(f->story, &d->mix, b ? b->behind : d->begin, step, json);
}

TitanStatus feed_restore(Feed *f, const char *json)
{
    FeedData *d = f->data;
    int64_t step;
    TRY(state_parse(f->story, &d->mix, json, d->begin, &step));
    TitanStatus st = mix_seek(&d->mix, d->begin);
    if (st != TITAN_OK) *f->story = d->story;
    d->first = step + 1;
    return titan_while(f->story, st,
                       "going on with the data behind step %" PRId64, step);
}

void feed_from(Feed *f, int64_t step)
{
    f->data->first = step + 1;
}

TitanStatus feed_skip(Feed *f, int64_t batches)
{
    FeedData *d = f->data;
    TitanStatus st = TITAN_OK;
    bool more = true;
    if (f->length == 0) return TITAN_OK;
    while (st == TITAN_OK && more && batches-- > 0)
        st = reader_skip(&d->mix, &d->shape, &more);
    d->over = !more;
    if (st == TITAN_OK) mix_marks(&d->mix, d->begin);
    if (st != TITAN_OK) *f->story = d->story;
    return st;
}
