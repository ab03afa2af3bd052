/*
 * shape.c: whether nodes have the shape of a loop group.
 *
 * What they reduce says what the row axes P and the inner axes R of a kernel
 * would be (rules G1 to G3 of docs/architecture.md); then each node has to fit:
 * its axes are of these, and nothing expensive is made more often than before.
 */
#include "shape.h"

enum { MOST_ARGS = 40 };

/* ------------------------------------------------------- sets of axes -- */

static bool set_has(const AxisSet *s, const TypeAxis *a)
{
    for (uint32_t i = 0; i < s->n; i++)
        if (s->at[i].axis.id == a->axis.id) return s->at[i].size == a->size;
    return false;
}

static void set_add(AxisSet *s, const TypeAxis *a)
{
    if (s->n < MOST_AXES && !set_has(s, a)) s->at[s->n++] = *a;
}

static void set_of_type(const Module *m, Type t, AxisSet *s)
{
    const TypeInfo *ti = type_info(m, t);
    s->n = 0;
    for (uint32_t i = 0; i < ti->naxes; i++)
        set_add(s, &ti->axes[i]);
}

static bool set_within(const AxisSet *small, const AxisSet *large)
{
    for (uint32_t i = 0; i < small->n; i++)
        if (!set_has(large, &small->at[i])) return false;
    return true;
}

static bool set_same(const AxisSet *x, const AxisSet *y)
{
    return x->n == y->n && set_within(x, y);
}

static int64_t set_elements(const Module *m, const AxisSet *s)
{
    int64_t n = 1;
    for (uint32_t i = 0; i < s->n; i++)
        n *= type_local_size(m, &s->at[i]);
    return n;
}

/* -------------------------------------------- the shape of a loop group -- */

void fuse_mark(Graph *g, const Nodes *nodes)
{
    g->epoch++;
    for (uint32_t i = 0; i < nodes->n; i++)
        g->nodes[nodes->at[i]].mark = g->epoch;
}

bool is_marked(const Graph *g, uint32_t node)
{
    return g->nodes[node].mark == g->epoch;
}

static bool leaves(const Graph *g, uint32_t node)
{
    const Node *x = &g->nodes[node];
    if (x->result) return true;
    for (uint32_t i = 0; i < x->nusers; i++)
        if (!is_marked(g, x->users[i])) return true;
    return false;
}

bool sums_inner(Op op)
{
    return op == OP_reduce || op == OP_cumsum;
}

/* One sweep over R makes running sums in one direction only. */
static bool shape_direction(const Module *m, const Inst *in, Shape *s)
{
    bool reverse = attr_flag(m, in->attr, AT_reverse);
    if (in->op != OP_cumsum) return true;
    if (s->running && s->reverse != reverse) return false;
    s->running = true;
    s->reverse = reverse;
    return true;
}

/* A sum in f32, or a maximum, whose order does not matter. */
bool shape_reduces_rows(const Graph *g, const Inst *in, bool *maximum)
{
    const Module *m = g->fx->m;
    DType d = type_dtype(m, value_type(g->fn, inst_arg(g->fn, in, 0)));
    *maximum = in->op == OP_reduce && attr_is(m, in->attr, AT_kind, "max");
    bool sum = in->op == OP_reduce && attr_is(m, in->attr, AT_kind, "sum");
    return (sum || *maximum) &&
           attr_dtype(m, in->attr, AT_acc, dtype_acc(d)) == DT_f32 &&
           !type_info(m, in->type)->npending;
}

bool shape_holds_columns(int64_t columns)
{
    enum { BESIDE = 8, MOST_COLUMNS = 1 << 15 };
    return columns % BESIDE == 0 && columns <= MOST_COLUMNS;
}

int64_t shape_rows_together(int64_t columns)
{
    enum { OF_WARP = 1024, OF_BLOCK = 4096, MOST_ROWS = 16 };
    int64_t rows = 1;
    while (columns <= OF_WARP && rows < MOST_ROWS &&
           2 * rows * columns <= OF_BLOCK)
        rows *= 2;
    return rows;
}

/* Rows lie outside of columns, and what is reduced are rows: all for a sum. */
static bool goes_over_rows(const Graph *g, const Shape *s, const AxisSet *kept,
                           bool maximum)
{
    bool columns = false, any = false;
    for (uint32_t i = 0; i < s->all.n; i++) {
        const TypeAxis *a = &s->all.at[i];
        bool row = set_has(&s->rows, a);
        if (!row && !set_has(kept, a)) return false;
        bool outer = maximum && outer_has(&g->fx->outer, a->axis);
        if (row && (columns || (!maximum && set_has(kept, a))) && !outer)
            return false;
        columns |= !row;
        any |= row && !set_has(kept, a);
    }
    return any;
}

