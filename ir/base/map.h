/*
 * map.h: a hash map from 64-bit keys to 32-bit values, in an arena.
 *
 * For interning: hash the content, look up candidates with map_first and
 * map_next, compare, and map_add.  Several entries may have the same key;
 * they come in the order in which they were added.
 */
#ifndef TITAN_BASE_MAP_H
#define TITAN_BASE_MAP_H

#include <stdbool.h>

#include "arena.h"

typedef struct MapEntry {
    uint64_t key;
    uint32_t value;
    uint32_t used;
} MapEntry;

typedef struct Map {
    Arena *arena;
    MapEntry *at;
    uint32_t n, nslots;
} Map;

typedef struct MapIter {
    uint64_t key;
    uint32_t slot;
} MapIter;

void map_init(Map *m, Arena *arena);
void map_add(Map *m, uint64_t key, uint32_t value);
/* The first value of a key; false when there is none. */
bool map_first(const Map *m, uint64_t key, MapIter *it, uint32_t *value);
bool map_next(const Map *m, MapIter *it, uint32_t *value);

/* For maps with one value a key. */
static inline bool map_find(const Map *m, uint64_t key, uint32_t *value)
{
    MapIter it;
    return map_first(m, key, &it, value);
}
void map_set(Map *m, uint64_t key, uint32_t value);

#endif
