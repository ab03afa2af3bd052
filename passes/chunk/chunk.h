/*
 * chunk.h: what the files of the pass `chunk` share.
 */
#ifndef TITAN_PASSES_CHUNK_H
#define TITAN_PASSES_CHUNK_H

#include "../machine.h"

/* Rows that several devices have parts of: PART indices of ROW on each of
 * DEVICES, which GROUP counts. */
typedef struct Rows {
    Axis row, group;
    int64_t part, devices;
} Rows;

/* One function and its rows. */
typedef struct Chunk {
    Module *m;
    const Fn *fn;
    Machine on;
    Rows rows;
    uint32_t carried; /* first parameters and results that turns hand on */
    Axis cut;      /* the axis that is cut: that of the rows, or one in front */
    int64_t size;  /* of it: what a device has */
    bool *can;     /* by value: each part of it is made of parts */
    bool *meets;   /* by value: a collective that nothing else covers */
    bool *cuts;    /* by value: is made part by part */
    bool always;   /* whatever it takes */
    int64_t steps; /* asked for; 0: as many as are fastest */
    bool own;      /* a part are all rows of one device, behind gathers alone */
    Uses uses;
} Chunk;

/* find.c */

/* The rows of a collective; false: it has none. */
bool chunk_rows(const Module *m, const Fn *fn, Value v, Rows *out);
bool rows_same(const Rows *a, const Rows *b);
/* Fills cut, size, can, meets and cuts; false: nothing is to be cut. */
bool chunk_find(Chunk *c);
/* Products that begin with the rows that a device has itself: fills the same,
 * for as many parts as there are devices; false: there are none. */
bool chunk_find_own(Chunk *c);
/* Products that neither need a collective nor are needed by it take long enough
 * to cover it. */
bool chunk_is_covered(const Chunk *c, Value v);
/* The value has the rows of all devices, in one axis. */
bool chunk_is_whole(const Chunk *c, Type t);

/* choose.c: into how many parts, as they take the least time; 1: none. */
int64_t chunk_choose(const Chunk *c);
/* Microseconds of a collective, and of a product. */
double chunk_talk_time(const Chunk *c, Value v, int64_t parts);
double chunk_product_time(const Chunk *c, Value v, int64_t parts);

/* In how many steps of rows a product that is exchanged makes those for a
 * device, so that the first go there while it makes the next. */
int64_t chunk_steps(const Chunk *c, Value exchanged, Value product);

/* Whether a product takes no longer in parts that are devices' rows. */
bool chunk_divides(const Chunk *c, Value product);

/* emit.c: the function in N parts. */
Fn *chunk_emit(const Chunk *c, int64_t n);

/* exchange.c: the function with sums of products over devices that nothing
 * covers as exchanges; NULL: there are none. */
Fn *chunk_exchange(Chunk *c);

#endif
