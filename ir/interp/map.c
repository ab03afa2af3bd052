/*
 * map.c: the op `map`: one scalar expression at each index of the result.
 */
#include <math.h>

#include "run.h"

/* What one execution of a body reads and writes. */
typedef struct Body {
    const Scalars *s;
    Walk walk; /* part i: operand i */
    const Val **args;
    const int64_t **logical; /* per index(): the logical index of a local one */
    uint32_t *dim;           /* per index(): the dimension of the walk */
    Dual *at;                /* per node */
    uint32_t device;
} Body;

static Dual node_load(const Body *b, const ScalarNode *n)
{
    if (n->op == SC_const) return (Dual){n->constant, 0};
    if (n->op == SC_index) {
        int64_t local = b->walk.index[b->dim[n->which]];
        return (Dual){{.i = b->logical[n->which][local]}, 0};
    }
    const Val *x = b->args[n->which];
    int64_t at = b->walk.at[n->which] + (int64_t)b->device * x->n;
    return (Dual){x->at[at], x->dot ? x->dot[at] : 0};
}

static Dual node_eval(const Body *b, const ScalarNode *n)
{
    Dual x[3] = {{{0}, 0}};
    for (uint32_t i = 0; i < n->nargs; i++)
        x[i] = b->at[n->arg[i]];
    Dual v = n->eval(n, x);
    DClass c = dtype_class((DType)n->dtype);
    if (c == DC_int || c == DC_uint)
        v.v.i = dtype_wrap((DType)n->dtype, (uint64_t)v.v.i);
    if (c == DC_float && n->round) v.v.f = dtype_round((DType)n->dtype, v.v.f);
    return v;
}

static Dual body_eval(Body *b)
{
    for (uint32_t i = 0; i < b->s->n; i++) {
        const ScalarNode *n = &b->s->nodes[i];
        b->at[i] = n->eval ? node_eval(b, n) : node_load(b, n);
    }
    return b->at[b->s->n - 1];
}

static Body body_of(Frame *f, const Inst *in)
{
    Run *r = f->r;
    Body b = {.s = scalars_of(r, attr_expr(r->m, in->attr))};
    b.at = NEW_ARRAY(&r->temp, Dual, b.s->n);
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

void interp_map(Frame *f, const Inst *in, Val *out)
{
    Run *r = f->r;
    val_result(f, in, out);
    Body b = body_of(f, in);
    if (!run_count(r, out->n * (int64_t)r->ndev * b.s->n)) return;
    for (uint32_t d = 0; d < r->ndev; d++) {
        body_index(r, &b, in->type, d);
        int64_t k = (int64_t)d * out->n;
        for (bool go = walk_start(&b.walk); go; go = walk_next(&b.walk), k++) {
            Dual v = body_eval(&b);
            out->at[k] = v.v;
            if (out->dot) out->dot[k] = v.d;
        }
    }
}
