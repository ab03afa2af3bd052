/*
 * product.c: a wgmma, done: D = A B or D += A B for 16 of its 64 rows.
 *
 * An operand in shared memory is read in chunks of 16 bytes, which a swizzle
 * leaves whole.  Eight rows of chunks are a core matrix: along K a row is an
 * index of M or N and its chunks follow K; across, a row is an index of K.
 *   PTX ISA 9.0, 9.7.15.5.1 "Register Fragments and Shared Memory Matrix
 *   Layouts"
 */
#include "tests/ptx/tensor.h"

#include <string.h>

enum { CHUNK = PTX_TILE_CHUNK, CORE_ROWS = 8, PART = 8 };

typedef double Four __attribute__((vector_size(32)));

/* ------------------------------------------------------------------ numbers */

/* Floats of CHUNK bytes of a type. */
typedef void (*Widen)(const unsigned char *from, float *to);

static float as_float(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static void widen_bf16(const unsigned char *from, float *to)
{
    uint16_t x[CHUNK / 2];
    memcpy(x, from, CHUNK);
    for (unsigned k = 0; k < CHUNK / 2; k++)
        to[k] = as_float((uint32_t)x[k] << 16);
}

/* The bits of a smaller float, its sign apart, as the upper ones of an f32 with
 * another bias; LARGEST and above are infinite or no numbers. */
static float widened(uint32_t sign, uint32_t low, float bias, uint32_t largest)
{
    float f = as_float(low) * bias;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if (low >= largest) bits |= 0x7f800000;
    return as_float(bits | sign << 31);
}

static void widen_f16(const unsigned char *from, float *to)
{
    uint16_t x[CHUNK / 2];
    memcpy(x, from, CHUNK);
    for (unsigned k = 0; k < CHUNK / 2; k++)
        to[k] = widened(x[k] >> 15, (uint32_t)(x[k] & 0x7fff) << 13, 0x1p112f,
                        0x7c00u << 13);
}

static void widen_e5m2(const unsigned char *from, float *to)
{
    for (unsigned k = 0; k < CHUNK; k++)
        to[k] = widened(from[k] >> 7, (uint32_t)(from[k] & 0x7f) << 21,
                        0x1p112f, 0x7cu << 21);
}

/* Only all ones are no number. */
static void widen_e4m3(const unsigned char *from, float *to)
{
    for (unsigned k = 0; k < CHUNK; k++)
        to[k] = widened(from[k] >> 7, (uint32_t)(from[k] & 0x7f) << 20,
                        0x1p120f, 0x7fu << 20);
}

static const Widen widens[PT_COUNT] = {[PT_bf16] = widen_bf16,
                                       [PT_f16] = widen_f16,
                                       [PT_e4m3] = widen_e4m3,
                                       [PT_e5m2] = widen_e5m2};

void ptx_widen(PtxType t, const unsigned char *from, float *to)
{
    widens[t](from, to);
}

/* -------------------------------------------------------------- descriptors */

PtxTile ptx_tile(uint64_t bits, unsigned swizzle)
{
    return (PtxTile){.start = (uint32_t)(bits & 0x3fff) * CHUNK,
                     .lead = (uint32_t)(bits >> 16 & 0x3fff) * CHUNK,
                     .stride = (uint32_t)(bits >> 32 & 0x3fff) * CHUNK,
                     .swizzle = swizzle};
}

/* Bits 49 .. 51: base offset; 62 .. 63: the swizzle. */
static PtxTile operand_of(uint64_t bits)
{
    static const uint8_t swizzles[] = {0, 128, 64, 32};
    return ptx_tile(bits, swizzles[bits >> 62]);
}

uint32_t ptx_chunk_at(const PtxTile *o, bool across, uint32_t r, uint32_t k)
{
    uint32_t width = o->swizzle ? o->swizzle : CHUNK, at;
    if (!across)
        at = r / CORE_ROWS * o->stride + r % CORE_ROWS * width +
             k * (o->swizzle ? CHUNK : o->lead);
    else if (o->swizzle)
        at = r * CHUNK / width * o->lead + r * CHUNK % width +
             k / CORE_ROWS * o->stride + k % CORE_ROWS * width;
    else
        at = r * o->stride + k / CORE_ROWS * o->lead + k % CORE_ROWS * CHUNK;
    at += o->start;
    return at ^ (at >> 3 & (width - CHUNK));
}

/* What is wanted of an operand: N indices of M or N from FIRST on, DEPTH of
 * K. */
typedef struct Want {
    PtxType type;
    bool across;
    uint32_t first, n, depth;
} Want;

static bool tell(PtxWarp *w, const Product *p, uint32_t at)
{
    ptx_fault_late(w->block, p->inst->line,
                   "a product reads shared memory at 0x%x that the block has "
                   "not",
                   at);
    return false;
}

static const unsigned char *chunk(PtxWarp *w, const Product *p, uint32_t at)
{
    const PtxBlock *b = w->block;
    if (at + CHUNK <= b->shared_bytes) return b->shared + at;
    tell(w, p, at);
    return NULL;
}

/* to[k][n], rows of STRIDE. */
static bool fetch(PtxWarp *w, const Product *p, uint64_t bits, const Want *v,
                  float *to, uint32_t stride)
{
    PtxTile o = operand_of(bits);
    Widen widen = widens[v->type];
    uint32_t each = CHUNK * 8 / ptx_types[v->type].bits;
    float got[CHUNK];
    uint32_t rows = v->across ? v->n / each : v->n;
    uint32_t ks = v->across ? v->depth : v->depth / each;
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t k = 0; k < ks; k++) {
            uint32_t first = v->across ? v->first / each : v->first;
            const unsigned char *from =
                chunk(w, p, ptx_chunk_at(&o, v->across, first + r, k));
            if (!from) return false;
            if (v->across) {
                widen(from, to + k * stride + r * each);
                continue;
            }
            widen(from, got);
            for (uint32_t j = 0; j < each; j++)
                to[(k * each + j) * stride + r] = got[j];
        }
    return true;
}

