/*
 * stmt.c: statements.
 *
 * A name is rebound, never changed; what a name is bound to after an `if` or a
 * `for` is what the last binding that ran gave it, since both are decided
 * while compiling.
 */
#include "sema.h"

enum { MOST_TURNS = 1 << 16 };

/* ---------------------------------------------------------- assignment -- */

/* The value with exactly the type of the state: fewer axes are filled. */
static bool fit_state(Sema *s, Mem *mem, Val *v, Span at)
{
    Value old = mem_read(s, s->frame, mem);
    const TypeInfo *t = type_info(s->m, value_type(s->frame->fn, old));
    uint32_t n, k = 0;
    const TypeAxis *axes = val_axes(s, v, &n);
    for (uint32_t i = 0; i < n; i++) {
        const TypeAxis *a =
            type_axis(s->m, value_type(s->frame->fn, old), axes[i].axis);
        if (a && a->size == axes[i].size) continue;
        sema_error(s, DIAG_axis_extra, at,
                   a ? "state '%s' has axis '%s' with another size"
                     : "state '%s' has no axis '%s'",
                   STR(s, mem->name), axis_name(s->m, axes[i].axis));
        return false;
    }
    TypeAxis *more = NEW_ARRAY(s->a, TypeAxis, t->naxes + 1);
    for (uint32_t i = 0; i < t->naxes; i++)
        if (!val_axis(s, v, t->axes[i].axis)) more[k++] = t->axes[i];
    Value x = val_use(s, v, (DType)t->dtype);
    *v = val_tensor(s, k ? emit_broadcast(here(s), x, more, k) : x);
    return true;
}

static bool assign_state(Sema *s, Mem *mem, Val v, Span at)
{
    if (!val_is_elementary(&v)) {
        sema_error(s, DIAG_not_a_number, at, "a state holds a tensor");
        return false;
    }
    if (!fit_state(s, mem, &v, at)) return false;
    mem_write(s, s->frame, mem, v.tensor.value);
    return true;
}

static bool assign_states(Sema *s, const Val *states, const Val *v, Span at)
{
    if (v->kind != VAL_bundle) {
        sema_error(
            s, DIAG_not_a_number, at,
            "this state has a part for each parameter, the value has not");
        return false;
    }
    for (uint32_t i = 0; i < v->tuple.n; i++)
        if (!assign_state(s, states->tuple.at[i].mem, v->tuple.at[i], at))
            return false;
    return true;
}

static bool assign_one(Sema *s, const Var *t, Val v, const Node *value)
{
    if (val_failed(&v)) return false;
    if (strcmp(STR(s, t->name.text), "_") == 0) return true;
    TypeCheck c = {.at = t->name.span,
                   .value = value,
                   .name = t->name.text,
                   .verb = "is declared",
                   .declared = true};
    if (t->type && !type_check(s, t->type, &v, &c)) return false;
    if (train_assigned(s, t->name.text, v, t->name.span)) return true;
    Binding *old = scope_find(s->scope, t->name.text);
    if (old && old->value.kind == VAL_state)
        return assign_state(s, old->value.mem, v, t->name.span);
    if (old && binds_states(old))
        return assign_states(s, &old->value, &v, t->name.span);
    if (v.kind == VAL_tensor)
        value_set_name(here(s), val_here(s, &v), t->name.text);
    if (old && val_is_elementary(&old->value) && val_is_elementary(&v))
        size_follow(s, &old->value, &v);
    scope_bind(s, s->scope, t->name.text, v);
    return true;
}

static bool assign_fields(Sema *s, const Node *n)
{
    const Vars *t = &n->assign.targets;
    Val v = eval_node(s, n->assign.values.at[0]);
    if (val_failed(&v)) return false;
    if (v.kind != VAL_tuple || v.tuple.n != t->n) {
        Report *r = sema_error(s, DIAG_argument, n->assign.values.at[0]->head,
                               "%u names are bound, the value has %u parts",
                               t->n, v.kind == VAL_tuple ? v.tuple.n : 1);
        report_help(r, "'_' takes what is not needed");
        return false;
    }
    for (uint32_t i = 0; i < t->n; i++)
        if (!assign_one(s, &t->at[i], v.tuple.at[i], NULL)) return false;
    return true;
}

/* All values are computed before any name is bound. */
static bool exec_assign(Sema *s, const Node *n)
{
    const Vars *t = &n->assign.targets;
    const Nodes *values = &n->assign.values;
    if (values->n == 1 && t->n > 1) return assign_fields(s, n);
    Val *v = NEW_ARRAY(s->a, Val, t->n + 1);
    for (uint32_t i = 0; i < t->n; i++) {
        v[i] = eval_node(s, values->at[i]);
        if (val_failed(&v[i])) return false;
    }
    for (uint32_t i = 0; i < t->n; i++)
        if (!assign_one(s, &t->at[i], v[i], values->at[i])) return false;
    return true;
}

/* --------------------------------------------------------------- return -- */

