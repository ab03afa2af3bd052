/*
 * census.h: counts of what is not finite.
 */
#ifndef TITAN_CENSUS_H
#define TITAN_CENSUS_H

#include "titan.h"

typedef struct Census {
    int64_t n, nan, plus, minus;
    int64_t first; /* number of the first that is bad, in order */
} Census;

/* Adds N elements of a float dtype that lie one after the other.  MAY: bits of
 * TITAN_MAY_, infinities that are not counted. */
void census_add(Census *c, uint32_t dtype, unsigned may, const char *at,
                int64_t n);
static inline bool census_bad(const Census *c)
{
    return c->nan || c->plus || c->minus;
}
/* "5 of 16 elements are nan, 1 inf; the first is number 3".  Returns TEXT. */
const char *census_words(const Census *c, char *text, size_t size);

#endif
