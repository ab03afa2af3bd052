/* links: titan_passes */
/*
 * region.c: what each axis of a region means to its results.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "passes/region.h"
#include "tests/unit/unit.h"

static const char text[] =
    "axes (b = 2, kv = 2, rep = 3, seq = 4, ctx = 4, hd = 5)\n"
    "fn global @forward(%q : f32[b, kv, rep, seq, hd], %k : f32[b, kv, ctx, "
    "hd], %v : f32[b, kv, ctx, hd]) -> f32[b, kv, rep, seq, hd] kind attention "
    "{\n"
    "  %s : f32[b, kv, rep, seq, ctx] = einsum %q, %k sum (hd)\n"
    "  %e : f32[b, kv, rep, seq, ctx] = map %s { where(index(ctx) <= "
    "index(seq), exp(_0), 0) }\n"
    "  %t : f32[b, kv, rep, seq] = reduce %e kind sum axes (ctx)\n"
    "  %p : f32[b, kv, rep, seq, ctx] = map %e, %t { _0 / _1 }\n"
    "  %o : f32[b, kv, rep, seq, hd] = einsum %p, %v sum (ctx)\n"
    "  ret %o\n"
    "}\n"
    "fn global @backward(%p : f32[b, kv, rep, seq, ctx], %d : f32[b, kv, rep, "
    "seq, hd], %v : f32[b, kv, ctx, hd]) -> (f32[b, kv, ctx, hd], f32[b, kv, "
    "rep, seq, ctx]) kind attention.backward {\n"
    "  %dv : f32[b, kv, ctx, hd] = einsum %p, %d sum (rep, seq)\n"
    "  %scaled : f32[b, kv, ctx, hd] = map %dv, %v { -_0 * 2 / _1 }\n"
    "  %dp : f32[b, kv, rep, seq, ctx] = einsum %d, %v sum (hd)\n"
    "  ret %scaled, %dp\n"
    "}\n"
    "fn global @indexed(%x : f32[b, seq, hd], %ids : i32[b, seq]) -> "
    "(f32[b, seq], f32[b, hd:7], f32[b]) kind loss {\n"
    "  %at : f32[b, seq] = gather %x, %ids axis hd\n"
    "  %s : f32[b, hd:7] = scatter %ids, %at axis hd\n"
    "  %sum : f32[b] = reduce %at kind sum axes (seq)\n"
    "  %square : f32[b] = map %sum { _0 * _0 }\n"
    "  ret %at, %s, %square\n"
    "}\n";

static int open_world(void **state)
{
    static Unit w;
    memset(&w, 0, sizeof w);
    unit_open(&w);
    assert_true(unit_parse(&w, "region", text, sizeof text - 1));
    assert_true(module_verify(&w.m));
    *state = &w;
    return 0;
}

static int close_world(void **state)
{
    Unit *w = *state;
    unit_close(w);
    return 0;
}

static const RegionAxis *axis_in(Unit *w, const char *fn, const char *axis)
{
    FnRef f;
    Axis a;
    assert_true(fn_find(&w->m, module_str(&w->m, fn), &f));
    assert_true(axis_find(&w->m, module_str(&w->m, axis), &a));
    RegionAxes axes = region_axes(&w->m, fn_of(&w->m, f), &w->scratch);
    for (uint32_t i = 0; i < axes.n; i++)
        if (axes.at[i].axis.id == a.id) return &axes.at[i];
    fail_msg("@%s has no axis '%s'", fn, axis);
    return NULL;
}

static void test_parallel(void **state)
{
    const char *const free_axes[] = {"b", "kv", "rep", "seq"};
    for (unsigned i = 0; i < 4; i++) {
        const RegionAxis *ra = axis_in(*state, "forward", free_axes[i]);
        assert_int_equal(ra->use, AXIS_parallel);
        assert_int_equal(ra->results[0], RESULT_slice);
    }
}

static void test_internal(void **state)
{
    /* ctx is gone after a quotient by its own sum */
    assert_int_equal(axis_in(*state, "forward", "ctx")->use, AXIS_internal);
    assert_null(axis_in(*state, "forward", "ctx")->results);
    /* hd is summed before a function that is not linear */
    assert_int_equal(axis_in(*state, "forward", "hd")->use, AXIS_internal);
}

static void test_accumulated(void **state)
{
    const RegionAxis *seq = axis_in(*state, "backward", "seq");
    assert_int_equal(seq->use, AXIS_accumulated);
    assert_int_equal(seq->size, 4);
    assert_int_equal(seq->results[0], RESULT_sum);
    assert_int_equal(seq->results[1], RESULT_slice);
    assert_int_equal(axis_in(*state, "backward", "b")->use, AXIS_parallel);
    const RegionAxis *ctx = axis_in(*state, "backward", "ctx");
    assert_int_equal(ctx->use, AXIS_parallel);
}

static void test_indexed(void **state)
{
    assert_int_equal(axis_in(*state, "indexed", "b")->use, AXIS_parallel);
    /* a square of a sum is no sum */
    assert_int_equal(axis_in(*state, "indexed", "seq")->use, AXIS_internal);
    /* two sizes under one name */
    assert_int_equal(axis_in(*state, "indexed", "hd")->use, AXIS_internal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_parallel, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_internal, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_accumulated, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(test_indexed, open_world, close_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
