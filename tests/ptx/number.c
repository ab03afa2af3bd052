/*
 * number.c: rounding to formats of few bits, and conversions that are not so
 * frequent that lanes.def has them.
 */
#include <math.h>

#include "tests/ptx/convert.h"
#include "tests/ptx/number.h"

/* Codes of positive numbers go up with them, from 0 on. */
typedef struct Format {
    uint8_t point;      /* bits behind it */
    int16_t least;      /* exponent of the least normal number */
    uint32_t top;       /* code of the greatest number */
    uint32_t beyond;    /* of infinity, or the greatest number again */
    uint32_t nan, sign; /* the NaN that is made; the sign's bit */
} Format;

static const Format formats[PT_COUNT] = {
    [PT_f32] = {23, -126, 0x7f7fffff, 0x7f800000, 0x7fffffff, 1u << 31},
    [PT_bf16] = {7, -126, 0x7f7f, 0x7f80, 0x7fff, 0x8000},
    [PT_f16] = {10, -14, 0x7bff, 0x7c00, 0x7fff, 0x8000},
    [PT_e4m3] = {3, -6, 0x7e, 0x7e, 0x7f, 0x80},
    [PT_e5m2] = {2, -14, 0x7b, 0x7b, 0x7f, 0x80},
};

double ptx_number(PtxType t, uint64_t bits)
{
    switch (t) {
    case PT_f64:
        return double_of(bits);
    case PT_f32:
        return (double)float_of((uint32_t)bits);
    case PT_bf16:
        return (double)bf16_float((uint16_t)bits);
    case PT_f16:
        return (double)f16_float((uint16_t)bits);
    case PT_e4m3:
        return (double)e4m3_float((uint8_t)bits);
    case PT_e5m2:
        return (double)e5m2_float((uint8_t)bits);
    default:
        return NAN;
    }
}

/* Whether what lies between N and N + 1, LEFT behind N, goes up to N + 1. */
static bool goes_up(Rounding how, bool minus, uint32_t n, double left)
{
    switch (how) {
    case ROUND_near:
        return left > 0.5 || (left == 0.5 && n & 1);
    case ROUND_zero:
        return false;
    case ROUND_down:
        return minus && left > 0;
    case ROUND_up:
        return !minus && left > 0;
    }
    return false;
}

uint64_t ptx_round(PtxType t, double x, Rounding how, bool finite)
{
    if (t == PT_f64)
        return x != x ? UINT64_C(0x7ff8000000000000) : double_bits(x);
    const Format *f = &formats[t];
    bool minus = signbit(x);
    uint32_t sign = minus ? f->sign : 0;
    double a = fabs(x);
    if (a != a) return f->nan;
    if (!(a > 0)) return sign;
    if (isinf(a)) return sign | (finite ? f->top : f->beyond);
    int e = ilogb(a);
    if (e < f->least) e = f->least;
    double steps = scalbn(a, f->point - e), whole = floor(steps);
    uint32_t n = (uint32_t)whole;
    n += goes_up(how, minus, n, steps - whole);
    uint64_t code = ((uint64_t)(e - f->least) << f->point) + n;
    if (code <= f->top) return sign | code;
    bool stays = how == ROUND_zero || (how == ROUND_down && !minus) ||
                 (how == ROUND_up && minus);
    return sign | (finite || stays ? f->top : f->beyond);
}

uint64_t ptx_bits(PtxType t, double x)
{
    return ptx_round(t, x, ROUND_near, false);
}

/* ------------------------------------------------------------- conversions */

static bool is_float(PtxType t)
{
    return ptx_types[t].kind == PK_float;
}

/* Of two in one register, one of them. */
static PtxType half_of(PtxType t)
{
    switch (t) {
    case PT_f16x2:
        return PT_f16;
    case PT_bf16x2:
        return PT_bf16;
    case PT_e4m3x2:
        return PT_e4m3;
    case PT_e5m2x2:
        return PT_e5m2;
    default:
        return t;
    }
}

