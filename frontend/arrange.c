/*
 * arrange.c: builtins that put tensors together and take them apart.
 *
 *     cat[a + b -> c](x, y)     end to end along c
 *     split[c -> a + b](x)      the parts
 *     stack[k](x, y)            along a new axis
 *     put[a = ids](base, x)     base with some elements replaced
 */
#include "builtin.h"

static uint32_t terms_of(const Node *n, const Node *const **out,
                         const Node **one)
{
    if (n->kind == N_sum) {
        *out = (const Node *const *)n->terms.at;
        return n->terms.n;
    }
    *one = n;
    *out = one;
    return 1;
}

static bool one_axis(Sema *s, const Node *n, Axis *out)
{
    AxisList l = {.n = 0};
    if (!axes_of_term(s, n, &l)) return false;
    if (l.n == 1) {
        *out = l.at[0];
        return true;
    }
    sema_error(s, DIAG_axis_form, n->span, "one axis stands here");
    return false;
}

/* The union of the axes of the operands, `but` apart, and a dtype for all. */
typedef struct Company {
    TypeAxis axes[32];
    uint32_t n;
    DType dtype;
} Company;

static void meet(Sema *s, const Val *v, Axis but, Company *c)
{
    uint32_t n;
    const TypeAxis *axes = val_axes(s, v, &n);
    for (uint32_t i = 0; i < n; i++) {
        bool have = axes[i].axis.id == but.id;
        for (uint32_t k = 0; k < c->n; k++)
            have |= c->axes[k].axis.id == axes[i].axis.id;
        if (!have && c->n < 32) c->axes[c->n++] = axes[i];
    }
}

static DType common(const Val *v, uint32_t n)
{
    DType d = (DType)v[0].dtype;
    for (uint32_t i = 1; i < n; i++) {
        DType e = (DType)v[i].dtype;
        if (dtype_class(e) == DC_float && dtype_class(d) != DC_float) d = e;
        if (dtype_class(e) == dtype_class(d) && dtype_bytes(e) > dtype_bytes(d))
            d = e;
    }
    return d;
}

static Value join(Sema *s, const Val *v, const Company *c)
{
    TypeAxis more[32];
    uint32_t k = 0;
    for (uint32_t i = 0; i < c->n; i++)
        if (!val_axis(s, v, c->axes[i].axis)) more[k++] = c->axes[i];
    Value x = val_use(s, v, c->dtype);
    return k ? emit_broadcast(here(s), x, more, k) : x;
}

static bool elementary(Sema *s, const Builtin *b, const Call *c)
{
    for (uint32_t i = 0; i < c->nargs; i++)
        if (!val_is_elementary(&c->args[i])) {
            sema_error(s, DIAG_not_a_number, c->spans[i], "'%s' takes tensors",
                       b->name);
            return false;
        }
    return true;
}

/* ------------------------------------------------------------------- cat -- */

static bool cat_parts(Sema *s, const Builtin *b, const Call *c, Axis to,
                      Val *parts)
{
    const Node *const *terms, *one;
    uint32_t n = terms_of(c->items[0].term, &terms, &one);
    if (n != c->nargs) {
        sema_error(s, DIAG_argument, c->at, "%u axes and %u tensors", n,
                   c->nargs);
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        AxisList from = {.n = 1}, all = {.at = {to}, .n = 1};
        Call each = *c;
        each.args = &c->args[i];
        if (!one_axis(s, terms[i], &from.at[0])) return false;
        if (!has_axes(s, b, &each, &from)) return false;
        parts[i] = c->args[i];
        if (from.at[0].id == to.id) continue;
        if (parts[i].kind == VAL_lazy)
            parts[i] =
                val_tensor(s, val_use(s, &parts[i], (DType)parts[i].dtype));
        here(s)->loc = loc_of(s->m, c->at);
        parts[i] = val_tensor(s, emit_rename(here(s), val_here(s, &parts[i]),
                                             from.at, all.at, 1));
    }
    return true;
}

Val builtin_cat(Sema *s, const Builtin *b, const Call *c)
{
    Axis to;
    if (c->nitems != 1 || c->items[0].kind != ITEM_rename) {
        sema_error(s, DIAG_axis_form, c->at, "write cat[a + b -> c](x, y)");
        return val_error();
    }
    Val *parts = NEW_ARRAY(s->a, Val, c->nargs + 1);
    if (!elementary(s, b, c) || !one_axis(s, c->items[0].to, &to) ||
        !cat_parts(s, b, c, to, parts))
        return val_error();
    Company all = {.n = 0};
    int64_t size = 0;
    for (uint32_t i = 0; i < c->nargs; i++) {
        meet(s, &parts[i], to, &all);
        size += val_axis(s, &parts[i], to)->size;
    }
    all.dtype = common(parts, c->nargs);
    Value *xs = NEW_ARRAY(s->a, Value, c->nargs + 1);
    for (uint32_t i = 0; i < c->nargs; i++)
        xs[i] = join(s, &parts[i], &all);
    if (!axis_size(s, to)) size_bind(s, s->scope, to, size);
    here(s)->loc = loc_of(s->m, c->at);
    return val_tensor(s, emit_concat(here(s), xs, c->nargs, to));
}

/* ----------------------------------------------------------------- stack -- */

