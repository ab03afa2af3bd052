/*
 * product.c: matmuls with the maps of their results, as one group.
 *
 * A loop group that is maps alone and reads a product at its own index can be
 * made where the product's sums are, before they ever reach memory; so can the
 * loop groups beside it that read the same values.  Two products with one first
 * operand, of one type, may have a map of both.  The kernel (codegen/matmul.h)
 * reads and writes everything tile by tile, so every value that it makes has
 * all axes of the product.
 *
 * Products of eight-bit numbers are made so where their sums may be short and
 * one number scales them.  What scales rows and columns is the library's: the
 * card's power is short there, and what maps save in bytes, they and what reads
 * the scales take (docs/performance.md).
 */
#include "../added.h"
#include "fuse.h"

enum {
    MOST_PRODUCTS = 2,
    MOST_VALUES = 4, /* read, and written */
    MOST_EIGHT = 1,  /* read beside eight bits, with all axes */
    MOST_CLUSTERS = 8,
    MOST_AXES = 5,   /* of the copy engine, if none of them fold */
    ROW_UNIT = 16,   /* bytes */
    FEWEST = 1 << 16 /* elements of a product worth it */
};

typedef struct Product {
    Graph *g;
    Type type;      /* of the products */
    bool eight;     /* their operands have eight bits */
    uint32_t first; /* the node of their first operand */
    uint32_t products[MOST_PRODUCTS], nproducts;
    VEC(uint32_t) clusters; /* of maps */
    VEC(uint32_t) read;     /* nodes outside, beside the operands */
} Product;

static bool list_has(const uint32_t *at, uint32_t n, uint32_t x)
{
    for (uint32_t i = 0; i < n; i++)
        if (at[i] == x) return true;
    return false;
}

/* -------------------------------------------------------------- operands -- */

static bool is_narrow(DType d)
{
    return d == DT_bf16 || d == DT_f16;
}

const TypeAxis *fuse_innermost(const Fuse *fx, Type t)
{
    const TypeInfo *ti = type_info(fx->m, t);
    for (uint32_t i = ti->naxes; i-- > 0;)
        if (!outer_has(&fx->outer, ti->axes[i].axis)) return &ti->axes[i];
    return NULL;
}

/* Rows that the copy engine takes. */
static bool has_rows(const Fuse *fx, Type t)
{
    const TypeAxis *a = fuse_innermost(fx, t);
    return a && type_local_size(fx->m, a) * dtype_bytes(type_dtype(fx->m, t)) %
                        ROW_UNIT ==
                    0;
}

/* Axes of one index are no dimensions. */
static uint32_t counted_axes(const Module *m, Type t)
{
    const TypeInfo *ti = type_info(m, t);
    uint32_t n = 0;
    for (uint32_t i = 0; i < ti->naxes; i++)
        n += ti->axes[i].size > 1;
    return n;
}

/* Whether the first twin of an einsum is in a product group; false: it is the
 * first itself. */
static bool twin_find(const Fuse *fx, const Inst *in, bool *product)
{
    uint32_t made;
    int64_t twin = attr_int(fx->m, in->attr, AT_twin, 0);
    if (!twin || !map_find(&fx->twins, (uint64_t)twin, &made)) return false;
    *product = made;
    return true;
}

/* Numbers of eight bits lie along the sum. */
static bool has_eight(const Fuse *fx, const Inst *einsum, Type t)
{
    DType d = type_dtype(fx->m, t);
    const TypeAxis *a = fuse_innermost(fx, t);
    const AttrItem *sum = attr_get(fx->m, einsum->attr, AT_sum);
    if ((d != DT_e4m3 && d != DT_e5m2) || !a) return false;
    for (uint32_t i = 0; i < sum->n; i++)
        if (sum->axes[i].id == a->axis.id) return true;
    return false;
}

