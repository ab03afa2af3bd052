/*
 * walk.c: files one after the other, blocks of their documents, epochs.
 *
 * A block ends with N documents (1 where nothing is shuffled), with 32 MiB of
 * them, or with the epoch; so where it ends depends on the data alone, and
 * reading from where it began makes it again.
 */
#include "walk.h"

#include "order.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 32 << 20 };

static TitanStatus no_memory(Walk *w)
{
    return titan_no_memory(w->story);
}

TitanStatus walk_open(Walk *w)
{
    w->ordered = -1;
    w->file_order = calloc(w->files->n + 1, sizeof *w->file_order);
    return w->file_order ? TITAN_OK : no_memory(w);
}

void walk_close(Walk *w)
{
    documents_close(w->open);
    free(w->file_order);
    free(w->held);
    free(w->order);
    free(w->bytes);
    *w = (Walk){0};
}

/* ----------------------------------------------------------------- files -- */

static void order_files(Walk *w)
{
    if (w->ordered == w->next.epoch) return;
    w->ordered = w->next.epoch;
    for (uint32_t i = 0; i < w->files->n; i++)
        w->file_order[i] = i;
    if (w->o->shuffle)
        order_draw((OrderKey){w->o->seed, w->which, (uint64_t)w->next.epoch,
                              ORDER_FILES},
                   w->file_order, w->files->n);
}

static uint32_t file_of(Walk *w)
{
    order_files(w);
    return w->file_order[w->next.file];
}

static TitanStatus open_file(Walk *w)
{
    const Place at = {w->next.offset, w->next.number};
    TRY(documents_open(w->story, &w->files->at[file_of(w)], w->o->text_key,
                       &w->open));
    if (at.offset == 0 && at.number == 0) return TITAN_OK;
    return w->open->class->seek(w->open, at);
}

static void leave_file(Walk *w)
{
    documents_close(w->open);
    w->open = NULL;
    w->next.file++;
    w->next.offset = w->next.number = 0;
}

/* The next piece of the epoch that `next` is in. */
static TitanStatus read_piece(Walk *w, Piece *out, bool *more)
{
    for (*more = false; w->next.file < (int64_t)w->files->n;) {
        if (!w->open) TRY(open_file(w));
        TRY(w->open->class->next(w->open, out, more));
        if (*more) {
            w->next.offset = w->open->at.offset;
            w->next.number = w->open->at.number;
            return TITAN_OK;
        }
        leave_file(w);
    }
    return TITAN_OK;
}

/* ----------------------------------------------------------------- block -- */

static TitanStatus make_room(Walk *w, size_t bytes)
{
    if (w->n == w->cap) {
        uint32_t cap = w->cap ? w->cap * 2 : 64;
        Held *held = realloc(w->held, cap * sizeof *held);
        if (held) w->held = held;
        uint32_t *order = realloc(w->order, cap * sizeof *order);
        if (order) w->order = order;
        if (!held || !order) return no_memory(w);
        w->cap = cap;
    }
    if (w->cap_bytes - w->nbytes >= bytes) return TITAN_OK;
    size_t cap = w->cap_bytes + w->cap_bytes / 2 + bytes;
    char *more = realloc(w->bytes, cap);
    if (!more) return no_memory(w);
    w->bytes = more;
    w->cap_bytes = cap;
    return TITAN_OK;
}

static TitanStatus hold(Walk *w, const Piece *p)
{
    TRY(make_room(w, p->bytes));
    Held *h = &w->held[w->n++];
    *h = (Held){w->nbytes, *p, w->open->file->path, w->open->class->unit};
    if (p->bytes) memcpy(w->bytes + w->nbytes, p->at, p->bytes);
    w->nbytes += p->bytes;
    return TITAN_OK;
}

static TitanStatus fill_block(Walk *w)
{
    int64_t most = w->o->shuffle ? w->o->shuffle : 1;
    Piece p;
    bool more = true;
    w->begin = w->next;
    w->n = w->taken = 0;
    w->nbytes = 0;
    while (w->n < most && w->nbytes < BLOCK_BYTES) {
        TRY(read_piece(w, &p, &more));
        if (!more) break;
        TRY(hold(w, &p));
    }
    w->next.block++;
    order_draw((OrderKey){w->o->seed, w->which, (uint64_t)w->begin.epoch,
                          (uint64_t)w->begin.block},
               w->order, w->n);
    return TITAN_OK;
}

/* The next block that has documents. */
static TitanStatus next_block(Walk *w, bool *more)
{
    for (;;) {
        *more = !w->o->epochs || w->next.epoch < w->o->epochs;
        if (!*more) return TITAN_OK;
        TRY(fill_block(w));
        if (w->n > 0) return TITAN_OK;
        if (w->begin.block == 0)
            return titan_fail(w->story, TITAN_BAD_DATA,
                              "the data has no documents");
        w->next = (Cursor){.epoch = w->begin.epoch + 1};
    }
}

TitanStatus walk_next(Walk *w, Piece *out, Cursor *where, bool *more)
{
    *more = true;
    if (w->taken == w->n) TRY(next_block(w, more));
    if (!*more) return TITAN_OK;
    const Held *h = &w->held[w->order[w->taken]];
    *where = w->begin;
    where->taken = w->taken++;
    *out = h->piece;
    out->at = w->bytes ? w->bytes + h->at : "";
    return TITAN_OK;
}

TitanStatus walk_seek(Walk *w, const Cursor *to)
{
    bool more = true;
    documents_close(w->open);
    w->open = NULL;
    w->n = w->taken = 0;
    w->next = *to;
    w->next.rows = w->next.taken = w->next.token = 0;
    if (to->taken == 0) return TITAN_OK;
    TRY(next_block(w, &more));
    if (more && to->taken < w->n) {
        w->taken = (uint32_t)to->taken;
        return TITAN_OK;
    }
    return titan_fail(w->story, TITAN_MISMATCH,
                      "the data has no longer the document where the "
                      "checkpoint stands");
}

const Held *walk_last(const Walk *w)
{
    return &w->held[w->order[w->taken - 1]];
}
