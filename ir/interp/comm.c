/*
 * comm.c: collectives, simulated on all devices at once.
 *
 * all_gather, reduce_scatter, all_reduce and all_to_all are one exchange:
 * each device wants certain logical indices, and takes them from every member
 * of its group that holds them, in group order.  Where the value was pending
 * all members hold them, and they are combined; otherwise exactly one does.
 * Sums are made in the accumulation dtype and rounded once.
 */
#include <math.h>

#include "run.h"

/* One exchange, as seen by one device: per dimension and local index, the
 * offset in the operand of the present source; -1: not there. */
typedef struct Exchange {
    Run *r;
    const Inst *in;
    const Val *x;
    Val *out;
    const AttrItem *over;
    Walk w;           /* over the result */
    int64_t **source; /* [dim][local index] */
    bool *seen;       /* per element: something is there already */
    DType acc;
    bool max;
} Exchange;

static bool same_splits(const TypeAxis *a, const TypeAxis *b)
{
    if (a->nsplits != b->nsplits || a->spread != b->spread) return false;
    for (uint32_t i = 0; i < a->nsplits; i++)
        if (a->splits[i].id != b->splits[i].id) return false;
    return true;
}

/* Where device `from` has what `device` wants along one axis. */
static void find_source(Exchange *e, uint32_t dim, uint32_t device,
                        uint32_t from)
{
    const Run *r = e->r;
    const TypeAxis *want = type_axis(r->m, e->out->type, e->w.axis[dim]);
    const TypeAxis *have = type_axis(r->m, e->x->type, e->w.axis[dim]);
    int64_t stride = type_stride(r, e->x->type, e->w.axis[dim]);
    int64_t n = axis_extent(r, want), nhave = axis_extent(r, have);
    bool same = same_splits(want, have);
    for (int64_t i = 0; i < n; i++) {
        e->source[dim][i] = same ? i * stride : -1;
        if (same) continue;
        int64_t index = axis_logical(r->m, want, device, i);
        for (int64_t k = 0; k < nhave && index >= 0; k++)
            if (axis_logical(r->m, have, from, k) == index)
                e->source[dim][i] = k * stride;
    }
}

static void combine(Exchange *e, int64_t to, int64_t from, bool first)
{
    Cell *a = &e->out->at[to];
    Cell x = e->x->at[from];
    bool floats = dtype_class(e->acc) == DC_float;
    if (first) {
        *a = x;
    } else if (!e->max) {
        val_add(e->r, e->acc, e->out, to, e->x, from);
        return;
    } else if (floats ? x.f > a->f || isnan(x.f) : x.i > a->i) {
        *a = x;
    }
    if (first && e->out->dot) e->out->dot[to] = e->x->dot[from];
}

static void take_from(Exchange *e, uint32_t device, uint32_t from)
{
    for (uint32_t k = 0; k < e->w.ndims; k++)
        find_source(e, k, device, from);
    int64_t i = 0, base = (int64_t)device * e->out->n;
    for (bool go = walk_start(&e->w); go; go = walk_next(&e->w), i++) {
        int64_t at = (int64_t)from * e->x->n;
        for (uint32_t k = 0; k < e->w.ndims && at >= 0; k++) {
            int64_t s = e->source[k][e->w.index[k]];
            at = s < 0 ? -1 : at + s;
        }
        if (at < 0) continue;
        combine(e, base + i, at, !e->seen[i]);
        e->seen[i] = true;
    }
}

static void round_all(Exchange *e)
{
    DType d = type_dtype(e->r->m, e->out->type);
    size_t n = (size_t)e->out->n * e->r->ndev;
    for (size_t i = 0; d != e->acc && i < n; i++)
        e->out->at[i].f = run_round(e->r, d, e->out->at[i].f);
}

