/*
 * partition.h: from a layout to another by collectives.
 */
#ifndef TITAN_PASSES_PARTITION_H
#define TITAN_PASSES_PARTITION_H

#include "../machine.h"
#include "../pass.h"

/* V as a value of type T, which differs in splits and in what is pending; by
 * the links of a machine. */
Value partition_bring(Builder *b, const Machine *on, Value v, Type t);
/* Reductions to everybody go over groups that gathers and scatters have. */
void partition_groups(Module *m);

#endif
