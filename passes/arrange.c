/*
 * arrange.c: places of temporaries (see arrange.h).
 *
 * Temporaries are placed one after the other.  Each that is placed and lives
 * with the next one forbids a range of offsets: those where the two would lie
 * in each other's way (live_apart).  Of the ranges that are left between them
 * the smallest is taken, at its begin.
 *
 * The order decides how good that is: a few orders are tried, and the lowest
 * peak is kept.  In one of them, stacks that can take over each other's bytes
 * are placed as pairs, each new stack with the old one where it saves most.
 *
 * From the best of them a search goes on: one of the blocks that are large
 * chooses earlier or later, and if the peak of the large ones is no higher for
 * it, it stays there.  Of the others those alone are placed again for which
 * something has changed, until one lies too high.  The small ones find room
 * between them.  The same numbers are drawn each time.
 */
#include "arrange.h"

#include <stdlib.h>

/* Another block that lives with this one, and how far this one has to begin
 * in front of it, or behind. */
typedef struct Meeting {
    uint32_t other;
    int64_t under, over;
} Meeting;

/* Offsets between the two, both left out, are forbidden. */
typedef struct Forbidden {
    int64_t from, to;
} Forbidden;

typedef struct Block {
    const LiveBuffer *b;
    uint32_t number;
    VEC(Meeting) meets;
    uint32_t nlarge;    /* the first of them are with large blocks */
    uint32_t *ranked;   /* numbers of these, as they lay when it was placed */
    uint32_t pair;      /* the block with which it is placed, or itself */
    bool second;        /* of the pair */
    int64_t pair_bytes; /* of both together */
} Block;

/* What a move of one block changes. */
typedef struct Again {
    bool *stale; /* by number: an offset that it depends on is another */
    uint32_t *blocks, n; /* of these, in the order of their change, */
    int64_t *offsets;    /* what they had */
} Again;

/* The block that is being placed, by its number plus 1, meets this one; by
 * which meeting. */
typedef struct Met {
    uint32_t by, meeting;
} Met;

typedef struct Arrange {
    Block *blocks; /* by number of the block */
    Block **order; /* in which they are placed */
    Block **best_order;
    int64_t *offset; /* by number, of those that are placed */
    int64_t *best;   /* offsets of the lowest peak */
    uint32_t *place; /* by number, in the order */
    uint32_t n;
    bool large;                /* there are none but large blocks */
    uint32_t *sorted, nsorted; /* numbers of those that have an offset, by it */
    Met *met;                  /* scratch, by number */
    Forbidden *forbidden, *halves; /* scratch */
    uint32_t *front, *behind;      /* scratch */
    Again again;
} Arrange;

/* --------------------------------------------------------------- orders -- */

static int by_number(const Block *x, const Block *y)
{
    return x->number < y->number ? -1 : 1;
}

static int by_size(const void *a, const void *b)
{
    const Block *x = *(Block *const *)a, *y = *(Block *const *)b;
    if (x->b->bytes != y->b->bytes) return x->b->bytes > y->b->bytes ? -1 : 1;
    return by_number(x, y);
}

static int by_span(const void *a, const void *b)
{
    const Block *x = *(Block *const *)a, *y = *(Block *const *)b;
    int64_t p = x->b->last - x->b->first, q = y->b->last - y->b->first;
    if (p != q) return p > q ? -1 : 1;
    return by_size(a, b);
}

static int by_area(const void *a, const void *b)
{
    const Block *x = *(Block *const *)a, *y = *(Block *const *)b;
    double p = (double)x->b->bytes * (double)(x->b->last - x->b->first + 1);
    double q = (double)y->b->bytes * (double)(y->b->last - y->b->first + 1);
    if (p != q) return p > q ? -1 : 1;
    return by_number(x, y);
}

static int by_start(const void *a, const void *b)
{
    const Block *x = *(Block *const *)a, *y = *(Block *const *)b;
    if (x->b->first != y->b->first) return x->b->first < y->b->first ? -1 : 1;
    return by_size(a, b);
}

static int by_pair(const void *a, const void *b)
{
    const Block *x = *(Block *const *)a, *y = *(Block *const *)b;
    if (x->pair_bytes != y->pair_bytes)
        return x->pair_bytes > y->pair_bytes ? -1 : 1;
    uint32_t p = x->second ? x->pair : x->number;
    uint32_t q = y->second ? y->pair : y->number;
    if (p != q) return p < q ? -1 : 1;
    return x->second ? 1 : -1;
}

