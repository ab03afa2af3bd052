/*
 * plan.c: plans, as far as they can be checked before they are applied.
 *
 * The rules of `shard` are tried (take.c) on the tensors that there are:
 * parameters with their gradients and updates, states, what repeats carry, and
 * every other value of the step.  A rule that never gets anything is an error.
 */
#include "plan.h"

#include "train.h"

/* ------------------------------------------------------------------ mesh -- */

const MeshPart *mesh_part_named(const Plan *p, Str name)
{
    for (uint32_t i = 0; i < p->parts.n; i++)
        if (str_eq(p->parts.at[i].name, name)) return &p->parts.at[i];
    return NULL;
}

static const MeshPart *part_needed(Plan *p, Str name, Span at)
{
    const MeshPart *part = mesh_part_named(p, name);
    if (part) return part;
    const char *words[64];
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->parts.n && n < 64; i++)
        words[n++] = STR(p->s, p->parts.at[i].name);
    Report *r = sema_error(p->s, DIAG_unknown_name, at,
                           "the plan has no mesh axis '%s'", STR(p->s, name));
    const char *near = nearest(STR(p->s, name), words, n);
    if (near) report_help(r, "did you mean '%s'?", near);
    return NULL;
}

static void add_atoms(Plan *p, const Node *body, MeshPart *part)
{
    Sema *s = p->s;
    int64_t sizes[8];
    uint32_t n = plan_factors(p, body, part->name, part->size, sizes);
    for (uint32_t i = 0; i < n; i++) {
        Str name = n == 1
                       ? part->name
                       : str_printf(&s->m->strs, "%s%u", STR(s, part->name), i);
        part->atoms[part->natoms++] = mesh_of(s->m, name, sizes[i]);
    }
}

const MeshPart *mesh_part(const Plan *p, MeshAxis m)
{
    for (uint32_t i = 0; i < p->parts.n; i++) {
        const MeshPart *part = &p->parts.at[i];
        if (mesh_axes_have(part->atoms, part->natoms, m)) return part;
    }
    return NULL;
}

const char *mesh_plain(const Plan *p, MeshAxis m)
{
    const MeshPart *part = mesh_part(p, m);
    return part ? STR(p->s, part->name) : mesh_name(p->s->m, m);
}

const char *mesh_words(const Plan *p, MeshAxis m)
{
    const MeshPart *part = mesh_part(p, m);
    if (!part || part->natoms == 1) return mesh_name(p->s->m, m);
    return arena_printf(
        p->s->m->arena, "%s (%lld of %lld)", STR(p->s, part->name),
        (long long)p->s->m->mesh.at[m.id].size, (long long)part->size);
}

/* The atoms of the mesh axis NAME behind others, of which it has none; at most
 * 8. */
static bool add_atoms_of(Plan *p, Str name, Span at, MeshAxis *atoms,
                         uint32_t *n)
{
    const MeshPart *part = part_needed(p, name, at);
    if (!part) return false;
    for (uint32_t i = 0; i < part->natoms && *n < 8; i++) {
        if (mesh_axes_have(atoms, *n, part->atoms[i])) {
            Report *r = sema_error(p->s, DIAG_axis_twice, at,
                                   "the devices of mesh axis '%s' stand here "
                                   "already",
                                   STR(p->s, name));
            report_help(r, "write each mesh axis once, as in mesh dp = 2, "
                           "tp = 2, all = (dp tp)");
            return false;
        }
        atoms[(*n)++] = part->atoms[i];
    }
    return true;
}

/* A mesh axis is an atom, or a product of others, outermost first. */
static bool add_part(Plan *p, const Node *body, const Setting *set)
{
    Sema *s = p->s;
    MeshPart part = {.name = set->name.text, .at = set->name.span, .size = 1};
    const MeshPart *old = mesh_part_named(p, part.name);
    if (old) {
        Report *r = sema_error(s, DIAG_name_twice, part.at,
                               "the plan has a mesh axis '%s' already",
                               STR(s, part.name));
        report_note(r, old->at, "declared here");
        return false;
    }
    if (set->value->kind == N_product) {
        for (uint32_t i = 0; i < set->value->terms.n; i++) {
            const Node *t = set->value->terms.at[i];
            if (!add_atoms_of(p, t->name, t->span, part.atoms, &part.natoms))
                return false;
            part.size = times(part.size, mesh_part_named(p, t->name)->size);
        }
    } else {
        if (!size_eval(s, set->value, &part.size)) return false;
        add_atoms(p, body, &part);
    }
    vec_push(s->a, &p->parts, part);
    return true;
}

