/*
 * matmul_choose.c: who makes a matrix product, and with which tile.
 *
 * Times are guessed as waves of tiles times what a tile costs a processor: its
 * sums at the rate that its shape was measured to reach, and its beginning and
 * end, unless they lie under another tile's sums.
 */
#include "matmul.h"

#include <string.h>

typedef struct Rate {
    const char *tile;
    double rate; /* TFLOP/s on large products; ratios count alone */
} Rate;

static const Rate rates[] = {
    {"128x256", 800}, {"256x128", 780}, {"192x192", 700},  {"128x192", 740},
    {"256x192", 760}, {"128x128", 660}, {"128x128t", 700}, {"128x192t", 760},
    {"64x256t", 600}, {"64x256", 500},  {"64x128", 400},   {"64x64", 300},
};

/* Plain products are the library's. */
static bool is_library(const char *maker)
{
    return !maker || strcmp(maker, "library") == 0 ||
           strcmp(maker, "fused") == 0;
}

bool matmul_maker_known(const char *text)
{
    return is_library(text) || strcmp(text, "generated") == 0 ||
           matmul_tile_find(text);
}

static double rate_of(const MatmulTile *t)
{
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++)
        if (strcmp(rates[i].tile, t->name) == 0) return rates[i].rate;
    BUG("no rate is known of the tile %s", t->name);
}

/* Microseconds. */
static double cost_of(const Matmul *p)
{
    const MatmulTile *t = &p->t;
    double together = SM90_PROCESSORS * (t->turns ? t->groups : 1);
    double waves =
        (double)((p->tiles + (int64_t)together - 1) / (int64_t)together);
    double sums = 2.0 * t->m * t->n * MATMUL_K * (double)p->steps;
    double each = sums * together / (rate_of(t) * 1e6);
    return waves * (each + (t->turns ? 0.3 : 1.0)) + 3;
}

static bool choose_best(Module *m, const Fn *group, const KernelArg *args,
                        Matmul *out)
{
    const MatmulTile *all;
    uint32_t n = matmul_tiles(&all);
    double best = 0;
    Matmul p;
    for (uint32_t i = 0; i < n; i++) {
        if (!matmul_plan(m, group, args, &all[i], &p)) continue;
        double cost = cost_of(&p);
        if (best != 0 && cost >= best) continue;
        best = cost;
        *out = p;
    }
    return best != 0;
}

bool matmul_choose(const char *maker, Module *m, const Fn *group,
                   const KernelArg *args, Matmul *out)
{
    bool plain = fn_is(m, group, FK_matmul);
    if (plain && is_library(maker)) return false;
    const MatmulTile *forced =
        is_library(maker) ? NULL : matmul_tile_find(maker);
    if (forced && matmul_plan(m, group, args, forced, out)) return true;
    return !(plain && forced) && choose_best(m, group, args, out);
}