/* ---------------------------------------------------------------- pairs -- */

/* The bytes that two blocks share when they lie as close as they may, and
 * which of them lies below; 0: none. */
static int64_t shared_bytes(const Block *x, const Meeting *m, const Block *y,
                            bool *x_below)
{
    int64_t x_under = x->b->bytes - m->under, y_under = y->b->bytes - m->over;
    *x_below = x_under >= y_under;
    int64_t saved = *x_below ? x_under : y_under;
    int64_t most = x->b->bytes < y->b->bytes ? x->b->bytes : y->b->bytes;
    return saved < most ? saved : most;
}

static void make_pair(Block *below, Block *above, int64_t shared)
{
    below->pair = above->number;
    above->pair = below->number;
    above->second = true;
    below->pair_bytes = above->pair_bytes =
        below->b->bytes + above->b->bytes - shared;
}

/* Larger new stacks choose first. */
static void find_pairs(Arrange *r)
{
    qsort(r->order, r->n, sizeof *r->order, by_size);
    for (uint32_t i = 0; i < r->n; i++) {
        Block *x = r->order[i], *best = NULL;
        int64_t best_shared = 0;
        bool best_below = false, below;
        if (!x->b->births.n || x->pair != x->number) continue;
        for (uint32_t k = 0; k < x->meets.n; k++) {
            Block *y = &r->blocks[x->meets.at[k].other];
            int64_t shared = shared_bytes(x, &x->meets.at[k], y, &below);
            if (shared <= best_shared || y->pair != y->number) continue;
            best = y;
            best_shared = shared;
            best_below = below;
        }
        if (best)
            make_pair(best_below ? x : best, best_below ? best : x,
                      best_shared);
    }
}

/* -------------------------------------------------------------- placing -- */

static uint32_t meetings_of(const Arrange *r, const Block *b)
{
    return r->large ? b->nlarge : b->meets.n;
}

