/*
 * number.h: floats in memory, for libraries that compute with them.
 */
#ifndef TITAN_TESTS_NUMBER_H
#define TITAN_TESTS_NUMBER_H

#include <string.h>

#include "tests/ptx/machine.h"

static inline size_t number_bytes(PtxType t)
{
    return ptx_types[t].bits / 8;
}

static inline double number_at(PtxType t, const void *from, size_t i)
{
    const unsigned char *at = (const unsigned char *)from + i * number_bytes(t);
    double wide;
    float single;
    uint16_t half;
    switch (number_bytes(t)) {
    case 8:
        memcpy(&wide, at, 8);
        return wide;
    case 4:
        memcpy(&single, at, 4);
        return (double)single;
    case 2:
        memcpy(&half, at, 2);
        return ptx_number(t, half);
    }
    return ptx_number(t, *at);
}

/* Rounded to the nearest. */
static inline void number_put(PtxType t, void *to, size_t i, double x)
{
    unsigned char *at = (unsigned char *)to + i * number_bytes(t);
    float single = (float)x;
    uint16_t half;
    switch (number_bytes(t)) {
    case 8:
        memcpy(at, &x, 8);
        return;
    case 4:
        memcpy(at, &single, 4);
        return;
    case 2:
        half = (uint16_t)ptx_bits(t, x);
        memcpy(at, &half, 2);
        return;
    }
    *at = (unsigned char)ptx_bits(t, x);
}

#endif
