/*
 * reach.c: which functions a module needs, and dropping the others.
 *
 * A function is named by its place in the module, so after removal the
 * attributes that name functions are renumbered, in place: the instructions
 * stay what they are.
 */
#include "reach.h"

static const AttrKey keys[2] = {AT_fn, AT_while};

uint32_t inst_callees(const Module *m, const Inst *in, FnRef out[2])
{
    uint32_t n = 0;
    if (!in->attr.id) return 0;
    for (uint32_t k = 0; k < 2; k++) {
        const AttrItem *it = attr_get(m, in->attr, keys[k]);
        if (it) out[n++] = (FnRef){it->id};
    }
    return n;
}

Roots roots_of(Module *m)
{
    Roots r = {NEW_ARRAY(m->scratch, bool, m->fns.n)};
    bool entries = false;
    for (uint32_t i = 0; i < m->fns.n; i++) {
        r.is[i] = m->fns.at[i]->entry;
        entries = entries || r.is[i];
    }
    if (entries) return r;
    for (uint32_t i = 0; i < m->fns.n; i++)
        r.is[i] = true;
    for (uint32_t i = 0; i < m->fns.n; i++) {
        const Fn *fn = m->fns.at[i];
        for (uint32_t k = 0; k < fn->ninsts; k++) {
            FnRef callees[2];
            uint32_t n = inst_callees(m, &fn->insts[k], callees);
            while (n-- > 0)
                r.is[callees[n].id] = false;
        }
    }
    return r;
}

bool *fns_reached(Module *m, const Roots *roots)
{
    bool *seen = NEW_ARRAY(m->scratch, bool, m->fns.n);
    VEC(uint32_t) todo = {0};
    for (uint32_t i = 0; i < m->fns.n; i++) {
        if (!roots->is[i]) continue;
        seen[i] = true;
        vec_push(m->scratch, &todo, i);
    }
    while (todo.n) {
        const Fn *fn = m->fns.at[todo.at[--todo.n]];
        for (uint32_t k = 0; k < fn->ninsts; k++) {
            FnRef callees[2];
            uint32_t n = inst_callees(m, &fn->insts[k], callees);
            while (n-- > 0) {
                if (seen[callees[n].id]) continue;
                seen[callees[n].id] = true;
                vec_push(m->scratch, &todo, callees[n].id);
            }
        }
    }
    return seen;
}

static Attr renumbered(Module *m, Attr a, const uint32_t *number)
{
    AttrList l = attr_list(m, a);
    for (uint32_t k = 0; k < 2; k++) {
        const AttrItem *it = attr_get(m, a, keys[k]);
        if (it) attr_put_id(&l, keys[k], number[it->id]);
    }
    return attr_intern(m, &l);
}

void drop_unreached(Module *m, const Roots *roots)
{
    bool *keep = fns_reached(m, roots);
    uint32_t *number = NEW_ARRAY(m->scratch, uint32_t, m->fns.n);
    uint32_t n = 0, all = m->fns.n;
    for (uint32_t i = 0; i < all; i++) {
        if (!keep[i]) continue;
        number[i] = n;
        m->fns.at[n++] = m->fns.at[i];
    }
    m->fns.n = n;
    for (uint32_t i = 0; i < n && n < all; i++) {
        Fn *fn = m->fns.at[i];
        for (uint32_t k = 0; k < fn->ninsts; k++) {
            FnRef callees[2];
            if (!inst_callees(m, &fn->insts[k], callees)) continue;
            fn->insts[k].attr = renumbered(m, fn->insts[k].attr, number);
        }
    }
}

void module_drop_unused(Module *m)
{
    Roots roots = roots_of(m);
    drop_unreached(m, &roots);
}
