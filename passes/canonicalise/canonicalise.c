/*
 * canonicalise.c: merge maps, fold, drop what is not needed.
 *
 *   needs    typed
 *   keeps    every property; phases; pinned maps; parameters and results of
 *            entries, regions and groups
 *   result   no instruction, function, or value that a repeat carries or
 *            stacks is without use; equal instructions of one phase are one; a
 *            map is read by a map of its phase only where merging them would
 *            compute something twice
 *
 * Repeats lose what their turns do not need, or compute alike; then every
 * function is copied through the door of emit until nothing merges any more: a
 * merge may bring equal instructions, or another merge.  That may leave
 * repeats with more that they do not need.
 *
 * Nothing crosses a phase: what the backward computes again is not merged
 * with its first computation, or remat would be undone.
 */
#include "canonicalise.h"

enum { MOST_ROUNDS = 16 };

static Fn *canon_fn(Module *m, Fn *fn)
{
    if (fn->view == VIEW_kernel) return fn;
    bool changed = true;
    fn = fn_without_unneeded(m, fn);
    for (int round = 0; changed && round < MOST_ROUNDS; round++) {
        changed = false;
        fn = canon_pads(m, fn, &changed);
        fn = canon_merge(m, fn, &changed);
        fn = fn_without_unneeded(m, fn);
    }
    return fn;
}

bool pass_canonicalise(Module *m, PassCtx *cx)
{
    (void)cx;
    Roots roots = roots_of(m);
    bool again = true;
    for (uint32_t i = 0; i < m->fns.n; i++)
        if (m->fns.at[i]->view != VIEW_kernel)
            m->fns.at[i] = fn_without_unneeded(m, m->fns.at[i]);
    for (int round = 0; again && round < MOST_ROUNDS; round++) {
        again = canon_repeats(m);
        for (uint32_t i = 0; i < m->fns.n; i++)
            m->fns.at[i] = canon_fn(m, m->fns.at[i]);
    }
    drop_unreached(m, &roots);
    return true;
}
