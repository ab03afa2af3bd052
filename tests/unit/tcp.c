/* links: titan_runtime */
/*
 * tcp.c: rank 0 of three says how another was lost: the second closes its
 * connection, says what no rank says, or could not reach the third.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "runtime/join.h"
#include "runtime/link.h"
#include "tests/unit/port.h"

enum { RANKS = 3, PATIENCE = 60 };

/* As tcp.c has it. */
typedef struct Frame {
    uint32_t kind;
    int32_t tag;
    uint64_t bytes;
} Frame;

static void set_number(const char *name, unsigned n)
{
    char text[16];
    snprintf(text, sizeof text, "%u", n);
    setenv(name, text, 1);
}

/* The second says F, or nothing, and all but rank 0 wait until that has gone.
 */
static void be_rank(uint32_t rank, const Frame *f)
{
    Joined j;
    World w;
    char end;
    TitanStory s = {0};
    alarm(PATIENCE);
    set_number("RANK", rank);
    if (!world_read(&w) || world_join(&s, &w, PATIENCE, &j) != TITAN_OK)
        _exit(1);
    if (rank == 1 && !f) _exit(0);
    if (rank == 1) send(j.fds[0], f, sizeof *f, MSG_NOSIGNAL);
    while (recv(j.fds[0], &end, 1, 0) > 0)
        ;
    _exit(0);
}

/* Rank 0, until it cannot go on. */
static TitanStatus lose(TitanStory *s, const Frame *f)
{
    Link *l;
    pid_t others[RANKS];
    const struct timespec nap = {0, 1000000};
    set_number("WORLD_SIZE", RANKS);
    set_number("MASTER_PORT", free_port());
    for (uint32_t r = 1; r < RANKS; r++) {
        others[r] = fork();
        if (others[r] == 0) be_rank(r, f);
    }
    set_number("RANK", 0);
    assert_int_equal(tcp_open(s, PATIENCE, &l), TITAN_OK);
    TitanStatus st = TITAN_OK;
    for (int i = 0; st == TITAN_OK && i < PATIENCE * 1000; i++) {
        st = l->class->look(l, s);
        nanosleep(&nap, NULL);
    }
    link_close(l);
    for (uint32_t r = 1; r < RANKS; r++)
        waitpid(others[r], NULL, 0);
    return st;
}

static void one_closes(void **state)
{
    (void)state;
    TitanStory s = {0};
    assert_int_equal(lose(&s, NULL), TITAN_RANK_LOST);
    assert_string_equal(s.line[0],
                        "rank 1 of 3 was lost: its connection was closed");
}

static void one_is_strange(void **state)
{
    (void)state;
    TitanStory s = {0};
    const Frame f = {.kind = 77};
    assert_int_equal(lose(&s, &f), TITAN_RANK_LOST);
    assert_string_equal(s.line[0], "rank 1 of 3 was lost: it said to rank 0 "
                                   "what no rank says");
}

static void one_is_not_reached(void **state)
{
    (void)state;
    char want[256];
    TitanStory s = {0};
    const uint64_t how = (uint64_t)2 << 16 | ECONNREFUSED;
    const Frame f = {.kind = 3, .tag = TITAN_RANK_LOST, .bytes = how << 32 | 3};
    assert_int_equal(lose(&s, &f), TITAN_RANK_LOST);
    snprintf(want, sizeof want,
             "rank 2 of 3 was lost: rank 1 could not reach it: %s",
             strerror(ECONNREFUSED));
    assert_string_equal(s.line[0], want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_closes),
                                       cmocka_unit_test(one_is_strange),
                                       cmocka_unit_test(one_is_not_reached)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
