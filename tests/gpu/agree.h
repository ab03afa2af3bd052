/*
 * agree.h: when an element that a kernel made is the one that the interpreter
 * has.
 */
#ifndef TITAN_TESTS_GPU_AGREE_H
#define TITAN_TESTS_GPU_AGREE_H

#include <math.h>

#include "ir/ir.h"

/* How near they are. */
typedef enum Near {
    NEAR_sums,  /* to what is not rounded on the way */
    NEAR_exact, /* bits, but those of a NaN */
    NEAR_flips, /* to what is rounded as the kernel does: of what is of 16 bits
                   on the way some numbers come out on the other side, so
                   nothing is nearer than they are */
} Near;

/* Sums of a few hundred in another order; what is narrow is rounded besides.  A
 * number of 16 bits that comes out on the other side moves what it is a term of
 * by a place of that, up to two units of bf16; a narrow result is rounded after
 * that. */
static inline double tolerance(DType d, Near near)
{
    if (near == NEAR_flips)
        return (d == DT_f32 ? 2 : 3) * dtype_unit(d == DT_f32 ? DT_bf16 : d);
    if (d == DT_f64) return 1e-12;
    return d == DT_f32 ? 2e-5 : 2 * dtype_unit(d);
}

/* MOST: the largest number of the result; terms are as large, also of what
 * cancels. */
static inline bool agrees(DType d, Cell got, Cell want, Near near, double most)
{
    if (dtype_class(d) != DC_float) return got.i == want.i;
    if (isnan(want.f) || isnan(got.f)) return isnan(want.f) && isnan(got.f);
    if (near == NEAR_exact)
        return got.f == want.f && signbit(got.f) == signbit(want.f);
    if (got.f == want.f || isinf(want.f)) return got.f == want.f;
    double of = near == NEAR_flips ? most : fabs(want.f);
    return fabs(got.f - want.f) <= tolerance(d, near) * (1 + of);
}

/* The larger of MOST and the size of an element of D; what is no number counts
 * nothing. */
static inline double larger(DType d, Cell x, double most)
{
    bool counts = dtype_class(d) == DC_float && isfinite(x.f);
    return counts && fabs(x.f) > most ? fabs(x.f) : most;
}

#endif
