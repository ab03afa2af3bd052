/*
 * lower.c: from files to entries.
 *
 * The train block comes first, since it says which parameters and states there
 * are; the other entries that are asked for follow; `init`, which has grown on
 * the way, is closed last, as are those of groups.  Arguments of an entry:
 * params, states, inputs, scalars.  Results of `train`: next params, next
 * states, records, checks.
 */
#include "train.h"

/* --------------------------------------------------------------- entries -- */

Frame *entry_frame(Sema *s, const char *name, Span at)
{
    s->frame = NULL;
    return frame_open(s, FRAME_entry, name, loc_of(s->m, at));
}

static Frame *entry_of(Frame *f)
{
    while (f->up)
        f = f->up;
    return f;
}

static Value add_port(Sema *s, Frame *f, Str path, Role role, Type t)
{
    Port p = {.name = path, .type = t, .role = role, .path = path};
    Value v = frame_arg(s, f, t, path);
    vec_push(s->a, &f->ports, p);
    vec_push(s->a, &f->carried, v);
    return v;
}

Value entry_scalar(Sema *s, const char *name, DType d)
{
    Frame *f = entry_of(s->frame);
    Str path = module_str(s->m, name);
    for (uint32_t i = 0; i < f->ports.n; i++)
        if (f->ports.at[i].role == ROLE_scalar &&
            str_eq(f->ports.at[i].path, path))
            return frame_import(s, s->frame, f, f->carried.at[i]);
    Value v = add_port(s, f, path, ROLE_scalar, type_scalar(s->m, d));
    return frame_import(s, s->frame, f, v);
}

/* Roles are numbered in the order in which arguments stand. */
static void sort_ports(Sema *s, Frame *f)
{
    (void)s;
    for (uint32_t i = 1; i < f->ports.n; i++)
        for (uint32_t k = i;
             k > 0 && f->ports.at[k - 1].role > f->ports.at[k].role; k--) {
            Port p = f->ports.at[k];
            Value v = f->carried.at[k];
            f->ports.at[k] = f->ports.at[k - 1];
            f->carried.at[k] = f->carried.at[k - 1];
            f->ports.at[k - 1] = p;
            f->carried.at[k - 1] = v;
        }
}

typedef struct Results {
    VEC(Value) at;
    VEC(Port) ports;
} Results;

static void add_result(Sema *s, Results *r, Value v, Role role, Str path)
{
    Port p = {.role = role, .path = path};
    vec_push(s->a, &r->at, v);
    vec_push(s->a, &r->ports, p);
}

static void close_entry(Sema *s, Frame *f, const Results *r)
{
    sort_ports(s, f);
    FnRef ref =
        frame_close(s, f, f->carried.at, f->carried.n, r->at.at, r->at.n);
    Fn *fn = fn_of(s->m, ref);
    fn->entry = true;
    for (uint32_t i = 0; i < r->at.n; i++) {
        fn->results[i].role = r->ports.at[i].role;
        fn->results[i].path = r->ports.at[i].path;
    }
    s->frame = NULL;
}

static void add_exports(Sema *s, Frame *f, ExportKind kind, Results *r)
{
    static const Role roles[] = {[EXPORT_record] = ROLE_record,
                                 [EXPORT_check] = ROLE_check,
                                 [EXPORT_skip] = ROLE_skip};
    for (uint32_t i = 0; i < f->exports.n; i++)
        if (f->exports.at[i].kind == kind)
            add_result(s, r, f->exports.at[i].value, roles[kind],
                       f->exports.at[i].path);
}

static void next_states(Sema *s, Frame *f, Nexts *out)
{
    for (uint32_t i = 0; i < s->mems.n; i++) {
        Mem *mem = s->mems.at[i];
        if (mem->role != ROLE_state || !mem->has_slot) continue;
        for (uint32_t k = 0; k < f->mems.n; k++) {
            Next n = {mem, f->mems.at[k].value};
            if (f->mems.at[k].mem == mem && f->mems.at[k].written)
                vec_push(s->a, out, n);
        }
    }
}

static void add_nexts(Sema *s, const Nexts *n, Results *r)
{
    for (uint32_t i = 0; i < n->n; i++)
        add_result(s, r, n->at[i].value, n->at[i].mem->role,
                   n->at[i].mem->path);
}

/* ---------------------------------------------------------------- inputs -- */

/* A number that the block compares the input with: it may be that. */
static void find_compared(Sema *s, const Node *n, Str name, Val *v);

