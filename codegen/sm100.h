/*
 * sm100.h: Blackwell's own instructions, beside those that it shares with
 * Hopper (sm90.h, whose rules are those of this file).
 *
 * Products are made in tensor memory, 128 lanes of columns of 32 bits: lane r,
 * column c of an address is address + (r << 16) + c.  Sections are those of the
 * PTX ISA 9.0 manual, 9.7.16 "tcgen05".
 */
#ifndef TITAN_SM100_H
#define TITAN_SM100_H

#include "sm90.h"

enum { SM100_LOADED = 32 }; /* columns of one load */

/* So many columns (a power of two, 32 or more); their address is stored in
 * shared memory at TO.  Nobody else allocates after that.  Warp. */
void sm100_allocate(const Site *s, LV to, unsigned columns);
void sm100_free(const Site *s, LV tensor, unsigned columns); /* warp */

/* Orders what this thread does in tensor memory before, or after, a barrier of
 * threads or an mbarrier. */
void sm100_fence_before(const Site *s);
void sm100_fence_after(const Site *s);
/* BAR hears when all that this thread has asked of the tensor cores is done. */
void sm100_commit(const Site *s, LV bar);

/* Bytes of global memory, a multiple of 16, to shared memory.  9.7.9.27.1.2
 * cp.async.bulk */
void sm100_bring(const Site *s, LV to, LV from, unsigned bytes, LV bar);

/* The descriptor of a tile in shared memory, 9.7.16.5.1: rows of `bytes`, which
 * are swizzled so (0: not), and `stride` from 8 rows to the next 8. */
LV sm100_descriptor(const Site *s, LV address, uint32_t bytes, uint32_t stride);

/* Scales of 128 rows, four of each row (a word): rows r, 32 + r, 64 + r and
 * 96 + r lie side by side, 512 bytes in all.  They become four columns, in
 * which each row's word is in lanes r % 32 of all quarters.  9.7.16.9.2
 * tcgen05.cp */
enum { SM100_SCALE_BYTES = 512, SM100_SCALE_COLUMNS = 4 };
void sm100_bring_scales(const Site *s, LV tensor, LV descriptor);

/* D[128, n] (+)= A[128, 32] B[n, 32], both along K, of e4m3, in f32: elements
 * of a row times the byte WHICH of its word of scales, powers of two.  Of one
 * thread.  9.7.16.10.9 tcgen05.mma, kind::mxf8f6f4 */
typedef struct Sm100Mma {
    unsigned n;
    unsigned which;
} Sm100Mma;
void sm100_mma(const Site *s, const Sm100Mma *op, LV d, LV a, LV b, LV scale_a,
               LV scale_b, LV add);

/* SM100_LOADED columns (i32) of this thread's lane; a warp reads the quarter of
 * the lanes that its number has in four.  Warp. */
void sm100_load(const Site *s, LV tensor, LV out[SM100_LOADED]);

#endif
