/*
 * stages.c: the rule that cuts layers into stages, as the passes read it.
 *
 *     shard layer over pp schedule interleaved_1f1b chunks 2 microbatch 1
 *
 * becomes the options
 *
 *     pipeline "layer over pp schedule interleaved_1f1b chunks 2"
 *     accumulate "8"        the microbatches of a step
 *
 * A schedule in quotes is a file beside the plan; the option `schedule` is what
 * stands in it.  `microbatch` counts the rows that one device has of the batch
 * in one pass through the stages.  `shard layer over pp` alone, of layers, is
 * such a rule too: what it says of how the axis is used has no other meaning.
 * There is one such rule, and devices along its mesh axis have stages and no
 * parts.
 */
#include <inttypes.h>

#include "plan.h"
#include "train.h"

/* ------------------------------------------------------------------ rule -- */

static bool is_repeated(const Module *m, Axis a)
{
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        for (uint32_t i = 0; i < fn->ninsts; i++)
            if (fn->insts[i].op == OP_repeat &&
                attr_axis(m, fn->insts[i].attr, AT_axis).id == a.id)
                return true;
    }
    return false;
}

/* A repeat with parameters of its own in each turn, and no field goes along it.
 */
static bool is_of_layers(Plan *p, Axis a)
{
    const Module *m = p->s->m;
    bool params = false;
    for (uint32_t i = 0; i < p->s->mems.n; i++) {
        const Mem *mem = p->s->mems.at[i];
        params |= mem->role == ROLE_param && type_axis(m, mem->type, a);
    }
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        for (uint32_t i = 0; i < fn->nparams && fn->entry; i++)
            if (fn->params[i].role == ROLE_input &&
                type_axis(m, fn->params[i].type, a))
                return false;
    }
    return params && is_repeated(m, a);
}

/* Nothing but what is split over what. */
static bool is_bare(Plan *p, const Node *rule, const Shard *x)
{
    for (uint32_t i = 0; i < rule->rule.nclauses; i++)
        if (rule->rule.clauses[i].kind != CLAUSE_over &&
            rule->rule.clauses[i].kind != CLAUSE_chunks)
            return false;
    for (uint32_t i = 0; i < x->naxes; i++)
        if (!is_of_layers(p, x->axes[i])) return false;
    return true;
}

static bool refuse(Plan *p, Span at, const char *help, const char *what)
{
    Report *r = sema_error(p->s, DIAG_pipeline_rule, at, "%s", what);
    report_help(r, "%s", help);
    return false;
}

static const char layers_help[] = "write shard layer over pp schedule 1f1b";

static bool axes_repeated(Plan *p, const Node *rule, const Shard *x)
{
    const Clause *over = rule_clause(rule, CLAUSE_over);
    for (uint32_t i = 0; i < x->naxes; i++) {
        if (is_repeated(p->s->m, x->axes[i])) continue;
        Report *r =
            sema_error(p->s, DIAG_rule_unused, x->axis_at[i],
                       "rule shards nothing: there is no repeat over '%s'",
                       axis_name(p->s->m, x->axes[i]));
        report_help(r, "schedule, layers, ends and microbatch are of layers "
                       "that stages share");
        return false;
    }
    if (x->natoms != 1)
        return refuse(p, over->span, layers_help,
                      "stages go over one mesh axis");
    return x->nproducts == x->naxes ||
           refuse(p, rule->span, "name them one by one: shard a, b over pp",
                  "a product of axes is no repeat");
}

/* What says where tensors lie is no matter of stages. */
static bool clauses_fit(Plan *p, const Node *rule)
{
    for (uint32_t i = 0; i < rule->rule.nclauses; i++) {
        const Clause *c = &rule->rule.clauses[i];
        if (c->kind != CLAUSE_for && c->kind != CLAUSE_in &&
            c->kind != CLAUSE_of && c->kind != CLAUSE_bound &&
            c->kind != CLAUSE_each)
            continue;
        return refuse(p, c->span,
                      "leave it out; such a rule has over, schedule, chunks, "
                      "layers, ends and microbatch",
                      arena_printf(p->s->a,
                                   "'%s' in a rule that cuts layers into "
                                   "stages, which are of the whole program",
                                   clause_word(c->kind)));
    }
    const Clause *ends = rule_clause(rule, CLAUSE_ends);
    return !ends || !rule_clause(rule, CLAUSE_layers) ||
           refuse(p, ends->span, "leave out one of them",
                  "'ends' beside 'layers', which says how many layers each "
                  "stage has");
}

