/*
 * repeat.h: what a repeat takes and gives.
 */
#ifndef TITAN_REPEAT_H
#define TITAN_REPEAT_H

#include "../ir/ir.h"

typedef struct Repeat {
    FnRef fn;
    Axis axis;
    int64_t count;
    uint32_t carry, invariant, stacked; /* operands, in this order */
    uint32_t others;                    /* results that are stacked */
    bool has_while, reverse;
} Repeat;
/* Of its attributes. */
Repeat repeat_of(const Module *m, const Inst *in);
/* What COUNT turns of a body give: what is carried, and the rest stacked. */
Type repeat_type(Module *m, const Fn *body, uint32_t carry, Axis axis,
                 int64_t count);

#endif
