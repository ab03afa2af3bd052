/*
 * matmul.h: matrix products as generated kernels, for sm_90a.
 *
 * A kernel makes a group of kind matmul or product: one or two einsums with one
 * first operand, and maps of their results with values that run along.  A map
 * may also be of parts of a result: columns that lie side by side in one tile.
 * Experts are a product whose blocks of rows choose B by ids, and, of a
 * weight's gradient, one whose blocks of terms go to one of several results.
 * Tallies are sums or maxima of neighbouring columns of what a map gives;
 * blocks of columns may also share such a number in further maps. matmul_plan
 * says whether it can with a tile, and lays out shared memory and tensor maps;
 * matmul_emit makes the kernel.  The rules: 16-bit operands of one dtype, or, of
 * blocks that choose, 8-bit ones that lie along K and whose sums may be short,
 * f32 sums, and what the copy engine asks for: addresses and strides of 16
 * bytes, and no more dimensions than it has.  Sizes may be anything.
 */
#ifndef TITAN_MATMUL_H
#define TITAN_MATMUL_H

#include "sm90.h"

/* Two blocks on neighbouring processors make neighbouring tiles, and fetch what
 * both need once: each brings half of it to both. */
typedef enum MatmulPair {
    MATMUL_ALONE,
    MATMUL_DOWN,  /* neighbours along m share B */
    MATMUL_ACROSS /* neighbours along n share A */
} MatmulPair;

/* How the product is cut.  A block has `groups` consumer warpgroups beside the
 * producer's.  Together they make one tile of the result, or, in turns, each
 * makes one of its own, so that the end of one lies under the sums of the next.
 */
typedef struct MatmulTile {
    char name[32]; /* as in tiles.def */
    uint32_t m, n; /* of the result; n of two products together */
    uint32_t groups;
    bool turns;
    MatmulPair pair;
    uint32_t stages; /* of K in shared memory, at most */
    uint32_t ahead;  /* chunks of a warp's results in shared memory, at most */
    uint32_t chunk;  /* columns of one, at most */
    uint32_t raster; /* tiles (pairs) of m that are walked before the next of n
                      */
} MatmulTile;

/* What large products of a tile reach (tiles.def). */
typedef struct MatmulRate {
    const char *tile;
    double plain, writes, reads; /* TFLOP/s; ratios count alone */
} MatmulRate;
/* Those that are tried without being asked for, in their order. */
uint32_t matmul_rates(const MatmulRate **out);

/* A tile by its name (matmul_tile.c); false: there is none of that name. */
bool matmul_tile(const char *name, MatmulTile *out);

enum {
    MATMUL_K = 64,      /* of a stage of 16-bit numbers */
    MATMUL_K_STEPS = 4, /* of the instruction, in one */
    MATMUL_ROWS = 16,   /* of a warp's slot */
    MATMUL_PRODUCTS = 2,
    MATMUL_VALUES = 8,
    MATMUL_TALLIES = 2,
    MATMUL_UNITS = 16, /* of a row of a tile */
    MATMUL_VIEWS = 1 + MATMUL_PRODUCTS + MATMUL_VALUES
};

/* Shared memory has swizzled rows, of a line of M or N or of an index of K; a
 * box across K and an instruction have so many lines of M or N. */
enum {
    MATMUL_ROW_BYTES = 128,
    MATMUL_LINES = 64,
    MATMUL_BOX_BYTES = MATMUL_LINES * MATMUL_ROW_BYTES
};

/* A view for the copy engine: two dimensions of the matrix, then those batches
 * in which it moves; MATMUL_CHOSEN is the axis along which blocks choose,
 * MATMUL_PIECE that of pieces of K. */
enum { MATMUL_CHOSEN = MOST_GEMM_BATCHES, MATMUL_PIECE };
typedef struct MatmulView {
    TitanMap map;
    uint32_t batch[SM90_DIMS]; /* of dimension 2 .. */
    bool across;               /* A, B: M- or N-major, not along K */
    uint32_t parts;            /* A, B: blocks that bring it together */
} MatmulView;

/* A value that runs along with the result, read or written. */
typedef struct MatmulValue {
    uint32_t arg;
    Value value; /* of the group: the parameter, or what the result is */
    DType dtype;
    GemmPlace at;
    bool written;
    bool over;     /* written where a parameter was */
    bool passes;   /* has no place in the cache */
    bool parted;   /* runs along the columns of a part */
    int64_t part;  /* its stride there */
    bool pairs;    /* read element by element: two neighbours at a time */
    int32_t view;  /* -1: element by element (read alone) */
    uint32_t slot; /* of a chunk's */
} MatmulValue;

/* A tally (ir/column.h): f32, one for each row and so many columns of it. */
typedef struct MatmulTally {
    uint32_t arg, columns;
    Value of;
    bool max;     /* else a sum */
    GemmPlace at; /* strides from row to row, and from tally to tally */
} MatmulTally;

/* Blocks of rows, or of terms, with an id each. */
typedef struct MatmulBlocks {
    bool chosen;    /* of rows, which choose B */
    bool scattered; /* of terms, which go to one of several results */
    uint32_t ids;   /* the argument */
    Axis axis;
    int64_t n, each, of; /* blocks, rows of one, ids that count */
} MatmulBlocks;

