/*
 * scale.c: scales, as maps of the largest element (see quantise.c).
 */
#include "quantise.h"

static double largest(DType format)
{
    return dtype_round(format, 1e30);
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
Expr quant_scale_body(Module *m, const Way *way)
{
    Expr none = {0}, amax = expr_arg(m, 0, DT_f32);
    Expr least = expr_float(m, DT_f64, 1e-12);
    Expr wide = expr_op(m, SC_max, expr_cast(m, DT_f64, amax), least, none);
    Expr top = expr_float(m, DT_f64, largest(way->format));
    Expr scale = expr_cast(m, DT_f32, expr_op(m, SC_div, top, wide, none));
    return way->power ? if_finite(m, amax, power_of_two(m, scale)) : scale;
}

/* The body of inverse(amax), a power of two: of amax's exponent, or of what
 * amax is beside the largest number, rounded up. */
static Expr inverse_body(Module *m, const Way *way)
{
    Expr none = {0}, amax = expr_arg(m, 0, DT_f32);
    double most = largest(way->format);
    Expr by = expr_float(m, DT_f32, way->up ? 1 / most : 1);
    Expr part = expr_op(m, SC_mul, amax, by, none);
    Expr down = power_of_two(m, part);
    if (way->up) {
        Expr twice = expr_op(m, SC_mul, down, expr_float(m, DT_f32, 2), none);
        Expr less = expr_op(m, SC_lt, down, part, none);
        down = expr_op(m, SC_where, less, twice, down);
    } else {
        double below = dtype_round(DT_e8m0, most);
        down = power_of_two(m, expr_op(m, SC_mul, down,
                                       expr_float(m, DT_f32, 1 / below), none));
    }
    return if_finite(m, amax, power_of_two(m, down));
}

Value quant_of_amax(Quantise *q, Expr body, Value amax)
{
    return emit_map(&q->rw.b, body, &amax, 1);
}

Value quant_inverse(Quantise *q, Value scale)
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
    if (way->mx) {
        *inverse = quant_of_amax(q, inverse_body(q->m, way), amax);
        *scale = quant_inverse(q, *inverse);
    } else {
        *scale = quant_of_amax(q, quant_scale_body(q->m, way), amax);
        *inverse = quant_inverse(q, *scale);
    }
}
