/*
 * scaled.c: products in tensor memory of numbers with their scales, done.
 *
 * PTX ISA 9.0, 9.7.16: D[128, n] of f32, row r in lane r; A and B along K in
 * shared memory, 32 numbers of 8 bits a row (kind::mxf8f6f4, K = 32).  Each row
 * of A, and of B, has one scale for them (scale_vec::1X), a power of two
 * (ue8m0): row r's is a byte of the word in column r / 32, lane r % 32, which
 * byte the descriptor says.  The ISA wants scales in each quarter of the lanes;
 * which of the four copies a row's product reads is left open: they have to be
 * the same here.
 *
 * Descriptors of products (table "Instruction descriptor format for
 * .kind::mxf8f6f4"): bits 4 .. 5 the byte of B's scales, 7 .. 9 and 10 .. 12
 * the types of A and B, 13 .. 16 negated and turned, 17 .. 22 n / 8, 23 the
 * scales are ue8m0, 27 .. 28 m / 128, 29 .. 30 the byte of A's scales.
 */
#include "tests/ptx/tmem.h"

#include <math.h>
#include <string.h>

enum {
    DEPTH = 32,
    MOST_N = 256,
    CHUNK = PTX_TILE_CHUNK,
    COPIED_ROWS = 32,
    WORDS = CHUNK / 4
};

/* -------------------------------------------------------------- descriptors */

/* Bits 46 .. 48 are 1, 49 .. 51 the base offset, 52 .. 60 0; 61 .. 63 the
 * swizzle. */
static int swizzle_of(uint64_t bits)
{
    static const int swizzles[] = {0, -1, 128, -1, 64, -1, 32, -1};
    return swizzles[bits >> 61];
}

const char *ptx_tmem_refuses_tile(uint64_t bits)
{
    if ((bits >> 46 & 7) != 1) return "has no 1 in bits 46 to 48";
    if (bits >> 49 & 7) return "has a base offset";
    if (bits >> 52 & 0x1ff) return "has bits among 52 to 60";
    if (swizzle_of(bits) < 0) return "has a swizzle that is not known";
    return NULL;
}

uint32_t ptx_tmem_product_n(uint32_t about)
{
    return (about >> 17 & 63) * 8;
}

const char *ptx_tmem_refuses_product(uint32_t about)
{
    const uint32_t unknown = 1u << 31 | 7u << 24 | 15u << 13 | 1u << 6 | 15u;
    uint32_t n = ptx_tmem_product_n(about);
    if (about & unknown) return "has bits that are not known";
    if ((about >> 7 & 7) > 1 || (about >> 10 & 7) > 1)
        return "is of types that are not known";
    if (!(about >> 23 & 1)) return "has scales that are no powers of two";
    if ((about >> 27 & 3) != 1) return "has not 128 rows";
    if (!n || n > MOST_N) return "has a shape that cannot be";
    return NULL;
}

static PtxTile tile_of(uint64_t bits)
{
    return ptx_tile(bits, (unsigned)swizzle_of(bits));
}

/* Chunk K of row R; NULL after a fault. */
static const unsigned char *chunk(PtxBlock *b, const TmemOp *o,
                                  const PtxTile *t, uint32_t r, uint32_t k)
{
    uint32_t at = ptx_chunk_at(t, false, r, k);
    if (at + CHUNK > b->shared_bytes) {
        ptx_fault_late(b, o->line,
                       "reads shared memory at 0x%x that the block has not",
                       at);
        return NULL;
    }
    if (!ptx_race_copy(b, o->line, &o->stamp, b, at, CHUNK, false)) return NULL;
    return b->shared + at;
}

/* ------------------------------------------------------------------- copies */

/* 32x128b.warpx4: 32 rows of four words, to all quarters. */
bool ptx_tmem_copy(PtxBlock *b, const TmemOp *o)
{
    PtxTile t = tile_of(o->a);
    uint32_t word[WORDS];
    for (uint32_t r = 0; r < COPIED_ROWS; r++) {
        const unsigned char *from = chunk(b, o, &t, r, 0);
        if (!from) return false;
        memcpy(word, from, CHUNK);
        for (uint32_t lane = r; lane < TMEM_LANES; lane += TMEM_QUARTER)
            memcpy(&b->tmem->cell[lane][o->to.at], word, CHUNK);
    }
    return true;
}

/* ----------------------------------------------------------------- products */

typedef struct Operands {
    double a[DEPTH][TMEM_LANES], b[DEPTH][MOST_N];
    double scale_a[TMEM_LANES], scale_b[MOST_N];
} Operands;

static bool fetch(PtxBlock *b, const TmemOp *o, uint64_t bits, unsigned type,
                  uint32_t rows, uint32_t stride, double *to)
{
    PtxTile t = tile_of(bits);
    float got[CHUNK];
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t k = 0; k < DEPTH / CHUNK; k++) {
            const unsigned char *from = chunk(b, o, &t, r, k);
            if (!from) return false;
            ptx_widen(type ? PT_e5m2 : PT_e4m3, from, got);
            for (uint32_t j = 0; j < CHUNK; j++)
                to[(k * CHUNK + j) * stride + r] = (double)got[j];
        }
    return true;
}

static bool fetch_scales(PtxBlock *b, const TmemOp *o, const TmemSpan *s,
                         unsigned byte, uint32_t rows, double *to)
{
    for (uint32_t r = 0; r < rows; r++) {
        uint32_t column = s->at + r / TMEM_QUARTER, lane = r % TMEM_QUARTER;
        uint32_t x = b->tmem->cell[lane][column] >> 8 * byte & 255;
        for (uint32_t q = lane; q < TMEM_LANES; q += TMEM_QUARTER)
            if ((b->tmem->cell[q][column] >> 8 * byte & 255) != x) {
                ptx_fault_late(b, o->line,
                               "scales in column %u of lanes %u and %u are "
                               "not the same",
                               column, lane, q);
                return false;
            }
        to[r] = x == 255 ? (double)NAN : ldexp(1, (int)x - 127);
    }
    return true;
}

static float as_float(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* Sums in f64, rounded once. */
static void sum_row(const Operands *x, uint32_t r, uint32_t n, bool adds,
                    uint32_t *d)
{
    double sum[MOST_N] = {0};
    for (uint32_t k = 0; k < DEPTH; k++)
        for (uint32_t c = 0; c < n; c++)
            sum[c] += x->a[k][r] * x->b[k][c];
    for (uint32_t c = 0; c < n; c++) {
        double all = sum[c] * x->scale_a[r] * x->scale_b[c];
        float f = (float)(all + (adds ? (double)as_float(d[c]) : 0));
        memcpy(&d[c], &f, sizeof f);
        if (f != f) d[c] = 0x7fffffff;
    }
}

bool ptx_tmem_product(PtxBlock *b, const TmemOp *o)
{
    Operands x;
    uint32_t about = o->about, n = ptx_tmem_product_n(about);
    if (!fetch(b, o, o->a, about >> 7 & 7, TMEM_LANES, TMEM_LANES, x.a[0]) ||
        !fetch(b, o, o->b, about >> 10 & 7, n, MOST_N, x.b[0]) ||
        !fetch_scales(b, o, &o->scale[0], about >> 29 & 3, TMEM_LANES,
                      x.scale_a) ||
        !fetch_scales(b, o, &o->scale[1], about >> 4 & 3, n, x.scale_b))
        return false;
    for (uint32_t r = 0; r < TMEM_LANES; r++)
        sum_row(&x, r, n, o->adds, b->tmem->cell[r] + o->to.at);
    ptx_tally(b->machine)->products++;
    return true;
}
