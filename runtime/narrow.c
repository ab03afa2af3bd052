/*
 * narrow.c: conversions between f32 and the formats of dtypes.def.
 *
 * Rounding is that of casts in the language.  One generic path serves every
 * small format from its row in formats.def; bf16 and f32, which matter for
 * speed, have loops of their own.
 */
#include "narrow.h"

#include <math.h>
#include <string.h>

enum {
#define DTYPE(name, bytes, cls, st) D_##name,
#include "dtypes.def"
#undef DTYPE
};

static float bits_float(uint32_t b)
{
    float f;
    memcpy(&f, &b, 4);
    return f;
}

static uint32_t float_bits(float f)
{
    uint32_t b;
    memcpy(&b, &f, 4);
    return b;
}

static uint16_t to_bf16(float f)
{
    uint32_t b = float_bits(f);
    if (f != f) return (uint16_t)((b >> 16) | 0x40);
    return (uint16_t)((b + 0x7fff + ((b >> 16) & 1)) >> 16);
}

/* By number of dtypes.def. */
static const NarrowFormat formats[] = {
#define FORMAT(name, sign, exponent, mantissa, bias, top, over, nan) \
    [D_##name] = {sign,         exponent,      mantissa, bias,       \
                  NARROW_##top, NARROW_##over, nan},
#include "formats.def"
#undef FORMAT
};

const NarrowFormat *narrow_format(uint32_t dtype)
{
    return dtype < sizeof formats / sizeof *formats && formats[dtype].exp
               ? &formats[dtype]
               : NULL;
}

static double decode(const NarrowFormat *f, uint32_t bits)
{
    uint32_t fields = (1u << (f->exp + f->man)) - 1, body = bits & fields;
    uint32_t e = body >> f->man, m = body & ((1u << f->man) - 1);
    double x;
    if (f->top == NARROW_ieee && e == (1u << f->exp) - 1)
        x = m ? NAN : INFINITY;
    else if (f->top == NARROW_one && body == fields)
        x = NAN;
    else if (e == 0 && f->sign)
        x = ldexp(m, 1 - f->bias - f->man);
    else
        x = ldexp(m + (1 << f->man), (int)e - f->bias - f->man);
    return f->sign && bits > fields ? -x : x;
}

/* The bits of what is beyond the largest number. */
static uint32_t over_bits(const NarrowFormat *f)
{
    uint32_t fields = (1u << (f->exp + f->man)) - 1;
    uint32_t infinity = ((1u << f->exp) - 1) << f->man;
    if (f->top != NARROW_ieee) return fields - (f->top == NARROW_one);
    return f->over == NARROW_sat ? infinity - 1 : infinity;
}

/* Down to a power of two. */
static uint32_t encode_power(const NarrowFormat *f, double x)
{
    int e;
    if (isnan(x)) return (uint32_t)f->nan;
    if (!(x > 0)) return 0;
    if (isinf(x)) return over_bits(f);
    frexp(x, &e);
    e += f->bias - 1;
    if (e < 0) return 0;
    return (uint32_t)e > over_bits(f) ? over_bits(f) : (uint32_t)e;
}

static uint32_t encode(const NarrowFormat *f, double x)
{
    uint32_t sign = signbit(x) ? 1u << (f->exp + f->man) : 0;
    if (!f->sign) return encode_power(f, x);
    if (isnan(x))
        return (f->top == NARROW_numbers ? 0 : sign) | (uint32_t)f->nan;
    x = fabs(x);
    int e;
    if (isinf(x)) return sign | over_bits(f);
    if (x == 0) return sign;
    frexp(x, &e);
    e = e - 1 < 1 - f->bias ? 1 - f->bias : e - 1;
    uint32_t low = (uint32_t)(e + f->bias - 1) << f->man;
    double r = nearbyint(ldexp(x, f->man - e));
    bool over = e > 1 << f->exp || low + (uint32_t)r > over_bits(f);
    return sign | (over ? over_bits(f) : low + (uint32_t)r);
}

double narrow_load_one(uint32_t dtype, const char *from)
{
    union {
        double f64;
        float f32;
        uint64_t u64;
        int64_t i64;
        uint32_t u32;
        int32_t i32;
        uint16_t u16;
        int16_t i16;
        uint8_t u8;
        int8_t i8;
    } v;
    v.u64 = 0;
    memcpy(&v, from, titan_dtype_bytes(dtype));
    switch (dtype) {
    case D_f64:
        return v.f64;
    case D_f32:
        return v.f32;
    case D_bf16:
        return bits_float((uint32_t)v.u16 << 16);
    case D_f16:
        return decode(&formats[dtype], v.u16);
    case D_e4m3:
    case D_e5m2:
    case D_e2m1:
    case D_e8m0:
        return decode(&formats[dtype], v.u8);
    case D_i64:
        return (double)v.i64;
    case D_i32:
        return v.i32;
    case D_i16:
        return v.i16;
    case D_i8:
        return v.i8;
    case D_u64:
        return (double)v.u64;
    case D_u32:
        return v.u32;
    case D_u16:
        return v.u16;
    default:
        return v.u8;
    }
}

static uint64_t integer_bits(double x)
{
    return x < 0 ? (uint64_t)(int64_t)x : (uint64_t)x;
}

void narrow_store_one(uint32_t dtype, double x, char *to)
{
    float f = (float)x;
    uint64_t bits;
    switch (dtype) {
    case D_f64:
        memcpy(&bits, &x, 8);
        break;
    case D_f32:
        bits = float_bits(f);
        break;
    case D_bf16:
        bits = to_bf16(f);
        break;
    case D_f16:
    case D_e4m3:
    case D_e5m2:
    case D_e2m1:
    case D_e8m0:
        bits = encode(&formats[dtype], x);
        break;
    default:
        bits = integer_bits(x);
    }
    memcpy(to, &bits, titan_dtype_bytes(dtype));
}

/* A tensor in a file begins at any byte. */
typedef uint16_t Unaligned16 __attribute__((aligned(1)));

/* Rows of bf16 in loops that a compiler turns into vectors. */
static void load_bf16(const Unaligned16 *restrict from, uint32_t *restrict to,
                      int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = (uint32_t)from[i] << 16;
}

static void store_bf16(const uint32_t *restrict from, Unaligned16 *restrict to,
                       int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t b = from[i];
        uint32_t rounded = (b + 0x7fff + ((b >> 16) & 1)) >> 16;
        uint32_t nan = b >> 16 | 0x40;
        to[i] = (Unaligned16)((b & 0x7fffffff) > 0x7f800000 ? nan : rounded);
    }
}

void narrow_load(uint32_t dtype, const char *from, float *to, int64_t n)
{
    if (dtype == D_f32) {
        memcpy(to, from, (size_t)n * 4);
    } else if (dtype == D_bf16) {
        load_bf16((const Unaligned16 *)(const void *)from,
                  (uint32_t *)(void *)to, n);
    } else {
        unsigned size = titan_dtype_bytes(dtype);
        for (int64_t i = 0; i < n; i++)
            to[i] = (float)narrow_load_one(dtype, from + i * size);
    }
}

void narrow_store(uint32_t dtype, const float *from, char *to, int64_t n)
{
    if (dtype == D_f32) {
        memcpy(to, from, (size_t)n * 4);
    } else if (dtype == D_bf16) {
        store_bf16((const uint32_t *)(const void *)from, (uint16_t *)(void *)to,
                   n);
    } else {
        unsigned size = titan_dtype_bytes(dtype);
        for (int64_t i = 0; i < n; i++)
            narrow_store_one(dtype, from[i], to + i * size);
    }
}
