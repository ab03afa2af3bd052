/*
 * mesh.c: which device holds which index.
 *
 * Devices are numbered row-major over the mesh axes in order of declaration.
 * A block split cuts an axis level by level, outermost mesh axis first, into
 * parts of the rounded-up size, so that undoing the innermost split stays
 * inside its group also where sizes do not divide.  A zig split over n
 * devices cuts it into 2n parts; device c has parts c and 2n - 1 - c.
 */
#include <math.h>

#include "run.h"

static int64_t mesh_size(const Module *m)
{
    int64_t n = 1;
    for (uint32_t i = 0; i < m->mesh.n; i++)
        n *= m->mesh.at[i].size;
    return n;
}

uint32_t mesh_devices(const Module *m)
{
    return (uint32_t)mesh_size(m);
}

bool fn_is_spread(const Module *m, const Fn *fn)
{
    return fn->view != VIEW_global && mesh_size(m) > 1;
}

static uint32_t mesh_stride(const Module *m, MeshAxis a)
{
    int64_t n = 1;
    for (uint32_t i = a.id + 1; i < m->mesh.n; i++)
        n *= m->mesh.at[i].size;
    return (uint32_t)n;
}

static int64_t mesh_coord(const Module *m, uint32_t device, MeshAxis a)
{
    return device / mesh_stride(m, a) % m->mesh.at[a.id].size;
}

int64_t group_coord(const Module *m, uint32_t device, const MeshAxis *over,
                    uint32_t n)
{
    int64_t c = 0;
    for (uint32_t i = 0; i < n; i++)
        c = c * m->mesh.at[over[i].id].size + mesh_coord(m, device, over[i]);
    return c;
}

uint32_t group_member(const Module *m, uint32_t device, const MeshAxis *over,
                      uint32_t n, int64_t coord)
{
    int64_t d = device;
    for (uint32_t i = n; i-- > 0;) {
        int64_t size = m->mesh.at[over[i].id].size;
        d += (coord % size - mesh_coord(m, device, over[i])) *
             (int64_t)mesh_stride(m, over[i]);
        coord /= size;
    }
    return (uint32_t)d;
}

static int64_t zig_logical(const Module *m, const TypeAxis *a, uint32_t device,
                           int64_t local)
{
    int64_t n = group_size(m, a->splits, a->nsplits);
    int64_t c = group_coord(m, device, a->splits, a->nsplits);
    int64_t part = (a->size + 2 * n - 1) / (2 * n);
    int64_t i =
        local < part ? c * part + local : (2 * n - 1 - c) * part + local - part;
    return i < a->size ? i : -1;
}

/* From the innermost level outwards: the offset in a part becomes one in the
 * whole that was cut. */
static int64_t block_logical(const Module *m, const TypeAxis *a, uint32_t level,
                             int64_t whole, uint32_t device, int64_t local)
{
    if (level == a->nsplits) return local;
    MeshAxis over = a->splits[level];
    int64_t n = m->mesh.at[over.id].size, part = (whole + n - 1) / n;
    int64_t i = block_logical(m, a, level + 1, part, device, local);
    if (i < 0) return -1;
    i += mesh_coord(m, device, over) * part;
    return i < whole ? i : -1;
}

int64_t axis_logical(const Module *m, const TypeAxis *a, uint32_t device,
                     int64_t local)
{
    if (a->spread == SPREAD_zig && a->nsplits)
        return zig_logical(m, a, device, local);
    return block_logical(m, a, 0, a->size, device, local);
}

/* ----------------------------------------- whole tensors and their parts -- */

/* Calls `each` with the offset of every element of one device's part and the
 * one it has in the whole; pads are passed over. */
typedef void Each(Tensor *local, int64_t at, Tensor *whole, int64_t from);

static void each_part(Module *m, Tensor *local, Tensor *whole, uint32_t device,
                      Each *each)
{
    const TypeInfo *info = type_info(m, local->type);
    for (int64_t i = 0; i < local->n; i++) {
        int64_t rest = i, from = 0, stride = 1;
        for (uint32_t k = info->naxes; k-- > 0 && from >= 0;) {
            const TypeAxis *a = &info->axes[k];
            int64_t n = local->ndevices == 1 ? a->size : type_local_size(m, a);
            int64_t at = local->ndevices == 1
                             ? rest % n
                             : axis_logical(m, a, device, rest % n);
            from = at < 0 ? -1 : from + at * stride;
            stride *= a->size;
            rest /= n;
        }
        if (from >= 0) each(local, (int64_t)device * local->n + i, whole, from);
    }
}

