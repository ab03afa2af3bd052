/*
 * gpu_math.c: quotients, roots and powers of e of f32 on a GPU, for neighbours
 * whose instructions are interleaved.
 *
 * The GPU's own rounded division and root test for rare operands and branch,
 * one element after the other.  Here an approximation is set right by what it
 * leaves of the operand: a fused multiply-add gives the remainder exactly, and
 * its share is added with one rounding.
 *
 *   root       rounded, for every operand
 *   division   rounded, for every pair of operands: the inverse is rounded
 *              first, and then so is the quotient (Markstein); rare operands
 *              take another way, together
 *   quotient   by the inverse as the hardware gives it: the rounded one but for
 *              a case in millions, where it is a neighbour of it; a divisor
 *              below 2^-128 counts as zero
 *   exp        within a few units in the last place
 *   tanh       of what is not small, and of any number where it is only added
 *              to one or more, by the hardware's power of 2 and inverse: within
 *              2^-21
 *   logistic   by the hardware's power of 2 and inverse, as in products
 *              (matmul_values.c): within 2^-21, for operands of 16 bits
 *
 * All kernels have the root; the division is for those that keep the host's
 * bits (kernels.c), the last four are for the others.  The first two also come
 * for usual operands alone (gpu_usual.c), which takes half the instructions.
 */
#include <math.h>
#include <string.h>

#include "emit.h"

static LV at(const Site *s, LV x, unsigned lane)
{
    LV i = LLVMConstInt(LLVMInt32TypeInContext(s->cx), lane, false);
    return LLVMBuildExtractElement(s->b, x, i, "");
}

static LV put(const Site *s, LV x, LV value, unsigned lane)
{
    LV i = LLVMConstInt(LLVMInt32TypeInContext(s->cx), lane, false);
    return LLVMBuildInsertElement(s->b, x, value, i, "");
}

/* An instruction of one operand; bound: f for f32, d for f64. */
static LV instruction(const Site *s, const char *text, const char *bound, LV x)
{
    LLVMTypeRef t = LLVMTypeOf(x), ft = LLVMFunctionType(t, &t, 1, false);
    LV f = LLVMGetInlineAsm(ft, text, strlen(text), bound, strlen(bound), false,
                            false, LLVMInlineAsmDialectATT, false);
    return LLVMBuildCall2(s->b, ft, f, &x, 1, "");
}

/* On each lane. */
static LV approximate(const Site *s, const char *text, LV x)
{
    if (s->w == 1) return instruction(s, text, "=f,f", x);
    LV out = LLVMGetPoison(LLVMTypeOf(x));
    for (unsigned i = 0; i < s->w; i++)
        out = put(s, out, instruction(s, text, "=f,f", at(s, x, i)), i);
    return out;
}

static LV fma3(const Site *s, LV x, LV y, LV z)
{
    return site_call(s, "llvm.fma", (LV[]){x, y, z}, 3);
}

/* Where what is left is not finite, the product is zero, infinite or NaN as the
 * quotient is. */
static LV corrected(const Site *s, LV x, LV by, LV inverse)
{
    LV q = LLVMBuildFMul(s->b, x, inverse, "");
    LV rest = fma3(s, LLVMBuildFNeg(s->b, by, ""), q, x);
    LV size = site_call(s, "llvm.fabs", &rest, 1);
    LV inf = site_float(s, DT_f32, __builtin_inf());
    LV finite = LLVMBuildFCmp(s->b, LLVMRealOLT, size, inf, "");
    return LLVMBuildSelect(s->b, finite, fma3(s, rest, inverse, q), q, "");
}

LV gpu_quotient(const Site *s, LV x, LV by)
{
    return corrected(s, x, by, approximate(s, "rcp.approx.f32 $0, $1;", by));
}

LV gpu_quotient_by_one(const Site *s, LV x, LV by)
{
    Site one = *s;
    one.w = 1;
    LV inverse = approximate(&one, "rcp.approx.f32 $0, $1;", by);
    inverse = corrected(&one, site_float(&one, DT_f32, 1), by, inverse);
    return corrected(s, x, site_splat(s, by), site_splat(s, inverse));
}

