/*
 * tally.c: reductions of what product groups make, in two parts.
 *
 *     %y                  a product group's                 [row, column]
 *     %a = map %y { abs(f32(_0)) }
 *     %s = reduce %a kind max axes (row, column)
 *
 * A kernel that does nothing but such maps and reductions reads %y again for
 * them.  The product has it in registers, so its group gives a tally
 * (ir/column.h) for each row and so many columns, and the reduction is one of
 * those, in an order of its own.  A kernel that needs %y for something else too
 * reads it anyway, and stays as it is.
 *
 * A loop group that makes %y and finds its maximum is cut in two, if a product
 * takes the maps then (product.c).
 */
#include "fuse.h"

#include <string.h>

enum { MOST_TALLIES = 2, MOST_COLUMNS = 64, LEAST_COLUMNS = 16 };

typedef struct Tally {
    Graph *g;
    uint32_t cluster; /* that may read nothing but a product's values */
    uint32_t product; /* the cluster that makes them; UINT32_MAX: not found */
    Numbers maps, reductions;
} Tally;

/* -------------------------------------------------------------- products -- */

/* Products and maps at their own index: no parts, and no blocks. */
static bool is_plain(const Graph *g, uint32_t cluster)
{
    const Cluster *c = &g->clusters[cluster];
    for (uint32_t i = 0; i < c->nodes.n; i++) {
        const Node *x = &g->nodes[c->nodes.at[i]];
        Op op = (Op)node_inst(g, c->nodes.at[i])->op;
        if (x->kind != NODE_product ||
            (op != OP_einsum && op != OP_map && !x->each))
            return false;
    }
    return true;
}

static uint32_t count_einsums(const Graph *g, uint32_t cluster)
{
    const Cluster *c = &g->clusters[cluster];
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->nodes.n; i++)
        n += node_inst(g, c->nodes.at[i])->op == OP_einsum;
    return n;
}

static uint32_t count_tallies(const Graph *g, uint32_t cluster)
{
    const Cluster *c = &g->clusters[cluster];
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->nodes.n; i++)
        n += g->nodes[c->nodes.at[i]].each > 0;
    return n;
}

/* Somebody but the cluster reads a value of the product from memory. */
static bool is_kept(const Tally *t)
{
    const Graph *g = t->g;
    const Cluster *c = &g->clusters[t->product];
    for (uint32_t i = 0; i < c->nodes.n; i++) {
        const Node *x = &g->nodes[c->nodes.at[i]];
        if (x->each) continue;
        if (x->result) return true;
        for (uint32_t u = 0; u < x->nusers; u++) {
            uint32_t by = g->nodes[x->users[u]].cluster;
            if (by != t->product && by != t->cluster) return true;
        }
    }
    return false;
}

/* --------------------------------------------------------------- cluster -- */

/* A value of the one product group, or one that is made of those here. */
static bool is_made(Tally *t, uint32_t node)
{
    const Graph *g = t->g;
    const Node *x = &g->nodes[node];
    if (is_listed(&t->maps, node)) return true;
    if (x->kind != NODE_product || x->each) return false;
    if (t->product == UINT32_MAX && is_plain(g, x->cluster))
        t->product = x->cluster;
    return t->product == x->cluster;
}

/* A map of the product's values alone, which only this cluster reads. */
static bool takes_map(Tally *t, uint32_t node)
{
    const Graph *g = t->g;
    const Node *x = &g->nodes[node];
    const Inst *in = node_inst(g, node);
    if (x->result || x->nargs == 0 || map_asks_index(g->fx->m, in, in->type) ||
        !dtype_fits_f32(type_dtype(g->fx->m, in->type)))
        return false;
    for (uint32_t a = 0; a < x->nargs; a++)
        if (!is_made(t, x->args[a])) return false;
    for (uint32_t u = 0; u < x->nusers; u++)
        if (g->nodes[x->users[u]].cluster != t->cluster) return false;
    vec_push(g->fx->a, &t->maps, node);
    return true;
}

/* Columns of a tally: they divide the axis, and the columns of every tile. */
static int64_t columns_of(const Tally *t, const Inst *in)
{
    const Module *m = t->g->fx->m;
    Type of = value_type(t->g->fn, inst_arg(t->g->fn, in, 0));
    const TypeInfo *ti = type_info(m, of);
    int64_t size = type_local_size(m, &ti->axes[ti->naxes - 1]);
    int64_t n = MOST_COLUMNS / count_einsums(t->g, t->product);
    while (size % n != 0)
        n /= 2;
    return n;
}

