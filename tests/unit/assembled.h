/*
 * assembled.h: whether ptxas takes a text, where there is a ptxas.
 *
 * Behind cmocka.h.
 */
#ifndef TITAN_TESTS_UNIT_ASSEMBLED_H
#define TITAN_TESTS_UNIT_ASSEMBLED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline void assemble_text(const char *ptx)
{
    char path[] = "/tmp/titan-ptx-XXXXXX", command[128];
    if (system("ptxas --version >/dev/null 2>&1") != 0) skip();
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    size_t n = strlen(ptx);
    assert_int_equal(write(fd, ptx, n), (ssize_t)n);
    close(fd);
    snprintf(command, sizeof command, "ptxas -arch=sm_90a -o /dev/null %s",
             path);
    assert_int_equal(system(command), 0);
    unlink(path);
}

#endif
