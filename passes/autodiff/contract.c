/*
 * contract.c: derivatives of contractions and reductions.
 *
 * einsum: with z = sum over k of x y, the cotangent of x is the contraction
 * of z's with y over the axes of y that x has not.  Those are axes of z too:
 * only axes of both operands are summed.  So a contraction's derivatives are
 * contractions, whatever the axes.
 */
#include "autodiff.h"

/* The axes of T that OTHER has not. */
static uint32_t axes_beside(const Module *m, Type t, Type other, Axis *out)
{
    const TypeInfo *info = type_info(m, t);
    uint32_t n = 0;
    for (uint32_t i = 0; i < info->naxes; i++)
        if (!type_axis(m, other, info->axes[i].axis))
            out[n++] = info->axes[i].axis;
    return n;
}

static Value contract(Grad *g, Value x, Value y, const Axis *sum, uint32_t n)
{
    if (n == 0) return emit_binary(&g->b, SC_mul, x, y);
    DType d = type_dtype(g->m, value_type(g->b.fn, x));
    return emit_einsum(&g->b, x, y, sum, n, d, d);
}

/* Both derivatives of a quantised contraction are, each in its own way. */
static Value with_recipe(Grad *g, const Inst *of, Value made, int64_t cot)
{
    const AttrItem *recipe = attr_get(g->m, of->attr, AT_recipe);
    const Inst *in = inst_of(g->b.fn, made);
    if (!recipe || in->op != OP_einsum) return made;
    Value args[2] = {inst_arg(g->b.fn, in, 0), inst_arg(g->b.fn, in, 1)};
    AttrList l = attr_list(g->m, in->attr);
    attr_put_id(&l, AT_recipe, recipe->id);
    attr_put_int(&l, AT_cot, cot);
    return emit(&g->b, OP_einsum, in->type, attr_intern(g->m, &l), args, 2);
}

void grad_einsum(Grad *g, Value v, Value cot)
{
    for (uint32_t i = 0; i < 2; i++) {
        if (!grad_wants(g, v, i)) continue;
        Value other = grad_wide(g, v, 1 - i);
        Type t = value_type(g->b.fn, other);
        Axis *sum =
            NEW_ARRAY(g->ad->arena, Axis, type_info(g->m, t)->naxes + 1);
        uint32_t n = axes_beside(
            g->m, t, value_type(g->b.fn, grad_operand(g, v, i)), sum);
        Value x = i == 0 ? cot : other, y = i == 0 ? other : cot;
        Value made = contract(g, x, y, sum, n);
        made = with_recipe(g, inst_of(g->fn, v), made, 1 + i);
        grad_give(g, v, i, made);
    }
}

/* -------------------------------------------------------------- reduce -- */

Value grad_broadcast(Grad *g, Value x, Type t)
{
    const TypeInfo *info = type_info(g->m, t);
    return emit_broadcast(&g->b, x, info->axes, info->naxes);
}

typedef struct Reduction {
    Value x; /* the operand, in the cotangent's dtype */
    const Axis *axes;
    uint32_t n;
    DType d; /* of the cotangent */
} Reduction;

static Value reduce_again(Grad *g, const char *kind, const Reduction *r,
                          Value x)
{
    return emit_reduce(&g->b, kind, x, r->axes, r->n, r->d, r->d);
}

static Value number(Grad *g, DType d, double x)
{
    return emit_const(&g->b, d, x);
}

/* In equal parts to every element that equals the extremum. */
static Value extremum_cot(Grad *g, const Reduction *r, Value y, Value cot)
{
    Value zero = number(g, r->d, 0);
    Value equal = emit_binary(&g->b, SC_eq, r->x, y);
    Value ones = emit_where(&g->b, equal, number(g, r->d, 1), zero);
    Value count = reduce_again(g, "sum", r, ones);
    Value part = emit_binary(&g->b, SC_div, cot, count);
    return emit_where(&g->b, equal, part, zero);
}

/* The product of the others, also where elements are zero: with one zero it
 * is the product of the rest at that element alone, with more it is zero. */
static Value product_cot(Grad *g, const Reduction *r, Value cot)
{
    Builder *b = &g->b;
    Value zero = number(g, r->d, 0), one = number(g, r->d, 1);
    Value at_zero = emit_binary(b, SC_eq, r->x, zero);
    Value filled = emit_where(b, at_zero, one, r->x);
    Value nzeros = reduce_again(g, "sum", r, emit_where(b, at_zero, one, zero));
    Value rest = reduce_again(g, "prod", r, filled);
    Value here = emit_where(b, at_zero, one, zero);
    Value counts = emit_binary(b, SC_eq, nzeros, here);
    Value others = emit_binary(b, SC_div, rest, filled);
    Value product = emit_binary(b, SC_mul, cot, others);
    return emit_where(b, counts, product, zero);
}

void grad_reduce(Grad *g, Value v, Value cot)
{
    const Inst *in = inst_of(g->fn, v);
    const AttrItem *axes = attr_get(g->m, in->attr, AT_axes);
    Type t = value_type(g->fn, inst_arg(g->fn, in, 0));
    if (attr_is(g->m, in->attr, AT_kind, "sum")) {
        grad_give(g, v, 0, grad_broadcast(g, cot, t));
        return;
    }
    Reduction r = {.x = grad_wide(g, v, 0),
                   .axes = axes->axes,
                   .n = axes->n,
                   .d = type_dtype(g->m, value_type(g->b.fn, cot))};
    bool product = attr_is(g->m, in->attr, AT_kind, "prod");
    Value y = emit_cast(&g->b, g->map[v.id], r.d);
    grad_give(g, v, 0,
              product ? product_cot(g, &r, cot) : extremum_cot(g, &r, y, cot));
}
