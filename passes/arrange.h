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

/* Gives each buffer of a base its offset (by its number in LIVE); returns the
 * bytes that they take together, the most of any rank. */
int64_t arrange(const Module *m, const Live *live, Base base, int64_t *offsets,
                Arena *a);

#endif
