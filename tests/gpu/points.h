/*
 * points.h: what a cast has to be tried at, of any two dtypes.
 *
 * Of a dtype of 16 bits or fewer that is every pattern.  Of a wider one:
 *
 *     of a float to a float    each number of that which has 16 bits or fewer,
 *                              and each middle of two, also of the largest and
 *                              the one that would follow; of wider ones some
 *                              of each exponent
 *     of a float to an integer   powers of two, and what is near them by a
 *                              half and by one
 *     of an integer            powers of two, what begins as each number of a
 *                              narrow float and each middle does
 *
 * each with both neighbours and both signs; and the ends of the dtype itself:
 * zeros, subnormals, the largest, infinities, and NaNs of several payloads.
 *
 * Elements follow from the two dtypes alone.  They go round more than once, one
 * place further each time, so that a point is in other lanes of a vector.
 */
#ifndef TITAN_TESTS_GPU_POINTS_H
#define TITAN_TESTS_GPU_POINTS_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/gpu/draw.h"

typedef struct Points {
    DType from, to;
    uint64_t *at; /* bits of FROM */
    size_t n, cap;
} Points;

static inline void points_bits(Points *p, uint64_t bits)
{
    if (p->n == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 1024;
        p->at = realloc(p->at, p->cap * sizeof *p->at);
    }
    p->at[p->n++] = bits;
}

static inline unsigned dtype_pattern_bits(DType d)
{
    const Format *f = dtype_format(d);
    if (f) return f->sign + f->exponent + f->mantissa;
    return d == DT_bool ? 1 : 8 * dtype_bytes(d);
}

/* ---------------------------------------------------------- of wide floats */

static inline void points_number(Points *p, double x)
{
    uint64_t bits = 0;
    float f = (float)x;
    memcpy(&bits, p->from == DT_f32 ? (const void *)&f : (const void *)&x,
           dtype_bytes(p->from));
    points_bits(p, bits);
}

/* X, which the dtype holds, and its neighbours. */
static inline void points_around(Points *p, double x)
{
    for (int side = -1; side <= 1; side++) {
        double to = side * (double)INFINITY, y = x;
        float f = (float)x;
        if (side)
            y = p->from == DT_f32 ? (double)nextafterf(f, (float)to)
                                  : nextafter(x, to);
        points_number(p, y);
        points_number(p, -y);
        if (p->from == DT_f32 || !side) continue;
        points_number(p, (double)nextafterf(f, (float)to));
        points_number(p, -(double)nextafterf(f, (float)to));
    }
}

static inline void points_narrow(Points *p)
{
    const Format *f = dtype_format(p->to);
    double last = 0, before = 0;
    for (uint32_t body = 0; body < 1u << (f->exponent + f->mantissa); body++) {
        double x = dtype_load(p->to, &body).f;
        if (!isfinite(x)) continue;
        if (body) points_around(p, last / 2 + x / 2);
        points_around(p, x);
        before = last;
        last = x;
    }
    points_around(p, last + (last - before) / 2);
}

/* Of formats with too many numbers, some of each exponent of the narrower. */
static inline void points_sampled(Points *p)
{
    DType d = p->to == DT_f64 ? p->from : p->to;
    static const uint64_t parts[] = {0,
                                     1,
                                     2,
                                     0x5555555555555555,
                                     0xaaaaaaaaaaaaaaaa,
                                     ~UINT64_C(0) - 1,
                                     ~UINT64_C(0)};
    const Format *f = dtype_format(d);
    uint64_t mask = (UINT64_C(1) << f->mantissa) - 1;
    for (uint64_t e = 0; e + 1 < UINT64_C(1) << f->exponent; e++)
        for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++) {
            uint64_t body = e << f->mantissa | (parts[i] & mask);
            uint64_t next = body + 1;
            double x = dtype_load(d, &body).f, y = dtype_load(d, &next).f;
            points_around(p, x);
            if (isfinite(y)) points_around(p, x / 2 + y / 2);
        }
    points_around(p, 0x1.ffffffp127); /* where f32 ends */
}

static inline void points_powers(Points *p)
{
    for (int k = -2; k <= 65; k++)
        for (int half = -3; half <= 3; half++)
            points_around(p, ldexp(1, k) + half / 2.0);
}

/* Zeros, ends of subnormal and normal numbers, infinities and NaNs. */
static inline void points_ends(Points *p)
{
    const Format *f = dtype_format(p->from);
    unsigned m = f->mantissa, fields = m + f->exponent;
    uint64_t sign = UINT64_C(1) << fields, quiet = UINT64_C(1) << (m - 1);
    uint64_t infinity = sign - (UINT64_C(1) << m), normal = UINT64_C(1) << m;
    const uint64_t ends[] = {0,
                             1,
                             2,
                             normal - 1,
                             normal,
                             normal + 1,
                             2 * normal,
                             infinity - 1,
                             infinity,
                             infinity + 1,
                             infinity + quiet - 1,
                             infinity + quiet,
                             infinity + quiet + 1,
                             infinity + quiet + quiet / 2,
                             sign - 1};
    for (unsigned i = 0; i < sizeof ends / sizeof *ends; i++) {
        points_bits(p, ends[i]);
        points_bits(p, ends[i] | sign);
    }
}

/* -------------------------------------------------------- of wide integers */

static inline void points_whole(Points *p)
{
    const Format *f = dtype_format(p->to);
    unsigned bits = 8 * dtype_bytes(p->from), m = f ? f->mantissa + 2 : 1;
    uint64_t mask = bits == 64 ? ~UINT64_C(0) : (UINT64_C(1) << bits) - 1;
    if (m > 13) m = 9;
    for (unsigned k = 0; k < bits; k++)
        for (uint64_t head = 0; head < UINT64_C(1) << m; head++)
            for (int side = -1; side <= 1; side++) {
                uint64_t x = (UINT64_C(1) << k) + (uint64_t)(int64_t)side +
                             (k >= m ? head << (k - m) : head >> (m - k));
                points_bits(p, x & mask);
                points_bits(p, (0 - x) & mask);
            }
}

/* ------------------------------------------------------------------ points */

/* The caller frees `at`. */
static inline Points points_of(DType from, DType to)
{
    Points p = {.from = from, .to = to};
    const Format *f = dtype_format(to);
    if (dtype_bytes(from) <= 2) {
        for (uint64_t bits = 0; bits >> dtype_pattern_bits(from) == 0; bits++)
            points_bits(&p, bits);
        return p;
    }
    if (dtype_class(from) != DC_float) {
        points_whole(&p);
        return p;
    }
    points_ends(&p);
    points_around(&p, 0x1.fffffep127); /* f32's ends */
    points_around(&p, 0x1p-126);
    points_around(&p, 0x1p-149);
    if (!f)
        points_powers(&p);
    else if (dtype_bytes(to) <= 2)
        points_narrow(&p);
    else
        points_sampled(&p);
    return p;
}

/* Each element of a tensor of FROM, in the order of its axes. */
static inline void points_store(const DrawShape *s, DType from, DType to,
                                void *out)
{
    Points p = points_of(from, to);
    size_t bytes = dtype_bytes(from);
    for (int64_t x = draw_elements(s); x-- > 0;) {
        size_t lap = (size_t)x / p.n;
        uint64_t bits = p.at[((size_t)x + lap) % p.n];
        memcpy((char *)out + (size_t)draw_place(s, x) * bytes, &bits, bytes);
    }
    free(p.at);
}

#endif
