/*
 * index.c: brackets after a value.
 *
 *     x[a -> b], x[(a b) -> c]   rename, merge, split
 *     x[a = 3], x[a = 0 .. 77]   pick, slice
 *     x[a = e], x[a = e else v]  index by values
 *
 * What `e` is decides what is emitted.  An affine expression of indices is a
 * window (a slice where nothing is outside); div(index(r), k) repeats each
 * element k times; anything else is a gather.  An index that may be outside
 * needs `else`, as far as the compiler can see.
 */
#include "sema.h"

/* -------------------------------------------------------------- rename -- */

static bool no_axis(Sema *s, Span at, const Val *x, Axis a)
{
    Report *r = sema_error(s, DIAG_axis_missing, at, "%s has no axis '%s'",
                           val_label(s, x, "this value"), axis_name(s->m, a));
    report_help(r, "its axes: %s", val_axes_str(s, x));
    return false;
}

static bool check_from(Sema *s, Span at, const Val *x, const AxisList *from)
{
    for (uint32_t i = 0; i < from->n; i++)
        if (!val_axis(s, x, from->at[i])) return no_axis(s, at, x, from->at[i]);
    return true;
}

static bool has_all(Sema *s, const Val *x, const AxisList *from)
{
    for (uint32_t i = 0; i < from->n; i++)
        if (!val_axis(s, x, from->at[i])) return false;
    return true;
}

static bool check_to(Sema *s, Span at, const Val *x, const AxisList *from,
                     const AxisList *to)
{
    for (uint32_t i = 0; i < to->n; i++) {
        if (!val_axis(s, x, to->at[i]) ||
            axes_have(from->at, from->n, to->at[i]))
            continue;
        sema_error(s, DIAG_axis_twice, at,
                   "axis '%s' appears twice: %s has it already",
                   axis_name(s->m, to->at[i]), val_label(s, x, "the value"));
        return false;
    }
    return true;
}

static bool declared_fits(Sema *s, Span at, Axis from, Axis to, int64_t size)
{
    int64_t want = axis_declared_size(s, to);
    if (!want || want == size) return true;
    sema_error(s, DIAG_axis_size, at,
               "axis '%s' has size %lld here, '%s' is declared with %lld",
               axis_name(s->m, from), (long long)size, axis_name(s->m, to),
               (long long)want);
    return false;
}

static void bind_new(Sema *s, Axis a, int64_t size)
{
    if (!axis_size(s, a)) size_bind(s, s->scope, a, size);
}

/* Sizes of the parts; at most one may be left to be inferred. */
static bool part_sizes(Sema *s, Span at, Axis whole, int64_t size,
                       const AxisList *to, TypeAxis *out)
{
    int64_t known = 1;
    uint32_t open = UINT32_MAX;
    for (uint32_t i = 0; i < to->n; i++) {
        int64_t x = to->at[i].id == whole.id ? 0 : axis_size(s, to->at[i]);
        out[i] = (TypeAxis){.axis = to->at[i], .size = x};
        if (x)
            known = times(known, x);
        else if (open != UINT32_MAX) {
            sema_error(s, DIAG_size_unknown, at,
                       "neither the size of '%s' nor that "
                       "of '%s' is known",
                       axis_name(s->m, to->at[open]),
                       axis_name(s->m, to->at[i]));
            return false;
        } else
            open = i;
    }
    if (open != UINT32_MAX && size % known == 0) {
        out[open].size = size / known;
        known = size;
    }
    if (known == size) return true;
    sema_error(s, DIAG_axis_size, at,
               "axis '%s' has size %lld, and what it is split into %lld",
               axis_name(s->m, whole), (long long)size, (long long)known);
    return false;
}

static Expr index_expr(Sema *s, Axis a, const TypeAxis *parts, uint32_t n)
{
    (void)a;
    Expr e = expr_index(s->m, parts[0].axis);
    for (uint32_t i = 1; i < n; i++) {
        Expr size = expr_i32(s->m, parts[i].size);
        e = expr_op2(s->m, SC_mul, e, size);
        e = expr_op2(s->m, SC_add, e, expr_index(s->m, parts[i].axis));
    }
    return e;
}

