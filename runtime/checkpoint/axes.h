/*
 * axes.h: in which order the axes of a state lie in a file.
 *
 * A state stands in a file as it lies in memory, and how that is depends on the
 * plan: of a tensor that is split, the split axis may be the outermost.  The
 * manifest says the order, and who loads turns what lies otherwise.
 */
#ifndef TITAN_AXES_H
#define TITAN_AXES_H

#include <jansson.h>

#include "../safetensors.h"
#include "../titan.h"

enum { AXES_MOST = 32 };

/* An axis of the program is axis `from` of the file. */
typedef struct AxesTurn {
    uint32_t n, from[AXES_MOST];
} AxesTurn;

/* "layer kv embed" */
json_t *axes_text(const TitanImage *im, const TitanSlot *slot);

/* False: they lie as in the program, or ORDER (NULL: not said) has others. */
bool axes_find(const TitanImage *im, const TitanSlot *slot, const json_t *order,
               AxesTurn *out);
/* All elements of FILE, whose axes ascend in the program's order at OUT. */
void axes_turn(const AxesTurn *t, const StTensor *file, const char *data,
               char *out);

#endif
