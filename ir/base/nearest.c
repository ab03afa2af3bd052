/*
 * nearest.c: the optimal string alignment distance: letters added, left out,
 * replaced, or swapped with their neighbour.
 */
#include "nearest.h"

#include <string.h>

enum { LONGEST = 63 };

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned m = a < b ? a : b;
    return m < c ? m : c;
}

static unsigned distance(const char *a, const char *b)
{
    size_t m = strlen(a), n = strlen(b);
    if (m > LONGEST || n > LONGEST) return LONGEST;
    unsigned row[3][LONGEST + 1];
    for (unsigned j = 0; j <= n; j++)
        row[0][j] = j;
    for (unsigned i = 1; i <= m; i++) {
        unsigned *now = row[i % 3], *up = row[(i + 2) % 3];
        now[0] = i;
        for (unsigned j = 1; j <= n; j++) {
            unsigned cost = a[i - 1] != b[j - 1];
            now[j] = min3(up[j] + 1, now[j - 1] + 1, up[j - 1] + cost);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = min3(now[j], row[(i + 1) % 3][j - 2] + 1, now[j]);
        }
    }
    return row[m % 3][n];
}

Nearest nearest_to(const char *word)
{
    unsigned n = (unsigned)strlen(word);
    unsigned most = n < 3 ? 1 : n < 9 ? 2 : n / 3;
    return (Nearest){.word = word, .distance = most + 1};
}

void nearest_try(Nearest *n, const char *candidate)
{
    unsigned d = distance(n->word, candidate);
    if (d >= n->distance || d >= strlen(candidate)) return;
    n->distance = d;
    n->best = candidate;
}
