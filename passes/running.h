/*
 * running.h: how many come before.
 */
#ifndef TITAN_RUNNING_H
#define TITAN_RUNNING_H

#include "../ir/ir.h"

/* Of ONES, i32 along AXIS and others, the sum of those before each along AXIS.
 * A long axis is cut along PARTS, an axis that ONES do not have. */
Value running_count(Builder *b, Value ones, Axis axis, Axis parts);

#endif
