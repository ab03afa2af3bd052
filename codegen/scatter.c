/*
 * scatter.c: kernels of `scatter` and of `put` in place.
 *
 * Both write rows that are named by loaded ids, several of which may be
 * equal.  An item is one id; the first item with an id adds the updates of
 * all items with that id, in order, and writes their row; of a put, the last
 * item with an id writes.  So each row has one writer, nothing is atomic, and
 * the order of additions is that of the logical index.
 *
 *     items u over the axes of ids
 *         lanes v: the least and the greatest u' with ids[u'] = ids[u]
 *         when u is the least (of a put, the greatest)
 *             seq over the other kept axes, lanes over the innermost
 *                 seq from the least u' to the greatest, when ids[u'] =
 *                     ids[u]: sum of the updates
 *                 store, of a scatter that is added to a value in its place:
 *                     that plus the sum
 *
 * Ids of a put that are distinct need no search: each item writes.
 *
 * Results with few elements are better read off: each element sums what has
 * its id.  That form is also the rule of these ops at an index.  Where there is
 * much to sum, an element is a row whose lanes are the updates, and the sum a
 * row's tree:
 *
 *     items over the result
 *         lanes over all updates: sum of those whose id is ours
 */
#include "lower.h"

/* The axes by what they are to the op.  Ids are read at `kept` and `summed`,
 * updates at all but the axis itself. */
typedef struct Parts {
    Value ids, updates;
    Axis axis;
    Type result;
    VEC(TypeAxis) kept;   /* of ids and the result */
    VEC(TypeAxis) summed; /* of ids alone: items that may share an id */
    VEC(TypeAxis) wide;   /* of the result, not of ids */
    VEC(TypeAxis) deep;   /* of the updates alone */
    bool alike;           /* an id is the same for all lanes */
    DType id, item;       /* integers that hold an id, and an item's number */
} Parts;

static bool is_short(DType d)
{
    return d == DT_i32 || dtype_bytes(d) < 4;
}

static Parts parts_of(Lower *l, const Inst *in)
{
    bool put = in->op == OP_put;
    Parts p = {.ids = inst_arg(l->fn, in, put ? 1 : 0),
               .updates = inst_arg(l->fn, in, put ? 2 : 1),
               .axis = attr_axis(l->m, in->attr, AT_axis),
               .result = in->type};
    Arena *a = l->k->arena;
    const TypeInfo *ids = type_info(l->m, value_type(l->fn, p.ids));
    const TypeInfo *up = type_info(l->m, value_type(l->fn, p.updates));
    const TypeInfo *r = type_info(l->m, in->type);
    for (uint32_t i = 0; i < ids->naxes; i++) {
        Axis x = ids->axes[i].axis;
        if (x.id != p.axis.id && type_axis(l->m, in->type, x))
            vec_push(a, &p.kept, ids->axes[i]);
        else
            vec_push(a, &p.summed, ids->axes[i]);
    }
    Type t = value_type(l->fn, p.ids);
    int64_t items = axes_extent(l, p.summed.at, p.summed.n);
    bool few = axis_extent(l, in->type, p.axis) < INT32_MAX;
    p.id = few && is_short(type_dtype(l->m, t)) ? DT_i32 : DT_i64;
    p.item = items < INT32_MAX ? DT_i32 : DT_i64;
    for (uint32_t i = 0; i < r->naxes; i++)
        if (r->axes[i].axis.id != p.axis.id &&
            !type_axis(l->m, t, r->axes[i].axis))
            vec_push(a, &p.wide, r->axes[i]);
    for (uint32_t i = 0; i < up->naxes; i++)
        if (!type_axis(l->m, t, up->axes[i].axis) &&
            !type_axis(l->m, in->type, up->axes[i].axis))
            vec_push(a, &p.deep, up->axes[i]);
    return p;
}

static Node id_at(Lower *l, const Env *e, const Parts *p, Node guard)
{
    return node_cast(l->k, p->id, env_eval(l, e, p->ids, guard));
}

static Node equal(Kir *k, Node a, Node b)
{
    return node_scalar(k, SC_eq, DT_bool, a, b, (Node){0});
}

static LoopId lowest(const Lower *l, const Env *e)
{
    const Kir *k = l->k;
    LoopId at = l->items;
    for (uint32_t i = 0; i < e->n; i++) {
        LoopId x = ix_info(k, e->at[i].ix)->loop;
        if (k->loops.at[x].depth > k->loops.at[at].depth) at = x;
    }
    return at;
}

