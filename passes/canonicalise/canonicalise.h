/*
 * canonicalise.h: what the files of the pass share.
 */
#ifndef TITAN_CANONICALISE_H
#define TITAN_CANONICALISE_H

#include "../pass.h"
#include "../reach.h"

/* One step over a function; *changed is set when it did something that may
 * let another step do more. */
Fn *canon_merge(Module *m, const Fn *fn, bool *changed);

Fn *canon_pads(Module *m, Fn *fn, bool *changed);

/* What is pushed through the map that makes its operand: a rename, split or
 * merge.  NO_VALUE: it cannot be. */
Value push_move(Builder *b, const Inst *move, const Inst *map,
                const Value *args);

/* A body of a few operations that any machine does at once. */
bool canon_is_cheap(Module *m, Expr body);

/* Moves what the repeats of function f compute alike in every turn in front
 * of them; nuses: how often each function is referred to. */
bool canon_hoist(Module *m, uint32_t f, const uint32_t *nuses);

/* Takes from repeats what is never used, or never changes; true: some
 * function became another. */
bool canon_repeats(Module *m);

#endif