Val builtin_stack(Sema *s, const Builtin *b, const Call *c)
{
    AxisList l;
    if (!elementary(s, b, c) || !call_axes(s, c, &l)) return val_error();
    int64_t size = l.n == 1 ? axis_size(s, l.at[0]) : 0;
    if (l.n != 1 || (size && size != c->nargs)) {
        sema_error(s, DIAG_axis_form, c->at,
                   l.n == 1 ? "the axis has size %lld, and %u tensors are given"
                            : "one axis stands here",
                   (long long)size, c->nargs);
        return val_error();
    }
    Company all = {.n = 0};
    for (uint32_t i = 0; i < c->nargs; i++)
        meet(s, &c->args[i], (Axis){UINT32_MAX}, &all);
    for (uint32_t i = 0; i < all.n; i++)
        if (all.axes[i].axis.id == l.at[0].id) {
            sema_error(s, DIAG_axis_twice, c->at, "axis '%s' appears twice",
                       axis_name(s->m, l.at[0]));
            return val_error();
        }
    if (!sizes_agree(s, c->at, c->args, c->nargs)) return val_error();
    all.dtype = common(c->args, c->nargs);
    Value *xs = NEW_ARRAY(s->a, Value, c->nargs + 1);
    for (uint32_t i = 0; i < c->nargs; i++)
        xs[i] = join(s, &c->args[i], &all);
    if (!size) size_bind(s, s->scope, l.at[0], c->nargs);
    here(s)->loc = loc_of(s->m, c->at);
    return val_tensor(s, emit_stack(here(s), xs, c->nargs, l.at[0]));
}

/* ----------------------------------------------------------------- split -- */

static bool part_sizes(Sema *s, const Call *c, Axis whole, int64_t total,
                       Axis *axes, int64_t *sizes, uint32_t n)
{
    uint32_t open = UINT32_MAX;
    int64_t known = 0;
    for (uint32_t i = 0; i < n; i++) {
        sizes[i] = axis_size(s, axes[i]);
        known += sizes[i];
        if (sizes[i]) continue;
        if (open != UINT32_MAX) {
            sema_error(s, DIAG_size_unknown, c->at,
                       "neither the size of '%s' nor that of '%s' is known",
                       axis_name(s->m, axes[open]), axis_name(s->m, axes[i]));
            return false;
        }
        open = i;
    }
    if (open != UINT32_MAX && known < total) {
        sizes[open] = total - known;
        size_bind(s, s->scope, axes[open], sizes[open]);
        known = total;
    }
    if (known == total) return true;
    sema_error(s, DIAG_axis_size, c->at,
               "the parts of '%s' have %lld together, it "
               "has %lld",
               axis_name(s->m, whole), (long long)known, (long long)total);
    return false;
}

Val builtin_split(Sema *s, const Builtin *b, const Call *c)
{
    AxisList whole = {.n = 1};
    const Node *const *terms, *one;
    if (c->nitems != 1 || c->items[0].kind != ITEM_rename) {
        sema_error(s, DIAG_axis_form, c->at, "write split[c -> a + b](x)");
        return val_error();
    }
    if (!one_tensor(s, b, c) || !one_axis(s, c->items[0].term, &whole.at[0]) ||
        !has_axes(s, b, c, &whole))
        return val_error();
    uint32_t n = terms_of(c->items[0].to, &terms, &one);
    Axis *axes = NEW_ARRAY(s->a, Axis, n + 1);
    int64_t *sizes = NEW_ARRAY(s->a, int64_t, n + 1), start = 0;
    for (uint32_t i = 0; i < n; i++)
        if (!one_axis(s, terms[i], &axes[i])) return val_error();
    int64_t total = val_axis(s, &c->args[0], whole.at[0])->size;
    if (!part_sizes(s, c, whole.at[0], total, axes, sizes, n))
        return val_error();
    Val out = {.kind = VAL_tuple};
    out.tuple.n = n;
    out.tuple.at = NEW_ARRAY(s->a, Val, n + 1);
    Value x = val_use(s, &c->args[0], (DType)c->args[0].dtype);
    here(s)->loc = loc_of(s->m, c->at);
    for (uint32_t i = 0; i < n; i++) {
        Value v = emit_slice(here(s), x, whole.at[0], start, sizes[i], 1);
        if (axes[i].id != whole.at[0].id)
            v = emit_rename(here(s), v, whole.at, &axes[i], 1);
        out.tuple.at[i] = val_tensor(s, v);
        start += sizes[i];
    }
    return out;
}

/* ------------------------------------------------------------------- put -- */

Val builtin_put(Sema *s, const Builtin *b, const Call *c)
{
    AxisList l = {.n = 1};
    if (c->nitems != 1 || c->items[0].kind != ITEM_pick) {
        sema_error(s, DIAG_axis_form, c->at, "write put[a = ids](base, x)");
        return val_error();
    }
    if (!elementary(s, b, c) || !one_axis(s, c->items[0].term, &l.at[0]) ||
        !has_axes(s, b, c, &l))
        return val_error();
    Val ids = eval_node(s, c->items[0].value);
    if (val_failed(&ids)) return ids;
    if (!val_is_elementary(&ids) || dtype_class((DType)ids.dtype) != DC_int) {
        sema_error(s, DIAG_dtype_mismatch, c->items[0].value->span,
                   "an index is a whole number");
        return val_error();
    }
    Company all = {.n = 0};
    all.dtype = (DType)c->args[0].dtype;
    meet(s, &c->args[0], l.at[0], &all);
    meet(s, &ids, (Axis){UINT32_MAX}, &all);
    Value base = val_use(s, &c->args[0], all.dtype);
    Value at = val_use(s, &ids, (DType)ids.dtype);
    Value x = join(s, &c->args[1], &all);
    here(s)->loc = loc_of(s->m, c->at);
    return val_tensor(s, emit_put(here(s), base, at, x, l.at[0]));
}
