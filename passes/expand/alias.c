/*
 * alias.c: which values share storage, how long it is needed, and which ops
 * may write over what they read.
 */
#include "expand.h"

bool is_alias(Op op)
{
    return op_has(op, OPF_MOVE | OPF_FREE);
}

static bool is_placement(Op op)
{
    return op == OP_concat || op == OP_stack;
}

static void need_until(Scene *s, Value v, int64_t at)
{
    Value owner = s->owner[v.id];
    if (s->last[owner.id] < at) s->last[owner.id] = at;
}

/* The same field read twice is one value. */
static Value first_proj(const Fn *fn, uint32_t at)
{
    const Inst *in = &fn->insts[at];
    Value tuple = inst_arg(fn, in, 0);
    for (uint32_t i = tuple.id + 1; i < at; i++) {
        const Inst *p = &fn->insts[i];
        if (p->op == OP_proj && p->attr.id == in->attr.id &&
            value_eq(inst_arg(fn, p, 0), tuple))
            return (Value){i};
    }
    return (Value){at};
}

void scene_alias(Scene *s)
{
    const Fn *fn = s->fn;
    Arena *a = s->x->a;
    s->owner = NEW_ARRAY(a, Value, (size_t)fn->ninsts + 1);
    s->def = NEW_ARRAY(a, int64_t, (size_t)fn->ninsts + 1);
    s->last = NEW_ARRAY(a, int64_t, (size_t)fn->ninsts + 1);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        s->owner[i] = (Value){i};
        if (is_alias((Op)in->op))
            s->owner[i] = s->owner[inst_arg(fn, in, 0).id];
        if (in->op == OP_proj) s->owner[i] = first_proj(fn, i);
        s->def[i] = in->op == OP_proj ? inst_arg(fn, in, 0).id : i;
        if (in->op == OP_arg) s->def[i] = BEFORE;
        s->last[i] = s->def[i];
    }
    for (uint32_t i = 0; i < fn->nresults; i++)
        need_until(s, fn->result_values[i], fn->ninsts);
    /* A part of a concat or stack is needed as long as the whole. */
    for (uint32_t i = fn->ninsts; i-- > 0;) {
        const Inst *in = &fn->insts[i];
        bool part = is_placement((Op)in->op);
        for (uint32_t k = 0; k < in->nargs; k++)
            need_until(s, inst_arg(fn, in, k), part ? s->last[i] : i);
    }
}

bool owner_result(const Scene *s, Value owner, Value *maker, uint32_t *result)
{
    const Inst *in = inst_of(s->fn, owner);
    *maker = owner;
    *result = 0;
    if (in->op == OP_proj) {
        *maker = inst_arg(s->fn, in, 0);
        *result = (uint32_t)attr_int(s->x->m, in->attr, AT_index, 0);
        in = inst_of(s->fn, *maker);
    }
    return inst_calls(in);
}

/* ------------------------------------------------------------- in place -- */

/* Values of a group that may be asked for at another index than the group's:
 * what moves read, directly or through maps. */
static bool *below_moves(Scene const *s, const Fn *g)
{
    bool *below = NEW_ARRAY(s->x->a, bool, (size_t)g->ninsts + 1);
    for (uint32_t i = g->ninsts; i-- > 0;) {
        const Inst *in = &g->insts[i];
        bool moves = in->op != OP_map && in->op != OP_reduce &&
                     in->op != OP_cumsum && !row_pick(s->x->m, g, (Value){i}) &&
                     !column_cut(s->x->m, g, (Value){i});
        for (uint32_t k = 0; k < in->nargs; k++)
            if (moves || below[i]) below[inst_arg(g, in, k).id] = true;
    }
    return below;
}

static bool has_inner_axes(const Fn *g)
{
    for (uint32_t i = 0; i < g->ninsts; i++)
        if (g->insts[i].op == OP_reduce || g->insts[i].op == OP_cumsum)
            return true;
    return false;
}

/* Results with inner axes are stored in the last sweep over them (G4). */
static bool stored_last(const Scene *s, const Fn *g, Type result)
{
    if (!has_inner_axes(g)) return true;
    const Module *m = s->x->m;
    for (uint32_t i = 0; i < g->ninsts; i++) {
        const Inst *in = &g->insts[i];
        ColumnSum sum;
        if ((in->op != OP_reduce && in->op != OP_cumsum) ||
            column_sum(m, g, (Value){i}, &sum))
            continue;
        Type all = value_type(g, inst_arg(g, in, 0));
        if (type_info(m, all)->naxes != type_info(m, result)->naxes)
            return false;
    }
    return true;
}

