/*
 * ckpt.c: how parameters lie in a checkpoint.
 *
 * Names join along the tree of instances with dots, none after a `_`.  An axis
 * in braces has one tensor per index; the others stand in the layout, a
 * product as one dimension.  A sum spreads one tensor over the parameters of
 * the statement, in order.  Without a layout each axis is a dimension, as the
 * type is written; stacked axes that no brace names come first.
 */
#include "sema.h"

#include <ctype.h>
#include <stdlib.h>

/* ---------------------------------------------------------------- names -- */

typedef struct Reader {
    Sema *s;
    const char *p, *end;
    Span at;
    bool failed;
} Reader;

static void spaces(Reader *r)
{
    while (r->p < r->end && *r->p == ' ')
        r->p++;
}

static Name read_word(Reader *r)
{
    const char *start = r->p;
    while (r->p < r->end && (isalnum((unsigned char)*r->p) || *r->p == '_'))
        r->p++;
    return (Name){str_intern_n(&r->s->m->strs, start, (size_t)(r->p - start)),
                  r->at};
}

static bool is_axis_name(Sema *s, Str name)
{
    for (Scope *sc = s->scope; sc; sc = sc->up)
        for (uint32_t i = 0; i < sc->axes.n; i++)
            if (str_eq(sc->axes.at[i].name, name)) return true;
    return unit_axis(s, s->scope->unit, name) != NULL;
}

/* A term of a sum: numbers and sizes multiplied, an axis perhaps. */
typedef struct Term {
    bool has_axis;
    Axis axis;
    int64_t times;
} Term;

static void take_size(Reader *r, Term *out)
{
    AxisList l = {.n = 0};
    r->p++;
    Name axis = read_word(r);
    int64_t size;
    r->failed |=
        r->p == r->end || *r->p != ')' || !axes_of_name(r->s, axis, &l);
    r->p++;
    for (uint32_t i = 0; i < l.n && !r->failed; i++) {
        r->failed |= !axis_size_needed(r->s, l.at[i], r->at, &size);
        out->times = times(out->times, size);
    }
}

static void take_name(Reader *r, Term *out)
{
    Sema *s = r->s;
    Name w = read_word(r);
    if (strcmp(STR(s, w.text), "size") == 0 && r->p < r->end && *r->p == '(') {
        take_size(r, out);
        return;
    }
    bool bound = scope_find(s->scope, w.text) != NULL;
    AxisList l = {.n = 0};
    if (!bound && is_axis_name(s, w.text) && !out->has_axis) {
        r->failed |= !axes_of_name(s, w, &l) || l.n != 1;
        out->has_axis = true;
        out->axis = l.at[0];
        return;
    }
    Val v = eval_name(s, w.text, r->at);
    if (val_is_number(&v))
        out->times = times(out->times, whole_of(v.number));
    else
        r->failed = true;
}

static void take_factor(Reader *r, Term *out)
{
    const char *start = r->p;
    spaces(r);
    if (r->p < r->end && isdigit((unsigned char)*r->p)) {
        char *end;
        out->times = times(out->times, strtoll(r->p, &end, 10));
        r->p = end;
    } else if (r->p < r->end) {
        start = r->p;
        take_name(r, out);
    }
    r->failed |= r->p == start;
    spaces(r);
}

static Term read_term(Reader *r)
{
    Term out = {.times = 1};
    take_factor(r, &out);
    while (r->p < r->end && !r->failed && *r->p == '*') {
        r->p++;
        take_factor(r, &out);
    }
    return out;
}

/* Numbers stay within 32 bits, as a program reads them. */
static void add_term(Reader *r, const Term *t, int64_t sign, CkptBrace *out)
{
    r->failed |= t->times > INT32_MAX;
    if (r->failed) return;
    if (!t->has_axis) {
        out->plus += sign * t->times;
        r->failed |= out->plus < INT32_MIN || out->plus > INT32_MAX;
        return;
    }
    r->failed |= sign < 0 || t->times < 1 || out->n == CKPT_TERMS ||
                 brace_has(out, t->axis);
    if (r->failed) return;
    out->axes[out->n] = t->axis;
    out->times[out->n++] = t->times;
}

