/*
 * tile.h: regions that one kernel of a GPU runs, row by row.
 *
 * Attention and its backward are of one form: *dots* of rows and columns give
 * *pairs* (a score for each row and column), and *sweeps* over the columns
 * reduce pairs to a value per row, or contract them with a *side* (a value
 * per column) to a vector per row.  Whatever else there is are maps.
 *
 *     own     axes of a row:     batch, kv, rep, seq   (of the derivative of
 *                                keys and values: batch, kv, ctx)
 *     swept   axes of a column:  ctx                   (seq, rep)
 *
 * A region all of whose sums go one way fits.  One that has sums both ways is
 * cut in two by tile_cut: the second takes what it needs of the first's rows.
 * Where nothing goes from one way to the other, contractions over the rows can
 * also *cross* the sweep: each is a vector per column to which one block of
 * rows after another adds its part.  Such a region has one result more, a
 * constant 0 per column, in whose memory the blocks count whose turn it is.
 */
#ifndef TITAN_TILE_H
#define TITAN_TILE_H

typedef enum TileRole {
    TILE_side, /* made of parameters by maps and moves */
    TILE_dot,  /* an einsum of two sides */
    TILE_pair, /* a map with own and swept axes */
    TILE_row,  /* a value per row: a sweep, or a map of such */
    TILE_wide, /* a vector per row: a sweep, or a map of such */
    TILE_cross /* a vector per column: a contraction over the rows */
} TileRole;

/* Sweeps come in turns: a value of turn n reads sweeps of turns below n. */
typedef struct TileFit {
    const Axis *own, *swept;
    uint32_t nown, nswept, turns;
    const TileRole *role; /* per value */
    const bool *sweep;    /* per value: a reduction over the columns */
    const uint32_t *turn; /* per value: the sweeps on the way to it */
    bool crosses;         /* it has such contractions, */
    Axis cross;           /* over this axis */
    uint32_t turns_at;    /* the result that is 0 */
} TileFit;

/* False: FN is not of this form. */
bool tile_fit(const Module *m, const Fn *fn, TileFit *out, Arena *a);

/* A warp holds the vector of a row, each of its 32 threads this many
 * neighbours; 0: it cannot hold one of n. */
int64_t tile_lanes(int64_t n);

/* FN as one function that fits, or two that are called in order.  Each takes
 * parameters of FN and values of the one before it.  What is made of
 * parameters alone and would be made again for every pair is made before.
 * What crosses is not rounded: its result has the dtype of its sums, and what
 * is made of it is made after. */
typedef struct TilePart {
    Fn *fn;            /* not yet in the module */
    const Value *args; /* values of the region, per parameter */
    const Value *made; /* values of the region, per result; or NO_VALUE */
} TilePart;

typedef struct TileCut {
    const bool *before, *after; /* per value of FN */
    TilePart parts[2];
    uint32_t nparts;
    bool crosses;      /* one part does what two would */
    const char *apart; /* two parts: why not one; NULL: nobody asked */
} TileCut;

/* one: sums both ways may be one part, where types say that tensor cores can
 * run it.  False: no such cut, or a vector of a row that no warp can hold. */
bool tile_cut(Module *m, const Fn *fn, bool one, TileCut *out, Arena *a);

#endif
