/*
 * gpu_math.c: quotients, roots and powers of e of f32 on a GPU, without
 * branches.
 *
 * The GPU's own rounded division and root test for rare operands and branch,
 * which keeps a thread's neighbours from being interleaved.  Here an
 * approximation is set right by what it leaves of the operand: a fused
 * multiply-add gives the remainder exactly, and its share is added with one
 * rounding.  So the result is the rounded one but for a case in millions, where
 * it is a neighbour of it.  A divisor below 2^-128 counts as zero.
 */
#include <string.h>

#include "emit.h"

/* An instruction on each lane. */
static LV approximate(const Site *s, const char *text, LV x)
{
    LLVMBuilderRef b = s->b;
    LLVMTypeRef t = LLVMFloatTypeInContext(s->cx);
    LLVMTypeRef ft = LLVMFunctionType(t, &t, 1, false);
    LV f = LLVMGetInlineAsm(ft, text, strlen(text), "=f,f", 4, false, false,
                            LLVMInlineAsmDialectATT, false);
    if (s->w == 1) return LLVMBuildCall2(b, ft, f, &x, 1, "");
    LV out = LLVMGetPoison(LLVMTypeOf(x));
    for (unsigned i = 0; i < s->w; i++) {
        LV at = LLVMConstInt(LLVMInt32TypeInContext(s->cx), i, false);
        LV lane = LLVMBuildExtractElement(b, x, at, "");
        lane = LLVMBuildCall2(b, ft, f, &lane, 1, "");
        out = LLVMBuildInsertElement(b, out, lane, at, "");
    }
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

/* Zero and infinity are their own roots. */
LV gpu_sqrt(const Site *s, LV x)
{
    LLVMBuilderRef b = s->b;
    LV inverse = approximate(s, "rsqrt.approx.f32 $0, $1;", x);
    LV root = LLVMBuildFMul(b, x, inverse, "");
    LV rest = fma3(s, LLVMBuildFNeg(b, root, ""), root, x);
    LV half = LLVMBuildFMul(b, inverse, site_float(s, DT_f32, 0.5), "");
    LV zero = LLVMBuildFCmp(b, LLVMRealOEQ, x, site_float(s, DT_f32, 0), "");
    LV inf = LLVMBuildFCmp(b, LLVMRealOEQ, x,
                           site_float(s, DT_f32, __builtin_inf()), "");
    return LLVMBuildSelect(b, LLVMBuildOr(b, zero, inf, ""), x,
                           fma3(s, rest, half, root), "");
}
