/*
 * each.c: when parameters that lie in parts are gathered, and gradients
 * reduced.
 *
 *     shard embed over dp for param, grad, state                     usual
 *     shard embed over dp for param, grad, state each step
 *     shard embed over dp for param, grad, state each microbatch
 *
 * With `each microbatch` parameters are gathered for each use, and gradients
 * reduced behind each backward: nothing is whole for longer than it has to be.
 * With `each step` parameters are gathered in front of the first microbatch,
 * and gradients reduced behind the last one, so what is moved does not grow
 * with the number of microbatches, and both lie whole in between.  What is
 * usual is a step in a pipeline, which has many microbatches, and whose stages
 * have few parameters each; otherwise a microbatch.  Where `remat` says what
 * turns keep gathered, parameters are gathered by turns; with a budget a
 * pipeline holds what there is room for.
 */
#include "plan.h"

static bool refuse(Plan *p, Span at, const char *what)
{
    Report *r = sema_error(p->s, DIAG_rule_unknown, at, "%s", what);
    report_help(r,
                "write shard embed over dp for param, grad, state each step, "
                "or each microbatch");
    return false;
}

bool each_read(Plan *p, const Node *rule, Shard *out)
{
    const Clause *c = rule_clause(rule, CLAUSE_each);
    if (!c) return true;
    const Node *t = c->terms.at[0];
    const char *word = t->kind == N_name ? STR(p->s, t->name) : "";
    if (strcmp(word, "step") == 0)
        out->each = EACH_step;
    else if (strcmp(word, "microbatch") == 0)
        out->each = EACH_microbatch;
    else
        return refuse(p, t->span,
                      "parameters are gathered and gradients reduced each "
                      "step or each microbatch");
    bool kept = !(out->roles & ~(unsigned)ON_kept);
    if (kept && (out->roles & (ON_param | ON_grad))) return true;
    return refuse(p, c->span,
                  "the rule says nothing of where parameters or gradients "
                  "lie, which alone are gathered and reduced");
}

static bool is_pipeline(const Plan *p)
{
    for (uint32_t i = 0; i < p->shards.n; i++)
        if (p->shards.at[i]->pipeline) return true;
    return false;
}

const char *each_words(const Plan *p, const Shard *x, unsigned role)
{
    Module *m = p->s->m;
    bool param = role == ON_param;
    RematRules remat;
    if (!(role & (ON_param | ON_grad)) || (x->roles & ~(unsigned)ON_kept))
        return NULL;
    if (!is_pipeline(p) && x->each != EACH_step) return NULL;
    if (!remat_read(m, str_of(m, option_get(m, "remat")), &remat)) return NULL;
    if (x->each == EACH_usual && param && remat_says_gathered(&remat))
        return "gathered in each microbatch, as remat has it";
    if (x->each == EACH_microbatch)
        return param ? "gathered in each microbatch"
                     : "reduced in each microbatch";
    if (x->each == EACH_usual && remat_has_budget(&remat))
        return param ? "gathered once a step if the budget has room"
                     : "reduced once a step if the budget has room";
    return param ? "gathered once a step" : "reduced once a step";
}
