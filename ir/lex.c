/*
 * lex.c: text into tokens, by hand: the form is small, and the lexer never
 * fails; what it does not know is a token of its own.
 */
#include "lex.h"

#include "text.h"

void lexer_init(Lexer *lx, const char *text, size_t size)
{
    if (size > UINT32_MAX - 1) BUG("text of %zu bytes", size);
    *lx = (Lexer){.text = text, .size = (uint32_t)size};
}

/* 0 past the end; a NUL byte within the text is no character of any token. */
static char peek(const Lexer *lx, uint32_t ahead)
{
    return lx->size - lx->at > ahead ? lx->text[lx->at + ahead] : 0;
}

static void skip_space(Lexer *lx)
{
    while (lx->at < lx->size) {
        char c = peek(lx, 0);
        if (c == '/' && peek(lx, 1) == '/') {
            while (lx->at < lx->size && peek(lx, 0) != '\n')
                lx->at++;
        } else if (c == ' ' || c == '\t' || c == '\r' ||
                   (c == '\n' && lx->joined)) {
            lx->at++;
        } else {
            return;
        }
    }
}

static bool starts_word(char c)
{
    return text_in_word(c) && !text_is_digit(c) && c != '.';
}

static void take_word(Lexer *lx)
{
    while (text_in_word(peek(lx, 0)))
        lx->at++;
}

static void take_digits(Lexer *lx)
{
    while (text_is_digit(peek(lx, 0)))
        lx->at++;
}

static void take_number(Lexer *lx)
{
    take_digits(lx);
    if (peek(lx, 0) == '.' && text_is_digit(peek(lx, 1))) {
        lx->at++;
        take_digits(lx);
    }
    if (peek(lx, 0) != 'e' && peek(lx, 0) != 'E') return;
    uint32_t sign = peek(lx, 1) == '-' || peek(lx, 1) == '+';
    if (!text_is_digit(peek(lx, 1 + sign))) return;
    lx->at += 1 + sign;
    take_digits(lx);
}

static TokenKind take_string(Lexer *lx)
{
    lx->at++;
    while (lx->at < lx->size && peek(lx, 0) != '\n' && peek(lx, 0) != 0) {
        char c = peek(lx, 0);
        lx->at++;
        if (c == '"') return TK_string;
        if (c == '\\' && lx->at < lx->size && peek(lx, 0) != '\n') lx->at++;
    }
    return TK_bad;
}

/* What follows one of % @ $. */
static TokenKind take_name(Lexer *lx, TokenKind kind, bool *quoted)
{
    lx->at++;
    *quoted = peek(lx, 0) == '"';
    if (*quoted) return take_string(lx) == TK_string ? kind : TK_bad;
    uint32_t start = lx->at;
    take_word(lx);
    return lx->at > start ? kind : TK_bad;
}

static TokenKind take_punct(Lexer *lx, char *punct)
{
    char c = peek(lx, 0), next = peek(lx, 1);
    lx->at += 2;
    if (c == '-' && next == '>') return TK_arrow;
    if (c == '<' && next == '=') return TK_le;
    if (c == '=' && next == '=') return TK_eq;
    if (c == '!' && next == '=') return TK_ne;
    lx->at -= 1;
    *punct = c;
    return c != 0 && strchr("()[]{},:;=/+-*<", c) ? TK_punct : TK_bad;
}

static TokenKind take(Lexer *lx, Token *t)
{
    char c = peek(lx, 0);
    if (lx->at >= lx->size) return TK_eof;
    if (c == '\n') {
        lx->at++;
        return TK_newline;
    }
    if (starts_word(c)) {
        take_word(lx);
        return TK_word;
    }
    if (text_is_digit(c)) {
        take_number(lx);
        return TK_number;
    }
    switch (c) {
    case '"':
        t->quoted = true;
        return take_string(lx);
    case '%':
        return take_name(lx, TK_value, &t->quoted);
    case '@':
        return take_name(lx, TK_fn, &t->quoted);
    case '$':
        return take_name(lx, TK_part, &t->quoted);
    }
    return take_punct(lx, &t->punct);
}

Token lexer_next(Lexer *lx)
{
    skip_space(lx);
    Token t = {.first = lx->at};
    t.kind = take(lx, &t);
    t.last = lx->at;
    lx->joined = t.kind == TK_punct &&
                 (t.punct == ',' || t.punct == '(' || t.punct == '[');
    return t;
}

void lexer_skip_line(Lexer *lx)
{
    lx->joined = false;
    while (lx->at < lx->size && lx->text[lx->at] != '\n')
        lx->at++;
}

static int hex_digit(char c)
{
    if (text_is_digit(c)) return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* One escape after its backslash; an unknown one stands for itself. */
static uint32_t unescape(const char *s, uint32_t left, char *out)
{
    if (s[0] == 'n' || s[0] == 't') {
        *out = s[0] == 'n' ? '\n' : '\t';
        return 1;
    }
    if (s[0] == 'x' && left >= 3 && hex_digit(s[1]) >= 0 &&
        hex_digit(s[2]) >= 0) {
        *out = (char)(hex_digit(s[1]) * 16 + hex_digit(s[2]));
        return 3;
    }
    *out = s[0];
    return 1;
}

Str lexer_str(const Lexer *lx, Token t, StrTable *strs)
{
    bool mark = t.kind == TK_value || t.kind == TK_fn || t.kind == TK_part;
    const char *s = lx->text + t.first + mark;
    uint32_t n = t.last - t.first - mark;
    if (!t.quoted) return str_intern_n(strs, s, n);
    Buf b = {0};
    for (uint32_t i = 1; i + 1 < n;) {
        char c = s[i++];
        if (c == '\\' && i + 1 < n) i += unescape(s + i, n - 1 - i, &c);
        if (c != 0) buf_putc(&b, c);
    }
    Str made = str_intern_n(strs, b.at ? b.at : "", b.n);
    buf_release(&b);
    return made;
}
