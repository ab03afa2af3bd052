/*
 * census.c: counts of what is not finite.
 *
 * Nearly everything is finite, so the exponents of a block are looked at as
 * integers, in loops of a fixed length that become vectors; only where one is
 * all ones is the block widened and counted.
 */
#include "census.h"

#include "narrow.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BLOCK = 1024 };
enum {
#define DTYPE(name, bytes, cls, st) D_##name,
#include "dtypes.def"
#undef DTYPE
};

static void count_one(Census *c, unsigned may, double x, int64_t number)
{
    int64_t *counter = isnan(x) ? &c->nan : x > 0 ? &c->plus : &c->minus;
    if (counter == &c->plus && may & TITAN_MAY_plus) return;
    if (counter == &c->minus && may & TITAN_MAY_minus) return;
    if (!census_bad(c)) c->first = number;
    ++*counter;
}

/* Whether some exponent of a whole block is all ones. */
static bool suspicious4(const char *at)
{
    uint32_t x[BLOCK], found = 0;
    memcpy(x, at, sizeof x);
    for (int i = 0; i < BLOCK; i++)
        found |= ((x[i] & 0x7f800000u) + 0x800000u) & 0x80000000u;
    return found != 0;
}

static bool suspicious2(const char *at, uint16_t exponent)
{
    uint16_t x[BLOCK], found = 0, one = exponent & (uint16_t)-exponent;
    memcpy(x, at, sizeof x);
    for (int i = 0; i < BLOCK; i++)
        found |= (uint16_t)((uint16_t)(x[i] & exponent) + one) & 0x8000u;
    return found != 0;
}

static bool is_clean(uint32_t dtype, const char *at)
{
    if (dtype == D_f32) return !suspicious4(at);
    if (dtype == D_bf16) return !suspicious2(at, 0x7f80);
    return dtype == D_f16 && !suspicious2(at, 0x7c00);
}

static void count_floats(Census *c, unsigned may, const float *x, int64_t n)
{
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
        bool clean = count == BLOCK && is_clean(dtype, from);
        if (!clean && bytes == 8) {
            count_doubles(c, may, from, count);
        } else if (!clean) {
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
