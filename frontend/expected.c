/*
 * expected.c: what a syntax error says.
 *
 *     expected an expression, found ')'
 *     expected the end of the line or an operator, found 'y'
 *
 * The parser knows every token that could stand at the place: long lists of
 * them are folded into the words of a reader (an expression, an operator, a
 * statement, a declaration).  After the report the parser goes on behind the
 * statement: everything up to the newline or the brace that ends it is
 * skipped, with the braces in it.  A declaration inside a block means that the
 * block was not closed: nothing after it can be placed, and nothing is.
 */
#include <string.h>

#include "syntax.h"
#include "tt.tab.h"

/* A group is recognised by two of its members and swallows the others. */
typedef struct Group {
    const char *words, *signs[2], *members;
} Group;

static const Group groups[] = {
    {"a declaration",
     {"fn", "config"},
     " import axis config fn module model train entry plan optimizer use "},
    {"a statement",
     {"param", "return"},
     " param state axis use return if for repeat record check skip update "
     "name "},
    {"an expression", {"number", "text"}, " name number text '(' '-' not if "},
    {"an operator",
     {"'@'", "'*'"},
     " '+' '-' '*' '/' '^' '@' '(' '[' '.' '<' '>' == != <= >= and or "},
    {"an axis", {"..", "'('"}, " name .. '(' "},
};

enum { NGROUPS = sizeof groups / sizeof *groups, MOST_SHOWN = 5 };

static bool listed(const char *const *names, unsigned n, const char *name)
{
    for (unsigned i = 0; i < n; i++)
        if (!strcmp(names[i], name)) return true;
    return false;
}

static bool member(const Group *g, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = g->members; (at = strstr(at, name)); at++)
        if (at[-1] == ' ' && at[n] == ' ') return true;
    return false;
}

static const char *plain_words(Module *m, const char *name)
{
    if (!strcmp(name, "name")) return "a name";
    if (!strcmp(name, "number")) return "a number";
    if (!strcmp(name, "text")) return "a quoted text";
    if (!strcmp(name, "end of line")) return "the end of the line";
    if (!strcmp(name, "end of file")) return "the end of the file";
    if (name[0] == '\'') return name;
    return arena_printf(m->arena, "'%s'", name);
}

/* Folds the expected tokens into at most `most` words. */
static unsigned fold(Module *m, const char *const *names, unsigned n,
                     const char **out, unsigned most)
{
    bool used[NGROUPS] = {false};
    unsigned count = 0;
    for (unsigned i = 0; i < n; i++) {
        unsigned g = 0;
        while (g < NGROUPS && !(listed(names, n, groups[g].signs[0]) &&
                                listed(names, n, groups[g].signs[1]) &&
                                member(&groups[g], names[i])))
            g++;
        if (g < NGROUPS && used[g]) continue;
        if (count < most)
            out[count] =
                g < NGROUPS ? groups[g].words : plain_words(m, names[i]);
        count++;
        if (g < NGROUPS) used[g] = true;
    }
    return count;
}

/* The word begins what stands at file level only. */
static bool declares(const Parser *p, const Token *t)
{
    if (t == p->tokens.at || t[-1].kind != TT_NEWLINE) return false;
    switch (t->kind) {
    case TT_IMPORT:
    case TT_CONFIG:
    case TT_FN:
    case TT_MODULE:
    case TT_MODEL:
    case TT_TRAIN:
    case TT_ENTRY:
    case TT_PLAN:
    case TT_OPTIMIZER:
        return true;
    default:
        return false;
    }
}

static bool reserved(const Token *t)
{
    return t->kind >= TT_AND && t->kind <= TT_WITH;
}

/* A program may begin with what is wrong. */
static bool name_before(const Parser *p, const Token *t)
{
    return t > p->tokens.at && t[-1].kind == TT_NAME;
}

static void report(Parser *p, const Token *t, const char *const *names,
                   unsigned n)
{
    const char *words[MOST_SHOWN];
    unsigned count = fold(p->m, names, n, words, MOST_SHOWN);
    Buf b = {0};
    if (count == 0 || count > MOST_SHOWN) {
        buf_printf(&b, "unexpected %s", token_words(p->m, t));
    } else {
        buf_puts(&b, "expected ");
        for (unsigned i = 0; i < count; i++) {
            if (i > 0) buf_puts(&b, i + 1 == count ? " or " : ", ");
            buf_puts(&b, words[i]);
        }
        buf_printf(&b, ", found %s", token_words(p->m, t));
    }
    Report *r = diag_error(p->m->diag, DIAG_syntax, t->span, "%s", b.at);
    buf_release(&b);
    if (t->kind == '=' && listed(names, n, "=="))
        report_help(r, "'==' compares, '=' gives a name to a value");
    if ((t->kind == '(' || t->kind == '[') && listed(names, n, "'='") &&
        name_before(p, t))
        report_help(r, "a statement gives a name to a value, y = ..., or "
                       "returns one: return ...");
    if (t->kind > 0 && t->kind < 128 && strchr("+-*/", t->kind) &&
        t[1].kind == '=' && name_before(p, t))
        report_help(r, "names are bound anew: %s = %s %c ...",
                    str_of(p->m, t[-1].text), str_of(p->m, t[-1].text),
                    t->kind);
    if (reserved(t) && t[1].kind == '=')
        report_help(r, "%s is reserved and cannot be a name",
                    token_words(p->m, t));
    if ((t->kind == 0 || declares(p, t)) && p->open.n)
        report_note(r, p->tokens.at[vec_last(&p->open)].span,
                    "the block that starts here is not closed");
}

/* The index of the token that ends the statement in which token i lies. */
static uint32_t statement_end(const Parser *p, uint32_t i)
{
    unsigned depth = 0;
    for (; p->tokens.at[i].kind; i++) {
        int kind = p->tokens.at[i].kind;
        if (kind == '{') depth++;
        if (kind == '}' && depth == 0) return i;
        if (kind == '}') depth--;
        if (kind == TT_NEWLINE && depth == 0) return i;
    }
    return i;
}

/* Where a block ends whose opening brace was forgotten in front of token i: up
 * to the next declaration more braces close than are open.  Else i. */
static uint32_t orphan_end(const Parser *p, uint32_t i)
{
    uint32_t end = i;
    int64_t depth = 0;
    for (uint32_t j = i; p->tokens.at[j].kind; j++) {
        const Token *t = &p->tokens.at[j];
        if (declares(p, t)) break;
        if (t->kind == '{') depth++;
        if (t->kind == '}') depth--;
        if (depth < 0 && end == i) end = j;
    }
    return depth < -(int64_t)p->open.n ? end : i;
}

static bool blamed(const Parser *p, Span at)
{
    for (uint32_t i = 0; i < p->nblamed; i++)
        if (at.first >= p->blamed[i].first && at.first <= p->blamed[i].last)
            return true;
    return false;
}

void syntax_error(Parser *p, const char *const *expected, unsigned n)
{
    uint32_t i = p->at;
    const Token *t = &p->tokens.at[i];
    if (!blamed(p, t->span)) report(p, t, expected, n);
    if (t->kind == TT_NEWLINE && listed(expected, n, "'{'"))
        p->next = orphan_end(p, i) + 1;
    if (t->kind == '}' || t->kind == TT_NEWLINE || t->kind == 0) return;
    if (declares(p, t) &&
        p->open.n) { /* where the block ends is anyone's guess */
        p->next = p->tokens.n - 1;
        return;
    }
    if (t->kind == '{' && p->open.n) p->open.n--;
    p->next = statement_end(p, i);
}
