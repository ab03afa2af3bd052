/* links: titan_passes
 * meaning.c: what it calls the same, and what it does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "passes/pass.h"
#include "tests/unit/unit.h"

static void unit_read(Unit *u, const char *text)
{
    unit_open(u);
    assert_true(unit_parse(u, "test", text, strlen(text)));
    assert_true(module_verify(&u->m));
}

/* DIAG_none: the same; else the first report. */
static DiagId compare(const char *before, const char *after, Contract c)
{
    Unit a, b;
    ReportView v = {.id = DIAG_none};
    unit_read(&a, before);
    unit_read(&b, after);
    bool same = meaning_same(&a.m, &b.m, c, 1);
    diag_next(&b.diag, NULL, &v);
    assert_int_equal(same, v.id != DIAG_meaning_changed);
    DiagId id = v.id;
    unit_close(&a);
    unit_close(&b);
    return id;
}

#define HEAD "axes (a = 3, b = 4)\n"
#define MAIN(body, result)                                           \
    HEAD "entry fn global @f(%x : f32[a, b] input \"x\") -> f32[a] " \
         "output \"y\" {\n" body "  ret " result "\n}\n"

#define ENTRY(name, kind)                                              \
    "entry fn global @" name "(%x : f32[a, b] input \"x\") -> f32[a] " \
    "output \"y\" {\n  %s : f32[a] = reduce %x kind " kind             \
    " axes (b)\n  ret %s\n}\n"

static const char sum[] =
    MAIN("  %s : f32[a] = reduce %x kind sum axes (b)\n", "%s");

static void test_equal_programs(void **state)
{
    (void)state;
    assert_int_equal(compare(sum, sum, EXACT), DIAG_none);
}

static void test_another_sum(void **state)
{
    (void)state;
    static const char half[] =
        MAIN("  %l : f32[a, b:2] = slice %x axis b step 2\n"
             "  %s : f32[a] = reduce %l kind sum axes (b)\n",
             "%s");
    assert_int_equal(compare(sum, half, REASSOCIATING), DIAG_meaning_changed);
}

/* What a step is repeated with is the step, too. */
static void test_worst(void **state)
{
    (void)state;
    static const char same[] =
        MAIN("  %s : f32[a] = reduce %x kind sum axes (b)\n", "%s")
            ENTRY("f.worst", "sum");
    static const char other[] =
        MAIN("  %s : f32[a] = reduce %x kind sum axes (b)\n", "%s")
            ENTRY("f.worst", "max");
    assert_int_equal(compare(sum, same, EXACT), DIAG_none);
    assert_int_equal(compare(sum, other, EXACT), DIAG_meaning_changed);
}

/* The same sum in another order; and one that is off by 1e-7. */
static void test_contracts(void **state)
{
    (void)state;
    static const char order[] =
        MAIN("  %l : f32[a, b:2] = slice %x axis b step 2\n"
             "  %r : f32[a, b:2] = slice %x axis b start 1 step 2\n"
             "  %m : f32[a] = reduce %l kind sum axes (b)\n"
             "  %n : f32[a] = reduce %r kind sum axes (b)\n"
             "  %s : f32[a] = map %n, %m { _0 + _1 }\n",
             "%s");
    static const char off[] =
        MAIN("  %m : f32[a] = reduce %x kind sum axes (b)\n"
             "  %s : f32[a] = map %m { _0 * 1.0000001 }\n",
             "%s");
    assert_int_equal(compare(sum, order, REASSOCIATING), DIAG_none);
    assert_int_equal(compare(sum, off, REASSOCIATING), DIAG_meaning_changed);
    assert_int_equal(compare(sum, off, EXACT), DIAG_meaning_changed);
}

/* A sum in bf16 is within the bound of formats; one of a wrong scale not. */
static void test_formats(void **state)
{
    (void)state;
    static const char narrow[] =
        MAIN("  %h : bf16[a, b] = map %x { bf16(_0) }\n"
             "  %m : bf16[a] = reduce %h kind sum axes (b)\n"
             "  %s : f32[a] = map %m { f32(_0) }\n",
             "%s");
    static const char scaled[] =
        MAIN("  %m : f32[a] = reduce %x kind sum axes (b)\n"
             "  %s : f32[a] = map %m { f32(bf16(_0 * 1.5)) }\n",
             "%s");
    assert_int_equal(compare(sum, narrow, FORMAT_CHANGING), DIAG_none);
    assert_int_equal(compare(sum, scaled, FORMAT_CHANGING),
                     DIAG_meaning_changed);
}

static void test_lost_result(void **state)
{
    (void)state;
    static const char none[] = HEAD
        "entry fn global @f(%x : f32[a, b] input \"x\") -> () {\n  ret\n}\n";
    assert_int_equal(compare(sum, none, EXACT), DIAG_meaning_changed);
}

