/*
 * canonicalise.h: what the files of the pass share.
 */
#ifndef TITAN_CANONICALISE_H
#define TITAN_CANONICALISE_H

#include "../pass.h"
#include "../reach.h"

/* One step over a function; *changed is set when it did something that may
 * let another step do more. */
Fn *canon_clean(Module *m, const Fn *fn);
Fn *canon_merge(Module *m, const Fn *fn, bool *changed);

Fn *canon_pads(Module *m, Fn *fn, bool *changed);

/* What is pushed through the map that makes its operand: a rename, split or
 * merge.  NO_VALUE: it cannot be. */
Value push_move(Builder *b, const Inst *move, const Inst *map,
                const Value *args);

/* Takes from repeats what is never used, or never changes; true: some
 * function became another. */
bool canon_repeats(Module *m);

#endif
