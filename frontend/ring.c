/*
 * ring.c: how attention meets the keys of other devices, from a plan to the
 * passes.
 *
 *     gather ctx by all      keys and values are brought together
 *     gather ctx by ring     blocks of them go round
 *
 * The axes that go round are the option `ring`, which the pass of that name
 * reads; to bring together is what is done without a rule.
 */
#include "plan.h"

bool gather_rule(Plan *p, const Node *rule)
{
    Sema *s = p->s;
    const Clause *c = rule_clause(rule, CLAUSE_by);
    const Node *t = c ? c->terms.at[0] : NULL;
    const char *word = t && t->kind == N_name ? STR(s, t->name) : "all";
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
        for (uint32_t k = 0; k < l.n; k++)
            buf_printf(&b, "%s%s", b.n ? ", " : "", axis_name(s->m, l.at[k]));
    }
    option_set(s->m, "ring", b.at);
    buf_release(&b);
    return true;
}
