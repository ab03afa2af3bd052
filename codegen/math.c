/*
 * math.c: exp, log, sin and the rest as LLVM IR, for any vector width.
 *
 * One sequence of operations for host and GPU, so that both give the same
 * bits, but for f32 in vectors in kernels that need not (gpu_math.c):
 * every multiply-add is an explicit fma, everything else rounds once.
 * Polynomials are Chebyshev fits over the reduced range, lowest term first. f32
 * is within 2 ulp of the true value (sigmoid: 2.5), f64 within a few units of
 * 1e-16.
 */
#include <math.h>

#include "emit.h"

/* Powers of e, and what a sigmoid divides, are far from both ends up to here
 * (gpu_usual.c). */
#define USUAL_EXPONENT 86
#define USUAL_SIGMOID  69

/* clang-format off */
typedef struct Poly { unsigned n; double at[20]; } Poly;

/* (exp(r) - 1 - r) / r^2, |r| <= ln 2 / 2 */
static const Poly exp_poly[] = {
    {5, {0x1.000000p-1, 0x1.5554d8p-3, 0x1.555516p-5, 0x1.12106cp-7, 0x1.6d1606p-10}},
    {12, {0x1.0000000000000p-1, 0x1.5555555555555p-3, 0x1.5555555555557p-5, 0x1.1111111111111p-7,
          0x1.6c16c16c158f5p-10, 0x1.a01a01a0195e6p-13, 0x1.a01a01aa828e2p-16, 0x1.71de3a5af94e9p-19,
          0x1.27e4d2841fc93p-22, 0x1.ae642ad2afd38p-26, 0x1.1f820dbf5e732p-29, 0x1.61c2c1ba3877dp-33}}};
/* (2 atanh(s) - 2 s) / s^3 in s^2, s^2 <= 0.03 */
static const Poly log_poly[] = {
    {4, {0x1.555556p-1, 0x1.9999f0p-2, 0x1.245a22p-2, 0x1.de41e6p-3}},
    {9, {0x1.5555555555555p-1, 0x1.9999999999998p-2, 0x1.2492492492a0ap-2, 0x1.c71c71c632fefp-3,
         0x1.745d17e1baeeap-3, 0x1.3b1376d38efd7p-3, 0x1.111de2dbd68b3p-3, 0x1.de9e52b889513p-4,
         0x1.e7d3da629a8c2p-4}}};
/* (sin(r) - r) / r^3 and (cos(r) - 1 + r^2 / 2) / r^4 in r^2, |r| <= pi / 4 */
static const Poly sin_poly[] = {
    {4, {-0x1.555556p-3, 0x1.11110ep-7, -0x1.a01366p-13, 0x1.6da8ecp-19}},
    {8, {-0x1.5555555555555p-3, 0x1.1111111111111p-7, -0x1.a01a01a01a018p-13, 0x1.71de3a556c252p-19,
         -0x1.ae64567e60803p-26, 0x1.61245f9d1c2e7p-33, -0x1.ae7c358e5ac1cp-41, 0x1.9233ccf0884bfp-49}}};
static const Poly cos_poly[] = {
    {4, {0x1.555556p-5, -0x1.6c16c0p-10, 0x1.a01598p-16, -0x1.251636p-22}},
    {8, {0x1.5555555555555p-5, -0x1.6c16c16c16c17p-10, 0x1.a01a01a01a019p-16, -0x1.27e4fb7789d68p-22,
         0x1.1eed8eff2bf72p-29, -0x1.9397494123591p-37, 0x1.ae7cd0aafba50p-45, -0x1.65c6cbd08de75p-53}}};
