/*
 * cublaslt.c: matrix products without a GPU.
 *
 * Column-major, as the library has it.  Sums are made in f64 and rounded once.
 * Of operands of eight bits it takes what the library does on Hopper: K lies
 * side by side, in sixteens, and there may be scales of either.
 */
#include "fake.h"

#include "number.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK = 128 }; /* of scales */

struct LtDescRow {
    int op_a, op_b, scale, processors, mode_a, mode_b;
    const void *scale_a, *scale_b; /* f32 of the device, or NULL */
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
    void *to = what == LT_desc_op_a           ? (void *)&desc->op_a
               : what == LT_desc_op_b         ? (void *)&desc->op_b
               : what == LT_desc_processors   ? (void *)&desc->processors
               : what == LT_desc_scale_a      ? (void *)&desc->scale_a
               : what == LT_desc_scale_b      ? (void *)&desc->scale_b
               : what == LT_desc_scale_mode_a ? (void *)&desc->mode_a
               : what == LT_desc_scale_mode_b ? (void *)&desc->mode_b
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

static PtxType type_of(int dtype)
{
    return dtype == LT_f64    ? PT_f64
           : dtype == LT_bf16 ? PT_bf16
           : dtype == LT_f16  ? PT_f16
           : dtype == LT_e4m3 ? PT_e4m3
           : dtype == LT_e5m2 ? PT_e5m2
                              : PT_f32;
}

static bool is_narrow(const struct LtLayoutRow *l)
{
    return l->dtype == LT_e4m3 || l->dtype == LT_e5m2;
}

/* Of operands of eight bits, on Hopper. */
static bool takes(const struct LtDescRow *d, const struct LtLayoutRow *a,
                  const struct LtLayoutRow *b, const struct LtLayoutRow *to)
{
    if (!is_narrow(a) && !is_narrow(b)) return true;
    return is_narrow(a) && is_narrow(b) && d->op_a == LT_op_t &&
           d->op_b == LT_op_n && a->rows % 16 == 0 && a->ld % 16 == 0 &&
           b->ld % 16 == 0 && to->rows % 16 == 0 &&
           !(a->dtype == LT_e5m2 && b->dtype == LT_e5m2);
}

/* As many ways as are asked for; the number of each is in its first word, and
 * the third is the fastest. */
LtStatus heuristic(LtHandle handle, LtDesc desc, LtLayout a, LtLayout b,
                   LtLayout c, LtLayout d, LtPreference preference, int asked,
                   LtHeuristic *results, int *n)
{
    if (fake_fails(__func__)) return 13;
    (void)handle, (void)c;
    *n = 0;
    if (!takes(desc, a, b, d)) return LT_not_supported;
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
    (void)handle, (void)c;
    *result = (LtHeuristic){.algo = *algo};
    return algo->word[0] > 4 || !takes(desc, a, b, d) ? LT_not_supported : 0;
}

typedef struct Product {
    struct LtDescRow desc;
    struct LtLayoutRow la, lb, lc, ld;
    const char *a, *b, *c;
    char *d;
    double alpha, beta;
    uint64_t algo;
} Product;

/* Elements of all batches, to the last. */
static size_t span_of(const struct LtLayoutRow *l)
{
    return (size_t)((l->batch - 1) * l->stride + (l->cols - 1) * l->ld +
                    l->rows);
}

/* An operand as it is multiplied: SIDE rows of A (columns of B) of K numbers.
 */
typedef struct Operand {
    const struct LtLayoutRow *l;
    const char *at;
    const float *scales;
    int mode;
    bool flat; /* K is a column of what is stored */
    int64_t side, k;
} Operand;

/* What element I of a row is multiplied by. */
static double scale_of(const Operand *x, int64_t row, int64_t i)
{
    int64_t blocks = (x->k + BLOCK - 1) / BLOCK;
    if (!x->scales) return 1;
    switch (x->mode) {
    case LT_scale_row:
        return (double)x->scales[row];
    case LT_scale_row128:
        return (double)x->scales[i / BLOCK * x->side + row];
    case LT_scale_block128:
        return (double)
            x->scales[row / BLOCK * ((blocks + 3) / 4 * 4) + i / BLOCK];
    }
    return (double)x->scales[0];
}

/* Rows side by side when ACROSS, else one behind the other. */
static double *numbers_of(const Operand *x, int64_t batch, bool across)
{
    double *to = malloc((size_t)(x->side * x->k + 1) * sizeof *to);
    PtxType t = type_of(x->l->dtype);
    for (int64_t c = 0; c < x->l->cols; c++)
        for (int64_t r = 0; r < x->l->rows; r++) {
            int64_t row = x->flat ? c : r, i = x->flat ? r : c;
            int64_t from = r + c * x->l->ld + batch * x->l->stride;
            to[across ? i * x->side + row : row * x->k + i] =
                number_at(t, x->at, (size_t)from) * scale_of(x, row, i);
        }
    return to;
}

static void store(const Product *p, int64_t batch, int64_t c, const double *sum)
{
    const struct LtLayoutRow *l = &p->ld;
    size_t at = (size_t)(c * l->ld + batch * l->stride);
    size_t added = (size_t)(c * p->lc.ld + batch * p->lc.stride);
    for (size_t r = 0; r < (size_t)l->rows; r++) {
        double x = p->alpha * sum[r];
        if (p->beta != 0)
            x += p->beta * number_at(type_of(p->lc.dtype), p->c, added + r);
        number_put(type_of(l->dtype), p->d, at + r, x);
    }
}

/* Column by column of the result. */
static void multiply_batch(const Product *p, const Operand *a, const Operand *b,
                           int64_t batch)
{
    double *x = numbers_of(a, batch, true), *y = numbers_of(b, batch, false);
    double *sum = malloc((size_t)(a->side + 1) * sizeof *sum);
    for (int64_t c = 0; c < b->side; c++) {
        memset(sum, 0, (size_t)a->side * sizeof *sum);
        for (int64_t i = 0; i < a->k; i++) {
            const double *row = x + i * a->side, by = y[c * b->k + i];
            for (int64_t r = 0; r < a->side; r++)
                sum[r] += row[r] * by;
        }
        store(p, batch, c, sum);
    }
    free(sum);
    free(x);
    free(y);
}

static void *reach(const struct LtLayoutRow *l, const void *at)
{
    return fake_span((CuPtr)(uintptr_t)at,
                     span_of(l) * number_bytes(type_of(l->dtype)), "cublasLt");
}

static Operand operand_of(const struct LtLayoutRow *l, const char *at,
                          bool flat, const void *scales, int mode)
{
    return (Operand){.l = l,
                     .at = at,
                     .scales =
                         scales ? fake_host((CuPtr)(uintptr_t)scales) : NULL,
                     .mode = mode,
                     .flat = flat,
                     .side = flat ? l->cols : l->rows,
                     .k = flat ? l->rows : l->cols};
}

static void multiply(const void *data)
{
    Product here = *(const Product *)data, *p = &here;
    const struct LtDescRow *d = &p->desc;
    fake_log("matmul way %d", (int)p->algo);
    if (d->processors) fake_log(" on %d", d->processors);
    fake_log("\n");
    fake_spend(p->algo == 3 ? 1000 : 1500);
    p->a = reach(&p->la, p->a);
    p->b = reach(&p->lb, p->b);
    p->c = p->beta != 0 ? reach(&p->lc, p->c) : NULL;
    p->d = reach(&p->ld, p->d);
    if (!p->a || !p->b || !p->d || (p->beta != 0 && !p->c)) return;
    Operand a =
        operand_of(&p->la, p->a, d->op_a == LT_op_t, d->scale_a, d->mode_a);
    Operand b =
        operand_of(&p->lb, p->b, d->op_b != LT_op_t, d->scale_b, d->mode_b);
    for (int64_t batch = 0; batch < p->ld.batch; batch++)
        multiply_batch(p, &a, &b, batch);
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
    if (!takes(desc, la, lb, ld)) return LT_not_supported;
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
