/*
 * rewrite.c: copying one function into a new one, value by value.
 *
 * The copy goes through the door of emit, so what becomes foldable by what
 * the pass replaced is folded on the way.
 */
#include "ir.h"

Value *no_values(Arena *a, uint32_t n)
{
    Value *vs = NEW_ARRAY(a, Value, n + 1);
    for (uint32_t i = 0; i < n; i++)
        vs[i] = NO_VALUE;
    return vs;
}

void rewrite_begin(Rewrite *rw, Module *m, const Fn *old)
{
    Fn *fn = fn_new(m, old->name, old->view);
    fn->entry = old->entry;
    fn->kind = old->kind;
    fn->loc = old->loc;
    builder_init(&rw->b, m, fn);
    rw->old = old;
    rw->map = no_values(m->scratch, old->ninsts);
    for (uint32_t i = 0; i < old->nparams; i++) {
        Value v = builder_param(&rw->b, old->params[i]);
        fn->insts[v.id] = old->insts[i];
        rw->map[i] = v;
    }
}

Value rewrite_value(const Rewrite *rw, Value old)
{
    Value made = rw->map[old.id];
    if (value_eq(made, NO_VALUE))
        BUG("value %u of '%s' was not copied", old.id,
            str_of(rw->b.m, rw->old->name));
    return made;
}

void rewrite_set(Rewrite *rw, Value old, Value made)
{
    rw->map[old.id] = made;
}

Value rewrite_copy(Rewrite *rw, Value old)
{
    enum { FEW = 16 };
    const Inst *in = inst_of(rw->old, old);
    Value few[FEW], *args = few;
    if (in->nargs > FEW) args = NEW_ARRAY(rw->b.m->scratch, Value, in->nargs);
    for (uint32_t i = 0; i < in->nargs; i++)
        args[i] = rewrite_value(rw, inst_arg(rw->old, in, i));
    rw->b.loc = in->loc;
    rw->b.phase = (Phase)in->phase;
    Value made = emit(&rw->b, (Op)in->op, in->type, in->attr, args, in->nargs);
    value_set_name(&rw->b, made, rw->old->names[old.id]);
    rw->map[old.id] = made;
    return made;
}

Fn *rewrite_end(Rewrite *rw)
{
    const Fn *old = rw->old;
    for (uint32_t i = 0; i < old->nresults; i++)
        builder_result(&rw->b, rewrite_value(rw, old->result_values[i]),
                       old->results[i]);
    return rw->b.fn;
}

Fn *fn_without_unneeded(Module *m, const Fn *fn)
{
    Rewrite rw;
    const bool *needed = fn_needed(m, fn, m->scratch);
    rewrite_begin(&rw, m, fn);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++)
        if (needed[i]) rewrite_copy(&rw, (Value){i});
    return rewrite_end(&rw);
}
