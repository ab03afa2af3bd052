/*
 * share.c: maps of a product of which neighbouring columns share a number.
 *
 *     %p                    a product, or maps of one      [row.., column]
 *     %n = rename %p from (column) to (x)                  or not
 *     %c = split %n axis x to (block, part)                [row.., block, part]
 *     %a = map %c { abs(f32(_0)) }
 *     %m = reduce %a kind max axes (part)                  [row.., block]
 *     %q = map %c, %m { e4m3(f32(_0) * scale(_1)) }
 *     %z = merge %q axis x from (block, part)
 *     %r = rename %z from (x) to (column)
 *
 * So blocks of 32 or 128 columns are scaled by the largest of them.  Where a
 * tile of the product has whole blocks, all of one is at hand when the sums
 * are, and neither the value nor its scales reach memory unless somebody else
 * reads them (codegen/matmul_values.c).
 *
 * Everything that is made of the cut value up to the names that the product has
 * is one of these, and is asked for nowhere else.
 */
#include "fuse.h"

enum {
    MOST_PRODUCTS = 2,
    MOST_SEEN = 32,  /* nodes between a product and the cut */
    MOST_VALUES = 4, /* read, and written */
    MOST_ALL = 8,
    LEAST_PART = 16,
    MOST_PART = 128,
    UNIT_BYTES = 16 /* of the copy engine's rows */
};

/* What a value has: the product's axes, those with another name for the last,
 * the last in parts, or what parts share. */
typedef enum Axes {
    AXES_none,
    AXES_whole,
    AXES_named,
    AXES_cut,
    AXES_shared
} Axes;

typedef struct Share {
    Graph *g;
    uint32_t product, nproducts;
    Attr split; /* of all splits */
    Axis block, part;
    Type as[AXES_shared + 1]; /* with each of them, as f32 */
    Numbers nodes, clusters, read;
} Share;

static Axes axes_of(const Share *s, uint32_t node)
{
    Type t = node_axes(s->g, node);
    for (Axes x = AXES_whole; x <= AXES_shared; x++)
        if (type_eq(t, s->as[x])) return x;
    return AXES_none;
}

/* --------------------------------------------------------------- the cut -- */

/* The last axis, of which tiles have whole blocks. */
static bool is_cut(Share *s, const Inst *in)
{
    Module *m = s->g->fx->m;
    const AttrItem *to = attr_get(m, in->attr, AT_to);
    Type from = value_type(s->g->fn, inst_arg(s->g->fn, in, 0));
    const TypeInfo *ti = type_info(m, from);
    if (to->n != 2 ||
        attr_axis(m, in->attr, AT_axis).id != ti->axes[ti->naxes - 1].axis.id)
        return false;
    s->split = in->attr;
    s->block = to->axes[0];
    s->part = to->axes[1];
    s->as[AXES_named] = type_with_dtype(m, from, DT_f32);
    s->as[AXES_cut] = type_with_dtype(m, in->type, DT_f32);
    s->as[AXES_shared] = type_without_axis(m, s->as[AXES_cut], s->part);
    int64_t n = type_local_size(m, type_axis(m, in->type, s->part));
    return n >= LEAST_PART && n <= MOST_PART && (n & (n - 1)) == 0;
}

/* A name for the last axis alone. */
static bool is_name(const Share *s, const Inst *in)
{
    const Module *m = s->g->fx->m;
    const AttrItem *from = attr_get(m, in->attr, AT_from);
    const TypeInfo *ti = type_info(m, s->as[AXES_whole]);
    return in->op == OP_rename && from->n == 1 &&
           from->axes[0].id == ti->axes[ti->naxes - 1].axis.id;
}

/* The first cut of what is made of the product; UINT32_MAX: there is none. */
static uint32_t find_cut(Share *s)
{
    const Graph *g = s->g;
    Numbers seen = {0};
    vec_push(g->fx->a, &seen, s->product);
    for (uint32_t i = 0; i < seen.n && seen.n < MOST_SEEN; i++) {
        const Node *x = &g->nodes[seen.at[i]];
        for (uint32_t u = 0; u < x->nusers; u++) {
            const Inst *in = node_inst(g, x->users[u]);
            if (in->op == OP_split && is_cut(s, in)) return x->users[u];
            bool map = in->op == OP_map &&
                       type_eq(node_axes(s->g, x->users[u]), s->as[AXES_whole]);
            if ((map || is_name(s, in)) && !is_listed(&seen, x->users[u]))
                vec_push(g->fx->a, &seen, x->users[u]);
        }
    }
    return UINT32_MAX;
}

/* --------------------------------------------------------- what is made -- */

static bool reduces(const Share *s, const Inst *in)
{
    const Module *m = s->g->fx->m;
    const AttrItem *axes = attr_get(m, in->attr, AT_axes);
    DType d = type_dtype(m, value_type(s->g->fn, inst_arg(s->g->fn, in, 0)));
    return axes->n == 1 && axes->axes[0].id == s->part.id &&
           (attr_is(m, in->attr, AT_kind, "max") ||
            attr_is(m, in->attr, AT_kind, "sum")) &&
           attr_dtype(m, in->attr, AT_acc, dtype_acc(d)) == DT_f32;
}

static bool is_product(const Share *s, uint32_t node)
{
    const Graph *g = s->g;
    return node == s->product ||
           ((g->nodes[node].cluster == g->nodes[s->product].cluster ||
             fuse_is_product(g, node)) &&
            g->nodes[node].args[0] == g->nodes[s->product].args[0] &&
            type_eq(node_axes(s->g, node), s->as[AXES_whole]));
}

