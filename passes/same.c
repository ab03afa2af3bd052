/*
 * same.c: values that the same ops make of the same operands.
 */
#include "same.h"

bool same_value(const Fn *fn, Value a, Value b, unsigned depth)
{
    const Inst *x = inst_of(fn, a), *y = inst_of(fn, b);
    if (value_eq(a, b)) return true;
    if (depth == 0 || x->op == OP_arg || x->op != y->op ||
        !type_eq(x->type, y->type) || x->attr.id != y->attr.id ||
        x->nargs != y->nargs)
        return false;
    for (uint32_t i = 0; i < x->nargs; i++)
        if (!same_value(fn, inst_arg(fn, x, i), inst_arg(fn, y, i), depth - 1))
            return false;
    return true;
}
