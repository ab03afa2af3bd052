/*
 * mincut.c: the cheapest way to come by what the sinks need.
 *
 * Maximum flow by Dinic's algorithm.  Each node becomes two vertices with an
 * arc of the price of saving it between them, and what making it again costs
 * stands on an arc from the start; arcs between nodes cannot be cut:
 *
 *     start -remake-> in(v) -save-> out(v) -> in(w) ... -> end
 *
 * out(v) on the side of the end says that v is needed, in(v) there that it is
 * made again, so that what it reads is needed too; the arcs that such a cut
 * parts are what it costs.  Vertices from which the end can still be reached
 * after the flow lie on the side of the sinks.
 */
#include "mincut.h"

#define UNCUT  (INT64_C(1) << 60)
#define MOST   (INT64_C(1) << 48) /* of one node: sums stay below UNCUT */
#define NO_ARC UINT32_MAX

typedef struct Arc {
    uint32_t to, next; /* next arc of the same vertex */
    int64_t room;
} Arc;

typedef struct Net {
    uint32_t nvertices, start, end;
    uint32_t *first, *at, *queue, *level;
    VEC(Arc) arcs; /* arc k and its reverse k ^ 1 */
} Net;

static uint32_t in_vertex(uint32_t node)
{
    return 2 * node;
}

static uint32_t out_vertex(uint32_t node)
{
    return 2 * node + 1;
}

static void add_arc(Arena *a, Net *net, uint32_t from, uint32_t to,
                    int64_t room)
{
    vec_push(a, &net->arcs, ((Arc){to, net->first[from], room}));
    net->first[from] = net->arcs.n - 1;
    vec_push(a, &net->arcs, ((Arc){from, net->first[to], 0}));
    net->first[to] = net->arcs.n - 1;
}

static int64_t room_of(int64_t cost)
{
    if (cost == INT64_MAX) return UNCUT;
    return cost < MOST ? cost : MOST;
}

static Net net_of(Arena *a, const CutGraph *g)
{
    Net net = {.nvertices = 2 * g->n + 2};
    net.start = 2 * g->n;
    net.end = 2 * g->n + 1;
    net.first = NEW_ARRAY(a, uint32_t, net.nvertices);
    net.at = NEW_ARRAY(a, uint32_t, net.nvertices);
    net.queue = NEW_ARRAY(a, uint32_t, net.nvertices);
    net.level = NEW_ARRAY(a, uint32_t, net.nvertices);
    for (uint32_t v = 0; v < net.nvertices; v++)
        net.first[v] = NO_ARC;
    for (uint32_t i = 0; i < g->n; i++) {
        const CutNode *node = &g->nodes[i];
        add_arc(a, &net, in_vertex(i), out_vertex(i), room_of(node->save));
        if (node->remake > 0)
            add_arc(a, &net, net.start, in_vertex(i), room_of(node->remake));
        if (node->sink) add_arc(a, &net, out_vertex(i), net.end, UNCUT);
    }
    for (uint32_t i = 0; i < g->nedges; i++)
        add_arc(a, &net, out_vertex(g->edges[i].from),
                in_vertex(g->edges[i].to), UNCUT);
    return net;
}

/* Distances from the start, 0 for what it does not reach. */
static bool find_levels(Net *net)
{
    for (uint32_t v = 0; v < net->nvertices; v++) {
        net->level[v] = 0;
        net->at[v] = net->first[v];
    }
    uint32_t head = 0, tail = 0;
    net->level[net->start] = 1;
    net->queue[tail++] = net->start;
    while (head < tail) {
        uint32_t v = net->queue[head++];
        for (uint32_t k = net->first[v]; k != NO_ARC;
             k = net->arcs.at[k].next) {
            const Arc *arc = &net->arcs.at[k];
            if (arc->room == 0 || net->level[arc->to]) continue;
            net->level[arc->to] = net->level[v] + 1;
            net->queue[tail++] = arc->to;
        }
    }
    return net->level[net->end] != 0;
}

/* One path from the start along rising levels; the vertices on the way are
 * kept in `queue` as arcs, so that depth costs no stack. */
static int64_t push_path(Net *net)
{
    uint32_t depth = 0, v = net->start;
    while (v != net->end) {
        uint32_t k = net->at[v];
        while (k != NO_ARC &&
               (net->arcs.at[k].room == 0 ||
                net->level[net->arcs.at[k].to] != net->level[v] + 1))
            k = net->arcs.at[k].next;
        net->at[v] = k;
        if (k != NO_ARC) {
            net->queue[depth++] = k;
            v = net->arcs.at[k].to;
            continue;
        }
        if (depth == 0) return 0;
        uint32_t back = net->queue[--depth];
        v = net->arcs.at[back ^ 1].to;
        net->at[v] = net->arcs.at[back].next;
    }
    int64_t flow = UNCUT;
    for (uint32_t i = 0; i < depth; i++) {
        int64_t room = net->arcs.at[net->queue[i]].room;
        if (room < flow) flow = room;
    }
    for (uint32_t i = 0; i < depth; i++) {
        net->arcs.at[net->queue[i]].room -= flow;
        net->arcs.at[net->queue[i] ^ 1].room += flow;
    }
    return flow;
}

/* Marks, in level, the vertices from which the end can be reached. */
static void find_below(Net *net)
{
    for (uint32_t v = 0; v < net->nvertices; v++)
        net->level[v] = 0;
    uint32_t head = 0, tail = 0;
    net->level[net->end] = 1;
    net->queue[tail++] = net->end;
    while (head < tail) {
        uint32_t v = net->queue[head++];
        for (uint32_t k = net->first[v]; k != NO_ARC;
             k = net->arcs.at[k].next) {
            uint32_t from = net->arcs.at[k].to;
            if (net->arcs.at[k ^ 1].room == 0 || net->level[from]) continue;
            net->level[from] = 1;
            net->queue[tail++] = from;
        }
    }
}

void mincut(Arena *a, const CutGraph *g, bool *cut, bool *below)
{
    Net net = net_of(a, g);
    while (find_levels(&net))
        while (push_path(&net) > 0)
            continue;
    find_below(&net);
    for (uint32_t i = 0; i < g->n; i++) {
        bool in = net.level[in_vertex(i)] != 0;
        bool out = net.level[out_vertex(i)] != 0;
        cut[i] = out && !in;
        below[i] = in;
    }
}

bool remade_cheaply(Op op)
{
    static const bool cheap[OP_count] = {
        [OP_map] = true,    [OP_rename] = true, [OP_split] = true,
        [OP_merge] = true,  [OP_slice] = true,  [OP_pick] = true,
        [OP_pad] = true,    [OP_concat] = true, [OP_stack] = true,
        [OP_window] = true, [OP_gather] = true, [OP_proj] = true,
    };
    return cheap[op];
}
