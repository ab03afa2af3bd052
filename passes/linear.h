/*
 * linear.h: how a scalar expression depends on some of its operands.
 */
#ifndef TITAN_LINEAR_H
#define TITAN_LINEAR_H

#include "../ir/ir.h"

/* Not at all; as a sum of multiples of them; in another way.  A term without
 * them beside terms with them is another way: a sum over parts would count it
 * once for each. */
typedef enum Degree { DEGREE_none, DEGREE_linear, DEGREE_other } Degree;

/* marked[i]: operand i counts. */
Degree expr_degree(Module *m, Expr e, const bool *marked);

#endif
