/*
 * cuda_cut.h: a PTX text, cut between kernels.
 *
 *     .version .target, shared memory     in front of each part
 *     .visible .entry k0(...) ...         part 2
 *     .visible .entry k1(...) ...         part 0
 */
#ifndef TITAN_CUDA_CUT_H
#define TITAN_CUDA_CUT_H

#include "titan.h"

typedef struct PtxKernel {
    const char *at; /* ".visible .entry NAME(" and what follows */
    size_t n;
    unsigned part; /* the caller's choice */
} PtxKernel;

typedef struct PtxText {
    const char *at;  /* of the code, which outlives this */
    size_t n, front; /* up to the first kernel; all, where nothing is cut */
    PtxKernel *kernels;
    unsigned nkernels; /* 0: they share something and are not parted, or there
                          is one, or none */
} PtxText;

/* Without the image that a step.ptx ends with.  False: no memory. */
bool cuda_cut_open(const TitanCode *code, PtxText *out);
void cuda_cut_close(PtxText *t);
/* The kernels of that part, behind what is in front of each; the caller frees
 * it.  NULL: no memory. */
char *cuda_cut_part(const PtxText *t, unsigned part);

#endif
