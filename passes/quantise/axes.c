/*
 * axes.c: which axes a contraction sums, and axes in parts.
 */
#include <string.h>

#include "quantise.h"

Type quant_type(const Quantise *q, Value x)
{
    return value_type(q->rw.b.fn, x);
}

uint32_t quant_axes(const Quantise *q, Type of, Axis *out)
{
    const TypeInfo *t = type_info(q->m, of);
    for (uint32_t i = 0; i < t->naxes; i++)
        out[i] = t->axes[i].axis;
    return t->naxes;
}

/* Axes of X, in its order, that are summed, or that are not. */
uint32_t quant_axes_where(const Quantise *q, Type of, bool summed, Axis *out)
{
    Axis all[QUANT_AXES];
    uint32_t n = quant_axes(q, of, all), k = 0;
    for (uint32_t i = 0; i < n; i++) {
        bool is = false;
        for (uint32_t s = 0; s < q->nsum; s++)
            is = is || q->sum[s].id == all[i].id;
        if (is == summed) out[k++] = all[i];
    }
    return k;
}

uint32_t quant_axes_beside(const Quantise *q, Type of, Axis *out)
{
    uint32_t n = quant_axes_where(q, of, false, out), k = 0;
    for (uint32_t i = 0; i < n; i++) {
        bool each = false;
        for (uint32_t e = 0; e < q->neach; e++)
            each |= q->each[e].id == out[i].id;
        if (!each) out[k++] = out[i];
    }
    return k;
}

/* Whether an axis comes behind all of some, and is none of them. */
bool quant_is_after(Axis a, const Axis *some, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (a.id <= some[i].id) return false;
    return true;
}

int64_t quant_elements(const Quantise *q, Type t, const Axis *axes, uint32_t n)
{
    int64_t size = 1;
    for (uint32_t i = 0; i < n; i++)
        size *= type_size(q->m, t, axes[i]);
    return size;
}

/* What a product gives is rounded as its operands are, whatever asks for it:
 * gradients of weights alone, which are added up, keep what they have. */
DType quant_result(const Quantise *q, Value x, Product product)
{
    DType d = type_dtype(q->m, value_type(q->rw.b.fn, x));
    DType to = type_dtype(q->m, q->in->type);
    bool narrower = dtype_bytes(d) < dtype_bytes(to);
    return product != PRODUCT_weight && narrower ? d : to;
}

Cut quant_cut_new(Quantise *q, Type t, const Axis *axes, uint32_t n,
                  const int64_t *inner, uint32_t ninner)
{
    int64_t all = quant_elements(q, t, axes, n), size = all;
    Cut c = {
        .n = n, .whole = axis_fresh(q->m, "cut", all), .nparts = ninner + 1};
    for (uint32_t i = 0; i < ninner; i++)
        size /= inner[i];
    for (uint32_t i = 0; i < c.nparts; i++)
        c.part[i] = axis_fresh(q->m, i < ninner ? "block" : "part",
                               i ? inner[i - 1] : size);
    for (uint32_t i = 0; i < n; i++) {
        c.from[i] = axes[i];
        c.was[i] = *type_axis(q->m, t, axes[i]);
    }
    return c;
}

Value quant_cut(Quantise *q, Value x, const Cut *c)
{
    Builder *b = &q->rw.b;
    TypeAxis to[QUANT_PARTS];
    for (uint32_t i = 0; i < c->nparts; i++)
        to[i] = (TypeAxis){.axis = c->part[i],
                           .size = q->m->axes.at[c->part[i].id].size};
    x = c->n > 1 ? emit_merge(b, x, c->from, c->n, c->whole)
                 : emit_rename(b, x, c->from, &c->whole, 1);
    return emit_split(b, x, c->whole, to, c->nparts);
}

Value quant_join(Quantise *q, Value x, const Cut *c)
{
    Builder *b = &q->rw.b;
    x = emit_merge(b, x, c->part, c->nparts, c->whole);
    if (c->n > 1) return emit_split(b, x, c->whole, c->was, c->n);
    return emit_rename(b, x, &c->whole, c->from, 1);
}
