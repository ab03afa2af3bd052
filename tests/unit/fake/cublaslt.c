/*
 * cublaslt.c: matrix products without a GPU, one element after the other.
 *
 * Column-major, as the library has it; f32 and f64.
 */
#include "fake.h"

#include <stdlib.h>
#include <string.h>

struct LtDescRow {
    int op_a, op_b, scale, processors;
};
struct LtLayoutRow {
    int dtype;
    int64_t rows, cols, ld, stride;
    int32_t batch;
};
struct LtPreferenceRow {
    uint32_t align[9];
};

#define LT(name, symbol, ...) LtStatus name(__VA_ARGS__) __asm__(symbol);
#include "runtime/cublaslt.def"
#undef LT
size_t version(void) __asm__("cublasLtGetVersion");
const char *status_name(LtStatus st) __asm__("cublasLtGetStatusName");

size_t version(void)
{
    return 130100;
}

const char *status_name(LtStatus st)
{
    return st == LT_not_supported ? "CUBLAS_STATUS_NOT_SUPPORTED" : "?";
}

LtStatus create(LtHandle *handle)
{
    if (fake_fails(__func__)) return 13;
    *handle = calloc(1, 1);
    return 0;
}

LtStatus destroy(LtHandle handle)
{
    free(handle);
    return 0;
}

LtStatus desc_create(LtDesc *desc, int compute, int scale)
{
    if (fake_fails(__func__)) return 13;
    *desc = calloc(1, sizeof **desc);
    (*desc)->scale = scale;
    return compute == (scale == LT_f64 ? LT_compute_f64 : LT_compute_f32) ? 0
                                                                          : 7;
}

LtStatus desc_destroy(LtDesc desc)
{
    free(desc);
    return 0;
}

LtStatus desc_set(LtDesc desc, int what, const void *at, size_t bytes)
{
    if (fake_fails(__func__)) return 13;
    int *to = what == LT_desc_op_a         ? &desc->op_a
              : what == LT_desc_op_b       ? &desc->op_b
              : what == LT_desc_processors ? &desc->processors
                                           : NULL;
    if (to) memcpy(to, at, bytes);
    return 0;
}

LtStatus layout_create(LtLayout *layout, int dtype, uint64_t rows,
                       uint64_t cols, int64_t ld)
{
    if (fake_fails(__func__)) return 13;
    *layout = calloc(1, sizeof **layout);
    **layout = (struct LtLayoutRow){
        .dtype = dtype, .rows = rows, .cols = cols, .ld = ld, .batch = 1};
    return ld >= (int64_t)rows ? 0 : 7;
}

LtStatus layout_destroy(LtLayout layout)
{
    free(layout);
    return 0;
}

LtStatus layout_set(LtLayout layout, int what, const void *at, size_t bytes)
{
    if (fake_fails(__func__)) return 13;
    if (what == LT_layout_batch)
        memcpy(&layout->batch, at, bytes);
    else
        memcpy(&layout->stride, at, bytes);
    return 0;
}

LtStatus preference_create(LtPreference *preference)
{
    if (fake_fails(__func__)) return 13;
    *preference = calloc(1, sizeof **preference);
    return 0;
}

LtStatus preference_destroy(LtPreference preference)
{
    free(preference);
    return 0;
}

LtStatus preference_set(LtPreference preference, int what, const void *at,
                        size_t bytes)
{
    if (fake_fails(__func__)) return 13;
    if (bytes == 4) memcpy(&preference->align[what], at, 4);
    return 0;
}

/* As many ways as are asked for; the number of each is in its first word, and
 * the third is the fastest. */
LtStatus heuristic(LtHandle handle, LtDesc desc, LtLayout a, LtLayout b,
                   LtLayout c, LtLayout d, LtPreference preference, int asked,
                   LtHeuristic *results, int *n)
{
    if (fake_fails(__func__)) return 13;
    (void)handle, (void)desc, (void)a, (void)b, (void)c, (void)d;
    *n = asked < 4 ? asked : 4;
    for (int i = 0; i < *n; i++)
        results[i] = (LtHeuristic){.algo.word[0] = (uint64_t)i + 1};
    fake_log("choose for %u %u %u %u\n", preference->align[LT_want_align_a],
             preference->align[LT_want_align_b],
             preference->align[LT_want_align_c],
             preference->align[LT_want_align_d]);
    return 0;
}

