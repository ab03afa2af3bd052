/*
 * cost.c: what a layout costs, in bytes that a device receives over the links
 * inside of a host.
 *
 * A byte that comes from another host counts as many times as that link is
 * slower, by the figures that steps are predicted with (machine.h): the group
 * of a collective says which link it is.  Where links are alike bytes count as
 * they are.  A collective counts as some bytes more (`least`), and not as all
 * that a link could carry until it begins: much of it is hidden, and what is
 * gathered once in front of a repeat, to begin less often, takes memory there.
 * Work counts as the bytes that a link carries in the time it takes, so that
 * nobody computes the same on all devices to save a small exchange.  Of two
 * layouts that move as much the one that is split more is better.
 *
 * A value is brought from one layout to another by the steps that `partition`
 * takes (partition/bring.c), in its order, so what each moves is what the steps
 * before it have left: of what becomes smaller first less is gathered, and a
 * split that is in the way of one that goes is gathered too.  Two that begin
 * with the same steps share these.
 */
#include <math.h>
#include <string.h>

#include "shard.h"

/* What a byte costs that is copied in place; how many bytes of memory pass, and
 * how many operations are done, while a link carries one byte. */
#define COPY            0.01
#define MEMORY_PER_LINK 12.0
#define WORK_PER_LINK   2000.0
/* times what it costs, to undo what a rule for all roles says */
#define STRICT 16.0

/* ---------------------------------------------------------------- links -- */

double link_cost(const Shard *s, double spread)
{
    return s->on.near / link_rate(&s->on, spread);
}

void links_find(Shard *s)
{
    CHECK(s->order.n <= 64);
    s->on = machine_of(s->m, s->cx);
    s->spread = NEW_ARRAY(s->a, double, (size_t)s->m->mesh.n + 1);
    for (uint32_t i = 0; i < s->m->mesh.n; i++)
        s->spread[i] = group_spread(s->m, &(MeshAxis){i}, 1);
    MeshAxis ranks;
    if (mesh_find(s->m, option_get(s->m, "rank-axis"), &ranks))
        s->between = link_cost(s, s->spread[ranks.id]);
    for (int i = 0; i < 2; i++)
        s->steps[i] = NEW_ARRAY(s->a, Step, (size_t)STEPS_OF_MESH * s->order.n);
}

/* ---------------------------------------------------------------- steps -- */

