/*
 * reduce.c: the ops `reduce` and `cumsum`.
 *
 * Elements are taken in increasing logical index of the reduced axes.  A Sum
 * is one running result: its value in `acc`, its tangent, what roundings have
 * taken from it where they are no part of its meaning, and for extrema how many
 * elements share them, since they share the derivative.
 */
#include <math.h>

#include "run.h"

typedef enum Kind { KIND_sum, KIND_max, KIND_min, KIND_prod } Kind;

typedef struct Fold {
    const Run *r;
    Kind kind;
    DType from, acc;
    bool floats;
} Fold;

typedef struct Sum {
    Cell v;
    double d, low; /* low: what additions have lost */
    int64_t count; /* elements equal to the extremum; 0: none seen */
} Sum;

static Kind kind_of(const Run *r, const Inst *in)
{
    if (attr_is(r->m, in->attr, AT_kind, "max")) return KIND_max;
    if (attr_is(r->m, in->attr, AT_kind, "min")) return KIND_min;
    if (attr_is(r->m, in->attr, AT_kind, "prod")) return KIND_prod;
    return KIND_sum;
}

static Fold fold_of(const Frame *f, const Inst *in, Kind kind)
{
    DType from = type_dtype(f->r->m, frame_arg(f, in, 0)->type);
    DType acc = acc_of(f->r, in, from);
    return (Fold){f->r, kind, from, acc, dtype_class(acc) == DC_float};
}

static Sum fold_start(const Fold *f)
{
    Sum s = {{0}, 0, 0, 0};
    if (f->kind != KIND_prod) return s;
    if (f->floats)
        s.v.f = 1;
    else
        s.v.i = 1;
    return s;
}

static void add_extreme(const Fold *f, Sum *s, Cell x, double d)
{
    bool more, same;
    if (f->floats) {
        if (s->count && isnan(s->v.f)) return;
        more =
            isnan(x.f) || (f->kind == KIND_max ? x.f > s->v.f : x.f < s->v.f);
        same = x.f == s->v.f;
    } else {
        uint64_t flip = dtype_class(f->acc) == DC_uint ? UINT64_C(1) << 63 : 0;
        int64_t a = (int64_t)((uint64_t)x.i ^ flip);
        int64_t b = (int64_t)((uint64_t)s->v.i ^ flip);
        more = f->kind == KIND_max ? a > b : a < b;
        same = a == b;
    }
    if (!s->count || more) {
        *s = (Sum){x, d, 0, 1};
    } else if (same) {
        s->count++;
        s->d += d;
    }
}

static void add_float(const Fold *f, Sum *s, double x, double d)
{
    if (f->kind == KIND_sum && !run_sums_round(f->r)) {
        sum_add(&s->v.f, &s->low, x);
        s->d += d;
    } else if (f->kind == KIND_sum) {
        s->v.f += x;
        s->d += d;
    } else {
        s->d = s->d * x + s->v.f * d;
        s->v.f *= x;
    }
    if (f->r->o.round) s->v.f = dtype_round(f->acc, s->v.f);
}

static void fold_add(const Fold *f, Sum *s, Cell x, double d)
{
    if (f->from != f->acc) {
        Dual y = cast_value(f->acc, f->from, f->r->o.round, (Dual){x, d});
        x = y.v;
        d = y.d;
    }
    if (f->kind == KIND_max || f->kind == KIND_min)
        add_extreme(f, s, x, d);
    else if (f->floats)
        add_float(f, s, x.f, d);
    else if (f->kind == KIND_sum)
        s->v.i = dtype_wrap(f->acc, (uint64_t)s->v.i + (uint64_t)x.i);
    else
        s->v.i = dtype_wrap(f->acc, (uint64_t)s->v.i * (uint64_t)x.i);
}

/* A device that has nothing but pads has nothing to add to a maximum. */
static void fold_store(const Fold *f, const Sum *s, Val *out, int64_t at)
{
    bool shared = f->kind == KIND_max || f->kind == KIND_min;
    bool none = f->kind == KIND_max && !s->count;
    Cell sum = none ? cell_neutral(f->acc, true) : s->v;
    if (f->floats && f->kind == KIND_sum)
        sum.f = run_round(f->r, f->acc, sum_of(sum.f, s->low));
    double d = shared && s->count > 1 ? s->d / (double)s->count : s->d;
    DType to = type_dtype(f->r->m, out->type);
    Dual v = cast_value(to, f->acc, f->r->o.round, (Dual){sum, d});
    out->at[at] = v.v;
    if (out->dot) out->dot[at] = v.d;
}

void interp_reduce(Frame *f, const Inst *in, Val *out)
{
    Run *r = f->r;
    const Val *x = frame_arg(f, in, 0);
    val_result(f, in, out);
    if (!run_count(r, x->n * (int64_t)r->ndev)) return;
    Fold fold = fold_of(f, in, kind_of(r, in));
    Walk w;
    walk_init(&w, r, x->type, 1);
    walk_align(&w, r, 0, in->type, NO_AXIS);
    Sum *sums = NEW_ARRAY(&r->temp, Sum, (size_t)out->n);
    for (uint32_t d = 0; d < r->ndev; d++) {
        int64_t from = (int64_t)d * x->n, to = (int64_t)d * out->n;
        for (int64_t i = 0; i < out->n; i++)
            sums[i] = fold_start(&fold);
        walk_pads(&w, r, x->type, d);
        for (bool go = walk_start(&w); go; go = walk_next(&w), from++)
            if (!walk_at_pad(&w))
                fold_add(&fold, &sums[w.at[0]], x->at[from],
                         x->dot ? x->dot[from] : 0);
        for (int64_t i = 0; i < out->n; i++)
            fold_store(&fold, &sums[i], out, to + i);
    }
}

/* One line of a running sum, `n` elements `stride` apart. */
static void cumsum_line(const Fold *fold, const Inst *in, const Val *x,
                        Val *out, int64_t at, int64_t n, int64_t stride)
{
    const Module *m = fold->r->m;
    bool exclusive = attr_flag(m, in->attr, AT_exclusive);
    if (attr_flag(m, in->attr, AT_reverse)) {
        at += (n - 1) * stride;
        stride = -stride;
    }
    Sum s = fold_start(fold);
    for (int64_t i = 0; i < n; i++, at += stride) {
        if (exclusive) fold_store(fold, &s, out, at);
        fold_add(fold, &s, x->at[at], x->dot ? x->dot[at] : 0);
        if (!exclusive) fold_store(fold, &s, out, at);
    }
}

void interp_cumsum(Frame *f, const Inst *in, Val *out)
{
    Run *r = f->r;
    const Val *x = frame_arg(f, in, 0);
    Axis axis = attr_axis(r->m, in->attr, AT_axis);
    val_result(f, in, out);
    if (!run_count(r, x->n * (int64_t)r->ndev)) return;
    Fold fold = fold_of(f, in, KIND_sum);
    int64_t n = local_size(r, x->type, axis);
    int64_t stride = type_stride(r, x->type, axis);
    for (uint32_t d = 0; d < r->ndev; d++)
        for (int64_t i = 0; i < x->n; i++)
            if (i / stride % n == 0)
                cumsum_line(&fold, in, x, out, (int64_t)d * x->n + i, n,
                            stride);
}
