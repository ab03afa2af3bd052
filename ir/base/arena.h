/*
 * arena.h: memory by lifetime.
 *
 * An arena is a chain of blocks.  Allocations are 16-byte aligned and zeroed,
 * and are freed all at once.  Out of memory prints a line and exits with 70:
 * no caller in the compiler can do better.  Built with TITAN_PURIFY, every
 * allocation is a malloc of its own, so that ASan sees overruns.
 */
#ifndef TITAN_BASE_ARENA_H
#define TITAN_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "attr.h"

typedef struct ArenaBlock ArenaBlock;

typedef struct Arena {
    ArenaBlock *top;   /* newest block, 0 when empty */
    size_t total;      /* bytes handed out since init */
    const char *name;  /* session, module, scratch: for the out-of-memory line */
} Arena;

typedef struct ArenaMark {
    ArenaBlock *top;
    size_t used;
} ArenaMark;

void arena_init(Arena *a, const char *name);
void arena_release(Arena *a);
void *arena_alloc(Arena *a, size_t size);
/* A zeroed array; the product is checked. */
void *arena_array(Arena *a, size_t n, size_t size);
char *arena_strndup(Arena *a, const char *s, size_t n);
char *arena_strdup(Arena *a, const char *s);
char *arena_printf(Arena *a, const char *fmt, ...) PRINTF(2, 3);
/* Everything allocated after the mark is freed by the pop. */
ArenaMark arena_mark(Arena *a);
void arena_pop(Arena *a, ArenaMark mark);

NORETURN void out_of_memory(const char *what, size_t size);

#define NEW(a, T)          ((T *)arena_alloc((a), sizeof(T)))
#define NEW_ARRAY(a, T, n) ((T *)arena_array((a), (n), sizeof(T)))

#endif