/* (tanh(x) - x) / x^3 in x^2, |x| <= 0.625 */
static const Poly tanh_poly[] = {
    {6, {-0x1.555556p-2, 0x1.1110eap-3, -0x1.ba08c4p-5, 0x1.64a976p-6, -0x1.116a16p-7, 0x1.2c83c0p-9}},
    {13, {-0x1.5555555555555p-2, 0x1.111111111110dp-3, -0x1.ba1ba1ba1aff0p-5, 0x1.664f488279254p-6,
          -0x1.226e354ddfe9ap-7, 0x1.d6d3cc561e69ap-9, -0x1.7da2fd76a3cf1p-10, 0x1.355204d5878bep-11,
          -0x1.f4fccb8116f0ap-13, 0x1.92d3563b405ccp-14, -0x1.370efd62e9535p-15, 0x1.99b26df70cccdp-17,
          -0x1.47559de55bc91p-19}}};
/* erf(x) / x - 1 in x^2, |x| <= 1 */
static const Poly erf_poly[] = {
    {8, {0x1.06eba8p-3, -0x1.812746p-2, 0x1.ce2f08p-4, -0x1.b829c8p-6, 0x1.562a60p-8, -0x1.bccf66p-11,
         0x1.d88750p-14, -0x1.445f48p-17}},
    {13, {0x1.06eba8214db69p-3, -0x1.812746b0379e6p-2, 0x1.ce2f21a042b30p-4, -0x1.b82ce31284e00p-6,
          0x1.565bcd0dbaa38p-8, -0x1.c02db3dac435fp-11, 0x1.f9a321d5b8e1ep-14, -0x1.f4d1e3183f7aep-17,
          0x1.b9df224ca4b97p-20, -0x1.5f1ecb6f0764cp-23, 0x1.f7b4bf3b13964p-27, -0x1.389d4f2641625p-30,
          0x1.05ffd737fb32ep-34}}};
/* (1 - erf(x)) exp(x^2) in (x - 2) / (x + 2), 1 <= x <= 6.1 */
static const Poly erfc_poly[] = {
    {9, {0x1.058672p-2, -0x1.b57034p-2, 0x1.eeea76p-3, -0x1.437f28p-4, 0x1.e9991cp-9, 0x1.ca9dbap-8,
         -0x1.ccf738p-11, -0x1.f7623cp-11, 0x1.7e170ap-13}},
    {20, {0x1.058671b52c776p-2, -0x1.b57034efd3f72p-2, 0x1.eeea7dc8a78b3p-3, -0x1.437f0b68c0c24p-4,
          0x1.e9471597a0c90p-9, 0x1.ca95ed5345c1ap-8, -0x1.bc25a47fd6586p-11, -0x1.016b5cec1e8e3p-10,
          0x1.6d5f0517720ebp-15, 0x1.6da979df41369p-13, 0x1.cdca3261a7799p-16, -0x1.ceb9462c43c3fp-16,
          -0x1.d472b431aa6c8p-17, 0x1.76171ba528381p-20, 0x1.f685ac3734e01p-19, 0x1.41d1d9f2e3663p-20,
          -0x1.a144b54f641c9p-22, -0x1.26b3f8f0d393fp-21, -0x1.67396c507aa0cp-23, 0x1.9c89788dd54c6p-23}}};
/* clang-format on */

/* ------------------------------------------------------------- shorthands */

static LV num(const Site *s, DType d, double x)
{
    return site_float(s, d, x);
}

static LV add(const Site *s, LV x, LV y)
{
    return LLVMBuildFAdd(s->b, x, y, "");
}

static LV sub(const Site *s, LV x, LV y)
{
    return LLVMBuildFSub(s->b, x, y, "");
}

static LV mul(const Site *s, LV x, LV y)
{
    return LLVMBuildFMul(s->b, x, y, "");
}

static LV quo(const Site *s, DType d, LV x, LV y)
{
    if (site_is_near(s, d)) return gpu_quotient(s, x, y);
    const Limits none[] = {limits_none(), limits_none()};
    if (site_is_beside(s, d)) return gpu_division(s, x, y, none);
    return LLVMBuildFDiv(s->b, x, y, "");
}

static LV fma3(const Site *s, LV x, LV y, LV z)
{
    return site_call(s, "llvm.fma", (LV[]){x, y, z}, 3);
}

static LV neg(const Site *s, LV x)
{
    return LLVMBuildFNeg(s->b, x, "");
}

static LV mag(const Site *s, LV x)
{
    return site_call(s, "llvm.fabs", &x, 1);
}