static bool exec_return(Sema *s, const Node *n)
{
    Scope *base = scope_base(s->scope);
    if (base != s->scope) {
        sema_error(s, DIAG_no_return, n->span,
                   "a repeat cannot be left by return");
        return false;
    }
    Val v = {.kind = VAL_tuple};
    v.tuple.at = NEW_ARRAY(s->a, Val, n->ret.n + 1);
    v.tuple.n = n->ret.n;
    for (uint32_t i = 0; i < n->ret.n; i++) {
        v.tuple.at[i] = eval_node(s, n->ret.at[i]);
        if (val_failed(&v.tuple.at[i])) return false;
    }
    base->result = n->ret.n == 1 ? v.tuple.at[0] : v;
    base->result_at = n->span;
    base->result_node = n->ret.n == 1 ? n->ret.at[0] : NULL;
    base->returned = true;
    return true;
}

/* -------------------------------------------------------- static choices -- */

static bool exec_if(Sema *s, const Node *n)
{
    bool yes;
    if (!eval_condition(s, n->branch.cond, &yes)) return false;
    const Node *taken = yes ? n->branch.then : n->branch.otherwise;
    return taken ? exec(s, taken) : true;
}

/* The elements of a list of `for`. */
static bool list_values(Sema *s, const Node *n, Val *out)
{
    if (n->kind != N_range) {
        *out = eval_node(s, n);
        if (val_failed(out)) return false;
        if (out->kind == VAL_tuple || out->kind == VAL_bundle) return true;
        Report *r = sema_error(s, DIAG_not_static, n->span,
                               "a for walks over a list, a bundle or a range");
        if (val_is_number(out))
            report_help(r, "a range ends before its end: 0 .. %s",
                        number_str(s, out->number));
        return false;
    }
    int64_t ends[2];
    const Node *nodes[2] = {n->range.first, n->range.end};
    for (int i = 0; i < 2; i++) {
        Val v = eval_node(s, nodes[i]);
        if (val_failed(&v)) return false;
        if (!val_is_number(&v) || v.number != (double)whole_of(v.number)) {
            sema_error(
                s, DIAG_not_static, nodes[i]->span,
                "the ends of a range have to be whole numbers known when "
                "compiling");
            return false;
        }
        ends[i] = whole_of(v.number);
    }
    int64_t count = ends[1] > ends[0] ? ends[1] - ends[0] : 0;
    if (count > 4096) {
        sema_error(s, DIAG_too_many, n->span,
                   "a for of %lld turns; write repeat", (long long)count);
        return false;
    }
    *out = (Val){.kind = VAL_tuple};
    out->tuple.n = (uint32_t)count;
    out->tuple.at = NEW_ARRAY(s->a, Val, (size_t)count + 1);
    for (uint32_t i = 0; i < out->tuple.n; i++)
        out->tuple.at[i] = val_whole(ends[0] + i);
    return true;
}

static bool for_turn(Sema *s, const Node *n, const Val *lists, uint32_t turn)
{
    for (uint32_t i = 0; i < n->loop.names.n; i++)
        scope_bind(s, s->scope, n->loop.names.at[i].text,
                   lists[i].tuple.at[turn]);
    uint32_t called = s->scope->called.n;
    Str index = s->scope->index;
    s->scope->index = str_printf(&s->m->strs, "%s.%u", STR(s, index), turn);
    bool ok = exec_block(s, n->loop.body);
    s->scope->index = index;
    s->scope->called.n = called; /* each turn has its own instances */
    return ok;
}

static bool exec_for(Sema *s, const Node *n)
{
    Val *lists = NEW_ARRAY(s->a, Val, n->loop.lists.n + 1);
    for (uint32_t i = 0; i < n->loop.lists.n; i++)
        if (!list_values(s, n->loop.lists.at[i], &lists[i])) return false;
    for (uint32_t i = 1; i < n->loop.lists.n; i++)
        if (lists[i].tuple.n != lists[0].tuple.n) {
            sema_error(s, DIAG_argument, n->loop.lists.at[i]->span,
                       "the lists have %u and %u elements", lists[0].tuple.n,
                       lists[i].tuple.n);
            return false;
        }
    for (uint32_t t = 0; t < lists[0].tuple.n; t++) {
        if (++s->turns > MOST_TURNS) {
            sema_error(s, DIAG_too_many, n->head,
                       "the program makes more than %d turns of for",
                       MOST_TURNS);
            return false;
        }
        if (!for_turn(s, n, lists, t)) return false;
    }
    return true;
}

/* ------------------------------------------------------- records, checks -- */

/* What each step logs beside the records of the program. */
static bool record_taken(Sema *s, const Node *n, Str path)
{
    const char *text = STR(s, path);
    if (!s->train || (strcmp(text, "applied") && strcmp(text, "updates")))
        return false;
    sema_error(s, DIAG_name_twice, n->record.name.span,
               "every step logs '%s': no other record has that name", text);
    return true;
}

