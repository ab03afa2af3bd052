/*
 * cluster.c: which nodes share a kernel.
 *
 * Every node begins alone.  Clusters are merged, producers with consumers
 * first and then siblings that read the same values, whenever the union
 *
 *   - has the shape of a loop group, and computes nothing expensive more often
 *     than before (shape.c),
 *   - and no path leads out of it and back in.
 *
 * A producer behind names and places (rename, split, pick, ...) is merged
 * together with those, when nobody else reads them.
 */
#include "shape.h"

/* A send or receive stands between them: what is in front of it would have to
 * wait for it. */
static bool messages_between(const Graph *g, const Nodes *nodes)
{
    for (uint32_t i = 1; i < nodes->n; i++)
        if (g->nodes[nodes->at[i]].after != g->nodes[nodes->at[0]].after)
            return true;
    return false;
}

static bool path_returns(Graph *g, const Nodes *nodes)
{
    if (messages_between(g, nodes)) return true;
    VEC(uint32_t) todo = {0};
    ArenaMark mark = arena_mark(g->fx->a);
    bool found = false;
    for (uint32_t i = 0; i < nodes->n; i++) {
        const Node *x = &g->nodes[nodes->at[i]];
        for (uint32_t u = 0; u < x->nusers; u++) {
            uint32_t c = g->nodes[x->users[u]].cluster;
            if (is_marked(g, x->users[u]) || g->clusters[c].mark == g->epoch)
                continue;
            g->clusters[c].mark = g->epoch;
            vec_push(g->fx->a, &todo, c);
        }
    }
    while (todo.n > 0 && !found) {
        const Cluster *c = &g->clusters[todo.at[--todo.n]];
        for (uint32_t i = 0; i < c->nodes.n && !found; i++) {
            const Node *x = &g->nodes[c->nodes.at[i]];
            for (uint32_t u = 0; u < x->nusers; u++) {
                uint32_t next = g->nodes[x->users[u]].cluster;
                found |= is_marked(g, x->users[u]);
                if (g->clusters[next].mark == g->epoch) continue;
                g->clusters[next].mark = g->epoch;
                vec_push(g->fx->a, &todo, next);
            }
        }
    }
    arena_pop(g->fx->a, mark);
    return found;
}

/* ------------------------------------------------------------- merging -- */

static bool is_between(NodeKind kind)
{
    return kind == NODE_matmul || kind == NODE_opaque;
}

static bool is_update(const Graph *g, uint32_t node)
{
    return node_inst(g, node)->phase == PHASE_update;
}

/* Bytes that the node reads and nobody keeps for their own sake. */
static int64_t bytes_read(const Graph *g, uint32_t node)
{
    const Inst *in = node_inst(g, node);
    int64_t bytes = 0;
    for (uint32_t k = 0; k < in->nargs; k++) {
        Value v = inst_arg(g->fn, in, k);
        if (inst_of(g->fn, v)->op != OP_arg)
            bytes += type_bytes(g->fx->m, value_type(g->fn, v));
    }
    return bytes;
}

/* Something of the backward that is smaller than what it is made from would be
 * made in the update, with a matmul or repeat in between: what it is made from
 * would have to be kept until then. */
static bool small_waits(const Graph *g, const Nodes *nodes)
{
    uint32_t last = nodes->at[nodes->n - 1];
    if (!is_update(g, last)) return false;
    for (uint32_t i = 0; i < nodes->n; i++) {
        uint32_t x = nodes->at[i];
        if (is_update(g, x) ||
            bytes_read(g, x) <= type_bytes(g->fx->m, node_type(g, x)))
            continue;
        for (uint32_t k = x; k < last; k++)
            if (is_between(g->nodes[k].kind)) return true;
    }
    return false;
}

