/* links: titan_passes
 * budget.c: the search of a budget asks its target for no image twice.
 *
 * What a target makes of a plan is the dearest question there is, so what it
 * said once is kept: for the way that is found, for how long a step of it
 * takes, and for whether there is room to round.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "passes/arrange.h"
#include "tests/unit/unit.h"

/* Layers whose records are larger than what they carry. */
static const char text[] =
    "axes (layer = 6, b = 256, e = 64, f = 256)\n"
    "\n"
    "entry fn local @train(\n"
    "    %x : f32[b, e],\n"
    "    %gate : f32[layer, e, f] param \"ffn.gate\",\n"
    "    %up : f32[layer, e, f] param \"ffn.up\",\n"
    "    %down : f32[layer, e, f] param \"ffn.down\") -> (\n"
    "    f32[] record \"loss\",\n"
    "    f32[layer, b],\n"
    "    f32[layer, e, f],\n"
    "    f32[layer, e, f],\n"
    "    f32[layer, e, f],\n"
    "    f32[b, e]) {\n"
    "  %r : (f32[b, e], f32[layer, b], f32[layer, b, e], f32[layer, b, f], "
    "f32[layer, b, f]) = repeat %x, %gate, %up, %down fn @block.forward axis "
    "layer count 6 carry 1\n"
    "  %x.1 : f32[layer, b, e] = proj %r index 2\n"
    "  %m : f32[layer, b] = proj %r index 1\n"
    "  %h : f32[layer, b, f] = proj %r index 3\n"
    "  %k : f32[layer, b, f] = proj %r index 4\n"
    "  %y : f32[b, e] = proj %r index 0\n"
    "  %z : f32[b, e] = map %y { _0 * _0 }\n"
    "  %loss : f32[] = reduce %z kind sum axes (b, e)\n"
    "  %12 : f32[b, e] = backward map %y { _0 + _0 }\n"
    "  %13 : (f32[b, e], f32[layer, e, f], f32[layer, e, f], f32[layer, e, f]) "
    "= backward repeat %12, %gate, %up, %down, %x.1, %m, %h, %k fn "
    "@block.backward axis layer count 6 carry 1 reverse\n"
    "  %dx : f32[b, e] = backward proj %13 index 0\n"
    "  %dgate : f32[layer, e, f] = backward proj %13 index 1\n"
    "  %dup : f32[layer, e, f] = backward proj %13 index 2\n"
    "  %ddown : f32[layer, e, f] = backward proj %13 index 3\n"
    "  ret %loss, %m, %dgate, %dup, %ddown, %dx\n"
    "}\n"
    "\n"
    "fn local @block.forward(\n"
    "    %x : f32[b, e],\n"
    "    %gate : f32[e, f],\n"
    "    %up : f32[e, f],\n"
    "    %down : f32[e, f],\n"
    "    %turn : i32[]) -> (\n"
    "    f32[b, e],\n"
    "    f32[b],\n"
    "    f32[b, e],\n"
    "    f32[b, f],\n"
    "    f32[b, f]) {\n"
    "  %q : f32[b, e] = map %x { _0 * _0 }\n"
    "  %m : f32[b] = reduce %q kind sum axes (e)\n"
    "  %n : f32[b, e] = map %x, %m, %turn { _0 * rsqrt(_1 / 64 + 0.1) + "
    "f32(_2) }\n"
    "  %h : f32[b, f] = einsum %n, %gate sum (e)\n"
    "  %k : f32[b, f] = einsum %n, %up sum (e)\n"
    "  %a : f32[b, f] = map %h, %k { _0 * sigmoid(_0) * _1 }\n"
    "  %y : f32[b, e] = einsum %a, %down sum (f)\n"
    "  %out : f32[b, e] = map %x, %y { _0 + _1 }\n"
    "  ret %out, %m, %x, %h, %k\n"
    "}\n"
    "\n"
    "fn local @block.backward(\n"
    "    %d_x : f32[b, e],\n"
    "    %gate : f32[e, f],\n"
    "    %up : f32[e, f],\n"
    "    %down : f32[e, f],\n"
    "    %x : f32[b, e],\n"
    "    %m : f32[b],\n"
    "    %h : f32[b, f],\n"
    "    %k : f32[b, f],\n"
    "    %turn : i32[]) -> (\n"
    "    f32[b, e],\n"
    "    f32[e, f],\n"
    "    f32[e, f],\n"
    "    f32[e, f]) {\n"
    "  %9 : f32[b, f] = backward einsum %d_x, %down sum (e)\n"
    "  %a : f32[b, f] = backward map %h, %k { _0 * sigmoid(_0) * _1 }\n"
    "  %11 : f32[e, f] = backward einsum %a, %d_x sum (b)\n"
    "  %12 : f32[b, f] = backward map %9, %k, %h { _0 * _1 * sigmoid(_2) + _0 "
    "* _1 * _2 * (sigmoid(_2) * (1 - sigmoid(_2))) }\n"
    "  %13 : f32[b, f] = backward map %9, %h { _0 * (_1 * sigmoid(_1)) }\n"
    "  %14 : f32[b, e] = backward einsum %13, %up sum (f)\n"
    "  %n : f32[b, e] = backward map %x, %m, %turn { _0 * rsqrt(_1 / 64 + 0.1) "
    "+ f32(_2) }\n"
    "  %16 : f32[e, f] = backward einsum %n, %13 sum (b)\n"
    "  %17 : f32[b, e] = backward einsum %12, %gate sum (f)\n"
    "  %18 : f32[b, e] = backward map %14, %17 { _0 + _1 }\n"
    "  %19 : f32[e, f] = backward einsum %n, %12 sum (b)\n"
    "  %20 : f32[b, e] = backward map %18, %x, %m { _0 * _1 * -0.5 * (rsqrt(_2 "
    "/ 64 + 0.1) * rsqrt(_2 / 64 + 0.1) * rsqrt(_2 / 64 + 0.1)) / 3 }\n"
    "  %21 : f32[b] = backward reduce %20 kind sum axes (e)\n"
    "  %22 : f32[b, e] = backward map %d_x, %18, %m, %21, %x { _0 + _1 * "
    "rsqrt(_2 / 64 + 0.1) + (_3 * _4 + _3 * _4) }\n"
    "  ret %22, %19, %16, %11\n"
    "}\n";

