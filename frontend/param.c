/*
 * param.c: parameters and states.
 *
 * Both are slots of the module, named by their path in the tree of instances
 * and stacked over the axes of the repeats above them.  The first time one is
 * met its initial value goes into the function `init`; a lazy expression of
 * the index of a repeat becomes an expression along the stacked axis there.
 *
 * A state of an entry other than the train block, which training does not
 * keep, has no slot: it begins anew in each call.  In a group of entries it has
 * one, which is not saved and whose initial value is made by the group's own
 * `init` (group.c).
 */
#include "sema.h"

/* --------------------------------------------------------------- sites -- */

Str site_path(Sema *s, const Site *p, Str last)
{
    Str path = p ? site_path(s, p->up, p->name) : (Str){0};
    if (!path.id) return last;
    if (!last.id) return path;
    return str_printf(&s->m->strs, "%s.%s", STR(s, path), STR(s, last));
}

uint32_t site_axes(Sema *s, const Site *p, const TypeAxis **axes)
{
    uint32_t n = 0, k;
    for (const Site *q = p; q; q = q->up)
        n += q->repeats;
    TypeAxis *out = NEW_ARRAY(s->a, TypeAxis, n + 1);
    k = n;
    for (const Site *q = p; q; q = q->up)
        if (q->repeats) out[--k] = q->axis;
    *axes = out;
    return n;
}

static bool site_frozen(const Site *p)
{
    for (; p; p = p->up)
        if (p->frozen) return true;
    return false;
}

static void add_words(Sema *s, const Site *p, Buf *out)
{
    if (!p) return;
    add_words(s, p->up, out);
    if (!p->repeats && p->name.id) buf_printf(out, "%s.", STR(s, p->name));
}

const char *mem_words(Sema *s, const Mem *mem)
{
    Buf b = {0};
    add_words(s, mem->site, &b);
    buf_puts(&b, STR(s, mem->name));
    const char *out = arena_strdup(s->a, b.at);
    buf_release(&b);
    return out;
}

/* -------------------------------------------------------------- making -- */

Mem *mem_find(Sema *s, Str path)
{
    for (uint32_t i = 0; i < s->mems.n; i++)
        if (str_eq(s->mems.at[i]->path, path)) return s->mems.at[i];
    return NULL;
}

static Type stacked_type(Sema *s, const Site *site, Type own)
{
    const TypeAxis *axes;
    uint32_t n = site_axes(s, site, &axes);
    for (uint32_t i = 0; i < n; i++)
        own = type_with_axis(s->m, own, axes[i]);
    return own;
}

static Value filled(Sema *s, Value v, Type want)
{
    const TypeInfo *t = type_info(s->m, want);
    TypeAxis *more = NEW_ARRAY(s->a, TypeAxis, t->naxes + 1);
    uint32_t k = 0;
    for (uint32_t i = 0; i < t->naxes; i++)
        if (!type_axis(s->m, value_type(s->frame->fn, v), t->axes[i].axis))
            more[k++] = t->axes[i];
    return k ? emit_broadcast(here(s), v, more, k) : v;
}

/* In the present frame. */
Value mem_initial(Sema *s, Mem *mem)
{
    DType d = type_dtype(s->m, mem->type);
    here(s)->loc = loc_of(s->m, mem->at);
    Value v;
    if (mem->init.kind == VAL_draw) {
        v = draw_make(s, &mem->init, mem);
        if (type_dtype(s->m, value_type(s->frame->fn, v)) != d)
            v = emit_cast(here(s), v, d);
    } else {
        v = val_use(s, &mem->init, d);
    }
    return filled(s, v, mem->type);
}

static void add_slot(Sema *s, Mem *mem)
{
    Slot slot = {.path = mem->path,
                 .type = mem->type,
                 .role = mem->role,
                 .frozen = mem->frozen,
                 .saved = !mem->group,
                 .nfrom = mem->from,
                 .nto = mem->to,
                 .loc = loc_of(s->m, mem->at)};
    slot.fan = mem->axes + mem->over;
    if (!mem->from) slot.nto = 0;
    mem->slot = s->m->slots.n;
    slot_add(s->m, slot);
    Frame *frame = s->frame;
    s->frame = mem->group ? mem->group->init : s->init;
    mem->initial = mem->like ? mem->like->initial : mem_initial(s, mem);
    s->frame = frame;
}

Mem *mem_make(Sema *s, Mem made)
{
    Mem *mem = NEW(s->a, Mem);
    *mem = made;
    vec_push(s->a, &s->mems, mem);
    if (mem->has_slot) add_slot(s, mem);
    return mem;
}

