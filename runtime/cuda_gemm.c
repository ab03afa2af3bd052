/*
 * cuda_gemm.c: gemm commands as calls of cuBLASLt.
 *
 * The library thinks in columns.  A row-major D = A B is the column-major
 * D' = B' A' of the same bytes, so the operands change places; a D whose rows
 * are unit-strided is taken as it is.  Batches that lie evenly become one
 * strided batch, the others are a loop of calls.  How a gemm is done is chosen
 * once for each alignment of its operands (cuda_choose.c).
 */
#include "cuda_gemm.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ALIGN = 16 };

/* A matrix as the library has it: column-major, perhaps transposed. */
typedef struct Matrix {
    uint32_t dtype;
    int64_t rows, cols, ld;
    int op;
} Matrix;

uint64_t cuda_gemm_workspace(const TitanImage *im, uint32_t stream)
{
    for (uint32_t i = 0; i < im->ncommands; i++) {
        const TitanCommand *cmd = &im->commands[i];
        if (cmd->kind == TITAN_COMMAND_gemm &&
            (cmd->stream == stream || stream == 0))
            return CUDA_GEMM_WORKSPACE;
    }
    return 0;
}

TitanStatus cuda_gemm_open(Cuda *c)
{
    if (c->im->ngemms == 0) return TITAN_OK;
    TRY(lt_open(c->story, &c->lt));
    LT_TRY(c, create(&c->handle));
    if (!c->options.gemm_table) return TITAN_OK;
    c->table = calloc(1, sizeof *c->table);
    if (!c->table) return titan_no_memory(c->story);
    return cuda_table_read(c->story, c->options.gemm_table, c->table);
}

static void free_gemm(Cuda *c, CudaGemm *g)
{
    if (g->desc) c->lt.desc_destroy(g->desc);
    if (g->a) c->lt.layout_destroy(g->a);
    if (g->b) c->lt.layout_destroy(g->b);
    if (g->d) c->lt.layout_destroy(g->d);
    free(g);
}

void cuda_gemm_close(Cuda *c)
{
    while (c->gemms) {
        CudaGemm *g = c->gemms;
        c->gemms = g->next;
        free_gemm(c, g);
    }
    if (c->handle) c->lt.destroy(c->handle);
    if (c->table) cuda_table_release(c->table);
    free(c->table);
}

/* --------------------------------------------------------------- layouts -- */

/* ROWS x COLS with element strides, one of which is 1 or belongs to an axis of
 * one element. */
static Matrix as_columns(uint32_t dtype, int64_t rows, int64_t cols,
                         int64_t row, int64_t col)
{
    bool plain = rows == 1 ? col != 1 : row == 1;
    if (plain)
        return (Matrix){dtype, rows, cols, col > rows ? col : rows, LT_op_n};
    return (Matrix){dtype, cols, rows, row > cols ? row : cols, LT_op_t};
}

/* The library's A, B and D of a gemm. */
static bool fit(const TitanGemm *g, Matrix out[3])
{
    bool swap = g->d_col == 1 || g->n == 1;
    if (swap) {
        out[0] = as_columns(g->dtype_b, g->n, g->k, g->b_col, g->b_row);
        out[1] = as_columns(g->dtype_a, g->k, g->m, g->a_col, g->a_row);
        out[2] = (Matrix){g->dtype_d, g->n, g->m,
                          g->d_row > g->n ? g->d_row : g->n, LT_op_n};
    } else {
        out[0] = as_columns(g->dtype_a, g->m, g->k, g->a_row, g->a_col);
        out[1] = as_columns(g->dtype_b, g->k, g->n, g->b_row, g->b_col);
        out[2] = (Matrix){g->dtype_d, g->m, g->n,
                          g->d_col > g->m ? g->d_col : g->m, LT_op_n};
    }
    return swap;
}

/* Batches, innermost last, with neighbours that lie evenly made one. */
typedef struct Batches {
    uint32_t n;
    int64_t count[CUDA_GEMM_BATCHES], a[CUDA_GEMM_BATCHES],
        b[CUDA_GEMM_BATCHES], d[CUDA_GEMM_BATCHES];
} Batches;

static Batches flatten(const TitanGemm *g)
{
    Batches f = {0};
    for (uint32_t i = 0; i < g->nbatch; i++) {
        int64_t n = g->batch[i];
        uint32_t p = f.n - 1;
        if (n == 1) continue;
        if (f.n > 0 && f.a[p] == n * g->a_batch[i] &&
            f.b[p] == n * g->b_batch[i] && f.d[p] == n * g->d_batch[i])
            n *= f.count[p];
        else
            p = f.n++;
        f.count[p] = n;
        f.a[p] = g->a_batch[i];
        f.b[p] = g->b_batch[i];
        f.d[p] = g->d_batch[i];
    }
    return f;
}

