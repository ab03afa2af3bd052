/*
 * matmul_choose.c: who makes a matrix product, and with which tile.
 *
 * Times are guessed as waves of tiles times what a tile costs a processor.  The
 * rates are what large products of the tile were measured to reach on an H200
 * that is warm, alone and with maps of several values, everything at the end of
 * a tile included.
 */
#include "matmul.h"

#include <string.h>

typedef struct Rate {
    const char *tile;
    double alone, maps; /* TFLOP/s; ratios count alone */
} Rate;

static const Rate rates[] = {
    {"128x256", 690, 560},  {"256x128", 690, 575},  {"192x192", 685, 500},
    {"128x192", 640, 500},  {"256x192", 680, 500},  {"128x128", 600, 520},
    {"128x128t", 690, 660}, {"128x192t", 706, 500}, {"64x256t", 540, 470},
    {"64x256", 480, 400},   {"64x128", 400, 330},   {"64x64", 300, 250},
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

static double rate_of(const Matmul *p)
{
    bool plain = fn_is(p->m, p->group, FK_matmul);
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++)
        if (strcmp(rates[i].tile, p->t.name) == 0)
            return plain ? rates[i].alone : rates[i].maps;
    BUG("no rate is known of the tile %s", p->t.name);
}

/* Microseconds.  Groups that take turns share a processor, so a tile costs it
 * what it would cost one group alone. */
static double cost_of(const Matmul *p)
{
    const MatmulTile *t = &p->t;
    int64_t waves = (p->tiles + SM90_PROCESSORS - 1) / SM90_PROCESSORS;
    double sums = 2.0 * t->m * t->n * MATMUL_K * (double)p->steps;
    double each = sums * SM90_PROCESSORS / (rate_of(p) * 1e6);
    return (double)waves * each + 3;
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
