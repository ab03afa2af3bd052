/*
 * convert.h: roundings and conversions of number.c, for alu.c.
 */
#ifndef TITAN_TESTS_PTX_CONVERT_H
#define TITAN_TESTS_PTX_CONVERT_H

#include "tests/ptx/machine.h"

typedef enum Rounding {
    ROUND_near, /* to the nearest, of two as near the even one */
    ROUND_zero,
    ROUND_down,
    ROUND_up
} Rounding;

/* The bits of X in a format; with FINITE no infinity comes out. */
uint64_t ptx_round(PtxType t, double x, Rounding how, bool finite);

/* cvt of X, of two operands of X and Y. */
uint64_t ptx_convert(const PtxInst *i, uint64_t x, uint64_t y);
/* Whether it has such a cvt, and its operands. */
bool ptx_converts(const PtxInst *i, unsigned *operands);

#endif