/* The largest becomes the library's batch, and goes last. */
static void largest_last(Batches *f)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < f->n; i++)
        if (f->count[i] >= f->count[best]) best = i;
    int64_t *const columns[] = {f->count, f->a, f->b, f->d};
    for (unsigned k = 0; f->n && k < 4; k++) {
        int64_t *x = columns[k], last = x[f->n - 1];
        x[f->n - 1] = x[best];
        x[best] = last;
    }
}

static int lt_dtype(uint32_t dtype)
{
    static const int types[] = {LT_f64, LT_f32,  LT_bf16,
                                LT_f16, LT_e4m3, LT_e5m2};
    return dtype < sizeof types / sizeof *types ? types[dtype] : -1;
}

static TitanStatus make_layout(Cuda *c, Matrix m, int64_t batches,
                               int64_t stride, LtLayout *out)
{
    int32_t n = (int32_t)batches;
    if (lt_dtype(m.dtype) < 0)
        return titan_fail(c->story, TITAN_MISMATCH,
                          "cuBLASLt multiplies no matrices of %s",
                          titan_dtype_name(m.dtype));
    LT_TRY(c, layout_create(out, lt_dtype(m.dtype), (uint64_t)m.rows,
                            (uint64_t)m.cols, m.ld));
    if (batches == 1) return TITAN_OK;
    if (batches > INT32_MAX)
        return titan_fail(c->story, TITAN_MISMATCH,
                          "a batch has %" PRId64 " matrix products, cuBLASLt "
                          "takes 2^31 - 1",
                          batches);
    LT_TRY(c, layout_set(*out, LT_layout_batch, &n, sizeof n));
    LT_TRY(c, layout_set(*out, LT_layout_batch_stride, &stride, sizeof stride));
    return TITAN_OK;
}

static void set_loops(CudaGemm *x, const TitanGemm *g, const Batches *f)
{
    x->nloops = f->n ? f->n - 1 : 0;
    for (uint32_t i = 0; i < x->nloops; i++) {
        x->count[i] = f->count[i];
        x->step[0][i] = f->a[i] * titan_dtype_bytes(g->dtype_a);
        x->step[1][i] = f->b[i] * titan_dtype_bytes(g->dtype_b);
        x->step[2][i] = f->d[i] * titan_dtype_bytes(g->dtype_d);
        x->step[3][i] = g->accumulate == TITAN_GEMM_scaled ? 0 : x->step[2][i];
    }
}

static TitanStatus make_descriptors(Cuda *c, const TitanGemm *g, CudaGemm *x)
{
    Matrix m[3];
    Batches f = flatten(g);
    largest_last(&f);
    set_loops(x, g, &f);
    x->swapped = fit(g, m);
    uint32_t l = f.n ? f.n - 1 : 0;
    int64_t n = f.n ? f.count[l] : 1;
    bool wide = titan_dtype_bytes(g->acc) == 8;
    LT_TRY(c, desc_create(&x->desc, wide ? LT_compute_f64 : LT_compute_f32,
                          wide ? LT_f64 : LT_f32));
    LT_TRY(c, desc_set(x->desc, LT_desc_op_a, &m[0].op, sizeof(int)));
    LT_TRY(c, desc_set(x->desc, LT_desc_op_b, &m[1].op, sizeof(int)));
    int32_t most = (int32_t)g->processors;
    if (most)
        LT_TRY(c, desc_set(x->desc, LT_desc_processors, &most, sizeof most));
    int8_t fast = (int8_t)g->fast;
    if (fast) LT_TRY(c, desc_set(x->desc, LT_desc_fast, &fast, sizeof fast));
    TRY(make_layout(c, m[0], n, x->swapped ? f.b[l] : f.a[l], &x->a));
    TRY(make_layout(c, m[1], n, x->swapped ? f.a[l] : f.b[l], &x->b));
    return make_layout(c, m[2], n, f.d[l], &x->d);
}

/* ------------------------------------------------------------------- run -- */

static uint64_t low_bit(uint64_t bits)
{
    return bits & -bits;
}

static CudaGemm *find(const Cuda *c, uint32_t row, uint32_t parts,
                      const uint64_t align[4])
{
    for (CudaGemm *x = c->gemms; x; x = x->next)
        if (x->row == row && x->parts == parts &&
            !memcmp(x->align, align, sizeof x->align))
            return x;
    return NULL;
}

/* The library multiplies its first operand by the number behind the matrices,
 * which is the same as to multiply the sums; or its operands by the scales of
 * their blocks. */
static TitanStatus set_scales(Cuda *c, const CudaGemm *x,
                              const CuPtr at[TITAN_GEMM_PLACES])
{
    const TitanGemm *g = &x->of;
    const CuPtr *a = &at[x->swapped ? 5 : 4], *b = &at[x->swapped ? 4 : 5];
    if (g->accumulate == TITAN_GEMM_scaled)
        LT_TRY(c, desc_set(x->desc, LT_desc_scale_a, &at[3], sizeof at[3]));
    if (!g->scale_a) return TITAN_OK;
    LT_TRY(c, desc_set(x->desc, LT_desc_scale_a, a, sizeof *a));
    LT_TRY(c, desc_set(x->desc, LT_desc_scale_b, b, sizeof *b));
    return TITAN_OK;
}

