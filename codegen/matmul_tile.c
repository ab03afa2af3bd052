/*
 * matmul_tile.c: the tiles of generated matmuls by their names.
 *
 *     128x192tv s4 a1 c32 r8, written without spaces
 *
 * is 128 rows by 192 columns; t: two warpgroups take turns; v, h: pairs of
 * blocks below or beside each other; stages, chunks ahead, columns of a chunk
 * and raster at most.
 * What is not said is as much as there is room for, or what is usually best.
 */
#include "matmul.h"

#include <string.h>

enum {
    MOST_SUMS = 192, /* registers of a thread for its sums */
    MOST_STAGES = 8,
    MOST_AHEAD = 8,
    MOST_CHUNK = 64,
    RASTER_ROWS = 2048
};

static const MatmulRate rates[] = {
#define TILE(name, plain, writes, reads) {name, plain, writes, reads},
#include "tiles.def"
#undef TILE
};

uint32_t matmul_rates(const MatmulRate **out)
{
    *out = rates;
    return sizeof rates / sizeof *rates;
}

static bool take(const char **at, char c)
{
    if (**at != c) return false;
    ++*at;
    return true;
}

/* A number of 1 to `most`. */
static bool take_number(const char **at, uint32_t most, uint32_t *out)
{
    uint32_t n = 0;
    if (**at < '1' || **at > '9') return false;
    for (; **at >= '0' && **at <= '9' && n <= most; ++*at)
        n = 10 * n + (uint32_t)(**at - '0');
    *out = n;
    return n <= most;
}

static bool take_option(const char **at, char key, uint32_t most, uint32_t *out)
{
    return !take(at, key) || take_number(at, most, out);
}

/* Warpgroups have at most 64 rows of 256, or 128 of 192; of three, each has
 * fewer registers. */
static bool has_shape(const MatmulTile *t)
{
    uint32_t rows = t->turns ? t->m : t->m / t->groups;
    uint32_t sums = rows / 64 * t->n / 2;
    return t->m % 64 == 0 && rows % 64 == 0 && t->n % 32 == 0 && t->n <= 256 &&
           sums <= (t->groups == 3 ? MOST_SUMS / 2 : MOST_SUMS);
}

bool matmul_tile(const char *name, MatmulTile *out)
{
    MatmulTile t = {.stages = MOST_STAGES, .chunk = MOST_CHUNK};
    const char *at = name;
    size_t length = strlen(name);
    if (length >= sizeof t.name) return false;
    memcpy(t.name, name, length + 1);
    if (!take_number(&at, 256, &t.m) || !take(&at, 'x') ||
        !take_number(&at, 256, &t.n))
        return false;
    t.turns = take(&at, 't');
    t.pair = take(&at, 'v')   ? MATMUL_DOWN
             : take(&at, 'h') ? MATMUL_ACROSS
                              : MATMUL_ALONE;
    t.groups = t.turns ? 2 : t.m == 64 ? 1 : t.m == 192 ? 3 : 2;
    t.ahead = t.turns ? 4 : 2;
    t.raster = RASTER_ROWS / (t.m * (t.pair == MATMUL_DOWN ? 2 : 1));
    *out = t;
    return take_option(&at, 's', MOST_STAGES, &out->stages) &&
           take_option(&at, 'a', MOST_AHEAD, &out->ahead) &&
           take_option(&at, 'c', MOST_CHUNK, &out->chunk) &&
           (out->chunk & (out->chunk - 1)) == 0 &&
           take_option(&at, 'r', 1024, &out->raster) && !*at && has_shape(&t);
}
