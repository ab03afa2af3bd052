/*
 * run.h: a launch as it runs, for run.c, flow.c and memory.c.
 */
#ifndef TITAN_TESTS_PTX_RUN_H
#define TITAN_TESTS_PTX_RUN_H

#include "tests/ptx/race.h"

enum { PTX_PANES = 4 };

struct PtxMachine {
    const PtxLaunch *launch;
    PtxTally tally;
    uint64_t state; /* of what is drawn */
    char *why;      /* PTX_FAULT bytes, "" without a fault */
    unsigned char *params;
    PtxPane panes[PTX_PANES]; /* that were asked for last */
    unsigned next_pane;
    PtxGlobals *globals; /* NULL: races are not looked for */
    uint64_t events; /* what may let others go on: a store, a barrier, an end */
    uint64_t looks;  /* for what others do: loads with an order, tests */
};

/* Lanes of MASK have ended; the last one of a warp may open barriers. */
void ptx_lanes_end(PtxWarp *w, uint32_t mask);
/* The lanes that must be at I together with those of MASK. */
uint32_t ptx_members(const PtxWarp *w, const PtxInst *i, uint32_t mask);

#endif