/* A gather reads it, if only under another name. */
static bool is_gathered(const Graph *g, uint32_t node)
{
    const Node *x = &g->nodes[node];
    for (uint32_t u = 0; u < x->nusers; u++) {
        NodeKind kind = g->nodes[x->users[u]].kind;
        if (kind == NODE_free && is_gathered(g, x->users[u])) return true;
        if (kind == NODE_collective &&
            node_inst(g, x->users[u])->op == OP_all_gather)
            return true;
    }
    return false;
}

/* What is gathered would wait for collectives that only others need: devices
 * could have exchanged it beside these. */
static bool gather_waits(const Graph *g, const Nodes *nodes)
{
    for (uint32_t i = 0; i < nodes->n && g->words; i++) {
        const uint64_t *mine = g->met + (size_t)nodes->at[i] * g->words;
        if (!is_gathered(g, nodes->at[i])) continue;
        for (uint32_t k = 0; k < nodes->n; k++)
            for (uint32_t w = 0; w < g->words; w++)
                if (g->met[(size_t)nodes->at[k] * g->words + w] & ~mine[w])
                    return true;
    }
    return false;
}

void fuse_add_cluster(Graph *g, uint32_t c, Nodes *out)
{
    const Cluster *from = &g->clusters[c];
    for (uint32_t i = 0; i < from->nodes.n; i++) {
        uint32_t node = from->nodes.at[i];
        uint32_t k = out->n;
        vec_push(g->fx->a, out, node);
        for (; k > 0 && out->at[k - 1] > node; k--)
            out->at[k] = out->at[k - 1];
        CHECK(k == 0 || out->at[k - 1] != node);
        out->at[k] = node;
    }
}

void fuse_set_cluster(Graph *g, uint32_t c, const Nodes *nodes)
{
    Cluster *to = &g->clusters[c];
    to->nodes.at = nodes->at;
    to->nodes.n = to->nodes.cap = nodes->n;
    for (uint32_t i = 0; i < nodes->n; i++)
        g->nodes[nodes->at[i]].cluster = c;
}

bool fuse_is_read_outside(const Graph *g, uint32_t node)
{
    const Node *n = &g->nodes[node];
    if (n->result) return true;
    for (uint32_t i = 0; i < n->nusers; i++)
        if (g->nodes[n->users[i]].cluster != n->cluster) return true;
    return false;
}

/* What is made once more would be stored: it was to go to who reads it. */
static bool stores_second(const Graph *g, const Nodes *nodes)
{
    for (uint32_t i = 0; i < nodes->n; i++) {
        const Node *x = &g->nodes[nodes->at[i]];
        for (uint32_t u = 0; u < x->nusers && x->second; u++)
            if (!is_marked(g, x->users[u])) return true;
    }
    return false;
}

const char *fuse_waits(Graph *g, const Nodes *nodes)
{
    if (stores_second(g, nodes))
        return "what is made once more would be stored";
    if (path_returns(g, nodes)) return "another group lies between them";
    if (gather_waits(g, nodes))
        return "what is gathered would wait for other devices";
    if (small_waits(g, nodes))
        return "what one is made from would be kept for long";
    return NULL;
}

const char *fuse_obstacle(Graph *g, const Nodes *nodes)
{
    Shape s;
    if (nodes->n > MOST_NODES) return "they would be too many ops";
    fuse_mark(g, nodes);
    if (!shape_find(g, nodes, &s)) return "they run over other axes";
    if (!shape_takes(g, nodes, &s))
        return "something would be computed more often";
    return fuse_waits(g, nodes);
}

/* Makes one cluster of the nodes if they may be one. */
static bool try_merge(Graph *g, const Nodes *nodes, uint32_t into)
{
    if (fuse_obstacle(g, nodes)) return false;
    for (uint32_t i = 0; i < nodes->n; i++) {
        Node *x = &g->nodes[nodes->at[i]];
        g->clusters[x->cluster].nodes.n = 0;
        x->cluster = into;
    }
    Cluster *c = &g->clusters[into];
    c->nodes.at = nodes->at;
    c->nodes.n = c->nodes.cap = nodes->n;
    return true;
}