/* The place among the sorted of a block at an offset. */
static uint32_t sorted_at(const Arrange *r, uint32_t number, int64_t offset)
{
    uint32_t low = 0, high = r->nsorted;
    while (low < high) {
        uint32_t mid = (low + high) / 2, x = r->sorted[mid];
        bool below =
            r->offset[x] != offset ? r->offset[x] < offset : x < number;
        if (below)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Large blocks are looked for by whom they meet alone. */
static void put_sorted(Arrange *r, uint32_t number, int64_t offset)
{
    if (r->large) {
        r->offset[number] = offset;
        return;
    }
    uint32_t at = sorted_at(r, number, offset);
    memmove(r->sorted + at + 1, r->sorted + at,
            (r->nsorted++ - at) * sizeof *r->sorted);
    r->sorted[at] = number;
    r->offset[number] = offset;
}

static bool from_less(const Forbidden *x, const Forbidden *y)
{
    return x->from != y->from ? x->from < y->from : x->to < y->to;
}

static void insert_sorted(Forbidden *f, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        Forbidden x = f[i];
        uint32_t k = i;
        for (; k > 0 && from_less(&x, &f[k - 1]); k--)
            f[k] = f[k - 1];
        f[k] = x;
    }
}

/* The sorted halves of F, N of both, of which MID are in the first, become one.
 */
static void merge_sorted(Forbidden *f, uint32_t mid, uint32_t n, Forbidden *low)
{
    uint32_t i = 0, k = mid, to = 0;
    if (!from_less(&f[mid], &f[mid - 1])) return;
    memcpy(low, f, mid * sizeof *f);
    while (i < mid && k < n)
        f[to++] = from_less(&f[k], &low[i]) ? f[k++] : low[i++];
    memcpy(f + to, low + i, (mid - i) * sizeof *f);
}

/* What was found by offsets is nearly in order. */
static void sort_forbidden(Forbidden *f, uint32_t n, Forbidden *scratch)
{
    enum { FEW = 16 };
    for (uint32_t i = 0; i < n; i += FEW)
        insert_sorted(f + i, n - i < FEW ? n - i : FEW);
    for (uint32_t half = FEW; half < n; half *= 2)
        for (uint32_t i = 0; i + half < n; i += 2 * half)
            merge_sorted(f + i, half, n - i < 2 * half ? n - i : 2 * half,
                         scratch);
}

static void forbid(Arrange *r, const Block *b, const Meeting *m, uint32_t *n)
{
    int64_t at = r->offset[m->other];
    if (r->place[m->other] < r->place[b->number])
        r->forbidden[(*n)++] = (Forbidden){at - m->under, at + m->over};
}

/* What those forbid that are in front of the block in the order.  Of many they
 * are found by their offsets, and so in order. */
static uint32_t find_forbidden(Arrange *r, const Block *b)
{
    enum { MANY = 8 }; /* one of so many */
    uint32_t n = 0, nmeets = meetings_of(r, b);
    const Meeting *m = b->meets.at;
    if (nmeets < r->nsorted / MANY) {
        for (uint32_t i = 0; i < nmeets; i++)
            forbid(r, b, &m[i], &n);
        return n;
    }
    for (uint32_t i = 0; i < nmeets; i++)
        r->met[m[i].other] = (Met){b->number + 1, i};
    for (uint32_t i = 0; i < r->nsorted; i++) {
        const Met *met = &r->met[r->sorted[i]];
        if (met->by == b->number + 1) forbid(r, b, &m[met->meeting], &n);
    }
    return n;
}

/* The same, of large blocks: few of them lie elsewhere than the last time, so
 * they are looked at in the order that they had then. */
static uint32_t rank_forbidden(Arrange *r, const Block *b)
{
    uint32_t n = 0, nbehind = 0, place = r->place[b->number];
    Forbidden *f = r->forbidden;
    for (uint32_t i = 0; i < b->nlarge; i++) {
        uint32_t number = b->ranked[i];
        const Meeting *m = &b->meets.at[number];
        if (r->place[m->other] >= place) {
            r->behind[nbehind++] = number;
            continue;
        }
        int64_t at = r->offset[m->other];
        Forbidden x = {at - m->under, at + m->over};
        uint32_t k = n++;
        for (; k > 0 && from_less(&x, &f[k - 1]); k--) {
            f[k] = f[k - 1];
            r->front[k] = r->front[k - 1];
        }
        f[k] = x;
        r->front[k] = number;
    }
    memcpy(b->ranked, r->front, n * sizeof *r->front);
    memcpy(b->ranked + n, r->behind, nbehind * sizeof *r->behind);
    return n;
}

static uint32_t sorted_forbidden(Arrange *r, const Block *b)
{
    if (r->large) return rank_forbidden(r, b);
    uint32_t n = find_forbidden(r, b);
    sort_forbidden(r->forbidden, n, r->halves);
    return n;
}

/* The begin of the smallest range of offsets that is left for the block. */
static int64_t best_offset(Arrange *r, const Block *b)
{
    uint32_t n = sorted_forbidden(r, b);
    const Forbidden *f = r->forbidden;
    int64_t end = 0, best = -1, best_size = INT64_MAX;
    for (uint32_t i = 0; i < n; i++) {
        int64_t size = f[i].from - end;
        if (size >= 0 && size < best_size) {
            best = end;
            best_size = size;
        }
        if (f[i].to > end) end = f[i].to;
    }
    return best >= 0 ? best : end;
}

static int64_t end_of(const Arrange *r, const Block *b)
{
    return place_aligned(r->offset[b->number] + b->b->bytes);
}

static int64_t peak_of(const Arrange *r, uint32_t n)
{
    int64_t peak = 0;
    for (uint32_t i = 0; i < n; i++)
        if (end_of(r, r->order[i]) > peak) peak = end_of(r, r->order[i]);
    return peak;
}

/* Places the first n blocks of the order; false: they come to lie as high as
 * MOST, so the rest do not matter. */
static bool place_all(Arrange *r, uint32_t n, int64_t most)
{
    int64_t end = 0;
    r->nsorted = 0;
    for (uint32_t i = 0; i < r->n; i++)
        r->place[r->order[i]->number] = i;
    for (uint32_t i = 0; i < n && end < most; i++) {
        const Block *b = r->order[i];
        put_sorted(r, b->number, best_offset(r, b));
        end = end_of(r, b);
    }
    return end < most;
}

/* Places all, and keeps what is better than *peak, with its order. */
static void try_order(Arrange *r, int64_t *peak)
{
    if (!place_all(r, r->n, *peak)) return;
    *peak = peak_of(r, r->n);
    memcpy(r->best_order, r->order, r->n * sizeof *r->order);
    memcpy(r->best, r->offset, r->n * sizeof *r->offset);
}

/* --------------------------------------------------------------- search -- */

static uint32_t draw(uint64_t *state, uint32_t below)
{
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)((*state >> 33) % below);
}

