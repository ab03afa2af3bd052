/*
 * size.c: axes and their sizes.
 *
 * A size belongs to a value.  Where a size is asked for by name, it is the one
 * that the activation has bound (by a signature, an argument, a declaration or
 * a split), else the one of the file: its declaration's, or its config value.
 * A declared size (`axis ctx = seq`) is computed where it is asked for, so an
 * alias follows what is bound there.
 */
#include "sema.h"

#include <math.h>

/* ---------------------------------------------------------------- axes -- */

static void own(Sema *s, Axis a, AxisOwner o)
{
    while (s->owners.n <= a.id)
        vec_push(s->a, &s->owners, (AxisOwner){0});
    s->owners.at[a.id] = o;
}

static Axis axis_new(Sema *s, Str name, int64_t size, Span at)
{
    Axis a;
    if (axis_find(s->m, name, &a)) {
        a = axis_fresh(s->m, STR(s, name), size);
        s->m->axes.at[a.id].loc = loc_of(s->m, at);
        return a;
    }
    return axis_of(s->m, name, size, loc_of(s->m, at));
}

Axis axis_of_decl(Sema *s, Unit *u, AxisDecl *d)
{
    if (d->has_axis) return d->axis;
    d->axis = axis_new(s, d->name, 0, d->at);
    d->has_axis = true;
    AxisOwner o = {.unit = u, .index = (uint32_t)(d - u->axes.at)};
    own(s, d->axis, o);
    return d->axis;
}

Axis axis_local(Sema *s, const void *site, Str name, Span at)
{
    for (uint32_t i = 0; i < s->owners.n; i++)
        if (s->owners.at[i].site == site) return (Axis){i};
    Axis a = axis_new(s, name, 0, at);
    own(s, a, (AxisOwner){.site = site});
    return a;
}

static AxisBinding *axis_binding(Scope *sc, Str name)
{
    for (; sc; sc = sc->up)
        for (uint32_t i = sc->axes.n; i-- > 0;)
            if (str_eq(sc->axes.at[i].name, name)) return &sc->axes.at[i];
    return NULL;
}

static bool push_axis(Sema *s, AxisList *l, Axis a, Span at)
{
    if (l->n == 16) {
        sema_error(s, DIAG_too_many, at, "more than 16 axes in one term");
        return false;
    }
    l->at[l->n++] = a;
    return true;
}

static bool unknown_axis(Sema *s, Name name)
{
    const char *words[256];
    uint32_t n = 0;
    for (Scope *sc = s->scope; sc; sc = sc->up)
        for (uint32_t i = 0; i < sc->axes.n && n < 256; i++)
            words[n++] = STR(s, sc->axes.at[i].name);
    Unit *u = s->scope->unit;
    for (uint32_t i = 0; i < u->axes.n && n < 256; i++)
        words[n++] = STR(s, u->axes.at[i].name);
    const char *near = nearest(STR(s, name.text), words, n);
    Report *r = sema_error(s, DIAG_unknown_axis, name.span,
                           "there is no axis '%s'", STR(s, name.text));
    if (near)
        report_help(r, "did you mean '%s'?", near);
    else
        report_help(r, "declare it: axis %s", STR(s, name.text));
    return false;
}

bool axes_of_name(Sema *s, Name name, AxisList *out)
{
    AxisBinding *b = axis_binding(s->scope, name.text);
    if (b) {
        for (uint32_t i = 0; i < b->n; i++)
            if (!push_axis(s, out, b->axes[i], name.span)) return false;
        return true;
    }
    AxisDecl *d = unit_axis(s, s->scope->unit, name.text);
    if (!d) return unknown_axis(s, name);
    return push_axis(s, out, axis_of_decl(s, s->scope->unit, d), name.span);
}

