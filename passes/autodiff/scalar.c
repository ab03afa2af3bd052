/*
 * scalar.c: partial derivatives of scalar expressions.
 *
 * Reverse mode on the nodes of one expression: each node's cotangent is an
 * expression, and a rule per row of scalar.def, diff_<name>, hands it on to
 * the node's operands.  Operands come before uses in the walk, so one sweep
 * from the last node is enough, and nodes that are shared stay shared.
 *
 * Nodes through which no derivative goes (integers, bool, stop, rounding)
 * hand on nothing.  Cotangents are in f32 or f64: arithmetic never meets a
 * narrow dtype.
 */
#include "autodiff.h"

typedef struct Diff {
    Module *m;
    const Expr *nodes; /* operands before uses */
    uint32_t n;
    bool *active; /* leads to a wanted operand */
    Expr *cot;    /* {0}: zero */
} Diff;

/* The node at hand, as its rule sees it. */
typedef struct Node {
    Diff *d;
    Expr a, b, c; /* operands */
    Expr self;    /* its own value */
    Expr cot;
    DType dt; /* of the cotangent */
} Node;

static uint32_t node_at(const Diff *d, Expr e)
{
    for (uint32_t i = d->n; i-- > 0;)
        if (d->nodes[i].id == e.id) return i;
    BUG("expression is not below the body");
}

static void give(const Node *x, Expr operand, Expr cot)
{
    uint32_t i = node_at(x->d, operand);
    if (!x->d->active[i]) return;
    Expr *sum = &x->d->cot[i];
    *sum = sum->id ? expr_op2(x->d->m, SC_add, *sum, cot) : cot;
}

static Expr op1(const Node *x, ScalarOp op, Expr a)
{
    return expr_op1(x->d->m, op, a);
}

static Expr op2(const Node *x, ScalarOp op, Expr a, Expr b)
{
    return expr_op2(x->d->m, op, a, b);
}

static Expr select(const Node *x, Expr c, Expr a, Expr b)
{
    return expr_op(x->d->m, SC_where, c, a, b);
}

static Expr num(const Node *x, double f)
{
    return expr_float(x->d->m, x->dt, f);
}

static Expr times(const Node *x, Expr a, Expr b)
{
    return op2(x, SC_mul, a, b);
}

/* --------------------------------------------------------------- rules -- */

static void diff_add(const Node *x)
{
    give(x, x->a, x->cot);
    give(x, x->b, x->cot);
}

static void diff_sub(const Node *x)
{
    give(x, x->a, x->cot);
    give(x, x->b, op1(x, SC_neg, x->cot));
}

static void diff_mul(const Node *x)
{
    give(x, x->a, times(x, x->cot, x->b));
    give(x, x->b, times(x, x->cot, x->a));
}

static void diff_div(const Node *x)
{
    Expr over = op2(x, SC_div, x->cot, x->b);
    give(x, x->a, over);
    give(x, x->b, op1(x, SC_neg, times(x, over, x->self)));
}

/* d a^b = b a^(b-1) da + a^b log(a) db; both are zero at 0^0. */
static void diff_pow(const Node *x)
{
    Expr zero = num(x, 0);
    Expr less = op2(x, SC_pow, x->a, op2(x, SC_sub, x->b, num(x, 1)));
    const ExprInfo *power = expr_info(x->d->m, x->b);
    if (power->op == SC_const && power->f == 2) less = x->a;
    Expr slope = times(x, x->b, less);
    Expr flat = op2(x, SC_eq, x->b, zero);
    give(x, x->a, times(x, x->cot, select(x, flat, zero, slope)));

    Expr rise = times(x, x->self, op1(x, SC_log, x->a));
    Expr origin = op2(x, SC_eq, x->a, zero);
    give(x, x->b, times(x, x->cot, select(x, origin, zero, rise)));
}

/* The cotangent goes to the operand that is chosen, half each when equal. */
static void choose(const Node *x, bool least)
{
    Expr half = select(x, op2(x, SC_eq, x->a, x->b),
                       times(x, x->cot, num(x, 0.5)), num(x, 0));
    Expr a_less = op2(x, SC_lt, x->a, x->b);
    Expr b_less = op2(x, SC_lt, x->b, x->a);
    give(x, x->a, select(x, least ? a_less : b_less, x->cot, half));
    give(x, x->b, select(x, least ? b_less : a_less, x->cot, half));
}

static void diff_min(const Node *x)
{
    choose(x, true);
}

static void diff_max(const Node *x)
{
    choose(x, false);
}

static void diff_fma(const Node *x)
{
    diff_mul(x);
    give(x, x->c, x->cot);
}

static void diff_neg(const Node *x)
{
    give(x, x->a, op1(x, SC_neg, x->cot));
}

static void diff_abs(const Node *x)
{
    give(x, x->a, times(x, x->cot, op1(x, SC_sign, x->a)));
}

static void diff_exp(const Node *x)
{
    give(x, x->a, times(x, x->cot, x->self));
}

static void diff_log(const Node *x)
{
    give(x, x->a, op2(x, SC_div, x->cot, x->a));
}

static void diff_log1p(const Node *x)
{
    give(x, x->a, op2(x, SC_div, x->cot, op2(x, SC_add, num(x, 1), x->a)));
}

