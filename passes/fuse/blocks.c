/*
 * blocks.c: products of blocks of rows that choose alike, as one group each.
 *
 *     %g = gather %w, %of axis expert          [block, k, n]
 *     %h = einsum %x, %g sum (k)               [block, in, n]
 *
 *     %u = einsum %x, %d sum (in)              [block, k, n]
 *     %r = scatter %of, %u axis expert ascending
 *
 * The kernel reads an id for each tile of rows, or finds the blocks of an id
 * (codegen/matmul_blocks.c), so a matrix for each block never exists: each
 * product has a gather of its own (graph.c), whoever else reads %g.  A map of
 * what either gives goes with it, and so do maps that make both operands of
 * narrow numbers and the scales of blocks, below the gather.
 */
#include "../added.h"
#include "fuse.h"

static void say_apart(const Graph *g, uint32_t node, const char *why)
{
    pass_missed(g->fx->m, g->fx->cx, node_inst(g, node)->loc,
                "blocks of rows and the matrices that they choose stay apart: "
                "%s",
                why);
}

/* One i32 for each block, the outermost axis of what is chosen for. */
static bool has_ids(const Module *m, Type ids, Type of)
{
    const TypeInfo *ti = type_info(m, ids);
    return ti->naxes == 1 && ti->dtype == DT_i32 &&
           type_info(m, of)->axes[0].axis.id == ti->axes[0].axis.id;
}

/* Experts, or whatever the ids are of, are the outermost axis of OF. */
static bool is_outermost(const Module *m, const Inst *in, Type of)
{
    return type_info(m, of)->axes[0].axis.id ==
           attr_axis(m, in->attr, AT_axis).id;
}

static bool is_choice(const Module *m, const Fn *fn, const Inst *in)
{
    return in->op == OP_gather &&
           has_ids(m, value_type(fn, inst_arg(fn, in, 1)), in->type);
}

/* A kernel adds the products up, and chooses nothing. */
static bool is_added_up(const Module *m, const Fn *fn, Value v,
                        const Uses *uses)
{
    if (uses->nresult[v.id] || uses->first[v.id + 1] - uses->first[v.id] != 1)
        return false;
    const Inst *in = inst_of(fn, uses->at[uses->first[v.id]]);
    return in->op == OP_scatter && attr_flag(m, in->attr, AT_ascending) &&
           has_ids(m, value_type(fn, inst_arg(fn, in, 0)), value_type(fn, v)) &&
           is_outermost(m, in, in->type);
}

bool fuse_chooses(const Fuse *fx, const Fn *fn, Value v, const Uses *uses)
{
    const Module *m = fx->m;
    const Inst *in = inst_of(fn, v);
    if (!fx->products || !fuse_could_be_blocks(fx, fn, in) ||
        is_added_up(m, fn, v, uses))
        return false;
    const Inst *chosen = inst_of(fn, inst_arg(fn, in, 1));
    return is_choice(m, fn, chosen) &&
           is_outermost(m, chosen, value_type(fn, inst_arg(fn, chosen, 0)));
}

static bool is_value(const Graph *g, uint32_t node, Type like)
{
    Module *m = g->fx->m;
    Type t = node_inst(g, node)->type;
    return dtype_fits_f32(type_dtype(m, t)) &&
           type_eq(type_with_dtype(m, t, DT_f32),
                   type_with_dtype(m, like, DT_f32));
}

static bool is_scalar(const Graph *g, uint32_t node)
{
    const TypeInfo *ti = type_info(g->fx->m, node_inst(g, node)->type);
    return ti->naxes == 0 && dtype_fits_f32(ti->dtype);
}

/* Whether a map runs along with what it is of, and makes it no wider: a map of
 * that, values like it, and numbers that are for all of it, as scales. */
static bool runs_along(const Graph *g, uint32_t node, uint32_t user)
{
    const Module *m = g->fx->m;
    const Node *map = &g->nodes[user];
    const Inst *in = node_inst(g, user);
    Type t = node_inst(g, node)->type;
    if (in->op != OP_map || map->nargs > 3 || !is_value(g, user, t) ||
        map_asks_index(m, in, in->type) ||
        dtype_bytes(type_dtype(m, in->type)) > dtype_bytes(type_dtype(m, t)))
        return false;
    for (uint32_t a = 0; a < map->nargs; a++)
        if (!is_value(g, map->args[a], t) && !is_scalar(g, map->args[a]))
            return false;
    return true;
}

