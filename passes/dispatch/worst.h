/*
 * worst.h: the entry that a step is repeated with when rows found no room.
 */
#ifndef TITAN_DISPATCH_WORST_H
#define TITAN_DISPATCH_WORST_H

#include "../reach.h"

/* Which functions only `train` reaches, where there is such an entry; all,
 * where there is none. */
bool *worst_bounded(Module *m);

/* Adds the entry `train.worst`: what `train` is, with all that it refers to, of
 * the functions in WERE, by number; the new functions are the last ones. */
void worst_add(Module *m, Fn *const *were);

#endif
