/*
 * walk.c: the one loop over axes.
 *
 * Every op is a walk over some index space with an affine offset into each
 * of its tensors: alignment by name sets the strides, and window, slice,
 * split and merge only set others.
 */
#include "run.h"

int64_t local_size(const Run *r, Type t, Axis a)
{
    const TypeAxis *x = type_axis(r->m, t, a);
    return x ? axis_extent(r, x) : 0;
}

int64_t type_stride(const Run *r, Type t, Axis a)
{
    const TypeInfo *info = type_info(r->m, t);
    int64_t stride = 1;
    for (uint32_t i = info->naxes; i-- > 0;) {
        if (info->axes[i].axis.id == a.id) return stride;
        stride *= axis_extent(r, &info->axes[i]);
    }
    return 0;
}

static void walk_alloc(Walk *w, Run *r, uint32_t ndims)
{
    w->ndims = ndims;
    w->axis = NEW_ARRAY(&r->temp, Axis, ndims);
    w->size = NEW_ARRAY(&r->temp, int64_t, ndims);
    w->index = NEW_ARRAY(&r->temp, int64_t, ndims);
    w->stride = NEW_ARRAY(&r->temp, int64_t, (size_t)ndims * w->nparts);
    w->at = NEW_ARRAY(&r->temp, int64_t, w->nparts);
    w->pads = NULL;
}

void walk_init(Walk *w, Run *r, Type t, uint32_t nparts)
{
    const TypeInfo *info = type_info(r->m, t);
    w->nparts = nparts;
    w->total = 1;
    walk_alloc(w, r, info->naxes);
    for (uint32_t i = 0; i < info->naxes; i++) {
        w->axis[i] = info->axes[i].axis;
        w->size[i] = axis_extent(r, &info->axes[i]);
        w->total *= w->size[i];
    }
}

void walk_axes(Walk *w, Run *r, Type t, const AttrItem *axes, uint32_t nparts)
{
    const TypeInfo *info = type_info(r->m, t);
    w->nparts = nparts;
    w->total = 1;
    walk_alloc(w, r, axes ? axes->n : 0);
    uint32_t n = 0;
    for (uint32_t i = 0; i < info->naxes; i++) {
        Axis a = info->axes[i].axis;
        if (!attr_item_has(axes, a)) continue;
        w->axis[n] = a;
        w->size[n] = axis_extent(r, &info->axes[i]);
        w->total *= w->size[n++];
    }
}

void walk_extend(Walk *w, Run *r, Type u, Axis except)
{
    const TypeInfo *info = type_info(r->m, u);
    Walk old = *w;
    uint32_t n = old.ndims;
    walk_alloc(w, r, n + info->naxes);
    w->ndims = n;
    for (uint32_t i = 0; i < n; i++) {
        w->axis[i] = old.axis[i];
        w->size[i] = old.size[i];
    }
    for (uint32_t i = 0; i < info->naxes; i++) {
        Axis a = info->axes[i].axis;
        if (a.id == except.id || walk_dim(w, a) != UINT32_MAX) continue;
        w->axis[w->ndims] = a;
        w->size[w->ndims] = axis_extent(r, &info->axes[i]);
        w->total *= w->size[w->ndims++];
    }
}

/* Before walk_align: strides do not follow. */
void walk_sort(Walk *w)
{
    for (uint32_t i = 1; i < w->ndims; i++)
        for (uint32_t k = i; k > 0 && w->axis[k].id < w->axis[k - 1].id; k--) {
            Axis a = w->axis[k];
            int64_t size = w->size[k];
            w->axis[k] = w->axis[k - 1];
            w->size[k] = w->size[k - 1];
            w->axis[k - 1] = a;
            w->size[k - 1] = size;
        }
}

uint32_t walk_dim(const Walk *w, Axis a)
{
    for (uint32_t i = 0; i < w->ndims; i++)
        if (w->axis[i].id == a.id) return i;
    return UINT32_MAX;
}

/* Parts of an axis that are not even end in pads on the last devices. */
void walk_pads(Walk *w, Run *r, Type t, uint32_t device)
{
    const TypeInfo *info = type_info(r->m, t);
    for (uint32_t i = 0; r->ndev > 1 && i < info->naxes; i++) {
        const TypeAxis *a = &info->axes[i];
        uint32_t d = walk_dim(w, a->axis);
        int64_t n = type_local_size(r->m, a);
        if (d == UINT32_MAX || !a->nsplits ||
            n * group_size(r->m, a->splits, a->nsplits) == a->size)
            continue;
        if (!w->pads) w->pads = NEW_ARRAY(&r->temp, bool *, w->ndims);
        if (!w->pads[d]) w->pads[d] = NEW_ARRAY(&r->temp, bool, (size_t)n);
        for (int64_t k = 0; k < n; k++)
            w->pads[d][k] = axis_logical(r->m, a, device, k) < 0;
    }
}

void walk_step(Walk *w, uint32_t part, Axis axis, int64_t by)
{
    uint32_t dim = walk_dim(w, axis);
    if (dim != UINT32_MAX) w->stride[part * w->ndims + dim] += by;
}

void walk_align(Walk *w, const Run *r, uint32_t part, Type t, Axis except)
{
    const TypeInfo *info = type_info(r->m, t);
    int64_t stride = 1;
    for (uint32_t i = info->naxes; i-- > 0;) {
        Axis a = info->axes[i].axis;
        if (a.id != except.id) walk_step(w, part, a, stride);
        stride *= axis_extent(r, &info->axes[i]);
    }
}

bool walk_carry(Walk *w, uint32_t ndims)
{
    for (uint32_t d = ndims; d-- > 0;) {
        const int64_t *stride = w->stride + d;
        if (++w->index[d] < w->size[d]) {
            for (uint32_t p = 0; p < w->nparts; p++)
                w->at[p] += stride[p * w->ndims];
            return true;
        }
        for (uint32_t p = 0; p < w->nparts; p++)
            w->at[p] -= stride[p * w->ndims] * (w->size[d] - 1);
        w->index[d] = 0;
    }
    return false;
}
