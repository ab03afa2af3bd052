/* links: titan_passes
 * readers.c: what `shard` does for a value does not grow with the square of
 * its readers, and what it counts of these (passes/shard/wants.c) is what
 * there is.
 *
 * Programs in which one value, or two, are read by many: by ops that want them
 * in several forms.  Work is counted, in looks at readers.  Costs by what is
 * counted are, to the bit, those of looking at each reader, after any changes
 * of ways.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "passes/shard/solve.h"
#include "tests/unit/pinned.h"
#include "tests/unit/unit.h"

typedef struct Trial {
    Unit u;
    Shard s;
    uint64_t draws;
} Trial;

static unsigned draw(Trial *t, unsigned n)
{
    t->draws = t->draws * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(t->draws >> 33) % n;
}

static const char head[] =
    "option shard \"b over x; d over y for param\"\n"
    "mesh (x = 2, y = 2)\n"
    "axes (b = 8, d = 8, k = 8)\n"
    "entry fn global @f(%x : f32[b, d] input \"x\", %w : f32[d, k] param "
    "\"w\") -> f32[b, k] output \"y\" {\n"
    "  %s : f32[b, d] = map %x { tanh(_0) }\n"
    "  %p0 : f32[b, k] = einsum %s, %w sum (d)\n";

/* All read the first product. */
static void put_map(Buf *b, unsigned i)
{
    buf_printf(b, "  %%p%u : f32[b, k] = map %%p%u, %%p0 { tanh(_0) * _1 }\n",
               i, i - 1);
}

/* All read the activation and the weight, some twice. */
static void put_product(Buf *b, unsigned i)
{
    char of[16] = "s";
    if (i % 3 == 0) {
        snprintf(of, sizeof of, "s%u", i);
        buf_printf(b, "  %%%s : f32[b, d] = map %%s, %%s { _0 * tanh(_1) }\n",
                   of);
    }
    buf_printf(b, "  %%q%u : f32[b, k] = einsum %%%s, %%w sum (d)\n", i, of);
    buf_printf(b, "  %%p%u : f32[b, k] = map %%p%u, %%q%u { _0 + _1 }\n", i,
               i - 1, i);
}

typedef void Put(Buf *b, unsigned i);

static void open_trial(Trial *t, Put *put, unsigned readers)
{
    Buf b = {0};
    *t = (Trial){.draws = 1};
    unit_open(&t->u);
    buf_puts(&b, head);
    for (unsigned i = 1; i <= readers; i++)
        put(&b, i);
    buf_printf(&b, "  ret %%p%u\n}\n", readers);
    Module *m = &t->u.m;
    assert_true(
        unit_parse(&t->u, "test", arena_strndup(&t->u.arena, b.at, b.n), b.n));
    assert_true(module_verify(m));
    buf_release(&b);
    shard_pinned(&t->s, m);
}

static double looks(Put *put, unsigned readers)
{
    Trial t;
    open_trial(&t, put, readers);
    shard_solve(&t.s);
    double n = (double)t.s.looks;
    unit_close(&t.u);
    return n;
}

static void check_growth(Put *put)
{
    double few = looks(put, 256), many = looks(put, 1024);
    printf("%.0f looks at readers, %.0f of four times as many\n", few, many);
    assert_true(many < 6 * few);
}

static void test_maps(void **state)
{
    (void)state;
    check_growth(put_map);
}

static void test_products(void **state)
{
    (void)state;
    check_growth(put_product);
}

/* An item takes any of its ways over any mesh axis. */
static void change(Trial *t, Solve *x)
{
    Shard *s = &t->s;
    uint32_t item = draw(t, s->items.n);
    MeshAxis m = s->order.at[draw(t, s->order.n)];
    ArenaMark mark = arena_mark(s->a);
    Ways w = item_ways(x, item, m);
    const Way *way = &w.at.at[draw(t, w.at.n)];
    if (is_port(x, item))
        place_port(x, s->items.at[item].out, m, way->out);
    else
        take_way(x, item, m, way);
    arena_pop(s->a, mark);
}

static void test_costs(void **state)
{
    (void)state;
    Trial t;
    open_trial(&t, put_product, 60);
    Solve x = solve_of(&t.s);
    wants_begin(&x);
    wants_none(&x);
    for (unsigned k = 0; k < 4000; k++) {
        change(&t, &x);
        /* some are chosen from the start, others come in one by one */
        if (k < 1000) wants_choose(&x, draw(&t, t.s.items.n));
        Solve plain = x;
        plain.wants = NULL;
        uint32_t raw = draw(&t, t.s.raws.n), item = draw(&t, t.s.items.n);
        if (t.s.raws.at[raw].node != NO_RAW)
            assert_true(raw_cost(&x, raw) == raw_cost(&plain, raw));
        assert_true(item_cost(&x, item).all == item_cost(&plain, item).all);
        for (uint32_t i = 0; k % 100 == 0 && i < t.s.raws.n; i++)
            if (t.s.raws.at[i].node != NO_RAW)
                assert_true(raw_cost(&x, i) == raw_cost(&plain, i));
    }
    unit_close(&t.u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_maps),
                                       cmocka_unit_test(test_products),
                                       cmocka_unit_test(test_costs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