static void compared(Sema *s, const Node *n, Str name, Val *v)
{
    const Node *a = n->binary.left, *b = n->binary.right;
    if (n->binary.op == BIN_eq || n->binary.op == BIN_ne) {
        bool is = a->kind == N_name && str_eq(a->name, name);
        bool minus = b->kind == N_unary && b->unary.op == UN_neg;
        const Node *x = minus ? b->unary.x : b;
        if (is && x->kind == N_number) {
            v->may = true;
            v->number = minus ? -x->number.value : x->number.value;
        }
    }
    find_compared(s, a, name, v);
    find_compared(s, b, name, v);
}

static void find_compared(Sema *s, const Node *n, Str name, Val *v)
{
    if (!n) return;
    switch ((NodeKind)n->kind) {
    case N_block:
        for (uint32_t i = 0; i < n->block.n; i++)
            find_compared(s, n->block.at[i], name, v);
        break;
    case N_assign:
        for (uint32_t i = 0; i < n->assign.values.n; i++)
            find_compared(s, n->assign.values.at[i], name, v);
        break;
    case N_record:
        find_compared(s, n->record.value, name, v);
        break;
    case N_call:
        for (uint32_t i = 0; i < n->call.args.n; i++)
            find_compared(s, n->call.args.at[i].value, name, v);
        break;
    case N_contract:
        find_compared(s, n->contract.left, name, v);
        find_compared(s, n->contract.right, name, v);
        break;
    case N_binary:
        compared(s, n, name, v);
        break;
    case N_unary:
        find_compared(s, n->unary.x, name, v);
        break;
    default:
        break;
    }
}

static bool add_input(Sema *s, const Node *entry, const Var *p)
{
    TypeLayout l;
    if (!p->type) {
        sema_error(s, DIAG_argument, p->name.span,
                   "an input of an entry needs a type: %s: f32[...]",
                   STR(s, p->name.text));
        return false;
    }
    if (!type_layout(s, p->type, "input", p->name.text, &l)) return false;
    Value v = add_port(s, s->frame, p->name.text, ROLE_input, l.type);
    Val val = val_tensor(s, v);
    val.name = p->name.text;
    find_compared(s, entry->decl.body, p->name.text, &val);
    scope_bind(s, s->scope, p->name.text, val);
    return true;
}

static bool begin_entry(Sema *s, const Node *n, const char *name)
{
    s->entry++;
    s->frame = entry_frame(s, name, n->head);
    s->scope = scope_push(s, s->main, NULL);
    s->scope->decl = n;
    for (uint32_t i = 0; i < n->decl.params.n; i++)
        if (!add_input(s, n, &n->decl.params.at[i])) return false;
    return true;
}

/* ----------------------------------------------------------------- train -- */

/* A config value that counts: a whole number from 1. */
static bool config_count(Sema *s, const char *name, int64_t otherwise,
                         int64_t *out)
{
    ConfigValue *c = config_find(s, s->main, module_str(s->m, name));
    *out = otherwise;
    if (!c || !val_is_number(&c->value)) return true;
    *out = whole_of(c->value.number);
    if (*out >= 1 && (double)*out == c->value.number) return true;
    sema_error(s, DIAG_size_whole, c->overridden ? (Span){0} : c->at,
               "%s is a whole number from 1, this is %s", name,
               number_str(s, c->value.number));
    return false;
}

/* The first axis of the inputs is the batch; a step has `accumulate` of it. */
static bool global_batch(Sema *s, const Node *n)
{
    AxisList l = {.n = 0};
    int64_t size, accumulate;
    s->sizes.n = 0;
    if (!config_count(s, "accumulate", 1, &accumulate)) return false;
    if (!n->decl.params.n || !n->decl.params.at[0].type) return true;
    const Node *t = n->decl.params.at[0].type;
    s->scope = s->main->scope;
    if (!t->type.naxes) return true;
    if (!axes_of_term(s, t->type.axes[0].term, &l)) return false;
    if (!l.n) return true;
    if (!axis_size_needed(s, l.at[0], t->span, &size)) return false;
    SizeBinding b = {l.at[0], times(size, accumulate)};
    vec_push(s->a, &s->sizes, b);
    option_set(s->m, "batch_axis", axis_name(s->m, l.at[0]));
    option_set(s->m, "accumulate",
               arena_printf(s->a, "%lld", (long long)accumulate));
    return true;
}

