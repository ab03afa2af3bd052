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
    const MeshAxis *over;
    uint32_t nover;
    Walk w;           /* over the result */
    int64_t **source; /* [dim][local index] */
    bool dense;       /* types have no splits */
    Axis group;       /* then: the axis that counts devices, or NO_AXIS */
    bool *seen;       /* per element: something is there already */
    DType acc;
    bool max;
} Exchange;

/* Where device `from` has what `device` wants along one axis. */
static void find_source(Exchange *e, uint32_t dim, uint32_t device,
                        uint32_t from)
{
    const Run *r = e->r;
    const TypeAxis *want = type_axis(r->m, e->out->type, e->w.axis[dim]);
    const TypeAxis *have = type_axis(r->m, e->x->type, e->w.axis[dim]);
    int64_t stride = type_stride(r, e->x->type, e->w.axis[dim]);
    int64_t n = axis_extent(r, want), nhave = axis_extent(r, have);
    bool same = splits_same(want, have);
    for (int64_t i = 0; i < n; i++) {
        e->source[dim][i] = same ? i * stride : -1;
        if (same) continue;
        int64_t index = axis_logical(r->m, want, device, i);
        for (int64_t k = 0; k < nhave && index >= 0; k++)
            if (axis_logical(r->m, have, from, k) == index)
                e->source[dim][i] = k * stride;
    }
}

/* The same where types have no splits: what member `member` has for the one
 * with coordinate `coord`. */
