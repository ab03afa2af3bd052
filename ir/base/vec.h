/*
 * vec.h: growable arrays in an arena.
 *
 *     VEC(Value) args = {0};
 *     vec_push(arena, &args, v);          args.at[0], args.n
 *
 * Growing copies to a new place in the arena; the old place stays readable
 * until the arena goes.
 */
#ifndef TITAN_BASE_VEC_H
#define TITAN_BASE_VEC_H

#include <string.h>

#include "arena.h"

#define VEC(T)                                                                 \
    struct {                                                                   \
        T *at;                                                                 \
        uint32_t n, cap;                                                       \
    }

static inline void *vec_grown(Arena *a, void *at, uint32_t n, uint32_t *cap,
                              uint32_t need, size_t size)
{
    if (need <= *cap) return at;
    uint32_t want = *cap ? *cap * 2 : 8;
    if (want < need) want = need;
    void *p = arena_array(a, want, size);
    if (n) memcpy(p, at, (size_t)n * size);
    *cap = want;
    return p;
}

/* Room for `more` further elements. */
#define vec_reserve(arena, v, more)                                            \
    ((v)->at = vec_grown((arena), (v)->at, (v)->n, &(v)->cap,                  \
                         (v)->n + (uint32_t)(more), sizeof *(v)->at))

#define vec_push(arena, v, x)                                                  \
    (vec_reserve((arena), (v), 1), (v)->at[(v)->n++] = (x))

#define vec_last(v) ((v)->at[(v)->n - 1])

#endif
