/* links: titan_codegen */
/*
 * The generated functions against the C library's long double ones: f32
 * within 2 units in the last place (sigmoid: 2.5), f64 within 1e-15 (pow:
 * 1e-13) of the value, over ranges that hold every case of the reductions, and
 * at the special values exactly.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "codegen/kernel.h"
#include "tests/unit/opened.h"
#include "tests/unit/unit.h"

enum { POINTS = 20011 };

typedef long double True(long double x);

static long double true_sigmoid(long double x)
{
    return 1 / (1 + expl(-x));
}

static long double true_rsqrt(long double x)
{
    return 1 / sqrtl(x);
}

typedef struct Function {
    const char *name;
    True *value;
    double lo, hi;
    bool spread; /* points are powers of two apart, not evenly */
    double ulps; /* f32 */
} Function;

static const Function functions[] = {
    {"exp", expl, -104, 89, false, 2},
    {"exp", expl, 1e-30, 80, true, 2},
    {"log", logl, 1e-45, 3e38, true, 2},
    {"log", logl, 0.5, 2, false, 2},
    {"log1p", log1pl, -0.999, 3, false, 2},
    {"log1p", log1pl, 1e-40, 3e38, true, 2},
    {"sin", sinl, -20, 20, false, 2},
    {"sin", sinl, 1e-30, 131072, true, 2},
    {"cos", cosl, -20, 20, false, 2},
    {"cos", cosl, 1e-30, 131072, true, 2},
    {"tanh", tanhl, -12, 12, false, 2},
    {"tanh", tanhl, 1e-30, 100, true, 2},
    {"erf", erfl, -7, 7, false, 2},
    {"erf", erfl, 1e-30, 10, true, 2},
    {"sigmoid", true_sigmoid, -100, 100, false, 2.5},
    {"sqrt", sqrtl, 1e-45, 3e38, true, 0.5},
    {"rsqrt", true_rsqrt, 1e-45, 3e38, true, 1.5},
};
enum { FUNCTIONS = sizeof functions / sizeof *functions };

typedef struct World {
    Unit u;
    KernelSet *set;
    const TitanHostKernel *code;
} World;

/* One kernel per body, over POINTS elements of the dtype. */
static void compile(World *w, const char *dtype, const char *const *bodies,
                    uint32_t n)
{
    unit_open(&w->u);
    Buf text = {0};
    buf_printf(&text, "axes (n = %d)\n", POINTS);
    for (uint32_t i = 0; i < n; i++)
        buf_printf(&text,
                   "fn local @f%u(%%x : %s[n], %%y : %s[n]) -> %s[n] kind loop "
                   "{\n  %%r : %s[n] = map %%x, %%y { %s }\n  ret %%r\n}\n",
                   i, dtype, dtype, dtype, dtype, bodies[i]);
    bool ok = unit_parse(&w->u, "math", text.at, text.n);
    Buf errors = {0};
    diag_render(&w->u.diag, DIAG_TEXT, &errors);
    if (errors.n) fputs(errors.at, stderr);
    assert_true(ok);
    CodegenOpts o = {.target = TARGET_host, .level = 2};
    w->set = kernels_new(&w->u.m, &o);
    for (uint32_t i = 0; i < n; i++) {
        static const int64_t dense[] = {1};
        Type t = w->u.m.fns.at[i]->params[0].type;
        KernelArg args[3];
        for (int a = 0; a < 3; a++)
            args[a] = (KernelArg){.type = t, .stride = dense, .same = -1};
        args[2].written = true;
        uint32_t row;
        assert_true(kernels_add(w->set, w->u.m.fns.at[i], args, 3, &row));
        assert_true(row <= i);
    }
    w->code = opened_object(&w->u.arena, w->set);
    buf_release(&text);
    buf_release(&errors);
}

static void close_world(World *w)
{
    kernels_free(w->set);
    unit_close(&w->u);
}

static uint32_t row_of(World *w, uint32_t i)
{
    static const int64_t dense[] = {1};
    Type t = w->u.m.fns.at[i]->params[0].type;
    KernelArg args[3];
    for (int a = 0; a < 3; a++)
        args[a] = (KernelArg){.type = t, .stride = dense, .same = -1};
    args[2].written = true;
    uint32_t row = 0;
    kernels_add(w->set, w->u.m.fns.at[i], args, 3, &row);
    return row;
}

static double point(const Function *f, int i)
{
    double t = (i + 0.37) / POINTS;
    return f->spread ? f->lo * pow(f->hi / f->lo, t)
                     : f->lo + (f->hi - f->lo) * t;
}