static bool check_mesh_size(Plan *p, const Node *rule)
{
    Sema *s = p->s;
    int64_t all = 1;
    Buf b = {0};
    for (uint32_t i = 0; i < s->m->mesh.n; i++) {
        int64_t size = s->m->mesh.at[i].size;
        all = times(all, size);
        buf_printf(&b, "%s%lld", i ? " x " : "", (long long)size);
    }
    long long devices = s->f->opts.devices;
    bool ok = !devices || devices == all;
    if (!ok) {
        Report *r =
            sema_error(s, DIAG_mesh_size, rule->head,
                       "mesh needs %lld devices (%s), --devices says %lld",
                       (long long)all, b.at, devices);
        report_help(r,
                    "give the mesh axes sizes whose product is %lld, or say "
                    "--devices %lld",
                    devices, (long long)all);
    }
    buf_release(&b);
    return ok;
}

/* Without a mesh there is one device. */
static bool check_one_device(Sema *s, const Node *plan)
{
    long long devices = s->f->opts.devices;
    if (devices <= 1) return true;
    Report *r = sema_error(
        s, DIAG_mesh_size, plan ? plan->decl.name.span : (Span){0},
        "%s is for one device, --devices says %lld",
        plan ? "a plan without a mesh" : "a program without a plan", devices);
    report_help(r, "a plan says where it runs: mesh dp = %lld", devices);
    return false;
}

static bool read_mesh(Plan *p, const Node *plan)
{
    const Node *body = plan->decl.body;
    const Node *last = NULL;
    for (uint32_t i = 0; i < body->block.n; i++) {
        const Node *n = body->block.at[i];
        if (n->kind != N_rule || n->rule.kind != RULE_mesh) continue;
        last = n;
        for (uint32_t k = 0; k < n->rule.mesh.n; k++)
            if (!add_part(p, body, &n->rule.mesh.at[k])) return false;
    }
    return last ? check_mesh_size(p, last) : check_one_device(p->s, plan);
}

/* --------------------------------------------------------------- clauses -- */

const Clause *rule_clause(const Node *rule, ClauseKind kind)
{
    for (uint32_t i = 0; i < rule->rule.nclauses; i++)
        if (rule->rule.clauses[i].kind == kind) return &rule->rule.clauses[i];
    return NULL;
}

static bool path_known(Sema *s, const char *path)
{
    for (uint32_t i = 0; i < s->mems.n; i++)
        if (path_matches(s, path, s->mems.at[i])) return true;
    /* the last word may be a name inside the module */
    const char *dot = strrchr(path, '.');
    return dot &&
           path_known(s, arena_strndup(s->a, path, (size_t)(dot - path)));
}

/* Words that stand where a path may: roles, and what a rule calls small. */
static bool is_word(const char *word)
{
    static const char *const words[] = {"param",  "grad",    "state",
                                        "update", "repeat",  "activation",
                                        "small",  "residual"};
    for (uint32_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(word, words[i]) == 0) return true;
    return false;
}

static bool check_paths(Plan *p, const Nodes *terms)
{
    for (uint32_t i = 0; i < terms->n; i++) {
        const Node *t = terms->at[i];
        const char *path = t->kind == N_name ? STR(p->s, t->name) : "";
        if (!*path || is_word(path) || path_known(p->s, path)) continue;
        path_unknown(p->s, t->span, "plan", path);
        return false;
    }
    return true;
}

static bool subject_is_path(RuleKind kind)
{
    return kind == RULE_float8 || kind == RULE_mx || kind == RULE_keep ||
           kind == RULE_offload;
}

static bool clause_is_path(ClauseKind kind)
{
    return kind == CLAUSE_in || kind == CLAUSE_except;
}

/* Who reads a rule takes the first clause of a kind. */
static bool clauses_once(Plan *p, const Node *rule)
{
    for (uint32_t i = 0; i < rule->rule.nclauses; i++) {
        const Clause *c = &rule->rule.clauses[i];
        const Clause *first = rule_clause(rule, c->kind);
        if (first == c) continue;
        Report *r = sema_error(p->s, DIAG_rule_unknown, c->span,
                               "the rule has a clause '%s' already",
                               clause_word(c->kind));
        report_note(r, first->span, "this one");
        report_help(r, "a rule has each clause once: for param, state");
        return false;
    }
    return true;
}