/* A number that is made of two others of the function. */
static bool joins_numbers(const Graph *g, uint32_t node)
{
    const Node *x = &g->nodes[node];
    uint32_t n = 0;
    for (uint32_t i = 0; i < x->nargs; i++)
        n += g->nodes[x->args[i]].kind != NODE_arg;
    return n > 1;
}

/* It sums all of something to one number, or joins such. */
static bool makes_number(const Graph *g, uint32_t cluster)
{
    const Cluster *c = &g->clusters[cluster];
    for (uint32_t i = 0; i < c->nodes.n; i++) {
        uint32_t node = c->nodes.at[i];
        if (type_info(g->fx->m, node_type(g, node))->naxes) continue;
        if (node_inst(g, node)->op == OP_reduce || joins_numbers(g, node))
            return true;
    }
    return false;
}

static bool merge_pair(Graph *g, uint32_t x, uint32_t y)
{
    Nodes nodes = {0};
    if (x == y) return false;
    if (g->numbers_apart && makes_number(g, x) && makes_number(g, y))
        return false;
    fuse_add_cluster(g, x, &nodes);
    fuse_add_cluster(g, y, &nodes);
    return try_merge(g, &nodes, y);
}

static bool is_place_only(const Graph *g, uint32_t node)
{
    return op_has((Op)node_inst(g, node)->op, OPF_MOVE | OPF_FREE);
}

/* Adds the names and places that lead from the marked nodes to cluster `to`
 * alone, and marks them.  False when one of them leads elsewhere. */
static bool add_places(Graph *g, uint32_t to, Nodes *nodes)
{
    for (uint32_t i = 0; i < nodes->n; i++) {
        const Node *x = &g->nodes[nodes->at[i]];
        if (x->result) return false;
        for (uint32_t u = 0; u < x->nusers; u++) {
            uint32_t user = x->users[u];
            if (is_marked(g, user) || g->nodes[user].cluster == to) continue;
            if (!is_place_only(g, user)) return false;
            g->nodes[user].mark = g->epoch;
            vec_push(g->fx->a, nodes, user);
        }
    }
    return true;
}

static bool merge_through_places(Graph *g, uint32_t from, uint32_t to)
{
    Nodes nodes = {0}, all = {0};
    fuse_add_cluster(g, from, &nodes);
    fuse_mark(g, &nodes);
    if (!add_places(g, to, &nodes)) return false;
    for (uint32_t i = 0; i < nodes.n; i++)
        if (g->nodes[nodes.at[i]].cluster != from)
            fuse_add_cluster(g, g->nodes[nodes.at[i]].cluster, &all);
    fuse_add_cluster(g, from, &all);
    fuse_add_cluster(g, to, &all);
    return try_merge(g, &all, to);
}

/* The loop node that a chain of names and places ends in. */
static uint32_t loop_behind(const Graph *g, uint32_t node)
{
    while (is_place_only(g, node) && g->nodes[node].nusers > 0)
        node = g->nodes[node].users[0];
    return node;
}

/* All that reads a map, under whatever name, chooses of it. */
static bool is_chosen_of(const Graph *g, uint32_t node)
{
    const Node *x = &g->nodes[node];
    bool all = x->nusers > 0 && !x->result;
    for (uint32_t u = 0; u < x->nusers && all; u++) {
        uint32_t user = x->users[u];
        all = is_place_only(g, user) ? is_chosen_of(g, user)
                                     : node_inst(g, user)->op == OP_gather;
    }
    return all;
}

/* A little that is chosen for rows of which others are chosen, as their scales:
 * where these are read it would be one load behind the other. */
static bool is_behind_chosen(const Graph *g, uint32_t node, uint32_t user)
{
    enum { LITTLE = 16 };
    const Module *m = g->fx->m;
    return node_inst(g, node)->op == OP_gather &&
           node_inst(g, user)->op == OP_map &&
           type_elements(m, node_type(g, node)) * LITTLE <=
               type_elements(m, node_type(g, user)) &&
           is_chosen_of(g, user);
}

