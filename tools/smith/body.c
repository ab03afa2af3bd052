/*
 * body.c: random bodies of maps.
 *
 * One maker per scalar function, found by scalar.def, so that a new function
 * without a maker does not build.  Each gives a real (f32 or f64, as the
 * program has it) in which the function occurs, inside its domain.
 */
#include "smith.h"

#include <math.h>
#include <string.h>

typedef Part Maker(Body *b, uint32_t depth);
#define SCALAR(name, args, form, operands, result) static Maker make_##name;
#include "../../ir/scalar.def"
#undef SCALAR

static Maker *const makers[SC_count] = {
#define SCALAR(name, args, form, operands, result) [SC_##name] = make_##name,
#include "../../ir/scalar.def"
#undef SCALAR
};

static World *world(const Body *b)
{
    return b->g->w;
}

/* ----------------------------------------------------------- small parts -- */

static Expr op1(Body *b, ScalarOp op, Expr x)
{
    world(b)->nscalars[op]++;
    return expr_op1(world(b)->m, op, x);
}

static Expr op2(Body *b, ScalarOp op, Expr x, Expr y)
{
    world(b)->nscalars[op]++;
    return expr_op2(world(b)->m, op, x, y);
}

static Expr op3(Body *b, ScalarOp op, Expr x, Expr y, Expr z)
{
    world(b)->nscalars[op]++;
    return expr_op(world(b)->m, op, x, y, z);
}

static Expr cast(Body *b, DType d, Expr e)
{
    return expr_cast(world(b)->m, d, e);
}

static Expr number(Body *b, double x)
{
    return expr_float(world(b)->m, world(b)->real, x);
}

static Expr whole(Body *b, int64_t i)
{
    return expr_int(world(b)->m, DT_i32, i);
}

/* Scales down by a power of two, which changes no digit. */
static Part calm(Body *b, Part x, double limit)
{
    double scale = 1;
    while (x.most * scale > limit)
        scale /= 2;
    if (scale == 1) return x;
    return (Part){op2(b, SC_mul, x.e, number(b, scale)), x.most * scale,
                  x.exact};
}

static Part constant(Body *b)
{
    double x = (double)draw_below(world(b), 33) / 8 - 2;
    return (Part){number(b, x), fabs(x) + 0.125, true};
}

/* -------------------------------------------------------------- operands -- */

static Part real_of(Body *b, uint32_t i)
{
    Module *m = world(b)->m;
    const Made *x = &b->args[i];
    DType d = dtype_of(b->g, x->v);
    Expr e = expr_arg(m, i, d);
    b->used[i] = true;
    if (dtype_class(d) == DC_float)
        return (Part){cast(b, world(b)->real, e), x->most, x->exact};
    if (dtype_class(d) == DC_bool)
        return (Part){op3(b, SC_where, e, constant(b).e, constant(b).e), 3,
                      true};
    Expr rest = op2(b, SC_imod, cast(b, DT_i32, e), whole(b, 9));
    return (Part){cast(b, world(b)->real, rest), 9, true};
}

static Part index_part(Body *b)
{
    const TypeInfo *info = type_info(world(b)->m, b->shape);
    if (!info->naxes) return (Part){whole(b, 1), 1, true};
    const TypeAxis *a = &info->axes[draw_below(world(b), info->naxes)];
    return (Part){expr_index(world(b)->m, a->axis), (double)a->size, true};
}

static Part real_leaf(Body *b)
{
    uint32_t k = draw_below(world(b), 10);
    if (k < 7 && b->nargs) return real_of(b, draw_below(world(b), b->nargs));
    if (k < 8) return constant(b);
    Part i = index_part(b);
    return (Part){cast(b, world(b)->real, i.e), i.most, true};
}

static Part real(Body *b, uint32_t depth)
{
    if (depth == 0 || draw_chance(world(b), 25)) return real_leaf(b);
    return calm(
        b,
        makers[SC_add + draw_below(world(b), SC_count - SC_add)](b, depth - 1),
        64);
}

