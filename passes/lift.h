/*
 * lift.h: what repeats make of weights alone is made in front of them.
 */
#ifndef TITAN_LIFT_H
#define TITAN_LIFT_H

#include "weights.h"

enum { MOST_LIFTED_ARGS = 8 };

typedef struct Lift {
    Module *m;
    const Weights *weights;
    /* Whether value V of function number BODY, which is made of weights alone,
     * is wanted outside. */
    bool (*wanted)(void *user, uint32_t body, Value v);
    /* Whether it takes so little room that it may be made in front of the first
     * repeat, where all have it in common; NULL: nothing does. */
    bool (*small)(void *user, uint32_t body, Value v);
    void *user;
} Lift;

/* Moves what is wanted out of the bodies of the repeats of function number F:
 * it is made with the repeat's axis, and the body takes a row of it.  False:
 * there is none.  What the body takes without need then, a canonicalise
 * removes. */
bool lift_out(const Lift *l, uint32_t f);

#endif
