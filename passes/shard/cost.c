/*
 * cost.c: what a layout costs, in bytes that a device receives.
 *
 * Work counts as the bytes that a link carries in the time it takes, so that
 * nobody computes the same on all devices to save a small exchange.  Of two
 * layouts that move as much the one that is split more is better.
 *
 * A value is brought from one layout to another by the steps that `partition`
 * takes (partition/bring.c), in its order, so what each moves is what the steps
 * before it have left: of what becomes smaller first less is gathered, and a
 * split that is in the way of one that goes is gathered too.
 */
#include <math.h>
#include <string.h>

#include "shard.h"

/* A collective, however small; what a byte costs that is copied in place; how
 * many bytes of memory pass, and how many operations are done, while a link
 * carries one byte. */
#define START           1.0
#define COPY            0.01
#define MEMORY_PER_LINK 12.0
#define WORK_PER_LINK   2000.0
/* times what it costs, to undo what a rule for all roles says */
#define STRICT 16.0

/* ---------------------------------------------------------------- steps -- */

typedef struct Bring {
    const Move *x;
    Where *now; /* by mesh axis */
    double bytes, cost;
    double *over; /* or NULL */
} Bring;

static MeshAxis mesh_at(const Bring *b, uint32_t i)
{
    return b->x->s->order.at[i];
}

static Where now_at(const Bring *b, uint32_t i)
{
    return b->now[mesh_at(b, i).id];
}

static Where from_at(const Bring *b, uint32_t i)
{
    return b->x->from[mesh_at(b, i).id];
}

static Where to_at(const Bring *b, uint32_t i)
{
    return b->x->to[mesh_at(b, i).id];
}

static double length_of(const Bring *b, uint32_t i)
{
    return (double)mesh_length(b->x->s, mesh_at(b, i));
}

/* What the rules split wherever it is used is taken apart for a good reason
 * only. */
static double strict(const Bring *b, uint32_t i)
{
    Where from = from_at(b, i);
    bool is = where_is_axis(from) && to_at(b, i) != from &&
              *used_at(b->x->s, mesh_at(b, i), b->x->node) == from;
    return is ? STRICT : 1;
}

/* A step over mesh axis I, in which a device receives so much. */
static void pay(Bring *b, uint32_t i, double bytes)
{
    b->cost += START + strict(b, i) * bytes;
    if (b->over) b->over[mesh_at(b, i).id] += bytes;
}

/* Where a copy in place makes a split, or zeros that others add to. */
static void copy(Bring *b, double bytes)
{
    b->cost += COPY * bytes;
}

/* How many of the splits that the axis has now it keeps: those with which both
 * lists begin.  Then the mesh axis that splits it next, if it keeps all; else
 * UINT32_MAX. */
static uint32_t next_split(const Bring *b, Where axis)
{
    uint32_t next = UINT32_MAX;
    for (uint32_t i = 0; i < b->x->n; i++) {
        bool is = now_at(b, i) == axis, will = to_at(b, i) == axis;
        if (is && (!will || next != UINT32_MAX)) return UINT32_MAX;
        if (!is && will && next == UINT32_MAX) next = i;
    }
    return next;
}

/* The innermost split of an axis that has one too many; or UINT32_MAX. */
static uint32_t last_split(const Bring *b, Where axis)
{
    uint32_t last = UINT32_MAX;
    bool keeps = true;
    for (uint32_t i = 0; i < b->x->n; i++) {
        bool is = now_at(b, i) == axis, will = to_at(b, i) == axis;
        if (!is && will) keeps = false;
        if (is && (!will || !keeps)) {
            keeps = false;
            last = i;
        }
    }
    return last;
}

/* reduce_scatter, or cut: what is pending or nowhere becomes the next split. */
static bool part(Bring *b, bool pending)
{
    for (uint32_t i = 0; i < b->x->n; i++) {
        Where now = now_at(b, i), to = to_at(b, i);
        bool is = pending ? where_is_pending(now) : now == WHERE_none;
        if (!is || !where_is_axis(to) || next_split(b, to) != i) continue;
        double n = length_of(b, i);
        if (pending)
            pay(b, i, b->bytes * (n - 1) / n);
        else
            copy(b, b->bytes / n);
        b->bytes /= n;
        b->now[mesh_at(b, i).id] = to;
        return true;
    }
    return false;
}

