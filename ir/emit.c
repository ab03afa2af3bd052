/*
 * emit.c: emitters that compute the result type.
 *
 * They follow the shape rules of ir/ops.md and go through emit, so they fold.
 * What a caller gets wrong is not checked here: the verifier says it.  In a
 * local view a sum over split axes is left pending over their mesh axes.
 */
#include "ir.h"

#include <string.h>

static Type type_of(const Builder *b, Value v)
{
    return value_type(b->fn, v);
}

static DType dtype_of(const Builder *b, Value v)
{
    return type_dtype(b->m, type_of(b, v));
}

static Value emit_attrs(Builder *b, Op op, Type t, AttrList *l,
                        const Value *args, uint32_t n)
{
    return emit(b, op, t, attr_intern(b->m, l), args, n);
}

static Value emit_one(Builder *b, Op op, Type t, AttrList *l, Value x)
{
    return emit_attrs(b, op, t, l, &x, 1);
}

/* Defaults are left out, so that equal instructions look equal. */
static void put_int_unless(AttrList *l, AttrKey k, int64_t i, int64_t usual)
{
    if (i != usual) attr_put_int(l, k, i);
}

static void put_acc(AttrList *l, DType operand, DType acc)
{
    if (acc != dtype_acc(operand)) attr_put_int(l, AT_acc, acc);
}

/* ---------------------------------------------------------------- maps -- */

/* The union of the operands' axes; pending as the operand that is. */
static Type map_type(Builder *b, DType d, const Value *args, uint32_t n)
{
    if (n == 0) return type_scalar(b->m, d);
    Type t = type_of(b, args[0]);
    for (uint32_t i = 1; i < n; i++) {
        Type x = type_of(b, args[i]);
        bool pending = type_info(b->m, x)->npending > 0;
        t = pending ? type_union(b->m, x, t) : type_union(b->m, t, x);
    }
    return type_with_dtype(b->m, t, d);
}

Value emit_map_over(Builder *b, Expr body, const Value *args, uint32_t n,
                    const TypeAxis *more, uint32_t nmore)
{
    Type t = map_type(b, expr_dtype(b->m, body), args, n);
    for (uint32_t i = 0; i < nmore; i++)
        t = type_with_axis(b->m, t, more[i]);
    AttrList l = {.n = 0};
    attr_put_id(&l, AT_body, body.id);
    return emit_attrs(b, OP_map, t, &l, args, n);
}

Value emit_map(Builder *b, Expr body, const Value *args, uint32_t n)
{
    return emit_map_over(b, body, args, n, NULL, 0);
}

Value emit_const(Builder *b, DType d, double x)
{
    Expr e = dtype_class(d) == DC_float ? expr_float(b->m, d, x)
                                        : expr_int(b->m, d, (int64_t)x);
    return emit_map(b, e, NULL, 0);
}

Value emit_cast(Builder *b, Value x, DType d)
{
    Expr e = expr_arg(b->m, 0, dtype_of(b, x));
    return emit_map(b, expr_cast(b->m, d, e), &x, 1);
}

/* Operand i in a dtype that computes. */
static Expr computing(Builder *b, uint32_t i, DType d)
{
    Expr e = expr_arg(b->m, i, d);
    return dtype_computes(d) ? e : expr_cast(b->m, DT_f32, e);
}

/* A narrow float is widened, computed in f32 and rounded back, visibly. */
static Expr rounded_back(Builder *b, Expr e, DType d)
{
    bool narrow = !dtype_computes(d) && expr_dtype(b->m, e) == DT_f32;
    return narrow ? expr_cast(b->m, d, e) : e;
}

Value emit_unary(Builder *b, ScalarOp op, Value x)
{
    DType d = dtype_of(b, x);
    Expr e = expr_op1(b->m, op, computing(b, 0, d));
    return emit_map(b, rounded_back(b, e, d), &x, 1);
}

Value emit_binary(Builder *b, ScalarOp op, Value x, Value y)
{
    DType d = dtype_of(b, x);
    Expr e =
        expr_op2(b->m, op, computing(b, 0, d), computing(b, 1, dtype_of(b, y)));
    return emit_map(b, rounded_back(b, e, d), (Value[]){x, y}, 2);
}

Value emit_where(Builder *b, Value c, Value x, Value y)
{
    Expr e = expr_op(b->m, SC_where, expr_arg(b->m, 0, DT_bool),
                     expr_arg(b->m, 1, dtype_of(b, x)),
                     expr_arg(b->m, 2, dtype_of(b, y)));
    return emit_map(b, e, (Value[]){c, x, y}, 3);
}

