/*
 * matmul_choose.c: who makes a matrix product, and with which tile.
 *
 * What was measured decides: a table of choices (matmul_table.c).  Of what it
 * does not know plain products are the library's, and for others times are
 * guessed as waves of tiles times what a tile costs a processor, by the rates
 * of tiles.def.
 */
#include "codegen.h"
#include "matmul.h"

#include <string.h>

/* Plain products are the library's. */
static bool is_library(const char *maker)
{
    return !maker || strcmp(maker, "library") == 0 ||
           strcmp(maker, "fused") == 0;
}

bool matmul_maker_known(const char *text)
{
    return is_library(text) || strcmp(text, "generated") == 0 ||
           strcmp(text, "tuned") == 0 || matmul_tile(text, &(MatmulTile){0});
}

static double rate_of(const Matmul *p, const MatmulRate *r)
{
    return fn_is(p->m, p->group, FK_matmul) ? r->plain
           : p->fetched                     ? r->reads
                                            : r->writes;
}

/* Microseconds.  Groups that take turns share a processor, so a tile costs it
 * what it would cost one group alone. */
static double cost_of(const Matmul *p, const MatmulRate *r)
{
    const MatmulTile *t = &p->t;
    int64_t at_once = p->processors / p->blocks;
    int64_t waves = (p->tiles + at_once - 1) / at_once;
    /* a stage of eight-bit numbers takes as long as one of sixteen */
    double sums = 2.0 * t->m * t->n * MATMUL_K * (double)p->steps;
    double each = sums * SM90_PROCESSORS / (rate_of(p, r) * 1e6);
    return (double)waves * each + 3;
}

/* A plan for the processors that a product may use. */
static bool plan(const CodegenOpts *o, Module *m, const Fn *group,
                 const KernelArg *args, const MatmulTile *t, Matmul *out)
{
    if (!matmul_plan(m, group, args, t, out)) return false;
    if (o->processors && o->processors < SM90_PROCESSORS)
        out->processors = o->processors;
    return out->processors >= out->blocks;
}

static bool choose_best(const CodegenOpts *o, Module *m, const Fn *group,
                        const KernelArg *args, Matmul *out)
{
    const MatmulRate *all;
    uint32_t n = matmul_rates(&all);
    double best = 0;
    MatmulTile t;
    Matmul p;
    for (uint32_t i = 0; i < n; i++) {
        if (!matmul_tile(all[i].tile, &t) || !plan(o, m, group, args, &t, &p))
            continue;
        double cost = cost_of(&p, &all[i]);
        if (best != 0 && cost >= best) continue;
        best = cost;
        *out = p;
    }
    return best != 0;
}

static const char *built_in(const CodegenOpts *o)
{
    for (const TuneTable *t = tune_tables; t->target; t++)
        if (strcmp(t->target, target_name(o->target)) == 0) return t->text;
    return "";
}

static void remark(const Matmul *p, const char *key, const char *maker,
                   const char *why)
{
    Module *m = p->m;
    diag_remark(m->diag, "codegen", false, loc_span(m, p->group->loc),
                "%s = %s, %s", key, maker, why);
}

/* The library asks for lines of whole units of 16 bytes, not only at such
 * distances. */
static bool is_cut(const Gemm *g)
{
    enum { UNIT = 16 };
    int64_t a = g->a_col == 1 ? g->k : g->m, b = g->b_row == 1 ? g->k : g->n;
    return a * dtype_bytes(g->a) % UNIT || b * dtype_bytes(g->b) % UNIT ||
           g->n * dtype_bytes(g->d) % UNIT;
}

/* OUT is the best by the rates of tiles; the table knows better. */
static bool choose_measured(const CodegenOpts *o, const KernelArg *args,
                            Matmul *out)
{
    bool plain = fn_is(out->m, out->group, FK_matmul);
    bool cut = plain && is_cut(&out->g);
    bool may = plain && strcmp(o->matmul, "tuned") == 0 && !cut;
    MatmulChoice c;
    MatmulTile t;
    Matmul p;
    Buf key = {0};
    matmul_key(out, &key);
    bool found = matmul_table_find(o->tune ? o->tune : built_in(o), key.at, &c);
    bool made = !may;
    const char *why = cut ? "by the rates of tiles: lines are no whole units"
                          : "by the rates of tiles";
    if (found && matmul_tile(c.maker, &t) &&
        plan(o, out->m, out->group, args, &t, &p)) {
        *out = p;
        made = true;
        why = c.exact ? "as measured" : "as measured of its neighbour";
    } else if (may) {
        why = !found    ? "nothing is measured"
              : c.exact ? "as measured"
                        : "as measured of its neighbour";
    }
    remark(out, key.at, made ? out->t.name : "library", why);
    buf_release(&key);
    return made;
}

bool matmul_choose(const CodegenOpts *o, Module *m, const Fn *group,
                   const KernelArg *args, Matmul *out)
{
    bool plain = fn_is(m, group, FK_matmul);
    if (plain && is_library(o->matmul)) return false;
    MatmulTile tile;
    bool forced = o->matmul && matmul_tile(o->matmul, &tile);
    if (forced && plan(o, m, group, args, &tile, out)) return true;
    return !(plain && forced) && choose_best(o, m, group, args, out) &&
           choose_measured(o, args, out);
}
