/*
 * scalar.c: the functions of scalar expressions as LLVM IR, for any width.
 *
 * One llvm_<name> per row of scalar.def.  Each float operation rounds once;
 * nothing is contracted, so the same sequence gives the same bits on host and
 * GPU.  Integers wrap; shifts by the width or more, and division by zero,
 * give what scalar.def says.
 */
#include "emit.h"

typedef LV ScalarRule(const Site *s, DType d, const LV *a);

static bool floats(DType d)
{
    return dtype_class(d) == DC_float;
}

static bool is_signed(DType d)
{
    return dtype_class(d) == DC_int;
}

static LV zero_of(LV x)
{
    return LLVMConstNull(LLVMTypeOf(x));
}

static LV llvm_add(const Site *s, DType d, const LV *a)
{
    return floats(d) ? LLVMBuildFAdd(s->b, a[0], a[1], "")
                     : LLVMBuildAdd(s->b, a[0], a[1], "");
}

static LV llvm_sub(const Site *s, DType d, const LV *a)
{
    return floats(d) ? LLVMBuildFSub(s->b, a[0], a[1], "")
                     : LLVMBuildSub(s->b, a[0], a[1], "");
}

static LV llvm_mul(const Site *s, DType d, const LV *a)
{
    return floats(d) ? LLVMBuildFMul(s->b, a[0], a[1], "")
                     : LLVMBuildMul(s->b, a[0], a[1], "");
}

static LV llvm_div(const Site *s, DType d, const LV *a)
{
    if (site_is_near(s, d)) return gpu_quotient(s, a[0], a[1]);
    const Limits none[] = {limits_none(), limits_none()};
    if (site_is_beside(s, d)) return gpu_division(s, a[0], a[1], none);
    return LLVMBuildFDiv(s->b, a[0], a[1], "");
}

static LV choose(const Site *s, LV c, LV x, LV y)
{
    return LLVMBuildSelect(s->b, c, x, y, "");
}

static LV icmp(const Site *s, LLVMIntPredicate p, LV x, LV y)
{
    return LLVMBuildICmp(s->b, p, x, y, "");
}

/* Division by 1 instead of 0, and of 0 instead of the least number by -1,
 * which traps; both results are then replaced. */
static LV divide(const Site *s, DType d, const LV *a, bool rest)
{
    LLVMBuilderRef b = s->b;
    LV none = icmp(s, LLVMIntEQ, a[1], zero_of(a[1]));
    LV by = choose(s, none, site_int(s, d, 1), a[1]);
    if (!is_signed(d)) {
        LV r = rest ? LLVMBuildURem(b, a[0], by, "")
                    : LLVMBuildUDiv(b, a[0], by, "");
        return choose(s, none, zero_of(r), r);
    }
    LV minus = icmp(s, LLVMIntEQ, by, site_int(s, d, -1));
    LV safe = choose(s, minus, site_int(s, d, 1), by);
    LV r = LLVMBuildSRem(b, a[0], safe, "");
    LV apart = icmp(s, LLVMIntSLT, LLVMBuildXor(b, r, by, ""), zero_of(r));
    LV fix = LLVMBuildAnd(b, icmp(s, LLVMIntNE, r, zero_of(r)), apart, "");
    LV out;
    if (rest) {
        out = choose(s, fix, LLVMBuildAdd(b, r, by, ""), r);
    } else {
        LV q = LLVMBuildSDiv(b, a[0], safe, "");
        q = LLVMBuildAdd(b, q, LLVMBuildSExt(b, fix, LLVMTypeOf(q), ""), "");
        out = choose(s, minus, LLVMBuildNeg(b, a[0], ""), q);
    }
    return choose(s, none, zero_of(out), out);
}

static LV llvm_idiv(const Site *s, DType d, const LV *a)
{
    return divide(s, d, a, false);
}

static LV llvm_imod(const Site *s, DType d, const LV *a)
{
    return divide(s, d, a, true);
}

static LV llvm_pow(const Site *s, DType d, const LV *a)
{
    return math_pow(s, d, a[0], a[1]);
}

static LV llvm_min(const Site *s, DType d, const LV *a)
{
    return site_call(s,
                     floats(d)      ? "llvm.minimum"
                     : is_signed(d) ? "llvm.smin"
                                    : "llvm.umin",
                     a, 2);
}

static LV llvm_max(const Site *s, DType d, const LV *a)
{
    return site_call(s,
                     floats(d)      ? "llvm.maximum"
                     : is_signed(d) ? "llvm.smax"
                                    : "llvm.umax",
                     a, 2);
}

static LV llvm_fma(const Site *s, DType d, const LV *a)
{
    (void)d;
    return site_call(s, "llvm.fma", a, 3);
}

