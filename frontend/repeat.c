/*
 * repeat.c: the one loop.
 *
 * The body is a function of the turn.  A name bound before that the body binds
 * again is carried; what is read from outside is the same in every turn, or,
 * where it has the axis, seen at the present index; a name first bound inside
 * is stacked afterwards, if anything after the loop reads it.
 *
 * What type a carried name has is found by trying: a plain number spreads to
 * what it becomes, a tensor gains the axes that the body gives it.  The body
 * is elaborated again until the types stay, and likewise when it turns out
 * that it writes a state which is carried.  In a trial a number is open: that
 * it lacks an axis is no error yet.
 */
#include "sema.h"

#include <ctype.h>

enum { MOST_TRIES = 8 };

typedef struct Carried {
    Str name;
    Val first; /* before the loop */
    Type type;
    bool number; /* spreads, and takes the dtype of what it becomes */
} Carried;

typedef struct Loop {
    const Node *node;
    Axis axis;
    int64_t count;
    Site *site;
    VEC(Carried) names;
    VEC(Mem *) mems;  /* carried states */
    VEC(Str) stacked; /* names that the loop leaves behind */
    VEC(Val) stacked_vals;
    uint32_t errors, fns;
    bool again;
    bool trial; /* some number has not found its type yet */
} Loop;

/* --------------------------------------------------- what the body binds -- */

static void add_name(Sema *s, Loop *l, Str name)
{
    for (uint32_t i = 0; i < l->names.n; i++)
        if (str_eq(l->names.at[i].name, name)) return;
    Binding *b = scope_find(s->scope, name);
    if (!b || !val_is_elementary(&b->value)) return;
    Carried c = {.name = name, .first = b->value};
    c.type = val_type(s, &c.first);
    c.number = c.first.kind == VAL_number;
    l->trial |= c.number;
    vec_push(s->a, &l->names, c);
}

static void find_bound(Sema *s, Loop *l, const Node *n)
{
    if (!n) return;
    switch ((NodeKind)n->kind) {
    case N_block:
        for (uint32_t i = 0; i < n->block.n; i++)
            find_bound(s, l, n->block.at[i]);
        break;
    case N_if:
        find_bound(s, l, n->branch.then);
        find_bound(s, l, n->branch.otherwise);
        break;
    case N_for:
        find_bound(s, l, n->loop.body);
        break;
    case N_repeat:
        find_bound(s, l, n->repeat.body);
        break;
    case N_assign:
        for (uint32_t i = 0; i < n->assign.targets.n; i++)
            add_name(s, l, n->assign.targets.at[i].name.text);
        break;
    default:
        break;
    }
}

static bool binds(const Node *n, Str name)
{
    if (!n) return false;
    bool found = false;
    switch ((NodeKind)n->kind) {
    case N_block:
        for (uint32_t i = 0; i < n->block.n; i++)
            found |= binds(n->block.at[i], name);
        return found;
    case N_if:
        return binds(n->branch.then, name) || binds(n->branch.otherwise, name);
    case N_for:
        return binds(n->loop.body, name);
    case N_repeat:
        return binds(n->repeat.body, name);
    case N_assign:
        for (uint32_t i = 0; i < n->assign.targets.n; i++)
            found |= str_eq(n->assign.targets.at[i].name.text, name);
        return found;
    default:
        return false;
    }
}

bool repeat_binds(const Node *repeat, Str name)
{
    return binds(repeat->repeat.body, name);
}

/* Whether the word stands in the text between the loop and the end of the
 * activation's body. */
static bool used_after(Sema *s, const Loop *l, Str name)
{
    const Node *decl = s->scope->decl;
    if (!decl || !decl->decl.body) return true;
    Span all = decl->decl.body->span;
    const Source *src = &s->m->diag->sources[all.file];
    const char *word = STR(s, name);
    size_t n = strlen(word);
    for (uint32_t i = l->node->span.last; i + n <= all.last; i++) {
        const char *p = src->text + i;
        if (strncmp(p, word, n) != 0) continue;
        bool before = isalnum((unsigned char)p[-1]) || p[-1] == '_';
        bool after = isalnum((unsigned char)p[n]) || p[n] == '_';
        if (!before && !after) return true;
    }
    return false;
}

