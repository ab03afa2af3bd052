/*
 * cuda_order.c: sums over ranks of GPUs in the order of the ranks, as the
 * host's ranks make them (collective.c).
 *
 * Each member gets a stretch of everybody, adds (cuda_sums.c), and hands the
 * sum out where all want it.  What is written in place has been sent.
 */
#include "cuda_device.h"

#include "cuda_sums.h"
#include "ranks.h"

#include <stdlib.h>

/* A collective, in pieces of `most` elements. */
typedef struct Sums {
    Cuda *c;
    const TitanCommand *cmd;
    CudaPass *with; /* of each member */
    CuPtr room;
    uint32_t n, me, kind;
    size_t size, most;
} Sums;

bool cuda_in_order(const Cuda *c, const TitanCollective *x)
{
    return c->options.rank_order && collective_has_order(x);
}

static Sums sums_of(Cuda *c, const TitanCommand *cmd)
{
    const TitanCollective *x = &c->im->collectives[cmd->index];
    Sums s = {.c = c,
              .cmd = cmd,
              .room = c->sums.room[cmd->stream],
              .n = ranks_in_group(c->im, x->group),
              .me = rank_member(c->im, x->group, c->rank.rank),
              .kind = cuda_sums_kind(x->dtype),
              .size = titan_dtype_bytes(x->dtype)};
    s.most = CUDA_SUMS_ROOM / (s.n * s.size);
    s.with = calloc(s.n, sizeof *s.with);
    return s;
}

/* How much of COUNT elements, in pieces, is the piece of MEMBER. */
static size_t piece_of(const Sums *s, size_t count, uint32_t member)
{
    size_t before = member * s->most;
    size_t left = before < count ? count - before : 0;
    return left < s->most ? left : s->most;
}

/* My piece of everybody, into the room, and its sum to TO.  FROM has one for
 * each member, PITCH bytes apart. */
static TitanStatus sum_pieces(const Sums *s, CuPtr from, size_t pitch,
                              size_t count, CuPtr to)
{
    size_t mine = piece_of(s, count, s->me), bytes = mine * s->size;
    for (uint32_t i = 0; i < s->n; i++)
        s->with[i] = (CudaPass){.out = from + i * pitch,
                                .in = s->room + i * bytes,
                                .sends = piece_of(s, count, i) * s->size,
                                .gets = bytes};
    TRY(cuda_ranks_pass(s->c, s->cmd, s->with));
    CudaSumArgs a = {.to = to,
                     .from = s->room,
                     .count = mine,
                     .pitch = bytes,
                     .n = s->n,
                     .kind = s->kind,
                     .me = s->n};
    return cuda_sums_add(s->c, &a, s->c->streams[s->cmd->stream]);
}

/* The sums of all members, each at its place from TO on. */
static TitanStatus share_sums(const Sums *s, CuPtr to, size_t count)
{
    size_t stride = s->most * s->size;
    size_t mine = piece_of(s, count, s->me) * s->size;
    for (uint32_t i = 0; i < s->n; i++)
        s->with[i] = (CudaPass){.out = to + s->me * stride,
                                .in = to + i * stride,
                                .sends = mine,
                                .gets = piece_of(s, count, i) * s->size};
    s->with[s->me] = (CudaPass){0};
    return cuda_ranks_pass(s->c, s->cmd, s->with);
}

/* Of each piece that is COUNT long the same stretch, one after the other. */
static TitanStatus scatter(Sums *s, size_t count, CuPtr to, CuPtr from)
{
    size_t pitch = count * s->size, most = s->most;
    for (size_t done = 0; done < count; done += s->most) {
        size_t left = count - done, at = done * s->size;
        s->most = left < most ? left : most;
        TRY(sum_pieces(s, from + at, pitch, s->n * s->most, to + at));
    }
    return TITAN_OK;
}

static TitanStatus reduce(Sums *s, size_t count, CuPtr to, CuPtr from)
{
    size_t block = s->most * s->n;
    for (size_t done = 0; done < count; done += block) {
        size_t left = count - done, at = done * s->size;
        if (left < block) s->most = (left + s->n - 1) / s->n;
        size_t some = left < block ? left : block;
        size_t stride = s->most * s->size;
        TRY(sum_pieces(s, from + at, stride, some, to + at + s->me * stride));
        TRY(share_sums(s, to + at, some));
    }
    return TITAN_OK;
}

TitanStatus cuda_reduce_in_order(Cuda *c, const TitanCommand *cmd, CuPtr to,
                                 CuPtr from)
{
    const TitanCollective *x = &c->im->collectives[cmd->index];
    Sums s = sums_of(c, cmd);
    if (!s.with) return titan_no_memory(c->story);
    TitanStatus st = x->kind == TITAN_COLLECTIVE_all_reduce
                         ? reduce(&s, (size_t)x->count, to, from)
                         : scatter(&s, (size_t)x->count, to, from);
    free(s.with);
    return st;
}
