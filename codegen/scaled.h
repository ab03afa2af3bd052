/*
 * scaled.h: products of blocks of 32 with their scales, for sm_100a.
 *
 * A matmul group whose operands are e4m3 along K, times powers of two (e8m0)
 * that 32 elements share and that lie as tensor memory takes them
 * (GEMM_SCALE_tile32).  M, N and K are multiples of 128.
 */
#ifndef TITAN_SCALED_H
#define TITAN_SCALED_H

#include "sm100.h"

enum { SCALED_SIDE = 128, SCALED_THREADS = 192, SCALED_MAPS = 2 };

typedef struct Scaled {
    Gemm g; /* the rows of D are dense */
    uint32_t nargs, shared;
    uint32_t scale[2], result; /* arguments: the scales of A and B, and D */
    TitanMap map[SCALED_MAPS]; /* A and B */
    int64_t tiles_m, tiles_n, steps;
} Scaled;

/* False: the group is no such product. */
bool scaled_plan(Module *m, const Fn *group, const KernelArg *args,
                 Scaled *out);
/* Distinct for distinct kernels. */
void scaled_print(const Scaled *p, Buf *out);
LV scaled_emit(LLVMModuleRef module, const char *name, const Scaled *p);

#endif
