/*
 * builtin.h: what the files of builtins share.
 */
#ifndef TITAN_BUILTIN_H
#define TITAN_BUILTIN_H

#include "sema.h"

enum { RED_sum, RED_mean, RED_prod, RED_max, RED_min, RED_any, RED_all };

/* The axes in brackets. */
bool call_axes(Sema *s, const Call *c, AxisList *out);
bool one_tensor(Sema *s, const Builtin *b, const Call *c);
/* The first argument has the axes; else an error in the user's words. */
bool has_axes(Sema *s, const Builtin *b, const Call *c, const AxisList *l);

#define BUILTIN_RUN(name) \
    Val builtin_##name(Sema *s, const Builtin *b, const Call *c)
BUILTIN_RUN(scalar);
BUILTIN_RUN(cast);
BUILTIN_RUN(rounded);
BUILTIN_RUN(reduce);
BUILTIN_RUN(norm);
BUILTIN_RUN(arg);
BUILTIN_RUN(argsort);
BUILTIN_RUN(top);
BUILTIN_RUN(cumsum);
BUILTIN_RUN(index);
BUILTIN_RUN(size);
BUILTIN_RUN(draw);
BUILTIN_RUN(cat);
BUILTIN_RUN(stack);
BUILTIN_RUN(split);
BUILTIN_RUN(put);
#undef BUILTIN_RUN

#endif