/* all_to_all. */
static bool turn(Bring *b)
{
    for (uint32_t i = 0; i < b->x->n; i++) {
        Where now = now_at(b, i), to = to_at(b, i);
        if (!where_is_axis(now) || !where_is_axis(to) || now == to ||
            last_split(b, now) != i || next_split(b, to) != i)
            continue;
        double n = length_of(b, i);
        pay(b, i, b->bytes * (n - 1) / n);
        b->now[mesh_at(b, i).id] = to;
        return true;
    }
    return false;
}

static bool is_made(const Bring *b, uint32_t i)
{
    return where_is_pending(now_at(b, i)) && !where_is_pending(to_at(b, i));
}

/* all_reduce, over all mesh axes over which a sum is to be made. */
static bool make(Bring *b)
{
    double n = 1, sum = 0;
    for (uint32_t i = 0; i < b->x->n; i++) {
        if (!is_made(b, i)) continue;
        n *= length_of(b, i);
        sum += length_of(b, i) - 1;
    }
    for (uint32_t i = 0; i < b->x->n && n > 1; i++) {
        if (!is_made(b, i)) continue;
        pay(b, i, 2 * b->bytes * (n - 1) / n * (length_of(b, i) - 1) / sum);
        b->now[mesh_at(b, i).id] = WHERE_none;
    }
    return n > 1;
}

/* all_gather, of the axis whose innermost split is innermost. */
static bool gather(Bring *b)
{
    for (uint32_t i = b->x->n; i-- > 0;) {
        if (!where_is_axis(now_at(b, i)) || last_split(b, now_at(b, i)) != i)
            continue;
        pay(b, i, b->bytes * (length_of(b, i) - 1));
        b->bytes *= length_of(b, i);
        b->now[mesh_at(b, i).id] = WHERE_none;
        return true;
    }
    return false;
}

static void declare(Bring *b)
{
    for (uint32_t i = 0; i < b->x->n; i++)
        if (now_at(b, i) != to_at(b, i)) copy(b, b->bytes);
}

static double on_device(const Move *x)
{
    double bytes = x->bytes;
    for (uint32_t i = 0; i < x->s->order.n; i++) {
        MeshAxis m = x->s->order.at[i];
        if (where_is_axis(x->from[m.id])) bytes /= (double)mesh_length(x->s, m);
    }
    return bytes;
}

/* What is pending in one kind is to be pending in the other, over these mesh
 * axes or others: no reshard does that (RH3). */
static bool mixes_kinds(const Move *x)
{
    bool has[2][2] = {{false}}; /* before and behind, sums and maxima */
    for (uint32_t i = 0; i < x->n; i++) {
        uint32_t m = x->s->order.at[i].id;
        has[0][x->from[m] == WHERE_max] |= where_is_pending(x->from[m]);
        has[1][x->to[m] == WHERE_max] |= where_is_pending(x->to[m]);
    }
    return (has[0][0] && has[1][1]) || (has[0][1] && has[1][0]);
}

static double bring(const Move *x, double *over)
{
    const Shard *s = x->s;
    bool same = true;
    if (mixes_kinds(x)) return INFINITY;
    for (uint32_t i = 0; i < x->n && same; i++)
        same = x->from[s->order.at[i].id] == x->to[s->order.at[i].id];
    if (same) return 0;
    Bring b = {.x = x, .now = s->now, .over = over, .bytes = on_device(x)};
    memcpy(s->now, x->from, s->m->mesh.n * sizeof *s->now);
    while (part(&b, true) || part(&b, false) || turn(&b) || make(&b) ||
           gather(&b))
        ;
    declare(&b);
    return b.cost;
}

double move_cost(const Move *x)
{
    return bring(x, NULL);
}

void move_bytes(const Move *x, double *over)
{
    bring(x, over);
}

/* ----------------------------------------------------------------- work -- */

double item_work(const Shard *s, const Item *it)
{
    if (it->raw == NO_RAW) return 0;
    const Inst *in = inst_of(it->fn, it->v);
    double bytes = s->nodes.at[it->out].bytes;
    const AttrItem *sum =
        in->op == OP_einsum ? attr_get(s->m, in->attr, AT_sum) : NULL;
    if (!sum) return bytes / MEMORY_PER_LINK;
    double n = 2 * bytes / (double)dtype_bytes(type_dtype(s->m, in->type));
    for (uint32_t i = 0; i < sum->n; i++)
        n *= (double)type_size(
            s->m, value_type(it->fn, inst_arg(it->fn, in, 0)), sum->axes[i]);
    return n / WORK_PER_LINK;
}
