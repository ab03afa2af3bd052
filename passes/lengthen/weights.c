/*
 * weights.c: which parameters of functions are parameters of the model.
 *
 * A parameter of a body that one repeat runs is what the repeat is handed: all
 * of it, or a row for each turn.
 */
#include "lengthen.h"

/* How many instructions run each function. */
static uint32_t *count_runners(const Lengthen *w)
{
    const Module *m = w->m;
    uint32_t *n = NEW_ARRAY(w->a, uint32_t, (size_t)m->fns.n + 1);
    static const AttrKey keys[2] = {AT_fn, AT_while};
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        for (uint32_t i = 0; i < fn->ninsts; i++)
            for (uint32_t k = 0; k < 2; k++)
                if (attr_get(m, fn->insts[i].attr, keys[k]))
                    n[attr_fn(m, fn->insts[i].attr, keys[k]).id]++;
    }
    return n;
}

static void hand_down(Lengthen *w, uint32_t f, const uint32_t *nrunners)
{
    const Module *m = w->m;
    const Fn *fn = m->fns.at[f];
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (in->op != OP_repeat || attr_get(m, in->attr, AT_while)) continue;
        FnRef body = attr_fn(m, in->attr, AT_fn);
        uint32_t carry = (uint32_t)attr_int(m, in->attr, AT_carry, 0);
        if (nrunners[body.id] != 1 || fn_of(m, body)->kind.id) continue;
        for (uint32_t k = carry; k < in->nargs; k++) {
            Value x = inst_arg(fn, in, k);
            if (x.id < fn->nparams) w->slots[body.id][k] = w->slots[f][x.id];
        }
        hand_down(w, body.id, nrunners);
    }
}

void lengthen_weights(Lengthen *w)
{
    const Module *m = w->m;
    uint32_t *nrunners = count_runners(w);
    w->slots = NEW_ARRAY(w->a, Slot **, (size_t)m->fns.n + 1);
    for (uint32_t f = 0; f < m->fns.n; f++)
        w->slots[f] =
            NEW_ARRAY(w->a, Slot *, (size_t)m->fns.at[f]->nparams + 1);
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        for (uint32_t i = 0; i < fn->nparams && fn->entry; i++)
            if (fn->params[i].role == ROLE_param)
                w->slots[f][i] = slot_find(m, fn->params[i].path);
        if (fn->entry) hand_down(w, f, nrunners);
    }
}