/* -------------------------------------------------------------- one try -- */

static void bind_carried(Sema *s, Loop *l, Frame *f)
{
    for (uint32_t i = 0; i < l->names.n; i++) {
        Carried *c = &l->names.at[i];
        Value v = frame_arg(s, f, c->type, c->name);
        vec_push(s->a, &f->carried, v);
        Val val = val_tensor(s, v);
        val.name = c->name;
        val.open = l->trial && c->number;
        scope_bind(s, s->scope, c->name, val);
    }
    for (uint32_t i = 0; i < l->mems.n; i++) {
        Type t = value_type(f->up->fn, mem_read(s, f->up, l->mems.at[i]));
        MemVal mv = {.mem = l->mems.at[i], .carried = true};
        mv.value = frame_arg(s, f, t, mv.mem->name);
        vec_push(s->a, &f->carried, mv.value);
        vec_push(s->a, &f->mems, mv);
    }
}

static Frame *loop_frame(Sema *s, Loop *l, const char *name)
{
    Frame *f = frame_open(s, FRAME_repeat, name, loc_at(s, l->node));
    f->axis = l->axis;
    f->count = l->count;
    s->frame = f;
    f->turn = frame_arg(s, f, type_scalar(s->m, DT_i32),
                        module_str(s->m, axis_name(s->m, l->axis)));
    return f;
}

/* A turn knows its own index of the axis only, so nothing carried has it. */
static bool lacks_loop_axis(Sema *s, const Loop *l, const Carried *c,
                            const Val *v)
{
    const char *name = STR(s, c->name), *axis = axis_name(s->m, l->axis);
    bool before = type_axis(s->m, c->type, l->axis) != NULL;
    if (!before && !val_axis(s, v, l->axis)) return true;
    Report *r = sema_error(s, DIAG_axis_extra, l->node->head,
                           "'%s' is carried round this repeat, so it cannot "
                           "have axis '%s' %s",
                           name, axis, before ? "before it" : "in the body");
    if (before)
        report_help(r,
                    "begin with one element, %s = %s[%s = 0], or bind another "
                    "name inside, which is stacked over '%s' afterwards",
                    name, name, axis, axis);
    return false;
}

/* The type that holds both what comes in and what the body makes of it. */
static bool widen(Sema *s, Loop *l, Carried *c, const Val *v)
{
    Type made = val_type(s, v);
    const TypeInfo *t = type_info(s->m, made);
    if (!lacks_loop_axis(s, l, c, v)) return false;
    for (uint32_t i = 0; i < t->naxes; i++) {
        int64_t size = type_size(s->m, c->type, t->axes[i].axis);
        if (!size || size == t->axes[i].size) continue;
        sema_error(
            s, DIAG_axis_size, l->node->head,
            "'%s' is carried: its axis '%s' has size %lld before a turn and "
            "%lld after it",
            STR(s, c->name), axis_name(s->m, t->axes[i].axis), (long long)size,
            (long long)t->axes[i].size);
        return false;
    }
    Type both = type_union(s->m, c->type, made);
    DType d = type_dtype(s->m, c->type);
    if (v->kind != VAL_number && (DType)v->dtype != d) {
        bool takes = c->number || dtype_class((DType)v->dtype) == DC_float;
        if (takes) d = (DType)v->dtype;
    }
    both = type_with_dtype(s->m, both, d);
    if (type_eq(both, c->type)) return true;
    c->type = both;
    l->again = true;
    return true;
}

static Value fit(Sema *s, Type want, const Val *v)
{
    const TypeInfo *t = type_info(s->m, want);
    TypeAxis *more = NEW_ARRAY(s->a, TypeAxis, t->naxes + 1);
    uint32_t k = 0;
    for (uint32_t i = 0; i < t->naxes; i++)
        if (!val_axis(s, v, t->axes[i].axis)) more[k++] = t->axes[i];
    Value x = val_use(s, v, type_dtype(s->m, want));
    return k ? emit_broadcast(here(s), x, more, k) : x;
}