static void move_block(Arrange *r, uint32_t from, uint32_t to)
{
    Block *b = r->order[from];
    int step = from < to ? 1 : -1;
    for (uint32_t i = from; i != to; i += step) {
        r->order[i] = r->order[i + step];
        r->place[r->order[i]->number] = i;
    }
    r->order[to] = b;
    r->place[b->number] = to;
}

/* Those that it meets from one place of the order to another. */
static void mark_stale(Arrange *r, const Block *b, uint32_t from, uint32_t to)
{
    for (uint32_t i = 0; i < meetings_of(r, b); i++) {
        uint32_t other = b->meets.at[i].other;
        if (r->place[other] >= from && r->place[other] <= to)
            r->again.stale[other] = true;
    }
}

static void place_again(Arrange *r, uint32_t place, uint32_t n)
{
    const Block *b = r->order[place];
    int64_t at = best_offset(r, b), old = r->offset[b->number];
    r->again.stale[b->number] = false;
    if (at == old) return;
    r->offset[b->number] = at;
    r->again.blocks[r->again.n] = b->number;
    r->again.offsets[r->again.n++] = old;
    mark_stale(r, b, place + 1, n);
}

/* Moves a block, and places what comes to lie elsewhere for it; false: that is
 * higher than the peak, so all stays as it is. */
static bool try_move(Arrange *r, uint32_t from, uint32_t to, uint32_t n,
                     int64_t peak)
{
    Block *b = r->order[from];
    bool *stale = r->again.stale;
    uint32_t i = from < to ? from : to;
    int64_t end = 0;
    move_block(r, from, to);
    mark_stale(r, b, i, from < to ? to : from);
    stale[b->number] = true;
    for (r->again.n = 0; i < n && end <= peak; i++) {
        if (!stale[r->order[i]->number]) continue;
        place_again(r, i, n);
        end = end_of(r, r->order[i]);
    }
    if (end <= peak) return true;
    for (; i < n; i++)
        stale[r->order[i]->number] = false;
    while (r->again.n-- > 0)
        r->offset[r->again.blocks[r->again.n]] = r->again.offsets[r->again.n];
    move_block(r, to, from);
    return false;
}

static bool is_large(const LiveBuffer *b, int64_t peak)
{
    enum { LARGE_PART = 256 }; /* of the peak, at the least */
    return b->bytes >= peak / LARGE_PART;
}

/* The large blocks of the best order first; how many there are. */
static uint32_t large_first(Arrange *r, int64_t peak)
{
    uint32_t n = 0, nlarge = 0;
    for (int small = 0; small < 2; small++)
        for (uint32_t i = 0; i < r->n; i++) {
            Block *b = r->best_order[i];
            if (small == is_large(b->b, peak)) continue;
            r->order[n++] = b;
            nlarge += !small;
        }
    return nlarge;
}

/* The meetings with blocks that are large come first. */
static void sort_meetings(Arrange *r, int64_t peak)
{
    for (uint32_t i = 0; i < r->n; i++) {
        Block *b = &r->blocks[i];
        b->nlarge = 0;
        for (uint32_t k = 0; k < b->meets.n; k++) {
            Meeting m = b->meets.at[k];
            if (!is_large(r->blocks[m.other].b, peak)) continue;
            b->meets.at[k] = b->meets.at[b->nlarge];
            b->meets.at[b->nlarge++] = m;
        }
        for (uint32_t k = 0; k < b->nlarge; k++)
            b->ranked[k] = k;
    }
}

/* Of many blocks fewer moves are tried: each looks at all meetings. */
static uint32_t moves_of(const Arrange *r, uint32_t n)
{
    enum { MOST_MOVES = 500, MOST_LOOKS = 20000000 };
    uint64_t meetings = 1;
    for (uint32_t i = 0; i < n; i++)
        meetings += r->order[i]->nlarge;
    uint64_t moves = MOST_LOOKS / meetings;
    return moves < MOST_MOVES ? (uint32_t)moves : MOST_MOVES;
}