static bool exec_record(Sema *s, const Node *n)
{
    Val v = eval_node(s, n->record.value);
    if (val_failed(&v)) return false;
    if (!val_is_elementary(&v)) {
        sema_error(s, DIAG_not_a_number, n->record.value->span,
                   "a record is a number or a tensor");
        return false;
    }
    DType d = v.dtype == DT_bool ? DT_f32 : (DType)v.dtype;
    here(s)->loc = loc_at(s, n);
    Value x = val_use(s, &v, d);
    x = emit_unary(here(s), SC_stop, x);
    Export e = {EXPORT_record, indexed(s, n->record.name.text), x, n->head};
    e.path = site_path(s, s->scope->site, e.path);
    if (record_taken(s, n, e.path)) return false;
    vec_push(s->a, &s->frame->exports, e);
    return true;
}

/* A bool that a step gives: its text, and what makes one of all elements. */
typedef struct Condition {
    ExportKind kind;
    Str text;
    const char *reduce;
} Condition;

static bool export_bool(Sema *s, const Node *n, const Condition *k, Val c)
{
    uint32_t naxes;
    const TypeAxis *axes = val_axes(s, &c, &naxes);
    Axis all[64];
    for (uint32_t i = 0; i < naxes && i < 64; i++)
        all[i] = axes[i].axis;
    c = reduce_axes(s, n->head, k->reduce, c, all, naxes);
    Export e = {k->kind, k->text, val_use(s, &c, DT_bool), n->head};
    vec_push(s->a, &s->frame->exports, e);
    return true;
}

static bool exec_check(Sema *s, const Node *n)
{
    Val c = eval_node(s, n->check.cond);
    if (val_failed(&c)) return false;
    Str text = n->check.text ? n->check.text->string : (Str){0};
    if (val_is_number(&c)) {
        if (c.number != 0) return true;
        sema_error(s, DIAG_check_failed, n->check.cond->span, "%s",
                   STR(s, text));
        return false;
    }
    if (!val_is_elementary(&c) || c.dtype != DT_bool) {
        sema_error(s, DIAG_dtype_mismatch, n->check.cond->span,
                   "a check takes a bool");
        return false;
    }
    return export_bool(s, n, &(Condition){EXPORT_check, text, "min"}, c);
}

/* Any element skips the step, as any keeps a check from holding. */
static bool exec_skip(Sema *s, const Node *n)
{
    if (!s->train || s->frame->up) {
        sema_error(s, DIAG_no_loss, n->head, "a skip stands in a train block");
        return false;
    }
    Val c = eval_node(s, n->check.cond);
    if (val_failed(&c)) return false;
    if (!val_is_elementary(&c) || c.dtype != DT_bool) {
        sema_error(s, DIAG_dtype_mismatch, n->check.cond->span,
                   "a skip takes a bool");
        return false;
    }
    Condition skip = {EXPORT_skip, n->check.text->string, "max"};
    return export_bool(s, n, &skip, c);
}

/* ---------------------------------------------------------------- blocks -- */

bool exec(Sema *s, const Node *n)
{
    switch ((NodeKind)n->kind) {
    case N_axis:
        return axis_declare(s, n);
    case N_use:
        return exec_use(s, n);
    case N_param:
        return exec_param(s, n);
    case N_state:
        return exec_state(s, n);
    case N_assign:
        return exec_assign(s, n);
    case N_return:
        return exec_return(s, n);
    case N_if:
        return exec_if(s, n);
    case N_for:
        return exec_for(s, n);
    case N_repeat:
        return exec_repeat(s, n);
    case N_record:
        return exec_record(s, n);
    case N_check:
        return exec_check(s, n);
    case N_skip:
        return exec_skip(s, n);
    case N_update:
        return exec_update(s, n);
    case N_block:
        return exec_block(s, n);
    case N_error:
        return false;
    default: {
        Val v = eval_node(s, n);
        return !val_failed(&v);
    }
    }
}

/* After a statement in error its block goes on: what an assignment binds is an
 * error value, which silences all that is made from it.  Not after one that
 * gives axes, sizes or instances, or has statements of its own: what follows
 * would be judged by guesses.  Nor after many errors: nobody reads on. */
static bool may_go_on(Sema *s, const Node *n)
{
    enum { ENOUGH = 5 };
    const Vars *made = &n->assign.targets;
    if (s->m->diag->nerrors >= ENOUGH) return false;
    if (n->kind != N_assign)
        return n->kind == N_record || n->kind == N_check || n->kind == N_skip;
    for (uint32_t i = 0; i < made->n; i++)
        if (s->train && !strcmp(STR(s, made->at[i].name.text), "loss"))
            return false; /* the parameters are not known then */
    for (uint32_t i = 0; i < made->n; i++)
        scope_bind(s, s->scope, made->at[i].name.text, val_error());
    return true;
}

bool exec_block(Sema *s, const Node *block)
{
    bool ok = true;
    for (uint32_t i = 0; i < block->block.n; i++) {
        if (scope_base(s->scope)->returned) break;
        if (exec(s, block->block.at[i])) continue;
        ok = false;
        if (!may_go_on(s, block->block.at[i])) break;
    }
    return ok;
}
