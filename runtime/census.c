/*
 * census.c: counts of what is not finite.
 *
 * Rows are widened block by block, and a block whose sum of absolute values
 * times zero is zero has nothing to count: one pass that vectorises for what
 * is finite, which is nearly everything.
 */
#include "census.h"

#include "narrow.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BLOCK = 1024 };

static void count_one(Census *c, unsigned may, double x, int64_t number)
{
    int64_t *counter = isnan(x) ? &c->nan : x > 0 ? &c->plus : &c->minus;
    if (counter == &c->plus && may & TITAN_MAY_plus) return;
    if (counter == &c->minus && may & TITAN_MAY_minus) return;
    if (!census_bad(c)) c->first = number;
    ++*counter;
}

static void count_floats(Census *c, unsigned may, const float *x, int64_t n)
{
    float zero = 0;
    for (int64_t i = 0; i < n; i++)
        zero += x[i] * 0;
    if (zero == 0) return;
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i])) count_one(c, may, x[i], c->n + i);
}

static void count_doubles(Census *c, unsigned may, const char *at, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double x;
        memcpy(&x, at + 8 * i, 8);
        if (!isfinite(x)) count_one(c, may, x, c->n + i);
    }
}

void census_add(Census *c, uint32_t dtype, unsigned may, const char *at,
                int64_t n)
{
    unsigned bytes = titan_dtype_bytes(dtype);
    float row[BLOCK];
    for (int64_t done = 0; done < n; done += BLOCK) {
        int64_t count = n - done < BLOCK ? n - done : BLOCK;
        const char *from = at + done * bytes;
        if (bytes == 8) {
            count_doubles(c, may, from, count);
        } else {
            narrow_load(dtype, from, row, count);
            count_floats(c, may, row, count);
        }
        c->n += count;
    }
}

const char *census_words(const Census *c, char *text, size_t size)
{
    const struct {
        int64_t n;
        const char *word;
    } kinds[] = {{c->nan, "nan"}, {c->plus, "inf"}, {c->minus, "-inf"}};
    size_t at = 0;
    bool any = false;
    for (size_t i = 0; i < 3 && at < size; i++) {
        if (!kinds[i].n) continue;
        at += (size_t)snprintf(text + at, size - at, "%s%" PRId64 " %s",
                               any ? ", " : "", kinds[i].n, kinds[i].word);
        any = true;
    }
    if (at < size)
        snprintf(text + at, size - at,
                 " among %" PRId64 " elements, the first at %" PRId64, c->n,
                 c->first);
    return text;
}
