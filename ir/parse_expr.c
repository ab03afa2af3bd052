/*
 * parse_expr.c: scalar expressions, the bodies of map.
 *
 *     body := ('$' n '=' expr ';')* expr '}'
 *
 * An expression is first a tree of nodes, bottom up; each knows the dtype
 * that its own text gives it, if any.  Then it is built top down: the
 * operands of a function take the dtype of the first of them that has one,
 * otherwise the one that is expected of the result.  So constants need no
 * dtype of their own next to anything that has one.
 *
 * The builders of scalar.c do not accept operands that disagree; what they
 * ask for is checked here, by the columns of scalar.def.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "parse.h"

enum { MOST_HEIGHT = 4 * TEXT_NESTING };

typedef enum NodeKind { N_const, N_leaf, N_cast, N_op } NodeKind;

typedef struct Node {
    NodeKind kind;
    ScalarOp op;   /* N_op */
    int dtype;     /* what its text gives, or DTYPE_unknown */
    bool negative; /* N_const */
    Expr leaf;     /* N_leaf: operand, index or part */
    Token at;
    uint32_t nargs, args[3];
    uint32_t height;
} Node;

typedef struct Body {
    Parser *p;
    const BodyOperands *operands;
    VEC(Node) nodes;
    VEC(Expr) parts;
} Body;

/* ---------------------------------------------------------------- tree -- */

static bool add_node(Body *b, Node n, uint32_t *out)
{
    for (uint32_t k = 0; k < n.nargs; k++) {
        uint32_t h = b->nodes.at[n.args[k]].height + 1;
        if (h > n.height) n.height = h;
    }
    if (n.height > MOST_HEIGHT)
        return fail(b->p, DIAG_ir_limit, n.at,
                    "expression is more than %d deep: name a part of it, "
                    "'$0 = ...;'",
                    MOST_HEIGHT);
    *out = b->nodes.n;
    vec_push(b->p->m->scratch, &b->nodes, n);
    return true;
}

/* What the text of an operation gives: what its function says, or what its
 * operands have. */
static int own_dtype(const Body *b, const Node *n)
{
    int d = scalar_result_dtype(n->op);
    for (uint32_t k = n->op == SC_where; k < n->nargs; k++)
        if (d == DTYPE_unknown) d = b->nodes.at[n->args[k]].dtype;
    return d;
}

static bool add_op(Body *b, ScalarOp op, Token at, const uint32_t *args,
                   uint32_t n, uint32_t *out)
{
    Node node = {.kind = N_op, .op = op, .at = at, .nargs = n};
    for (uint32_t k = 0; k < n; k++)
        node.args[k] = args[k];
    node.dtype = own_dtype(b, &node);
    return add_node(b, node, out);
}

static bool add_leaf(Body *b, Token at, Expr e, uint32_t *out)
{
    Node n = {.kind = N_leaf, .at = at, .leaf = e};
    n.dtype = (int)expr_dtype(b->p->m, e);
    return add_node(b, n, out);
}

static bool parse_level(Body *b, int level, uint32_t *out);

/* What stands in brackets, or after a prefix. */
static bool parse_inner(Body *b, int level, uint32_t *out)
{
    if (!nest(b->p)) return false;
    bool ok = parse_level(b, level, out);
    unnest(b->p);
    return ok;
}

static bool parse_operand(Body *b, Token at, uint32_t *out)
{
    Parser *p = b->p;
    const char *s = p->lx.text + at.first + 1;
    uint32_t i = 0;
    for (uint32_t k = 0; k < at.last - at.first - 1 && i < UINT16_MAX; k++)
        i = i * 10 + (uint32_t)(s[k] - '0');
    if (i >= b->operands->n)
        return fail(p, DIAG_ir_name, at, "%s is not an operand: the map has %u",
                    token_text(p, at), b->operands->n);
    Type t = b->operands->types[i];
    if (t.id == 0 || type_info(p->m, t)->is_tuple)
        return fail(p, DIAG_ir_type, at, "operand %s is no tensor",
                    token_text(p, at));
    return add_leaf(b, at, expr_arg(p->m, i, type_dtype(p->m, t)), out);
}

