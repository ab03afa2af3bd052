/*
 * print.c: a module as text, in the form that ir/ops.md describes.
 *
 * The form is canonical: printing what was parsed from it gives the same
 * bytes.  Names come from the source where they exist, made unique within
 * the function; other values are numbered by their place.
 */
#include <stdio.h>

#include "text.h"

enum { LINE = 100 }; /* a longer function header takes a line per port */

typedef struct Printer {
    Module *m;
    const Fn *fn;
    const PrintOpts *opts;
    Buf *out;
    Str *names; /* of fn's values; empty: numbered */
} Printer;

/* --------------------------------------------------------------- names -- */

static Str unique_name(Module *m, Str name, Map *taken)
{
    uint32_t next = 0;
    if (!map_find(taken, name.id, &next)) {
        map_set(taken, name.id, 1);
        return name;
    }
    for (;; next++) {
        Str s = str_printf(&m->strs, "%s.%u", str_of(m, name), next);
        uint32_t other;
        if (map_find(taken, s.id, &other)) continue;
        map_set(taken, name.id, next + 1);
        map_set(taken, s.id, 1);
        return s;
    }
}

static Str *value_names(Module *m, const Fn *fn)
{
    Str *names = NEW_ARRAY(m->scratch, Str, fn->ninsts + 1);
    Map taken;
    map_init(&taken, m->scratch);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        Str s = fn->names[i];
        if (s.id == 0 && i < fn->nparams) s = fn->params[i].name;
        if (s.id != 0) names[i] = unique_name(m, s, &taken);
    }
    return names;
}

static bool is_bare(const char *s, bool digits_alone)
{
    bool letter = digits_alone;
    for (const char *c = s; *c; c++) {
        if (!text_in_word(*c)) return false;
        letter = letter || !text_is_digit(*c);
    }
    return letter && s[0];
}

static void print_value(const Printer *p, Value v)
{
    buf_putc(p->out, '%');
    if (v.id >= p->fn->ninsts || p->names[v.id].id == 0) {
        buf_printf(p->out, "%u", v.id);
        return;
    }
    const char *s = str_of(p->m, p->names[v.id]);
    if (is_bare(s, false))
        buf_puts(p->out, s);
    else
        print_quoted(s, p->out);
}

static void print_fn_name(const Module *m, Str name, Buf *out)
{
    const char *s = str_of(m, name);
    buf_putc(out, '@');
    if (is_bare(s, true))
        buf_puts(out, s);
    else
        print_quoted(s, out);
}

/* ---------------------------------------------------------- attributes -- */

static void print_ints(const AttrItem *item, Buf *out)
{
    buf_puts(out, " (");
    for (uint32_t i = 0; i < item->n; i++)
        buf_printf(out, "%s%lld", i ? ", " : "", (long long)item->ints[i]);
    buf_putc(out, ')');
}

static void print_list(const Printer *p, const AttrItem *item)
{
    buf_puts(p->out, " (");
    if (attr_kind(item->key) == AK_axes)
        print_axis_list(p->m, item->axes, item->n, p->out);
    else
        print_mesh_list(p->m, item->mesh, item->n, p->out);
    buf_putc(p->out, ')');
}

static void print_body(const Printer *p, const AttrItem *item, Type type)
{
    const TypeInfo *t = type_info(p->m, type);
    bool tensor = type.id != 0 && !t->is_tuple && !t->is_error;
    buf_puts(p->out, " { ");
    print_expr(p->m, (Expr){item->id}, tensor ? (int)t->dtype : DTYPE_unknown,
               p->out);
    buf_puts(p->out, " }");
}

static void print_attr(const Printer *p, const AttrItem *item, Type type)
{
    AttrKind kind = attr_kind(item->key);
    if (kind == AK_expr) {
        print_body(p, item, type);
        return;
    }
    buf_printf(p->out, " %s", attr_name(item->key));
    switch (kind) {
    case AK_axis:
        buf_putc(p->out, ' ');
        print_name(axis_name(p->m, (Axis){item->id}), p->out);
        break;
    case AK_axes:
    case AK_mesh:
        print_list(p, item);
        break;
    case AK_int:
        buf_printf(p->out, " %lld", (long long)item->i);
        break;
    case AK_ints:
        print_ints(item, p->out);
        break;
    case AK_word:
        buf_putc(p->out, ' ');
        print_name(str_of(p->m, (Str){item->id}), p->out);
        break;
    case AK_str:
        buf_putc(p->out, ' ');
        print_quoted(str_of(p->m, (Str){item->id}), p->out);
        break;
    case AK_dtype:
        buf_printf(p->out, " %s", dtype_name((DType)item->i));
        break;
    case AK_fn:
        buf_putc(p->out, ' ');
        print_fn_name(p->m, fn_of(p->m, (FnRef){item->id})->name, p->out);
        break;
    case AK_expr:
    case AK_flag:
        break;
    }
}

static void print_attrs(const Printer *p, const Inst *in)
{
    if (in->attr.id == 0) return;
    const AttrInfo *a = &p->m->attrs.at[in->attr.id];
    for (uint32_t i = 0; i < a->n; i++)
        print_attr(p, &a->items[i], in->type);
}

