/* links: titan_passes */
/*
 * mincut.c: the cheapest set of nodes between sources and sinks, against all
 * sets tried one by one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "passes/autodiff/autodiff.h"

enum { MOST = 9 };

typedef struct Case {
    CutNode nodes[MOST];
    CutEdge edges[MOST * MOST];
    CutGraph g;
    bool cut[MOST], below[MOST];
} Case;

static void cut_of(Case *c)
{
    Arena a;
    arena_init(&a, "mincut");
    c->g.nodes = c->nodes;
    c->g.edges = c->edges;
    mincut(&a, &c->g, c->cut, c->below);
    arena_release(&a);
}

/* gate and up are read with their product: the product is made again. */
static void test_product(void **state)
{
    (void)state;
    Case c = {.nodes = {{8, true, true}, {8, true, true}, {8, false, true}},
              .edges = {{0, 2}, {1, 2}},
              .g = {.n = 3, .nedges = 2}};
    cut_of(&c);
    assert_true(c.cut[0] && c.cut[1] && !c.cut[2]);
    assert_true(c.below[2]);
}

/* Two large values meet in a small one that alone is read: it is kept. */
static void test_small(void **state)
{
    (void)state;
    Case c = {.nodes = {{64, true, false}, {64, true, false}, {1, false, true}},
              .edges = {{0, 2}, {1, 2}},
              .g = {.n = 3, .nedges = 2}};
    cut_of(&c);
    assert_true(!c.cut[0] && !c.cut[1] && c.cut[2]);
}

/* Of equal ones the value nearest to the reader; a free one costs nothing. */
static void test_ties(void **state)
{
    (void)state;
    Case c = {.nodes = {{4, true, false}, {4, false, false}, {4, false, true}},
              .edges = {{0, 1}, {1, 2}},
              .g = {.n = 3, .nedges = 2}};
    cut_of(&c);
    assert_true(!c.cut[0] && !c.cut[1] && c.cut[2]);
    c.nodes[0].cost = 0;
    cut_of(&c);
    assert_true(c.cut[0] && c.below[1] && c.below[2]);
}

/* A tuple cannot be kept: what is taken out of it is. */
static void test_tuple(void **state)
{
    (void)state;
    Case c = {.nodes = {{INT64_MAX, true, false}, {4, false, true}},
              .edges = {{0, 1}},
              .g = {.n = 2, .nedges = 1}};
    cut_of(&c);
    assert_true(!c.cut[0] && c.cut[1]);
}

/* Whether no sink is reached from a source but through the set. */
static bool parts(const Case *c, unsigned set)
{
    bool open[MOST] = {false};
    for (uint32_t i = 0; i < c->g.n; i++) { /* edges lead upwards */
        open[i] = c->nodes[i].source;
        for (uint32_t e = 0; e < c->g.nedges; e++)
            if (c->edges[e].to == i) open[i] |= open[c->edges[e].from];
        open[i] &= !(set >> i & 1);
        if (open[i] && c->nodes[i].sink) return false;
    }
    return true;
}

static int64_t cost_of(const Case *c, unsigned set)
{
    int64_t cost = 0;
    for (uint32_t i = 0; i < c->g.n; i++)
        if (set >> i & 1) cost += c->nodes[i].cost;
    return cost;
}

static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 16;
}

static void random_case(Case *c, uint32_t *seed)
{
    *c = (Case){.g = {.n = MOST}};
    for (uint32_t i = 0; i < MOST; i++) {
        c->nodes[i] =
            (CutNode){next(seed) % 6, next(seed) % 4 == 0, next(seed) % 4 == 0};
        for (uint32_t k = 0; k < i; k++)
            if (next(seed) % 3 == 0) c->edges[c->g.nedges++] = (CutEdge){k, i};
    }
}

static void test_all_sets(void **state)
{
    (void)state;
    uint32_t seed = 1;
    for (unsigned round = 0; round < 300; round++) {
        Case c;
        random_case(&c, &seed);
        cut_of(&c);
        unsigned found = 0;
        for (uint32_t i = 0; i < MOST; i++)
            found |= (unsigned)c.cut[i] << i;
        int64_t best = INT64_MAX;
        for (unsigned set = 0; set < 1u << MOST; set++)
            if (parts(&c, set) && cost_of(&c, set) < best)
                best = cost_of(&c, set);
        assert_true(parts(&c, found));
        assert_int_equal(cost_of(&c, found), best);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_product),  cmocka_unit_test(test_small),
        cmocka_unit_test(test_ties),     cmocka_unit_test(test_tuple),
        cmocka_unit_test(test_all_sets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
