/*
 * recipe.h: what the option `recipes` says of a parameter (see recipe.c).
 */
#ifndef TITAN_RECIPE_H
#define TITAN_RECIPE_H

#include "pass.h"

/* Its recipe, or NULL; NAMED: by a rule that has names. */
const char *recipe_of(Module *m, const PassCtx *cx, const char *path,
                      bool *named);

#endif
