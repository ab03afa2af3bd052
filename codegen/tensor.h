/*
 * tensor.h: a tile region (ir/tile.h) laid out for Hopper's tensor cores.
 *
 * A block of threads takes `lines` rows, 64 for each of its consumer
 * warpgroups, and sweeps the columns in blocks of `columns`.  A *panel* is a
 * side's tile in shared memory: that of the own rows is loaded once, those of
 * the columns go round in slots.
 *
 *     pass      one sweep over the blocks
 *         dots      accumulators of rows x columns: own panel times swept
 *         nests     one for each turn of the pass, over the accumulators'
 *                   elements (kir.h: rows, columns)
 *         sweeps    what a nest leaves: a value per row, or elements that are
 *                   rounded and multiplied by a panel into a wide accumulator
 *
 * A contraction over the rows crosses: the pairs of a step, in shared memory,
 * times an own panel are sums per column, which the copy engine adds to memory,
 * block of threads by block of threads in one order (gpu_cross.c).
 *
 * A pass has two turns where the second depends on the maxima of the first
 * through exp(x - maximum) alone: it then runs with the maxima so far, and
 * its sums are rescaled when they grow.  A pass of several dots may begin with
 * a nest of what one of them gives, which is kept for the nest that needs all;
 * and the nest of the maxima keeps scores of which a mask has taken some.
 */
#ifndef TITAN_TENSOR_H
#define TITAN_TENSOR_H

#include "kir.h"

enum { GROUP_LINES = 64, PANEL_BYTES = 128, PANEL_WIDTH = 64 };

/* The inner dimension of its memory is cut into boxes of 64. */
typedef struct Panel {
    uint32_t arg, map;
    bool swept;
    bool across; /* lines, not terms, are the inner dimension */
    DType dtype;
    int64_t lines, terms; /* lines of one tile; terms of the axis */
    uint32_t boxes, box_bytes;
    uint32_t offset; /* in shared memory */
    uint32_t rank;
    Ix at[TITAN_MAP_DIMS]; /* of a tile's first element */
} Panel;

typedef struct TensorDot {
    uint32_t value, own, swept; /* panels */
    uint32_t piece;
} TensorDot;

typedef struct TensorSweep {
    uint32_t value, turn;
    AccKind kind;
    bool wide;
    uint32_t piece;
    LoopId columns; /* the loop that makes it, and which of its accumulators */
    uint32_t acc;
    uint32_t panel, terms; /* wide */
    int32_t by;            /* the maximum that rescales it; -1: none */
    double scale;          /* maximum: what it is multiplied by */
    uint32_t neutral;      /* conditions each of which, false, leaves nothing */
} TensorSweep;

/* Integers per row, or per column, that conditions read.  Nests that read the
 * same ones do so by loads of their own: `as` is the first of these. */
typedef struct TensorVector {
    Node load;
    LoopId loop;
    bool columns;
    uint32_t as;
    uint32_t offset; /* columns: least and most of each step, shared memory */
} TensorVector;

/* Values per column that nests load: a slot's worth of one of them. */
typedef struct TensorStaged {
    Node load;
    LoopId columns;
    uint32_t as;            /* the first that is the same in every step */
    uint32_t offset, bytes; /* in shared memory; of a slot */
} TensorStaged;

/* Pairs that the first nest of a pass keeps for the others: what one dot alone
 * gives, made while the other dots run, or scores as the maximum reads them. */
typedef struct TensorKept {
    uint32_t value, dot, piece;
    LoopId columns;
    uint32_t acc;
    double scale; /* what the piece is multiplied by */
} TensorKept;

/* Sums over the rows.  `turns` is a word per tile of columns: the block that
 * added to it last, counted from 1; one more word counts the blocks. */
typedef struct TensorCross {
    uint32_t value, sweep; /* whose pairs it contracts */
    uint32_t panel, terms;
    uint32_t sums, turns; /* arguments */
    bool by_terms;        /* warpgroups share the terms, not the columns */
    Ix turn, ticket;      /* the places of the step's word, of the count */
    Panel to;             /* where a tile of sums goes */
    uint32_t pairs_offset, box_bytes; /* in shared memory */
    uint32_t pairs, stages;           /* how many: 1 or 2 */
    uint32_t bar_offset;
} TensorCross;

enum { CROSS_MOST = 2, CROSS_BARRIERS = 4 * CROSS_MOST };

enum {
    MOST_NESTS = 3,
    MOST_CONDITIONS = 16,
    MOST_VECTORS = 16, /* the ranges of others are not known */
    MOST_SWEEPS = 32
};
typedef struct TensorPass {
    LoopId blocks;
    LoopId nests[MOST_NESTS];
    uint32_t nnests;
    uint32_t turn, nturns;
    int32_t kept; /* what the first nest keeps for the next; -1: nothing */
} TensorPass;

struct TensorTile {
    uint32_t groups;    /* of consumers */
    int64_t lines;      /* rows of a block of threads */
    int64_t columns;    /* of a step */
    int64_t nblocks;    /* steps of a whole sweep */
    int64_t ntiles;     /* of rows */
    int64_t beside;     /* items with one tile of rows whose numbers follow */
    uint32_t slots;     /* of each swept panel */
    bool lags;          /* wide products run under the next block's nests */
    bool takes_turns;   /* warpgroups issue their products in turn */
    uint32_t registers; /* of a consumer's thread */
    LoopId items;
    VEC(Panel) panels;
    VEC(TensorDot) dots;
    VEC(TensorSweep) sweeps;
    VEC(TensorPass) passes;
    VEC(TensorKept) kept;
    VEC(TitanMap) maps;
    VEC(Node) conditions; /* of the pairs (classes.c) */
    VEC(TensorVector) vectors;
    VEC(TensorStaged) staged;
    TensorCross *cross; /* or NULL */
    bool listed;        /* steps are listed by class first */
    uint32_t npieces;
    uint32_t list_offset, bar_offset, shared; /* bytes of shared memory */
};

/* tensor_print.c: everything that tells kernels apart. */
void tensor_print(const TensorTile *t, const Kir *k, Buf *out);
/* classes.c: conditions, and which of them decide about which sweep. */
void classes_find(Kir *k, TensorTile *t);
/* Whether two loads per row, or per column, of two nests give the same in every
 * tile. */
bool loads_alike(const Kir *k, Node x, Node y);
/* gpu_stage.c: values per column that are worth bringing near. */
void stage_find(Kir *k, TensorTile *t);
static inline uint32_t panel_bytes(const Panel *p)
{
    return p->boxes * p->box_bytes;
}
bool sweep_in(const TensorPass *p, const TensorSweep *s);
/* tensor.c: what is behind a piece that a nest has kept; or none. */
Node kept_node(const Kir *k, const TensorTile *t, Node piece);
/* Whether the pass's nests read the dot. */
bool dot_in(const Kir *k, const TensorPass *p, const TensorDot *d);

/* algebra.c: what tiles on tensor cores, and long rows, may do to nodes. */
Node algebra_fast(Kir *k, Node n);
/* n = *scale * the result, *scale > 0. */
Node algebra_strip(Kir *k, Node n, double *scale);

/* online.c: per value, how it depends on those that are maxima: not at all, as
 * a factor exp(-maximum) (the maximum's value plus 1), or otherwise. */
enum { DEPENDS_not = 0, DEPENDS_otherwise = -1 };
struct Lower;
const int32_t *online_find(const struct Lower *l, const bool *maxima);
/* Loops over long rows whose sums can be made in the turns of the loop that
 * makes their maximum say so. */
void online_rows(struct Lower *l);

#endif
