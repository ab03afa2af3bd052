/*
 * product_fit: what it says of each operand, against the strides of the axes;
 * which maps of operands it, and gemm_fit, leave to others.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "ir/ir.h"
#include "tests/unit/unit.h"

enum { OPERANDS = 7 };

static const char text[] =
    "axes (batch = 2, seq = 12, kv = 3, hd = 8, embed = 16)\n"
    "fn local @group(%x : bf16[batch, seq, embed], %w : bf16[kv, hd, embed], "
    "%u : bf16[kv, hd, embed], %a : bf16[batch, seq, kv, hd], %v : f32[kv, "
    "hd]) "
    "-> (bf16[batch, seq, kv, hd], f32[batch, seq, kv, hd]) {\n"
    "  %5 : bf16[batch, seq, kv, hd] = einsum %x, %w sum (embed)\n"
    "  %6 : bf16[batch, seq, kv, hd] = einsum %x, %u sum (embed)\n"
    "  %7 : bf16[batch, seq, kv, hd] = map %5, %6, %a "
    "{ bf16(f32(_0) * f32(_1) + f32(_2)) }\n"
    "  %8 : f32[batch, seq, kv, hd] = map %5, %v { f32(_0) + _1 }\n"
    "  ret %7, %8\n"
    "}\n";

/* An operand that is a map, in a group of KIND. */
#define MAPPED(kind, dtype, map)                                             \
    "axes (seq = 12, hd = 32, embed = 16)\n"                                 \
    "fn local @group(%x : e4m3[seq, embed], %s : f32[seq], "                 \
    "%w : e4m3[hd, embed], %t : f32[hd]) -> f32[seq, hd] kind " kind " {\n"  \
    "  %4 : " dtype "[seq, embed] = map %x, %s { " dtype "(" map ") }\n"     \
    "  %5 : " dtype "[hd, embed] = map %w, %t { " dtype "(f32(_0) * _1) }\n" \
    "  %6 : f32[seq, hd] = einsum %4, %5 sum (embed) acc f32\n"              \
    "  ret %6\n"                                                             \
    "}\n"

typedef struct World {
    Unit u;
    const Fn *fn;
    Layout at[OPERANDS];
} World;

static int set_up(void **state)
{
    static World w;
    w = (World){0};
    unit_open(&w.u);
    if (!unit_parse(&w.u, "group", text, strlen(text)) ||
        !module_verify(&w.u.m))
        return 1;
    w.fn = w.u.m.fns.at[0];
    for (uint32_t i = 0; i < OPERANDS; i++) {
        Type t = i < w.fn->nparams ? w.fn->params[i].type
                                   : w.fn->results[i - w.fn->nparams].type;
        w.at[i] = layout_dense(&w.u.m, t, &w.u.arena);
    }
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    World *w = *state;
    unit_close(&w->u);
    return 0;
}

/* The element of operand i at these indices of batch, seq, kv, hd, embed. */
static int64_t by_axes(const World *w, uint32_t i, const int64_t ix[5])
{
    static const char *const names[] = {"batch", "seq", "kv", "hd", "embed"};
    const TypeInfo *t = type_info(&w->u.m, w->at[i].type);
    int64_t at = 0;
    for (uint32_t a = 0; a < t->naxes; a++)
        for (int k = 0; k < 5; k++)
            if (strcmp(axis_name(&w->u.m, t->axes[a].axis), names[k]) == 0)
                at += ix[k] * w->at[i].stride[a];
    return at;
}

/* The same from a fit whose rows are batch and seq, columns kv and hd. */
static int64_t by_place(const Gemm *g, const GemmPlace *p, const int64_t ix[5])
{
    int64_t row = ix[0] * 12 + ix[1], column = ix[2] * 8 + ix[3];
    assert_int_equal(g->nbatch, 0);
    return row * p->row + column * p->col + ix[4] * p->sum;
}

