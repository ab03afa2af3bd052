/*
 * scalar.c: scalar expressions: sharing, folding, substitution.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "ir/ir.h"
#include "tests/unit/unit.h"

static int open_world(void **state)
{
    static Unit w;
    unit_open(&w);
    *state = &w;
    return 0;
}

static int close_world(void **state)
{
    Unit *w = *state;
    unit_close(w);
    return 0;
}

static Expr op1(Unit *w, ScalarOp op, Expr a)
{
    return expr_op1(&w->m, op, a);
}

static Expr op2(Unit *w, ScalarOp op, Expr a, Expr b)
{
    return expr_op2(&w->m, op, a, b);
}

static Expr f32(Unit *w, double x)
{
    return expr_float(&w->m, DT_f32, x);
}

static Expr i32(Unit *w, int64_t x)
{
    return expr_i32(&w->m, x);
}

#define SAME(a, b) assert_int_equal((a).id, (b).id)
#define DIFF(a, b) assert_int_not_equal((a).id, (b).id)

static void test_sharing(void **state)
{
    Unit *w = *state;
    Expr x = expr_arg(&w->m, 0, DT_f32);
    SAME(op1(w, SC_exp, x), op1(w, SC_exp, expr_arg(&w->m, 0, DT_f32)));
    DIFF(x, expr_arg(&w->m, 0, DT_f64));
    DIFF(f32(w, 0.0), f32(w, -0.0));
    SAME(f32(w, 0.1), f32(w, (double)0.1f));
}

/* Identities hold for -0, infinities and NaN, or they are not applied. */
static void test_float_identities(void **state)
{
    Unit *w = *state;
    Expr x = expr_arg(&w->m, 0, DT_f32);
    SAME(op2(w, SC_mul, x, f32(w, 1)), x);
    SAME(op2(w, SC_div, x, f32(w, 1)), x);
    SAME(op2(w, SC_sub, x, f32(w, 0)), x);
    SAME(op2(w, SC_add, f32(w, -0.0), x), x);
    DIFF(op2(w, SC_add, x, f32(w, 0)), x);
    DIFF(op2(w, SC_mul, x, f32(w, 0)), f32(w, 0));
    DIFF(op2(w, SC_sub, x, x), f32(w, 0));
    SAME(op2(w, SC_pow, x, f32(w, 2)), op2(w, SC_mul, x, x));
    SAME(op1(w, SC_neg, op1(w, SC_neg, x)), x);
    SAME(op2(w, SC_max, x, x), x);
}

/* A constant is computed where its dtype holds the result. */
static void test_float_constants(void **state)
{
    Unit *w = *state;
    SAME(op2(w, SC_add, f32(w, 1), f32(w, 2)), f32(w, 3));
    SAME(op1(w, SC_exp, f32(w, 0)), f32(w, 1));
    assert_int_equal(expr_info(&w->m, op2(w, SC_div, f32(w, 1), f32(w, 3)))->op,
                     SC_div);
    Expr third = op2(w, SC_div, expr_float(&w->m, DT_f64, 1),
                     expr_float(&w->m, DT_f64, 3));
    SAME(third, expr_float(&w->m, DT_f64, 1.0 / 3));
    SAME(op2(w, SC_lt, f32(w, 1), f32(w, INFINITY)),
         expr_int(&w->m, DT_bool, 1));
}

/* Integers wrap in their width; division is by floor and total. */
static void test_integers(void **state)
{
    Unit *w = *state;
    SAME(op2(w, SC_add, i32(w, INT32_MAX), i32(w, 1)), i32(w, INT32_MIN));
    SAME(op2(w, SC_idiv, i32(w, -7), i32(w, 2)), i32(w, -4));
    SAME(op2(w, SC_imod, i32(w, -7), i32(w, 2)), i32(w, 1));
    SAME(op2(w, SC_idiv, i32(w, 5), i32(w, 0)), i32(w, 0));
    SAME(op2(w, SC_imod, i32(w, 5), i32(w, 0)), i32(w, 0));
    Expr least = expr_int(&w->m, DT_i64, INT64_MIN);
    Expr minus = expr_int(&w->m, DT_i64, -1);
    SAME(op2(w, SC_idiv, least, minus), least);
    SAME(op2(w, SC_shl, i32(w, 1), i32(w, 31)), i32(w, INT32_MIN));
    SAME(op2(w, SC_shl, i32(w, 1), i32(w, 32)), i32(w, 0));
    SAME(op2(w, SC_shr, i32(w, -8), i32(w, 1)), i32(w, -4));
    Expr big = expr_int(&w->m, DT_u64, -1);
    Expr one = expr_int(&w->m, DT_u64, 1);
    SAME(op2(w, SC_lt, one, big), expr_int(&w->m, DT_bool, 1));
    SAME(op2(w, SC_max, one, big), big);
}

