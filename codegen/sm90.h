/*
 * sm90.h: Hopper's own instructions as a thin layer over an LLVM builder.
 *
 * Each function appends what its comment says at the builder of the site (one
 * element wide; the site's width is not looked at).  Shared memory is named by
 * 32-bit addresses, `sm90_shared` plus bytes, so that a pipeline's slots are
 * integer arithmetic; sm90_at makes a pointer of one.  Sections are those of
 * the PTX ISA 9.0 manual.
 *
 * What the caller keeps: tiles in shared memory are 1024-byte aligned where
 * they are swizzled; instructions marked "warp" are reached by all 32 threads
 * of a warp together, those marked "warpgroup" by all 128 threads.
 */
#ifndef TITAN_SM90_H
#define TITAN_SM90_H

#include "emit.h"

enum {
    SM90_SHARED_MOST = 232448, /* bytes of shared memory that a block may use */
    SM90_PROCESSORS = 132,     /* of the full chip */
    SM90_GROUP = 128,          /* threads of a warpgroup */
    SM90_MOST_PARAMS = 64      /* arguments and tensor maps of a kernel */
};

/* ------------------------------------------------------------- kernels -- */

/* A kernel function of nargs pointers to global memory and nmaps tensor maps
 * of 128 bytes, by value (__grid_constant__, 9.7.9.27 takes their address).
 * `threads` bounds the block, and with it the registers at entry, without which
 * setmaxnreg has no effect. */
LV sm90_kernel(LLVMModuleRef module, const char *name, unsigned nargs,
               unsigned nmaps, unsigned threads);
/* Neighbouring blocks, so many together, share their memory (5.2.3 "cluster"):
 * the grid is a multiple of that. */
void sm90_cluster(LV kernel, unsigned blocks);

/* Numbers of this thread, i32: in the block, of its warp (the same in all
 * threads of a warp, and known to be), in its warp, of the block, of blocks. */
LV sm90_thread(const Site *s);
LV sm90_warp(const Site *s);
LV sm90_lane(const Site *s);
/* An f32 of the lane whose number differs in these bits; all lanes ask. */
LV sm90_shuffle_xor(const Site *s, LV x, unsigned bits);
LV sm90_block(const Site *s);
LV sm90_blocks(const Site *s);
LV sm90_cluster_rank(const Site *s); /* of the block in its cluster */

LV sm90_i32(const Site *s, int64_t i);
/* The same i32, of which nothing is known: what follows from it is computed
 * again where it is used, instead of being held in registers. */
LV sm90_again(const Site *s, LV x);
LV sm90_i64(const Site *s, uint64_t i);

/* Instructions of other targets: the assembly's operands are ARGS, and nothing
 * moves across it.  The second gives what `=` names in the constraints. */
void sm90_instruct(const Site *s, const char *text, const char *constraints,
                   const LV *args, unsigned n);
LV sm90_ask(const Site *s, LLVMTypeRef ret, const char *text,
            const char *constraints, const LV *args, unsigned n);
/* "{$first, ...}": N operands. */
void sm90_print_list(Buf *b, unsigned first, unsigned n);

/* ------------------------------------------------------- shared memory -- */

/* The start of dynamic shared memory, 1024-byte aligned (.extern .shared). */
LV sm90_shared(const Site *s);
LV sm90_at(const Site *s, LV address); /* pointer to shared memory */

/* How a tile's rows of `bytes` (32, 64, 128) are swizzled: the 16-byte unit in
 * the row is exclusive-ored with the number of the row (of the 128 bytes that
 * the bits come from).  5.5.6 "Swizzling modes". */
LV sm90_swizzle(const Site *s, LV offset, uint32_t bytes);

/* ----------------------------------------------------------- mbarriers -- */

/* 9.7.13.15: an 8-byte object in shared memory that counts arrivals and bytes.
 * After init by one thread, sm90_mbar_fence makes it visible to the copy
 * engine, and a barrier of the block to the threads. */
