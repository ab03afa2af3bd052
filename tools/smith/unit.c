/*
 * unit.c: a module read from text, with everything it stands on.
 */
#include "smith.h"

#include <stdarg.h>

void unit_init(Unit *u)
{
    arena_init(&u->arena, "module");
    arena_init(&u->scratch, "scratch");
    diag_init(&u->diag, &u->arena);
    module_init(&u->m, &u->arena, &u->scratch, &u->diag);
}

void unit_release(Unit *u)
{
    arena_release(&u->scratch);
    arena_release(&u->arena);
}

const Fn *unit_entry(const Unit *u)
{
    for (uint32_t i = 0; i < u->m.fns.n; i++)
        if (u->m.fns.at[i] && u->m.fns.at[i]->entry) return u->m.fns.at[i];
    BUG("a program without entry");
}

bool unit_read(Unit *u, const char *text, size_t n)
{
    unit_init(u);
    char *copy = arena_strndup(&u->arena, text, n);
    uint32_t source = diag_add_source(&u->diag, "program.tir", copy, n);
    return module_parse(&u->m, source) && module_verify(&u->m);
}

bool unit_failed(const Unit *u, Buf *why, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    buf_vprintf(why, fmt, args);
    va_end(args);
    buf_putc(why, '\n');
    diag_render(&u->diag, DIAG_TEXT, why);
    return false;
}
