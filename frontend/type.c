/*
 * type.c: signatures and declared types, against the values they meet.
 *
 * A type in a signature names the axes that the function touches and binds
 * their sizes; `..` takes whatever other axes there are, and means them in the
 * body.  What is declared and what is there are both named in a message.
 */
#include "sema.h"

static const char *type_axes_str(Sema *s, const Node *type)
{
    Buf b = {0};
    buf_puts(&b, "[");
    for (uint32_t i = 0; i < type->type.naxes; i++)
        buf_printf(&b, "%s%s", i ? ", " : "",
                   ast_str(s->m, type->type.axes[i].term));
    buf_puts(&b, "]");
    const char *out = arena_strdup(s->a, b.at);
    buf_release(&b);
    return out;
}

static bool dtype_of_type(Sema *s, const Node *type, DType otherwise,
                          DType *out)
{
    *out = otherwise;
    if (!type || !type->type.dtype.text.id) return true;
    if (dtype_find(STR(s, type->type.dtype.text), out)) return true;
    Report *r = sema_error(s, DIAG_unknown_name, type->type.dtype.span,
                           "there is no element type '%s'",
                           STR(s, type->type.dtype.text));
    Buf b = {0};
    for (int d = 0; d < DT_count; d++)
        buf_printf(&b, "%s%s", d ? ", " : "", dtype_name((DType)d));
    report_help(r, "element types: %s", b.at);
    buf_release(&b);
    return false;
}

/* ------------------------------------------------- types of parameters -- */

/* False: an axis parameter stands there, for an axis that a call gave. */
static bool written_as(Sema *s, Span at, const char *name)
{
    const char *text = s->m->diag->sources[at.file].text + at.first;
    size_t n = strlen(name);
    return at.last - at.first == n && strncmp(text, name, n) == 0;
}

static bool no_twice(Sema *s, const TypeLayout *t, const Span *at,
                     const char *what, Str name)
{
    const AxisList *l = &t->list;
    for (uint32_t i = 0; i < l->n; i++)
        for (uint32_t k = 0; k < i; k++) {
            if (l->at[i].id != l->at[k].id) continue;
            const char *axis = axis_name(s->m, l->at[i]);
            Report *r = sema_error(s, DIAG_axis_twice, at[i],
                                   "axis '%s' appears twice in %s '%s'", axis,
                                   what, STR(s, name));
            if (!written_as(s, at[i], axis))
                report_help(r,
                            "give the second a name of its own, axis %s2 = %s, "
                            "and rename the result: y[%s2 -> %s]",
                            axis, axis, axis, axis);
            return false;
        }
    return true;
}

static bool use_size(Sema *s, const AxisUse *u, Axis a, int64_t *out)
{
    return u->size ? size_eval(s, u->size, out)
                   : axis_size_needed(s, a, u->term->span, out);
}

bool type_layout(Sema *s, const Node *type, const char *what, Str name,
                 TypeLayout *out)
{
    *out = (TypeLayout){.type = {0}};
    Span at[16];
    if (!dtype_of_type(s, type, DT_f32, &out->dtype)) return false;
    for (uint32_t i = 0; i < type->type.naxes; i++) {
        const AxisUse *u = &type->type.axes[i];
        uint32_t first = out->list.n;
        if (!axes_of_term(s, u->term, &out->list)) return false;
        for (uint32_t k = first; k < out->list.n; k++) {
            TypeAxis *a = &out->axes[k];
            at[k] = u->term->span;
            *a = (TypeAxis){.axis = out->list.at[k]};
            if (!use_size(s, u, a->axis, &a->size)) return false;
        }
        uint32_t more = out->list.n - first;
        if (i < type->type.nover)
            out->over += more;
        else if (i < type->type.nover + type->type.nfrom)
            out->from += more;
        else
            out->to += more;
    }
    if (!no_twice(s, out, at, what, name)) return false;
    out->type = type_tensor(s->m, out->dtype, out->axes, out->list.n);
    return true;
}

/* ------------------------------------------------------------- messages -- */

