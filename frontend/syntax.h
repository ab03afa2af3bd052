/*
 * syntax.h: what the scanner, the parser and the makers of nodes share.
 *
 * A text is scanned into an array of tokens; tokens.c settles which newlines
 * end a statement and which words are keywords where they stand; the bison
 * parser walks the array and calls the makers in node.c and rules.c.
 */
#ifndef TITAN_SYNTAX_H
#define TITAN_SYNTAX_H

#include "ast.h"

typedef struct Token {
    int kind; /* TT_..., of tt.tab.h */
    Span span;
    Str text;     /* names, numbers; strings: escapes resolved */
    double value; /* numbers */
    int64_t integer;
    bool whole;
} Token;

typedef VEC(Token) TokenVec;

/* Lists while they grow. */
typedef VEC(Node *) NodeVec;
typedef VEC(Name) NameVec;
typedef VEC(Setting) SettingVec;
typedef VEC(Item) ItemVec;
typedef VEC(Var) VarVec;
typedef VEC(AxisUse) AxisUseVec;
typedef VEC(AxisParam) AxisParamVec;

typedef struct Scan {
    Module *m;
    uint32_t file;
    const char *text;
    uint32_t size, at;
    TokenVec tokens;
    VEC(Span) blamed; /* see Parser */
} Scan;

typedef struct Parser {
    Module *m;
    uint32_t file;
    TokenVec tokens;
    uint32_t next, at;  /* indices: next to hand out; handed out last */
    VEC(uint32_t) open; /* indices of the braces that are open */
    bool too_deep;      /* reported once */
    const Span *blamed; /* places whose mistake has been reported already: no
                           further syntax error there */
    uint32_t nblamed;
    Nodes decls;
} Parser;

/* tt.l: false when an error was reported. */
bool tt_scan(Scan *s);
/* tokens.c: newlines and keywords; appends the end token. */
void settle_tokens(Scan *s, TokenVec *out);
/* What a message calls a token. */
const char *token_words(Module *m, const Token *t);

/* ---------------------------------------------------- makers, in node.c -- */

#define LIST(type, vec) ((type){(vec).at, (vec).n})

Span span_join(Span a, Span b);
Name token_name(const Token *t);
/* a.b.c as one name; the spans of all parts are joined. */
Name path_join(Parser *p, Name left, Name right);

Node *node_new(Parser *p, NodeKind kind, Span span, Span head);
Node *make_name(Parser *p, Name n);
Node *make_number(Parser *p, const Token *t);
Node *make_string(Parser *p, const Token *t);
Node *make_call(Parser *p, Span span, Node *fn, SettingVec args);
Node *make_index(Parser *p, Span span, Span brackets, Node *base, ItemVec it);
Node *make_contract(Parser *p, Span at, Node *l, NameVec axes, Node *r);
Node *make_binary(Parser *p, BinaryOp op, Span at, Node *l, Node *r);
Node *make_unary(Parser *p, UnaryOp op, Span at, Node *x);
Node *make_choose(Parser *p, Span span, Node *c, Node *yes, Node *no);
Node *make_tuple(Parser *p, Span span, NodeVec v);
Node *make_field(Parser *p, Span span, Node *base, const Token *name);
Node *make_range(Parser *p, Node *first, Node *end, Span dots);
Node *make_terms(Parser *p, NodeKind kind, Span span, NodeVec v);
Node *make_blocks(Parser *p, Span span, Node *term, const Token *size);
/* `a + b` of names and products, as a sum of axes; else the node itself. */
Node *as_axis_sum(Parser *p, Node *n);

Node *make_type(Parser *p, Span span, const Token *dtype);
void type_axes(Parser *p, Node *type, AxisUseVec over, AxisUseVec from,
               AxisUseVec to, unsigned shape);
enum { TYPE_over = 1, TYPE_arrow = 2 };

/* Statements and declarations: the parent is made first, then its children
 * are told, so that depths are right. */
void node_adopt(Parser *p, Node *parent, const Node *child);
void node_adopt_all(Parser *p, Node *parent, Nodes children);
void node_adopt_vars(Parser *p, Node *parent, Vars vars);
void node_adopt_settings(Parser *p, Node *parent, Settings s);
void node_adopt_items(Parser *p, Node *parent, Items items);

/* Items of a param without a type take that of the next item. */
void share_types(Parser *p, VarVec *items);
/* The word must be this one: frozen, of, while, none. */
void expect_word(Parser *p, const Token *t, const char *word);
Name path_last(Parser *p, Name path);
Node *make_decl(Parser *p, NodeKind kind, Span span, Decl d, Node *body);
Node *make_block(Parser *p, Span span, NodeVec v);
Node *make_if(Parser *p, Span span, Span head, Node *cond, Node *then,
              Node *otherwise);
void report_too_deep(Parser *p, Span at);

/* ----------------------------------------------- mistakes, in expected.c -- */

/* Reports the token at hand, which is none of the expected ones, and moves on
 * to the end of its statement. */
/* tt.y: 0 when the whole text was understood. */
int tt_parse_tokens(Parser *p);
void syntax_error(Parser *p, const char *const *expected, unsigned n);

/* ---------------------------------------------------- plans, in rules.c -- */

/* A rule from its words, in order. */
Node *make_rule(Parser *p, Span span, TokenVec words);

#endif