static Node close_with(Kir *k, LoopId loop, AccKind kind, DType d, Node x)
{
    vec_push(k->arena, &k->loops.at[loop].accs,
             ((Acc){kind, d, node_cast(k, d, x), {0}, false}));
    loop_close(k, loop);
    return node_result(k, loop, 0);
}

/* ------------------------------------------------------------ sums and turns
 */

static DType sum_dtype(const Lower *l, const Inst *in)
{
    DType d = type_dtype(l->m, in->type);
    bool narrow = dtype_fits_f32(d);
    return attr_dtype(l->m, in->attr, AT_acc, narrow ? DT_f32 : d);
}

/* The sum, in order, of the updates whose id is the one given; ENDS (NULL: not
 * known): the first item and the last that have it. */
static Node sum_of_id(Lower *l, const Inst *in, const Parts *p, Env e, Node id,
                      LoopId parent, const Node *ends)
{
    Kir *k = l->k;
    DType acc = sum_dtype(l, in);
    int64_t n = axes_extent(l, p->summed.at, p->summed.n);
    LoopId loop = loop_open(k, LOOP_seq, parent, 0, n);
    k->loops.at[loop].in_order = true;
    if (ends) {
        k->loops.at[loop].from = ends[0];
        k->loops.at[loop].to = ends[1];
    }
    env_bind_flat(l, &e, p->summed.at, p->summed.n, ix_var(k, loop));
    Node match = equal(k, id_at(l, &e, p, (Node){0}), id);
    bool skip = p->alike && node_info(k, match)->loop == loop;
    if (skip) k->loops.at[loop].when = match;
    Node x;
    if (p->deep.n) {
        int64_t m = axes_extent(l, p->deep.at, p->deep.n);
        LoopId deep = loop_open(k, LOOP_seq, loop, 0, m);
        k->loops.at[deep].in_order = true;
        env_bind_flat(l, &e, p->deep.at, p->deep.n, ix_var(k, deep));
        x = close_with(k, deep, ACC_sum, acc,
                       env_eval(l, &e, p->updates, (Node){0}));
    } else {
        x = env_eval(l, &e, p->updates, (Node){0});
    }
    if (!skip) x = node_or_zero(k, match, x);
    return close_with(k, loop, ACC_sum, acc, x);
}

static Node item_or(Kir *k, const Parts *p, Node match, Ix at, int64_t other)
{
    return node_scalar(k, SC_where, p->item, match, node_index(k, p->item, at),
                       node_const_int(k, p->item, other));
}

/* The greatest item that has the id, or -1. */
static Node last_of_id(Lower *l, const Parts *p, Env e, Node id, LoopId parent,
                       LoopKind kind)
{
    Kir *k = l->k;
    int64_t n = axes_extent(l, p->summed.at, p->summed.n);
    LoopId loop = loop_open(k, kind, parent, 0, n);
    Ix at = ix_var(k, loop);
    env_bind_flat(l, &e, p->summed.at, p->summed.n, at);
    Node match = equal(k, id_at(l, &e, p, (Node){0}), id);
    return close_with(k, loop, ACC_max, p->item, item_or(k, p, match, at, -1));
}

/* The least item that has the id, and the greatest. */
static void ends_of_id(Lower *l, const Parts *p, Env e, Node id, Node ends[2])
{
    Kir *k = l->k;
    int64_t n = axes_extent(l, p->summed.at, p->summed.n);
    LoopId loop = loop_open(k, LOOP_lanes, l->items, 0, n);
    Ix at = ix_var(k, loop);
    env_bind_flat(l, &e, p->summed.at, p->summed.n, at);
    Node match = equal(k, id_at(l, &e, p, (Node){0}), id);
    Acc most = {ACC_max, p->item, item_or(k, p, match, at, -1), {0}, false};
    vec_push(k->arena, &k->loops.at[loop].accs, most);
    close_with(k, loop, ACC_min, p->item, item_or(k, p, match, at, n));
    ends[0] = node_result(k, loop, 1);
    ends[1] = node_result(k, loop, 0);
}

/* ------------------------------------------------------- rules at an index */

static Env env_of(Lower *l, Type t, const Ix *ix)
{
    Env e = {.n = 0};
    const TypeInfo *info = type_info(l->m, t);
    for (uint32_t i = 0; i < info->naxes; i++)
        env_bind(&e, info->axes[i].axis, ix[i]);
    return e;
}

