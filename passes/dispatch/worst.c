/*
 * worst.c: a step in which all rows find room.
 *
 * Buffers that a plan bounds may be too small for the rows of a step, which is
 * left unapplied then.  `train.worst` is the same step with buffers for all
 * rows that may come; the runtime repeats the step with it.  Both have the same
 * ports, parameters and states, and their values share memory.
 */
#include "worst.h"

bool *worst_bounded(Module *m)
{
    FnRef train;
    Roots roots = {NEW_ARRAY(m->scratch, bool, (size_t)m->fns.n + 1)};
    bool trains = fn_find(m, module_str(m, "train"), &train);
    for (uint32_t i = 0; i < m->fns.n; i++)
        roots.is[i] = !trains || i == train.id;
    bool *reached = fns_reached(m, &roots);
    for (uint32_t i = 0; i < m->fns.n && trains; i++)
        roots.is[i] = m->fns.at[i]->entry && i != train.id;
    bool *others = fns_reached(m, &roots);
    for (uint32_t i = 0; i < m->fns.n && trains; i++)
        reached[i] &= !others[i];
    return reached;
}

typedef struct Copies {
    Module *m;
    Fn *const *were;
    uint32_t *of; /* by function: its copy, plus 1 */
} Copies;

static uint32_t copied(Copies *c, uint32_t f);

/* The same instruction, of copies. */
static void copy_callees(Copies *c, Inst *in)
{
    static const AttrKey keys[] = {AT_fn, AT_while};
    for (uint32_t k = 0; k < 2 && in->attr.id; k++) {
        const AttrItem *it = attr_get(c->m, in->attr, keys[k]);
        if (!it) continue;
        uint32_t callee = copied(c, it->id);
        in->attr = attr_with_id(c->m, in->attr, keys[k], callee);
    }
}

static uint32_t copied(Copies *c, uint32_t f)
{
    Module *m = c->m;
    if (c->of[f]) return c->of[f] - 1;
    const Fn *fn = c->were[f];
    Rewrite rw;
    rewrite_begin(&rw, m, fn);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++)
        rewrite_copy(&rw, (Value){i});
    Fn *copy = rewrite_end(&rw);
    copy->name = fn_fresh_name(
        m, arena_printf(m->scratch, "%s.worst", str_of(m, fn->name)));
    c->of[f] = module_add_fn(m, copy).id + 1;
    for (uint32_t i = 0; i < copy->ninsts; i++)
        copy_callees(c, &copy->insts[i]);
    return c->of[f] - 1;
}

void worst_add(Module *m, Fn *const *were)
{
    FnRef train;
    Copies c = {.m = m, .were = were};
    c.of = NEW_ARRAY(m->scratch, uint32_t, (size_t)m->fns.n + 1);
    if (fn_find(m, module_str(m, "train"), &train)) copied(&c, train.id);
}