/* States written in the body that have no part per turn have to be carried. */
static void find_carried_mems(Sema *s, Loop *l, Frame *f)
{
    for (uint32_t i = 0; i < f->mems.n; i++) {
        MemVal *mv = &f->mems.at[i];
        if (!mv->written || mv->carried) continue;
        Type t = value_type(f->up->fn, mem_read(s, f->up, mv->mem));
        if (type_axis(s->m, t, l->axis)) continue;
        vec_push(s->a, &l->mems, mv->mem);
        l->again = true;
    }
}

static bool run_turn(Sema *s, Loop *l, Scope **body)
{
    Frame *f = s->frame;
    Scope *outer = s->scope;
    *body = scope_push(s, outer->unit, outer);
    (*body)->site = l->site;
    (*body)->loop = l->node;
    s->scope = *body;
    bind_carried(s, l, f);
    bool ok = exec_block(s, l->node->repeat.body);
    for (uint32_t i = 0; ok && i < l->names.n; i++) {
        Val v = scope_find(*body, l->names.at[i].name)->value;
        ok = widen(s, l, &l->names.at[i], &v);
    }
    if (ok) find_carried_mems(s, l, f);
    s->scope = outer;
    return ok;
}

/* --------------------------------------------------------------- the end -- */

typedef struct Ends {
    VEC(Value) results; /* carried, then others */
    VEC(Value) args, outer;
    uint32_t ninvariant;
} Ends;

static bool stackable(Sema *s, const Loop *l, const Binding *b)
{
    const char *axis = axis_name(s->m, l->axis);
    if (!val_axis(s, &b->value, l->axis)) return true;
    Report *r = sema_error(s, DIAG_axis_twice, l->node->head,
                           "'%s' is stacked over '%s' after this repeat, and "
                           "has that axis already",
                           STR(s, b->name), axis);
    report_help(r,
                "in the body pick one element, [%s = index(%s)], or give "
                "the axis another name",
                axis, axis);
    return false;
}

/* False: reported. */
static bool leave_names(Sema *s, Loop *l, Scope *body, Ends *e)
{
    for (uint32_t i = 0; i < body->vars.n; i++) {
        const Binding *b = &body->vars.at[i];
        bool carried = false;
        for (uint32_t k = 0; k < l->names.n; k++)
            carried |= str_eq(l->names.at[k].name, b->name);
        if (carried || !val_is_elementary(&b->value)) continue;
        if (!used_after(s, l, b->name)) continue;
        Val v = b->value;
        if (!stackable(s, l, b)) return false;
        vec_push(s->a, &l->stacked, b->name);
        vec_push(s->a, &l->stacked_vals, v);
        vec_push(s->a, &e->results, val_use(s, &v, (DType)v.dtype));
    }
    return true;
}

static bool turn_results(Sema *s, Loop *l, Frame *f, Scope *body, Ends *e)
{
    Scope *outer = s->scope;
    s->scope = body;
    for (uint32_t i = 0; i < l->names.n; i++) {
        Val v = scope_find(body, l->names.at[i].name)->value;
        vec_push(s->a, &e->results, fit(s, l->names.at[i].type, &v));
    }
    for (uint32_t i = 0; i < l->mems.n; i++)
        vec_push(s->a, &e->results, mem_read(s, f, l->mems.at[i]));
    bool ok = leave_names(s, l, body, e);
    for (uint32_t i = 0; i < f->mems.n; i++)
        if (f->mems.at[i].written && !f->mems.at[i].carried)
            vec_push(s->a, &e->results, f->mems.at[i].value);
    for (uint32_t i = 0; i < f->exports.n; i++)
        vec_push(s->a, &e->results, f->exports.at[i].value);
    s->scope = outer;
    return ok;
}

static void push_captures(Sema *s, const Frame *f, bool stacked, Ends *e)
{
    for (uint32_t i = 0; i < f->captures.n; i++) {
        const Capture *c = &f->captures.at[i];
        if (c->stacked != stacked) continue;
        vec_push(s->a, &e->args, c->inner);
        vec_push(s->a, &e->outer, c->outer);
        e->ninvariant += !stacked;
    }
}

