/*
 * ring.c: how attention meets the keys of other devices, from a plan to the
 * passes.
 *
 *     gather ctx by all      keys and values are brought together
 *     gather ctx by ring     blocks of them go round
 *
 * The axes that go round are the option `ring`, which the pass of that name
 * reads; to bring together is what is done without a rule.  What goes round is
 * computed, so `for` names activations; which attention is meant is said by the
 * axis of its keys.
 */
#include "plan.h"

static bool is_for_all(Plan *p, const Node *rule)
{
    const Clause *in = rule_clause(rule, CLAUSE_in);
    if (!in) return true;
    const char *axis = ast_str(p->s->m, rule->rule.subject.at[0]);
    Report *r =
        sema_error(p->s, DIAG_rule_unknown, in->span,
                   "a rule to gather '%s' is for all keys along it", axis);
    report_help(r, "give those that go another way an axis of their own, as in "
                   "axis far = seq");
    return false;
}

static bool roles_fit(Plan *p, const Node *rule)
{
    unsigned roles;
    const Clause *c = rule_clause(rule, CLAUSE_for);
    if (!rule_roles(p, rule, &roles)) return false;
    if (!c || roles == ON_activation) return true;
    Report *r = sema_error(p->s, DIAG_rule_unknown, c->span,
                           "what attention gathers is computed: it is no %s",
                           ast_str(p->s->m, c->terms.at[0]));
    report_help(r, "write for activation, or leave it out; parameters are "
                   "gathered by their uses (keep)");
    return false;
}

/* Keys along an axis go one way. */
static bool is_first(Plan *p, const Node *rule)
{
    for (uint32_t i = 0; i < rule->rule.subject.n; i++) {
        AxisList l = {.n = 0};
        if (!axes_of_term(p->s, rule->rule.subject.at[i], &l)) return false;
        for (uint32_t k = 0; k < l.n; k++) {
            for (uint32_t g = 0; g < p->gathers.n; g++) {
                if (p->gathers.at[g].axis.id != l.at[k].id) continue;
                Report *r =
                    sema_error(p->s, DIAG_rule_beaten, rule->span,
                               "'%s' never applies", rule_text(p, rule));
                report_note(r, p->gathers.at[g].by->span,
                            "this says how '%s' is gathered",
                            axis_name(p->s->m, l.at[k]));
                return false;
            }
            vec_push(p->s->a, &p->gathers, ((Gather){l.at[k], rule}));
        }
    }
    return true;
}

bool gather_rule(Plan *p, const Node *rule)
{
    Sema *s = p->s;
    const Clause *c = rule_clause(rule, CLAUSE_by);
    const Node *t = c ? c->terms.at[0] : NULL;
    const char *word = t && t->kind == N_name ? STR(s, t->name) : "all";
    if (!is_for_all(p, rule) || !roles_fit(p, rule) || !is_first(p, rule))
        return false;
    if (strcmp(word, "all") == 0) return true;
    if (strcmp(word, "ring") != 0) {
        Report *r = sema_error(s, DIAG_rule_unknown, t->span,
                               "'%s' is no way to gather", word);
        report_help(r, "ways: all, ring");
        return false;
    }
    const char *old = str_of(s->m, option_get(s->m, "ring"));
    Buf b = {0};
    buf_puts(&b, old);
    for (uint32_t i = 0; i < rule->rule.subject.n; i++) {
        AxisList l = {.n = 0};
        if (!axes_of_term(s, rule->rule.subject.at[i], &l)) return false;
        for (uint32_t k = 0; k < l.n; k++) {
            const char *axis = axis_name(s->m, l.at[k]);
            buf_printf(&b, "%s%s", b.n ? ", " : "", axis);
            rule_place_set(s->m, arena_printf(s->a, "gather %s by ring", axis),
                           rule->span);
        }
    }
    option_set(s->m, "ring", b.at);
    buf_release(&b);
    return true;
}