static CkptBrace read_index(Reader *r)
{
    CkptBrace out = {.n = 0};
    int64_t sign = 1;
    while (!r->failed) {
        Term t = read_term(r);
        if (r->failed) break;
        add_term(r, &t, sign, &out);
        if (r->p == r->end) break;
        r->failed |= *r->p != '+' && *r->p != '-';
        sign = *r->p++ == '-' ? -1 : 1;
    }
    return out;
}

static bool print_braces(Sema *s, const Node *n, const char *p, const char *end,
                         Buf *out)
{
    uint32_t errors = s->m->diag->nerrors;
    Reader r = {s, p, end, n->span, p == end};
    CkptBrace b = read_index(&r);
    if (r.failed && s->m->diag->nerrors == errors)
        sema_error(s, DIAG_layout, n->span,
                   "in braces stand axes, numbers of a for and sizes, added "
                   "up or times numbers");
    if (r.failed) return false;
    if (b.n)
        brace_print(s->m, &b, out);
    else
        buf_printf(out, "%lld", (long long)b.plus);
    return true;
}

static Str component(Sema *s, const Node *n)
{
    const char *p = STR(s, n->string);
    Buf out = {0};
    while (*p) {
        const char *close = *p == '{' ? strchr(p, '}') : NULL;
        if (!close) {
            buf_putc(&out, *p++);
            continue;
        }
        if (!print_braces(s, n, p + 1, close, &out)) break;
        p = close + 1;
    }
    Str name = module_str(s->m, out.at ? out.at : "");
    buf_release(&out);
    return name;
}

Str layout_component(Sema *s, const FileLayout *l)
{
    return l->name ? component(s, l->name) : (Str){0};
}

static void join(Sema *s, const Site *p, bool named, Buf *out)
{
    if (!p) return;
    join(s, p->up, named, out);
    if (!p->ckpt.id || (named && p->implied)) return;
    if (out->n && out->at[out->n - 1] != '_') buf_puts(out, ".");
    buf_puts(out, STR(s, p->ckpt));
}

/* A name of its own (`as`) joins those that are written above it; one without
 * has its whole path. */
static Str full_name(Sema *s, const Site *site, Str last, bool named)
{
    Buf out = {0};
    join(s, site, named, &out);
    if (out.n && out.at[out.n - 1] != '_') buf_puts(&out, ".");
    buf_puts(&out, STR(s, last));
    Str name = module_str(s->m, out.at);
    buf_release(&out);
    return name;
}

/* The next brace of a name, behind *p, which is left behind it. */
static bool next_brace(Sema *s, const char **p, CkptBrace *out)
{
    *p = strchr(*p, '{');
    if (*p) *p = brace_read(s->m, *p, out);
    return *p != NULL;
}

static bool in_braces(Sema *s, Str name, Axis a)
{
    CkptBrace b;
    for (const char *p = STR(s, name); next_brace(s, &p, &b);)
        if (brace_has(&b, a)) return true;
    return false;
}

/* ----------------------------------------------------------- dimensions -- */

typedef struct Dims {
    VEC(CkptDim) at;
} Dims;

static CkptDim dim_of(Sema *s, const Mem *mem, const AxisList *l)
{
    Axis *axes = NEW_ARRAY(s->a, Axis, l->n + 1);
    CkptDim d = {.naxes = l->n, .axes = axes, .total = 1};
    for (uint32_t i = 0; i < l->n; i++) {
        axes[i] = l->at[i];
        int64_t size = type_size(s->m, mem->type, l->at[i]);
        d.total = times(d.total, size ? size : 1);
    }
    return d;
}

/* The part of parameter `k` in a dimension that is a sum of parts. */
static bool sum_dim(Sema *s, Mem **mems, uint32_t n, uint32_t k,
                    const Node *dim, Dims *out)
{
    CkptDim mine = {0};
    int64_t total = 0;
    if (dim->terms.n != n) {
        sema_error(s, DIAG_layout, dim->span,
                   "the sum has %u parts for %u parameters", dim->terms.n, n);
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        AxisList l = {.n = 0};
        if (!axes_of_term(s, dim->terms.at[i], &l)) return false;
        CkptDim d = dim_of(s, mems[i], &l);
        d.offset = total;
        total += d.total;
        if (i == k) mine = d;
    }
    mine.total = total;
    vec_push(s->a, &out->at, mine);
    return true;
}

