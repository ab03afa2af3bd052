/*
 * config.c: config blocks, -D, and what is in force.
 *
 * The blocks that a config builds on are run first, each line in order, as
 * expressions over the values that are already set.  A value given by -D
 * stands wherever the name is set, so what is computed from it follows.
 */
#include "sema.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const Node *block_find(const Unit *u, Str name)
{
    for (uint32_t k = 0; k < u->files.n; k++) {
        Nodes d = u->files.at[k]->decls;
        for (uint32_t i = 0; i < d.n; i++)
            if (d.at[i]->kind == N_config &&
                str_eq(d.at[i]->config.name.text, name))
                return d.at[i];
    }
    return NULL;
}

static bool is_base(const Unit *u, Str name)
{
    for (uint32_t k = 0; k < u->files.n; k++) {
        Nodes d = u->files.at[k]->decls;
        for (uint32_t i = 0; i < d.n; i++)
            if (d.at[i]->kind == N_config &&
                str_eq(d.at[i]->config.base.text, name))
                return true;
    }
    return false;
}

/* The first on which no other builds. */
static const Node *default_block(const Unit *u)
{
    for (uint32_t k = 0; k < u->files.n; k++) {
        Nodes d = u->files.at[k]->decls;
        for (uint32_t i = 0; i < d.n; i++)
            if (d.at[i]->kind == N_config &&
                !is_base(u, d.at[i]->config.name.text))
                return d.at[i];
    }
    return NULL;
}

static uint32_t block_names(Sema *s, const Unit *u, const char **out,
                            uint32_t most)
{
    uint32_t n = 0;
    for (uint32_t k = 0; k < u->files.n; k++) {
        Nodes d = u->files.at[k]->decls;
        for (uint32_t i = 0; i < d.n && n < most; i++)
            if (d.at[i]->kind == N_config)
                out[n++] = STR(s, d.at[i]->config.name.text);
    }
    return n;
}

/* ------------------------------------------------------------- looking -- */

static ConfigValue *find_in(Unit *u, Str name)
{
    for (uint32_t i = 0; i < u->config.n; i++)
        if (str_eq(u->config.at[i].name, name)) return &u->config.at[i];
    return NULL;
}

/* What an entry sets, then the file's, then the program's. */
ConfigValue *config_find(Sema *s, Unit *u, Str name)
{
    for (uint32_t i = s->with.n; i-- > 0;)
        if (str_eq(s->with.at[i].name, name)) return &s->with.at[i];
    ConfigValue *v = u ? find_in(u, name) : NULL;
    return v || u == s->main ? v : find_in(s->main, name);
}

ConfigValue *config_own(Sema *s, Str name)
{
    Unit *u = s->scope->unit;
    return u == s->main || find_in(u, name) ? config_find(s, u, name) : NULL;
}

ConfigValue *config_here(Sema *s, Str name)
{
    const Scope *sc = scope_base(s->scope);
    while (sc->unit->library && sc->caller) {
        ConfigValue *v = find_in(sc->unit, name);
        if (v) return v;
        sc = scope_base((Scope *)(uintptr_t)sc->caller);
    }
    return config_find(s, sc->unit, name);
}

/* ---------------------------------------------------------------- -D -- */

static const Define *define_of(Sema *s, Str name)
{
    const FrontendOpts *o = &s->f->opts;
    const Define *found = NULL;
    for (uint32_t i = 0; i < o->ndefines; i++)
        if (strcmp(o->defines[i].name, STR(s, name)) == 0)
            found = &o->defines[i];
    return found;
}