static LV pick(const Site *s, LV c, LV x, LV y)
{
    return LLVMBuildSelect(s->b, c, x, y, "");
}

static LV cmp(const Site *s, LLVMRealPredicate p, LV x, LV y)
{
    return LLVMBuildFCmp(s->b, p, x, y, "");
}

static LV sign_from(const Site *s, LV x, LV from)
{
    return site_call(s, "llvm.copysign", (LV[]){x, from}, 2);
}

static LV poly(const Site *s, DType d, const Poly *table, LV x)
{
    const Poly *p = &table[d == DT_f64];
    LV r = num(s, d, p->at[p->n - 1]);
    for (unsigned i = p->n - 1; i-- > 0;)
        r = fma3(s, r, x, num(s, d, p->at[i]));
    return r;
}

/* Integers of the float's width. */
static DType bits_of(DType d)
{
    return d == DT_f64 ? DT_i64 : DT_i32;
}

static unsigned mantissa_of(DType d)
{
    return d == DT_f64 ? 52 : 23;
}

static LV to_bits(const Site *s, DType d, LV x)
{
    return LLVMBuildBitCast(s->b, x, site_type(s, dtype_reg(s, bits_of(d))),
                            "");
}

static LV of_bits(const Site *s, DType d, LV x)
{
    return LLVMBuildBitCast(s->b, x, site_type(s, dtype_reg(s, d)), "");
}

static LV whole(const Site *s, DType d, int64_t i)
{
    return site_int(s, bits_of(d), i);
}

/* -------------------------------------------------------------- exponents */

/* 2^n for n in the range of normal exponents. */
static LV power_of_two(const Site *s, DType d, LV n)
{
    LV e = LLVMBuildAdd(s->b, n, whole(s, d, d == DT_f64 ? 1023 : 127), "");
    return of_bits(s, d,
                   LLVMBuildShl(s->b, e, whole(s, d, mantissa_of(d)), ""));
}

/* The nearest integer to x, as a float and as an integer: adding 1.5 * 2^m
 * leaves it in the low bits.  Of NaN the integer is arbitrary. */
static LV nearest(const Site *s, DType d, LV x, LV *integer)
{
    LV magic = num(s, d, d == DT_f64 ? 0x1.8p52 : 0x1.8p23);
    LV t = add(s, x, magic);
    *integer = LLVMBuildSub(s->b, to_bits(s, d, t), to_bits(s, d, magic), "");
    return sub(s, t, magic);
}

/* exp(x) as 2^n p, for n up to 127 either way; *t has n in its low bits. */
static LV exp_parts(const Site *s, DType d, LV x, LV *n)
{
    bool wide = d == DT_f64;
    LV k = nearest(
        s, d, mul(s, x, num(s, d, wide ? 0x1.71547652b82fep+0 : 0x1.715476p+0)),
        n);
    LV minus = neg(s, k);
    LV r =
        fma3(s, minus, num(s, d, wide ? 0x1.62e42fefa0000p-1 : 0x1.62e4p-1), x);
    r = fma3(s, minus, num(s, d, wide ? 0x1.cf79abc9e3b3ap-40 : 0x1.7f7d1cp-20),
             r);
    LV p = fma3(s, mul(s, r, r), poly(s, d, exp_poly, r), r);
    return add(s, p, num(s, d, 1));
}

/* Where neither the operand nor the power needs care: adding to the exponent
 * multiplies by the power of two, which both steps below do exactly. */
static LV usual_exp(const Site *s, DType d, LV x)
{
    LV n;
    LV p = exp_parts(s, d, x, &n);
    LV up = LLVMBuildShl(s->b, n, whole(s, d, mantissa_of(d)), "");
    return of_bits(s, d, LLVMBuildAdd(s->b, to_bits(s, d, p), up, ""));
}