Node eval_scatter(Lower *l, Value v, const Inst *in, const Ix *ix, Node guard)
{
    (void)v;
    (void)guard; /* every index below is that of a loop */
    Parts p = parts_of(l, in);
    Env e = env_of(l, in->type, ix);
    Node id = node_index(l->k, p.id, env_lookup(l, &e, p.axis));
    Node sum = sum_of_id(l, in, &p, e, id, lowest(l, &e), NULL);
    return node_cast(l->k, type_dtype(l->m, in->type), sum);
}

Node eval_put(Lower *l, Value v, const Inst *in, const Ix *ix, Node guard)
{
    (void)v;
    Kir *k = l->k;
    Parts p = parts_of(l, in);
    Env e = env_of(l, in->type, ix);
    Node id = node_index(k, p.id, env_lookup(l, &e, p.axis));
    Node turn = last_of_id(l, &p, e, id, lowest(l, &e), LOOP_seq);
    Ix at = ix_node(k, turn);
    Node there = node_inside(k, at, axes_extent(l, p.summed.at, p.summed.n));
    env_bind_flat(l, &e, p.summed.at, p.summed.n, at);
    Node x = env_eval(l, &e, p.updates, node_and(k, guard, there));
    Node base = eval(l, inst_arg(l->fn, in, 0), ix, guard);
    return node_scalar(k, SC_where, type_dtype(l->m, in->type), there, x, base);
}

/* ------------------------------------------------------- kernels over ids */

/* Moves the axis with the smallest stride to the end. */
static void innermost_last(const Lower *l, const Inst *in, Parts *p)
{
    const TypeInfo *t = type_info(l->m, in->type);
    int64_t best = INT64_MAX;
    uint32_t at = 0;
    for (uint32_t i = 0; i < p->wide.n; i++)
        for (uint32_t j = 0; j < t->naxes; j++) {
            int64_t s = l->k->args[l->fn->nparams].stride[j];
            if (t->axes[j].axis.id != p->wide.at[i].axis.id || s >= best)
                continue;
            best = s;
            at = i;
        }
    if (!p->wide.n) return;
    TypeAxis x = p->wide.at[at];
    p->wide.at[at] = vec_last(&p->wide);
    vec_last(&p->wide) = x;
}

/* What becomes of the row's element: the sum, or what it is added to. */
static Node row_value(Lower *l, const Inst *in, Env e, Node sum)
{
    DType d = type_dtype(l->m, in->type);
    Value scattered = group_scatter(l->fn), out = l->fn->result_values[0];
    sum = node_cast(l->k, d, sum);
    if (value_eq(out, scattered)) return sum;
    const Ix *ix = env_ix(l, &e, in->type);
    eval_remember(l, scattered, ix, sum);
    return eval(l, out, ix, (Node){0});
}

/* WHERE: the condition of its stores; none: the item's alone. */
static void write_row(Lower *l, const Inst *in, const Parts *p, Env e, Node id,
                      const Node *ends, Node where)
{
    Kir *k = l->k;
    uint32_t outer = p->wide.n ? p->wide.n - 1 : 0;
    LoopId seq =
        loop_open(k, LOOP_seq, l->items, 0, axes_extent(l, p->wide.at, outer));
    env_bind_flat(l, &e, p->wide.at, outer, ix_var(k, seq));
    int64_t n = axes_extent(l, p->wide.at + outer, p->wide.n - outer);
    LoopId lanes = loop_open(k, LOOP_lanes, seq, 0, n);
    env_bind_flat(l, &e, p->wide.at + outer, p->wide.n - outer,
                  ix_var(k, lanes));
    bool put = in->op == OP_put;
    Node x = put ? env_eval(l, &e, p->updates, (Node){0})
                 : sum_of_id(l, in, p, e, id, lanes, ends);
    env_bind(&e, p->axis, ix_node(k, id));
    if (!put) x = row_value(l, in, e, x);
    node_store(k, lanes, l->fn->nparams, env_place(l, &e, l->fn->nparams),
               where,
               node_cast(k, type_dtype(l->m, l->fn->results[0].type), x));
    loop_close(k, lanes);
    loop_close(k, seq);
}

