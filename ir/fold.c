/*
 * fold.c: instructions that need not be emitted, by op.
 *
 * What folds here is exact and looks at the operands' own instructions only:
 * identities, inverses, moves of moves, moves of constants.  Merging maps into
 * their users is a choice and belongs to the pass canonicalise.
 */
#include "build.h"

#include <string.h>

typedef struct Fold {
    Builder *b;
    Module *m;
    const Draft *d;
} Fold;

/* The instruction that makes operand i. */
static const Inst *operand(const Fold *f, uint32_t i)
{
    return inst_of(f->b->fn, f->d->args[i]);
}

static Value operand_of(const Fold *f, uint32_t i, uint32_t k)
{
    return inst_arg(f->b->fn, operand(f, i), k);
}

static bool is_identity(const Fold *f)
{
    return type_eq(operand(f, 0)->type, f->d->type);
}

static int64_t int_of(const Fold *f, AttrKey k, int64_t otherwise)
{
    return attr_int(f->m, f->d->attr, k, otherwise);
}

static int64_t operand_int(const Fold *f, AttrKey k, int64_t otherwise)
{
    return attr_int(f->m, operand(f, 0)->attr, k, otherwise);
}

static const AttrItem *axes_of(const Fold *f, AttrKey k)
{
    return attr_get(f->m, f->d->attr, k);
}

static bool same_axes(const AttrItem *a, const AttrItem *b)
{
    return a->n == b->n &&
           (a->n == 0 || !memcmp(a->axes, b->axes, a->n * sizeof *a->axes));
}

/* ---------------------------------------------------------- constants -- */

/* The constant that a value is everywhere, whatever its axes; {0}: none. */
static Expr value_const(const Module *m, const Fn *fn, Value v)
{
    const Inst *in = inst_of(fn, v);
    if (in->op != OP_map || in->nargs != 0) return (Expr){0};
    if (attr_flag(m, in->attr, AT_pinned)) return (Expr){0};
    Expr e = attr_expr(m, in->attr);
    return expr_info(m, e)->op == SC_const ? e : (Expr){0};
}

static Value emit_const_of(Builder *b, Type t, Expr e)
{
    AttrList l = {.n = 0};
    attr_put_id(&l, AT_body, e.id);
    return emit(b, OP_map, t, attr_intern(b->m, &l), NULL, 0);
}

static bool is_zero(const Module *m, Expr e)
{
    const ExprInfo *x = expr_info(m, e);
    return dtype_class((DType)x->dtype) == DC_float ? x->f == 0 : x->i == 0;
}

/* Whether the op, on operands that are the constant everywhere, is it too. */
static bool keeps_const(const Fold *f, Expr e)
{
    switch (f->d->op) {
    case OP_rename:
    case OP_split:
    case OP_merge:
    case OP_slice:
    case OP_pick:
    case OP_concat:
    case OP_stack:
        return true;
    case OP_pad:
        return is_zero(f->m, e);
    default:
        return false;
    }
}

static Value fold_consts(const Fold *f)
{
    if (f->d->n == 0) return NO_VALUE;
    Expr e = value_const(f->m, f->b->fn, f->d->args[0]);
    if (!e.id || !keeps_const(f, e)) return NO_VALUE;
    for (uint32_t i = 1; i < f->d->n; i++)
        if (value_const(f->m, f->b->fn, f->d->args[i]).id != e.id)
            return NO_VALUE;
    return emit_const_of(f->b, f->d->type, e);
}

/* ------------------------------------------------------------ map body -- */

/* The order in which a reader meets the operands of a body. */
typedef struct Meet {
    Module *m;
    const Expr *walk; /* operands before uses */
    uint32_t n;
    bool *seen;       /* by place in the walk */
    uint32_t *number; /* by operand; UINT32_MAX: not met */
    uint32_t next;
} Meet;

