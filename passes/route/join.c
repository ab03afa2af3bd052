/*
 * join.c: blocks of rows that have orders by parts, as one list of blocks.
 *
 * Rows that were sorted in the global view have an order for each index of the
 * axes along which they were sent (rows.c):
 *
 *     %g = gather %w, %of axis chosen      [to, block, k, n]
 *     %h = einsum %x, %g sum (k)           [to, block, in, n]
 *
 *     %u = einsum %x, %d sum (in)          [to, block, k, n]
 *     %d_w = scatter %of, %u axis chosen ascending
 *
 * A device mostly has one index of these.  Kernels read an id for each block of
 * one axis, so here the axes become one, as `to` does of the matrices and the
 * axis that they are chosen along.  So do those of maps of the results, which
 * kernels make too.  Ids of several parts do not ascend when they are one list:
 * blocks that are added up are put in the order of their ids then.
 */
#include "../ids.h"
#include "route.h"

enum { MOST_JOINED = 8 };

/* Axes that become one, outermost first. */
typedef struct Join {
    TypeAxis from[MOST_JOINED];
    uint32_t n;
    TypeAxis as;
    Value order; /* of the new function: which index comes where; NO_VALUE: they
                    stay as they are */
} Join;

/* What a value of the old function is, joined, in the new one. */
typedef struct Joined {
    Value v;
    Join how;
} Joined;

/* Beside that, what somebody reads joined in some way. */
typedef struct Read {
    Value old;
    Joined is;
} Read;

/* Ids that are in order. */
typedef struct Sorted {
    Value of; /* ids of the old function */
    Axis chosen;
    Value ids, order; /* of the new one */
} Sorted;

typedef struct Joining {
    Route *r;
    VEC(Sorted) sorted;
    VEC(Read) reads;
    Joined *of; /* by value; NO_VALUE: it is not */
    uint32_t made;
} Joining;

static Type old_type(const Joining *j, Value v)
{
    return value_type(j->r->rw.old, v);
}

/* How many axes of a join a type has. */
static uint32_t axes_in(const Joining *j, const Join *how, Type t)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < how->n; i++)
        n += type_axis(j->r->m, t, how->from[i].axis) != NULL;
    return n;
}

static Type joined_type(const Joining *j, const Join *how, Type t)
{
    for (uint32_t i = 0; i < how->n; i++)
        t = type_without_axis(j->r->m, t, how->from[i].axis);
    return type_with_axis(j->r->m, t, how->as);
}

static bool join_eq(const Join *x, const Join *y)
{
    bool eq = x->n == y->n && x->as.axis.id == y->as.axis.id &&
              value_eq(x->order, y->order);
    for (uint32_t i = 0; eq && i < x->n; i++)
        eq = x->from[i].axis.id == y->from[i].axis.id;
    return eq;
}

static Value merged(Joining *j, const Join *how, Value v)
{
    Axis from[MOST_JOINED];
    for (uint32_t i = 0; i < how->n; i++)
        from[i] = how->from[i].axis;
    v = emit_merge(&j->r->rw.b, v, from, how->n, how->as.axis);
    if (value_eq(how->order, NO_VALUE)) return v;
    return emit_gather(&j->r->rw.b, v, how->order, how->as.axis);
}

/* ---------------------------------------------------------------- values -- */

static bool asks_any(const Joining *j, const Join *how, const Inst *map)
{
    bool asks = false;
    for (uint32_t i = 0; i < how->n; i++)
        asks |= expr_uses_index(j->r->m, attr_expr(j->r->m, map->attr),
                                how->from[i].axis);
    return asks;
}

/* A map of which every operand has all of the axes, or none. */
static bool map_joins(const Joining *j, const Join *how, const Inst *in)
{
    if (in->op != OP_map || axes_in(j, how, in->type) < how->n ||
        asks_any(j, how, in))
        return false;
    for (uint32_t i = 0; i < in->nargs; i++) {
        uint32_t n =
            axes_in(j, how, old_type(j, inst_arg(j->r->rw.old, in, i)));
        if (n != 0 && n != how->n) return false;
    }
    return true;
}