/* ------------------------------------------------------- initial values -- */

/* Evaluated with fan_in and fan_out at hand; a function is called. */
static bool initial_value(Sema *s, const Node *init, Mem *mem, Span at)
{
    Mem *making = s->making;
    s->making = mem;
    Val v;
    if (init)
        v = eval_node(s, init);
    else {
        Found d = unit_find(s, s->prelude, module_str(s->m, "default_init"));
        if (!d.node) BUG("the prelude has no default_init");
        v = call_fn(s, at, (Callee){d.node, d.unit, NULL}, NULL, 0);
    }
    if (v.kind == VAL_callee) v = call_fn(s, at, v.callee, NULL, 0);
    s->making = making;
    mem->init = v;
    if (val_failed(&v)) return false;
    if (v.kind == VAL_number || v.kind == VAL_draw || v.kind == VAL_lazy)
        return true;
    sema_error(s, DIAG_initial_value, init ? init->span : at,
               "the initial value of '%s' depends on values of a step",
               STR(s, mem->name));
    return false;
}

static bool lazy_fits(Sema *s, const Mem *mem, Span at)
{
    if (mem->init.kind != VAL_lazy) return true;
    for (uint32_t i = 0; i < mem->init.lazy.naxes; i++) {
        TypeAxis a = mem->init.lazy.axes[i];
        if (type_size(s->m, mem->type, a.axis) == a.size) continue;
        sema_error(s, DIAG_axis_extra, at,
                   "the initial value of '%s' has axis '%s', '%s' has not",
                   STR(s, mem->name), axis_name(s->m, a.axis),
                   STR(s, mem->name));
        return false;
    }
    return true;
}

static Mem mem_of(Sema *s, const Var *v, Role role, const TypeLayout *l)
{
    Mem mem = {.site = s->scope->site, .role = role, .at = v->name.span};
    mem.name = indexed(s, v->name.text);
    mem.path = site_path(s, mem.site, mem.name);
    mem.type = stacked_type(s, mem.site, l->type);
    mem.frozen = site_frozen(mem.site);
    Axis *axes = NEW_ARRAY(s->a, Axis, l->list.n + 1);
    memcpy(axes, l->list.at, l->list.n * sizeof *axes);
    mem.axes = axes;
    mem.naxes = l->list.n;
    mem.over = l->over;
    mem.from = l->from;
    mem.to = l->to;
    return mem;
}

static bool met_again(Sema *s, const Mem *old, const Mem *now)
{
    if (old == s->updates) {
        sema_error(s, DIAG_name_twice, now->at,
                   "'updates' counts the steps that were applied: no other "
                   "parameter or state has that name");
        return false;
    }
    if (type_eq(old->type, now->type) && old->role == now->role) return true;
    Report *r =
        sema_error(s, DIAG_name_twice, now->at, "'%s' is %s here and %s before",
                   STR(s, now->path), type_str(s->m, now->type),
                   type_str(s->m, old->type));
    report_note(r, old->at, "made here");
    return false;
}

static bool declared_above(Sema *s, const Mem *old, const Mem *now)
{
    bool bound = false;
    for (uint32_t i = 0; i < s->scope->vars.n; i++)
        bound |= str_eq(s->scope->vars.at[i].name, now->name);
    if (!bound || old->at.first == now->at.first) return false;
    Report *r = sema_error(s, DIAG_name_twice, now->at,
                           "'%s' is declared twice here", STR(s, now->name));
    report_note(r, old->at, "made here");
    return true;
}

static Mem *declare(Sema *s, const Var *v, Role role, TypeLayout *l,
                    bool *is_new)
{
    Mem mem = mem_of(s, v, role, l);
    Mem *old = mem_find(s, mem.path);
    if (role == ROLE_state && s->group && !(old && old->has_slot)) {
        mem.group = s->group;
        mem.path = group_path(s, mem.path);
        old = mem_find(s, mem.path);
    }
    *is_new = !old;
    if (old && declared_above(s, old, &mem)) return NULL;
    if (old) return met_again(s, old, &mem) ? old : NULL;
    const Node *init = v->init;
    mem.has_slot = role == ROLE_param || s->training || mem.group;
    if (!initial_value(s, init, &mem, v->name.span)) return NULL;
    if (!lazy_fits(s, &mem, v->name.span)) return NULL;
    return mem_make(s, mem);
}

