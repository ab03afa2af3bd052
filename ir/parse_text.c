/*
 * parse_text.c: the parser's ground: tokens, names, numbers, lists.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "parse.h"

void advance(Parser *p)
{
    p->prev = p->tok.last;
    p->tok = lexer_next(&p->lx);
}

bool at_punct(const Parser *p, char c)
{
    return p->tok.kind == TK_punct && p->tok.punct == c;
}

bool at_word(const Parser *p, const char *word)
{
    size_t n = strlen(word);
    return p->tok.kind == TK_word && p->tok.last - p->tok.first == n &&
           memcmp(p->lx.text + p->tok.first, word, n) == 0;
}

bool take_punct_if(Parser *p, char c)
{
    if (!at_punct(p, c)) return false;
    advance(p);
    return true;
}

bool take_word_if(Parser *p, const char *word)
{
    if (!at_word(p, word)) return false;
    advance(p);
    return true;
}

Span token_span(const Parser *p, Token t)
{
    return (Span){p->source, t.first, t.last};
}

const char *token_text(Parser *p, Token t)
{
    enum { MOST = 40 };
    if (t.kind == TK_eof) return "the end of the text";
    if (t.kind == TK_newline) return "the end of the line";
    uint32_t n = t.last - t.first;
    const char *more = n > MOST ? "..." : "";
    if (n > MOST) n = MOST;
    const char *s = arena_strndup(p->m->arena, p->lx.text + t.first, n);
    return arena_printf(p->m->arena, "'%s%s'", s, more);
}

bool fail(Parser *p, DiagId id, Token at, const char *fmt, ...)
{
    va_list args;
    Buf b = {0};
    va_start(args, fmt);
    buf_vprintf(&b, fmt, args);
    va_end(args);
    diag_error(p->m->diag, id, token_span(p, at), "%s", b.at);
    buf_release(&b);
    return false;
}

bool fail_expected(Parser *p, const char *what)
{
    return fail(p, DIAG_ir_syntax, p->tok, "expected %s, found %s", what,
                token_text(p, p->tok));
}

bool expect_punct(Parser *p, char c)
{
    if (take_punct_if(p, c)) return true;
    const char what[] = {'\'', c, '\'', 0};
    return fail_expected(p, what);
}

bool expect_line_end(Parser *p)
{
    if (p->tok.kind == TK_newline) {
        advance(p);
        return true;
    }
    return p->tok.kind == TK_eof || fail_expected(p, "the end of the line");
}

bool nest(Parser *p)
{
    if (p->depth == TEXT_NESTING)
        return fail(p, DIAG_ir_limit, p->tok, "nested more than %d deep",
                    TEXT_NESTING);
    p->depth++;
    return true;
}

void unnest(Parser *p)
{
    p->depth--;
}

/* --------------------------------------------------- names and numbers -- */

bool parse_name(Parser *p, const char *what, Str *out)
{
    if (p->tok.kind != TK_word && p->tok.kind != TK_string)
        return fail_expected(p, what);
    *out = lexer_str(&p->lx, p->tok, &p->m->strs);
    if (out->id == 0)
        return fail(p, DIAG_ir_syntax, p->tok, "expected %s, found no text",
                    what);
    advance(p);
    return true;
}

bool parse_string(Parser *p, const char *what, Str *out)
{
    if (p->tok.kind != TK_string) return fail_expected(p, what);
    *out = lexer_str(&p->lx, p->tok, &p->m->strs);
    advance(p);
    return true;
}

bool parse_int(Parser *p, int64_t *out)
{
    bool minus = take_punct_if(p, '-');
    Token t = p->tok;
    const char *s = p->lx.text + t.first;
    if (t.kind != TK_number) return fail_expected(p, "a whole number");
    for (uint32_t i = 0; i < t.last - t.first; i++)
        if (!text_is_digit(s[i])) return fail_expected(p, "a whole number");
    errno = 0;
    unsigned long long x = strtoull(s, NULL, 10);
    unsigned long long most = (unsigned long long)INT64_MAX + minus;
    if (errno == ERANGE || x > most)
        return fail(p, DIAG_ir_limit, t, "%s%s does not fit 64 bits",
                    minus ? "-" : "", token_text(p, t));
    advance(p);
    *out = (int64_t)(minus ? 0 - x : x);
    return true;
}

bool parse_size(Parser *p, int64_t *out)
{
    Token t = p->tok;
    if (!parse_int(p, out)) return false;
    if (*out >= 1) return true;
    return fail(p, DIAG_ir_limit, t, "a size is at least 1, found %" PRId64,
                *out);
}

bool parse_axis(Parser *p, Axis *out)
{
    Token t = p->tok;
    Str name;
    if (!parse_name(p, "an axis", &name)) return false;
    if (axis_find(p->m, name, out)) return true;
    return fail(p, DIAG_ir_name, t,
                "axis '%s' is not declared: no 'axes' line "
                "before this one names it",
                str_of(p->m, name));
}

bool parse_mesh_axis(Parser *p, MeshAxis *out)
{
    Token t = p->tok;
    Str name;
    if (!parse_name(p, "a mesh axis", &name)) return false;
    if (mesh_find(p->m, name, out)) return true;
    return fail(p, DIAG_ir_name, t,
                "mesh axis '%s' is not declared: no 'mesh' "
                "line before this one names it",
                str_of(p->m, name));
}

bool parse_dtype(Parser *p, DType *out)
{
    Token t = p->tok;
    Str name;
    if (t.kind != TK_word) return fail_expected(p, "a dtype");
    if (!parse_name(p, "a dtype", &name)) return false;
    if (dtype_find(str_of(p->m, name), out)) return true;
    return fail(p, DIAG_ir_name, t, "no dtype is called '%s'",
                str_of(p->m, name));
}

bool parse_axis_list(Parser *p, char end, AxisVec *out)
{
    while (!at_punct(p, end)) {
        Axis a;
        if (out->n && !expect_punct(p, ',')) return false;
        if (!parse_axis(p, &a)) return false;
        vec_push(p->m->scratch, out, a);
    }
    advance(p);
    return true;
}

bool parse_mesh_list(Parser *p, char end, MeshVec *out)
{
    while (!at_punct(p, end)) {
        MeshAxis a;
        if (out->n && !expect_punct(p, ',')) return false;
        if (!parse_mesh_axis(p, &a)) return false;
        vec_push(p->m->scratch, out, a);
    }
    advance(p);
    return true;
}
