/*
 * ahead.c: a collective stands right behind the last step that it needs.
 *
 * Collectives run one after the other, in the order of the list.  What stands
 * behind one that waits has to wait too: a gather of a parameter, which has
 * been there from the begin, behind a sum over devices, or the sum of an early
 * gradient behind that of a late one.  So each stands as far in front as it
 * can; those that could stand in one place keep their order, which for gathers
 * is that of their first readers.
 */
#include "schedule.h"

static const uint32_t FRONT = UINT32_MAX;

static bool talks(const Module *m, const Inst *in)
{
    return in->op == OP_launch &&
           fn_is(m, fn_of(m, attr_fn(m, in->attr, AT_fn)), FK_collective);
}

static Value root_of(Module *m, const Fn *fn, Value v)
{
    return spot_of(m, fn, v, m->scratch).root;
}

/* Whether a step reads or writes a root; with WRITES, writes alone. */
static bool touches(Module *m, const Fn *fn, const Inst *in, Value root,
                    bool writes)
{
    uint32_t first = 0;
    if (writes && in->op == OP_launch)
        first = in->nargs - (uint32_t)attr_int(m, in->attr, AT_outs, 0);
    for (uint32_t k = first; k < in->nargs; k++)
        if (value_eq(root_of(m, fn, inst_arg(fn, in, k)), root)) return true;
    return false;
}

/* The last step in front of a collective that has to do with what it reads or
 * fills; FRONT: none. */
static uint32_t last_needed(Module *m, const Fn *fn, uint32_t i)
{
    const Inst *in = &fn->insts[i];
    Value from = root_of(m, fn, inst_arg(fn, in, 0));
    Value to = root_of(m, fn, inst_arg(fn, in, 1));
    for (uint32_t k = i; k-- > 0;) {
        const Inst *other = &fn->insts[k];
        if (is_step(other) && (touches(m, fn, other, to, false) ||
                               touches(m, fn, other, from, true)))
            return k;
    }
    return FRONT;
}

typedef struct Ahead {
    Rewrite rw;
    bool *talks;     /* by instruction */
    uint32_t *after; /* of collectives */
    bool *done;
} Ahead;

/* The step, behind the places that it names and what they are views of. */
static void copy_step(Ahead *x, uint32_t i)
{
    const Fn *fn = x->rw.old;
    const Inst *in = &fn->insts[i];
    if (x->done[i]) return;
    for (uint32_t k = 0; k < in->nargs; k++)
        copy_step(x, inst_arg(fn, in, k).id);
    rewrite_copy(&x->rw, (Value){i});
    x->done[i] = true;
}

/* The step, and what has waited for it. */
static void copy_with_waiting(Ahead *x, uint32_t i)
{
    if (i != FRONT) copy_step(x, i);
    if (i != FRONT && !is_step(&x->rw.old->insts[i])) return;
    for (uint32_t k = i == FRONT ? 0 : i + 1; k < x->rw.old->ninsts; k++)
        if (x->talks[k] && x->after[k] == i) copy_with_waiting(x, k);
}

Fn *collectives_ahead(Module *m, Fn *fn)
{
    size_t n = (size_t)fn->ninsts + 1;
    bool any = false;
    Ahead x = {.talks = NEW_ARRAY(m->scratch, bool, n),
               .after = NEW_ARRAY(m->scratch, uint32_t, n),
               .done = NEW_ARRAY(m->scratch, bool, n)};
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        any |= x.talks[i] = talks(m, &fn->insts[i]);
        if (x.talks[i]) x.after[i] = last_needed(m, fn, i);
    }
    if (!any) return fn;
    rewrite_begin(&x.rw, m, fn);
    x.rw.b.no_fold = true;
    for (uint32_t i = 0; i < fn->nparams; i++)
        x.done[i] = true;
    copy_with_waiting(&x, FRONT);
    for (uint32_t i = 0; i < fn->ninsts; i++)
        if (!x.talks[i]) copy_with_waiting(&x, i);
    return rewrite_end(&x.rw);
}
