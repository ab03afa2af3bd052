/*
 * dce.c: drop instructions whose value nobody needs.
 *
 *   needs    typed
 *   gives    nothing
 *   keeps    everything
 *   result   every instruction is reachable from the results of its
 *            function, or has effects
 *
 * One backwards sweep marks what is needed: operands come before uses, so
 * the marks of an instruction are final when the sweep reaches it.  A second,
 * forward sweep copies the marked instructions to a fresh function.
 *
 * A dead collective goes like any other value: every rank of the stage runs
 * this very program, so the others drop it too.  Only rank functions and the
 * kernel view have effects.
 */
#include "pass.h"

bool pass_dce(Module *m, PassCtx *cx)
{
    (void)cx;
    for (uint32_t i = 0; i < m->fns.n; i++)
        m->fns.at[i] = fn_without_unneeded(m, m->fns.at[i]);
    return true;
}