/* Depth first, left to right, with a stack of its own: bodies may be deep. */
static void meet_operands(Meet *t, Expr root)
{
    VEC(Expr) stack = {0};
    vec_push(t->m->scratch, &stack, root);
    while (stack.n) {
        Expr e = stack.at[--stack.n];
        uint32_t place = expr_place(t->walk, t->n, e);
        if (t->seen[place]) continue;
        t->seen[place] = true;
        const ExprInfo *in = expr_info(t->m, e);
        if (in->op == SC_arg && t->number[in->operand] == UINT32_MAX)
            t->number[in->operand] = t->next++;
        for (uint32_t k = in->nargs; k-- > 0;)
            vec_push(t->m->scratch, &stack, in->args[k]);
    }
}

/* What stands in the body for each operand before numbering: a constant, or
 * the first operand that is the same value. */
static Expr unify_operands(Builder *b, const Draft *d, Expr body)
{
    Module *m = b->m;
    bool changed = false;
    Expr *with = NEW_ARRAY(m->scratch, Expr, d->n);
    for (uint32_t i = 0; i < d->n; i++) {
        with[i] = value_const(m, b->fn, d->args[i]);
        for (uint32_t k = 0; k < i && !with[i].id; k++)
            if (value_eq(d->args[k], d->args[i])) with[i] = with[k];
        changed = changed || with[i].id;
        if (!with[i].id)
            with[i] =
                expr_arg(m, i, type_dtype(m, value_type(b->fn, d->args[i])));
    }
    if (!changed) return body;
    return expr_subst(m, body, &(ExprSubst){.with = with, .n = d->n});
}

static void number_operands(Builder *b, Draft *d, Expr body)
{
    Module *m = b->m;
    Meet t = {.m = m};
    t.walk = expr_walk(m, body, m->scratch, &t.n);
    t.seen = NEW_ARRAY(m->scratch, bool, t.n);
    t.number = NEW_ARRAY(m->scratch, uint32_t, d->n);
    memset(t.number, 0xff, d->n * sizeof *t.number);
    meet_operands(&t, body);

    Value *args = NEW_ARRAY(m->scratch, Value, t.next);
    Expr *with = NEW_ARRAY(m->scratch, Expr, d->n);
    for (uint32_t i = 0; i < d->n; i++) {
        if (t.number[i] == UINT32_MAX) continue;
        DType dtype = type_dtype(m, value_type(b->fn, d->args[i]));
        args[t.number[i]] = d->args[i];
        with[i] = expr_arg(m, t.number[i], dtype);
    }
    AttrList l = attr_list(m, d->attr);
    body = expr_subst(m, body, &(ExprSubst){.with = with, .n = d->n});
    attr_put_id(&l, AT_body, body.id);
    d->attr = attr_intern(m, &l);
    d->args = args;
    d->n = t.next;
}

void tidy_map(Builder *b, Draft *d)
{
    Expr body = attr_expr(b->m, d->attr);
    if (expr_operands(b->m, body) > d->n) return; /* the verifier will say */
    if (d->n > 0) number_operands(b, d, unify_operands(b, d, body));
}

/* ------------------------------------------------------------ the rules -- */

static Value fold_map(const Fold *f)
{
    const Draft *d = f->d;
    if (d->n != 1 || attr_flag(f->m, d->attr, AT_pinned)) return NO_VALUE;
    const ExprInfo *body = expr_info(f->m, attr_expr(f->m, d->attr));
    return body->op == SC_arg && is_identity(f) ? d->args[0] : NO_VALUE;
}

/* A reduction over no axis rounds to `acc` and back: nothing, when that is
 * the wider. */
static Value fold_reduce(const Fold *f)
{
    DType d = type_dtype(f->m, f->d->type);
    DType acc = attr_dtype(f->m, f->d->attr, AT_acc, d);
    bool whole = acc == d || acc == DT_f64 || (acc == DT_f32 && d != DT_f64);
    if (axes_of(f, AT_axes)->n || !is_identity(f) || !whole) return NO_VALUE;
    return f->d->args[0];
}

/* The axis that `a` was before operand 0, a rename, gave it that name. */
static Axis before_rename(const Fold *f, Axis a)
{
    const AttrItem *from = attr_get(f->m, operand(f, 0)->attr, AT_from);
    const AttrItem *to = attr_get(f->m, operand(f, 0)->attr, AT_to);
    for (uint32_t i = 0; i < to->n; i++)
        if (to->axes[i].id == a.id) return from->axes[i];
    return a;
}