/* A cast of a cast skips a middle that holds every value. */
static void test_casts(void **state)
{
    Unit *w = *state;
    Module *m = &w->m;
    Expr b = expr_arg(m, 0, DT_bf16), f = expr_arg(m, 1, DT_f32);
    SAME(expr_cast(m, DT_bf16, expr_cast(m, DT_f32, b)), b);
    SAME(expr_cast(m, DT_f64, expr_cast(m, DT_f32, b)),
         expr_cast(m, DT_f64, b));
    DIFF(expr_cast(m, DT_f32, expr_cast(m, DT_bf16, f)), f);
    SAME(expr_cast(m, DT_i8, f32(w, 1000)), expr_int(m, DT_i8, 127));
    SAME(expr_cast(m, DT_u8, f32(w, -3)), expr_int(m, DT_u8, 0));
    SAME(expr_cast(m, DT_i32, f32(w, NAN)), i32(w, 0));
    SAME(expr_cast(m, DT_i64, f32(w, 1e30)), expr_int(m, DT_i64, INT64_MAX));
    SAME(expr_cast(m, DT_u64, f32(w, 1e30)), expr_int(m, DT_u64, -1));
    SAME(expr_cast(m, DT_i64, f32(w, -1e30)), expr_int(m, DT_i64, INT64_MIN));
    SAME(expr_cast(m, DT_f32, i32(w, 3)), f32(w, 3));
    Expr i = expr_arg(m, 2, DT_i32);
    SAME(expr_cast(m, DT_i32, expr_cast(m, DT_i64, i)), i);
    DIFF(expr_cast(m, DT_i32, expr_cast(m, DT_f32, i)), i);
}

static void test_logic(void **state)
{
    Unit *w = *state;
    Module *m = &w->m;
    Expr p = expr_arg(m, 0, DT_bool), x = expr_arg(m, 1, DT_f32);
    Expr y = expr_arg(m, 2, DT_f32);
    Expr yes = expr_int(m, DT_bool, 1), no = expr_int(m, DT_bool, 0);
    SAME(op2(w, SC_and, p, yes), p);
    SAME(op2(w, SC_or, p, yes), yes);
    SAME(expr_op(m, SC_where, no, x, y), y);
    SAME(expr_op(m, SC_where, p, x, x), x);
    SAME(expr_op(m, SC_where, op1(w, SC_not, p), x, y),
         expr_op(m, SC_where, p, y, x));
}

/* Replacing operands keeps sharing: a body that doubles 40 times has 40
 * nodes, not 2^40. */
static void test_subst(void **state)
{
    Unit *w = *state;
    Module *m = &w->m;
    Expr e = expr_arg(m, 0, DT_f32);
    for (int i = 0; i < 40; i++)
        e = op2(w, SC_add, e, e);
    assert_int_equal(expr_nodes(m, e), 41);
    Expr with = expr_arg(m, 3, DT_f32);
    e = expr_subst(m, e, &(ExprSubst){.with = &with, .n = 1});
    assert_int_equal(expr_nodes(m, e), 41);
    assert_int_equal(expr_operands(m, e), 4);
    Expr one = f32(w, 1);
    e = expr_subst(m, e,
                   &(ExprSubst){.with = (Expr[]){{0}, {0}, {0}, one}, .n = 4});
    SAME(e, f32(w, ldexp(1, 40)));
}

/* No walk recurses: a body may be as deep as memory allows. */
static void test_deep(void **state)
{
    Unit *w = *state;
    Module *m = &w->m;
    Expr e = expr_arg(m, 0, DT_f32);
    for (int i = 0; i < 20000; i++)
        e = op1(w, SC_sin, e);
    assert_int_equal(expr_nodes(m, e), 20001);
    assert_int_equal(expr_operands(m, e), 1);
    Expr zero = f32(w, 0);
    SAME(expr_subst(m, e, &(ExprSubst){.with = &zero, .n = 1}), zero);
}

static void test_index(void **state)
{
    Unit *w = *state;
    Module *m = &w->m;
    Axis a = axis_of(m, module_str(m, "a"), 4, (Loc){0});
    Axis b = axis_of(m, module_str(m, "b"), 4, (Loc){0});
    Expr e = op2(w, SC_add, expr_index(m, a), i32(w, 1));
    assert_true(expr_uses_index(m, e, a));
    assert_false(expr_uses_index(m, e, b));
    uint32_t n;
    const Expr *walk = expr_walk(m, e, m->scratch, &n);
    assert_int_equal(n, 3);
    SAME(walk[2], e);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sharing),         TEST(test_float_identities),
        TEST(test_float_constants), TEST(test_integers),
        TEST(test_casts),           TEST(test_logic),
        TEST(test_subst),           TEST(test_deep),
        TEST(test_index),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
