/*
 * apart.c: which buffers may share bytes, and how many there have to be (see
 * live.h).
 *
 * Of a stack that a loop leaves behind, turn c of a reversed loop and all
 * turns after it need the bytes below pitch * c + hi; of one that it makes,
 * the turns up to c have filled the bytes from pitch * c + lo.  The new stack
 * may begin where, for every c, what is filled lies above what is needed.
 * Both sides are linear in c, so the first and the last turn decide.  A loop
 * that is not reversed is the same upside down: the new stack lies below.
 */
#include <stdlib.h>

#include "ir.h"

/* Whether use X ends before use Y begins: the steps that they are, or are in,
 * of the innermost function around both.  Entries never run together. */
static bool ends_before(LiveUse x, LiveUse y)
{
    while (x.place != y.place) {
        LiveUse *deep = x.place->depth >= y.place->depth ? &x : &y;
        if (!deep->place->around) return true;
        *deep = (LiveUse){deep->place->around, deep->place->step, 0};
    }
    return x.step < y.step && order_before(&x.place->order, x.step, y.step);
}

/* The same for all steps of two spans.  A step that is around one of them
 * stands for it; it does not end before itself. */
static bool span_before(const LiveSpan *x, const LiveSpan *y)
{
    LiveSpan around[2];
    while (x->place != y->place) {
        bool first = x->place->depth >= y->place->depth;
        const LivePlace *deep = first ? x->place : y->place;
        if (!deep->around) return true;
        around[!first] = live_span(deep->around, deep->step);
        *(first ? &x : &y) = &around[!first];
    }
    for (uint32_t k = 0; k < MOST_STREAMS; k++)
        if (y->begin[k] < x->end[k]) return false;
    return true;
}

/* All their uses stand in the order of the list. */
static bool in_line(const Live *l, const LiveBuffer *x, const LiveBuffer *y)
{
    return l->one_stream || (!x->aside && !y->aside);
}

bool live_together(const Live *l, const LiveBuffer *x, const LiveBuffer *y)
{
    if (x->first <= y->last && y->first <= x->last) return true;
    if (in_line(l, x, y)) return false;
    const LiveBuffer *a = x->last < y->first ? x : y, *b = a == x ? y : x;
    if (a->span.place && b->span.place) return !span_before(&a->span, &b->span);
    for (uint32_t i = 0; i < a->uses.n; i++)
        for (uint32_t k = 0; k < b->uses.n; k++)
            if (!ends_before(a->uses.at[i], b->uses.at[k])) return true;
    return false;
}

/* ---------------------------------------------------------------- rows -- */

/* A use of the new buffer that may have to do with the bytes of a birth. */
static bool is_of_birth(const LiveUse *u, uint32_t birth)
{
    return u->birth == 0 || u->birth == birth + 1;
}

static bool is_loop_of(const LiveUse *u, const LiveRows *r)
{
    return u->place == r->body->around && u->step == r->body->step;
}

/* With several streams: the loop is the only use that the two have in common
 * in any order, as far as the bytes of the birth go. */
static bool meet_in_loop_only(const Live *l, const LiveBuffer *old,
                              const LiveBuffer *new, uint32_t birth)
{
    const LiveRows *rows = new->births.at[birth];
    bool aside = !in_line(l, old, new);
    if (!old->dies || rows->whole || old->dies->body != rows->body)
        return false;
    LiveUse loop = {rows->body->around, rows->body->step, 0};
    for (uint32_t i = 0; i < old->uses.n && aside; i++) {
        LiveUse u = old->uses.at[i];
        if (!is_loop_of(&u, rows) && !ends_before(u, loop)) return false;
    }
    for (uint32_t i = 0; i < new->uses.n &&aside; i++) {
        LiveUse u = new->uses.at[i];
        if (is_of_birth(&u, birth) && !is_loop_of(&u, rows) &&
            !ends_before(loop, u))
            return false;
    }
    return true;
}

static bool waits(const LiveBuffer *old, LiveUse u)
{
    LiveSpan step = live_span(u.place, u.step);
    if (old->span.place && !span_before(&old->span, &step)) return false;
    for (uint32_t k = 0; k < old->uses.n && !old->span.place; k++)
        if (!ends_before(old->uses.at[k], u)) return false;
    return true;
}

