/*
 * reach.h: which functions a module needs.
 *
 * The roots are the entries; in a module without entries, the functions that
 * nobody refers to.  A pass notes them before it takes references away.
 */
#ifndef TITAN_REACH_H
#define TITAN_REACH_H

#include "pass.h"

typedef struct Roots {
    bool *is; /* by function */
} Roots;

Roots roots_of(Module *m);
/* By function: whether a root refers to it, directly or not; in scratch. */
bool *fns_reached(Module *m, const Roots *roots);
/* Removes the functions that no root reaches and renumbers the others. */
void drop_unreached(Module *m, const Roots *roots);

/* The functions that an instruction refers to; returns their number. */
uint32_t inst_callees(const Module *m, const Inst *in, FnRef out[2]);

#endif
