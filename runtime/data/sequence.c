/*
 * sequence.c: token files, mapped, as one sequence; rows of it by number.
 *
 * In order, row r is the tokens from r * stride on, every index taken modulo
 * their number.  Shuffled, an epoch is the rows 0 .. R - 1 in blocks of N: the
 * blocks stand in one drawn order, the rows of each in another, so that far
 * places mix and reading stays near.  Nothing has to be remembered.
 */
#include "mapped.h"
#include "order.h"
#include "stream.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct TokenFile {
    const char *path;
    Mapped map;
    const unsigned char *at; /* the first token */
    unsigned width;          /* bytes of a token: 1 (text), 2, 4 */
    int64_t first, n;        /* tokens before this file, tokens in it */
} TokenFile;

/* An order that was drawn, and what for. */
typedef struct Drawn {
    uint32_t *at;
    int64_t epoch;
    uint64_t block;
} Drawn;

typedef struct Sequence {
    Stream base;
    TokenFile *files;
    int64_t n;      /* tokens */
    int64_t rows;   /* of a shuffled epoch */
    int64_t blocks; /* of it */
    int64_t last;   /* see place_of_last */
    Drawn places, rest;
} Sequence;

static Sequence *sequence_of(Stream *st)
{
    return (Sequence *)(void *)st;
}

/* ----------------------------------------------------------------- files -- */

enum { LLMC_HEADER = 1024 };

/* llm.c: 256 i32, of which the first three are magic, version, tokens. */
static const struct {
    uint32_t magic, version;
    unsigned width;
} llmc[] = {{20240520, 1, 2}, {20240801, 7, 4}};

static TitanStatus open_bin(TitanStory *s, TokenFile *f)
{
    f->width = 2;
    for (unsigned i = 0; i < 2 && f->map.bytes >= LLMC_HEADER; i++) {
        if (mapped_number(f->at, 4) != llmc[i].magic ||
            mapped_number(f->at + 4, 4) != llmc[i].version)
            continue;
        uint64_t n = mapped_number(f->at + 8, 4);
        f->width = llmc[i].width;
        f->at += LLMC_HEADER;
        f->n = (int64_t)n;
        if (f->map.bytes - LLMC_HEADER == n * f->width) return TITAN_OK;
        return titan_fail(s, TITAN_BAD_DATA,
                          "\"%s\" has %zu bytes behind its header, which says "
                          "%" PRIu64 " tokens of %u bytes",
                          f->path, f->map.bytes - LLMC_HEADER, n, f->width);
    }
    return TITAN_OK;
}

static TitanStatus open_file(TitanStory *s, const DataFile *d, TokenFile *f)
{
    *f = (TokenFile){.path = d->path, .width = 1};
    TRY(mapped_open(s, d->path, false, &f->map));
    f->at = f->map.at;
    if (d->format == DATA_u16) f->width = 2;
    if (d->format == DATA_u32) f->width = 4;
    if (d->format == DATA_bin) TRY(open_bin(s, f));
    if (f->at > f->map.at) return TITAN_OK; /* behind a header */
    f->n = (int64_t)(f->map.bytes / f->width);
    if (f->map.bytes % f->width == 0) return TITAN_OK;
    return titan_fail(s, TITAN_BAD_DATA,
                      "\"%s\" has %zu bytes, which is no whole number of "
                      "%u-byte tokens",
                      f->path, f->map.bytes, f->width);
}

static TitanStatus open_files(Sequence *q)
{
    const DataFiles *files = &q->base.files;
    q->files = calloc(files->n + 1, sizeof *q->files);
    if (!q->files) return titan_no_memory(q->base.story);
    for (uint32_t i = 0; i < files->n; i++) {
        TRY(open_file(q->base.story, &files->at[i], &q->files[i]));
        q->files[i].first = q->n;
        q->n += q->files[i].n;
    }
    if (q->n == 0)
        return titan_fail(q->base.story, TITAN_BAD_DATA,
                          "the data has no tokens");
    return TITAN_OK;
}