static bool is_along(const Module *m, const Inst *in, const TypeAxis *last)
{
    const AttrItem *axes = attr_get(m, in->attr, AT_axes);
    for (uint32_t i = 0; i < axes->n; i++)
        if (axes->axes[i].id == last->axis.id) return last->nsplits == 0;
    return false;
}

/* A reduction that goes along the last axis of what it reads, in f32. */
static bool may_tally(const Graph *g, uint32_t node)
{
    const Module *m = g->fx->m;
    const Inst *in = node_inst(g, node);
    const TypeInfo *ti =
        type_info(m, value_type(g->fn, inst_arg(g->fn, in, 0)));
    DType d = (DType)ti->dtype;
    bool kind = attr_is(m, in->attr, AT_kind, "sum") ||
                attr_is(m, in->attr, AT_kind, "max");
    return kind && !g->nodes[node].part && dtype_fits_f32(d) &&
           attr_dtype(m, in->attr, AT_acc, dtype_acc(d)) == DT_f32 &&
           dtype_fits_f32(type_dtype(m, in->type)) &&
           !type_info(m, in->type)->npending &&
           is_along(m, in, &ti->axes[ti->naxes - 1]) &&
           type_local_size(m, &ti->axes[ti->naxes - 1]) % LEAST_COLUMNS == 0;
}

static bool takes_reduction(Tally *t, uint32_t node)
{
    const Graph *g = t->g;
    if (!may_tally(g, node) || !is_made(t, g->nodes[node].args[0]))
        return false;
    vec_push(g->fx->a, &t->reductions, node);
    return true;
}

/* What is made of reductions and other small values. */
static bool stays(Tally *t, uint32_t node)
{
    const Node *x = &t->g->nodes[node];
    if (node_inst(t->g, node)->op != OP_map) return false;
    for (uint32_t a = 0; a < x->nargs; a++)
        if (is_made(t, x->args[a])) return false;
    return true;
}

/* Whether a map has as many axes as what the cluster reduces. */
static bool is_whole(const Tally *t, uint32_t node)
{
    const Graph *g = t->g;
    const Node *x = &g->nodes[node];
    const Inst *in = node_inst(g, node);
    if (in->op != OP_map || x->nargs == 0) return false;
    const Inst *of = node_inst(g, x->args[0]);
    return type_info(g->fx->m, in->type)->naxes ==
               type_info(g->fx->m, of->type)->naxes &&
           (is_listed(&t->maps, x->args[0]) ||
            g->nodes[x->args[0]].kind == NODE_product);
}

/* Operands come first. */
static bool takes_cluster(Tally *t)
{
    const Cluster *c = &t->g->clusters[t->cluster];
    for (uint32_t i = 0; i < c->nodes.n; i++) {
        uint32_t node = c->nodes.at[i];
        Op op = (Op)node_inst(t->g, node)->op;
        bool ok = op == OP_reduce     ? takes_reduction(t, node)
                  : is_whole(t, node) ? takes_map(t, node)
                                      : stays(t, node);
        if (!ok) return false;
    }
    return t->reductions.n > 0 &&
           t->reductions.n + count_tallies(t->g, t->product) <= MOST_TALLIES &&
           is_kept(t);
}

/* ---------------------------------------------------------------- moving -- */

/* The reduction is one of a tally of the product group. */
static void put_between(const Tally *t, uint32_t node)
{
    Graph *g = t->g;
    fuse_part(g, node,
              (Node){.kind = NODE_product,
                     .cluster = t->product,
                     .each = columns_of(t, node_inst(g, node))});
}

static void insert(Graph *g, uint32_t cluster, uint32_t node, NodeKind kind)
{
    Cluster *c = &g->clusters[cluster];
    vec_push(g->fx->a, &c->nodes, node);
    for (uint32_t k = c->nodes.n - 1;
         k > 0 && c->nodes.at[k - 1] > c->nodes.at[k]; k--) {
        c->nodes.at[k] = c->nodes.at[k - 1];
        c->nodes.at[k - 1] = node;
    }
    g->nodes[node].cluster = cluster;
    g->nodes[node].kind = kind;
}