static bool merge_with_users(Graph *g, uint32_t node)
{
    bool merged = false;
    for (uint32_t u = 0; u < g->nodes[node].nusers; u++) {
        uint32_t user = g->nodes[node].users[u];
        uint32_t from = g->nodes[node].cluster, to = g->nodes[user].cluster;
        if (from == to || is_behind_chosen(g, node, user)) continue;
        if (g->nodes[user].kind == NODE_loop) {
            merged |= merge_pair(g, from, to);
        } else if (is_place_only(g, user)) {
            uint32_t end = loop_behind(g, user);
            to = g->nodes[end].cluster;
            if (g->nodes[end].kind == NODE_loop && from != to)
                merged |= merge_through_places(g, from, to);
        }
    }
    return merged;
}

/* No matmul, repeat or the like between them in the program's order. */
static bool are_near(const Graph *g, uint32_t x, uint32_t y)
{
    for (uint32_t i = x < y ? x : y; i <= (x < y ? y : x); i++)
        if (is_between(g->nodes[i].kind)) return false;
    return true;
}

/* Bytes that a cluster reads, each value once, and writes; marks what it reads
 * with the epoch. */
static int64_t traffic(Graph *g, uint32_t cluster, int64_t *read_before)
{
    const Module *m = g->fx->m;
    const Cluster *c = &g->clusters[cluster];
    uint32_t before = g->epoch++;
    int64_t bytes = 0;
    *read_before = 0;
    for (uint32_t i = 0; i < c->nodes.n; i++) {
        const Node *x = &g->nodes[c->nodes.at[i]];
        bool out = x->result;
        for (uint32_t u = 0; u < x->nusers && !out; u++)
            out = g->nodes[x->users[u]].cluster != cluster;
        if (out) bytes += type_bytes(m, node_type(g, c->nodes.at[i]));
        for (uint32_t k = 0; k < x->nargs; k++) {
            Node *arg = &g->nodes[x->args[k]];
            if (arg->cluster == cluster || arg->mark == g->epoch) continue;
            int64_t n = type_bytes(m, node_type(g, x->args[k]));
            if (arg->mark == before) *read_before += n;
            arg->mark = g->epoch;
            bytes += n;
        }
    }
    return bytes;
}

/* At least half of what one of them moves is read by the other, too: worth
 * it even where one has to wait for the other. */
static bool share_most(Graph *g, uint32_t x, uint32_t y)
{
    int64_t shared;
    int64_t a = traffic(g, x, &shared), b = traffic(g, y, &shared);
    return 2 * shared >= (a < b ? a : b);
}

static bool merge_siblings(Graph *g, uint32_t node)
{
    const Node *x = &g->nodes[node];
    bool merged = false;
    if (type_info(g->fx->m, node_type(g, node))->naxes == 0) return false;
    for (uint32_t u = 0; u + 1 < x->nusers; u++) {
        uint32_t a = x->users[u], b = x->users[u + 1];
        if (g->nodes[a].kind != NODE_loop || g->nodes[b].kind != NODE_loop ||
            g->nodes[a].cluster == g->nodes[b].cluster ||
            (!are_near(g, a, b) &&
             !share_most(g, g->nodes[a].cluster, g->nodes[b].cluster)))
            continue;
        merged |= merge_pair(g, g->nodes[a].cluster, g->nodes[b].cluster);
    }
    return merged;
}

/* A map that reads the node under other names, which nobody else asks for;
 * marks the names, if there are any.  False: no such map. */
static bool add_renamed(Graph *g, uint32_t user, Nodes *nodes, uint32_t *map)
{
    *map = user;
    if (node_inst(g, user)->op == OP_rename) {
        const Node *x = &g->nodes[user];
        if (x->nusers != 1 || x->result) return false;
        vec_push(g->fx->a, nodes, user);
        *map = x->users[0];
    }
    return node_inst(g, *map)->op == OP_map && g->nodes[*map].kind == NODE_loop;
}