static bool check_names(Plan *p, const Node *rule)
{
    if (subject_is_path(rule->rule.kind) &&
        !check_paths(p, &rule->rule.subject))
        return false;
    for (uint32_t i = 0; i < rule->rule.nclauses; i++)
        if (clause_is_path(rule->rule.clauses[i].kind) &&
            !check_paths(p, &rule->rule.clauses[i].terms))
            return false;
    if (rule->rule.kind != RULE_gather) return true;
    for (uint32_t i = 0; i < rule->rule.subject.n; i++) {
        AxisList l = {.n = 0};
        if (!axes_of_term(p->s, rule->rule.subject.at[i], &l)) return false;
    }
    return true;
}

/* ---------------------------------------------------------------- shards -- */

bool rule_roles(Plan *p, const Node *rule, unsigned *out)
{
    static const struct {
        const char *word;
        unsigned roles;
    } words[] = {{"param", ON_param},       {"grad", ON_grad},
                 {"state", ON_state},       {"update", ON_update},
                 {"residual", ON_residual}, {"activation", ON_activation}};
    const Clause *c = rule_clause(rule, CLAUSE_for);
    *out = c ? 0 : ~0u;
    for (uint32_t i = 0; c && i < c->terms.n; i++) {
        const Node *t = c->terms.at[i];
        unsigned roles = 0;
        for (uint32_t k = 0; k < sizeof words / sizeof *words; k++)
            if (t->kind == N_name &&
                strcmp(STR(p->s, t->name), words[k].word) == 0)
                roles = words[k].roles;
        if (!roles) {
            Report *r = sema_error(p->s, DIAG_rule_unknown, t->span,
                                   "'%s' is no role", ast_str(p->s->m, t));
            report_help(r, "roles: param, grad, state, update, activation, "
                           "residual");
            return false;
        }
        *out |= roles;
    }
    return true;
}

static bool add_mesh(Plan *p, const Node *t, Shard *out)
{
    if (t->kind == N_product) {
        for (uint32_t i = 0; i < t->terms.n; i++)
            if (!add_mesh(p, t->terms.at[i], out)) return false;
        return true;
    }
    return add_atoms_of(p, t->name, t->span, out->atoms, &out->natoms);
}

/* Paths are those of what is kept. */
static bool paths_fit(Plan *p, const Shard *x)
{
    if (!x->in || x->roles & (unsigned)ON_kept) return true;
    Report *r = sema_error(p->s, DIAG_rule_unknown, x->in->span,
                           "'in' names parameters and states, and the rule is "
                           "for what is computed");
    report_help(r, "leave one of them out: what is computed follows the "
                   "parameters");
    return false;
}

static bool read_shard(Plan *p, const Node *rule)
{
    Shard *out = NEW(p->s->a, Shard);
    out->node = rule;
    out->in = rule_clause(rule, CLAUSE_in);
    const Clause *over = rule_clause(rule, CLAUSE_over);
    if (!over) {
        Report *r = sema_error(p->s, DIAG_rule_unknown, rule->head,
                               "shard needs the mesh axes to go over");
        report_help(r, "write shard seq over cp");
        return false;
    }
    for (uint32_t i = 0; i < over->terms.n; i++)
        if (!add_mesh(p, over->terms.at[i], out)) return false;
    for (uint32_t i = 0; i < rule->rule.subject.n; i++) {
        AxisList l = {.n = 0};
        const Node *t = rule->rule.subject.at[i];
        if (!axes_of_term(p->s, t, &l)) return false;
        uint32_t first = out->naxes;
        for (uint32_t k = 0; k < l.n && out->naxes < 16; k++) {
            out->axis_at[out->naxes] = t->span;
            out->axes[out->naxes++] = l.at[k];
        }
        if (out->naxes > first)
            out->products[out->nproducts++] =
                (Product){first, out->naxes - first};
    }
    vec_push(p->s->a, &p->shards, out);
    return stages_read(p, rule, out) && order_read(p, rule, out) &&
           rule_roles(p, rule, &out->roles) && paths_fit(p, out) &&
           each_read(p, rule, out) && entries_read(p, rule, out);
}

static bool shard_tensor(Plan *p, const Splittee *t)
{
    Taken taken = {.n = 0};
    if (!shard_take(p, t, &taken)) return false;
    why_tensor(p, t, &taken);
    return true;
}

/* --------------------------------------------------------------- tensors -- */

