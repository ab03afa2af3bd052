/*
 * strips.c: reductions of long columns, in parts.
 *
 *     %t : [row, column] = map ..               perhaps a result, too
 *     %s : [column]      = reduce %t sum (row)
 *     %u : [column]      = map %s { bf16(_0) }
 *
 * A block of threads would go down some columns, and few columns are few
 * blocks.  So a group reduces some rows at a time, and a small one these parts,
 * with what is made of them.  Where the first group gives what has all axes, a
 * part is of rows that run one after the other in the same threads
 * (ir/column.h); else it is a reduction like any other, of shorter columns.
 */
#include "shape.h"

typedef struct Strips {
    Graph *g;
    uint32_t cluster;
    Nodes nodes, early, cut, late; /* all; what is left, what is cut, and what
                                      is made of that */
    Shape s;
    int64_t rows, columns, turns; /* all, and rows of a part */
    TypeAxis walked;              /* of this axis */
    bool whole;                   /* something that leaves has all axes */
} Strips;

static bool has_axis(const AxisSet *s, Axis a)
{
    for (uint32_t i = 0; i < s->n; i++)
        if (s->at[i].axis.id == a.id) return true;
    return false;
}

/* Rows lie outside of columns. */
static bool finds_rows(Strips *x)
{
    const Module *m = x->g->fx->m;
    bool columns = false;
    x->rows = x->columns = 1;
    for (uint32_t i = 0; i < x->s.all.n; i++) {
        const TypeAxis *a = &x->s.all.at[i];
        bool kept = has_axis(&x->s.rows, a->axis);
        *(kept ? &x->columns : &x->rows) *= type_local_size(m, a);
        if (!kept && columns) return false;
        columns |= kept && !outer_has(&x->g->fx->outer, a->axis);
    }
    return columns && x->rows > 1;
}

static bool reads_any(const Graph *g, uint32_t node, const Nodes *of)
{
    const Node *n = &g->nodes[node];
    for (uint32_t i = 0; i < n->nargs; i++)
        for (uint32_t k = 0; k < of->n; k++)
            if (n->args[i] == of->at[k]) return true;
    return false;
}

static bool reduces(const Graph *g, uint32_t node)
{
    return node_inst(g, node)->op == OP_reduce;
}

/* What is made of a reduction has columns alone, and is made of nothing else of
 * the group; what is left and leaves has all axes. */
static bool sorts_nodes(Strips *x)
{
    Graph *g = x->g;
    for (uint32_t i = 0; i < x->nodes.n; i++) {
        uint32_t node = x->nodes.at[i];
        const TypeInfo *t = type_info(g->fx->m, node_type(g, node));
        bool made = reads_any(g, node, &x->cut) || reads_any(g, node, &x->late);
        if (made && (reduces(g, node) || reads_any(g, node, &x->early) ||
                     t->naxes > x->s.rows.n))
            return false;
        bool late = made, cut = !made && reduces(g, node);
        if (!late && !cut && fuse_is_read_outside(g, node)) {
            if (t->naxes != x->s.all.n) return false;
            x->whole = true;
        }
        vec_push(g->fx->a, late ? &x->late : cut ? &x->cut : &x->early, node);
    }
    return true;
}

/* It puts parts together already. */
static bool reduces_parts(const Graph *g, uint32_t node)
{
    return g->nodes[g->nodes[node].args[0]].part;
}

static bool takes(Strips *x)
{
    Graph *g = x->g;
    bool maximum, any = false;
    fuse_add_cluster(g, x->cluster, &x->nodes);
    for (uint32_t i = 0; i < x->nodes.n; i++) {
        const Node *n = &g->nodes[x->nodes.at[i]];
        const Inst *in = node_inst(g, x->nodes.at[i]);
        if (n->kind != NODE_loop || n->part) return false;
        if (in->op == OP_reduce && (!shape_reduces_rows(g, in, &maximum) ||
                                    reduces_parts(g, x->nodes.at[i])))
            return false;
        if (in->op != OP_map && in->op != OP_reduce) return false;
        any |= in->op == OP_reduce;
    }
    if (!any) return false;
    fuse_mark(g, &x->nodes);
    return shape_find(g, &x->nodes, &x->s) && !x->s.turns && finds_rows(x) &&
           sorts_nodes(x);
}

/* Rows of a part, of the innermost axis that can be cut: as many as leave the
 * parts that a GPU has at hand. */
static bool find_turns(Strips *x)
{
    /* A part of columns alone is made by blocks of threads, which load many
     * rows at a time: so many columns have enough of them as they are. */
    enum { BLOCKS = 32, FULL = 256, LEAST_OF_BLOCK = 32, LEAST = 4 };
    int64_t hand = x->g->fx->at_hand, all = x->rows * x->columns;
    int64_t least = x->whole ? LEAST : LEAST_OF_BLOCK;
    int64_t most = x->whole ? 2 * all * shape_rows_together(x->columns) / hand
                            : all * BLOCKS / hand;
    if (x->whole ? !shape_holds_columns(x->columns) : x->columns * FULL >= hand)
        return false;
    for (uint32_t i = x->s.all.n; i-- > 0 && !x->turns;) {
        x->walked = x->s.all.at[i];
        if (!has_axis(&x->s.rows, x->walked.axis))
            x->turns = shape_turns(x->g->fx->m, &x->walked, least, most);
    }
    return x->turns > 0;
}

/* The first number of a part is that of the cluster that reduces them. */
static void cut(Strips *x)
{
    Graph *g = x->g;
    Nodes behind = {0};
    uint32_t to = 0;
    fuse_set_cluster(g, x->cluster, &x->early);
    for (uint32_t i = 0; i < x->cut.n; i++) {
        uint32_t node = x->cut.at[i];
        uint32_t part = fuse_part(g, node,
                                  (Node){.kind = NODE_loop,
                                         .cluster = x->cluster,
                                         .after = g->nodes[node].after,
                                         .turns = x->turns,
                                         .walked = x->walked.axis});
        if (i == 0) to = part;
    }
    fuse_set_cluster(g, to, &(Nodes){0});
    for (uint32_t i = 0, k = 0; i < x->cut.n || k < x->late.n;) {
        bool first =
            k == x->late.n || (i < x->cut.n && x->cut.at[i] < x->late.at[k]);
        vec_push(g->fx->a, &behind, first ? x->cut.at[i++] : x->late.at[k++]);
    }
    fuse_set_cluster(g, to, &behind);
}

void fuse_strips(Graph *g)
{
    uint32_t n = g->n;
    for (uint32_t c = 0; c < n && g->fx->at_hand; c++) {
        Strips x = {.g = g, .cluster = c};
        if (takes(&x) && find_turns(&x)) cut(&x);
    }
}
