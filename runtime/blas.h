/*
 * blas.h: OpenBLAS, opened at run time, and the gemms of an image on it.
 */
#ifndef TITAN_BLAS_H
#define TITAN_BLAS_H

#include "pool.h"

/* The entry points that we use; int is the library's blasint (LP64). */
typedef struct Blas {
    void *library;
    void (*sgemm)(int order, int ta, int tb, int m, int n, int k, float alpha,
                  const float *a, int lda, const float *b, int ldb, float beta,
                  float *c, int ldc);
    void (*dgemm)(int order, int ta, int tb, int m, int n, int k, double alpha,
                  const double *a, int lda, const double *b, int ldb,
                  double beta, double *c, int ldc);
    void (*set_threads)(int n);
    const char *(*core_name)(void);
} Blas;

/* Opens the library; sets OPENBLAS_CORETYPE from the processor first unless
 * the user has, since 0.3.21 takes newer processors for Haswell. */
TitanStatus blas_open(TitanStory *s, Blas *out);
void blas_close(Blas *b);

/* Memory of one gemm. */
typedef struct GemmBuffers {
    const void *a, *b;
    void *d;
    const void *c;      /* NULL: none */
    const float *scale; /* NULL: none */
    void *workspace;
} GemmBuffers;

/* One gemm of an image, cut into the tiles that abi.h fixes.  POOL NULL: by
 * the calling thread alone; the bits are the same. */
void blas_gemm(const Blas *blas, Pool *pool, const TitanGemm *g,
               const GemmBuffers *at);

#endif