Value emit_broadcast(Builder *b, Value x, const TypeAxis *more, uint32_t n)
{
    Expr e = expr_arg(b->m, 0, dtype_of(b, x));
    return emit_map_over(b, e, &x, 1, more, n);
}

/* ----------------------------------------------------------------- sums -- */

/* T without the axes; in a local view pending over what split them. */
static Type type_summed(Builder *b, Type t, const Axis *axes, uint32_t n,
                        PendingKind kind)
{
    Module *m = b->m;
    TypeInfo info = *type_info(m, type_without_axes(m, t, axes, n));
    VEC(MeshAxis) pending = {0};
    for (uint32_t i = 0; i < info.npending; i++)
        vec_push(m->scratch, &pending, info.pending[i]);
    for (uint32_t i = 0; i < n && b->fn->view == VIEW_local; i++) {
        const TypeAxis *a = type_axis(m, t, axes[i]);
        for (uint32_t k = 0; a && k < a->nsplits; k++)
            vec_push(m->scratch, &pending, a->splits[k]);
    }
    if (pending.n == info.npending) return type_intern(m, &info);
    info.pending = pending.at;
    info.npending = pending.n;
    info.pending_kind = kind;
    return type_intern(m, &info);
}

Value emit_reduce(Builder *b, const char *kind, Value x, const Axis *axes,
                  uint32_t n, DType result, DType acc)
{
    Type t = type_summed(b, type_of(b, x), axes, n,
                         strcmp(kind, "max") ? PENDING_sum : PENDING_max);
    AttrList l = {.n = 0};
    attr_put_id(&l, AT_kind, module_str(b->m, kind).id);
    attr_put_axes(&l, AT_axes, axes, n);
    put_acc(&l, dtype_of(b, x), acc);
    return emit_one(b, OP_reduce, type_with_dtype(b->m, t, result), &l, x);
}

static Value emit_product(Builder *b, AttrList *l, const Value *xy,
                          const Axis *sum, uint32_t n, DType result, DType acc)
{
    Value x = xy[0], y = xy[1];
    Type tx = type_of(b, x), ty = type_of(b, y);
    bool pending = type_info(b->m, ty)->npending > 0;
    Type both = pending ? type_union(b->m, ty, tx) : type_union(b->m, tx, ty);
    Type t = type_summed(b, both, sum, n, PENDING_sum);
    attr_put_axes(l, AT_sum, sum, n);
    put_acc(l, dtype_of(b, x), acc);
    return emit_attrs(b, OP_einsum, type_with_dtype(b->m, t, result), l, xy, 2);
}

Value emit_einsum(Builder *b, Value x, Value y, const Axis *sum, uint32_t n,
                  DType result, DType acc)
{
    AttrList l = {.n = 0};
    return emit_product(b, &l, (Value[]){x, y}, sum, n, result, acc);
}

Value emit_einsum_fast(Builder *b, Value x, Value y, const Axis *sum,
                       uint32_t n, DType result, DType acc)
{
    AttrList l = {.n = 0};
    attr_put_int(&l, AT_fast, 1);
    return emit_product(b, &l, (Value[]){x, y}, sum, n, result, acc);
}

Value emit_cumsum(Builder *b, Value x, Axis axis, bool reverse, bool exclusive)
{
    AttrList l = {.n = 0};
    attr_put_id(&l, AT_axis, axis.id);
    attr_put_int(&l, AT_reverse, reverse);
    attr_put_int(&l, AT_exclusive, exclusive);
    return emit_one(b, OP_cumsum, type_of(b, x), &l, x);
}

/* ------------------------------------------------------ names and places -- */

Value emit_rename(Builder *b, Value x, const Axis *from, const Axis *to,
                  uint32_t n)
{
    AttrList l = {.n = 0};
    attr_put_axes(&l, AT_from, from, n);
    attr_put_axes(&l, AT_to, to, n);
    Type t = type_renamed(b->m, type_of(b, x), from, to, n);
    return emit_one(b, OP_rename, t, &l, x);
}

static const Axis *axes_of(Builder *b, const TypeAxis *to, uint32_t n)
{
    Axis *axes = NEW_ARRAY(b->m->scratch, Axis, n);
    for (uint32_t i = 0; i < n; i++)
        axes[i] = to[i].axis;
    return axes;
}

static Type type_with_axes(Builder *b, Type t, const TypeAxis *to, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        t = type_with_axis(b->m, t, to[i]);
    return t;
}