/* -------------------------------------------------------- instructions -- */

static void print_loc(const Printer *p, Loc loc)
{
    if (!p->opts || !p->opts->locs || loc.id == 0) return;
    Place at = diag_place(p->m->diag, loc_span(p->m, loc));
    if (!at.path) return;
    buf_printf(p->out, "  @%s:%u:%u", at.path, at.line, at.column);
}

static const char *phase_word(Phase phase)
{
    switch (phase) {
    case PHASE_forward:
        return "";
    case PHASE_backward:
        return "backward ";
    case PHASE_update:
        return "update ";
    }
    return "";
}

static void print_inst(const Printer *p, Value v)
{
    const Inst *in = inst_of(p->fn, v);
    if (in->type.id != 0) {
        print_value(p, v);
        buf_puts(p->out, " : ");
        print_type(p->m, in->type, p->out);
        buf_puts(p->out, " = ");
    }
    buf_printf(p->out, "%s%s", phase_word((Phase)in->phase),
               op_info((Op)in->op)->name);
    for (uint32_t i = 0; i < in->nargs; i++) {
        buf_puts(p->out, i ? ", " : " ");
        print_value(p, inst_arg(p->fn, in, i));
    }
    print_attrs(p, in);
    print_loc(p, in->loc);
}

/* ----------------------------------------------------------- functions -- */

static void print_role(const Printer *p, const Port *port)
{
    if (port->role != ROLE_none)
        buf_printf(p->out, " %s", role_name(port->role));
    if (port->role != ROLE_none && port->path.id) {
        buf_putc(p->out, ' ');
        print_quoted(str_of(p->m, port->path), p->out);
    }
    if (!port->whole.id) return;
    buf_puts(p->out, " part ");
    print_type(p->m, port->whole, p->out);
}

static void print_params(const Printer *p, const char *between)
{
    for (uint32_t i = 0; i < p->fn->nparams; i++) {
        if (i) buf_putc(p->out, ',');
        buf_puts(p->out, i || between[0] == '\n' ? between : "");
        print_value(p, (Value){i});
        buf_puts(p->out, " : ");
        print_type(p->m, p->fn->params[i].type, p->out);
        print_role(p, &p->fn->params[i]);
        print_attrs(p, &p->fn->insts[i]);
    }
}

/* One result stands without brackets; a tuple alone would read as a list. */
static void print_results(const Printer *p, const char *between)
{
    const Fn *fn = p->fn;
    bool list =
        fn->nresults != 1 || type_info(p->m, fn->results[0].type)->is_tuple;
    if (list) buf_putc(p->out, '(');
    for (uint32_t i = 0; i < fn->nresults; i++) {
        if (i) buf_putc(p->out, ',');
        if (i || (list && between[0] == '\n')) buf_puts(p->out, between);
        print_type(p->m, fn->results[i].type, p->out);
        print_role(p, &fn->results[i]);
    }
    if (list) buf_putc(p->out, ')');
}

static void print_header(const Printer *p, const char *between)
{
    static const char *const views[] = {"global", "local", "kernel"};
    buf_printf(p->out, "%sfn %s ", p->fn->entry ? "entry " : "",
               views[p->fn->view]);
    print_fn_name(p->m, p->fn->name, p->out);
    buf_putc(p->out, '(');
    print_params(p, between);
    buf_puts(p->out, ") -> ");
    print_results(p, between);
    if (p->fn->kind.id != 0) {
        buf_puts(p->out, " kind ");
        print_name(str_of(p->m, p->fn->kind), p->out);
    }
    buf_puts(p->out, " {\n");
}

static void print_ret(const Printer *p)
{
    buf_puts(p->out, "  ret");
    for (uint32_t i = 0; i < p->fn->nresults; i++) {
        buf_puts(p->out, i ? ", " : " ");
        print_value(p, p->fn->result_values[i]);
    }
    buf_puts(p->out, "\n}\n");
}

static void fn_print(Module *m, const Fn *fn, const PrintOpts *o, Buf *out)
{
    ArenaMark mark = arena_mark(m->scratch);
    Printer p = {m, fn, o, out, value_names(m, fn)};
    size_t start = out->n;
    print_header(&p, " ");
    if (out->n - start > LINE) {
        out->n = start;
        print_header(&p, "\n    ");
    }
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        buf_puts(out, "  ");
        print_inst(&p, (Value){i});
        buf_putc(out, '\n');
    }
    print_ret(&p);
    arena_pop(m->scratch, mark);
}

void inst_print(Module *m, const Fn *fn, Value v, Buf *out)
{
    ArenaMark mark = arena_mark(m->scratch);
    Printer p = {m, fn, NULL, out, value_names(m, fn)};
    print_inst(&p, v);
    arena_pop(m->scratch, mark);
}

/* -------------------------------------------------------------- module -- */

static void print_options(const Module *m, Buf *out)
{
    for (uint32_t i = 0; i < m->options.n; i++) {
        buf_puts(out, "option ");
        print_name(str_of(m, m->options.at[i].name), out);
        buf_putc(out, ' ');
        print_quoted(str_of(m, m->options.at[i].value), out);
        buf_putc(out, '\n');
    }
}