static bool shard_mems(Plan *p)
{
    Sema *s = p->s;
    for (uint32_t i = 0; i < s->mems.n; i++) {
        const Mem *mem = s->mems.at[i];
        static const unsigned of_param[] = {ON_param, ON_grad, ON_update};
        uint32_t n = mem->frozen ? 1 : 3;
        Splittee t = {.type = mem->type, .mem = mem};
        t.name = mem_words(s, mem);
        t.role = ON_state;
        if (mem->role == ROLE_state && !shard_tensor(p, &t)) return false;
        for (uint32_t k = 0; k < n && mem->role == ROLE_param; k++) {
            t.role = of_param[k];
            if (!shard_tensor(p, &t)) return false;
        }
    }
    return true;
}

static bool shard_value(Plan *p, uint32_t f, uint32_t i)
{
    Module *m = p->s->m;
    const Fn *fn = m->fns.at[f];
    const Inst *in = &fn->insts[i];
    const TypeInfo *info = type_info(m, in->type);
    if (in->phase == PHASE_update || info->is_tuple) return true;
    Splittee t = {.type = in->type, .role = ON_activation};
    t.entry = p->entry_of[f];
    t.name = str_of(m, fn->names[i].id ? fn->names[i] : fn->name);
    t.in = fn->names[i].id ? str_of(m, fn->name) : NULL;
    return shard_tensor(p, &t);
}

static bool shard_carried(Plan *p, uint32_t f, const Inst *in)
{
    const Module *m = p->s->m;
    const Fn *fn = m->fns.at[f];
    int64_t carry = attr_int(m, in->attr, AT_carry, 0);
    for (int64_t k = 0; k < carry; k++) {
        Value v = inst_arg(fn, in, (uint32_t)k);
        Splittee t = {.type = value_type(fn, v), .role = ON_residual};
        t.entry = p->entry_of[f];
        t.name = str_of(m, fn->names[v.id]);
        t.in = str_of(m, fn->name);
        if (!shard_tensor(p, &t)) return false;
    }
    return true;
}

static bool shard_values(Plan *p)
{
    Module *m = p->s->m;
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        bool init = strcmp(str_of(m, fn->name), "init") == 0;
        for (uint32_t i = 0; i < fn->ninsts && !init; i++) {
            const Inst *in = &fn->insts[i];
            if (in->op == OP_arg && i < fn->nparams &&
                (fn->params[i].role == ROLE_param ||
                 fn->params[i].role == ROLE_state))
                continue;
            if (in->op == OP_repeat &&
                (!order_fits(p, in) || !shard_carried(p, f, in)))
                return false;
            if (!shard_value(p, f, i)) return false;
        }
    }
    return true;
}

/* -------------------------------------------------------------- choosing -- */

typedef VEC(const Node *) Declared;

/* The declarations of a kind in the program's own files. */
static Declared declared(Sema *s, NodeKind kind)
{
    Declared all = {0};
    for (uint32_t f = 0; f < s->main->files.n; f++) {
        Nodes d = s->main->files.at[f]->decls;
        for (uint32_t i = 0; i < d.n; i++)
            if (d.at[i]->kind == kind) vec_push(s->a, &all, d.at[i]);
    }
    return all;
}

static bool is_of(const Node *plan, const Node *train)
{
    return !train || !plan->decl.of.text.id ||
           str_eq(plan->decl.of.text, train->decl.name.text);
}

static Declared plans(Sema *s, const Node *train)
{
    Declared all = declared(s, N_plan), own = {0};
    for (uint32_t i = 0; i < all.n; i++)
        if (is_of(all.at[i], train)) vec_push(s->a, &own, all.at[i]);
    return own;
}

/* Of the plans, which are all of other train blocks, one whose train block is
 * declared nowhere: a slip, or it is for another model. */
static const Node *stray(Sema *s, const Node *train)
{
    Declared all = declared(s, N_plan), trains = declared(s, N_train);
    for (uint32_t i = 0; train && i < all.n; i++) {
        bool known = false;
        for (uint32_t k = 0; k < trains.n; k++)
            known |= is_of(all.at[i], trains.at[k]);
        if (!known) return all.at[i];
    }
    return NULL;
}

static bool refuse_stray(Sema *s, const Node *plan, const Node *train)
{
    const char *block = STR(s, train->decl.name.text);
    Report *r =
        sema_error(s, DIAG_no_such_path, plan->decl.of.span,
                   "plan '%s' is of train block '%s', the program has "
                   "no such block",
                   STR(s, plan->decl.name.text), STR(s, plan->decl.of.text));
    report_help(r,
                "the program trains '%s'; without a plan, on one device: "
                "--plan none",
                block);
    return false;
}

