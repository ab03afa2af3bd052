/*
 * print_expr.c: scalar expressions as text.
 *
 *     bf16(f32(_0) * rsqrt(_1 + 1e-5)) * _2
 *     $0 = exp(f32(_0) - f32(_1)) * f32(_2); $0 * (1 - $0)
 *
 * An expression is a graph: what occurs several times and is more than a few
 * nodes, or would nest too deep, is a part of its own, named $0, $1, ...
 * Hence the text is linear in the graph and its nesting is bounded.
 *
 * A constant is written bare where its neighbours or the result give its
 * dtype, and as f32:1.5 elsewhere.  The parser decides by the same rule:
 * operands of one dtype take it from the first that has one of its own.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "text.h"

enum { SMALL = 6 }; /* parts of at most so many nodes are repeated in place */

typedef struct Node {
    Expr e;
    uint32_t uses, weight, height;
    bool own;  /* its text alone gives its dtype */
    bool part; /* printed as $number */
    uint32_t number;
} Node;

typedef struct ExprText {
    Module *m;
    Buf *out;
    Map index; /* expression -> node */
    VEC(Node) nodes;
} ExprText;

int scalar_level(ScalarOp op)
{
    switch (op) {
    case SC_or:
        return LEVEL_or;
    case SC_and:
        return LEVEL_and;
    case SC_not:
        return LEVEL_not;
    case SC_lt:
    case SC_le:
    case SC_eq:
    case SC_ne:
        return LEVEL_compare;
    case SC_add:
    case SC_sub:
        return LEVEL_sum;
    case SC_mul:
    case SC_div:
        return LEVEL_product;
    case SC_neg:
        return LEVEL_minus;
    default:
        return LEVEL_leaf;
    }
}

static Node *node_of(ExprText *t, Expr e)
{
    uint32_t i = 0;
    if (!map_find(&t->index, e.id, &i)) BUG("expression is not in the graph");
    return &t->nodes.at[i];
}

int scalar_result_dtype(ScalarOp op)
{
    switch (op) {
#define SCALAR(name, args, form, operands, result) SCALAR_##result(name)
#define SCALAR_same(name)
#define SCALAR_own(name)
#define SCALAR_bool(name) \
    case SC_##name:       \
        return DT_bool;
#include "scalar.def"
#undef SCALAR
#undef SCALAR_same
#undef SCALAR_own
#undef SCALAR_bool
    case SC_random:
        return DT_u32;
    default:
        return scalar_operand_dtype(op);
    }
}

int scalar_operand_dtype(ScalarOp op)
{
    if (op == SC_and || op == SC_or || op == SC_not) return DT_bool;
    return op == SC_random ? (int)DT_i64 : DTYPE_unknown;
}

static void collect(ExprText *t, Expr root)
{
    uint32_t n;
    Expr *nodes = expr_walk(t->m, root, t->m->scratch, &n);
    map_init(&t->index, t->m->scratch);
    vec_reserve(t->m->scratch, &t->nodes, n);
    for (uint32_t i = 0; i < n; i++) {
        map_add(&t->index, nodes[i].id, i);
        t->nodes.at[t->nodes.n++] = (Node){.e = nodes[i]};
    }
}

static bool is_own(ExprText *t, const ExprInfo *x)
{
    if (x->op == SC_const) return x->dtype == DT_bool;
    if (x->nargs == 0 || x->op == SC_cast ||
        scalar_result_dtype((ScalarOp)x->op) != DTYPE_unknown)
        return true;
    uint32_t first = x->op == SC_where;
    for (uint32_t k = first; k < x->nargs; k++)
        if (node_of(t, x->args[k])->own) return true;
    return false;
}

static void measure(ExprText *t)
{
    uint32_t parts = 0;
    for (uint32_t i = 0; i < t->nodes.n; i++) {
        const ExprInfo *x = expr_info(t->m, t->nodes.at[i].e);
        for (uint32_t k = 0; k < x->nargs; k++)
            node_of(t, x->args[k])->uses++;
    }
    for (uint32_t i = 0; i < t->nodes.n; i++) {
        Node *n = &t->nodes.at[i];
        const ExprInfo *x = expr_info(t->m, n->e);
        n->weight = n->height = 1;
        for (uint32_t k = 0; k < x->nargs; k++) {
            const Node *arg = node_of(t, x->args[k]);
            n->weight += arg->part ? 1 : arg->weight;
            uint32_t h = arg->part ? 2 : arg->height + 1;
            if (h > n->height) n->height = h;
        }
        n->part = i + 1 < t->nodes.n &&
                  ((n->uses > 1 && n->weight > SMALL) || n->height > TEXT_DEEP);
        n->own = n->part || is_own(t, x);
        if (n->part) n->number = parts++;
    }
}

/* "1e-05" and "1e+10" from printf become "1e-5" and "1e10". */
static void print_decimal(const char *text, Buf *out)
{
    const char *e = strchr(text, 'e');
    if (!e) {
        buf_puts(out, text);
        return;
    }
    buf_add(out, text, (size_t)(e - text) + 1);
    e++;
    if (*e == '-') buf_putc(out, '-');
    e++;
    while (*e == '0' && e[1])
        e++;
    buf_puts(out, e);
}