LV math_exp(const Site *s, DType d, LV x)
{
    bool wide = d == DT_f64;
    if (site_is_near(s, d)) return gpu_exp(s, x);
    if (site_is_usual(s, d)) {
        gpu_expect_below(s, x, USUAL_EXPONENT);
        return usual_exp(s, d, x);
    }
    LV top = num(s, d, wide ? 710 : 89), low = num(s, d, wide ? -746 : -104);
    x = pick(s, cmp(s, LLVMRealOGT, x, top), top, x);
    x = pick(s, cmp(s, LLVMRealOLT, x, low), low, x);
    LV n;
    LV p = exp_parts(s, d, x, &n);
    /* in two steps: the power alone may be out of range */
    LV half = LLVMBuildAShr(s->b, n, whole(s, d, 1), "");
    LV rest = LLVMBuildSub(s->b, n, half, "");
    return mul(s, mul(s, p, power_of_two(s, d, half)),
               power_of_two(s, d, rest));
}

/* ------------------------------------------------------------- logarithms */

/* x = 2^e * (1 + f), 1 + f from sqrt(1/2) to sqrt(2); x positive, finite. */
static LV split_exponent(const Site *s, DType d, LV x, LV *e)
{
    bool wide = d == DT_f64;
    LV tiny = cmp(s, LLVMRealOLT, x, num(s, d, wide ? 0x1p-1022 : 0x1p-126));
    x = pick(s, tiny, mul(s, x, num(s, d, wide ? 0x1p54 : 0x1p25)), x);
    LV u = to_bits(s, d, x);
    LV m = whole(s, d, mantissa_of(d));
    LV root = whole(s, d, wide ? 0x3fe6a09e667f3bcdll : 0x3f3504f3);
    LV n = LLVMBuildAShr(s->b, LLVMBuildSub(s->b, u, root, ""), m, "");
    LV one = LLVMBuildSub(s->b, u, LLVMBuildShl(s->b, n, m, ""), "");
    LV shift = whole(s, d, wide ? -54 : -25);
    n = LLVMBuildAdd(s->b, n,
                     pick(s, tiny, shift, LLVMConstNull(LLVMTypeOf(n))), "");
    *e = LLVMBuildSIToFP(s->b, n, LLVMTypeOf(x), "");
    return sub(s, of_bits(s, d, one), num(s, d, 1));
}

/* e ln 2 + log(1 + f) + c, where c is small beside f. */
static LV log_of_parts(const Site *s, DType d, LV e, LV f, LV c)
{
    bool wide = d == DT_f64;
    LV t = quo(s, d, f, add(s, f, num(s, d, 2)));
    LV z = mul(s, t, t);
    LV r = mul(s, z, poly(s, d, log_poly, z));
    LV h = mul(s, mul(s, f, f), num(s, d, 0.5));
    LV low =
        fma3(s, e, num(s, d, wide ? 0x1.cf79abc9e3b3ap-40 : 0x1.7f7d1cp-20), c);
    low = fma3(s, t, add(s, h, r), low);
    LV sum = sub(s, f, sub(s, h, low));
    return fma3(s, e, num(s, d, wide ? 0x1.62e42fefa0000p-1 : 0x1.62e4p-1),
                sum);
}

/* What log gives where x is zero, negative, infinite or NaN. */
static LV log_specials(const Site *s, DType d, LV x, LV zero, LV r)
{
    LV inf = num(s, d, __builtin_inf());
    r = pick(s, cmp(s, LLVMRealOLT, x, zero), num(s, d, __builtin_nan("")), r);
    r = pick(s, cmp(s, LLVMRealOEQ, x, zero), neg(s, inf), r);
    r = pick(s, cmp(s, LLVMRealOEQ, x, inf), x, r);
    return pick(s, cmp(s, LLVMRealUNO, x, x), x, r);
}

LV math_log(const Site *s, DType d, LV x)
{
    LV e;
    LV f = split_exponent(s, d, x, &e);
    LV r = log_of_parts(s, d, e, f, num(s, d, 0));
    return log_specials(s, d, x, num(s, d, 0), r);
}

/* Near zero x itself is f; elsewhere 1 + x is, and what its rounding lost
 * comes back as a correction. */
