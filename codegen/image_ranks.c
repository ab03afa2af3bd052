/*
 * image_ranks.c: what an image says of several ranks: the mesh, groups of
 * ranks, collectives, and what a rank holds of slots and ports.
 *
 * A program for several ranks has a mesh, and all mesh axes are levels of it in
 * their order, so that ranks are numbered as the interpreter numbers devices.
 * That which the ranks of a pipeline are along has one index in the module, as
 * a stage is compiled without it; the option `rank-axis` names it.
 * On a mesh of one device all of these tables are empty.
 */
#include "image.h"

#include <string.h>

/* The mesh axis that stages go over. */
static MeshAxis stage_axis(const Module *m)
{
    MeshAxis a = {0};
    bool found = mesh_find(m, option_get(m, "rank-axis"), &a);
    CHECK(found);
    return a;
}

/* The mesh axis has another size than those before it; or NULL. */
static const char *uneven(const Module *m, const char *first, int64_t n,
                          MeshAxis a)
{
    long long size = (long long)m->mesh.at[a.id].size;
    if (!first || size == n) return NULL;
    return arena_printf(m->arena, "%s has %lld devices and %s %lld", first,
                        (long long)n, mesh_name(m, a), size);
}

Rehearsal rehearsal_of(const Module *m)
{
    Rehearsal out = {.plays = 1};
    const char *first = NULL;
    int64_t n = 1;
    MeshAxis stages;
    for (uint32_t i = 0; i < m->mesh.n && !out.why; i++) {
        int64_t size = m->mesh.at[i].size;
        if (size == 1) continue;
        bool fits = size <= UINT32_MAX / out.plays;
        out.plays = fits ? out.plays * (uint32_t)size : UINT32_MAX;
        out.why = uneven(m, first, n, (MeshAxis){i});
        first = mesh_name(m, (MeshAxis){i});
        n = size;
    }
    if (!out.why && mesh_find(m, option_get(m, "rank-axis"), &stages))
        out.why = "the stages of a pipeline are different programs";
    if (!out.why && !first) out.why = "it is for one device";
    if (!out.why) out.ranks = (uint32_t)n;
    return out;
}

/* All mesh axes are one row of it.  Of more devices than there is room for
 * their number is no power of the ranks', so the image is not taken. */
static void rehearsal_mesh(ImageTables *t, const Rehearsal *r)
{
    const Module *m = t->m;
    Buf name = {0};
    for (uint32_t i = 0; i < m->mesh.n; i++)
        buf_printf(&name, "%s%s", i ? " " : "", mesh_name(m, (MeshAxis){i}));
    t->rehearses = r->plays;
    t->ranks = r->ranks;
    TitanMeshAxis row = {.name = image_text(t, name.at), .size = r->ranks};
    vec_push(t->a, &t->mesh, row);
    buf_release(&name);
}

void image_mesh(ImageTables *t, const Rehearsal *rehearsal)
{
    const Module *m = t->m;
    if (rehearsal->ranks) {
        rehearsal_mesh(t, rehearsal);
        return;
    }
    uint64_t ranks = t->stages.n;
    if (t->stages.n > 1) t->stage_mesh = stage_axis(m).id;
    for (uint32_t i = 0; i < m->mesh.n; i++)
        ranks *= (uint64_t)m->mesh.at[i].size;
    t->ranks = (uint32_t)ranks;
    for (uint32_t i = 0; i < m->mesh.n && ranks > 1; i++) {
        TitanMeshAxis row = {.name = image_string(t, m->mesh.at[i].name),
                             .size = (uint32_t)m->mesh.at[i].size};
        if (t->stages.n > 1 && i == t->stage_mesh) row.size = t->stages.n;
        vec_push(t->a, &t->mesh, row);
    }
}

static bool same_group(const ImageTables *t, uint32_t group,
                       const AttrItem *over)
{
    TitanRange axes = t->over_of.at[group];
    if (axes.n != over->n) return false;
    for (uint32_t i = 0; i < over->n; i++)
        if (t->over.at[axes.first + i].id != over->mesh[i].id) return false;
    return true;
}

uint32_t image_group(ImageTables *t, const AttrItem *over)
{
    for (uint32_t i = 0; i < t->groups.n; i++)
        if (same_group(t, i, over)) return i;
    Buf name = {0};
    TitanRange axes = {t->over.n, over->n};
    TitanGroup g = {.levels = {t->levels.n, t->rehearses ? 1 : over->n}};
    for (uint32_t i = 0; i < over->n; i++) {
        TitanLevel level = {t->rehearses ? 0 : over->mesh[i].id};
        buf_printf(&name, "%s%s", i ? ", " : "",
                   mesh_name(t->m, over->mesh[i]));
        vec_push(t->a, &t->over, over->mesh[i]);
        if (i < g.levels.n) vec_push(t->a, &t->levels, level);
    }
    g.name = image_text(t, name.at);
    buf_release(&name);
    vec_push(t->a, &t->over_of, axes);
    vec_push(t->a, &t->groups, g);
    return t->groups.n - 1;
}

