/*
 * eval.c: the element of a value at an index, as nodes of the kernel IR.
 *
 * Every rule says what its op reads to make one element.  Maps ask for their
 * operands at the same index, moves at another one, reductions open a loop.
 * Where an index may lie outside, the rule makes a guard, and the loads below
 * are under it; an index that cannot lie outside drops the guard, so that
 * what does not depend on the inner loop stays out of it.
 */
#include "lower.h"

/* ---------------------------------------------------------------- indices */

Ix ix_along(const Lower *l, Type t, const Ix *ix, Axis axis)
{
    const TypeInfo *info = type_info(l->m, t);
    for (uint32_t i = 0; i < info->naxes; i++)
        if (info->axes[i].axis.id == axis.id) return ix[i];
    BUG("no axis '%s' in %s", axis_name(l->m, axis), type_str(l->m, t));
}

int64_t axis_extent(const Lower *l, Type t, Axis axis)
{
    return type_local_size(l->m, type_axis(l->m, t, axis));
}

const Ix *ix_by_name(Lower *l, Type from, const Ix *ix, Type to, Ix other)
{
    const TypeInfo *info = type_info(l->m, to);
    Ix *out = NEW_ARRAY(l->k->arena, Ix, info->naxes);
    for (uint32_t i = 0; i < info->naxes; i++)
        out[i] = type_axis(l->m, from, info->axes[i].axis)
                     ? ix_along(l, from, ix, info->axes[i].axis)
                     : other;
    return out;
}

void ix_cut(Kir *k, Ix flat, const int64_t *sizes, uint32_t n, Ix *out)
{
    for (uint32_t i = n; i-- > 0;) {
        out[i] = i ? ix_mod(k, flat, sizes[i]) : flat;
        flat = ix_div(k, flat, sizes[i]);
    }
}

/* -------------------------------------------------------------- leaves, maps
 */

static Node eval_arg(Lower *l, Value v, const Ix *ix, Node guard)
{
    const KernelArg *arg = &l->k->args[v.id];
    if (arg->counter) return node_counter(l->k, v.id);
    const TypeInfo *info = type_info(l->m, value_type(l->fn, v));
    Ix at = ix_const(l->k, 0);
    for (uint32_t i = 0; i < info->naxes; i++)
        at = ix_add_scaled(l->k, at, ix[i], arg->stride[i]);
    return node_load(l->k, v.id, at, guard);
}

/* One map at one index: its operands are asked for once. */
typedef struct MapAt {
    Lower *l;
    const Inst *in;
    const Ix *ix;
    Node guard;
    Map done;
} MapAt;

static Node eval_operand(MapAt *at, uint32_t i)
{
    Lower *l = at->l;
    Value x = inst_arg(l->fn, at->in, i);
    const Ix *ix = ix_by_name(l, at->in->type, at->ix, value_type(l->fn, x),
                              ix_const(l->k, 0));
    return eval(l, x, ix, at->guard);
}

static Node eval_expr(MapAt *at, Expr e);

static Node eval_expr_new(MapAt *at, const ExprInfo *x)
{
    Kir *k = at->l->k;
    DType d = (DType)x->dtype;
    switch (x->op) {
    case SC_arg:
        return eval_operand(at, x->operand);
    case SC_const:
        return dtype_class(d) == DC_float ? node_const_float(k, d, x->f)
                                          : node_const_int(k, d, x->i);
    case SC_index:
        return node_index(k, d, ix_along(at->l, at->in->type, at->ix, x->axis));
    case SC_cast:
        return node_cast(k, d, eval_expr(at, x->args[0]));
    }
    Node args[3] = {{0}, {0}, {0}};
    for (unsigned i = 0; i < x->nargs; i++)
        args[i] = eval_expr(at, x->args[i]);
    return node_scalar(k, (ScalarOp)x->op, d, args[0], args[1], args[2]);
}

static Node eval_expr(MapAt *at, Expr e)
{
    uint32_t id;
    if (map_find(&at->done, e.id, &id)) return (Node){id};
    Node n = eval_expr_new(at, expr_info(at->l->m, e));
    map_add(&at->done, e.id, n.id);
    return n;
}

static Node eval_map(Lower *l, Value v, const Inst *in, const Ix *ix,
                     Node guard)
{
    (void)v;
    MapAt at = {.l = l, .in = in, .ix = ix, .guard = guard};
    map_init(&at.done, l->k->arena);
    return eval_expr(&at, attr_expr(l->m, in->attr));
}

/* -------------------------------------------------------------- dispatch */