LV math_log1p(const Site *s, DType d, LV x)
{
    LV one = num(s, d, 1), zero = num(s, d, 0);
    LV near = cmp(s, LLVMRealOLT, mag(s, x), num(s, d, 0.25));
    LV u = add(s, one, x);
    LV lost = pick(s, cmp(s, LLVMRealOGT, x, one), sub(s, one, sub(s, u, x)),
                   sub(s, x, sub(s, u, one)));
    LV e;
    LV f = split_exponent(s, d, u, &e);
    f = pick(s, near, x, f);
    e = pick(s, near, zero, e);
    LV c = pick(s, near, zero, quo(s, d, lost, u));
    LV r = log_of_parts(s, d, e, f, c);
    r = pick(s, cmp(s, LLVMRealOEQ, x, zero), x, r);
    return log_specials(s, d, x, num(s, d, -1), r);
}

/* ---------------------------------------------------------------- circular */

/* x minus the nearest multiple of pi / 2, in f64 for both dtypes; *quarter
 * counts the multiples. */
static LV reduce_angle(const Site *s, LV x, LV *quarter)
{
    LV k = nearest(s, DT_f64, mul(s, x, num(s, DT_f64, 0x1.45f306dc9c883p-1)),
                   quarter);
    k = neg(s, k);
    LV r = fma3(s, k, num(s, DT_f64, 0x1.921fb544p+0), x);
    r = fma3(s, k, num(s, DT_f64, 0x1.0b4611a6p-34), r);
    return fma3(s, k, num(s, DT_f64, 0x1.3198a2e037073p-69), r);
}

/* sin(x + turn * pi / 2) */
static LV circular(const Site *s, DType d, LV x, int64_t turn)
{
    LV q;
    LV r = reduce_angle(s, emit_dtype_cast(s, DT_f64, d, x), &q);
    r = emit_dtype_cast(s, d, DT_f64, r);
    q = LLVMBuildAdd(s->b, q, site_int(s, DT_i64, turn), "");
    LV z = mul(s, r, r);
    LV sine = fma3(s, mul(s, r, z), poly(s, d, sin_poly, z), r);
    LV c = fma3(s, mul(s, z, z), poly(s, d, cos_poly, z),
                fma3(s, z, num(s, d, -0.5), num(s, d, 1)));
    LV zero = site_int(s, DT_i64, 0);
    LV odd = LLVMBuildAnd(s->b, q, site_int(s, DT_i64, 1), "");
    LV two = LLVMBuildAnd(s->b, q, site_int(s, DT_i64, 2), "");
    r = pick(s, LLVMBuildICmp(s->b, LLVMIntNE, odd, zero, ""), c, sine);
    return pick(s, LLVMBuildICmp(s->b, LLVMIntNE, two, zero, ""), neg(s, r), r);
}

LV math_sin(const Site *s, DType d, LV x)
{
    LV r = circular(s, d, x, 0);
    return pick(s, cmp(s, LLVMRealOEQ, x, num(s, d, 0)), x, r);
}

LV math_cos(const Site *s, DType d, LV x)
{
    return circular(s, d, x, 1);
}

/* -------------------------------------------------------------- hyperbolic */

/* Of a number that is not small. */
static LV large_tanh(const Site *s, DType d, LV a)
{
    if (site_is_near(s, d)) return gpu_tanh(s, a);
    LV one = num(s, d, 1), e = math_exp(s, d, add(s, a, a));
    return sub(s, one, quo(s, d, num(s, d, 2), add(s, e, one)));
}

LV math_tanh(const Site *s, DType d, LV x)
{
    if (site_is_coarse(s, d)) return gpu_tanh(s, x);
    LV a = mag(s, x), z = mul(s, x, x);
    LV small = fma3(s, mul(s, x, z), poly(s, d, tanh_poly, z), x);
    LV big = large_tanh(s, d, a);
    LV near = cmp(s, LLVMRealOLT, a, num(s, d, 0.625));
    return sign_from(s, pick(s, near, small, big), x);
}

