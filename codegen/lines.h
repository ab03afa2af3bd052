/*
 * lines.h: source lines of kernels (-g).
 */
#ifndef TITAN_LINES_H
#define TITAN_LINES_H

#include "emit.h"

/* NULL stands for no lines, everywhere. */
Lines *lines_new(Module *m, LLVMContextRef cx, LLVMModuleRef module);
/* The function that E emits comes from the group; its code has the group's
 * place until a node says another. */
void lines_begin(Lines *l, Emit *e, const char *name, Loc group);
void lines_at(Lines *l, const Emit *e, Loc loc);
void lines_finish(Lines *l);

#endif
