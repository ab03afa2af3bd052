/*
 * bundle.c: small values that ranks send each other at once go in few messages.
 *
 *   needs    types of what one device holds
 *   keeps    every value, bit for bit
 *   result   of rank functions: messages of several small values, each in a
 *            line of its elements, where that is fewer of them one after the
 *            other
 *
 *      send %n peer 1                      %x = concat %n.1, %l.1 axis bundle
 *      send %l peer 1          becomes     send %x peer 1
 *      %m = recv peer 1                    %y = recv peer 1
 *      %k = recv peer 1                    %m = slice %y .., %k = pick %y ..
 *
 * What stages tell each other of norms is a number a layer for each parameter,
 * which all others need: stages times stages times parameters messages of a few
 * bytes, each of which takes as long to begin as a megabyte to move.  Here it
 * is no matter what the values are.  They are added up by who did so before,
 * and in the same order.
 *
 * It stands behind `localise`, where a value is what a device has of it,
 * however that is split, and in front of `fuse`, so that what goes in one
 * message is made where it is sent from, and read where it has come to.
 */
#include "bundle.h"

/* The rank functions of the entry that fns.at[f] is rank 0 of, by rank; NULL:
 * not all of them are there. */
static uint32_t *places_of(Module *m, uint32_t f, size_t stem, uint32_t *n)
{
    uint32_t *at = NEW_ARRAY(m->scratch, uint32_t, module_ranks(m) + 1), rank;
    const char *name = str_of(m, m->fns.at[f]->name);
    uint32_t found = 0;
    *n = 0;
    for (uint32_t i = 0; i < m->fns.n; i++) {
        const Fn *fn = m->fns.at[i];
        if (fn_rank(m, fn, &rank) != stem ||
            strncmp(str_of(m, fn->name), name, stem) != 0)
            continue;
        at[rank] = i;
        found++;
        if (rank >= *n) *n = rank + 1;
    }
    return found == *n ? at : NULL;
}

static void say(const Ranks *r, PassCtx *cx, const Bundle *b)
{
    if (!b->hops.n) return;
    const Message *x = &b->messages.at[0];
    pass_remark(r->m, cx, inst_of(r->fns[x->from], x->send)->loc,
                "%u small value%s, which crossed in %u messages, go%s in %u",
                b->items.n, b->items.n == 1 ? "" : "s", b->messages.n,
                b->items.n == 1 ? "es" : "", b->hops.n);
}

static void bundle_entry(Module *m, PassCtx *cx, const uint32_t *at, uint32_t n)
{
    bool any = false;
    Ranks r = {.m = m, .a = m->scratch, .n = n};
    r.fns = NEW_ARRAY(r.a, const Fn *, n + 1);
    for (uint32_t i = 0; i < n; i++)
        r.fns[i] = m->fns.at[at[i]];
    bundles_find(&r);
    for (uint32_t i = 0; i < r.bundles.n; i++) {
        bundle_plan(&r, &r.bundles.at[i]);
        any |= r.bundles.at[i].hops.n > 0;
        say(&r, cx, &r.bundles.at[i]);
    }
    if (!any) return;
    r.axis = axis_fresh(m, "bundle", 0);
    r.outer = outer_axes(m, r.a);
    for (uint32_t i = 0; i < n; i++)
        m->fns.at[at[i]] = bundles_emit(&r, i);
}

bool pass_bundle(Module *m, PassCtx *cx)
{
    uint32_t nfns = m->fns.n, rank;
    for (uint32_t f = 0; f < nfns; f++) {
        size_t stem = fn_rank(m, m->fns.at[f], &rank);
        if (!stem || rank != 0 || m->fns.at[f]->view != VIEW_local) continue;
        uint32_t n, *at = places_of(m, f, stem, &n);
        if (at) bundle_entry(m, cx, at, n);
    }
    return true;
}
