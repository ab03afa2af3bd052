/*
 * parts.c: which rank holds which bytes of a slot or port, and where.
 *
 * Whole and part are dense rows in the order of the axes, so a part is what a
 * nest of loops over the axes visits, each axis in at most two intervals.
 * Behind the last axis that is split, or that stages share, both lie without
 * gaps; such a stretch is one run, but for the pieces in which slots of a block
 * lie between each other's rows.
 *
 * Sizes come from a file: the checks at the end are of images whose slots and
 * ports nobody has looked at yet.
 */
#include "parts.h"

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
    const TitanPart *part;
    Axis axes[TITAN_MOST_AXES];
    uint32_t depth;   /* axes down to the last that is split */
    int64_t from, to; /* elements */
    PartSink *sink;
} Nest;

static int64_t at_least_0(int64_t n)
{
    return n > 0 ? n : 0;
}

/* The indices that a part has of an axis, before it is split. */
typedef struct Stretch {
    int64_t first, n;
} Stretch;

static bool is_cut(const TitanPart *p, uint32_t axis)
{
    return p->n && p->axis == axis;
}

static Interval interval(const Stretch *of, int64_t start, int64_t own,
                         int64_t length)
{
    int64_t n = at_least_0(of->n - start);
    return (Interval){of->first + start, own, n < length ? n : length, length};
}

static void split_axis(const Nest *n, uint32_t rank, uint32_t axis, Axis *a)
{
    const Tensor *t = n->t;
    const TitanPart *p = n->part;
    Stretch of =
        is_cut(p, axis) ? (Stretch){p->first, p->n} : (Stretch){0, a->size};
    int64_t start = 0, length = of.n;
    a->nat = 1;
    for (uint32_t i = 0; i < p->splits.n; i++) {
        const TitanSplit *s = &t->im->splits[p->splits.first + i];
        if (s->axis != axis) continue;
        int64_t count = t->im->mesh[s->mesh].size;
        int64_t c = rank_coordinate(t->im, rank, s->mesh);
        bool zig = s->spread == TITAN_SPREAD_zig;
        int64_t cuts = zig ? 2 * count : count;
        length = (length + cuts - 1) / cuts;
        start += c * length;
        if (!zig) continue;
        a->nat = 2;
        a->at[1] = interval(&of, (cuts - 1 - c) * length, length, length);
    }
    a->at[0] = interval(&of, start, 0, length);
}

