/*
 * degree.c: how a scalar expression depends on some of its operands, node by
 * node.
 */
#include "ir.h"

typedef struct Walk {
    const Module *m;
    const bool *marked;
    const Expr *nodes;
    Degree *degrees; /* by node */
    uint32_t n;
} Walk;

/* Both terms of a sum, or both arms of a choice. */
static Degree sum(Degree a, Degree b)
{
    if (a == DEGREE_zero) return b;
    return b == DEGREE_zero || a == b ? a : DEGREE_other;
}

static Degree product(Degree a, Degree b)
{
    if (a == DEGREE_zero || b == DEGREE_zero) return DEGREE_zero;
    if (a == DEGREE_none) return b;
    return b == DEGREE_none ? a : DEGREE_other;
}

static Degree leaf_degree(const Walk *w, const ExprInfo *e)
{
    if (e->op == SC_arg)
        return w->marked[e->operand] ? DEGREE_linear : DEGREE_none;
    if (e->op != SC_const) return DEGREE_none;
    bool zero =
        dtype_class((DType)e->dtype) == DC_float ? e->f == 0 : e->i == 0;
    return zero ? DEGREE_zero : DEGREE_none;
}

/* A function of operands: of none of those that count, or in its own way. */
static Degree rest_degree(const Degree *d, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (d[i] > DEGREE_none) return DEGREE_other;
    return DEGREE_none;
}

static Degree op_degree(const ExprInfo *e, const Degree d[3])
{
    switch ((ScalarOp)e->op) {
    case SC_add:
    case SC_sub:
        return sum(d[0], d[1]);
    case SC_mul:
        return product(d[0], d[1]);
    case SC_fma:
        return sum(product(d[0], d[1]), d[2]);
    case SC_div:
        return d[1] <= DEGREE_none ? d[0] : DEGREE_other;
    case SC_neg:
    case SC_stop:
        return d[0];
    case SC_where:
        return d[0] <= DEGREE_none ? sum(d[1], d[2]) : DEGREE_other;
    case SC_cast:
        if (dtype_class((DType)e->dtype) == DC_float) return d[0];
        return rest_degree(d, e->nargs);
    default:
        return rest_degree(d, e->nargs);
    }
}

Degree expr_degree(Module *m, Expr e, const bool *marked)
{
    ArenaMark mark = arena_mark(m->scratch);
    Walk w = {.m = m, .marked = marked};
    w.nodes = expr_walk(m, e, m->scratch, &w.n);
    w.degrees = NEW_ARRAY(m->scratch, Degree, w.n);
    for (uint32_t i = 0; i < w.n; i++) {
        const ExprInfo *x = expr_info(m, w.nodes[i]);
        Degree d[3] = {DEGREE_none, DEGREE_none, DEGREE_none};
        for (uint32_t k = 0; k < x->nargs; k++)
            d[k] = w.degrees[expr_place(w.nodes, w.n, x->args[k])];
        w.degrees[i] = x->nargs ? op_degree(x, d) : leaf_degree(&w, x);
    }
    Degree d = w.degrees[w.n - 1];
    arena_pop(m->scratch, mark);
    return d;
}

/* Integers that the result cannot hold come out as others; of floats in
 * integers NaN is lost. */
static bool cast_keeps_order(DType from, DType to)
{
    DClass a = dtype_class(from), b = dtype_class(to);
    if (b == DC_float) return true;
    bool wider = dtype_bytes(to) > dtype_bytes(from);
    return a == b ? dtype_bytes(to) >= dtype_bytes(from)
                  : a == DC_uint && b == DC_int && wider;
}

bool expr_keeps_order(const Module *m, Expr e)
{
    const ExprInfo *x = expr_info(m, e);
    for (; x->op == SC_cast; x = expr_info(m, x->args[0]))
        if (!cast_keeps_order(expr_dtype(m, x->args[0]), (DType)x->dtype))
            return false;
    return x->op == SC_arg;
}
