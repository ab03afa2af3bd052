/*
 * train.c: what a train block has beyond other entries.
 *
 * After `loss` is bound the parameters are known: those that the loss has met
 * and that are not frozen, where they are used or by an update (frozen.c).
 * `grads` is the bundle of its derivatives, by the op `grad`; what follows
 * carries the phase update.  Each update rule runs its optimizer for the
 * parameters that it is the first to match.
 */
#include "train.h"

/* ------------------------------------------------------------ gradients -- */

static bool in_entry(const Frame *f, const Mem *mem)
{
    while (f->up)
        f = f->up;
    for (uint32_t i = 0; i < f->mems.n; i++)
        if (f->mems.at[i].mem == mem) return true;
    return false;
}

static Val param_bundle(Sema *s)
{
    Val out = {.kind = VAL_bundle};
    out.tuple.n = s->trained.n;
    out.tuple.at = NEW_ARRAY(s->a, Val, s->trained.n + 1);
    for (uint32_t i = 0; i < s->trained.n; i++)
        out.tuple.at[i] =
            val_tensor(s, mem_read(s, s->frame, s->trained.at[i]));
    return out;
}

static void name_gradient(Sema *s, Value v, const Mem *p)
{
    value_set_name(here(s), v,
                   str_printf(&s->m->strs, "d_%s", STR(s, p->name)));
}

static void differentiate(Sema *s)
{
    Train *t = s->train;
    uint32_t n = s->trained.n;
    Value *args = NEW_ARRAY(s->a, Value, n + 1);
    Type *types = NEW_ARRAY(s->a, Type, n + 1);
    args[0] = val_use(s, &t->loss, DT_f32);
    for (uint32_t i = 0; i < n; i++) {
        args[i + 1] = t->params.tuple.at[i].tensor.value;
        types[i] = value_type(s->frame->fn, args[i + 1]);
    }
    here(s)->loc = loc_of(s->m, t->loss_at);
    Value g = emit(here(s), OP_grad, type_tuple(s->m, types, n), (Attr){0},
                   args, n + 1);
    here(s)->phase = PHASE_update;
    t->raw = t->params;
    t->raw.tuple.at = NEW_ARRAY(s->a, Val, n + 1);
    for (uint32_t i = 0; i < n; i++) {
        Value d = emit_proj(here(s), g, i);
        name_gradient(s, d, s->trained.at[i]);
        t->raw.tuple.at[i] = val_tensor(s, d);
    }
}

bool train_params_known(Sema *s, Span at)
{
    Train *t = s->train;
    if (t && t->known) return true;
    if (t && t->loss_wrong) return false;
    if (!t || t->loss.kind == VAL_error) {
        Report *r =
            sema_error(s, DIAG_no_loss, at,
                       t ? "the parameters are known after loss = ..."
                         : "only a train block has parameters and updates");
        if (t) report_help(r, "nothing before this line binds 'loss'");
        return false;
    }
    for (uint32_t i = 0; i < s->mems.n; i++) {
        Mem *p = s->mems.at[i];
        if (p->role == ROLE_param && !p->frozen && in_entry(s->frame, p))
            vec_push(s->a, &s->trained, p);
    }
    if (!train_freeze(s)) {
        t->loss_wrong = true;
        return false;
    }
    t->known = true;
    t->params = param_bundle(s);
    t->taken = NEW_ARRAY(s->a, bool, s->trained.n + 1);
    t->next = NEW_ARRAY(s->a, Val, s->trained.n + 1);
    t->bodies = NEW_ARRAY(s->a, Scope *, s->trained.n + 1);
    t->raw = t->params;
    if (s->trained.n) differentiate(s);
    return true;
}

/* step, updates, params, grads: names that stand for themselves. */
Val train_bundle(Sema *s, Span at, const char *name)
{
    if (strcmp(name, "step") == 0) {
        if (!s->frame) {
            sema_error(s, DIAG_not_static, at,
                       "the step is not known when compiling");
            return val_error();
        }
        return val_tensor(s, entry_scalar(s, "step", DT_i32));
    }
    if (s->train && strcmp(name, "updates") == 0) return updates_value(s, at);
    if (s->train && s->frame->up) {
        sema_error(s, DIAG_no_loss, at,
                   "'%s' is known in the train block itself", name);
        return val_error();
    }
    if (!train_params_known(s, at)) return val_error();
    return strcmp(name, "params") == 0 ? s->train->params : s->train->raw;
}