static Part exact(Body *b, uint32_t depth)
{
    for (int tries = 0; tries < 4; tries++) {
        Part x = real(b, tries < 2 ? depth : 0);
        if (x.exact) return x;
    }
    Part i = index_part(b);
    return (Part){cast(b, world(b)->real, i.e), i.most, true};
}

/* An operand whose kink may be seen by a derivative. */
static Part kinked(Body *b, uint32_t depth)
{
    return world(b)->backward ? exact(b, depth) : real(b, depth);
}

static Part int_leaf(Body *b)
{
    uint32_t k = draw_below(world(b), 4);
    if (k == 0) {
        int64_t i = (int64_t)draw_below(world(b), 17) - 8;
        return (Part){whole(b, i), 8, true};
    }
    if (k == 1 || !b->nargs) return index_part(b);
    Part x = exact(b, 0);
    return (Part){cast(b, DT_i32, x.e), x.most, true};
}

static Part integer(Body *b, uint32_t depth)
{
    if (depth == 0) return int_leaf(b);
    Part x = integer(b, depth - 1), y = int_leaf(b);
    static const ScalarOp ops[] = {SC_add, SC_sub, SC_mul, SC_min, SC_max};
    ScalarOp op = ops[draw_below(world(b), 5)];
    return (Part){op2(b, op, x.e, y.e), 0x1p31, true};
}

/* A real again, small whatever the integer was. */
static Part small(Body *b, Expr e)
{
    Expr rest = op2(b, SC_imod, e, whole(b, 11));
    return (Part){cast(b, world(b)->real, rest), 11, true};
}

static Part int_op2(Body *b, ScalarOp op, uint32_t depth)
{
    Part x = integer(b, depth), y = integer(b, 0);
    return small(b, op2(b, op, x.e, y.e));
}

/* ------------------------------------------------------------ arithmetic -- */

static bool on_integers(Body *b)
{
    return draw_chance(world(b), 15);
}

static Part make_add(Body *b, uint32_t depth)
{
    if (on_integers(b)) return int_op2(b, SC_add, depth);
    Part x = real(b, depth), y = real(b, depth);
    return (Part){op2(b, SC_add, x.e, y.e), x.most + y.most,
                  x.exact && y.exact};
}

static Part make_sub(Body *b, uint32_t depth)
{
    if (on_integers(b)) return int_op2(b, SC_sub, depth);
    Part x = real(b, depth), y = real(b, depth);
    return (Part){op2(b, SC_sub, x.e, y.e), x.most + y.most,
                  x.exact && y.exact};
}

static Part make_mul(Body *b, uint32_t depth)
{
    if (on_integers(b)) return int_op2(b, SC_mul, depth);
    Part x = real(b, depth), y = real(b, depth);
    return (Part){op2(b, SC_mul, x.e, y.e), x.most * y.most,
                  x.exact && y.exact};
}

static Expr away_from_zero(Body *b, Part x, double least)
{
    return op2(b, SC_add, op2(b, SC_mul, x.e, x.e), number(b, least));
}

static Part make_div(Body *b, uint32_t depth)
{
    Part x = real(b, depth), y = real(b, depth);
    Expr below = away_from_zero(b, y, 0.75);
    return (Part){op2(b, SC_div, x.e, below), x.most / 0.75,
                  x.exact && y.exact};
}

static Part make_idiv(Body *b, uint32_t depth)
{
    return int_op2(b, SC_idiv, depth);
}

static Part make_imod(Body *b, uint32_t depth)
{
    return int_op2(b, SC_imod, depth);
}

static Part make_pow(Body *b, uint32_t depth)
{
    Part x = calm(b, real(b, depth), 4);
    double power = (double)draw_below(world(b), 9) / 2 - 2;
    Expr y = number(b, power);
    if (draw_chance(world(b), 40)) y = op1(b, SC_tanh, real(b, 0).e);
    return (Part){op2(b, SC_pow, away_from_zero(b, x, 0.5), y), 300, false};
}

