/*
 * tensor.h: a warp's open products, for tensor.c and product.c.
 */
#ifndef TITAN_TESTS_PTX_TENSOR_H
#define TITAN_TESTS_PTX_TENSOR_H

#include "tests/ptx/run.h"

enum {
    PRODUCT_ROWS = 16, /* of a warp */
    PRODUCT_MOST_N = 256,
    PRODUCT_MOST_K = 32
};

/* A wgmma, as a warp has issued it. */
typedef struct Product {
    const PtxInst *inst;
    uint64_t a, b; /* descriptors; A's without registers */
    bool adds;     /* to what D holds */
    bool a_across, b_across;
    bool negative;   /* one of the factors is negated */
    uint32_t number; /* of the warp's, from 1 on */
    uint32_t group;  /* 0: not committed */
} Product;

/* An operand in shared memory, as descriptors say it: bits 0 .. 13 where it
 * starts, 16 .. 29 leading and 32 .. 45 stride byte offset, in units of 16
 * bytes. */
typedef struct PtxTile {
    uint32_t start, lead, stride;
    uint32_t swizzle; /* bytes, 0: none */
} PtxTile;
enum { PTX_TILE_CHUNK = 16 /* bytes */ };
PtxTile ptx_tile(uint64_t bits, unsigned swizzle);
/* Where chunk K of row R along K is; chunk R of index K across. */
uint32_t ptx_chunk_at(const PtxTile *o, bool across, uint32_t r, uint32_t k);
/* A chunk's numbers, of bf16, f16, e4m3 or e5m2. */
void ptx_widen(PtxType t, const unsigned char *from, float *to);

/* Asks race.h of what P reads of shared memory; false: WHY. */
bool ptx_product_race(PtxWarp *w, const Product *p, char why[PTX_RACE]);
/* D of product P, for W's 16 rows; false after a fault. */
bool ptx_product(PtxWarp *w, const Product *p);
/* matrix.c: ldmatrix, stmatrix. */
PtxStep ptx_do_matrix(PtxWarp *w, const PtxInst *i, uint32_t mask);

#endif
