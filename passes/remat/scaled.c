/*
 * scaled.c: what few bits and a scale stand for.
 *
 * A product that is quantised (passes/quantise.c) multiplies other values than
 * the one of the program, and gives another one:
 *
 *     amax = max |w|                  s, t     made of amax
 *     q    = { e4m3(f32(w) * s) }              the operand
 *     b    = { bf16(f32(q) * t) }              or this, where products take it
 *     y    = einsum x', q
 *     z    = { bf16(y * t_x * t) }             the result
 *
 * A plan means w by q and b, and the product by z.  Where operands are cut into
 * blocks, z is y with its axes put together again.  A map is seen through where
 * all its operands but the first are scales, numbers that are made of a
 * maximum, and where numbers of few bits are in it.  What is merged with maps
 * of the program is not: the sum of a residual, say, is nobody's product.
 */
#include "remat.h"

#include "../cast.h"

static bool is_narrow(DType d)
{
    return dtype_class(d) == DC_float && dtype_bytes(d) <= 1;
}

/* Whether V is made of a largest element, here or by a caller. */
static bool is_scale(const Module *m, const Fn *fn, Value v)
{
    for (;;) {
        const Inst *in = inst_of(fn, v);
        if (in->op == OP_reduce) return attr_is(m, in->attr, AT_kind, "max");
        if (v.id < fn->nparams) {
            if (fn->entry || !find_caller(m, fn, v.id, &fn, &v)) return false;
        } else if (is_between(in)) {
            v = inst_arg(fn, in, 0);
        } else {
            return false;
        }
    }
}

/* A map of numbers times their scales. */
static bool is_scaling(const Module *m, const Fn *fn, const Inst *in)
{
    if (in->op != OP_map || in->nargs < 2) return false;
    for (uint32_t k = 1; k < in->nargs; k++)
        if (!is_scale(m, fn, inst_arg(fn, in, k))) return false;
    return true;
}

/* Some number in it has few bits. */
static bool has_narrow(const Module *m, const Inst *in)
{
    uint32_t n;
    Expr *at = expr_walk(m, attr_expr(m, in->attr), m->scratch, &n);
    for (uint32_t i = 0; i < n; i++)
        if (is_narrow(expr_dtype(m, at[i]))) return true;
    return false;
}

Value scaled_from(const Module *m, const Fn *fn, Value v)
{
    for (;;) {
        v = taken_from(fn, v);
        const Inst *in = inst_of(fn, v);
        if (!is_scaling(m, fn, in) || !has_narrow(m, in)) return v;
        v = inst_arg(fn, in, 0);
    }
}

/* An operand of the product was made so. */
static bool is_quantised(const Module *m, const Fn *fn, const Inst *in)
{
    for (uint32_t k = 0; in->op == OP_einsum && k < in->nargs; k++) {
        Value x = inst_arg(fn, in, k);
        if (!value_eq(taken_from(fn, x), scaled_from(m, fn, x))) return true;
    }
    return false;
}

/* All elements of what it is made of, by other axes, in another dtype, or times
 * their scales. */
static bool is_all_of(const Module *m, const Fn *fn, const Inst *in)
{
    return op_has((Op)in->op, OPF_SAME) || is_cast(m, fn, in) ||
           is_scaling(m, fn, in);
}

/* The program's name for a product is that of the last of these. */
static Value product_of(const Module *m, const Fn *fn, Value v)
{
    const Inst *in = inst_of(fn, v);
    Value y = v;
    while (is_all_of(m, fn, in)) {
        y = inst_arg(fn, in, 0);
        in = inst_of(fn, y);
        if (fn->names[y.id].id) break;
    }
    return is_quantised(m, fn, in) ? y : v;
}

Value *products_find(const Module *m, const Fn *fn)
{
    Value *of = NEW_ARRAY(m->scratch, Value, fn->ninsts + 1);
    for (uint32_t i = 0; i < fn->ninsts; i++)
        of[i] = product_of(m, fn, (Value){i});
    return of;
}
