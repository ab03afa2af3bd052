/*
 * matmul_emit.h: what the files that emit a matmul kernel share.
 */
#ifndef TITAN_MATMUL_EMIT_H
#define TITAN_MATMUL_EMIT_H

#include "matmul.h"

enum { MATMUL_ACC = 256 /* registers of a warpgroup's sums, at most */ };

typedef struct Mm {
    Site s;
    const Matmul *p;
    LV fn, base;
    LV block, blocks, rank; /* in units of those that work together; of them */
    LV map[MATMUL_VIEWS];
    LV group, warp, lane; /* consumers: of the warpgroups, of the group */
    LV first;             /* this thread is its warp's first */
} Mm;

/* The first element of a tile of the result. */
typedef struct Corner {
    LV m, n, batch[MATMUL_PIECE + 1];
    LV from, steps; /* terms: where they begin, stages of them */
} Corner;

/* matmul_flow.c: i32 arithmetic */
LV mm_num(const Mm *m, int64_t i);
LV mm_add(const Mm *m, LV a, LV b);
LV mm_plus(const Mm *m, LV a, int64_t i);
LV mm_times(const Mm *m, LV a, int64_t i);
LV mm_over(const Mm *m, LV a, int64_t i); /* unsigned */
LV mm_rest(const Mm *m, LV a, int64_t i);
LV mm_and(const Mm *m, LV a, LV b); /* also of conditions */
LV mm_is(const Mm *m, LLVMIntPredicate how, LV a, LV b);

/* matmul_flow.c: control flow */
LLVMBasicBlockRef mm_block(const Mm *m, const char *name);
void mm_enter(const Mm *m, LLVMBasicBlockRef b);
/* The builder goes on where `when` holds; after mm_if_end in any case. */
LLVMBasicBlockRef mm_if(const Mm *m, LV when);
void mm_if_end(const Mm *m, LLVMBasicBlockRef after);

/* A counted loop that carries values. */
typedef struct Turns {
    LLVMBasicBlockRef head, exit;
    LV i, carried[MATMUL_ACC];
    unsigned n;
} Turns;
void mm_turns(const Mm *m, Turns *t, LV from, const LV *values, unsigned n);
void mm_turns_while(const Mm *m, Turns *t, LV more); /* the body follows */
void mm_turns_end(const Mm *m, Turns *t, int64_t step, const LV *values);

/* matmul_blocks.c: what the ids of blocks say of a tile. */
void mm_choose(const Mm *m, Corner *at);
void mm_gather_terms(const Mm *m, Corner *at);

/* matmul.c: coordinates in a view; returns how many. */
uint32_t mm_coordinates(const MatmulView *v, const Corner *at, LV inner,
                        LV outer, LV out[SM90_DIMS]);

/* matmul_tally.c: what a thread has of the tallies of its two rows, eight
 * apart; NULL: nothing yet. */
typedef struct MmTally {
    LV row[2];
} MmTally;
/* A unit of columns. */
void mm_tally_add(const Mm *m, const MatmulTally *t, LV unit, MmTally *to);
/* It is whole, and is stored: of the warp's rows from ROW on, and the columns
 * from COLUMN on. */
void mm_tally_end(const Mm *m, const MatmulTally *t, const Corner *at, LV row,
                  LV column, MmTally *of);

/* matmul_scale.c: how many values a thread needs of the scales of a stage, or
 * 0; these, of a stage that there may not be; and what register I has of a
 * stage, added to the sum so far. */
uint32_t mm_scales_count(const Mm *m);
void mm_scales_load(const Mm *m, const Corner *at, LV step, LV *out);
LV mm_scaled(const Mm *m, const LV *scales, uint32_t i, LV stage, LV sum);

/* matmul_result.c: the sums of a tile become its results.  BEFORE is the number
 * of tiles that this warpgroup has made.  The copy engine is sent for what the
 * first chunks read by mm_fetch_first, before the sums are made. */
bool mm_fetches(const Mm *m);
void mm_fetch_first(const Mm *m, const Corner *at);
void mm_result(const Mm *m, const Corner *at, LV before, const LV *acc);

#endif
