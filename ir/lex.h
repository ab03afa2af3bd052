/*
 * lex.h: the tokens of the text form.  Private to ir/.
 *
 * A line ends at a newline token; after `,`, `(` and `[` a newline is only
 * space.  Comments run from `//` to the end of the line.
 */
#ifndef TITAN_IR_LEX_H
#define TITAN_IR_LEX_H

#include "base/base.h"

typedef enum TokenKind {
    TK_eof,
    TK_newline,
    TK_word,   /* embed, layers.wq, _0 */
    TK_number, /* 12, 1.5, 1e-5; no sign */
    TK_string, /* "..." */
    TK_value,  /* %name, %"name", %12 */
    TK_fn,     /* @name */
    TK_part,   /* $0 */
    TK_arrow,  /* -> */
    TK_le,     /* <= */
    TK_eq,     /* == */
    TK_ne,     /* != */
    TK_punct,  /* one character of ( ) [ ] { } , : ; = / + - * < */
    TK_bad     /* nothing that starts a token, or a string without its end */
} TokenKind;

/* Bytes [first, last) of the text. */
typedef struct Token {
    TokenKind kind;
    char punct; /* TK_punct */
    bool quoted;
    uint32_t first, last;
} Token;

typedef struct Lexer {
    const char *text; /* NUL-terminated */
    uint32_t size, at;
    bool joined; /* the last token lets the line go on */
} Lexer;

void lexer_init(Lexer *lx, const char *text, size_t size);
Token lexer_next(Lexer *lx);
/* To the next newline token, whatever stands before it. */
void lexer_skip_line(Lexer *lx);
/* The text of a word, string or name without marks, quotes and escapes. */
Str lexer_str(const Lexer *lx, Token t, StrTable *strs);

#endif
