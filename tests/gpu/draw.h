/*
 * draw.h: what the operands of a case are drawn from.
 *
 * The numbers follow from a seed, a dtype and the place in the order of the
 * type's axes, so another machine draws the same ones and no file has to bring
 * them.
 */
#ifndef TITAN_TESTS_GPU_DRAW_H
#define TITAN_TESTS_GPU_DRAW_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ir/ir.h"

typedef struct Draws {
    uint64_t state; /* not 0 */
} Draws;

static inline uint64_t draw(Draws *d)
{
    d->state ^= d->state << 13;
    d->state ^= d->state >> 7;
    d->state ^= d->state << 17;
    return d->state * 0x2545F4914F6CDD1Dull;
}

static inline double draw_uniform(Draws *d)
{
    return (double)(draw(d) >> 11) * 0x1p-53;
}

/* How operands are drawn. */
typedef enum DrawWay {
    DRAW_plain,     /* few are large; integers are mostly indices */
    DRAW_any,       /* any bits */
    DRAW_ascending, /* plain, in order */
    DRAW_distinct,  /* each of as many integers from -2 on, in any order */
} DrawWay;

/* Any bits there are, or numbers of any size near 1; element X is in a run of
 * both, of the latter alone, or of positive ones: a thread takes neighbours. */
static inline Cell draw_any(Draws *w, DType d, int64_t x)
{
    enum { RUN = 64, BOTH = 0, POSITIVE = 2, KINDS, RANGE = 24 };
    int64_t kind = x / RUN % KINDS;
    uint64_t bits = draw(w);
    Cell c = dtype_load(d, &bits);
    double u = draw_uniform(w) * 4 - 2;
    if (kind == POSITIVE) u = fabs(u);
    if (dtype_class(d) != DC_float) return c;
    bool near = draw(w) % 4 != 0;
    int power = (int)((near ? draw(w) : bits) % RANGE) - RANGE / 2;
    if (near || kind != BOTH) c.f = dtype_round(d, ldexp(u, power));
    return c;
}

static inline Cell draw_plain(Draws *w, DType d)
{
    Cell c = {0};
    double u = draw_uniform(w) * 4 - 2;
    switch (dtype_class(d)) {
    case DC_float:
        c.f = dtype_round(d, draw(w) % 50 == 0 ? 4 * u : u);
        break;
    case DC_bool:
        c.i = draw(w) % 2 != 0;
        break;
    case DC_int:
        c.i = (int64_t)(draw(w) % 14) - 2;
        break;
    case DC_uint:
        c.i = (int64_t)(draw(w) % 12);
        break;
    }
    return c;
}

static inline int draw_order(const void *a, const void *b)
{
    int64_t x = ((const Cell *)a)->i, y = ((const Cell *)b)->i;
    return (x > y) - (x < y);
}

static inline void draw_shuffle(Draws *w, Cell *out, int64_t n)
{
    for (int64_t x = 0; x < n; x++) {
        int64_t at = (int64_t)(draw(w) % (uint64_t)(x + 1));
        out[x] = out[at];
        out[at].i = x - 2;
    }
}

static inline void draw_cells(Draws *w, DrawWay way, DType d, Cell *out,
                              int64_t n)
{
    if (way == DRAW_distinct) {
        draw_shuffle(w, out, n);
        return;
    }
    for (int64_t x = 0; x < n; x++)
        out[x] = way == DRAW_any ? draw_any(w, d, x) : draw_plain(w, d);
    if (way == DRAW_ascending) qsort(out, (size_t)n, sizeof *out, draw_order);
}

/* An operand's axes, outermost first. */
typedef struct DrawShape {
    uint32_t naxes;
    int64_t size[16], stride[16];
} DrawShape;

/* Where element FLAT lies. */
static inline int64_t draw_place(const DrawShape *s, int64_t flat)
{
    int64_t at = 0;
    for (uint32_t a = s->naxes; a-- > 0; flat /= s->size[a])
        at += flat % s->size[a] * s->stride[a];
    return at;
}

static inline int64_t draw_elements(const DrawShape *s)
{
    int64_t n = 1;
    for (uint32_t a = 0; a < s->naxes; a++)
        n *= s->size[a];
    return n;
}

static inline void draw_store(const DrawShape *s, DType d, const Cell *from,
                              void *to)
{
    for (int64_t x = draw_elements(s); x-- > 0;)
        dtype_store(d, from[x], (char *)to + draw_place(s, x) * dtype_bytes(d));
}

#endif