static void find_dense(Exchange *e, uint32_t dim, int64_t member, int64_t coord)
{
    Axis a = e->w.axis[dim];
    int64_t stride = type_stride(e->r, e->x->type, a);
    for (int64_t i = 0; i < e->w.size[dim]; i++) {
        e->source[dim][i] = i * stride;
        if (a.id == e->group.id)
            e->source[dim][i] = i == member ? coord * stride : -1;
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

/* Member MEMBER of the group is device FROM. */
static void take_from(Exchange *e, uint32_t device, uint32_t from,
                      int64_t member)
{
    int64_t coord = group_coord(e->r->m, device, e->over, e->nover), piece = 0;
    for (uint32_t k = 0; k < e->w.ndims; k++)
        if (e->dense)
            find_dense(e, k, member, coord);
        else
            find_source(e, k, device, from);
    if (e->dense && walk_dim(&e->w, e->group) == UINT32_MAX)
        piece = coord * type_stride(e->r, e->x->type, e->group);
    int64_t i = 0, base = (int64_t)device * e->out->n;
    for (bool go = walk_start(&e->w); go; go = walk_next(&e->w), i++) {
        int64_t at = (int64_t)from * e->x->n + piece;
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

static void exchange_over(Frame *f, const Inst *in, Val *out,
                          const MeshAxis *over, uint32_t n)
{
    Run *r = f->r;
    Exchange e = {.r = r, .in = in, .x = frame_arg(f, in, 0), .out = out};
    e.over = over;
    e.nover = n;
    e.acc = acc_of(r, in, type_dtype(r->m, in->type));
    e.dense = collective_is_dense(r->m, f->fn, in, &e.group);
    e.max = e.dense ? attr_is(r->m, in->attr, AT_kind, "max")
                    : type_info(r->m, e.x->type)->pending_kind == PENDING_max;
    val_result(f, in, out);
    int64_t members = group_size(r->m, over, n);
    if (!run_count(r, out->n * (int64_t)r->ndev * members)) return;
    walk_init(&e.w, r, in->type, 1);
    e.source = NEW_ARRAY(&r->temp, int64_t *, e.w.ndims);
    for (uint32_t k = 0; k < e.w.ndims; k++)
        e.source[k] = NEW_ARRAY(&r->temp, int64_t, (size_t)e.w.size[k]);
    e.seen = NEW_ARRAY(&r->temp, bool, (size_t)out->n);
    for (uint32_t d = 0; d < r->ndev; d++) {
        if (out->n) memset(e.seen, 0, (size_t)out->n * sizeof *e.seen);
        for (int64_t c = 0; c < members; c++)
            take_from(&e, d, group_member(r->m, d, e.over, e.nover, c), c);
    }
    round_all(&e);
}

static void exchange(Frame *f, const Inst *in, Val *out)
{
    const AttrItem *over = attr_get(f->r->m, in->attr, AT_over);
    exchange_over(f, in, out, over->mesh, over->n);
}

void interp_all_gather(Frame *f, const Inst *in, Val *out)
{
    exchange(f, in, out);
}

void interp_reduce_scatter(Frame *f, const Inst *in, Val *out)
{
    exchange(f, in, out);
}

void interp_cut(Frame *f, const Inst *in, Val *out)
{
    exchange_over(f, in, out, NULL, 0);
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

Cell cell_neutral(DType d, bool max)
{
    Cell c = {.i = 0};
    unsigned width = dtype_bytes(d) * 8;
    if (dtype_class(d) == DC_float)
        c.f = max ? -INFINITY : 0;
    else if (max && dtype_class(d) == DC_int)
        c.i = (int64_t)(~UINT64_C(0) << (width - 1));
    return c;
}

/* Keeps OUT where the group's coordinate is 0 and empties it elsewhere. */
static void keep_first(const Run *r, Val *out, const MeshAxis *over, uint32_t n,
                       bool max)
{
    Cell none = cell_neutral(type_dtype(r->m, out->type), max);
    for (uint32_t d = 0; d < r->ndev; d++) {
        bool kept = group_coord(r->m, d, over, n) == 0;
        for (int64_t i = 0; !kept && i < out->n; i++) {
            out->at[(int64_t)d * out->n + i] = none;
            if (out->dot) out->dot[(int64_t)d * out->n + i] = 0;
        }
    }
}

void interp_pending(Frame *f, const Inst *in, Val *out)
{
    Run *r = f->r;
    const AttrItem *over = attr_get(r->m, in->attr, AT_over);
    val_result(f, in, out);
    val_copy(r, out, frame_arg(f, in, 0));
    keep_first(r, out, over->mesh, over->n,
               attr_is(r->m, in->attr, AT_kind, "max"));
}

/* The mesh axes whose part in the operand's layout is another in the result:
 * of a list of splits, those behind the beginning that both have. */
static uint32_t mesh_moved(const Run *r, Type from, Type to, MeshAxis *out)
{
    const TypeInfo *x = type_info(r->m, from), *y = type_info(r->m, to);
    uint32_t n = 0;
    for (uint32_t i = 0; i < x->naxes; i++) {
        const TypeAxis *a = &x->axes[i], *b = &y->axes[i];
        uint32_t same = 0;
        while (a->spread == b->spread && same < a->nsplits &&
               same < b->nsplits && a->splits[same].id == b->splits[same].id)
            same++;
        bool zig = a->spread == SPREAD_zig || b->spread == SPREAD_zig;
        if (zig && !splits_same(a, b)) same = 0;
        for (uint32_t k = same; k < a->nsplits; k++)
            out[n++] = a->splits[k];
    }
    for (uint32_t i = 0; i < x->npending; i++)
        if (!mesh_axes_have(y->pending, y->npending, x->pending[i]))
            out[n++] = x->pending[i];
    return n;
}

void interp_reshard(Frame *f, const Inst *in, Val *out)
{
    Run *r = f->r;
    const Val *x = frame_arg(f, in, 0);
    const TypeInfo *from = type_info(r->m, x->type);
    const TypeInfo *to = type_info(r->m, in->type);
    MeshAxis *over = NEW_ARRAY(&r->temp, MeshAxis, r->m->mesh.n + 1);
    uint32_t n = mesh_moved(r, x->type, in->type, over);
    exchange_over(f, in, out, over, n);
    n = 0;
    for (uint32_t i = 0; i < to->npending; i++)
        if (!mesh_axes_have(from->pending, from->npending, to->pending[i]))
            over[n++] = to->pending[i];
    if (n) keep_first(r, out, over, n, to->pending_kind == PENDING_max);
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