/* Chunks that follow each other are asked about together. */
static bool race(PtxWarp *w, const Product *p, uint64_t bits, const Want *v,
                 char why[PTX_RACE])
{
    PtxTile o = operand_of(bits);
    uint32_t each = CHUNK * 8 / ptx_types[v->type].bits, at = 0, n = 0;
    uint32_t first = v->across ? v->first / each : v->first;
    uint32_t rows = v->across ? v->n / each : v->n;
    uint32_t ks = v->across ? v->depth : v->depth / each;
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t k = 0; k < ks; k++) {
            uint32_t next = ptx_chunk_at(&o, v->across, first + r, k);
            if (next + CHUNK > w->block->shared_bytes) return tell(w, p, next);
            bool follows = n && next == at + n;
            if (n && !follows && !ptx_race_product(w, at, n, p->number, why))
                return false;
            at = follows ? at : next;
            n = (follows ? n : 0) + CHUNK;
        }
    return ptx_race_product(w, at, n, p->number, why);
}

/* A's fragment: registers 0 .. 3 of a lane have neighbours of K, of row
 * lane / 4 and of that + 8, then the same for the second half of K. */
static void fetch_registers(PtxWarp *w, const Product *p, PtxType type,
                            float *to)
{
    const PtxArg *list = ptx_arg(w, p->inst, 1);
    uint32_t each = 32 / ptx_types[type].bits;
    float got[CHUNK];
    for (unsigned l = 0; l < PTX_LANES; l++) {
        uint32_t bits[4];
        for (unsigned r = 0; r < 4; r++)
            bits[r] = (uint32_t)ptx_get(w, ptx_item(w, list, r), l);
        widens[type]((const unsigned char *)bits, got);
        for (unsigned r = 0; r < 4; r++)
            for (unsigned j = 0; j < each; j++) {
                uint32_t row = l / 4 + r % 2 * 8;
                uint32_t k = r / 2 * 4 * each + l % 4 * each + j;
                to[k * PRODUCT_ROWS + row] = got[r * each + j];
            }
    }
}

/* ----------------------------------------------------------------- products */

typedef struct Sums {
    float a[PRODUCT_MOST_K][PRODUCT_ROWS];
    float b[PRODUCT_MOST_K][PRODUCT_MOST_N];
    float d[PRODUCT_ROWS][PRODUCT_MOST_N];
} Sums;

/* Register R of lane L of D. */
static float *element(Sums *s, uint32_t r, unsigned l)
{
    return &s->d[l / 4 + r / 2 % 2 * 8][r / 4 * 8 + l % 4 * 2 + r % 2];
}

static void load_d(PtxWarp *w, const Product *p, Sums *s)
{
    const PtxArg *list = ptx_arg(w, p->inst, 0);
    for (uint32_t r = 0; r < list->n; r++) {
        const uint64_t *reg = w->reg[ptx_item(w, list, r)->reg];
        for (unsigned l = 0; l < PTX_LANES; l++)
            *element(s, r, l) = p->adds ? as_float((uint32_t)reg[l]) : 0;
    }
}

