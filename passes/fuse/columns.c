/*
 * columns.c: reductions over rows in groups that go along rows.
 *
 *     %q : [row]    = reduce %p sum (column)       a group's, with its maps
 *     %s : [column] = reduce %t sum (row)
 *
 * The group has %t, or what it is made of, at hand row by row, so it gives %s
 * of some rows at a time (ir/column.h), and a small group those of them.  A sum
 * is in such a group where it was merged with it (cluster.c).  A maximum stands
 * in a group of its own by then, with what is made of it:
 *
 *     %a = map %y { abs(f32(_0)) }
 *     %m : [column] = reduce %a max (row)
 *     %s : [column] = map %m { 448 / _0 }
 *
 * The group that makes %y, or reads it too, and goes along its rows, takes the
 * maximum, in parts, and with it the maps of %y; what is left, %s here, finds
 * the largest of the parts.
 */
#include "shape.h"

typedef struct Columns {
    Graph *g;
    uint32_t cluster; /* of maxima and what is made of them */
    Numbers maps;     /* that are made of none of them */
    Numbers maxima;
    Numbers rest; /* made of them */
} Columns;

static bool is_made_of_maxima(const Columns *x, uint32_t node)
{
    const Node *n = &x->g->nodes[node];
    for (uint32_t i = 0; i < n->nargs; i++)
        if (is_listed(&x->maxima, n->args[i]) ||
            is_listed(&x->rest, n->args[i]))
            return true;
    return false;
}

/* Its axes are those of the maxima: the parts have another size along rows. */
static bool fits_maxima(const Columns *x, uint32_t node)
{
    const Module *m = x->g->fx->m;
    const TypeInfo *t = type_info(m, node_inst(x->g, node)->type);
    Type kept = node_inst(x->g, x->maxima.at[0])->type;
    for (uint32_t i = 0; i < t->naxes; i++)
        if (!type_axis(m, kept, t->axes[i].axis)) return false;
    return true;
}

/* Maxima, the maps beside them, which go where they go, and what is made of
 * them, which stays. */
static bool takes_cluster(Columns *x)
{
    Graph *g = x->g;
    const Cluster *c = &g->clusters[x->cluster];
    for (uint32_t i = 0; i < c->nodes.n; i++) {
        uint32_t node = c->nodes.at[i];
        const Inst *in = node_inst(g, node);
        bool maximum =
            in->op == OP_reduce && attr_is(g->fx->m, in->attr, AT_kind, "max");
        if (in->op != OP_map && !maximum) return false;
        bool made = is_made_of_maxima(x, node);
        if (made && (maximum || !fits_maxima(x, node))) return false;
        vec_push(g->fx->a,
                 maximum ? &x->maxima
                 : made  ? &x->rest
                         : &x->maps,
                 node);
    }
    return x->maxima.n > 0;
}

static void add_to(Graph *g, uint32_t cluster, uint32_t node)
{
    Nodes with = {0};
    vec_push(g->fx->a, &with, node);
    fuse_add_cluster(g, cluster, &with);
    fuse_set_cluster(g, cluster, &with);
}

static Nodes nodes_of(const Graph *g, const Numbers *list)
{
    Nodes nodes = {0};
    for (uint32_t i = 0; i < list->n; i++)
        vec_push(g->fx->a, &nodes, list->at[i]);
    return nodes;
}

static bool are_columns(Graph *g, const Nodes *nodes, const Numbers *maxima)
{
    Shape s;
    fuse_mark(g, nodes);
    if (!shape_find(g, nodes, &s) || !s.turns) return false;
    for (uint32_t i = 0; i < maxima->n; i++)
        if (!shape_is_column(g, maxima->at[i], &s)) return false;
    return true;
}

/* Whether the maxima and what they are made of are the cluster TO's now; false:
 * all stays as it was. */
static bool joins(Columns *x, uint32_t to)
{
    Graph *g = x->g;
    Nodes own = {0}, others = {0}, all = {0}, rest = nodes_of(g, &x->rest);
    fuse_add_cluster(g, x->cluster, &own);
    fuse_add_cluster(g, to, &others);
    fuse_set_cluster(g, x->cluster, &rest);
    for (uint32_t i = 0; i < own.n; i++)
        if (!is_listed(&x->rest, own.at[i])) add_to(g, to, own.at[i]);
    fuse_add_cluster(g, to, &all);
    if (!fuse_obstacle(g, &all) && are_columns(g, &all, &x->maxima))
        return true;
    fuse_set_cluster(g, x->cluster, &own);
    fuse_set_cluster(g, to, &others);
    return false;
}

/* A cluster that goes along rows: it reduces something. */
static bool goes_along(const Graph *g, uint32_t cluster)
{
    const Cluster *c = &g->clusters[cluster];
    bool reduces = false;
    for (uint32_t i = 0; i < c->nodes.n; i++) {
        if (g->nodes[c->nodes.at[i]].kind != NODE_loop) return false;
        reduces |= node_inst(g, c->nodes.at[i])->op == OP_reduce;
    }
    return reduces;
}

