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
    vec_push(s->a, &p->keeps, rule);
    option_set(s->m, "keep", b.n ? b.at : "");
    buf_release(&b);
    return true;
}

static bool is_gathered(Plan *p, const Mem *mem)
{
    Taken taken = {.n = 0};
    Splittee t = {.type = mem->type, .role = ON_param, .mem = mem};
    t.name = mem_words(p->s, mem);
    if (!shard_take(p, &t, &taken)) return false;
    for (uint32_t i = 0; i < taken.n; i++)
        if (!(taken.at[i].by->roles & ~(unsigned)ON_kept)) return true;
    return false;
}

bool keeps_used(Plan *p)
{
    Sema *s = p->s;
    for (uint32_t i = 0; i < p->keeps.n; i++) {
        const Node *rule = p->keeps.at[i];
        const Clause *in = rule_clause(rule, CLAUSE_in);
        bool used = false;
        for (uint32_t m = 0; m < s->mems.n && !used; m++)
            used =
                is_kept(p, in, s->mems.at[m]) && is_gathered(p, s->mems.at[m]);
        if (used) continue;
        Report *r = sema_error(s, DIAG_rule_unused, rule->span,
                               "'%s' never applies: none of these parameters "
                               "is gathered",
                               rule_text(p, rule));
        report_help(r, "a rule like shard embed over dp for param has them lie "
                       "in parts, which are gathered for use");
        return false;
    }
    return true;
}