static bool written_dims(Sema *s, Mem **mems, uint32_t n, uint32_t k,
                         const FileLayout *l, Dims *out)
{
    for (uint32_t i = 0; i < l->dims.n; i++) {
        const Node *dim = l->dims.at[i];
        if (dim->kind == N_sum) {
            if (!sum_dim(s, mems, n, k, dim, out)) return false;
            continue;
        }
        AxisList axes = {.n = 0};
        if (!axes_of_term(s, dim, &axes)) return false;
        CkptDim d = dim_of(s, mems[k], &axes);
        vec_push(s->a, &out->at, d);
    }
    return true;
}

static void own_dims(Sema *s, const Mem *mem, Str name, Dims *out)
{
    for (uint32_t i = 0; i < mem->naxes; i++) {
        AxisList l = {.at = {mem->axes[i]}, .n = 1};
        if (in_braces(s, name, mem->axes[i])) continue;
        CkptDim d = dim_of(s, mem, &l);
        vec_push(s->a, &out->at, d);
    }
}

static uint32_t count_axis(const Dims *d, Axis a)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < d->at.n; i++)
        for (uint32_t k = 0; k < d->at.at[i].naxes; k++)
            n += d->at.at[i].axes[k].id == a.id;
    return n;
}

/* Stacked axes that neither a brace nor the layout names come first. */
static void stacked_dims(Sema *s, const Mem *mem, Str name, Dims *d)
{
    const TypeAxis *axes;
    uint32_t n = site_axes(s, mem->site, &axes);
    Dims all = {0};
    for (uint32_t i = 0; i < n; i++) {
        AxisList l = {.at = {axes[i].axis}, .n = 1};
        if (in_braces(s, name, axes[i].axis) || count_axis(d, axes[i].axis))
            continue;
        CkptDim dim = dim_of(s, mem, &l);
        vec_push(s->a, &all.at, dim);
    }
    for (uint32_t i = 0; i < d->at.n; i++)
        vec_push(s->a, &all.at, d->at.at[i]);
    *d = all;
}

/* What a layout has to name, once each. */
static void note_axes(Sema *s, Report *r, const Mem *mem)
{
    const TypeInfo *t = type_info(s->m, mem->type);
    Buf b = {0};
    for (uint32_t i = 0; i < t->naxes; i++)
        buf_printf(&b, "%s%s", i ? ", " : "", axis_name(s->m, t->axes[i].axis));
    report_note(r, mem->at, "'%s' has the axes %s", STR(s, mem->name),
                b.at ? b.at : "");
    buf_release(&b);
}

static bool each_once(Sema *s, const Mem *mem, Str name, const Dims *d, Span at)
{
    const TypeInfo *t = type_info(s->m, mem->type);
    for (uint32_t i = 0; i < t->naxes; i++) {
        Axis a = t->axes[i].axis;
        uint32_t n = count_axis(d, a) + in_braces(s, name, a);
        if (n == 1) continue;
        Report *r = sema_error(s, DIAG_layout, at,
                               n ? "the layout of '%s' names axis '%s' twice"
                                 : "the layout of '%s' leaves out axis '%s'",
                               STR(s, mem->name), axis_name(s->m, a));
        note_axes(s, r, mem);
        return false;
    }
    for (uint32_t i = 0; i < d->at.n; i++)
        for (uint32_t k = 0; k < d->at.at[i].naxes; k++) {
            Axis a = d->at.at[i].axes[k];
            if (type_axis(s->m, mem->type, a)) continue;
            Report *r = sema_error(s, DIAG_layout, at,
                                   "the layout names '%s', '%s' has no such "
                                   "axis",
                                   axis_name(s->m, a), STR(s, mem->name));
            note_axes(s, r, mem);
            return false;
        }
    return true;
}

static bool site_has_ckpt(const Site *p)
{
    for (; p; p = p->up)
        if (p->no_ckpt) return false;
    return true;
}

static bool has_sum(const FileLayout *l)
{
    for (uint32_t i = 0; i < l->dims.n; i++)
        if (l->dims.at[i]->kind == N_sum) return true;
    return false;
}

static bool share_tensor(const Ckpt *a, const Ckpt *b)
{
    for (uint32_t i = 0; i < a->ndims && i < b->ndims; i++)
        if (a->dims[i].offset != b->dims[i].offset) return true;
    return false;
}