static Rounding rounding_of(const PtxInst *i)
{
    return ptx_has(i, PM_rz) || ptx_has(i, PM_rzi)   ? ROUND_zero
           : ptx_has(i, PM_rm) || ptx_has(i, PM_rmi) ? ROUND_down
           : ptx_has(i, PM_rp) || ptx_has(i, PM_rpi) ? ROUND_up
                                                     : ROUND_near;
}

static double to_whole(double x, Rounding how)
{
    switch (how) {
    case ROUND_near:
        return rint(x);
    case ROUND_zero:
        return trunc(x);
    case ROUND_down:
        return floor(x);
    case ROUND_up:
        return ceil(x);
    }
    return x;
}

static double flushed(const PtxInst *i, PtxType t, double x)
{
    bool tiny = fabs(x) < 0x1p-126;
    return t == PT_f32 && tiny && ptx_has(i, PM_ftz) ? copysign(0, x) : x;
}

/* What is cut off is said by the last bit: rounded again to few bits it is as
 * if it were rounded once. */
static double odd_number(uint64_t x)
{
    if (x >> 53) {
        unsigned cut = 11 - (unsigned)__builtin_clzll(x);
        uint64_t rest = x & ((UINT64_C(1) << cut) - 1);
        x = x >> cut << cut;
        if (rest) x |= UINT64_C(1) << cut;
    }
    return (double)x;
}

/* A whole number of type T as a sign and its magnitude. */
static uint64_t magnitude(PtxType t, uint64_t bits, bool *minus)
{
    unsigned rest = 64 - ptx_types[t].bits;
    uint64_t x = bits << rest;
    *minus = ptx_types[t].kind == PK_signed && x >> 63;
    return *minus ? -(uint64_t)((int64_t)x >> rest) : x >> rest;
}

/* A sign and a magnitude, which BEYOND says is greater than 64 bits, as the
 * nearest number of type T. */
static uint64_t clamped(PtxType t, bool minus, uint64_t x, bool beyond)
{
    bool has_sign = ptx_types[t].kind == PK_signed;
    unsigned bits = ptx_types[t].bits;
    uint64_t top = ~UINT64_C(0) >> (64 - bits + has_sign);
    if (minus && !has_sign) return 0;
    if (minus) top++;
    if (beyond || x > top) x = top;
    return (minus ? -x : x) & ~UINT64_C(0) >> (64 - bits);
}

static uint64_t float_to_whole(const PtxInst *i, PtxType to, PtxType from,
                               double x)
{
    unsigned bits = ptx_types[to].bits;
    if (x != x)
        return from == PT_f64 || bits == 64 ? UINT64_C(1) << (bits - 1) : 0;
    x = to_whole(x, rounding_of(i));
    double a = fabs(x);
    bool beyond = a >= 0x1p64;
    return clamped(to, x < 0, beyond ? 0 : (uint64_t)a, beyond);
}

static uint64_t to_float(const PtxInst *i, PtxType to, double x)
{
    if (ptx_has(i, PM_sat)) x = x > 0 ? fmin(x, 1) : 0;
    if (ptx_has(i, PM_relu) && x <= 0) x = 0;
    bool finite = ptx_has(i, PM_satfinite);
    uint64_t bits = ptx_round(to, x, rounding_of(i), finite);
    bool tiny = to == PT_f32 && !(bits & 0x7f800000);
    return tiny && ptx_has(i, PM_ftz) ? bits & 1u << 31 : bits;
}

static uint64_t convert(const PtxInst *i, PtxType to, PtxType from,
                        uint64_t bits)
{
    if (is_float(from)) {
        double x = flushed(i, from, ptx_number(from, bits));
        if (!is_float(to)) return float_to_whole(i, to, from, x);
        bool whole = ptx_has(i, PM_rni) || ptx_has(i, PM_rzi) ||
                     ptx_has(i, PM_rmi) || ptx_has(i, PM_rpi);
        return to_float(i, to, whole ? to_whole(x, rounding_of(i)) : x);
    }
    bool minus;
    uint64_t x = magnitude(from, bits, &minus);
    if (!is_float(to)) return clamped(to, minus, x, false);
    if (to == PT_f64 && rounding_of(i) == ROUND_near)
        return double_bits(minus ? -(double)x : (double)x);
    return to_float(i, to, minus ? -odd_number(x) : odd_number(x));
}

