/* links: titan_runtime */
/*
 * leave.c: a process whose own thread hangs ends when its run has, with the
 * story that is known; one whose run has not ended is let alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/leave.h"

enum { HANGS = 300, LONGER = 8, LEFT_ALONE = 3 }; /* seconds; an exit code */

static bool never(void *user)
{
    (void)user;
    return false;
}

static bool at_once(void *user)
{
    (void)user;
    return true;
}

static TitanStatus why(void *user, TitanStory *out)
{
    return titan_fail(out, TITAN_RANK_LOST, "rank 1 was lost, %s",
                      (const char *)user);
}

/* Each is a process; SAID is what comes of it on stderr. */
typedef struct Case {
    void (*run)(void);
    int code;
    const char *said;
    pid_t pid;
    int err;
} Case;

static char known[] = "as the rule says";

static void hangs(void)
{
    leave_watch((LeaveRule){at_once, why, NULL, known});
    sleep(HANGS);
}

static void hangs_when_it_has_told(void)
{
    TitanStory s = {0};
    Leave *l = leave_watch((LeaveRule){never, why, NULL, known});
    TitanStatus st = titan_fail(&s, TITAN_BAD_DATA, "first");
    leave_soon(l, &s, st);
    st = titan_while(&s, st, "more is known");
    leave_soon(l, &s, st);
    sleep(HANGS);
}

static void hangs_when_it_has_closed(void)
{
    TitanStory s = {0};
    Leave *l = leave_watch((LeaveRule){never, why, NULL, known});
    leave_soon(l, &s, titan_fail(&s, TITAN_BAD_DATA, "it was printed"));
    leave_stop(l);
    sleep(HANGS);
}

static void goes_on(void)
{
    Leave *l = leave_watch((LeaveRule){at_once, why, NULL, known}),
          *other = leave_watch((LeaveRule){never, why, NULL, known});
    leave_stop(l);
    sleep(LONGER);
    leave_stop(other);
    leave_stop(NULL);
    leave_soon(NULL, &(TitanStory){0}, TITAN_RANK_LOST);
    _exit(LEFT_ALONE);
}

static void start(Case *c)
{
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    c->pid = fork();
    if (c->pid == 0) {
        dup2(pipes[1], STDERR_FILENO);
        c->run();
        _exit(0);
    }
    close(pipes[1]);
    c->err = pipes[0];
}

static void check(const Case *c)
{
    int status;
    char said[512] = "";
    assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), c->code);
    assert_true(read(c->err, said, sizeof said - 1) >= 0);
    assert_string_equal(said, c->said);
    close(c->err);
}

static void a_process_ends_with_its_run(void **state)
{
    (void)state;
    Case cases[] = {{hangs, TITAN_RANK_LOST,
                     "titan: error: rank 1 was lost, as the rule says\n", 0, 0},
                    {hangs_when_it_has_told, TITAN_BAD_DATA,
                     "titan: error: first\n  while more is known\n", 0, 0},
                    {hangs_when_it_has_closed, TITAN_BAD_DATA, "", 0, 0},
                    {goes_on, LEFT_ALONE, "", 0, 0}};
    enum { CASES = sizeof cases / sizeof *cases };
    for (int i = 0; i < CASES; i++)
        start(&cases[i]);
    for (int i = 0; i < CASES; i++)
        check(&cases[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_process_ends_with_its_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