static const char *const *bodies_of(World *w)
{
    static const char *bodies[FUNCTIONS];
    (void)w;
    static char text[FUNCTIONS][32];
    for (int i = 0; i < FUNCTIONS; i++) {
        snprintf(text[i], sizeof text[i], "%s(_0) + 0.0 * _1",
                 functions[i].name);
        bodies[i] = text[i];
    }
    return bodies;
}

static void run(World *w, uint32_t i, void *x, void *y, void *out)
{
    uint64_t words[] = {(uint64_t)(uintptr_t)x, (uint64_t)(uintptr_t)y,
                        (uint64_t)(uintptr_t)out};
    uint32_t row = row_of(w, i);
    w->code[row](words, 0, kernel_at(w->set, row)->items);
}

static void f32_is_within_a_few_units(void **state)
{
    (void)state;
    static World w;
    static float x[POINTS], y[POINTS], out[POINTS];
    compile(&w, "f32", bodies_of(&w), FUNCTIONS);
    for (uint32_t f = 0; f < FUNCTIONS; f++) {
        for (int i = 0; i < POINTS; i++)
            x[i] = (float)point(&functions[f], i);
        run(&w, f, x, y, out);
        for (int i = 0; i < POINTS; i++) {
            long double want = functions[f].value(x[i]);
            float near = (float)want;
            if (near == out[i] || isinf(near)) continue;
            double unit =
                (double)nextafterf(fabsf(near), INFINITY) - (double)fabsf(near);
            double off = (double)fabsl(want - (long double)out[i]) / unit;
            if (!(off <= functions[f].ulps))
                fail_msg("%s(%a) is %a, not %a: %.2f ulp", functions[f].name,
                         (double)x[i], (double)out[i], (double)near, off);
        }
    }
    close_world(&w);
}

static void f64_is_within_1e_15(void **state)
{
    (void)state;
    static World w;
    static double x[POINTS], y[POINTS], out[POINTS];
    compile(&w, "f64", bodies_of(&w), FUNCTIONS);
    for (uint32_t f = 0; f < FUNCTIONS; f++) {
        for (int i = 0; i < POINTS; i++)
            x[i] = point(&functions[f], i);
        run(&w, f, x, y, out);
        for (int i = 0; i < POINTS; i++) {
            long double want = functions[f].value(x[i]);
            long double off = fabsl(want - (long double)out[i]);
            if (!(off <= 1e-15L * fabsl(want)) && !(off <= 1e-16L))
                fail_msg("%s(%a) is %a, not %a", functions[f].name, x[i],
                         out[i], (double)want);
        }
    }
    close_world(&w);
}

/* ------------------------------------------------------------ special values
 */

static bool same(double a, double b)
{
    if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
    return a == b && signbit(a) == signbit(b);
}

static void special_values_are_exact(void **state)
{
    (void)state;
    static World w;
    static const char *const bodies[] = {
        "exp(_0)",  "log(_0)", "log1p(_0)",   "sin(_0)",    "cos(_0)",
        "tanh(_0)", "erf(_0)", "sigmoid(_0)", "pow(_0, _1)"};
    static const double at[] = {0.0, -0.0, 1,    -1,       2,         -2, 3,
                                -3,  0.5,  -0.5, INFINITY, -INFINITY, NAN};
    enum { N = sizeof at / sizeof *at };
    static double x[POINTS], y[POINTS], out[POINTS];
    compile(&w, "f64", bodies, 9);
    for (int i = 0; i < N * N; i++) {
        x[i] = at[i / N];
        y[i] = at[i % N];
    }
    for (uint32_t f = 0; f < 9; f++) {
        run(&w, f, x, y, out);
        for (int i = 0; i < N * N; i++) {
            double want = f == 0   ? exp(x[i])
                          : f == 1 ? log(x[i])
                          : f == 2 ? log1p(x[i])
                          : f == 3 ? sin(x[i])
                          : f == 4 ? cos(x[i])
                          : f == 5 ? tanh(x[i])
                          : f == 6 ? erf(x[i])
                          : f == 7 ? 1 / (1 + exp(-x[i]))
                                   : pow(x[i], y[i]);
            bool plain = isfinite(want) && want != 0;
            if (plain ? fabs(want - out[i]) > 1e-15 * fabs(want)
                      : !same(want, out[i]))
                fail_msg("%s at %g, %g is %g, not %g", bodies[f], x[i], y[i],
                         out[i], want);
        }
    }
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f32_is_within_a_few_units),
        cmocka_unit_test(f64_is_within_1e_15),
        cmocka_unit_test(special_values_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
