/*
 * str.c: the string table, open addressing with linear probing.
 */
#include "str.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

uint64_t hash_bytes(const void *p, size_t n, uint64_t seed)
{
    const unsigned char *b = p;
    uint64_t h = 0xcbf29ce484222325u ^ seed;
    for (size_t i = 0; i < n; i++)
        h = (h ^ b[i]) * 0x100000001b3u;
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    return h ^ (h >> 32);
}

/* The last bytes are read as a word of their own. */
uint64_t hash_words(const void *p, size_t n, uint64_t seed)
{
    const unsigned char *b = p;
    uint64_t h = seed ^ (n * 0x9e3779b97f4a7c15u), word;
    for (; n >= sizeof word; n -= sizeof word, b += sizeof word) {
        memcpy(&word, b, sizeof word);
        h = (h ^ word) * 0xd6e8feb86659fd93u;
        h ^= h >> 32;
    }
    word = 0;
    if (n) memcpy(&word, b, n);
    h = (h ^ word) * 0xd6e8feb86659fd93u;
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    return h ^ (h >> 32);
}

static void rehash(StrTable *t, uint32_t nslots)
{
    t->slots = NEW_ARRAY(t->arena, uint32_t, nslots);
    t->nslots = nslots;
    for (uint32_t id = 0; id < t->n; id++) {
        uint64_t h = hash_bytes(t->text[id], t->len[id], 0);
        uint32_t i = (uint32_t)h & (nslots - 1);
        while (t->slots[i])
            i = (i + 1) & (nslots - 1);
        t->slots[i] = id + 1;
    }
}

void str_init(StrTable *t, Arena *arena)
{
    *t = (StrTable){.arena = arena};
    rehash(t, 256);
    str_intern(t, "");
}

static Str append(StrTable *t, const char *s, size_t n)
{
    if (t->n == t->cap) {
        uint32_t cap = t->cap ? t->cap * 2 : 128;
        const char **text = NEW_ARRAY(t->arena, const char *, cap);
        uint32_t *len = NEW_ARRAY(t->arena, uint32_t, cap);
        if (t->n) {
            memcpy(text, t->text, t->n * sizeof *text);
            memcpy(len, t->len, t->n * sizeof *len);
        }
        t->text = text;
        t->len = len;
        t->cap = cap;
    }
    t->text[t->n] = arena_strndup(t->arena, s, n);
    t->len[t->n] = (uint32_t)n;
    return (Str){t->n++};
}

Str str_intern_n(StrTable *t, const char *s, size_t n)
{
    if (t->n * 2 >= t->nslots) rehash(t, t->nslots * 2);
    uint32_t i = (uint32_t)hash_bytes(s, n, 0) & (t->nslots - 1);
    for (; t->slots[i]; i = (i + 1) & (t->nslots - 1)) {
        uint32_t id = t->slots[i] - 1;
        if (t->len[id] == n && memcmp(t->text[id], s, n) == 0) return (Str){id};
    }
    Str made = append(t, s, n);
    t->slots[i] = made.id + 1;
    return made;
}

Str str_intern(StrTable *t, const char *s)
{
    return str_intern_n(t, s, strlen(s));
}

Str str_printf(StrTable *t, const char *fmt, ...)
{
    char small[256];
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(small, sizeof small, fmt, args);
    va_end(args);
    Str made;
    if ((size_t)n < sizeof small) {
        made = str_intern_n(t, small, (size_t)n);
    } else {
        char *big = arena_alloc(t->arena, (size_t)n + 1);
        vsnprintf(big, (size_t)n + 1, fmt, again);
        made = str_intern_n(t, big, (size_t)n);
    }
    va_end(again);
    return made;
}
