/*
 * evaluate.h: running functions of a module in the reference interpreter, and
 * checking their derivatives.
 */
#ifndef TITAN_TOOLS_EVALUATE_H
#define TITAN_TOOLS_EVALUATE_H

#include "../passes/pass.h"

typedef struct EvaluateOpts {
    const char *fn;   /* the function to run; NULL or "": all of them */
    const char *args; /* "x=1,2,3;y=4": elements, the last axis fastest */
    uint64_t seed;    /* of the arguments that are not given */
    bool round;       /* round values to their dtypes */
} EvaluateOpts;

/* Prints each result as `%name = [1, 2, 3]`.  False: an error was reported. */
bool evaluate_print(Module *m, const EvaluateOpts *o, Buf *out);

/* Compares the derivatives that each `grad` of the module gives with
 * difference quotients, and those that the pass autodiff makes with the
 * interpreter's. */
bool evaluate_grads(Module *m, uint64_t seed, Buf *out);

#endif