static Part make_min(Body *b, uint32_t depth)
{
    if (on_integers(b)) return int_op2(b, SC_min, depth);
    Part x = kinked(b, depth), y = kinked(b, depth);
    return (Part){op2(b, SC_min, x.e, y.e), fmax(x.most, y.most),
                  x.exact && y.exact};
}

static Part make_max(Body *b, uint32_t depth)
{
    if (on_integers(b)) return int_op2(b, SC_max, depth);
    Part x = kinked(b, depth), y = kinked(b, depth);
    return (Part){op2(b, SC_max, x.e, y.e), fmax(x.most, y.most),
                  x.exact && y.exact};
}

static Part make_fma(Body *b, uint32_t depth)
{
    Part x = real(b, depth), y = real(b, 0), z = real(b, 0);
    return (Part){op3(b, SC_fma, x.e, y.e, z.e), x.most * y.most + z.most,
                  x.exact && y.exact && z.exact};
}

static Part make_neg(Body *b, uint32_t depth)
{
    if (on_integers(b)) return small(b, op1(b, SC_neg, integer(b, depth).e));
    Part x = real(b, depth);
    return (Part){op1(b, SC_neg, x.e), x.most, x.exact};
}

static Part make_abs(Body *b, uint32_t depth)
{
    if (on_integers(b)) return small(b, op1(b, SC_abs, integer(b, depth).e));
    Part x = kinked(b, depth);
    return (Part){op1(b, SC_abs, x.e), x.most, x.exact};
}

static Part make_sign(Body *b, uint32_t depth)
{
    if (on_integers(b)) return small(b, op1(b, SC_sign, integer(b, depth).e));
    return (Part){op1(b, SC_sign, exact(b, depth).e), 1, true};
}

/* -------------------------------------------------------- functions of reals
 */

static Part make_exp(Body *b, uint32_t depth)
{
    Part x = calm(b, real(b, depth), 4);
    return (Part){op1(b, SC_exp, x.e), 55, false};
}

static Part make_log(Body *b, uint32_t depth)
{
    Part x = real(b, depth);
    return (Part){op1(b, SC_log, away_from_zero(b, x, 0.5)),
                  2 * log(x.most + 2), false};
}

static Part make_log1p(Body *b, uint32_t depth)
{
    Part x = real(b, depth);
    return (Part){op1(b, SC_log1p, op2(b, SC_mul, x.e, x.e)),
                  2 * log(x.most + 2), false};
}

static Part make_sqrt(Body *b, uint32_t depth)
{
    Part x = real(b, depth);
    return (Part){op1(b, SC_sqrt, away_from_zero(b, x, 0.25)), x.most + 1,
                  x.exact};
}

static Part make_rsqrt(Body *b, uint32_t depth)
{
    Part x = real(b, depth);
    return (Part){op1(b, SC_rsqrt, away_from_zero(b, x, 0.25)), 2, x.exact};
}

static Part smooth(Body *b, ScalarOp op, uint32_t depth)
{
    return (Part){op1(b, op, real(b, depth).e), 1, false};
}

static Part make_sin(Body *b, uint32_t depth)
{
    return smooth(b, SC_sin, depth);
}

static Part make_cos(Body *b, uint32_t depth)
{
    return smooth(b, SC_cos, depth);
}

static Part make_tanh(Body *b, uint32_t depth)
{
    return smooth(b, SC_tanh, depth);
}

static Part make_erf(Body *b, uint32_t depth)
{
    return smooth(b, SC_erf, depth);
}

static Part make_sigmoid(Body *b, uint32_t depth)
{
    return smooth(b, SC_sigmoid, depth);
}

static Part stepped(Body *b, ScalarOp op, uint32_t depth)
{
    Part x = exact(b, depth);
    return (Part){op1(b, op, x.e), x.most + 1, true};
}

