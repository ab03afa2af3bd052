/*
 * gpu_both.h: what is known of a kernel of a matrix in both orders before it is
 * made (gpu_both_plan.c): the loops of its maxima, when each node is made, and
 * what lies where in shared memory.
 */
#ifndef TITAN_GPU_BOTH_H
#define TITAN_GPU_BOTH_H

#include "gpu_turned.h"

/* Of a tile. */
enum { LANES = TURNED_LANES, ROWS = 128 };
/* Of a block; where tiles are few, MOST_AT_ONCE of a processor have more. */
enum { THREADS = TURNED_THREADS, MORE_THREADS = 512, MOST_AT_ONCE = 2 };
/* Loops; those that make maxima come behind. */
enum { ITEMS_LOOP = 1, LANES_LOOP, SWEEP_LOOP, MAXIMA_LOOPS, MOST_LOOP = 8 };
enum { SLOT = TURNED_SLOT }; /* bytes of a maximum, or of a value */

/* Of what a loop makes maxima: of columns of a block of rows, of blocks of
 * both, or of rows of a block of columns. */
typedef enum Way { WAY_columns, WAY_both, WAY_rows } Way;

typedef struct Maxima {
    Way way;
    Node element;    /* the matrix's that the loop asks for */
    int64_t columns; /* of a block; of columns alone: one */
    int64_t n, rows; /* those of a row, or of a row of threads; such rows */
    int64_t at;      /* bytes in front of them */
    LoopId same;     /* the first that makes these */
} Maxima;

/* How a node is made: with the elements, for each lane of a block of rows, for
 * each row of a block of columns, or with what is stored of elements. */
typedef enum MadeWhen {
    MADE_before, /* in front of the items */
    MADE_below,
    MADE_lanes,
    MADE_rows,
    MADE_last,
    MADE_count
} MadeWhen;

typedef struct Both {
    const Kir *k;
    int64_t block;            /* rows of one */
    int64_t turns;            /* rows of a thread */
    int64_t tiles, threads;   /* of the matrix; of a block */
    Node element;             /* that the sweep asks for */
    Maxima maxima[MOST_LOOP]; /* by loop */
    LoopId rows;              /* the first that makes maxima of rows; or 0 */
    MadeWhen *when;           /* by node */
    uint32_t *same; /* by node: the first of a lane that is the same */
    bool *shared;   /* by node: what is made last reads it of a lane or row */
    int64_t n[MADE_count];  /* lanes of blocks of rows, rows of blocks of
                               columns, of a tile */
    int64_t at[MADE_count]; /* bytes in front of what these share */
    int64_t room;           /* bytes of all */
} Both;

/* Of a kernel that is made in tiles. */
Both both_of(const Kir *k);
/* A store of each element, not of each block. */
bool both_stores_elements(const Kir *k, uint32_t node);

#endif