/* The cluster that makes what the maxima are of, or else another that reads it.
 */
static bool joins_some(Columns *x, uint32_t of)
{
    const Graph *g = x->g;
    const Node *n = &g->nodes[of];
    if (n->cluster == x->cluster) return false;
    if (goes_along(g, n->cluster) && joins(x, n->cluster)) return true;
    for (uint32_t u = 0; u < n->nusers; u++) {
        uint32_t to = g->nodes[n->users[u]].cluster;
        if (to != x->cluster && goes_along(g, to) && joins(x, to)) return true;
    }
    return false;
}

static bool takes_maxima(Columns *x)
{
    const Graph *g = x->g;
    for (uint32_t i = 0; i < x->maps.n; i++) {
        const Node *n = &g->nodes[x->maps.at[i]];
        for (uint32_t k = 0; k < n->nargs; k++)
            if (joins_some(x, n->args[k])) return true;
    }
    for (uint32_t i = 0; i < x->maxima.n; i++)
        if (joins_some(x, g->nodes[x->maxima.at[i]].args[0])) return true;
    return false;
}

/* What a maximum is found for is made where it is found. */
static void join_users(Graph *g, uint32_t node)
{
    const Node *x = &g->nodes[node];
    if (!attr_is(g->fx->m, node_inst(g, node)->attr, AT_kind, "max")) return;
    for (uint32_t u = 0; u < x->nusers; u++) {
        uint32_t from = x->cluster, to = g->nodes[x->users[u]].cluster;
        Nodes both = {0};
        if (from == to || g->nodes[x->users[u]].kind != NODE_loop) continue;
        fuse_add_cluster(g, from, &both);
        fuse_add_cluster(g, to, &both);
        if (fuse_obstacle(g, &both)) continue;
        fuse_set_cluster(g, from, &(Nodes){0});
        fuse_set_cluster(g, to, &both);
    }
}

static bool is_sum(const Graph *g, uint32_t node)
{
    return attr_is(g->fx->m, node_inst(g, node)->attr, AT_kind, "sum");
}

/* Whether a sum of parts is made with others, a cluster of their own. */
static bool joins_sums(Graph *g, uint32_t node, uint32_t sums)
{
    Nodes all = {0};
    if (!sums || !is_sum(g, node)) return false;
    fuse_add_cluster(g, sums, &all);
    fuse_add_cluster(g, g->nodes[node].cluster, &all);
    if (fuse_obstacle(g, &all)) return false;
    fuse_set_cluster(g, g->nodes[node].cluster, &(Nodes){0});
    fuse_set_cluster(g, sums, &all);
    return true;
}

/* Puts parts between the reductions over rows of a cluster and what they are
 * of; the reductions go back to where maxima came from, or to clusters of their
 * own, one for all sums. */
static void cut_rows(Graph *g, uint32_t cluster, const Columns *from)
{
    Nodes nodes = {0}, stay = {0}, cut = {0};
    Shape s;
    fuse_add_cluster(g, cluster, &nodes);
    fuse_mark(g, &nodes);
    if (!shape_find(g, &nodes, &s) || !s.turns) return;
    for (uint32_t i = 0; i < nodes.n; i++) {
        uint32_t node = nodes.at[i];
        bool wanted =
            from ? is_listed(&from->maxima, node) : !g->nodes[node].part;
        bool column = wanted && shape_is_column(g, node, &s);
        vec_push(g->fx->a, column ? &cut : &stay, node);
    }
    fuse_set_cluster(g, cluster, &stay);
    uint32_t sums = 0;
    for (uint32_t i = 0; i < cut.n; i++) {
        uint32_t part = fuse_part(g, cut.at[i],
                                  (Node){.kind = NODE_loop,
                                         .cluster = cluster,
                                         .after = g->nodes[cut.at[i]].after,
                                         .turns = s.turns,
                                         .walked = s.walked.axis});
        add_to(g, from ? from->cluster : part, cut.at[i]);
        if (from || joins_sums(g, cut.at[i], sums)) continue;
        join_users(g, cut.at[i]);
        if (is_sum(g, cut.at[i])) sums = g->nodes[cut.at[i]].cluster;
    }
}

static bool is_loop(const Graph *g, uint32_t cluster)
{
    const Cluster *c = &g->clusters[cluster];
    return c->nodes.n > 1 && g->nodes[c->nodes.at[0]].kind == NODE_loop;
}

void fuse_columns(Graph *g)
{
    uint32_t n = g->n;
    for (uint32_t c = 0; c < n && g->fx->at_hand; c++) {
        Columns x = {.g = g, .cluster = c};
        if (is_loop(g, c) && takes_cluster(&x) && takes_maxima(&x))
            cut_rows(g, g->nodes[x.maxima.at[0]].cluster, &x);
    }
    for (uint32_t c = 0; c < n; c++)
        if (is_loop(g, c)) cut_rows(g, c, NULL);
}
