/*
 * cuda_sums.h: the runtime's own kernels that add what came from each rank.
 */
#ifndef TITAN_CUDA_SUMS_H
#define TITAN_CUDA_SUMS_H

#include <stddef.h>
#include <stdint.h>

#define CUDA_SUMS_KERNEL "titan_sum_ranks"
#define CUDA_WIDE_KERNEL "titan_sum_wide_" /* and the name of a kind */

typedef enum SumKind { SUM_f32, SUM_f64, SUM_bf16, SUM_f16, SUM_none } SumKind;

/* Element i of TO is the sum of element i of each of N pieces, in their order:
 * piece ME lies at MINE, the others one behind the other, PITCH bytes apart;
 * all do where ME is N.  COUNT is one of elements, of sixteens of bytes where a
 * kernel has those at a time. */
typedef struct CudaSumArgs {
    uint64_t to, from, count, pitch;
    uint32_t n, kind;
    uint64_t mine;
    uint32_t me, nothing;
} CudaSumArgs;

/* The kernels have offsets in their text. */
_Static_assert(offsetof(CudaSumArgs, kind) == 36, "cuda_sums.c");
_Static_assert(offsetof(CudaSumArgs, me) == 48, "cuda_sums.c");
_Static_assert(sizeof(CudaSumArgs) == 56, "cuda_sums.c");

/* Their text, which the caller frees; NULL: no memory. */
char *cuda_sums_ptx(void);

#endif