/* The only map of what the group gives, and the only one of that. */
static void join_maps(Graph *g, uint32_t node)
{
    for (;;) {
        const Node *x = &g->nodes[node];
        if (x->nusers != 1 || x->result) return;
        uint32_t user = x->users[0];
        if (!runs_along(g, node, user)) return;
        uint32_t all[2] = {x->cluster, g->nodes[user].cluster};
        if (!fuse_join(g, all, 2, NODE_product)) return;
        node = user;
    }
}

/* A map that makes an operand of narrow numbers and their scales. */
static bool is_scaling(const Graph *g, uint32_t node)
{
    return g->nodes[node].again && g->nodes[node].kind == NODE_loop &&
           map_scales_operand(g->fx->m, g->fn, node_inst(g, node));
}

/* The clusters of the maps of both operands X and Y of a product; 0: they are
 * not both such, or of the same numbers. */
static uint32_t scaling_clusters(const Graph *g, uint32_t x, uint32_t y,
                                 uint32_t out[2])
{
    if (!is_scaling(g, x) || !is_scaling(g, y) ||
        g->nodes[x].args[0] == g->nodes[y].args[0] ||
        g->nodes[x].args[1] == g->nodes[y].args[1])
        return 0;
    out[0] = g->nodes[x].cluster;
    out[1] = g->nodes[y].cluster;
    return 2;
}

/* A gather of the product's own is read by it alone, and so is what scales the
 * operands, so nothing keeps them apart: fuse_chooses has asked for all that
 * fuse_is_blocks_product does, and nothing was joined to the product since.
 * Elsewhere each product would write a gather. */
static void join_gather(Graph *g, uint32_t node)
{
    const Node *x = &g->nodes[node];
    const Node *chosen = &g->nodes[x->args[1]];
    uint32_t all[4] = {chosen->cluster, x->cluster};
    uint32_t n = 2 + scaling_clusters(g, x->args[0], chosen->args[0], all + 2);
    CHECK(fuse_is_blocks_product(g, node));
    bool joined = fuse_join(g, all, n, NODE_product);
    CHECK(joined);
    join_maps(g, node);
}

/* Whether it reads blocks of what rows choose, by a gather of its own. */
static bool reads_choice(const Graph *g, uint32_t node)
{
    const Node *x = &g->nodes[node];
    if (x->kind != NODE_matmul || x->nargs != 2 ||
        !is_choice(g->fx->m, g->fn, node_inst(g, x->args[1])))
        return false;
    bool own = g->nodes[x->args[1]].again;
    if (!own && fuse_is_blocks_product(g, node))
        say_apart(g, node, "the axis along which they choose is not outermost");
    return own;
}

static void join_scatter(Graph *g, uint32_t node)
{
    const Module *m = g->fx->m;
    const Node *x = &g->nodes[node];
    if (!attr_flag(m, node_inst(g, node)->attr, AT_ascending)) return;
    uint32_t of = x->args[1];
    const Node *product = &g->nodes[of];
    if (!fuse_is_blocks_product(g, of) || product->nusers != 1 ||
        product->result ||
        !has_ids(m, node_type(g, x->args[0]), node_type(g, of))) {
        say_apart(g, node, "others read the products of blocks");
        return;
    }
    if (!is_outermost(m, node_inst(g, node), node_type(g, node))) {
        say_apart(g, node, "the axis along which they choose is not outermost");
        return;
    }
    uint32_t all[4] = {product->cluster, x->cluster};
    uint32_t n =
        2 + scaling_clusters(g, product->args[0], product->args[1], all + 2);
    if (fuse_join(g, all, n, NODE_product)) join_maps(g, node);
}

/* Blocks that are added up may be gathered too, in the order of their ids. */
void fuse_blocks(Graph *g)
{
    for (uint32_t i = 0; i < g->n; i++)
        if (g->nodes[i].kind == NODE_scatter &&
            node_inst(g, i)->op == OP_scatter)
            join_scatter(g, i);
    for (uint32_t i = 0; i < g->n; i++)
        if (reads_choice(g, i)) join_gather(g, i);
}
