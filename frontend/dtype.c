/*
 * dtype.c: what a step is kept and computed in, from a plan to the passes.
 *
 *     dtype f32 for param, state, grad      kept and reduced
 *     dtype bf16                            all else
 *
 * In the order of the rules each role takes the dtype of the first that names
 * it; a rule without `for` names all.  Updates compute in f32 always.  What
 * comes out is one of the policies of
 * --dtype, which the option of that name says; on the command line it has the
 * last word.
 */
#include "plan.h"

static bool unknown(Plan *p, Span at, const char *what, const char *help)
{
    Report *r = sema_error(p->s, DIAG_rule_unknown, at, "%s", what);
    report_help(r, "%s", help);
    return false;
}

static const char *const words[] = {"f32", "bf16"};

static bool read_dtype(Plan *p, const Node *rule, PlanDtype *out)
{
    const Node *t = rule->rule.subject.at[0];
    for (uint32_t i = 0; i < 2; i++) {
        if (t->kind != N_name || strcmp(STR(p->s, t->name), words[i])) continue;
        *out = i ? PLAN_bf16 : PLAN_f32;
        return true;
    }
    return unknown(p, t->span,
                   arena_printf(p->s->a, "a step is not computed in '%s'",
                                ast_str(p->s->m, t)),
                   "dtypes: f32, bf16; eight bits: float8 and mx");
}

/* The first rule that is for a role says its dtype. */
static bool take(PlanDtype *role, bool is_for, PlanDtype dtype)
{
    if (!is_for || *role) return false;
    *role = dtype;
    return true;
}

static bool never_applies(Plan *p, const Node *rule)
{
    Report *r = sema_error(p->s, DIAG_rule_beaten, rule->span,
                           "'%s' never applies", rule_text(p, rule));
    report_note(
        r, p->dtype_at->span,
        "this is the first of the rules that say the dtypes of all that "
        "it is for; updates compute in f32");
    return false;
}

bool dtype_rule(Plan *p, const Node *rule)
{
    unsigned roles;
    PlanDtype dtype;
    const Clause *in = rule_clause(rule, CLAUSE_in);
    if (in)
        return unknown(p, in->span, "a dtype is that of a whole step",
                       "leave out 'in'; single layers: float8 and mx");
    if (!read_dtype(p, rule, &dtype) || !rule_roles(p, rule, &roles))
        return false;
    if (!p->dtype_at) p->dtype_at = rule;
    bool says = roles == ON_update && dtype == PLAN_f32;
    says |= take(&p->param, roles & ON_param, dtype);
    says |= take(&p->state, roles & ON_state, dtype);
    says |= take(&p->grad, roles & ON_grad, dtype);
    says |= take(&p->residual, roles & ON_residual, dtype);
    says |= take(&p->computed, roles & ON_activation, dtype);
    return says || never_applies(p, rule);
}

bool dtype_computed(Sema *s, const Node *plan, PlanDtype *out)
{
    Plan p = {.s = s};
    const Node *body = plan->decl.body;
    *out = PLAN_any;
    for (uint32_t i = 0; i < body->block.n && *out == PLAN_any; i++) {
        const Node *rule = body->block.at[i];
        unsigned roles;
        PlanDtype dtype;
        if (rule->kind != N_rule || rule->rule.kind != RULE_dtype) continue;
        if (!rule_roles(&p, rule, &roles) || !read_dtype(&p, rule, &dtype))
            return false;
        if (roles & ON_activation) *out = dtype;
    }
    return true;
}

static const char *word_of(PlanDtype d)
{
    return words[d == PLAN_bf16];
}

/* Masters are in f32 where no rule says otherwise. */
static const char *policy(const Plan *p)
{
    bool narrow = p->computed != PLAN_f32;
    bool kept =
        p->param == PLAN_bf16 && p->state == PLAN_bf16 && p->grad == PLAN_bf16;
    bool masters =
        p->param != PLAN_bf16 && p->state != PLAN_bf16 && p->grad != PLAN_bf16;
    if (masters) return narrow ? "bf16" : "f32";
    return kept && narrow ? "bf16-states" : NULL;
}

/* What repeats carry is an activation like others. */
static bool residual_fits(Plan *p)
{
    bool narrow = p->computed != PLAN_f32;
    if (p->residual == PLAN_any || (p->residual == PLAN_bf16) == narrow)
        return true;
    return unknown(p, p->dtype_at->span,
                   arena_printf(p->s->a,
                                "no step computes residuals in %s and other "
                                "activations in %s",
                                word_of(p->residual), words[narrow]),
                   "write the same dtype for residual and activation");
}

bool dtype_close(Plan *p)
{
    Sema *s = p->s;
    if (!p->dtype_at) return true;
    if (!residual_fits(p)) return false;
    const char *is = policy(p), *given = s->f->opts.dtype;
    if (!is)
        return unknown(
            p, p->dtype_at->span,
            arena_printf(s->a,
                         "no step keeps parameters in %s, states in %s and "
                         "gradients in %s and computes in %s",
                         word_of(p->param), word_of(p->state), word_of(p->grad),
                         words[p->computed != PLAN_f32]),
            "all of them in f32, or all in bf16 with what is computed");
    if (!given)
        option_set(s->m, "dtype", is);
    else if (strcmp(given, is) != 0)
        diag_warning(s->m->diag, DIAG_rule_ignored, p->dtype_at->span,
                     "the plan's dtypes are those of --dtype %s, which says %s",
                     is, given);
    return true;
}