/* INSTEAD: of what a config has; where that is text, so is this. */
static bool define_value(Sema *s, const Define *d, const Node *instead,
                         Val *out)
{
    char *end;
    if (instead->kind == N_string) {
        *out = (Val){.kind = VAL_string};
        out->string = module_str(s->m, d->value);
        return true;
    }
    double x = strtod(d->value, &end);
    Span none = {0};
    if (*d->value && !*end) {
        bool whole = strspn(d->value, "+-0123456789") == strlen(d->value);
        *out = whole ? val_whole(whole_of(x)) : val_number(x);
        return true;
    }
    Str word = module_str(s->m, d->value);
    if (strcmp(d->value, "true") == 0 || strcmp(d->value, "false") == 0) {
        *out = val_bool(d->value[0] == 't');
        return true;
    }
    if (unit_find(s, s->main, word).node || builtin_find(d->value)) {
        *out = eval_name(s, word, none);
        return true;
    }
    sema_error(s, DIAG_define_value, none,
               "-D %s=%s: '%s' is no number, no word true or false, and no "
               "function of the program",
               d->name, d->value, d->value);
    return false;
}

static bool check_defines(Sema *s)
{
    const FrontendOpts *o = &s->f->opts;
    bool ok = true;
    const char *names[512];
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->main->config.n && n < 512; i++)
        names[n++] = STR(s, s->main->config.at[i].name);
    for (uint32_t i = 0; i < o->ndefines; i++) {
        Str name = module_str(s->m, o->defines[i].name);
        if (find_in(s->main, name)) continue;
        Report *r = sema_error(s, DIAG_define_unknown, (Span){0},
                               "-D %s: the program has no config value '%s'",
                               o->defines[i].name, o->defines[i].name);
        const char *near = nearest(o->defines[i].name, names, n);
        if (near) report_help(r, "did you mean '%s'?", near);
        report_help(r, "config values: %s", joined(s, names, n));
        ok = false;
    }
    return ok;
}

/* ------------------------------------------------------------- running -- */

/* nan and inf reach every parameter sooner or later, and nothing says from
 * where. */
static void check_finite(Sema *s, const ConfigValue *c, const Val *v, Span at)
{
    for (uint32_t i = 0; v->kind == VAL_tuple && i < v->tuple.n; i++)
        check_finite(s, c, &v->tuple.at[i], at);
    if (v->kind != VAL_number || isfinite(v->number)) return;
    sema_error(s, DIAG_config_value, at,
               "%s%s is %s, a config value is a finite number",
               c->overridden ? "-D " : "", STR(s, c->name),
               number_str(s, v->number));
}

static void set_value(Sema *s, Unit *u, const Node *block, const Setting *it)
{
    ConfigValue c = {.name = it->name.text,
                     .at = it->name.span,
                     .config = block->config.name.text,
                     .key = it->key};
    const Define *d = u == s->main ? define_of(s, c.name) : NULL;
    if (d) {
        c.overridden = true;
        if (!define_value(s, d, it->value, &c.value)) return;
    } else {
        c.value = eval_node(s, it->value);
    }
    if (val_failed(&c.value)) return;
    check_finite(s, &c, &c.value, d ? (Span){0} : it->value->span);
    ConfigValue *old = find_in(u, c.name);
    if (old && !c.key.text.id) c.key = old->key;
    if (old)
        *old = c;
    else
        vec_push(s->a, &u->config, c);
}

static bool run_block(Sema *s, Unit *u, const Node *block, uint32_t depth)
{
    Name base = block->config.base;
    if (base.text.id) {
        const Node *b = block_find(u, base.text);
        if (!b || depth > 64) {
            const char *names[64];
            uint32_t n = block_names(s, u, names, 64);
            const char *near = nearest(STR(s, base.text), names, n);
            Report *r = sema_error(s, DIAG_no_such_config, base.span,
                                   b ? "config '%s' builds on itself"
                                     : "there is no config '%s' to build on",
                                   STR(s, base.text));
            if (!b && near) report_help(r, "did you mean '%s'?", near);
            return false;
        }
        if (!run_block(s, u, b, depth + 1)) return false;
    }
    for (uint32_t i = 0; i < block->config.items.n; i++)
        set_value(s, u, block, &block->config.items.at[i]);
    return true;
}

