/*
 * parts.c: which rank holds which bytes of a slot or port, and where.
 *
 * Whole and part are dense rows in the order of the axes, so a part is what a
 * nest of loops over the axes visits, each axis in at most two intervals.
 * Behind the last split axis both lie without gaps; such a stretch is one run,
 * but for the pieces in which slots of a block lie between each other's rows.
 */
#include "parts.h"

#include <string.h>

/* What a rank has of an axis: `n` from `start`, at `own`; of the `length` that
 * are there, the others are pads. */
typedef struct Interval {
    int64_t start, own, n, length;
} Interval;

typedef struct Axis {
    Interval at[2];
    uint32_t nat;
    int64_t inner, own_inner; /* elements of one index of it */
    int64_t size;
} Axis;

typedef struct Nest {
    const Tensor *t;
    Axis axes[TITAN_MOST_AXES];
    uint32_t depth;   /* axes down to the last that is split */
    int64_t from, to; /* elements */
    PartSink *sink;
} Nest;

static int64_t at_least_0(int64_t n)
{
    return n > 0 ? n : 0;
}

static Interval interval(int64_t start, int64_t own, int64_t length,
                         int64_t size)
{
    int64_t n = at_least_0(size - start);
    return (Interval){start, own, n < length ? n : length, length};
}

static void split_axis(const Tensor *t, uint32_t rank, uint32_t axis, Axis *a)
{
    int64_t start = 0, length = a->size;
    a->nat = 1;
    for (uint32_t i = 0; i < t->part->splits.n; i++) {
        const TitanSplit *s = &t->im->splits[t->part->splits.first + i];
        if (s->axis != axis) continue;
        int64_t n = t->im->mesh[s->mesh].size;
        int64_t c = rank_coordinate(t->im, rank, s->mesh);
        bool zig = s->spread == TITAN_SPREAD_zig;
        int64_t cuts = zig ? 2 * n : n;
        length = (length + cuts - 1) / cuts;
        start += c * length;
        if (!zig) continue;
        a->nat = 2;
        a->at[1] = interval((2 * n - 1 - c) * length, length, length, a->size);
    }
    a->at[0] = interval(start, 0, length, a->size);
}

static void open_nest(Nest *n, const Tensor *t, uint32_t rank)
{
    const TitanImage *im = t->im;
    int64_t inner = 1, own_inner = 1;
    n->t = t;
    for (uint32_t i = 0; i < t->part->splits.n; i++) {
        uint32_t axis = im->splits[t->part->splits.first + i].axis;
        if (axis + 1 > n->depth) n->depth = axis + 1;
    }
    for (uint32_t i = t->axes.n; i-- > 0;) {
        Axis *a = &n->axes[i];
        a->size = im->axes[t->axes.first + i].size;
        a->inner = inner;
        a->own_inner = own_inner;
        split_axis(t, rank, i, a);
        inner *= a->size;
        own_inner *= part_axis_size(im, t->part, i, a->size);
    }
}

/* ------------------------------------------------------------------ runs -- */

static int64_t place(uint64_t piece, uint64_t pitch, int64_t before)
{
    int64_t n = (int64_t)piece;
    return n ? before / n * (int64_t)pitch + before % n : before;
}

