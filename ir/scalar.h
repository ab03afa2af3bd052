/*
 * scalar.h: what scalar.c and scalar_fold.c share.
 */
#ifndef TITAN_IR_SCALAR_H
#define TITAN_IR_SCALAR_H

#include "ir.h"

/* A simpler expression equal to op(args), whose dtype is d; {0}: none. */
Expr scalar_fold(Module *m, ScalarOp op, DType d, const Expr args[3]);
Expr scalar_fold_cast(Module *m, DType d, Expr x);

#endif
