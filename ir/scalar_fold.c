/*
 * scalar_fold.c: what a scalar function is when its operands say so already.
 *
 * Only what is exact folds, under both readings of the interpreter, rounding
 * and not: a float constant is computed here only if its dtype holds the
 * result, so 1 / 3 stays a division.  An identity is applied only if it holds
 * for -0, infinities and NaN: x * 0 and x + 0 stay, x - 0 goes.
 *
 * One rule per row of scalar.def, fold_<name>; {0} says that nothing folds.
 */
#include "scalar.h"

#include <math.h>

typedef struct Fold {
    Module *m;
    DType d; /* of the result */
    Expr e[3];
    ExprInfo x[3]; /* what they are */
} Fold;

#define KEEP ((Expr){0})

/* ---------------------------------------------------------- constants -- */

static bool is_const(const ExprInfo *x)
{
    return x->op == SC_const;
}

static bool is_float(const ExprInfo *x)
{
    return dtype_class((DType)x->dtype) == DC_float;
}

/* x is the float constant v, sign of zero included. */
static bool is_f(const ExprInfo *x, double v)
{
    return is_const(x) && is_float(x) && x->f == v &&
           signbit(x->f) == signbit(v);
}

static bool is_i(const ExprInfo *x, int64_t v)
{
    return is_const(x) && !is_float(x) && x->i == v;
}

static bool is_one(const ExprInfo *x)
{
    return is_float(x) ? is_f(x, 1) : is_i(x, 1);
}

static bool all_float(const Fold *f, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (!is_const(&f->x[i]) || !is_float(&f->x[i])) return false;
    return true;
}

static bool all_int(const Fold *f, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (!is_const(&f->x[i]) || is_float(&f->x[i])) return false;
    return true;
}

/* The constant r, if the dtype holds it as it is. */
static Expr exact(const Fold *f, double r)
{
    if (isnan(r) || dtype_round(f->d, r) != r) return KEEP;
    return expr_float(f->m, f->d, r);
}

static Expr whole(const Fold *f, uint64_t bits)
{
    return expr_int(f->m, f->d, (int64_t)bits);
}

static Expr truth(const Fold *f, bool b)
{
    return expr_int(f->m, DT_bool, b);
}

static bool same(const Fold *f)
{
    return f->e[0].id == f->e[1].id;
}

static bool is_unsigned(const Fold *f)
{
    return dtype_class((DType)f->x[0].dtype) == DC_uint;
}

/* The operand of a node whose function is op; {0} when it is another. */
static Expr under(const Fold *f, unsigned i, ScalarOp op)
{
    return f->x[i].op == op ? f->x[i].args[0] : KEEP;
}

/* --------------------------------------------------------- arithmetic -- */

static Expr fold_add(const Fold *f)
{
    if (all_float(f, 2)) return exact(f, f->x[0].f + f->x[1].f);
    if (all_int(f, 2))
        return whole(f, (uint64_t)f->x[0].i + (uint64_t)f->x[1].i);
    if (is_i(&f->x[0], 0) || is_f(&f->x[0], -0.0)) return f->e[1];
    if (is_i(&f->x[1], 0) || is_f(&f->x[1], -0.0)) return f->e[0];
    return KEEP;
}

static Expr fold_sub(const Fold *f)
{
    if (all_float(f, 2)) return exact(f, f->x[0].f - f->x[1].f);
    if (all_int(f, 2))
        return whole(f, (uint64_t)f->x[0].i - (uint64_t)f->x[1].i);
    if (is_i(&f->x[1], 0) || is_f(&f->x[1], 0.0)) return f->e[0];
    if (same(f) && !is_float(&f->x[0])) return whole(f, 0);
    return KEEP;
}

static Expr fold_mul(const Fold *f)
{
    if (all_float(f, 2)) return exact(f, f->x[0].f * f->x[1].f);
    if (all_int(f, 2))
        return whole(f, (uint64_t)f->x[0].i * (uint64_t)f->x[1].i);
    if (is_one(&f->x[0])) return f->e[1];
    if (is_one(&f->x[1])) return f->e[0];
    if (is_i(&f->x[0], 0)) return f->e[0];
    if (is_i(&f->x[1], 0)) return f->e[1];
    return KEEP;
}

