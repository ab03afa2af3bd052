/*
 * parse.h: the parser's state and its parts.  Private to ir/.
 *
 * Every function that can fail returns false after it reported why; the line
 * is then given up and the parser goes on at the next one.
 */
#ifndef TITAN_IR_PARSE_H
#define TITAN_IR_PARSE_H

#include "lex.h"
#include "text.h"

typedef struct Parser {
    Module *m;
    uint32_t source;
    Lexer lx;
    Token tok;      /* the next token */
    uint32_t depth; /* of brackets around the present place */
    uint32_t prev;  /* where the last token taken ends */
} Parser;

/* ------------------------------------------------- tokens (parse_text.c) -- */

void advance(Parser *p);
bool at_punct(const Parser *p, char c);
bool at_word(const Parser *p, const char *word);
bool take_punct_if(Parser *p, char c);
bool take_word_if(Parser *p, const char *word);
bool expect_punct(Parser *p, char c) MUST_USE;
bool expect_line_end(Parser *p) MUST_USE;
/* Reports; returns false. */
bool fail(Parser *p, DiagId id, Token at, const char *fmt, ...) PRINTF(4, 5);
/* "expected X, found Y" at the next token. */
bool fail_expected(Parser *p, const char *what);
Span token_span(const Parser *p, Token t);
const char *token_text(Parser *p, Token t);

bool parse_name(Parser *p, const char *what, Str *out) MUST_USE;
bool parse_string(Parser *p, const char *what, Str *out) MUST_USE;
bool parse_int(Parser *p, int64_t *out) MUST_USE;  /* with an optional sign */
bool parse_size(Parser *p, int64_t *out) MUST_USE; /* from 1 */
bool parse_axis(Parser *p, Axis *out) MUST_USE;
bool parse_mesh_axis(Parser *p, MeshAxis *out) MUST_USE;
bool parse_dtype(Parser *p, DType *out) MUST_USE;
typedef VEC(Axis) AxisVec;
typedef VEC(MeshAxis) MeshVec;
/* Up to the closing `end`, which is taken. */
bool parse_axis_list(Parser *p, char end, AxisVec *out) MUST_USE;
bool parse_mesh_list(Parser *p, char end, MeshVec *out) MUST_USE;

/* Around what nests: false when it is too deep. */
bool nest(Parser *p) MUST_USE;
void unnest(Parser *p);

/* ------------------------------------------- types, expressions, functions */

bool parse_type(Parser *p, Type *out) MUST_USE; /* parse_type.c */
/* The operands of the map, by type. */
typedef struct BodyOperands {
    const Type *types;
    uint32_t n;
} BodyOperands;
/* After `{`, up to and with `}`. */
bool parse_body(Parser *p, const BodyOperands *operands, int expected,
                Expr *out) MUST_USE; /* parse_expr.c */
/* At `entry` or `fn`; takes the whole function. */
bool parse_fn(Parser *p); /* parse_fn.c */

#endif