static void diff_sqrt(const Node *x)
{
    Expr half = times(x, x->cot, num(x, 0.5));
    give(x, x->a, op2(x, SC_div, half, x->self));
}

/* d a^(-1/2) = -1/2 a^(-3/2) da */
static void diff_rsqrt(const Node *x)
{
    Expr cube = times(x, times(x, x->self, x->self), x->self);
    give(x, x->a, times(x, times(x, x->cot, num(x, -0.5)), cube));
}

static void diff_sin(const Node *x)
{
    give(x, x->a, times(x, x->cot, op1(x, SC_cos, x->a)));
}

static void diff_cos(const Node *x)
{
    Expr minus = op1(x, SC_neg, x->cot);
    give(x, x->a, times(x, minus, op1(x, SC_sin, x->a)));
}

static void diff_tanh(const Node *x)
{
    Expr square = times(x, x->self, x->self);
    give(x, x->a, times(x, x->cot, op2(x, SC_sub, num(x, 1), square)));
}

/* 2 / sqrt(pi) exp(-a^2) */
static void diff_erf(const Node *x)
{
    Expr bell = op1(x, SC_exp, op1(x, SC_neg, times(x, x->a, x->a)));
    Expr slope = times(x, num(x, 1.12837916709551257390), bell);
    give(x, x->a, times(x, x->cot, slope));
}

static void diff_sigmoid(const Node *x)
{
    Expr rest = op2(x, SC_sub, num(x, 1), x->self);
    give(x, x->a, times(x, x->cot, times(x, x->self, rest)));
}

/* The arm that is not taken gets an exact zero, whatever the other gets. */
static void diff_where(const Node *x)
{
    give(x, x->b, select(x, x->a, x->cot, num(x, 0)));
    give(x, x->c, select(x, x->a, num(x, 0), x->cot));
}

/* No derivative: integers and bool, steps, and what says so. */
#define diff_idiv     NULL
#define diff_imod     NULL
#define diff_sign     NULL
#define diff_floor    NULL
#define diff_ceil     NULL
#define diff_round    NULL
#define diff_lt       NULL
#define diff_le       NULL
#define diff_eq       NULL
#define diff_ne       NULL
#define diff_and      NULL
#define diff_or       NULL
#define diff_not      NULL
#define diff_bitand   NULL
#define diff_bitor    NULL
#define diff_bitxor   NULL
#define diff_shl      NULL
#define diff_shr      NULL
#define diff_stop     NULL
#define diff_isfinite NULL
#define diff_random   NULL

/* A cast between floats hands on the cotangent in the other's dtype. */
static void diff_cast(const Node *x)
{
    DType d = cot_dtype(expr_dtype(x->d->m, x->a));
    give(x, x->a, expr_cast(x->d->m, d, x->cot));
}

static void (*const diff_rules[SC_count])(const Node *x) = {
    [SC_cast] = diff_cast,
#define SCALAR(name, args, form, operands, result) [SC_##name] = diff_##name,
#include "../../ir/scalar.def"
#undef SCALAR
};

/* --------------------------------------------------------------- sweep -- */

static bool is_active(const Diff *d, const ExprInfo *x, const bool *wanted,
                      uint32_t n)
{
    if (dtype_class((DType)x->dtype) != DC_float) return false;
    if (x->op == SC_arg) return x->operand < n && wanted[x->operand];
    if (!diff_rules[x->op]) return false;
    for (unsigned k = 0; k < x->nargs; k++)
        if (d->active[node_at(d, x->args[k])]) return true;
    return false;
}

static Diff diff_new(Module *m, Arena *a, Expr body, const bool *wanted,
                     uint32_t n)
{
    Diff d = {.m = m};
    d.nodes = expr_walk(m, body, a, &d.n);
    d.active = NEW_ARRAY(a, bool, d.n);
    d.cot = NEW_ARRAY(a, Expr, d.n);
    for (uint32_t i = 0; i < d.n; i++)
        d.active[i] = is_active(&d, expr_info(m, d.nodes[i]), wanted, n);
    return d;
}

void expr_cotangents(Module *m, Arena *a, Expr body, Expr seed, Expr result,
                     const bool *wanted, Expr *out, uint32_t n)
{
    Diff d = diff_new(m, a, body, wanted, n);
    for (uint32_t k = 0; k < n; k++)
        out[k] = (Expr){0};
    d.cot[d.n - 1] = seed;
    for (uint32_t i = d.n; i-- > 0;) {
        if (!d.active[i] || !d.cot[i].id) continue;
        ExprInfo x = *expr_info(m, d.nodes[i]);
        if (x.op == SC_arg) {
            out[x.operand] = d.cot[i];
            continue;
        }
        bool whole = i == d.n - 1 && result.id;
        Node node = {.d = &d,
                     .a = x.args[0],
                     .b = x.args[1],
                     .c = x.args[2],
                     .self = whole ? result : d.nodes[i],
                     .cot = d.cot[i],
                     .dt = cot_dtype((DType)x.dtype)};
        diff_rules[x.op](&node);
    }
}

bool expr_depends(Module *m, Arena *a, Expr body, uint32_t i)
{
    bool *wanted = NEW_ARRAY(a, bool, i + 1);
    wanted[i] = true;
    Diff d = diff_new(m, a, body, wanted, i + 1);
    return d.active[d.n - 1];
}
