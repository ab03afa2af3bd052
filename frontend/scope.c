/*
 * scope.c: names.
 *
 * A name in an expression means what it means where it is written.  It is
 * looked for in the scopes of the activation, then among the config values of
 * the file, the values of the language, the declarations of the file, of its
 * imports, nearest first, and of the prelude, and the builtins; last among the
 * config values of the program, which an imported file may leave to it.  So no
 * name of a program changes what a library does that has one of its own.  The
 * inputs on the command line are one unit; every imported file is another.
 */
#include "library.h"
#include "sema.h"

#include <stdlib.h>

Loc loc_at(Sema *s, const Node *n)
{
    return loc_of(s->m, n->head);
}

/* What is wrong inside the library is so because of a call from outside. */
static void note_call(Sema *s, Report *r, Span wrong)
{
    if (!s->scope || !s->scope->unit || !s->scope->unit->library) return;
    const Scope *sc = s->scope;
    Span at = {0};
    while (sc && sc->unit->library) {
        while (sc->up && !sc->caller)
            sc = sc->up;
        at = sc->call_at;
        sc = sc->caller;
    }
    if (sc && at.file != wrong.file) report_note(r, at, "called here");
}

Report *sema_error(Sema *s, DiagId id, Span at, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    Buf text = {0};
    buf_vprintf(&text, fmt, args);
    va_end(args);
    Report *r = diag_error(s->m->diag, id, at, "%s", text.at ? text.at : "");
    buf_release(&text);
    note_call(s, r, at);
    return r;
}

/* ------------------------------------------------------------- scopes -- */

Scope *scope_push(Sema *s, Unit *u, Scope *up)
{
    Scope *sc = NEW(s->a, Scope);
    sc->up = up;
    sc->unit = u;
    if (up) {
        sc->site = up->site;
        sc->decl = up->decl;
        sc->index = up->index;
        sc->has_rest = up->has_rest;
        sc->rest = up->rest;
        sc->nrest = up->nrest;
    }
    return sc;
}

Scope *scope_base(Scope *sc)
{
    while (sc->up)
        sc = sc->up;
    return sc;
}

bool scope_in_rest(const Scope *sc, Axis a)
{
    return type_axes_have(sc->rest, sc->nrest, a);
}

Binding *scope_find(Scope *sc, Str name)
{
    for (; sc; sc = sc->up)
        for (uint32_t i = sc->vars.n; i-- > 0;)
            if (str_eq(sc->vars.at[i].name, name)) return &sc->vars.at[i];
    return NULL;
}

void scope_bind(Sema *s, Scope *sc, Str name, Val v)
{
    for (uint32_t i = 0; i < sc->vars.n; i++)
        if (str_eq(sc->vars.at[i].name, name)) {
            sc->vars.at[i].value = v;
            return;
        }
    Binding b = {name, v};
    vec_push(s->a, &sc->vars, b);
}

bool binds_states(const Binding *b)
{
    return b->value.kind == VAL_bundle && b->value.tuple.n > 0 &&
           b->value.tuple.at[0].kind == VAL_state;
}

/* -------------------------------------------------------------- units -- */

static bool declares(const Node *n, Str name)
{
    switch ((NodeKind)n->kind) {
    case N_fn:
    case N_module:
    case N_model:
    case N_optimizer:
        return str_eq(n->decl.name.text, name);
    default:
        return false;
    }
}

static const Node *find_own(const Unit *u, Str name)
{
    for (uint32_t f = 0; f < u->files.n; f++) {
        Nodes decls = u->files.at[f]->decls;
        for (uint32_t i = 0; i < decls.n; i++)
            if (declares(decls.at[i], name)) return decls.at[i];
    }
    return NULL;
}

/* The imports of units FROM to TO of the list, behind them. */
static uint32_t list_imports(Sema *s, Unit **list, uint32_t from, uint32_t to)
{
    uint32_t n = to;
    for (; from < to; from++)
        for (uint32_t i = 0; i < list[from]->imports.n; i++) {
            Unit *u = list[from]->imports.at[i];
            if (u->mark == s->search || u == s->prelude) continue;
            u->mark = s->search;
            list[n++] = u;
        }
    return n;
}

