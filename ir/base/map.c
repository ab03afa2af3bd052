/*
 * map.c: open addressing with linear probing; at most half full.
 */
#include "map.h"

static uint32_t home(const Map *m, uint64_t key)
{
    uint64_t h = key * 0x9e3779b97f4a7c15u;
    return (uint32_t)(h >> 32) & (m->nslots - 1);
}

static void insert(Map *m, uint64_t key, uint32_t value)
{
    uint32_t i = home(m, key);
    while (m->at[i].used)
        i = (i + 1) & (m->nslots - 1);
    m->at[i] = (MapEntry){key, value, 1};
}

/* Entries of one key must keep their order: walk each cluster from its start,
 * which is the slot after a free one. */
static void grow(Map *m)
{
    MapEntry *old = m->at;
    uint32_t n = m->nslots, start = 0;
    m->nslots = n * 2;
    m->at = NEW_ARRAY(m->arena, MapEntry, m->nslots);
    while (start < n && old[start].used)
        start++;
    for (uint32_t i = 0; i < n; i++) {
        MapEntry *e = &old[(start + i) & (n - 1)];
        if (e->used) insert(m, e->key, e->value);
    }
}

void map_init(Map *m, Arena *arena)
{
    *m = (Map){.arena = arena, .nslots = 64};
    m->at = NEW_ARRAY(arena, MapEntry, m->nslots);
}

void map_add(Map *m, uint64_t key, uint32_t value)
{
    if (m->n * 2 >= m->nslots) grow(m);
    insert(m, key, value);
    m->n++;
}

static bool advance(const Map *m, MapIter *it, uint32_t *value)
{
    for (; m->at[it->slot].used; it->slot = (it->slot + 1) & (m->nslots - 1)) {
        if (m->at[it->slot].key != it->key) continue;
        *value = m->at[it->slot].value;
        it->slot = (it->slot + 1) & (m->nslots - 1);
        return true;
    }
    return false;
}

bool map_first(const Map *m, uint64_t key, MapIter *it, uint32_t *value)
{
    *it = (MapIter){key, home(m, key)};
    return advance(m, it, value);
}

bool map_next(const Map *m, MapIter *it, uint32_t *value)
{
    return advance(m, it, value);
}

void map_set(Map *m, uint64_t key, uint32_t value)
{
    uint32_t i = home(m, key);
    for (; m->at[i].used; i = (i + 1) & (m->nslots - 1)) {
        if (m->at[i].key != key) continue;
        m->at[i].value = value;
        return;
    }
    map_add(m, key, value);
}
