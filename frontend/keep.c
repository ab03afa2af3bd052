/*
 * keep.c: parameters that stay gathered from their first use to the backward.
 *
 *     keep param until backward in last, head
 *
 * A parameter that lies in parts is gathered for its uses in the forward, and
 * again for those in the backward.  One that is kept is gathered once; one of
 * a repeat for all turns, in front of it.  The paths are the option `keep`,
 * which the pass shard reads.
 */
#include "plan.h"
#include "train.h"

static bool says(Plan *p, const Node *t, const char *word)
{
    return t && t->kind == N_name && strcmp(STR(p->s, t->name), word) == 0;
}

static bool refuse(Plan *p, Span at, const char *what)
{
    Report *r = sema_error(p->s, DIAG_rule_unknown, at, "%s", what);
    report_help(r, "write keep param until backward in head; what turns keep "
                   "of what they compute: remat repeat keep");
    return false;
}

static bool is_kept(Plan *p, const Clause *in, const Mem *mem)
{
    if (mem->role != ROLE_param) return false;
    for (uint32_t i = 0; in && i < in->terms.n; i++)
        if (path_matches(p->s, STR(p->s, in->terms.at[i]->name), mem))
            return true;
    return !in;
}

bool keep_rule(Plan *p, const Node *rule)
{
    Sema *s = p->s;
    const Clause *until = rule_clause(rule, CLAUSE_until);
    const Nodes *what = &rule->rule.subject;
    if (what->n != 1 || !says(p, what->at[0], "param"))
        return refuse(p, rule->span, "parameters alone are gathered and kept");
    if (!until || !says(p, until->terms.at[0], "backward"))
        return refuse(p, until ? until->span : rule->span,
                      "parameters are kept until the backward, or not at all");
    Buf b = {0};
    buf_puts(&b, str_of(s->m, option_get(s->m, "keep")));
    for (uint32_t i = 0; i < s->mems.n; i++)
        if (is_kept(p, rule_clause(rule, CLAUSE_in), s->mems.at[i]))
            buf_printf(&b, "%s%s", b.n ? " " : "", STR(s, s->mems.at[i]->path));
    option_set(s->m, "keep", b.n ? b.at : "");
    buf_release(&b);
    return true;
}