typedef struct Replace {
    const Axis *from;
    const Expr *to;
    uint32_t n;
} Replace;

static Expr replaced(Module *m, Axis a, void *user)
{
    (void)m;
    const Replace *r = user;
    for (uint32_t i = 0; i < r->n; i++)
        if (r->from[i].id == a.id) return r->to[i];
    return (Expr){0};
}

/* The lazy value with index(from[i]) replaced; `parts` are its new axes. */
static Val lazy_replace(Sema *s, const Val *x, const Replace *r,
                        const TypeAxis *parts, uint32_t nparts)
{
    ExprSubst sub = {.index_with = replaced, .user = (void *)(uintptr_t)r};
    Expr e = expr_subst(s->m, x->lazy.expr, &sub);
    TypeAxis *axes = NEW_ARRAY(s->a, TypeAxis, x->lazy.naxes + nparts + 1);
    uint32_t n = 0;
    for (uint32_t i = 0; i < x->lazy.naxes; i++) {
        bool gone = false;
        for (uint32_t k = 0; k < r->n; k++)
            gone |= r->from[k].id == x->lazy.axes[i].axis.id;
        if (!gone) axes[n++] = x->lazy.axes[i];
    }
    for (uint32_t i = 0; i < nparts; i++)
        axes[n++] = parts[i];
    return lazy_of(s, e, axes, n);
}

static Val keep_story(Val out, const Val *x)
{
    out.aligned = x->aligned;
    out.may = x->may;
    out.open = x->open;
    out.number = x->number;
    if (x->may || out.kind == VAL_tensor) out.name = x->name;
    return out;
}

/* from[i] -> to[i], all at once. */
static Val rename_each(Sema *s, Span at, Val x, const AxisList *from,
                       const AxisList *to)
{
    TypeAxis parts[16];
    Expr e[16];
    for (uint32_t i = 0; i < from->n; i++) {
        int64_t size = val_axis(s, &x, from->at[i])->size;
        if (!declared_fits(s, at, from->at[i], to->at[i], size))
            return val_error();
        parts[i] = (TypeAxis){.axis = to->at[i], .size = size};
        e[i] = expr_index(s->m, to->at[i]);
        bind_new(s, to->at[i], size);
    }
    if (x.kind == VAL_lazy) {
        Replace r = {from->at, e, from->n};
        return lazy_replace(s, &x, &r, parts, from->n);
    }
    here(s)->loc = loc_of(s->m, at);
    Value v = emit_rename(here(s), val_here(s, &x), from->at, to->at, from->n);
    return keep_story(val_tensor(s, v), &x);
}

static Val split_axis(Sema *s, Span at, Val x, Axis whole, const AxisList *to)
{
    TypeAxis parts[16];
    int64_t size = val_axis(s, &x, whole)->size;
    if (!part_sizes(s, at, whole, size, to, parts)) return val_error();
    for (uint32_t i = 0; i < to->n; i++)
        bind_new(s, parts[i].axis, parts[i].size);
    if (x.kind == VAL_lazy) {
        Expr e = index_expr(s, whole, parts, to->n);
        Replace r = {&whole, &e, 1};
        return lazy_replace(s, &x, &r, parts, to->n);
    }
    here(s)->loc = loc_of(s->m, at);
    Value v = emit_split(here(s), val_here(s, &x), whole, parts, to->n);
    return keep_story(val_tensor(s, v), &x);
}

static Val merge_axes(Sema *s, Span at, Val x, const AxisList *from, Axis to)
{
    int64_t size = 1;
    for (uint32_t i = 0; i < from->n; i++)
        size = times(size, val_axis(s, &x, from->at[i])->size);
    if (!declared_fits(s, at, from->at[0], to, size)) return val_error();
    bind_new(s, to, size);
    here(s)->loc = loc_of(s->m, at);
    Value v = val_use(s, &x, (DType)x.dtype);
    return keep_story(
        val_tensor(s, emit_merge(here(s), v, from->at, from->n, to)), &x);
}

