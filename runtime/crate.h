/*
 * crate.h: bytes on their way to a rank whose memory is elsewhere, or back.
 *
 * What an order moves goes in crates of so many runs and bytes, each an order
 * of its own whose runs lie side by side in the crate:
 *
 *     order      at + place   |--a--|      |----b----|
 *     crate     at           |--a--|----b----|
 *     rank       own          |--a--|  |----b----|
 */
#ifndef TITAN_CRATE_H
#define TITAN_CRATE_H

#include "crew.h"

enum { CRATE_RUNS = 1024, CRATE_BYTES = 8 << 20 };

typedef struct Crate {
    size_t n, bytes;
    PartRun runs[CRATE_RUNS];   /* `whole` counts from `at` */
    uint64_t place[CRATE_RUNS]; /* of each run, from the order's `at` */
    char at[CRATE_BYTES];
} Crate;

/* How far an order has gone. */
typedef struct CrateWalk {
    size_t run, done; /* runs, and bytes of the next */
} CrateWalk;

/* The next runs of O, and of a write their bytes; false: there are none. */
bool crate_fill(Crate *p, const Order *o, CrateWalk *w);
/* What the rank is told. */
Order crate_order(Crate *p, const Order *o);
/* Of runs that another process has sent: their bytes are counted.  Which is the
 * first that does not lie beside the one before it, or leaves the crate; `n`:
 * none. */
size_t crate_close(Crate *p);
/* What was read goes to its place. */
void crate_unpack(const Crate *p, const Order *o);

#endif
