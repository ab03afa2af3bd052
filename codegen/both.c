/*
 * both.c: a matrix whose blocks share numbers, in both orders (ir/both.h),
 * as kernel IR.
 *
 *     items over blocks of rows
 *         lanes over columns
 *             seq over the rows of a block: maxima of columns, or of both
 *             seq over the rows of a block: what is stored of an element
 *                 seq over the columns of a block: maxima of rows
 *
 * Whatever is asked for is an element of the matrix, the one at hand or another
 * of its blocks; where these are is noted, so that a tile which holds all of
 * its elements makes each once (gpu_both.c).  What is stored once for a block
 * is stored where that begins.
 */
#include "lower.h"

typedef struct Build {
    Lower *l;
    const BothOrders *o;
    Ix row, lane;
    LoopId lanes, sweep;
} Build;

/* The digit that has the least step of FROM .. TO - 1; NULL: none has. */
static const Digit *next_digit(const Digits *d, int64_t from, int64_t to)
{
    const Digit *best = NULL;
    for (uint32_t i = 0; i < d->n; i++) {
        const Digit *x = &d->at[i];
        bool in = x->size > 1 && x->step >= from && x->step < to;
        if (in && (!best || x->step < best->step)) best = x;
    }
    return best;
}

static void set_axis(const Build *b, Type t, Axis axis, Ix at, Ix *ix)
{
    const TypeInfo *info = type_info(b->l->m, t);
    for (uint32_t i = 0; i < info->naxes; i++)
        if (info->axes[i].axis.id == axis.id) ix[i] = at;
}

/* The row or the lane, one digit after the other, as ix_cut cuts. */
static void cut(const Build *b, Value v, bool rows, Ix *ix)
{
    Kir *k = b->l->k;
    int64_t step = rows ? b->o->columns : 1, from = step;
    int64_t to = rows ? INT64_MAX : b->o->columns;
    Ix flat = rows ? b->row : b->lane;
    const Digit *x;
    while ((x = next_digit(b->o->digits[v.id], from, to)) != NULL) {
        flat = ix_div(k, flat, x->step / step);
        set_axis(b, value_type(b->l->fn, v), x->axis, ix_mod(k, flat, x->size),
                 ix);
        step = x->step;
        from = step + 1;
    }
}

/* The index of a value at the row and the lane. */
static const Ix *value_ix(const Build *b, Value v)
{
    Kir *k = b->l->k;
    uint32_t n = type_info(b->l->m, value_type(b->l->fn, v))->naxes;
    Ix *ix = NEW_ARRAY(k->arena, Ix, n + 1);
    for (uint32_t i = 0; i < n; i++)
        ix[i] = ix_const(k, 0);
    cut(b, v, false, ix);
    cut(b, v, true, ix);
    return ix;
}

/* Elements of a value along the rows, or along the columns. */
static int64_t extent(const Build *b, Value v, bool rows)
{
    const Digits *d = b->o->digits[v.id];
    int64_t n = 1;
    for (uint32_t i = 0; i < d->n; i++)
        if ((d->at[i].step >= b->o->columns) == rows) n *= d->at[i].size;
    return n;
}

static void store(const Build *b, uint32_t result, const Ix *ix, Node v)
{
    Lower *l = b->l;
    Kir *k = l->k;
    Value of = l->fn->result_values[result];
    uint32_t arg = l->fn->nparams + result;
    bool once = extent(b, of, true) < b->o->rows; /* for all of the sweep */
    Ix at = ix_const(k, 0);
    for (uint32_t i = 0;
         i < type_info(l->m, l->fn->results[result].type)->naxes; i++)
        at = ix_add_scaled(k, at, ix[i], k->args[arg].stride[i]);
    Node first = {0};
    if (extent(b, of, false) < b->o->columns)
        first = node_divides(k, b->lane, b->o->beside);
    node_store(k, once ? b->lanes : b->sweep, arg, at, first, v);
}

/* What is stored once for all rows of a block comes behind their sweep. */
static void store_results(const Build *b, const Ix *const *ix,
                          const Node *values, bool once)
{
    const Lower *l = b->l;
    for (uint32_t r = 0; r < l->fn->nresults; r++) {
        Value v = l->fn->result_values[r];
        if ((extent(b, v, true) < b->o->rows) == once)
            store(b, r, ix[r], values[r]);
    }
}

/* The element of the matrix, wherever it was asked for. */
static void note_elements(Lower *l, Value matrix)
{
    Kir *k = l->k;
    for (uint32_t i = 0; i < l->known.n; i++) {
        const Known *at = &l->known.at[i];
        bool seen = at->value.id != matrix.id;
        for (uint32_t j = 0; j < k->elements.n; j++)
            seen |= k->elements.at[j].id == at->node.id;
        if (!seen) vec_push(k->arena, &k->elements, at->node);
    }
}

void lower_both(Lower *l, const BothOrders *o)
{
    Kir *k = l->k;
    uint32_t n = l->fn->nresults;
    const Ix **ix = NEW_ARRAY(k->arena, const Ix *, n);
    Node *values = NEW_ARRAY(k->arena, Node, n);
    k->rows = o->rows / o->each;
    k->chunks = k->width = 1;
    k->across = true;
    l->lanes_inner = false;
    LoopId items = l->items = loop_open(k, LOOP_items, 0, 0, k->rows);
    LoopId lanes = loop_open(k, LOOP_lanes, items, 0, o->columns);
    k->loops.at[lanes].chunk = o->columns;
    LoopId sweep = loop_open(k, LOOP_seq, lanes, 0, o->each);
    Build b = {.l = l, .o = o, .lanes = lanes, .sweep = sweep};
    b.lane = ix_var(k, lanes);
    b.row = ix_add_scaled(k, ix_var(k, sweep), ix_var(k, items), o->each);
    for (uint32_t r = 0; r < n; r++) {
        ix[r] = value_ix(&b, l->fn->result_values[r]);
        values[r] = eval(l, l->fn->result_values[r], ix[r], (Node){0});
    }
    store_results(&b, ix, values, false);
    loop_close(k, sweep);
    store_results(&b, ix, values, true);
    loop_close(k, lanes);
    loop_close(k, items);
    note_elements(l, o->of);
}
