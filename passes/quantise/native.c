/*
 * native.c: blocks that share a scale, in products that take the scales.
 *
 *     blocks   the library on Hopper: scales in f32 of 128 elements of a row,
 *              or of 128 x 128 of a weight
 *     tiles    Blackwell's tensor cores: powers of two of 32 elements of a row,
 *              which lie by tiles of 128 rows and 128 elements of the sum, so
 *              both sides are cut in parts of 32, four and the rest
 *
 * The operands of the contraction are maps of narrow numbers and their scales,
 * { f32(_0) * _1 }, rounded to bf16 where that has them all, which fuse gives
 * to the product (passes/added.h). All that sums the same axes cuts them alike,
 * so that what several products read is quantised once.
 */
#include <string.h>

#include "quantise.h"

enum { UNIT = 16, SIDE = 128 };

static Cut shared_cut(Quantise *q, bool side, Type t, const Axis *axes,
                      uint32_t n, const Way *way)
{
    static const int64_t tile[2] = {4, 32};
    bool tiles = q->native == NATIVE_tiles;
    for (uint32_t i = 0; i < q->shared.n; i++) {
        const Shared *c = &q->shared.at[i];
        if (c->side == side && c->cut.n == n &&
            memcmp(c->cut.from, axes, n * sizeof *axes) == 0)
            return c->cut;
    }
    Shared made = {side,
                   quant_cut_new(q, t, axes, n, tiles ? tile : &way->block,
                                 tiles ? 2 : 1)};
    Axis within = cut_within(&made.cut);
    made.cut.again = axis_fresh(q->m, "part", q->m->axes.at[within.id].size);
    vec_push(q->m->scratch, &q->shared, made);
    return made.cut;
}

/* Of an operand; n = 0: it is not cut. */
static Cut side_of(Quantise *q, Type t, const Way *way)
{
    Axis beside[QUANT_AXES];
    if (!way->square && q->native != NATIVE_tiles) return (Cut){0};
    uint32_t n = quant_axes_beside(q, t, beside);
    return shared_cut(q, true, t, beside, n, way);
}

void quant_name_sides(Quantise *q, const Type *t, const Way *way)
{
    for (int k = 0; k < 2; k++)
        (void)side_of(q, t[k], &way[k]);
}

/* -------------------------------------------------------------- operands -- */

static Value cut_both(Quantise *q, Value x, const Cut *sum, const Cut *side)
{
    x = quant_cut(q, x, sum);
    return side->n ? quant_cut(q, x, side) : x;
}

static Cut called_again(Cut c)
{
    if (c.n) c.part[c.nparts - 1] = c.again;
    return c;
}

/* The largest of each block.  Elements of blocks of rows and columns have other
 * names than those of the numbers: their scales are made by themselves. */
static Value amax_of(Quantise *q, Value x, const Way *way, const Cut *sum,
                     const Cut *side)
{
    Cut cuts[2] = {*sum, *side};
    for (int k = 0; k < 2 && way->square; k++)
        cuts[k] = called_again(cuts[k]);
    Axis share[2] = {cut_within(&cuts[0])};
    if (way->square) share[1] = cut_within(&cuts[1]);
    x = cut_both(q, x, &cuts[0], &cuts[1]);
    return quant_amax(q, x, share, way->square ? 2 : 1);
}

Value quant_both(Quantise *q, Value small, Value inverse)
{
    Expr none = {0};
    DType d = type_dtype(q->m, quant_type(q, small));
    DType by = type_dtype(q->m, quant_type(q, inverse));
    Expr wide = expr_cast(q->m, DT_f32, expr_arg(q->m, 0, d));
    Expr scale = expr_cast(q->m, DT_f32, expr_arg(q->m, 1, by));
    Expr body = expr_op(q->m, SC_mul, wide, scale, none);
    Value args[2] = {small, inverse};
    return emit_map(&q->rw.b, expr_cast(q->m, q->wide, body), args, 2);
}

Cut quant_native_sum(Quantise *q, Type t, const Way *way)
{
    return shared_cut(q, false, t, q->sum, q->nsum, way);
}

/* e4m3 has all numbers of e2m1. */
void quant_native_parts(Quantise *q, Value x, const Way *way, Value *small,
                        Value *inverse)
{
    Builder *b = &q->rw.b;
    Value scale;
    Type t = quant_type(q, x);
    Cut side = side_of(q, t, way), sum = quant_native_sum(q, t, way);
    quant_scales(q, way, amax_of(q, x, way, &sum, &side), &scale, inverse);
    x = quant_narrow(q, cut_both(q, x, &sum, &side), scale, way->format);
    *small = emit_cast(b, x, DT_e4m3);
    DType by = q->native == NATIVE_tiles ? DT_e8m0 : DT_f32;
    *inverse = emit_cast(b, *inverse, by);
}

Value quant_native_join(Quantise *q, Value v, const Type *t, const Way *way)
{
    for (int k = 0; k < 2; k++) {
        Cut side = side_of(q, t[k], &way[k]);
        if (side.n) v = quant_join(q, v, &side);
    }
    return v;
}

/* ---------------------------------------------------------- contractions -- */

Value quant_native(Quantise *q, const Value *x, const Type *t, const Way *way,
                   Product product)
{
    Value y[2];
    DType to = type_dtype(q->m, q->in->type);
    quant_name_sides(q, t, way);
    Cut sum = quant_native_sum(q, t[0], &way[0]);
    for (int k = 0; k < 2; k++) {
        Value small, inverse;
        quant_native_parts(q, x[k], &way[k], &small, &inverse);
        y[k] = quant_both(q, small, inverse);
    }
    Value v = emit_einsum(&q->rw.b, y[0], y[1], sum.part, sum.nparts,
                          quant_result(q, x[0], product), DT_f32);
    return emit_cast(&q->rw.b, quant_native_join(q, v, t, way), to);
}

/* Two matrices of whole units, of which one alone has blocks of rows. */
bool quant_is_native(const Quantise *q, const Type *t, const Way *way,
                     Method method)
{
    bool tiles = q->native == NATIVE_tiles, blocks = method == METHOD_block;
    int64_t unit = tiles ? SIDE : UNIT;
    if (q->native == NATIVE_none || way[0].method != method ||
        way[1].method != method || way->mx != tiles || (tiles && !blocks) ||
        (way[0].square && way[1].square) ||
        (blocks && quant_elements(q, t[0], q->sum, q->nsum) % SIDE != 0))
        return false;
    for (int k = 0; k < 2; k++) {
        Axis beside[QUANT_AXES];
        uint32_t n = quant_axes_where(q, t[k], false, beside);
        if (quant_elements(q, t[k], beside, n) % unit != 0) return false;
        for (uint32_t i = 0; i < n; i++)
            if (type_axis(q->m, t[1 - k], beside[i])) return false;
    }
    return true;
}