/* Only the parts of one statement have one tensor. */
static bool name_is_free(Sema *s, const Ckpt *c, const Mem *mem,
                         const FileLayout *l)
{
    for (uint32_t i = 0; i < s->m->slots.n; i++) {
        const Slot *other = &s->m->slots.at[i];
        if (!other->has_ckpt || !str_eq(other->ckpt.name, c->name)) continue;
        if (share_tensor(&other->ckpt, c)) continue;
        Report *r =
            sema_error(s, DIAG_layout, l->present ? l->span : mem->at,
                       "'%s' and '%s' are both \"%s\" in a checkpoint",
                       STR(s, other->path), STR(s, mem->path), STR(s, c->name));
        report_help(r, "tell the instances apart: use ... as \"name\"");
        return false;
    }
    return true;
}

/* ---------------------------------------------------------------- scales -- */

/* The same axes, each times the same. */
static bool same_terms(const CkptBrace *a, const CkptBrace *b)
{
    for (uint32_t i = 0; i < a->n && i < b->n; i++)
        if (a->axes[i].id != b->axes[i].id || a->times[i] != b->times[i])
            return false;
    return a->n == b->n;
}

static bool same_braces(Sema *s, Str a, Str b)
{
    CkptBrace x, y;
    const char *p = STR(s, a), *q = STR(s, b);
    bool one = next_brace(s, &p, &x), other = next_brace(s, &q, &y);
    while (one && other && same_terms(&x, &y)) {
        one = next_brace(s, &p, &x);
        other = next_brace(s, &q, &y);
    }
    return !one && !other;
}

static bool same_axes(const CkptDim *d, const AxisList *l)
{
    for (uint32_t i = 0; i < d->naxes; i++)
        if (i >= l->n || d->axes[i].id != l->at[i].id) return false;
    return d->naxes == l->n;
}

/* `dim` stands for a dimension of the tensor, behind the first `from`. */
static bool scale_dim(Sema *s, const Node *dim, uint32_t k, Dims *d,
                      uint32_t *from)
{
    AxisList l = {.n = 0};
    bool blocks = dim->kind == N_blocks;
    const Node *term = blocks ? dim->blocks.term : dim;
    if (term->kind == N_sum && k < term->terms.n) term = term->terms.at[k];
    if (!axes_of_term(s, term, &l)) return false;
    for (; *from < d->at.n; ++*from) {
        CkptDim *of = &d->at.at[*from];
        if (!same_axes(of, &l)) continue;
        of->block = blocks ? dim->blocks.size : 1;
        ++*from;
        return true;
    }
    Report *r = sema_error(s, DIAG_layout, dim->span,
                           "the scale has a dimension that its tensor has not, "
                           "or has it earlier");
    report_help(r, "name dimensions of the tensor in its order, each as it is "
                   "or divided by the length of a block");
    return false;
}

/* What the values of parameter `k` are multiplied by.  Dimensions that stand in
 * no layout (`outer` of them, first) have a scale for each index. */
static bool lay_out_scale(Sema *s, const FileLayout *l, const Mem *mem,
                          uint32_t k, uint32_t outer, Dims *d, Ckpt *out)
{
    if (!l->times_name) return true;
    out->scale = full_name(s, mem->site, component(s, l->times_name), true);
    if (!same_braces(s, out->name, out->scale)) {
        sema_error(s, DIAG_layout, l->times_name->span,
                   "\"%s\" has not the braces of \"%s\"", STR(s, out->scale),
                   STR(s, out->name));
        return false;
    }
    for (uint32_t i = 0; i < outer; i++)
        d->at.at[i].block = 1;
    for (uint32_t i = 0; i < l->times_dims.n; i++)
        if (!scale_dim(s, l->times_dims.at[i], k, d, &outer)) return false;
    return true;
}

static bool lay_out(Sema *s, Mem **mems, uint32_t n, uint32_t k,
                    const FileLayout *l)
{
    Mem *mem = mems[k];
    Dims d = {0};
    Str last = l->present ? layout_component(s, l) : mem->name;
    Str name = full_name(s, mem->site, last, l->present);
    if (l->has_dims) {
        if (!written_dims(s, mems, n, k, l, &d)) return false;
    } else {
        own_dims(s, mem, name, &d);
    }
    uint32_t written = d.at.n;
    stacked_dims(s, mem, name, &d);
    if (!each_once(s, mem, name, &d, l->present ? l->span : mem->at))
        return false;
    Ckpt ckpt = {.name = name, .ndims = d.at.n, .dims = d.at.at};
    if (!lay_out_scale(s, l, mem, k, d.at.n - written, &d, &ckpt)) return false;
    Slot *slot = &s->m->slots.at[mem->slot];
    if (!name_is_free(s, &ckpt, mem, l)) return false;
    slot->has_ckpt = true;
    slot->ckpt = ckpt;
    return true;
}

