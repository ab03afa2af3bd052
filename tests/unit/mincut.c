/* links: titan_passes */
/*
 * mincut.c: the cheapest way to come by what is needed, against all sets of
 * saved nodes tried one by one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "passes/mincut.h"

enum { MOST = 9 };
#define NEVER INT64_MAX

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
    Case c = {.nodes = {{8, NEVER, true}, {8, NEVER, true}, {8, 0, true}},
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
    Case c = {.nodes = {{64, NEVER, false}, {64, NEVER, false}, {1, 0, true}},
              .edges = {{0, 2}, {1, 2}},
              .g = {.n = 3, .nedges = 2}};
    cut_of(&c);
    assert_true(!c.cut[0] && !c.cut[1] && c.cut[2]);
}

/* Of equal ones the value nearest to the reader; a free one costs nothing. */
static void test_ties(void **state)
{
    (void)state;
    Case c = {.nodes = {{4, NEVER, false}, {4, 0, false}, {4, 0, true}},
              .edges = {{0, 1}, {1, 2}},
              .g = {.n = 3, .nedges = 2}};
    cut_of(&c);
    assert_true(!c.cut[0] && !c.cut[1] && c.cut[2]);
    c.nodes[0].save = 0;
    cut_of(&c);
    assert_true(c.cut[0] && c.below[1] && c.below[2]);
}

/* A tuple cannot be kept: what is taken out of it is. */
static void test_tuple(void **state)
{
    (void)state;
    Case c = {.nodes = {{NEVER, NEVER, false}, {4, 0, true}},
              .edges = {{0, 1}},
              .g = {.n = 2, .nedges = 1}};
    cut_of(&c);
    assert_true(!c.cut[0] && c.cut[1]);
}

/* A large value that is quick to make again is; one that is slow is kept. */
static void test_price(void **state)
{
    (void)state;
    Case c = {.nodes = {{1, NEVER, false}, {8, 5, true}},
              .edges = {{0, 1}},
              .g = {.n = 2, .nedges = 1}};
    cut_of(&c);
    assert_true(c.cut[0] && c.below[1]);
    c.nodes[1].remake = 9;
    cut_of(&c);
    assert_true(!c.cut[0] && c.cut[1]);
}

/* What it costs when the nodes of the set are saved, and all else that is
 * needed is made again; -1: it cannot be. */
static int64_t cost_of(const Case *c, unsigned set)
{
    int64_t cost = 0;
    bool needed[MOST];
    for (uint32_t i = c->g.n; i-- > 0;) { /* edges lead upwards */
        const CutNode *n = &c->nodes[i];
        bool saved = set >> i & 1;
        needed[i] = n->sink;
        for (uint32_t e = 0; e < c->g.nedges; e++) {
            uint32_t to = c->g.edges[e].to;
            needed[i] |=
                c->g.edges[e].from == i && needed[to] && !(set >> to & 1);
        }
        if (!needed[i] && !saved) continue;
        int64_t price = saved ? n->save : n->remake;
        if (price == NEVER) return -1;
        cost += price;
    }
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
        uint32_t remake = next(seed) % 8;
        c->nodes[i] = (CutNode){next(seed) % 6, remake < 4 ? remake : NEVER,
                                next(seed) % 4 == 0};
        if (remake == 7) c->nodes[i].remake = 0;
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
        for (unsigned set = 0; set < 1u << MOST; set++) {
            int64_t cost = cost_of(&c, set);
            if (cost >= 0 && cost < best) best = cost;
        }
        assert_int_equal(cost_of(&c, found), best);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_product), cmocka_unit_test(test_small),
        cmocka_unit_test(test_ties),    cmocka_unit_test(test_tuple),
        cmocka_unit_test(test_price),   cmocka_unit_test(test_all_sets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