static void store_d(PtxWarp *w, const Product *p, Sums *s)
{
    const PtxArg *list = ptx_arg(w, p->inst, 0);
    for (uint32_t r = 0; r < list->n; r++) {
        uint64_t *reg = w->reg[ptx_item(w, list, r)->reg];
        for (unsigned l = 0; l < PTX_LANES; l++) {
            float f = *element(s, r, l);
            uint32_t bits;
            memcpy(&bits, &f, sizeof bits);
            reg[l] = f != f ? 0x7fffffff : bits;
        }
    }
}

/* Columns of two rows, in f64 from D on along K, which is the same wherever it
 * is made: products of such numbers are exact in f64. */
typedef struct Part {
    double a[PRODUCT_ROWS][PRODUCT_MOST_K];
    double b[PRODUCT_MOST_K][PART];
} Part;

static inline __attribute__((always_inline)) void
sum_rows(const Part *p, float *d, float *e, uint32_t row, uint32_t depth)
{
    Four x[4], b[2];
    double from[2 * PART];
    for (unsigned c = 0; c < PART; c++) {
        from[c] = (double)d[c];
        from[PART + c] = (double)e[c];
    }
    memcpy(x, from, sizeof from);
    for (uint32_t k = 0; k < depth; k++) {
        double s = p->a[row][k], t = p->a[row + 1][k];
        Four all = {s, s, s, s}, next = {t, t, t, t};
        memcpy(b, p->b[k], sizeof b);
        x[0] += all * b[0];
        x[1] += all * b[1];
        x[2] += next * b[0];
        x[3] += next * b[1];
    }
    memcpy(from, x, sizeof from);
    for (unsigned c = 0; c < PART; c++) {
        d[c] = (float)from[c];
        e[c] = (float)from[PART + c];
    }
}

static inline __attribute__((always_inline)) void
multiply_parts(Sums *s, uint32_t n, uint32_t depth)
{
    Part p;
    for (uint32_t k = 0; k < depth; k++)
        for (unsigned r = 0; r < PRODUCT_ROWS; r++)
            p.a[r][k] = (double)s->a[k][r];
    for (uint32_t c = 0; c < n; c += PART) {
        for (uint32_t k = 0; k < depth; k++)
            for (unsigned j = 0; j < PART; j++)
                p.b[k][j] = (double)s->b[k][c + j];
        for (uint32_t r = 0; r < PRODUCT_ROWS; r += 2)
            sum_rows(&p, &s->d[r][c], &s->d[r + 1][c], r, depth);
    }
}

#ifdef __x86_64__
__attribute__((target("avx2"))) static void multiply_wide(Sums *s, uint32_t n,
                                                          uint32_t depth)
{
    multiply_parts(s, n, depth);
}
#endif

static void multiply(Sums *s, uint32_t n, uint32_t depth)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2")) {
        multiply_wide(s, n, depth);
        return;
    }
#endif
    multiply_parts(s, n, depth);
}

/* A's rows of this warp, and B. */
static Want want_a(const PtxWarp *w, const Product *p)
{
    return (Want){(PtxType)p->inst->type[1], p->a_across,
                  w->number % PTX_WARPGROUP * PRODUCT_ROWS, PRODUCT_ROWS,
                  p->inst->shape[2]};
}

static Want want_b(const Product *p)
{
    return (Want){(PtxType)p->inst->type[2], p->b_across, 0, p->inst->shape[1],
                  p->inst->shape[2]};
}

static bool has_registers(const PtxWarp *w, const Product *p)
{
    return ptx_arg(w, p->inst, 1)->kind == PA_list;
}

bool ptx_product_race(PtxWarp *w, const Product *p, char why[PTX_RACE])
{
    Want a = want_a(w, p), b = want_b(p);
    if (!w->block->cluster->race) return true;
    return (has_registers(w, p) || race(w, p, p->a, &a, why)) &&
           race(w, p, p->b, &b, why);
}

bool ptx_product(PtxWarp *w, const Product *p)
{
    Want a = want_a(w, p), b = want_b(p);
    uint32_t n = b.n, depth = b.depth;
    Sums s;
    if (has_registers(w, p))
        fetch_registers(w, p, a.type, s.a[0]);
    else if (!fetch(w, p, p->a, &a, s.a[0], PRODUCT_ROWS))
        return false;
    if (!fetch(w, p, p->b, &b, s.b[0], PRODUCT_MOST_N)) return false;
    for (uint32_t k = 0; k < depth && p->negative; k++)
        for (unsigned r = 0; r < PRODUCT_ROWS; r++)
            s.a[k][r] = -s.a[k][r];
    load_d(w, p, &s);
    multiply(&s, n, depth);
    store_d(w, p, &s);
    ptx_tally(w->block->machine)->products++;
    return true;
}
