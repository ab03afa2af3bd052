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
 * it, it stays there.  The small ones find room between them.  The same
 * numbers are drawn each time.
 */
#include "arrange.h"

#include <stdlib.h>

/* Another block that lives with this one, and how far this one has to begin
 * in front of it, or behind. */
typedef struct Meeting {
    uint32_t other;
    int64_t under, over;
} Meeting;

typedef struct Block {
    const LiveBuffer *b;
    uint32_t number;
    int64_t offset;
    VEC(Meeting) meets;
    uint32_t nlarge;    /* the first of them are with large blocks */
    uint32_t pair;      /* the block with which it is placed, or itself */
    bool second;        /* of the pair */
    int64_t pair_bytes; /* of both together */
} Block;

/* Offsets between the two, both left out, are forbidden. */
typedef struct Forbidden {
    int64_t from, to;
} Forbidden;

typedef struct Arrange {
    Block *blocks; /* by number of the block */
    Block **order; /* in which they are placed */
    Block **best_order;
    int64_t *best; /* offsets of the lowest peak */
    bool *placed;
    uint32_t n;
    bool large;           /* there are none but large blocks */
    Forbidden *forbidden; /* scratch */
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

static int by_from(const void *a, const void *b)
{
    const Forbidden *x = a, *y = b;
    if (x->from != y->from) return x->from < y->from ? -1 : 1;
    return (x->to > y->to) - (x->to < y->to);
}

/* A few are sorted in place, which takes less than the library's care. */
static void sort_forbidden(Forbidden *f, uint32_t n)
{
    enum { FEW = 64 };
    if (n > FEW) {
        qsort(f, n, sizeof *f, by_from);
        return;
    }
    for (uint32_t i = 1; i < n; i++) {
        Forbidden x = f[i];
        uint32_t k = i;
        for (; k > 0 && f[k - 1].from > x.from; k--)
            f[k] = f[k - 1];
        f[k] = x;
    }
}

/* The begin of the smallest range of offsets that is left for the block. */
static int64_t best_offset(Arrange *r, const Block *b)
{
    uint32_t n = 0;
    uint32_t nmeets = r->large ? b->nlarge : b->meets.n;
    for (uint32_t i = 0; i < nmeets; i++) {
        const Meeting *m = &b->meets.at[i];
        int64_t at = r->blocks[m->other].offset;
        if (r->placed[m->other])
            r->forbidden[n++] = (Forbidden){at - m->under, at + m->over};
    }
    sort_forbidden(r->forbidden, n);
    int64_t end = 0, best = -1, best_size = INT64_MAX;
    for (uint32_t i = 0; i < n; i++) {
        int64_t size = r->forbidden[i].from - end;
        if (size >= 0 && size < best_size) {
            best = end;
            best_size = size;
        }
        if (r->forbidden[i].to > end) end = r->forbidden[i].to;
    }
    return best >= 0 ? best : end;
}

/* Places the first n blocks of the order. */
static int64_t place_all(Arrange *r, uint32_t n)
{
    int64_t peak = 0;
    memset(r->placed, 0, r->n * sizeof *r->placed);
    for (uint32_t i = 0; i < n; i++) {
        Block *k = r->order[i];
        k->offset = best_offset(r, k);
        r->placed[k->number] = true;
        int64_t end = place_aligned(k->offset + k->b->bytes);
        if (end > peak) peak = end;
    }
    return peak;
}

/* Places all, and keeps what is better than *peak, with its order. */
static void try_order(Arrange *r, int64_t *peak)
{
    int64_t now = place_all(r, r->n);
    if (now >= *peak) return;
    *peak = now;
    memcpy(r->best_order, r->order, r->n * sizeof *r->order);
    for (uint32_t i = 0; i < r->n; i++)
        r->best[i] = r->blocks[i].offset;
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
    if (from < to)
        memmove(r->order + from, r->order + from + 1,
                (to - from) * sizeof *r->order);
    else
        memmove(r->order + to + 1, r->order + to,
                (from - to) * sizeof *r->order);
    r->order[to] = b;
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

static void search(Arrange *r, uint64_t seed, int64_t least, int64_t *peak)
{
    uint32_t n = large_first(r, *peak);
    uint64_t state = seed;
    if (n < 2) return;
    sort_meetings(r, *peak);
    uint32_t moves = moves_of(r, n);
    r->large = true;
    int64_t now = place_all(r, n);
    for (uint32_t i = 0; i < moves && now > least; i++) {
        uint32_t from = draw(&state, n), to = draw(&state, n);
        move_block(r, from, to);
        int64_t moved = place_all(r, n);
        if (moved <= now)
            now = moved;
        else
            move_block(r, to, from);
    }
    r->large = false;
    try_order(r, peak);
}

static void find_meetings(Arrange *r, const Live *live, Arena *a)
{
    for (uint32_t i = 0; i < r->n; i++)
        for (uint32_t k = 0; k < i; k++) {
            Block *x = &r->blocks[i], *y = &r->blocks[k];
            if (!live_together(live, x->b, y->b)) continue;
            int64_t under = place_aligned(live_apart(live, x->b, y->b));
            int64_t over = place_aligned(live_apart(live, y->b, x->b));
            vec_push(a, &x->meets, ((Meeting){k, under, over}));
            vec_push(a, &y->meets, ((Meeting){i, over, under}));
        }
}

/* So many searches, unless one comes near the least there can be. */
enum { SEARCHES = 6, NEAR = 500 };

static int64_t arrange_all(const Live *live, Base base, int64_t *offsets,
                           Arena *a)
{
    static int (*const orders[])(const void *, const void *) = {
        by_size, by_area, by_span, by_start, by_pair};
    Arrange r = {.blocks = NEW_ARRAY(a, Block, (size_t)live->n + 1),
                 .order = NEW_ARRAY(a, Block *, (size_t)live->n + 1),
                 .placed = NEW_ARRAY(a, bool, (size_t)live->n + 1),
                 .forbidden = NEW_ARRAY(a, Forbidden, (size_t)live->n + 1)};
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
    r.best = NEW_ARRAY(a, int64_t, (size_t)r.n + 1);
    r.best_order = NEW_ARRAY(a, Block *, (size_t)r.n + 1);
    LiveMoment moment;
    int64_t peak = INT64_MAX, least = live_most(live, base, &moment, a);
    for (uint32_t o = 0; o < sizeof orders / sizeof *orders; o++) {
        qsort(r.order, r.n, sizeof *r.order, orders[o]);
        try_order(&r, &peak);
    }
    for (uint64_t seed = 1; seed <= SEARCHES && peak > least + least / NEAR;
         seed++)
        search(&r, seed, least, &peak);
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
int64_t arrange(const Module *m, const Live *live, Base base, int64_t *offsets,
                Arena *a)
{
    uint32_t ranks = module_ranks(m);
    bool **fns = NEW_ARRAY(a, bool *, (size_t)ranks + 1);
    for (uint32_t r = 0; r < ranks; r++)
        fns[r] = rank_reaches(m, r, a);
    if (ranks < 2 || is_shared(live, fns, ranks))
        return arrange_all(live, base, offsets, a);
    int64_t *at = NEW_ARRAY(a, int64_t, (size_t)live->n + 1), most = 0;
    for (uint32_t r = 0; r < ranks; r++) {
        ArenaMark mark = arena_mark(a);
        Live of = live_of(live, fns[r], a);
        int64_t peak = arrange_all(&of, base, at, a);
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
