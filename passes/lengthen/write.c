/*
 * write.c: a function with its sums of products as one product.
 *
 * The summed axes of each operand are merged into one, in the order of the
 * module, which is that of memory, and the operands concatenated along it.
 * Every operand comes before the sum, so the sum's place is the product's.
 */
#include "lengthen.h"

static uint32_t axes_of(const AxisList *l, Axis *out)
{
    for (uint32_t i = 0; i < l->n; i++)
        out[i] = l->at[i].axis;
    return l->n;
}

/* The summed axes of X as the one axis of the sum. */
static Value fold_axes(Builder *b, Value x, const AxisList *sum, Axis to)
{
    Axis from[MOST_TERM_AXES];
    uint32_t n = axes_of(sum, from);
    if (n > 1) return emit_merge(b, x, from, n, to);
    return from[0].id == to.id ? x : emit_rename(b, x, from, &to, 1);
}

static Value joined(Rewrite *rw, const Sum *s, uint32_t side)
{
    Value parts[MOST_TERMS];
    for (uint32_t i = 0; i < s->n; i++)
        parts[i] =
            fold_axes(&rw->b, rewrite_value(rw, s->term[i].operand[side]),
                      &s->term[i].sum, s->axis);
    return emit_concat(&rw->b, parts, s->n, s->axis);
}

/* What is added besides comes first, in its order. */
static void write_sum(Rewrite *rw, const Sum *s)
{
    const Module *m = rw->b.m;
    const Inst *first = inst_of(rw->old, s->term[0].value);
    const Inst *root = inst_of(rw->old, s->root);
    rw->b.loc = first->loc;
    rw->b.phase = (Phase)first->phase;
    Value x = joined(rw, s, 0), y = joined(rw, s, 1);
    DType d = type_dtype(m, value_type(rw->b.fn, x));
    Value all =
        emit_einsum(&rw->b, x, y, &s->axis, 1, type_dtype(m, first->type),
                    attr_dtype(m, first->attr, AT_acc, dtype_acc(d)));
    rw->b.loc = root->loc;
    rw->b.phase = (Phase)root->phase;
    Value rest = NO_VALUE;
    for (uint32_t i = 0; i < s->nrest; i++) {
        Value more = rewrite_value(rw, s->rest[i]);
        rest = i ? emit_binary(&rw->b, SC_add, rest, more) : more;
    }
    if (s->nrest) all = emit_binary(&rw->b, SC_add, rest, all);
    value_set_name(&rw->b, all, rw->old->names[s->root.id]);
    rewrite_set(rw, s->root, all);
}

Fn *lengthen_write(Lengthen *w, const Fn *fn, const Found *found)
{
    Rewrite rw;
    rewrite_begin(&rw, w->m, fn);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        if (found->of[i])
            write_sum(&rw, found->of[i]);
        else if (!found->absorbed[i])
            rewrite_copy(&rw, (Value){i});
    }
    return rewrite_end(&rw);
}
