/*
 * bundle.h: what the files of the pass `bundle` share.
 *
 *      find.c      the messages of all ranks in one order, and which of them
 *                  cross at once
 *      plan.c      by which messages their values go
 *      emit.c      the functions of the ranks with those in their place
 *      bundle.c    the pass
 */
#ifndef TITAN_PASSES_BUNDLE_H
#define TITAN_PASSES_BUNDLE_H

#include "../outer.h"
#include "../pass.h"

/* A send and its receive, instructions of two ranks. */
typedef struct Message {
    uint32_t from, to;
    Value send, recv;
    uint32_t item; /* which value, of its bundle */
} Message;

typedef VEC(Message) MessageVec;

/* A value that crosses, and who has it. */
typedef struct Item {
    uint32_t rank;
    Value v;
    Type type;
} Item;

/* A message that a bundle goes by: several items of one dtype, ascending. */
typedef struct Hop {
    uint32_t from, to; /* ranks */
    uint32_t *items, n;
} Hop;

typedef VEC(Hop) HopVec;

/* Messages that may cross at once: none has a value that is made of what
 * another brings.  On each rank they are at the place of its first one. */
typedef struct Bundle {
    MessageVec messages;
    VEC(Item) items; /* by dtype, then by rank, the larger ones first */
    uint32_t *first; /* by rank: its first message here, or UINT32_MAX */
    HopVec hops;     /* empty: they stay as they are */
} Bundle;

typedef VEC(Bundle) BundleVec;

/* The rank functions of one entry. */
typedef struct Ranks {
    Module *m;
    Arena *a;
    const Fn **fns;
    uint32_t n;
    BundleVec bundles;
    Axis axis; /* of what several values lie in, one behind the other */
    OuterAxes outer;
} Ranks;

/* find.c: fills in the bundles, without hops. */
void bundles_find(Ranks *r);
/* plan.c: the hops, where they take less than the messages. */
void bundle_plan(const Ranks *r, Bundle *b);
/* emit.c: the function of a rank with hops for the messages. */
Fn *bundles_emit(const Ranks *r, uint32_t rank);

#endif
