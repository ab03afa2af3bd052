/* links: titan_runtime */
/*
 * board.c: what a rank does is read by a process that was not started with it,
 * and only a board of as many ranks is taken for one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/board.h"

enum { RANKS = 3 };

/* In a process of its own, which has not the other's memory. */
static bool writes_its_row(int pid, int fd)
{
    Board *b = board_join(pid, fd, RANKS);
    if (!b) return false;
    atomic_store(&b->rows[1].waits, 3);
    atomic_store(&b->rows[1].known, true);
    board_free(b);
    return true;
}

static void is_shared(void **state)
{
    (void)state;
    int status;
    Board *b = board_new(RANKS);
    int pid = getpid(), fd = b->fd;
    assert_true(fd >= 0);
    b->apart = true;
    pid_t other = fork();
    if (other == 0) {
        alarm(60);
        board_free(b);
        _exit(!writes_its_row(pid, fd));
    }
    assert_int_equal(waitpid(other, &status, 0), other);
    assert_int_equal(status, 0);
    assert_int_equal(atomic_load(&b->rows[1].waits), 3);
    assert_true(board_knows(b, 1));
    assert_false(board_knows(b, 2));
    board_free(b);
}

static void is_looked_at(void **state)
{
    (void)state;
    int pipes[2];
    Board *b = board_new(RANKS);
    assert_int_equal(pipe(pipes), 0);
    assert_null(board_join(getpid(), b->fd, RANKS + 1));
    assert_null(board_join(getpid(), pipes[0], RANKS));
    assert_null(board_join(getpid(), -1, RANKS));
    close(pipes[0]);
    close(pipes[1]);
    board_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(is_shared),
                                       cmocka_unit_test(is_looked_at)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