/* Whether a node of the product's cluster multiplies its sums by one number. */
static bool scales_sums(const Graph *g, uint32_t node, uint32_t einsum)
{
    const Node *x = &g->nodes[node];
    if (!map_multiplies(g->fx->m, node_inst(g, node)) || x->nargs != 2)
        return false;
    uint32_t by = x->args[x->args[0] == einsum];
    return type_info(g->fx->m, node_inst(g, by)->type)->naxes == 0;
}

/* Nothing is added to its sums; of eight bits, one number may scale them. */
static bool is_alone(const Graph *g, uint32_t einsum, bool eight)
{
    const Cluster *c = &g->clusters[g->nodes[einsum].cluster];
    return c->nodes.n == 1 ||
           (eight && c->nodes.n == 2 && scales_sums(g, c->nodes.at[1], einsum));
}

/* The node that has the product's value: the map that scales its sums, or
 * itself. */
static uint32_t value_of(const Graph *g, uint32_t einsum)
{
    const Cluster *c = &g->clusters[g->nodes[einsum].cluster];
    return c->nodes.at[c->nodes.n - 1];
}

/* EIGHT: of two operands of eight bits, else of one of the dtypes of 16. */
static bool could_be_product(const Fuse *fx, const Fn *fn, const Inst *in,
                             bool eight)
{
    const Module *m = fx->m;
    bool product;
    if (in->op != OP_einsum || (twin_find(fx, in, &product) && !product))
        return false;
    Type a = value_type(fn, inst_arg(fn, in, 0));
    Type b = value_type(fn, inst_arg(fn, in, 1));
    DType d = type_dtype(m, a), to = type_dtype(m, in->type);
    bool scaled = einsum_takes_chosen_scales(m, fn, in);
    bool sums = to == DT_f32 || to == (scaled ? DT_bf16 : d);
    bool fits = eight
                    ? has_eight(fx, in, a) && has_eight(fx, in, b) &&
                          (to == DT_bf16 || to == DT_f32)
                    : sums && type_dtype(m, b) == d && (scaled || is_narrow(d));
    return fits && attr_dtype(m, in->attr, AT_acc, DT_f32) == DT_f32 &&
           has_rows(fx, a) && has_rows(fx, b) && has_rows(fx, in->type) &&
           counted_axes(m, in->type) <= MOST_AXES &&
           (eight || type_elements(m, in->type) >= FEWEST);
}

static bool is_product(const Graph *g, uint32_t node, bool eight)
{
    const Node *x = &g->nodes[node];
    return x->kind == NODE_matmul && node_inst(g, node)->op == OP_einsum &&
           is_alone(g, node, eight) && x->args[0] != x->args[1] &&
           could_be_product(g->fx, g->fn, node_inst(g, node), eight);
}

/* Of eight bits, whose sums may be short. */
static bool is_short(const Graph *g, uint32_t node)
{
    const Inst *in = node_inst(g, node);
    return is_product(g, node, true) &&
           attr_flag(g->fx->m, in->attr, AT_fast) &&
           type_elements(g->fx->m, in->type) >= FEWEST;
}

bool fuse_is_product(const Graph *g, uint32_t node)
{
    return is_product(g, node, false) || is_short(g, node);
}

bool fuse_is_blocks_product(const Graph *g, uint32_t node)
{
    return is_product(g, node, false) || is_product(g, node, true);
}

bool fuse_could_be_blocks(const Fuse *fx, const Fn *fn, const Inst *in)
{
    return could_be_product(fx, fn, in, false) ||
           could_be_product(fx, fn, in, true);
}

/* ------------------------------------------------------------------ maps -- */

static bool has_axes_of(const Graph *g, Type x, Type y)
{
    Module *m = g->fx->m;
    return type_eq(type_with_dtype(m, x, DT_f32),
                   type_with_dtype(m, y, DT_f32));
}

/* A map of all axes of the product, in floats that the kernel keeps. */
static bool is_map(const Product *p, uint32_t node)
{
    const Module *m = p->g->fx->m;
    const Inst *in = node_inst(p->g, node);
    return in->op == OP_map && has_axes_of(p->g, in->type, p->type) &&
           dtype_fits_f32(type_dtype(m, in->type)) &&
           has_rows(p->g->fx, in->type) && !map_asks_index(m, in, in->type);
}

