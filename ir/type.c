/*
 * type.c: types, interned.
 *
 * The axes of a type are a set: they are kept sorted by declaration, and so
 * are the pending mesh axes.  Sizes come from text that nobody has checked
 * when a type is made, so every product saturates.
 */
#include "ir.h"

#include <string.h>

enum { FEW_AXES = 16 };

/* ------------------------------------------------------------- interning -- */

static void sort_axes(TypeAxis *axes, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        TypeAxis a = axes[i];
        uint32_t j = i;
        for (; j > 0 && axes[j - 1].axis.id > a.axis.id; j--)
            axes[j] = axes[j - 1];
        axes[j] = a;
    }
}

static void sort_mesh(MeshAxis *mesh, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        MeshAxis a = mesh[i];
        uint32_t j = i;
        for (; j > 0 && mesh[j - 1].id > a.id; j--)
            mesh[j] = mesh[j - 1];
        mesh[j] = a;
    }
}

static uint64_t hash_list(const void *at, size_t n, size_t size, uint64_t h)
{
    return n ? hash_words(at, n * size, h) : h;
}

static uint64_t type_hash(const TypeInfo *t)
{
    uint64_t head[] = {t->dtype,    t->pending_kind, t->naxes,
                       t->npending, t->nfields,      t->is_tuple};
    uint64_t h = hash_words(head, sizeof head, 0);
    for (uint32_t i = 0; i < t->naxes; i++) {
        const TypeAxis *a = &t->axes[i];
        uint64_t axis[] = {a->axis.id, (uint64_t)a->size, a->nsplits,
                           a->spread};
        h = hash_words(axis, sizeof axis, h);
        h = hash_list(a->splits, a->nsplits, sizeof *a->splits, h);
    }
    h = hash_list(t->pending, t->npending, sizeof *t->pending, h);
    return hash_list(t->fields, t->nfields, sizeof *t->fields, h);
}

static bool list_same(const void *a, const void *b, size_t n, size_t size)
{
    return n == 0 || memcmp(a, b, n * size) == 0;
}

static bool axis_same(const TypeAxis *a, const TypeAxis *b)
{
    return a->axis.id == b->axis.id && a->size == b->size &&
           a->spread == b->spread && a->nsplits == b->nsplits &&
           list_same(a->splits, b->splits, a->nsplits, sizeof *a->splits);
}

static bool info_same(const TypeInfo *a, const TypeInfo *b)
{
    if (a->dtype != b->dtype || a->pending_kind != b->pending_kind ||
        a->naxes != b->naxes || a->npending != b->npending ||
        a->nfields != b->nfields || a->is_tuple != b->is_tuple)
        return false;
    for (uint32_t i = 0; i < a->naxes; i++)
        if (!axis_same(&a->axes[i], &b->axes[i])) return false;
    return list_same(a->pending, b->pending, a->npending, sizeof *a->pending) &&
           list_same(a->fields, b->fields, a->nfields, sizeof *a->fields);
}

static void *copy_list(Arena *a, const void *at, size_t n, size_t size)
{
    if (!n) return NULL;
    void *p = arena_array(a, n, size);
    memcpy(p, at, n * size);
    return p;
}

static TypeInfo info_copy(Module *m, const TypeInfo *t)
{
    TypeInfo c = *t;
    TypeAxis *axes = copy_list(m->arena, t->axes, t->naxes, sizeof *axes);
    for (uint32_t i = 0; i < t->naxes; i++)
        axes[i].splits = copy_list(m->arena, axes[i].splits, axes[i].nsplits,
                                   sizeof *axes[i].splits);
    c.axes = axes;
    c.pending =
        copy_list(m->arena, t->pending, t->npending, sizeof *t->pending);
    c.fields = copy_list(m->arena, t->fields, t->nfields, sizeof *t->fields);
    return c;
}

/* What module_init makes: 0 is no type, 1 the type of what is wrong. */
#define ERROR_TYPE ((Type){1})

/* T is sorted. */
static Type intern_sorted(Module *m, const TypeInfo *t)
{
    uint64_t h = type_hash(t);
    MapIter it;
    uint32_t id;
    for (bool ok = map_first(&m->type_map, h, &it, &id); ok;
         ok = map_next(&m->type_map, &it, &id))
        if (info_same(t, &m->types.at[id])) return (Type){id};
    TypeInfo made = info_copy(m, t);
    vec_push(m->arena, &m->types, made);
    map_add(&m->type_map, h, m->types.n - 1);
    return (Type){m->types.n - 1};
}