Mem *state_like(Sema *s, const Var *v, Mem *param, bool *is_new)
{
    Mem mem = *param;
    mem.site = s->scope->site;
    mem.role = ROLE_state;
    mem.at = v->name.span;
    mem.name = indexed(s, v->name.text);
    mem.path = site_path(s, mem.site, mem.name);
    Mem *old = mem_find(s, mem.path);
    *is_new = !old;
    if (old) return old;
    mem.has_slot = true;
    if (!initial_value(s, v->init, &mem, v->name.span)) return NULL;
    if (!lazy_fits(s, &mem, v->name.span)) return NULL;
    return mem_make(s, mem);
}

/* ------------------------------------------------------------ statements -- */

static void bind_param(Sema *s, const Var *v, Mem *mem, const Unfold *u)
{
    Mem *read = mem;
    for (uint32_t i = 0; s->params_from && i < s->trained.n; i++)
        if (s->trained.at[i] == mem) read = s->params_from[i];
    Value x = mem_read(s, s->frame, read);
    here(s)->loc = loc_of(s->m, v->name.span);
    for (uint32_t i = 0; i < u->n; i++)
        x = emit_merge(here(s), x, u->parts[i].at, u->parts[i].n, u->whole[i]);
    Val val = val_tensor(s, x);
    val.name = v->name.text;
    scope_bind(s, s->scope, v->name.text, val);
}

bool exec_param(Sema *s, const Node *n)
{
    const Vars *items = &n->param.items;
    Mem **mems = NEW_ARRAY(s->a, Mem *, items->n + 1);
    bool is_new = false;
    for (uint32_t i = 0; i < items->n; i++) {
        TypeLayout l;
        const Var *v = &items->at[i];
        Unfold u;
        if (!type_layout(s, v->type, "param", v->name.text, &l) ||
            !layout_unfold(s, &n->param.layout, &l, &u))
            return false;
        mems[i] = declare(s, v, ROLE_param, &l, &is_new);
        if (!mems[i]) return false;
        bind_param(s, v, mems[i], &u);
    }
    return !is_new || mem_layout(s, mems, items->n, &n->param.layout);
}

static bool untyped_state(Sema *s, const Var *v, Mem **out, bool *is_new)
{
    TypeLayout l = {.dtype = DT_f32};
    l.type = type_scalar(s->m, DT_f32);
    *out = declare(s, v, ROLE_state, &l, is_new);
    return *out != NULL;
}

/* state shadow = params: one part for each parameter, which it starts as. */
static bool bundle_state(Sema *s, const Var *v)
{
    Val states = {.kind = VAL_bundle};
    states.tuple.n = s->trained.n;
    states.tuple.at = NEW_ARRAY(s->a, Val, s->trained.n + 1);
    for (uint32_t i = 0; i < s->trained.n; i++) {
        Mem *p = s->trained.at[i];
        Str path = site_path(s, s->scope->site, v->name.text);
        path = str_printf(&s->m->strs, "%s.%s", STR(s, path), STR(s, p->path));
        Mem *mem = mem_find(s, path);
        if (!mem) {
            Mem made = *p;
            made.path = path;
            made.role = ROLE_state;
            made.at = v->name.span;
            made.like = p;
            made.init = p->init;
            made.has_slot = true;
            mem = mem_make(s, made);
        }
        Val part = {.kind = VAL_state};
        part.mem = mem;
        states.tuple.at[i] = part;
    }
    scope_bind(s, s->scope, v->name.text, states);
    return true;
}

static bool starts_as_params(Sema *s, const Var *v)
{
    return v->init && v->init->kind == N_name &&
           strcmp(STR(s, v->init->name), "params") == 0 && s->train;
}

bool exec_state(Sema *s, const Node *n)
{
    const Vars *items = &n->state.items;
    for (uint32_t i = 0; i < items->n; i++) {
        const Var *v = &items->at[i];
        TypeLayout l;
        Mem *mem;
        bool is_new;
        if (starts_as_params(s, v)) {
            if (!train_params_known(s, v->name.span) || !bundle_state(s, v))
                return false;
            continue;
        }
        if (optimizer_state(s, v, &mem, &is_new)) {
            if (!mem) return false;
        } else if (!v->type) {
            if (!untyped_state(s, v, &mem, &is_new)) return false;
        } else {
            if (!type_layout(s, v->type, "state", v->name.text, &l))
                return false;
            mem = declare(s, v, ROLE_state, &l, &is_new);
            if (!mem) return false;
        }
        Val val = {.kind = VAL_state};
        val.mem = mem;
        scope_bind(s, s->scope, v->name.text, val);
        if (is_new && mem->has_slot &&
            (n->state.layout.present || n->state.layout.none) &&
            !mem_layout(s, &mem, 1, &n->state.layout))
            return false;
    }
    return true;
}