Val index_rename(Sema *s, Span at, Val x, const AxisList *from,
                 const AxisList *to)
{
    if (!val_is_elementary(&x)) {
        sema_error(s, DIAG_not_a_number, at, "%s has no axes",
                   val_label(s, &x, "this"));
        return val_error();
    }
    if (x.open && !has_all(s, &x, from)) return x;
    if (!check_from(s, at, &x, from) || !check_to(s, at, &x, from, to))
        return val_error();
    if (from->n == 1 && to->n == 1) return rename_each(s, at, x, from, to);
    if (from->n == 1) return split_axis(s, at, x, from->at[0], to);
    if (to->n == 1) return merge_axes(s, at, x, from, to->at[0]);
    Axis mid = axis_fresh(s->m, axis_name(s->m, from->at[0]), 0);
    x = merge_axes(s, at, x, from, mid);
    return val_failed(&x) ? x : split_axis(s, at, x, mid, to);
}

/* --------------------------------------------------------- pick, slice -- */

Val index_pick(Sema *s, Span at, Val x, Axis a, int64_t i)
{
    if (x.kind == VAL_lazy) {
        Expr e = expr_i32(s->m, i);
        Replace r = {&a, &e, 1};
        return lazy_replace(s, &x, &r, NULL, 0);
    }
    here(s)->loc = loc_of(s->m, at);
    return keep_story(val_tensor(s, emit_pick(here(s), val_here(s, &x), a, i)),
                      &x);
}

Val index_slice(Sema *s, Span at, Val x, Axis a, int64_t first, int64_t n)
{
    if (x.kind == VAL_lazy) {
        TypeAxis part = {.axis = a, .size = n};
        Expr e =
            expr_op2(s->m, SC_add, expr_index(s->m, a), expr_i32(s->m, first));
        Replace r = {&a, &e, 1};
        return lazy_replace(s, &x, &r, &part, 1);
    }
    here(s)->loc = loc_of(s->m, at);
    return keep_story(
        val_tensor(s, emit_slice(here(s), val_here(s, &x), a, first, n, 1)),
        &x);
}

static Val may_be_outside(Sema *s, Span at, Axis a, int64_t size, double i,
                          const Node *e)
{
    Report *r = sema_error(s, DIAG_index_range, at, "index of '%s' may be %s",
                           axis_name(s->m, a), number_str(s, i));
    if (size)
        report_note(r, (Span){0}, "'%s' has the indices 0 to %lld",
                    axis_name(s->m, a), (long long)size - 1);
    if (e) report_help(r, "write `%s else 0`", ast_str(s->m, e));
    return val_error();
}

static Val pick_number(Sema *s, const Item *it, Val x, const TypeAxis *a,
                       const Val *i, const Val *other)
{
    if (i->number >= 0 && i->number < (double)a->size && i->dtype != DT_f32)
        return index_pick(s, it->span, x, a->axis, (int64_t)i->number);
    if (other) return *other;
    return may_be_outside(s, it->value->span, a->axis, a->size, i->number,
                          it->value);
}

static Val pick_range(Sema *s, const Item *it, Val x, const TypeAxis *a)
{
    Val lo = eval_node(s, it->value->range.first),
        hi = eval_node(s, it->value->range.end);
    if (val_failed(&lo) || val_failed(&hi)) return val_error();
    if (!val_is_number(&lo) || !val_is_number(&hi)) {
        sema_error(s, DIAG_not_static, it->value->span,
                   "the ends of a range have to be known when compiling");
        return val_error();
    }
    if (lo.number < 0)
        return may_be_outside(s, it->value->span, a->axis, a->size, lo.number,
                              NULL);
    if (hi.number > (double)a->size || hi.number <= lo.number)
        return may_be_outside(s, it->value->span, a->axis, a->size,
                              hi.number - 1, NULL);
    int64_t first = (int64_t)lo.number;
    return index_slice(s, it->span, x, a->axis, first,
                       (int64_t)hi.number - first);
}