uint64_t ptx_convert(const PtxInst *i, uint64_t x, uint64_t y)
{
    PtxType to = (PtxType)i->type[0], from = (PtxType)i->type[1];
    PtxType low = half_of(to), part = half_of(from);
    if (low == to) return convert(i, to, from, x);
    unsigned bits = ptx_types[low].bits;
    if (part != from) { /* two of them */
        unsigned width = ptx_types[part].bits;
        y = x;
        x >>= width;
    }
    return convert(i, low, part, x) << bits | convert(i, low, part, y);
}

/* What cvt may have between two types. */
static bool takes_words(const PtxInst *i, uint32_t roundings)
{
    static const uint8_t round[] = {PM_rn,  PM_rz,  PM_rm,  PM_rp,
                                    PM_rni, PM_rzi, PM_rmi, PM_rpi};
    uint64_t left[2] = {i->mods[0], i->mods[1]};
    uint32_t has = 0;
    for (unsigned k = 0; k < 8; k++)
        if (ptx_has(i, round[k])) {
            has |= 1u << k;
            left[round[k] / 64] &= ~(UINT64_C(1) << round[k] % 64);
        }
    static const uint8_t others[] = {PM_ftz, PM_sat, PM_satfinite, PM_relu};
    for (unsigned k = 0; k < 4; k++)
        left[others[k] / 64] &= ~(UINT64_C(1) << others[k] % 64);
    if (left[0] || left[1] || has & (has - 1)) return false;
    return roundings ? (has & roundings) : !has;
}

enum { BY_VALUE = 0x0f, BY_WHOLE = 0xf0 };

/* Which roundings it must have one of, 0: it has none. */
static uint32_t roundings_of(const PtxInst *i, PtxType to, PtxType from)
{
    bool whole_to = !is_float(to), whole_from = !is_float(from);
    if (whole_to && whole_from) return 0;
    if (whole_to) return BY_WHOLE;
    if (whole_from) return BY_VALUE;
    if (to == from) return i->mods[0] & UINT64_C(0xf0) ? BY_WHOLE : 0;
    const Format *f = &formats[to], *g = &formats[from];
    bool holds = to == PT_f64 || (from != PT_f64 && f->point >= g->point &&
                                  f->least <= g->least);
    return holds && ptx_types[from].bits > 8 ? 0 : BY_VALUE;
}

_Static_assert(PM_rni == 4 && PM_rpi == 7, "roundings_of's mask of mods[0]");

bool ptx_converts(const PtxInst *i, unsigned *operands)
{
    if (i->ntypes != 2 || i->nspaces) return false;
    PtxType to = (PtxType)i->type[0], from = (PtxType)i->type[1];
    PtxType low = half_of(to), part = half_of(from);
    bool two = low != to, eight = is_float(low) && ptx_types[low].bits == 8;
    PtxKind kinds[2] = {ptx_types[to].kind, ptx_types[from].kind};
    for (unsigned k = 0; k < 2; k++)
        if (kinds[k] == PK_bits || kinds[k] == PK_pred) return false;
    if (to == PT_u16x2 || to == PT_s16x2 || from == PT_u16x2 ||
        from == PT_s16x2)
        return false;
    if (two ? from != PT_f32 && part == from : part != from) return false;
    if ((!two && eight) ||
        (is_float(part) && part == from && ptx_types[part].bits == 8))
        return false;
    if (eight && !ptx_has(i, PM_satfinite)) return false;
    if (ptx_has(i, PM_satfinite) &&
        (!is_float(low) || low == PT_f32 || low == PT_f64))
        return false;
    if (ptx_has(i, PM_relu) && !two && low != PT_f16 && low != PT_bf16)
        return false;
    if (ptx_has(i, PM_ftz) && to != PT_f32 && from != PT_f32) return false;
    *operands = two && part == from ? 2 : 1;
    return takes_words(i, roundings_of(i, low, part));
}
