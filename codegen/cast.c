/*
 * cast.c: types, constants and casts between dtypes, for any vector width.
 *
 * Rounding to a narrow float is on the bits (formats.def) or by the GPU, which
 * agree in all numbers.  A f64 goes through f32 rounded to odd, so that it is
 * rounded once.
 */
#include "emit.h"

/* ------------------------------------------------------------------- types */

LLVMTypeRef site_type(const Site *s, LLVMTypeRef scalar)
{
    return s->w > 1 ? LLVMVectorType(scalar, s->w) : scalar;
}

static LLVMTypeRef int_type(const Site *s, unsigned bits)
{
    return LLVMIntTypeInContext(s->cx, bits);
}

LLVMTypeRef dtype_reg(const Site *s, DType d)
{
    if (d == DT_f64) return LLVMDoubleTypeInContext(s->cx);
    if (d == DT_f32) return LLVMFloatTypeInContext(s->cx);
    return int_type(s, d == DT_bool ? 1 : 8 * dtype_bytes(d));
}

LLVMTypeRef dtype_mem(const Site *s, DType d)
{
    return d == DT_bool ? int_type(s, 8) : dtype_reg(s, d);
}

LV site_splat(const Site *s, LV x)
{
    if (s->w == 1) return x;
    if (LLVMIsConstant(x) &&
        LLVMGetTypeKind(LLVMTypeOf(x)) != LLVMVectorTypeKind) {
        LV all[64];
        for (unsigned i = 0; i < s->w; i++)
            all[i] = x;
        return LLVMConstVector(all, s->w);
    }
    LLVMTypeRef i32 = int_type(s, 32);
    LV none = LLVMGetPoison(site_type(s, LLVMTypeOf(x)));
    LV v = LLVMBuildInsertElement(s->b, none, x, LLVMConstInt(i32, 0, 0), "");
    return LLVMBuildShuffleVector(s->b, v, none,
                                  LLVMConstNull(LLVMVectorType(i32, s->w)), "");
}

LV site_int(const Site *s, DType d, int64_t i)
{
    return site_splat(s, LLVMConstInt(dtype_reg(s, d), (uint64_t)i, true));
}

static LV wide_bits(const Site *s, unsigned bits, uint64_t i)
{
    return site_splat(s, LLVMConstInt(int_type(s, bits), i, false));
}

LV site_call(const Site *s, const char *name, const LV *args, unsigned n)
{
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    if (!id) BUG("LLVM has no %s", name);
    LLVMTypeRef t = LLVMTypeOf(args[0]);
    LV f = LLVMGetIntrinsicDeclaration(s->module, id, &t, 1);
    LV copy[4];
    for (unsigned i = 0; i < n; i++)
        copy[i] = args[i];
    return LLVMBuildCall2(s->b, LLVMGlobalGetValueType(f), f, copy, n, "");
}

/* --------------------------------------------------------- narrow floats */

static unsigned format_bits(const Format *f)
{
    return f->sign + f->exponent + f->mantissa;
}

/* The bits of what is cast to it beyond its largest number. */
static uint32_t over_bits(const Format *f)
{
    uint32_t all = (1u << (f->exponent + f->mantissa)) - 1;
    uint32_t infinity = all & ~((1u << f->mantissa) - 1);
    if (f->top != TOP_ieee) return all - (f->top == TOP_one);
    return f->over == OVER_sat ? infinity - 1 : infinity;
}

static LV binary(const Site *s, LLVMOpcode op, LV x, uint64_t c, unsigned bits)
{
    return LLVMBuildBinOp(s->b, op, x, wide_bits(s, bits, c), "");
}

static LV as_bits(const Site *s, LV f)
{
    return LLVMBuildBitCast(s->b, f, site_type(s, int_type(s, 32)), "");
}

static LV as_float(const Site *s, LV bits)
{
    LLVMTypeRef t = site_type(s, LLVMFloatTypeInContext(s->cx));
    return LLVMBuildBitCast(s->b, bits, t, "");
}

/* Drops the low bits of u, to nearest even. */
static LV round_bits(const Site *s, LV u, unsigned drop)
{
    LV odd = binary(s, LLVMLShr, u, drop, 32);
    odd = binary(s, LLVMAnd, odd, 1, 32);
    LV half = binary(s, LLVMAdd, odd, (1u << (drop - 1)) - 1, 32);
    return binary(s, LLVMLShr, LLVMBuildAdd(s->b, u, half, ""), drop, 32);
}