/* --------------------------------------------------------------- affine -- */

typedef struct Affine {
    TypeAxis axes[8];
    int64_t coef[8];
    uint32_t n;
    int64_t start;
} Affine;

static bool affine_axis(const Val *e, Axis a, int64_t k, Affine *f)
{
    for (uint32_t i = 0; i < f->n; i++)
        if (f->axes[i].axis.id == a.id) {
            f->coef[i] += k;
            return true;
        }
    for (uint32_t i = 0; i < e->lazy.naxes && f->n < 8; i++)
        if (e->lazy.axes[i].axis.id == a.id) {
            f->axes[f->n] = e->lazy.axes[i];
            f->coef[f->n++] = k;
            return true;
        }
    return false;
}

/* f += k * x; false: not affine. */
static bool affine_add(Sema *s, const Val *e, Expr x, int64_t k, Affine *f)
{
    const ExprInfo in = *expr_info(s->m, x);
    const ExprInfo *a = in.nargs ? expr_info(s->m, in.args[0]) : NULL;
    const ExprInfo *b = in.nargs > 1 ? expr_info(s->m, in.args[1]) : NULL;
    switch ((unsigned)in.op) {
    case SC_const:
        f->start += k * in.i;
        return true;
    case SC_index:
        return affine_axis(e, in.axis, k, f);
    case SC_neg:
        return affine_add(s, e, in.args[0], -k, f);
    case SC_add:
        return affine_add(s, e, in.args[0], k, f) &&
               affine_add(s, e, in.args[1], k, f);
    case SC_sub:
        return affine_add(s, e, in.args[0], k, f) &&
               affine_add(s, e, in.args[1], -k, f);
    case SC_mul:
        if (a->op == SC_const) return affine_add(s, e, in.args[1], k * a->i, f);
        if (b->op == SC_const) return affine_add(s, e, in.args[0], k * b->i, f);
        return false;
    default:
        return false;
    }
}

static void affine_range(const Affine *f, int64_t *lo, int64_t *hi)
{
    *lo = *hi = f->start;
    for (uint32_t i = 0; i < f->n; i++) {
        int64_t most = f->coef[i] * (f->axes[i].size - 1);
        *(most < 0 ? lo : hi) += most;
    }
}

static bool as_affine(Sema *s, const Val *x, const Val *e, Axis a, Affine *f)
{
    uint32_t n;
    *f = (Affine){.n = 0};
    if (e->kind != VAL_lazy || e->dtype != DT_i32) return false;
    val_axes(s, e, &n);
    if (n != e->lazy.naxes) return false; /* depends on a turn */
    if (!affine_add(s, e, e->lazy.expr, 1, f) || f->n == 0) return false;
    for (uint32_t i = 0; i < f->n; i++)
        if (f->axes[i].axis.id != a.id && val_axis(s, x, f->axes[i].axis))
            return false;
    return true;
}

/* 0 <= e < size, where that is not so everywhere. */
static Val inside(Sema *s, Span at, Val e, int64_t size)
{
    Val low = elementwise2(s, at, SC_le, val_whole(0), e);
    Val high = elementwise2(s, at, SC_lt, e, val_whole(size));
    return elementwise2(s, at, SC_and, low, high);
}

static Val or_else(Sema *s, Span at, Val made, Val e, int64_t size,
                   const Val *other)
{
    if (!other || (val_is_number(other) && other->number == 0)) return made;
    Val args[3] = {inside(s, at, e, size), made, *other};
    return elementwise(s, at, SC_where, args, 3);
}

static Val emit_affine(Sema *s, const Item *it, Val x, const TypeAxis *a,
                       const Affine *f)
{
    Value v = val_use(s, &x, (DType)x.dtype);
    Axis from = a->axis;
    Axis to[8];
    for (uint32_t i = 0; i < f->n; i++)
        to[i] = f->axes[i].axis;
    for (uint32_t i = 0; i < f->n; i++)
        if (to[i].id == a->axis.id) {
            from = axis_local(s, it, module_str(s->m, axis_name(s->m, a->axis)),
                              it->span);
            v = emit_rename(here(s), v, &a->axis, &from, 1);
        }
    for (uint32_t i = 0; i < f->n; i++)
        bind_new(s, to[i], f->axes[i].size);
    return val_tensor(
        s, emit_window(here(s), v, from, f->axes, f->coef, f->n, f->start));
}