static Expr fold_div(const Fold *f)
{
    if (all_float(f, 2)) return exact(f, f->x[0].f / f->x[1].f);
    return is_one(&f->x[1]) ? f->e[0] : KEEP;
}

/* floor(a / b); 0 when b is 0. */
static uint64_t floor_div(int64_t a, int64_t b)
{
    if (b == 0) return 0;
    if (b == -1) return 0 - (uint64_t)a; /* the least a wraps */
    int64_t q = a / b;
    return (uint64_t)(q - (a % b != 0 && (a < 0) != (b < 0)));
}

static uint64_t quotient(const Fold *f)
{
    uint64_t b = (uint64_t)f->x[1].i;
    if (!is_unsigned(f)) return floor_div(f->x[0].i, f->x[1].i);
    return b ? (uint64_t)f->x[0].i / b : 0;
}

static Expr fold_idiv(const Fold *f)
{
    if (all_int(f, 2)) return whole(f, quotient(f));
    return is_i(&f->x[1], 1) ? f->e[0] : KEEP;
}

static Expr fold_imod(const Fold *f)
{
    if (all_int(f, 2) && f->x[1].i == 0) return whole(f, 0);
    if (all_int(f, 2))
        return whole(f,
                     (uint64_t)f->x[0].i - (uint64_t)f->x[1].i * quotient(f));
    return is_i(&f->x[1], 1) ? whole(f, 0) : KEEP;
}

/* x^0, x^1, x^2 and x^-1 are what their definition says, to the last bit. */
static Expr fold_pow(const Fold *f)
{
    if (all_float(f, 2)) return exact(f, pow(f->x[0].f, f->x[1].f));
    if (is_f(&f->x[1], 0)) return expr_float(f->m, f->d, 1);
    if (is_f(&f->x[1], 1)) return f->e[0];
    if (is_f(&f->x[1], 2)) return expr_op(f->m, SC_mul, f->e[0], f->e[0], KEEP);
    if (is_f(&f->x[1], -1))
        return expr_op(f->m, SC_div, expr_float(f->m, f->d, 1), f->e[0], KEEP);
    return KEEP;
}

static bool int_less(const Fold *f)
{
    if (is_unsigned(f)) return (uint64_t)f->x[0].i < (uint64_t)f->x[1].i;
    return f->x[0].i < f->x[1].i;
}

/* Constants that are different numbers: of -0 and 0 neither is the less. */
static bool ordered(const Fold *f)
{
    return all_float(f, 2) && islessgreater(f->x[0].f, f->x[1].f);
}

static Expr fold_min(const Fold *f)
{
    if (same(f)) return f->e[0];
    if (all_int(f, 2)) return int_less(f) ? f->e[0] : f->e[1];
    if (ordered(f)) return f->x[0].f < f->x[1].f ? f->e[0] : f->e[1];
    return KEEP;
}

static Expr fold_max(const Fold *f)
{
    if (same(f)) return f->e[0];
    if (all_int(f, 2)) return int_less(f) ? f->e[1] : f->e[0];
    if (ordered(f)) return f->x[0].f < f->x[1].f ? f->e[1] : f->e[0];
    return KEEP;
}

static Expr fold_fma(const Fold *f)
{
    if (all_float(f, 3)) return exact(f, fma(f->x[0].f, f->x[1].f, f->x[2].f));
    if (is_f(&f->x[0], 1)) return expr_op(f->m, SC_add, f->e[1], f->e[2], KEEP);
    if (is_f(&f->x[1], 1)) return expr_op(f->m, SC_add, f->e[0], f->e[2], KEEP);
    if (is_f(&f->x[2], -0.0))
        return expr_op(f->m, SC_mul, f->e[0], f->e[1], KEEP);
    return KEEP;
}

