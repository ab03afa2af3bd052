/*
 * nest.h: the nest of a loop group, as it is chosen and built.
 */
#ifndef TITAN_NEST_H
#define TITAN_NEST_H

#include "lower.h"

enum { MOST_CUTS = 8 };

typedef struct Nest {
    const TypeAxis *rows, *inner; /* P, outermost first, and R */
    uint32_t nrows, ninner;
    bool ordered;    /* R is in the order of an operand's memory */
    bool across;     /* lanes run over P */
    uint32_t suffix; /* of P, flattened into the lanes */
    int64_t cuts[MOST_CUTS + 2];
    uint32_t ncuts; /* bounds of the segments of the lanes, ends included */
    int64_t turns;  /* rows of a walk; 0: there is none */
    Axis walked;    /* which axis it cuts */
    LoopId walk;
    int64_t each; /* elements of a tally; 0: there is none */
    TypeAxis tallied;
    Map names; /* axes of other results -> those of the first (ir/turned.h) */
} Nest;

/* An axis of a value, in the parameter that it comes from. */
typedef struct Root {
    Value param;
    Axis axis;
} Root;
Root nest_root(const Lower *l, Value v, Axis axis);

/* nest.c: across or inside, the order of the rows, the suffix and the cuts. */
void nest_choose(const Lower *l, Nest *nest, const LowerOpts *o);
/* lower.c: its loops, and all that stands in them. */
void nest_build(Lower *l, const Nest *nest, const LowerOpts *o);

#endif
