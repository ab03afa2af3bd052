/*
 * reductions.c: evaluation rules of the ops that combine many elements.
 *
 * A reduction at an index is a loop with accumulators, in the innermost loop
 * on which the index depends.  Reductions of one level (none reads another)
 * over the same axes are one loop, so that their operands are read once.
 */
#include "lower.h"
#include "tensor.h"

static LoopId deepest(const Lower *l, const Ix *ix, uint32_t n, Node guard)
{
    const Kir *k = l->k;
    LoopId at = l->items;
    for (uint32_t i = 0; i < n; i++)
        if (k->loops.at[ix_info(k, ix[i])->loop].depth > k->loops.at[at].depth)
            at = ix_info(k, ix[i])->loop;
    LoopId g = node_info(k, guard)->loop;
    return k->loops.at[g].depth > k->loops.at[at].depth ? g : at;
}

static LoopId open_for(Lower *l, Type t, const Ix *ix, Node guard, bool lanes,
                       int64_t n)
{
    LoopId parent = deepest(l, ix, type_info(l->m, t)->naxes, guard);
    return loop_open(l->k, lanes ? LOOP_lanes : LOOP_seq, parent, 0, n);
}

/* bool is reduced as a number: all is the smallest, any the largest. */
static void add_acc(Lower *l, LoopId loop, AccKind kind, DType acc, Node x)
{
    if (acc == DT_bool) acc = DT_i32;
    Acc a = {kind, acc, node_cast(l->k, acc, x), {0}, false};
    vec_push(l->k->arena, &l->k->loops.at[loop].accs, a);
}

DType default_acc(DType d)
{
    return dtype_fits_f32(d) ? DT_f32 : d;
}

AccKind acc_kind(const Lower *l, Attr a)
{
    if (attr_is(l->m, a, AT_kind, "max")) return ACC_max;
    if (attr_is(l->m, a, AT_kind, "min")) return ACC_min;
    if (attr_is(l->m, a, AT_kind, "prod")) return ACC_prod;
    return ACC_sum;
}

/* The axes that are reduced, outermost first: numbers of those of type t. */
static uint32_t reduced_order(const Lower *l, Type t, const AttrItem *axes,
                              uint32_t *out)
{
    const TypeInfo *info = type_info(l->m, t);
    uint32_t n = 0;
    for (uint32_t j = 0; l->order && j < l->norder; j++)
        for (uint32_t i = 0; i < info->naxes; i++)
            if (info->axes[i].axis.id == l->order[j].axis.id &&
                attr_item_has(axes, info->axes[i].axis))
                out[n++] = i;
    if (n == axes->n) return n;
    n = 0;
    for (uint32_t i = 0; i < info->naxes; i++)
        if (attr_item_has(axes, info->axes[i].axis)) out[n++] = i;
    return n;
}

/* Indices of type t: those of ITS axes from the flat variable of the loop, the
 * others by name. */
static const Ix *ix_reduced(Lower *l, Type t, const AttrItem *axes, LoopId loop,
                            Type result, const Ix *ix)
{
    const TypeInfo *info = type_info(l->m, t);
    int64_t *sizes = NEW_ARRAY(l->k->arena, int64_t, info->naxes);
    Ix *parts = NEW_ARRAY(l->k->arena, Ix, info->naxes);
    uint32_t *order = NEW_ARRAY(l->k->arena, uint32_t, info->naxes);
    uint32_t n = reduced_order(l, t, axes, order);
    for (uint32_t i = 0; i < n; i++)
        sizes[i] = type_local_size(l->m, &info->axes[order[i]]);
    ix_cut(l->k, ix_var(l->k, loop), sizes, n, parts);
    Ix *out = NEW_ARRAY(l->k->arena, Ix, info->naxes);
    for (uint32_t i = 0; i < info->naxes; i++)
        if (!attr_item_has(axes, info->axes[i].axis))
            out[i] = ix_along(l, result, ix, info->axes[i].axis);
    for (uint32_t i = 0; i < n; i++)
        out[order[i]] = parts[i];
    return out;
}

static int64_t reduced_size(const Lower *l, Type t, const AttrItem *axes)
{
    int64_t n = 1;
    for (uint32_t i = 0; i < axes->n; i++)
        n *= axis_extent(l, t, axes->axes[i]);
    return n;
}

/* Whether two reductions can run in one loop. */
static bool same_loop(const Lower *l, uint32_t a, uint32_t b)
{
    const Inst *x = &l->fn->insts[a], *y = &l->fn->insts[b];
    if (x->op != OP_reduce || y->op != OP_reduce || l->level[a] != l->level[b])
        return false;
    const AttrItem *p = attr_get(l->m, x->attr, AT_axes);
    const AttrItem *q = attr_get(l->m, y->attr, AT_axes);
    if (p->n != q->n) return false;
    for (uint32_t i = 0; i < p->n; i++)
        if (!attr_item_has(q, p->axes[i])) return false;
    const TypeInfo *s = type_info(l->m, x->type), *t = type_info(l->m, y->type);
    if (s->naxes != t->naxes) return false;
    for (uint32_t i = 0; i < s->naxes; i++)
        if (s->axes[i].axis.id != t->axes[i].axis.id) return false;
    return true;
}