static void open_nest(Nest *n, uint32_t rank)
{
    const Tensor *t = n->t;
    const TitanPart *p = n->part;
    const TitanImage *im = t->im;
    int64_t inner = 1, own_inner = 1;
    if (p->n) n->depth = p->axis + 1;
    for (uint32_t i = 0; i < p->splits.n; i++) {
        uint32_t axis = im->splits[p->splits.first + i].axis;
        if (axis + 1 > n->depth) n->depth = axis + 1;
    }
    for (uint32_t i = t->axes.n; i-- > 0;) {
        Axis *a = &n->axes[i];
        a->size = im->axes[t->axes.first + i].size;
        a->inner = inner;
        a->own_inner = own_inner;
        split_axis(n, rank, i, a);
        inner *= a->size;
        own_inner *= part_axis_size(im, p, i, a->size);
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
    const TitanPart *p = n->part;
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
    const TitanPart *p = n->part;
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

static bool same_indices(const TitanPart *a, const TitanPart *b)
{
    return a->n == b->n && (a->n == 0 || a->first == b->first);
}

/* Of the parts with the same indices, that of the first stage; of its ranks,
 * the first that has the same of it. */
static bool is_first(const Tensor *t, const TitanPart *p, uint32_t rank)
{
    const TitanImage *im = t->im;
    if (p > &im->parts[t->parts.first] && same_indices(p - 1, p)) return false;
    for (uint32_t m = 0; m < im->nmesh; m++) {
        bool apart = im->nstages > 1 && m == im->header->stage_mesh;
        for (uint32_t i = 0; i < p->splits.n; i++)
            apart |= im->splits[p->splits.first + i].mesh == m;
        if (!apart && rank_coordinate(im, rank, m) != 0) return false;
    }
    return true;
}

TitanStatus tensor_runs(const Tensor *t, const PartAsk *ask, PartSink *sink)
{
    int64_t n = titan_elements(t->im, t->axes);
    uint32_t stage = rank_stage(t->im, ask->rank);
    int64_t from = element_at(t, ask->from), to = element_at(t, ask->to);
    if (to > n) to = n;
    for (uint32_t i = 0; i < t->parts.n && from < to; i++) {
        Nest nest = {.t = t,
                     .part = &t->im->parts[t->parts.first + i],
                     .from = from,
                     .to = to,
                     .sink = sink};
        if (nest.part->stage != stage) continue;
        if (ask->first && !is_first(t, nest.part, ask->rank)) continue;
        open_nest(&nest, ask->rank);
        TRY(nest.depth ? walk(&nest, 0, 0, 0) : put_wanted(&nest, 0, 0, n));
    }
    return TITAN_OK;
}

/* ------------------------------------------------------- slots and ports -- */

Tensor tensor_of_slot(const TitanImage *im, const TitanSlot *s)
{
    return (Tensor){.im = im,
                    .axes = s->axes,
                    .dtype = s->dtype,
                    .base = titan_slot_base(s),
                    .offset = s->offset,
                    .piece = s->piece,
                    .pitch = s->pitch,
                    .parts = s->parts};
}

Tensor tensor_of_port(const TitanImage *im, const TitanPort *p)
{
    return (Tensor){.im = im,
                    .axes = p->axes,
                    .dtype = p->dtype,
                    .base = TITAN_BASE_io,
                    .offset = p->offset,
                    .parts = p->parts};
}

size_t tensor_bytes(const Tensor *t)
{
    return (size_t)titan_elements(t->im, t->axes) * titan_dtype_bytes(t->dtype);
}

/* Elements of a part, as a rank has them; pads may make them too many. */
static int64_t part_elements(const Tensor *t, const TitanPart *p)
{
    int64_t n = 1;
    for (uint32_t i = 0; i < t->axes.n; i++) {
        int64_t size = t->im->axes[t->axes.first + i].size;
        size = part_axis_size(t->im, p, i, size);
        if (__builtin_mul_overflow(n, size, &n)) return INT64_MAX;
    }
    return n;
}

bool port_place_next(const TitanImage *im, const TitanPort *p, uint32_t rank,
                     uint32_t *at, PortPlace *out)
{
    Tensor t = tensor_of_port(im, p);
    uint32_t i = (*at)++;
    if (im->header->ranks == 1) {
        *out = (PortPlace){p->offset, tensor_bytes(&t)};
        return i == 0;
    }
    while (i < p->parts.n &&
           im->parts[p->parts.first + i].stage != rank_stage(im, rank))
        i = (*at)++;
    if (i >= p->parts.n) return false;
    const TitanPart *part = &im->parts[p->parts.first + i];
    *out = (PortPlace){part->offset, (size_t)part_elements(&t, part) *
                                         titan_dtype_bytes(p->dtype)};
    return true;
}

/* ---------------------------------------------------------------- checks -- */

#define BAD(...) titan_fail(story, TITAN_BAD_DATA, "image: " __VA_ARGS__)

/* No mesh axis twice, but in a rehearsal as often as it plays one, none over
 * which stages differ, and a zig split alone on its axis. */
static bool splits_agree(const Tensor *t, const TitanPart *p)
{
    const TitanSplit *s = &t->im->splits[p->splits.first];
    if (p->splits.n > t->im->nmesh * ranks_axes_played(t->im)) return false;
    for (uint32_t i = 0; i < p->splits.n; i++) {
        if (s[i].axis >= t->axes.n) return false;
        if (t->im->nstages > 1 && s[i].mesh == t->im->header->stage_mesh)
            return false;
        for (uint32_t k = 0; k < i; k++) {
            bool same = s[i].axis == s[k].axis;
            bool zig = (s[i].spread | s[k].spread) == TITAN_SPREAD_zig;
            bool twice = s[i].mesh == s[k].mesh && !t->im->header->rehearses;
            if (twice || (same && zig)) return false;
        }
    }
    return true;
}

static TitanStatus check_place(TitanStory *story, const char *what,
                               const Tensor *t, const TitanPart *p)
{
    uint64_t n = (uint64_t)part_elements(t, p), reach = n;
    uint64_t room = t->im->stages[p->stage].base_bytes[t->base];
    if (n == 0) return TITAN_OK;
    if (p->piece) {
        if (p->pitch < p->piece || n % p->piece ||
            __builtin_mul_overflow(n / p->piece - 1, p->pitch, &reach) ||
            __builtin_add_overflow(reach, p->piece, &reach))
            return BAD("the part of %s is in pieces that overlap", what);
    }
    if (__builtin_mul_overflow(reach, titan_dtype_bytes(t->dtype), &reach) ||
        p->offset > room || reach > room - p->offset)
        return BAD("the part of %s does not lie in its base", what);
    return TITAN_OK;
}

/* Each begins where the one before it ends, or has the same indices at a later
 * stage.  END: of the indices so far. */
static bool follows(const Tensor *t, const TitanPart *p, int64_t *end)
{
    const TitanPart *first = &t->im->parts[t->parts.first];
    if (p->n && p->axis != first->axis) return false;
    if (p > first && same_indices(p - 1, p)) return p[-1].stage < p->stage;
    if (p->n == 0) return p == first;
    if (first->n == 0 || p->first != *end) return false;
    *end += p->n;
    return true;
}

static TitanStatus check_part(TitanStory *story, const char *what,
                              const Tensor *t, const TitanPart *p)
{
    if (p->stage >= t->im->nstages) return BAD("%s has no stage", what);
    int64_t size = 0;
    if (p->n && p->axis < t->axes.n)
        size = t->im->axes[t->axes.first + p->axis].size;
    if (p->n &&
        (p->first < 0 || p->first > size || p->n < 0 || p->n > size - p->first))
        return BAD("the part of %s is outside of it", what);
    if (!splits_agree(t, p)) return BAD("%s is split twice", what);
    return check_place(story, what, t, p);
}

TitanStatus parts_check(TitanStory *story, const char *what, const Tensor *t)
{
    const TitanImage *im = t->im;
    int64_t end = 0;
    if (im->header->ranks == 1) return TITAN_OK;
    if (t->parts.n == 0 || t->parts.first > im->nparts ||
        t->parts.n > im->nparts - t->parts.first)
        return BAD("%s has no part", what);
    if (t->axes.n > TITAN_MOST_AXES) return BAD("%s has too many axes", what);
    const TitanPart *first = &im->parts[t->parts.first];
    for (uint32_t i = 0; i < t->parts.n; i++) {
        TRY(check_part(story, what, t, &first[i]));
        if (!follows(t, &first[i], &end))
            return BAD("the parts of %s do not follow each other", what);
    }
    if (first->n && end != im->axes[t->axes.first + first->axis].size)
        return BAD("the parts of %s are not all of it", what);
    return TITAN_OK;
}
