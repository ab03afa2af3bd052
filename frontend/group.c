/*
 * group.c: groups of entries, and which entries are made.
 *
 * Entries whose names have a dot, `generate.prompt` and `generate.step`, are a
 * group: a session of calls.  States that training does not keep belong to the
 * session: what one call leaves there the next one of the group finds.  They
 * are slots that are not saved; the group has an entry `generate.init` that
 * begins a session with their initial values.
 *
 * An artifact holds the entries that --entries names.  The train block is
 * elaborated whether it is asked for or not, since it says which states are
 * kept.
 */
#include "sema.h"

/* --------------------------------------------------------- which entries -- */

static bool word_is(const char *word, size_t n, const char *name)
{
    return strncmp(word, name, n) == 0 && (name[n] == 0 || name[n] == '.');
}

/* The next word of a list with commas; 0: none is left. */
static size_t next_word(const char **at)
{
    *at += strspn(*at, ", ");
    return strcspn(*at, ", ");
}

bool entry_wanted(const Sema *s, const char *name, bool trains)
{
    const char *at = s->f->opts.entries;
    if (!at) return !trains || !strchr(name, '.');
    if (strcmp(at, "all") == 0) return true;
    for (size_t n; (n = next_word(&at)) > 0; at += n)
        if (word_is(at, n, name)) return true;
    return false;
}

bool entries_known(Sema *s, const char *const *names, uint32_t n)
{
    const char *at = s->f->opts.entries;
    if (!at || strcmp(at, "all") == 0) return true;
    for (size_t len; (len = next_word(&at)) > 0; at += len) {
        bool known = false;
        for (uint32_t i = 0; i < n; i++)
            known |= word_is(at, len, names[i]);
        if (known) continue;
        const char *word = arena_strndup(s->a, at, len);
        Report *r = sema_error(s, DIAG_no_such_path, (Span){0},
                               "there is no entry '%s'", word);
        const char *near = nearest(word, names, n);
        if (near) report_help(r, "did you mean '%s'?", near);
        report_help(r, "entries: %s", joined(s, names, n));
        return false;
    }
    return true;
}

/* -------------------------------------------------------------- dropping -- */

static bool ports_have(const Port *ports, uint32_t n, Str path)
{
    for (uint32_t i = 0; i < n; i++)
        if (role_is_slot(ports[i].role) && str_eq(ports[i].path, path))
            return true;
    return false;
}

static bool slot_used(const Module *m, const bool *roots, Str path)
{
    for (uint32_t i = 0; i < m->fns.n; i++) {
        const Fn *fn = m->fns.at[i];
        if (roots[i] && (ports_have(fn->params, fn->nparams, path) ||
                         ports_have(fn->results, fn->nresults, path)))
            return true;
    }
    return false;
}

void entry_drop(Sema *s, const char *name)
{
    Module *m = s->m;
    bool *roots = NEW_ARRAY(m->scratch, bool, (size_t)m->fns.n + 1);
    for (uint32_t i = 0; i < m->fns.n; i++)
        roots[i] = m->fns.at[i]->entry &&
                   strcmp(STR(s, m->fns.at[i]->name), name) != 0;
    for (uint32_t i = 0; i < s->mems.n; i++)
        s->mems.at[i]->has_slot &= slot_used(m, roots, s->mems.at[i]->path);
    bool *keep = NEW_ARRAY(m->scratch, bool, (size_t)m->slots.n + 1);
    for (uint32_t i = 0; i < m->slots.n; i++)
        keep[i] = slot_used(m, roots, m->slots.at[i].path);
    slots_keep(m, keep);
    module_sweep(m, roots);
}

/* ---------------------------------------------------------------- groups -- */

static Group *group_of(Sema *s, Str name, Span at)
{
    for (uint32_t i = 0; i < s->groups.n; i++)
        if (str_eq(s->groups.at[i]->name, name)) return s->groups.at[i];
    Group *g = NEW(s->a, Group);
    Str init = str_printf(&s->m->strs, "%s.init", STR(s, name));
    g->name = name;
    g->init = entry_frame(s, STR(s, init), at);
    vec_push(s->a, &s->groups, g);
    return g;
}

bool group_enter(Sema *s, const Node *entry)
{
    const char *name = STR(s, entry->decl.name.text);
    const char *dot = strchr(name, '.');
    s->group = NULL;
    if (!dot) return true;
    if (strcmp(dot, ".init") == 0) {
        sema_error(s, DIAG_name_twice, entry->decl.name.span,
                   "'%s' is the entry that gives the states of the group their "
                   "initial values",
                   name);
        return false;
    }
    Str group =
        module_str(s->m, arena_strndup(s->a, name, (size_t)(dot - name)));
    s->group = group_of(s, group, entry->head);
    return true;
}

Str group_path(Sema *s, Str path)
{
    return str_printf(&s->m->strs, "%s.%s", STR(s, s->group->name),
                      STR(s, path));
}
