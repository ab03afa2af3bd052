/* links: titan_runtime */
/*
 * boot.c: processes of one start of a machine know that; one without a name is
 * beside nobody.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/boot.h"

static void is_the_same_in_another_process(void **state)
{
    (void)state;
    BootName mine = boot_name(), theirs = {{0}};
    int pipes[2], status;
    assert_int_equal(pipe(pipes), 0);
    pid_t pid = fork();
    if (pid == 0) {
        BootName here = boot_name();
        _exit(write(pipes[1], &here, sizeof here) != sizeof here);
    }
    assert_int_equal(read(pipes[0], &theirs, sizeof theirs), sizeof theirs);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_true(boot_is_same(&mine, &theirs));
    close(pipes[0]);
    close(pipes[1]);
}

static void tells_others_apart(void **state)
{
    (void)state;
    BootName a = boot_name(), b = a, none = {{0}};
    b.text[strlen(b.text) - 2] ^= 1; /* a digit of the processes' space */
    assert_false(boot_is_same(&a, &b));
    b = a;
    b.text[0] ^= 1;
    assert_false(boot_is_same(&a, &b));
    assert_false(boot_is_same(&none, &none));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_the_same_in_another_process),
        cmocka_unit_test(tells_others_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