static int64_t columns_of(const Module *m, const Shape *s)
{
    return set_elements(m, &s->all) / set_elements(m, &s->rows);
}

int64_t shape_turns(const Module *m, const TypeAxis *a, int64_t least,
                    int64_t most)
{
    int64_t turns = 0, size = type_local_size(m, a);
    for (int64_t n = least; n <= most && n < size && !a->nsplits; n++)
        if (size % n == 0) turns = n;
    return turns;
}

/* How many rows of an axis that is reduced, of the innermost that can be cut,
 * run one after the other, so that the others, side by side, are about what a
 * GPU has at hand: a part of the axis. */
static bool find_walk(const Graph *g, const AxisSet *kept, Shape *s)
{
    enum { LEAST_TURNS = 4 };
    const Module *m = g->fx->m;
    int64_t all = set_elements(m, &s->all);
    int64_t most = all * shape_rows_together(columns_of(m, s)) / g->fx->at_hand;
    for (uint32_t i = s->all.n; i-- > 0;) {
        const TypeAxis *a = &s->all.at[i];
        if (!set_has(&s->rows, a) || set_has(kept, a)) continue;
        int64_t turns = shape_turns(m, a, LEAST_TURNS, most);
        if (turns == 0) continue;
        if (s->turns) return s->walked.axis.id == a->axis.id;
        s->walked = *a;
        s->turns = turns;
        return true;
    }
    return false;
}

bool shape_is_column(const Graph *g, uint32_t node, Shape *s)
{
    const Module *m = g->fx->m;
    const Inst *in = node_inst(g, node);
    AxisSet all, kept;
    bool maximum;
    if (!g->fx->at_hand || s->running || !shape_reduces_rows(g, in, &maximum))
        return false;
    set_of_type(m, value_type(g->fn, inst_arg(g->fn, in, 0)), &all);
    set_of_type(m, in->type, &kept);
    if (!set_same(&all, &s->all) || !goes_over_rows(g, s, &kept, maximum) ||
        !shape_holds_columns(columns_of(m, s)))
        return false;
    for (uint32_t u = 0; u < g->nodes[node].nusers; u++)
        if (is_marked(g, g->nodes[node].users[u])) return false;
    return find_walk(g, &kept, s);
}

/* Adds what a reduce or cumsum says about P and R; false: contradicts. */
static bool shape_sum(const Graph *g, uint32_t node, Shape *s)
{
    const Module *m = g->fx->m;
    const Inst *in = node_inst(g, node);
    AxisSet rows, all;
    if (!shape_direction(m, in, s)) return false;
    set_of_type(m, value_type(g->fn, inst_arg(g->fn, in, 0)), &all);
    Type t = in->type;
    if (in->op == OP_cumsum)
        t = type_without_axis(g->fx->m, t, attr_axis(m, in->attr, AT_axis));
    set_of_type(m, t, &rows);
    if (s->reduces)
        return (set_same(&s->rows, &rows) && set_same(&s->all, &all)) ||
               shape_is_column(g, node, s);
    s->reduces = true;
    s->rows = rows;
    s->all = all;
    return true;
}

/* An axis of a node's value, where maps and names of the group lead to. */
typedef struct Root {
    uint32_t node;
    Axis axis;
} Root;

static Root find_root(const Graph *g, uint32_t node, Axis axis)
{
    uint32_t k;
    while (is_marked(g, node) &&
           axis_below(g->fx->m, g->fn, node_inst(g, node), &axis, &k))
        node = g->nodes[node].args[k];
    return (Root){node, axis};
}

/* Two axes of a value lead down to one: names do not tell them apart. */
static bool has_twins(const Graph *g, uint32_t x)
{
    const TypeInfo *t = type_info(g->fx->m, node_type(g, x));
    for (uint32_t i = 0; i < t->naxes; i++) {
        Root a = find_root(g, x, t->axes[i].axis);
        for (uint32_t j = 0; j < i; j++) {
            Root b = find_root(g, x, t->axes[j].axis);
            if (a.node == b.node && a.axis.id == b.axis.id) return true;
        }
    }
    return false;
}

/* The axes of both are the same ones, under other names (ir/turned.h). */
static bool is_turned(const Graph *g, uint32_t x, uint32_t y)
{
    const TypeInfo *tx = type_info(g->fx->m, node_type(g, x));
    const TypeInfo *ty = type_info(g->fx->m, node_type(g, y));
    if (tx->naxes != ty->naxes || has_twins(g, x)) return false;
    for (uint32_t i = 0; i < tx->naxes; i++) {
        Root a = find_root(g, x, tx->axes[i].axis);
        bool found = false;
        for (uint32_t j = 0; j < ty->naxes; j++) {
            Root b = find_root(g, y, ty->axes[j].axis);
            found |= a.node == b.node && a.axis.id == b.axis.id;
        }
        if (!found || is_marked(g, a.node)) return false;
    }
    return true;
}