static TitanCollectiveKind kind_of(Op op)
{
    switch (op) {
    case OP_all_gather:
        return TITAN_COLLECTIVE_all_gather;
    case OP_reduce_scatter:
        return TITAN_COLLECTIVE_reduce_scatter;
    case OP_all_reduce:
        return TITAN_COLLECTIVE_all_reduce;
    case OP_all_to_all:
        return TITAN_COLLECTIVE_all_to_all;
    default:
        return TITAN_COLLECTIVE_permute;
    }
}

static uint32_t add_collective(ImageTables *t, TitanCollective row)
{
    for (uint32_t i = 0; i < t->collectives.n; i++)
        if (!memcmp(&t->collectives.at[i], &row, sizeof row)) return i;
    vec_push(t->a, &t->collectives, row);
    return t->collectives.n - 1;
}

uint32_t image_collective(ImageTables *t, const Fn *group, Layout from)
{
    Module *m = t->m;
    const Inst *in = group_collective(group);
    const AttrItem *over = attr_get(m, in->attr, AT_over);
    int64_t n = group_size(m, over->mesh, over->n), shift;
    bool each = in->op == OP_reduce_scatter || in->op == OP_all_to_all;
    shift = attr_int(m, in->attr, AT_shift, 0) % n;
    TitanCollective row = {
        .kind = kind_of((Op)in->op),
        .dtype = type_dtype(m, from.type),
        .reduce = attr_is(m, in->attr, AT_kind, "max") ? TITAN_REDUCE_max
                                                       : TITAN_REDUCE_sum,
        .group = image_group(t, over),
        .count = type_elements(m, from.type) / (each ? n : 1),
        .shift = (int32_t)(shift < 0 ? shift + n : shift)};
    if (in->op == OP_all_to_all)
        row.steps = (uint32_t)attr_int(m, in->attr, AT_steps, 1);
    return add_collective(t, row);
}

uint32_t image_message(ImageTables *t, const Fn *group, Layout what)
{
    Module *m = t->m;
    const Inst *in = group_collective(group);
    MeshAxis stages = stage_axis(m);
    AttrItem over = {.key = AT_over, .n = 1, .mesh = &stages};
    TitanCollective row = {.kind = in->op == OP_send ? TITAN_COLLECTIVE_send
                                                     : TITAN_COLLECTIVE_receive,
                           .dtype = type_dtype(m, what.type),
                           .group = image_group(t, &over),
                           .count = type_elements(m, what.type),
                           .peer = (uint32_t)attr_int(m, in->attr, AT_peer, 0),
                           .channel =
                               (uint32_t)attr_int(m, in->attr, AT_channel, 0)};
    return add_collective(t, row);
}

/* ---------------------------------------------------------------- parts -- */

TitanRange image_whole_axes(ImageTables *t, Layout l, Type whole)
{
    TitanRange r = image_axes(t, l);
    Axis *order = NEW_ARRAY(t->a, Axis, (size_t)r.n + 1);
    layout_order(t->m, l, order);
    for (uint32_t i = 0; i < r.n; i++)
        t->axes.at[r.first + i].size = type_size(t->m, whole, order[i]);
    return r;
}

void image_part(ImageTables *t, Layout l, Type whole, TitanPart part)
{
    uint32_t n = type_info(t->m, l.type)->naxes;
    Axis *order = NEW_ARRAY(t->a, Axis, (size_t)n + 1);
    layout_order(t->m, l, order);
    part.splits.first = t->splits.n;
    for (uint32_t i = 0; i < n; i++) {
        const TypeAxis *a = type_axis(t->m, whole, order[i]);
        for (uint32_t k = 0; k < a->nsplits; k++) {
            TitanSplit s = {.axis = i};
            if (!t->rehearses) s.mesh = a->splits[k].id;
            s.spread =
                a->spread == SPREAD_zig ? TITAN_SPREAD_zig : TITAN_SPREAD_block;
            vec_push(t->a, &t->splits, s);
        }
    }
    part.splits.n = t->splits.n - part.splits.first;
    vec_push(t->a, &t->parts, part);
}

uint64_t image_whole_place(ImageTables *t, TitanBase base, Type whole)
{
    uint64_t at = (t->whole_bytes[base] + 255) & ~UINT64_C(255);
    uint64_t bytes = (uint64_t)type_elements(t->m, whole) *
                     dtype_bytes(type_dtype(t->m, whole));
    t->whole_bytes[base] = at + bytes;
    return at;
}
