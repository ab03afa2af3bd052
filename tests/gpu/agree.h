/*
 * agree.h: when an element that a kernel made is the one that the interpreter
 * has.
 */
#ifndef TITAN_TESTS_GPU_AGREE_H
#define TITAN_TESTS_GPU_AGREE_H

#include <math.h>

#include "ir/ir.h"

static inline double tolerance(DType d)
{
    switch (d) {
    case DT_f64:
        return 1e-12;
    case DT_f32:
        return 2e-5;
    case DT_bf16:
        return 0x1p-7;
    case DT_f16:
        return 0x1p-9;
    case DT_e4m3:
        return 0x1p-3;
    case DT_e5m2:
        return 0x1p-2;
    default:
        return 0;
    }
}

static inline bool agrees(DType d, Cell got, Cell want, bool exact)
{
    if (dtype_class(d) != DC_float) return got.i == want.i;
    if (isnan(want.f) || isnan(got.f)) return isnan(want.f) && isnan(got.f);
    if (got.f == want.f) return true;
    if (exact || isinf(want.f)) return false;
    return fabs(got.f - want.f) <= tolerance(d) * (1 + fabs(want.f));
}

#endif
