/*
 * narrow.h: rows of any dtype to f32 and back, as the compiler's casts round.
 */
#ifndef TITAN_NARROW_H
#define TITAN_NARROW_H

#include "titan.h"

/* A row of formats.def. */
typedef enum NarrowTop { NARROW_ieee, NARROW_one, NARROW_numbers } NarrowTop;
typedef enum NarrowOver { NARROW_infinity, NARROW_sat } NarrowOver;
typedef struct NarrowFormat {
    int sign, exp, man, bias; /* bits, but for bias */
    NarrowTop top;
    NarrowOver over;
    uint64_t nan; /* bits */
} NarrowFormat;

/* DTYPE: a number of dtypes.def; NULL for what is no float. */
const NarrowFormat *narrow_format(uint32_t dtype);

/* dtype: a number of dtypes.def; floats of up to 32 bits.  FROM and TO are
 * dense rows of n elements; narrow ones may begin at any byte. */
void narrow_load(uint32_t dtype, const char *from, float *to, int64_t n);
void narrow_store(uint32_t dtype, const float *from, char *to, int64_t n);
/* Any dtype, integers and f64 too, one element. */
double narrow_load_one(uint32_t dtype, const char *from);
void narrow_store_one(uint32_t dtype, double x, char *to);

#endif
