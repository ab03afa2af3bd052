/*
 * ranks.c: the rank functions of a pipeline.
 *
 * An entry that layers are cut out of is a function for each rank, of kind
 * rank, named after it: train.rank0, train.rank1, ..  All run together.
 */
#include <stdlib.h>

#include "ir.h"

static const char *const rank_word = ".rank";

size_t fn_rank(const Module *m, const Fn *fn, uint32_t *rank)
{
    const char *name = str_of(m, fn->name), *at = NULL;
    if (!fn_is(m, fn, FK_rank)) return 0;
    for (const char *k = name; (k = strstr(k, rank_word)); k++)
        at = k;
    if (at) *rank = (uint32_t)strtoul(at + strlen(rank_word), NULL, 10);
    return at ? (size_t)(at - name) : 0;
}

uint32_t module_ranks(const Module *m)
{
    uint32_t n = 0, rank;
    for (uint32_t i = 0; i < m->fns.n; i++)
        if (fn_rank(m, m->fns.at[i], &rank) && rank >= n) n = rank + 1;
    return n;
}

bool fn_runs_on(const Module *m, const Fn *fn, uint32_t rank)
{
    uint32_t own = 0;
    fn_rank(m, fn, &own);
    return fn->entry && fn->view == VIEW_kernel && own == rank;
}

static void reach(const Module *m, uint32_t f, bool *reached)
{
    const Fn *fn = m->fns.at[f];
    reached[f] = true;
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (!is_step(in)) continue;
        FnRef of = attr_fn(m, in->attr, AT_fn);
        if (!reached[of.id]) reach(m, of.id, reached);
    }
}

bool *rank_reaches(const Module *m, uint32_t rank, Arena *a)
{
    bool *reached = NEW_ARRAY(a, bool, (size_t)m->fns.n + 1);
    for (uint32_t f = 0; f < m->fns.n; f++)
        if (fn_runs_on(m, m->fns.at[f], rank)) reach(m, f, reached);
    return reached;
}
