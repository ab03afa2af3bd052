/*
 * scale.c: scales, as maps of the largest element (see quantise.c).
 */
#include "quantise.h"

static double largest(DType format)
{
    return dtype_round(format, 1e30);
}

/* What lies between one and the next number. */
static double ulp_of_one(DType format)
{
    double ulp = 1;
    while (dtype_round(format, 1 + ulp / 2) == 1 + ulp / 2)
        ulp /= 2;
    return ulp;
}

Value quant_amax(Quantise *q, Value x, const Axis *axes, uint32_t n)
{
    Builder *b = &q->rw.b;
    Value wide = emit_unary(b, SC_abs, emit_cast(b, x, DT_f32));
    return n ? emit_reduce(b, "max", wide, axes, n, DT_f32, DT_f32) : wide;
}

/* X, or NaN where something under the scale is not finite: e8m0 has neither an
 * infinity nor the zero that is its inverse. */
static Expr if_finite(Module *m, Expr amax, Expr x)
{
    Expr none = {0}, finite = expr_op(m, SC_isfinite, amax, none, none);
    Expr nan = expr_float(m, DT_f32, (double)__builtin_nanf(""));
    return expr_op(m, SC_where, finite, x, nan);
}

static Expr power_of_two(Module *m, Expr x)
{
    return expr_cast(m, DT_f32, expr_cast(m, DT_e8m0, x));
}

/* The body of scale(amax): what x is multiplied by. */
static Expr scale_body(Module *m, const Way *way)
{
    Expr none = {0}, amax = expr_arg(m, 0, DT_f32);
    Expr least = expr_float(m, DT_f64, way->least);
    Expr wide = expr_op(m, SC_max, expr_cast(m, DT_f64, amax), least, none);
    Expr top = expr_float(m, DT_f64, largest(way->format));
    Expr scale = expr_cast(m, DT_f32, expr_op(m, SC_div, top, wide, none));
    return way->power ? if_finite(m, amax, power_of_two(m, scale)) : scale;
}

/* Twice DOWN, a power of two, where X is more than so much of it. */
static Expr twice_where(Module *m, Expr down, ScalarOp is, Expr x, double of)
{
    Expr none = {0};
    Expr twice = expr_op(m, SC_mul, down, expr_float(m, DT_f32, 2), none);
    Expr most = expr_op(m, SC_mul, down, expr_float(m, DT_f32, of), none);
    return expr_op(m, SC_where, expr_op(m, is, most, x, none), twice, down);
}

/* The body of inverse(amax), a power of two: of amax's exponent, rounded or
 * not, or of what amax is beside the largest number, rounded up. */
static Expr inverse_body(Module *m, const Way *way)
{
    Expr none = {0}, amax = expr_arg(m, 0, DT_f32);
    double most = largest(way->format);
    bool up = way->to == ROUND_up;
    Expr by = expr_float(m, DT_f32, up ? 1 / most : 1);
    Expr part = expr_op(m, SC_mul, amax, by, none);
    Expr down = power_of_two(m, part);
    if (up || way->to == ROUND_ceil)
        down = twice_where(m, down, SC_lt, part, 1);
    if (!up) {
        double below = dtype_round(DT_e8m0, most);
        if (way->to == ROUND_even)
            down = twice_where(m, down, SC_le, part,
                               2 - ulp_of_one(way->format) / 2);
        down = power_of_two(m, expr_op(m, SC_mul, down,
                                       expr_float(m, DT_f32, 1 / below), none));
    }
    return if_finite(m, amax, power_of_two(m, down));
}

/* The body of scale(amax), or of inverse(amax): one over the other, each
 * rounded by itself. */
static Expr quotient_body(Module *m, const Way *way, bool inverse)
{
    Expr none = {0}, amax = expr_arg(m, 0, DT_f32);
    Expr least = expr_float(m, DT_f32, way->least);
    Expr top = expr_float(m, DT_f32, largest(way->format));
    Expr some = expr_op(m, SC_max, amax, least, none);
    return expr_op(m, SC_div, inverse ? some : top, inverse ? top : some, none);
}

static Value inverse_of(Quantise *q, Value scale)
{
    Value one = emit_const(&q->rw.b, DT_f32, 1);
    return emit_binary(&q->rw.b, SC_div, one, scale);
}

Value quant_narrow(Quantise *q, Value x, Value scale, DType format)
{
    Builder *b = &q->rw.b;
    Value wide = emit_cast(b, x, DT_f32);
    return emit_cast(b, emit_binary(b, SC_mul, wide, scale), format);
}

void quant_scales(Quantise *q, const Way *way, Value amax, Value *scale,
                  Value *inverse)
{
    Builder *b = &q->rw.b;
    if (way->quotients) {
        *scale = emit_map(b, quotient_body(q->m, way, false), &amax, 1);
        *inverse = emit_map(b, quotient_body(q->m, way, true), &amax, 1);
    } else if (way->mx) {
        *inverse = emit_map(b, inverse_body(q->m, way), &amax, 1);
        *scale = inverse_of(q, *inverse);
    } else {
        *scale = emit_map(b, scale_body(q->m, way), &amax, 1);
        *inverse = inverse_of(q, *scale);
    }
}
