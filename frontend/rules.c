/*
 * rules.c: the rules of a plan, from their words.
 *
 *     shard kv, ff over tp for param, state
 *     ----- ------ ------- ----------------
 *     rule  terms  clause  clause
 *
 * The grammar takes a line of a plan as a list of words; rules.def says which
 * words begin a rule, which clauses it may have, and what each clause takes.
 * A term ends where no comma follows, so the next word is a clause.
 */
#include <string.h>

#include "syntax.h"
#include "tt.tab.h"

typedef enum Takes { NOTHING, WORD, NUMBER, TERMS } Takes;
typedef enum Subject { SOME, ANY, MESH } Subject;

static const struct {
    const char *word;
    Subject subject;
    uint32_t clauses;
} rule_table[] = {
    {"", ANY, 0},
#define RULE(word, subject, clauses) {#word, subject, clauses},
#include "rules.def"
};

static const struct {
    const char *word;
    Takes takes;
} clause_table[] = {
#define CLAUSE(word, takes) {#word, takes},
#include "rules.def"
};

const char *rule_word(RuleKind kind)
{
    return rule_table[kind].word;
}

const char *clause_word(ClauseKind kind)
{
    return clause_table[kind].word;
}

/* A walk over the words of one rule. */
typedef struct Words {
    Parser *p;
    const Token *at, *end;
    Node *rule;
    bool failed;
} Words;

static const char *text_of(Words *w, const Token *t)
{
    return str_of(w->p->m, t->text);
}

static bool is_word(const Token *t)
{
    return t->kind == TT_NAME || t->kind == TT_FOR || t->kind == TT_IN ||
           t->kind == TT_REPEAT;
}

static bool next_is(const Words *w, int kind)
{
    return w->at < w->end && w->at->kind == kind;
}

static bool take(Words *w, int kind)
{
    if (!next_is(w, kind)) return false;
    w->at++;
    return true;
}

/* NULL: one was made before. */
static Report *fail(Words *w, const char *expected)
{
    if (w->failed) return NULL;
    w->failed = true;
    Span end = {w->end[-1].span.file, w->end[-1].span.last,
                w->end[-1].span.last};
    bool more = w->at < w->end;
    return diag_error(w->p->m->diag, DIAG_syntax, more ? w->at->span : end,
                      "expected %s, found %s", expected,
                      more ? token_words(w->p->m, w->at)
                           : "the end of the line");
}

static bool clause_find(const char *word, ClauseKind *out)
{
    for (ClauseKind k = 0; k < CLAUSE_COUNT; k++) {
        if (strcmp(clause_table[k].word, word)) continue;
        *out = k;
        return true;
    }
    return false;
}

static bool allowed(RuleKind rule, ClauseKind clause)
{
    return rule_table[rule].clauses & (1u << clause);
}

/* --------------------------------------------------------------- terms -- */

static Node *product(Words *w)
{
    Span first = w->at++->span;
    NodeVec v = {0};
    while (w->at < w->end && is_word(w->at)) {
        Name name = token_name(w->at++);
        vec_push(w->p->m->arena, &v, make_name(w->p, name));
    }
    if (v.n == 0 || !next_is(w, ')')) {
        fail(w, "an axis or ')'");
        return NULL;
    }
    Span span = span_join(first, w->at++->span);
    return v.n == 1 ? v.at[0] : make_terms(w->p, N_product, span, v);
}

static Node *path(Words *w)
{
    Name name = token_name(w->at++);
    while (take(w, '.')) {
        if (w->at == w->end || !(is_word(w->at) || next_is(w, TT_NUMBER))) {
            fail(w, "a name");
            return NULL;
        }
        name = path_join(w->p, name, token_name(w->at++));
    }
    return make_name(w->p, name);
}

static Node *term(Words *w)
{
    if (next_is(w, '(')) return product(w);
    if (next_is(w, TT_NUMBER)) return make_number(w->p, w->at++);
    if (next_is(w, TT_STRING)) return make_string(w->p, w->at++);
    if (w->at < w->end && is_word(w->at)) return path(w);
    fail(w, "a name");
    return NULL;
}

static Nodes term_list(Words *w)
{
    NodeVec v = {0};
    do {
        Node *n = term(w);
        if (!n) break;
        vec_push(w->p->m->arena, &v, n);
    } while (take(w, ','));
    return LIST(Nodes, v);
}

/* ------------------------------------------------------------- clauses -- */