/* How long a run is where the command line does not say, inputs or none. */
static bool default_steps(Sema *s)
{
    int64_t steps;
    if (!config_count(s, "steps", 0, &steps)) return false;
    option_set(s->m, "steps", arena_printf(s->a, "%lld", (long long)steps));
    return true;
}

static bool has_export(Sema *s, const char *path)
{
    for (uint32_t i = 0; i < s->frame->exports.n; i++)
        if (strcmp(STR(s, s->frame->exports.at[i].path), path) == 0)
            return true;
    return false;
}

static void train_records(Sema *s, Results *r)
{
    Train *t = s->train;
    Str loss = module_str(s->m, "loss");
    if (!has_export(s, "loss"))
        add_result(s, r, val_use(s, &t->loss, DT_f32), ROLE_record, loss);
    if (s->trained.n && !has_export(s, "grad_norm")) {
        Val norm = bundle_norm(s, t->loss_at, &t->raw);
        add_result(s, r, val_use(s, &norm, DT_f32), ROLE_record,
                   module_str(s->m, "grad_norm"));
    }
    if (t->has_rate && !has_export(s, "lr"))
        add_result(s, r, val_use(s, &t->rate, DT_f32), ROLE_record,
                   module_str(s->m, "lr"));
}

/* What tells the runtime that a step was skipped. */
static void skip_records(Sema *s, Results *r, Value applied, const Nexts *next)
{
    add_result(s, r, emit_cast(here(s), applied, DT_f32), ROLE_record,
               module_str(s->m, "applied"));
    for (uint32_t i = 0; i < next->n; i++)
        if (next->at[i].mem == s->updates)
            add_result(s, r, next->at[i].value, ROLE_record, s->updates->path);
}

static bool close_train(Sema *s)
{
    Results r = {0};
    Nexts next = {0};
    for (uint32_t i = 0; i < s->trained.n; i++) {
        Mem *p = s->trained.at[i];
        Value v = val_use(s, &s->train->next[i], type_dtype(s->m, p->type));
        vec_push(s->a, &next, ((Next){p, v}));
    }
    Val updates = updates_value(s, s->train->at);
    mem_write(s, s->frame, s->updates, val_use(s, &updates, DT_i32));
    next_states(s, s->frame, &next);
    if (!train_changes(s, &next)) return false;
    Value applied = guard_step(s, next.at, next.n);
    add_nexts(s, &next, &r);
    train_records(s, &r);
    skip_records(s, &r, applied, &next);
    add_exports(s, s->frame, EXPORT_record, &r);
    add_exports(s, s->frame, EXPORT_check, &r);
    add_exports(s, s->frame, EXPORT_skip, &r);
    close_entry(s, s->frame, &r);
    return true;
}

static bool lower_train(Sema *s, const Node *n)
{
    s->train = NEW(s->a, Train);
    s->train->at = n->head;
    s->train->block = n->decl.body;
    s->training = true;
    if (!global_batch(s, n) || !default_steps(s) || !begin_entry(s, n, "train"))
        return false;
    s->train->scope = s->scope;
    guard_updates(s);
    if (!exec_block(s, n->decl.body)) return false;
    if (s->train->loss.kind == VAL_error) {
        sema_error(s, DIAG_no_loss, n->decl.name.span,
                   "train block '%s' binds no loss", STR(s, n->decl.name.text));
        return false;
    }
    if (!train_params_known(s, n->head) || !train_all_taken(s) ||
        !close_train(s))
        return false;
    s->train_node = n;
    s->training = false;
    s->train = NULL;
    s->sizes.n = 0;
    return true;
}

/* --------------------------------------------------------- other entries -- */

/* with params = pretrain.shadow: the states of that name, one a parameter. */
static bool params_from(Sema *s, const Setting *set)
{
    const Node *v = set->value;
    Str name = v->kind == N_field  ? v->field.name.text
               : v->kind == N_name ? v->name
                                   : (Str){0};
    Mem **from = NEW_ARRAY(s->a, Mem *, s->trained.n + 1);
    for (uint32_t i = 0; i < s->trained.n; i++) {
        Str path = str_printf(&s->m->strs, "%s.%s", STR(s, name),
                              STR(s, s->trained.at[i]->path));
        from[i] = mem_find(s, path);
        if (from[i]) continue;
        sema_error(
            s, DIAG_no_such_path, v->span,
            "the train block has no state '%s' with a part for each parameter",
            STR(s, name));
        return false;
    }
    s->params_from = from;
    return true;
}