bool unit_configure(Sema *s, Unit *u, Str config, Span at)
{
    const Node *block = config.id ? block_find(u, config) : default_block(u);
    uint32_t errors = s->m->diag->nerrors;
    if (config.id && !block) {
        const char *names[64];
        uint32_t n = block_names(s, u, names, 64);
        Report *r = sema_error(s, DIAG_no_such_config, at,
                               "there is no config '%s'", STR(s, config));
        const char *near = nearest(STR(s, config), names, n);
        if (near) report_help(r, "did you mean '%s'?", near);
        report_help(r, "configs: %s", joined(s, names, n));
        return false;
    }
    Scope *scope = s->scope;
    s->scope = u->scope;
    if (block) {
        u->config_name = block->config.name.text;
        run_block(s, u, block, 0);
    }
    s->scope = scope;
    if (u == s->main && s->m->diag->nerrors == errors) check_defines(s);
    return s->m->diag->nerrors == errors;
}

/* -------------------------------------------------------- config.json -- */

/* rope_theta, rope_scaling.factor */
static bool is_key(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                    "0123456789_.",
                    text[i]))
            return false;
    return n > 0;
}

static const char *callee_name(Sema *s, const Val *v)
{
    return v->callee.builtin ? v->callee.builtin->name
                             : STR(s, v->callee.decl->decl.name.text);
}

/* A number, a text or the name of a function; NULL: nothing of these. */
static const char *value_words(Sema *s, const Val *v)
{
    if (val_is_number(v)) return number_str(s, v->number);
    if (v->kind == VAL_string) return STR(s, v->string);
    return v->kind == VAL_callee ? callee_name(s, v) : NULL;
}

static bool option_keys(Sema *s, const ConfigValue *c)
{
    const char *text = c->key.text.id ? STR(s, c->key.text) : "";
    while (*text) {
        size_t n = strcspn(text, " ");
        if (!is_key(text, n)) {
            sema_error(s, DIAG_config_value, c->key.span,
                       "a name in config.json is of letters, digits, '_' and "
                       "dots, as in \"rope_scaling.factor\"");
            return false;
        }
        const char *value = value_words(s, &c->value);
        if (value)
            option_set(s->m,
                       arena_printf(s->a, "config.%s.%.*s", STR(s, c->name),
                                    (int)n, text),
                       value);
        text += n + strspn(text + n, " ");
    }
    return true;
}

bool config_keys(Sema *s)
{
    bool ok = true;
    for (uint32_t i = 0; i < s->main->config.n; i++)
        ok &= option_keys(s, &s->main->config.at[i]);
    return ok;
}

/* ------------------------------------------------------------ printing -- */

static void print_value(Sema *s, const Val *v, Buf *out)
{
    if (v->kind == VAL_tuple) {
        buf_puts(out, "(");
        for (uint32_t i = 0; i < v->tuple.n; i++) {
            buf_puts(out, i ? ", " : "");
            print_value(s, &v->tuple.at[i], out);
        }
        buf_puts(out, ")");
    } else if (v->kind == VAL_callee) {
        buf_puts(out, callee_name(s, v));
    } else if (v->kind == VAL_string) {
        buf_printf(out, "\"%s\"", STR(s, v->string));
    } else if (v->dtype == DT_bool) {
        buf_puts(out, v->number != 0 ? "true" : "false");
    } else {
        buf_puts(out, number_str(s, v->number));
    }
}

static void print_origin(Sema *s, const ConfigValue *c, Buf *out)
{
    if (c->overridden) {
        buf_puts(out, "-D");
        return;
    }
    Place p = diag_place(s->m->diag, c->at);
    buf_printf(out, "%s:%u, config %s", p.path, p.line, STR(s, c->config));
}

bool frontend_print_config(Frontend *f, Buf *out)
{
    Sema *s = sema_begin(f);
    if (!s) return false;
    if (s->main->config_name.id)
        buf_printf(out, "config %s\n", STR(s, s->main->config_name));
    for (uint32_t i = 0; i < s->main->config.n; i++) {
        const ConfigValue *c = &s->main->config.at[i];
        size_t start = out->n;
        buf_printf(out, "%s = ", STR(s, c->name));
        print_value(s, &c->value, out);
        while (out->n < start + 32)
            buf_putc(out, ' ');
        buf_puts(out, " // ");
        print_origin(s, c, out);
        buf_puts(out, "\n");
    }
    return true;
}