enum { MOST_ASKED = 64, BESIDE = 4096 };

/* The plans that the target was asked for, as text. */
typedef struct Target {
    Arena arena;
    const char *plans[MOST_ASKED];
    unsigned n, again; /* of these, some that it was asked for before */
} Target;

static bool made(void *user, Module *m, uint64_t *bytes, double *seconds)
{
    Target *t = user;
    Buf b = {0};
    module_print(m, &(PrintOpts){0}, &b);
    for (unsigned i = 0; i < t->n; i++)
        t->again += strcmp(t->plans[i], b.at) == 0;
    assert_true(t->n < MOST_ASKED);
    t->plans[t->n++] = arena_strndup(&t->arena, b.at, b.n);
    *bytes = (uint64_t)planned_bytes(m) + BESIDE;
    if (seconds) *seconds = 1;
    buf_release(&b);
    return true;
}

static void ask(Target *t, long bytes)
{
    Unit u;
    char passes[64];
    *t = (Target){.n = 0};
    arena_init(&t->arena, "plans");
    unit_open(&u);
    assert_true(unit_parse(&u, "test", text, sizeof text - 1));
    snprintf(passes, sizeof passes, "remat{remat=repeat budget %ld}", bytes);
    assert_true(
        pipeline_run(&u.m, passes, &(PipelineOpts){.arena = made, .user = t}));
    unit_close(&u);
    arena_release(&t->arena);
}

/* Where all fits: as it is, and rounded once, of which there is nothing. */
static void test_room(void **state)
{
    (void)state;
    Target t;
    ask(&t, 60000000);
    assert_int_equal(t.n, 2);
    assert_int_equal(t.again, 1);
}

static void test_some(void **state)
{
    (void)state;
    for (long bytes = 5000000; bytes < 7000000; bytes += 250000) {
        Target t;
        ask(&t, bytes);
        assert_true(t.n > 0);
        assert_int_equal(t.again, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_room),
                                       cmocka_unit_test(test_some)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