LV gpu_ratio(const Site *s, LV x, LV by)
{
    LV inverse = approximate(s, "rcp.approx.ftz.f32 $0, $1;", by);
    LV q = LLVMBuildFMul(s->b, x, inverse, "");
    LV rest = fma3(s, LLVMBuildFNeg(s->b, by, ""), q, x);
    return fma3(s, rest, inverse, q);
}

LV gpu_logistic(const Site *s, LV x)
{
    LV by = site_float(s, DT_f32, -0x1.715476p+0);
    LV t = LLVMBuildFMul(s->b, x, by, "");
    LV e = approximate(s, "ex2.approx.ftz.f32 $0, $1;", t);
    e = LLVMBuildFAdd(s->b, e, site_float(s, DT_f32, 1), "");
    return approximate(s, "rcp.approx.ftz.f32 $0, $1;", e);
}

/* 1 - 2 / (1 + exp(2 x)): what the hardware's power leaves of exp(2 x) is at
 * most half of that in the result, and less the larger |x| is. */
LV gpu_tanh(const Site *s, LV x)
{
    LV by = site_float(s, DT_f32, 0x1.715476p+1);
    LV one = site_float(s, DT_f32, 1);
    LV e = approximate(s, "ex2.approx.ftz.f32 $0, $1;",
                       LLVMBuildFMul(s->b, x, by, ""));
    e = approximate(s, "rcp.approx.ftz.f32 $0, $1;",
                    LLVMBuildFAdd(s->b, e, one, ""));
    return fma3(s, e, site_float(s, DT_f32, -2), one);
}

/* 2^t for the rounded t = x / ln 2 by the hardware, times 1 + ln 2 for what
 * rounding left: within a few units in the last place; results below 2^-126 are
 * zero. */
LV gpu_exp(const Site *s, LV x)
{
    LLVMBuilderRef b = s->b;
    LV top = site_float(s, DT_f32, 0x1.62e42ep+6),
       low = site_float(s, DT_f32, -104);
    LV over = LLVMBuildFCmp(b, LLVMRealOGT, x, top, "");
    x = LLVMBuildSelect(b, over, top, x, "");
    LV under = LLVMBuildFCmp(b, LLVMRealOLT, x, low, "");
    x = LLVMBuildSelect(b, under, low, x, "");
    LV high = site_float(s, DT_f32, 0x1.715476p+0);
    LV t = LLVMBuildFMul(b, x, high, "");
    LV rest = fma3(s, x, high, LLVMBuildFNeg(b, t, ""));
    rest = fma3(s, x, site_float(s, DT_f32, 0x1.4ae0c0p-26), rest);
    LV e = approximate(s, "ex2.approx.ftz.f32 $0, $1;", t);
    LV part = LLVMBuildFMul(b, e, site_float(s, DT_f32, 0x1.62e430p-1), "");
    LV inf = site_float(s, DT_f32, __builtin_inf());
    return LLVMBuildSelect(b, over, inf, fma3(s, part, rest, e), "");
}

/* -------------------------------------------------------- rounded as IEEE's */

static LV number(const Site *s, double x)
{
    return site_float(s, DT_f32, x);
}

static LV below(const Site *s, LV x, double most)
{
    return LLVMBuildFCmp(s->b, LLVMRealOLT, x, number(s, most), "");
}

static LV above(const Site *s, LV x, double least)
{
    return LLVMBuildFCmp(s->b, LLVMRealOGT, x, number(s, least), "");
}

static LV both(const Site *s, LV x, LV y)
{
    return LLVMBuildAnd(s->b, x, y, "");
}

/* Whether all lanes hold. */
static LV all_of(const Site *s, LV x)
{
    LV all = at(s, x, 0);
    for (unsigned i = 1; i < s->w; i++)
        all = both(s, all, at(s, x, i));
    return all;
}

