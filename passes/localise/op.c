/*
 * op.c: ops that ask for indices of the whole, or reduce over an axis with
 * pads.
 *
 * Everything else does to a part what it does to the whole.  What a pad holds
 * nobody has said, so whoever reduces over one puts the neutral element there
 * first.
 */
#include "localise.h"

#include <math.h>
#include <string.h>

/* ----------------------------------------------------------------- maps -- */

typedef struct Indices {
    const Part *at;
    uint32_t n;
} Indices;

static Expr index_in_whole(Module *m, Axis a, void *user)
{
    const Indices *x = user;
    for (uint32_t i = 0; i < x->n; i++)
        if (x->at[i].axis.axis.id == a.id)
            return part_whole(m, &x->at[i], expr_index(m, a));
    return (Expr){0};
}

Value local_map(Local *l, const Inst *in)
{
    Module *m = l->m;
    const TypeInfo *t = type_info(m, in->type);
    size_t most = in->nargs + (size_t)t->naxes * PART_OPERANDS + 1;
    Value *args = NEW_ARRAY(m->scratch, Value, most);
    Part *places = NEW_ARRAY(m->scratch, Part, (size_t)t->naxes + 1);
    Expr body = attr_expr(m, in->attr);
    uint32_t n = in->nargs;
    Indices x = {.at = places};
    for (uint32_t i = 0; i < n; i++)
        args[i] = local_arg(l, in, i);
    for (uint32_t i = 0; i < t->naxes; i++)
        if (t->axes[i].nsplits && expr_uses_index(m, body, t->axes[i].axis))
            places[x.n++] = part_of(l, &t->axes[i], args, &n);
    if (x.n) {
        ExprSubst s = {.with = expr_args(m, l->b.fn, args, in->nargs),
                       .n = in->nargs,
                       .index_with = index_in_whole,
                       .user = &x};
        body = expr_subst(m, body, &s);
    }
    return emit(&l->b, OP_map, type_local(m, in->type),
                attr_with_id(m, in->attr, AT_body, body.id), args, n);
}

/* ----------------------------------------------------------------- pads -- */

/* X, with OTHER in the pads along those of the axes that have some; T is its
 * type with splits. */
static Value without_pads(Local *l, Value x, Type t, const AttrItem *axes,
                          Expr other)
{
    Module *m = l->m;
    Value args[1 + PART_OPERANDS];
    for (uint32_t i = 0; axes && i < axes->n; i++) {
        const TypeAxis *a = type_axis(m, t, axes->axes[i]);
        if (!a || !a->nsplits || axis_is_even(m, a)) continue;
        TypeAxis whole = *a;
        uint32_t n = 1;
        args[0] = x;
        Part p = part_of(l, &whole, args, &n);
        Expr at = part_whole(m, &p, expr_index(m, whole.axis));
        Expr there = expr_op2(m, SC_lt, at, expr_i32(m, whole.size));
        Expr own = expr_arg(m, 0, expr_dtype(m, other));
        x = emit_map(&l->b, expr_op(m, SC_where, there, own, other), args, n);
    }
    return x;
}

static Expr constant(Module *m, DType d, double f, int64_t i)
{
    return dtype_class(d) == DC_float ? expr_float(m, d, f) : expr_int(m, d, i);
}

/* The smallest or the largest number of a dtype. */
static Expr extreme(Module *m, DType d, bool largest)
{
    unsigned bits = 8 * dtype_bytes(d);
    uint64_t all = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
    switch (dtype_class(d)) {
    case DC_float:
        return expr_float(m, d, largest ? INFINITY : -INFINITY);
    case DC_bool:
        return expr_int(m, d, largest);
    case DC_uint:
        return expr_int(m, d, largest ? (int64_t)all : 0);
    case DC_int:
        break;
    }
    int64_t most = (int64_t)(all >> 1);
    return expr_int(m, d, largest ? most : -most - 1);
}

Expr local_neutral(Module *m, DType d, const char *kind)
{
    if (!strcmp(kind, "sum")) return constant(m, d, 0, 0);
    if (!strcmp(kind, "prod")) return constant(m, d, 1, 1);
    return extreme(m, d, !strcmp(kind, "min"));
}

Value local_reduce(Local *l, const Inst *in)
{
    Module *m = l->m;
    Type t = value_type(l->old, inst_arg(l->old, in, 0));
    const char *kind = str_of(m, attr_str(m, in->attr, AT_kind));
    Value x =
        without_pads(l, local_arg(l, in, 0), t, attr_get(m, in->attr, AT_axes),
                     local_neutral(m, type_dtype(m, t), kind));
    return emit(&l->b, OP_reduce, type_local(m, in->type), in->attr, &x, 1);
}

static bool has_pads(const Module *m, Type t, const AttrItem *axes)
{
    for (uint32_t i = 0; axes && i < axes->n; i++) {
        const TypeAxis *a = type_axis(m, t, axes->axes[i]);
        if (a && a->nsplits && !axis_is_even(m, a)) return true;
    }
    return false;
}

static bool same_axes(const AttrItem *a, const AttrItem *b)
{
    return a && b && a->n == b->n &&
           memcmp(a->axes, b->axes, a->n * sizeof *a->axes) == 0;
}

