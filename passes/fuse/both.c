/*
 * both.c: what scales blocks of one value in both orders is one group.
 *
 *     %a = split %x ..; %m = reduce %a max (part); %p = map %a, %m
 *     %b = split %x ..; %n = reduce %b max (part_1); %q = map %b, %n
 *
 * Products need the numbers along what they sum, so a cotangent is scaled by
 * blocks of its rows for one gradient and by blocks of its columns for the
 * other, and a weight by blocks of both lies either way.  On a GPU a tile has
 * whole blocks of either, so one kernel reads the value once, or makes it, and
 * gives all (ir/both.h).
 *
 * All that it gives is there from the first that is asked for, until the last
 * is: what one phase of a function asks for is near.
 */
#include "shape.h"

typedef struct Meet {
    Graph *g;
    Value matrix;
    Numbers clusters; /* that read the value, whatever it is called */
    Numbers places;   /* on the way to them */
} Meet;

static bool is_place(const Graph *g, uint32_t node)
{
    return op_has((Op)node_inst(g, node)->op, OPF_SAME);
}

static void find_readers(Meet *m, uint32_t node)
{
    const Graph *g = m->g;
    const Node *x = &g->nodes[node];
    for (uint32_t u = 0; u < x->nusers; u++) {
        uint32_t user = x->users[u], to = g->nodes[user].cluster;
        if (g->nodes[user].kind == NODE_loop && !is_listed(&m->clusters, to))
            vec_push(g->fx->a, &m->clusters, to);
        if (!is_place(g, user) || is_listed(&m->places, user)) continue;
        vec_push(g->fx->a, &m->places, user);
        find_readers(m, user);
    }
}

static bool is_of_loops(const Graph *g, uint32_t cluster)
{
    const Cluster *c = &g->clusters[cluster];
    for (uint32_t i = 0; i < c->nodes.n; i++) {
        NodeKind kind = g->nodes[c->nodes.at[i]].kind;
        if (kind != NODE_loop && kind != NODE_free) return false;
    }
    return c->nodes.n > 0;
}

static bool has_maximum(const Graph *g, uint32_t cluster)
{
    const Cluster *c = &g->clusters[cluster];
    for (uint32_t i = 0; i < c->nodes.n; i++) {
        const Inst *in = node_inst(g, c->nodes.at[i]);
        if (in->op == OP_reduce && attr_is(g->fx->m, in->attr, AT_kind, "max"))
            return true;
    }
    return false;
}

/* Places that lead to the marked nodes alone. */
static void add_places(const Meet *m, Nodes *nodes)
{
    Graph *g = m->g;
    for (uint32_t i = m->places.n; i-- > 0;) {
        uint32_t node = m->places.at[i];
        const Node *x = &g->nodes[node];
        bool all = !x->result && !is_marked(g, node) &&
                   g->clusters[x->cluster].nodes.n == 1;
        for (uint32_t u = 0; u < x->nusers; u++)
            all &= is_marked(g, x->users[u]);
        if (!all) continue;
        fuse_add_cluster(g, x->cluster, nodes);
        g->nodes[node].mark = g->epoch;
    }
}

static bool are_of_one_phase(const Graph *g, const Nodes *nodes)
{
    uint8_t first = node_inst(g, nodes->at[0])->phase;
    for (uint32_t i = 1; i < nodes->n; i++)
        if (node_inst(g, nodes->at[i])->phase != first) return false;
    return true;
}

static bool leaves(const Graph *g, uint32_t node)
{
    const Node *x = &g->nodes[node];
    bool any = x->result;
    for (uint32_t u = 0; u < x->nusers; u++)
        any |= !is_marked(g, x->users[u]);
    return any;
}

/* Whether the marked nodes make the matrix in both orders.  Names that it has
 * on the way say how it lies in memory, and stay outside. */
static bool are_both(const Meet *m, const Nodes *nodes)
{
    Graph *g = m->g;
    Arena *a = g->fx->a;
    ArenaMark mark = arena_mark(a);
    bool *inside = NEW_ARRAY(a, bool, (size_t)g->fn->ninsts + 1);
    bool *out = NEW_ARRAY(a, bool, (size_t)g->fn->ninsts + 1);
    BothOf of = {.fn = g->fn, .inside = inside, .leaves = out};
    BothOrders found;
    for (uint32_t i = 0; i < nodes->n; i++) {
        uint32_t id = g->nodes[nodes->at[i]].value.id;
        inside[id] = true;
        out[id] |= leaves(g, nodes->at[i]);
    }
    bool are =
        both_find(g->fx->m, &of, a, &found) && value_eq(found.of, m->matrix);
    arena_pop(a, mark);
    return are;
}

static bool join(const Meet *m, uint32_t from, uint32_t to)
{
    Graph *g = m->g;
    Nodes nodes = {0};
    if (!is_of_loops(g, from) || !is_of_loops(g, to) ||
        !(has_maximum(g, from) || has_maximum(g, to)))
        return false;
    fuse_add_cluster(g, from, &nodes);
    fuse_add_cluster(g, to, &nodes);
    fuse_mark(g, &nodes);
    add_places(m, &nodes);
    if (nodes.n > MOST_NODES || !are_of_one_phase(g, &nodes) ||
        !are_both(m, &nodes) || fuse_waits(g, &nodes))
        return false;
    for (uint32_t i = 0; i < nodes.n; i++) {
        Node *x = &g->nodes[nodes.at[i]];
        g->clusters[x->cluster].nodes.n = 0;
        x->cluster = to;
    }
    Cluster *c = &g->clusters[to];
    c->nodes.at = nodes.at;
    c->nodes.n = c->nodes.cap = nodes.n;
    c->early = true;
    return true;
}

/* Any two of what reads the value, and who makes it. */
static bool join_some(Meet *m, uint32_t node)
{
    const Graph *g = m->g;
    bool joined = false;
    for (uint32_t i = 0; i < m->clusters.n; i++)
        for (uint32_t k = 0; k < m->clusters.n; k++)
            if (i != k && m->clusters.at[i] != m->clusters.at[k])
                joined |= join(m, m->clusters.at[i], m->clusters.at[k]);
    uint32_t maker = g->nodes[node].cluster;
    bool makes = g->nodes[node].kind == NODE_loop;
    for (uint32_t i = 0; i < m->clusters.n && makes; i++)
        if (g->clusters[m->clusters.at[i]].early && maker != m->clusters.at[i])
            joined |= join(m, maker, m->clusters.at[i]);
    return joined;
}

void fuse_both(Graph *g)
{
    enum { LEAST = BOTH_TILE * BOTH_TILE };
    uint32_t n = g->n;
    for (uint32_t i = 0; i < n && g->fx->gpu; i++) {
        Meet m = {.g = g, .matrix = g->nodes[i].value};
        if (type_elements(g->fx->m, value_type(g->fn, m.matrix)) < LEAST)
            continue;
        find_readers(&m, i);
        while (m.clusters.n > 1 && join_some(&m, i))
            continue;
    }
}
