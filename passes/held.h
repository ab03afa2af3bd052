/*
 * held.h: the parameters that a step gathers once.
 */
#ifndef TITAN_HELD_H
#define TITAN_HELD_H

#include "pass.h"

/* By parameter of an entry: it lies in parts, and the plan has it gathered once
 * a step where it is gathered, by the options `keep`, `shard` and `hold`. NULL:
 * the entry has no backward, or an error was reported. */
bool *held_params(Module *m, PassCtx *cx, const Fn *entry);

/* A budget may decide what a step holds: in a pipeline whose rules do not say
 * it. */
bool hold_is_open(Module *m, PassCtx *cx);

#endif