Type type_intern(Module *m, const TypeInfo *info)
{
    if (info->is_error) return ERROR_TYPE;
    TypeAxis few_axes[FEW_AXES], *axes = few_axes;
    MeshAxis few_mesh[FEW_AXES], *mesh = few_mesh;
    if (info->naxes > FEW_AXES)
        axes = NEW_ARRAY(m->scratch, TypeAxis, info->naxes);
    if (info->npending > FEW_AXES)
        mesh = NEW_ARRAY(m->scratch, MeshAxis, info->npending);
    TypeInfo t = *info;
    if (t.naxes) memcpy(axes, t.axes, t.naxes * sizeof *axes);
    if (t.npending) memcpy(mesh, t.pending, t.npending * sizeof *mesh);
    sort_axes(axes, t.naxes);
    sort_mesh(mesh, t.npending);
    t.axes = axes;
    t.pending = mesh;
    if (!t.npending) t.pending_kind = PENDING_none;
    return intern_sorted(m, &t);
}

/* -------------------------------------------------------------- making -- */

/* A copy of a type's content with room for `more` further axes. */
typedef struct Draft {
    TypeInfo t;
    TypeAxis few[FEW_AXES];
    TypeAxis *axes;
} Draft;

static void draft_of(Module *m, Draft *d, const TypeInfo *t, uint32_t more)
{
    d->t = *t;
    d->axes = d->few;
    if (t->naxes + more > FEW_AXES)
        d->axes = NEW_ARRAY(m->scratch, TypeAxis, t->naxes + more);
    if (t->naxes) memcpy(d->axes, t->axes, t->naxes * sizeof *d->axes);
    d->t.axes = d->axes;
}

Type type_tensor(Module *m, DType dtype, const TypeAxis *axes, uint32_t n)
{
    Draft d;
    draft_of(m, &d, &(TypeInfo){.dtype = dtype, .axes = axes, .naxes = n}, 0);
    for (uint32_t i = 0; i < n; i++)
        d.axes[i] = (TypeAxis){.axis = axes[i].axis, .size = axes[i].size};
    return type_intern(m, &d.t);
}

Type type_scalar(Module *m, DType d)
{
    return type_intern(m, &(TypeInfo){.dtype = d});
}

Type type_tuple(Module *m, const Type *fields, uint32_t n)
{
    TypeInfo t = {.is_tuple = true, .fields = fields, .nfields = n};
    return type_intern(m, &t);
}

static bool is_plain(const TypeInfo *t)
{
    return !t->is_error && !t->is_tuple;
}

Type type_with_dtype(Module *m, Type t, DType d)
{
    TypeInfo info = *type_info(m, t);
    if (!is_plain(&info) || info.dtype == d) return t;
    info.dtype = d;
    return intern_sorted(m, &info);
}

Type type_with_axis(Module *m, Type t, TypeAxis a)
{
    Draft d;
    const TypeInfo *info = type_info(m, t);
    if (!is_plain(info)) return t;
    draft_of(m, &d, info, 1);
    uint32_t i = 0;
    while (i < d.t.naxes && d.axes[i].axis.id != a.axis.id)
        i++;
    d.axes[i] = a;
    if (i == d.t.naxes) d.t.naxes++;
    return type_intern(m, &d.t);
}

bool axes_have(const Axis *axes, uint32_t n, Axis a)
{
    for (uint32_t i = 0; i < n; i++)
        if (axes[i].id == a.id) return true;
    return false;
}

bool mesh_axes_have(const MeshAxis *axes, uint32_t n, MeshAxis a)
{
    for (uint32_t i = 0; i < n; i++)
        if (axes[i].id == a.id) return true;
    return false;
}

bool type_axes_have(const TypeAxis *axes, uint32_t n, Axis a)
{
    for (uint32_t i = 0; i < n; i++)
        if (axes[i].axis.id == a.id) return true;
    return false;
}

Type type_without_axes(Module *m, Type t, const Axis *axes, uint32_t n)
{
    Draft d;
    const TypeInfo *info = type_info(m, t);
    if (!is_plain(info)) return t;
    draft_of(m, &d, info, 0);
    d.t.naxes = 0;
    for (uint32_t i = 0; i < info->naxes; i++)
        if (!axes_have(axes, n, info->axes[i].axis))
            d.axes[d.t.naxes++] = info->axes[i];
    return type_intern(m, &d.t);
}

Type type_without_axis(Module *m, Type t, Axis a)
{
    return type_without_axes(m, t, &a, 1);
}

Type type_renamed(Module *m, Type t, const Axis *from, const Axis *to,
                  uint32_t n)
{
    Draft d;
    const TypeInfo *info = type_info(m, t);
    if (!is_plain(info)) return t;
    draft_of(m, &d, info, 0);
    for (uint32_t i = 0; i < info->naxes; i++)
        for (uint32_t k = 0; k < n; k++)
            if (info->axes[i].axis.id == from[k].id) d.axes[i].axis = to[k];
    return type_intern(m, &d.t);
}

