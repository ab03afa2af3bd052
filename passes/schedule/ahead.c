/*
 * ahead.c: a collective stands right behind the last step that it needs.
 *
 * Collectives run one after the other, in the order of the list.  What stands
 * behind one that waits has to wait too: a gather of a parameter, which has
 * been there from the begin, behind a sum over devices, or the sum of an early
 * gradient behind that of a late one.  So each stands as far in front as it
 * can; those that could stand in one place keep their order, which for gathers
 * is that of their first readers.
 *
 * What the ranks of a pipeline send each other stays where it is: it has one
 * order on all of them, and a receive that came earlier would wait longer.
 */
#include "schedule.h"

typedef struct Ahead {
    Rewrite rw;
    const List *l;
    uint32_t *place; /* by step, of collectives: steps in front that are no
                        collectives */
    bool *done;      /* by instruction */
} Ahead;

/* The step, behind the places that it names and what they are views of. */
static void copy_step(Ahead *x, uint32_t i)
{
    const Inst *in = &x->rw.old->insts[i];
    if (x->done[i]) return;
    for (uint32_t k = 0; k < in->nargs; k++)
        copy_step(x, inst_arg(x->rw.old, in, k).id);
    rewrite_copy(&x->rw, (Value){i});
    x->done[i] = true;
}

/* Step I may stand behind the PLACE-th of those that are no collectives; what
 * it needs of the collectives stands in front of their own places' next. */
static uint32_t find_place(const Ahead *x, uint32_t i)
{
    const List *l = x->l;
    uint32_t place = 0, others = 0;
    for (uint32_t k = 0; k < i; k++) {
        others += !l->steps[k].talks;
        if (l->steps[i].message) place = others;
        if (!row_has(l->before, l, i, k)) continue;
        uint32_t behind = l->steps[k].talks ? x->place[k] : others;
        if (place < behind) place = behind;
    }
    return place;
}

/* Collectives of one place keep their order. */
static void copy_place(Ahead *x, uint32_t place)
{
    for (uint32_t i = 0; i < x->l->n; i++)
        if (x->l->steps[i].talks && x->place[i] == place)
            copy_step(x, x->l->steps[i].inst);
}

Fn *collectives_ahead(Module *m, const List *l)
{
    Fn *fn = l->fn;
    bool any = false;
    uint32_t others = 0;
    Ahead x = {.l = l};
    x.place = NEW_ARRAY(m->scratch, uint32_t, (size_t)l->n + 1);
    x.done = NEW_ARRAY(m->scratch, bool, (size_t)fn->ninsts + 1);
    for (uint32_t i = 0; i < l->n; i++)
        if (l->steps[i].talks) {
            any = true;
            x.place[i] = find_place(&x, i);
        }
    if (!any) return fn;
    rewrite_begin(&x.rw, m, fn);
    x.rw.b.no_fold = true;
    for (uint32_t i = 0; i < fn->nparams; i++)
        x.done[i] = true;
    copy_place(&x, 0);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        bool step = is_step(&fn->insts[i]);
        if (step && l->steps[l->number[i]].talks) continue;
        copy_step(&x, i);
        if (step) copy_place(&x, ++others);
    }
    return rewrite_end(&x.rw);
}