static Value joined(Joining *j, const Join *how, Value old);

static Value joined_map(Joining *j, const Join *how, const Inst *in)
{
    Module *m = j->r->m;
    Value *args = NEW_ARRAY(m->scratch, Value, (size_t)in->nargs + 1);
    for (uint32_t i = 0; i < in->nargs; i++)
        args[i] = joined(j, how, inst_arg(j->r->rw.old, in, i));
    return emit(&j->r->rw.b, OP_map, joined_type(j, how, in->type), in->attr,
                args, in->nargs);
}

/* A value that has all of the axes; others stay as they are. */
static Value joined(Joining *j, const Join *how, Value old)
{
    const Joined *at = &j->of[old.id];
    const Inst *in = inst_of(j->r->rw.old, old);
    if (axes_in(j, how, old_type(j, old)) == 0)
        return rewrite_value(&j->r->rw, old);
    if (!value_eq(at->v, NO_VALUE) && join_eq(&at->how, how)) return at->v;
    for (uint32_t i = 0; i < j->reads.n; i++)
        if (value_eq(j->reads.at[i].old, old) &&
            join_eq(&j->reads.at[i].is.how, how))
            return j->reads.at[i].is.v;
    Value v = map_joins(j, how, in)
                  ? joined_map(j, how, in)
                  : merged(j, how, rewrite_value(&j->r->rw, old));
    vec_push(j->r->m->scratch, &j->reads, ((Read){old, {v, *how}}));
    return v;
}

/* The value of the old function in parts again. */
static void set_joined(Joining *j, Value old, const Join *how, Value v)
{
    j->of[old.id] = (Joined){v, *how};
    Value parts = emit_split(&j->r->rw.b, v, how->as.axis, how->from, how->n);
    value_set_name(&j->r->rw.b, parts, j->r->rw.old->names[old.id]);
    rewrite_set(&j->r->rw, old, parts);
}

/* ------------------------------------------------------------------- ids -- */

static int64_t all_of(Join *how)
{
    int64_t n = 1;
    for (uint32_t i = 0; i < how->n; i++)
        n *= how->from[i].size;
    return n;
}

/* All axes of ids that have more than that of blocks, which is the last. */
static bool join_blocks(const Joining *j, Type ids, Join *how)
{
    const TypeInfo *ti = type_info(j->r->m, ids);
    if (ti->dtype != DT_i32 || ti->naxes < 2 || ti->naxes >= MOST_JOINED)
        return false;
    *how = (Join){.n = ti->naxes, .order = NO_VALUE};
    for (uint32_t i = 0; i < ti->naxes; i++)
        how->from[i] = ti->axes[i];
    how->as = (TypeAxis){.axis = how->from[0].axis, .size = all_of(how)};
    return true;
}

/* Those of them that what is chosen from has, and the axis it is chosen along.
 */
static void join_chosen(const Joining *j, Type w, Axis axis, const Join *blocks,
                        Join *how)
{
    *how = (Join){.order = NO_VALUE};
    for (uint32_t i = 0; i < blocks->n; i++)
        if (type_axis(j->r->m, w, blocks->from[i].axis))
            how->from[how->n++] = blocks->from[i];
    how->from[how->n++] = *type_axis(j->r->m, w, axis);
    how->as = (TypeAxis){.axis = axis, .size = all_of(how)};
}

/* Ids of all that is chosen from. */
static Value joined_ids(Joining *j, Value ids, const Join *blocks,
                        const Join *chosen)
{
    Module *m = j->r->m;
    Value v = rewrite_value(&j->r->rw, ids);
    int64_t each = chosen->from[chosen->n - 1].size;
    if (chosen->as.size > each) {
        Expr at = expr_i32(m, 0), id = id_arg(m, 0);
        for (uint32_t i = 0; i + 1 < chosen->n; i++) {
            Expr size = expr_i32(m, chosen->from[i].size);
            at = expr_op2(m, SC_mul, at, size);
            at = expr_op2(m, SC_add, at, expr_index(m, chosen->from[i].axis));
        }
        at = expr_op2(m, SC_mul, at, expr_i32(m, each));
        at = expr_op2(m, SC_add, at, id);
        at = expr_op(m, SC_where, id_in(m, id, each), at,
                     expr_i32(m, chosen->as.size));
        v = emit_map(&j->r->rw.b, at, &v, 1);
    }
    return merged(j, blocks, v);
}