static Expr fold_neg(const Fold *f)
{
    if (all_float(f, 1)) return exact(f, -f->x[0].f);
    if (all_int(f, 1)) return whole(f, 0 - (uint64_t)f->x[0].i);
    return under(f, 0, SC_neg);
}

static Expr fold_abs(const Fold *f)
{
    if (all_float(f, 1)) return exact(f, fabs(f->x[0].f));
    if (all_int(f, 1))
        return whole(f, is_unsigned(f) || f->x[0].i >= 0
                            ? (uint64_t)f->x[0].i
                            : 0 - (uint64_t)f->x[0].i);
    if (f->x[0].op == SC_abs) return f->e[0];
    Expr x = under(f, 0, SC_neg);
    return x.id ? expr_op(f->m, SC_abs, x, KEEP, KEEP) : KEEP;
}

static Expr fold_sign(const Fold *f)
{
    if (all_int(f, 1) && is_unsigned(f)) return whole(f, f->x[0].i != 0);
    if (all_int(f, 1))
        return whole(f, (uint64_t)((f->x[0].i > 0) - (f->x[0].i < 0)));
    if (all_float(f, 1) && f->x[0].f != 0)
        return exact(f, isnan(f->x[0].f) ? f->x[0].f : copysign(1, f->x[0].f));
    return KEEP;
}

/* ----------------------------------------------------- float functions -- */

static Expr fold_unary(const Fold *f, double (*fn)(double))
{
    return all_float(f, 1) ? exact(f, fn(f->x[0].f)) : KEEP;
}

static double rsqrt_of(double x)
{
    return 1 / sqrt(x);
}

static double sigmoid_of(double x)
{
    return 1 / (1 + exp(-x));
}

static Expr fold_exp(const Fold *f)
{
    return fold_unary(f, exp);
}

static Expr fold_log(const Fold *f)
{
    return fold_unary(f, log);
}

static Expr fold_log1p(const Fold *f)
{
    return fold_unary(f, log1p);
}

static Expr fold_sqrt(const Fold *f)
{
    return fold_unary(f, sqrt);
}

static Expr fold_rsqrt(const Fold *f)
{
    return fold_unary(f, rsqrt_of);
}

static Expr fold_sin(const Fold *f)
{
    return fold_unary(f, sin);
}

static Expr fold_cos(const Fold *f)
{
    return fold_unary(f, cos);
}

static Expr fold_tanh(const Fold *f)
{
    return fold_unary(f, tanh);
}

static Expr fold_erf(const Fold *f)
{
    return fold_unary(f, erf);
}

static Expr fold_sigmoid(const Fold *f)
{
    return fold_unary(f, sigmoid_of);
}

static Expr fold_floor(const Fold *f)
{
    return fold_unary(f, floor);
}

static Expr fold_ceil(const Fold *f)
{
    return fold_unary(f, ceil);
}

/* The compiler never changes the rounding mode: rint is half to even. */
static Expr fold_round(const Fold *f)
{
    return fold_unary(f, rint);
}

/* --------------------------------------------------- comparison, logic -- */

static Expr fold_lt(const Fold *f)
{
    if (all_float(f, 2)) return truth(f, f->x[0].f < f->x[1].f);
    if (all_int(f, 2)) return truth(f, int_less(f));
    return same(f) ? truth(f, false) : KEEP;
}

static Expr fold_le(const Fold *f)
{
    if (all_float(f, 2)) return truth(f, f->x[0].f <= f->x[1].f);
    if (all_int(f, 2)) return truth(f, int_less(f) || same(f));
    return same(f) && !is_float(&f->x[0]) ? truth(f, true) : KEEP;
}

static Expr fold_eq(const Fold *f)
{
    if (all_float(f, 2)) return truth(f, f->x[0].f == f->x[1].f);
    if (all_int(f, 2)) return truth(f, f->x[0].i == f->x[1].i);
    return same(f) && !is_float(&f->x[0]) ? truth(f, true) : KEEP;
}