/* A split program on four devices computes what the whole one does. */
static void test_devices(void **state)
{
    (void)state;
    static const char whole[] =
        "mesh (dp = 2, tp = 2)\naxes (a = 2, b = 4)\n"
        "entry fn global @f(%x : f32[a, b] input \"x\") -> f32[a] output "
        "\"y\" {\n"
        "  %s : f32[a] = reduce %x kind sum axes (b)\n  ret %s\n}\n";
    static const char split[] =
        "mesh (dp = 2, tp = 2)\naxes (a = 2, b = 4)\n"
        "entry fn local @f(%x : f32[a/dp, b/tp] input \"x\") -> f32[a/dp] "
        "output \"y\" {\n"
        "  %p : f32[a/dp]+tp = reduce %x kind sum axes (b)\n"
        "  %s : f32[a/dp] = all_reduce %p over (tp)\n  ret %s\n}\n";
    static const char missing[] =
        "mesh (dp = 2, tp = 2)\naxes (a = 2, b = 4)\n"
        "entry fn local @f(%x : f32[a/dp, b] input \"x\") -> f32[a/dp] "
        "output \"y\" {\n"
        "  %l : f32[a/dp, b:2] = slice %x axis b\n"
        "  %s : f32[a/dp] = reduce %l kind sum axes (b)\n  ret %s\n}\n";
    assert_int_equal(compare(whole, split, EXACT), DIAG_none);
    assert_int_equal(compare(whole, missing, EXACT), DIAG_meaning_changed);
}

/* The axes may be declared in another order. */
static void test_order_of_axes(void **state)
{
    (void)state;
    static const char turned[] =
        "axes (b = 4, a = 3)\n"
        "entry fn global @f(%x : f32[b, a] input \"x\") -> f32[a] output "
        "\"y\" {\n"
        "  %s : f32[a] = reduce %x kind sum axes (b)\n  ret %s\n}\n";
    assert_int_equal(compare(sum, turned, EXACT), DIAG_none);
}

static void test_too_large(void **state)
{
    (void)state;
    static const char big[] =
        "axes (a = 3000, b = 3000, c = 3000)\n"
        "entry fn global @f(%x : f32[a, b] input \"x\", %y : f32[b, c] input "
        "\"y\") -> f32[a, c] output \"z\" {\n"
        "  %z : f32[a, c] = einsum %x, %y sum (b)\n  ret %z\n}\n";
    assert_int_equal(compare(big, big, EXACT), DIAG_meaning_unchecked);
}

/* A nearly constant vector over its norm: one rounding moves the result by
 * many units, and that is the program's doing; a wrong factor is not. */
static void test_magnified(void **state)
{
    (void)state;
#define NORM(dtype, body, widened)                         \
    MAIN("  %r : " dtype "[a, b] = map %x { " body " }\n"  \
         "  %n : f32[a, b] = map %r { " widened " }\n"     \
         "  %s : f32[a] = reduce %n kind sum axes (b)\n"   \
         "  %d : f32[a, b] = map %n, %s { _0 - _1 / 4 }\n" \
         "  %m : f32[a] = reduce %d kind max axes (b)\n"   \
         "  %q : f32[a, b] = map %d, %m { _0 / _1 }\n"     \
         "  %y : f32[a] = reduce %q kind min axes (b)\n",  \
         "%y")
    static const char wide[] = NORM("f32", "_0 + 90", "_0 + 1");
    static const char narrow[] = NORM("bf16", "bf16(_0 + 90)", "f32(_0) + 1");
    static const char wrong[] =
        NORM("bf16", "bf16(_0 + 90)", "f32(_0) * f32(_0)");
    assert_int_equal(compare(wide, narrow, FORMAT_CHANGING), DIAG_none);
    assert_int_equal(compare(wide, wrong, FORMAT_CHANGING),
                     DIAG_meaning_changed);
}

/* The count of a derivative is what the interpreter does. */
static void test_cost(void **state)
{
    (void)state;
    static const char text[] =
        HEAD "entry fn global @f(%x : f32[a, b] input \"x\", %w : f32[b] param "
             "\"w\") -> f32[b] output \"y\" {\n"
             "  %s : f32[a] = einsum %x, %w sum (b)\n"
             "  %e : f32[a] = map %s { exp(_0) * _0 }\n"
             "  %l : f32[] = reduce %e kind sum axes (a)\n"
             "  %g : (f32[b]) = grad %l, %w\n"
             "  %y : f32[b] = proj %g index 0\n  ret %y\n}\n";
    Unit u;
    unit_read(&u, text);
    const Fn *fn = u.m.fns.at[0];
    Tensor *args = inputs_random(&u.m, fn, 1, &u.arena), y;
    InterpOpts o = {.limit = interp_cost(&u.m, fn)};
    assert_true(interp_fn(&u.m, fn, &o, args, &y, &u.arena));
    o.limit--;
    assert_false(interp_fn(&u.m, fn, &o, args, &y, &u.arena));
    unit_close(&u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_programs),
        cmocka_unit_test(test_another_sum),
        cmocka_unit_test(test_worst),
        cmocka_unit_test(test_contracts),
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_lost_result),
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_order_of_axes),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_magnified),
        cmocka_unit_test(test_cost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