static bool parse_part(Body *b, uint32_t *out)
{
    Parser *p = b->p;
    Token at = p->tok;
    Str name = lexer_str(&p->lx, at, &p->m->strs);
    char *end;
    unsigned long i = strtoul(str_of(p->m, name), &end, 10);
    if (*end || i >= b->parts.n)
        return fail(p, DIAG_ir_name, at, "no part before this is called %s",
                    token_text(p, at));
    advance(p);
    return add_leaf(b, at, b->parts.at[i], out);
}

static bool parse_args(Body *b, uint32_t *args, uint32_t n)
{
    Parser *p = b->p;
    if (!expect_punct(p, '(')) return false;
    for (uint32_t k = 0; k < n; k++) {
        if (k && !expect_punct(p, ',')) return false;
        if (!parse_inner(b, 0, &args[k])) return false;
    }
    return expect_punct(p, ')');
}

static bool parse_index(Body *b, Token at, uint32_t *out)
{
    Parser *p = b->p;
    Axis axis;
    if (!expect_punct(p, '(') || !parse_axis(p, &axis) || !expect_punct(p, ')'))
        return false;
    return add_leaf(b, at, expr_index(p->m, axis), out);
}

static bool is_number_word(const Parser *p)
{
    return at_word(p, "inf") || at_word(p, "nan");
}

/* A number, inf or nan; `dtype`: as written before it, or unknown. */
static bool parse_const(Body *b, int dtype, bool negative, uint32_t *out)
{
    Parser *p = b->p;
    if (p->tok.kind != TK_number && !is_number_word(p))
        return fail_expected(p, "a number");
    Node n = {.kind = N_const, .dtype = dtype, .negative = negative};
    n.at = p->tok;
    advance(p);
    return add_node(b, n, out);
}

/* dtype(x) or dtype:number */
static bool parse_typed(Body *b, Token at, DType d, uint32_t *out)
{
    Parser *p = b->p;
    if (take_punct_if(p, ':'))
        return parse_const(b, (int)d, take_punct_if(p, '-'), out);
    Node n = {.kind = N_cast, .at = at, .nargs = 1, .dtype = (int)d};
    return parse_args(b, n.args, 1) && add_node(b, n, out);
}

static bool parse_bool(Body *b, Token at, bool value, uint32_t *out)
{
    return add_leaf(b, at, expr_int(b->p->m, DT_bool, value), out);
}

static bool is_operand(const Parser *p, Token t)
{
    const char *s = p->lx.text + t.first;
    if (t.last - t.first < 2 || s[0] != '_') return false;
    for (uint32_t i = 1; i < t.last - t.first; i++)
        if (!text_is_digit(s[i])) return false;
    return true;
}

static bool parse_word(Body *b, uint32_t *out)
{
    Parser *p = b->p;
    Token at = p->tok;
    ScalarOp op;
    DType d;
    if (is_number_word(p)) return parse_const(b, DTYPE_unknown, false, out);
    const char *s = str_of(p->m, lexer_str(&p->lx, at, &p->m->strs));
    advance(p);
    if (is_operand(p, at)) return parse_operand(b, at, out);
    if (strcmp(s, "index") == 0) return parse_index(b, at, out);
    if (strcmp(s, "true") == 0) return parse_bool(b, at, true, out);
    if (strcmp(s, "false") == 0) return parse_bool(b, at, false, out);
    if (dtype_find(s, &d)) return parse_typed(b, at, d, out);
    if (!scalar_find(s, &op) || scalar_info(op)->form[0])
        return fail(p, DIAG_ir_name, at, "no scalar function is called %s",
                    token_text(p, at));
    uint32_t args[3];
    uint32_t n = scalar_info(op)->nargs;
    return parse_args(b, args, n) && add_op(b, op, at, args, n, out);
}

static bool parse_primary(Body *b, uint32_t *out)
{
    Parser *p = b->p;
    switch (p->tok.kind) {
    case TK_number:
        return parse_const(b, DTYPE_unknown, false, out);
    case TK_word:
        return parse_word(b, out);
    case TK_part:
        return parse_part(b, out);
    default:
        break;
    }
    if (!take_punct_if(p, '(')) return fail_expected(p, "an expression");
    return parse_inner(b, 0, out) && expect_punct(p, ')');
}