/* What splits the axis splits its first part. */
Value emit_split(Builder *b, Value x, Axis axis, const TypeAxis *to, uint32_t n)
{
    Type t = type_of(b, x);
    const TypeAxis *was = type_axis(b->m, t, axis);
    TypeAxis *parts = NEW_ARRAY(b->m->scratch, TypeAxis, n);
    for (uint32_t i = 0; i < n; i++) {
        parts[i] = to[i];
        if (i > 0 || !was || to[i].nsplits) continue;
        parts[i].splits = was->splits;
        parts[i].nsplits = was->nsplits;
        parts[i].spread = was->spread;
    }
    AttrList l = {.n = 0};
    attr_put_id(&l, AT_axis, axis.id);
    attr_put_axes(&l, AT_to, axes_of(b, to, n), n);
    t = type_with_axes(b, type_without_axis(b->m, t, axis), parts, n);
    return emit_one(b, OP_split, t, &l, x);
}

Value emit_merge(Builder *b, Value x, const Axis *from, uint32_t n, Axis to)
{
    Type t = type_of(b, x);
    TypeAxis merged = {.axis = to, .size = 1};
    for (uint32_t i = 0; i < n; i++) {
        const TypeAxis *a = type_axis(b->m, t, from[i]);
        if (i == 0 && a) merged = *a;
        if (i > 0 && a) merged.size *= a->size;
    }
    merged.axis = to;
    AttrList l = {.n = 0};
    attr_put_axes(&l, AT_from, from, n);
    attr_put_id(&l, AT_axis, to.id);
    t = type_with_axis(b->m, type_without_axes(b->m, t, from, n), merged);
    return emit_one(b, OP_merge, t, &l, x);
}

/* T with another size of an axis; its splits stay. */
static Type type_resized(Builder *b, Type t, Axis axis, int64_t size)
{
    const TypeAxis *was = type_axis(b->m, t, axis);
    TypeAxis a = was ? *was : (TypeAxis){.axis = axis};
    a.size = size;
    return type_with_axis(b->m, t, a);
}

Value emit_slice(Builder *b, Value x, Axis axis, int64_t start, int64_t size,
                 int64_t step)
{
    AttrList l = {.n = 0};
    attr_put_id(&l, AT_axis, axis.id);
    put_int_unless(&l, AT_start, start, 0);
    put_int_unless(&l, AT_step, step, 1);
    Type t = type_resized(b, type_of(b, x), axis, size);
    return emit_one(b, OP_slice, t, &l, x);
}

Value emit_pick(Builder *b, Value x, Axis axis, int64_t index)
{
    AttrList l = {.n = 0};
    attr_put_id(&l, AT_axis, axis.id);
    put_int_unless(&l, AT_start, index, 0);
    Type t = type_without_axis(b->m, type_of(b, x), axis);
    return emit_one(b, OP_pick, t, &l, x);
}

Value emit_pad(Builder *b, Value x, Axis axis, int64_t low, int64_t high,
               int64_t step)
{
    int64_t n = type_size(b->m, type_of(b, x), axis);
    AttrList l = {.n = 0};
    attr_put_id(&l, AT_axis, axis.id);
    put_int_unless(&l, AT_low, low, 0);
    put_int_unless(&l, AT_high, high, 0);
    put_int_unless(&l, AT_step, step, 1);
    Type t =
        type_resized(b, type_of(b, x), axis, low + (n - 1) * step + 1 + high);
    return emit_one(b, OP_pad, t, &l, x);
}

Value emit_concat(Builder *b, const Value *xs, uint32_t n, Axis axis)
{
    int64_t size = 0;
    for (uint32_t i = 0; i < n; i++)
        size += type_size(b->m, type_of(b, xs[i]), axis);
    AttrList l = {.n = 0};
    attr_put_id(&l, AT_axis, axis.id);
    Type t = type_resized(b, type_of(b, xs[0]), axis, size);
    return emit_attrs(b, OP_concat, t, &l, xs, n);
}

Value emit_stack(Builder *b, const Value *xs, uint32_t n, Axis axis)
{
    AttrList l = {.n = 0};
    attr_put_id(&l, AT_axis, axis.id);
    Type t = type_with_axis(b->m, type_of(b, xs[0]),
                            (TypeAxis){.axis = axis, .size = n});
    return emit_attrs(b, OP_stack, t, &l, xs, n);
}

Value emit_window(Builder *b, Value x, Axis axis, const TypeAxis *to,
                  const int64_t *coef, uint32_t n, int64_t start)
{
    AttrList l = {.n = 0};
    attr_put_id(&l, AT_axis, axis.id);
    attr_put_axes(&l, AT_to, axes_of(b, to, n), n);
    attr_put_ints(&l, AT_coef, coef, n);
    put_int_unless(&l, AT_start, start, 0);
    Type t = type_without_axis(b->m, type_of(b, x), axis);
    return emit_one(b, OP_window, type_with_axes(b, t, to, n), &l, x);
}