/* 1 / x in f64 from the hardware's 20 bits. */
static LV inverse_of(const Site *s, LV x)
{
    LV one = site_float(s, DT_f64, 1), minus = LLVMBuildFNeg(s->b, x, "");
    LV y = instruction(s, "rcp.approx.ftz.f64 $0, $1;", "=d,d", x);
    for (int i = 0; i < 2; i++)
        y = fma3(s, fma3(s, minus, y, one), y, y);
    return y;
}

/* Of one lane, any operands.  In f64 no f32 is small; the quotient there is
 * rounded, and wide enough that rounding it again gives the one of f32.  Where
 * an operand is not finite, or the divisor is zero, a product says what the
 * quotient is. */
static LV general_division(const Site *s, LV x, LV by)
{
    LLVMBuilderRef b = s->b;
    LLVMTypeRef wide = LLVMDoubleTypeInContext(s->cx);
    LV n = LLVMBuildFPExt(b, x, wide, ""), d = LLVMBuildFPExt(b, by, wide, "");
    LV inverse = inverse_of(s, d);
    LV q = LLVMBuildFMul(b, n, inverse, "");
    LV rest = fma3(s, LLVMBuildFNeg(b, d, ""), q, n);
    LV zero = LLVMBuildFCmp(b, LLVMRealOEQ, x, number(s, 0), "");
    q = LLVMBuildSelect(b, zero, q, fma3(s, rest, inverse, q), "");
    q = LLVMBuildFPTrunc(b, q, LLVMTypeOf(x), "");
    LV size = site_call(s, "llvm.fabs", &x, 1);
    LV of = site_call(s, "llvm.fabs", &by, 1);
    double inf = __builtin_inf();
    LV plain = both(s, below(s, size, inf),
                    both(s, below(s, of, inf), above(s, of, 0)));
    LV other = LLVMBuildFMul(
        b, x, instruction(s, "rcp.approx.f32 $0, $1;", "=f,f", by), "");
    return LLVMBuildSelect(b, plain, q, other, "");
}

/* The quotient where all lanes are usual; else lane by lane. */
static LV unless_unusual(const Site *s, LV usual, LV fast, LV x, LV by)
{
    LLVMBuilderRef b = s->b;
    Site one = *s;
    one.w = 1;
    LLVMBasicBlockRef from = LLVMGetInsertBlock(b);
    LV fn = LLVMGetBasicBlockParent(from);
    LLVMBasicBlockRef rare = LLVMAppendBasicBlockInContext(s->cx, fn, "rare");
    LLVMBasicBlockRef on = LLVMAppendBasicBlockInContext(s->cx, fn, "on");
    LLVMBuildCondBr(b, all_of(s, usual), on, rare);
    LLVMPositionBuilderAtEnd(b, rare);
    LV slow = LLVMGetPoison(LLVMTypeOf(fast));
    for (unsigned i = 0; i < s->w; i++)
        slow =
            put(s, slow, general_division(&one, at(s, x, i), at(s, by, i)), i);
    LLVMBuildBr(b, on);
    LLVMPositionBuilderAtEnd(b, on);
    LV phi = LLVMBuildPhi(b, LLVMTypeOf(fast), "");
    LLVMAddIncoming(phi, &fast, &from, 1);
    LLVMAddIncoming(phi, &slow, &rare, 1);
    return phi;
}

/* The remainder is exact where it is far above the least number, so the
 * dividend is made large first; and the result is what it is then unless that
 * is below the least normal number. */
static LV division(const Site *s, LV x, LV by)
{
    LLVMBuilderRef b = s->b;
    LV one = number(s, 1), minus = LLVMBuildFNeg(b, by, "");
    LV near = approximate(s, "rcp.approx.f32 $0, $1;", by);
    LV inverse = fma3(s, fma3(s, minus, near, one), near, near);
    LV large = LLVMBuildFMul(b, x, number(s, 0x1p64), "");
    LV first = LLVMBuildFMul(b, large, inverse, "");
    LV q = fma3(s, fma3(s, minus, first, large), inverse, first);
    LV size = site_call(s, "llvm.fabs", &q, 1);
    LV of = site_call(s, "llvm.fabs", &by, 1);
    LV zero = LLVMBuildFCmp(b, LLVMRealOEQ, x, number(s, 0), "");
    LV fits = both(s, above(s, size, 0x1p-62), below(s, size, 0x1p126));
    LV usual = both(s, LLVMBuildOr(b, fits, zero, ""),
                    both(s, above(s, of, 0x1p-60), below(s, of, 0x1p60)));
    q = LLVMBuildSelect(b, zero, first, q, ""); /* the sign of zero */
    return unless_unusual(s, usual, LLVMBuildFMul(b, q, number(s, 0x1p-64), ""),
                          x, by);
}

