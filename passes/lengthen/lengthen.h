/*
 * lengthen.h: the parts of lengthen.
 *
 *     find      sums of products that can be one product
 *     write     a function with these
 */
#ifndef TITAN_LENGTHEN_H
#define TITAN_LENGTHEN_H

#include "../weights.h"

enum { MOST_TERMS = 8, MOST_TERM_AXES = 12 };

/* Parameters of the model that are read as one, in the order of their slots. */
typedef struct Joined {
    uint32_t n;
    Slot *slot[MOST_TERMS];
} Joined;

typedef struct Lengthen {
    Module *m;
    const PassCtx *cx;
    Arena *a; /* scratch */
    Weights weights;
    bool
        apart; /* frozen parameters will have another dtype than trained ones */
    VEC(Joined) joined;
} Lengthen;

/* Axes in the order of the module. */
typedef struct AxisList {
    uint32_t n;
    TypeAxis at[MOST_TERM_AXES];
} AxisList;

/* An einsum without an axis of both operands that stays. */
typedef struct Term {
    Value value;
    Value operand[2];
    AxisList own[2]; /* axes of the operand alone */
    AxisList sum;
} Term;

/* A sum of products, of which some become one; in the order of the weights. */
typedef struct Sum {
    Value root; /* the last addition */
    uint32_t n;
    Term term[MOST_TERMS];
    uint32_t weights; /* which operand of the terms they are */
    Axis axis;        /* along which operands are concatenated */
    uint32_t nrest;   /* what else is added */
    Value rest[MOST_TERMS];
} Sum;

typedef struct Found {
    Sum *at;
    uint32_t n;
    Sum **of;       /* by value: the sum that it is; or NULL */
    bool *absorbed; /* by value: nobody needs it any more */
} Found;

/* The sums of function number F. */
Found lengthen_find(Lengthen *w, uint32_t f);

Fn *lengthen_write(Lengthen *w, const Fn *fn, const Found *found);

#endif