typedef struct Bring {
    const Move *x;
    Where *now; /* by mesh axis */
    double bytes;
    uint64_t otherwise; /* mesh axes: splits that have to go */
    Step *steps;
    uint32_t n;
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

static double spread_at(const Bring *b, uint32_t i)
{
    return b->x->s->spread[mesh_at(b, i).id];
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

/* What a step gathers once (held.c) is kept until its end. */
static double once(const Bring *b, Step s)
{
    bool is = b->x->once >> mesh_at(b, s.mesh).id & 1 &&
              where_is_axis(now_at(b, s.mesh)) &&
              to_at(b, s.mesh) == WHERE_none;
    return is ? b->x->share * (s.cost + KEPT * s.bytes) : s.cost;
}

static void put_step(Bring *b, Step s)
{
    CHECK(b->n < STEPS_OF_MESH * b->x->s->order.n);
    s.from = now_at(b, s.mesh);
    s.cost = once(b, s);
    b->steps[b->n++] = s;
    b->now[mesh_at(b, s.mesh).id] = s.to;
    b->otherwise &= ~(UINT64_C(1) << s.mesh);
}

/* Of a collective, what a mesh axis has of it; the FIRST has what any costs. */
static void pay(Bring *b, Step s, bool first)
{
    s.cost = link_cost(b->x->s, s.spread) * strict(b, s.mesh) * s.bytes;
    if (first) s.cost += b->x->s->on.least;
    put_step(b, s);
}

/* A copy in place makes the split. */
static void cut_to(Bring *b, uint32_t i, Where to)
{
    b->bytes /= length_of(b, i);
    put_step(b, (Step){.mesh = i, .to = to, .cost = COPY * b->bytes});
}

/* Blocks, or head and tail, as the splits that an axis has in a layout say. */
static bool is_spread_zig(const Bring *b, const Where *in, Where axis)
{
    bool zig = false;
    for (uint32_t i = 0; i < b->x->n; i++) {
        MeshAxis m = mesh_at(b, i);
        zig |= in[m.id] == axis && is_zig(b->x->s, m, axis_of_where(axis));
    }
    return zig;
}

/* The splits of axes that are spread in the other way than they will be. */
static uint64_t spread_otherwise(const Bring *b)
{
    uint64_t bits = 0;
    for (uint32_t i = 0; i < b->x->n; i++) {
        Where axis = from_at(b, i);
        bool is = where_is_axis(axis) && is_spread_zig(b, b->x->from, axis) !=
                                             is_spread_zig(b, b->x->to, axis);
        bits |= (uint64_t)is << i;
    }
    return bits;
}

static bool is_otherwise(const Bring *b, Where axis)
{
    for (uint32_t i = 0; i < b->x->n && b->otherwise; i++)
        if (now_at(b, i) == axis && b->otherwise >> i & 1) return true;
    return false;
}

/* How many of the splits that the axis has now it keeps: those with which both
 * lists begin.  Then the mesh axis that splits it next, if it keeps all; else
 * UINT32_MAX. */
static uint32_t next_split(const Bring *b, Where axis)
{
    uint32_t next = UINT32_MAX;
    if (is_otherwise(b, axis)) return UINT32_MAX;
    for (uint32_t i = 0; i < b->x->n; i++) {
        bool is = now_at(b, i) == axis, will = to_at(b, i) == axis;
        if (is && (!will || next != UINT32_MAX)) return UINT32_MAX;
        if (!is && will && next == UINT32_MAX) next = i;
    }
    return next;
}

/* The outermost split of an axis that has one too many; or UINT32_MAX. */
static uint32_t first_gone(const Bring *b, Where axis)
{
    bool keeps = !is_otherwise(b, axis);
    for (uint32_t i = 0; i < b->x->n; i++) {
        bool is = now_at(b, i) == axis, will = to_at(b, i) == axis;
        if (!is && will) keeps = false;
        if (is && (!will || !keeps)) return i;
    }
    return UINT32_MAX;
}

/* The innermost one. */
static uint32_t last_gone(const Bring *b, Where axis)
{
    uint32_t last = first_gone(b, axis);
    for (uint32_t i = last; i < b->x->n; i++)
        if (now_at(b, i) == axis) last = i;
    return last;
}

/* What is pending over mesh axis I becomes the next split of its axis, in one
 * step with all behind it that do; how far they are spread. */
static bool is_scattered(const Bring *b, uint32_t i)
{
    Where to = to_at(b, i);
    return where_is_pending(now_at(b, i)) && where_is_axis(to) &&
           next_split(b, to) == i;
}

static double scatter_spread(const Bring *b, uint32_t i)
{
    double spread = 0;
    for (uint32_t k = i; k < b->x->n; k++) {
        if (to_at(b, k) != to_at(b, i)) continue;
        if (!where_is_pending(now_at(b, k))) break;
        spread += spread_at(b, k);
    }
    return spread;
}

/* reduce_scatter: over the fastest link first, as less is left for others. */
static bool scatter(Bring *b)
{
    uint32_t best = UINT32_MAX;
    double least = INFINITY, spread = 0;
    for (uint32_t i = 0; i < b->x->n; i++) {
        if (!is_scattered(b, i)) continue;
        double own = scatter_spread(b, i), cost = link_cost(b->x->s, own);
        bool later =
            best != UINT32_MAX && mesh_at(b, i).id > mesh_at(b, best).id;
        if (cost > least || (cost >= least && later)) continue;
        best = i;
        least = cost;
        spread = own;
    }
    if (best == UINT32_MAX) return false;
    Where to = to_at(b, best);
    for (uint32_t i = best; i < b->x->n; i++) {
        if (to_at(b, i) != to) continue;
        if (!where_is_pending(now_at(b, i))) break;
        double n = length_of(b, i);
        double moved = b->bytes * (n - 1) / n;
        pay(b, (Step){i, 0, to, spread, moved, 0}, i == best);
        b->bytes /= n;
    }
    return true;
}

/* cut: what is nowhere becomes the next split. */
static bool cut(Bring *b)
{
    for (uint32_t i = 0; i < b->x->n; i++) {
        Where to = to_at(b, i);
        if (now_at(b, i) != WHERE_none || !where_is_axis(to) ||
            next_split(b, to) != i)
            continue;
        cut_to(b, i, to);
        return true;
    }
    return false;
}

static bool is_turned(const Bring *b, uint32_t i)
{
    Where now = now_at(b, i), to = to_at(b, i);
    return where_is_axis(now) && where_is_axis(to) && now != to &&
           last_gone(b, now) == i && next_split(b, to) == i;
}

/* all_to_all. */
static bool turn(Bring *b)
{
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < b->x->n; i++)
        if ((best == UINT32_MAX || mesh_at(b, i).id < mesh_at(b, best).id) &&
            is_turned(b, i))
            best = i;
    if (best == UINT32_MAX) return false;
    double n = length_of(b, best), moved = b->bytes * (n - 1) / n;
    pay(b, (Step){best, 0, to_at(b, best), spread_at(b, best), moved, 0}, true);
    return true;
}

static bool is_made(const Bring *b, uint32_t i)
{
    return where_is_pending(now_at(b, i)) && !where_is_pending(to_at(b, i));
}

/* all_reduce, over all mesh axes over which a sum is to be made. */
static bool make(Bring *b)
{
    double n = 1, sum = 0, spread = 0;
    for (uint32_t i = 0; i < b->x->n; i++) {
        if (!is_made(b, i)) continue;
        n *= length_of(b, i);
        sum += length_of(b, i) - 1;
        spread += spread_at(b, i);
    }
    double moved = 2 * b->bytes * (n - 1) / n;
    bool first = true;
    for (uint32_t i = 0; i < b->x->n && n > 1; i++) {
        if (!is_made(b, i)) continue;
        double part = moved * (length_of(b, i) - 1) / sum;
        pay(b, (Step){i, 0, WHERE_none, spread, part, 0}, first);
        first = false;
    }
    return n > 1;
}

/* Splits of an axis that go at once, innermost first. */
typedef struct Gone {
    uint32_t first, last, id; /* the last one's */
    bool moves;               /* another axis is to have one */
    double spread, cost, members;
} Gone;

/* All that go; or one where another axis is to have one of them, which may then
 * be moved. */
static Gone gone(const Bring *b, uint32_t last)
{
    Where axis = now_at(b, last);
    Gone g = {.first = first_gone(b, axis), .last = last};
    g.id = mesh_at(b, last).id;
    for (uint32_t i = g.first; i <= last; i++)
        g.moves |= now_at(b, i) == axis && where_is_axis(to_at(b, i)) &&
                   to_at(b, i) != axis;
    if (g.moves) g.first = last;
    g.members = 1;
    for (uint32_t i = g.first; i <= last; i++) {
        if (now_at(b, i) != axis) continue;
        g.spread += spread_at(b, i);
        g.members *= length_of(b, i);
    }
    g.cost = link_cost(b->x->s, g.spread);
    return g;
}

static bool goes_before(const Gone *a, const Gone *b)
{
    if (a->cost < b->cost || b->cost < a->cost) return a->cost > b->cost;
    if (a->moves != b->moves) return b->moves;
    if (a->members < b->members || b->members < a->members)
        return a->members < b->members;
    return a->id < b->id;
}

/* all_gather: over the slowest link first, while there is little; then what no
 * other axis waits for, and over few devices. */
static bool gather(Bring *b)
{
    Gone g = {.cost = 0};
    for (uint32_t i = b->x->n; i-- > 0;) {
        Where axis = now_at(b, i);
        if (!where_is_axis(axis) || last_gone(b, axis) != i) continue;
        Gone own = gone(b, i);
        if (goes_before(&own, &g)) g = own;
    }
    if (!(g.cost > 0)) return false;
    Where axis = now_at(b, g.last);
    for (uint32_t i = g.last + 1; i-- > g.first;) {
        if (now_at(b, i) != axis) continue;
        double moved = b->bytes * (length_of(b, i) - 1);
        pay(b, (Step){i, 0, WHERE_none, g.spread, moved, 0}, i == g.last);
        b->bytes *= length_of(b, i);
    }
    return true;
}

/* What has no step: zeros that others add to, and what cannot be pending. */
static double declared(const Bring *b)
{
    double cost = 0;
    for (uint32_t i = 0; i < b->x->n; i++) {
        Where now = now_at(b, i), to = to_at(b, i);
        if (now == to) continue;
        cost += where_is_pending(now) ? INFINITY : COPY * b->bytes;
    }
    return cost;
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

static bool stays(const Move *x)
{
    bool same = true;
    for (uint32_t i = 0; i < x->n && same; i++) {
        MeshAxis m = x->s->order.at[i];
        same = x->from[m.id] == x->to[m.id];
    }
    return same;
}

/* The steps, in the K-th list of the pass. */
static Bring bring(const Move *x, int k)
{
    const Shard *s = x->s;
    Bring b = {.x = x, .now = s->now, .steps = s->steps[k]};
    b.bytes = on_device(x);
    b.otherwise = spread_otherwise(&b);
    memcpy(s->now, x->from, s->m->mesh.n * sizeof *s->now);
    while (cut(&b) || scatter(&b) || turn(&b) || make(&b) || gather(&b))
        ;
    return b;
}

double move_cost(const Move *x)
{
    if (mixes_kinds(x)) return INFINITY;
    if (stays(x)) return 0;
    Bring b = bring(x, 0);
    double cost = declared(&b);
    for (uint32_t i = 0; i < b.n; i++)
        cost += b.steps[i].cost;
    return cost;
}

static bool same_step(const Step *a, const Step *b)
{
    return a->mesh == b->mesh && a->from == b->from && a->to == b->to &&
           a->spread == b->spread && a->cost == b->cost;
}

double moves_share(const Move *x, const Move *y, uint32_t *steps)
{
    *steps = 0;
    if (stays(x) || stays(y)) return 0;
    Bring a = bring(x, 0), b = bring(y, 1);
    double cost = 0;
    while (*steps < a.n && *steps < b.n &&
           same_step(&a.steps[*steps], &b.steps[*steps]))
        cost += a.steps[(*steps)++].cost;
    return cost;
}

void move_bytes(const Move *x, uint32_t from, double *over)
{
    if (stays(x)) return;
    Bring b = bring(x, 0);
    for (uint32_t i = from; i < b.n; i++)
        over[mesh_at(&b, b.steps[i].mesh).id] += b.steps[i].bytes;
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