/* A scale for 128 terms of an operand, and of each index of its side, or of 128
 * of these: strides from index (or from 128) to the next, from stage to stage,
 * and along what blocks choose. */
typedef struct MatmulScale {
    uint32_t arg;
    DType dtype;        /* f32 or e8m0 */
    bool square, pairs; /* two neighbours of a side are loaded at a time */
    int64_t side, step, chosen;
} MatmulScale;

typedef struct Matmul {
    Module *m;
    const Fn *group;
    Gemm g; /* the rows of D are dense: d_col is 1 */
    MatmulTile t;
    uint32_t nargs, threads, products;
    bool promotes; /* the sums of a stage are added to others of f32 */
    bool scales;   /* and multiplied by the scales of A and of B first */
    MatmulScale scale[2];
    MatmulBlocks blocked;
    MatmulView view[MATMUL_VIEWS]; /* A, B of each product, values */
    uint32_t nviews;
    MatmulValue value[MATMUL_VALUES];
    uint32_t nvalues;
    MatmulTally tally[MATMUL_TALLIES];
    uint32_t ntallies;
    uint32_t group_m; /* rows of the result of a warpgroup */
    uint32_t group_n; /* columns of one product */
    uint32_t whole;   /* columns that are cut into parts; 0: there are none */
    uint32_t part;    /* columns of a part, or of a chunk */
    bool shares;      /* parts are units, and reductions go over all of them */
    Axis within;      /* the axis of those */
    uint32_t chunk;   /* columns of a slot */
    uint32_t joint;   /* chunks that are made together */
    uint32_t chunks;  /* of a warpgroup's tile */
    uint32_t slots;   /* of a chunk */
    uint32_t slot;    /* bytes of one */
    uint32_t fetched; /* bytes that the copy engine brings for a chunk */
    uint32_t a_bytes, b_bytes, slots_at, bars_at, shared;
    uint32_t blocks;                        /* that work together */
    uint32_t processors;                    /* on which it may run */
    int64_t tiles_m, tiles_n, tiles, steps; /* tiles: of these blocks */
} Matmul;

/* Rows of a stage have as many bytes whatever the numbers are. */
static inline uint32_t matmul_k(const Matmul *p)
{
    return 2 * MATMUL_K / dtype_bytes(p->g.a);
}

static inline bool matmul_is_blocked(const Matmul *p)
{
    return p->blocked.chosen || p->blocked.scattered;
}

/* ARGS are a launch's operands: the group's parameters, then its results.
 * False: not with this tile. */
bool matmul_plan(Module *m, const Fn *group, const KernelArg *args,
                 const MatmulTile *t, Matmul *out);

/* What makes a product, and how one knows. */
typedef struct MatmulChoice {
    char maker[32]; /* a tile's name, or library */
    bool exact;     /* the table has this very product */
} MatmulChoice;
/* A product's name in tables of choices (matmul_table.c). */
void matmul_key(const Matmul *p, Buf *out);
bool matmul_table_find(const char *table, const char *key, MatmulChoice *out);

/* The plan for a launch as the options have it.  False: the library makes it.
 * Says which in a remark. */
bool matmul_choose(const CodegenOpts *o, Module *m, const Fn *group,
                   const KernelArg *args, Matmul *out);
/* What the kernel is a function of. */
void matmul_print(const Matmul *p, Buf *out);
uint32_t matmul_blocks(const Matmul *p);
LV matmul_emit(LLVMModuleRef module, const char *name, const Matmul *p);

/* The scales of 128 terms that operands have (matmul_scale.c).  False: not with
 * this tile.  TURNED: A is the group's second operand. */
bool matmul_find_scales(Matmul *p, const KernelArg *args, bool turned);
bool matmul_is_scale(const Matmul *p, uint32_t arg);
/* That a thread holds of them. */
uint32_t matmul_scale_registers(const Matmul *p);
void matmul_print_scales(const Matmul *p, Buf *out);

/* Number of the product whose sums an einsum of the group is. */
uint32_t matmul_product(const Matmul *p, const Inst *einsum);

/* --------------------------------- values on fragments (matmul_values.c) -- */

/* Eight elements of a thread in 16 columns: pairs of neighbours at rows r and
 * r + 8 of column c, then of column c + 8. */
enum { MATMUL_UNIT = 8 };

/* Where elements are asked for: units that begin at COLUMNS, which are the same
 * place of each part, in order. */
typedef struct MatmulPoint MatmulPoint;
struct MatmulPoint {
    const uint32_t *columns;
    uint32_t n;
    /* f32 sums of a product */
    const LV *(*sums)(const MatmulPoint *at, uint32_t product, uint32_t column);
    /* a vector of a value that is read */
    LV (*read)(const MatmulPoint *at, const MatmulValue *v, uint32_t column);
    const void *context;
};

/* What a group writes at each column, then what its tallies are of: vectors of
 * MATMUL_UNIT as they are in registers, those of a column in the order of the
 * plan. */
void matmul_values(const Site *s, const Matmul *p, const MatmulPoint *at,
                   LV *results);

#endif