void lower_rows(Lower *l, const LowerOpts *o, const Inst *in)
{
    Kir *k = l->k;
    Parts p = parts_of(l, in);
    innermost_last(l, in, &p);
    p.alike = true;
    int64_t n = axes_extent(l, p.summed.at, p.summed.n);
    k->rows = axes_extent(l, p.kept.at, p.kept.n) * n;
    k->chunks = 1;
    k->width = o->lanes;
    bool put = in->op == OP_put;
    if (!put && value_eq(group_base(l->fn), NO_VALUE))
        k->zero = UINT64_C(1) << l->fn->nparams;
    l->items = loop_open(k, LOOP_items, 0, 0, k->rows);
    Env e = {.n = 0};
    Ix item = ix_var(k, l->items), mine = ix_mod(k, item, n);
    env_bind_flat(l, &e, p.kept.at, p.kept.n, ix_div(k, item, n));
    env_bind_flat(l, &e, p.summed.at, p.summed.n, mine);
    Node id = id_at(l, &e, &p, (Node){0});
    int64_t size = axis_extent(l, in->type, p.axis);
    Node inside = node_inside(k, ix_node(k, id), size);
    Node ends[2] = {{0}, {0}}, where = {0};
    if (put && attr_flag(l->m, in->attr, AT_distinct)) {
        where = inside;
    } else {
        if (put)
            ends[0] = last_of_id(l, &p, e, id, l->items, LOOP_lanes);
        else
            ends_of_id(l, &p, e, id, ends);
        Node writes = equal(k, ends[0], node_index(k, p.item, mine));
        k->loops.at[l->items].when = node_and(k, writes, inside);
    }
    write_row(l, in, &p, e, id, ends, where);
    loop_close(k, l->items);
}

/* From so many updates on threads share a sum. */
enum { LONG_SUM = 4096 };

bool scatter_is_long(Lower *l, const Inst *in)
{
    if (in->op != OP_scatter || !value_eq(group_base(l->fn), NO_VALUE) ||
        !value_eq(l->fn->result_values[0], group_scatter(l->fn)))
        return false;
    Parts p = parts_of(l, in);
    return axes_extent(l, p.summed.at, p.summed.n) *
               axes_extent(l, p.deep.at, p.deep.n) >=
           LONG_SUM;
}

void lower_long_scatter(Lower *l, const LowerOpts *o, const Inst *in)
{
    Kir *k = l->k;
    Parts p = parts_of(l, in);
    const TypeInfo *t = type_info(l->m, in->type);
    int64_t n = axes_extent(l, p.summed.at, p.summed.n);
    int64_t deep = axes_extent(l, p.deep.at, p.deep.n);
    k->rows = type_local_elements(l->m, in->type);
    k->chunks = 1;
    k->width = o->lanes;
    l->items = loop_open(k, LOOP_items, 0, 0, k->rows);
    Env e = {.n = 0};
    env_bind_flat(l, &e, t->axes, t->naxes, ix_var(k, l->items));
    Node mine = node_index(k, p.id, env_lookup(l, &e, p.axis));
    Env own = e;
    LoopId lanes = loop_open(k, LOOP_lanes, l->items, 0, n * deep);
    Ix at = ix_var(k, lanes);
    env_bind_flat(l, &e, p.deep.at, p.deep.n, ix_div(k, at, n));
    env_bind_flat(l, &e, p.summed.at, p.summed.n, ix_mod(k, at, n));
    Node match = equal(k, id_at(l, &e, &p, (Node){0}), mine);
    Node x = node_or_zero(k, match, env_eval(l, &e, p.updates, (Node){0}));
    Node sum = close_with(k, lanes, ACC_sum, sum_dtype(l, in), x);
    uint32_t out = l->fn->nparams;
    node_store(k, l->items, out, env_place(l, &own, out), (Node){0},
               node_cast(k, type_dtype(l->m, l->fn->results[0].type), sum));
    loop_close(k, l->items);
}

bool scatter_by_rows(Lower *l, const Inst *in)
{
    Value base = in->op == OP_put ? inst_arg(l->fn, in, 0) : group_base(l->fn);
    int32_t same = l->k->args[l->fn->nparams].same;
    if (!value_eq(base, NO_VALUE) && (same < 0 || (uint32_t)same != base.id))
        return false;
    if (in->op == OP_put) return true;
    Parts p = parts_of(l, in);
    return type_local_elements(l->m, in->type) >
           axes_extent(l, p.summed.at, p.summed.n);
}