static Part make_floor(Body *b, uint32_t depth)
{
    return stepped(b, SC_floor, depth);
}

static Part make_ceil(Body *b, uint32_t depth)
{
    return stepped(b, SC_ceil, depth);
}

static Part make_round(Body *b, uint32_t depth)
{
    return stepped(b, SC_round, depth);
}

/* ------------------------------------------------------ comparisons and bits
 */

static Part choose(Body *b, Expr condition, uint32_t depth)
{
    Part x = real(b, depth), y = real(b, 0);
    return (Part){op3(b, SC_where, condition, x.e, y.e), fmax(x.most, y.most),
                  x.exact && y.exact};
}

static Expr comparison(Body *b, ScalarOp op, uint32_t depth)
{
    bool whole_numbers = draw_chance(world(b), 30);
    Part x = whole_numbers ? integer(b, depth) : exact(b, depth);
    Part y = whole_numbers ? integer(b, 0) : exact(b, 0);
    return op2(b, op, x.e, y.e);
}

static Part make_lt(Body *b, uint32_t depth)
{
    return choose(b, comparison(b, SC_lt, depth), depth);
}

static Part make_le(Body *b, uint32_t depth)
{
    return choose(b, comparison(b, SC_le, depth), depth);
}

static Part make_eq(Body *b, uint32_t depth)
{
    return choose(b, comparison(b, SC_eq, depth), depth);
}

static Part make_ne(Body *b, uint32_t depth)
{
    return choose(b, comparison(b, SC_ne, depth), depth);
}

static Part make_and(Body *b, uint32_t depth)
{
    Expr x = comparison(b, SC_lt, depth), y = comparison(b, SC_le, 0);
    return choose(b, op2(b, SC_and, x, y), depth);
}

static Part make_or(Body *b, uint32_t depth)
{
    Expr x = comparison(b, SC_lt, depth), y = comparison(b, SC_eq, 0);
    return choose(b, op2(b, SC_or, x, y), depth);
}

static Part make_not(Body *b, uint32_t depth)
{
    return choose(b, op1(b, SC_not, comparison(b, SC_lt, depth)), depth);
}

static Part make_bitand(Body *b, uint32_t depth)
{
    return int_op2(b, SC_bitand, depth);
}

static Part make_bitor(Body *b, uint32_t depth)
{
    return int_op2(b, SC_bitor, depth);
}

static Part make_bitxor(Body *b, uint32_t depth)
{
    return int_op2(b, SC_bitxor, depth);
}

/* Counts of the width and more are part of what is tested. */
static Part shifted(Body *b, ScalarOp op, uint32_t depth)
{
    Expr x = integer(b, depth).e;
    Expr count = op2(b, SC_imod, integer(b, 0).e, whole(b, 40));
    return small(b, op2(b, op, x, count));
}

static Part make_shl(Body *b, uint32_t depth)
{
    return shifted(b, SC_shl, depth);
}

static Part make_shr(Body *b, uint32_t depth)
{
    return shifted(b, SC_shr, depth);
}

static Part make_where(Body *b, uint32_t depth)
{
    return choose(b, comparison(b, SC_lt, 0), depth);
}

static Part make_stop(Body *b, uint32_t depth)
{
    Part x = real(b, depth);
    return (Part){op1(b, SC_stop, x.e), x.most, x.exact};
}

static Part make_isfinite(Body *b, uint32_t depth)
{
    return choose(b, op1(b, SC_isfinite, real(b, depth).e), depth);
}

static Part make_random(Body *b, uint32_t depth)
{
    Expr key = expr_int(world(b)->m, DT_i64, (int64_t)draw(world(b)));
    Expr high = cast(b, DT_i64, integer(b, depth > 1 ? 1 : depth).e);
    Expr low = cast(b, DT_i64, index_part(b).e);
    Expr word = op3(b, SC_random, key, high, low);
    Expr unit =
        op2(b, SC_mul, cast(b, world(b)->real, word), number(b, 0x1p-32));
    return (Part){unit, 1, true};
}