bool axes_of_term(Sema *s, const Node *term, AxisList *out)
{
    switch ((NodeKind)term->kind) {
    case N_name:
        return axes_of_name(s, (Name){term->name, term->span}, out);
    case N_rest:
        for (uint32_t i = 0; i < s->scope->nrest; i++)
            if (!push_axis(s, out, s->scope->rest[i].axis, term->span))
                return false;
        return true;
    case N_product:
        for (uint32_t i = 0; i < term->terms.n; i++)
            if (!axes_of_term(s, term->terms.at[i], out)) return false;
        return true;
    case N_error:
        return false;
    default:
        sema_error(s, DIAG_axis_form, term->span,
                   "%s cannot stand for axes here",
                   node_words((NodeKind)term->kind));
        return false;
    }
}

/* --------------------------------------------------------------- sizes -- */

void size_bind(Sema *s, Scope *sc, Axis a, int64_t size)
{
    for (uint32_t i = 0; i < sc->sizes.n; i++)
        if (sc->sizes.at[i].axis.id == a.id) {
            sc->sizes.at[i].size = size;
            return;
        }
    SizeBinding b = {a, size};
    vec_push(s->a, &sc->sizes, b);
}

static bool sum_size(Sema *s, const Node *n, int64_t *out)
{
    *out = n->kind == N_sum ? 0 : 1;
    for (uint32_t i = 0; i < n->terms.n; i++) {
        int64_t x;
        if (!size_eval(s, n->terms.at[i], &x)) return false;
        if (n->kind == N_sum)
            *out += x;
        else
            *out = times(*out, x);
    }
    return true;
}

static bool whole_operand(Sema *s, const Node *n, int64_t *out)
{
    if (n->kind != N_name && n->kind != N_number) return false;
    bool sizing = s->sizing;
    s->sizing = true;
    Val v = eval_node(s, n);
    s->sizing = sizing;
    if (!val_is_number(&v) || v.number != floor(v.number)) return false;
    *out = whole_of(v.number);
    return *out > 0;
}

/* What was divided by what, and what would come out even. */
static void note_division(Sema *s, Report *r, const Node *n)
{
    if (n->kind != N_binary || n->binary.op != BIN_div) return;
    int64_t x, y;
    if (!whole_operand(s, n->binary.left, &x) ||
        !whole_operand(s, n->binary.right, &y))
        return;
    report_note(r, (Span){0}, "it divides %lld by %lld", (long long)x,
                (long long)y);
    report_help(r, "make it %lld or %lld", (long long)(x / y ? x / y * y : y),
                (long long)((x / y + 1) * y));
}

/* An axis name in the expression stands for its size. */
bool size_eval(Sema *s, const Node *n, int64_t *out)
{
    if (n->kind == N_sum || n->kind == N_product) return sum_size(s, n, out);
    bool sizing = s->sizing;
    s->sizing = true;
    Val v = eval_node(s, n);
    s->sizing = sizing;
    if (val_failed(&v)) return false;
    if (!val_is_number(&v)) {
        sema_error(s, DIAG_size_unknown, n->span,
                   "the size of an axis has to be known when compiling");
        return false;
    }
    if (v.number != floor(v.number) || v.number < 1 || v.number > 1e15) {
        Report *r = sema_error(
            s, DIAG_size_whole, n->span,
            "the size of an axis is a whole number from 1, this is %s",
            number_str(s, v.number));
        note_division(s, r, n);
        return false;
    }
    *out = (int64_t)v.number;
    return true;
}

int64_t axis_declared_size(Sema *s, Axis a)
{
    if (a.id >= s->owners.n || !s->owners.at[a.id].unit) return 0;
    AxisOwner o = s->owners.at[a.id];
    AxisDecl *d = &o.unit->axes.at[o.index];
    int64_t size = 0;
    if (!d->size || d->busy) return 0;
    d->busy = true;
    Scope *scope = s->scope;
    if (scope->unit != o.unit) s->scope = o.unit->scope;
    if (!size_eval(s, d->size, &size)) size = 0;
    s->scope = scope;
    d->busy = false;
    return size;
}