/* `-1` is a constant, `-x` a negation. */
static bool parse_prefix(Body *b, uint32_t *out)
{
    Parser *p = b->p;
    Token at = p->tok;
    uint32_t arg;
    if (take_punct_if(p, '-')) {
        if (p->tok.kind == TK_number || is_number_word(p))
            return parse_const(b, DTYPE_unknown, true, out);
        return parse_inner(b, LEVEL_minus, &arg) &&
               add_op(b, SC_neg, at, &arg, 1, out);
    }
    if (!take_word_if(p, "not")) return parse_primary(b, out);
    return parse_inner(b, LEVEL_not, &arg) &&
           add_op(b, SC_not, at, &arg, 1, out);
}

/* The infix function at the next token, if any. */
static bool at_infix(const Parser *p, ScalarOp *op)
{
    static const struct {
        char c;
        ScalarOp op;
    } puncts[] = {{'+', SC_add},
                  {'-', SC_sub},
                  {'*', SC_mul},
                  {'/', SC_div},
                  {'<', SC_lt}};
    *op = SC_count;
    if (p->tok.kind == TK_le) *op = SC_le;
    if (p->tok.kind == TK_eq) *op = SC_eq;
    if (p->tok.kind == TK_ne) *op = SC_ne;
    if (at_word(p, "and")) *op = SC_and;
    if (at_word(p, "or")) *op = SC_or;
    for (size_t i = 0; i < sizeof puncts / sizeof *puncts; i++)
        if (at_punct(p, puncts[i].c)) *op = puncts[i].op;
    return *op != SC_count;
}

/* What binds at least as tightly as `level`. */
static bool parse_level(Body *b, int level, uint32_t *out)
{
    Parser *p = b->p;
    ScalarOp op;
    if (!parse_prefix(b, out)) return false;
    while (at_infix(p, &op) && scalar_level(op) >= level) {
        Token at = p->tok;
        uint32_t args[2] = {*out};
        advance(p);
        if (!parse_level(b, scalar_level(op) + 1, &args[1])) return false;
        if (!add_op(b, op, at, args, 2, out)) return false;
        ScalarOp next;
        if (scalar_level(op) == LEVEL_compare && at_infix(p, &next) &&
            scalar_level(next) == LEVEL_compare)
            return fail(p, DIAG_ir_syntax, p->tok,
                        "a comparison of a comparison needs brackets");
    }
    return true;
}

/* ------------------------------------------------------------ building -- */

static bool build(Body *b, uint32_t node, int expected, Expr *out);

static bool const_float(Body *b, const Node *n, DType d, Expr *out)
{
    Parser *p = b->p;
    const char *s = p->lx.text + n->at.first;
    double x = *s == 'i' ? INFINITY : *s == 'n' ? NAN : strtod(s, NULL);
    *out = expr_float(p->m, d, n->negative && !isnan(x) ? -x : x);
    return true;
}

/* The largest magnitude of an integer dtype, on either side of zero. */
static unsigned long long int_most(DType d, bool negative)
{
    unsigned bits = 8 * dtype_bytes(d);
    if (dtype_class(d) == DC_uint)
        return negative ? 0 : UINT64_MAX >> (64 - bits);
    return (UINT64_MAX >> (65 - bits)) + negative;
}

static bool const_int(Body *b, const Node *n, DType d, Expr *out)
{
    Parser *p = b->p;
    const char *s = p->lx.text + n->at.first;
    for (uint32_t i = 0; i < n->at.last - n->at.first; i++)
        if (!text_is_digit(s[i]))
            return fail(p, DIAG_ir_type, n->at,
                        "%s is no whole number, as "
                        "%s asks",
                        token_text(p, n->at), dtype_name(d));
    errno = 0;
    unsigned long long x = strtoull(s, NULL, 10);
    if (errno == ERANGE || x > int_most(d, n->negative))
        return fail(p, DIAG_ir_limit, n->at, "%s%s does not fit %s",
                    n->negative ? "-" : "", token_text(p, n->at),
                    dtype_name(d));
    *out = expr_int(p->m, d, (int64_t)(n->negative ? 0 - x : x));
    return true;
}

static bool build_const(Body *b, const Node *n, int expected, Expr *out)
{
    int d = n->dtype != DTYPE_unknown ? n->dtype : expected;
    if (d == DTYPE_unknown)
        return fail(
            b->p, DIAG_ir_type, n->at,
            "nothing gives this constant a dtype: write 'f32:%s'",
            str_of(b->p->m, lexer_str(&b->p->lx, n->at, &b->p->m->strs)));
    if (d == DT_bool)
        return fail(b->p, DIAG_ir_type, n->at,
                    "a bool is 'true' or 'false', found %s",
                    token_text(b->p, n->at));
    if (dtype_class((DType)d) == DC_float)
        return const_float(b, n, (DType)d, out);
    return const_int(b, n, (DType)d, out);
}

