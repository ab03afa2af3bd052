/*
 * number.h: numbers as bits, written so that a loop over lanes of them is one
 * of vectors.
 */
#ifndef TITAN_TESTS_PTX_NUMBER_H
#define TITAN_TESTS_PTX_NUMBER_H

#include <stdint.h>
#include <string.h>

static inline float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint32_t float_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline double double_of(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint64_t double_bits(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* f32 to bf16, to the nearest even */
static inline uint32_t bf16_near(float x)
{
    uint32_t u = float_bits(x);
    uint32_t near = (u + 0x7fff + (u >> 16 & 1)) >> 16;
    return x != x ? 0x7fff : near;
}

static inline float bf16_float(uint32_t bits)
{
    return float_of(bits << 16);
}

static inline float f16_float(uint32_t bits)
{
    float finite = float_of((bits & 0x7fff) << 13) * 0x1p112f;
    uint32_t top = (bits & 0x3ff) << 13 | 0x7f800000;
    uint32_t u = (bits & 0x7c00) == 0x7c00 ? top : float_bits(finite);
    return float_of(u | (bits & 0x8000) << 16);
}

static inline float e4m3_float(uint32_t bits)
{
    float finite = float_of((bits & 0x7f) << 20) * 0x1p120f;
    uint32_t u = (bits & 0x7f) == 0x7f ? 0x7fffffff : float_bits(finite);
    return float_of(u | (bits & 0x80) << 24);
}

static inline float e5m2_float(uint32_t bits)
{
    return f16_float((bits & 0xff) << 8);
}

/* f32 to eight bits with so many of them behind the point, to the nearest even
 * of what is not greater than TOP: 1.0 has the code ONE, the least normal
 * number 2^LEAST. */
static inline uint32_t f8_near(float x, unsigned point, uint32_t one, int least,
                               uint32_t top)
{
    uint32_t u = float_bits(x), a = u & 0x7fffffff, drop = 23 - point;
    uint32_t near =
        (a + ((UINT32_C(1) << (drop - 1)) - 1) + (a >> drop & 1)) >> drop;
    uint32_t code = near + one - (UINT32_C(127) << point);
    /* the steps of what is smaller, added at the end of a float's mantissa */
    float step = float_of((uint32_t)(127 + least - (int)point) << 23);
    float small = float_of(a) + step * 0x1.8p23f;
    uint32_t less = float_bits(small) - float_bits(step * 0x1.8p23f);
    uint32_t bound = (uint32_t)(127 + least) << 23;
    uint32_t c = a < bound ? less : code;
    c = c > top ? top : c;
    c = a > 0x7f800000 ? 0x7f : c | (u >> 24 & 0x80);
    return c;
}

static inline uint32_t e4m3_near(float x)
{
    float a = x > 448 ? 448 : x < -448 ? -448 : x;
    return f8_near(a, 3, 0x38, -6, 0x7e);
}

static inline uint32_t e5m2_near(float x)
{
    float a = x > 57344 ? 57344 : x < -57344 ? -57344 : x;
    return f8_near(a, 2, 0x3c, -14, 0x7b);
}

/* e4m3 as f16, which has all of its numbers */
static inline uint32_t e4m3_half(uint32_t bits)
{
    uint32_t u = float_bits(e4m3_float(bits));
    uint32_t a = u & 0x7fffffff;
    uint32_t half = a ? (a >> 13) - (112 << 10) : 0;
    return (a > 0x7f800000 ? 0x7fff : half | (u >> 16 & 0x8000));
}

static inline uint32_t e5m2_half(uint32_t bits)
{
    uint32_t half = (bits & 0xff) << 8;
    return (half & 0x7fff) > 0x7c00 ? 0x7fff : half;
}

/* 2^x for a result in f32, a few 1e-16 of it off */
static inline double power_of_two(double x)
{
    x = x > 1000 ? 1000 : x < -1000 ? -1000 : x;
    double whole = x + 0x1.8p52;
    uint64_t n = double_bits(whole); /* the whole part, at its end */
    double t = (x - (whole - 0x1.8p52)) * 0x1.62e42fefa39efp-1;
    double p = 1.0 / 6227020800;
    p = p * t + 1.0 / 479001600;
    p = p * t + 1.0 / 39916800;
    p = p * t + 1.0 / 3628800;
    p = p * t + 1.0 / 362880;
    p = p * t + 1.0 / 40320;
    p = p * t + 1.0 / 5040;
    p = p * t + 1.0 / 720;
    p = p * t + 1.0 / 120;
    p = p * t + 1.0 / 24;
    p = p * t + 1.0 / 6;
    p = p * t + 0.5;
    p = p * t + 1;
    p = p * t + 1;
    return p * double_of((n << 52) + (UINT64_C(1023) << 52));
}

#endif
