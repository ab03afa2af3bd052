/*
 * cast.h: maps that cast.
 */
#ifndef TITAN_CAST_H
#define TITAN_CAST_H

#include "../ir/ir.h"

/* Whether IN casts its one operand, and does nothing else: a map may have
 * further axes, along which it repeats its operand. */
static inline bool is_cast(const Module *m, const Fn *fn, const Inst *in)
{
    if (in->op != OP_map || in->nargs != 1) return false;
    const ExprInfo *e = expr_info(m, attr_expr(m, in->attr));
    Type of = value_type(fn, inst_arg(fn, in, 0));
    return e->op == SC_cast && expr_info(m, e->args[0])->op == SC_arg &&
           type_info(m, of)->naxes == type_info(m, in->type)->naxes;
}

#endif
