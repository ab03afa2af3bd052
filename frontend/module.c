/*
 * module.c: calls.
 *
 * A fn is run where it is called.  A module is run in a function of its own:
 * what it reads from outside becomes an argument, what it returns, and the
 * states and records that it makes, become results.  A module called by its
 * own name is the one instance of that name in its block; `use` makes others.
 */
#include "args.h"

enum { MOST_CALLS = 1 << 18 };

/* ----------------------------------------------------------- activations -- */

static bool too_deep(Sema *s, Span at, const Node *d)
{
    if (++s->calls > MOST_CALLS) {
        sema_error(s, DIAG_too_many, at, "the program makes more than %d calls",
                   MOST_CALLS);
        return true;
    }
    if (s->depth < 64) return false;
    sema_error(s, DIAG_too_deep, at, "'%s' is called more than 64 levels deep",
               STR(s, d->decl.name.text));
    return true;
}

static bool check_results(Sema *s, const Node *d, Val *v, Span at)
{
    uint32_t n = d->decl.results.n;
    Val *each = n == 1 ? v : v->tuple.at;
    if (n > 1 && (v->kind != VAL_tuple || v->tuple.n != n)) {
        sema_error(s, DIAG_argument, at, "'%s' returns %u values",
                   STR(s, d->decl.name.text), n);
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        TypeCheck c = {.at = at, .name = d->decl.name.text, .verb = "returns"};
        c.value = s->scope->result_node;
        if (n > 1) c.value = NULL;
        if (c.value) c.at = c.value->head;
        if (!type_check(s, d->decl.results.at[i].type, &each[i], &c))
            return false;
    }
    return true;
}

/* The body, in s->scope and s->frame. */
static Val run_body(Sema *s, const Node *d, Span at)
{
    Scope *sc = s->scope;
    s->depth++;
    bool ok = exec_block(s, d->decl.body);
    s->depth--;
    if (!ok) return val_error();
    if (!sc->returned) {
        sema_error(s, DIAG_no_return, at, "'%s' returns nothing",
                   STR(s, d->decl.name.text));
        return val_error();
    }
    Val v = sc->result;
    s->as_entered = true;
    ok = check_results(s, d, &v, sc->result_at);
    s->as_entered = false;
    return ok ? v : val_error();
}

static Scope *callee_scope(Sema *s, Callee c, Site *site, Span at)
{
    Scope *sc = scope_push(s, c.unit, NULL);
    sc->site = site;
    sc->decl = c.decl;
    sc->caller = s->scope;
    sc->call_at = at;
    return sc;
}

static Val run_fn(Sema *s, Callee k, const Call *c, const AxisArgs *axes)
{
    Given given = given_new(s, k.decl);
    if (too_deep(s, c->at, k.decl)) return val_error();
    if (!place_args(s, k.decl, c, &given)) return val_error();
    Scope *caller = s->scope, *sc = callee_scope(s, k, caller->site, c->at);
    sc->index = caller->index;
    bind_axes(s, sc, k.decl, axes);
    s->scope = sc;
    Val v = val_error();
    bool sizing = s->sizing;
    s->sizing = false;
    if (bind_args(s, k.decl, &given, c->at)) v = run_body(s, k.decl, c->at);
    s->sizing = sizing;
    s->scope = caller;
    return v;
}

Val call_fn(Sema *s, Span at, Callee k, const Val *args, uint32_t n)
{
    Call c = {.at = at, .nargs = n};
    c.args = NEW_ARRAY(s->a, Val, n + 1);
    c.names = NEW_ARRAY(s->a, Str, n + 1);
    c.spans = NEW_ARRAY(s->a, Span, n + 1);
    for (uint32_t i = 0; i < n; i++) {
        c.args[i] = args[i];
        c.spans[i] = at;
    }
    if (k.builtin) return k.builtin->run(s, k.builtin, &c);
    AxisArgs none = {.n = 0};
    return run_fn(s, k, &c, &none);
}

/* --------------------------------------------------------------- modules -- */

typedef struct Leaves {
    VEC(Value) at;
} Leaves;

static void collect(Sema *s, const Val *v, Leaves *out)
{
    if (v->kind == VAL_tensor) vec_push(s->a, &out->at, val_here(s, v));
    if (v->kind != VAL_tuple) return;
    for (uint32_t i = 0; i < v->tuple.n; i++)
        collect(s, &v->tuple.at[i], out);
}

static Val rebuild(Sema *s, const Val *v, const Value *results, uint32_t *next)
{
    if (v->kind == VAL_tensor) {
        Val out = val_tensor(s, results[(*next)++]);
        out.aligned = v->aligned;
        out.open = v->open;
        return out;
    }
    Val out = *v;
    if (v->kind != VAL_tuple) return out;
    out.tuple.at = NEW_ARRAY(s->a, Val, v->tuple.n + 1);
    for (uint32_t i = 0; i < v->tuple.n; i++)
        out.tuple.at[i] = rebuild(s, &v->tuple.at[i], results, next);
    return out;
}

