/*
 * carry.c: what a product rounds is moved rounded.
 *
 * A product of what rows choose gives numbers of 16 bits to who reads 32.  Rows
 * come back from blocks, and from other devices, before anybody computes with
 * them: through moves, gathers, and a map that puts a number in the place of
 * some.  These are of the narrow numbers, which are widened behind them.
 */
#include <math.h>

#include "quantise.h"

/* The operand that a map has, or instead of it a number that numbers of 16 bits
 * have too. */
static bool replaces(const Quantise *q, const Inst *in, uint32_t *operand)
{
    if (in->op != OP_map || in->nargs != 2) return false;
    const ExprInfo *x = expr_info(q->m, attr_expr(q->m, in->attr));
    if (x->op != SC_where) return false;
    const ExprInfo *if_not = expr_info(q->m, x->args[2]);
    const ExprInfo *is = expr_info(q->m, x->args[0]);
    const ExprInfo *number = expr_info(q->m, x->args[1]);
    *operand = if_not->operand;
    return is->op == SC_arg && is->dtype == DT_bool && number->op == SC_const &&
           (number->f == 0 || !isfinite(number->f)) && if_not->op == SC_arg &&
           if_not->operand != is->operand;
}

static bool carries(const Quantise *q, const Inst *in, uint32_t *operand)
{
    *operand = 0;
    switch ((Op)in->op) {
    case OP_rename:
    case OP_split:
    case OP_merge:
        return true;
    case OP_gather: /* of rows; what products choose is theirs to quantise */
        return !attr_get(q->m, in->attr, AT_recipe);
    default:
        return replaces(q, in, operand);
    }
}

/* The map, of numbers of dtype D. */
static Attr narrow_body(Quantise *q, const Inst *in, uint32_t operand, DType d)
{
    Module *m = q->m;
    const ExprInfo *x = expr_info(m, attr_expr(m, in->attr));
    double f = expr_info(m, x->args[1])->f;
    Expr body = expr_op(m, SC_where, x->args[0], expr_float(m, d, f),
                        expr_arg(m, operand, d));
    return attr_with_id(m, in->attr, AT_body, body.id);
}

void quant_carry_from(Quantise *q, Value old, Value narrow)
{
    q->carried[old.id] = narrow;
}

bool quant_carry(Quantise *q, Value old)
{
    const Fn *fn = q->rw.old;
    const Inst *in = inst_of(fn, old);
    uint32_t operand;
    if (!carries(q, in, &operand)) return false;
    Value narrow = q->carried[inst_arg(fn, in, operand).id];
    if (value_eq(narrow, NO_VALUE)) return false;
    DType d = type_dtype(q->m, quant_type(q, narrow));
    Value *args = NEW_ARRAY(q->m->scratch, Value, in->nargs);
    for (uint32_t i = 0; i < in->nargs; i++)
        args[i] =
            i == operand ? narrow : rewrite_value(&q->rw, inst_arg(fn, in, i));
    Attr attr = in->op == OP_map ? narrow_body(q, in, operand, d) : in->attr;
    q->rw.b.loc = in->loc;
    q->rw.b.phase = (Phase)in->phase;
    Value v = emit(&q->rw.b, (Op)in->op, type_with_dtype(q->m, in->type, d),
                   attr, args, in->nargs);
    q->carried[old.id] = v;
    v = emit_cast(&q->rw.b, v, type_dtype(q->m, in->type));
    value_set_name(&q->rw.b, v, fn->names[old.id]);
    rewrite_set(&q->rw, old, v);
    return true;
}
