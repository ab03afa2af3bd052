/*
 * late.h: scales come after contractions.
 */
#ifndef TITAN_LATE_H
#define TITAN_LATE_H

#include "../ir/ir.h"

/* FN with einsum(x / l, v) in the form einsum(x, v) / l, and likewise for
 * products, wherever l lacks the summed axes.  Rounds in another order. */
Fn *late_scales(Module *m, const Fn *fn);

#endif
