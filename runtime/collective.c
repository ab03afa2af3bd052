/*
 * collective.c: collectives over a transport.
 *
 * Gathers and exchanges are copies.  A reduction has each member make the sum
 * of one stretch, over all members in their order, and then hand it to the
 * others; small ones are summed by everybody.  The sum of an element has the
 * same order either way, is made in f32 for narrower floats and rounded once.
 *
 * A transport that brings pieces to a place of its own does so for
 * COLLECTIVE_BLOCK bytes at a time, and an exchange in place reads a block of
 * every piece before it writes that block.
 */
#include "transport.h"

#include "narrow.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SMALL = 16 << 10, CHUNK = 2048 };

/* --------------------------------------------------------------- numbers -- */

typedef struct Sum {
    uint32_t dtype, reduce, n;
    char *const *in; /* of each member */
    char *out;
    int64_t count;
} Sum;

static bool is_double(uint32_t dtype)
{
    const NarrowFormat *f = narrow_format(dtype);
    return f && titan_dtype_bytes(dtype) == 8;
}

static void sum_floats(const Sum *s, int64_t at, int64_t n)
{
    float acc[CHUNK], x[CHUNK];
    int64_t size = titan_dtype_bytes(s->dtype);
    narrow_load(s->dtype, s->in[0] + at * size, acc, n);
    for (uint32_t m = 1; m < s->n; m++) {
        narrow_load(s->dtype, s->in[m] + at * size, x, n);
        if (s->reduce == TITAN_REDUCE_sum)
            for (int64_t i = 0; i < n; i++)
                acc[i] += x[i];
        else
            for (int64_t i = 0; i < n; i++)
                acc[i] = x[i] > acc[i] || isnan(x[i]) ? x[i] : acc[i];
    }
    narrow_store(s->dtype, acc, s->out + at * size, n);
}

static double double_at(const char *at)
{
    double x;
    memcpy(&x, at, sizeof x);
    return x;
}

static void sum_doubles(const Sum *s, int64_t at, int64_t n)
{
    for (int64_t i = at * 8; i < (at + n) * 8; i += 8) {
        double acc = double_at(s->in[0] + i);
        for (uint32_t m = 1; m < s->n; m++) {
            double x = double_at(s->in[m] + i);
            if (s->reduce == TITAN_REDUCE_sum)
                acc += x;
            else if (x > acc || isnan(x))
                acc = x;
        }
        memcpy(s->out + i, &acc, sizeof acc);
    }
}

/* Little-endian, as all of an image. */
static uint64_t integer_at(const char *at, unsigned bytes, bool is_signed)
{
    uint64_t x = 0;
    memcpy(&x, at, bytes);
    unsigned above = 64 - 8 * bytes;
    if (is_signed) return (uint64_t)((int64_t)(x << above) >> above);
    return x;
}

static void sum_integers(const Sum *s, int64_t at, int64_t n)
{
    unsigned size = titan_dtype_bytes(s->dtype);
    bool is_signed = titan_dtype_name(s->dtype)[0] == 'i';
    for (int64_t i = at * size; i < (at + n) * size; i += size) {
        uint64_t acc = integer_at(s->in[0] + i, size, is_signed);
        for (uint32_t m = 1; m < s->n; m++) {
            uint64_t x = integer_at(s->in[m] + i, size, is_signed);
            bool more = is_signed ? (int64_t)x > (int64_t)acc : x > acc;
            if (s->reduce == TITAN_REDUCE_sum)
                acc += x;
            else if (more)
                acc = x;
        }
        memcpy(s->out + i, &acc, size);
    }
}

static void sum_chunks(void *user, int64_t begin, int64_t end, unsigned worker)
{
    const Sum *s = user;
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        int64_t at = i * CHUNK, left = s->count - at;
        int64_t n = left < CHUNK ? left : CHUNK;
        if (!titan_dtype_is_float(s->dtype))
            sum_integers(s, at, n);
        else if (is_double(s->dtype))
            sum_doubles(s, at, n);
        else
            sum_floats(s, at, n);
    }
}