static LV llvm_neg(const Site *s, DType d, const LV *a)
{
    return floats(d) ? LLVMBuildFNeg(s->b, a[0], "")
                     : LLVMBuildNeg(s->b, a[0], "");
}

static LV llvm_abs(const Site *s, DType d, const LV *a)
{
    if (floats(d)) return site_call(s, "llvm.fabs", a, 1);
    if (!is_signed(d)) return a[0];
    LV low = icmp(s, LLVMIntSLT, a[0], zero_of(a[0]));
    return choose(s, low, LLVMBuildNeg(s->b, a[0], ""), a[0]);
}

/* -1, 0 or 1; of a float, NaN and the zeros are themselves. */
static LV llvm_sign(const Site *s, DType d, const LV *a)
{
    LV zero = zero_of(a[0]);
    if (floats(d)) {
        LV up = LLVMBuildFCmp(s->b, LLVMRealOGT, a[0], zero, "");
        LV low = LLVMBuildFCmp(s->b, LLVMRealOLT, a[0], zero, "");
        LV x = choose(s, up, site_float(s, d, 1), a[0]);
        return choose(s, low, site_float(s, d, -1), x);
    }
    LV one = choose(s, icmp(s, LLVMIntNE, a[0], zero), site_int(s, d, 1), zero);
    if (!is_signed(d)) return one;
    return choose(s, icmp(s, LLVMIntSLT, a[0], zero), site_int(s, d, -1), one);
}

static LV llvm_exp(const Site *s, DType d, const LV *a)
{
    return math_exp(s, d, a[0]);
}

static LV llvm_log(const Site *s, DType d, const LV *a)
{
    return math_log(s, d, a[0]);
}

static LV llvm_log1p(const Site *s, DType d, const LV *a)
{
    return math_log1p(s, d, a[0]);
}

static LV llvm_sqrt(const Site *s, DType d, const LV *a)
{
    if (site_is_beside(s, d)) return gpu_sqrt(s, a[0]);
    return site_call(s, "llvm.sqrt", a, 1);
}

static LV llvm_rsqrt(const Site *s, DType d, const LV *a)
{
    LV one = site_float(s, d, 1);
    if (site_is_near_one(s, d)) return gpu_quotient(s, one, gpu_sqrt(s, a[0]));
    return llvm_div(s, d, (LV[]){one, llvm_sqrt(s, d, a)});
}

static LV llvm_sin(const Site *s, DType d, const LV *a)
{
    return math_sin(s, d, a[0]);
}

static LV llvm_cos(const Site *s, DType d, const LV *a)
{
    return math_cos(s, d, a[0]);
}

static LV llvm_tanh(const Site *s, DType d, const LV *a)
{
    return math_tanh(s, d, a[0]);
}

static LV llvm_erf(const Site *s, DType d, const LV *a)
{
    return math_erf(s, d, a[0]);
}

static LV llvm_sigmoid(const Site *s, DType d, const LV *a)
{
    return math_sigmoid(s, d, a[0]);
}

static LV llvm_floor(const Site *s, DType d, const LV *a)
{
    (void)d;
    return site_call(s, "llvm.floor", a, 1);
}

static LV llvm_ceil(const Site *s, DType d, const LV *a)
{
    (void)d;
    return site_call(s, "llvm.ceil", a, 1);
}

static LV llvm_round(const Site *s, DType d, const LV *a)
{
    (void)d;
    return site_call(s, "llvm.roundeven", a, 1);
}

static LV llvm_lt(const Site *s, DType d, const LV *a)
{
    if (floats(d)) return LLVMBuildFCmp(s->b, LLVMRealOLT, a[0], a[1], "");
    return icmp(s, is_signed(d) ? LLVMIntSLT : LLVMIntULT, a[0], a[1]);
}

static LV llvm_le(const Site *s, DType d, const LV *a)
{
    if (floats(d)) return LLVMBuildFCmp(s->b, LLVMRealOLE, a[0], a[1], "");
    return icmp(s, is_signed(d) ? LLVMIntSLE : LLVMIntULE, a[0], a[1]);
}

/* Narrow floats compare by value. */
static LV equal(const Site *s, DType d, const LV *a, bool same)
{
    if (!floats(d)) return icmp(s, same ? LLVMIntEQ : LLVMIntNE, a[0], a[1]);
    LV x = a[0], y = a[1];
    if (d != DT_f64) {
        x = emit_dtype_cast(s, DT_f32, d, x);
        y = emit_dtype_cast(s, DT_f32, d, y);
    }
    return LLVMBuildFCmp(s->b, same ? LLVMRealOEQ : LLVMRealUNE, x, y, "");
}

static LV llvm_eq(const Site *s, DType d, const LV *a)
{
    return equal(s, d, a, true);
}

static LV llvm_ne(const Site *s, DType d, const LV *a)
{
    return equal(s, d, a, false);
}