static bool loop_in_place(const Scene *s, const Fn *g, uint32_t param,
                          uint32_t result)
{
    Module *m = s->x->m;
    BothOrders both;
    Type x = g->params[param].type, y = g->results[result].type;
    /* What blocks of a matrix share is read for all of a block. */
    if (both_of_group(m, g, NULL, s->x->a, &both)) return false;
    if (!type_eq(type_with_dtype(m, x, DT_bool),
                 type_with_dtype(m, y, DT_bool)))
        return false;
    if (dtype_bytes(type_dtype(m, x)) != dtype_bytes(type_dtype(m, y)))
        return false;
    /* A result that is the parameter itself needs no copy in place. */
    return !below_moves(s, g)[param] && stored_last(s, g, y);
}

/* Values that run along with a product are read and written tile by tile. */
static bool product_in_place(const Fn *g, uint32_t param, uint32_t result)
{
    for (uint32_t i = 0; i < g->ninsts; i++)
        for (uint32_t k = 0; k < 2 && g->insts[i].op == OP_einsum; k++)
            if (inst_arg(g, &g->insts[i], k).id == param) return false;
    return type_eq(g->params[param].type, g->results[result].type);
}

static bool group_in_place(const Scene *s, const Fn *g, uint32_t param,
                           uint32_t result)
{
    const Module *m = s->x->m;
    if (fn_is(m, g, FK_loop)) return loop_in_place(s, g, param, result);
    if (fn_has_attr(m, g, AT_apart)) return false;
    if (fn_is(m, g, FK_matmul))
        return param == group_gemm(g).third && !group_is_scaled(m, g);
    if (fn_is(m, g, FK_product)) return product_in_place(g, param, result);
    if (fn_is(m, g, FK_collective))
        return group_collective(g)->op == OP_all_reduce;
    if (!fn_is(m, g, FK_scatter)) return false;
    const Inst *in = inst_of(g, group_scatter(g));
    if (in->op == OP_scatter) return group_base(g).id == param;
    return in->op == OP_put && inst_arg(g, in, 0).id == param &&
           inst_arg(g, in, 1).id != param && inst_arg(g, in, 2).id != param;
}

/* How many operands share the storage of V, and the last of them. */
static uint32_t readers_of(const Scene *s, const Inst *in, Value v,
                           uint32_t *at)
{
    uint32_t n = 0;
    for (uint32_t k = 0; k < in->nargs; k++) {
        Value x = inst_arg(s->fn, in, k);
        if (!value_eq(s->owner[x.id], s->owner[v.id])) continue;
        *at = k;
        n++;
    }
    return n;
}

/* Carried values stay in one place.  A stacked result may lie over a stacked
 * operand when the body makes it so in each turn. */
static bool repeat_in_place(const Scene *s, const Inst *in, uint32_t operand,
                            uint32_t result)
{
    const Module *m = s->x->m;
    uint32_t carry = (uint32_t)attr_int(m, in->attr, AT_carry, 0);
    uint32_t fixed = carry + (uint32_t)attr_int(m, in->attr, AT_invariant, 0);
    if (result < carry || operand < carry)
        return result < carry && operand == result;
    if (operand < fixed || attr_get(m, in->attr, AT_while)) return false;
    Scene body = {.x = s->x, .fn = fn_of(m, attr_fn(m, in->attr, AT_fn))};
    Value v = body.fn->result_values[result], maker, param = {operand};
    uint32_t made;
    scene_alias(&body);
    return value_eq(body.owner[v.id], v) &&
           owner_result(&body, v, &maker, &made) &&
           body.last[operand] == maker.id &&
           writes_in_place(&body, inst_of(body.fn, maker), made, param);
}

bool writes_in_place(const Scene *s, const Inst *in, uint32_t result,
                     Value operand)
{
    const Module *m = s->x->m;
    uint32_t at = 0;
    if (readers_of(s, in, operand, &at) != 1) return false;
    if (!value_eq(inst_arg(s->fn, in, at), operand)) return false;
    if (in->op == OP_repeat) return repeat_in_place(s, in, at, result);
    if (in->op != OP_call) return false;
    return group_in_place(s, fn_of(m, attr_fn(m, in->attr, AT_fn)), at, result);
}
