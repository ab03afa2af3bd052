/*
 * args.c: what a call gives: axes to the callee's axis parameters, values to
 * its parameters, by name or in order.
 */
#include "args.h"

/* -------------------------------------------------------- axis arguments -- */

const char *source_text(Sema *s, Span at)
{
    const Source *src = &s->m->diag->sources[at.file];
    return arena_strndup(s->a, src->text + at.first, at.last - at.first);
}

static void put_items(Sema *s, Buf *b, const Items *items)
{
    for (uint32_t i = 0; i < items->n; i++) {
        const Item *it = &items->at[i];
        buf_printf(b, "%s%s", i ? ", " : "", source_text(s, it->term->span));
        if (it->kind == ITEM_rename)
            buf_printf(b, " -> %s", source_text(s, it->to->span));
    }
}

static bool axis_args_wrong(Sema *s, Span at, const Node *d, const Items *items)
{
    Buf b = {0};
    for (uint32_t i = 0; i < d->decl.naxes; i++) {
        const AxisParam *p = &d->decl.axes[i];
        buf_printf(&b, "%s%s", i ? ", " : "", STR(s, p->name.text));
        if (p->to.text.id) buf_printf(&b, " -> %s", STR(s, p->to.text));
    }
    Buf given = {0};
    put_items(s, &given, items);
    Report *r = sema_error(s, DIAG_axis_form, at,
                           d->decl.naxes ? "'%s' takes the axes [%s], %s%s%s"
                                         : "'%s' takes no axes%s, %s%s%s",
                           STR(s, d->decl.name.text), b.at ? b.at : "",
                           items->n ? "this gives [" : "none are given",
                           given.at ? given.at : "", items->n ? "]" : "");
    report_note(r, d->decl.name.span, "declared here");
    buf_release(&b);
    buf_release(&given);
    return false;
}

/* One axis parameter takes all the axes that are given. */
static bool join_items(Sema *s, const Items *items, AxisArgs *out)
{
    out->n = 1;
    for (uint32_t i = 0; i < items->n; i++) {
        if (items->at[i].kind != ITEM_axis) return false;
        if (!axes_of_term(s, items->at[i].term, &out->lists[0])) return false;
    }
    return true;
}

bool axis_args(Sema *s, Span at, const Node *d, const Items *items,
               AxisArgs *out)
{
    *out = (AxisArgs){.n = 0};
    uint32_t errors = s->m->diag->nerrors;
    if (d->decl.naxes == 1 && !d->decl.axes[0].to.text.id && items->n > 0) {
        if (join_items(s, items, out)) return true;
        return s->m->diag->nerrors != errors ? false
                                             : axis_args_wrong(s, at, d, items);
    }
    if (items->n != d->decl.naxes || items->n > 7)
        return axis_args_wrong(s, at, d, items);
    for (uint32_t i = 0; i < items->n; i++) {
        const Item *it = &items->at[i];
        bool arrow = d->decl.axes[i].to.text.id != 0;
        if (it->kind != (arrow ? ITEM_rename : ITEM_axis))
            return axis_args_wrong(s, at, d, items);
        if (!axes_of_term(s, it->term, &out->lists[out->n++])) return false;
        if (arrow && !axes_of_term(s, it->to, &out->lists[out->n++]))
            return false;
    }
    return true;
}

static void bind_axis(Sema *s, Scope *callee, Name name, const AxisList *l)
{
    Axis *axes = NEW_ARRAY(s->a, Axis, l->n + 1);
    memcpy(axes, l->at, l->n * sizeof *axes);
    AxisBinding b = {.name = name.text, .axes = axes, .n = l->n};
    b.at = name.span;
    vec_push(s->a, &callee->axes, b);
    for (uint32_t i = 0; i < l->n; i++) {
        int64_t size = axis_size(s, axes[i]);
        if (size) size_bind(s, callee, axes[i], size);
    }
}

void bind_axes(Sema *s, Scope *callee, const Node *d, const AxisArgs *a)
{
    uint32_t k = 0;
    for (uint32_t i = 0; i < d->decl.naxes && k < a->n; i++) {
        bind_axis(s, callee, d->decl.axes[i].name, &a->lists[k++]);
        if (d->decl.axes[i].to.text.id)
            bind_axis(s, callee, d->decl.axes[i].to, &a->lists[k++]);
    }
}

/* ------------------------------------------------------------- arguments -- */