/* What the function makes for a sum of products has zeros there from the
 * start, so that there are not two of it; a parameter has them where it is
 * summed. */
void local_find_zeroed(Local *l)
{
    const Fn *fn = l->old;
    l->zeroed = NEW_ARRAY(l->m->scratch, const AttrItem *, fn->ninsts + 1);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (in->op != OP_einsum) continue;
        const AttrItem *sum = attr_get(l->m, in->attr, AT_sum);
        for (uint32_t k = 0; k < 2; k++) {
            Value v = inst_arg(fn, in, k);
            if (v.id >= fn->nparams && !l->zeroed[v.id] &&
                has_pads(l->m, value_type(fn, v), sum))
                l->zeroed[v.id] = sum;
        }
    }
}

static Value zeroed(Local *l, Value v, Type t, const AttrItem *axes)
{
    Expr zero = expr_float(l->m, type_dtype(l->m, t), 0);
    return without_pads(l, v, t, axes, zero);
}

Value local_zeroed(Local *l, Value old, Value v)
{
    if (!l->zeroed[old.id]) return v;
    return zeroed(l, v, value_type(l->old, old), l->zeroed[old.id]);
}

Value local_einsum(Local *l, const Inst *in)
{
    Module *m = l->m;
    Value args[2];
    const AttrItem *sum = attr_get(m, in->attr, AT_sum);
    for (uint32_t i = 0; i < 2; i++) {
        Value old = inst_arg(l->old, in, i);
        args[i] = local_arg(l, in, i);
        if (!same_axes(l->zeroed[old.id], sum))
            args[i] = zeroed(l, args[i], value_type(l->old, old), sum);
    }
    return emit(&l->b, OP_einsum, type_local(m, in->type), in->attr, args, 2);
}

/* -------------------------------------------------------------- indices -- */

/* Ids in a dtype with a sign. */
static Value signed_ids(Local *l, Value ids)
{
    DType d = type_dtype(l->m, value_type(l->b.fn, ids));
    return emit_cast(&l->b, ids, dtype_bytes(d) > 4 ? DT_i64 : DT_i32);
}

/* Ids along the whole of an axis as ids along this device's part. */
static Value local_ids(Local *l, Value ids, const TypeAxis *a)
{
    Value args[1 + PART_OPERANDS] = {signed_ids(l, ids)};
    TypeAxis whole = *a;
    uint32_t n = 1;
    Part p = part_of(l, &whole, args, &n);
    DType d = type_dtype(l->m, value_type(l->b.fn, args[0]));
    Expr i = part_local(l->m, &p, expr_arg(l->m, 0, d));
    return emit_map(&l->b, i, args, n);
}

Value local_gather(Local *l, const Inst *in)
{
    Module *m = l->m;
    Type t = value_type(l->old, inst_arg(l->old, in, 0));
    const TypeAxis *a = type_axis(m, t, attr_axis(m, in->attr, AT_axis));
    Value args[2] = {local_arg(l, in, 0), local_arg(l, in, 1)};
    if (a->nsplits) args[1] = local_ids(l, args[1], a);
    return emit(&l->b, OP_gather, type_local(m, in->type), in->attr, args, 2);
}

/* The axes of an operand that the result of a scatter lacks and that have pads.
 */
static AttrItem padded_sums(const Local *l, const Inst *scatter, uint32_t k)
{
    const Module *m = l->m;
    const TypeInfo *t =
        type_info(m, value_type(l->old, inst_arg(l->old, scatter, k)));
    Axis *axes = NEW_ARRAY(m->scratch, Axis, (size_t)t->naxes + 1);
    AttrItem list = {.axes = axes};
    for (uint32_t i = 0; i < t->naxes; i++)
        if (!type_axis(m, scatter->type, t->axes[i].axis) &&
            t->axes[i].nsplits && !axis_is_even(m, &t->axes[i]))
            axes[list.n++] = t->axes[i].axis;
    return list;
}

/* Ids in pads choose nothing; updates in pads that the ids do not have add
 * nothing.  Ids in order stay so where parts are even blocks. */
Value local_scatter(Local *l, const Inst *in)
{
    Module *m = l->m;
    TypeAxis a = *type_axis(m, in->type, attr_axis(m, in->attr, AT_axis));
    Value args[2] = {local_arg(l, in, 0), local_arg(l, in, 1)};
    bool ordered =
        !a.nsplits || (a.spread == SPREAD_block && axis_is_even(m, &a));
    if (a.nsplits) args[0] = local_ids(l, args[0], &a);
    for (uint32_t k = 0; k < 2; k++) {
        AttrItem pads = padded_sums(l, in, k);
        if (!pads.n) continue;
        if (k == 0) args[0] = signed_ids(l, args[0]);
        DType d = type_dtype(m, value_type(l->b.fn, args[k]));
        Type t = value_type(l->old, inst_arg(l->old, in, k));
        args[k] =
            without_pads(l, args[k], t, &pads,
                         k ? local_neutral(m, d, "sum") : expr_int(m, d, -1));
        ordered &= k > 0;
    }
    AttrList list = attr_list(m, in->attr);
    if (!ordered) attr_drop(&list, AT_ascending);
    return emit(&l->b, OP_scatter, type_local(m, in->type),
                attr_intern(m, &list), args, 2);
}