static bool enter_with(Sema *s, const Node *n)
{
    s->scope = s->main->scope;
    for (uint32_t i = 0; i < n->decl.with.n; i++) {
        const Setting *set = &n->decl.with.at[i];
        if (strcmp(STR(s, set->name.text), "params") == 0) {
            if (!params_from(s, set)) return false;
            continue;
        }
        if (!config_find(s, s->main, set->name.text)) {
            sema_error(s, DIAG_define_unknown, set->name.span,
                       "the program has no config value '%s'",
                       STR(s, set->name.text));
            return false;
        }
        ConfigValue c = {.name = set->name.text, .at = set->name.span};
        c.value = eval_node(s, set->value);
        if (val_failed(&c.value)) return false;
        vec_push(s->a, &s->with, c);
    }
    return true;
}

static bool entry_outputs(Sema *s, const Node *n, Results *r)
{
    Scope *sc = s->scope;
    if (!sc->returned) return true;
    Val v = sc->result;
    Val *each = v.kind == VAL_tuple ? v.tuple.at : &v;
    uint32_t count = v.kind == VAL_tuple ? v.tuple.n : 1;
    for (uint32_t i = 0; i < count; i++) {
        Str name = {0};
        if (i < n->decl.results.n) {
            const Var *d = &n->decl.results.at[i];
            TypeCheck c = {.at = sc->result_at,
                           .name = n->decl.name.text,
                           .verb = "returns",
                           .value = count == 1 ? sc->result_node : NULL};
            if (!type_check(s, d->type, &each[i], &c)) return false;
            name = d->name.text;
        }
        if (!name.id)
            name = count == 1 ? module_str(s->m, "output")
                              : str_printf(&s->m->strs, "output.%u", i);
        if (!val_is_elementary(&each[i])) {
            sema_error(s, DIAG_not_a_number, sc->result_at,
                       "an entry returns tensors");
            return false;
        }
        add_result(s, r, val_use(s, &each[i], (DType)each[i].dtype),
                   ROLE_output, name);
    }
    return true;
}

static bool lower_entry(Sema *s, const Node *n)
{
    Results r = {0};
    if (!enter_with(s, n) || !group_enter(s, n)) return false;
    if (!begin_entry(s, n, STR(s, n->decl.name.text))) return false;
    if (!exec_block(s, n->decl.body)) return false;
    if (!entry_outputs(s, n, &r)) return false;
    Nexts next = {0};
    next_states(s, s->frame, &next);
    add_nexts(s, &next, &r);
    add_exports(s, s->frame, EXPORT_record, &r);
    add_exports(s, s->frame, EXPORT_check, &r);
    close_entry(s, s->frame, &r);
    s->with.n = 0;
    s->params_from = NULL;
    s->group = NULL;
    return true;
}

/* Of the program, or of a group. */
static void close_init(Sema *s, const Group *of, Frame *init)
{
    Results r = {0};
    for (uint32_t i = 0; i < s->mems.n; i++) {
        const Mem *mem = s->mems.at[i];
        if (mem->has_slot && mem->group == of)
            add_result(s, &r, mem->initial, mem->role, mem->path);
    }
    close_entry(s, init, &r);
}

static void close_inits(Sema *s)
{
    close_init(s, NULL, s->init);
    for (uint32_t i = 0; i < s->groups.n; i++)
        close_init(s, s->groups.at[i], s->groups.at[i]->init);
}

/* ----------------------------------------------------------- the program -- */

static const Node *nth(Sema *s, NodeKind kind, uint32_t k)
{
    for (uint32_t f = 0; f < s->main->files.n; f++) {
        Nodes d = s->main->files.at[f]->decls;
        for (uint32_t i = 0; i < d.n; i++)
            if (d.at[i]->kind == kind && k-- == 0) return d.at[i];
    }
    return NULL;
}

static bool choose_train(Sema *s, const Node **out)
{
    const char *want = s->f->opts.train, *words[64];
    uint32_t n = 0;
    *out = NULL;
    for (const Node *t; n < 64 && (t = nth(s, N_train, n)); n++) {
        words[n] = STR(s, t->decl.name.text);
        if (!want || strcmp(want, words[n]) == 0) *out = *out ? *out : t;
    }
    if (*out || !want) return true;
    Report *r = sema_error(s, DIAG_no_such_path, (Span){0},
                           "there is no train block '%s'", want);
    const char *near = nearest(want, words, n);
    if (near) report_help(r, "did you mean '%s'?", near);
    return false;
}