static void sum(const Collectives *c, const TitanCollective *x, size_t bytes,
                char *out)
{
    Sum s = {.dtype = x->dtype,
             .reduce = x->reduce,
             .n = ranks_in_group(c->transport->im, x->group),
             .in = c->in,
             .out = out,
             .count = (int64_t)(bytes / titan_dtype_bytes(x->dtype))};
    int64_t chunks = (s.count + CHUNK - 1) / CHUNK;
    if (c->pool)
        pool_run(c->pool, sum_chunks, &s, chunks, 1);
    else
        sum_chunks(&s, 0, chunks, 0);
}

/* ------------------------------------------------------------- exchanges -- */

static uint32_t members(const Collectives *c, const Exchange *x)
{
    return ranks_in_group(c->transport->im, x->group);
}

/* Every member's piece, wherever it is. */
static TitanStatus look(Collectives *c, const Exchange *x)
{
    memset(c->in, 0, members(c, x) * sizeof *c->in);
    return c->transport->class->begin(c->transport, x, c->in);
}

static TitanStatus end(Collectives *c, const Exchange *x)
{
    return c->transport->class->end(c->transport, x);
}

/* Every member's piece to its place from TO on.  A piece that is there already
 * is left alone. */
static TitanStatus bring(Collectives *c, const Exchange *x, char *to,
                         size_t stride)
{
    Transport *t = c->transport;
    uint32_t n = members(c, x), me = rank_member(t->im, x->group, t->rank);
    for (uint32_t i = 0; i < n; i++)
        c->in[i] = to + i * stride;
    TRY(t->class->begin(t, x, c->in));
    for (uint32_t i = 0; i < n; i++) {
        char *place = to + i * stride;
        if (exchange_has(x->from, i) && c->in[i] != place)
            memcpy(place, c->in[i], exchange_gets(x, me, i));
    }
    return end(c, x);
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static Exchange exchange(const TitanCollective *x, const char *out)
{
    size_t bytes = collective_piece_bytes(x);
    return (Exchange){.group = x->group,
                      .out = out,
                      .stride = bytes,
                      .bytes = bytes,
                      .to = ALL_MEMBERS,
                      .from = ALL_MEMBERS};
}

/* A block of each piece to C's own memory, and from there to DST. */
static TitanStatus bring_in_place(Collectives *c, const Exchange *whole,
                                  char *dst)
{
    Exchange x = *whole;
    uint32_t n = members(c, &x);
    for (size_t done = 0; done < whole->bytes; done += x.bytes) {
        x.bytes = smaller(whole->bytes - done, COLLECTIVE_BLOCK);
        x.out = whole->out + done;
        TRY(bring(c, &x, c->block, COLLECTIVE_BLOCK));
        for (uint32_t i = 0; i < n; i++)
            if (exchange_has(x.from, i))
                memcpy(dst + done + (x.from < 0 ? i * whole->stride : 0),
                       c->block + i * (size_t)COLLECTIVE_BLOCK, x.bytes);
    }
    return TITAN_OK;
}

/* ----------------------------------------------------------- collectives -- */

static TitanStatus all_gather(Collectives *c, const TitanCollective *op,
                              char *dst, const char *src)
{
    Exchange x = exchange(op, src);
    return bring(c, &x, dst, x.bytes);
}

static TitanStatus all_to_all(Collectives *c, const TitanCollective *op,
                              char *dst, const char *src)
{
    Exchange x = exchange(op, src);
    x.spread = true;
    if (dst == src) return bring_in_place(c, &x, dst);
    return bring(c, &x, dst, x.bytes);
}

static TitanStatus permute(Collectives *c, const TitanCollective *op, char *dst,
                           const char *src)
{
    Exchange x = exchange(op, src);
    Transport *t = c->transport;
    int64_t n = members(c, &x), me = rank_member(t->im, op->group, t->rank);
    int64_t shift = (op->shift % n + n) % n;
    x.to = (me + shift) % n;
    x.from = (me + n - shift) % n;
    if (dst == src) return bring_in_place(c, &x, dst);
    return bring(c, &x, dst, 0);
}

static TitanStatus reduce_scatter(Collectives *c, const TitanCollective *op,
                                  char *dst, const char *src)
{
    Exchange whole = exchange(op, src);
    whole.spread = true;
    for (size_t done = 0, n; done < whole.bytes; done += n) {
        Exchange x = whole;
        n = x.bytes = smaller(whole.bytes - done, c->transport->most);
        x.out = src + done;
        TRY(look(c, &x));
        sum(c, op, x.bytes, dst + done);
        TRY(end(c, &x));
    }
    return TITAN_OK;
}

/* Everybody makes the whole sum, beside what others still read. */
static TitanStatus reduce_small(Collectives *c, const TitanCollective *op,
                                char *dst, const char *src)
{
    Exchange x = exchange(op, src);
    TRY(look(c, &x));
    sum(c, op, x.bytes, c->block);
    TRY(end(c, &x));
    memcpy(dst, c->block, x.bytes);
    return TITAN_OK;
}

/* Each member makes the sum of a stretch, and all get it.  Nobody else reads
 * that stretch of a member's source, so it may be the destination. */
static TitanStatus reduce_stretch(Collectives *c, const TitanCollective *op,
                                  char *dst, const char *src, size_t bytes)
{
    Transport *t = c->transport;
    size_t size = titan_dtype_bytes(op->dtype);
    uint32_t n = ranks_in_group(t->im, op->group);
    uint32_t me = rank_member(t->im, op->group, t->rank);
    Exchange x = exchange(op, src);
    x.spread = true;
    x.bytes = x.stride = (bytes / size + n - 1) / n * size;
    x.total = bytes;
    char *mine = dst + me * x.bytes;
    TRY(look(c, &x));
    sum(c, op, exchange_piece(&x, me), mine);
    TRY(end(c, &x));
    x.spread = false;
    x.out = mine;
    return bring(c, &x, dst, x.bytes);
}

static TitanStatus all_reduce(Collectives *c, const TitanCollective *op,
                              char *dst, const char *src)
{
    size_t bytes = collective_piece_bytes(op), some;
    size_t n = ranks_in_group(c->transport->im, op->group), most = SIZE_MAX;
    if (bytes <= SMALL) return reduce_small(c, op, dst, src);
    if (c->transport->most < SIZE_MAX / n) most = c->transport->most * n;
    for (size_t done = 0; done < bytes; done += some) {
        some = smaller(bytes - done, most);
        TRY(reduce_stretch(c, op, dst + done, src + done, some));
    }
    return TITAN_OK;
}

static TitanStatus to_peer(Collectives *c, const TitanCollective *op,
                           const char *src)
{
    Transport *t = c->transport;
    uint32_t rank = rank_of_member(t->im, op->group, t->rank, op->peer);
    return t->class->send(t, rank, op->channel, src,
                          collective_piece_bytes(op));
}

static TitanStatus from_peer(Collectives *c, const TitanCollective *op,
                             char *dst)
{
    Transport *t = c->transport;
    uint32_t rank = rank_of_member(t->im, op->group, t->rank, op->peer);
    return t->class->receive(t, rank, op->channel, dst,
                             collective_piece_bytes(op));
}

TitanStatus collective_run(Collectives *c, const TitanCollective *x, char *dst,
                           const char *src)
{
    switch ((TitanCollectiveKind)x->kind) {
    case TITAN_COLLECTIVE_all_gather:
        return all_gather(c, x, dst, src);
    case TITAN_COLLECTIVE_reduce_scatter:
        return reduce_scatter(c, x, dst, src);
    case TITAN_COLLECTIVE_all_reduce:
        return all_reduce(c, x, dst, src);
    case TITAN_COLLECTIVE_all_to_all:
        return all_to_all(c, x, dst, src);
    case TITAN_COLLECTIVE_permute:
        return permute(c, x, dst, src);
    case TITAN_COLLECTIVE_send:
        return to_peer(c, x, src);
    case TITAN_COLLECTIVE_receive:
        return from_peer(c, x, dst);
    case TITAN_COLLECTIVE_COUNT:
        break;
    }
    return TITAN_OK;
}

TitanStatus collectives_open(Collectives *c, Transport *t, Pool *pool)
{
    size_t most = ranks_most_members(t->im);
    *c = (Collectives){.transport = t, .pool = pool};
    c->in = calloc(most, sizeof *c->in);
    c->block = malloc(most * COLLECTIVE_BLOCK);
    if (c->in && c->block) return TITAN_OK;
    collectives_close(c);
    return titan_no_memory(t->story);
}

void collectives_close(Collectives *c)
{
    free(c->in);
    free(c->block);
    *c = (Collectives){0};
}
