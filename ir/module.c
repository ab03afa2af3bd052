/*
 * module.c: a module and its named things: axes, mesh axes, places, slots,
 * options, functions.
 *
 * Entry 0 of types, attributes, expressions and places is "none"; type 1 is
 * the error type.
 */
#include "ir.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void module_init(Module *m, Arena *arena, Arena *scratch, Diag *diag)
{
    *m = (Module){.arena = arena, .scratch = scratch, .diag = diag};
    str_init(&m->strs, arena);
    map_init(&m->type_map, arena);
    map_init(&m->attr_map, arena);
    map_init(&m->expr_map, arena);
    map_init(&m->axis_map, arena);
    map_init(&m->slot_map, arena);
    vec_push(arena, &m->types, (TypeInfo){.is_error = true});
    vec_push(arena, &m->types, (TypeInfo){.is_error = true});
    vec_push(arena, &m->attrs, (AttrInfo){0});
    vec_push(arena, &m->exprs, (ExprInfo){0});
    vec_push(arena, &m->locs, (LocInfo){0});
}

/* --------------------------------------------------------------- axes -- */

Axis axis_of(Module *m, Str name, int64_t size, Loc loc)
{
    Axis a;
    if (axis_find(m, name, &a)) {
        if (!m->axes.at[a.id].size) m->axes.at[a.id].size = size;
        return a;
    }
    AxisInfo info = {name, size, loc};
    vec_push(m->arena, &m->axes, info);
    map_add(&m->axis_map, name.id, m->axes.n - 1);
    return (Axis){m->axes.n - 1};
}

bool axis_find(const Module *m, Str name, Axis *out)
{
    return map_find(&m->axis_map, name.id, &out->id);
}

Axis axis_fresh(Module *m, const char *stem, int64_t size)
{
    Axis used;
    Str name = module_str(m, stem);
    for (uint32_t i = 1; axis_find(m, name, &used); i++)
        name = str_printf(&m->strs, "%s_%u", stem, i);
    return axis_of(m, name, size, (Loc){0});
}

const char *axis_name(const Module *m, Axis a)
{
    return str_of(m, m->axes.at[a.id].name);
}

/* A mesh has a handful of axes: walking is enough. */
MeshAxis mesh_of(Module *m, Str name, int64_t size)
{
    MeshAxis a;
    if (mesh_find(m, name, &a)) return a;
    MeshInfo info = {name, size};
    vec_push(m->arena, &m->mesh, info);
    return (MeshAxis){m->mesh.n - 1};
}

bool mesh_find(const Module *m, Str name, MeshAxis *out)
{
    for (uint32_t i = 0; i < m->mesh.n; i++) {
        if (!str_eq(m->mesh.at[i].name, name)) continue;
        *out = (MeshAxis){i};
        return true;
    }
    return false;
}

const char *mesh_name(const Module *m, MeshAxis a)
{
    return str_of(m, m->mesh.at[a.id].name);
}

/* ------------------------------------------------------------- places -- */

/* Neighbouring instructions often share a place: the last one is looked at,
 * and that is all the sharing there is. */
static Loc loc_push(Module *m, LocInfo info)
{
    const LocInfo *last = &m->locs.at[m->locs.n - 1];
    bool same = m->locs.n > 1 && last->span.file == info.span.file &&
                last->span.first == info.span.first &&
                last->span.last == info.span.last &&
                last->from.id == info.from.id && str_eq(last->pass, info.pass);
    if (!same) vec_push(m->arena, &m->locs, info);
    return (Loc){m->locs.n - 1};
}

Loc loc_of(Module *m, Span span)
{
    if (!span.file) return (Loc){0};
    return loc_push(m, (LocInfo){.span = span});
}

Loc loc_derive(Module *m, Loc from, Str pass)
{
    return loc_push(m, (LocInfo){loc_span(m, from), from, pass});
}

Span loc_span(const Module *m, Loc loc)
{
    return m->locs.at[loc.id].span;
}

/* -------------------------------------------------------------- slots -- */

bool path_ends(const char *path, const char *wanted)
{
    size_t n = strlen(path), k = strlen(wanted);
    if (k > n || strcmp(path + n - k, wanted)) return false;
    return k == n || path[n - k - 1] == '.';
}

Slot *slot_find(const Module *m, Str path)
{
    uint32_t i;
    if (!map_find(&m->slot_map, path.id, &i)) return NULL;
    return &m->slots.at[i];
}

Slot *slot_add(Module *m, Slot slot)
{
    vec_push(m->arena, &m->slots, slot);
    map_set(&m->slot_map, slot.path.id, m->slots.n - 1);
    return &vec_last(&m->slots);
}

void slots_keep(Module *m, const bool *keep)
{
    uint32_t n = 0;
    map_init(&m->slot_map, m->arena);
    for (uint32_t i = 0; i < m->slots.n; i++) {
        if (!keep[i]) continue;
        m->slots.at[n] = m->slots.at[i];
        map_set(&m->slot_map, m->slots.at[n].path.id, n);
        n++;
    }
    m->slots.n = n;
}

/* ------------------------------------------------------------ options -- */

