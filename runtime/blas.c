/*
 * blas.c: gemms as single-threaded OpenBLAS calls on fixed tiles.
 *
 * A result tile is computed by one call (or one per block of K), whose
 * operands do not depend on the number of threads, so neither do the bits.
 * A result whose rows are unit-strided is the transpose of a row-major one:
 * D^T = B^T A^T.  f32 and f64 go to the library where they lie.  Narrower
 * dtypes are widened, block by block of K, to f32 in the workspace, summed
 * there, and rounded once.
 */
#include "blas.h"

#include "narrow.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112 };
enum { F64 = 0, F32 = 1 };

static const char *core_type(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw"))
        return "SKYLAKEX";
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return "HASWELL";
#endif
    return NULL;
}

/* What OpenBLAS reads as it is loaded.  Ranks of one process open it at the
 * same time, and the environment is not theirs to change one by one. */
static void set_environment(void)
{
    const char *core = core_type();
    if (core) setenv("OPENBLAS_CORETYPE", core, 0);
    setenv("OPENBLAS_NUM_THREADS", "1", 0);
}

static void *open_library(void)
{
    static const char *const names[] = {"libopenblas.so.0", "libopenblas.so"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        void *lib = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
        if (lib) return lib;
    }
    return NULL;
}

TitanStatus blas_open(TitanStory *s, Blas *out)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    *out = (Blas){0};
    pthread_once(&once, set_environment);
    out->library = open_library();
    if (!out->library)
        return titan_fail(s, TITAN_UNAVAILABLE,
                          "could not open OpenBLAS (libopenblas.so.0), which "
                          "matrix products on the host need; install "
                          "libopenblas0-pthread");
    *(void **)&out->sgemm = dlsym(out->library, "cblas_sgemm");
    *(void **)&out->dgemm = dlsym(out->library, "cblas_dgemm");
    *(void **)&out->set_threads =
        dlsym(out->library, "openblas_set_num_threads");
    *(void **)&out->core_name = dlsym(out->library, "openblas_get_corename");
    if (!out->sgemm || !out->dgemm || !out->set_threads) {
        blas_close(out);
        return titan_fail(s, TITAN_UNAVAILABLE,
                          "libopenblas.so.0 has no cblas_sgemm, cblas_dgemm "
                          "or openblas_set_num_threads");
    }
    out->set_threads(1);
    return TITAN_OK;
}

void blas_close(Blas *b)
{
    if (b->library) dlclose(b->library);
    *b = (Blas){0};
}

/* A matrix operand: element strides, one of which is 1. */
typedef struct Matrix {
    const char *at;
    uint32_t dtype;
    int64_t row, col;
} Matrix;

/* A gemm whose result is row-major. */
typedef struct Job {
    const Blas *blas;
    const TitanGemm *g;
    Matrix a, b, d, c;
    int64_t m, n, k;
    int64_t tm, tn, tiles_n, tiles; /* tile sizes, and their number */
    char *workspace;
    const float *scale; /* of the sums; or NULL */
} Job;

static bool adds(const TitanGemm *g)
{
    return g->accumulate == TITAN_GEMM_add_d ||
           g->accumulate == TITAN_GEMM_add_c;
}

static Matrix transposed(Matrix x)
{
    return (Matrix){x.at, x.dtype, x.col, x.row};
}

static const char *element(Matrix x, int64_t r, int64_t c)
{
    return x.at + (r * x.row + c * x.col) * titan_dtype_bytes(x.dtype);
}

/* Leading dimension and transposition for a row-major call.  A matrix of one
 * column or row may have any stride there. */
static int leading(Matrix x, int64_t rows, int64_t cols, int *trans)
{
    bool plain = x.col == 1 || cols == 1;
    if (plain && x.row == 1 && x.col != 1 && rows > 1) plain = false;
    *trans = plain ? NO_TRANS : TRANS;
    int64_t ld = plain ? x.row : x.col, least = plain ? cols : rows;
    return (int)(ld < least ? least : ld);
}