static bool numbers_fit(Plan *p, const Clause *c, int64_t least)
{
    for (uint32_t i = 0; c && i < c->terms.n; i++) {
        const Node *t = c->terms.at[i];
        if (t->kind == N_number && t->number.whole &&
            t->number.integer >= least && t->number.integer <= 1 << 20)
            continue;
        Report *r =
            sema_error(p->s, DIAG_number_range, t->span,
                       "'%s' takes whole numbers from %d, found %s",
                       clause_word(c->kind), (int)least, ast_str(p->s->m, t));
        report_help(r, c->kind == CLAUSE_layers
                           ? "a number for each stage, as layers 3, 5"
                       : c->kind == CLAUSE_ends
                           ? "what stands before the layers, and behind them, "
                             "in layers: ends 1, 1"
                           : "stages of a rank, as chunks 2");
        return false;
    }
    return true;
}

bool stages_read(Plan *p, const Node *rule, Shard *out)
{
    const Clause *ends = rule_clause(rule, CLAUSE_ends);
    out->pipeline = rule_clause(rule, CLAUSE_schedule) || ends ||
                    rule_clause(rule, CLAUSE_layers) ||
                    rule_clause(rule, CLAUSE_microbatch) ||
                    is_bare(p, rule, out);
    if (!out->pipeline) return true;
    out->used = true;
    if (!axes_repeated(p, rule, out) || !clauses_fit(p, rule) ||
        !numbers_fit(p, rule_clause(rule, CLAUSE_chunks), 1) ||
        !numbers_fit(p, rule_clause(rule, CLAUSE_layers), 0) ||
        !numbers_fit(p, ends, 0))
        return false;
    return !ends || ends->terms.n == 2 ||
           refuse(p, ends->span,
                  "what stands before the layers, and behind them, in layers: "
                  "ends 1, 1",
                  arena_printf(p->s->a, "'ends' takes two numbers, found %u",
                               ends->terms.n));
}

/* ---------------------------------------------------------- other rules -- */

bool stages_alone(Plan *p)
{
    const Shard *cut = NULL;
    for (uint32_t i = 0; i < p->shards.n; i++) {
        const Shard *x = p->shards.at[i];
        if (!x->pipeline) continue;
        if (cut) {
            Report *r = sema_error(p->s, DIAG_rule_beaten, x->node->span,
                                   "'%s' never applies: one rule cuts layers "
                                   "into stages",
                                   rule_text(p, x->node));
            report_note(r, cut->node->span, "this one");
            report_help(r, "one rule may name several repeats: shard encoder, "
                           "decoder over pp");
            return false;
        }
        cut = x;
    }
    for (uint32_t i = 0; cut && i < p->shards.n; i++) {
        const Shard *x = p->shards.at[i];
        const char *mesh = mesh_name(p->s->m, cut->atoms[0]);
        if (x->pipeline || !mesh_axes_have(x->atoms, x->natoms, cut->atoms[0]))
            continue;
        Report *r = sema_error(p->s, DIAG_rule_beaten, x->node->span,
                               "'%s' splits over '%s', along which devices "
                               "have stages and no parts",
                               rule_text(p, x->node), mesh);
        report_note(r, cut->node->span, "this rule makes the stages");
        report_help(r, "leave out '%s', or split over another mesh axis", mesh);
        return false;
    }
    return true;
}

/* ---------------------------------------------------------- microbatches -- */

