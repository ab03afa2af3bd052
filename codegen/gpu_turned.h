/*
 * gpu_turned.h: a tile of rows and lanes that a block of threads makes, some
 * results of which lie along the rows.
 *
 * Rows are items, or those of a sweep in them, in which each item has as many.
 */
#ifndef TITAN_GPU_TURNED_H
#define TITAN_GPU_TURNED_H

#include "target.h"

enum { TURNED_LANES = 128, TURNED_SLOT = 4 };
enum { TURNED_THREADS = 256 }; /* of a block, but where tiles are few */

typedef struct Tile {
    LoopId sweep;             /* or 0: rows are items */
    int64_t each, rows;       /* rows of an item, of all items */
    int64_t w, turns;         /* lanes and rows of a thread */
    int64_t lanes, threads;   /* of the tile; of the block */
    LV tid, column, row;      /* of the thread */
    LV first_row, first_lane; /* of the tile */
    LV **made;                /* per store, per turn: what it stores */
} Tile;

/* Of indices. */
static inline LV number(Emit *e, int64_t i)
{
    return emit_iconst(e, i);
}

static inline LV plus(Emit *e, LV x, LV y)
{
    return LLVMBuildAdd(e->s.b, x, y, "");
}

static inline LV times(Emit *e, LV x, int64_t by)
{
    return LLVMBuildMul(e->s.b, x, number(e, by), "");
}

/* The word of shared memory at index I of those BEHIND so many bytes. */
LV turned_slot(Emit *e, int64_t behind, LV i);
/* X, or 0 where it is not below n; *EXISTS says which. */
LV turned_below(Emit *e, LV x, int64_t n, LV *exists);
/* What is emitted then is of all lanes of a thread, or of one place. */
void turned_take_lanes(Emit *e, const Tile *t);
void turned_take_one(Emit *e);
Tile turned_tile(Emit *e, LV tid, LV block, LoopId sweep);
/* A thread's first lane, and the row of a turn; the last ones where these do
 * not exist.  *EXISTS: whether they do; NULL: they do. */
LV turned_lane(Emit *e, const Tile *t, LV *exists);
LV turned_row(Emit *e, const Tile *t, int64_t turn, LV *exists);
void turned_enter(Emit *e, const Tile *t, LV row, LV lane);

/* Whether a store lies along the rows, 16 bytes of them side by side. */
bool turned_crosses(const Kir *k, uint32_t node);
/* Blocks of a processor, whose threads need so many registers each. */
int turned_at_a_time(int64_t threads, int64_t registers);
/* Whether so few tiles are there that a processor has all of its own at once:
 * all wait, then compute, in step, so that threads with fewer rows each are
 * better. */
bool turned_are_few(const Kir *k, int64_t tiles, int at_a_time);
/* Whether threads that have so many rows each have whole words of what crosses
 * in the loop. */
bool turned_has_words(const Kir *k, LoopId loop, int64_t turns);
/* Bytes of shared memory that crossing stores of a loop take, of as many
 * elements as a tile has. */
int64_t turned_room(const Kir *k, LoopId loop, int64_t elements);
/* What was made: of one that lies along the lanes, in a turn; all others. */
void turned_store_along(Emit *e, const Tile *t, uint32_t node, int64_t turn);
void turned_store_across(Emit *e, const Tile *t);

#endif