/* ---------------------------------------------------------- whole bodies -- */

static Part root(Body *b)
{
    uint32_t depth = 1 + draw_below(world(b), 3);
    ScalarOp op = world(b)->scalar;
    if (op == SC_count) return real(b, depth);
    world(b)->scalar = SC_count;
    return makers[op](b, depth);
}

/* Which operands are in it, after the folding of constants. */
static void find_used(Body *b, Expr e)
{
    uint32_t n;
    Module *m = world(b)->m;
    Expr *nodes = expr_walk(m, e, m->scratch, &n);
    memset(b->used, 0, sizeof b->used);
    for (uint32_t i = 0; i < n; i++)
        if (expr_info(m, nodes[i])->op == SC_arg)
            b->used[expr_info(m, nodes[i])->operand] = true;
}

static bool uses_all(Body *b, Expr e)
{
    find_used(b, e);
    for (uint32_t i = 0; i < b->nargs; i++)
        if (!b->used[i]) return false;
    return true;
}

/* A bool is chosen by, anything else is added. */
static Part with_operand(Body *b, Part x, uint32_t i)
{
    Expr e = expr_arg(world(b)->m, i, dtype_of(b->g, b->args[i].v));
    if (expr_dtype(world(b)->m, e) == DT_bool) {
        Expr minus = op1(b, SC_neg, x.e);
        return (Part){op3(b, SC_where, e, x.e, minus), x.most, x.exact};
    }
    Part y = real_of(b, i);
    return (Part){op2(b, SC_add, x.e, y.e), x.most + y.most,
                  x.exact && y.exact};
}

bool body_real(Body *b, Part *out)
{
    Part x = calm(b, root(b), 64);
    find_used(b, x.e);
    for (uint32_t i = 0; i < b->nargs; i++)
        if (!b->used[i]) x = with_operand(b, x, i);
    *out = x;
    return uses_all(b, x.e);
}

/* Floats that are not exact cannot be looked at by an integer: they are
 * compared with themselves, which holds. */
static Expr exact_or_true(Body *b, uint32_t i)
{
    Module *m = world(b)->m;
    Expr e = expr_arg(m, i, dtype_of(b->g, b->args[i].v));
    DType d = expr_dtype(m, e);
    if (dtype_class(d) == DC_bool) return e;
    if (dtype_class(d) != DC_float)
        return op2(b, SC_lt, cast(b, DT_i32, e), whole(b, 3));
    Expr x = cast(b, world(b)->real, e);
    if (b->args[i].exact) return op2(b, SC_lt, x, number(b, 0.5));
    return op1(b, SC_isfinite, x);
}

bool body_bool(Body *b, Part *out)
{
    Expr e = comparison(b, SC_lt, 1);
    for (uint32_t i = 0; i < b->nargs; i++)
        e = op2(b, draw_chance(world(b), 50) ? SC_and : SC_or, e,
                exact_or_true(b, i));
    *out = (Part){e, 1, true};
    return uses_all(b, e);
}

bool body_int(Body *b, Part *out)
{
    Module *m = world(b)->m;
    Expr e = integer(b, 1 + draw_below(world(b), 2)).e;
    for (uint32_t i = 0; i < b->nargs; i++) {
        DType d = dtype_of(b->g, b->args[i].v);
        Expr x = expr_arg(m, i, d);
        if (dtype_class(d) == DC_int || dtype_class(d) == DC_uint)
            x = cast(b, DT_i32, x);
        else
            x = op3(b, SC_where, exact_or_true(b, i), whole(b, 1),
                    whole(b, -2));
        e = op2(b, SC_add, e, x);
    }
    /* small enough to choose an element, most of the time */
    e = op2(b, SC_imod, e, whole(b, 6));
    *out = (Part){e, 6, true};
    return uses_all(b, e);
}