Value emit_fold(Builder *b, Value x, TypeAxis axis, const Axis *to,
                const int64_t *coef, uint32_t n, int64_t start)
{
    AttrList l = {.n = 0};
    attr_put_id(&l, AT_axis, axis.axis.id);
    attr_put_axes(&l, AT_to, to, n);
    attr_put_ints(&l, AT_coef, coef, n);
    put_int_unless(&l, AT_start, start, 0);
    Type t = type_without_axes(b->m, type_of(b, x), to, n);
    return emit_one(b, OP_fold, type_with_axis(b->m, t, axis), &l, x);
}

/* ------------------------------------------------------------- indexing -- */

static Attr axis_attr(Builder *b, Axis axis)
{
    AttrList l = {.n = 0};
    attr_put_id(&l, AT_axis, axis.id);
    return attr_intern(b->m, &l);
}

Value emit_gather(Builder *b, Value x, Value ids, Axis axis)
{
    Type rest = type_without_axis(b->m, type_of(b, x), axis);
    Type t = type_union(b->m, rest, type_of(b, ids));
    return emit(b, OP_gather, t, axis_attr(b, axis), (Value[]){x, ids}, 2);
}

Value emit_scatter(Builder *b, Value ids, Value updates, TypeAxis axis,
                   const Axis *keep, uint32_t nkeep, DType result)
{
    Module *m = b->m;
    Type all = type_union(m, type_of(b, updates), type_of(b, ids));
    const TypeInfo *info = type_info(m, all);
    VEC(Axis) summed = {0};
    for (uint32_t i = 0; i < info->naxes; i++) {
        bool kept = false;
        for (uint32_t k = 0; k < nkeep; k++)
            kept = kept || keep[k].id == info->axes[i].axis.id;
        if (!kept) vec_push(m->scratch, &summed, info->axes[i].axis);
    }
    Type t = type_summed(b, all, summed.at, summed.n, PENDING_sum);
    t = type_with_dtype(m, type_with_axis(m, t, axis), result);
    return emit(b, OP_scatter, t, axis_attr(b, axis.axis),
                (Value[]){ids, updates}, 2);
}

Value emit_put(Builder *b, Value base, Value ids, Value x, Axis axis)
{
    return emit(b, OP_put, type_of(b, base), axis_attr(b, axis),
                (Value[]){base, ids, x}, 3);
}

Value emit_put_distinct(Builder *b, Value base, Value ids, Value x, Axis axis)
{
    AttrList l = {0};
    attr_put_id(&l, AT_axis, axis.id);
    attr_put_int(&l, AT_distinct, 1);
    return emit(b, OP_put, type_of(b, base), attr_intern(b->m, &l),
                (Value[]){base, ids, x}, 3);
}

Value emit_top(Builder *b, Value x, Axis axis, TypeAxis to, const char *kind)
{
    AttrList l = {.n = 0};
    attr_put_id(&l, AT_kind, module_str(b->m, kind).id);
    attr_put_id(&l, AT_axis, axis.id);
    attr_put_axes(&l, AT_to, &to.axis, 1);
    Type t = type_without_axis(b->m, type_of(b, x), axis);
    t = type_with_dtype(b->m, type_with_axis(b->m, t, to), DT_i32);
    return emit_one(b, OP_top, t, &l, x);
}

/* ------------------------------------------------------------ functions -- */

Value emit_call(Builder *b, FnRef f, const Value *args, uint32_t n)
{
    const Fn *fn = fn_of(b->m, f);
    Type *fields = NEW_ARRAY(b->m->scratch, Type, fn->nresults);
    for (uint32_t i = 0; i < fn->nresults; i++)
        fields[i] = fn->results[i].type;
    Type t =
        fn->nresults == 1 ? fields[0] : type_tuple(b->m, fields, fn->nresults);
    AttrList l = {.n = 0};
    attr_put_id(&l, AT_fn, f.id);
    return emit_attrs(b, OP_call, t, &l, args, n);
}

Value emit_proj(Builder *b, Value tuple, uint32_t index)
{
    const TypeInfo *info = type_info(b->m, type_of(b, tuple));
    CHECK(index < info->nfields);
    AttrList l = {.n = 0};
    attr_put_int(&l, AT_index, index);
    return emit_one(b, OP_proj, info->fields[index], &l, tuple);
}
