/*
 * classes.h: what is known of conditions over a tile of pairs (classes.c).
 */
#ifndef TITAN_CLASSES_H
#define TITAN_CLASSES_H

#include "emit.h"
#include "tensor.h"

/* A tile: the numbers of the item and of the step (i64, constants or not);
 * rows and columns run over all of their loops. */
typedef struct Tile3 {
    const Site *s;
    const Kir *k;
    LV item, step;
    const LV *lo, *hi; /* per vector: its range in the tile, i64, or NULL */
} Tile3;

/* i1: known to hold everywhere, known to hold nowhere. */
typedef struct Verdict {
    LV yes, no;
} Verdict;

Verdict classes_verdict(const Tile3 *t, Node condition);
void classes_of_step(const Tile3 *t, const TensorTile *tensor, LV *empty,
                     LV *full);

#endif