/* One rename for two.  The axes that only the first one moved come after
 * those of the second. */
static Value fold_rename_twice(const Fold *f)
{
    Module *m = f->m;
    const AttrItem *from = axes_of(f, AT_from), *to = axes_of(f, AT_to);
    const AttrItem *was = attr_get(m, operand(f, 0)->attr, AT_from);
    const AttrItem *is = attr_get(m, operand(f, 0)->attr, AT_to);
    Axis *a = NEW_ARRAY(m->scratch, Axis, (size_t)from->n + is->n);
    Axis *z = NEW_ARRAY(m->scratch, Axis, (size_t)from->n + is->n);
    uint32_t n = 0;
    for (uint32_t i = 0; i < from->n; i++) {
        a[n] = before_rename(f, from->axes[i]);
        z[n++] = to->axes[i];
    }
    for (uint32_t i = 0; i < is->n; i++) {
        if (attr_item_has(from, is->axes[i])) continue;
        a[n] = was->axes[i];
        z[n++] = is->axes[i];
    }
    return emit_rename(f->b, operand_of(f, 0, 0), a, z, n);
}

static Value fold_rename(const Fold *f)
{
    const AttrItem *from = axes_of(f, AT_from), *to = axes_of(f, AT_to);
    if (from->n != to->n) return NO_VALUE;
    if (same_axes(from, to)) return f->d->args[0];
    uint32_t moved = 0;
    for (uint32_t i = 0; i < from->n; i++)
        moved += from->axes[i].id != to->axes[i].id;
    if (operand(f, 0)->op == OP_rename) return fold_rename_twice(f);
    if (moved == from->n) return NO_VALUE;
    Axis *a = NEW_ARRAY(f->m->scratch, Axis, from->n);
    Axis *z = NEW_ARRAY(f->m->scratch, Axis, from->n);
    for (uint32_t i = moved = 0; i < from->n; i++) {
        if (from->axes[i].id == to->axes[i].id) continue;
        a[moved] = from->axes[i];
        z[moved++] = to->axes[i];
    }
    return emit_rename(f->b, f->d->args[0], a, z, moved);
}

/* split of merge with the same sizes: new names for the old parts. */
static Value fold_split(const Fold *f)
{
    const AttrItem *to = axes_of(f, AT_to);
    const Inst *in = operand(f, 0);
    Axis axis = attr_axis(f->m, f->d->attr, AT_axis);
    if (to->n == 1) return emit_rename(f->b, f->d->args[0], &axis, to->axes, 1);
    if (in->op != OP_merge || attr_axis(f->m, in->attr, AT_axis).id != axis.id)
        return NO_VALUE;
    const AttrItem *from = attr_get(f->m, in->attr, AT_from);
    Value x = operand_of(f, 0, 0);
    Type merged = value_type(f->b->fn, x);
    if (from->n != to->n) return NO_VALUE;
    Type renamed = type_renamed(f->m, merged, from->axes, to->axes, from->n);
    if (!type_eq(renamed, f->d->type)) return NO_VALUE;
    return emit_rename(f->b, x, from->axes, to->axes, from->n);
}

/* merge of split of the same parts: a new name for the old axis. */
static Value fold_merge(const Fold *f)
{
    const AttrItem *from = axes_of(f, AT_from);
    const Inst *in = operand(f, 0);
    Axis axis = attr_axis(f->m, f->d->attr, AT_axis);
    if (from->n == 1)
        return emit_rename(f->b, f->d->args[0], from->axes, &axis, 1);
    if (in->op != OP_split || !same_axes(from, attr_get(f->m, in->attr, AT_to)))
        return NO_VALUE;
    Value x = operand_of(f, 0, 0);
    Axis was = attr_axis(f->m, in->attr, AT_axis);
    Type renamed = type_renamed(f->m, value_type(f->b->fn, x), &was, &axis, 1);
    if (!type_eq(renamed, f->d->type)) return NO_VALUE;
    return emit_rename(f->b, x, &was, &axis, 1);
}

