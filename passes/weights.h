/*
 * weights.h: what functions are handed of the parameters of the model.
 */
#ifndef TITAN_WEIGHTS_H
#define TITAN_WEIGHTS_H

#include "pass.h"

/* By function, by parameter: the value of the entry that it is, or a row of
 * which it is in each turn: a parameter of the model, or names and places of
 * parameters alone; NO_VALUE: neither, or the function is run in two places. */
typedef struct Weights {
    Value **origin;
    int64_t **times;  /* how often the function sees each index of it */
    const Fn **entry; /* by function: in which that value is */
} Weights;

Weights weights_find(const Module *m, Arena *a);

/* The parameter of the model that parameter I of function F is; or NULL. */
Slot *weight_slot(const Module *m, const Weights *w, uint32_t f, uint32_t i);

#endif
