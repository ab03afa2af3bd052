/*
 * exchange.c: a sum over devices that nothing covers, as an exchange of its
 * parts and a sum that each device makes itself.
 *
 *     %y = einsum ..                                    [tp:2, seq:4, in]
 *     %s = reduce_scatter %y kind sum axis tp over (tp)         [seq:4, in]
 *     %z = map %s, %x { _0 + _1 }
 *
 * becomes
 *
 *     %e = all_to_all %y from (tp) to (tp) over (tp)    [tp:2, seq:4, in]
 *     %0 = pick %e axis tp
 *     %1 = pick %e axis tp start 1
 *     %z = map %0, %1, %x { _0 + _1 + _2 }
 *
 * What comes is as much, while the product is still made if it is by copy
 * engines, and no kernel of its own adds it and writes the sum that the next
 * one reads.  The order of the sum is that of the devices, and it is rounded
 * once.  Where the link takes longer than the product, what it makes for
 * another device is made and moved in steps.
 */
#include "chunk.h"

enum { MOST_DEVICES = 8 }; /* whose parts a kernel reads */

/* How often something reads it. */
static uint32_t uses_of(const Chunk *c, Value v)
{
    return c->uses.first[v.id + 1] - c->uses.first[v.id] +
           c->uses.nresult[v.id];
}

/* A product's, behind nothing but moves. */
static bool is_of_product(const Chunk *c, Value v)
{
    const Inst *in = inst_of(c->fn, v);
    if (uses_of(c, v) != 1) return false;
    if (in->op == OP_einsum) return true;
    return in->op == OP_split && is_of_product(c, inst_arg(c->fn, in, 0));
}

/* That product. */
static Value product_of(const Chunk *c, Value v)
{
    while (inst_of(c->fn, v)->op == OP_split)
        v = inst_arg(c->fn, inst_of(c->fn, v), 0);
    return v;
}

/* Of rows that one device keeps: those of the result. */
static int64_t steps_of(const Chunk *c, Value sum, Value exchanged)
{
    Chunk of = *c;
    chunk_rows(c->m, c->fn, sum, &of.rows);
    return chunk_steps(&of, exchanged, product_of(c, exchanged));
}

static bool is_wanted(const Chunk *c, Value v)
{
    const Inst *in = inst_of(c->fn, v);
    Rows rows;
    return in->op == OP_reduce_scatter && chunk_rows(c->m, c->fn, v, &rows) &&
           rows.devices <= MOST_DEVICES &&
           attr_is(c->m, in->attr, AT_kind, "sum") &&
           dtype_class(type_dtype(c->m, in->type)) == DC_float &&
           is_of_product(c, inst_arg(c->fn, in, 0)) &&
           (c->always || !chunk_is_covered(c, v));
}

static void emit_exchange(const Chunk *c, Rewrite *rw, Value old)
{
    Module *m = c->m;
    const Inst *in = inst_of(c->fn, old);
    const AttrItem *over = attr_get(m, in->attr, AT_over);
    Axis g = attr_axis(m, in->attr, AT_axis);
    Value x = rewrite_value(rw, inst_arg(c->fn, in, 0)), parts[MOST_DEVICES];
    int64_t n = group_size(m, over->mesh, over->n);
    int64_t steps = steps_of(c, old, inst_arg(c->fn, in, 0));
    DType d = type_dtype(m, in->type), acc = dtype_acc(d);
    AttrList list = {.n = 0};
    attr_put_axes(&list, AT_from, &g, 1);
    attr_put_axes(&list, AT_to, &g, 1);
    attr_put_mesh(&list, AT_over, over->mesh, over->n);
    if (steps > 1) attr_put_int(&list, AT_steps, steps);
    rw->b.loc = in->loc;
    rw->b.phase = (Phase)in->phase;
    x = emit(&rw->b, OP_all_to_all, value_type(rw->b.fn, x),
             attr_intern(m, &list), &x, 1);
    Expr sum = expr_cast(m, acc, expr_arg(m, 0, d));
    for (int64_t i = 0; i < n; i++) {
        parts[i] = emit_pick(&rw->b, x, g, i);
        if (i > 0)
            sum = expr_op2(m, SC_add, sum,
                           expr_cast(m, acc, expr_arg(m, (uint32_t)i, d)));
    }
    Value v = emit_map(&rw->b, expr_cast(m, d, sum), parts, (uint32_t)n);
    value_set_name(&rw->b, v, c->fn->names[old.id]);
    rewrite_set(rw, old, v);
}

Fn *chunk_exchange(Chunk *c)
{
    const Fn *fn = c->fn;
    Rewrite rw;
    bool any = false;
    c->uses = fn_uses(fn, c->m->scratch);
    rewrite_begin(&rw, c->m, fn);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        bool wanted = is_wanted(c, (Value){i});
        any |= wanted;
        if (wanted)
            emit_exchange(c, &rw, (Value){i});
        else
            rewrite_copy(&rw, (Value){i});
    }
    if (!any) return NULL;
    Fn *made = rewrite_end(&rw);
    made->kind = fn->kind;
    return made;
}