/* -------------------------------------------------------------- products -- */

static bool names_axis(Sema *s, const Node *dim, Axis a)
{
    AxisList l = {.n = 0};
    if (dim->kind == N_sum || dim->kind == N_product) {
        for (uint32_t i = 0; i < dim->terms.n; i++)
            if (names_axis(s, dim->terms.at[i], a)) return true;
        return false;
    }
    if (dim->kind != N_name || !is_axis_name(s, dim->name)) return false;
    if (!axes_of_term(s, dim, &l)) return false;
    for (uint32_t i = 0; i < l.n; i++)
        if (l.at[i].id == a.id) return true;
    return false;
}

static bool layout_names(Sema *s, const FileLayout *l, Axis a)
{
    for (uint32_t i = 0; i < l->dims.n; i++)
        if (names_axis(s, l->dims.at[i], a)) return true;
    return false;
}

/* The factors of an axis that is declared as a product. */
static bool factors_of(Sema *s, Axis a, AxisList *out)
{
    if (a.id >= s->owners.n || !s->owners.at[a.id].unit) return false;
    AxisOwner o = s->owners.at[a.id];
    const Node *size = o.unit->axes.at[o.index].size;
    if (!size || size->kind != N_product) return false;
    Scope *scope = s->scope;
    s->scope = o.unit->scope;
    bool ok = axes_of_term(s, size, out);
    s->scope = scope;
    return ok;
}

static bool push_part(Sema *s, TypeLayout *t, Axis a, int64_t size, Span at)
{
    if (t->list.n == 16) {
        sema_error(s, DIAG_too_many, at, "more than 16 axes in one parameter");
        return false;
    }
    if (!size && !axis_size_needed(s, a, at, &size)) return false;
    t->axes[t->list.n] = (TypeAxis){.axis = a, .size = size};
    t->list.at[t->list.n++] = a;
    return true;
}

/* Counts of [over; from -> to] grow with the factors of their axes. */
static uint32_t *side_of(TypeLayout *t, const TypeLayout *old, uint32_t i)
{
    if (i < old->over) return &t->over;
    return i < old->over + old->from ? &t->from : &t->to;
}

bool layout_unfold(Sema *s, const FileLayout *l, TypeLayout *t, Unfold *out)
{
    TypeLayout old = *t;
    out->n = 0;
    t->list.n = t->over = t->from = t->to = 0;
    for (uint32_t i = 0; i < old.list.n; i++) {
        AxisList parts = {.n = 0};
        Axis a = old.list.at[i];
        bool unfold = l->has_dims && !layout_names(s, l, a) &&
                      factors_of(s, a, &parts) &&
                      layout_names(s, l, parts.at[0]);
        uint32_t *side = side_of(t, &old, i);
        if (!unfold) {
            if (!push_part(s, t, a, old.axes[i].size, l->span)) return false;
            ++*side;
            continue;
        }
        for (uint32_t k = 0; k < parts.n; k++)
            if (!push_part(s, t, parts.at[k], 0, l->span)) return false;
        *side += parts.n;
        out->whole[out->n] = a;
        out->parts[out->n++] = parts;
    }
    t->type = type_tensor(s->m, t->dtype, t->axes, t->list.n);
    return true;
}

bool mem_layout(Sema *s, Mem **mems, uint32_t n, const FileLayout *l)
{
    if (l->none || !site_has_ckpt(mems[0]->site)) return true;
    if (n > 1 && l->present && !has_sum(l)) {
        Report *r = sema_error(s, DIAG_layout, l->span,
                               "one tensor for %u parameters", n);
        report_help(r, "write a sum of their parts in the layout, or one param "
                       "statement for each");
        return false;
    }
    for (uint32_t k = 0; k < n; k++)
        if (!lay_out(s, mems, n, k, l)) return false;
    return true;
}
