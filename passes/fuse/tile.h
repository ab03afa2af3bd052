/*
 * tile.h: the parts of cutting a region into tiles.
 *
 *     cut     which axes, and how large the tiles
 *     tile    the ops of the region on one tile
 *     nest    the repeats around them
 */
#ifndef TITAN_FUSE_TILE_H
#define TITAN_FUSE_TILE_H

#include "../region.h"
#include "fuse.h"

enum { MOST_LEVELS = 6 };

typedef struct Level {
    Axis axis;
    int64_t size, tile;
    int64_t first;    /* the number of its first turn */
    Axis outer, rows; /* of the split; inside, the rows have the axis's name */
    const ResultUse *results;
    bool counted; /* some map asks for the index along the axis */
} Level;

typedef struct Tile {
    Fuse *fx;
    const Fn *region;
    RegionAxes axes;
    Level levels[MOST_LEVELS];
    uint32_t nlevels;
    int64_t budget; /* bytes of the largest value of a tile */
    bool parallel;  /* turns of the outermost level run in lanes */
    bool *whole;    /* by value: the same in every tile */
    bool *handed;   /* by value: a parameter, or whole and read by the tiles */
    bool *sums;     /* by result: a sum over some level */
    Type *wide;     /* by result: its type while it is summed */
} Tile;

/* What a level of the nest hands to the next one. */
typedef struct Scope {
    Builder *b;
    Value *values; /* of the region: those handed in, cut so far */
    Value *sums;   /* by result: what was summed so far; or NO_VALUE */
    Value *turns;  /* by level so far */
} Scope;

/* Fills the levels and `parallel`; false: no axis can be cut, or the region is
 * small as it is. */
bool tile_choose(Tile *t);
/* T as it is inside a tile. */
Type tile_type(const Tile *t, Type x);
/* The region's results for one tile; sums with what is in the scope. */
void tile_body(const Tile *t, const Scope *s, Value *results);

#endif
