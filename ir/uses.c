/*
 * uses.c: who uses what, made on demand and dead after the pass.
 */
#include "ir.h"

Uses fn_uses(const Fn *fn, Arena *a)
{
    Uses u = {
        .first = NEW_ARRAY(a, uint32_t, (size_t)fn->ninsts + 1),
        .at = NEW_ARRAY(a, Value, fn->nargs),
        .nresult = NEW_ARRAY(a, uint32_t, fn->ninsts),
    };
    for (uint32_t i = 0; i < fn->ninsts; i++)
        for (uint32_t k = 0; k < fn->insts[i].nargs; k++)
            u.first[inst_arg(fn, &fn->insts[i], k).id + 1]++;
    for (uint32_t i = 0; i < fn->ninsts; i++)
        u.first[i + 1] += u.first[i];
    uint32_t *next = NEW_ARRAY(a, uint32_t, fn->ninsts);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        for (uint32_t k = 0; k < fn->insts[i].nargs; k++) {
            uint32_t v = inst_arg(fn, &fn->insts[i], k).id;
            u.at[u.first[v] + next[v]++] = (Value){i};
        }
    }
    for (uint32_t i = 0; i < fn->nresults; i++)
        u.nresult[fn->result_values[i].id]++;
    return u;
}

bool *fn_needed(const Module *m, const Fn *fn, Arena *a)
{
    (void)m;
    bool *needed = NEW_ARRAY(a, bool, fn->ninsts);
    for (uint32_t i = 0; i < fn->nresults; i++)
        needed[fn->result_values[i].id] = true;
    for (uint32_t i = fn->ninsts; i-- > 0;) {
        const Inst *in = &fn->insts[i];
        if (!(op_info((Op)in->op)->flags & OPF_PURE)) needed[i] = true;
        if (!needed[i]) continue;
        for (uint32_t k = 0; k < in->nargs; k++)
            needed[inst_arg(fn, in, k).id] = true;
    }
    return needed;
}
