/*
 * added.h: sums that a matmul or a scatter makes.
 */
#ifndef TITAN_ADDED_H
#define TITAN_ADDED_H

#include "../ir/ir.h"

/* The map adds up each of its operands once, two at least, and does nothing
 * else. */
bool map_is_sum(Module *m, const Inst *map);

/* MAP adds an einsum's result to a value of its axes: { _0 + _1 }, perhaps
 * rounded.  The einsum's result is as it was summed; the other value is of the
 * dtype of the sum, or of the map's.  Gives the operand number of the einsum;
 * of two, of the one that is made last.
 *
 * Nobody else needs the product then, so the two are one gemm, which rounds
 * once.  Canonicalise keeps such a map apart from the maps that read it,
 * precision does not round the product, and fuse makes it one group. */
bool map_adds_einsum(const Module *m, const Fn *fn, const Inst *map,
                     const Uses *uses, uint32_t *einsum);

/* MAP multiplies an einsum's result, sums of products of eight-bit numbers, by
 * one number: { _0 * _1 }, perhaps rounded.  Nobody else needs the sums; so a
 * gemm that takes a scale gives what the map does. */
bool map_scales_einsum(const Module *m, const Fn *fn, const Inst *map,
                       const Uses *uses, uint32_t *einsum);

/* How many rows, columns, terms and how much of what both operands have EINSUM
 * has here, by role. */
void einsum_sizes(const Module *m, const Fn *fn, const Inst *einsum,
                  int64_t size[4]);

/* Numbers of eight bits are multiplied 16 at a time, along the sum and along
 * SIDE, which lies together in the result: EINSUM_row or EINSUM_column, others
 * do not matter.  The product of EINSUM fills such units. */
bool einsum_fills_units(const Module *m, const Fn *fn, const Inst *einsum,
                        EinsumRole side);

/* MAP multiplies numbers of eight bits or fewer by what blocks of them share:
 * { f32(_0) * _1 }, perhaps rounded to bf16.  A gemm that takes such scales
 * reads both as they are, so canonicalise keeps what makes the numbers apart
 * from the map. */
bool map_scales_operand(const Module *m, const Fn *fn, const Inst *map);

/* Both operands of EINSUM are such numbers, which fill its units, with scales
 * that a gemm takes: of rows, or of blocks, in a matrix at most those of blocks
 * of rows. */
bool einsum_takes_scales(const Module *m, const Fn *fn, const Inst *einsum);

/* Both operands of EINSUM are such numbers, or gathered from such, of blocks of
 * rows that choose their matrix or add to it: of these a kernel multiplies sums
 * by scales (codegen/matmul_scale.c). */
bool einsum_takes_chosen_scales(const Module *m, const Fn *fn,
                                const Inst *einsum);

/* MAP adds a scatter's sums to a value of its type: { _0 + _1 }, perhaps
 * through casts, so that where nothing is scattered the value is the sum.
 * Gives the operand number of the scatter, which nobody else reads: only the
 * rows that it names change. */
bool map_adds_scatter(const Module *m, const Fn *fn, const Inst *map,
                      const Uses *uses, uint32_t *scatter);
/* MAP is a cast of a scatter's sums, which nobody else reads: the scatter
 * stores them so. */
bool map_casts_scatter(const Module *m, const Fn *fn, const Inst *map,
                       const Uses *uses);

#endif