static void reduce_one(Lower *l, const Inst *in, const Ix *ix, Node guard,
                       LoopId loop)
{
    Value x = inst_arg(l->fn, in, 0);
    Type t = value_type(l->fn, x);
    const AttrItem *axes = attr_get(l->m, in->attr, AT_axes);
    const Ix *at = ix_reduced(l, t, axes, loop, in->type, ix);
    DType acc =
        attr_dtype(l->m, in->attr, AT_acc, default_acc(type_dtype(l->m, t)));
    Node n = eval(l, x, at, guard);
    if (l->reassociated) n = algebra_fast(l->k, n);
    add_acc(l, loop, acc_kind(l, in->attr), acc, n);
}

uint32_t reduce_in(Lower *l, Value v, const Ix *ix, LoopId loop)
{
    uint32_t acc = l->k->loops.at[loop].accs.n;
    reduce_one(l, inst_of(l->fn, v), ix, (Node){0}, loop);
    return acc;
}

void reduced_in(Lower *l, Value v, const Ix *ix, LoopId loop, uint32_t acc)
{
    DType d = type_dtype(l->m, value_type(l->fn, v));
    eval_remember(l, v, ix, node_cast(l->k, d, node_result(l->k, loop, acc)));
}

Node eval_reduce(Lower *l, Value v, const Inst *in, const Ix *ix, Node guard)
{
    const AttrItem *axes = attr_get(l->m, in->attr, AT_axes);
    Type t = value_type(l->fn, inst_arg(l->fn, in, 0));
    LoopId loop = open_for(l, in->type, ix, guard, l->lanes_inner,
                           reduced_size(l, t, axes));
    VEC(uint32_t) peers = {0};
    for (uint32_t i = l->fn->nparams; i < l->fn->ninsts; i++)
        if (i == v.id || (!guard.id && !l->late[i] && same_loop(l, v.id, i)))
            vec_push(l->k->arena, &peers, i);
    for (uint32_t i = 0; i < peers.n; i++)
        reduce_one(l, &l->fn->insts[peers.at[i]], ix, guard, loop);
    loop_close(l->k, loop);
    Node mine = {0};
    for (uint32_t i = 0; i < peers.n; i++) {
        Value peer = {peers.at[i]};
        if (!guard.id && l->lanes_inner &&
            l->k->loops.at[loop].parent == l->items)
            l->made[peer.id] = (Made){loop, i};
        Node r = node_cast(l->k, type_dtype(l->m, value_type(l->fn, peer)),
                           node_result(l->k, loop, i));
        if (peer.id == v.id)
            mine = r;
        else
            eval_remember(l, peer, ix, r);
    }
    return mine;
}

/* Operands of a contraction are read where both are: what only one has goes
 * by name to that one. */
Node eval_einsum(Lower *l, Value v, const Inst *in, const Ix *ix, Node guard)
{
    (void)v;
    const AttrItem *sum = attr_get(l->m, in->attr, AT_sum);
    Value x = inst_arg(l->fn, in, 0), y = inst_arg(l->fn, in, 1);
    Type tx = value_type(l->fn, x), ty = value_type(l->fn, y);
    DType acc =
        attr_dtype(l->m, in->attr, AT_acc, default_acc(type_dtype(l->m, tx)));
    LoopId loop = open_for(l, in->type, ix, guard, l->lanes_inner,
                           reduced_size(l, tx, sum));
    Node a = eval(l, x, ix_reduced(l, tx, sum, loop, in->type, ix), guard);
    Node b = eval(l, y, ix_reduced(l, ty, sum, loop, in->type, ix), guard);
    Node p = node_scalar(l->k, SC_mul, acc, node_cast(l->k, acc, a),
                         node_cast(l->k, acc, b), (Node){0});
    add_acc(l, loop, ACC_sum, acc, p);
    loop_close(l->k, loop);
    return node_cast(l->k, type_dtype(l->m, in->type),
                     node_result(l->k, loop, 0));
}

/* ------------------------------------------------------------ running sums */

static const Ix *ix_at(Lower *l, Type t, const Ix *ix, Axis axis, Ix at)
{
    const TypeInfo *info = type_info(l->m, t);
    Ix *out = NEW_ARRAY(l->k->arena, Ix, info->naxes);
    for (uint32_t i = 0; i < info->naxes; i++)
        out[i] = info->axes[i].axis.id == axis.id ? at : ix[i];
    return out;
}