static Option *option_find(const Module *m, const char *name)
{
    for (uint32_t i = 0; i < m->options.n; i++)
        if (!strcmp(str_of(m, m->options.at[i].name), name))
            return &m->options.at[i];
    return NULL;
}

Str option_get(const Module *m, const char *name)
{
    const Option *o = option_find(m, name);
    return o ? o->value : (Str){0};
}

void option_set(Module *m, const char *name, const char *value)
{
    Str text = module_str(m, value);
    Option *o = option_find(m, name);
    if (o) {
        o->value = text;
        return;
    }
    Option made = {module_str(m, name), text};
    vec_push(m->arena, &m->options, made);
}

void rule_place_set(Module *m, const char *text, Span at)
{
    RulePlace made = {module_str(m, text), at};
    vec_push(m->arena, &m->rule_places, made);
}

Span rule_place(const Module *m, const char *text)
{
    for (uint32_t i = m->rule_places.n; i-- > 0;)
        if (strcmp(str_of(m, m->rule_places.at[i].text), text) == 0)
            return m->rule_places.at[i].at;
    return (Span){0};
}

int64_t option_int(const Module *m, const char *name, int64_t otherwise)
{
    const char *text = str_of(m, option_get(m, name));
    char *end;
    errno = 0;
    int64_t i = strtoll(text, &end, 10);
    return *text && !*end && !errno ? i : otherwise;
}

/* ---------------------------------------------------------- functions -- */

Fn *fn_new(Module *m, Str name, View view)
{
    Fn *fn = NEW(m->arena, Fn);
    fn->name = name;
    fn->view = view;
    return fn;
}

FnRef module_add_fn(Module *m, Fn *fn)
{
    vec_push(m->arena, &m->fns, fn);
    return (FnRef){m->fns.n - 1};
}

bool fn_has_op(const Fn *fn, Op op)
{
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++)
        if (fn->insts[i].op == op) return true;
    return false;
}

bool fn_has_attr(const Module *m, const Fn *fn, AttrKey k)
{
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++)
        if (attr_get(m, fn->insts[i].attr, k)) return true;
    return false;
}

Fn *fn_of(const Module *m, FnRef f)
{
    return m->fns.at[f.id];
}

bool fn_find(const Module *m, Str name, FnRef *out)
{
    for (uint32_t i = 0; i < m->fns.n; i++) {
        if (!m->fns.at[i] || !str_eq(m->fns.at[i]->name, name)) continue;
        *out = (FnRef){i};
        return true;
    }
    return false;
}

typedef enum KindClass {
    CLASS_region,
    CLASS_group,
    CLASS_nest,
    CLASS_other
} KindClass;

static const struct {
    const char *word;
    KindClass of;
} kinds[FK_count] = {
    [FK_none] = {"", CLASS_other},
#define KIND(name, class, what) [FK_##name] = {#name, CLASS_##class},
#include "kinds.def"
#undef KIND
};

const char *fn_kind_word(FnKind k)
{
    return kinds[k].word;
}

bool fn_kind_is_region(FnKind k)
{
    return kinds[k].of == CLASS_region;
}

FnKind fn_kind(const Module *m, const Fn *fn)
{
    const char *word = str_of(m, fn->kind);
    size_t n = strcspn(word, ".");
    for (FnKind k = FK_none + 1; k < FK_count; k++)
        if (strlen(kinds[k].word) == n && !memcmp(kinds[k].word, word, n))
            return k;
    return FK_none;
}

bool fn_is(const Module *m, const Fn *fn, FnKind k)
{
    return strcmp(str_of(m, fn->kind), kinds[k].word) == 0;
}

/* What follows STEM and a dot, if that is a number as it is printed below; 0:
 * it is not. */
static uint32_t name_number(const char *name, const char *stem, size_t n)
{
    if (strncmp(name, stem, n) != 0 || name[n] != '.') return 0;
    const char *p = name + n + 1;
    uint32_t number = 0;
    if (*p < '1') return 0;
    for (; *p >= '0' && *p <= '9' && number < UINT32_MAX / 10; p++)
        number = number * 10 + (uint32_t)(*p - '0');
    return *p ? 0 : number;
}

bool module_is_global(const Module *m)
{
    for (uint32_t i = 0; i < m->fns.n; i++)
        if (m->fns.at[i]->view != VIEW_global) return false;
    return true;
}

/* One walk, however many have the stem already: fuse asks for thousands. */
Str fn_fresh_name(Module *m, const char *stem)
{
    FnRef other;
    Str name = module_str(m, stem);
    if (!fn_find(m, name, &other)) return name;
    ArenaMark mark = arena_mark(m->scratch);
    bool *used = NEW_ARRAY(m->scratch, bool, (size_t)m->fns.n + 2);
    size_t length = strlen(stem);
    for (uint32_t i = 0; i < m->fns.n; i++) {
        if (!m->fns.at[i]) continue;
        uint32_t k = name_number(str_of(m, m->fns.at[i]->name), stem, length);
        if (k <= m->fns.n) used[k] = true;
    }
    uint32_t first = 1;
    while (used[first])
        first++;
    arena_pop(m->scratch, mark);
    return str_printf(&m->strs, "%s.%u", stem, first);
}
