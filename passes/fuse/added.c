/*
 * added.c: matmuls and scatters with what they are added to.
 *
 * A map that adds a value to such sums, scales them, rounds them or scales what
 * they are of is made where they are (passes/added.h says which maps those
 * are).  That is before
 * loops are merged, which would take the map elsewhere.
 */
#include "../added.h"
#include "fuse.h"

/* The node's value lies in memory, whatever becomes of the map that reads it:
 * it is no loop's, or somebody reads it who is none. */
static bool in_memory(const Graph *g, uint32_t node)
{
    while (g->nodes[node].kind == NODE_free && g->nodes[node].nargs == 1)
        node = g->nodes[node].args[0];
    const Node *x = &g->nodes[node];
    bool kept = x->kind != NODE_loop || x->result;
    for (uint32_t u = 0; u < x->nusers && !kept; u++) {
        NodeKind k = g->nodes[x->users[u]].kind;
        kept = k != NODE_loop && k != NODE_free;
    }
    return kept;
}

/* Both operands are narrow numbers with scales, of different places: the
 * product reads those. */
static void join_scales(Graph *g, uint32_t node)
{
    uint32_t all[3] = {g->nodes[node].cluster};
    if (!einsum_takes_scales(g->fx->m, g->fn, node_inst(g, node))) return;
    for (uint32_t k = 0; k < 2; k++) {
        uint32_t x = g->nodes[node].args[k];
        if (!g->nodes[x].again) return;
        all[1 + k] = g->nodes[x].cluster;
    }
    const Node *x = &g->nodes[g->nodes[node].args[0]];
    const Node *y = &g->nodes[g->nodes[node].args[1]];
    if (x->args[0] != y->args[0] && x->args[1] != y->args[1])
        fuse_join(g, all, 3, NODE_matmul);
}

/* A sum of a product and a value that is in memory is made by the matmul: in
 * place where nobody else needs the value.  So is a product that is scaled; the
 * library adds nothing to one of blocks with scales. */
static void join_product(Graph *g, uint32_t node, const Uses *uses)
{
    uint32_t which;
    const Inst *in = node_inst(g, node);
    bool scaled = map_scales_einsum(g->fx->m, g->fn, in, uses, &which);
    if (!scaled && !map_adds_einsum(g->fx->m, g->fn, in, uses, &which)) return;
    uint32_t product = g->nodes[node].args[which];
    if (g->nodes[product].nusers != 1 ||
        g->nodes[product].kind != NODE_matmul ||
        g->clusters[g->nodes[product].cluster].nodes.n != 1 ||
        (!scaled && !in_memory(g, g->nodes[node].args[1 - which])))
        return;
    uint32_t both[2] = {g->nodes[product].cluster, g->nodes[node].cluster};
    fuse_join(g, both, 2, NODE_matmul);
}

/* Sums that a scatter adds to a value go to the rows that it names, in place
 * where nobody else needs the value; sums that are rounded are stored so. */
static void join_scatter(Graph *g, uint32_t node, const Uses *uses)
{
    uint32_t which = 0;
    const Inst *in = node_inst(g, node);
    if (!map_adds_scatter(g->fx->m, g->fn, in, uses, &which) &&
        !map_casts_scatter(g->fx->m, g->fn, in, uses))
        return;
    uint32_t scatter = g->nodes[node].args[which];
    uint32_t both[2] = {g->nodes[scatter].cluster, g->nodes[node].cluster};
    if (g->nodes[scatter].nusers == 1 && g->nodes[scatter].kind == NODE_scatter)
        fuse_join(g, both, 2, NODE_scatter);
}

void fuse_added(Graph *g)
{
    Uses uses = fn_uses(g->fn, g->fx->a);
    for (uint32_t i = 0; i < g->n; i++)
        if (g->nodes[i].kind == NODE_matmul) join_scales(g, i);
    for (uint32_t i = 0; i < g->n; i++)
        if (g->nodes[i].kind == NODE_loop) join_product(g, i, &uses);
    for (uint32_t i = 0; i < g->n; i++)
        if (g->nodes[i].kind == NODE_loop) join_scatter(g, i, &uses);
}
