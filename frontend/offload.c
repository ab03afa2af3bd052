/*
 * offload.c: what a plan keeps in the memory of the host.
 *
 *     offload state in attention to host
 *     ------- ----- ------------ -------
 *     rule    what  where        the memory of the host; there is no other
 *
 * What is a role, `state` or `param`, or paths of parameters, which `for state`
 * turns into those of their states.  A slot that is offloaded lies there from
 * the first step to the last; a scalar gains nothing and stays.  What turns
 * of a repeat keep is for the rules of `remat`, with their clause `offload`.
 */
#include "plan.h"
#include "train.h"

static bool term_is(Plan *p, const Node *t, const char *word)
{
    return t->kind == N_name && strcmp(STR(p->s, t->name), word) == 0;
}

static bool names_role(Plan *p, const Nodes *terms, Role role)
{
    for (uint32_t i = 0; i < terms->n; i++)
        if (term_is(p, terms->at[i], role_name(role))) return true;
    return false;
}

static bool names_path(Plan *p, const Nodes *terms, const Mem *mem)
{
    for (uint32_t i = 0; i < terms->n; i++)
        if (terms->at[i]->kind == N_name &&
            path_matches(p->s, STR(p->s, terms->at[i]->name), mem))
            return true;
    return false;
}

static bool is_meant(Plan *p, const Node *rule, const Mem *mem)
{
    const Clause *in = rule_clause(rule, CLAUSE_in);
    const Clause *roles = rule_clause(rule, CLAUSE_for);
    const Nodes *subject = &rule->rule.subject;
    bool path = names_path(p, subject, mem);
    if (in && !names_path(p, &in->terms, mem)) return false;
    if (!path && !names_role(p, subject, mem->role)) return false;
    if (roles) return names_role(p, &roles->terms, mem->role);
    return !path || mem->role == ROLE_param;
}

static bool goes_to_host(Plan *p, const Node *rule)
{
    const Clause *to = rule_clause(rule, CLAUSE_to);
    const Node *where = to ? to->terms.at[0] : NULL;
    if (where && term_is(p, where, "host")) return true;
    Report *r =
        sema_error(p->s, DIAG_offload_rule, where ? where->span : rule->span,
                   where ? "'%s' is no memory to offload to"
                         : "the rule does not say where to%s",
                   where ? ast_str(p->s->m, where) : "");
    report_help(r, "write to host: there is no other");
    return false;
}

/* Roles that are no slots have rules of their own. */
static bool roles_fit(Plan *p, const Nodes *terms)
{
    static const char *const others[] = {"grad", "update", "activation",
                                         "residual"};
    for (uint32_t i = 0; i < terms->n; i++)
        for (uint32_t k = 0; k < sizeof others / sizeof *others; k++) {
            if (!term_is(p, terms->at[i], others[k])) continue;
            Report *r = sema_error(p->s, DIAG_offload_rule, terms->at[i]->span,
                                   "%s is nothing that lasts from step to step",
                                   others[k]);
            report_help(r,
                        "offload takes state, param and paths; what turns "
                        "keep for the backward: remat repeat offload record");
            return false;
        }
    return true;
}

static bool moves_nothing(Plan *p, const Node *rule)
{
    Report *r = sema_error(p->s, DIAG_rule_unused, rule->span,
                           "'%s' moves nothing", ast_str(p->s->m, rule));
    report_help(r, "no parameter or state with an axis is meant, or rules "
                   "before it have moved them all");
    return false;
}

bool offload_rule(Plan *p, const Node *rule)
{
    Module *m = p->s->m;
    const Clause *roles = rule_clause(rule, CLAUSE_for);
    uint32_t moved = 0;
    if (!goes_to_host(p, rule) || !roles_fit(p, &rule->rule.subject) ||
        (roles && !roles_fit(p, &roles->terms)))
        return false;
    for (uint32_t i = 0; i < p->s->mems.n; i++) {
        const Mem *mem = p->s->mems.at[i];
        Slot *slot = slot_find(m, mem->path);
        bool fits = slot && slot->saved && type_info(m, mem->type)->naxes > 0;
        if (!fits || slot->host || !is_meant(p, rule, mem)) continue;
        slot->host = true;
        moved++;
    }
    return moved || moves_nothing(p, rule);
}