/* Returns whether another seed may find something else. */
static bool search(Arrange *r, uint64_t seed, int64_t least, int64_t *peak)
{
    uint32_t n = large_first(r, *peak);
    uint64_t state = seed;
    if (n < 2) return false;
    sort_meetings(r, *peak);
    uint32_t moves = moves_of(r, n), i = 0;
    int64_t before = *peak;
    r->large = true;
    place_all(r, n, INT64_MAX);
    int64_t now = peak_of(r, n);
    for (; i < moves && now > least; i++) {
        uint32_t from = draw(&state, n), to = draw(&state, n);
        if (try_move(r, from, to, n, now)) now = peak_of(r, n);
    }
    r->large = false;
    try_order(r, peak);
    return i > 0 || *peak < before;
}

/* When a block is there, in the order of the list. */
typedef struct Times {
    int64_t first, last;
    bool aside; /* it may be there at other times, too */
} Times;

/* In any order. */
typedef struct Outer {
    const LivePlace *loop; /* of the entry, around its uses */
    LiveSpan span;
} Outer;

static bool span_over(const LiveSpan *x, const LiveSpan *y)
{
    uint32_t late = 0;
    for (uint32_t k = 0; k < MOST_STREAMS; k++)
        late |= y->begin[k] < x->end[k];
    return !late;
}

/* In the order of the list the two are not there together. */
static bool in_line(const Times *x, const Times *y)
{
    return x->last < y->first || y->last < x->first;
}

/* Nor in any order of execution: what most pairs have in common, so it is seen
 * without a look at the buffers.  FIRST: x is there first. */
static bool apart(const Outer *x, const Outer *y, bool first)
{
    if (!x->span.place || !y->span.place || (x->loop && x->loop == y->loop))
        return false;
    if (x->span.place != y->span.place) return true;
    return first ? span_over(&x->span, &y->span)
                 : span_over(&y->span, &x->span);
}

static Times times_of(const LiveBuffer *b)
{
    return (Times){.first = b->first, .last = b->last, .aside = b->aside};
}

static Outer outer_of(const LiveBuffer *b)
{
    Outer o;
    o.span = live_outer(b, &o.loop);
    return o;
}

static void add_meeting(const Live *live, Block *x, Block *y, Arena *a)
{
    if (!live_together(live, x->b, y->b)) return;
    int64_t under = place_aligned(live_apart(live, x->b, y->b));
    int64_t over = place_aligned(live_apart(live, y->b, x->b));
    vec_push(a, &x->meets, ((Meeting){y->number, under, over}));
    vec_push(a, &y->meets, ((Meeting){x->number, over, under}));
}

static void find_meetings(Arrange *r, const Live *live, Arena *a)
{
    Times *t = NEW_ARRAY(a, Times, (size_t)r->n + 1);
    Outer *o = NEW_ARRAY(a, Outer, (size_t)r->n + 1);
    for (uint32_t i = 0; i < r->n; i++) {
        t[i] = times_of(r->blocks[i].b);
        o[i] = outer_of(r->blocks[i].b);
    }
    for (uint32_t i = 0; i < r->n; i++)
        for (uint32_t k = 0; k < i; k++) {
            bool together = !in_line(&t[i], &t[k]);
            if (!together && !t[i].aside && !t[k].aside) continue;
            if (together || !apart(&o[i], &o[k], t[i].last < t[k].first))
                add_meeting(live, &r->blocks[i], &r->blocks[k], a);
        }
}

/* So many searches, unless one comes near the least there can be. */
enum { SEARCHES = 6, NEAR = 500 };