/* A few neighbours at once: more need more registers than they win. */
static LV any_division(const Site *s, LV x, LV by)
{
    enum { AT_ONCE = 4 };
    if (s->w <= AT_ONCE) return division(s, x, by);
    Site few = *s;
    few.w = AT_ONCE;
    LV out = LLVMGetPoison(LLVMTypeOf(x));
    for (unsigned i = 0; i < s->w; i += few.w) {
        LV n = LLVMGetPoison(
               LLVMVectorType(LLVMFloatTypeInContext(s->cx), few.w)),
           d = n;
        for (unsigned j = 0; j < few.w; j++) {
            n = put(s, n, at(s, x, i + j), j);
            d = put(s, d, at(s, by, i + j), j);
        }
        LV q = division(&few, n, d);
        for (unsigned j = 0; j < few.w; j++)
            out = put(s, out, at(s, q, j), i + j);
    }
    return out;
}

/* What is left of a small operand may be below the least number, so that is
 * made larger first.  Zero and infinity are their own roots. */
static LV any_sqrt(const Site *s, LV x)
{
    LLVMBuilderRef b = s->b;
    LV small = below(s, x, 0x1p-90);
    LV by = LLVMBuildSelect(b, small, number(s, 0x1p64), number(s, 1), "");
    LV y = LLVMBuildFMul(b, x, by, "");
    LV inverse = approximate(s, "rsqrt.approx.f32 $0, $1;", y);
    LV root = LLVMBuildFMul(b, y, inverse, "");
    LV rest = fma3(s, LLVMBuildFNeg(b, root, ""), root, y);
    LV half = LLVMBuildFMul(b, inverse, number(s, 0.5), "");
    root = fma3(s, rest, half, root);
    by = LLVMBuildSelect(b, small, number(s, 0x1p-32), number(s, 1), "");
    root = LLVMBuildFMul(b, root, by, "");
    LV zero = LLVMBuildFCmp(b, LLVMRealOEQ, x, number(s, 0), "");
    LV inf = LLVMBuildFCmp(b, LLVMRealOEQ, x, number(s, __builtin_inf()), "");
    return LLVMBuildSelect(b, LLVMBuildOr(b, zero, inf, ""), x, root, "");
}

/* ----------------------------------------------------- of usual operands -- */

/*
 * The same without what is for rare operands alone; the tests that tell them
 * are noted, for all lanes of a thread together.  For a divisor d and a
 * dividend x, zero or not,
 *
 *   2^-100 <= |d| <= 2^66    the inverse is a normal number
 *   2^-100 <= |x|            no bit of the remainder x - q d lies below 2^-149
 *   2^-125 <= |x / d|        the quotient is a normal number
 *
 * An infinite operand, or a quotient that overflows, gives a NaN, which is
 * unusual too.
 */
#define LEAST   0x1p-100
#define MOST    0x1p66
#define USUAL   0x1p24 /* of a divisor for which dividends are let be small */
#define GREATER 0x1p100

/* Notes that the operand is no usual one unless this holds. */
static void expect(const Site *s, LV holds)
{
    *s->usual = both(s, *s->usual, s->w > 1 ? all_of(s, holds) : holds);
}

void gpu_expect_below(const Site *s, LV x, double most)
{
    LV size = site_call(s, "llvm.fabs", &x, 1);
    expect(s, LLVMBuildFCmp(s->b, LLVMRealOLE, size, number(s, most), ""));
}