void sm90_mbar_init(const Site *s, LV bar, unsigned arrivals);
void sm90_mbar_fence(const Site *s); /* fence.mbarrier_init */
void sm90_mbar_arrive(const Site *s, LV bar);
void sm90_mbar_arrive_if(const Site *s, LV bar, LV when); /* i1 */
/* The same barrier of block `rank` (i32) of the cluster.  It orders nothing but
 * what the threads of this block see: a release to the cluster would wait for
 * all that this thread has under way. */
void sm90_mbar_arrive_there(const Site *s, LV bar, LV rank, LV when);
/* Arrives and expects so many bytes more in this phase. */
void sm90_mbar_expect(const Site *s, LV bar, LV bytes);
/* Until the phase of this parity (i32, 0 or 1) is complete.  A fresh barrier
 * lets parity 1 pass. */
void sm90_mbar_wait(const Site *s, LV bar, LV parity);

/* ---------------------------------------------------- the copy engine -- */

/* MAP is the address of a tensor map (a parameter); coordinates are i32,
 * innermost first.  9.7.9.27.1.2 cp.async.bulk.tensor. */
enum { SM90_DIMS = 5 };
void sm90_map_prefetch(const Site *s, LV map);
/* Brings so many bytes from FROM on to the second-level cache, where WHEN (i1)
 * holds; both are multiples of 16.  9.7.9.25.4.3 cp.async.bulk.prefetch. */
void sm90_prefetch(const Site *s, LV from, uint32_t bytes, LV when);
void sm90_load(const Site *s, LV to, LV map, const LV *at, unsigned dims,
               LV bar);
void sm90_store(const Site *s, LV map, const LV *at, unsigned dims, LV from);
/* What the second-level cache gives up first, or last: 9.7.9.17 createpolicy.
 */
LV sm90_policy(const Site *s, bool first);
typedef struct Sm90How {
    unsigned blocks; /* bits: to the same place of these blocks of the cluster,
                      * each of whose barriers counts the bytes; 0: of this */
    LV policy;       /* or NULL */
} Sm90How;
void sm90_load_as(const Site *s, LV to, LV map, const LV *at, unsigned dims,
                  LV bar, const Sm90How *how);
void sm90_store_as(const Site *s, LV map, const LV *at, unsigned dims, LV from,
                   LV policy);
/* Stores of this thread since the last commit are a group; wait until at most
 * `pending` groups are left that have still to read shared memory (read) or to
 * be complete.  9.7.9.27.1.3 */
void sm90_store_commit(const Site *s);
void sm90_store_wait(const Site *s, unsigned pending, bool read);
/* The same added to what is there: f32.  9.7.9.27.1.3
 * cp.reduce.async.bulk.tensor */
void sm90_add(const Site *s, LV map, const LV *at, unsigned dims, LV from);
/* A word (i32) of global memory by which blocks of threads wait for one
 * another, P a pointer.  Release: after all that this thread did, and that the
 * copy engine is known to have done for it. */
void sm90_release(const Site *s, LV p, LV x);
LV sm90_count(const Site *s, LV p); /* adds 1; what it was before */
/* Until the word is x; what this thread or, for it, the copy engine does next
 * comes after. */
void sm90_acquire_wait(const Site *s, LV p, LV x);
/* Orders this thread's writes to shared memory before what the copy engine and
 * wgmma do after the next barrier.  9.7.13.4 fence.proxy.async */
void sm90_proxy_fence(const Site *s);

/* ------------------------------------------------- warps and registers -- */

/* 9.7.13.1: barrier `id` (i32, 1 .. 15; 0 is the whole block's) of so many
 * threads; warp. */
void sm90_sync_at(const Site *s, LV id, unsigned threads);
void sm90_arrive_at(const Site *s, LV id, unsigned threads);
void sm90_sync_block(const Site *s);
/* All threads of all blocks of the cluster; memory: what they wrote before is
 * seen after. */
void sm90_sync_cluster(const Site *s, bool memory);
void sm90_sync_warp(const Site *s);
/* The least or the most of an i32 of each thread of a warp; warp.  9.7.13.10
 * redux.sync */