static LV f32_to_bf16(const Site *s, LV x)
{
    LV u = as_bits(s, x);
    LV nan = LLVMBuildFCmp(s->b, LLVMRealUNO, x, x, "");
    LV sign =
        binary(s, LLVMLShr, binary(s, LLVMAnd, u, 0x80000000u, 32), 16, 32);
    LV quiet = binary(s, LLVMOr, sign, dtype_format(DT_bf16)->nan, 32);
    LV r = LLVMBuildSelect(s->b, nan, quiet, round_bits(s, u, 16), "");
    return LLVMBuildTrunc(s->b, r, site_type(s, int_type(s, 16)), "");
}

/* |x| as the bits of a format with fewer exponents: normal values are
 * rebiased and rounded, small ones are rounded by adding a power of two whose
 * last place is that of the format's subnormals. */
static LV f32_to_small(const Site *s, LV x, const Format *n)
{
    LLVMBuilderRef b = s->b;
    unsigned drop = 23 - n->mantissa, bits = format_bits(n);
    LV u = as_bits(s, x);
    LV sign = binary(s, LLVMAnd, u, 0x80000000u, 32);
    LV mag = LLVMBuildXor(b, u, sign, "");
    uint32_t least = (uint32_t)(127 - n->bias + 1) << 23;
    LV normal = round_bits(
        s, binary(s, LLVMSub, mag, (uint64_t)(127 - n->bias) << 23, 32), drop);
    uint32_t magic = (uint32_t)(127 - n->bias + 1 + (int)drop) << 23;
    LV f = LLVMBuildFAdd(b, as_float(s, mag),
                         as_float(s, wide_bits(s, 32, magic)), "");
    LV small = binary(s, LLVMSub, as_bits(s, f), magic, 32);
    LV is_small =
        LLVMBuildICmp(b, LLVMIntULT, mag, wide_bits(s, 32, least), "");
    LV r = LLVMBuildSelect(b, is_small, small, normal, "");
    LV most = wide_bits(s, 32, over_bits(n));
    LV over = LLVMBuildICmp(b, LLVMIntUGT, r, most, "");
    r = LLVMBuildSelect(b, over, most, r, "");
    LV nan = LLVMBuildFCmp(b, LLVMRealUNO, x, x, "");
    r = LLVMBuildSelect(b, nan, wide_bits(s, 32, n->nan), r, "");
    /* A format without NaN has its largest number for it, whatever the sign. */
    if (n->top == TOP_numbers)
        sign = LLVMBuildSelect(b, nan, wide_bits(s, 32, 0), sign, "");
    r = LLVMBuildOr(b, r, binary(s, LLVMLShr, sign, 32 - bits, 32), "");
    unsigned stored = bits <= 8 ? 8 : 16;
    return LLVMBuildTrunc(b, r, site_type(s, int_type(s, stored)), "");
}

/* Exact: the fields are moved in place and the exponent is set right by a
 * multiplication, which makes subnormals normal. */
static LV small_to_f32(const Site *s, LV x, const Format *n)
{
    LLVMBuilderRef b = s->b;
    LV u = LLVMBuildZExt(b, x, site_type(s, int_type(s, 32)), "");
    unsigned fields = n->exponent + n->mantissa;
    uint32_t body = (1u << fields) - 1;
    LV mag = binary(s, LLVMAnd, u, body, 32);
    LV sign = binary(s, LLVMShl, binary(s, LLVMAnd, u, body + 1, 32),
                     31 - fields, 32);
    LV f = as_float(s, binary(s, LLVMShl, mag, 23 - n->mantissa, 32));
    LV scale =
        as_float(s, wide_bits(s, 32, (uint64_t)(127 + 127 - n->bias) << 23));
    LV r = as_bits(s, LLVMBuildFMul(b, f, scale, ""));
    LV nan = wide_bits(s, 32, 0x7fc00000u);
    if (n->top == TOP_ieee) {
        LV top = wide_bits(s, 32, body & ~((1u << n->mantissa) - 1));
        LV inf = LLVMBuildICmp(b, LLVMIntEQ, mag, top, "");
        LV what =
            LLVMBuildSelect(b, inf, wide_bits(s, 32, 0x7f800000u), nan, "");
        LV special = LLVMBuildICmp(b, LLVMIntUGE, mag, top, "");
        r = LLVMBuildSelect(b, special, what, r, "");
    } else if (n->top == TOP_one) {
        LV special =
            LLVMBuildICmp(b, LLVMIntEQ, mag, wide_bits(s, 32, body), "");
        r = LLVMBuildSelect(b, special, nan, r, "");
    }
    return as_float(s, LLVMBuildOr(b, r, sign, ""));
}

