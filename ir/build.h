/*
 * build.h: what the files behind the door of emit share.
 */
#ifndef TITAN_IR_BUILD_H
#define TITAN_IR_BUILD_H

#include "ir.h"

/* An instruction on its way through the door. */
typedef struct Draft {
    Op op;
    Type type;
    Attr attr;
    const Value *args;
    uint32_t n;
} Draft;

/* A value that stands for the draft; NO_VALUE: there is none. */
Value fold_draft(Builder *b, const Draft *d);
/* Drops unused operands of a map, merges equal ones, takes constants into the
 * body and numbers the rest by first use. */
void tidy_map(Builder *b, Draft *d);

#endif