static bool takes(Share *s, uint32_t node)
{
    const Graph *g = s->g;
    const Module *m = g->fx->m;
    const Node *x = &g->nodes[node];
    const Inst *in = node_inst(g, node);
    Axes has = axes_of(s, node);
    if (has == AXES_none || x->part || !dtype_fits_f32(type_dtype(m, in->type)))
        return false;
    Axes of = x->nargs ? axes_of(s, x->args[0]) : AXES_none;
    switch (in->op) {
    case OP_einsum:
        return is_product(s, node) && ++s->nproducts <= MOST_PRODUCTS;
    case OP_map:
        return x->nargs > 0 && !map_asks_index(m, in, in->type);
    case OP_rename:
        return (has == AXES_whole && of == AXES_named) ||
               (has == AXES_named && of == AXES_whole);
    case OP_split:
        return in->attr.id == s->split.id;
    case OP_reduce:
        return has == AXES_shared && of == AXES_cut && reduces(s, in);
    case OP_merge:
        return has <= AXES_named && of == AXES_cut;
    default:
        return false;
    }
}

/* --------------------------------------------------------------- walking -- */

static void take_cluster(Share *s, uint32_t cluster)
{
    const Cluster *c = &s->g->clusters[cluster];
    if (is_listed(&s->clusters, cluster)) return;
    vec_push(s->g->fx->a, &s->clusters, cluster);
    for (uint32_t i = 0; i < c->nodes.n; i++)
        vec_push(s->g->fx->a, &s->nodes, c->nodes.at[i]);
}

/* What a map of the product reads beside it has some of its axes, what one of
 * parts reads has none. */
static bool is_beside(const Share *s, uint32_t node, Axes by)
{
    const Module *m = s->g->fx->m;
    const TypeInfo *ti = type_info(m, node_inst(s->g, node)->type);
    for (uint32_t i = 0; i < ti->naxes; i++)
        if (by != AXES_whole ||
            !type_axis(m, s->as[AXES_whole], ti->axes[i].axis))
            return false;
    return dtype_fits_f32((DType)ti->dtype);
}

/* Operands are of the group, or are read. */
static bool takes_operands(Share *s, uint32_t node)
{
    const Graph *g = s->g;
    const Node *x = &g->nodes[node];
    Axes has = axes_of(s, node);
    if (node_inst(g, node)->op == OP_einsum) return true;
    for (uint32_t a = 0; a < x->nargs; a++) {
        uint32_t from = x->args[a];
        Axes of = axes_of(s, from);
        bool map = node_inst(g, node)->op == OP_map;
        bool made = of > AXES_whole || !map ||
                    (of == AXES_whole && is_product(s, from));
        if (made)
            take_cluster(s, g->nodes[from].cluster);
        else if (is_listed(&s->clusters, g->nodes[from].cluster))
            continue;
        else if (!is_beside(s, from, has))
            return false;
        else if (!is_listed(&s->read, from))
            vec_push(g->fx->a, &s->read, from);
    }
    return true;
}

/* Only values with the product's axes are known outside. */
static bool takes_users(Share *s, uint32_t node)
{
    const Node *x = &s->g->nodes[node];
    if (axes_of(s, node) == AXES_whole) return true;
    for (uint32_t u = 0; u < x->nusers; u++)
        take_cluster(s, s->g->nodes[x->users[u]].cluster);
    return !x->result;
}

/* Values that are written; MOST_ALL: one has no rows for the copy engine. */
static uint32_t count_written(const Share *s)
{
    const Graph *g = s->g;
    const Module *m = g->fx->m;
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->nodes.n; i++) {
        const Node *x = &g->nodes[s->nodes.at[i]];
        const TypeInfo *ti = type_info(m, node_inst(g, s->nodes.at[i])->type);
        bool is = x->result;
        for (uint32_t u = 0; u < x->nusers; u++)
            is |= !is_listed(&s->clusters, g->nodes[x->users[u]].cluster);
        n += is;
        int64_t row = type_local_size(m, &ti->axes[ti->naxes - 1]) *
                      dtype_bytes((DType)ti->dtype);
        if (is && row % UNIT_BYTES != 0) return MOST_ALL;
    }
    return n;
}

static bool has_room(const Share *s)
{
    uint32_t written = count_written(s), whole = 0;
    for (uint32_t i = 0; i < s->read.n; i++)
        whole += axes_of(s, s->read.at[i]) == AXES_whole;
    return written <= MOST_VALUES && whole <= MOST_VALUES &&
           written + s->read.n <= MOST_ALL;
}

void fuse_share(Graph *g, uint32_t product)
{
    Share s = {.g = g, .product = product};
    s.as[AXES_whole] = node_axes(s.g, product);
    for (Axes x = AXES_named; x <= AXES_shared; x++)
        s.as[x] = s.as[AXES_whole];
    uint32_t cut = find_cut(&s);
    if (cut == UINT32_MAX) return;
    take_cluster(&s, g->nodes[product].cluster);
    take_cluster(&s, g->nodes[cut].cluster);
    for (uint32_t i = 0; i < s.nodes.n; i++)
        if (!takes(&s, s.nodes.at[i]) || !takes_operands(&s, s.nodes.at[i]) ||
            !takes_users(&s, s.nodes.at[i]))
            return;
    if (has_room(&s)) fuse_join(g, s.clusters.at, s.clusters.n, NODE_product);
}