/* The last that begins at or in front of token i, which is in one. */
static const TokenFile *file_of(const Sequence *q, int64_t i)
{
    uint32_t low = 0, high = q->base.files.n;
    while (high - low > 1) {
        uint32_t mid = low + (high - low) / 2;
        if (q->files[mid].first <= i)
            low = mid;
        else
            high = mid;
    }
    while (q->files[low].n == 0)
        low--;
    return &q->files[low];
}

/* ---------------------------------------------------------------- tokens -- */

static TitanStatus too_large(const Sequence *q, const TokenFile *f, int64_t i,
                             uint32_t token, uint32_t bound)
{
    return titan_fail(q->base.story, TITAN_BAD_DATA,
                      "\"%s\": token %" PRId64 " is %" PRIu32
                      ", the model's vocabulary has %" PRIu32
                      "; -D sets it when the program is compiled",
                      f->path, i, token, bound);
}

/* Tokens i .. i + n of a file. */
static TitanStatus copy_tokens(const Sequence *q, const TokenFile *f, int64_t i,
                               int64_t n, int32_t *to)
{
    uint32_t bound = q->base.o->bound ? q->base.o->bound : (uint32_t)INT32_MAX;
    const unsigned char *p = f->at + i * f->width;
    for (int64_t k = 0; k < n; k++, p += f->width) {
        uint32_t token = (uint32_t)mapped_number(p, f->width);
        if (token >= bound) return too_large(q, f, i + k, token, bound);
        to[k] = (int32_t)token;
    }
    return TITAN_OK;
}

/* A document begins with a file, and behind the token that ends one. */
static void mark_starts(const Sequence *q, int64_t i, int64_t n, Row *row,
                        int64_t done)
{
    int64_t end = q->base.o->end_token;
    memset(row->starts + done, 0, (size_t)n);
    row->starts[done] = i == 0;
    if (end < 0) return;
    for (int64_t k = done ? 0 : 1; k < n; k++)
        row->starts[done + k] |= row->tokens[done + k - 1] == end;
}

static TitanStatus read_tokens(const Sequence *q, int64_t from, Row *row)
{
    int64_t at = from % q->n;
    for (int64_t done = 0; done < row->n;) {
        const TokenFile *f = file_of(q, at);
        int64_t i = at - f->first, left = f->n - i;
        int64_t take = left < row->n - done ? left : row->n - done;
        TRY(mapped_whole(q->base.story, &f->map));
        TRY(copy_tokens(q, f, i, take, row->tokens + done));
        mark_starts(q, i, take, row, done);
        done += take;
        at = (at + take) % q->n;
    }
    return TITAN_OK;
}

/* ------------------------------------------------------------------ rows -- */

static int64_t block_rows(const Sequence *q)
{
    return q->base.o->shuffle < q->rows ? q->base.o->shuffle : q->rows;
}

static void draw(const Sequence *q, Drawn *d, int64_t epoch, uint64_t block,
                 int64_t n)
{
    if (d->epoch == epoch && d->block == block) return;
    order_draw(
        (OrderKey){q->base.o->seed, q->base.which, (uint64_t)epoch, block},
        d->at, (uint32_t)n);
    d->epoch = epoch;
    d->block = block;
}

/* Where the last block, which may be shorter, stands in the epoch's order. */
static int64_t place_of_last(Sequence *q, int64_t epoch)
{
    if (q->places.epoch == epoch) return q->last;
    draw(q, &q->places, epoch, ORDER_BLOCKS, q->blocks);
    for (q->last = 0; q->places.at[q->last] != q->blocks - 1;)
        q->last++;
    return q->last;
}