static Val window(Sema *s, const Item *it, Val x, const TypeAxis *a, Val e,
                  const Affine *f, const Val *other)
{
    int64_t lo, hi;
    affine_range(f, &lo, &hi);
    bool out = lo < 0 || hi >= a->size;
    if (out && !other)
        return may_be_outside(s, it->value->span, a->axis, a->size,
                              (double)(lo < 0 ? lo : hi), it->value);
    here(s)->loc = loc_of(s->m, it->span);
    if (!out && f->n == 1 && f->coef[0] > 0) {
        Value v = val_use(s, &x, (DType)x.dtype);
        v = emit_slice(here(s), v, a->axis, f->start, f->axes[0].size,
                       f->coef[0]);
        if (f->axes[0].axis.id != a->axis.id)
            v = emit_rename(here(s), v, &a->axis, &f->axes[0].axis, 1);
        return val_tensor(s, v);
    }
    Val made = emit_affine(s, it, x, a, f);
    return out ? or_else(s, it->span, made, e, a->size, other) : made;
}

/* div(index(r), k): every element k times. */
static bool as_repeat(Sema *s, const Val *x, const TypeAxis *a, const Val *e,
                      TypeAxis *r, int64_t *k)
{
    uint32_t n;
    if (e->kind != VAL_lazy || e->lazy.naxes != 1) return false;
    const TypeAxis *axes = val_axes(s, e, &n);
    const ExprInfo in = *expr_info(s->m, e->lazy.expr);
    if (n != 1 || in.op != SC_idiv) return false;
    const ExprInfo *i = expr_info(s->m, in.args[0]);
    const ExprInfo *c = expr_info(s->m, in.args[1]);
    if (i->op != SC_index || c->op != SC_const || c->i < 1) return false;
    *r = axes[0];
    *k = c->i;
    return r->size == a->size * *k &&
           (r->axis.id == a->axis.id || !val_axis(s, x, r->axis));
}

static Val repeat_each(Sema *s, const Item *it, Val x, const TypeAxis *a,
                       const TypeAxis *r, int64_t k)
{
    Str stem = module_str(s->m, axis_name(s->m, a->axis));
    Axis pair[2] = {axis_local(s, it, stem, it->span),
                    axis_local(s, &it->value, stem, it->span)};
    TypeAxis turn = {.axis = pair[1], .size = k};
    here(s)->loc = loc_of(s->m, it->span);
    Value v = val_use(s, &x, (DType)x.dtype);
    v = emit_rename(here(s), v, &a->axis, &pair[0], 1);
    v = emit_broadcast(here(s), v, &turn, 1);
    return val_tensor(s, emit_merge(here(s), v, pair, 2, r->axis));
}

/* --------------------------------------------------------------- gather -- */

Val index_gather(Sema *s, Span at, Val x, Axis a, Val ids, const Val *other)
{
    int64_t size = val_axis(s, &x, a)->size;
    if (dtype_class((DType)ids.dtype) == DC_float || ids.dtype == DT_bool) {
        sema_error(s, DIAG_dtype_mismatch, at,
                   "an index is a whole number, this is "
                   "%s",
                   dtype_name((DType)ids.dtype));
        return val_error();
    }
    Val both[2] = {x, ids};
    uint32_t n;
    const TypeAxis *axes = val_axes(s, &ids, &n);
    for (uint32_t i = 0; i < n; i++) {
        const TypeAxis *b = val_axis(s, &x, axes[i].axis);
        if (axes[i].axis.id == a.id || !b || b->size == axes[i].size) continue;
        if (!sizes_agree(s, at, both, 2)) return val_error();
    }
    Value vx = val_use(s, &x, (DType)x.dtype);
    Value vi = val_use(s, &ids, (DType)ids.dtype);
    here(s)->loc = loc_of(s->m, at);
    Val made = val_tensor(s, emit_gather(here(s), vx, vi, a));
    made.aligned = align_join(s, both, 2);
    return or_else(s, at, made, ids, size, other);
}

