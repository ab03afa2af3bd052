/*
 * sort.c: the kernel of `top`.
 *
 * An item is one element: its rank is the number of elements that come before
 * it in the order asked for (ties by lower index, NaN counts as largest), and
 * it writes its index to that place when the place is among the first k.  So
 * no two items write one place, and no order of items matters.
 */
#include "lower.h"

static Node logic(Kir *k, ScalarOp op, Node a, Node b)
{
    return node_scalar(k, op, DT_bool, a, b, (Node){0});
}

static Node not_number(Kir *k, Node x)
{
    return logic(k, SC_ne, x, x);
}

/* NaN is above everything, and equal to NaN. */
static Node above(Kir *k, Node a, Node b, bool floats)
{
    Node more = logic(k, SC_lt, b, a);
    if (!floats) return more;
    Node b_is =
        node_scalar(k, SC_not, DT_bool, not_number(k, b), (Node){0}, (Node){0});
    return logic(k, SC_or, more, logic(k, SC_and, not_number(k, a), b_is));
}

static Node alike(Kir *k, Node a, Node b, bool floats)
{
    Node same = logic(k, SC_eq, a, b);
    if (!floats) return same;
    return logic(k, SC_or, same,
                 logic(k, SC_and, not_number(k, a), not_number(k, b)));
}

static Node number(Kir *k, Node x)
{
    DType d = (DType)node_info(k, x)->dtype;
    if (d == DT_bool) return node_cast(k, DT_i32, x);
    return dtype_fits_f32(d) ? node_cast(k, DT_f32, x) : x;
}

typedef struct Order {
    Value x;
    Type type;
    Axis axis;
    int64_t n;
    bool max;
} Order;

static const Ix *ix_with(Lower *l, const Order *o, const Ix *ix, Ix at)
{
    const TypeInfo *t = type_info(l->m, o->type);
    Ix *out = NEW_ARRAY(l->k->arena, Ix, t->naxes);
    for (uint32_t i = 0; i < t->naxes; i++)
        out[i] = t->axes[i].axis.id == o->axis.id ? at : ix[i];
    return out;
}

static Node eval_rank(Lower *l, const Order *o, const Ix *ix, Ix mine)
{
    Kir *k = l->k;
    bool floats = dtype_class(type_dtype(l->m, o->type)) == DC_float;
    Node x = number(k, eval(l, o->x, ix, (Node){0}));
    LoopId loop = loop_open(k, LOOP_lanes, l->items, 0, o->n);
    Ix other = ix_var(k, loop);
    Node y = number(k, eval(l, o->x, ix_with(l, o, ix, other), (Node){0}));
    Node before = o->max ? above(k, y, x, floats) : above(k, x, y, floats);
    Node earlier = logic(k, SC_lt, node_index(k, DT_i32, other),
                         node_index(k, DT_i32, mine));
    Node tie = logic(k, SC_and, alike(k, x, y, floats), earlier);
    Acc acc = {ACC_sum,
               DT_i32,
               node_cast(k, DT_i32, logic(k, SC_or, before, tie)),
               {0},
               false};
    vec_push(k->arena, &k->loops.at[loop].accs, acc);
    loop_close(k, loop);
    return node_result(k, loop, 0);
}

void lower_sort(Lower *l, const LowerOpts *opts, const Inst *in)
{
    Kir *k = l->k;
    Order o = {.x = inst_arg(l->fn, in, 0),
               .axis = attr_axis(l->m, in->attr, AT_axis),
               .max = attr_is(l->m, in->attr, AT_kind, "max")};
    o.type = value_type(l->fn, o.x);
    o.n = axis_extent(l, o.type, o.axis);
    const TypeInfo *t = type_info(l->m, o.type);
    int64_t *sizes = NEW_ARRAY(k->arena, int64_t, t->naxes);
    Ix *ix = NEW_ARRAY(k->arena, Ix, t->naxes);
    k->rows = k->chunks = 1;
    k->width = opts->lanes;
    for (uint32_t i = 0; i < t->naxes; i++)
        k->rows *= sizes[i] = type_local_size(l->m, &t->axes[i]);
    l->items = loop_open(k, LOOP_items, 0, 0, k->rows);
    ix_cut(k, ix_var(k, l->items), sizes, t->naxes, ix);
    Ix mine = ix_along(l, o.type, ix, o.axis);
    Ix rank = ix_node(k, eval_rank(l, &o, ix, mine));
    Axis to = attr_get(l->m, in->attr, AT_to)->axes[0];
    const TypeInfo *r = type_info(l->m, in->type);
    uint32_t arg = l->fn->nparams;
    Ix place = ix_const(k, 0);
    for (uint32_t i = 0; i < r->naxes; i++) {
        Ix at = r->axes[i].axis.id == to.id
                    ? rank
                    : ix_along(l, o.type, ix, r->axes[i].axis);
        place = ix_add_scaled(k, place, at, k->args[arg].stride[i]);
    }
    node_store(k, l->items, arg, place,
               node_inside(k, rank, axis_extent(l, in->type, to)),
               node_index(k, DT_i32, mine));
    loop_close(k, l->items);
}
