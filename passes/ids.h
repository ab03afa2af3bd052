/*
 * ids.h: arithmetic of the ids that rows choose by, and of the rows' own.
 *
 * An id is an index; what is no index of an axis, as -1, is an id of nothing: a
 * gather gives zero there, a put leaves it out.  So no row needs a case.
 */
#ifndef TITAN_IDS_H
#define TITAN_IDS_H

#include "../ir/ir.h"

/* Expressions: an operand that is ids; X is one of N; X where HOLDS, else the
 * id of nothing. */
Expr id_arg(Module *m, uint32_t operand);
Expr id_in(Module *m, Expr x, int64_t n);
Expr id_where(Module *m, Expr holds, Expr x);

/* Axes that are counted as one, outermost first, and those that a value has. */
typedef struct IdAxis {
    int64_t size;
    bool has;
} IdAxis;
/* The id X along all, along those that the value has; of nothing stays so. */
Expr id_along(Module *m, Expr x, const IdAxis *axes, uint32_t n);

/* Of ONES, i32 along AXIS and others, the sum of those before each along AXIS.
 * A long axis is cut along PARTS, an axis that ONES do not have. */
Value id_count(Builder *b, Value ones, Axis axis, Axis parts);

#endif