static Val pick(Sema *s, const Item *it, Val x)
{
    AxisList l = {.n = 0};
    if (!axes_of_term(s, it->term, &l) || l.n == 0) return val_error();
    if (x.open && !has_all(s, &x, &l)) return x;
    if (!check_from(s, it->span, &x, &l)) return val_error();
    if (l.n > 1) {
        sema_error(s, DIAG_axis_form, it->term->span,
                   "'%s' stands for %u axes; an index goes along one",
                   ast_str(s->m, it->term), l.n);
        return val_error();
    }
    TypeAxis a = *val_axis(s, &x, l.at[0]), r;
    if (it->value->kind == N_range) return pick_range(s, it, x, &a);
    Val e = eval_node(s, it->value), other = val_error();
    if (it->otherwise) other = eval_node(s, it->otherwise);
    if (val_failed(&e) || (it->otherwise && val_failed(&other)))
        return val_error();
    const Val *o = it->otherwise ? &other : NULL;
    Affine f;
    int64_t k;
    if (val_is_number(&e)) return pick_number(s, it, x, &a, &e, o);
    if (as_affine(s, &x, &e, a.axis, &f)) return window(s, it, x, &a, e, &f, o);
    if (as_repeat(s, &x, &a, &e, &r, &k))
        return repeat_each(s, it, x, &a, &r, k);
    if (e.may && !o && (e.number < 0 || e.number >= (double)a.size))
        return may_be_outside(s, it->value->span, a.axis, 0, e.number,
                              it->value);
    return index_gather(s, it->span, x, a.axis, e, o);
}

/* Neighbouring renames of one axis each are one renaming. */
static uint32_t rename_items(Sema *s, const Items *items, uint32_t first,
                             Val *x)
{
    AxisList from = {.n = 0}, to = {.n = 0};
    uint32_t i = first;
    Span at = items->at[first].span;
    for (; i < items->n && items->at[i].kind == ITEM_rename; i++) {
        AxisList f = {.n = 0}, t = {.n = 0};
        const Item *it = &items->at[i];
        if (!axes_of_term(s, it->term, &f) || !axes_of_term(s, it->to, &t)) {
            *x = val_error();
            return i;
        }
        if (f.n != 1 || t.n != 1 || from.n == 16) {
            if (i > first) break;
            *x = index_rename(s, it->span, *x, &f, &t);
            return i + 1;
        }
        from.at[from.n++] = f.at[0];
        to.at[to.n++] = t.at[0];
        at.last = it->span.last;
    }
    if (!val_is_elementary(x) || from.n == 1)
        *x = index_rename(s, at, *x, &from, &to);
    else if (x->open && !has_all(s, x, &from))
        return i;
    else if (!check_from(s, at, x, &from) || !check_to(s, at, x, &from, &to))
        *x = val_error();
    else
        *x = rename_each(s, at, *x, &from, &to);
    return i;
}

Val eval_index(Sema *s, const Node *n)
{
    Val x = eval_node(s, n->index.base);
    const Items *items = &n->index.items;
    for (uint32_t i = 0; i < items->n && !val_failed(&x);) {
        const Item *it = &items->at[i];
        if (it->kind == ITEM_rename) {
            i = rename_items(s, items, i, &x);
            continue;
        }
        if (it->kind == ITEM_pick && val_is_elementary(&x)) {
            x = pick(s, it, x);
            i++;
            continue;
        }
        sema_error(s, DIAG_axis_form, it->span,
                   it->kind == ITEM_pick ? "this has no axes"
                                         : "what to do with this axis? write "
                                           "x[a = index] or x[a -> b]");
        return val_error();
    }
    return x;
}