/* Elements up to the end of a piece. */
static int64_t left_of(uint64_t piece, int64_t before)
{
    return piece ? (int64_t)piece - before % (int64_t)piece : INT64_MAX;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Elements that follow each other in both, piece by piece. */
static TitanStatus put(const Nest *n, int64_t whole, int64_t own, int64_t count)
{
    const Tensor *t = n->t;
    const TitanPart *p = t->part;
    uint64_t size = titan_dtype_bytes(t->dtype);
    for (int64_t done = 0, some; done < count; done += some) {
        some = least(left_of(t->piece, whole + done),
                     left_of(p->piece, own + done));
        some = least(some, count - done);
        PartRun r = {
            .whole = t->offset +
                     (uint64_t)place(t->piece, t->pitch, whole + done) * size,
            .own = p->offset +
                   (uint64_t)place(p->piece, p->pitch, own + done) * size,
            .bytes = (size_t)((uint64_t)some * size)};
        TRY(n->sink->take(n->sink, &r));
    }
    return TITAN_OK;
}

static TitanStatus put_pads(const Nest *n, int64_t own, int64_t count)
{
    const TitanPart *p = n->t->part;
    uint64_t size = titan_dtype_bytes(n->t->dtype);
    for (int64_t done = 0, some; done < count; done += some) {
        some = least(left_of(p->piece, own + done), count - done);
        PartRun r = {.own =
                         p->offset +
                         (uint64_t)place(p->piece, p->pitch, own + done) * size,
                     .bytes = (size_t)((uint64_t)some * size),
                     .pads = true};
        TRY(n->sink->take(n->sink, &r));
    }
    return TITAN_OK;
}

static TitanStatus put_wanted(const Nest *n, int64_t whole, int64_t own,
                              int64_t count)
{
    int64_t skip = at_least_0(n->from - whole);
    int64_t over = at_least_0(whole + count - n->to);
    if (skip + over >= count) return TITAN_OK;
    return put(n, whole + skip, own + skip, count - skip - over);
}

/* The row of axis DEPTH that begins at WHOLE. */
static TitanStatus walk(const Nest *n, uint32_t depth, int64_t whole,
                        int64_t own)
{
    const Axis *a = &n->axes[depth];
    int64_t end = whole + a->size * a->inner;
    if (end <= n->from || whole >= n->to) return TITAN_OK;
    for (uint32_t k = 0; k < a->nat; k++) {
        const Interval *v = &a->at[k];
        int64_t w = whole + v->start * a->inner,
                o = own + v->own * a->own_inner;
        if (depth + 1 == n->depth)
            TRY(put_wanted(n, w, o, v->n * a->inner));
        else
            for (int64_t i = 0; i < v->n; i++)
                TRY(walk(n, depth + 1, w + i * a->inner, o + i * a->own_inner));
        if (v->n < v->length && end <= n->to)
            TRY(put_pads(n, o + v->n * a->own_inner,
                         (v->length - v->n) * a->own_inner));
    }
    return TITAN_OK;
}

/* The first element that lies at BYTES or behind it. */
static int64_t element_at(const Tensor *t, uint64_t bytes)
{
    uint64_t size = titan_dtype_bytes(t->dtype);
    if (bytes <= t->offset) return 0;
    uint64_t at = (bytes - t->offset + size - 1) / size;
    if (t->piece == 0) return (int64_t)at;
    uint64_t in = at % t->pitch;
    return (int64_t)(at / t->pitch * t->piece +
                     (in < t->piece ? in : t->piece));
}

TitanStatus tensor_runs(const Tensor *t, uint32_t rank, uint64_t from,
                        uint64_t to, PartSink *sink)
{
    int64_t n = titan_elements(t->im, t->axes);
    Nest nest = {.from = element_at(t, from),
                 .to = least(element_at(t, to), n),
                 .sink = sink};
    if (nest.from >= nest.to) return TITAN_OK;
    open_nest(&nest, t, rank);
    if (nest.depth == 0) return put_wanted(&nest, 0, 0, n);
    return walk(&nest, 0, 0, 0);
}

bool tensor_is_first(const Tensor *t, uint32_t rank)
{
    for (uint32_t m = 0; m < t->im->nmesh; m++) {
        bool split = false;
        for (uint32_t i = 0; i < t->part->splits.n; i++)
            split |= t->im->splits[t->part->splits.first + i].mesh == m;
        if (!split && rank_coordinate(t->im, rank, m) != 0) return false;
    }
    return true;
}

/* --------------------------------------------------------- slots and ports --
 */

Tensor tensor_of_slot(const TitanImage *im, const TitanSlot *s)
{
    return (Tensor){.im = im,
                    .axes = s->axes,
                    .dtype = s->dtype,
                    .offset = s->offset,
                    .piece = s->piece,
                    .pitch = s->pitch,
                    .part = &im->parts[s->part]};
}

Tensor tensor_of_port(const TitanImage *im, const TitanPort *p)
{
    return (Tensor){.im = im,
                    .axes = p->axes,
                    .dtype = p->dtype,
                    .offset = p->offset,
                    .part = &im->parts[p->part]};
}

size_t tensor_bytes(const Tensor *t)
{
    return (size_t)titan_elements(t->im, t->axes) * titan_dtype_bytes(t->dtype);
}

uint64_t port_own_offset(const TitanImage *im, const TitanPort *p)
{
    return im->header->ranks == 1 ? p->offset : im->parts[p->part].offset;
}

size_t port_own_bytes(const TitanImage *im, const TitanPort *p)
{
    int64_t n = 1;
    if (im->header->ranks == 1)
        n = titan_elements(im, p->axes);
    else
        for (uint32_t i = 0; i < p->axes.n; i++)
            n *= part_axis_size(im, &im->parts[p->part], i,
                                im->axes[p->axes.first + i].size);
    return (size_t)n * titan_dtype_bytes(p->dtype);
}