static Value emit_module_call(Sema *s, FnRef fn, const Frame *f, Str path)
{
    const Fn *callee = fn_of(s->m, fn);
    Value *args = NEW_ARRAY(s->a, Value, f->captures.n + 1);
    Type *types = NEW_ARRAY(s->a, Type, callee->nresults + 1);
    for (uint32_t i = 0; i < f->captures.n; i++)
        args[i] = f->captures.at[i].outer;
    for (uint32_t i = 0; i < callee->nresults; i++)
        types[i] = callee->results[i].type;
    AttrList l = {.n = 0};
    attr_put_id(&l, AT_fn, fn.id);
    if (path.id) attr_put_id(&l, AT_path, path.id);
    Type t = callee->nresults == 1 ? types[0]
                                   : type_tuple(s->m, types, callee->nresults);
    return emit(here(s), OP_call, t, attr_intern(s->m, &l), args,
                f->captures.n);
}

/* The results of the call in the caller's frame, in order. */
static void call_results(Sema *s, Frame *f, FnRef fn, Span at, Str path,
                         Value *out)
{
    uint32_t n = fn_of(s->m, fn)->nresults;
    here(s)->loc = loc_of(s->m, at);
    Value call = emit_module_call(s, fn, f, path);
    for (uint32_t i = 0; i < n; i++)
        out[i] = n == 1 ? call : emit_proj(here(s), call, i);
}

static void hand_out(Sema *s, const Frame *f, const Value *results)
{
    uint32_t k = 0;
    for (uint32_t i = 0; i < f->mems.n; i++)
        if (f->mems.at[i].written)
            mem_write(s, s->frame, f->mems.at[i].mem, results[k++]);
    for (uint32_t i = 0; i < f->exports.n; i++) {
        Export e = f->exports.at[i];
        e.value = results[k++];
        vec_push(s->a, &s->frame->exports, e);
    }
}

/* Ends the frame of a module and calls the function in the frame around. */
static Val close_module(Sema *s, Frame *f, const Val *v, Span at, Str path)
{
    Leaves l = {0};
    collect(s, v, &l);
    uint32_t own = l.at.n, next = 0;
    for (uint32_t i = 0; i < f->mems.n; i++)
        if (f->mems.at[i].written) vec_push(s->a, &l.at, f->mems.at[i].value);
    for (uint32_t i = 0; i < f->exports.n; i++)
        vec_push(s->a, &l.at, f->exports.at[i].value);
    s->frame = f->up;
    if (l.at.n == 0) return *v;
    Value *args = NEW_ARRAY(s->a, Value, f->captures.n + 1);
    for (uint32_t i = 0; i < f->captures.n; i++)
        args[i] = f->captures.at[i].inner;
    FnRef fn = frame_close(s, f, args, f->captures.n, l.at.at, l.at.n);
    Value *results = NEW_ARRAY(s->a, Value, l.at.n + 1);
    call_results(s, f, fn, at, path, results);
    hand_out(s, f, results + own);
    return rebuild(s, v, results, &next);
}

static bool instance_args(Sema *s, const Instance *in, const Call *c,
                          Given *given)
{
    const Node *d = in->callee.decl;
    if (in->use && in->consts.nargs && !place_args(s, d, &in->consts, given))
        return false;
    return place_args(s, d, c, given);
}

static bool instance_axes(Sema *s, const Instance *in, const Call *c, Scope *sc)
{
    AxisArgs axes;
    const Node *d = in->callee.decl;
    Items given = {(Item *)(uintptr_t)c->items, c->nitems};
    Scope *caller = s->scope;
    bool at_use = in->use && in->use->use.has_axes;
    if (at_use) s->scope = in->scope;
    bool none = !at_use && in->use && c->nitems == 0;
    bool ok =
        at_use ? axis_args(s, in->use->head, d, &in->use->use.axes, &axes)
               : axis_args(s, none ? in->use->head : c->at, d, &given, &axes);
    s->scope = caller;
    if (ok) bind_axes(s, sc, d, &axes);
    return ok;
}

static Val call_instance(Sema *s, Instance *in, const Call *c)
{
    const Node *d = in->callee.decl;
    Given given = given_new(s, d);
    if (too_deep(s, c->at, d) || !instance_args(s, in, c, &given))
        return val_error();
    Scope *caller = s->scope,
          *sc = callee_scope(s, in->callee, in->site, c->at);
    if (!instance_axes(s, in, c, sc)) return val_error();
    s->scope = sc;
    Val v = val_error();
    Frame *outer = s->frame;
    if (bind_args(s, d, &given, c->at)) {
        Frame *f =
            frame_open(s, FRAME_call, STR(s, in->name), loc_of(s->m, d->head));
        s->frame = f;
        v = run_body(s, d, c->at);
        if (val_failed(&v))
            s->frame = outer;
        else
            v = close_module(s, f, &v, c->at, site_path(s, in->site, (Str){0}));
    }
    s->scope = caller;
    return v;
}

