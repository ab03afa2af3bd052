/*
 * sweep.c: drops functions that nobody calls, and numbers the rest anew.
 */
#include "ir.h"

static void mark(const Module *m, FnRef f, bool *used)
{
    if (used[f.id]) return;
    used[f.id] = true;
    const Fn *fn = fn_of(m, f);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        Attr a = fn->insts[i].attr;
        if (attr_get(m, a, AT_fn)) mark(m, attr_fn(m, a, AT_fn), used);
        if (attr_get(m, a, AT_while)) mark(m, attr_fn(m, a, AT_while), used);
    }
}

static void renumber(Module *m, Fn *fn, const uint32_t *number)
{
    static const AttrKey keys[] = {AT_fn, AT_while};
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        Inst *in = &fn->insts[i];
        for (uint32_t k = 0; k < 2; k++) {
            const AttrItem *item = attr_get(m, in->attr, keys[k]);
            if (!item || number[item->id] == item->id) continue;
            uint32_t id = number[item->id];
            in->attr = attr_with_id(m, in->attr, keys[k], id);
        }
    }
}

void module_sweep(Module *m, const bool *roots)
{
    bool *used = NEW_ARRAY(m->scratch, bool, (size_t)m->fns.n + 1);
    uint32_t *number = NEW_ARRAY(m->scratch, uint32_t, (size_t)m->fns.n + 1);
    for (uint32_t i = 0; i < m->fns.n; i++)
        if (roots[i]) mark(m, (FnRef){i}, used);
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->fns.n; i++) {
        number[i] = n;
        if (used[i]) m->fns.at[n++] = m->fns.at[i];
    }
    m->fns.n = n;
    for (uint32_t i = 0; i < n; i++)
        renumber(m, m->fns.at[i], number);
}