/* True: the name is not to be bound (it never is: both may be read). */
bool train_assigned(Sema *s, Str name, Val v, Span at)
{
    Train *t = s->train;
    if (!t || s->frame->up || strcmp(STR(s, name), "loss") != 0) return false;
    uint32_t n;
    val_axes(s, &v, &n);
    if (v.kind != VAL_tensor || n || dtype_class((DType)v.dtype) != DC_float) {
        Report *r =
            sema_error(s, DIAG_loss_form, at, "the loss is one number%s%s",
                       n ? ", this has " : "", n ? val_axes_str(s, &v) : "");
        report_help(r, "sum or mean it over its axes");
        t->loss_wrong = true;
        return true;
    }
    t->loss = v;
    t->loss_at = at;
    return false;
}

/* ----------------------------------------------------------------- paths -- */

typedef struct Part {
    Str name, module;
} Part;

static uint32_t parts_of(Sema *s, const Site *p, Part *out, uint32_t n)
{
    if (!p) return n;
    n = parts_of(s, p->up, out, n);
    if (n < 62) out[n++] = (Part){p->name, p->module};
    return n;
}

static bool word_is(Sema *s, const char *word, size_t n, Str name)
{
    const char *text = STR(s, name);
    return strncmp(text, word, n) == 0 && (!text[n] || text[n] == '.') && n;
}

/* The words of the path, in a row, somewhere among the parts. */
bool path_matches(Sema *s, const char *path, const Mem *mem)
{
    Part parts[64];
    uint32_t n = parts_of(s, mem->site, parts, 0);
    parts[n++] = (Part){mem->name, {0}};
    for (uint32_t first = 0; first < n; first++) {
        const char *p = path;
        for (uint32_t i = first; i < n; i++) {
            const char *dot = strchr(p, '.');
            size_t len = dot ? (size_t)(dot - p) : strlen(p);
            if (!word_is(s, p, len, parts[i].name) &&
                !word_is(s, p, len, parts[i].module))
                break;
            if (!dot) return true;
            p = dot + 1;
        }
    }
    return false;
}

bool rule_matches(Sema *s, const Node *n, const Mem *mem)
{
    if (n->update.paths.n == 0) return true;
    for (uint32_t i = 0; i < n->update.paths.n; i++)
        if (path_matches(s, STR(s, n->update.paths.at[i].text), mem))
            return true;
    return false;
}

static bool paths_exist(Sema *s, const Node *n)
{
    for (uint32_t i = 0; i < n->update.paths.n; i++) {
        Name path = n->update.paths.at[i];
        bool found = false;
        for (uint32_t k = 0; k < s->trained.n; k++)
            found |= path_matches(s, STR(s, path.text), s->trained.at[k]);
        for (uint32_t k = 0; k < s->train->frozen.n; k++)
            found |=
                path_matches(s, STR(s, path.text), s->train->frozen.at[k].mem);
        if (found) continue;
        path_unknown(s, path.span, "update", STR(s, path.text));
        return false;
    }
    return true;
}

/* The parameters, or as many as a line holds. */
static void list_params(Sema *s, Report *r)
{
    enum { MOST_LISTED = 8 };
    Buf b = {0};
    uint32_t n = 0;
    for (uint32_t k = 0; k < s->mems.n; k++) {
        if (s->mems.at[k]->role != ROLE_param) continue;
        if (n++ < MOST_LISTED)
            buf_printf(&b, "%s%s", b.n ? ", " : "",
                       mem_words(s, s->mems.at[k]));
    }
    if (n > MOST_LISTED) buf_printf(&b, " and %u more", n - MOST_LISTED);
    if (n) report_help(r, "its parameters: %s", b.at);
    buf_release(&b);
}

void path_unknown(Sema *s, Span at, const char *who, const char *path)
{
    const char *words[512];
    uint32_t n = 0;
    for (uint32_t k = 0; k < s->mems.n; k++) {
        const Mem *m = s->mems.at[k];
        if (m->role == ROLE_param && n < 400) {
            words[n++] = STR(s, m->name);
            words[n++] = mem_words(s, m);
        }
        for (const Site *p = m->site; p && n < 480; p = p->up) {
            if (p->name.id) words[n++] = STR(s, p->name);
            if (p->module.id) words[n++] = STR(s, p->module);
        }
    }
    Report *r = sema_error(s, DIAG_no_such_path, at,
                           "%s names module '%s', the model has no such module",
                           who, path);
    const char *near = nearest(path, words, n);
    if (near)
        report_help(r, "did you mean '%s'?", near);
    else
        list_params(s, r);
}

/* --------------------------------------------------------------- updates -- */

