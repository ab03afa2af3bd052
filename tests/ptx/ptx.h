/*
 * ptx.h: kernels of PTX, run on the host as a GPU may run them.
 *
 * A judge of what the compiler writes for GPUs, where there is none: it takes
 * the instructions that Titan's kernels have (ptx.def), and what it does not
 * know is refused when a module is read.  What a GPU leaves open is drawn: in
 * which order warps and blocks go on, when a copy that nobody waited for is
 * made, when a matrix product reads its operands.  A kernel that lacks a
 * barrier so computes something else under another seed, or is told of at once:
 * a place outside of its memory, one that is not aligned, a barrier that nobody
 * reaches, with `races` two accesses of which nothing says which is first.
 * What nobody wrote is anything, which is drawn too.
 *
 * Arithmetic is that of the PTX ISA 9.0; approximations (ex2, rcp, rsqrt, lg2,
 * sin, cos, tanh) are the nearest value to the true one.  Products of matrices
 * are summed in f64 and rounded once.
 */
#ifndef TITAN_TESTS_PTX_H
#define TITAN_TESTS_PTX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PTX_FAULT = 1024 }; /* bytes of a complaint */

typedef struct PtxModule PtxModule;
typedef struct PtxKernel PtxKernel;

/* TEXT (N bytes, which may go afterwards) as a module; NULL and a complaint
 * with the line in WHY when it has what ptx.def lacks. */
PtxModule *ptx_read(const char *text, size_t n, char why[PTX_FAULT]);
void ptx_free(PtxModule *m);
/* NULL: there is none of that name. */
const PtxKernel *ptx_kernel(const PtxModule *m, const char *name);
const char *ptx_kernel_name(const PtxKernel *k);
/* Bytes of its parameters, one behind the other as ld.param finds them. */
size_t ptx_kernel_params(const PtxKernel *k);
/* Where parameter I begins there, and its bytes; false: it has fewer. */
bool ptx_kernel_param(const PtxKernel *k, unsigned i, size_t *at, size_t *n);
/* Shared memory that it has of its own. */
size_t ptx_kernel_shared(const PtxKernel *k);

/* A tensor map, as cuTensorMapEncodeTiled gets it; it lies in the 128 bytes of
 * a CUtensorMap. */
typedef struct PtxMap {
    uint64_t at;
    uint64_t size[5];
    uint64_t stride[5]; /* bytes; of the innermost, an element's */
    uint16_t box[5], step[5];
    uint8_t rank, dtype; /* the driver's number (CUtensorMapDataType) */
    uint8_t swizzle;     /* bytes: 0, 32, 64, 128 */
    uint8_t fill;        /* not a number, where it is outside */
    uint32_t sign;       /* PTX_MAP: it is one */
} PtxMap;
enum { PTX_MAP = 0x54504d41 };

/* A piece of the device's memory that holds [at, at + n), and where it lies. */
typedef struct PtxPane {
    uint64_t at, n;
    unsigned char *host;
} PtxPane;

typedef struct PtxLaunch {
    const PtxKernel *kernel;
    unsigned grid[3], block[3];
    unsigned shared;     /* bytes beside what the kernel has of its own */
    unsigned processors; /* blocks are resident on so many; 0: 132 */
    const void *params;  /* ptx_kernel_params bytes */
    uint64_t seed;       /* of the order of what is open */
    bool races;          /* look for races (slower) */
    /* False: nobody has the byte at AT. */
    bool (*pane)(void *user, uint64_t at, PtxPane *out);
    void *user;
} PtxLaunch;

/* What a launch did. */
typedef struct PtxTally {
    uint64_t instructions;   /* of warps */
    uint64_t products;       /* of matrices: of a warp */
    uint64_t loaded, stored; /* bytes of global memory */
} PtxTally;

/* Runs it; false and a complaint in WHY (the kernel, the line and instruction,
 * block and thread, what) when it does what it may not.  TALLY may be NULL. */
bool ptx_run(const PtxLaunch *l, PtxTally *tally, char why[PTX_FAULT]);

#endif
