/*
 * unit.h: a module and everything it stands on, for tests.
 */
#ifndef TITAN_TESTS_UNIT_H
#define TITAN_TESTS_UNIT_H

#include "ir/ir.h"

typedef struct Unit {
    Arena arena, scratch;
    Diag diag;
    Module m;
} Unit;

static inline void unit_open(Unit *u)
{
    arena_init(&u->arena, "module");
    arena_init(&u->scratch, "scratch");
    diag_init(&u->diag, &u->arena);
    module_init(&u->m, &u->arena, &u->scratch, &u->diag);
}

static inline void unit_close(Unit *u)
{
    arena_release(&u->scratch);
    arena_release(&u->arena);
}

/* False: errors were reported. */
static inline bool unit_parse(Unit *u, const char *name, const char *text,
                              size_t size)
{
    return module_parse(&u->m, diag_add_source(&u->diag, name, text, size));
}

#endif