/* In any order, all that is done with the bytes of a birth comes behind all
 * uses of the old one. */
static bool birth_waits(const Live *l, const LiveBuffer *old,
                        const LiveBuffer *new, uint32_t birth)
{
    if (in_line(l, old, new)) return old->last < new->births.at[birth]->begin;
    for (uint32_t i = 0; i < new->uses.n; i++)
        if (is_of_birth(&new->uses.at[i], birth) &&
            !waits(old, new->uses.at[i]))
            return false;
    return true;
}

/* So does what may be done with other bytes than those of births. */
static bool rest_waits(const Live *l, const LiveBuffer *old,
                       const LiveBuffer *new)
{
    for (uint32_t i = 0; i < new->uses.n && !in_line(l, old, new); i++)
        if (!new->uses.at[i].birth && !waits(old, new->uses.at[i]))
            return false;
    return true;
}

/* In one turn, the row of the one is used for the last time before that of the
 * other is for the first time. */
static bool parted_in_turn(const Live *l, const LiveRows *old,
                           const LiveRows *new)
{
    for (uint32_t i = 0; i < old->steps.n; i++)
        for (uint32_t k = 0; k < new->steps.n; k++) {
            uint32_t x = old->steps.at[i], y = new->steps.at[k];
            if (x >= y) return false;
            if (!l->one_stream && !order_before(&old->body->order, x, y))
                return false;
        }
    return true;
}

/* The bytes of stacks that a turn needs, or has filled, on the side where the
 * other stack lies. */
static int64_t row_edge(const LiveRows *r, int64_t c, bool upper)
{
    return r->pitch * c + (upper ? r->hi : r->lo);
}

/* How far apart the old stack and the rows of one birth of the new one have to
 * begin, row by row; `upward`: the new one lies below. */
static int64_t rows_apart(const Live *l, const LiveRows *old,
                          const LiveRows *new, bool upward)
{
    /* Where rows are parted in the turn, the old row of a turn has to be clear
     * of the new one of the turn before. */
    int64_t lag = parted_in_turn(l, old, new), last = old->count - 1 - lag;
    int64_t apart = INT64_MIN;
    for (int end = 0; end < 2 && last >= 0; end++) {
        int64_t c = end ? last : 0;
        int64_t below =
            upward ? row_edge(new, c, true) : row_edge(old, c, true);
        int64_t above = upward ? row_edge(old, c + lag, false)
                               : row_edge(new, c + lag, false);
        if (below - above > apart) apart = below - above;
    }
    return apart;
}

/* The same for whatever the old buffer and the birth have in common. */
static int64_t birth_apart(const Live *l, const LiveBuffer *old,
                           const LiveBuffer *new, uint32_t birth, bool upward)
{
    const LiveRows *rows = new->births.at[birth];
    if (birth_waits(l, old, new, birth)) return INT64_MIN;
    if (meet_in_loop_only(l, old, new, birth) && rows->reverse != upward)
        return rows_apart(l, old->dies, rows, upward);
    if (!rest_waits(l, old, new)) return upward ? new->bytes : old->bytes;
    return upward ? rows_end(rows) : old->bytes - rows_begin(rows);
}

/* The new buffer is born, or pieces of it are, while the old one is there, and
 * nothing else is done with it as long as that is so. */
static bool is_born_beside(const LiveBuffer *old, const LiveBuffer *new)
{
    return new->births.n &&new->first > old->first &&
           (old->dies || new->births.n > 1) &&
           old->last <= vec_last(&new->births)->end;
}

int64_t live_apart(const Live *l, const LiveBuffer *x, const LiveBuffer *y)
{
    bool upward = is_born_beside(y, x); /* x is new, below the old y */
    const LiveBuffer *old = upward ? y : x, *new = upward ? x : y;
    if (!upward && !is_born_beside(x, y)) return x->bytes;
    int64_t apart = -y->bytes;
    for (uint32_t i = 0; i < new->births.n; i++) {
        int64_t n = birth_apart(l, old, new, i, upward);
        if (n > apart) apart = n;
    }
    return apart < x->bytes ? apart : x->bytes;
}