static Expr fold_ne(const Fold *f)
{
    if (all_float(f, 2)) return truth(f, f->x[0].f != f->x[1].f);
    if (all_int(f, 2)) return truth(f, f->x[0].i != f->x[1].i);
    return same(f) && !is_float(&f->x[0]) ? truth(f, false) : KEEP;
}

static Expr fold_and(const Fold *f)
{
    if (same(f) || is_i(&f->x[1], 1) || is_i(&f->x[0], 0)) return f->e[0];
    if (is_i(&f->x[0], 1) || is_i(&f->x[1], 0)) return f->e[1];
    return KEEP;
}

static Expr fold_or(const Fold *f)
{
    if (same(f) || is_i(&f->x[1], 0) || is_i(&f->x[0], 1)) return f->e[0];
    if (is_i(&f->x[0], 0) || is_i(&f->x[1], 1)) return f->e[1];
    return KEEP;
}

static Expr fold_not(const Fold *f)
{
    if (all_int(f, 1)) return truth(f, !f->x[0].i);
    return under(f, 0, SC_not);
}

/* ---------------------------------------------------------------- bits -- */

static bool all_ones(const ExprInfo *x)
{
    return is_const(x) && x->i == dtype_wrap((DType)x->dtype, UINT64_MAX);
}

static Expr fold_bitand(const Fold *f)
{
    if (all_int(f, 2)) return whole(f, (uint64_t)(f->x[0].i & f->x[1].i));
    if (same(f) || all_ones(&f->x[1]) || is_i(&f->x[0], 0)) return f->e[0];
    if (all_ones(&f->x[0]) || is_i(&f->x[1], 0)) return f->e[1];
    return KEEP;
}

static Expr fold_bitor(const Fold *f)
{
    if (all_int(f, 2)) return whole(f, (uint64_t)(f->x[0].i | f->x[1].i));
    if (same(f) || all_ones(&f->x[0]) || is_i(&f->x[1], 0)) return f->e[0];
    if (all_ones(&f->x[1]) || is_i(&f->x[0], 0)) return f->e[1];
    return KEEP;
}

static Expr fold_bitxor(const Fold *f)
{
    if (all_int(f, 2)) return whole(f, (uint64_t)(f->x[0].i ^ f->x[1].i));
    if (same(f)) return whole(f, 0);
    if (is_i(&f->x[1], 0)) return f->e[0];
    return is_i(&f->x[0], 0) ? f->e[1] : KEEP;
}

/* A count as it is read: unsigned, in the width of its dtype. */
static uint64_t shift_count(const Fold *f)
{
    unsigned spare = 64 - 8 * dtype_bytes(f->d);
    return (uint64_t)f->x[1].i << spare >> spare;
}

static Expr fold_shl(const Fold *f)
{
    if (is_i(&f->x[1], 0) || is_i(&f->x[0], 0)) return f->e[0];
    if (!is_const(&f->x[1])) return KEEP;
    if (shift_count(f) >= 8 * dtype_bytes(f->d)) return whole(f, 0);
    if (!is_const(&f->x[0])) return KEEP;
    return whole(f, (uint64_t)f->x[0].i << shift_count(f));
}

static Expr fold_shr(const Fold *f)
{
    if (is_i(&f->x[1], 0) || is_i(&f->x[0], 0)) return f->e[0];
    if (!is_const(&f->x[1])) return KEEP;
    if (shift_count(f) >= 8 * dtype_bytes(f->d)) return whole(f, 0);
    if (!is_const(&f->x[0])) return KEEP;
    if (is_unsigned(f)) return whole(f, (uint64_t)f->x[0].i >> shift_count(f));
    return whole(f, (uint64_t)(f->x[0].i >> shift_count(f)));
}

/* --------------------------------------------------------------- others -- */

static Expr fold_where(const Fold *f)
{
    if (f->e[1].id == f->e[2].id) return f->e[1];
    if (is_const(&f->x[0])) return f->x[0].i ? f->e[1] : f->e[2];
    Expr c = under(f, 0, SC_not);
    return c.id ? expr_op(f->m, SC_where, c, f->e[2], f->e[1]) : KEEP;
}

