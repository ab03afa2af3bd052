/*
 * tokens.c: which newlines end a statement, and which words are keywords.
 *
 * A newline counts outside round and square brackets, after a name, a number,
 * a text or a closing bracket, and not before as, times, else, then or with.
 *
 * Reserved everywhere: and, as, else, for, if, in, not, or, repeat, return,
 * then, times, with.  The words that begin a declaration or a statement are
 * keywords only there, and not when `=`, `,`, `:` or `.` follows: an axis or a
 * variable may be called model, state or plan.  (`update = ...` is the one
 * statement word that may be followed by `=`.)  All other words of the
 * language (of, while, frozen, none, and the words of plans) are known by
 * their position.
 *
 * A bracket that is still open where a line starts with a keyword, or where a
 * brace comes, was forgotten: it is reported, and the statement ends there.
 */
#include <string.h>

#include "syntax.h"
#include "tt.tab.h"

typedef struct Word {
    const char *text;
    int kind;
} Word;

static const Word reserved[] = {
    {"and", TT_AND},       {"as", TT_AS},
    {"else", TT_ELSE},     {"for", TT_FOR},
    {"if", TT_IF},         {"in", TT_IN},
    {"not", TT_NOT},       {"or", TT_OR},
    {"repeat", TT_REPEAT}, {"then", TT_THEN},
    {"return", TT_RETURN}, {"times", TT_TIMES},
    {"with", TT_WITH},     {NULL, 0},
};

static const Word starters[] = {
    {"import", TT_IMPORT}, {"axis", TT_AXIS},
    {"config", TT_CONFIG}, {"fn", TT_FN},
    {"module", TT_MODULE}, {"model", TT_MODEL},
    {"train", TT_TRAIN},   {"entry", TT_ENTRY},
    {"plan", TT_PLAN},     {"optimizer", TT_OPTIMIZER},
    {"use", TT_USE},       {"param", TT_PARAM},
    {"state", TT_STATE},   {"record", TT_RECORD},
    {"check", TT_CHECK},   {"skip", TT_SKIP},
    {"update", TT_UPDATE}, {NULL, 0},
};

static int word_kind(const Word *list, const char *text)
{
    for (; list->text; list++)
        if (!strcmp(list->text, text)) return list->kind;
    return 0;
}

typedef struct Settler {
    Scan *s;
    TokenVec *out;
    uint32_t i;             /* the raw token at hand */
    VEC(uint32_t) brackets; /* raw indices of open ( and [ */
} Settler;

static const Token *raw(const Settler *st, uint32_t i)
{
    return i < st->s->tokens.n ? &st->s->tokens.at[i] : NULL;
}

/* The next raw token that is no newline. */
static const Token *after(const Settler *st, uint32_t i)
{
    while (raw(st, ++i) && raw(st, i)->kind == TT_NEWLINE)
        continue;
    return raw(st, i);
}

static int last_kind(const Settler *st)
{
    return st->out->n ? vec_last(st->out).kind : TT_NEWLINE;
}

static bool at_start(const Settler *st)
{
    int k = last_kind(st);
    return k == TT_NEWLINE || k == '{' || k == '}';
}

static int starter_kind(const Settler *st, const Token *t)
{
    int kind = word_kind(starters, str_of(st->s->m, t->text));
    const Token *next = raw(st, st->i + 1);
    if (!kind || !next) return kind;
    if (next->kind == '=' && kind == TT_UPDATE) return kind;
    return strchr("=,:.", next->kind < 128 ? next->kind : ' ') ? 0 : kind;
}

static int settled_kind(const Settler *st, const Token *t)
{
    if (t->kind != TT_NAME || last_kind(st) == '.') return t->kind;
    int kind = word_kind(reserved, str_of(st->s->m, t->text));
    if (!kind && at_start(st)) kind = starter_kind(st, t);
    return kind ? kind : TT_NAME;
}