/* Where each id comes from when they are in order, those that are equal as they
 * were. */
static Value ids_order(Joining *j, Value ids, TypeAxis axis)
{
    Module *m = j->r->m;
    Builder *b = &j->r->rw.b;
    Axis other = axis_fresh(m, "other", axis.size);
    Value others = emit_rename(b, ids, &axis.axis, &other, 1);
    Expr mine = id_arg(m, 0), id = id_arg(m, 1);
    Expr before =
        expr_op2(m, SC_lt, expr_index(m, other), expr_index(m, axis.axis));
    before = expr_op2(m, SC_and, expr_op2(m, SC_eq, id, mine), before);
    before = expr_op2(m, SC_or, expr_op2(m, SC_lt, id, mine), before);
    Value one =
        emit_map(b, expr_cast(m, DT_i32, before), (Value[]){ids, others}, 2);
    Value place = emit_reduce(b, "sum", one, &other, 1, DT_i32, DT_i32);
    TypeAxis to = {.axis = other, .size = axis.size};
    Value none = emit_map_over(b, expr_i32(m, -1), NULL, 0, &to, 1);
    Value own = emit_map_over(b, expr_index(m, axis.axis), NULL, 0, &axis, 1);
    Value from = emit_put_distinct(b, none, place, own, other);
    return emit_rename(b, from, &other, &axis.axis, 1);
}

/* Of one part they are in order as they are. */
static const Sorted *ids_sorted(Joining *j, Value ids, const Join *blocks,
                                const Join *chosen)
{
    for (uint32_t i = 0; i < j->sorted.n; i++)
        if (value_eq(j->sorted.at[i].of, ids) &&
            j->sorted.at[i].chosen.id == chosen->as.axis.id)
            return &j->sorted.at[i];
    Sorted x = {.of = ids, .chosen = chosen->as.axis, .order = NO_VALUE};
    x.ids = joined_ids(j, ids, blocks, chosen);
    if (blocks->as.size > blocks->from[blocks->n - 1].size) {
        x.order = ids_order(j, x.ids, blocks->as);
        x.ids = emit_gather(&j->r->rw.b, x.ids, x.order, blocks->as.axis);
    }
    vec_push(j->r->m->scratch, &j->sorted, x);
    return &vec_last(&j->sorted);
}

/* -------------------------------------------------------------- products -- */

static Value joined_einsum(Joining *j, const Join *how, const Inst *in,
                           const Value *args)
{
    return emit(&j->r->rw.b, OP_einsum, joined_type(j, how, in->type), in->attr,
                args, 2);
}

/* Rows in blocks: they have an axis that is not summed beside those of the ids.
 */
static bool are_blocks(const Joining *j, const Join *blocks, const Inst *in,
                       Type rows)
{
    const TypeInfo *ti = type_info(j->r->m, rows);
    const AttrItem *sum = attr_get(j->r->m, in->attr, AT_sum);
    uint32_t within = 0;
    for (uint32_t i = 0; i < ti->naxes; i++)
        within += !attr_item_has(sum, ti->axes[i].axis);
    return axes_in(j, blocks, rows) == blocks->n && within > blocks->n;
}