static void call_blas(const Blas *blas, uint32_t dtype, Matrix a, Matrix b,
                      Matrix d, int64_t m, int64_t n, int64_t k, double beta)
{
    int ta, tb, td;
    int lda = leading(a, m, k, &ta), ldb = leading(b, k, n, &tb);
    int ldd = leading(d, m, n, &td);
    char *out = (char *)(uintptr_t)d.at;
    if (dtype == F64)
        blas->dgemm(ROW_MAJOR, ta, tb, (int)m, (int)n, (int)k, 1.0,
                    (const double *)(const void *)a.at, lda,
                    (const double *)(const void *)b.at, ldb, beta,
                    (double *)(void *)out, ldd);
    else
        blas->sgemm(ROW_MAJOR, ta, tb, (int)m, (int)n, (int)k, 1.0f,
                    (const float *)(const void *)a.at, lda,
                    (const float *)(const void *)b.at, ldb, (float)beta,
                    (float *)(void *)out, ldd);
}

/* Copies a block to dense row-major f32. */
static Matrix widened(Matrix x, int64_t r0, int64_t c0, int64_t rows,
                      int64_t cols, float *to)
{
    if (x.col != 1 && x.row == 1) {
        for (int64_t c = 0; c < cols; c++)
            narrow_load(x.dtype, element(x, r0, c0 + c), to + c * rows, rows);
        return (Matrix){(const char *)to, F32, 1, rows};
    }
    for (int64_t r = 0; r < rows; r++)
        narrow_load(x.dtype, element(x, r0 + r, c0), to + r * cols, cols);
    return (Matrix){(const char *)to, F32, cols, 1};
}

static size_t block_of(const TitanGemm *g)
{
    return (size_t)titan_gemm_block(g->m, g->n, g->k);
}

static bool is_narrow(const TitanGemm *g)
{
    return g->dtype_a != g->dtype_b || g->dtype_a != g->dtype_d ||
           (g->dtype_a != F32 && g->dtype_a != F64);
}

static void narrow_tile(const Job *j, int64_t r0, int64_t c0, int64_t rows,
                        int64_t cols, char *workspace)
{
    int64_t most = j->k < TITAN_GEMM_K ? j->k : TITAN_GEMM_K;
    float *sum = (float *)(void *)workspace;
    float *wa = sum + rows * cols;
    float *wb = wa + rows * most;
    Matrix d = {(const char *)sum, F32, cols, 1};
    bool add = adds(j->g);
    if (add) widened(j->c, r0, c0, rows, cols, sum);
    for (int64_t k0 = 0; k0 < j->k; k0 += TITAN_GEMM_K) {
        int64_t kn = j->k - k0 < TITAN_GEMM_K ? j->k - k0 : TITAN_GEMM_K;
        Matrix a = widened(j->a, r0, k0, rows, kn, wa);
        Matrix b = widened(j->b, k0, c0, kn, cols, wb);
        call_blas(j->blas, F32, a, b, d, rows, cols, kn,
                  add || k0 > 0 ? 1.0 : 0.0);
    }
    for (int64_t i = 0; j->scale && i < rows * cols; i++)
        sum[i] *= *j->scale;
    for (int64_t r = 0; r < rows; r++)
        narrow_store(j->d.dtype, sum + r * cols,
                     (char *)(uintptr_t)element(j->d, r0 + r, c0), cols);
}

/* Brings C to where the product is added to it. */
static void copy_tile(const Job *j, int64_t r0, int64_t c0, int64_t rows,
                      int64_t cols)
{
    size_t one = titan_dtype_bytes(j->d.dtype);
    bool dense = j->d.col == 1;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < (dense ? 1 : cols); c++)
            memcpy((char *)(uintptr_t)element(j->d, r0 + r, c0 + c),
                   element(j->c, r0 + r, c0 + c),
                   dense ? (size_t)cols * one : one);
}

static void plain_tile(const Job *j, int64_t r0, int64_t c0, int64_t rows,
                       int64_t cols)
{
    Matrix a = j->a, b = j->b, d = j->d;
    a.at = element(j->a, r0, 0);
    b.at = element(j->b, 0, c0);
    d.at = element(j->d, r0, c0);
    if (j->g->accumulate == TITAN_GEMM_add_c) copy_tile(j, r0, c0, rows, cols);
    call_blas(j->blas, a.dtype, a, b, d, rows, cols, j->k,
              adds(j->g) ? 1.0 : 0.0);
}

static void run_tiles(void *user, int64_t begin, int64_t end, unsigned worker)
{
    const Job *j = user;
    for (int64_t t = begin; t < end; t++) {
        int64_t r0 = t / j->tiles_n * j->tm, c0 = t % j->tiles_n * j->tn;
        int64_t rows = j->m - r0 < j->tm ? j->m - r0 : j->tm;
        int64_t cols = j->n - c0 < j->tn ? j->n - c0 : j->tn;
        if (is_narrow(j->g))
            narrow_tile(j, r0, c0, rows, cols,
                        j->workspace + worker * block_of(j->g));
        else
            plain_tile(j, r0, c0, rows, cols);
    }
}

