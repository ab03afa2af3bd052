/*
 * race.h: whether what is read was ordered behind what wrote it.
 *
 * Of shared memory by vector clocks (Flanagan and Freund, "FastTrack", PLDI
 * 2009): each warp has a clock; barriers of a block, of a cluster and in shared
 * memory (mbarrier) carry those of who arrives to who waits.  Lanes of one warp
 * are not told apart.  Copies that nobody waits for, and products of a
 * warpgroup, are the async proxy: they see what ordinary stores wrote only
 * behind a fence.proxy.async.
 *
 * Of global memory by block: in a kernel without atomic operations and fences
 * of the GPU no block reads or writes a byte that another one writes.
 */
#ifndef TITAN_TESTS_PTX_RACE_H
#define TITAN_TESTS_PTX_RACE_H

#include "tests/ptx/machine.h"

typedef struct PtxRace PtxRace;       /* of a cluster */
typedef struct PtxGlobals PtxGlobals; /* of a launch */

/* NULL: no memory. */
PtxRace *ptx_race_new(PtxCluster *c);
void ptx_race_free(PtxRace *r);

/* Bytes [at, at + n) of OF's shared memory, by warp W; false after ptx_fault.
 */
bool ptx_race_read(PtxWarp *w, const PtxInst *i, int lane, PtxBlock *of,
                   uint32_t at, uint32_t n);
bool ptx_race_write(PtxWarp *w, const PtxInst *i, int lane, PtxBlock *of,
                    uint32_t at, uint32_t n);

/* Barriers are called by a number: of a block's own ptx_bar_key, of shared
 * memory their address (with its block's rank). */
uint64_t ptx_bar_key(const PtxBlock *b, unsigned number);
uint64_t ptx_cluster_key(unsigned phase);
void ptx_race_arrive(PtxWarp *w, uint64_t barrier);
void ptx_race_wait(PtxWarp *w, uint64_t barrier);
/* All that arrived went on: who comes next starts anew. */
void ptx_race_clear(PtxBlock *b, uint64_t barrier);
/* Who waits at TO is behind all that has arrived at FROM until now. */
void ptx_race_pass(PtxBlock *b, uint64_t from, uint64_t to);
/* fence.proxy.async */
void ptx_race_fence(PtxWarp *w);

/* Product NUMBER of W's warpgroup, from 1 on, reads bytes of its block's shared
 * memory for W, from now on; false: WHY, and what comes of it may be anything.
 * Of bytes that nobody has written yet it may be given anything too, so what
 * they are written first is no race.  Then one of the group knows that those up
 * to NUMBER are made, of all its warps. */
enum { PTX_RACE = 256 };
bool ptx_race_product(PtxWarp *w, uint32_t at, uint32_t n, uint32_t number,
                      char why[PTX_RACE]);
void ptx_race_made(PtxWarp *w, uint32_t number);

/* A copy that W issues now; number 0: races are not looked for. */
typedef struct PtxStamp {
    uint32_t number;
    uint32_t *clocks; /* what had happened before it; its own */
} PtxStamp;
PtxStamp ptx_race_issue(PtxWarp *w);
/* What it reads or writes in shared memory of OF, when it is done; B issued it
 * at LINE. False after a fault. */
bool ptx_race_copy(PtxBlock *b, uint32_t line, const PtxStamp *s, PtxBlock *of,
                   uint32_t at, uint32_t n, bool writes);
/* It tells a barrier that it is done; W has waited for it otherwise. */
void ptx_race_tell(PtxBlock *b, const PtxStamp *s, uint64_t barrier);
void ptx_race_waited(PtxWarp *w, const PtxStamp *s);
void ptx_stamp_free(PtxStamp *s);

/* Global memory. NULL: no memory, or the kernel has what orders blocks. */
PtxGlobals *ptx_globals_new(const PtxKernel *k);
void ptx_globals_free(PtxGlobals *g);
/* Block number BLOCK (of the launch); the block that it races with, -1: none,
 * -2: more than one. */
int64_t ptx_globals_touch(PtxGlobals *g, uint32_t block, uint64_t at,
                          uint64_t n, bool writes);

#endif