Found unit_find(Sema *s, Unit *u, Str name)
{
    Found d = {0};
    Unit **list = NEW_ARRAY(s->a, Unit *, s->units.n + 1);
    uint32_t from = 0, n = 1;
    list[0] = u;
    u->mark = ++s->search;
    while (from < n && !d.node) {
        uint32_t to = n;
        n = list_imports(s, list, from, to);
        for (; from < to; from++) {
            const Node *own = find_own(list[from], name);
            if (own && d.node) d.other = own;
            if (!own || d.node) continue;
            d.node = own;
            d.unit = list[from];
        }
    }
    if (d.node || !s->prelude) return d;
    d.node = find_own(s->prelude, name);
    d.unit = d.node ? s->prelude : NULL;
    return d;
}

/* "nn" and "std.nn" both name what `import std.nn` reads. */
static bool is_named(const char *import, const char *path, size_t len)
{
    size_t n = strlen(import);
    return n >= len && memcmp(import + n - len, path, len) == 0 &&
           (n == len || import[n - len - 1] == '.');
}

static void find_in_file(Sema *s, const File *f, Str name, Found *d)
{
    Unit *u = unit_of_file(s, f);
    const Node *own = u ? find_own(u, name) : NULL;
    if (!own || own == d->node) return;
    if (d->node) {
        d->other = own;
        return;
    }
    d->node = own;
    d->unit = u;
}

Found unit_find_in(Sema *s, Unit *u, const char *path, size_t len, Str name)
{
    Found d = {0};
    for (uint32_t k = 0; k < u->files.n; k++) {
        const File *f = u->files.at[k];
        for (uint32_t i = 0; i < f->nimports; i++) {
            const char *import = STR(s, f->imports[i].path.text);
            if (!f->imports[i].file || !is_named(import, path, len)) continue;
            d.file = import;
            find_in_file(s, f->imports[i].file, name, &d);
        }
    }
    return d;
}

const char *unit_imports(Sema *s, const Unit *u)
{
    VEC(const char *) paths = {0};
    for (uint32_t k = 0; k < u->files.n; k++)
        for (uint32_t i = 0; i < u->files.at[k]->nimports; i++) {
            const Import *im = &u->files.at[k]->imports[i];
            vec_push(s->a, &paths, STR(s, im->path.text));
        }
    return joined(s, paths.at, paths.n);
}

AxisDecl *unit_axis(Sema *s, Unit *u, Str name)
{
    (void)s;
    for (uint32_t i = 0; i < u->axes.n; i++)
        if (str_eq(u->axes.at[i].name, name)) return &u->axes.at[i];
    return NULL;
}

Unit *unit_of_file(Sema *s, const File *f)
{
    for (uint32_t i = 0; i < s->units.n; i++)
        for (uint32_t k = 0; k < s->units.at[i]->files.n; k++)
            if (s->units.at[i]->files.at[k] == f) return s->units.at[i];
    return NULL;
}

static void declare_axes(Sema *s, Unit *u, const Node *n)
{
    for (uint32_t i = 0; i < n->axis.n; i++) {
        const Setting *a = &n->axis.at[i];
        AxisDecl *old = unit_axis(s, u, a->name.text);
        if (old) {
            Report *r =
                sema_error(s, DIAG_name_twice, a->name.span,
                           "axis '%s' is declared twice", STR(s, a->name.text));
            report_note(r, old->at, "first here");
            continue;
        }
        AxisDecl d = {
            .name = a->name.text, .at = a->name.span, .size = a->value};
        vec_push(s->a, &u->axes, d);
    }
}

static bool can_be_called(const Node *n)
{
    return n->kind == N_fn || n->kind == N_module || n->kind == N_model ||
           n->kind == N_optimizer;
}

/* The declarations of the unit's last file. */
static void check_names(Sema *s, const Unit *u)
{
    const File *f = vec_last(&u->files);
    for (uint32_t i = 0; i < f->decls.n; i++) {
        const Node *n = f->decls.at[i];
        if (!can_be_called(n)) continue;
        Name name = n->decl.name;
        const Node *first = find_own(u, name.text);
        if (names_value(s, name.text)) {
            Report *r =
                sema_error(s, DIAG_name_twice, name.span,
                           "'%s' is a value of the language, no %s "
                           "can have its name",
                           STR(s, name.text), node_words((NodeKind)n->kind));
            report_help(r, "give it another name");
        } else if (first != n) {
            Report *r = sema_error(s, DIAG_name_twice, name.span,
                                   "'%s' is declared twice", STR(s, name.text));
            report_note(r, first->head, "first here");
        }
    }
}