LtStatus algo_check(LtHandle handle, LtDesc desc, LtLayout a, LtLayout b,
                    LtLayout c, LtLayout d, const LtAlgo *algo,
                    LtHeuristic *result)
{
    (void)handle, (void)desc, (void)a, (void)b, (void)c, (void)d;
    *result = (LtHeuristic){.algo = *algo};
    return algo->word[0] > 4 ? LT_not_supported : 0;
}

typedef struct Product {
    struct LtDescRow desc;
    struct LtLayoutRow la, lb, lc, ld;
    const char *a, *b, *c;
    char *d;
    double alpha, beta;
    uint64_t algo;
} Product;

static double load(const struct LtLayoutRow *l, const char *at, int64_t r,
                   int64_t c, int64_t batch)
{
    int64_t i = r + c * l->ld + batch * l->stride;
    return l->dtype == LT_f64 ? ((const double *)(const void *)at)[i]
                              : ((const float *)(const void *)at)[i];
}

static double dot(const Product *p, int64_t r, int64_t c, int64_t batch)
{
    int64_t k = p->desc.op_a == LT_op_t ? p->la.rows : p->la.cols;
    double sum = 0;
    for (int64_t i = 0; i < k; i++) {
        bool ta = p->desc.op_a == LT_op_t, tb = p->desc.op_b == LT_op_t;
        sum += load(&p->la, p->a, ta ? i : r, ta ? r : i, batch) *
               load(&p->lb, p->b, tb ? c : i, tb ? i : c, batch);
    }
    return sum;
}

static void multiply(const void *data)
{
    Product here = *(const Product *)data, *p = &here;
    const struct LtLayoutRow *l = &p->ld;
    p->a = fake_host((CuPtr)p->a);
    p->b = fake_host((CuPtr)p->b);
    p->c = fake_host((CuPtr)p->c);
    p->d = fake_host((CuPtr)p->d);
    fake_log("matmul way %d", (int)p->algo);
    if (p->desc.processors) fake_log(" on %d", p->desc.processors);
    fake_log("\n");
    fake_spend(p->algo == 3 ? 1000 : 1500);
    for (int64_t batch = 0; batch < l->batch; batch++)
        for (int64_t c = 0; c < l->cols; c++)
            for (int64_t r = 0; r < l->rows; r++) {
                double x = p->alpha * dot(p, r, c, batch);
                if (p->beta != 0)
                    x += p->beta * load(&p->lc, p->c, r, c, batch);
                int64_t i = r + c * l->ld + batch * l->stride;
                if (l->dtype == LT_f64)
                    ((double *)(void *)p->d)[i] = x;
                else
                    ((float *)(void *)p->d)[i] = (float)x;
            }
}

static double scalar(LtDesc desc, const void *at)
{
    return desc->scale == LT_f64 ? *(const double *)at : *(const float *)at;
}

LtStatus matmul(LtHandle handle, LtDesc desc, const void *alpha, const void *a,
                LtLayout la, const void *b, LtLayout lb, const void *beta,
                const void *c, LtLayout lc, void *d, LtLayout ld,
                const LtAlgo *algo, void *workspace, size_t workspace_bytes,
                CuStream stream)
{
    if (fake_fails(__func__)) return 13;
    (void)handle;
    if (!workspace && workspace_bytes) return 7; /* invalid value */
    Product p = {*desc,
                 *la,
                 *lb,
                 *lc,
                 *ld,
                 a,
                 b,
                 c,
                 d,
                 scalar(desc, alpha),
                 scalar(desc, beta),
                 algo->word[0]};
    fake_work(stream, multiply, &p, sizeof p);
    return 0;
}