/* Maps of one value that give it in several orders: it is read once. */
static bool merge_turned(Graph *g, uint32_t node)
{
    const Node *x = &g->nodes[node];
    bool merged = false;
    for (uint32_t u = 0; u < x->nusers; u++)
        for (uint32_t v = 0; v < u; v++) {
            Nodes names = {0}, nodes = {0};
            uint32_t a, b;
            if (!add_renamed(g, x->users[v], &names, &a) ||
                !add_renamed(g, x->users[u], &names, &b) || !names.n ||
                g->nodes[a].cluster == g->nodes[b].cluster)
                continue;
            uint32_t into = g->nodes[b].cluster;
            fuse_add_cluster(g, g->nodes[a].cluster, &nodes);
            fuse_add_cluster(g, into, &nodes);
            for (uint32_t i = 0; i < names.n; i++)
                if (g->nodes[names.at[i]].cluster != g->nodes[a].cluster &&
                    g->nodes[names.at[i]].cluster != into)
                    fuse_add_cluster(g, g->nodes[names.at[i]].cluster, &nodes);
            merged |= try_merge(g, &nodes, into);
        }
    return merged;
}

/* A vector, or a few, made by loops, that meet each row of a matrix in a sum:
 * what is not summed of them is small. */
static bool is_vector(const Graph *g, uint32_t node, const AttrItem *summed)
{
    enum { FEW = 4 };
    const TypeInfo *t = type_info(g->fx->m, node_type(g, node));
    int64_t left = 1;
    for (uint32_t i = 0; i < t->naxes; i++) {
        bool gone = false;
        for (uint32_t k = 0; k < summed->n; k++)
            gone |= summed->axes[k].id == t->axes[i].axis.id;
        if (!gone) left *= t->axes[i].size;
    }
    return left <= FEW && t->naxes > 0 && g->nodes[node].kind == NODE_loop;
}

/* The products of a matrix and a vector are made where they are summed, not
 * where the vector is: there they would go through memory, as many as the
 * matrix has. */
static void merge_products(Graph *g, uint32_t node)
{
    const Module *m = g->fx->m;
    const Inst *in = node_inst(g, node);
    if (in->op != OP_reduce || !attr_is(m, in->attr, AT_kind, "sum") ||
        type_info(m, in->type)->naxes == 0)
        return;
    uint32_t of = g->nodes[node].args[0];
    const Node *x = &g->nodes[of];
    const AttrItem *summed = attr_get(m, in->attr, AT_axes);
    if (node_inst(g, of)->op != OP_map || x->nargs != 2 || x->nusers != 1 ||
        x->result)
        return;
    if (is_vector(g, x->args[0], summed) || is_vector(g, x->args[1], summed))
        merge_pair(g, x->cluster, g->nodes[node].cluster);
}

/* What is computed again goes to the sum that asks for it: with what it is made
 * of, where that sum is not, it would go through memory. */
static void merge_again(Graph *g, uint32_t node)
{
    const Node *x = &g->nodes[node];
    if (!x->again || x->nusers != 1) return;
    const Node *user = &g->nodes[x->users[0]];
    if (sums_inner((Op)node_inst(g, x->users[0])->op))
        merge_pair(g, x->cluster, user->cluster);
}

/* Parts that are places in something else: nobody makes them where the whole
 * would lie, so each would be copied. */
static bool has_places(const Graph *g, uint32_t node)
{
    const Node *x = &g->nodes[node];
    uint32_t n = 0;
    for (uint32_t i = 0; i < x->nargs; i++)
        n += is_place_only(g, x->args[i]);
    return n > 1;
}

/* A little that lies in several places is read there by the loop that asks for
 * it: a launch for each would take longer than the loop. */