bool eval_args(Sema *s, const Settings *args, Call *c)
{
    c->nargs = args->n;
    c->args = NEW_ARRAY(s->a, Val, args->n + 1);
    c->names = NEW_ARRAY(s->a, Str, args->n + 1);
    c->spans = NEW_ARRAY(s->a, Span, args->n + 1);
    for (uint32_t i = 0; i < args->n; i++) {
        c->names[i] = args->at[i].name.text;
        c->spans[i] = args->at[i].value->span;
        c->args[i] = eval_node(s, args->at[i].value);
        if (val_failed(&c->args[i])) return false;
    }
    return true;
}

static uint32_t param_find(const Node *d, Str name)
{
    for (uint32_t i = 0; i < d->decl.params.n; i++)
        if (str_eq(d->decl.params.at[i].name.text, name)) return i;
    return UINT32_MAX;
}

static bool no_param(Sema *s, const Node *d, Str name, Span at)
{
    const char *words[64];
    uint32_t n = 0;
    for (uint32_t i = 0; i < d->decl.params.n && n < 64; i++)
        words[n++] = STR(s, d->decl.params.at[i].name.text);
    Report *r = sema_error(s, DIAG_argument, at, "'%s' has no parameter '%s'",
                           STR(s, d->decl.name.text), STR(s, name));
    const char *near = nearest(STR(s, name), words, n);
    if (near)
        report_help(r, "did you mean '%s'?", near);
    else
        report_note(r, d->decl.name.span, "declared here");
    return false;
}

Given given_new(Sema *s, const Node *d)
{
    uint32_t n = d->decl.params.n + 1;
    return (Given){NEW_ARRAY(s->a, Val, n), NEW_ARRAY(s->a, Span, n),
                   NEW_ARRAY(s->a, bool, n)};
}

bool place_args(Sema *s, const Node *d, const Call *c, Given *out)
{
    uint32_t next = 0;
    for (uint32_t i = 0; i < c->nargs; i++) {
        uint32_t k;
        if (c->names[i].id) {
            k = param_find(d, c->names[i]);
            if (k == UINT32_MAX)
                return no_param(s, d, c->names[i], c->spans[i]);
        } else {
            while (next < d->decl.params.n && out->has[next])
                next++;
            k = next;
        }
        if (k >= d->decl.params.n || out->has[k]) {
            Report *r = sema_error(s, DIAG_argument, c->spans[i],
                                   "'%s' takes %u argument%s, this is one more",
                                   STR(s, d->decl.name.text), d->decl.params.n,
                                   d->decl.params.n == 1 ? "" : "s");
            report_note(r, d->decl.name.span, "declared here");
            return false;
        }
        out->vals[k] = c->args[i];
        out->spans[k] = c->spans[i];
        out->has[k] = true;
    }
    return true;
}

static void bind_arg_sizes(Sema *s, Scope *callee, const Val *v)
{
    uint32_t n;
    const TypeAxis *axes = val_axes(s, v, &n);
    for (uint32_t i = 0; i < n; i++) {
        bool have = false;
        for (uint32_t k = 0; k < callee->sizes.n; k++)
            have |= callee->sizes.at[k].axis.id == axes[i].axis.id;
        if (!have) size_bind(s, callee, axes[i].axis, axes[i].size);
    }
}

static bool missing_arg(Sema *s, const Node *d, const Var *p, Span at)
{
    Report *r =
        sema_error(s, DIAG_argument, at, "'%s' needs '%s', which is not given",
                   STR(s, d->decl.name.text), STR(s, p->name.text));
    report_note(r, d->decl.name.span, "declared here");
    return false;
}

bool bind_args(Sema *s, const Node *d, const Given *in, Span at)
{
    Scope *callee = s->scope;
    for (uint32_t i = 0; i < d->decl.params.n; i++) {
        const Var *p = &d->decl.params.at[i];
        TypeCheck c = {.at = in->has[i] ? in->spans[i] : at,
                       .name = d->decl.name.text,
                       .verb = "takes",
                       .bind = true};
        if (in->has[i] && p->type && p->type->type.has_axes)
            callee->has_rest = true;
        if (in->has[i] && !type_check(s, p->type, &in->vals[i], &c))
            return false;
    }
    for (uint32_t i = 0; i < d->decl.params.n; i++)
        if (in->has[i]) bind_arg_sizes(s, callee, &in->vals[i]);
    for (uint32_t i = 0; i < d->decl.params.n; i++) {
        const Var *p = &d->decl.params.at[i];
        if (!in->has[i] && !p->init) return missing_arg(s, d, p, at);
        if (!in->has[i]) in->vals[i] = eval_node(s, p->init);
        if (val_failed(&in->vals[i])) return false;
        scope_bind(s, callee, p->name.text, in->vals[i]);
    }
    return true;
}