static void check(const World *w, const Gemm *g, const GemmPlace *p)
{
    for (int64_t n = 0; n < 2 * 12 * 3 * 8 * 16; n += 7) {
        int64_t ix[5] = {n / 4608, n / 384 % 12, n / 128 % 3, n / 16 % 8,
                         n % 16};
        for (uint32_t i = 0; i < OPERANDS; i++)
            assert_int_equal(by_place(g, &p[i], ix), by_axes(w, i, ix));
    }
}

static void test_dense(void **state)
{
    World *w = *state;
    Gemm g;
    GemmPlace p[OPERANDS];
    assert_true(product_fit(&w->u.m, w->fn, w->at, &g, p));
    assert_int_equal(g.m, 24);
    assert_int_equal(g.n, 24);
    assert_int_equal(g.k, 16);
    assert_int_equal(g.a_row, 16);
    assert_int_equal(g.b_col, 16);
    check(w, &g, p);
}

/* An operand across K, rows with room between them. */
static void test_strides(void **state)
{
    World *w = *state;
    static const int64_t across[] = {8, 1, 24}, wide[] = {480, 40, 8, 1};
    Gemm g;
    GemmPlace p[OPERANDS];
    w->at[2].stride = across;
    w->at[3].stride = wide;
    assert_true(product_fit(&w->u.m, w->fn, w->at, &g, p));
    assert_int_equal(p[2].sum, 24);
    assert_int_equal(p[2].col, 1);
    assert_int_equal(p[3].row, 40);
    assert_int_equal(p[4].row, 0);
    check(w, &g, p);
}

/* A value in which the columns do not follow each other parts them: one of
 * their axes becomes a batch in which the first operand stands still. */
static void test_parted(void **state)
{
    World *w = *state;
    static const int64_t parted[] = {288, 8, 96, 1};
    Gemm g;
    GemmPlace p[OPERANDS];
    w->at[3].stride = parted;
    assert_true(product_fit(&w->u.m, w->fn, w->at, &g, p));
    assert_int_equal(g.m * g.n, 2 * 12 * 3 * 8 / g.batch[0] /
                                    (g.nbatch > 1 ? g.batch[1] : 1));
    for (uint32_t i = 0; i < g.nbatch; i++)
        assert_true(p[3].batch[i] != 0);
}

static bool fits(const char *source)
{
    Unit u;
    Gemm g;
    GemmPlace p[5];
    Layout at[5];
    unit_open(&u);
    assert_true(unit_parse(&u, "mapped", source, strlen(source)));
    assert_true(module_verify(&u.m));
    const Fn *fn = u.m.fns.at[0];
    for (uint32_t i = 0; i < 4; i++)
        at[i] = layout_dense(&u.m, fn->params[i].type, &u.arena);
    at[4] = layout_dense(&u.m, fn->results[0].type, &u.arena);
    const Layout three[3] = {at[0], at[2], at[4]};
    bool matmul = fn_is(&u.m, fn, FK_matmul);
    bool fit = matmul ? gemm_fit(&u.m, fn, three, &g)
                      : product_fit(&u.m, fn, at, &g, p);
    unit_close(&u);
    return fit;
}

/* The library multiplies operands by their scales, and does nothing else to
 * them; a product's kernel does not even that. */
static void test_mapped(void **state)
{
    (void)state;
    assert_true(fits(MAPPED("matmul", "bf16", "f32(_0) * _1")));
    assert_false(fits(MAPPED("matmul", "bf16", "f32(_0) * (_1 / 64)")));
    assert_false(fits(MAPPED("matmul", "bf16", "f32(_0) + _1")));
    assert_false(fits(MAPPED("matmul", "e4m3", "f32(_0) * _1")));
    assert_false(fits(MAPPED("product", "bf16", "f32(_0) * _1")));
    assert_false(fits(MAPPED("product", "bf16", "f32(_0) * (_1 / 64)")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_dense, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_strides, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_parted, set_up, tear_down),
        cmocka_unit_test(test_mapped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