/* In an optimizer a state without a type has that of its parameter. */
bool optimizer_state(Sema *s, const Var *v, Mem **mem, bool *is_new)
{
    if (!s->train || !s->train->updating) return false;
    *mem = v->type ? NULL : state_like(s, v, s->train->updating, is_new);
    return !v->type;
}

static void bind_list(Sema *s, Scope *sc, const Node *term, const Axis *axes,
                      uint32_t n)
{
    AxisBinding b = {.name = term->name, .axes = axes, .n = n};
    b.at = term->span;
    vec_push(s->a, &sc->axes, b);
}

/* p: [from -> to] fits parameters that are maps; the names stand for all axes
 * of either side. */
static bool bind_target(Sema *s, Scope *sc, const Node *type, const Mem *mem)
{
    if (!type || !type->type.has_axes) return true;
    if (!type->type.has_arrow) return true;
    if (!mem->from || !mem->to) return false;
    uint32_t first = type->type.nover;
    bind_list(s, sc, type->type.axes[first].term, mem->axes + mem->over,
              mem->from);
    bind_list(s, sc, type->type.axes[first + type->type.nfrom].term,
              mem->axes + mem->over + mem->from, mem->to);
    return true;
}

static void bind_sizes(Sema *s, Scope *sc, const Mem *mem)
{
    const TypeInfo *t = type_info(s->m, mem->type);
    for (uint32_t i = 0; i < t->naxes; i++)
        size_bind(s, sc, t->axes[i].axis, t->axes[i].size);
}

static Scope *optimizer_scope(Sema *s, const Update *u, Mem *mem)
{
    Scope *sc = scope_push(s, u->callee.unit, NULL);
    Site *site = NEW(s->a, Site);
    site->up = mem->site;
    site->name = mem->name;
    sc->site = site;
    sc->decl = u->callee.decl;
    sc->caller = s->scope;
    sc->call_at = u->at;
    bind_sizes(s, sc, mem);
    for (uint32_t i = 0; i < u->nargs; i++)
        scope_bind(s, sc, u->callee.decl->decl.params.at[i].name.text,
                   u->args[i]);
    return sc;
}

/* The next value has the parameter's axes: fewer are filled. */
static bool fit_next(Sema *s, const Update *u, const Mem *mem, Val *v)
{
    if (val_failed(v)) return false;
    uint32_t n, k = 0;
    const TypeAxis *axes = val_axes(s, v, &n);
    for (uint32_t i = 0; i < n; i++) {
        if (type_size(s->m, mem->type, axes[i].axis) == axes[i].size) continue;
        sema_error(s, DIAG_axis_extra, u->at,
                   "the next value of '%s' has axis '%s', the parameter has "
                   "not or in another size",
                   mem_words(s, mem), axis_name(s->m, axes[i].axis));
        return false;
    }
    const TypeInfo *t = type_info(s->m, mem->type);
    TypeAxis *more = NEW_ARRAY(s->a, TypeAxis, t->naxes + 1);
    for (uint32_t i = 0; i < t->naxes; i++)
        if (!val_axis(s, v, t->axes[i].axis)) more[k++] = t->axes[i];
    if (!val_is_elementary(v) || k == 0) return val_is_elementary(v);
    Value x = val_use(s, v, (DType)t->dtype);
    *v = val_tensor(s, emit_broadcast(here(s), x, more, k));
    return true;
}

/* The optimizer's body for one parameter; *fits: its form is this one's. */
static bool run_optimizer(Sema *s, const Update *u, uint32_t k, bool *fits)
{
    Train *t = s->train;
    Mem *mem = s->trained.at[k];
    const Vars *targets = &u->callee.decl->decl.targets;
    Scope *outer = s->scope, *sc = optimizer_scope(s, u, mem);
    *fits = bind_target(s, sc, targets->at[0].type, mem);
    if (!*fits) return true;
    scope_bind(s, sc, targets->at[0].name.text, t->params.tuple.at[k]);
    if (targets->n > 1)
        scope_bind(s, sc, targets->at[1].name.text, u->grads.tuple.at[k]);
    s->scope = sc;
    t->updating = mem;
    bool ok = exec_block(s, u->callee.decl->decl.body);
    t->updating = NULL;
    if (ok) t->next[k] = eval_name(s, targets->at[0].name.text, u->at);
    s->scope = outer;
    t->taken[k] = true;
    t->bodies[k] = sc;
    return ok && fit_next(s, u, mem, &t->next[k]);
}

