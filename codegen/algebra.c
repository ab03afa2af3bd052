/*
 * algebra.c: what kernels on tensor cores may do to their nodes.
 *
 * Such a region is declared to be reassociated, so its values may be computed
 * by any formula that is as good in exact arithmetic and no worse than a few
 * roundings in f32:
 *
 *     x / constant       ->  x * (1 / constant)
 *     x / y              ->  x * (1 / y), the hardware's
 *     tanh, sigmoid      ->  by exp and 1 / y: good to 2^-21 absolutely
 *     exp(x)             ->  exp2(x * log2 e), the hardware's; constants,
 *                            sums with values per row and choices that end in
 *                            a constant go into one fma per element
 *     max(x * constant)  ->  max(x) * constant
 */
#include <math.h>

#include "tensor.h"

typedef struct Algebra {
    Kir *k;
    Map done; /* node -> node */
} Algebra;

static bool is_number(const Kir *k, Node n)
{
    const NodeInfo *in = node_info(k, n);
    return in->op == KN_const && in->dtype == DT_f32;
}

static double number(const Kir *k, Node n)
{
    return node_info(k, n)->f;
}

static bool is_scalar(const Kir *k, Node n, ScalarOp sc)
{
    const NodeInfo *in = node_info(k, n);
    return in->op == KN_scalar && in->sc == sc && in->dtype == DT_f32;
}

/* Whether a node of a nest is one of an element: it depends on more than the
 * column. */
static bool is_element(const Kir *k, Node n, LoopId columns)
{
    const NodeInfo *in = node_info(k, n);
    if (in->op == KN_piece) return true;
    if (in->loop != columns)
        return k->loops.at[in->loop].kind == LOOP_rows;
    return ix_uses(k, in->ix, k->loops.at[columns].parent) ||
           is_element(k, in->a, columns) || is_element(k, in->b, columns) ||
           is_element(k, in->c, columns);
}

/* How often a node is made: for each element, column, row, or less. */
static uint32_t often(const Kir *k, Node n)
{
    LoopId at = node_info(k, n)->loop;
    uint32_t depth = 2 * k->loops.at[at].depth;
    if (k->loops.at[at].kind != LOOP_columns) return depth;
    return depth + is_element(k, n, at);
}

static Node f32_op(Kir *k, ScalarOp sc, Node a, Node b)
{
    return node_scalar(k, sc, DT_f32, a, b, (Node){0});
}

static Node f32_const(Kir *k, double f)
{
    return node_const_float(k, DT_f32, (float)f);
}

static Node linear(Kir *k, Node x, double scale, Node add)
{
    if (!add.id && scale == 1) return x;
    Node c = f32_const(k, scale);
    if (!add.id) return f32_op(k, SC_mul, x, c);
    if (scale == 1) return f32_op(k, SC_add, x, add);
    return node_scalar(k, SC_fma, DT_f32, x, c, add);
}

static bool is_sum(const Kir *k, Node n)
{
    return is_scalar(k, n, SC_add) || is_scalar(k, n, SC_sub);
}

/* scale * x + add; add may be none. */
static Node affine(Kir *k, Node x, double scale, Node add)
{
    const NodeInfo in = *node_info(k, x);
    if (is_number(k, x)) {
        Node c = f32_const(k, scale * in.f);
        return add.id && isfinite(in.f) ? f32_op(k, SC_add, c, add) : c;
    }
    if (is_scalar(k, x, SC_mul) && is_number(k, in.b))
        return affine(k, in.a, scale * number(k, in.b), add);
    if (is_scalar(k, x, SC_mul) && is_number(k, in.a))
        return affine(k, in.b, scale * number(k, in.a), add);
    if (is_scalar(k, x, SC_mul) && is_sum(k, in.a) && scale != 1 && !add.id)
        return f32_op(k, SC_mul, affine(k, in.a, scale, add), in.b);
    if (is_scalar(k, x, SC_neg)) return affine(k, in.a, -scale, add);
    bool minus = is_scalar(k, x, SC_sub);
    if (minus || is_scalar(k, x, SC_add)) {
        double second = minus ? -scale : scale;
        if (often(k, in.a) > often(k, in.b))
            return affine(k, in.a, scale, affine(k, in.b, second, add));
        if (often(k, in.b) > often(k, in.a))
            return affine(k, in.b, second, affine(k, in.a, scale, add));
    }
    /* a masked score: the value that its maximum reads too */
    if (is_scalar(k, x, SC_where) && is_number(k, in.c) &&
        number(k, in.c) == -INFINITY && scale > 0) {
        x = algebra_strip(k, x, &scale);
        return linear(k, x, scale, add);
    }
    if (is_scalar(k, x, SC_where) && (is_number(k, in.b) || is_number(k, in.c)))
        return node_scalar(k, SC_where, DT_f32, in.a,
                           affine(k, in.b, scale, add),
                           affine(k, in.c, scale, add));
    return linear(k, x, scale, add);
}

static Node fast(Algebra *g, Node n);

static Node fast_quotient(Kir *k, Node a, Node b)
{
    if (is_number(k, b)) return affine(k, a, 1 / number(k, b), (Node){0});
    return f32_op(k, SC_mul, a, node_rcp(k, b));
}

/* 1 / (1 + exp(scale * x)) */
static Node logistic(Kir *k, Node x, double scale)
{
    Node e = node_exp2(k, affine(k, x, scale * M_LOG2E, (Node){0}));
    return node_rcp(k, f32_op(k, SC_add, e, f32_const(k, 1)));
}

static Node fast_scalar(Algebra *g, const NodeInfo *in)
{
    Kir *k = g->k;
    Node a = fast(g, in->a), b = fast(g, in->b), c = fast(g, in->c);
    if (in->dtype == DT_f32 && in->sc == SC_exp)
        return node_exp2(k, affine(k, a, M_LOG2E, (Node){0}));
    if (in->dtype == DT_f32 && in->sc == SC_div) return fast_quotient(k, a, b);
    if (in->dtype == DT_f32 && in->sc == SC_sigmoid) return logistic(k, a, -1);
    if (in->dtype == DT_f32 && in->sc == SC_tanh)
        return affine(k, logistic(k, a, 2), -2, f32_const(k, 1));
    return node_scalar(k, (ScalarOp)in->sc, (DType)in->dtype, a, b, c);
}

static Node fast(Algebra *g, Node n)
{
    uint32_t id;
    if (!n.id) return n;
    if (map_find(&g->done, n.id, &id)) return (Node){id};
    const NodeInfo in = *node_info(g->k, n);
    Node out = n;
    if (in.op == KN_scalar) out = fast_scalar(g, &in);
    if (in.op == KN_cast) out = node_cast(g->k, (DType)in.dtype, fast(g, in.a));
    map_add(&g->done, n.id, out.id);
    return out;
}

Node algebra_fast(Kir *k, Node n)
{
    Algebra g = {.k = k};
    map_init(&g.done, k->arena);
    return fast(&g, n);
}

Node algebra_strip(Kir *k, Node n, double *scale)
{
    const NodeInfo in = *node_info(k, n);
    if (is_scalar(k, n, SC_mul) && is_number(k, in.b) && number(k, in.b) > 0) {
        *scale *= number(k, in.b);
        return algebra_strip(k, in.a, scale);
    }
    /* a choice of nothing at all stays one */
    if (is_scalar(k, n, SC_where) && is_number(k, in.c) &&
        number(k, in.c) == -INFINITY) {
        Node x = algebra_strip(k, in.b, scale);
        return node_scalar(k, SC_where, DT_f32, in.a, x, in.c);
    }
    return n;
}