static Expr fold_stop(const Fold *f)
{
    return is_const(&f->x[0]) || f->x[0].op == SC_stop ? f->e[0] : KEEP;
}

static Expr fold_isfinite(const Fold *f)
{
    return all_float(f, 1) ? truth(f, isfinite(f->x[0].f)) : KEEP;
}

static Expr fold_random(const Fold *f)
{
    (void)f;
    return KEEP;
}

static Expr (*const rules[])(const Fold *) = {
#define SCALAR(name, args, form, operands, result) [SC_##name] = fold_##name,
#include "scalar.def"
#undef SCALAR
};

Expr scalar_fold(Module *m, ScalarOp op, DType d, const Expr args[3])
{
    Fold f = {.m = m, .d = d};
    for (unsigned i = 0; i < scalar_info(op)->nargs; i++) {
        f.e[i] = args[i];
        f.x[i] = *expr_info(m, args[i]);
    }
    return rules[op](&f);
}

/* ---------------------------------------------------------------- casts -- */

/* How many bits of a whole number a dtype holds without rounding. */
static unsigned whole_bits(DType d)
{
    switch (dtype_class(d)) {
    case DC_float:
        /* e8m0 has no zero */
        return d == DT_e8m0 ? 0 : dtype_format(d)->mantissa + 1;
    case DC_bool:
        return 1;
    default:
        return 8 * dtype_bytes(d) - (dtype_class(d) == DC_int);
    }
}

/* Every value of a float dtype, subnormals included, is one of the wider. */
static bool float_holds(DType wide, DType d)
{
    const Format *w = dtype_format(wide), *f = dtype_format(d);
    int least = 1 - w->bias - (int)w->mantissa;
    int top = (1 << w->exponent) - 1 - w->bias;
    return w->sign >= f->sign && w->mantissa >= f->mantissa &&
           w->top <= f->top && least <= 1 - f->bias - (int)f->mantissa &&
           top >= (1 << f->exponent) - 1 - f->bias;
}

bool dtype_holds(DType wide, DType d)
{
    DClass w = dtype_class(wide), c = dtype_class(d);
    if (wide == d) return true;
    if (wide == DT_bool || c == DC_float) return w == c && float_holds(wide, d);
    if (w == DC_uint && c == DC_int) return false;
    return whole_bits(wide) >= whole_bits(d);
}

/* As a cast does: towards zero, saturating; NaN is 0. */
static int64_t whole_of(DType d, double x)
{
    if (d == DT_bool) return x != 0;
    if (isnan(x)) return 0;
    double top = ldexp(1, (int)whole_bits(d));
    double low = dtype_class(d) == DC_uint ? 0 : -top;
    if (x >= top)
        return dtype_wrap(d, whole_bits(d) == 64
                                 ? UINT64_MAX
                                 : (UINT64_C(1) << whole_bits(d)) - 1);
    if (x <= low)
        return dtype_wrap(d, low < 0 ? UINT64_C(1) << whole_bits(d) : 0);
    return d == DT_u64 ? (int64_t)(uint64_t)x : (int64_t)x;
}

static Expr cast_const(Module *m, DType d, const ExprInfo *x)
{
    Fold f = {.m = m, .d = d};
    if (dtype_class(d) != DC_float)
        return expr_int(m, d, is_float(x) ? whole_of(d, x->f) : x->i);
    if (is_float(x)) return exact(&f, x->f);
    if (x->dtype == DT_u64) return exact(&f, (double)(uint64_t)x->i);
    return exact(&f, (double)x->i);
}

/* A cast of a cast skips the middle when that holds every value. */
Expr scalar_fold_cast(Module *m, DType d, Expr x)
{
    ExprInfo in = *expr_info(m, x);
    if (in.dtype == d) return x;
    if (in.op == SC_const) return cast_const(m, d, &in);
    if (in.op != SC_cast) return KEEP;
    DType from = expr_dtype(m, in.args[0]);
    if (!dtype_holds((DType)in.dtype, from)) return KEEP;
    return expr_cast(m, d, in.args[0]);
}
