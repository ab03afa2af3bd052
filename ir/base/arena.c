/*
 * arena.c: blocks double up to 1 MiB; a larger request gets a block of its
 * own.  Under TITAN_PURIFY each request is its own block.
 */
#include "arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 16, FIRST_BLOCK = 4096, LARGEST_BLOCK = 1 << 20 };

struct ArenaBlock {
    ArenaBlock *below;
    size_t used, size;
    _Alignas(16) char at[];
};

void out_of_memory(const char *what, size_t size)
{
    fprintf(stderr, "titan: out of memory (%s, %zu bytes)\n", what, size);
    exit(70);
}

void arena_init(Arena *a, const char *name)
{
    *a = (Arena){.name = name};
}

static void drop_until(Arena *a, ArenaBlock *keep)
{
    while (a->top != keep) {
        ArenaBlock *below = a->top->below;
        free(a->top);
        a->top = below;
    }
}

void arena_release(Arena *a)
{
    drop_until(a, NULL);
    a->total = 0;
}

static size_t block_size(const Arena *a, size_t need)
{
#ifdef TITAN_PURIFY
    (void)a;
    return need;
#else
    size_t size = a->top ? a->top->size * 2 : FIRST_BLOCK;
    if (size > LARGEST_BLOCK) size = LARGEST_BLOCK;
    return size < need ? need : size;
#endif
}

static void push_block(Arena *a, size_t need)
{
    size_t size = block_size(a, need);
    if (size > SIZE_MAX - sizeof(ArenaBlock)) out_of_memory(a->name, size);
    ArenaBlock *b = calloc(1, sizeof *b + size);
    if (!b) out_of_memory(a->name, size);
    b->below = a->top;
    b->size = size;
    a->top = b;
}

void *arena_alloc(Arena *a, size_t size)
{
    if (size > SIZE_MAX / 2) out_of_memory(a->name, size);
#ifdef TITAN_PURIFY
    push_block(a, size);
#else
    size = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (!a->top || a->top->size - a->top->used < size) push_block(a, size);
#endif
    void *p = a->top->at + a->top->used;
    a->top->used += size;
    a->total += size;
    return p;
}

void *arena_array(Arena *a, size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) out_of_memory(a->name, n);
    return arena_alloc(a, bytes);
}

char *arena_strndup(Arena *a, const char *s, size_t n)
{
    char *p = arena_alloc(a, n + 1);
    memcpy(p, s, n);
    return p;
}

char *arena_strdup(Arena *a, const char *s)
{
    return arena_strndup(a, s, strlen(s));
}

char *arena_printf(Arena *a, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    char *p = arena_alloc(a, (size_t)n + 1);
    vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(args);
    return p;
}

ArenaMark arena_mark(Arena *a)
{
    return (ArenaMark){a->top, a->top ? a->top->used : 0};
}

void arena_pop(Arena *a, ArenaMark mark)
{
    drop_until(a, mark.top);
    if (!a->top) return;
    memset(a->top->at + mark.used, 0, a->top->used - mark.used);
    a->top->used = mark.used;
}
