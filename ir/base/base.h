/*
 * base.h: what every other file of the compiler stands on.
 */
#ifndef TITAN_BASE_H
#define TITAN_BASE_H

#include "arena.h"
#include "attr.h"
#include "buf.h"
#include "diag.h"
#include "map.h"
#include "nearest.h"
#include "str.h"
#include "vec.h"

/* A broken promise inside the compiler: prints the place and exits 70, after
 * the driver's reproducer hook has run. */
NORETURN void bug_at(const char *file, int line, const char *fmt, ...)
    PRINTF(3, 4);
#define BUG(...) bug_at(__FILE__, __LINE__, __VA_ARGS__)
#define CHECK(c)                                                               \
    do {                                                                       \
        if (!(c)) BUG("expected %s", #c);                                      \
    } while (0)

#endif
