/*
 * outer.h: the axes that are outermost in memory.
 */
#ifndef TITAN_OUTER_H
#define TITAN_OUTER_H

#include "../ir/ir.h"

typedef struct OuterAxes {
    Axis *at;
    uint32_t n, repeats; /* the first ones are of repeats */
} OuterAxes;

/* The axes of the module's repeats, but for those over tiles: one turn's part
 * of a stacked value is to lie in one piece.  Then those that count devices. */
OuterAxes outer_axes(const Module *m, Arena *a);
bool outer_has(const OuterAxes *x, Axis a);

/* The body of a repeat over tiles, which the cutting of a region makes: of
 * kind lane (turns run side by side, each with scratch of its own) or turn. */
bool fn_is_tile(const Module *m, const Fn *fn);

#endif