static bool note_rate(Sema *s, const Update *u)
{
    Train *t = s->train;
    for (uint32_t i = 0; i < u->nargs && !t->has_rate; i++) {
        Str name = u->callee.decl->decl.params.at[i].name.text;
        if (strcmp(STR(s, name), "lr") != 0) continue;
        if (!val_is_elementary(&u->args[i])) continue;
        t->rate = u->args[i];
        t->has_rate = true;
    }
    return true;
}

static bool read_update(Sema *s, const Node *n, Update *u)
{
    const Node *call = n->update.value;
    *u = (Update){.at = call->head};
    Val f = val_error();
    if (call->kind == N_call) f = eval_node(s, call->call.fn);
    if (call->kind == N_call && val_failed(&f)) return false;
    if (f.kind != VAL_callee || !f.callee.decl ||
        f.callee.decl->kind != N_optimizer) {
        Report *r = sema_error(s, DIAG_not_a_module, call->span,
                               "an update takes the call of an optimizer");
        report_help(r, "update = adamw(...) trains what it takes, "
                       "update = frozen leaves it as it is");
        return false;
    }
    u->callee = f.callee;
    if (!optimizer_args(s, call, f.callee, &u->args)) return false;
    u->nargs = f.callee.decl->decl.params.n;
    u->grads = eval_name(s, module_str(s->m, "grads"), n->head);
    return !val_failed(&u->grads) && note_rate(s, u);
}

static bool took_nothing(Sema *s, const Node *n, uint32_t matched)
{
    Report *r = sema_error(s, DIAG_rule_unused, n->head,
                           "this update takes no parameter");
    if (s->trained.n == 0)
        report_note(r, s->train->loss_at,
                    "the loss meets no parameter that "
                    "is trained");
    else if (matched)
        report_note(r, (Span){0},
                    "earlier updates have taken all that it "
                    "names, or they are no maps");
    return false;
}

/* What it freezes was read ahead (frozen.c). */
static bool freeze(Sema *s, const Node *n)
{
    const Train *t = s->train;
    vec_push(s->a, &s->train->rules, n);
    for (uint32_t k = 0; k < t->frozen.n; k++)
        if (t->frozen.at[k].by == n) return true;
    return took_nothing(s, n, 1);
}

bool exec_update(Sema *s, const Node *n)
{
    Update u;
    if (!s->train || s->frame->up) {
        sema_error(s, DIAG_no_loss, n->head,
                   "an update stands in a train block");
        return false;
    }
    if (!train_params_known(s, n->head)) return false;
    if (!paths_exist(s, n)) return false;
    if (update_freezes(s, n)) return freeze(s, n);
    if (!read_update(s, n, &u)) return false;
    vec_push(s->a, &s->train->rules, n);
    uint32_t matched = 0, took = 0;
    for (uint32_t k = 0; k < s->trained.n; k++) {
        bool fits;
        if (!rule_matches(s, n, s->trained.at[k])) continue;
        matched++;
        if (s->train->taken[k]) continue;
        if (!run_optimizer(s, &u, k, &fits)) return false;
        took += fits;
    }
    return took || took_nothing(s, n, matched);
}

bool train_all_taken(Sema *s)
{
    Train *t = s->train;
    for (uint32_t k = 0; k < s->trained.n; k++) {
        if (t->taken[k]) continue;
        Report *r = sema_error(s, DIAG_no_update, s->trained.at[k]->at,
                               "no update takes parameter '%s'",
                               mem_words(s, s->trained.at[k]));
        for (uint32_t i = 0; i < t->rules.n; i++)
            report_note(r, t->rules.at[i]->span, "rule %u", i + 1);
        if (!t->rules.n)
            report_help(r, "write update = adamw(...) in the train block");
        return false;
    }
    return true;
}

/* A parameter of the entry that is frozen; NULL: none is. */
static const Mem *frozen_param(Sema *s)
{
    for (uint32_t i = 0; i < s->mems.n; i++) {
        const Mem *p = s->mems.at[i];
        if (p->role == ROLE_param && p->frozen && in_entry(s->frame, p))
            return p;
    }
    return NULL;
}

bool train_changes(Sema *s, const Nexts *next)
{
    const Train *t = s->train;
    bool changes = !frozen_param(s);
    for (uint32_t i = 0; i < next->n; i++)
        changes |= next->at[i].mem != s->updates;
    if (changes) return true;
    Report *r =
        sema_error(s, DIAG_no_update, t->rules.n ? t->rules.at[0]->head : t->at,
                   "all parameters are frozen: a step changes nothing");
    report_help(r, "say what is frozen, as in update embed = frozen, and how "
                   "the rest is trained; a loss alone is that of an entry");
    return false;
}