/* A power of two is f32's exponent, but for the least, which is subnormal. */
static LV f32_to_power(const Site *s, LV x)
{
    LLVMBuilderRef b = s->b;
    LV e = binary(s, LLVMLShr, as_bits(s, x), 23, 32);
    LV most = wide_bits(s, 32, 254), nan = wide_bits(s, 32, 255);
    LV over = LLVMBuildICmp(b, LLVMIntUGT, e, most, "");
    LV r = LLVMBuildSelect(b, over, most, e, "");
    LV some =
        LLVMBuildFCmp(b, LLVMRealOGT, x, LLVMConstNull(LLVMTypeOf(x)), "");
    r = LLVMBuildSelect(b, some, r, wide_bits(s, 32, 0), "");
    LV is_nan = LLVMBuildFCmp(b, LLVMRealUNO, x, x, "");
    r = LLVMBuildSelect(b, is_nan, nan, r, "");
    return LLVMBuildTrunc(b, r, site_type(s, int_type(s, 8)), "");
}

static LV power_to_f32(const Site *s, LV x)
{
    LLVMBuilderRef b = s->b;
    LV u = LLVMBuildZExt(b, x, site_type(s, int_type(s, 32)), "");
    LV least = LLVMBuildICmp(b, LLVMIntEQ, u, wide_bits(s, 32, 0), "");
    LV nan = LLVMBuildICmp(b, LLVMIntEQ, u, wide_bits(s, 32, 255), "");
    LV r = binary(s, LLVMShl, u, 23, 32);
    r = LLVMBuildSelect(b, least, wide_bits(s, 32, 0x400000), r, "");
    r = LLVMBuildSelect(b, nan, wide_bits(s, 32, 0x7fc00000u), r, "");
    return as_float(s, r);
}

/* Whether x lies in whole words: as it was loaded, or held. */
static bool is_in_words(const Site *s, LV x)
{
    return s->words && s->w > 2 && s->w % 2 == 0 &&
           (LLVMIsALoadInst(x) || LLVMIsABitCastInst(x));
}

/* The two halves of a word: one shifted, one masked. */
static LV widen_pairs(const Site *s, LV x)
{
    LLVMBuilderRef b = s->b;
    LLVMTypeRef i32 = int_type(s, 32);
    LLVMTypeRef words = LLVMVectorType(i32, s->w / 2);
    Site half = *s;
    half.w = s->w / 2;
    LV v = LLVMBuildBitCast(b, x, words, "");
    LV low = as_float(&half, binary(&half, LLVMShl, v, 16, 32));
    LV high = as_float(&half, binary(&half, LLVMAnd, v, 0xffff0000u, 32));
    LV order[64];
    for (unsigned i = 0; i < s->w; i++)
        order[i] = LLVMConstInt(i32, i / 2 + i % 2 * half.w, false);
    return LLVMBuildShuffleVector(b, low, high, LLVMConstVector(order, s->w),
                                  "");
}

/* Formats of eight bits that a GPU converts itself, two numbers at a time. */
static bool is_eight(const Site *s, DType d)
{
    return s->gpu && (d == DT_e4m3 || d == DT_e5m2) &&
           (s->w == 1 || s->w % 2 == 0);
}

static LV eight_call(const Site *s, const char *name, LV *args, unsigned n)
{
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    if (!id) BUG("LLVM has no %s", name);
    LV f = LLVMGetIntrinsicDeclaration(s->module, id, NULL, 0);
    return LLVMBuildCall2(s->b, LLVMGlobalGetValueType(f), f, args, n, "");
}

static LV lane_of(const Site *s, unsigned i)
{
    return LLVMConstInt(int_type(s, 32), i, false);
}

static LV element_at(const Site *s, LV x, unsigned i)
{
    return LLVMBuildExtractElement(s->b, x, lane_of(s, i), "");
}

/* The bits of f32_to_small, but that a NaN has no sign; the first of two is
 * the lower byte. */
static LV f32_to_eight(const Site *s, DType to, LV x)
{
    const char *name = to == DT_e4m3 ? "llvm.nvvm.ff.to.e4m3x2.rn"
                                     : "llvm.nvvm.ff.to.e5m2x2.rn";
    LLVMTypeRef i8 = int_type(s, 8);
    if (s->w == 1) {
        LV two[] = {LLVMConstNull(LLVMTypeOf(x)), x};
        return LLVMBuildTrunc(s->b, eight_call(s, name, two, 2), i8, "");
    }
    LV out = LLVMGetPoison(LLVMVectorType(int_type(s, 16), s->w / 2));
    for (unsigned i = 0; i < s->w; i += 2) {
        LV two[] = {element_at(s, x, i + 1), element_at(s, x, i)};
        out = LLVMBuildInsertElement(s->b, out, eight_call(s, name, two, 2),
                                     lane_of(s, i / 2), "");
    }
    return LLVMBuildBitCast(s->b, out, site_type(s, i8), "");
}

