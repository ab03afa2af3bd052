/*
 * parts.c: maps of parts of a product, as one group with it.
 *
 *     %p                    a product, or maps of one     [row.., column.., x]
 *     %s = split %p axis x to (part, y)
 *     %a = pick %s axis part                              [row.., column.., y]
 *     %q = map %a, .., %c   for each part                 %c : [row.., y]
 *     %t = stack %q, .. axis part
 *     %z = merge %t axis x from (part, y)
 *
 * So rotary positions turn pairs of features that lie half a head apart.  Where
 * a tile of the product has whole rows of x, all of it is at hand when the sums
 * are: the kernel reads a product at another column (codegen/matmul.h).
 *
 * Everything that is made of the product up to the merges has to be of these
 * forms, and nothing but the merged values may be asked for elsewhere.
 */
#include "fuse.h"

enum {
    MOST_PARTS = 4,
    MOST_BESIDE = 4, /* values that are read */
    MOST_MERGES = 4,
    PART_UNIT = 16
};

typedef struct Parts {
    Graph *g;
    uint32_t product; /* the node of the einsum */
    Attr split;       /* of all splits; at first there is none */
    Axis whole, part, inner;
    int64_t count; /* of parts */
    Type full, of; /* the product's and a part's, as f32 */
    Numbers nodes, clusters, beside;
    uint32_t merges;
} Parts;

static void add_once(const Parts *p, Numbers *at, uint32_t x)
{
    if (!is_listed(at, x)) vec_push(p->g->fx->a, at, x);
}

/* ----------------------------------------------------------------- forms -- */

/* The last axis, of which tiles have whole rows: they have 256, 192, 128 or 64
 * columns. */
static bool first_split(Parts *p, const Inst *in)
{
    Module *m = p->g->fx->m;
    const AttrItem *to = attr_get(m, in->attr, AT_to);
    const TypeAxis *last = fuse_innermost(p->g->fx, p->full);
    p->whole = attr_axis(m, in->attr, AT_axis);
    if (to->n != 2 || !last || last->axis.id != p->whole.id) return false;
    p->split = in->attr;
    p->part = to->axes[0];
    p->inner = to->axes[1];
    p->count = type_local_size(m, type_axis(m, in->type, p->part));
    p->of = type_without_axis(m, type_with_dtype(m, in->type, DT_f32), p->part);
    int64_t x = type_local_size(m, type_axis(m, p->full, p->whole));
    int64_t y = type_local_size(m, type_axis(m, in->type, p->inner));
    return p->count <= MOST_PARTS && (256 % x == 0 || 192 % x == 0) &&
           y % PART_UNIT == 0;
}

static bool takes_split(Parts *p, uint32_t node)
{
    const Inst *in = node_inst(p->g, node);
    if (p->split.id == 0) return first_split(p, in);
    return p->split.id == in->attr.id;
}

static bool takes_map(const Parts *p, uint32_t node)
{
    const Module *m = p->g->fx->m;
    const Inst *in = node_inst(p->g, node);
    Type t = node_axes(p->g, node);
    bool part = p->split.id && type_eq(t, p->of);
    return (part || type_eq(t, p->full)) &&
           dtype_fits_f32(type_dtype(m, in->type)) &&
           !map_asks_index(m, in, in->type);
}

/* Parts in order, put together as they were. */
static bool takes_merge(Parts *p, uint32_t node)
{
    const Module *m = p->g->fx->m;
    const AttrItem *from = attr_get(m, node_inst(p->g, node)->attr, AT_from);
    p->merges++;
    return from->n == 2 && from->axes[0].id == p->part.id &&
           from->axes[1].id == p->inner.id &&
           type_eq(node_axes(p->g, node), p->full);
}

static bool takes(Parts *p, uint32_t node)
{
    const Node *x = &p->g->nodes[node];
    const Inst *in = node_inst(p->g, node);
    const Module *m = p->g->fx->m;
    if (in->op == OP_map) return takes_map(p, node);
    if (in->op == OP_split) return takes_split(p, node);
    if (p->split.id == 0) return false;
    switch (in->op) {
    case OP_pick:
        return attr_axis(m, in->attr, AT_axis).id == p->part.id;
    case OP_stack:
        return attr_axis(m, in->attr, AT_axis).id == p->part.id &&
               x->nargs == p->count;
    case OP_merge:
        return takes_merge(p, node);
    default:
        return false;
    }
}

/* What is made of the product, up to the merges. */
static bool takes_users(Parts *p)
{
    const Graph *g = p->g;
    for (uint32_t i = 0; i < p->nodes.n; i++) {
        const Node *x = &g->nodes[p->nodes.at[i]];
        add_once(p, &p->clusters, x->cluster);
        if (node_inst(g, p->nodes.at[i])->op == OP_merge) continue;
        if (x->result) return false;
        for (uint32_t u = 0; u < x->nusers; u++) {
            if (is_listed(&p->nodes, x->users[u])) continue;
            if (!takes(p, x->users[u])) return false;
            vec_push(g->fx->a, &p->nodes, x->users[u]);
        }
    }
    return p->merges > 0 && p->merges <= MOST_MERGES;
}

/* -------------------------------------------------------------- operands -- */

/* What is read beside a product has some of its axes; beside parts, of the
 * columns' axes that of a part alone. */
static bool is_beside(const Parts *p, uint32_t node, bool part)
{
    const Graph *g = p->g;
    const Module *m = g->fx->m;
    const Inst *einsum = node_inst(g, p->product);
    const TypeInfo *ti = type_info(m, node_inst(g, node)->type);
    EinsumRole columns = einsum_role(m, g->fn, einsum, p->whole);
    for (uint32_t i = 0; i < ti->naxes; i++) {
        Axis axis = ti->axes[i].axis;
        if (part && axis.id == p->inner.id) continue;
        if (!type_axis(m, p->full, axis) ||
            (part && einsum_role(m, g->fn, einsum, axis) == columns))
            return false;
    }
    return dtype_fits_f32((DType)ti->dtype);
}

static bool takes_operands(Parts *p)
{
    const Graph *g = p->g;
    for (uint32_t i = 1; i < p->nodes.n; i++) {
        const Node *x = &g->nodes[p->nodes.at[i]];
        bool part = type_eq(node_axes(p->g, p->nodes.at[i]), p->of);
        for (uint32_t a = 0; a < x->nargs; a++) {
            if (is_listed(&p->nodes, x->args[a])) continue;
            if (node_inst(g, p->nodes.at[i])->op != OP_map ||
                !is_beside(p, x->args[a], part))
                return false;
            add_once(p, &p->beside, x->args[a]);
        }
    }
    return p->beside.n <= MOST_BESIDE;
}

/* Clusters are taken whole. */
static bool takes_clusters(const Parts *p)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->clusters.n; i++)
        n += p->g->clusters[p->clusters.at[i]].nodes.n;
    return n == p->nodes.n;
}

void fuse_parts(Graph *g, uint32_t product)
{
    Parts p = {.g = g, .product = product};
    p.full = node_axes(p.g, product);
    vec_push(g->fx->a, &p.nodes, product);
    if (takes_users(&p) && takes_operands(&p) && takes_clusters(&p))
        fuse_join(g, p.clusters.at, p.clusters.n, NODE_product);
}
