/* links: titan_ir */
/*
 * Steps that touch the same bytes are found.
 *
 * Accesses are drawn: of a few spaces, with rows, rings and loops around.  Each
 * two of them are asked for alone; what steps_clashes finds of all together is
 * what it finds of those, each once, the earlier step in front.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ir/ir.h"

enum { ACCESSES = 60, STEPS = 25, DRAWS = 300 };

typedef struct Seen {
    uint32_t n[ACCESSES][ACCESSES]; /* by access */
    const Access *at;
} Seen;

static uint32_t draw(uint64_t *state, uint32_t below)
{
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)((*state >> 33) % below);
}

static Access draw_access(uint64_t *state, uint32_t step)
{
    Access x = {.step = step, .write = draw(state, 3) == 0};
    x.space = draw(state, 3);
    x.first = 4 * (int64_t)draw(state, 24);
    x.end = x.first + 4 * (int64_t)draw(state, 10);
    if (draw(state, 2) == 0) {
        x.pitch = 4 << draw(state, 3);
        x.row = 4 + 4 * (int64_t)draw(state, (uint32_t)x.pitch / 4);
    }
    for (uint32_t i = 0; i < 2; i++)
        if (draw(state, 3) == 0) x.turn[i] = 4 * ((int64_t)draw(state, 9) - 4);
    if (draw(state, 5) == 0)
        x.ring = (RingReach){{3, (int64_t)draw(state, 3)}, 16, 0};
    return x;
}

static bool note(void *user, const Access *early, const Access *late)
{
    Seen *s = user;
    assert_true(early->step < late->step);
    s->n[early - s->at][late - s->at]++;
    return true;
}

static void all_are_those_of_two(void **state)
{
    (void)state;
    static const int64_t counts[] = {3, 2};
    static Seen all, two;
    Arena a;
    uint64_t random = 1;
    arena_init(&a, "test");
    for (uint32_t k = 0; k < DRAWS; k++) {
        ArenaMark mark = arena_mark(&a);
        Access at[ACCESSES];
        for (uint32_t i = 0; i < ACCESSES; i++)
            at[i] = draw_access(&random, i * STEPS / ACCESSES);
        FnSteps s = {.at = at, .n = ACCESSES, .counts = counts, .depth = 2};
        all = (Seen){.at = at};
        two = (Seen){.at = at};
        assert_true(steps_clashes(&s, &a, note, &all));
        for (uint32_t i = 0; i < ACCESSES; i++)
            for (uint32_t j = i + 1; j < ACCESSES; j++) {
                Access pair[] = {at[i], at[j]};
                Seen *one = NEW(&a, Seen);
                one->at = pair;
                s.at = pair;
                s.n = 2;
                assert_true(steps_clashes(&s, &a, note, one));
                two.n[i][j] = one->n[0][1];
            }
        assert_memory_equal(all.n, two.n, sizeof all.n);
        arena_pop(&a, mark);
    }
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_are_those_of_two),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