static void move(const Tally *t)
{
    Graph *g = t->g;
    Cluster *c = &g->clusters[t->cluster];
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->nodes.n; i++)
        if (!is_listed(&t->maps, c->nodes.at[i]))
            c->nodes.at[n++] = c->nodes.at[i];
    c->nodes.n = n;
    for (uint32_t i = 0; i < t->maps.n; i++)
        insert(g, t->product, t->maps.at[i], NODE_product);
    for (uint32_t i = 0; i < t->reductions.n; i++)
        put_between(t, t->reductions.at[i]);
}

void fuse_tallies(Graph *g)
{
    uint32_t n = g->n;
    for (uint32_t c = 0; c < n; c++) {
        Tally t = {.g = g, .cluster = c, .product = UINT32_MAX};
        const Cluster *of = &g->clusters[c];
        if (of->nodes.n > 0 && g->nodes[of->nodes.at[0]].kind == NODE_loop &&
            takes_cluster(&t))
            move(&t);
    }
}

/* --------------------------------------------------------------- cutting -- */

/* Nodes of a cluster that are reductions, or are made of them; false: one of
 * those is as large as what is reduced, or no tally is a reduction's part.
 * Maxima alone, which are what numbers of eight bits are scaled by: sums beside
 * maps are row kernels, and their products stay with who makes them fastest. */
static bool find_late(const Graph *g, const Cluster *c, bool *late)
{
    const Module *m = g->fx->m;
    uint32_t most = 0, n = 0;
    for (uint32_t i = 0; i < c->nodes.n; i++) {
        uint32_t node = c->nodes.at[i];
        const Node *x = &g->nodes[node];
        const Inst *in = node_inst(g, node);
        uint32_t naxes = type_info(m, in->type)->naxes;
        late[i] = in->op == OP_reduce;
        for (uint32_t a = 0; a < x->nargs; a++)
            for (uint32_t k = 0; k < i; k++)
                late[i] |= late[k] && c->nodes.at[k] == x->args[a];
        if (in->op == OP_reduce
                ? !may_tally(g, node) || !attr_is(m, in->attr, AT_kind, "max")
                : in->op != OP_map || map_asks_index(m, in, in->type))
            return false;
        n += in->op == OP_reduce;
        if (!late[i]) most = naxes;
        if (late[i] && naxes >= most) return false;
    }
    return n > 0 && n <= MOST_TALLIES;
}

/* A map of the cluster's values that only what is late reads is not written. */
static bool goes_along(const Graph *g, const Cluster *c, uint32_t i,
                       const bool *late)
{
    const Node *x = &g->nodes[c->nodes.at[i]];
    DType d = type_dtype(g->fx->m, node_inst(g, c->nodes.at[i])->type);
    if (fuse_is_read_outside(g, c->nodes.at[i]) || !dtype_fits_f32(d))
        return false;
    for (uint32_t k = 0; k < c->nodes.n; k++)
        for (uint32_t u = 0; u < x->nusers; u++)
            if (!late[k] && x->users[u] == c->nodes.at[k]) return false;
    for (uint32_t a = 0; a < x->nargs; a++)
        if (g->nodes[x->args[a]].cluster != x->cluster) return false;
    return true;
}

bool fuse_cut(Graph *g, uint32_t cluster, uint32_t *maps)
{
    Cluster *c = &g->clusters[cluster];
    bool *late = NEW_ARRAY(g->fx->a, bool, (size_t)c->nodes.n + 1);
    bool written = false;
    if (c->nodes.n < 2 || !find_late(g, c, late)) return false;
    for (uint32_t i = c->nodes.n; i-- > 0;) {
        late[i] |= goes_along(g, c, i, late);
        written |= !late[i] && fuse_is_read_outside(g, c->nodes.at[i]);
    }
    if (!written) return false;
    *maps = c->nodes.at[c->nodes.at[0] == cluster];
    const Cluster whole = *c;
    c->nodes.n = c->nodes.cap = 0;
    c->nodes.at = NULL;
    for (uint32_t i = 0; i < whole.nodes.n; i++) {
        uint32_t node = whole.nodes.at[i], to = late[i] ? cluster : *maps;
        vec_push(g->fx->a, &g->clusters[to].nodes, node);
        g->nodes[node].cluster = to;
    }
    return true;
}

void fuse_uncut(Graph *g, uint32_t cluster, uint32_t maps)
{
    const Cluster from = g->clusters[maps];
    g->clusters[maps] = (Cluster){.mark = from.mark};
    for (uint32_t i = 0; i < from.nodes.n; i++)
        insert(g, cluster, from.nodes.at[i], NODE_loop);
}