static void merge_places(Graph *g, uint32_t node)
{
    enum { LITTLE = 65536 }; /* bytes */
    const Node *x = &g->nodes[node];
    Op op = (Op)node_inst(g, node)->op;
    if ((op != OP_concat && op != OP_stack) || x->nusers != 1 || x->result ||
        g->nodes[x->users[0]].kind != NODE_loop ||
        type_bytes(g->fx->m, node_type(g, node)) > LITTLE ||
        !has_places(g, node))
        return;
    merge_pair(g, x->cluster, g->nodes[x->users[0]].cluster);
}

bool fuse_join(Graph *g, const uint32_t *clusters, uint32_t n, NodeKind kind)
{
    Nodes nodes = {0};
    for (uint32_t i = 0; i < n; i++)
        fuse_add_cluster(g, clusters[i], &nodes);
    fuse_mark(g, &nodes);
    if (nodes.n > MOST_NODES || path_returns(g, &nodes)) return false;
    for (uint32_t i = 0; i < n; i++)
        g->clusters[clusters[i]].nodes.n = 0;
    for (uint32_t i = 0; i < nodes.n; i++) {
        g->nodes[nodes.at[i]].cluster = clusters[0];
        g->nodes[nodes.at[i]].kind = kind;
    }
    Cluster *c = &g->clusters[clusters[0]];
    c->nodes.at = nodes.at;
    c->nodes.n = c->nodes.cap = nodes.n;
    return true;
}

/* Says why values go from one loop group to another through memory. */
static void say_missed(Graph *g, uint32_t node)
{
    const Node *x = &g->nodes[node];
    for (uint32_t u = 0; u < x->nusers; u++) {
        const Node *user = &g->nodes[x->users[u]];
        if (user->kind != NODE_loop || user->cluster == x->cluster) continue;
        Nodes nodes = {0};
        fuse_add_cluster(g, x->cluster, &nodes);
        fuse_add_cluster(g, user->cluster, &nodes);
        const char *why = fuse_obstacle(g, &nodes);
        if (why)
            pass_missed(g->fx->m, g->fx->cx, node_inst(g, x->users[u])->loc,
                        "'%s' and '%s' stay apart: %s",
                        op_info((Op)node_inst(g, node)->op)->name,
                        op_info((Op)node_inst(g, x->users[u])->op)->name, why);
        return;
    }
}

static void merge_all(Graph *g)
{
    bool merged = true;
    for (int round = 0; merged && round < 4; round++) {
        merged = false;
        for (uint32_t i = 0; i < g->n; i++)
            if (g->nodes[i].kind == NODE_loop) merged |= merge_with_users(g, i);
        for (uint32_t i = 0; i < g->n; i++)
            merged |= merge_siblings(g, i);
        for (uint32_t i = 0; i < g->n; i++)
            merged |= merge_turned(g, i);
    }
}

/* Numbers that each wait for other sums have kernels of their own at first:
 * one for all would wait for all, and so would what lies on both sides. */
void fuse_cluster(Graph *g)
{
    if (g->fx->products) fuse_blocks(g);
    fuse_added(g);
    for (uint32_t i = 0; i < g->n; i++)
        if (g->nodes[i].kind == NODE_loop) merge_products(g, i);
    for (uint32_t i = 0; i < g->n; i++)
        if (g->nodes[i].kind == NODE_loop) merge_again(g, i);
    for (uint32_t i = 0; i < g->n; i++)
        if (g->nodes[i].kind == NODE_free) merge_places(g, i);
    g->numbers_apart = true;
    merge_all(g);
    g->numbers_apart = false;
    merge_all(g);
    fuse_both(g);
    fuse_columns(g);
    if (g->fx->products) fuse_products(g);
    fuse_strips(g);
    for (uint32_t i = 0; i < g->n && pass_remarks(g->fx->m, g->fx->cx, true);
         i++)
        if (g->nodes[i].kind == NODE_loop) say_missed(g, i);
}
