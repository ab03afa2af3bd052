/*
 * ring.h: what the files of the pass `ring` share.
 */
#ifndef TITAN_PASSES_RING_H
#define TITAN_PASSES_RING_H

#include "../pass.h"

/* What a value of a region is when blocks of an axis go round:
 *
 *      before     made of what does not go round
 *      block      a parameter that is split along the axis
 *      whole      such a parameter, brought together
 *      wide       has the axis: made for one block at a time
 *      sum, max   over the axis: of all blocks
 *      home       a wide sum over devices, laid where its block lies
 *      after      made of sums and maxima */
typedef enum Share {
    SHARE_before,
    SHARE_block,
    SHARE_whole,
    SHARE_wide,
    SHARE_sum,
    SHARE_max,
    SHARE_home,
    SHARE_after
} Share;

typedef struct Ring {
    Module *m;
    const Fn *fn;  /* the region */
    TypeAxis axis; /* that goes round, as its parameters have it */
    Share *share;  /* by value */
    bool *scaled;  /* by value: a multiple of exp(-maximum) */
    bool *home;    /* by value: wide, and a result or read by one */
    bool counts;   /* something reads index(axis) */
    Value maximum; /* NO_VALUE: there is none */
    uint32_t ndevices;
} Ring;

/* find.c: false: the region cannot be made block by block. */
bool ring_find(Ring *r);
/* emit.c: the region in turns; its block and its turn are new functions. */
Fn *ring_emit(Ring *r);

#endif