/* By f16, which has every number of both formats. */
static LV eight_to_f32(const Site *s, DType from, LV x)
{
    const char *name = from == DT_e4m3 ? "llvm.nvvm.e4m3x2.to.f16x2.rn"
                                       : "llvm.nvvm.e5m2x2.to.f16x2.rn";
    LLVMTypeRef i16 = int_type(s, 16), f32 = LLVMFloatTypeInContext(s->cx);
    if (s->w == 1) {
        LV pair = LLVMBuildZExt(s->b, x, i16, "");
        pair = eight_call(s, name, &pair, 1);
        return LLVMBuildFPExt(s->b, element_at(s, pair, 0), f32, "");
    }
    LV pairs = LLVMBuildBitCast(s->b, x, LLVMVectorType(i16, s->w / 2), "");
    LV out = LLVMGetPoison(site_type(s, LLVMHalfTypeInContext(s->cx)));
    for (unsigned i = 0; i < s->w; i++) {
        LV pair = element_at(s, pairs, i / 2);
        pair = eight_call(s, name, &pair, 1);
        out = LLVMBuildInsertElement(s->b, out, element_at(s, pair, i % 2),
                                     lane_of(s, i), "");
    }
    return LLVMBuildFPExt(s->b, out, site_type(s, f32), "");
}

static LV widen(const Site *s, DType from, LV x)
{
    if (from == DT_f32) return x;
    if (is_eight(s, from)) return eight_to_f32(s, from, x);
    if (from == DT_e8m0) return power_to_f32(s, x);
    if (from != DT_bf16) return small_to_f32(s, x, dtype_format(from));
    if (is_in_words(s, x)) return widen_pairs(s, x);
    LV u = LLVMBuildZExt(s->b, x, site_type(s, int_type(s, 32)), "");
    return as_float(s, binary(s, LLVMShl, u, 16, 32));
}

/* f64 to f32 so that rounding the result again is rounding once: towards
 * zero, and the last bit says whether anything was lost. */
static LV round_to_odd(const Site *s, LV x)
{
    LLVMBuilderRef b = s->b;
    LLVMTypeRef f32 = site_type(s, LLVMFloatTypeInContext(s->cx));
    LV f = LLVMBuildFPTrunc(b, x, f32, "");
    LV back = LLVMBuildFPExt(b, f, LLVMTypeOf(x), "");
    LV exact = LLVMBuildFCmp(b, LLVMRealUEQ, back, x, "");
    LV over = LLVMBuildFCmp(b, LLVMRealOGT, site_call(s, "llvm.fabs", &back, 1),
                            site_call(s, "llvm.fabs", &x, 1), "");
    LV u = as_bits(s, f);
    LV down = LLVMBuildSub(b, u, LLVMBuildZExt(b, over, LLVMTypeOf(u), ""), "");
    LV odd = binary(s, LLVMOr, down, 1, 32);
    return as_float(s, LLVMBuildSelect(b, exact, u, odd, ""));
}

/* The GPU's own rounding, which gives the same bits but for those of NaN. */
static LV f32_to_half(const Site *s, DType to, LV x)
{
    LLVMTypeRef t = to == DT_bf16 ? LLVMBFloatTypeInContext(s->cx)
                                  : LLVMHalfTypeInContext(s->cx);
    LV half = LLVMBuildFPTrunc(s->b, x, site_type(s, t), "");
    return LLVMBuildBitCast(s->b, half, site_type(s, int_type(s, 16)), "");
}

static LV float_to_float(const Site *s, DType to, DType from, LV x)
{
    LLVMTypeRef t = site_type(s, dtype_reg(s, to));
    if (from == DT_f64) {
        if (to == DT_f32) return LLVMBuildFPTrunc(s->b, x, t, "");
        x = round_to_odd(s, x);
    } else {
        x = widen(s, from, x);
    }
    if (s->gpu && (to == DT_bf16 || to == DT_f16)) return f32_to_half(s, to, x);
    if (is_eight(s, to)) return f32_to_eight(s, to, x);
    switch (to) {
    case DT_f64:
        return LLVMBuildFPExt(s->b, x, t, "");
    case DT_f32:
        return x;
    case DT_bf16:
        return f32_to_bf16(s, x);
    case DT_e8m0:
        return f32_to_power(s, x);
    default:
        return f32_to_small(s, x, dtype_format(to));
    }
}