/* Every op stands here, so that a new one is a decision.  NULL: in no group
 * whose values are evaluated. */
static EvalRule *rule_of(Op op)
{
    switch (op) {
    case OP_map:
        return eval_map;
    case OP_reduce:
        return eval_reduce;
    case OP_einsum:
        return eval_einsum;
    case OP_rename:
        return eval_rename;
    case OP_split:
        return eval_split;
    case OP_merge:
        return eval_merge;
    case OP_slice:
        return eval_slice;
    case OP_pick:
        return eval_pick;
    case OP_pad:
        return eval_pad;
    case OP_concat:
        return eval_concat;
    case OP_stack:
        return eval_stack;
    case OP_window:
        return eval_window;
    case OP_fold:
        return eval_fold;
    case OP_gather:
        return eval_gather;
    case OP_scatter:
        return eval_scatter;
    case OP_put:
        return eval_put;
    case OP_cumsum:
        return eval_cumsum;
    case OP_arg:
    case OP_top:
    case OP_grad:
    case OP_call:
    case OP_repeat:
    case OP_proj:
    case OP_all_gather:
    case OP_reduce_scatter:
    case OP_all_reduce:
    case OP_all_to_all:
    case OP_permute:
    case OP_cut:
    case OP_part:
    case OP_reshard:
    case OP_done:
    case OP_pending:
    case OP_coord:
    case OP_send:
    case OP_recv:
    case OP_buffer:
    case OP_view:
    case OP_counter:
    case OP_launch:
    case OP_loop:
    case OP_count:
        break;
    }
    return NULL;
}

static bool always_inside(const Lower *l, Type t, const Ix *ix)
{
    const TypeInfo *info = type_info(l->m, t);
    for (uint32_t i = 0; i < info->naxes; i++)
        if (!ix_within(l->k, ix[i], type_local_size(l->m, &info->axes[i])))
            return false;
    return true;
}

static uint64_t memo_key(Value v, const Ix *ix, uint32_t n, Node guard)
{
    uint64_t head = (uint64_t)v.id << 32 | guard.id;
    uint64_t key = hash_bytes(&head, sizeof head, 3);
    return n ? hash_bytes(ix, n * sizeof *ix, key) : key;
}

/* A value at the one index of an axis is known by the same key in each loop
 * over that axis, but can live in the first of them. */
static bool in_reach(const Kir *k, Node n)
{
    return !k->loops.at[node_info(k, n)->loop].closed;
}

static bool memo_find(Lower *l, uint64_t key, Value v, const Ix *ix, uint32_t n,
                      Node guard, Node *out)
{
    MapIter it;
    uint32_t id;
    for (bool ok = map_first(&l->memo, key, &it, &id); ok;
         ok = map_next(&l->memo, &it, &id)) {
        const Known *at = &l->known.at[id];
        if (at->value.id != v.id || at->guard.id != guard.id ||
            !in_reach(l->k, at->node) ||
            (n && memcmp(at->ix, ix, n * sizeof *ix) != 0))
            continue;
        *out = at->node;
        return true;
    }
    return false;
}

void eval_remember_under(Lower *l, Value v, const Ix *ix, Node guard, Node node)
{
    uint32_t n = type_info(l->m, value_type(l->fn, v))->naxes;
    vec_push(l->k->arena, &l->known, ((Known){v, guard, node, ix}));
    map_add(&l->memo, memo_key(v, ix, n, guard), l->known.n - 1);
}

void eval_remember(Lower *l, Value v, const Ix *ix, Node node)
{
    eval_remember_under(l, v, ix, (Node){0}, node);
}

Node eval(Lower *l, Value v, const Ix *ix, Node guard)
{
    const Inst *in = inst_of(l->fn, v);
    uint32_t n = type_info(l->m, in->type)->naxes;
    if (guard.id && always_inside(l, in->type, ix)) guard = (Node){0};
    uint64_t key = memo_key(v, ix, n, guard);
    Node node;
    if (memo_find(l, key, v, ix, n, guard, &node)) return node;
    if (in->op == OP_arg) {
        node = eval_arg(l, v, ix, guard);
    } else {
        EvalRule *rule = rule_of((Op)in->op);
        if (!rule) BUG("a group holds the op %s", op_info((Op)in->op)->name);
        Loc outer = l->k->loc;
        if (in->loc.id) l->k->loc = in->loc;
        node = rule(l, v, in, ix, guard);
        l->k->loc = outer;
    }
    vec_push(l->k->arena, &l->known, ((Known){v, guard, node, ix}));
    map_add(&l->memo, key, l->known.n - 1);
    return node;
}
