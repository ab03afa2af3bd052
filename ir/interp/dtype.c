/*
 * dtype.c: rounding to every dtype, and its bytes.
 *
 * Rounding works on values, storing on bits; a test compares them over every
 * pattern.  A number is rounded to the nearest even at the quantum
 * 2^(max(exponent, least normal exponent) - mantissa bits), which also covers
 * subnormals.
 */
#include <math.h>
#include <string.h>

#include "run.h"

/* The least exponent of a normal number. */
static int least_exponent(const Format *f)
{
    return f->sign ? 1 - f->bias : -f->bias;
}

/* The pattern of the largest finite value. */
static uint32_t most_bits(const Format *f)
{
    uint32_t all = (1u << (f->exponent + f->mantissa)) - 1;
    uint32_t top = ((1u << f->exponent) - 1) << f->mantissa;
    return f->top == TOP_ieee ? top - 1 : all - (f->top == TOP_one);
}

/* A double's fields; those of the library that ask for them are slow, and every
 * value of an interpretation is rounded. */
enum { FRACTION = 52, BIAS = 1023 };

static uint64_t bits_of(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* 2 to the E, which is that of a normal double. */
static double power(int e)
{
    uint64_t bits = (uint64_t)(e + BIAS) << FRACTION;
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* That of the first digit; of what is no normal number, less than any format's.
 */
static int exponent_of(double x)
{
    return (int)(bits_of(x) >> FRACTION & 0x7ff) - BIAS;
}

static double narrow_value(DType d, uint32_t bits)
{
    const Format *f = dtype_format(d);
    int mant = (int)f->mantissa;
    uint32_t all = (1u << (f->exponent + f->mantissa)) - 1;
    uint32_t e = (bits & all) >> mant, m = bits & ((1u << mant) - 1);
    double sign = f->sign && bits & (all + 1) ? -1.0 : 1.0;
    if ((bits & all) > most_bits(f))
        return f->top == TOP_ieee && !m ? sign * INFINITY : NAN;
    if (!f->sign) return power((int)e - f->bias);
    if (e == 0) return sign * m * power(1 - f->bias - mant);
    return sign * (m + (1u << mant)) * power((int)e - f->bias - mant);
}

/* A power of two: down, and at least the least. */
static double round_power(DType d, double x)
{
    double least = narrow_value(d, 0);
    double most = narrow_value(d, most_bits(dtype_format(d)));
    if (isnan(x) || x == INFINITY) return isnan(x) ? x : most;
    if (!(x > least)) return least;
    double y = power(exponent_of(x));
    return y < most ? y : most;
}

/* To the nearest multiple of 2 to the QUANTUM, of those the even: the one that
 * is left where only such have room in a double. */
static double round_at(double x, int quantum)
{
    double large = 1.5 * power(quantum + FRACTION);
    return copysign(x + large - large, x);
}

static double round_narrow(DType d, double x)
{
    const Format *f = dtype_format(d);
    double most = narrow_value(d, most_bits(f)), y = x;
    if (isnan(x)) return f->top == TOP_numbers ? most : x;
    if (x == 0) return x;
    int e = exponent_of(x), least = least_exponent(f);
    if (e <= f->bias + 1) /* else it is too large */
        y = round_at(x, (e > least ? e : least) - (int)f->mantissa);
    if (fabs(y) <= most) return y;
    return copysign(f->over == OVER_sat ? most : INFINITY, x);
}

double dtype_round(DType d, double x)
{
    if (d == DT_f64) return x;
    if (d == DT_f32) return (double)(float)x;
    return d == DT_e8m0 ? round_power(d, x) : round_narrow(d, x);
}

/* Truncates and saturates; NaN gives 0. */
static int64_t int_of_float(DType to, double x)
{
    if (isnan(x)) return 0;
    int width = (int)dtype_bytes(to) * 8;
    bool has_sign = dtype_class(to) == DC_int;
    double limit = ldexp(1, has_sign ? width - 1 : width);
    uint64_t top = UINT64_MAX >> (64 - width + (has_sign ? 1 : 0));
    if (x >= limit) return (int64_t)top;
    if (has_sign) return x < -limit ? -(int64_t)top - 1 : (int64_t)x;
    return x <= -1 ? 0 : (int64_t)(uint64_t)x;
}

/* The double nearest to i, or, for rounding a second time, rounded to odd: a
 * set last bit keeps "a little more" from looking like a tie. */
static double float_of_int(DType from, int64_t i, bool odd)
{
    bool negative = dtype_class(from) != DC_uint && i < 0;
    uint64_t u = negative ? 0 - (uint64_t)i : (uint64_t)i;
    if (odd && u >> 53) {
        int drop = 0;
        while (u >> drop >> 53)
            drop++;
        uint64_t rest = u & ((UINT64_C(1) << drop) - 1);
        u = (u >> drop << drop) | (uint64_t)(rest != 0) << drop;
    }
    return negative ? -(double)u : (double)u;
}

Cell dtype_cast(DType to, DType from, Cell c)
{
    bool floats = dtype_class(from) == DC_float;
    if (dtype_class(to) == DC_float) {
        double x = floats ? c.f : float_of_int(from, c.i, to != DT_f64);
        return (Cell){.f = dtype_round(to, x)};
    }
    if (!floats) return (Cell){.i = dtype_wrap(to, (uint64_t)c.i)};
    if (to == DT_bool) return (Cell){.i = c.f != 0};
    return (Cell){.i = int_of_float(to, c.f)};
}

/* The pattern of a value that the format represents exactly. */
static uint32_t narrow_bits(DType d, double x)
{
    const Format *f = dtype_format(d);
    unsigned mant = f->mantissa, fields = f->exponent + mant;
    uint32_t sign = f->sign && signbit(x) ? 1u << fields : 0;
    uint32_t all = (1u << fields) - 1;
    uint32_t inf = all & ~((1u << mant) - 1);
    if (isnan(x)) return sign | (uint32_t)f->nan;
    if (isinf(x)) return sign | inf;
    if (x == 0) return sign;
    int e = exponent_of(x), least = least_exponent(f);
    if (e < least) return sign | (uint32_t)(fabs(x) * power((int)mant - least));
    uint64_t fraction = bits_of(x) & ((UINT64_C(1) << FRACTION) - 1);
    uint32_t m = 1u << mant | (uint32_t)(fraction >> (FRACTION - mant));
    uint32_t field = (uint32_t)(e - least) << mant;
    return sign | (field + (f->sign ? m : 0));
}

static uint64_t cell_bits(DType d, Cell c)
{
    uint64_t bits = 0;
    float f;
    switch (dtype_class(d)) {
    case DC_float:
        break;
    case DC_bool:
        return c.i != 0;
    default:
        return (uint64_t)c.i;
    }
    if (d == DT_f64) {
        memcpy(&bits, &c.f, 8);
    } else if (d == DT_f32) {
        f = (float)c.f;
        memcpy(&bits, &f, 4);
    } else {
        /* an infinity that was loaded is one still: only casts saturate */
        bool kept = isinf(c.f) && dtype_format(d)->top == TOP_ieee;
        bits = narrow_bits(d, kept ? c.f : dtype_round(d, c.f));
    }
    return bits;
}

void dtype_store(DType d, Cell c, void *out)
{
    uint64_t bits = cell_bits(d, c);
    uint8_t *p = out;
    unsigned n = dtype_bytes(d);
    for (unsigned i = 0; i < n; i++)
        p[i] = (uint8_t)(bits >> 8 * i);
}

Cell dtype_load(DType d, const void *in)
{
    const uint8_t *p = in;
    uint64_t bits = 0;
    unsigned n = dtype_bytes(d);
    for (unsigned i = 0; i < n; i++)
        bits |= (uint64_t)p[i] << 8 * i;
    Cell c = {.i = (int64_t)bits};
    if (d == DT_f64) {
        memcpy(&c.f, &bits, 8);
    } else if (d == DT_f32) {
        float f;
        uint32_t low = (uint32_t)bits;
        memcpy(&f, &low, 4);
        c.f = f;
    } else if (dtype_class(d) == DC_float) {
        c.f = narrow_value(d, (uint32_t)bits);
    } else if (dtype_class(d) == DC_bool) {
        c.i = bits != 0;
    } else {
        c.i = dtype_wrap(d, bits);
    }
    return c;
}
