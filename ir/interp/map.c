/*
 * map.c: the op `map`: one scalar expression at each index of the result.
 *
 * A node of the expression is made for some elements of a line at a time.
 */
#include <math.h>

#include "run.h"

enum { TOGETHER = 64 };

/* What one execution of a body reads and writes. */
typedef struct Body {
    const Scalars *s;
    Walk walk; /* part i: operand i */
    const Val **args;
    const int64_t **logical; /* per index(): the logical index of a local one */
    uint32_t *dim;           /* per index(): the dimension of the walk */
    Dual (*at)[TOGETHER];    /* per node: of these elements */
    uint32_t device;
    int64_t first, n; /* of these elements: in their line; how many */
} Body;

static void load_index(const Body *b, const ScalarNode *n, Dual *out)
{
    const int64_t *logical = b->logical[n->which];
    uint32_t dim = b->dim[n->which];
    bool along = dim + 1 == b->walk.ndims;
    for (int64_t i = 0; i < b->n; i++) {
        int64_t local = along ? b->first + i : b->walk.index[dim];
        out[i] = (Dual){{.i = logical[local]}, 0};
    }
}

static void node_load(const Body *b, const ScalarNode *n, Dual *out)
{
    if (n->op == SC_index) {
        load_index(b, n, out);
        return;
    }
    if (n->op == SC_const) {
        for (int64_t i = 0; i < b->n; i++)
            out[i] = (Dual){n->constant, 0};
        return;
    }
    const Val *x = b->args[n->which];
    int64_t step = walk_last(&b->walk, n->which);
    int64_t at = b->walk.at[n->which] + (int64_t)b->device * x->n;
    at += b->first * step;
    for (int64_t i = 0; i < b->n; i++, at += step)
        out[i] = (Dual){x->at[at], x->dot ? x->dot[at] : 0};
}

/* As its dtype has it. */
static void node_fit(const Body *b, const ScalarNode *n, Dual *v)
{
    DType d = (DType)n->dtype;
    DClass c = dtype_class(d);
    if (c == DC_int || c == DC_uint)
        for (int64_t i = 0; i < b->n; i++)
            v[i].v.i = dtype_wrap(d, (uint64_t)v[i].v.i);
    if (c != DC_float || !n->round || d == DT_f64) return;
    for (int64_t i = 0; i < b->n && d == DT_f32; i++)
        v[i].v.f = (double)(float)v[i].v.f;
    for (int64_t i = 0; i < b->n && d != DT_f32; i++)
        v[i].v.f = dtype_round(d, v[i].v.f);
}

static void node_eval(const Body *b, const ScalarNode *n, Dual *out)
{
    for (int64_t i = 0; i < b->n; i++) {
        Dual x[3] = {{{0}, 0}};
        for (uint32_t k = 0; k < n->nargs; k++)
            x[k] = b->at[n->arg[k]][i];
        out[i] = n->eval(n, x);
    }
    node_fit(b, n, out);
}

static const Dual *body_eval(Body *b)
{
    for (uint32_t i = 0; i < b->s->n; i++) {
        const ScalarNode *n = &b->s->nodes[i];
        if (n->eval)
            node_eval(b, n, b->at[i]);
        else
            node_load(b, n, b->at[i]);
    }
    return b->at[b->s->n - 1];
}

static Body body_of(Frame *f, const Inst *in)
{
    Run *r = f->r;
    Body b = {.s = scalars_of(r, attr_expr(r->m, in->attr))};
    b.at =
        (Dual(*)[TOGETHER])NEW_ARRAY(&r->temp, Dual, (size_t)b.s->n * TOGETHER);
    b.args = NEW_ARRAY(&r->temp, const Val *, in->nargs);
    b.logical = NEW_ARRAY(&r->temp, const int64_t *, b.s->nindex);
    b.dim = NEW_ARRAY(&r->temp, uint32_t, b.s->nindex);
    walk_init(&b.walk, r, in->type, in->nargs);
    for (uint32_t i = 0; i < in->nargs; i++) {
        b.args[i] = frame_arg(f, in, i);
        walk_align(&b.walk, r, i, b.args[i]->type, NO_AXIS);
    }
    return b;
}

/* index(a) counts over the whole axis, also on one device of many; a pad
 * lies past its end. */
static void body_index(Run *r, Body *b, Type t, uint32_t device)
{
    b->device = device;
    for (uint32_t k = 0; k < b->s->nindex; k++) {
        const TypeAxis *a = type_axis(r->m, t, b->s->index[k]);
        int64_t n = axis_extent(r, a);
        int64_t *table = NEW_ARRAY(&r->temp, int64_t, (size_t)n);
        for (int64_t i = 0; i < n; i++) {
            int64_t at = r->ndev == 1 ? i : axis_logical(r->m, a, device, i);
            table[i] = at < 0 ? a->size : at;
        }
        b->logical[k] = table;
        b->dim[k] = walk_dim(&b->walk, a->axis);
    }
}

/* A line of the result, from element K on. */
static void map_line(Body *b, Val *out, int64_t k)
{
    int64_t line = walk_line(&b->walk);
    for (b->first = 0; b->first < line; b->first += b->n) {
        int64_t left = line - b->first;
        b->n = left < TOGETHER ? left : TOGETHER;
        const Dual *v = body_eval(b);
        for (int64_t i = 0; i < b->n; i++, k++) {
            out->at[k] = v[i].v;
            if (out->dot) out->dot[k] = v[i].d;
        }
    }
}

void interp_map(Frame *f, const Inst *in, Val *out)
{
    Run *r = f->r;
    val_result(f, in, out);
    Body b = body_of(f, in);
    if (!run_count(r, out->n * (int64_t)r->ndev * b.s->n)) return;
    for (uint32_t d = 0; d < r->ndev; d++) {
        body_index(r, &b, in->type, d);
        int64_t k = (int64_t)d * out->n, line = walk_line(&b.walk);
        for (bool go = walk_start(&b.walk); go; go = walk_next_line(&b.walk)) {
            map_line(&b, out, k);
            k += line;
        }
    }
}
