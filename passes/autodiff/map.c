/*
 * map.c: the derivative of a map.
 *
 * The cotangent of an operand is again one map, of the cotangent and of what
 * the partial derivative mentions, summed over the axes that the operand was
 * broadcast along.  Where a partial derivative is written with the function's
 * own value (exp, tanh, a quotient), it reads the map's result.
 */
#include "autodiff.h"

static bool is_zero(const Module *m, Expr e)
{
    const ExprInfo *x = expr_info(m, e);
    return !e.id || (x->op == SC_const && x->f == 0);
}

void grad_map(Grad *g, Value v, Value cot)
{
    const Inst *in = inst_of(g->fn, v);
    Arena *a = g->ad->arena;
    uint32_t n = in->nargs;
    Value *args = NEW_ARRAY(a, Value, n + 2);
    bool *wanted = NEW_ARRAY(a, bool, n + 1);
    Expr *out = NEW_ARRAY(a, Expr, n + 1);
    for (uint32_t i = 0; i < n; i++) {
        args[i] = grad_operand(g, v, i);
        wanted[i] = grad_wants(g, v, i);
    }
    args[n] = cot;
    args[n + 1] = g->map[v.id];

    DType d = type_dtype(g->m, in->type);
    Expr seed = expr_arg(g->m, n, cot_dtype(d));
    Expr result = dtype_computes(d) ? expr_arg(g->m, n + 1, d) : (Expr){0};
    expr_cotangents(g->m, a, attr_expr(g->m, in->attr), seed, result, wanted,
                    out, n);
    for (uint32_t i = 0; i < n; i++) {
        if (is_zero(g->m, out[i])) continue;
        /* the door drops the operands that are not mentioned */
        const TypeInfo *over = type_info(g->m, in->type);
        Value dx =
            emit_map_over(&g->b, out[i], args, n + 2, over->axes, over->naxes);
        grad_give(g, v, i, grad_sum_to(g, dx, value_type(g->b.fn, args[i])));
    }
}
