/*
 * arrange.h: places of temporaries in the frame, or in a lane.
 */
#ifndef TITAN_ARRANGE_H
#define TITAN_ARRANGE_H

#include "pass.h"

/* Places begin at multiples of this. */
enum { PLACE_ALIGN = 256 };
static inline int64_t place_aligned(int64_t n)
{
    return (n + PLACE_ALIGN - 1) & -(int64_t)PLACE_ALIGN;
}

/* Room for which the lowest peak is looked for. */
enum { LOWEST = -1 };

/* Gives each buffer of a base its offset (by its number in LIVE); returns the
 * bytes that they take together, the most of any rank.  Where only that counts
 * whether they fit ROOMS, by rank, no better is looked for when that is known;
 * NULL: the lowest peak. */
int64_t arrange(const Module *m, const Live *live, Base base,
                const int64_t *rooms, int64_t *offsets, Arena *a);

/* The ends of what has a place, of each base of the device, together, the most
 * of any rank. */
int64_t planned_bytes(Module *m);

#endif
