/*
 * pack.c: documents, as tokens, packed into rows.
 *
 * Rows are filled from front to back and a document is cut where a row ends:
 * nothing is lost and nothing is filled up.  Where rows share a token (stride
 * less than span) the last token of a row is held for the next one.
 */
#include "encode.h"
#include "walk.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Packer {
    Stream base;
    Walk walk;
    TokenScratch *scratch;
    TokenIds ids;   /* of the present piece */
    size_t i;       /* its next token */
    Cursor present; /* of the piece */
    bool start;     /* a document begins with it */
    bool held;      /* a token of the row before */
    int32_t held_token;
    bool held_start;
    int64_t fruitful; /* the last epoch that gave a token */
} Packer;

static Packer *packer_of(Stream *st)
{
    return (Packer *)(void *)st;
}

/* ---------------------------------------------------------------- tokens -- */

static TitanStatus too_large(Packer *p, size_t i, int64_t id)
{
    const Held *h = walk_last(&p->walk);
    uint32_t bound = p->base.o->bound;
    return titan_fail(p->base.story, TITAN_BAD_DATA,
                      "\"%s\": token %zu of %s %" PRId64 " is %" PRId64
                      ", the model's vocabulary has %" PRIu32
                      "; -D sets it when the program is compiled",
                      h->path, i, h->unit, h->piece.number, id,
                      bound ? bound : (uint32_t)INT32_MAX);
}

static TitanStatus check_bound(Packer *p)
{
    uint32_t bound = p->base.o->bound;
    if (bound == 0 || bound > INT32_MAX) bound = INT32_MAX;
    for (size_t i = 0; i < p->ids.n; i++)
        if (p->ids.at[i] >= bound) return too_large(p, i, p->ids.at[i]);
    return TITAN_OK;
}

static TitanStatus reserve(Packer *p, size_t n)
{
    if (n <= p->ids.cap) return TITAN_OK;
    uint32_t *more = realloc(p->ids.at, n * sizeof *more);
    if (!more) return titan_no_memory(p->base.story);
    p->ids.at = more;
    p->ids.cap = n;
    return TITAN_OK;
}

static int64_t id_at(const unsigned char *at, unsigned width, bool is_signed)
{
    uint64_t v = 0;
    for (unsigned i = width; i-- > 0;)
        v = v << 8 | at[i];
    unsigned spare = 64 - 8 * width;
    return is_signed ? (int64_t)(v << spare) >> spare : (int64_t)v;
}

/* Ids, or bytes where there is no tokenizer. */
static TitanStatus widen(Packer *p, const Piece *piece)
{
    unsigned width = piece->width ? piece->width : 1;
    const unsigned char *at = piece->at;
    size_t n = piece->bytes / width;
    TRY(reserve(p, n));
    for (size_t i = 0; i < n; i++) {
        int64_t id = id_at(at + i * width, width, piece->is_signed);
        if (id < 0 || id > INT32_MAX) return too_large(p, i, id);
        p->ids.at[i] = (uint32_t)id;
    }
    p->ids.n = n;
    return TITAN_OK;
}

static TitanStatus encode(Packer *p, const Piece *piece)
{
    const Tokenizer *t = p->base.o->tokenizer;
    const Held *h = walk_last(&p->walk);
    p->ids.n = 0;
    if (!t || piece->width) return widen(p, piece);
    return titan_while(p->base.story,
                       piece_encode(p->base.story, t, p->scratch, piece,
                                    TOKEN_BOS | TOKEN_EOS, &p->ids),
                       "encoding %s %" PRId64 " of \"%s\"", h->unit,
                       h->piece.number, h->path);
}

static TitanStatus load_piece(Packer *p, bool *more)
{
    Piece piece;
    TRY(walk_next(&p->walk, &piece, &p->present, more));
    p->i = 0;
    if (!*more) return TITAN_OK;
    TRY(encode(p, &piece));
    p->start = piece.first || p->base.o->shuffle;
    return check_bound(p);
}

/* Has a token at i.  Two epochs without one will not have any. */
static TitanStatus need_token(Packer *p, bool *more)
{
    *more = true;
    while (*more && p->i == p->ids.n) {
        p->ids.n = p->i = 0;
        TRY(load_piece(p, more));
        if (p->ids.n > 0)
            p->fruitful = p->present.epoch;
        else if (p->present.epoch > p->fruitful + 1)
            return titan_fail(p->base.story, TITAN_BAD_DATA,
                              "the data has no tokens");
    }
    return TITAN_OK;
}