static bool exec_uses(Sema *s, Unit *u)
{
    s->scope = u->scope;
    for (uint32_t f = 0; f < u->files.n; f++) {
        Nodes d = u->files.at[f]->decls;
        for (uint32_t i = 0; i < d.n; i++)
            if (d.at[i]->kind == N_use && !exec_use(s, d.at[i])) return false;
    }
    return true;
}

static bool configure(Sema *s)
{
    Str config =
        s->f->opts.config ? module_str(s->m, s->f->opts.config) : (Str){0};
    if (!unit_configure(s, s->main, config, (Span){0})) return false;
    for (uint32_t i = 0; i < s->units.n; i++) {
        Unit *u = s->units.at[i];
        for (uint32_t f = 0; f < u->files.n; f++)
            for (uint32_t k = 0; k < u->files.at[f]->nimports; k++) {
                const Import *im = &u->files.at[f]->imports[k];
                Unit *to = unit_of_file(s, im->file);
                if (!to || to == s->main || to->entered) continue;
                to->entered = true;
                if (!unit_configure(s, to, im->config.text, im->config.span))
                    return false;
            }
    }
    return true;
}

Sema *sema_begin(Frontend *f)
{
    if (f->sema) return f->sema->ok ? f->sema : NULL;
    Sema *s = NEW(f->m->arena, Sema);
    f->sema = s;
    s->f = f;
    s->m = f->m;
    s->a = f->m->arena;
    if (!sema_units(s) || !configure(s)) return NULL;
    s->scope = s->main->scope;
    for (uint32_t i = 0; i < s->main->axes.n; i++) {
        AxisDecl *d = &s->main->axes.at[i];
        Axis a = axis_of_decl(s, s->main, d);
        s->m->axes.at[a.id].size = axis_size(s, a);
    }
    s->ok = f->m->diag->nerrors == 0;
    return s->ok ? s : NULL;
}

static bool lower_entries(Sema *s, const Node *train)
{
    bool ok = true;
    for (uint32_t i = 0; i < s->units.n; i++)
        ok = exec_uses(s, s->units.at[i]) && ok;
    if (!ok || (train && !lower_train(s, train))) return false;
    const Node *e;
    for (uint32_t i = 0; (e = nth(s, N_entry, i)); i++)
        if (entry_wanted(s, STR(s, e->decl.name.text), train))
            ok = lower_entry(s, e) && ok;
    if (ok && train && !entry_wanted(s, "train", true)) entry_drop(s, "train");
    return ok;
}

static bool choose_entries(Sema *s, bool trains)
{
    const char *names[64];
    uint32_t n = 0;
    if (trains) names[n++] = "train";
    for (const Node *e; n < 64 && (e = nth(s, N_entry, n - trains)); n++)
        names[n] = STR(s, e->decl.name.text);
    return entries_known(s, names, n);
}

/* Modules, models and functions are checked where they are used. */
static bool runs_something(Sema *s, const Node *train)
{
    static const char text[] = "the program has no train block and no entry";
    if (train || nth(s, N_entry, 0)) return true;
    bool check = s->f->opts.check;
    Report *r = check
                    ? diag_warning(s->m->diag, DIAG_nothing_to_run, (Span){0},
                                   "%s", text)
                    : sema_error(s, DIAG_nothing_to_run, (Span){0}, "%s", text);
    report_note(r, (Span){0},
                "models, modules and functions are checked where they are "
                "used");
    return check;
}

bool frontend_lower(Frontend *f)
{
    const Node *train;
    Sema *s = sema_begin(f);
    if (!s || !choose_train(s, &train) || !runs_something(s, train) ||
        !choose_entries(s, train))
        return false;
    s->frame = NULL;
    if (!plan_narrow(s, train, &s->narrow)) return false;
    s->init = entry_frame(s, "init", (Span){0});
    if (!lower_entries(s, train)) return false;
    close_inits(s);
    option_set(s->m, "dtype", f->opts.dtype ? f->opts.dtype : "bf16");
    if (s->main->config_name.id)
        option_set(s->m, "config", STR(s, s->main->config_name));
    if (train) option_set(s->m, "train", STR(s, train->decl.name.text));
    if (!config_keys(s)) return false;
    return plan_check(s, train) && s->m->diag->nerrors == 0;
}
