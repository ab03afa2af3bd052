/*
 * matmul.h: matrix products as generated kernels, for sm_90a.
 *
 * A kernel makes a group of kind matmul or product: one or two einsums with one
 * first operand, and maps of their results with values that run along.
 * matmul_plan says whether it can with a tile, and lays out shared memory and
 * tensor maps; matmul_emit makes the kernel.  The rules: 16-bit operands of one
 * dtype, f32 sums, and what the copy engine asks for: addresses and strides of
 * 16 bytes, and no more dimensions than it has.  Sizes may be anything.
 */
#ifndef TITAN_MATMUL_H
#define TITAN_MATMUL_H

#include "sm90.h"

/* How the product is cut.  A block has `groups` consumer warpgroups beside the
 * producer's.  Together they make one tile of the result, or, in turns, each
 * makes one of its own, so that the end of one lies under the sums of the next.
 */
typedef struct MatmulTile {
    const char *name;
    uint32_t m, n; /* of the result; n of two products together */
    uint32_t groups;
    bool turns;
    uint32_t stages; /* of K in shared memory, at most */
    uint32_t ahead;  /* chunks of a warp's results in shared memory, at most */
    uint32_t raster; /* tiles of m that are walked before the next of n */
} MatmulTile;

/* The tiles of tiles.def, in its order. */
uint32_t matmul_tiles(const MatmulTile **out);
const MatmulTile *matmul_tile_find(const char *name); /* NULL: none */

enum {
    MATMUL_K = 64,      /* of a stage */
    MATMUL_ROWS = 16,   /* of a warp's slot */
    MATMUL_SLOT = 2048, /* bytes */
    MATMUL_PRODUCTS = 2,
    MATMUL_VALUES = 8,
    MATMUL_VIEWS = 1 + MATMUL_PRODUCTS + MATMUL_VALUES
};

/* A view for the copy engine: two dimensions of the matrix, then those batches
 * in which it moves. */
typedef struct MatmulView {
    TitanMap map;
    uint32_t batch[SM90_DIMS]; /* of dimension 2 .. */
    bool across;               /* A, B: M- or N-major, not along K */
} MatmulView;

/* A value that runs along with the result, read or written. */
typedef struct MatmulValue {
    uint32_t arg;
    Value value; /* of the group: the parameter, or what the result is */
    DType dtype;
    GemmPlace at;
    bool written;
    int32_t view;  /* -1: element by element (read alone) */
    uint32_t slot; /* of a chunk's */
} MatmulValue;

typedef struct Matmul {
    Module *m;
    const Fn *group;
    Gemm g; /* the rows of D are dense: d_col is 1 */
    MatmulTile t;
    uint32_t nargs, threads, products;
    MatmulView view[MATMUL_VIEWS]; /* A, B of each product, values */
    uint32_t nviews;
    MatmulValue value[MATMUL_VALUES];
    uint32_t nvalues;
    uint32_t group_m; /* rows of the result of a warpgroup */
    uint32_t group_n; /* columns of one product */
    uint32_t chunk;   /* columns of a slot */
    uint32_t chunks;  /* of a warpgroup's tile */
    uint32_t slots;   /* of a chunk */
    uint32_t fetched; /* bytes that the copy engine brings for a chunk */
    uint32_t a_bytes, b_bytes, slots_at, bars_at, shared;
    int64_t tiles_m, tiles_n, tiles, steps;
} Matmul;

/* ARGS are a launch's operands: the group's parameters, then its results.
 * False: not with this tile. */
bool matmul_plan(Module *m, const Fn *group, const KernelArg *args,
                 const MatmulTile *t, Matmul *out);
/* The plan for a launch as `maker` has it (CodegenOpts).  False: the library
 * makes it. */
bool matmul_choose(const char *maker, Module *m, const Fn *group,
                   const KernelArg *args, Matmul *out);
/* What the kernel is a function of. */
void matmul_print(const Matmul *p, Buf *out);
uint32_t matmul_blocks(const Matmul *p);
LV matmul_emit(LLVMModuleRef module, const char *name, const Matmul *p);

/* Number of the product whose sums an einsum of the group is. */
uint32_t matmul_product(const Matmul *p, const Inst *einsum);

/* ---------------------------------- values on fragments (matmul_values.c) --
 */

/* Eight elements of a thread in 16 columns: pairs of neighbours at rows r and
 * r + 8 of column c, then of column c + 8. */
enum { MATMUL_UNIT = 8 };

/* Where a unit's elements are asked for. */
typedef struct MatmulPoint MatmulPoint;
struct MatmulPoint {
    /* f32 sums of a product */
    const LV *(*sums)(const MatmulPoint *at, uint32_t product);
    /* a vector of a value that is read */
    LV (*read)(const MatmulPoint *at, const MatmulValue *v);
    const void *context;
};

/* The results of a group at a point, vectors of MATMUL_UNIT as they are in
 * registers, in the order of the group's results. */
void matmul_values(const Site *s, const Matmul *p, const MatmulPoint *at,
                   LV *results);

#endif