/* Rows and what their blocks choose. */
static bool join_product(Joining *j, Value old, const Inst *in)
{
    const Fn *fn = j->r->rw.old;
    for (uint32_t k = 0; k < 2; k++) {
        const Inst *g = inst_of(fn, inst_arg(fn, in, k));
        Join blocks, chosen;
        if (g->op != OP_gather) continue;
        Value w = inst_arg(fn, g, 0), ids = inst_arg(fn, g, 1);
        Axis axis = attr_axis(j->r->m, g->attr, AT_axis);
        if (!join_blocks(j, old_type(j, ids), &blocks) ||
            type_axis(j->r->m, old_type(j, ids), axis) ||
            axes_in(j, &blocks, in->type) < blocks.n ||
            !are_blocks(j, &blocks, in, old_type(j, inst_arg(fn, in, 1 - k))))
            continue;
        join_chosen(j, old_type(j, w), axis, &blocks, &chosen);
        Value of = joined_ids(j, ids, &blocks, &chosen), args[2];
        args[k] = emit_gather(&j->r->rw.b, joined(j, &chosen, w), of, axis);
        args[1 - k] = joined(j, &blocks, inst_arg(fn, in, 1 - k));
        set_joined(j, old, &blocks, joined_einsum(j, &blocks, in, args));
        return true;
    }
    return false;
}

/* Products of blocks that are added up by their ids. */
static bool join_scatter(Joining *j, Value old, const Inst *in)
{
    const Fn *fn = j->r->rw.old;
    Module *m = j->r->m;
    Join blocks, chosen;
    Value ids = inst_arg(fn, in, 0), u = inst_arg(fn, in, 1);
    const Inst *of = inst_of(fn, u);
    if (!attr_flag(m, in->attr, AT_ascending) || of->op != OP_einsum ||
        !join_blocks(j, old_type(j, ids), &blocks))
        return false;
    for (uint32_t k = 0; k < 2; k++)
        if (axes_in(j, &blocks, old_type(j, inst_arg(fn, of, k))) < blocks.n)
            return false;
    join_chosen(j, in->type, attr_axis(m, in->attr, AT_axis), &blocks, &chosen);
    Value args[2];
    const Sorted *list = ids_sorted(j, ids, &blocks, &chosen);
    blocks.order = list->order;
    for (uint32_t k = 0; k < 2; k++)
        args[k] = joined(j, &blocks, inst_arg(fn, of, k));
    args[1] = joined_einsum(j, &blocks, of, args);
    args[0] = list->ids;
    Value v = emit(&j->r->rw.b, OP_scatter, joined_type(j, &chosen, in->type),
                   in->attr, args, 2);
    set_joined(j, old, &chosen, v);
    return true;
}

/* A map of what is joined. */
static bool join_map(Joining *j, Value old, const Inst *in)
{
    for (uint32_t i = 0; i < in->nargs; i++) {
        const Joined *at = &j->of[inst_arg(j->r->rw.old, in, i).id];
        if (value_eq(at->v, NO_VALUE) || !map_joins(j, &at->how, in)) continue;
        set_joined(j, old, &at->how, joined_map(j, &at->how, in));
        return true;
    }
    return false;
}

static bool join_inst(Joining *j, Value old, const Inst *in)
{
    if (in->op == OP_einsum) return join_product(j, old, in);
    if (in->op == OP_scatter) return join_scatter(j, old, in);
    return in->op == OP_map && join_map(j, old, in);
}

void route_join(Route *r, uint32_t at)
{
    const Fn *fn = r->m->fns.at[at];
    Joining j = {.r = r};
    j.of = NEW_ARRAY(r->m->scratch, Joined, (size_t)fn->ninsts + 1);
    for (uint32_t i = 0; i < fn->ninsts; i++)
        j.of[i].v = NO_VALUE;
    rewrite_begin(&r->rw, r->m, fn);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        r->rw.b.loc = fn->insts[i].loc;
        r->rw.b.phase = (Phase)fn->insts[i].phase;
        if (join_inst(&j, (Value){i}, &fn->insts[i]))
            j.made++;
        else
            rewrite_copy(&r->rw, (Value){i});
    }
    Fn *made = rewrite_end(&r->rw);
    if (j.made) r->m->fns.at[at] = fn_without_unneeded(r->m, made);
}
