/*
 * arrange.c: places of temporaries (see arrange.h).
 *
 * Temporaries are placed one after the other, each in the smallest gap that
 * takes it between those that are placed and live with it.  The order decides
 * how good that is: a few orders are tried, and the lowest peak is kept.
 */
#include "arrange.h"

#include <stdlib.h>

typedef struct Block {
    const LiveBuffer *b;
    int64_t offset;
    uint32_t number;
} Block;

typedef struct Arrange {
    Block *blocks; /* in the order in which they are placed */
    uint32_t n;
    const Live *live;
    Block **meets; /* scratch */
} Arrange;

static int by_number(const Block *x, const Block *y)
{
    return x->number < y->number ? -1 : 1;
}

static int by_size(const void *a, const void *b)
{
    const Block *x = a, *y = b;
    if (x->b->bytes != y->b->bytes) return x->b->bytes > y->b->bytes ? -1 : 1;
    return by_number(x, y);
}

static int by_span(const void *a, const void *b)
{
    const Block *x = a, *y = b;
    int64_t p = x->b->last - x->b->first, q = y->b->last - y->b->first;
    if (p != q) return p > q ? -1 : 1;
    return by_size(a, b);
}

static int by_area(const void *a, const void *b)
{
    const Block *x = a, *y = b;
    double p = (double)x->b->bytes * (double)(x->b->last - x->b->first + 1);
    double q = (double)y->b->bytes * (double)(y->b->last - y->b->first + 1);
    if (p != q) return p > q ? -1 : 1;
    return by_number(x, y);
}

static int by_start(const void *a, const void *b)
{
    const Block *x = a, *y = b;
    if (x->b->first != y->b->first) return x->b->first < y->b->first ? -1 : 1;
    return by_size(a, b);
}

static int by_offset(const void *a, const void *b)
{
    const Block *x = *(Block *const *)a, *y = *(Block *const *)b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    return by_number(x, y);
}

/* The start of the smallest gap that takes the block. */
static int64_t best_gap(Arrange *r, uint32_t block)
{
    const LiveBuffer *b = r->blocks[block].b;
    uint32_t n = 0;
    for (uint32_t i = 0; i < block; i++)
        if (live_together(r->live, r->blocks[i].b, b))
            r->meets[n++] = &r->blocks[i];
    qsort(r->meets, n, sizeof *r->meets, by_offset);
    int64_t end = 0, best = -1, best_size = INT64_MAX;
    for (uint32_t i = 0; i < n; i++) {
        int64_t gap = r->meets[i]->offset - end;
        if (gap >= b->bytes && gap < best_size) {
            best = end;
            best_size = gap;
        }
        int64_t after =
            place_aligned(r->meets[i]->offset + r->meets[i]->b->bytes);
        if (after > end) end = after;
    }
    return best >= 0 ? best : end;
}

static int64_t place_all(Arrange *r, int (*order)(const void *, const void *))
{
    int64_t peak = 0;
    qsort(r->blocks, r->n, sizeof *r->blocks, order);
    for (uint32_t i = 0; i < r->n; i++) {
        Block *k = &r->blocks[i];
        k->offset = best_gap(r, i);
        int64_t end = place_aligned(k->offset + k->b->bytes);
        if (end > peak) peak = end;
    }
    return peak;
}

int64_t arrange(const Live *live, bool lane, int64_t *offsets, Arena *a)
{
    static int (*const orders[])(const void *, const void *) = {
        by_size, by_area, by_span, by_start};
    Arrange r = {.blocks = NEW_ARRAY(a, Block, (size_t)live->n + 1),
                 .live = live,
                 .meets = NEW_ARRAY(a, Block *, (size_t)live->n + 1)};
    for (uint32_t i = 0; i < live->n; i++)
        if (live->at[i].lane == lane)
            r.blocks[r.n++] = (Block){.b = &live->at[i], .number = i};
    int64_t peak = INT64_MAX;
    for (uint32_t o = 0; o < sizeof orders / sizeof *orders; o++) {
        int64_t p = place_all(&r, orders[o]);
        if (p >= peak) continue;
        peak = p;
        for (uint32_t i = 0; i < r.n; i++)
            offsets[r.blocks[i].number] = r.blocks[i].offset;
    }
    return peak;
}
