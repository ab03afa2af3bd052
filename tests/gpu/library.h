/*
 * library.h: cuBLASLt, opened at run time, for the same products.
 *
 * The library counts columns first, so D = A B is asked for as D' = B' A'.
 * Numbers of enumerations are those of version 13's header.
 */
#ifndef TITAN_TESTS_GPU_LIBRARY_H
#define TITAN_TESTS_GPU_LIBRARY_H

#include "tests/gpu/driver.h"

enum { MOST_ALGORITHMS = 8, WORKSPACE = 64 << 20 };

typedef struct Algorithm {
    uint64_t algorithm[8];
    size_t workspace;
    int status;
    float waves;
    int reserved[4];
} Algorithm;

/*   name        symbol                            parameters */
#define LIBRARY_CALLS(C)                                                 \
    C(create, "cublasLtCreate", (void **))                               \
    C(product, "cublasLtMatmulDescCreate", (void **, int, int))          \
    C(product_set, "cublasLtMatmulDescSetAttribute",                     \
      (void *, int, const void *, size_t))                               \
    C(layout, "cublasLtMatrixLayoutCreate",                              \
      (void **, int, uint64_t, uint64_t, int64_t))                       \
    C(wish, "cublasLtMatmulPreferenceCreate", (void **))                 \
    C(wish_set, "cublasLtMatmulPreferenceSetAttribute",                  \
      (void *, int, const void *, size_t))                               \
    C(choose, "cublasLtMatmulAlgoGetHeuristic",                          \
      (void *, void *, void *, void *, void *, void *, void *, int,      \
       Algorithm *, int *))                                              \
    C(run, "cublasLtMatmul",                                             \
      (void *, void *, const void *, const void *, void *, const void *, \
       void *, const void *, const void *, void *, void *, void *,       \
       const void *, void *, size_t, void *))

typedef struct Library {
    void *handle;
    uint64_t workspace;
#define C(name, symbol, params) int(*name) params;
    LIBRARY_CALLS(C)
#undef C
} Library;

/* False: this machine has no library. */
static inline bool library_open(const Driver *d, Library *l)
{
    void *lib = dlopen("libcublasLt.so.13", RTLD_NOW);
    if (!lib) lib = dlopen("libcublasLt.so", RTLD_NOW);
    if (!lib) return false;
#define C(name, symbol, params)              \
    *(void **)&l->name = dlsym(lib, symbol); \
    if (!l->name) return false;
    LIBRARY_CALLS(C)
#undef C
    MUST(d, alloc, (&l->workspace, WORKSPACE));
    return l->create(&l->handle) == 0;
}

/* A product as the library knows it. */
typedef struct Plan {
    void *product, *layout[3]; /* B', A', D' */
    Algorithm at[MOST_ALGORITHMS];
    int n;
} Plan;

typedef struct Gemm3 {
    int64_t m, n, k, a_row, a_col, b_row, b_col, d_row;
    bool wide, add; /* D is f32; D is added to */
} Gemm3;

static inline void library_plan(const Library *l, const Gemm3 *g, Plan *p)
{
    enum { F32 = 0, BF16 = 14, COMPUTE_F32 = 68, OP_A = 3, OP_B = 4 };
    int turn_b = g->b_row == 1, turn_a = g->a_col != 1; /* of what it sees */
    size_t most = WORKSPACE;
    uint64_t k = (uint64_t)g->k, m = (uint64_t)g->m, n = (uint64_t)g->n;
    void *wish;
    l->product(&p->product, COMPUTE_F32, F32);
    l->product_set(p->product, OP_A, &turn_b, sizeof turn_b);
    l->product_set(p->product, OP_B, &turn_a, sizeof turn_a);
    l->layout(&p->layout[0], BF16, turn_b ? k : n, turn_b ? n : k,
              turn_b ? g->b_col : g->b_row);
    l->layout(&p->layout[1], BF16, turn_a ? m : k, turn_a ? k : m,
              turn_a ? g->a_col : g->a_row);
    l->layout(&p->layout[2], g->wide ? F32 : BF16, n, m, g->d_row);
    l->wish(&wish);
    l->wish_set(wish, 1, &most, sizeof most);
    p->n = 0;
    l->choose(l->handle, p->product, p->layout[0], p->layout[1], p->layout[2],
              p->layout[2], wish, MOST_ALGORITHMS, p->at, &p->n);
}

/* Places: A, B, what is added (or D), D. */
static inline int library_run(const Library *l, const Plan *p, const Gemm3 *g,
                              int which, const uint64_t at[4], void *stream)
{
    float one = 1, beta = g->add ? 1 : 0;
    void *place[4];
    for (int i = 0; i < 4; i++)
        place[i] = (void *)(uintptr_t)at[i];
    return l->run(l->handle, p->product, &one, place[1], p->layout[0], place[0],
                  p->layout[1], &beta, place[2], p->layout[2], place[3],
                  p->layout[2], p->at[which].algorithm,
                  (void *)(uintptr_t)l->workspace, WORKSPACE, stream);
}

#endif
