/*
 * bug.c: a promise inside the compiler that was broken.
 *
 * exit runs what the driver registered with atexit: that is where the
 * reproducer is written.
 */
#include "base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

NORETURN void bug_at(const char *file, int line, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "titan: internal error: ");
    vfprintf(stderr, fmt, args);
    fprintf(stderr, " (%s:%d)\n", file, line);
    va_end(args);
    exit(70);
}
