/*
 * move.c: ops that only say where elements go: rename, split, merge, slice,
 * pick, pad, concat, stack, window, and fold, the adjoint of window.
 *
 * Each is a walk over one tensor with an affine offset into the other; all
 * are linear, so that the tangent moves the same way.
 */
#include "run.h"

static void move_cell(Val *out, int64_t to, const Val *x, int64_t from)
{
    out->at[to] = x->at[from];
    if (out->dot) out->dot[to] = x->dot ? x->dot[from] : 0;
}

void move_walk(Run *r, Walk *w, Val *out, int64_t to, const Val *x,
               int64_t from)
{
    if (!run_count(r, w->total * (int64_t)r->ndev)) return;
    for (uint32_t d = 0; d < r->ndev; d++) {
        int64_t base = (int64_t)d * out->n + to;
        int64_t origin = (int64_t)d * x->n + from;
        for (bool go = walk_start(w); go; go = walk_next(w))
            move_cell(out, base + w->at[0], x, origin + w->at[1]);
    }
}

/* A walk over the result, aligned with both, but for `except` in x. */
static const Val *move_begin(Frame *f, const Inst *in, Val *out, Walk *w,
                             Axis except)
{
    const Val *x = frame_arg(f, in, 0);
    val_result(f, in, out);
    walk_init(w, f->r, in->type, 2);
    walk_align(w, f->r, 0, in->type, NO_AXIS);
    walk_align(w, f->r, 1, x->type, except);
    return x;
}

/* Steps `part` along the factors of `a`, which is a product, major first. */
static void step_product(Run *r, Walk *w, uint32_t part, Type whole, Axis a,
                         Type parts, const AttrItem *factors)
{
    int64_t stride = type_stride(r, whole, a);
    for (uint32_t i = factors->n; i-- > 0;) {
        walk_step(w, part, factors->axes[i], stride);
        stride *= local_size(r, parts, factors->axes[i]);
    }
}

static void rename_axes(Frame *f, const Inst *in, Val *out)
{
    Run *r = f->r;
    const Val *x = frame_arg(f, in, 0);
    const AttrItem *from = attr_get(r->m, in->attr, AT_from);
    const AttrItem *to = attr_get(r->m, in->attr, AT_to);
    val_result(f, in, out);
    Walk w;
    walk_init(&w, r, x->type, 2);
    walk_align(&w, r, 1, x->type, NO_AXIS);
    for (uint32_t i = 0; i < w.ndims; i++) {
        Axis a = w.axis[i];
        for (uint32_t k = 0; k < from->n; k++)
            if (from->axes[k].id == w.axis[i].id) a = to->axes[k];
        w.stride[i] = type_stride(r, in->type, a);
    }
    move_walk(r, &w, out, 0, x, 0);
}

void interp_rename(Frame *f, const Inst *in, Val *out)
{
    rename_axes(f, in, out);
}

/* What a device has stays where it is. */
void interp_part(Frame *f, const Inst *in, Val *out)
{
    rename_axes(f, in, out);
}

void interp_split(Frame *f, const Inst *in, Val *out)
{
    Run *r = f->r;
    Walk w;
    Axis axis = attr_axis(r->m, in->attr, AT_axis);
    const Val *x = move_begin(f, in, out, &w, axis);
    step_product(r, &w, 1, x->type, axis, in->type,
                 attr_get(r->m, in->attr, AT_to));
    move_walk(r, &w, out, 0, x, 0);
}

void interp_merge(Frame *f, const Inst *in, Val *out)
{
    Run *r = f->r;
    const Val *x = frame_arg(f, in, 0);
    Axis axis = attr_axis(r->m, in->attr, AT_axis);
    val_result(f, in, out);
    Walk w;
    walk_init(&w, r, x->type, 2);
    walk_align(&w, r, 0, in->type, axis);
    walk_align(&w, r, 1, x->type, NO_AXIS);
    step_product(r, &w, 0, in->type, axis, x->type,
                 attr_get(r->m, in->attr, AT_from));
    move_walk(r, &w, out, 0, x, 0);
}

void interp_slice(Frame *f, const Inst *in, Val *out)
{
    Run *r = f->r;
    Walk w;
    Axis axis = attr_axis(r->m, in->attr, AT_axis);
    const Val *x = move_begin(f, in, out, &w, axis);
    int64_t stride = type_stride(r, x->type, axis);
    walk_step(&w, 1, axis, stride * attr_int(r->m, in->attr, AT_step, 1));
    move_walk(r, &w, out, 0, x, stride * attr_int(r->m, in->attr, AT_start, 0));
}

void interp_pick(Frame *f, const Inst *in, Val *out)
{
    Run *r = f->r;
    Walk w;
    Axis axis = attr_axis(r->m, in->attr, AT_axis);
    const Val *x = move_begin(f, in, out, &w, axis);
    move_walk(r, &w, out, 0, x,
              type_stride(r, x->type, axis) *
                  attr_int(r->m, in->attr, AT_start, 0));
}

