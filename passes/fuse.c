/*
 * fuse.c: put the ops of every function into groups, each one kernel.
 *
 *   needs    local view, types of what one device holds
 *   gives    every op of an entry, a repeat's body or a condition is in a group
 *            function (a local function with a `kind`), but for names and
 *            places (rename, split, merge, slice, pick, concat, stack, proj),
 *            repeats, coordinates, sends and receives
 *   keeps    every rounding; the value of every result; what is in front of a
 *            send or receive, and what is behind it
 *   result   docs/architecture.md, "Groups", with the rules G1 to G7
 *
 * Options: `target`; for a GPU, attention stays one group of kind tile.
 * `matmul`, who makes matrix products: unless it is the library, and on a GPU
 * that can, groups of kind product. `tile-bytes`: the largest intermediate
 * value of a region, about.  `at-hand`: of a GPU, the elements of all rows that
 * run side by side.
 *
 * A function is prepared (every op one that a group kind takes; regions put in
 * place or cut into tiles), turned into a graph, clustered, and outlined.
 * Bodies of repeats are functions like any other; those that the cutting of
 * regions appends are reached by the same walk.
 *
 * What a rule for a new op has to say: its node kind (graph.c), and, if it is a
 * loop op, whether it moves elements and whether it reads each once
 * (cluster.c).
 */
#include "fuse/fuse.h"

/* What stays in a core's cache; what keeps a whole GPU busy. */
enum { TILE_BYTES = 1 << 20, GPU_TILE_BYTES = 1 << 26 };
/* Elements of the rows that a GPU has in its registers at a time. */
enum { AT_HAND = 1 << 21 };

static bool is_grouped(const Module *m, const Fn *fn)
{
    return fn->view != VIEW_local ||
           (!fn_is(m, fn, FK_none) && !fn_is(m, fn, FK_rank) &&
            !fn_is_tile(m, fn));
}

/* Regions that were put in place or cut are called by nobody. */
static void drop_regions(Module *m)
{
    bool *roots = NEW_ARRAY(m->scratch, bool, (size_t)m->fns.n + 1);
    for (uint32_t i = 0; i < m->fns.n; i++)
        roots[i] = !is_grouped(m, m->fns.at[i]);
    module_sweep(m, roots);
}

bool pass_fuse(Module *m, PassCtx *cx)
{
    Fuse fx = {.m = m, .cx = cx, .a = m->scratch};
    fx.gpu = !strncmp(pass_option(m, cx, "target", "host"), "sm_", 3);
    const char *maker = pass_option(m, cx, "matmul", "library");
    fx.products = strcmp(maker, "library") != 0 &&
                  !strcmp(pass_option(m, cx, "target", "host"), "sm_90a");
    fx.crosses = !strcmp(pass_option(m, cx, "target", "host"), "sm_90a");
    fx.tile_bytes = pass_option_int(m, cx, "tile-bytes",
                                    fx.gpu ? GPU_TILE_BYTES : TILE_BYTES);
    fx.at_hand = fx.gpu ? pass_option_int(m, cx, "at-hand", AT_HAND) : 0;
    fx.outer = outer_axes(m, fx.a);
    map_init(&fx.groups, fx.a);
    map_init(&fx.twins, fx.a);
    for (uint32_t i = 0; i < m->fns.n; i++)
        if (!is_grouped(m, m->fns.at[i])) fuse_sink(&fx, i);
    for (uint32_t i = 0; i < m->fns.n; i++)
        if (!is_grouped(m, m->fns.at[i])) fuse_ahead(&fx, i);
    for (uint32_t i = 0; i < m->fns.n; i++) {
        Fn *fn = m->fns.at[i];
        if (is_grouped(m, fn)) continue;
        fn = fuse_prepare(&fx, fn);
        if (!fn) return false;
        Graph *g = fuse_graph(&fx, fn_without_unneeded(m, fn));
        fuse_cluster(g);
        fn = fuse_outline(g); /* appends groups: the table may move */
        m->fns.at[i] = fn;
    }
    drop_regions(m);
    return true;
}