static void exchange(Frame *f, const Inst *in, Val *out)
{
    Run *r = f->r;
    Exchange e = {.r = r, .in = in, .x = frame_arg(f, in, 0), .out = out};
    e.over = attr_get(r->m, in->attr, AT_over);
    e.acc = acc_of(r, in, type_dtype(r->m, in->type));
    e.max = type_info(r->m, e.x->type)->pending_kind == PENDING_max;
    val_result(f, in, out);
    int64_t members = group_size(r->m, e.over->mesh, e.over->n);
    if (!run_count(r, out->n * (int64_t)r->ndev * members)) return;
    walk_init(&e.w, r, in->type, 1);
    e.source = NEW_ARRAY(&r->temp, int64_t *, e.w.ndims);
    for (uint32_t k = 0; k < e.w.ndims; k++)
        e.source[k] = NEW_ARRAY(&r->temp, int64_t, (size_t)e.w.size[k]);
    e.seen = NEW_ARRAY(&r->temp, bool, (size_t)out->n);
    for (uint32_t d = 0; d < r->ndev; d++) {
        if (out->n) memset(e.seen, 0, (size_t)out->n * sizeof *e.seen);
        for (int64_t c = 0; c < members; c++)
            take_from(&e, d, group_member(r->m, d, e.over->mesh, e.over->n, c));
    }
    round_all(&e);
}

void interp_all_gather(Frame *f, const Inst *in, Val *out)
{
    exchange(f, in, out);
}

void interp_reduce_scatter(Frame *f, const Inst *in, Val *out)
{
    exchange(f, in, out);
}

void interp_all_reduce(Frame *f, const Inst *in, Val *out)
{
    exchange(f, in, out);
}

void interp_all_to_all(Frame *f, const Inst *in, Val *out)
{
    exchange(f, in, out);
}

static void copy_device(Val *out, uint32_t to, const Val *x, uint32_t from)
{
    size_t n = (size_t)out->n;
    if (!n) return;
    memcpy(out->at + to * n, x->at + from * n, n * sizeof *out->at);
    if (out->dot)
        memcpy(out->dot + to * n, x->dot + from * n, n * sizeof *out->dot);
}

void interp_permute(Frame *f, const Inst *in, Val *out)
{
    Run *r = f->r;
    const AttrItem *over = attr_get(r->m, in->attr, AT_over);
    int64_t shift = attr_int(r->m, in->attr, AT_shift, 0);
    int64_t n = group_size(r->m, over->mesh, over->n);
    val_result(f, in, out);
    for (uint32_t d = 0; d < r->ndev; d++) {
        int64_t c = group_coord(r->m, d, over->mesh, over->n) + shift;
        c = (c % n + n) % n;
        copy_device(out, group_member(r->m, d, over->mesh, over->n, c),
                    frame_arg(f, in, 0), d);
    }
}

/* What is kept elsewhere than at coordinate 0: nothing to a sum, or to a
 * maximum. */
static Cell neutral(DType d, bool max)
{
    Cell c = {.i = 0};
    unsigned width = dtype_bytes(d) * 8;
    if (dtype_class(d) == DC_float)
        c.f = max ? -INFINITY : 0;
    else if (max && dtype_class(d) == DC_int)
        c.i = (int64_t)(~UINT64_C(0) << (width - 1));
    return c;
}

void interp_pending(Frame *f, const Inst *in, Val *out)
{
    Run *r = f->r;
    const AttrItem *over = attr_get(r->m, in->attr, AT_over);
    bool max = attr_is(r->m, in->attr, AT_kind, "max");
    Cell none = neutral(type_dtype(r->m, in->type), max);
    val_result(f, in, out);
    for (uint32_t d = 0; d < r->ndev; d++) {
        bool kept = group_coord(r->m, d, over->mesh, over->n) == 0;
        if (kept) copy_device(out, d, frame_arg(f, in, 0), d);
        for (int64_t i = 0; !kept && i < out->n; i++)
            out->at[(int64_t)d * out->n + i] = none;
    }
}

void interp_coord(Frame *f, const Inst *in, Val *out)
{
    Run *r = f->r;
    const AttrItem *over = attr_get(r->m, in->attr, AT_over);
    val_result(f, in, out);
    for (uint32_t d = 0; d < r->ndev; d++)
        out->at[d].i = group_coord(r->m, d, over->mesh, over->n);
}

/* A started receive takes its message here: until then nothing waits. */
void interp_done(Frame *f, const Inst *in, Val *out)
{
    const Inst *start = inst_of(f->fn, inst_arg(f->fn, in, 0));
    if (start->op == OP_recv) {
        rank_recv(f, start, out);
        return;
    }
    val_result(f, in, out);
    val_copy(f->r, out, frame_arg(f, in, 0));
}