static int64_t arrange_all(const Live *live, Base base, int64_t room,
                           int64_t *offsets, Arena *a)
{
    static int (*const orders[])(const void *, const void *) = {
        by_size, by_area, by_span, by_start, by_pair};
    Arrange r = {.blocks = NEW_ARRAY(a, Block, (size_t)live->n + 1),
                 .order = NEW_ARRAY(a, Block *, (size_t)live->n + 1),
                 .offset = NEW_ARRAY(a, int64_t, (size_t)live->n + 1),
                 .place = NEW_ARRAY(a, uint32_t, (size_t)live->n + 1),
                 .sorted = NEW_ARRAY(a, uint32_t, (size_t)live->n + 1),
                 .met = NEW_ARRAY(a, Met, (size_t)live->n + 1),
                 .forbidden = NEW_ARRAY(a, Forbidden, (size_t)live->n + 1),
                 .halves = NEW_ARRAY(a, Forbidden, (size_t)live->n + 1),
                 .front = NEW_ARRAY(a, uint32_t, (size_t)live->n + 1),
                 .behind = NEW_ARRAY(a, uint32_t, (size_t)live->n + 1),
                 .again = {NEW_ARRAY(a, bool, (size_t)live->n + 1),
                           NEW_ARRAY(a, uint32_t, (size_t)live->n + 1), 0,
                           NEW_ARRAY(a, int64_t, (size_t)live->n + 1)}};
    uint32_t *in_live = NEW_ARRAY(a, uint32_t, (size_t)live->n + 1);
    for (uint32_t i = 0; i < live->n; i++) {
        if (live->at[i].base != base) continue;
        in_live[r.n] = i;
        r.order[r.n] = &r.blocks[r.n];
        r.blocks[r.n] = (Block){.b = &live->at[i],
                                .number = r.n,
                                .pair = r.n,
                                .pair_bytes = live->at[i].bytes};
        r.n++;
    }
    find_meetings(&r, live, a);
    find_pairs(&r);
    for (uint32_t i = 0; i < r.n; i++)
        r.blocks[i].ranked =
            NEW_ARRAY(a, uint32_t, (size_t)r.blocks[i].meets.n + 1);
    r.best = NEW_ARRAY(a, int64_t, (size_t)r.n + 1);
    r.best_order = NEW_ARRAY(a, Block *, (size_t)r.n + 1);
    LiveMoment moment;
    int64_t peak = INT64_MAX, least = live_most(live, base, &moment, a);
    for (uint32_t o = 0; o < sizeof orders / sizeof *orders && peak > room;
         o++) {
        qsort(r.order, r.n, sizeof *r.order, orders[o]);
        try_order(&r, &peak);
    }
    bool more = room == LOWEST || least <= room;
    for (uint64_t seed = 1;
         more && peak > room && seed <= SEARCHES && peak > least + least / NEAR;
         seed++)
        more = search(&r, seed, least, &peak);
    for (uint32_t i = 0; i < r.n; i++)
        offsets[in_live[i]] = r.best[i];
    return r.n ? peak : 0;
}

/* Some function with buffers runs on several ranks. */
static bool is_shared(const Live *live, bool *const *fns, uint32_t ranks)
{
    for (uint32_t i = 0; i < live->n; i++) {
        uint32_t n = 0;
        for (uint32_t r = 0; r < ranks; r++)
            n += fns[r][live->at[i].ref.id];
        if (n > 1) return true;
    }
    return false;
}

/* The ranks of a pipeline do not know of each other's memory. */
int64_t arrange(const Module *m, const Live *live, Base base,
                const int64_t *rooms, int64_t *offsets, Arena *a)
{
    uint32_t ranks = module_ranks(m);
    bool **fns = NEW_ARRAY(a, bool *, (size_t)ranks + 1);
    for (uint32_t r = 0; r < ranks; r++)
        fns[r] = rank_reaches(m, r, a);
    if (ranks < 2 || is_shared(live, fns, ranks))
        return arrange_all(live, base, rooms && ranks < 2 ? rooms[0] : LOWEST,
                           offsets, a);
    int64_t *at = NEW_ARRAY(a, int64_t, (size_t)live->n + 1), most = 0;
    for (uint32_t r = 0; r < ranks; r++) {
        ArenaMark mark = arena_mark(a);
        Live of = live_of(live, fns[r], a);
        int64_t peak = arrange_all(&of, base, rooms ? rooms[r] : LOWEST, at, a);
        for (uint32_t i = 0, k = 0; i < live->n; i++)
            if (fns[r][live->at[i].ref.id]) {
                if (live->at[i].base == base) offsets[i] = at[k];
                k++;
            }
        if (peak > most) most = peak;
        arena_pop(a, mark);
    }
    return most;
}
