/*
 * layout.c: strides, places, and what of them makes a gemm (see layout.h).
 */
#include "ir.h"

static int64_t axis_extent(const Module *m, Type t, uint32_t i)
{
    return type_local_size(m, &type_info(m, t)->axes[i]);
}

static int axis_number(const Module *m, Type t, Axis a)
{
    const TypeAxis *at = type_axis(m, t, a);
    return at ? (int)(at - type_info(m, t)->axes) : -1;
}

Layout layout_ordered(Module *m, Type t, const Axis *order, uint32_t n,
                      Arena *a)
{
    const TypeInfo *ti = type_info(m, t);
    int64_t *stride = NEW_ARRAY(a, int64_t, ti->naxes + 1);
    int64_t step = 1;
    for (uint32_t i = ti->naxes; i-- > 0;) {
        if (axes_have(order, n, ti->axes[i].axis)) continue;
        stride[i] = step;
        step *= axis_extent(m, t, i);
    }
    for (uint32_t i = n; i-- > 0;) {
        int at = axis_number(m, t, order[i]);
        if (at < 0) continue;
        stride[at] = step;
        step *= axis_extent(m, t, (uint32_t)at);
    }
    return (Layout){t, stride};
}

Layout layout_dense(Module *m, Type t, Arena *a)
{
    return layout_ordered(m, t, NULL, 0, a);
}

/* Strides of axes with one index do not matter. */
bool layout_same(const Module *m, Layout x, Layout y)
{
    if (!type_eq(x.type, y.type)) return false;
    const TypeInfo *ti = type_info(m, x.type);
    for (uint32_t i = 0; i < ti->naxes; i++)
        if (x.stride[i] != y.stride[i] && axis_extent(m, x.type, i) != 1)
            return false;
    return true;
}

static bool layout_is_dense(const Module *m, Layout x)
{
    const TypeInfo *ti = type_info(m, x.type);
    int64_t step = 1;
    for (uint32_t i = ti->naxes; i-- > 0;) {
        int64_t size = axis_extent(m, x.type, i);
        if (size != 1 && x.stride[i] != step) return false;
        step *= size;
    }
    return true;
}

bool layout_is_packed(const Module *m, Layout x)
{
    int64_t bytes =
        type_local_elements(m, x.type) * dtype_bytes(type_dtype(m, x.type));
    return layout_bytes(m, x) == bytes;
}

int64_t layout_bytes(const Module *m, Layout x)
{
    const TypeInfo *ti = type_info(m, x.type);
    int64_t last = 1, far, bytes;
    for (uint32_t i = 0; i < ti->naxes; i++) {
        int64_t n = axis_extent(m, x.type, i);
        if (__builtin_mul_overflow(n - 1, x.stride[i], &far) ||
            __builtin_add_overflow(last, far, &last))
            return INT64_MAX;
    }
    if (__builtin_mul_overflow(last, (int64_t)dtype_bytes((DType)ti->dtype),
                               &bytes))
        return INT64_MAX;
    return bytes;
}

void layout_put_stride(const Module *m, Layout x, AttrList *out)
{
    if (!layout_is_dense(m, x))
        attr_put_ints(out, AT_stride, x.stride, type_info(m, x.type)->naxes);
}

Attr layout_stride_attr(Module *m, Layout x)
{
    AttrList list = {.n = 0};
    layout_put_stride(m, x, &list);
    return attr_intern(m, &list);
}

int64_t layout_stride(const Module *m, Layout x, Axis axis)
{
    int at = axis_number(m, x.type, axis);
    return at < 0 ? 0 : x.stride[at];
}

int64_t layout_pad(const Module *m, Layout x, int64_t *line)
{
    const TypeInfo *ti = type_info(m, x.type);
    int64_t next = INT64_MAX;
    *line = 0;
    for (uint32_t i = 0; i < ti->naxes; i++) {
        int64_t n = axis_extent(m, x.type, i);
        if (n == 1) continue;
        if (x.stride[i] == 1)
            *line = n;
        else if (x.stride[i] < next)
            next = x.stride[i];
    }
    return *line && next != INT64_MAX && next > *line ? next - *line : 0;
}

uint32_t layout_order(const Module *m, Layout x, Axis *out)
{
    const TypeInfo *ti = type_info(m, x.type);
    for (uint32_t i = 0; i < ti->naxes; i++) {
        uint32_t at = i;
        int64_t step = x.stride[i];
        while (at > 0 && layout_stride(m, x, out[at - 1]) < step) {
            out[at] = out[at - 1];
            at--;
        }
        out[at] = ti->axes[i].axis;
    }
    return ti->naxes;
}

Layout layout_of(Module *m, const Fn *fn, Value v, Arena *a)
{
    const Inst *in = inst_of(fn, v);
    const AttrItem *item = attr_get(m, in->attr, AT_stride);
    if (!item) return layout_dense(m, in->type, a);
    CHECK(item->n == type_info(m, in->type)->naxes);
    return (Layout){in->type, item->ints};
}

TurnRing ring_of(const Module *m, const Inst *view)
{
    const AttrItem *ring = attr_get(m, view->attr, AT_ring);
    if (!ring || ring->n != 2) return (TurnRing){0};
    return (TurnRing){ring->ints[0], ring->ints[1]};
}

Spot spot_of(Module *m, const Fn *fn, Value v, Arena *a)
{
    Spot p = {.root = v, .layout = layout_of(m, fn, v, a)};
    while (inst_of(fn, p.root)->op == OP_view) {
        const Inst *in = inst_of(fn, p.root);
        p.offset += attr_int(m, in->attr, AT_offset, 0);
        const AttrItem *turn = attr_get(m, in->attr, AT_turn);
        for (uint32_t i = 0; turn && i < turn->n; i++) {
            CHECK(i < MOST_LOOPS);
            p.turn[i] += turn->ints[i];
            if (p.nturns <= i) p.nturns = i + 1;
        }
        if (attr_get(m, in->attr, AT_ring)) p.ring = ring_of(m, in);
        p.root = inst_arg(fn, in, 0);
    }
    const Inst *root = inst_of(fn, p.root);
    const AttrItem *within = attr_get(m, root->attr, AT_within);
    if (within) {
        p.offset += attr_int(m, root->attr, AT_start, 0);
        p.root = (Value){(uint32_t)within->i};
    }
    return p;
}