/* The shape that the sum number FIRST (or else none) gives to all. */
static bool shape_from(const Graph *g, const Nodes *nodes, uint32_t first,
                       Shape *s)
{
    *s = (Shape){0};
    if (first < nodes->n && !shape_sum(g, nodes->at[first], s)) return false;
    for (uint32_t i = 0; i < nodes->n; i++)
        if (sums_inner((Op)node_inst(g, nodes->at[i])->op) &&
            !shape_sum(g, nodes->at[i], s))
            return false;
    bool found = s->reduces, row = false;
    for (uint32_t i = 0; i < nodes->n; i++) {
        if (!leaves(g, nodes->at[i])) continue;
        AxisSet axes;
        set_of_type(g->fx->m, node_type(g, nodes->at[i]), &axes);
        if (!found) {
            s->rows = s->all = axes;
            s->first = nodes->at[i];
        }
        found = true;
        bool fits = set_same(&axes, &s->rows) || set_same(&axes, &s->all) ||
                    (!s->reduces && is_turned(g, nodes->at[i], s->first));
        if (!fits && !(s->turns && shape_is_column(g, nodes->at[i], s)))
            return false;
        row |= fits;
    }
    return row || !s->turns;
}

/* Where sums go both ways, the first of either may be the rows'. */
bool shape_find(const Graph *g, const Nodes *nodes, Shape *s)
{
    bool any = false;
    for (uint32_t i = 0; i < nodes->n; i++) {
        if (!sums_inner((Op)node_inst(g, nodes->at[i])->op)) continue;
        if (shape_from(g, nodes, i, s)) return true;
        if (!g->fx->at_hand) return false;
        any = true;
    }
    return !any && shape_from(g, nodes, nodes->n, s);
}

static bool is_move(Op op)
{
    return op != OP_map && !sums_inner(op);
}

/* A move that reads each element of its operand at most once. */
static bool is_injective(Op op)
{
    return op != OP_window && op != OP_fold && op != OP_gather;
}

/* How a node stands in the group: below a move it may be asked for at any
 * index; `often` when that is more than once for each. */
typedef struct Standing {
    bool below, often;
} Standing;

static bool cheap_node(const Graph *g, uint32_t node)
{
    const Inst *in = node_inst(g, node);
    return in->op != OP_map ||
           expr_is_cheap(g->fx->m, attr_expr(g->fx->m, in->attr));
}

/* Rules for one node.  A value with fewer axes than the rows is computed for
 * every row, so it must be cheap, as must one that moves repeat. */
static bool node_fits(const Graph *g, uint32_t node, Standing at,
                      const Shape *s)
{
    const Module *m = g->fx->m;
    Op op = (Op)node_inst(g, node)->op;
    if (at.below && sums_inner(op)) return false;
    AxisSet axes;
    set_of_type(m, node_type(g, node), &axes);
    if (at.below) {
        bool more = set_elements(m, &s->all) > set_elements(m, &axes);
        return !(at.often || more) || cheap_node(g, node);
    }
    if (!s->reduces && is_turned(g, node, s->first)) return true;
    if (!set_within(&axes, &s->all)) return false;
    if (axes.n == s->rows.n && set_same(&axes, &s->rows)) return true;
    if (axes.n == s->all.n) return true;
    return cheap_node(g, node);
}

/* The nodes are marked and ascending, so users come after operands. */
bool shape_takes(const Graph *g, const Nodes *nodes, const Shape *s)
{
    Standing at[MOST_NODES] = {{0}};
    uint32_t nargs = 0;
    for (uint32_t i = nodes->n; i-- > 0;) {
        const Node *x = &g->nodes[nodes->at[i]];
        Op op = (Op)node_inst(g, nodes->at[i])->op;
        for (uint32_t k = 0; k < nodes->n && k < i; k++) {
            bool used = false;
            for (uint32_t a = 0; a < x->nargs; a++)
                used |= x->args[a] == nodes->at[k];
            if (!used) continue;
            at[k].below |= at[i].below || is_move(op);
            at[k].often |= at[i].often || (is_move(op) && !is_injective(op));
        }
        if (!node_fits(g, nodes->at[i], at[i], s)) return false;
        for (uint32_t a = 0; a < x->nargs; a++)
            nargs += !is_marked(g, x->args[a]);
    }
    return nargs <= MOST_ARGS;
}
