/*
 * blocks.c: blocks that share a scale, multiplied out.
 *
 * The narrow numbers times inverses that are powers of two are exact in bf16,
 * and the product is one of bf16; others are f32, or rounded.
 */
#include <string.h>

#include "quantise.h"

/* Memory has axes in the order in which they were named, so what lies behind
 * the first cut gets new names: in blocks, too, everything lies where it did.
 */
typedef struct Cuts {
    Cut cut[2];
    uint32_t n;
    Axis from[QUANT_AXES], to[QUANT_AXES];
    uint32_t nbehind;
} Cuts;

static Axis name_behind(Quantise *q, Axis a, Cuts *c)
{
    const AxisInfo *of = &q->m->axes.at[a.id];
    uint32_t i = c->nbehind++;
    c->from[i] = a;
    c->to[i] = axis_fresh(q->m, str_of(q->m, of->name), of->size);
    return c->to[i];
}

/* Matrices that lie along an axis are cut each by itself. */
static Value cut_all(Quantise *q, Value x, const Way *way, Cuts *c)
{
    Axis sum[QUANT_AXES], beside[QUANT_AXES], *first = sum, *second = beside;
    Type t = quant_type(q, x);
    uint32_t n = quant_axes_where(q, t, true, sum);
    uint32_t m = quant_axes_beside(q, t, beside);
    *c = (Cuts){.n = way->square && m > 0 ? 2 : 1};
    if (c->n == 2 && beside[0].id < sum[0].id) {
        uint32_t all = n;
        first = beside, second = sum;
        n = m, m = all;
    }
    c->cut[0] = quant_cut_new(q, t, first, n, &way->block, 1);
    for (uint32_t i = 0; i < m; i++)
        if (quant_is_after(second[i], first, n))
            second[i] = name_behind(q, second[i], c);
    if (c->nbehind) x = emit_rename(&q->rw.b, x, c->from, c->to, c->nbehind);
    x = quant_cut(q, x, &c->cut[0]);
    if (c->n == 1) return x;
    c->cut[1] = quant_cut_new(q, quant_type(q, x), second, m, &way->block, 1);
    return quant_cut(q, x, &c->cut[1]);
}

static Value join_all(Quantise *q, Value x, const Cuts *c)
{
    for (uint32_t i = c->n; i-- > 0;)
        x = quant_join(q, x, &c->cut[i]);
    if (!c->nbehind) return x;
    return emit_rename(&q->rw.b, x, c->to, c->from, c->nbehind);
}

/* A GPU rounds what bf16 has not. */
static DType multiplied(const Quantise *q)
{
    return q->native != NATIVE_none ? DT_bf16 : q->wide;
}

/* The value that the narrow numbers and their scales stand for. */
static Value write_blocks(Quantise *q, Value x, const Way *way)
{
    Builder *b = &q->rw.b;
    Cuts c;
    x = cut_all(q, x, way, &c);
    Axis share[2] = {cut_within(&c.cut[0]), cut_within(&c.cut[c.n - 1])};
    Value amax = quant_amax(q, x, share, c.n), inverse, scale;
    quant_scales(q, way, amax, &scale, &inverse);
    Value small = quant_narrow(q, x, scale, way->format);
    Value y = emit_binary(b, SC_mul, emit_cast(b, small, DT_f32), inverse);
    y = emit_cast(b, y, multiplied(q));
    return join_all(q, y, &c);
}

/* Both give the same blocks and scales. */
static bool way_eq(const Way *x, const Way *y)
{
    return x->format == y->format && x->block == y->block &&
           x->square == y->square && x->power == y->power && x->mx == y->mx &&
           x->quotients == y->quotients && x->least == y->least &&
           x->to == y->to;
}

static bool is_blocked(const Quantise *q, const Blocked *of, Value x,
                       const Way *way)
{
    return value_eq(of->x, x) && way_eq(&of->way, way) && of->nsum == q->nsum &&
           memcmp(of->sum, q->sum, q->nsum * sizeof *q->sum) == 0;
}

/* What several products of a layer read is quantised once. */
Value quant_block_operand(Quantise *q, Value x, const Way *way)
{
    for (uint32_t i = 0; i < q->blocked.n; i++)
        if (is_blocked(q, &q->blocked.at[i], x, way)) return q->blocked.at[i].y;
    Blocked made = {.x = x, .way = *way, .nsum = q->nsum};
    memcpy(made.sum, q->sum, q->nsum * sizeof *q->sum);
    made.y = write_blocks(q, x, way);
    vec_push(q->m->scratch, &q->blocked, made);
    return made.y;
}

Value quant_blocked(Quantise *q, const Value *x, const Way *way)
{
    Value y[2];
    for (int k = 0; k < 2; k++)
        y[k] = quant_block_operand(q, x[k], &way[k]);
    return emit_einsum(&q->rw.b, y[0], y[1], q->sum, q->nsum,
                       type_dtype(q->m, q->in->type), DT_f32);
}