/* The one that is meant; NULL: none, or it is not known which. */
static const Node *chosen(Sema *s, const Declared *all)
{
    const char *want = s->f->opts.plan;
    const Node *out = !want && all->n == 1 ? all->at[0] : NULL;
    for (uint32_t i = 0; want && i < all->n; i++)
        if (strcmp(want, STR(s, all->at[i]->decl.name.text)) == 0)
            out = all->at[i];
    return out;
}

/* Two of one name, of one train block. */
static bool names_once(Sema *s, const Declared *all)
{
    for (uint32_t i = 1; i < all->n; i++)
        for (uint32_t k = 0; k < i; k++) {
            const Name *a = &all->at[i]->decl.name, *b = &all->at[k]->decl.name;
            if (!str_eq(a->text, b->text)) continue;
            Report *r =
                sema_error(s, DIAG_name_twice, a->span,
                           "there is a plan '%s' already", STR(s, a->text));
            report_note(r, b->span, "declared here");
            return false;
        }
    return true;
}

/* --plan none: none, also where the program has some. */
static bool choose(Sema *s, const Node *train, const Node **out)
{
    const char *want = s->f->opts.plan;
    Declared all = plans(s, train);
    const char **words = NEW_ARRAY(s->a, const char *, (size_t)all.n + 1);
    uint32_t n = all.n;
    if (!names_once(s, &all)) return false;
    for (uint32_t i = 0; i < n; i++)
        words[i] = STR(s, all.at[i]->decl.name.text);
    *out = chosen(s, &all);
    if (*out || (want && strcmp(want, "none") == 0)) return true;
    const Node *other = n ? NULL : stray(s, train);
    if (other) return refuse_stray(s, other, train);
    if (!want && n == 0) return true;
    Report *r = sema_error(s, DIAG_no_such_path, (Span){0},
                           want ? "there is no plan '%s'%s"
                                : "there are several plans%s%s",
                           want ? want : "", "");
    const char *near = want ? nearest(want, words, n) : NULL;
    if (near) report_help(r, "did you mean '%s'?", near);
    if (n)
        report_help(r, "say which: --plan NAME, or none; plans: %s",
                    joined(s, words, n));
    else
        report_help(r, "the program has no plans; the file of one stands "
                       "beside that of the model");
    return false;
}

static bool check_rule(Plan *p, const Node *rule)
{
    if (rule->kind != N_rule || rule->rule.kind == RULE_none) return false;
    if (rule->rule.kind == RULE_remat)
        return remat_rule(p, rule) && clauses_once(p, rule);
    if (!clauses_once(p, rule) || !check_names(p, rule)) return false;
    if (rule->rule.kind == RULE_float8 || rule->rule.kind == RULE_mx)
        return recipe_rule(p, rule);
    if (rule->rule.kind == RULE_offload) return offload_rule(p, rule);
    if (rule->rule.kind == RULE_gather) return gather_rule(p, rule);
    if (rule->rule.kind == RULE_shard) return read_shard(p, rule);
    if (rule->rule.kind == RULE_keep) return keep_rule(p, rule);
    if (rule->rule.kind == RULE_dtype) return dtype_rule(p, rule);
    return true;
}

bool plan_narrow(Sema *s, const Node *train, bool *narrow)
{
    const char *given = s->f->opts.dtype;
    Declared all = plans(s, train);
    const Node *plan = chosen(s, &all);
    PlanDtype computed = PLAN_any;
    if (plan && !dtype_computed(s, plan, &computed)) return false;
    *narrow = given ? strcmp(given, "f32") != 0 : computed != PLAN_f32;
    return true;
}

bool plan_check(Sema *s, const Node *train)
{
    const Node *node;
    if (!choose(s, train, &node)) return false;
    Plan p = {.s = s};
    s->scope = s->main->scope;
    if (node) {
        option_set(s->m, "plan", STR(s, node->decl.name.text));
        const Node *body = node->decl.body;
        entries_find(&p);
        bool ok = read_mesh(&p, node);
        for (uint32_t i = 0; ok && i < body->block.n; i++)
            ok = check_rule(&p, body->block.at[i]);
        if (!ok || !stages_alone(&p) || !shard_mems(&p) || !shard_values(&p) ||
            !rules_used(&p) || !keeps_used(&p) || !dtype_close(&p) ||
            !plan_bind(&p))
            return false;
    } else if (!check_one_device(s, NULL)) {
        return false;
    }
    return check_additive(s);
}