/* Away from the loop that runs along the axis: the sum up to here. */
static Node sum_up_to(Lower *l, const Inst *in, const Ix *ix, Node guard,
                      Axis axis, DType acc)
{
    Kir *k = l->k;
    Value x = inst_arg(l->fn, in, 0);
    int64_t n = axis_extent(l, in->type, axis);
    LoopId loop = open_for(l, in->type, ix, guard, false, n);
    Ix here = ix_along(l, in->type, ix, axis), at = ix_var(k, loop);
    bool reverse = attr_flag(l->m, in->attr, AT_reverse);
    Ix behind = reverse ? ix_add_scaled(k, at, here, -1)
                        : ix_add_scaled(k, here, at, -1);
    if (attr_flag(l->m, in->attr, AT_exclusive))
        behind = ix_add(k, behind, ix_const(k, -1));
    Node counts = node_inside(k, behind, n);
    Node e = eval(l, x, ix_at(l, in->type, ix, axis, at),
                  node_and(k, guard, counts));
    add_acc(l, loop, ACC_sum, acc, node_or_zero(k, counts, e));
    loop_close(k, loop);
    return node_result(k, loop, 0);
}

Node eval_cumsum(Lower *l, Value v, const Inst *in, const Ix *ix, Node guard)
{
    (void)v;
    Kir *k = l->k;
    Axis axis = attr_axis(l->m, in->attr, AT_axis);
    Value x = inst_arg(l->fn, in, 0);
    DType d = type_dtype(l->m, in->type);
    DType acc = attr_dtype(l->m, in->attr, AT_acc, default_acc(d));
    Ix at = ix_along(l, in->type, ix, axis);
    bool along =
        l->sweep && !guard.id && at.id == ix_var(k, l->sweep).id &&
        k->loops.at[l->sweep].reverse == attr_flag(l->m, in->attr, AT_reverse);
    Node sum;
    if (along)
        sum = node_scan(k, l->sweep, node_cast(k, acc, eval(l, x, ix, guard)),
                        attr_flag(l->m, in->attr, AT_exclusive));
    else
        sum = sum_up_to(l, in, ix, guard, axis, acc);
    return node_cast(k, d, sum);
}

/* The taps that reach an index: all but the first axis of `to` are looped
 * over, and the first one's index follows. */
Node eval_fold(Lower *l, Value v, const Inst *in, const Ix *ix, Node guard)
{
    (void)v;
    Kir *k = l->k;
    const AttrItem *to = attr_get(l->m, in->attr, AT_to);
    const AttrItem *coef = attr_get(l->m, in->attr, AT_coef);
    Value x = inst_arg(l->fn, in, 0);
    Type t = value_type(l->fn, x);
    int64_t *sizes = NEW_ARRAY(k->arena, int64_t, to->n);
    Ix *taps = NEW_ARRAY(k->arena, Ix, to->n);
    int64_t n = 1;
    for (uint32_t i = 1; i < to->n; i++)
        n *= sizes[i - 1] = axis_extent(l, t, to->axes[i]);
    LoopId loop = open_for(l, in->type, ix, guard, false, n);
    ix_cut(k, ix_var(k, loop), sizes, to->n - 1, taps + 1);
    Ix rest = ix_along(l, in->type, ix, attr_axis(l->m, in->attr, AT_axis));
    rest = ix_add(k, rest, ix_const(k, -attr_int(l->m, in->attr, AT_start, 0)));
    for (uint32_t i = 1; i < to->n; i++)
        rest = ix_add_scaled(k, rest, taps[i], -coef->ints[i]);
    if (coef->ints[0] < 0) rest = ix_scale(k, rest, -1);
    int64_t by = coef->ints[0] < 0 ? -coef->ints[0] : coef->ints[0];
    taps[0] = ix_div(k, rest, by);
    Node here = node_inside(k, taps[0], axis_extent(l, t, to->axes[0]));
    here = node_and(k, here, node_divides(k, rest, by));
    const TypeInfo *info = type_info(l->m, t);
    Ix *at = NEW_ARRAY(k->arena, Ix, info->naxes);
    for (uint32_t i = 0; i < info->naxes; i++) {
        uint32_t j = 0;
        while (j < to->n && to->axes[j].id != info->axes[i].axis.id)
            j++;
        at[i] =
            j < to->n ? taps[j] : ix_along(l, in->type, ix, info->axes[i].axis);
    }
    Node e = eval(l, x, at, node_and(k, guard, here));
    DType d = type_dtype(l->m, in->type);
    add_acc(l, loop, ACC_sum, default_acc(d), node_or_zero(k, here, e));
    loop_close(k, loop);
    return node_cast(k, d, node_result(k, loop, 0));
}