static void push_carried(Sema *s, const Loop *l, const Frame *f, Ends *e)
{
    for (uint32_t i = 0; i < f->carried.n; i++)
        vec_push(s->a, &e->args, f->carried.at[i]);
    for (uint32_t i = 0; i < l->names.n; i++)
        vec_push(s->a, &e->outer,
                 fit(s, l->names.at[i].type, &l->names.at[i].first));
    for (uint32_t i = 0; i < l->mems.n; i++)
        vec_push(s->a, &e->outer, mem_read(s, f->up, l->mems.at[i]));
}

/* The condition of `while`, a function of the carried and invariant values of
 * the body: what it reads from outside the body has to read too. */
static bool make_condition(Sema *s, Loop *l, Frame *body, FnRef *out)
{
    Frame *f = loop_frame(s, l, "while");
    Scope *outer = s->scope;
    s->scope = scope_push(s, outer->unit, outer);
    bind_carried(s, l, f);
    Val v = eval_node(s, l->node->repeat.cond);
    s->scope = outer;
    if (val_failed(&v)) return false;
    uint32_t n;
    val_axes(s, &v, &n);
    if (!val_is_elementary(&v) || v.dtype != DT_bool || n) {
        Report *r =
            sema_error(s, DIAG_dtype_mismatch, l->node->repeat.cond->span,
                       "while takes one bool");
        report_help(r, "reduce it by any or all");
        return false;
    }
    Value c = val_use(s, &v, DT_bool);
    /* the body reads what the condition reads, in the condition's order */
    VEC(Value) args = {0};
    for (uint32_t i = 0; i < f->carried.n; i++)
        vec_push(s->a, &args, f->carried.at[i]);
    for (uint32_t i = 0; i < f->captures.n; i++)
        frame_import(s, body, f->up, f->captures.at[i].outer);
    for (uint32_t i = 0; i < body->captures.n; i++)
        if (!body->captures.at[i].stacked)
            vec_push(s->a, &args,
                     frame_import(s, f, f->up, body->captures.at[i].outer));
    *out = frame_close(s, f, args.at, args.n, &c, 1);
    return true;
}

static Type repeat_type(Sema *s, const Loop *l, FnRef fn, uint32_t ncarry)
{
    const Fn *body = fn_of(s->m, fn);
    TypeAxis a = {.axis = l->axis, .size = l->count};
    Type *types = NEW_ARRAY(s->a, Type, body->nresults + 1);
    for (uint32_t i = 0; i < body->nresults; i++) {
        types[i] = body->results[i].type;
        if (i >= ncarry) types[i] = type_with_axis(s->m, types[i], a);
    }
    return type_tuple(s->m, types, body->nresults);
}

static Value emit_repeat(Sema *s, Loop *l, FnRef fn, const FnRef *cond,
                         const Ends *e)
{
    uint32_t ncarry = l->names.n + l->mems.n;
    AttrList a = {.n = 0};
    attr_put_id(&a, AT_fn, fn.id);
    if (cond) attr_put_id(&a, AT_while, cond->id);
    attr_put_id(&a, AT_axis, l->axis.id);
    attr_put_int(&a, AT_count, l->count);
    if (ncarry) attr_put_int(&a, AT_carry, ncarry);
    if (e->ninvariant) attr_put_int(&a, AT_invariant, e->ninvariant);
    here(s)->loc = loc_at(s, l->node);
    return emit(here(s), OP_repeat, repeat_type(s, l, fn, ncarry),
                attr_intern(s->m, &a), e->outer.at, e->outer.n);
}

