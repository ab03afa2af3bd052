/*
 * remat.c: rules of recomputation, from a plan to the passes.
 *
 *     remat repeat keep attention.wq, attention.wk first 14
 *     ----- ------ ---- --------------------------------------
 *     rule  whose  mode and what it takes
 *
 * A rule has one mode, which is that without a rule where it only says what to
 * offload, or what is kept of what turns gather. What its names stand for is
 * known when dtypes and splits are, so the rules go on as text, in the option
 * `remat`, which the pass of that name reads (passes/remat/rules.c).
 */
#include "plan.h"

enum {
    MODES = 1u << CLAUSE_none | 1u << CLAUSE_early | 1u << CLAUSE_full |
            1u << CLAUSE_every | 1u << CLAUSE_ops | 1u << CLAUSE_keep |
            1u << CLAUSE_remake | 1u << CLAUSE_budget
};

static bool is_mode(const Clause *c)
{
    return MODES >> c->kind & 1u;
}

static bool wrong(Plan *p, Span at, const char *message, const char *help)
{
    Report *r = sema_error(p->s, DIAG_remat_rule, at, "%s", message);
    report_help(r, "%s", help);
    return false;
}

/* The mode may be left out. */
static bool is_modeless(const Node *rule)
{
    return rule_clause(rule, CLAUSE_offload) ||
           rule_clause(rule, CLAUSE_gathered);
}

/* The one clause that says what is done. */
static const Clause *mode_of(Plan *p, const Node *rule)
{
    const Clause *mode = NULL;
    for (uint32_t i = 0; i < rule->rule.nclauses; i++) {
        const Clause *c = &rule->rule.clauses[i];
        if (!is_mode(c)) continue;
        if (mode) {
            wrong(p, c->span,
                  arena_printf(p->s->a, "'%s' beside '%s': a rule has one mode",
                               clause_word(c->kind), clause_word(mode->kind)),
                  "write two rules, each with `first` or for another repeat");
            return NULL;
        }
        mode = c;
    }
    if (!mode && !is_modeless(rule))
        wrong(p, rule->span, "the rule does not say what is kept",
              "modes: none, early, full, ops, every 2, keep a, "
              "remake a, budget 60 GiB");
    return mode;
}

/* `except` tells matmuls from others, which ops alone does; a number of turns
 * goes with what may differ from turn to turn. */
static bool clause_fits(Plan *p, const Clause *mode, const Clause *c)
{
    if (c->kind == CLAUSE_offload && mode && mode->kind == CLAUSE_budget)
        return wrong(p, c->span, "'budget' chooses itself what to offload",
                     "leave out 'offload'");
    if (c->kind == CLAUSE_gathered && mode && mode->kind == CLAUSE_budget)
        return wrong(p, c->span, "'budget' chooses itself what stays gathered",
                     "leave out 'gathered'");
    if (c->kind == CLAUSE_except && (!mode || mode->kind != CLAUSE_ops))
        return wrong(p, c->span, "'except' is for 'ops'",
                     "leave it out, or write remat repeat ops except ...");
    if (c->kind == CLAUSE_first && mode &&
        (mode->kind == CLAUSE_every || mode->kind == CLAUSE_budget))
        return wrong(p, c->span,
                     arena_printf(p->s->a, "'%s' chooses the turns itself",
                                  clause_word(mode->kind)),
                     "leave out 'first'");
    return true;
}

static bool number_fits(Plan *p, const Clause *c)
{
    const Node *n = c->terms.at[0];
    if (n->number.whole && n->number.integer >= 1) return true;
    Report *r = sema_error(p->s, DIAG_remat_rule, n->span,
                           "'%s' takes a whole number from 1, found %s",
                           clause_word(c->kind), STR(p->s, n->number.text));
    report_help(r, "%s",
                c->kind == CLAUSE_budget  ? "a size in bytes, like 60 GiB"
                : c->kind == CLAUSE_every ? "one turn of so many, like every 2"
                                          : "a number of turns, like first 2");
    return false;
}

static void put_terms(Plan *p, Buf *b, const Nodes *terms)
{
    for (uint32_t i = 0; i < terms->n; i++) {
        const Node *t = terms->at[i];
        buf_puts(b, i ? ", " : " ");
        if (t->kind == N_number)
            buf_printf(b, "%lld", (long long)t->number.integer);
        else
            ast_print(p->s->m, t, b);
    }
}

static void put_clause(Plan *p, Buf *b, const Clause *c)
{
    buf_printf(b, " %s", clause_word(c->kind));
    put_terms(p, b, &c->terms);
}

bool remat_rule(Plan *p, const Node *rule)
{
    const Clause *mode = mode_of(p, rule);
    if (!mode && !is_modeless(rule)) return false;
    if (!mode && p->s->m->diag->nerrors) return false;
    for (uint32_t i = 0; i < rule->rule.nclauses; i++) {
        const Clause *c = &rule->rule.clauses[i];
        bool number = c->terms.n && c->terms.at[0]->kind == N_number;
        if (!clause_fits(p, mode, c)) return false;
        if (number && !number_fits(p, c)) return false;
    }
    Buf b = {0};
    Str before = option_get(p->s->m, "remat");
    if (before.id) buf_printf(&b, "%s; ", STR(p->s, before));
    size_t start = b.n;
    put_terms(p, &b, &rule->rule.subject);
    if (b.n == start) buf_puts(&b, " repeat");
    if (mode) put_clause(p, &b, mode);
    for (uint32_t i = 0; i < rule->rule.nclauses; i++)
        if (!is_mode(&rule->rule.clauses[i]))
            put_clause(p, &b, &rule->rule.clauses[i]);
    const char *text = b.at;
    option_set(p->s->m, "remat", *text == ' ' ? text + 1 : text);
    rule_place_set(p->s->m, arena_printf(p->s->a, "remat%s", text + start),
                   rule->span);
    buf_release(&b);
    return true;
}
