/*
 * openblas.c: matrix products on any processor alike, one element after the
 * other.
 *
 * Each element is one sum in the order of its terms, whatever the sizes of the
 * product, so programs that multiply the same rows in other pieces give the
 * same bits.  The library's kernels differ in that from processor to processor.
 */
#include <stdbool.h>
#include <stddef.h>

enum { NO_TRANS = 111 };

typedef struct Matrix {
    const void *at;
    ptrdiff_t row, col;
} Matrix;

static Matrix matrix(const void *at, int trans, int ld)
{
    return trans == NO_TRANS ? (Matrix){at, ld, 1} : (Matrix){at, 1, ld};
}

static double element(Matrix x, bool wide, ptrdiff_t r, ptrdiff_t c)
{
    ptrdiff_t i = r * x.row + c * x.col;
    return wide ? ((const double *)x.at)[i] : (double)((const float *)x.at)[i];
}

static double sum_of(Matrix a, Matrix b, bool wide, ptrdiff_t r, ptrdiff_t c,
                     int k)
{
    double sum = 0;
    for (int i = 0; i < k; i++)
        sum += element(a, wide, r, i) * element(b, wide, i, c);
    return sum;
}

void cblas_sgemm(int order, int ta, int tb, int m, int n, int k, float alpha,
                 const float *a, int lda, const float *b, int ldb, float beta,
                 float *d, int ldd);
void cblas_dgemm(int order, int ta, int tb, int m, int n, int k, double alpha,
                 const double *a, int lda, const double *b, int ldb,
                 double beta, double *d, int ldd);
void openblas_set_num_threads(int n);

void cblas_sgemm(int order, int ta, int tb, int m, int n, int k, float alpha,
                 const float *a, int lda, const float *b, int ldb, float beta,
                 float *d, int ldd)
{
    Matrix x = matrix(a, ta, lda), y = matrix(b, tb, ldb);
    (void)order;
    for (ptrdiff_t r = 0; r < m; r++)
        for (ptrdiff_t c = 0; c < n; c++) {
            float *out = d + r * ldd + c;
            float sum = alpha * (float)sum_of(x, y, false, r, c, k);
            *out = beta == 0 ? sum : sum + beta * *out;
        }
}

void cblas_dgemm(int order, int ta, int tb, int m, int n, int k, double alpha,
                 const double *a, int lda, const double *b, int ldb,
                 double beta, double *d, int ldd)
{
    Matrix x = matrix(a, ta, lda), y = matrix(b, tb, ldb);
    (void)order;
    for (ptrdiff_t r = 0; r < m; r++)
        for (ptrdiff_t c = 0; c < n; c++) {
            double *out = d + r * ldd + c;
            double sum = alpha * sum_of(x, y, true, r, c, k);
            *out = beta == 0 ? sum : sum + beta * *out;
        }
}

void openblas_set_num_threads(int n)
{
    (void)n;
}