static void print_size(const char *name, int64_t size, Buf *out)
{
    print_name(name, out);
    if (size) buf_printf(out, " = %lld", (long long)size);
}

static void print_mesh(const Module *m, Buf *out)
{
    if (m->mesh.n == 0) return;
    buf_puts(out, "mesh (");
    for (uint32_t i = 0; i < m->mesh.n; i++) {
        if (i) buf_puts(out, ", ");
        print_size(str_of(m, m->mesh.at[i].name), m->mesh.at[i].size, out);
    }
    buf_puts(out, ")\n");
}

static void print_axes(const Module *m, Buf *out)
{
    if (m->axes.n == 0) return;
    size_t start = out->n;
    buf_puts(out, "axes (");
    for (uint32_t i = 0; i < m->axes.n; i++) {
        size_t before = out->n;
        if (i) buf_puts(out, ", ");
        print_size(str_of(m, m->axes.at[i].name), m->axes.at[i].size, out);
        if (out->n - start <= LINE) continue;
        char *item = arena_strndup(m->scratch, out->at + before + 2,
                                   out->n - before - 2);
        out->n = before;
        buf_puts(out, ",\n      ");
        start = out->n - 6;
        buf_puts(out, item);
    }
    buf_puts(out, ")\n");
}

static void print_ckpt_dim(const Module *m, const CkptDim *d, Type type,
                           Buf *out)
{
    int64_t product = 1;
    if (d->naxes != 1) buf_putc(out, '(');
    for (uint32_t i = 0; i < d->naxes; i++) {
        if (i) buf_putc(out, ' ');
        print_name(axis_name(m, d->axes[i]), out);
        if (__builtin_mul_overflow(product, type_size(m, type, d->axes[i]),
                                   &product))
            product = -1;
    }
    if (d->naxes != 1) buf_putc(out, ')');
    if (d->offset != 0 || (d->total != 0 && d->total != product))
        buf_printf(out, " at %lld of %lld", (long long)d->offset,
                   (long long)d->total);
}

static void print_ckpt(const Module *m, const Slot *s, Buf *out)
{
    if (!s->has_ckpt) return;
    buf_puts(out, " as ");
    print_quoted(str_of(m, s->ckpt.name), out);
    buf_puts(out, " [");
    for (uint32_t i = 0; i < s->ckpt.ndims; i++) {
        if (i) buf_puts(out, ", ");
        print_ckpt_dim(m, &s->ckpt.dims[i], s->type, out);
    }
    buf_putc(out, ']');
    if (!s->ckpt.scale.id) return;
    buf_puts(out, " times ");
    print_quoted(str_of(m, s->ckpt.scale), out);
    buf_puts(out, " [");
    for (uint32_t i = 0; i < s->ckpt.ndims; i++)
        buf_printf(out, "%s%lld", i ? ", " : "",
                   (long long)s->ckpt.dims[i].block);
    buf_putc(out, ']');
}

static void print_whole(const Module *m, const Slot *s, Buf *out)
{
    if (!s->whole.id) return;
    buf_puts(out, " part of ");
    print_quoted(str_of(m, s->whole), out);
    buf_puts(out, " axis ");
    print_name(axis_name(m, s->along), out);
    buf_printf(out, " at %lld of %lld", (long long)s->start,
               (long long)s->total);
}

static void print_slot(const Module *m, const Slot *s, Buf *out)
{
    buf_printf(out, "%s ", role_name(s->role));
    print_quoted(str_of(m, s->path), out);
    buf_puts(out, " : ");
    print_type(m, s->type, out);
    if (s->nfrom + s->nto > 0) {
        buf_puts(out, " fan (");
        print_axis_list(m, s->fan, s->nfrom, out);
        buf_puts(out, s->nfrom ? " -> " : "-> ");
        print_axis_list(m, s->fan + s->nfrom, s->nto, out);
        buf_putc(out, ')');
    }
    if (s->frozen) buf_puts(out, " frozen");
    if (!s->saved) buf_puts(out, " unsaved");
    if (s->host) buf_puts(out, " host");
    print_ckpt(m, s, out);
    if (s->block.id) {
        buf_puts(out, " block ");
        print_quoted(str_of(m, s->block), out);
    }
    print_whole(m, s, out);
    buf_putc(out, '\n');
}

void module_print(Module *m, const PrintOpts *o, Buf *out)
{
    ArenaMark mark = arena_mark(m->scratch);
    size_t start = out->n;
    print_options(m, out);
    print_mesh(m, out);
    print_axes(m, out);
    for (uint32_t i = 0; i < m->slots.n; i++)
        print_slot(m, &m->slots.at[i], out);
    for (uint32_t i = 0; i < m->fns.n; i++) {
        if (!m->fns.at[i]) continue; /* removed by a pass */
        if (out->n > start) buf_putc(out, '\n');
        fn_print(m, m->fns.at[i], o, out);
    }
    arena_pop(m->scratch, mark);
}
