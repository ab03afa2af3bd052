/*
 * linear.c: the degree of an expression, node by node.
 */
#include "linear.h"

typedef struct Walk {
    Module *m;
    const bool *marked;
    Expr *nodes;
    uint8_t *degrees; /* Degree by node */
    uint32_t n;
} Walk;

static bool is_zero(const Module *m, Expr e)
{
    const ExprInfo *x = expr_info(m, e);
    if (x->op != SC_const) return false;
    return dtype_class((DType)x->dtype) == DC_float ? x->f == 0 : x->i == 0;
}

/* Both terms of a sum, or both arms of a choice; 0 is a multiple of all. */
static Degree both(const Walk *w, const ExprInfo *x, uint32_t i, uint32_t k,
                   Degree a, Degree b)
{
    if (a == DEGREE_other || b == DEGREE_other) return DEGREE_other;
    if (a == b) return a;
    Expr without = x->args[a == DEGREE_none ? i : k];
    return is_zero(w->m, without) ? DEGREE_linear : DEGREE_other;
}

static Degree product(Degree a, Degree b)
{
    if (a == DEGREE_other || b == DEGREE_other) return DEGREE_other;
    if (a == DEGREE_linear && b == DEGREE_linear) return DEGREE_other;
    return a > b ? a : b;
}

static Degree op_degree(const Walk *w, const ExprInfo *x, const Degree d[3])
{
    switch ((ScalarOp)x->op) {
    case SC_add:
    case SC_sub:
        return both(w, x, 0, 1, d[0], d[1]);
    case SC_mul:
        return product(d[0], d[1]);
    case SC_fma:
        return product(d[0], d[1]) == d[2] ? d[2] : DEGREE_other;
    case SC_div:
        return d[1] == DEGREE_none ? d[0] : DEGREE_other;
    case SC_neg:
    case SC_stop:
        return d[0];
    case SC_where:
        return d[0] == DEGREE_none ? both(w, x, 1, 2, d[1], d[2])
                                   : DEGREE_other;
    case SC_cast:
        return dtype_class((DType)x->dtype) == DC_float ? d[0] : DEGREE_other;
    default:
        return DEGREE_other;
    }
}

static Degree node_degree(const Walk *w, Expr e)
{
    const ExprInfo *x = expr_info(w->m, e);
    if (x->op == SC_arg)
        return w->marked[x->operand] ? DEGREE_linear : DEGREE_none;
    Degree d[3] = {DEGREE_none, DEGREE_none, DEGREE_none};
    bool none = true;
    for (uint32_t k = 0; k < x->nargs; k++) {
        d[k] = (Degree)w->degrees[expr_place(w->nodes, w->n, x->args[k])];
        none = none && d[k] == DEGREE_none;
    }
    return none ? DEGREE_none : op_degree(w, x, d);
}

Degree expr_degree(Module *m, Expr e, const bool *marked)
{
    ArenaMark mark = arena_mark(m->scratch);
    Walk w = {.m = m, .marked = marked};
    w.nodes = expr_walk(m, e, m->scratch, &w.n);
    w.degrees = NEW_ARRAY(m->scratch, uint8_t, w.n);
    for (uint32_t i = 0; i < w.n; i++)
        w.degrees[i] = (uint8_t)node_degree(&w, w.nodes[i]);
    Degree d = (Degree)w.degrees[w.n - 1];
    arena_pop(m->scratch, mark);
    return d;
}
