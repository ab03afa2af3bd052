/*
 * cuda_scan.h: what the kernel that looks for bad floats is told.
 */
#ifndef TITAN_CUDA_SCAN_H
#define TITAN_CUDA_SCAN_H

#include "titan.h"

#include <stddef.h>

#define CUDA_SCAN_KERNEL "titan_scan"

/* Elements are numbered with the last span innermost.  Without its sign an
 * element is a NaN above INFINITE, an infinity at it, and finite below.  FIRST
 * is lowered to the number of the first that is bad. */
typedef struct CudaScanArgs {
    uint64_t at, n, first;
    uint64_t magnitude; /* all bits but the sign's */
    uint64_t infinite;
    uint32_t may, bytes; /* bits of TITAN_MAY_; of one element */
    uint64_t nspans;
    TitanSpan span[TITAN_MOST_SPANS];
} CudaScanArgs;

/* The kernel has offsets in its text. */
_Static_assert(offsetof(CudaScanArgs, may) == 40, "cuda_scan.c");
_Static_assert(offsetof(CudaScanArgs, span) == 56, "cuda_scan.c");
_Static_assert(sizeof(CudaScanArgs) == 312, "cuda_scan.c");

/* Its text. */
const char *cuda_scan_ptx(void);

#endif
