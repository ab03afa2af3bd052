/*
 * order.c: the function of a list with its steps in another order.
 */
#include "schedule.h"

typedef struct Copy {
    Rewrite rw;
    bool *done; /* by instruction */
} Copy;

/* The step, behind the places that it names and what they are views of. */
static void copy_step(Copy *x, uint32_t i)
{
    const Inst *in = &x->rw.old->insts[i];
    if (x->done[i]) return;
    for (uint32_t k = 0; k < in->nargs; k++)
        copy_step(x, inst_arg(x->rw.old, in, k).id);
    rewrite_copy(&x->rw, (Value){i});
    x->done[i] = true;
}

Fn *list_in_order(Module *m, const List *l, const uint32_t *order)
{
    const Fn *fn = l->fn;
    Copy c = {.done = NEW_ARRAY(m->scratch, bool, (size_t)fn->ninsts + 1)};
    rewrite_begin(&c.rw, m, fn);
    c.rw.b.no_fold = true;
    for (uint32_t i = 0; i < fn->nparams; i++)
        c.done[i] = true;
    for (uint32_t i = 0; i < l->n; i++)
        copy_step(&c, l->steps[order[i]].inst);
    for (uint32_t i = 0; i < fn->nresults; i++)
        copy_step(&c, fn->result_values[i].id);
    return rewrite_end(&c.rw);
}