/* Once joined, everything is in the products' cluster. */
static bool in_product(const Product *p, uint32_t node)
{
    uint32_t c = p->g->nodes[node].cluster;
    for (uint32_t i = 0; i < p->nproducts; i++)
        if (p->g->nodes[p->products[i]].cluster == c) return true;
    return list_has(p->clusters.at, p->clusters.n, c);
}

/* Nodes of a cluster are maps that read one another, products, or values that
 * lie in memory; NEW: what they read may be new to the group. */
static bool takes_cluster(Product *p, uint32_t cluster, bool new)
{
    const Graph *g = p->g;
    const Cluster *c = &g->clusters[cluster];
    for (uint32_t i = 0; i < c->nodes.n; i++) {
        const Node *x = &g->nodes[c->nodes.at[i]];
        if (!is_map(p, c->nodes.at[i])) return false;
        for (uint32_t a = 0; a < x->nargs; a++) {
            uint32_t from = x->args[a];
            if (g->nodes[from].cluster == cluster || in_product(p, from) ||
                list_has(p->read.at, p->read.n, from))
                continue;
            DType d = type_dtype(g->fx->m, node_inst(g, from)->type);
            if (!new || !dtype_fits_f32(d)) return false;
            vec_push(g->fx->a, &p->read, from);
        }
    }
    vec_push(g->fx->a, &p->clusters, cluster);
    return true;
}

/* What scales a product is read beside its operands. */
static void add_product(Product *p, uint32_t einsum)
{
    const Graph *g = p->g;
    const Node *x = &g->nodes[value_of(g, einsum)];
    p->products[p->nproducts++] = einsum;
    for (uint32_t a = 0; a < x->nargs; a++)
        if (x != &g->nodes[einsum] && x->args[a] != einsum &&
            !list_has(p->read.at, p->read.n, x->args[a]))
            vec_push(g->fx->a, &p->read, x->args[a]);
}

/* The product that has the value. */
static bool product_of(const Graph *g, uint32_t value, uint32_t *out)
{
    *out = g->clusters[g->nodes[value].cluster].nodes.at[0];
    return fuse_is_product(g, *out) && value_of(g, *out) == value;
}

/* Every product that the cluster reads belongs to it, if it may. */
static void takes_products(Product *p, uint32_t cluster)
{
    const Graph *g = p->g;
    const Cluster *c = &g->clusters[cluster];
    for (uint32_t i = 0; i < c->nodes.n; i++) {
        const Node *x = &g->nodes[c->nodes.at[i]];
        for (uint32_t a = 0; a < x->nargs; a++) {
            uint32_t from;
            if (p->nproducts == MOST_PRODUCTS ||
                !product_of(g, x->args[a], &from) ||
                list_has(p->products, p->nproducts, from) ||
                g->nodes[from].args[0] != p->first ||
                !type_eq(node_inst(g, from)->type, p->type))
                continue;
            add_product(p, from);
        }
    }
}

/* --------------------------------------------------------------- joining -- */

static bool is_written(const Product *p, uint32_t node)
{
    const Node *x = &p->g->nodes[node];
    if (x->result) return true;
    for (uint32_t u = 0; u < x->nusers; u++)
        if (!in_product(p, x->users[u])) return true;
    return false;
}

static uint32_t written_by(const Product *p, uint32_t cluster)
{
    const Cluster *c = &p->g->clusters[cluster];
    uint32_t written = 0;
    for (uint32_t i = 0; i < c->nodes.n; i++)
        written += is_written(p, c->nodes.at[i]);
    return written;
}

/* What runs along with the tiles has room beside them, and time: products of
 * eight bits take half of what those of 16 do.  Clusters that have been joined
 * are empty, but for the first. */
