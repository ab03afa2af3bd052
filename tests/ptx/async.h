/*
 * async.h: a block's barriers and open copies, for mbarrier.c, async.c and
 * tile.c.
 */
#ifndef TITAN_TESTS_PTX_ASYNC_H
#define TITAN_TESTS_PTX_ASYNC_H

#include "tests/ptx/run.h"

enum { PTX_DIMS = 5, PTX_CHUNK = 16 /* bytes that swizzles move together */ };

/* What 8 bytes of shared memory hold that are a barrier. */
typedef struct Barrier {
    uint32_t at; /* in the block's shared memory */
    uint32_t expected, pending;
    int32_t tx;      /* bytes that are expected and have not come */
    uint32_t phase;  /* how many are complete */
    uint32_t seen;   /* so many were found complete by one who waits */
    uint32_t filled; /* 1 + the phase that bytes came into last, 0: none */
    uint32_t line;   /* of the last that said or brought bytes */
    const PtxWarp *unfenced; /* who made it, and has not told others yet */
} Barrier;

typedef enum CopyKind { COPY_load, COPY_store, COPY_add } CopyKind;

/* A copy on its way; one that goes to several blocks is several. */
typedef struct Copy {
    CopyKind kind;
    bool lazy;   /* comes when somebody waits, or nobody else goes on */
    bool read;   /* store, add: it has read shared memory */
    bool done;   /* ... and written global memory */
    bool waited; /* ... and its thread knows that it has read */
    uint32_t thread, group; /* of those that store; 0: not committed */
    uint32_t line;
    PtxBlock *from;  /* that issued it */
    PtxBlock *block; /* whose shared memory; of a load whose barrier too */
    uint32_t shared, bytes, barrier;
    uint64_t global;      /* without a map */
    PtxMap map;           /* rank 0: none */
    int32_t at[PTX_DIMS]; /* the tile's first element */
    unsigned char *held;  /* bytes that were read */
    PtxStamp stamp;       /* of race.h */
} Copy;

struct PtxAsync {
    Barrier *barriers;
    uint32_t nbarriers, barriers_cap;
    Copy *copies;
    uint32_t ncopies, copies_cap;
    uint32_t *groups; /* of each thread, committed */
    uint64_t refused; /* the machine's events when a wait was refused last, */
    unsigned times;   /* and how often since then */
};

/* async.c: B's; NULL after a fault of W. */
PtxAsync *ptx_async_of(PtxWarp *w, const PtxInst *i, PtxBlock *b);
/* Makes the open loads whose bytes barrier AT of block B counts; false after a
 * fault. */
bool ptx_async_fill(PtxBlock *b, uint32_t at);

/* mbarrier.c */
PtxStep ptx_do_barrier(PtxWarp *w, const PtxInst *i, uint32_t mask);
/* All bytes of a load have come; false after a fault. */
bool ptx_barrier_bytes(const Copy *c);
/* One arrives at B's barrier at AT, for what was asked for at LINE, of which
 * S is the last that read shared memory; false after a fault. */
bool ptx_barrier_commit(PtxBlock *b, uint32_t line, uint32_t at,
                        const PtxStamp *s);
/* Whether there is a barrier at AT, which lane LANE of W names; else a fault.
 */
bool ptx_barrier_is(PtxWarp *w, const PtxInst *i, int lane, uint64_t at);
/* At the end of a block; false after a fault. */
bool ptx_barriers_end(PtxBlock *b);

/* tile.c: why no copy can be made by M, or NULL. */
const char *ptx_map_refusal(const PtxMap *m);
uint32_t ptx_tile_bytes(const PtxMap *m);
/* The copy's parts; false after a fault.  Shared memory into C->held, that into
 * global memory; global memory into shared memory. */
bool ptx_tile_read(Copy *c);
bool ptx_tile_write(Copy *c);
bool ptx_tile_load(Copy *c);

#endif