/* Puts x into out along `axis` from index `start` on, `step` apart; an axis
 * that x lacks is at `start` alone. */
static void place(Frame *f, Val *out, const Val *x, Axis axis, int64_t start,
                  int64_t step)
{
    Run *r = f->r;
    Walk w;
    int64_t stride = type_stride(r, out->type, axis);
    walk_init(&w, r, x->type, 2);
    walk_align(&w, r, 0, out->type, axis);
    walk_align(&w, r, 1, x->type, NO_AXIS);
    walk_step(&w, 0, axis, stride * step);
    move_walk(r, &w, out, stride * start, x, 0);
}

void interp_pad(Frame *f, const Inst *in, Val *out)
{
    const Module *m = f->r->m;
    val_result(f, in, out);
    place(f, out, frame_arg(f, in, 0), attr_axis(m, in->attr, AT_axis),
          attr_int(m, in->attr, AT_low, 0), attr_int(m, in->attr, AT_step, 1));
}

void interp_concat(Frame *f, const Inst *in, Val *out)
{
    Run *r = f->r;
    Axis axis = attr_axis(r->m, in->attr, AT_axis);
    val_result(f, in, out);
    int64_t start = 0;
    for (uint32_t i = 0; i < in->nargs; i++) {
        const Val *x = frame_arg(f, in, i);
        place(f, out, x, axis, start, 1);
        start += local_size(r, x->type, axis);
    }
}

void interp_stack(Frame *f, const Inst *in, Val *out)
{
    val_result(f, in, out);
    for (uint32_t i = 0; i < in->nargs; i++)
        place(f, out, frame_arg(f, in, i),
              attr_axis(f->r->m, in->attr, AT_axis), i, 1);
}

/* How window and fold relate an index along `axis` to those along `to`. */
typedef struct Tap {
    Axis axis;
    int64_t size, start, stride; /* of `axis` in its tensor */
    uint32_t n, *dim;            /* dimensions of the walk */
    const int64_t *coef;
} Tap;

static Tap tap_of(Run *r, const Inst *in, const Walk *w, Type t)
{
    const AttrItem *to = attr_get(r->m, in->attr, AT_to);
    const AttrItem *coef = attr_get(r->m, in->attr, AT_coef);
    Axis axis = attr_axis(r->m, in->attr, AT_axis);
    Tap p = {.axis = axis, .size = local_size(r, t, axis), .n = to->n};
    p.start = attr_int(r->m, in->attr, AT_start, 0);
    p.stride = type_stride(r, t, axis);
    p.dim = NEW_ARRAY(&r->temp, uint32_t, to->n);
    p.coef = coef->ints;
    for (uint32_t i = 0; i < to->n; i++)
        p.dim[i] = walk_dim(w, to->axes[i]);
    return p;
}

/* Offset along `axis`; -1: outside. */
static int64_t tap_offset(const Tap *p, const Walk *w)
{
    int64_t a = p->start;
    for (uint32_t i = 0; i < p->n; i++)
        a += p->coef[i] * w->index[p->dim[i]];
    return a >= 0 && a < p->size ? a * p->stride : -1;
}

void interp_window(Frame *f, const Inst *in, Val *out)
{
    Run *r = f->r;
    Walk w;
    const Val *x =
        move_begin(f, in, out, &w, attr_axis(r->m, in->attr, AT_axis));
    Tap tap = tap_of(r, in, &w, x->type);
    if (!run_count(r, w.total * (int64_t)r->ndev)) return;
    for (uint32_t d = 0; d < r->ndev; d++)
        for (bool go = walk_start(&w); go; go = walk_next(&w)) {
            int64_t a = tap_offset(&tap, &w);
            if (a < 0) continue;
            move_cell(out, (int64_t)d * out->n + w.at[0], x,
                      (int64_t)d * x->n + w.at[1] + a);
        }
}

void interp_fold(Frame *f, const Inst *in, Val *out)
{
    Run *r = f->r;
    const Val *x = frame_arg(f, in, 0);
    DType dtype = type_dtype(r->m, in->type);
    DType acc = acc_of(r, in, dtype);
    val_result(f, in, out);
    Walk w;
    walk_init(&w, r, x->type, 2);
    walk_align(&w, r, 0, in->type, attr_axis(r->m, in->attr, AT_axis));
    walk_align(&w, r, 1, x->type, NO_AXIS);
    Tap tap = tap_of(r, in, &w, in->type);
    if (!run_count(r, w.total * (int64_t)r->ndev)) return;
    for (uint32_t d = 0; d < r->ndev; d++) {
        int64_t to = (int64_t)d * out->n;
        for (bool go = walk_start(&w); go; go = walk_next(&w)) {
            int64_t a = tap_offset(&tap, &w);
            if (a < 0) continue;
            val_add(r, acc, out, to + w.at[0] + a, x,
                    (int64_t)d * x->n + w.at[1]);
        }
        for (int64_t i = 0; acc != dtype && i < out->n; i++)
            out->at[to + i].f = run_round(r, dtype, out->at[to + i].f);
    }
}