/* The one dtype of the operands from the `first` on. */
static int common_dtype(Body *b, const Node *n, uint32_t first, int expected)
{
    int d = scalar_operand_dtype(n->op);
    for (uint32_t k = first; k < n->nargs; k++)
        if (d == DTYPE_unknown) d = b->nodes.at[n->args[k]].dtype;
    if (d != DTYPE_unknown) return d;
    return scalar_result_dtype(n->op) == DTYPE_unknown ? expected : d;
}

static bool build_operand(Body *b, const Node *n, uint32_t k, int want,
                          Expr *out)
{
    if (!build(b, n->args[k], want, out)) return false;
    DType d = expr_dtype(b->p->m, *out);
    if (want == DTYPE_unknown || (int)d == want) return true;
    return fail(b->p, DIAG_ir_type, b->nodes.at[n->args[k]].at,
                "operand %u of '%s' is %s, expected %s", k + 1,
                scalar_info(n->op)->name, dtype_name(d),
                dtype_name((DType)want));
}

static bool build_op(Body *b, const Node *n, int expected, Expr *out)
{
    Module *m = b->p->m;
    Expr args[3] = {{0}, {0}, {0}};
    DType types[3] = {DT_f64, DT_f64, DT_f64}, d;
    uint32_t first = n->op == SC_where;
    int want = common_dtype(b, n, first, expected);
    for (uint32_t k = 0; k < n->nargs; k++) {
        if (!build_operand(b, n, k, k < first ? (int)DT_bool : want, &args[k]))
            return false;
        types[k] = expr_dtype(m, args[k]);
    }
    if (!scalar_typed(n->op, types, &d))
        return fail(b->p, DIAG_ir_type, n->at, "'%s' takes no %s",
                    scalar_info(n->op)->name, dtype_name(types[first]));
    *out = expr_op(m, n->op, args[0], args[1], args[2]);
    return true;
}

static bool build(Body *b, uint32_t node, int expected, Expr *out)
{
    Node n = b->nodes.at[node];
    switch (n.kind) {
    case N_const:
        return build_const(b, &n, expected, out);
    case N_leaf:
        *out = n.leaf;
        return true;
    case N_cast: {
        Expr x;
        int own = b->nodes.at[n.args[0]].dtype;
        int want = own == DTYPE_unknown ? n.dtype : own;
        if (!build(b, n.args[0], want, &x)) return false;
        *out = expr_cast(b->p->m, (DType)n.dtype, x);
        return true;
    }
    case N_op:
        return build_op(b, &n, expected, out);
    }
    return false;
}

static bool parse_whole(Body *b, int expected, Expr *out)
{
    uint32_t root;
    b->nodes.n = 0;
    return parse_level(b, 0, &root) && build(b, root, expected, out);
}

/* $0 = ...; $1 = ...; in order. */
static bool parse_parts(Body *b)
{
    Parser *p = b->p;
    while (p->tok.kind == TK_part) {
        Parser before = *p;
        Str name = lexer_str(&p->lx, p->tok, &p->m->strs);
        Token at = p->tok;
        Expr e;
        advance(p);
        if (!take_punct_if(p, '=')) { /* the body starts with a part */
            *p = before;
            return true;
        }
        const char *want = arena_printf(p->m->scratch, "%u", b->parts.n);
        if (strcmp(str_of(p->m, name), want) != 0)
            return fail(p, DIAG_ir_syntax, at,
                        "parts are numbered in order: "
                        "this one is $%s",
                        want);
        if (!parse_whole(b, DTYPE_unknown, &e)) return false;
        vec_push(p->m->scratch, &b->parts, e);
        if (!expect_punct(p, ';')) return false;
    }
    return true;
}

bool parse_body(Parser *p, const BodyOperands *operands, int expected,
                Expr *out)
{
    Body b = {.p = p, .operands = operands};
    if (!parse_parts(&b) || !parse_whole(&b, expected, out)) return false;
    return expect_punct(p, '}');
}
