/*
 * cost.c: what a layout costs, in bytes that a device receives.
 *
 * Work counts as the bytes that a link carries in the time it takes, so that
 * nobody computes the same on all devices to save a small exchange.  Of two
 * layouts that move as much the one that is split more is better.
 */
#include <math.h>

#include "shard.h"

/* A collective, however small; what a byte costs that is copied in place; how
 * many bytes of memory pass, and how many operations are done, while a link
 * carries one byte. */
#define START           1.0
#define COPY            0.01
#define MEMORY_PER_LINK 12.0
#define WORK_PER_LINK   2000.0

static double from_whole(Where to, double bytes, double n)
{
    return where_is_axis(to) ? COPY * bytes / n : COPY * bytes;
}

static double from_pending(Where to, double bytes, double n)
{
    if (where_is_pending(to)) return INFINITY;
    double once = bytes * (n - 1) / n;
    return START + (to == WHERE_none ? 2 : 1) * once;
}

static double from_axis(Where to, double bytes, double n)
{
    double once = bytes * (n - 1) / n;
    if (where_is_axis(to)) return START + once / n;
    return START + once + (to == WHERE_none ? 0 : COPY * bytes);
}

double move_cost(const Shard *s, MeshAxis m, Where from, Where to, double bytes)
{
    double n = (double)mesh_length(s, m);
    if (from == to) return 0;
    if (from == WHERE_none) return from_whole(to, bytes, n);
    return where_is_pending(from) ? from_pending(to, bytes, n)
                                  : from_axis(to, bytes, n);
}

/* What the other mesh axes leave of a tensor on one device. */
static double bytes_of(const Shard *s, MeshAxis m, Type t, uint32_t node)
{
    double bytes = (double)type_elements(s->m, t) *
                   (double)dtype_bytes(type_dtype(s->m, t));
    for (uint32_t i = 0; i < s->m->mesh.n; i++) {
        MeshAxis o = {i};
        if (o.id == m.id || !where_is_axis(*where_at(s, o, node))) continue;
        bytes /= (double)mesh_length(s, o);
    }
    return bytes;
}

double raw_bytes(const Shard *s, MeshAxis m, uint32_t raw)
{
    return bytes_of(s, m, s->raws.at[raw].type, s->raws.at[raw].node);
}

double node_bytes(const Shard *s, MeshAxis m, uint32_t node)
{
    return bytes_of(s, m, s->nodes.at[node].type, node);
}

double item_work(const Shard *s, MeshAxis m, const Item *it)
{
    if (it->raw == NO_RAW) return 0;
    const Inst *in = inst_of(it->fn, it->v);
    double bytes = node_bytes(s, m, it->out);
    const AttrItem *sum =
        in->op == OP_einsum ? attr_get(s->m, in->attr, AT_sum) : NULL;
    if (!sum) return bytes / MEMORY_PER_LINK;
    double n = 2 * bytes / (double)dtype_bytes(type_dtype(s->m, in->type));
    for (uint32_t i = 0; i < sum->n; i++)
        n *= (double)type_size(
            s->m, value_type(it->fn, inst_arg(it->fn, in, 0)), sum->axes[i]);
    return n / WORK_PER_LINK;
}
