/*
 * str.h: interned strings.
 *
 * A Str is a handle; equal text has an equal handle.  Handle 0 is the empty
 * string.  Handles are numbered in the order of first interning, so that
 * iteration by handle is deterministic.
 */
#ifndef TITAN_BASE_STR_H
#define TITAN_BASE_STR_H

#include <stdbool.h>

#include "arena.h"

typedef struct Str {
    uint32_t id;
} Str;

typedef struct StrTable {
    Arena *arena;
    const char **text; /* by id, NUL-terminated */
    uint32_t *len;
    uint32_t n, cap;
    uint32_t *slots; /* open addressing, id + 1; 0 is free */
    uint32_t nslots;
} StrTable;

void str_init(StrTable *t, Arena *arena);
Str str_intern(StrTable *t, const char *s);
Str str_intern_n(StrTable *t, const char *s, size_t n);
Str str_printf(StrTable *t, const char *fmt, ...) PRINTF(2, 3);

static inline const char *str_text(const StrTable *t, Str s)
{
    return t->text[s.id];
}
static inline bool str_eq(Str a, Str b)
{
    return a.id == b.id;
}

/* FNV-1a over bytes, then mixed: the same on every machine, for what is
 * written into programs. */
uint64_t hash_bytes(const void *p, size_t n, uint64_t seed);
/* Faster, eight bytes at a time, for tables in memory. */
uint64_t hash_words(const void *p, size_t n, uint64_t seed);

#endif