Type type_union(Module *m, Type a, Type b)
{
    Draft d;
    const TypeInfo *x = type_info(m, a), *y = type_info(m, b);
    if (!is_plain(x) || !is_plain(y)) return ERROR_TYPE;
    draft_of(m, &d, x, y->naxes);
    for (uint32_t i = 0; i < y->naxes; i++)
        if (!type_axis(m, a, y->axes[i].axis)) d.axes[d.t.naxes++] = y->axes[i];
    return type_intern(m, &d.t);
}

double einsum_flops(Module *m, const Fn *fn, const Inst *in)
{
    Type x = value_type(fn, inst_arg(fn, in, 0));
    Type y = value_type(fn, inst_arg(fn, in, 1));
    return 2 * (double)type_elements(m, type_union(m, x, y));
}

static Type local_tuple(Module *m, const TypeInfo *info)
{
    Type *fields = NEW_ARRAY(m->scratch, Type, (size_t)info->nfields + 1);
    const Type *old = info->fields;
    uint32_t n = info->nfields;
    for (uint32_t i = 0; i < n; i++)
        fields[i] = type_local(m, old[i]);
    return type_tuple(m, fields, n);
}

Type type_local(Module *m, Type t)
{
    Draft d;
    TypeInfo info = *type_info(m, t);
    if (info.is_tuple) return local_tuple(m, &info);
    if (!is_plain(&info)) return t;
    draft_of(m, &d, &info, 0);
    for (uint32_t i = 0; i < info.naxes; i++)
        d.axes[i] = (TypeAxis){.axis = info.axes[i].axis,
                               .size = type_local_size(m, &info.axes[i])};
    d.t.npending = 0;
    return type_intern(m, &d.t);
}

/* -------------------------------------------------------------- asking -- */

const TypeAxis *type_axis(const Module *m, Type t, Axis a)
{
    const TypeInfo *info = type_info(m, t);
    for (uint32_t i = 0; i < info->naxes; i++)
        if (info->axes[i].axis.id == a.id) return &info->axes[i];
    return NULL;
}

bool splits_same(const TypeAxis *a, const TypeAxis *b)
{
    if (a->nsplits != b->nsplits || a->spread != b->spread) return false;
    for (uint32_t i = 0; i < a->nsplits; i++)
        if (a->splits[i].id != b->splits[i].id) return false;
    return true;
}

int64_t type_size(const Module *m, Type t, Axis a)
{
    const TypeAxis *x = type_axis(m, t, a);
    return x ? x->size : 0;
}

/* The product of two counts, INT64_MAX when it is larger than that. */
static int64_t times(int64_t a, int64_t b)
{
    int64_t p;
    return __builtin_mul_overflow(a, b, &p) ? INT64_MAX : p;
}

int64_t type_local_size(const Module *m, const TypeAxis *a)
{
    int64_t parts = 1, each = a->spread == SPREAD_zig ? 2 : 1;
    for (uint32_t i = 0; i < a->nsplits; i++)
        parts = times(parts, m->mesh.at[a->splits[i].id].size);
    if (parts <= 1) return a->size;
    parts = times(parts, each);
    return each * (a->size / parts + (a->size % parts != 0));
}

AxisShare axis_share_cut(AxisShare x, int64_t parts)
{
    int64_t part = (x.first + parts - 1) / parts;
    int64_t before = times(parts - 1, part);
    return (AxisShare){part, x.last > before ? x.last - before : 0};
}

int64_t type_elements(const Module *m, Type t)
{
    const TypeInfo *info = type_info(m, t);
    int64_t n = 1;
    for (uint32_t i = 0; i < info->naxes; i++)
        n = times(n, info->axes[i].size);
    return n;
}

int64_t type_local_elements(const Module *m, Type t)
{
    const TypeInfo *info = type_info(m, t);
    int64_t n = 1;
    for (uint32_t i = 0; i < info->naxes; i++)
        n = times(n, type_local_size(m, &info->axes[i]));
    return n;
}

bool type_fits(const Module *m, Type t, View view)
{
    return type_elements(m, t) <= INT64_C(1) << 58 &&
           (view == VIEW_global || type_local_elements(m, t) <= INT64_C(1)
                                                                    << 56);
}

int64_t type_bytes(const Module *m, Type t)
{
    const TypeInfo *info = type_info(m, t);
    if (!info->is_tuple)
        return times(type_local_elements(m, t), dtype_bytes(info->dtype));
    int64_t sum = 0;
    for (uint32_t i = 0; i < info->nfields; i++)
        if (__builtin_add_overflow(sum, type_bytes(m, info->fields[i]), &sum))
            return INT64_MAX;
    return sum;
}
