/*
 * outline.h: a set of instructions becomes a function and a call of it.
 */
#ifndef TITAN_OUTLINE_H
#define TITAN_OUTLINE_H

#include "../ir/ir.h"

typedef struct Outline {
    const bool *in;     /* by value: moves into the function */
    const bool *copied; /* by value: is made in the function too */
    Str name, kind;
    Fn *(*finish)(Module *m, const Fn *fn); /* of the function, or NULL */
} Outline;

/* FN with a call in the place of the set, which no path leaves and enters
 * again.  The function takes what the set reads and gives what others read of
 * it, in the order of FN; one that the module has already is called again. */
Fn *outline(Module *m, const Fn *fn, const Outline *o);
/* Adds a function, or gives one that does the same, which the module has. */
FnRef fn_add_once(Module *m, Fn *fn);

#endif