LV sm90_least(const Site *s, LV x);
LV sm90_most(const Site *s, LV x);
/* 9.7.20.5 setmaxnreg: registers a thread from now on, a multiple of 8;
 * warpgroup.  The one that gives comes first. */
void sm90_registers(const Site *s, unsigned n, bool more);

/* ------------------------------------------------------ wgmma (wgmma.c) -- */

/* D[64, n] (+)= A[64, 16] B[16, n] in f32, `steps` times along K; 9.7.15.
 * A is a descriptor, or four registers of packed pairs for each step.  One
 * block of inline assembly fences, multiplies and commits, so that nothing
 * comes between. */
typedef struct Sm90Mma {
    unsigned n;              /* 8 .. 256, a multiple of 8 */
    DType dtype;             /* of A and B: bf16, f16; of A: e4m3, e5m2 */
    DType b_dtype;           /* of B, where A has eight bits */
    bool a_registers;        /* A is a fragment */
    bool a_across, b_across; /* the operand is M- or N-major: not along K */
    unsigned from, steps;    /* of 16 along K; of 32 where numbers have eight
                                bits, which lie along K; those before `from`
                                are left out */
    uint32_t a_step, b_step; /* bytes from one step to the next */
    uint32_t a_run, a_skip;  /* after each run of steps, bytes more; 0: none */
    uint32_t b_run, b_skip;
} Sm90Mma;

/* acc: n / 2 f32 values, replaced.  a: a descriptor, or 4 * steps i32.  add:
 * i1, whether the first step adds to what acc holds; false: acc is overwritten.
 * Warpgroup. */
void sm90_mma(const Site *s, const Sm90Mma *op, LV *acc, const LV *a, LV b,
              LV add);
/* Until at most `pending` committed groups are under way.  The values are those
 * that may be read from then on: all accumulators (and A fragments) of the
 * groups that are complete. */
void sm90_mma_wait(const Site *s, unsigned pending, LV *values, unsigned n);

/* The descriptor of a swizzled tile in shared memory (9.7.15.5.1.2).  Along K:
 * rows of `bytes` (the swizzle's) hold K, `stride` is the bytes from 8 rows to
 * the next 8, lead is not used.  Across: rows hold M or N, one row for each
 * index of K; `stride` is the bytes from 8 rows to the next 8, and `lead` from
 * one block of `bytes` along M or N to the next. */
uint64_t sm90_descriptor_bits(uint32_t bytes, uint32_t lead, uint32_t stride);
LV sm90_descriptor(const Site *s, LV address, uint64_t bits);

/* Where register r of thread t (of the warpgroup) of an accumulator lies. */
static inline unsigned sm90_fragment_row(unsigned t, unsigned r)
{
    return t / 32 * 16 + t % 32 / 4 + r / 2 % 2 * 8;
}
static inline unsigned sm90_fragment_column(unsigned t, unsigned r)
{
    return r / 4 * 8 + t % 4 * 2 + r % 2;
}
/* The accumulator of 16 columns is the A fragment of a step along K: registers
 * 8 j .. 8 j + 7, packed in pairs, are the four of step j. */

/* ------------------------------------------------- fragments and memory -- */

/* 9.7.14.5.15 ldmatrix, 9.7.14.5.16 stmatrix: four 8 x 8 matrices of 16-bit
 * elements.  Lane l names row l % 8 of matrix l / 8; register i of a lane holds
 * two neighbours of row lane / 4 of matrix i.  Warp. */
void sm90_ldmatrix(const Site *s, LV address, bool transposed, LV out[4]);
void sm90_stmatrix(const Site *s, LV address, bool transposed,
                   const LV values[4]);
/* Two f32 as one i32, the first in the low half; to nearest even. */
LV sm90_pack(const Site *s, DType to, LV low, LV high);
/* 2^x within 2^-22, denormals are zero.  9.7.3.20 */
LV sm90_exp2(const Site *s, LV x);
/* 1 / x within a unit of the last place, denormals are zero.  9.7.3.13 */
LV sm90_rcp(const Site *s, LV x);

#endif