static void bind_results(Sema *s, Loop *l, const Frame *f, Value loop)
{
    uint32_t k = 0;
    for (uint32_t i = 0; i < l->names.n; i++) {
        Val v = val_tensor(s, emit_proj(here(s), loop, k++));
        value_set_name(here(s), v.tensor.value, l->names.at[i].name);
        scope_bind(s, s->scope, l->names.at[i].name, v);
    }
    for (uint32_t i = 0; i < l->mems.n; i++) {
        Value v = emit_proj(here(s), loop, k++);
        for (uint32_t m = 0; m < f->mems.n; m++)
            if (f->mems.at[m].mem == l->mems.at[i] && f->mems.at[m].written)
                mem_write(s, s->frame, l->mems.at[i], v);
    }
    for (uint32_t i = 0; i < l->stacked.n; i++)
        scope_bind(s, s->scope, l->stacked.at[i],
                   val_tensor(s, emit_proj(here(s), loop, k++)));
    for (uint32_t i = 0; i < f->mems.n; i++)
        if (f->mems.at[i].written && !f->mems.at[i].carried)
            mem_write(s, s->frame, f->mems.at[i].mem,
                      emit_proj(here(s), loop, k++));
    for (uint32_t i = 0; i < f->exports.n; i++) {
        Export e = f->exports.at[i];
        e.value = emit_proj(here(s), loop, k++);
        vec_push(s->a, &s->frame->exports, e);
    }
}

static bool finish(Sema *s, Loop *l, Frame *f, Scope *body)
{
    Ends e = {0};
    FnRef cond;
    bool ok = turn_results(s, l, f, body, &e);
    s->frame = f->up;
    if (!ok) return false;
    if (l->node->repeat.cond && !make_condition(s, l, f, &cond)) return false;
    s->frame = f->up;
    if (e.results.n == 0) return true;
    push_carried(s, l, f, &e);
    push_captures(s, f, false, &e);
    push_captures(s, f, true, &e);
    vec_push(s->a, &e.args, f->turn);
    FnRef fn =
        frame_close(s, f, e.args.at, e.args.n, e.results.at, e.results.n);
    Value loop = emit_repeat(s, l, fn, l->node->repeat.cond ? &cond : NULL, &e);
    bind_results(s, l, f, loop);
    return true;
}

static Site *loop_site(Sema *s, const Node *n, TypeAxis axis)
{
    Site *p = NEW(s->a, Site);
    p->up = s->scope->site;
    p->name = indexed(s, n->repeat.axis.text);
    p->repeats = true;
    p->axis = axis;
    p->no_ckpt = n->repeat.layout.none;
    if (n->repeat.layout.present)
        p->ckpt = layout_component(s, &n->repeat.layout);
    return p;
}

static bool begin(Sema *s, const Node *n, Loop *l)
{
    AxisList axes = {.n = 0};
    *l = (Loop){.node = n};
    if (!axes_of_name(s, n->repeat.axis, &axes)) return false;
    if (axes.n != 1) {
        sema_error(s, DIAG_axis_form, n->repeat.axis.span,
                   "a repeat runs over one axis");
        return false;
    }
    l->axis = axes.at[0];
    if (!axis_size_needed(s, l->axis, n->repeat.axis.span, &l->count))
        return false;
    for (const Frame *f = s->frame; f; f = f->up)
        if (f->kind == FRAME_repeat && f->axis.id == l->axis.id) {
            sema_error(s, DIAG_axis_twice, n->repeat.axis.span,
                       "a repeat over '%s' inside one over the same axis",
                       axis_name(s->m, l->axis));
            return false;
        }
    TypeAxis a = {.axis = l->axis, .size = l->count};
    l->site = loop_site(s, n, a);
    find_bound(s, l, n->repeat.body);
    return true;
}

bool exec_repeat(Sema *s, const Node *n)
{
    Loop l;
    if (!begin(s, n, &l)) return false;
    Frame *outer = s->frame;
    uint32_t fns = s->m->fns.n;
    for (int i = 0; i < MOST_TRIES; i++) {
        Scope *body;
        l.again = false;
        s->m->fns.n = fns;
        Frame *f = loop_frame(s, &l, axis_name(s->m, l.axis));
        if (!run_turn(s, &l, &body)) {
            s->frame = outer;
            return false;
        }
        if (!l.again && !l.trial) return finish(s, &l, f, body);
        l.trial &= l.again;
        s->frame = outer;
    }
    sema_error(s, DIAG_axis_size, n->head,
               "the carried values gain axes in every turn");
    return false;
}
