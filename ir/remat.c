/*
 * remat.c: reads rules of recomputation (remat.h).
 */
#include "ir.h"

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
    RematMode mode;
    bool names, number;
} modes[] = {{"none", REMAT_none, false, false},
             {"early", REMAT_early, false, false},
             {"full", REMAT_full, false, false},
             {"every", REMAT_every, false, true},
             {"ops", REMAT_ops, false, false},
             {"keep", REMAT_keep, true, false},
             {"remake", REMAT_remake, true, false},
             {"budget", REMAT_budget, false, true}};

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

static RematWords names(Reader *r)
{
    VEC(const char *) v = {0};
    for (;;) {
        const char *w = word(r);
        if (*w) vec_push(r->m->scratch, &v, w);
        skip_space(r);
        if (*r->at != ',') return (RematWords){v.at, v.n};
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
static bool read_mode(Reader *r, RematRule *rule)
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
static bool read_clause(Reader *r, RematRule *rule)
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

static RematRule read_rule(Reader *r)
{
    RematRule rule = {.mode = REMAT_early};
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

bool remat_read(Module *m, const char *text, RematRules *out)
{
    Reader r = {.m = m, .at = text};
    *out = (RematRules){0};
    for (skip_space(&r); *r.at && !r.failed; skip_space(&r)) {
        RematRule rule = read_rule(&r);
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

bool remat_has_budget(const RematRules *rules)
{
    bool has = false;
    for (uint32_t i = 0; i < rules->at.n; i++)
        has |= rules->at.at[i].mode == REMAT_budget;
    return has;
}

bool remat_says_gathered(const RematRules *rules)
{
    bool says = false;
    for (uint32_t i = 0; i < rules->at.n; i++)
        says |= rules->at.at[i].gathered.n > 0;
    return says;
}