/* ------------------------------------------------------------- instances -- */

Str indexed(Sema *s, Str name)
{
    const char *index = STR(s, s->scope->index);
    return *index ? str_printf(&s->m->strs, "%s%s", STR(s, name), index) : name;
}

static Site *instance_site(Sema *s, Str name, const Node *d,
                           const FileLayout *layout)
{
    Site *p = NEW(s->a, Site);
    p->up = s->scope->site;
    p->name = d->kind == N_model ? (Str){0} : indexed(s, name);
    p->module = d->decl.name.text;
    p->ckpt = layout && (layout->present || layout->none)
                  ? layout_component(s, layout)
                  : p->name;
    p->no_ckpt = layout && layout->none;
    return p;
}

/* "nn.rmsnorm": what the file that is imported so declares. */
static Val named_with_file(Sema *s, const Name *path, const char *dot)
{
    const char *text = STR(s, path->text);
    int len = (int)(dot - text);
    Str name = module_str(s->m, dot + 1);
    Unit *u = s->scope->unit;
    Found d = unit_find_in(s, u, text, (size_t)len, name);
    Val v = {.kind = VAL_callee};
    v.callee = (Callee){d.node, d.unit, NULL};
    if (d.other) return val_ambiguous(s, &d, name, path->span);
    if (d.node) return v;
    if (d.file) {
        sema_error(s, DIAG_unknown_name, path->span, "'%s' declares no '%s'",
                   d.file, dot + 1);
        return val_error();
    }
    Report *r = sema_error(s, DIAG_unknown_name, path->span,
                           "no file '%.*s' is imported here", len, text);
    report_help(r, "files that are imported here: %s", unit_imports(s, u));
    return val_error();
}

/* A config value comes before what is declared under its name. */
static void hidden_by_config(Sema *s, Report *r, Str name)
{
    const ConfigValue *c = config_own(s, name);
    if (!c) return;
    report_note(r, c->at, "'%s' is a value of the config", STR(s, name));
    report_help(r, "a config value comes first: give one of them another name");
}

static bool use_target(Sema *s, const Node *n, Callee *out)
{
    const char *path = STR(s, n->use.target.text);
    const char *dot = strrchr(path, '.');
    Val v = dot ? named_with_file(s, &n->use.target, dot)
                : eval_name(s, n->use.target.text, n->use.target.span);
    if (val_failed(&v)) return false;
    bool module =
        v.kind == VAL_callee && v.callee.decl &&
        (v.callee.decl->kind == N_module || v.callee.decl->kind == N_model);
    if (v.kind == VAL_instance) {
        *out = v.instance->callee;
        return true;
    }
    if (module) {
        *out = v.callee;
        return true;
    }
    Report *r = sema_error(s, DIAG_not_a_module, n->use.target.span,
                           "'%s' is no module", path);
    if (!dot) hidden_by_config(s, r, n->use.target.text);
    return false;
}

/* Two instances of one name in one block would share the names of their
 * parameters. */
static bool used_above(Sema *s, const Node *n)
{
    for (uint32_t i = 0; i < s->scope->vars.n; i++) {
        const Binding *b = &s->scope->vars.at[i];
        if (!str_eq(b->name, n->use.name.text)) continue;
        if (b->value.kind != VAL_instance) continue;
        if (b->value.instance->use == n) continue; /* a turn of `for` */
        Report *r =
            sema_error(s, DIAG_name_twice, n->use.name.span,
                       "'%s' is an instance already", STR(s, n->use.name.text));
        report_note(r, b->value.instance->use->use.name.span, "made here");
        report_help(r, "give this one another name");
        return false;
    }
    return true;
}

bool exec_use(Sema *s, const Node *n)
{
    Callee k;
    if (!used_above(s, n) || !use_target(s, n, &k)) return false;
    Instance *in = NEW(s->a, Instance);
    in->name = n->use.name.text;
    in->callee = k;
    in->use = n;
    in->scope = s->scope;
    in->site = instance_site(s, in->name, k.decl, &n->use.layout);
    if (k.decl->kind == N_model) in->site->name = in->name;
    in->site->frozen = n->use.frozen;
    if (!eval_args(s, &n->use.args, &in->consts)) return false;
    in->consts.at = n->head;
    Val v = {.kind = VAL_instance};
    v.instance = in;
    scope_bind(s, s->scope, in->name, v);
    return true;
}

