/*
 * layered.c: a sum over layers is a sum of each layer's sum.
 *
 *   needs    precise
 *   keeps    everything else
 *   result   no reduction is over the axis of a repeat and others together
 *
 *     %n = reduce %x kind sum axes (ff, embed, layer)
 *
 * becomes the sum over (ff, embed), then that over (layer), in the dtype of the
 * accumulation.  So what a norm is does not depend on which layers are where: a
 * pipeline's stages sum their own, and give others one number a layer.
 */
#include "outer.h"
#include "pass.h"

typedef struct Layered {
    Module *m;
    OuterAxes outer;
    Rewrite rw;
    bool changed;
} Layered;

static bool in_two(Layered *l, Value old)
{
    Module *m = l->m;
    const Inst *in = inst_of(l->rw.old, old);
    const AttrItem *axes = attr_get(m, in->attr, AT_axes);
    Axis *inner = NEW_ARRAY(m->scratch, Axis, axes->n + 1);
    Axis *outer = NEW_ARRAY(m->scratch, Axis, axes->n + 1);
    uint32_t ninner = 0, nouter = 0;
    for (uint32_t i = 0; i < axes->n; i++) {
        Axis a = axes->axes[i];
        if (outer_has(&l->outer, a))
            outer[nouter++] = a;
        else
            inner[ninner++] = a;
    }
    if (!ninner || !nouter) return false;
    Builder *b = &l->rw.b;
    Value x = rewrite_value(&l->rw, inst_arg(l->rw.old, in, 0));
    const char *kind = str_of(m, attr_str(m, in->attr, AT_kind));
    DType d = type_dtype(m, value_type(b->fn, x));
    DType acc = attr_dtype(m, in->attr, AT_acc, dtype_acc(d));
    b->loc = in->loc;
    b->phase = (Phase)in->phase;
    x = emit_reduce(b, kind, x, inner, ninner, acc, acc);
    x = emit_reduce(b, kind, x, outer, nouter, acc, acc);
    x = emit_cast(b, x, type_dtype(m, in->type));
    value_set_name(b, x, l->rw.old->names[old.id]);
    rewrite_set(&l->rw, old, x);
    return l->changed = true;
}

static Fn *layered(Layered *l, Fn *fn)
{
    l->changed = false;
    rewrite_begin(&l->rw, l->m, fn);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++)
        if (fn->insts[i].op != OP_reduce || !in_two(l, (Value){i}))
            rewrite_copy(&l->rw, (Value){i});
    return l->changed ? rewrite_end(&l->rw) : fn;
}

bool pass_layered(Module *m, PassCtx *cx)
{
    Layered l = {.m = m, .outer = outer_axes(m, m->scratch)};
    (void)cx;
    for (uint32_t i = 0; i < m->fns.n; i++)
        if (m->fns.at[i]->kind.id == 0)
            m->fns.at[i] = layered(&l, m->fns.at[i]);
    return true;
}
