/*
 * einsum.c: the op `einsum`, products of elements aligned by name, summed.
 *
 * Two walks: one over the result, and inside it one over the summed axes.
 * Bilinear, so the tangent is dx * y + x * dy.
 */
#include "run.h"

typedef struct Dot {
    const Run *r;
    const Val *x, *y;
    DType acc;
    Walk outer, inner; /* parts 0, 1: x, y */
} Dot;

/* One element of the result; x and y are offsets of its first product. */
static Dual dot_sum(Dot *d, int64_t x, int64_t y)
{
    Walk *w = &d->inner;
    Dual s = {{.f = 0}, 0};
    bool round = d->r->o.round;
    for (bool go = walk_start(w); go; go = walk_next(w)) {
        if (walk_at_pad(w)) continue;
        int64_t i = x + w->at[0], j = y + w->at[1];
        double a = d->x->at[i].f, b = d->y->at[j].f;
        s.v.f += round ? dtype_round(d->acc, a * b) : a * b;
        if (round) s.v.f = dtype_round(d->acc, s.v.f);
        if (d->x->dot) s.d += d->x->dot[i] * b;
        if (d->y->dot) s.d += d->y->dot[j] * a;
    }
    return s;
}

void interp_einsum(Frame *f, const Inst *in, Val *out)
{
    Run *r = f->r;
    Dot d = {.r = r, .x = frame_arg(f, in, 0), .y = frame_arg(f, in, 1)};
    val_result(f, in, out);
    d.acc = acc_of(r, in, type_dtype(r->m, d.x->type));
    DType to = type_dtype(r->m, in->type);
    walk_axes(&d.inner, r, d.x->type, attr_get(r->m, in->attr, AT_sum), 2);
    walk_align(&d.inner, r, 0, d.x->type, NO_AXIS);
    walk_align(&d.inner, r, 1, d.y->type, NO_AXIS);
    walk_init(&d.outer, r, in->type, 2);
    walk_align(&d.outer, r, 0, d.x->type, NO_AXIS);
    walk_align(&d.outer, r, 1, d.y->type, NO_AXIS);
    if (!run_count(r, out->n * (int64_t)r->ndev * d.inner.total)) return;
    for (uint32_t v = 0; v < r->ndev; v++) {
        int64_t k = (int64_t)v * out->n;
        int64_t x = (int64_t)v * d.x->n, y = (int64_t)v * d.y->n;
        Walk *w = &d.outer;
        walk_pads(&d.inner, r, d.x->type, v);
        for (bool go = walk_start(w); go; go = walk_next(w), k++) {
            Dual s = dot_sum(&d, x + w->at[0], y + w->at[1]);
            out->at[k].f = run_round(r, to, s.v.f);
            if (out->dot) out->dot[k] = s.d;
        }
    }
}