static const Aligned *find_aligned(const Sema *s, const Aligned *a, Axis axis,
                                   uint32_t depth)
{
    if (!a || depth > 12) return NULL;
    if (a->axis.id == axis.id) return a;
    const Aligned *b = find_aligned(s, a->before[0], axis, depth + 1);
    return b ? b : find_aligned(s, a->before[1], axis, depth + 1);
}

/* The axis that `a` is declared as an alias of. */
static bool alias_of(Sema *s, Axis a, Axis *out)
{
    if (a.id >= s->owners.n || !s->owners.at[a.id].unit) return false;
    AxisOwner o = s->owners.at[a.id];
    const Node *size = o.unit->axes.at[o.index].size;
    if (!size || size->kind != N_name) return false;
    AxisDecl *d = unit_axis(s, o.unit, size->name);
    if (!d) return false;
    *out = axis_of_decl(s, o.unit, d);
    return true;
}

/* Where an alias is missing, its axis was probably aligned with itself. */
static void explain_missing(Sema *s, Report *r, Axis missing, const Val *v)
{
    Axis of;
    if (!alias_of(s, missing, &of)) return;
    const Aligned *a = find_aligned(s, v->aligned, of, 0);
    if (!a) return;
    const char *axis = axis_name(s->m, of);
    report_note(r, a->at,
                "'%s' of '%s' and '%s' of '%s' were aligned, not "
                "crossed",
                axis, STR(s, a->left), axis, STR(s, a->right));
    report_help(r, "rename it on one side: %s[%s -> %s]", STR(s, a->right),
                axis, axis_name(s->m, missing));
}

static void explain_extra(Sema *s, Report *r, Axis extra, const Node *value)
{
    if (!value || value->kind != N_binary || value->binary.op != BIN_mul)
        return;
    const Node *c = value->binary.right;
    if (c->kind != N_contract) return;
    for (uint32_t i = 0; i < c->contract.axes.n; i++) {
        if (strcmp(STR(s, c->contract.axes.at[i].text),
                   axis_name(s->m, extra)) != 0)
            continue;
        const char *axis = axis_name(s->m, extra);
        report_help(r, "'@%s' binds tighter than '*'; write (%s) @%s %s", axis,
                    "\xe2\x80\xa6", axis, ast_str(s->m, c->contract.right));
    }
}

/* -------------------------------------------------------------- checking -- */

static bool has_rest(const Node *type)
{
    for (uint32_t i = 0; i < type->type.naxes; i++)
        if (type->type.axes[i].term->kind == N_rest) return true;
    return false;
}

/* The axes that the type names, `..` apart. */
static bool named_axes(Sema *s, const Node *type, AxisList *out)
{
    for (uint32_t i = 0; i < type->type.naxes; i++)
        if (type->type.axes[i].term->kind != N_rest &&
            !axes_of_term(s, type->type.axes[i].term, out))
            return false;
    return true;
}

static void add_rest(Sema *s, Scope *sc, TypeAxis a)
{
    if (scope_in_rest(sc, a.axis)) return;
    TypeAxis *all = NEW_ARRAY(s->a, TypeAxis, sc->nrest + 1);
    if (sc->nrest) memcpy(all, sc->rest, sc->nrest * sizeof *all);
    all[sc->nrest] = a;
    sc->rest = all;
    sc->nrest++;
}

static bool take_rest(Sema *s, const Node *type, const AxisList *named,
                      const Val *v, const TypeCheck *c)
{
    uint32_t n;
    const TypeAxis *axes = val_axes(s, v, &n);
    for (uint32_t i = 0; i < n; i++) {
        if (axes_have(named->at, named->n, axes[i].axis)) continue;
        if (has_rest(type) && (c->bind || !s->scope->has_rest ||
                               scope_in_rest(s->scope, axes[i].axis))) {
            if (c->bind) add_rest(s, s->scope, axes[i]);
            continue;
        }
        Report *r = sema_error(s, DIAG_axis_extra, c->at,
                               "'%s' %s %s, this has also '%s'",
                               STR(s, c->name), c->verb, type_axes_str(s, type),
                               axis_name(s->m, axes[i].axis));
        explain_extra(s, r, axes[i].axis, c->value);
        return false;
    }
    return true;
}