static bool ends_statement(int kind)
{
    return kind == TT_NAME || kind == TT_NUMBER || kind == TT_STRING ||
           kind == ')' || kind == ']' || kind == '}';
}

static bool goes_on(const Settler *st, const Token *next)
{
    if (!next || next->kind != TT_NAME) return false;
    int kind = word_kind(reserved, str_of(st->s->m, next->text));
    return kind == TT_AS || kind == TT_TIMES || kind == TT_ELSE ||
           kind == TT_THEN || kind == TT_WITH;
}

/* Whether a line that starts with this token cannot be inside brackets: it is
 * a statement word followed by a name on the same line. */
static bool must_be_statement(const Settler *st, const Token *t)
{
    if (t->kind != TT_NAME || raw(st, st->i - 1)->kind != TT_NEWLINE)
        return false;
    const char *text = str_of(st->s->m, t->text);
    int kind = word_kind(starters, text);
    if (word_kind(reserved, text) == TT_RETURN) return true;
    const Token *next = raw(st, st->i + 1);
    return kind && next && next->kind == TT_NAME;
}

/* Reports the outermost open bracket and closes all, so that the parser can go
 * on. */
static void report_open(Settler *st)
{
    const Token *open = raw(st, st->brackets.at[0]);
    Module *m = st->s->m;
    diag_error(m->diag, DIAG_syntax, open->span, "'%c' is not closed",
               open->kind);
    const Token *here = raw(st, st->i);
    uint32_t end = here ? here->span.first : st->s->size;
    Span blamed = {open->span.file, open->span.first, end};
    vec_push(m->arena, &st->s->blamed, blamed);
    while (st->brackets.n) {
        int kind = raw(st, vec_last(&st->brackets))->kind;
        Token t = {.kind = kind == '(' ? ')' : ']',
                   .span = {open->span.file, end, end}};
        vec_push(m->arena, st->out, t);
        st->brackets.n--;
    }
}

static void push_newline(Settler *st, Span at)
{
    Token t = {.kind = TT_NEWLINE, .span = at};
    vec_push(st->s->m->arena, st->out, t);
}

static void settle_newline(Settler *st, const Token *t)
{
    if (st->brackets.n || !ends_statement(last_kind(st))) return;
    if (!goes_on(st, after(st, st->i))) push_newline(st, t->span);
}

static void track_brackets(Settler *st, const Token *t)
{
    if (t->kind == '(' || t->kind == '[')
        vec_push(st->s->m->arena, &st->brackets, st->i);
    if ((t->kind == ')' || t->kind == ']') && st->brackets.n > 0)
        st->brackets.n--;
}

void settle_tokens(Scan *s, TokenVec *out)
{
    Settler st = {.s = s, .out = out};
    for (; st.i < s->tokens.n; st.i++) {
        Token t = s->tokens.at[st.i];
        if (t.kind == TT_NEWLINE) {
            settle_newline(&st, &t);
            continue;
        }
        bool brace = t.kind == '{' || t.kind == '}';
        if (st.brackets.n && (brace || must_be_statement(&st, &t))) {
            report_open(&st);
            if (!brace) push_newline(&st, t.span);
        }
        track_brackets(&st, &t);
        t.kind = settled_kind(&st, &t);
        vec_push(s->m->arena, out, t);
    }
    if (st.brackets.n) report_open(&st);
    Span end = {s->file, s->size, s->size};
    push_newline(&st, end);
    Token eof = {.kind = 0, .span = end};
    vec_push(s->m->arena, out, eof);
}

const char *token_words(Module *m, const Token *t)
{
    if (t->kind == 0) return "the end of the file";
    if (t->kind == TT_NEWLINE) return "the end of the line";
    const Source *src = &m->diag->sources[t->span.file];
    uint32_t n = t->span.last - t->span.first;
    return arena_printf(m->arena, "'%.*s'", (int)(n < 60 ? n : 60),
                        src->text + t->span.first);
}