/* On how many devices the rows of a step are. */
static int64_t batch_devices(Plan *p, Axis batch)
{
    const Module *m = p->s->m;
    FnRef train;
    int64_t n = 1;
    if (!fn_find(m, module_str(p->s->m, "train"), &train)) return n;
    const Fn *fn = fn_of(m, train);
    for (uint32_t i = 0; i < fn->nparams; i++) {
        Taken taken = {.n = 0};
        Splittee t = {.type = fn->params[i].type, .role = ON_activation};
        t.entry = t.name = "train";
        if (fn->params[i].role != ROLE_input || !type_axis(m, t.type, batch))
            continue;
        if (!shard_take(p, &t, &taken)) return n;
        for (uint32_t k = 0; k < taken.n; k++)
            if (taken.at[k].axis.id == batch.id)
                n *= m->mesh.at[taken.at[k].mesh.id].size;
        return n;
    }
    return n;
}

static bool set_microbatches(Plan *p, const Clause *c)
{
    Sema *s = p->s;
    Axis batch;
    const Node *t = c->terms.at[0];
    int64_t rows = t->number.integer;
    if (!axis_find(s->m, option_get(s->m, "batch_axis"), &batch)) return true;
    if (!t->number.whole || rows < 1) {
        Report *r = sema_error(s, DIAG_pipeline_micros, t->span,
                               "a microbatch of %s rows", ast_str(s->m, t));
        report_help(r,
                    "a microbatch has at least one row of '%s', and whole "
                    "ones",
                    axis_name(s->m, batch));
        return false;
    }
    int64_t devices = batch_devices(p, batch), size = axis_size(s, batch);
    if (size % (devices * rows) != 0) {
        Report *r =
            sema_error(s, DIAG_pipeline_micros, t->span,
                       "axis '%s' (%" PRId64 ") is not a multiple of %" PRId64
                       " rows on each of %" PRId64 " device%s",
                       axis_name(s->m, batch), size, rows, devices,
                       devices == 1 ? "" : "s");
        report_help(r, "%" PRId64 " rows would be one microbatch",
                    size / devices);
        return false;
    }
    int64_t parts = option_int(s->m, "accumulate", 1) * (size / devices / rows);
    option_set(s->m, "accumulate", arena_printf(s->a, "%" PRId64, parts));
    return true;
}

/* --------------------------------------------------------------- options -- */

static bool read_schedule(Plan *p, const Node *name)
{
    Sema *s = p->s;
    size_t size;
    const char *file = STR(s, name->string);
    const char *from = diag_place(s->m->diag, name->span).path;
    const char *end = strrchr(from, '/');
    if (end && *file != '/')
        file = arena_printf(s->a, "%.*s/%s", (int)(end - from), from, file);
    const char *text = read_file(s->a, file, &size);
    if (text) {
        option_set(s->m, "schedule", text);
        return true;
    }
    sema_error(s, DIAG_file_missing, name->span, "could not read \"%s\"", file);
    return false;
}

static void put_terms(Plan *p, const Clause *c, Buf *out)
{
    buf_printf(out, " %s", clause_word(c->kind));
    for (uint32_t i = 0; i < c->terms.n; i++) {
        const Node *t = c->terms.at[i];
        buf_puts(out, i ? ", " : " ");
        if (t->kind == N_string)
            buf_printf(out, "\"%s\"", STR(p->s, t->string));
        else
            buf_puts(out,
                     STR(p->s, t->kind == N_number ? t->number.text : t->name));
    }
}

bool plan_stages(Plan *p, const Shard *x, Buf *out)
{
    for (uint32_t i = 0; i < x->node->rule.nclauses; i++) {
        const Clause *c = &x->node->rule.clauses[i];
        switch (c->kind) {
        case CLAUSE_schedule:
            if (c->terms.at[0]->kind == N_string &&
                !read_schedule(p, c->terms.at[0]))
                return false;
            put_terms(p, c, out);
            break;
        case CLAUSE_chunks:
        case CLAUSE_layers:
        case CLAUSE_ends:
            put_terms(p, c, out);
            break;
        case CLAUSE_microbatch:
            if (!set_microbatches(p, c)) return false;
            break;
        default:
            break;
        }
    }
    return true;
}
