/*
 * unused.c: functions that no entry reaches.
 *
 * A pass that calls another function in the place of one leaves the old one
 * behind.  The rest moves up, and calls are numbered anew.
 */
#include "pass.h"

static void mark_reached(const Module *m, FnRef f, bool *reached)
{
    if (reached[f.id]) return;
    reached[f.id] = true;
    const Fn *fn = fn_of(m, f);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        Attr a = fn->insts[i].attr;
        if (attr_get(m, a, AT_fn))
            mark_reached(m, attr_fn(m, a, AT_fn), reached);
        if (attr_get(m, a, AT_while))
            mark_reached(m, attr_fn(m, a, AT_while), reached);
    }
}

static void renumber(Module *m, Attr *attr, AttrKey key, const uint32_t *place)
{
    if (!attr_get(m, *attr, key)) return;
    uint32_t id = place[attr_fn(m, *attr, key).id];
    AttrList list = attr_list(m, *attr);
    attr_drop(&list, key);
    attr_put_id(&list, key, id);
    *attr = attr_intern(m, &list);
}

static void renumber_calls(Module *m, Fn *fn, const uint32_t *place)
{
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        renumber(m, &fn->insts[i].attr, AT_fn, place);
        renumber(m, &fn->insts[i].attr, AT_while, place);
    }
}

void module_drop_unused(Module *m)
{
    bool *reached = NEW_ARRAY(m->scratch, bool, m->fns.n + 1);
    bool entries = false;
    for (uint32_t i = 0; i < m->fns.n; i++) {
        if (!m->fns.at[i] || !m->fns.at[i]->entry) continue;
        mark_reached(m, (FnRef){i}, reached);
        entries = true;
    }
    if (!entries) return;
    uint32_t *place = NEW_ARRAY(m->scratch, uint32_t, m->fns.n + 1);
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->fns.n; i++) {
        if (!reached[i]) continue;
        m->fns.at[n] = m->fns.at[i];
        place[i] = n++;
    }
    m->fns.n = n;
    for (uint32_t i = 0; i < n; i++)
        renumber_calls(m, m->fns.at[i], place);
}