/* ------------------------------------------------------------------ rows -- */

static Cursor here(const Packer *p, size_t i)
{
    Cursor c = p->present;
    c.token = (int64_t)i;
    return c;
}

/* Copies tokens of the piece; NEXT: where the token is that the next row begins
 * with. */
static void take_tokens(Packer *p, Row *row, Cursor *next)
{
    const StreamOptions *o = p->base.o;
    size_t left = p->ids.n - p->i, room = (size_t)(o->span - row->n);
    size_t n = left < room ? left : room;
    size_t until = (size_t)(o->stride - row->n);
    if (row->n <= o->stride && until < n) *next = here(p, p->i + until);
    memcpy(row->tokens + row->n, p->ids.at + p->i, n * sizeof *row->tokens);
    memset(row->starts + row->n, 0, n * sizeof *row->starts);
    row->starts[row->n] = p->i == 0 && p->start;
    p->i += n;
    row->n += (int64_t)n;
}

static TitanStatus fill_row(Packer *p, Row *row, Cursor *next)
{
    bool more = true;
    row->n = 0;
    if (p->held) {
        row->tokens[0] = p->held_token;
        row->starts[0] = p->held_start;
        row->n = 1;
        p->held = false;
    }
    while (row->n < p->base.o->span) {
        TRY(need_token(p, &more));
        if (!more) return TITAN_OK;
        take_tokens(p, row, next);
    }
    return TITAN_OK;
}

static TitanStatus packer_row(Stream *st, Row *out, bool *more)
{
    Packer *p = packer_of(st);
    const StreamOptions *o = st->o;
    Cursor next = {0};
    TRY(fill_row(p, out, &next));
    bool whole = out->n == o->span;
    *more = whole || (o->fill && out->n > o->span - o->length);
    if (!*more) return TITAN_OK;
    p->held = whole && o->stride < o->span;
    if (p->held) {
        p->held_token = out->tokens[o->stride];
        p->held_start = out->starts[o->stride];
    } else {
        next = here(p, p->i);
    }
    next.rows = st->at.rows + 1;
    st->at = next;
    return TITAN_OK;
}

static TitanStatus packer_seek(Stream *st, const Cursor *to)
{
    Packer *p = packer_of(st);
    bool more = true;
    p->held = false;
    p->i = p->ids.n = 0;
    p->fruitful = to->epoch;
    p->present = *to;
    st->at = *to;
    TRY(walk_seek(&p->walk, to));
    if (to->token == 0) return TITAN_OK;
    TRY(load_piece(p, &more));
    if (more && (uint64_t)to->token <= p->ids.n) {
        p->i = (size_t)to->token;
        return TITAN_OK;
    }
    return titan_fail(st->story, TITAN_MISMATCH,
                      "the document where the checkpoint stands is shorter "
                      "than it was");
}

static void packer_about(const Stream *st, char *text, size_t size)
{
    snprintf(text, size, "%" PRIu32 " file%s of documents", st->files.n,
             st->files.n == 1 ? "" : "s");
}

static void packer_free(Stream *st)
{
    Packer *p = packer_of(st);
    walk_close(&p->walk);
    if (p->scratch) token_scratch_free(p->scratch);
    token_ids_release(&p->ids);
    paths_release(&st->files);
    free(p);
}

TitanStatus pack_open(Stream *base, Stream **out)
{
    static const StreamClass class = {packer_row, packer_seek, packer_about,
                                      packer_free};
    Packer *p = calloc(1, sizeof *p);
    if (!p) {
        paths_release(&base->files);
        return titan_no_memory(base->story);
    }
    p->base = *base;
    p->base.class = &class;
    p->walk = (Walk){.story = base->story,
                     .o = base->o,
                     .files = &p->base.files,
                     .which = base->which};
    TitanStatus st = walk_open(&p->walk);
    if (st == TITAN_OK && base->o->tokenizer) {
        p->scratch = token_scratch_new();
        if (!p->scratch) st = titan_no_memory(base->story);
    }
    if (st == TITAN_OK)
        *out = &p->base;
    else
        packer_free(&p->base);
    return st;
}