/* --------------------------------------------------------------- integers */

static LV float_to_int(const Site *s, DType to, DType from, LV x)
{
    if (from != DT_f64) x = widen(s, from, x);
    const char *name =
        dtype_class(to) == DC_int ? "llvm.fptosi.sat" : "llvm.fptoui.sat";
    LLVMTypeRef types[] = {site_type(s, dtype_reg(s, to)), LLVMTypeOf(x)};
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    LV f = LLVMGetIntrinsicDeclaration(s->module, id, types, 2);
    return LLVMBuildCall2(s->b, LLVMGlobalGetValueType(f), f, &x, 1, "");
}

/* What f64 holds of a 64-bit integer: of one that it does not, the lowest bits
 * become one that is set where any was, so that rounding what is left is
 * rounding once. */
static LV whole_in_f64(const Site *s, LV x, bool sign)
{
    enum { HELD = 53, LOW = 12 };
    LLVMBuilderRef b = s->b;
    uint64_t mask = (1u << LOW) - 1, held = UINT64_C(1) << HELD;
    LV size = sign ? binary(s, LLVMAdd, x, held, 64) : x;
    LV most = wide_bits(s, 64, sign ? 2 * held : held);
    LV small = LLVMBuildICmp(b, LLVMIntULE, size, most, "");
    LV low = binary(s, LLVMAnd, x, mask, 64);
    LV none = LLVMBuildICmp(b, LLVMIntEQ, low, wide_bits(s, 64, 0), "");
    LV odd = LLVMBuildSelect(b, none, wide_bits(s, 64, 0),
                             wide_bits(s, 64, 1u << (LOW - 1)), "");
    LV y = LLVMBuildOr(b, binary(s, LLVMAnd, x, ~mask, 64), odd, "");
    return LLVMBuildSelect(b, small, x, y, "");
}

static LV int_to_float(const Site *s, DType to, DType from, LV x)
{
    bool sign = dtype_class(from) == DC_int;
    /* f64 holds what is at most 32 bits wide */
    DType via = to == DT_f64 || to == DT_f32 ? to : DT_f64;
    LLVMTypeRef t = site_type(s, dtype_reg(s, via));
    if (via != to && dtype_bytes(from) == 8) x = whole_in_f64(s, x, sign);
    LV f = sign ? LLVMBuildSIToFP(s->b, x, t, "")
                : LLVMBuildUIToFP(s->b, x, t, "");
    return via == to ? f : float_to_float(s, to, via, f);
}

static LV to_bool(const Site *s, DType from, LV x)
{
    LV zero = LLVMConstNull(LLVMTypeOf(x));
    if (dtype_class(from) != DC_float)
        return LLVMBuildICmp(s->b, LLVMIntNE, x, zero, "");
    if (from != DT_f64) x = widen(s, from, x);
    return LLVMBuildFCmp(s->b, LLVMRealUNE, x, LLVMConstNull(LLVMTypeOf(x)),
                         "");
}

LV emit_dtype_cast(const Site *s, DType to, DType from, LV x)
{
    if (to == from) return x;
    bool to_float = dtype_class(to) == DC_float;
    bool from_float = dtype_class(from) == DC_float;
    if (to == DT_bool) return to_bool(s, from, x);
    if (to_float && from_float) return float_to_float(s, to, from, x);
    if (to_float) return int_to_float(s, to, from, x);
    if (from_float) return float_to_int(s, to, from, x);
    return LLVMBuildIntCast2(s->b, x, site_type(s, dtype_reg(s, to)),
                             dtype_class(from) == DC_int, "");
}

/* --------------------------------------------------------------- constants */

/* The bits of a narrow constant follow from its f64 value, which is exact. */
static uint64_t narrow_bits(DType d, double f)
{
    unsigned char out[8] = {0};
    dtype_store(d, (Cell){.f = f}, out);
    uint64_t bits = 0;
    for (unsigned i = dtype_bytes(d); i-- > 0;)
        bits = bits << 8 | out[i];
    return bits;
}

LV site_float(const Site *s, DType d, double f)
{
    LLVMTypeRef t = dtype_reg(s, d);
    if (d == DT_f64 || d == DT_f32) return site_splat(s, LLVMConstReal(t, f));
    return site_splat(s, LLVMConstInt(t, narrow_bits(d, f), false));
}