static Nodes one_term(Words *w, Takes takes)
{
    NodeVec v = {0};
    bool fits = takes == NUMBER ? next_is(w, TT_NUMBER)
                                : w->at < w->end &&
                                      (is_word(w->at) || next_is(w, TT_STRING));
    Node *n = fits ? term(w) : NULL;
    if (n)
        vec_push(w->p->m->arena, &v, n);
    else
        fail(w, takes == NUMBER ? "a number" : "a name");
    return LIST(Nodes, v);
}

static void list_clauses(Report *r, RuleKind rule)
{
    Buf b = {0};
    for (ClauseKind k = 0; k < CLAUSE_COUNT; k++)
        if (allowed(rule, k))
            buf_printf(&b, "%s%s", b.n ? ", " : "", clause_table[k].word);
    if (b.n)
        report_help(r, "'%s' may have: %s", rule_table[rule].word, b.at);
    else
        report_help(r, "'%s' has no clauses", rule_table[rule].word);
    buf_release(&b);
}

static void clause(Words *w, Clause *out)
{
    RuleKind rule = w->rule->rule.kind;
    const Token *word = w->at;
    ClauseKind kind;
    if (!is_word(word)) {
        fail(w, "a clause or the end of the line");
        return;
    }
    if (!clause_find(text_of(w, word), &kind) || !allowed(rule, kind)) {
        w->failed = true;
        Report *r = diag_error(w->p->m->diag, DIAG_rule_unknown, word->span,
                               "'%s' has no clause '%s'", rule_table[rule].word,
                               text_of(w, word));
        list_clauses(r, rule);
        return;
    }
    w->at++;
    out->kind = kind;
    Takes takes = clause_table[kind].takes;
    if (takes == TERMS) out->terms = term_list(w);
    if (takes == WORD || takes == NUMBER) out->terms = one_term(w, takes);
    out->span = span_join(word->span, w->at[-1].span);
}

static void clauses(Words *w)
{
    VEC(Clause) v = {0};
    while (w->at < w->end && !w->failed) {
        Clause c = {0};
        clause(w, &c);
        if (!w->failed) vec_push(w->p->m->arena, &v, c);
    }
    w->rule->rule.clauses = v.at;
    w->rule->rule.nclauses = v.n;
}

/* --------------------------------------------------------------- rules -- */

static void fail_mesh(Words *w, const char *expected)
{
    Report *r = fail(w, expected);
    if (r) report_help(r, "write each axis with its size: mesh dp = 2, tp = 2");
}

static void mesh(Words *w)
{
    SettingVec v = {0};
    do {
        if (w->at == w->end || !is_word(w->at)) {
            fail_mesh(w, "the name of a mesh axis");
            return;
        }
        Setting s = {.name = token_name(w->at++)};
        if (!take(w, '=')) {
            fail_mesh(w, "'='");
            return;
        }
        s.value = term(w);
        if (!s.value) return;
        vec_push(w->p->m->arena, &v, s);
    } while (take(w, ','));
    if (w->at < w->end) fail_mesh(w, "',' or the end of the line");
    w->rule->rule.mesh = LIST(Settings, v);
}

static bool has_subject(Words *w, RuleKind kind)
{
    if (rule_table[kind].subject == SOME) return true;
    ClauseKind c;
    return w->at < w->end &&
           !(clause_find(text_of(w, w->at), &c) && allowed(kind, c));
}

static RuleKind rule_find(Words *w)
{
    const Token *t = w->at;
    const char *word = text_of(w, t);
    Nearest near = nearest_to(word);
    for (RuleKind k = RULE_none + 1; k < RULE_COUNT; k++) {
        if (is_word(t) && !strcmp(rule_table[k].word, word)) return k;
        nearest_try(&near, rule_table[k].word);
    }
    if (!is_word(t)) {
        fail(w, "a rule");
        return RULE_none;
    }
    Report *r = diag_error(w->p->m->diag, DIAG_rule_unknown, t->span,
                           "a plan has no rule '%s'", word);
    if (near.best) report_help(r, "did you mean '%s'?", near.best);
    return RULE_none;
}

Node *make_rule(Parser *p, Span span, TokenVec words)
{
    Words w = {.p = p, .at = words.at, .end = words.at + words.n};
    w.rule = node_new(p, N_rule, span, words.at[0].span);
    RuleKind kind = rule_find(&w);
    w.rule->rule.kind = kind;
    w.rule->rule.word = token_name(w.at++);
    if (kind == RULE_mesh) {
        mesh(&w);
    } else if (kind != RULE_none) {
        if (has_subject(&w, kind)) w.rule->rule.subject = term_list(&w);
        clauses(&w);
    }
    if (w.failed || kind == RULE_none) w.rule->kind = N_error;
    return w.rule;
}
