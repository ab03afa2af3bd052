/*
 * program.h: what stands for one function when meanings are compared: itself,
 * or the rank functions of a pipeline, which together are the entry that they
 * were.
 */
#ifndef TITAN_PASSES_PROGRAM_H
#define TITAN_PASSES_PROGRAM_H

#include "pass.h"

typedef struct Program {
    Module *m;
    const char *name;
    const Fn *const *fns; /* by rank */
    uint32_t n;
    const Port *params, *results; /* of the whole: slots in parts are one */
    uint32_t nparams, nresults;
    bool entry;
} Program;

/* The program of that name; false: there is none. */
bool program_find(Module *m, const char *name, Arena *a, Program *out);
/* That of which a function is the first; false: it is a further rank. */
bool program_of(Module *m, const Fn *fn, Arena *a, Program *out);
/* Random arguments, whole tensors, one per parameter. */
Tensor *program_inputs(const Program *p, uint64_t seed, Arena *a);
/* Whole results for whole arguments, in whatever view the functions are; NULL:
 * an error was reported. */
Tensor *program_run(const Program *p, const Tensor *args, const InterpOpts *o,
                    Arena *a);
uint64_t program_cost(const Program *p);
/* Its meaning can be compared: the kernel view has one for entries alone. */
bool program_means(const Program *p);

#endif
