/*
 * transport.h: bytes between the ranks of a group, and what collectives make of
 * them.
 *
 * A transport moves bytes and nothing else; sums are collective.c's own, in the
 * order of the ranks, so all transports give the same bits.  One exchange has
 * two halves:
 *
 *     begin    every member's pieces are offered, and those for this one are
 *              there, where it asked for them or wherever they are
 *     end      all members have taken theirs: what was offered is free again
 *
 * All members of a group come to the same exchanges in the same order.  One
 * thread of a rank uses its transport.
 */
#ifndef TITAN_TRANSPORT_H
#define TITAN_TRANSPORT_H

#include "pool.h"
#include "ranks.h"

typedef struct Transport Transport;

enum { ALL_MEMBERS = -1 };

typedef struct Exchange {
    uint32_t group;
    const char *out;
    bool spread; /* piece j, of stride, is for member j; else one for all */
    size_t stride;
    size_t bytes;     /* of a piece */
    size_t total;     /* where the last pieces are shorter: of all; else 0 */
    int64_t to, from; /* a member, or ALL_MEMBERS */
} Exchange;

typedef struct TransportClass {
    /* IN: a place for each member's piece, changed to where it is; NULL: any
     * place, for pieces of up to `most` bytes. */
    TitanStatus (*begin)(Transport *t, const Exchange *x, char **in);
    TitanStatus (*end)(Transport *t, const Exchange *x);
    /* To and from a rank; those of a channel between two ranks are in order.
     * A send may return before it is received: AT is free again. */
    TitanStatus (*send)(Transport *t, uint32_t rank, uint32_t channel,
                        const void *at, size_t bytes);
    TitanStatus (*receive)(Transport *t, uint32_t rank, uint32_t channel,
                           void *at, size_t bytes);
    /* Between exchanges: RANK_LOST where a rank has ended the run. */
    TitanStatus (*look)(Transport *t);
    void (*free)(Transport *t);
} TransportClass;

struct Transport {
    const TransportClass *class;
    TitanStory *story;
    const TitanImage *im;
    uint32_t rank;
    size_t most;
};

/* Bytes of the piece of MEMBER. */
static inline size_t exchange_piece(const Exchange *x, uint32_t member)
{
    size_t before = (size_t)member * x->bytes;
    if (x->total == 0) return x->bytes;
    if (before >= x->total) return 0;
    return x->total - before < x->bytes ? x->total - before : x->bytes;
}

/* How many bytes the member ME has for MEMBER, and gets from it. */
static inline size_t exchange_sends(const Exchange *x, uint32_t me,
                                    uint32_t member)
{
    return exchange_piece(x, x->spread ? member : me);
}

static inline size_t exchange_gets(const Exchange *x, uint32_t me,
                                   uint32_t member)
{
    return exchange_piece(x, x->spread ? me : member);
}

static inline const char *exchange_out(const Exchange *x, uint32_t member)
{
    return x->out + (x->spread ? member * x->stride : 0);
}

static inline bool exchange_has(int64_t which, uint32_t member)
{
    return which == ALL_MEMBERS || which == (int64_t)member;
}

/* ----------------------------------------------------------- collectives -- */

/* What a rank needs to take part in them. */
typedef struct Collectives {
    Transport *transport;
    Pool *pool;  /* or NULL */
    char **in;   /* one for each member of the largest group */
    char *block; /* COLLECTIVE_BLOCK for each of them */
} Collectives;

enum { COLLECTIVE_BLOCK = 256 << 10 };

/* T is not owned. */
TitanStatus collectives_open(Collectives *c, Transport *t, Pool *pool);
void collectives_close(Collectives *c);
TitanStatus collective_run(Collectives *c, const TitanCollective *x, char *dst,
                           const char *src);

/* ------------------------------------------------------- local transport -- */

#include "board.h"

/* The memory in which the ranks of one machine meet, threads of a process or
 * processes that were started with it. */
typedef struct Hall Hall;

TitanStatus hall_new(TitanStory *s, const TitanImage *im, Board *b, Hall **out);
/* Before anyone uses it: messages of up to ROOM bytes may be left there. */
TitanStatus hall_leave(TitanStory *s, Hall *h, size_t room);
void hall_free(Hall *h);
/* For the rank of W. */
TitanStatus hall_transport(TitanStory *s, Hall *h, const BoardWait *w,
                           Transport **out);

#endif