/* Even tiles of at most `most`, sizes rounded up to 32. */
static int64_t tile_size(int64_t n, int64_t most)
{
    int64_t parts = (n + most - 1) / most;
    int64_t size = ((n + parts - 1) / parts + 31) / 32 * 32;
    return size < most ? size : most;
}

static void cut(Job *j)
{
    j->tm = tile_size(j->m, TITAN_GEMM_M);
    j->tn = tile_size(j->n, TITAN_GEMM_N);
    /* A few tiles more than two, so that the last ones do not leave threads
     * idle for long. */
    while (j->tn > 192 &&
           (j->m + j->tm - 1) / j->tm * ((j->n + j->tn - 1) / j->tn) < 8)
        j->tn = tile_size(j->n, j->tn / 2);
    j->tiles_n = (j->n + j->tn - 1) / j->tn;
    j->tiles = (j->m + j->tm - 1) / j->tm * j->tiles_n;
}

static void run_one(const Blas *blas, Pool *pool, const TitanGemm *g,
                    const GemmBuffers *at)
{
    Matrix a = {at->a, g->dtype_a, g->a_row, g->a_col};
    Matrix b = {at->b, g->dtype_b, g->b_row, g->b_col};
    Matrix d = {at->d, g->dtype_d, g->d_row, g->d_col};
    Matrix c = d;
    if (g->accumulate == TITAN_GEMM_add_c) c.at = at->c;
    Job j = {.blas = blas,
             .g = g,
             .a = a,
             .b = b,
             .d = d,
             .c = c,
             .m = g->m,
             .n = g->n,
             .k = g->k,
             .workspace = at->workspace,
             .scale = at->scale};
    if (g->d_col != 1 && (g->n > 1 || g->d_row == 1)) {
        j.a = transposed(b);
        j.b = transposed(a);
        j.d = transposed(d);
        j.c = transposed(c);
        j.m = g->n;
        j.n = g->m;
    }
    cut(&j);
    if (pool)
        pool_run(pool, run_tiles, &j, j.tiles, 1);
    else
        run_tiles(&j, 0, j.tiles, 0);
}

/* Batch elements of a small gemm are what the threads share. */
typedef struct Batch {
    const Blas *blas;
    Pool *inner;
    const TitanGemm *g;
    GemmBuffers at;
} Batch;

static void run_batch(void *user, int64_t begin, int64_t end, unsigned worker)
{
    const Batch *x = user;
    const TitanGemm *g = x->g;
    for (int64_t i = begin; i < end; i++) {
        int64_t rest = i, ia = 0, ib = 0, id = 0;
        for (int b = (int)g->nbatch - 1; b >= 0; b--) {
            int64_t c = rest % g->batch[b];
            rest /= g->batch[b];
            ia += c * g->a_batch[b];
            ib += c * g->b_batch[b];
            id += c * g->d_batch[b];
        }
        GemmBuffers at = {
            (const char *)x->at.a + ia * titan_dtype_bytes(g->dtype_a),
            (const char *)x->at.b + ib * titan_dtype_bytes(g->dtype_b),
            (char *)x->at.d + id * titan_dtype_bytes(g->dtype_d),
            x->at.c,
            x->at.scale,
            x->at.workspace};
        if (at.c)
            at.c = (const char *)at.c + id * titan_dtype_bytes(g->dtype_d);
        if (!x->inner && at.workspace)
            at.workspace = (char *)at.workspace + worker * block_of(g);
        run_one(x->blas, x->inner, g, &at);
    }
}

void blas_gemm(const Blas *blas, Pool *pool, const TitanGemm *g,
               const GemmBuffers *at)
{
    int64_t batches = 1;
    for (uint32_t i = 0; i < g->nbatch; i++)
        batches *= g->batch[i];
    bool by_batch = pool && batches > 1 && g->m * g->n <= 512 * 512;
    Batch x = {blas, by_batch ? NULL : pool, g, *at};
    if (by_batch)
        pool_run(pool, run_batch, &x, batches, 1);
    else
        run_batch(&x, 0, batches, 0);
}