/* The config value of an axis, a number; or NULL. */
static ConfigValue *configured(Sema *s, Axis a)
{
    if (a.id >= s->owners.n || !s->owners.at[a.id].unit) return NULL;
    AxisOwner o = s->owners.at[a.id];
    ConfigValue *c = config_find(s, o.unit, o.unit->axes.at[o.index].name);
    return c && val_is_number(&c->value) ? c : NULL;
}

static int64_t configured_size(Sema *s, Axis a)
{
    ConfigValue *c = configured(s, a);
    if (!c) return 0;
    double x = c->value.number;
    return x >= 1 && x == floor(x) && x < 1e15 ? (int64_t)x : 0;
}

static int64_t size_in(const SizeBinding *at, uint32_t n, Axis a)
{
    for (uint32_t i = 0; i < n; i++)
        if (at[i].axis.id == a.id) return at[i].size;
    return 0;
}

int64_t axis_size(Sema *s, Axis a)
{
    for (Scope *sc = s->scope; sc; sc = sc->up) {
        int64_t size = 0;
        if (!s->as_entered) size = size_in(sc->latest.at, sc->latest.n, a);
        if (!size) size = size_in(sc->sizes.at, sc->sizes.n, a);
        if (size) return size;
    }
    for (uint32_t i = 0; i < s->sizes.n; i++)
        if (s->sizes.at[i].axis.id == a.id) return s->sizes.at[i].size;
    int64_t size = configured_size(s, a);
    return size ? size : axis_declared_size(s, a);
}

bool axis_size_needed(Sema *s, Axis a, Span at, int64_t *out)
{
    uint32_t errors = s->m->diag->nerrors;
    *out = axis_size(s, a);
    if (*out) return true;
    if (s->m->diag->nerrors != errors) return false;
    ConfigValue *c = configured(s, a);
    if (c) {
        sema_error(
            s, DIAG_size_whole, c->overridden ? (Span){0} : c->at,
            "axis '%s' is set to %s; a size is a whole number from 1 to 1e15",
            axis_name(s->m, a), number_str(s, c->value.number));
        return false;
    }
    Report *r = sema_error(s, DIAG_size_unknown, at,
                           "the size of axis '%s' is not "
                           "known here",
                           axis_name(s->m, a));
    report_help(r,
                "set it in a config: %s = ..., or declare it: axis %s = "
                "...",
                axis_name(s->m, a), axis_name(s->m, a));
    return false;
}

/* A name that is bound again to a value with another size of an axis, which
 * was the size in force, changes what the axis measures from here on. */
void size_follow(Sema *s, const Val *old, const Val *now)
{
    uint32_t n;
    const TypeAxis *axes = val_axes(s, now, &n);
    for (uint32_t i = 0; i < n; i++) {
        const TypeAxis *was = val_axis(s, old, axes[i].axis);
        if (!was || was->size == axes[i].size) continue;
        if (axis_size(s, was->axis) != was->size) continue;
        SizeBinding b = {was->axis, axes[i].size};
        Scope *sc = s->scope;
        uint32_t k = 0;
        while (k < sc->latest.n && sc->latest.at[k].axis.id != b.axis.id)
            k++;
        if (k == sc->latest.n) vec_push(s->a, &sc->latest, b);
        sc->latest.at[k] = b;
    }
}

/* -------------------------------------------------- local declarations -- */

bool axis_declare(Sema *s, const Node *n)
{
    for (uint32_t i = 0; i < n->axis.n; i++) {
        const Setting *it = &n->axis.at[i];
        Axis *a = NEW(s->a, Axis);
        int64_t size = 0;
        if (it->value && !size_eval(s, it->value, &size)) return false;
        *a = axis_local(s, it, it->name.text, it->name.span);
        AxisBinding b = {it->name.text, a, 1, it->name.span, it->value};
        vec_push(s->a, &s->scope->axes, b);
        if (size) size_bind(s, s->scope, *a, size);
    }
    return true;
}