static void expect_no_nan(const Site *s, LV x)
{
    expect(s, LLVMBuildFCmp(s->b, LLVMRealORD, x, x, ""));
}

/* |x| >= least, or zero: twice the bits, without the sign, less one. */
static void expect_zero_or_above(const Site *s, LV x, double least)
{
    LLVMBuilderRef b = s->b;
    LLVMTypeRef word = site_type(s, LLVMInt32TypeInContext(s->cx));
    LV one = site_int(s, DT_i32, 1);
    LV bits[] = {x, number(s, least)};
    for (int i = 0; i < 2; i++) {
        LV u = LLVMBuildShl(b, LLVMBuildBitCast(b, bits[i], word, ""), one, "");
        bits[i] = LLVMBuildSub(b, u, one, "");
    }
    expect(s, LLVMBuildICmp(b, LLVMIntUGE, bits[0], bits[1], ""));
}

static double greatest(Limits of)
{
    return fmax(fabs(of.lo), fabs(of.hi));
}

/* The inverse of a usual divisor, rounded. */
static LV usual_inverse(const Site *s, LV by, Limits of)
{
    if (of.lo < LEAST) {
        LV size = site_call(s, "llvm.fabs", &by, 1);
        expect(s, above(s, size, LEAST));
    }
    if (greatest(of) > MOST) gpu_expect_below(s, by, USUAL);
    LV near = approximate(s, "rcp.approx.ftz.f32 $0, $1;", by);
    LV minus = LLVMBuildFNeg(s->b, by, "");
    return fma3(s, fma3(s, minus, near, number(s, 1)), near, near);
}

static LV usual_division(const Site *s, LV x, LV by, const Limits of[2])
{
    Site one = *s;
    one.w = 1;
    bool same =
        s->w > 1 && LLVMGetTypeKind(LLVMTypeOf(by)) != LLVMVectorTypeKind;
    LV inverse = usual_inverse(same ? &one : s, by, of[1]);
    if (same) {
        inverse = site_splat(s, inverse);
        by = site_splat(s, by);
    }
    double most = greatest(of[1]) <= MOST ? greatest(of[1]) : USUAL;
    double least = fmax(LEAST, 0x1p-125 * most);
    LV first = LLVMBuildFMul(s->b, x, inverse, "");
    LV rest = fma3(s, LLVMBuildFNeg(s->b, by, ""), first, x);
    LV q = fma3(s, rest, inverse, first);
    if (of[0].lo < least) expect_zero_or_above(s, x, least);
    if (!(greatest(of[0]) <= GREATER && of[1].lo >= 1 / USUAL))
        expect_no_nan(s, q);
    if (of[0].lo > 0) return q;
    return site_call(s, "llvm.copysign", (LV[]){q, first}, 2); /* of zero */
}

/* What is added makes the inverse root of zero finite, and is lost elsewhere.
 */
static LV usual_sqrt(const Site *s, LV x)
{
    LV y = LLVMBuildFAdd(s->b, x, number(s, 0x1p-126), "");
    LV inverse = approximate(s, "rsqrt.approx.ftz.f32 $0, $1;", y);
    LV root = LLVMBuildFMul(s->b, x, inverse, "");
    LV rest = fma3(s, LLVMBuildFNeg(s->b, root, ""), root, x);
    LV half = LLVMBuildFMul(s->b, inverse, number(s, 0.5), "");
    root = fma3(s, rest, half, root);
    expect_zero_or_above(s, x, LEAST);
    expect_no_nan(s, root);
    return root;
}

LV gpu_division(const Site *s, LV x, LV by, const Limits of[2])
{
    if (s->usual) return usual_division(s, x, by, of);
    bool same = LLVMGetTypeKind(LLVMTypeOf(by)) != LLVMVectorTypeKind;
    return any_division(s, x, same ? site_splat(s, by) : by);
}

LV gpu_sqrt(const Site *s, LV x)
{
    return s->usual ? usual_sqrt(s, x) : any_sqrt(s, x);
}
