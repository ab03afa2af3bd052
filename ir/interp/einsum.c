/*
 * einsum.c: the op `einsum`, products of elements aligned by name, summed.
 *
 * Two walks: one over the result, and inside it one over the summed axes.
 * Bilinear, so the tangent is dx * y + x * dy.
 *
 * Most programs are mostly this, so several sums beside each other are made
 * together where they have neither tangents nor pads; each is the one that it
 * would be alone.
 */
#include "run.h"

enum { BESIDE = 16 };

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
    double low = 0;
    bool round = run_sums_round(d->r);
    for (bool go = walk_start(w); go; go = walk_next(w)) {
        if (walk_at_pad(w)) continue;
        int64_t i = x + w->at[0], j = y + w->at[1];
        double a = d->x->at[i].f, b = d->y->at[j].f;
        if (round)
            s.v.f = dtype_round(d->acc, s.v.f + dtype_round(d->acc, a * b));
        else
            sum_add(&s.v.f, &low, a * b);
        if (d->x->dot) s.d += d->x->dot[i] * b;
        if (d->y->dot) s.d += d->y->dot[j] * a;
    }
    s.v.f = sum_of(s.v.f, low);
    return s;
}

/* ------------------------------------------------- sums beside each other --
 */

/* Operands of N sums: the first products, and steps to those of the next sum
 * and to the next product. */
typedef struct Beside {
    const Cell *x, *y;
    int64_t over[2], along[2];
    int64_t n, products;
} Beside;

static inline double rounded(bool narrow, double x)
{
    return narrow ? (double)(float)x : x;
}

/* A product of each sum after the other, so that none waits for the one before
 * it. */
static inline void add_products(const Beside *b, bool narrow,
                                double sums[BESIDE])
{
    for (int64_t k = 0; k < b->products; k++) {
        const Cell *x = b->x + k * b->along[0], *y = b->y + k * b->along[1];
        for (int64_t i = 0; i < b->n; i++) {
            double p = x[i * b->over[0]].f * y[i * b->over[1]].f;
            sums[i] = rounded(narrow, sums[i] + rounded(narrow, p));
        }
    }
}

static void add_line(const Beside *b, bool narrow, double sums[BESIDE])
{
    Beside all = *b;
    all.n = BESIDE; /* known to the compiler */
    if (narrow && b->n == BESIDE)
        add_products(&all, true, sums);
    else if (narrow)
        add_products(b, true, sums);
    else
        add_products(b, false, sums);
}

/* N sums, the next along the result's last axis, from offsets X and Y on. */
static void sums_beside(Dot *d, const int64_t from[2], int64_t n, double *sums)
{
    bool narrow = run_sums_round(d->r) && d->acc == DT_f32;
    Beside b = {.n = n, .products = walk_line(&d->inner)};
    for (uint32_t i = 0; i < 2; i++) {
        b.over[i] = walk_last(&d->outer, i);
        b.along[i] = walk_last(&d->inner, i);
    }
    for (bool go = walk_start(&d->inner); go; go = walk_next_line(&d->inner)) {
        b.x = d->x->at + from[0] + d->inner.at[0];
        b.y = d->y->at + from[1] + d->inner.at[1];
        add_line(&b, narrow, sums);
    }
}

/* A sum as the result has it. */
static double stored(const Dot *d, DType to, double sum)
{
    return run_round(d->r, to, run_round(d->r, d->acc, sum));
}

static void device_beside(Dot *d, int64_t x, int64_t y, DType to, Cell *out)
{
    Walk *w = &d->outer;
    int64_t line = walk_line(w);
    for (bool go = walk_start(w); go; go = walk_next_line(w))
        for (int64_t i = 0; i < line; i += BESIDE) {
            int64_t n = line - i < BESIDE ? line - i : BESIDE;
            int64_t from[2] = {x + w->at[0] + i * walk_last(w, 0),
                               y + w->at[1] + i * walk_last(w, 1)};
            double sums[BESIDE] = {0};
            sums_beside(d, from, n, sums);
            for (int64_t k = 0; k < n; k++)
                (out++)->f = stored(d, to, sums[k]);
        }
}

/* -------------------------------------------------------- all of a device --
 */

static void device_alone(Dot *d, int64_t x, int64_t y, DType to, Val *out,
                         int64_t k)
{
    Walk *w = &d->outer;
    for (bool go = walk_start(w); go; go = walk_next(w), k++) {
        Dual s = dot_sum(d, x + w->at[0], y + w->at[1]);
        out->at[k].f = stored(d, to, s.v.f);
        if (out->dot) out->dot[k] = s.d;
    }
}

static bool fits_beside(const Dot *d, const Val *out)
{
    bool sums = run_sums_round(d->r)
                    ? d->acc == DT_f32 || d->acc == DT_f64
                    : d->acc != DT_f64; /* which lose nothing */
    return sums && !out->dot && !d->inner.pads;
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
        walk_pads(&d.inner, r, d.x->type, v);
        if (fits_beside(&d, out))
            device_beside(&d, x, y, to, out->at + k);
        else
            device_alone(&d, x, y, to, out, k);
    }
}