static bool check_named(Sema *s, const Node *type, const AxisList *named,
                        const Val *v, const TypeCheck *c)
{
    for (uint32_t i = 0; i < named->n; i++) {
        if (val_axis(s, v, named->at[i])) continue;
        Report *r;
        const char *axis = axis_name(s->m, named->at[i]);
        if (c->declared)
            r = sema_error(
                s, DIAG_axis_mismatch, c->at,
                "'%s' is declared with axis '%s', its value has none",
                STR(s, c->name), axis);
        else
            r = sema_error(s, DIAG_axis_missing, c->at,
                           "'%s' %s %s, %s has no axis '%s'", STR(s, c->name),
                           c->verb, type_axes_str(s, type),
                           val_label(s, v, "this"), axis);
        report_label(r, c->value ? c->value->span : c->at, "%s",
                     val_axes_str(s, v));
        explain_missing(s, r, named->at[i], v);
        return false;
    }
    return true;
}

static bool bind_sizes(Sema *s, const Node *type, const Val *v,
                       const TypeCheck *c)
{
    for (uint32_t i = 0; i < type->type.naxes; i++) {
        const AxisUse *u = &type->type.axes[i];
        AxisList l = {.n = 0};
        int64_t want = 0;
        if (u->term->kind == N_rest) continue;
        if (!axes_of_term(s, u->term, &l)) return false;
        if (u->size && !size_eval(s, u->size, &want)) return false;
        for (uint32_t k = 0; k < l.n; k++) {
            int64_t have = val_axis(s, v, l.at[k])->size;
            if (want && want != have) {
                sema_error(s, DIAG_axis_size, c->at,
                           "'%s' %s '%s' with %lld, this has %lld",
                           STR(s, c->name), c->verb, axis_name(s->m, l.at[k]),
                           (long long)want, (long long)have);
                return false;
            }
            if (c->bind) size_bind(s, s->scope, l.at[k], have);
        }
    }
    return true;
}

static bool check_dtype(Sema *s, const Node *type, Val *v, const TypeCheck *c)
{
    DType want;
    if (!dtype_of_type(s, type, (DType)v->dtype, &want)) return false;
    if (!type->type.dtype.text.id) return true;
    if (c->bind && dtype_class(want) != dtype_class((DType)v->dtype) &&
        v->kind != VAL_number && dtype_class(want) != DC_float) {
        sema_error(s, DIAG_dtype_mismatch, c->at, "'%s' %s %s, this is %s",
                   STR(s, c->name), c->verb, dtype_name(want),
                   dtype_name((DType)v->dtype));
        return false;
    }
    if (c->bind && v->kind == VAL_number) return true;
    if (c->bind && want == (DType)v->dtype) return true;
    Val made = eval_as(s, *v, want, c->at);
    made.name = v->name;
    made.aligned = v->aligned;
    *v = made;
    return !val_failed(v);
}

bool type_check(Sema *s, const Node *type, Val *v, const TypeCheck *c)
{
    AxisList named = {.n = 0};
    if (val_failed(v)) return false;
    if (v->open) return true;
    if (!type || v->kind == VAL_draw || v->kind == VAL_bundle) return true;
    if (!val_is_elementary(v)) {
        if (!type->type.has_axes) return true;
        sema_error(s, DIAG_not_a_number, c->at, "'%s' %s %s, this is no tensor",
                   STR(s, c->name), c->verb, type_axes_str(s, type));
        return false;
    }
    if (type->type.has_axes && v->kind != VAL_number) {
        if (!named_axes(s, type, &named) ||
            !check_named(s, type, &named, v, c) ||
            !take_rest(s, type, &named, v, c) || !bind_sizes(s, type, v, c))
            return false;
    }
    return check_dtype(s, type, v, c);
}