static Instance *called_twice(Sema *s, const Node *n, Str module, Span first)
{
    const char *name = STR(s, module);
    size_t len = strlen(name);
    const char *stem =
        len > 4 && !strcmp(name + len - 4, "norm") ? "norm" : name;
    Report *r =
        sema_error(s, DIAG_instance_twice, n->head,
                   "'%s' is called twice here, which weights are meant?", name);
    report_note(r, first, "the first call");
    report_help(r, "use %s1 = %s", stem, source_text(s, n->head));
    return NULL;
}

/* The one instance that has the module's own name. */
static Instance *own_instance(Sema *s, const Node *n, Callee k)
{
    Str name = k.decl->decl.name.text;
    bool model = k.decl->kind == N_model;
    Scope *home = model ? k.unit->scope : s->scope;
    for (Scope *sc = home; sc; sc = sc->up)
        for (uint32_t i = 0; i < sc->called.n; i++) {
            if (!str_eq(sc->called.at[i].module, name)) continue;
            if (model) return sc->called.at[i].instance;
            return called_twice(s, n, name, sc->called.at[i].at);
        }
    Scope *scope = s->scope;
    Instance *in = NEW(s->a, Instance);
    s->scope = home;
    in->name = name;
    in->callee = k;
    in->scope = home;
    in->site = instance_site(s, name, k.decl, NULL);
    in->site->implied = true;
    s->scope = scope;
    Called c = {name, n->head, in};
    vec_push(s->a, &home->called, c);
    return in;
}

/* ----------------------------------------------------------------- calls -- */

static Val call_callee(Sema *s, const Node *n, const Val *f, Call *c)
{
    if (f->kind == VAL_instance) return call_instance(s, f->instance, c);
    if (f->callee.builtin) {
        const Builtin *b = f->callee.builtin;
        if ((int)c->nargs >= b->least &&
            (b->most < 0 || (int)c->nargs <= b->most))
            return b->run(s, b, c);
        Report *r = sema_error(s, DIAG_argument, c->at,
                               "'%s' does not take %u argument%s", b->name,
                               c->nargs, c->nargs == 1 ? "" : "s");
        if (b->most < 0)
            report_help(r, "it takes %d or more", b->least);
        else if (b->most > b->least)
            report_help(r, "it takes %d to %d", b->least, b->most);
        else
            report_help(r, "it takes %d", b->least);
        return val_error();
    }
    const Node *d = f->callee.decl;
    if (d->kind == N_optimizer) {
        Report *r = sema_error(s, DIAG_not_a_module, c->at,
                               "optimizer '%s' stands in an update only",
                               STR(s, d->decl.name.text));
        report_help(r, "in a train block: update = %s(...)",
                    STR(s, d->decl.name.text));
        return val_error();
    }
    if (d->kind != N_fn) {
        Instance *in = own_instance(s, n, f->callee);
        return in ? call_instance(s, in, c) : val_error();
    }
    AxisArgs axes;
    Items items = {(Item *)(uintptr_t)c->items, c->nitems};
    if (!axis_args(s, c->at, d, &items, &axes)) return val_error();
    return run_fn(s, f->callee, c, &axes);
}

Val eval_call(Sema *s, const Node *n)
{
    Val f = eval_node(s, n->call.fn);
    if (val_failed(&f)) return f;
    if (f.kind != VAL_callee && f.kind != VAL_instance) {
        Report *r = sema_error(s, DIAG_not_a_module, n->call.fn->span,
                               "%s is no function and no module",
                               val_label(s, &f, "this"));
        if (n->call.fn->kind == N_name)
            hidden_by_config(s, r, n->call.fn->name);
        return val_error();
    }
    Call c = {.node = n, .at = n->head};
    c.items = n->call.axes.at;
    c.nitems = n->call.axes.n;
    bool sizing = s->sizing;
    if (f.kind == VAL_callee && f.callee.builtin &&
        builtin_takes_axis(f.callee.builtin))
        return f.callee.builtin->run(s, f.callee.builtin, &c);
    if (!eval_args(s, &n->call.args, &c)) return val_error();
    s->sizing = sizing;
    return call_callee(s, n, &f, &c);
}

bool optimizer_args(Sema *s, const Node *call, Callee k, Val **out)
{
    Call c = {.node = call, .at = call->head};
    Given given = given_new(s, k.decl);
    if (!eval_args(s, &call->call.args, &c)) return false;
    if (!place_args(s, k.decl, &c, &given)) return false;
    Scope *caller = s->scope;
    s->scope = callee_scope(s, k, NULL, call->head);
    bool ok = bind_args(s, k.decl, &given, call->head);
    s->scope = caller;
    *out = given.vals;
    return ok;
}
