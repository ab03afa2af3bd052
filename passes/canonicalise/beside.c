/*
 * beside.c: the largest of values that lie side by side.
 *
 *     %s = stack %a, %b axis two                   [row, half, two]
 *     %x = merge %s axis whole from (two, half)    or not
 *     %y = map %x { abs(_0) }                      maps of one operand, or none
 *     %m = reduce %y kind max axes (whole)
 *
 * is the larger of what the parts have, each with the same maps.  The kernel
 * that makes the parts has them in registers then, where one that reduces the
 * whole would read it from memory.  No rounding: maxima and minima alone.
 */
#include <string.h>

#include "canonicalise.h"

enum { MOST_PARTS = 4, MOST_MAPS = 4, MOST_AXES = 16 };

typedef struct Beside {
    const Fn *fn;
    const Inst *stack, *maps[MOST_MAPS]; /* the last map first */
    uint32_t nmaps;
    Axis axes[MOST_AXES]; /* that a part is reduced along */
    uint32_t naxes;
} Beside;

static bool is_own_map(Module *m, const Inst *in)
{
    const TypeInfo *t = type_info(m, in->type);
    Expr body = attr_expr(m, in->attr);
    for (uint32_t i = 0; i < t->naxes; i++)
        if (expr_uses_index(m, body, t->axes[i].axis)) return false;
    return in->nargs == 1;
}

static const Inst *operand(const Fn *fn, const Inst *in)
{
    return inst_of(fn, inst_arg(fn, in, 0));
}

/* The axes of the reduction, with those of a merge in the place of what they
 * became; false: it keeps the axis of the stack. */
static bool find_axes(Module *m, const Inst *reduce, const Inst *merge,
                      Axis stacked, Beside *x)
{
    const AttrItem *axes = attr_get(m, reduce->attr, AT_axes);
    const AttrItem *from = merge ? attr_get(m, merge->attr, AT_from) : NULL;
    bool has = false;
    for (uint32_t i = 0; i < axes->n && i < MOST_AXES; i++) {
        bool whole =
            merge && attr_axis(m, merge->attr, AT_axis).id == axes->axes[i].id;
        uint32_t n = whole ? from->n : 1;
        const Axis *at = whole ? from->axes : &axes->axes[i];
        if (x->naxes + n > MOST_AXES) return false;
        for (uint32_t k = 0; k < n; k++) {
            has |= at[k].id == stacked.id;
            if (at[k].id != stacked.id) x->axes[x->naxes++] = at[k];
        }
    }
    return has && x->naxes > 0;
}

static bool find_beside(Module *m, const Fn *fn, const Inst *in, Beside *x)
{
    *x = (Beside){.fn = fn};
    if (in->op != OP_reduce || !(attr_is(m, in->attr, AT_kind, "max") ||
                                 attr_is(m, in->attr, AT_kind, "min")))
        return false;
    const Inst *at = operand(fn, in), *merge = NULL;
    while (at->op == OP_map && x->nmaps < MOST_MAPS && is_own_map(m, at)) {
        x->maps[x->nmaps++] = at;
        at = operand(fn, at);
    }
    if (at->op == OP_merge) {
        merge = at;
        at = operand(fn, at);
    }
    if (at->op != OP_stack || at->nargs > MOST_PARTS || at->phase != in->phase)
        return false;
    x->stack = at;
    return find_axes(m, in, merge, attr_axis(m, at->attr, AT_axis), x);
}

static Value emit_beside(Rewrite *rw, const Inst *in, const Beside *x)
{
    Builder *b = &rw->b;
    Module *m = b->m;
    Value all = NO_VALUE;
    const char *kind = str_of(m, attr_str(m, in->attr, AT_kind));
    DType to = type_dtype(m, in->type);
    b->loc = in->loc;
    b->phase = (Phase)in->phase;
    for (uint32_t k = 0; k < x->stack->nargs; k++) {
        Value v = rewrite_value(rw, inst_arg(x->fn, x->stack, k));
        for (uint32_t i = x->nmaps; i-- > 0;)
            v = emit_map(b, attr_expr(m, x->maps[i]->attr), &v, 1);
        DType acc = attr_dtype(m, in->attr, AT_acc,
                               type_dtype(m, value_type(b->fn, v)));
        v = emit_reduce(b, kind, v, x->axes, x->naxes, to, acc);
        ScalarOp op = strcmp(kind, "max") == 0 ? SC_max : SC_min;
        all = k ? emit_binary(b, op, all, v) : v;
    }
    return all;
}

Fn *canon_beside(Module *m, Fn *fn, bool *changed)
{
    Beside x;
    Rewrite rw;
    bool any = false;
    for (uint32_t i = fn->nparams; i < fn->ninsts && !any; i++)
        any = find_beside(m, fn, &fn->insts[i], &x);
    if (!any) return fn;
    rewrite_begin(&rw, m, fn);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (find_beside(m, fn, in, &x))
            rewrite_set(&rw, (Value){i}, emit_beside(&rw, in, &x));
        else
            rewrite_copy(&rw, (Value){i});
    }
    *changed = true;
    return rewrite_end(&rw);
}