/* Of two operands that are far from both ends. */
static LV usual_sigmoid(const Site *s, DType d, LV x)
{
    const Limits of[] = {{exp(-USUAL_SIGMOID), 1}, {1, 2}};
    LV one = num(s, d, 1);
    gpu_expect_below(s, x, USUAL_SIGMOID);
    LV e = usual_exp(s, d, neg(s, mag(s, x)));
    LV low = cmp(s, LLVMRealOLT, x, num(s, d, 0));
    return gpu_division(s, pick(s, low, e, one), add(s, one, e), of);
}

LV math_sigmoid(const Site *s, DType d, LV x)
{
    LV one = num(s, d, 1);
    if (site_is_usual(s, d)) return usual_sigmoid(s, d, x);
    if (site_is_coarse(s, d)) return gpu_logistic(s, x);
    LV e = math_exp(s, d, neg(s, mag(s, x)));
    LV low = cmp(s, LLVMRealOLT, x, num(s, d, 0));
    LV part = pick(s, low, e, one), all = add(s, one, e);
    return site_is_near(s, d) ? gpu_ratio(s, part, all) : quo(s, d, part, all);
}

LV math_erf(const Site *s, DType d, LV x)
{
    LV a = mag(s, x), two = num(s, d, 2), six = num(s, d, 6);
    LV small = fma3(s, x, poly(s, d, erf_poly, mul(s, x, x)), x);
    LV near = cmp(s, LLVMRealOLT, a, num(s, d, 1));
    a = pick(s, cmp(s, LLVMRealOGT, a, six), six, a);
    LV t = quo(s, d, sub(s, a, two), add(s, a, two));
    LV e = math_exp(s, d, neg(s, mul(s, a, a)));
    LV big = fma3(s, neg(s, e), poly(s, d, erfc_poly, t), num(s, d, 1));
    return pick(s, near, small, sign_from(s, big, x));
}

/* ------------------------------------------------------------------ powers */

static LV either(const Site *s, LV x, LV y)
{
    return LLVMBuildOr(s->b, x, y, "");
}

static LV both(const Site *s, LV x, LV y)
{
    return LLVMBuildAnd(s->b, x, y, "");
}

/* |x|^y with the sign and the special values of x^y. */
static LV power_specials(const Site *s, DType d, LV x, LV y, LV r)
{
    LV zero = num(s, d, 0), one = num(s, d, 1),
       inf = num(s, d, __builtin_inf());
    LV whole_y = cmp(s, LLVMRealOEQ, site_call(s, "llvm.roundeven", &y, 1), y);
    LV h = mul(s, y, num(s, d, 0.5));
    LV odd = cmp(s, LLVMRealUNE, site_call(s, "llvm.roundeven", &h, 1), h);
    LV minus = cmp(s, LLVMRealOLT, sign_from(s, one, x), zero);
    LV finite = both(s, cmp(s, LLVMRealOLT, mag(s, x), inf),
                     cmp(s, LLVMRealUNE, x, zero));
    LV none = both(s, both(s, minus, finite), LLVMBuildNot(s->b, whole_y, ""));
    LV flips = both(s, minus, both(s, whole_y, odd));
    r = pick(s, flips, neg(s, r), r);
    r = pick(s, none, num(s, d, __builtin_nan("")), r);
    LV unit = both(s, cmp(s, LLVMRealOEQ, mag(s, x), one),
                   cmp(s, LLVMRealOEQ, mag(s, y), inf));
    LV sure =
        either(s, cmp(s, LLVMRealOEQ, y, zero), cmp(s, LLVMRealOEQ, x, one));
    return pick(s, either(s, unit, sure), one, r);
}

/* In f64: the exponent y log|x| then has enough digits for an f32 result. */
LV math_pow(const Site *s, DType d, LV x, LV y)
{
    LV a = emit_dtype_cast(s, DT_f64, d, mag(s, x));
    LV b = emit_dtype_cast(s, DT_f64, d, y);
    LV r = math_exp(s, DT_f64, mul(s, b, math_log(s, DT_f64, a)));
    return power_specials(s, d, x, y, emit_dtype_cast(s, d, DT_f64, r));
}
