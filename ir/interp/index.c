/*
 * index.c: ops that read or write at computed places: gather, scatter, put,
 * top.
 *
 * Tensors are aligned by name but for the indexed axis, whose offset comes
 * from the ids.  Values move linearly, so tangents move with them.
 */
#include <math.h>
#include <stdlib.h>

#include "run.h"

/* The id as an offset along an axis; -1: outside, also for a huge u64. */
static int64_t id_offset(const Val *ids, int64_t at, int64_t size,
                         int64_t stride)
{
    int64_t id = ids->at[at].i;
    return id >= 0 && id < size ? id * stride : -1;
}

/* Where one device holds the indices of an axis that may be split. */
typedef struct Held {
    const TypeAxis *axis;
    int64_t stride, *at; /* by logical index: the offset, or -1 */
} Held;

static Held held_new(Run *r, Type t, Axis axis)
{
    Held h = {type_axis(r->m, t, axis), type_stride(r, t, axis), NULL};
    h.at = NEW_ARRAY(&r->temp, int64_t, (size_t)h.axis->size);
    return h;
}

static void held_on(Run *r, Held *h, uint32_t device)
{
    int64_t n = axis_extent(r, h->axis);
    for (int64_t i = 0; i < h->axis->size; i++)
        h->at[i] = -1;
    for (int64_t i = 0; i < n; i++) {
        int64_t at = r->ndev == 1 ? i : axis_logical(r->m, h->axis, device, i);
        if (at >= 0) h->at[at] = i * h->stride;
    }
}

static int64_t held_offset(const Held *h, const Val *ids, int64_t at)
{
    int64_t id = ids->at[at].i;
    return id >= 0 && id < h->axis->size ? h->at[id] : -1;
}

void interp_gather(Frame *f, const Inst *in, Val *out)
{
    Run *r = f->r;
    const Val *x = frame_arg(f, in, 0), *ids = frame_arg(f, in, 1);
    Axis axis = attr_axis(r->m, in->attr, AT_axis);
    val_result(f, in, out);
    if (!run_count(r, out->n * (int64_t)r->ndev)) return;
    Held held = held_new(r, x->type, axis);
    Walk w;
    walk_init(&w, r, in->type, 2);
    walk_align(&w, r, 0, x->type, axis);
    walk_align(&w, r, 1, ids->type, NO_AXIS);
    for (uint32_t d = 0; d < r->ndev; d++) {
        int64_t to = (int64_t)d * out->n, from = (int64_t)d * x->n;
        int64_t id = (int64_t)d * ids->n;
        held_on(r, &held, d);
        for (bool go = walk_start(&w); go; go = walk_next(&w), to++) {
            int64_t a = held_offset(&held, ids, id + w.at[1]);
            if (a < 0) continue;
            out->at[to] = x->at[from + w.at[0] + a];
            if (out->dot)
                out->dot[to] = x->dot ? x->dot[from + w.at[0] + a] : 0;
        }
    }
}

/* Walks ids and updates together; an axis of theirs with the name of the
 * indexed one is summed, the result's own comes from the ids. */
void interp_scatter(Frame *f, const Inst *in, Val *out)
{
    Run *r = f->r;
    const Val *ids = frame_arg(f, in, 0), *x = frame_arg(f, in, 1);
    Axis axis = attr_axis(r->m, in->attr, AT_axis);
    DType dtype = type_dtype(r->m, in->type), acc = acc_of(r, in, dtype);
    val_result(f, in, out);
    Walk w;
    walk_init(&w, r, ids->type, 3);
    walk_extend(&w, r, x->type, NO_AXIS);
    walk_sort(&w);
    walk_align(&w, r, 0, in->type, axis);
    walk_align(&w, r, 1, ids->type, NO_AXIS);
    walk_align(&w, r, 2, x->type, NO_AXIS);
    if (!run_count(r, w.total * (int64_t)r->ndev)) return;
    Held held = held_new(r, in->type, axis);
    for (uint32_t d = 0; d < r->ndev; d++) {
        int64_t to = (int64_t)d * out->n;
        held_on(r, &held, d);
        walk_pads(&w, r, ids->type, d);
        walk_pads(&w, r, x->type, d);
        for (bool go = walk_start(&w); go; go = walk_next(&w)) {
            int64_t a = held_offset(&held, ids, (int64_t)d * ids->n + w.at[1]);
            if (a < 0 || walk_at_pad(&w)) continue;
            val_add(r, acc, out, to + w.at[0] + a, x,
                    (int64_t)d * x->n + w.at[2]);
        }
        for (int64_t i = 0; acc != dtype && i < out->n; i++)
            out->at[to + i].f = run_round(r, dtype, out->at[to + i].f);
    }
}