/* The shortest decimal that is the same number after rounding to the dtype */
static void print_float(DType d, double f, Buf *out)
{
    char text[40];
    if (isnan(f) || isinf(f)) {
        buf_puts(out, isnan(f) ? "nan" : f < 0 ? "-inf" : "inf");
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, f);
        if (dtype_round(d, strtod(text, NULL)) == f) break;
    }
    print_decimal(text, out);
}

static void print_const(const ExprInfo *x, bool known, Buf *out)
{
    DType d = (DType)x->dtype;
    if (d == DT_bool) {
        buf_puts(out, x->i ? "true" : "false");
        return;
    }
    if (!known) buf_printf(out, "%s:", dtype_name(d));
    if (dtype_class(d) == DC_float)
        print_float(d, x->f, out);
    else if (dtype_class(d) == DC_uint)
        buf_printf(out, "%llu", (unsigned long long)x->i);
    else
        buf_printf(out, "%lld", (long long)x->i);
}

static bool is_negative(const ExprInfo *x)
{
    if (x->op != SC_const) return false;
    switch (dtype_class((DType)x->dtype)) {
    case DC_float:
        return signbit(x->f) && !isnan(x->f);
    case DC_int:
        return x->i < 0;
    case DC_uint:
    case DC_bool:
        return false;
    }
    return false;
}

static void print_node(ExprText *t, Expr e, bool known, int level);

/* A bare constant below takes its dtype from a neighbour, or, where the
 * function returns its operands' dtype, from what is expected of it. */
static bool operands_known(ExprText *t, const ExprInfo *x, bool known)
{
    ScalarOp op = (ScalarOp)x->op;
    if (op == SC_cast) return false;
    if (scalar_operand_dtype(op) != DTYPE_unknown) return true;
    for (uint32_t k = op == SC_where; k < x->nargs; k++)
        if (node_of(t, x->args[k])->own) return true;
    return known && scalar_result_dtype(op) == DTYPE_unknown;
}

static void print_call(ExprText *t, const ExprInfo *x, bool known)
{
    bool inner = operands_known(t, x, known);
    buf_puts(t->out, x->op == SC_cast ? dtype_name((DType)x->dtype)
                                      : scalar_info((ScalarOp)x->op)->name);
    buf_putc(t->out, '(');
    for (uint32_t k = 0; k < x->nargs; k++) {
        if (k) buf_puts(t->out, ", ");
        print_node(t, x->args[k], inner, 0);
    }
    buf_putc(t->out, ')');
}

static void print_prefix(ExprText *t, const ExprInfo *x, bool known)
{
    int level = scalar_level((ScalarOp)x->op);
    buf_puts(t->out, scalar_info((ScalarOp)x->op)->form);
    if (x->op == SC_not) buf_putc(t->out, ' ');
    /* `-1` is a constant, so the negation of a constant keeps its brackets */
    bool constant = expr_info(t->m, x->args[0])->op == SC_const;
    if (constant && x->op == SC_neg) level = LEVEL_leaf + 1;
    print_node(t, x->args[0], operands_known(t, x, known), level);
}

/* Infix functions associate to the left; comparisons do not associate. */
static void print_infix(ExprText *t, const ExprInfo *x, bool known)
{
    int level = scalar_level((ScalarOp)x->op);
    bool inner = operands_known(t, x, known);
    print_node(t, x->args[0], inner, level + (level == LEVEL_compare));
    buf_printf(t->out, " %s ", scalar_info((ScalarOp)x->op)->form);
    print_node(t, x->args[1], inner, level + 1);
}

static int node_level(const ExprInfo *x)
{
    if (x->op == SC_const) return is_negative(x) ? LEVEL_minus : LEVEL_leaf;
    return scalar_level((ScalarOp)x->op);
}

static void print_bare(ExprText *t, const ExprInfo *x, bool known)
{
    switch (x->op) {
    case SC_arg:
        buf_printf(t->out, "_%u", x->operand);
        return;
    case SC_const:
        print_const(x, known, t->out);
        return;
    case SC_index:
        buf_puts(t->out, "index(");
        print_name(axis_name(t->m, x->axis), t->out);
        buf_putc(t->out, ')');
        return;
    }
    if (node_level(x) == LEVEL_leaf)
        print_call(t, x, known);
    else if (x->nargs == 1)
        print_prefix(t, x, known);
    else
        print_infix(t, x, known);
}

/* With brackets where it binds less tightly than `level`. */
static void print_node(ExprText *t, Expr e, bool known, int level)
{
    const Node *n = node_of(t, e);
    const ExprInfo *x = expr_info(t->m, e);
    if (n->part) {
        buf_printf(t->out, "$%u", n->number);
        return;
    }
    bool brackets = node_level(x) < level;
    if (brackets) buf_putc(t->out, '(');
    print_bare(t, x, known);
    if (brackets) buf_putc(t->out, ')');
}

void print_expr(Module *m, Expr e, int expected, Buf *out)
{
    ArenaMark mark = arena_mark(m->scratch);
    ExprText t = {.m = m, .out = out};
    collect(&t, e);
    measure(&t);
    for (uint32_t i = 0; i < t.nodes.n; i++) {
        const Node *n = &t.nodes.at[i];
        if (!n->part) continue;
        buf_printf(out, "$%u = ", n->number);
        print_bare(&t, expr_info(m, n->e), false);
        buf_puts(out, "; ");
    }
    print_node(&t, e, expected == (int)expr_dtype(m, e), 0);
    arena_pop(m->scratch, mark);
}