static TitanStatus set_modes(Cuda *c, const TitanGemm *g, const CudaGemm *x)
{
    static const int32_t modes[TITAN_SCALE_COUNT] = {
        [TITAN_SCALE_row128] = LT_scale_row128,
        [TITAN_SCALE_block128] = LT_scale_block128,
        [TITAN_SCALE_row] = LT_scale_row};
    int32_t a = modes[x->swapped ? g->scale_b : g->scale_a];
    int32_t b = modes[x->swapped ? g->scale_a : g->scale_b];
    if (!g->scale_a) return TITAN_OK;
    LT_TRY(c, desc_set(x->desc, LT_desc_scale_mode_a, &a, sizeof a));
    LT_TRY(c, desc_set(x->desc, LT_desc_scale_mode_b, &b, sizeof b));
    return TITAN_OK;
}

/* AT: where the operands of one call lie. */
static TitanStatus chosen(Cuda *c, uint32_t row, uint32_t parts,
                          const CuPtr at[TITAN_GEMM_PLACES], CudaGemm **out)
{
    uint64_t align[4];
    for (int k = 0; k < 4; k++)
        align[k] = low_bit(at[k] | MOST_ALIGN);
    *out = find(c, row, parts, align);
    if (*out) return TITAN_OK;
    CudaGemm *x = calloc(1, sizeof *x);
    if (!x) return titan_no_memory(c->story);
    x->row = row;
    x->parts = parts;
    x->of = c->im->gemms[row];
    x->of.m /= parts;
    memcpy(x->align, align, sizeof x->align);
    TitanStatus st = make_descriptors(c, &x->of, x);
    if (st == TITAN_OK) st = set_modes(c, &x->of, x);
    if (st == TITAN_OK) st = set_scales(c, x, at);
    if (st == TITAN_OK) st = cuda_choose(c, x, at);
    if (st != TITAN_OK) {
        free_gemm(c, x);
        return st;
    }
    x->next = c->gemms;
    c->gemms = *out = x;
    return TITAN_OK;
}

TitanStatus cuda_gemm_call(Cuda *c, const CudaGemm *x,
                           const CuPtr at[TITAN_GEMM_PLACES],
                           const LtAlgo *algo, uint32_t stream)
{
    const TitanGemm *g = &x->of;
    bool scaled = g->accumulate == TITAN_GEMM_scaled;
    const double one = 1, beta = g->accumulate && !scaled ? 1 : 0;
    const float one_f = 1, beta_f = (float)beta;
    bool wide = titan_dtype_bytes(g->acc) == 8;
    const void *a = (const void *)(uintptr_t)at[x->swapped ? 1 : 0];
    const void *b = (const void *)(uintptr_t)at[x->swapped ? 0 : 1];
    const void *added = (const void *)(uintptr_t)at[scaled ? 2 : 3];
    TRY(set_scales(c, x, at));
    LT_TRY(c, matmul(c->handle, x->desc, wide ? (const void *)&one : &one_f, a,
                     x->a, b, x->b, wide ? (const void *)&beta : &beta_f, added,
                     x->d, (void *)(uintptr_t)at[2], x->d, algo,
                     (void *)(uintptr_t)c->workspace[stream],
                     CUDA_GEMM_WORKSPACE, c->streams[stream]));
    return TITAN_OK;
}

TitanStatus cuda_gemm(Cuda *c, const TitanCommand *cmd, uint32_t parts,
                      const CuPtr first[TITAN_GEMM_PLACES])
{
    int64_t turns = 1;
    CudaGemm *x;
    TRY(chosen(c, cmd->index, parts, first, &x));
    for (uint32_t i = 0; i < x->nloops; i++)
        turns *= x->count[i];
    for (int64_t t = 0; t < turns; t++) {
        CuPtr at[TITAN_GEMM_PLACES];
        int64_t rest = t;
        memcpy(at, first, sizeof at);
        for (uint32_t i = x->nloops; i-- > 0; rest /= x->count[i])
            for (int k = 0; k < 4; k++)
                at[k] += (CuPtr)(rest % x->count[i] * x->step[k][i]);
        TRY(cuda_gemm_call(c, x, at, &x->algo, cmd->stream));
    }
    return TITAN_OK;
}

TitanStatus cuda_gemm_ready(Cuda *c, uint32_t gemm, uint32_t parts,
                            const CuPtr at[TITAN_GEMM_PLACES])
{
    CudaGemm *x;
    return chosen(c, gemm, parts, at, &x);
}
