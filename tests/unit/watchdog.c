/* links: titan_runtime */
/*
 * watchdog.c: whom the others wait for, by what they have written on a board;
 * of ranks of other machines nothing is written there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/watchdog.c"

enum { RANKS = 4, NOBODY = -1 };

/* By what each waits for, as on a board. */
static Watch watch_of(const uint32_t waits[RANKS], bool apart)
{
    Board *b = board_new(RANKS);
    assert_non_null(b);
    b->apart = apart;
    for (uint32_t r = 0; r < RANKS; r++) {
        atomic_store(&b->rows[r].waits, waits[r]);
        atomic_store(&b->rows[r].known, true);
    }
    return (Watch){.board = b, .run = getpid()};
}

static void forget(Watch *w)
{
    board_free((Board *)(uintptr_t)w->board);
}

static BoardRow *row_of(const Watch *w, uint32_t rank)
{
    return &((Board *)(uintptr_t)w->board)->rows[rank];
}

static void names(const uint32_t waits[RANKS], int64_t rank)
{
    Watch w = watch_of(waits, false);
    assert_int_equal(find_culprit(&w), rank);
    forget(&w);
}

static void goes_from_rank_to_rank(void **state)
{
    (void)state;
    names((uint32_t[]){2, 4, 1, 0}, 3);
    names((uint32_t[]){0, 0, 0, 0}, NOBODY);
    names((uint32_t[]){2, 1, 1, 1}, NOBODY);
}

/* Which may wait for any rank. */
static void goes_past_gpus(void **state)
{
    (void)state;
    names((uint32_t[]){BOARD_GPU, BOARD_GPU, 0, BOARD_GPU}, 2);
    names((uint32_t[]){2, BOARD_GPU, BOARD_GPU, 0}, 3);
    names((uint32_t[]){BOARD_GPU, BOARD_GPU, BOARD_GPU, BOARD_GPU}, NOBODY);
}

static void takes_a_single_stranger(void **state)
{
    (void)state;
    const uint32_t waits[RANKS] = {BOARD_GPU, BOARD_GPU, BOARD_GPU, 0};
    Watch w = watch_of(waits, true);
    atomic_store(&row_of(&w, 3)->known, false);
    assert_int_equal(find_culprit(&w), 3);
    assert_int_equal(process_of(&w, 3), 0);
    assert_int_equal(process_of(&w, 0), getpid());
    atomic_store(&row_of(&w, 2)->known, false);
    assert_int_equal(find_culprit(&w), NOBODY);
    atomic_store(&row_of(&w, 1)->waits, 0);
    assert_int_equal(find_culprit(&w), 1);
    forget(&w);
}

/* What it waits for has come. */
static void knows_who_was_stopped(void **state)
{
    (void)state;
    int status;
    const uint32_t waits[RANKS] = {3, 3, 2, 3};
    Watch w = watch_of(waits, true);
    pid_t other = fork();
    if (other == 0) {
        alarm(300);
        raise(SIGSTOP);
        _exit(0);
    }
    assert_int_equal(waitpid(other, &status, WUNTRACED), other);
    assert_true(WIFSTOPPED(status));
    atomic_store(&row_of(&w, 1)->pid, other);
    assert_int_equal(find_culprit(&w), 1);
    kill(other, SIGKILL);
    assert_int_equal(waitpid(other, &status, 0), other);
    assert_int_equal(find_culprit(&w), NOBODY);
    forget(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goes_from_rank_to_rank),
        cmocka_unit_test(goes_past_gpus),
        cmocka_unit_test(takes_a_single_stranger),
        cmocka_unit_test(knows_who_was_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