static LV llvm_and(const Site *s, DType d, const LV *a)
{
    (void)d;
    return LLVMBuildAnd(s->b, a[0], a[1], "");
}

static LV llvm_or(const Site *s, DType d, const LV *a)
{
    (void)d;
    return LLVMBuildOr(s->b, a[0], a[1], "");
}

static LV llvm_not(const Site *s, DType d, const LV *a)
{
    (void)d;
    return LLVMBuildNot(s->b, a[0], "");
}

static LV llvm_bitand(const Site *s, DType d, const LV *a)
{
    return llvm_and(s, d, a);
}

static LV llvm_bitor(const Site *s, DType d, const LV *a)
{
    return llvm_or(s, d, a);
}

static LV llvm_bitxor(const Site *s, DType d, const LV *a)
{
    (void)d;
    return LLVMBuildXor(s->b, a[0], a[1], "");
}

/* Counts are unsigned: a negative one is more than the width. */
static LV shift(const Site *s, DType d, const LV *a, LLVMOpcode op)
{
    unsigned bits = 8 * dtype_bytes(d);
    LV fits = icmp(s, LLVMIntULT, a[1], site_int(s, d, bits));
    LV by =
        choose(s, fits, a[1], site_int(s, d, op == LLVMAShr ? bits - 1 : 0));
    LV r = LLVMBuildBinOp(s->b, op, a[0], by, "");
    return choose(s, fits, r, zero_of(r));
}

static LV llvm_shl(const Site *s, DType d, const LV *a)
{
    return shift(s, d, a, LLVMShl);
}

static LV llvm_shr(const Site *s, DType d, const LV *a)
{
    return shift(s, d, a, is_signed(d) ? LLVMAShr : LLVMLShr);
}

static LV llvm_where(const Site *s, DType d, const LV *a)
{
    (void)d;
    return choose(s, a[0], a[1], a[2]);
}

static LV llvm_stop(const Site *s, DType d, const LV *a)
{
    (void)s;
    (void)d;
    return a[0];
}

static LV llvm_isfinite(const Site *s, DType d, const LV *a)
{
    LV x = d == DT_f64 ? a[0] : emit_dtype_cast(s, DT_f32, d, a[0]);
    LV mag = site_call(s, "llvm.fabs", &x, 1);
    LV inf = site_float(s, d == DT_f64 ? DT_f64 : DT_f32, __builtin_inf());
    return LLVMBuildFCmp(s->b, LLVMRealOLT, mag, inf, "");
}

/* ------------------------------------------------------------------ random */

static LV low_word(const Site *s, LV x)
{
    LLVMTypeRef t = site_type(s, LLVMInt32TypeInContext(s->cx));
    return LLVMBuildTrunc(s->b, x, t, "");
}

static LV high_word(const Site *s, LV x)
{
    return low_word(s, LLVMBuildLShr(s->b, x, site_int(s, DT_u64, 32), ""));
}

static LV times(const Site *s, LV x, uint32_t by)
{
    LLVMTypeRef t = site_type(s, LLVMInt64TypeInContext(s->cx));
    LV wide = LLVMBuildZExt(s->b, x, t, "");
    return LLVMBuildMul(s->b, wide, site_int(s, DT_u64, by), "");
}

/* Philox4x32-10: ten rounds of two products; the key grows by two constants. */
static LV llvm_random(const Site *s, DType d, const LV *a)
{
    (void)d;
    LV c[4] = {low_word(s, a[2]), high_word(s, a[2]), low_word(s, a[1]),
               high_word(s, a[1])};
    LV k[2] = {low_word(s, a[0]), high_word(s, a[0])};
    for (int round = 0; round < 10; round++) {
        LV p = times(s, c[0], 0xD2511F53u), q = times(s, c[2], 0xCD9E8D57u);
        LV x = LLVMBuildXor(s->b, high_word(s, q), c[1], "");
        LV y = LLVMBuildXor(s->b, high_word(s, p), c[3], "");
        c[0] = LLVMBuildXor(s->b, x, k[0], "");
        c[1] = low_word(s, q);
        c[2] = LLVMBuildXor(s->b, y, k[1], "");
        c[3] = low_word(s, p);
        k[0] = LLVMBuildAdd(s->b, k[0], site_int(s, DT_u32, 0x9E3779B9), "");
        k[1] = LLVMBuildAdd(s->b, k[1], site_int(s, DT_u32, 0xBB67AE85), "");
    }
    return c[0];
}

/* ---------------------------------------------------------------- dispatch */

LV emit_scalar(const Site *s, ScalarOp op, DType d, const LV args[3])
{
    static ScalarRule *const rules[] = {
#define SCALAR(name, n, form, operands, result) [SC_##name] = llvm_##name,
#include "../ir/scalar.def"
#undef SCALAR
    };
    return rules[op](s, d, args);
}
