/*
 * rules.c: the rules of a plan, read from the option `remat`.
 *
 *     rules := rule (';' rule)*
 *     rule  := subject [mode] clause*
 *     mode  := none | early | full | ops | every N | keep names
 *     mode  := remake names | budget BYTES
 *     clause := 'except' names | 'offload' names | 'gathered' names
 *     clause := 'first' number
 *
 * as the plan has them, so that text which a pass prints can be put into a
 * plan.  Numbers begin at 1; a list ends where no comma follows.  A rule
 * that offloads, or keeps what is gathered, may leave out the mode, which is
 * `early` then, as without a rule.
 */
#include "remat.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

typedef struct Reader {
    Module *m;
    const char *at;
    bool failed;
} Reader;

static const struct {
    const char *word;
    Mode mode;
    bool names, number;
} modes[] = {
    {"none", MODE_none, false, false},    {"early", MODE_early, false, false},
    {"full", MODE_full, false, false},    {"every", MODE_every, false, true},
    {"ops", MODE_ops, false, false},      {"keep", MODE_keep, true, false},
    {"remake", MODE_remake, true, false}, {"budget", MODE_budget, false, true}};

static void skip_space(Reader *r)
{
    while (*r->at == ' ')
        r->at++;
}

static const char *word(Reader *r)
{
    skip_space(r);
    size_t n = strcspn(r->at, " ,;");
    const char *w = arena_strndup(r->m->scratch, r->at, n);
    r->at += n;
    return w;
}

/* Whether the next word is this one; then it is taken. */
static bool take(Reader *r, const char *wanted)
{
    const char *before = r->at;
    if (strcmp(word(r), wanted) == 0) return true;
    r->at = before;
    return false;
}

static Words names(Reader *r)
{
    VEC(const char *) v = {0};
    for (;;) {
        const char *w = word(r);
        if (*w) vec_push(r->m->scratch, &v, w);
        skip_space(r);
        if (*r->at != ',') return (Words){v.at, v.n};
        r->at++;
    }
}

static int64_t number(Reader *r)
{
    char *end;
    const char *w = word(r);
    errno = 0;
    int64_t n = strtoll(w, &end, 10);
    r->failed |= !isdigit((unsigned char)*w) || *end || errno || n == 0;
    return n;
}

/* False: there is none. */
static bool read_mode(Reader *r, Rule *rule)
{
    const char *before = r->at, *w = word(r);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (strcmp(modes[i].word, w) != 0) continue;
        rule->mode = modes[i].mode;
        if (modes[i].names) rule->names = names(r);
        if (modes[i].number) rule->number = number(r);
        return true;
    }
    r->at = before;
    return false;
}

/* What may stand behind the mode, in any order; false: nothing more. */
static bool read_clause(Reader *r, Rule *rule)
{
    if (take(r, "except"))
        rule->except = names(r);
    else if (take(r, "offload"))
        rule->offload = names(r);
    else if (take(r, "gathered"))
        rule->gathered = names(r);
    else if (take(r, "first"))
        rule->first = number(r);
    else
        return false;
    return true;
}

static Rule read_rule(Reader *r)
{
    Rule rule = {.mode = MODE_early};
    skip_space(r);
    const char *start = r->at;
    rule.subject = names(r);
    bool mode = read_mode(r, &rule);
    while (read_clause(r, &rule))
        continue;
    r->failed |= !mode && !rule.offload.n && !rule.gathered.n;
    size_t n = (size_t)(r->at - start);
    rule.text = arena_printf(r->m->scratch, "remat %.*s", (int)n, start);
    rule.named = NEW_ARRAY(r->m->scratch, bool,
                           rule.names.n + rule.except.n + rule.offload.n +
                               rule.gathered.n + 1);
    return rule;
}

bool rules_read(Module *m, const PassCtx *cx, Rules *out)
{
    Reader r = {.m = m, .at = pass_option(m, cx, "remat", "")};
    const char *text = r.at;
    *out = (Rules){.offload = strncmp(pass_option(m, cx, "target", "host"),
                                      "sm_", 3) == 0};
    for (skip_space(&r); *r.at && !r.failed; skip_space(&r)) {
        Rule rule = read_rule(&r);
        vec_push(m->scratch, &out->at, rule);
        skip_space(&r);
        if (*r.at == ';')
            r.at++;
        else if (*r.at)
            r.failed = true;
    }
    if (r.failed)
        diag_error(m->diag, DIAG_pass_option, (Span){0},
                   "option 'remat' has the rules of a plan, found '%s'", text);
    return !r.failed;
}

Words rules_paths(Module *m, const Rules *rules)
{
    VEC(const char *) v = {0};
    for (uint32_t i = 0; i < rules->at.n; i++) {
        Words names = rules->at.at[i].names;
        for (uint32_t k = 0; k < names.n; k++)
            if (strchr(names.at[k], '.')) vec_push(m->scratch, &v, names.at[k]);
    }
    return (Words){v.at, v.n};
}

bool rules_gather(const Rules *rules)
{
    for (uint32_t i = 0; i < rules->at.n; i++)
        if (rules->at.at[i].gathered.n || rules->at.at[i].mode == MODE_budget)
            return true;
    return false;
}

bool rule_is_for(const Rule *rule, const Pair *p)
{
    for (uint32_t i = 0; i < rule->subject.n; i++)
        if (strcmp(rule->subject.at[i], "repeat") == 0 ||
            path_ends(p->path, rule->subject.at[i]))
            return true;
    return false;
}

bool rule_refuse(Module *m, const Rule *rule, const Pairs *pairs,
                 const char *taken)
{
    const char *why = pairs->at.n ? "no repeat with a backward is called so"
                                  : "no repeat has a backward";
    Buf b = {0};
    for (uint32_t i = 0; i < pairs->at.n; i++) {
        if (rule_is_for(rule, pairs->at.at[i])) why = taken;
        buf_printf(&b, "%s%s", i ? ", " : "", pairs->at.at[i]->path);
    }
    Report *r = diag_error(m->diag, DIAG_rule_unused, rule_place(m, rule->text),
                           "'%s' never applies: %s", rule->text, why);
    if (b.n) report_help(r, "repeats with a backward: %s", b.at);
    buf_release(&b);
    return false;
}
