/*
 * same.h: whether two values of a function are the same, though made twice.
 */
#ifndef TITAN_SAME_H
#define TITAN_SAME_H

#include "../ir/ir.h"

/* Equal, or made in the same way from equal values; to a depth, for a value
 * may be reached on many ways. */
bool same_value(const Fn *fn, Value a, Value b, unsigned depth);

#endif