static void spread_each(Tensor *local, int64_t at, Tensor *whole, int64_t from)
{
    local->at[at] = whole->at[from];
}

static void sum_each(Tensor *local, int64_t at, Tensor *whole, int64_t from)
{
    whole->at[from].f += local->at[at].f;
}

static void sum_int_each(Tensor *local, int64_t at, Tensor *whole, int64_t from)
{
    whole->at[from].i += local->at[at].i;
}

static void max_each(Tensor *local, int64_t at, Tensor *whole, int64_t from)
{
    if (local->at[at].f > whole->at[from].f) whole->at[from] = local->at[at];
}

static void max_int_each(Tensor *local, int64_t at, Tensor *whole, int64_t from)
{
    if (local->at[at].i > whole->at[from].i) whole->at[from] = local->at[at];
}

static void copy_each(Tensor *local, int64_t at, Tensor *whole, int64_t from)
{
    whole->at[from] = local->at[at];
}

/* Where a value is pending, devices of its group are summed; where it is
 * replicated, one of them counts. */
static bool counts(const Module *m, const TypeInfo *info, uint32_t device)
{
    for (uint32_t k = 0; k < m->mesh.n; k++) {
        bool used = false;
        for (uint32_t i = 0; i < info->naxes; i++)
            for (uint32_t s = 0; s < info->axes[i].nsplits; s++)
                used |= info->axes[i].splits[s].id == k;
        for (uint32_t i = 0; i < info->npending; i++)
            used |= info->pending[i].id == k;
        if (!used && mesh_coord(m, device, (MeshAxis){k})) return false;
    }
    return true;
}

static Each *combiner(const TypeInfo *info)
{
    bool floats = dtype_class(info->dtype) == DC_float;
    if (!info->npending) return copy_each;
    if (info->pending_kind == PENDING_max)
        return floats ? max_each : max_int_each;
    return floats ? sum_each : sum_int_each;
}

/* What a pad holds nobody has said: something that would be noticed. */
static Cell pad_of(DType d)
{
    if (dtype_class(d) == DC_float) return (Cell){.f = NAN};
    return (Cell){.i = dtype_class(d) == DC_bool ? 1 : 3};
}

Tensor tensor_spread(Module *m, const Tensor *whole, Type t, Arena *arena)
{
    Tensor local = tensor_new(m, t, mesh_devices(m), arena), from = *whole;
    bool pending = type_info(m, t)->npending > 0;
    for (uint32_t d = 0; d < local.ndevices; d++) {
        const TypeInfo *info = type_info(m, t);
        if (pending && info->pending_kind == PENDING_sum &&
            group_coord(m, d, info->pending, info->npending))
            continue;
        for (int64_t i = 0; i < local.n; i++)
            local.at[(int64_t)d * local.n + i] = pad_of(info->dtype);
        each_part(m, &local, &from, d, spread_each);
    }
    return local;
}

Tensor tensor_whole(Module *m, const Tensor *local, Arena *arena)
{
    const TypeInfo *info = type_info(m, local->type);
    Tensor whole = tensor_new(m, local->type, 1, arena), from = *local;
    for (uint32_t d = 0; d < local->ndevices; d++) {
        if (!counts(m, info, d)) continue;
        bool later =
            info->npending && group_coord(m, d, info->pending, info->npending);
        each_part(m, &from, &whole, d, later ? combiner(info) : copy_each);
    }
    return whole;
}

Tensor port_spread(Module *m, const Port *p, const Tensor *whole, Arena *arena)
{
    Tensor local = tensor_spread(m, whole, port_whole(p), arena);
    local.type = p->type;
    return local;
}

Tensor port_gather(Module *m, const Port *p, const Tensor *local, Arena *arena)
{
    Tensor parts = *local;
    parts.type = port_whole(p);
    return tensor_whole(m, &parts, arena);
}
