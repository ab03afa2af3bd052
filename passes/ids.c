/*
 * ids.c: arithmetic of the ids that rows choose by (see ids.h).
 */
#include "ids.h"

Expr id_arg(Module *m, uint32_t operand)
{
    return expr_arg(m, operand, DT_i32);
}

Expr id_in(Module *m, Expr x, int64_t n)
{
    return expr_op2(m, SC_and, expr_op2(m, SC_le, expr_like(m, x, 0), x),
                    expr_op2(m, SC_lt, x, expr_like(m, x, n)));
}

Expr id_where(Module *m, Expr holds, Expr x)
{
    return expr_op(m, SC_where, holds, x, expr_like(m, x, -1));
}

Expr id_along(Module *m, Expr x, const IdAxis *axes, uint32_t n)
{
    int64_t stride = 1, all = 1;
    Expr own = expr_i32(m, 0);
    for (uint32_t i = n; i-- > 0; all *= axes[i].size) {
        if (!axes[i].has) continue;
        Expr e = expr_op2(m, SC_idiv, x, expr_i32(m, all));
        e = expr_op2(m, SC_imod, e, expr_i32(m, axes[i].size));
        e = expr_op2(m, SC_mul, e, expr_i32(m, stride));
        own = expr_op2(m, SC_add, own, e);
        stride *= axes[i].size;
    }
    Expr none = expr_op2(m, SC_lt, x, expr_i32(m, 0));
    return expr_op(m, SC_where, none, expr_i32(m, -1), own);
}

/* ----------------------------------------------------------------- count -- */

enum { PART = 32, LEAST = 24, MOST = 48 };

/* The length of parts: that divides the axis and is nearest to PART, or, where
 * none is near, that. */
static int64_t part_of(int64_t n)
{
    for (int64_t by = 0; by <= MOST - PART; by++) {
        if (n % (PART + by) == 0) return PART + by;
        if (PART - by >= LEAST && n % (PART - by) == 0) return PART - by;
    }
    return PART;
}

/* The sum of those before each.  A running sum takes its elements one after the
 * other; of a long axis it is the sum within a part and that of all parts
 * before, which are counted like that again. */
Value id_count(Builder *b, Value ones, Axis axis, Axis parts)
{
    int64_t n = type_size(b->m, value_type(b->fn, ones), axis);
    int64_t part = part_of(n), more = (part - n % part) % part;
    if (n <= 2 * PART) return emit_cumsum(b, ones, axis, false, true);
    if (more) ones = emit_pad(b, ones, axis, 0, more, 1);
    TypeAxis to[2] = {{.axis = parts, .size = (n + more) / part},
                      {.axis = axis, .size = part}};
    ones = emit_split(b, ones, axis, to, 2);
    Value here = emit_cumsum(b, ones, axis, false, true);
    Value all = emit_reduce(b, "sum", ones, &axis, 1, DT_i32, DT_i32);
    Axis wider = parts;
    if ((n + more) / part > 2 * PART)
        wider = axis_fresh(b->m, axis_name(b->m, parts), 0);
    Value before = id_count(b, all, parts, wider);
    Value sum = emit_binary(b, SC_add, here, before);
    sum = emit_merge(b, sum, (Axis[]){parts, axis}, 2, axis);
    return more ? emit_slice(b, sum, axis, 0, n, 1) : sum;
}