void interp_put(Frame *f, const Inst *in, Val *out)
{
    Run *r = f->r;
    const Val *base = frame_arg(f, in, 0), *ids = frame_arg(f, in, 1);
    const Val *x = frame_arg(f, in, 2);
    Axis axis = attr_axis(r->m, in->attr, AT_axis);
    int64_t size = local_size(r, in->type, axis);
    int64_t stride = type_stride(r, in->type, axis);
    val_result(f, in, out);
    val_copy(r, out, base);
    Walk w;
    walk_init(&w, r, x->type, 3);
    walk_extend(&w, r, ids->type, NO_AXIS);
    walk_extend(&w, r, in->type, axis);
    walk_sort(&w);
    walk_align(&w, r, 0, in->type, axis);
    walk_align(&w, r, 1, ids->type, NO_AXIS);
    walk_align(&w, r, 2, x->type, NO_AXIS);
    if (!run_count(r, w.total * (int64_t)r->ndev)) return;
    for (uint32_t d = 0; d < r->ndev; d++) {
        walk_pads(&w, r, ids->type, d);
        walk_pads(&w, r, x->type, d);
        for (bool go = walk_start(&w); go; go = walk_next(&w)) {
            int64_t a =
                id_offset(ids, (int64_t)d * ids->n + w.at[1], size, stride);
            int64_t to = (int64_t)d * out->n + w.at[0] + a;
            int64_t from = (int64_t)d * x->n + w.at[2];
            if (a < 0 || walk_at_pad(&w)) continue;
            out->at[to] = x->at[from];
            if (out->dot) out->dot[to] = x->dot ? x->dot[from] : 0;
        }
    }
}

/* An element of the line that `top` sorts, larger keys first. */
typedef struct Ranked {
    double key; /* floats */
    int64_t i;  /* others, ordered as signed */
    int64_t at; /* its index */
} Ranked;

static int rank_order(const void *pa, const void *pb)
{
    const Ranked *a = pa, *b = pb;
    if (isnan(a->key) != isnan(b->key)) return isnan(a->key) ? -1 : 1;
    if (!isnan(a->key) && a->key != b->key) return a->key > b->key ? -1 : 1;
    if (a->i != b->i) return a->i > b->i ? -1 : 1;
    return (a->at > b->at) - (a->at < b->at);
}

static int rank_order_min(const void *pa, const void *pb)
{
    const Ranked *a = pa, *b = pb;
    Ranked x = *a, y = *b;
    x.at = b->at;
    y.at = a->at;
    return -rank_order(&x, &y);
}

static Ranked ranked_of(DType d, Cell c, int64_t at)
{
    if (dtype_class(d) == DC_float) return (Ranked){c.f, 0, at};
    uint64_t flip = dtype_class(d) == DC_uint ? UINT64_C(1) << 63 : 0;
    return (Ranked){0, (int64_t)((uint64_t)c.i ^ flip), at};
}

void interp_top(Frame *f, const Inst *in, Val *out)
{
    Run *r = f->r;
    const Val *x = frame_arg(f, in, 0);
    Axis axis = attr_axis(r->m, in->attr, AT_axis);
    Axis to = attr_get(r->m, in->attr, AT_to)->axes[0];
    bool smallest = attr_is(r->m, in->attr, AT_kind, "min");
    DType dtype = type_dtype(r->m, x->type);
    int64_t n = local_size(r, x->type, axis), k = local_size(r, in->type, to);
    int64_t across = type_stride(r, x->type, axis);
    int64_t along = type_stride(r, in->type, to);
    val_result(f, in, out);
    if (!run_count(r, x->n * (int64_t)r->ndev)) return;
    Ranked *line = NEW_ARRAY(&r->temp, Ranked, (size_t)n);
    Walk w;
    walk_init(&w, r, in->type, 2);
    walk_align(&w, r, 0, in->type, NO_AXIS);
    walk_align(&w, r, 1, x->type, axis);
    uint32_t dim = walk_dim(&w, to);
    for (uint32_t d = 0; d < r->ndev; d++)
        for (bool go = walk_start(&w); go; go = walk_next(&w)) {
            if (w.index[dim]) continue; /* one line gives all k */
            int64_t from = (int64_t)d * x->n + w.at[1];
            for (int64_t i = 0; i < n; i++)
                line[i] = ranked_of(dtype, x->at[from + i * across], i);
            qsort(line, (size_t)n, sizeof *line,
                  smallest ? rank_order_min : rank_order);
            for (int64_t i = 0; i < k; i++)
                out->at[(int64_t)d * out->n + w.at[0] + i * along].i =
                    line[i].at;
        }
}