static void add_file(Sema *s, Unit *u, File *f)
{
    vec_push(s->a, &u->files, f);
    for (uint32_t i = 0; i < f->decls.n; i++)
        if (f->decls.at[i]->kind == N_axis) declare_axes(s, u, f->decls.at[i]);
    check_names(s, u);
}

static Unit *unit_new(Sema *s)
{
    Unit *u = NEW(s->a, Unit);
    u->scope = scope_push(s, u, NULL);
    vec_push(s->a, &s->units, u);
    return u;
}

static Unit *prelude(Sema *s)
{
    const LibraryText *t = library_texts;
    while (t->name && strcmp(t->name, "prelude") != 0)
        t++;
    if (!t->name) return NULL;
    File *f = NEW(s->a, File);
    f->path = "std.prelude";
    f->library = true;
    f->source = diag_add_source(s->m->diag, f->path, t->text, t->size);
    if (!text_parse(s->m, f->source, &f->decls)) return NULL;
    Unit *u = unit_new(s);
    u->library = true;
    add_file(s, u, f);
    return u;
}

static void link_imports(Sema *s, Unit *u, Unit *pre)
{
    for (uint32_t k = 0; k < u->files.n; k++) {
        const File *f = u->files.at[k];
        for (uint32_t i = 0; i < f->nimports; i++) {
            Unit *other = unit_of_file(s, f->imports[i].file);
            if (other && other != u) vec_push(s->a, &u->imports, other);
        }
    }
    if (pre && u != pre) vec_push(s->a, &u->imports, pre);
}

bool sema_units(Sema *s)
{
    uint32_t errors = s->m->diag->nerrors;
    Unit *pre = s->prelude = prelude(s);
    s->main = unit_new(s);
    for (uint32_t i = 0; i < s->f->files.n; i++) {
        File *f = s->f->files.at[i];
        Unit *u = f->input ? s->main : unit_new(s);
        u->library = f->library;
        add_file(s, u, f);
    }
    for (uint32_t i = 0; i < s->units.n; i++)
        link_imports(s, s->units.at[i], pre);
    return s->m->diag->nerrors == errors;
}

/* -------------------------------------------------------- suggestions -- */

static uint32_t least3(uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t m = a < b ? a : b;
    return m < c ? m : c;
}

/* Edit distance, of words shorter than 64 bytes. */
static uint32_t distance(const char *a, const char *b)
{
    uint32_t row[65], la = (uint32_t)strlen(a), lb = (uint32_t)strlen(b);
    if (la > 63 || lb > 63) return UINT32_MAX;
    for (uint32_t j = 0; j <= lb; j++)
        row[j] = j;
    for (uint32_t i = 1; i <= la; i++) {
        uint32_t left_up = row[0];
        row[0] = i;
        for (uint32_t j = 1; j <= lb; j++) {
            uint32_t up = row[j];
            uint32_t swap = left_up + (a[i - 1] != b[j - 1]);
            row[j] = least3(up + 1, row[j - 1] + 1, swap);
            left_up = up;
        }
    }
    return row[lb];
}

const char *nearest(const char *word, const char *const *words, uint32_t n)
{
    uint32_t best = ((uint32_t)strlen(word) + 2) / 3;
    const char *found = NULL;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t d = distance(word, words[i]);
        if (d > 0 && d <= best && (!found || d < best)) {
            best = d;
            found = words[i];
        }
    }
    return found;
}

const char *joined(Sema *s, const char *const *words, uint32_t n)
{
    Buf b = {0};
    for (uint32_t i = 0; i < n; i++)
        buf_printf(&b, "%s%s", i ? ", " : "", words[i]);
    const char *out = arena_strdup(s->a, n ? b.at : "none");
    buf_release(&b);
    return out;
}