/* --------------------------------------------------------------- bytes -- */

/* Bytes still needed in the loop that a buffer dies in, from `at` on. */
static int64_t bytes_dying(const LiveBuffer *b, LiveMoment at)
{
    const LiveRows *r = b->dies;
    int64_t done = at.late ? r->count - 1 : 0; /* turns */
    if (at.at > r->last) done++;
    if (done == 0) return b->bytes;
    if (done >= r->count) return 0;
    int64_t gone = r->reverse
                       ? b->bytes - row_edge(r, r->count - 1 - done, true)
                       : row_edge(r, done, false);
    return gone > 0 ? b->bytes - gone : b->bytes;
}

/* Bytes filled so far in a loop that a buffer is born in. */
static int64_t bytes_born(const LiveRows *r, LiveMoment at)
{
    int64_t turns = at.late ? r->count - 1 : 0;
    if (at.at > r->end) return rows_end(r) - rows_begin(r);
    if (at.at < r->begin) return 0;
    if (at.at >= r->first) turns++;
    return turns ? r->pitch * (turns - 1) + r->hi - r->lo : 0;
}

static int64_t bytes_filled(const LiveBuffer *b, LiveMoment at)
{
    int64_t n = 0;
    for (uint32_t i = 0; i < b->births.n; i++)
        n += bytes_born(b->births.at[i], at);
    return n < b->bytes ? n : b->bytes;
}

int64_t live_bytes(const LiveBuffer *b, LiveMoment at)
{
    const LiveRows *dies = b->dies;
    const LiveRows *born = b->births.n ? vec_last(&b->births) : NULL;
    if (at.at < b->first || at.at > b->last) return 0;
    if (born && dies && born->body == dies->body) return b->bytes;
    if (dies && at.at >= dies->begin && at.at <= dies->end)
        return bytes_dying(b, at);
    return born && at.at <= born->end ? bytes_filled(b, at) : b->bytes;
}

static int by_first(const void *a, const void *b)
{
    const LiveBuffer *x = *(const LiveBuffer *const *)a;
    const LiveBuffer *y = *(const LiveBuffer *const *)b;
    return (x->first > y->first) - (x->first < y->first);
}

/* The buffers of a base that are used, by their first use. */
static const LiveBuffer **in_order(const Live *l, Base base, uint32_t *n,
                                   Arena *a)
{
    const LiveBuffer **at = NEW_ARRAY(a, const LiveBuffer *, (size_t)l->n + 1);
    *n = 0;
    for (uint32_t i = 0; i < l->n; i++)
        if (l->at[i].base == base && l->at[i].first <= l->at[i].last)
            at[(*n)++] = &l->at[i];
    if (*n) qsort(at, *n, sizeof *at, by_first);
    return at;
}

static int64_t bytes_at(const LiveBuffer *const *at, uint32_t n, LiveMoment t)
{
    int64_t bytes = 0;
    for (uint32_t i = 0; i < n; i++)
        bytes += live_bytes(at[i], t);
    return bytes;
}

int64_t live_most(const Live *l, Base base, LiveMoment *moment, Arena *a)
{
    uint32_t n, begun = 0, alive = 0;
    int64_t most = 0;
    const LiveBuffer **at = in_order(l, base, &n, a);
    const LiveBuffer **now = NEW_ARRAY(a, const LiveBuffer *, (size_t)n + 1);
    *moment = (LiveMoment){0};
    for (int64_t t = n ? at[0]->first : 0; alive || begun < n; t++) {
        uint32_t left = 0;
        for (uint32_t i = 0; i < alive; i++)
            if (now[i]->last >= t) now[left++] = now[i];
        for (alive = left; begun < n && at[begun]->first <= t; begun++)
            now[alive++] = at[begun];
        for (int late = 0; late < 2; late++) {
            LiveMoment when = {t, late};
            int64_t bytes = bytes_at(now, alive, when);
            if (bytes <= most) continue;
            most = bytes;
            *moment = when;
        }
    }
    return most;
}
