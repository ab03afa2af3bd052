/*
 * board.h: what each rank of this machine is doing, in memory that all of them
 * see, threads or processes, and the watchdog too.
 *
 * Whoever waits for another waits here: for a number that the other counts up.
 * The wait ends early when a rank has ended the run.
 */
#ifndef TITAN_BOARD_H
#define TITAN_BOARD_H

#include <stdatomic.h>

#include "ranks.h"

#define BOARD_GPU UINT32_MAX /* `waits`: for its own GPU */

typedef struct BoardRow {
    _Alignas(128) _Atomic uint32_t told, over; /* orders given, and done */
    _Atomic uint32_t command; /* 1 + the one that runs; 0: none */
    _Atomic uint32_t waits;   /* 1 + the rank that it waits for; 0: for none */
    _Atomic int pid;          /* 0: a thread of this process */
    _Atomic bool known;       /* it writes its row: see `apart` */
    TitanStatus status;       /* of the last order */
    TitanStory story;
} BoardRow;

typedef struct Board {
    size_t bytes;
    uint32_t ranks;
    _Atomic uint32_t ended; /* 1 + the rank that cannot go on; 0: all can */
    bool apart;             /* a launcher has started the ranks: not all rows
                             * need be known, and of others the pids alone */
    int pid, fd;            /* who has made it, and by what: -1: none */
    BoardRow rows[];
} Board;

/* NULL: no memory.  Before processes that share it are started. */
Board *board_new(uint32_t ranks);
void board_free(Board *b);
/* That of another process of this machine, which has made it; NULL: it is not
 * reached. */
Board *board_join(int pid, int fd, uint32_t ranks);
/* Whether what RANK does can be read. */
static inline bool board_knows(const Board *b, uint32_t rank)
{
    return !b->apart || atomic_load(&b->rows[rank].known);
}

/* Bytes that this process and those that it starts share, zeroed; NULL: there
 * are not so many. */
void *board_memory(size_t bytes);

/* Someone who waits, and what it does in the meantime (or NULL). */
typedef struct BoardWait {
    Board *board;
    uint32_t rank;
    void (*look)(void *user);
    void *user;
} BoardWait;

void board_count(_Atomic uint32_t *word);
/* Until PEER has counted WORD up to LEAST.  False: the run has ended. */
bool board_until(const BoardWait *w, _Atomic uint32_t *word, uint32_t least,
                 uint32_t peer);

/* RANK cannot go on: everyone who waits stops.  The first to say so counts. */
void board_end(Board *b, uint32_t rank);

/* "kernel \"k3\", mlp.tt:12" of the command of that number, from 1; empty: of
 * none. */
void command_words(const TitanImage *im, uint32_t number, char *out,
                   size_t size);

#endif