/* Which row of its epoch is the r-th of the run. */
static int64_t drawn_row(Sequence *q, int64_t r)
{
    int64_t epoch = r / q->rows, j = r % q->rows, most = block_rows(q);
    int64_t shorter = q->rows - (q->blocks - 1) * most;
    int64_t last = place_of_last(q, epoch), place = j / most;
    if (j >= last * most + shorter)
        place = 1 + (j - shorter) / most;
    else if (j >= last * most)
        place = last;
    j -= place * most - (place > last ? most - shorter : 0);
    int64_t block = q->places.at[place];
    draw(q, &q->rest, epoch, (uint64_t)block,
         block == q->blocks - 1 ? shorter : most);
    return block * most + q->rest.at[j];
}

/* How many of the row's tokens are in the epochs that are read. */
static int64_t tokens_left(const Sequence *q, int64_t from)
{
    const StreamOptions *o = q->base.o;
    int64_t end;
    if (!o->epochs || __builtin_mul_overflow(o->epochs, q->n, &end))
        return o->span;
    if (from >= end) return 0;
    return end - from < o->span ? end - from : o->span;
}

static TitanStatus sequence_row(Stream *st, Row *out, bool *more)
{
    Sequence *q = sequence_of(st);
    const StreamOptions *o = st->o;
    int64_t r = st->at.rows, from = r * o->stride;
    out->n = o->span;
    if (o->shuffle) {
        *more = !o->epochs || r / q->rows < o->epochs;
        from = *more ? drawn_row(q, r) * o->stride : 0;
    } else {
        out->n = tokens_left(q, from);
        bool part = o->fill && out->n > o->span - o->length;
        *more = out->n == o->span || part;
    }
    if (!*more) return TITAN_OK;
    st->at.rows++;
    return read_tokens(q, from, out);
}

static TitanStatus sequence_seek(Stream *st, const Cursor *to)
{
    st->at = *to;
    return TITAN_OK;
}

static void sequence_about(const Stream *st, char *text, size_t size)
{
    const Sequence *q = (const Sequence *)(const void *)st;
    snprintf(text, size, "%" PRId64 " tokens of data", q->n);
}

static void sequence_free(Stream *st)
{
    Sequence *q = sequence_of(st);
    for (uint32_t i = 0; q->files && i < st->files.n; i++)
        mapped_close(&q->files[i].map);
    free(q->files);
    free(q->places.at);
    free(q->rest.at);
    paths_release(&st->files);
    free(q);
}

/* Rows of an epoch that share no label with another; at least one, which then
 * goes round. */
static TitanStatus plan_shuffle(Sequence *q)
{
    const StreamOptions *o = q->base.o;
    if (!o->shuffle) return TITAN_OK;
    int64_t over = o->span - o->stride;
    q->rows = q->n > over ? (q->n - over) / o->stride : 0;
    if (q->rows == 0) q->rows = 1;
    q->blocks = (q->rows - 1) / block_rows(q) + 1;
    if (q->blocks <= UINT32_MAX && block_rows(q) <= UINT32_MAX) {
        q->places.at = malloc((size_t)q->blocks * sizeof(uint32_t));
        q->rest.at = malloc((size_t)block_rows(q) * sizeof(uint32_t));
        q->places.epoch = q->rest.epoch = -1;
    }
    if (q->places.at && q->rest.at) return TITAN_OK;
    return titan_fail(q->base.story, TITAN_UNAVAILABLE,
                      "no memory for an order of %" PRId64 " rows", q->rows);
}

TitanStatus sequence_open(Stream *base, Stream **out)
{
    static const StreamClass class = {sequence_row, sequence_seek,
                                      sequence_about, sequence_free};
    Sequence *q = calloc(1, sizeof *q);
    if (!q) {
        paths_release(&base->files);
        return titan_no_memory(base->story);
    }
    q->base = *base;
    q->base.class = &class;
    TitanStatus st = open_files(q);
    if (st == TITAN_OK) st = plan_shuffle(q);
    if (st == TITAN_OK)
        *out = &q->base;
    else
        sequence_free(&q->base);
    return st;
}