/* The operand of a concat that indices [start, start + size) are; NO_VALUE
 * when they are not the whole of one. */
static Value whole_part(const Fold *f, Axis axis, int64_t start, int64_t size)
{
    const Inst *in = operand(f, 0);
    int64_t at = 0;
    for (uint32_t i = 0; i < in->nargs && at <= start; i++) {
        Value part = inst_arg(f->b->fn, in, i);
        int64_t n = type_size(f->m, value_type(f->b->fn, part), axis);
        if (at == start && n == size) return part;
        at += n;
    }
    return NO_VALUE;
}

static Value fold_slice(const Fold *f)
{
    Axis axis = attr_axis(f->m, f->d->attr, AT_axis);
    const Inst *in = operand(f, 0);
    int64_t start = int_of(f, AT_start, 0), step = int_of(f, AT_step, 1);
    int64_t size = type_size(f->m, f->d->type, axis);
    if (is_identity(f) && start == 0) return f->d->args[0];
    if (!attr_get(f->m, in->attr, AT_axis) ||
        attr_axis(f->m, in->attr, AT_axis).id != axis.id)
        return NO_VALUE;
    if (in->op == OP_concat && step == 1)
        return whole_part(f, axis, start, size);
    if (in->op != OP_slice) return NO_VALUE;
    int64_t t = operand_int(f, AT_step, 1);
    return emit_slice(f->b, operand_of(f, 0, 0), axis,
                      operand_int(f, AT_start, 0) + start * t, size, step * t);
}

/* pick of stack along its axis is the operand that was stacked there. */
static Value fold_pick(const Fold *f)
{
    Axis axis = attr_axis(f->m, f->d->attr, AT_axis);
    const Inst *in = operand(f, 0);
    int64_t start = int_of(f, AT_start, 0);
    bool same = attr_get(f->m, in->attr, AT_axis) &&
                attr_axis(f->m, in->attr, AT_axis).id == axis.id;
    if (same && in->op == OP_stack && start >= 0 && start < in->nargs)
        return operand_of(f, 0, (uint32_t)start);
    if (!same || in->op != OP_slice) return NO_VALUE;
    return emit_pick(f->b, operand_of(f, 0, 0), axis,
                     operand_int(f, AT_start, 0) +
                         start * operand_int(f, AT_step, 1));
}

static Value fold_pad(const Fold *f)
{
    bool same =
        is_identity(f) && !int_of(f, AT_low, 0) && !int_of(f, AT_high, 0);
    return same ? f->d->args[0] : NO_VALUE;
}

/* concat of stacks along the axis is the stack of all their operands. */
static Value fold_concat(const Fold *f)
{
    if (f->d->n == 1 && is_identity(f)) return f->d->args[0];
    Axis axis = attr_axis(f->m, f->d->attr, AT_axis);
    VEC(Value) all = {0};
    for (uint32_t i = 0; i < f->d->n; i++) {
        const Inst *in = operand(f, i);
        if (in->op != OP_stack ||
            attr_axis(f->m, in->attr, AT_axis).id != axis.id)
            return NO_VALUE;
        for (uint32_t k = 0; k < in->nargs; k++)
            vec_push(f->m->scratch, &all, operand_of(f, i, k));
    }
    return emit_stack(f->b, all.at, all.n, axis);
}

Value fold_draft(Builder *b, const Draft *d)
{
    Fold f = {b, b->m, d};
    Value v = fold_consts(&f);
    if (!value_eq(v, NO_VALUE)) return v;
    switch (d->op) {
    case OP_map:
        return fold_map(&f);
    case OP_reduce:
        return fold_reduce(&f);
    case OP_rename:
        return fold_rename(&f);
    case OP_split:
        return fold_split(&f);
    case OP_merge:
        return fold_merge(&f);
    case OP_slice:
        return fold_slice(&f);
    case OP_pick:
        return fold_pick(&f);
    case OP_pad:
        return fold_pad(&f);
    case OP_concat:
        return fold_concat(&f);
    default:
        return NO_VALUE;
    }
}