static bool has_room(const Product *p)
{
    const Graph *g = p->g;
    uint32_t written = 0, read = 0;
    for (uint32_t i = 0; i < p->nproducts; i++) {
        uint32_t c = g->nodes[p->products[i]].cluster;
        if (i == 0 || c != g->nodes[p->products[0]].cluster)
            written += written_by(p, c);
    }
    for (uint32_t i = 0; i < p->clusters.n; i++)
        written += written_by(p, p->clusters.at[i]);
    for (uint32_t i = 0; i < p->read.n; i++)
        read += has_axes_of(g, node_inst(g, p->read.at[i])->type, p->type);
    uint32_t most = p->eight ? MOST_EIGHT : MOST_VALUES;
    return written <= MOST_VALUES && read <= most &&
           p->read.n <= 2 * MOST_VALUES - written;
}

static bool join(Product *p)
{
    uint32_t all[MOST_PRODUCTS + MOST_CLUSTERS], n = 0;
    if (p->clusters.n > MOST_CLUSTERS || !has_room(p)) return false;
    for (uint32_t i = 0; i < p->nproducts; i++)
        all[n++] = p->g->nodes[p->products[i]].cluster;
    for (uint32_t i = 0; i < p->clusters.n; i++)
        all[n++] = p->clusters.at[i];
    return fuse_join(p->g, all, n, NODE_product);
}

/* Loop groups that read no more than what is read already. */
static void add_siblings(Product *p)
{
    const Graph *g = p->g;
    for (uint32_t i = 0; i < p->read.n; i++) {
        const Node *x = &g->nodes[p->read.at[i]];
        for (uint32_t u = 0; u < x->nusers; u++) {
            uint32_t c = g->nodes[x->users[u]].cluster;
            if (g->nodes[x->users[u]].kind != NODE_loop ||
                list_has(p->clusters.at, p->clusters.n, c))
                continue;
            if (!takes_cluster(p, c, false)) continue;
            uint32_t all[2] = {g->nodes[p->products[0]].cluster, c};
            if (!has_room(p) || !fuse_join(p->g, all, 2, NODE_product))
                p->clusters.n--;
        }
    }
}

static bool make_product(Graph *g, uint32_t node, uint32_t cluster)
{
    Product p = {.g = g,
                 .type = node_inst(g, node)->type,
                 .eight = is_short(g, node),
                 .first = g->nodes[node].args[0]};
    add_product(&p, node);
    takes_products(&p, cluster);
    if (!takes_cluster(&p, cluster, true) || !join(&p)) return false;
    add_siblings(&p);
    return true;
}

/* The same with the maps of a cluster whose reductions are tallies then. */
static bool make_without(Graph *g, uint32_t node, uint32_t cluster)
{
    uint32_t maps;
    if (!fuse_cut(g, cluster, &maps)) return false;
    if (make_product(g, node, maps)) return true;
    fuse_uncut(g, cluster, maps);
    return false;
}

/* What is made twice is made by the same kernel, for the library adds up in
 * another order: the first decides, and a second that found no maps is a
 * product without. */
static void settle_twins(Graph *g)
{
    for (uint32_t i = 0; i < g->n; i++) {
        const Node *x = &g->nodes[i];
        const Inst *in = node_inst(g, i);
        int64_t twin = attr_int(g->fx->m, in->attr, AT_twin, 0);
        bool product;
        if (in->op != OP_einsum || !twin) continue;
        if (!twin_find(g->fx, in, &product))
            map_add(&g->fx->twins, (uint64_t)twin, x->kind == NODE_product);
        else if (product && x->kind != NODE_product)
            fuse_join(g, &x->cluster, 1, NODE_product);
    }
}

void fuse_products(Graph *g)
{
    for (uint32_t i = 0; i < g->n; i++) {
        if (!fuse_is_product(g, i)) continue;
        const Node *x = &g->nodes[value_of(g, i)];
        for (uint32_t u = 0; u < x->nusers; u++) {
            const Node *user = &g->nodes[x->users[u]];
            if (user->kind == NODE_loop && (make_product(g, i, user->cluster) ||
                                            make_without(g, i, user->cluster)))
                break;
        }
        fuse_parts(g, i);
        fuse_share(g, i);
    }
    settle_twins(g);
    fuse_tallies(g);
}
