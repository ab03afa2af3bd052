/*
 * narrow.h: what the two halves of the pass share: which values have numbers of
 * a narrower dtype (find.c), and the functions that are written by that
 * (narrow.c).
 */
#ifndef TITAN_NARROW_H
#define TITAN_NARROW_H

#include "../pass.h"

/* Of no narrower dtype, or not to be narrow. */
#define WIDE DT_count

/* The places at which a function is the body of a repeat. */
typedef struct Body {
    bool is;        /* and nothing else names it */
    uint32_t carry; /* so many of its results are carried */
    uint32_t alike; /* so many parameters are carried or invariant */
    uint32_t fixed; /* so many a condition reads too */
} Body;

typedef struct Narrow {
    Module *m;
    Body *body;   /* by function */
    uint8_t **to; /* by function, by value: DType, or WIDE */
} Narrow;

/* Finds `body` and `to` of all functions. */
void narrow_find(Narrow *x);

/* The dtype that result J of function F is to have, or WIDE. */
DType narrow_result(const Narrow *x, uint32_t f, uint32_t j);

/* Whether operand I of the instruction is moved into its result. */
bool narrow_moves(const Inst *in, uint32_t i);

/* The body of a map of function F in dtype D, where it casts numbers of D, or
 * chooses between such; else {0}.  WITH: what stands for an operand that it
 * computes with; operands that it chooses are _i in D. */
Expr narrow_body(const Narrow *x, uint32_t f, const Inst *in, DType d,
                 const ExprSubst *with);

#endif
