/*
 * dtype.c: rounding to every dtype, and its bytes.
 *
 * Rounding works on values, storing on bits; a test compares them over every
 * pattern.  A binary float is its precision p (with the hidden bit), its
 * smallest normal exponent and its largest finite value: nearest even at the
 * quantum 2^(max(exponent, emin) - p + 1), which also covers subnormals.
 */
#include <math.h>
#include <string.h>

#include "run.h"

typedef struct Format {
    int precision, emin;
    double max;
    bool saturates; /* instead of overflowing to infinity */
    bool infinite;  /* has infinities */
} Format;

/* bf16, f16, e4m3, e5m2. */
static Format format_of(DType d)
{
    switch (d) {
    case DT_bf16:
        return (Format){8, -126, 0x1.fep127, false, true};
    case DT_f16:
        return (Format){11, -14, 65504, false, true};
    case DT_e4m3:
        return (Format){4, -6, 448, true, false};
    default:
        return (Format){3, -14, 57344, true, true};
    }
}

static double round_narrow(Format f, double x)
{
    if (isnan(x) || x == 0) return x;
    double y = x;
    if (isfinite(x)) {
        int e;
        frexp(x, &e);
        int quantum = (e - 1 > f.emin ? e - 1 : f.emin) - (f.precision - 1);
        y = ldexp(nearbyint(ldexp(x, -quantum)), quantum);
    }
    if (fabs(y) <= f.max) return y;
    return copysign(f.saturates ? f.max : INFINITY, x);
}

double dtype_round(DType d, double x)
{
    if (d == DT_f64) return x;
    if (d == DT_f32) return (double)(float)x;
    return round_narrow(format_of(d), x);
}

/* The pattern of a value that the format represents exactly. */
static uint32_t narrow_bits(DType d, double x)
{
    Format f = format_of(d);
    int width = (int)dtype_bytes(d) * 8, mant = f.precision - 1;
    uint32_t sign = signbit(x) ? 1u << (width - 1) : 0;
    uint32_t all = (1u << (width - 1)) - 1; /* every bit but the sign */
    uint32_t inf = all & ~((1u << mant) - 1);
    if (isnan(x))
        return f.infinite ? sign | inf | 1u << (mant - 1) : sign | all;
    if (isinf(x)) return sign | inf;
    if (x == 0) return sign;
    int e;
    frexp(x, &e);
    e--;
    if (e < f.emin) return sign | (uint32_t)ldexp(fabs(x), mant - f.emin);
    uint32_t m = (uint32_t)ldexp(fabs(x), mant - e);
    return sign | (((uint32_t)(e - f.emin) << mant) + m);
}

static double narrow_value(DType d, uint32_t bits)
{
    Format f = format_of(d);
    int width = (int)dtype_bytes(d) * 8, mant = f.precision - 1;
    uint32_t all = (1u << (width - 1)) - 1;
    uint32_t top = all >> mant, e = (bits & all) >> mant;
    uint32_t m = bits & ((1u << mant) - 1);
    double sign = bits >> (width - 1) ? -1.0 : 1.0;
    if (f.infinite && e == top) return m ? NAN : sign * INFINITY;
    if (!f.infinite && (bits & all) == all) return NAN;
    if (e == 0) return sign * ldexp(m, f.emin - mant);
    return sign * ldexp(m + (1u << mant), (int)e - 1 + f.emin - mant);
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
        bool kept = isinf(c.f) && format_of(d).infinite;
        bits = narrow_bits(d, kept ? c.f : dtype_round(d, c.f));
    }
    return bits;
}

void dtype_store(DType d, Cell c, void *out)
{
    uint64_t bits = cell_bits(d, c);
    uint8_t *p = out;
    for (unsigned i = 0; i < dtype_bytes(d); i++)
        p[i] = (uint8_t)(bits >> 8 * i);
}

Cell dtype_load(DType d, const void *in)
{
    const uint8_t *p = in;
    uint64_t bits = 0;
    for (unsigned i = 0; i < dtype_bytes(d); i++)
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
