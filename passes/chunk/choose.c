/*
 * choose.c: how many parts take the least time.
 *
 * A collective and the products next to it take turns: with N parts one of each
 * stands alone, and beside the others the longer of both counts.  Parts cost: a
 * collective begins when all devices are there, and runs slower beside
 * products; these lack the processors that it takes, and the last wave of their
 * tiles may be mostly empty.
 */
#include "chunk.h"

enum { MOST_PARTS = 16, MOST_STEPS = 4 };
static const double worth = 0.95; /* of the time in one piece */

double chunk_talk_time(const Chunk *c, Value v, int64_t parts)
{
    const Inst *in = inst_of(c->fn, v);
    int64_t from = type_bytes(c->m, value_type(c->fn, inst_arg(c->fn, in, 0)));
    int64_t to = type_bytes(c->m, in->type);
    double bytes = (double)(from > to ? from : to);
    return c->on.meet +
           bytes / (double)parts / (parts > 1 ? c->on.link : c->on.alone);
}

double chunk_product_time(const Chunk *c, Value v, int64_t parts)
{
    const Inst *in = inst_of(c->fn, v);
    Type all = type_union(c->m, value_type(c->fn, inst_arg(c->fn, in, 0)),
                          value_type(c->fn, inst_arg(c->fn, in, 1)));
    double flops = 2 * (double)type_elements(c->m, all) / (double)parts;
    double tiles = c->on.tiles - (parts > 1 ? c->on.taken : 0);
    double waves = (double)type_elements(c->m, in->type) / (double)parts /
                   TILE_ELEMENTS / tiles;
    double whole = (double)(int64_t)waves;
    if (whole < waves) whole++;
    return c->on.launch +
           flops / c->on.flops * c->on.tiles / tiles * whole / waves;
}

bool chunk_divides(const Chunk *c, Value product)
{
    const double most = 1.1;
    int64_t n = c->rows.devices;
    double whole = chunk_product_time(c, product, 1) - c->on.launch;
    /* nothing takes processors from them */
    Chunk alone = *c;
    alone.on.taken = 0;
    double part = chunk_product_time(&alone, product, n) - c->on.launch;
    return c->always || ((double)n * part <= most * whole &&
                         part + c->on.launch >= c->on.meet);
}

/* Until all parts of a product are there: those for other devices are made
 * first, each in N steps, which follow each other over the link; behind them
 * its own. */
static double steps_time(const Chunk *c, Value exchanged, Value product,
                         int64_t n)
{
    Chunk alone = *c;
    alone.on.taken = 0;
    int64_t devices = c->rows.devices;
    double bytes = (double)type_bytes(c->m, value_type(c->fn, exchanged)) /
                   (double)(devices * n);
    double makes = chunk_product_time(&alone, product, devices * n);
    double moves = c->on.meet + bytes / c->on.alone, made = 0, moved = 0;
    for (int64_t i = 0; i < (devices - 1) * n; i++) {
        made += makes;
        moved = (moved > made ? moved : made) + moves;
    }
    made += chunk_product_time(&alone, product, devices);
    return made > moved ? made : moved;
}

int64_t chunk_steps(const Chunk *c, Value exchanged, Value product)
{
    int64_t best = 1;
    if (c->steps) return c->rows.part % c->steps ? 1 : c->steps;
    double least = worth * steps_time(c, exchanged, product, 1);
    for (int64_t n = 2; n <= MOST_STEPS && c->rows.part % n == 0; n *= 2) {
        double time = steps_time(c, exchanged, product, n);
        if (time >= least) continue;
        best = n;
        least = worth * time;
    }
    return best;
}

/* The products that a value is cut with: behind a gather, in front of a sum. */
static double beside(const Chunk *c, Value v, bool behind, bool *seen,
                     int64_t parts)
{
    const Inst *in = inst_of(c->fn, v);
    double time = 0;
    if (seen[v.id]) return 0;
    seen[v.id] = true;
    if (in->op == OP_einsum) return chunk_product_time(c, v, parts);
    if (behind) {
        for (uint32_t u = c->uses.first[v.id]; u < c->uses.first[v.id + 1]; u++)
            if (c->cuts[c->uses.at[u].id])
                time += beside(c, c->uses.at[u], behind, seen, parts);
        return time;
    }
    for (uint32_t k = 0; k < in->nargs; k++)
        if (c->cuts[inst_arg(c->fn, in, k).id])
            time += beside(c, inst_arg(c->fn, in, k), behind, seen, parts);
    return time;
}

static double turns_time(const Chunk *c, Value v, int64_t parts)
{
    ArenaMark mark = arena_mark(c->m->scratch);
    bool *seen = NEW_ARRAY(c->m->scratch, bool, c->fn->ninsts);
    bool gathers = inst_of(c->fn, v)->op == OP_all_gather;
    double work = beside(c, v, gathers, seen, parts);
    double talk = chunk_talk_time(c, v, parts);
    arena_pop(c->m->scratch, mark);
    return talk + work + (double)(parts - 1) * (work > talk ? work : talk);
}

int64_t chunk_choose(const Chunk *c)
{
    int64_t best = 1;
    double least = 0;
    for (int64_t n = 1; n <= MOST_PARTS && n <= c->size; n++) {
        double time = 0;
        if (c->size % n != 0) continue;
        for (uint32_t i = 0; i < c->fn->ninsts; i++)
            if (c->meets[i]) time += turns_time(c, (Value){i}, n);
        if (n > 1 && time >= least) continue;
        best = n;
        least = n > 1 ? time : worth * time;
    }
    return best;
}
