/*
 * cuda_graph.c: an entry as CUDA graphs.
 *
 * The walk is captured; a host point of the list ends one graph and begins the
 * next.  So does a list on one stream that grows long, since the driver's time
 * and memory for a graph grow with its nodes; several streams meet only at
 * host points.  Where copies of the state are made, the update is a graph of
 * its own.  Nothing is allocated in a replay.
 */
#include "cuda_device.h"

#include <stdlib.h>

enum { MOST_NODES = 100000 };

typedef struct Capture {
    Cuda *c;
    CudaPlan *plan;
    const CudaWatch *watch;
    uint32_t nodes;
    bool open;
} Capture;

static TitanStatus begin(Capture *k)
{
    Cuda *c = k->c;
    CU_TRY(c, cuStreamBeginCapture(c->stream, CU_capture_relaxed));
    k->open = true;
    k->nodes = 0;
    return TITAN_OK;
}

static TitanStatus add_graph(Capture *k, CuGraph graph)
{
    Cuda *c = k->c;
    CudaPlan *p = k->plan;
    CuGraphExec *more =
        realloc(p->graphs, ((size_t)p->ngraphs + 1) * sizeof(CuGraphExec));
    if (!more) return titan_no_memory(c->story);
    p->graphs = more;
    CU_TRY(c, cuGraphInstantiate(&p->graphs[p->ngraphs], graph,
                                 CU_graph_node_priority));
    p->ngraphs++;
    size_t nodes = 0;
    CU_TRY(c, cuGraphGetNodes(graph, NULL, &nodes));
    p->nodes += nodes;
    return TITAN_OK;
}

static TitanStatus end(Capture *k)
{
    Cuda *c = k->c;
    CuGraph graph = NULL;
    k->open = false;
    CU_TRY(c, cuStreamEndCapture(c->stream, &graph));
    TitanStatus st = k->nodes > 0 ? add_graph(k, graph) : TITAN_OK;
    c->cu.cuGraphDestroy(graph);
    return st;
}

/* What is beside stream 0 comes back to it, as the other streams have; events
 * of one graph are none of the next. */
static TitanStatus cut(void *user)
{
    Capture *k = user;
    TRY(cuda_beside_join(k->c, 0));
    TRY(end(k));
    TRY(begin(k));
    cuda_beside_forget(k->c);
    return cuda_beside_begin(k->c, 0);
}

/* A copy of the state is waited for between two graphs. */
static TitanStatus cut_update(void *user)
{
    Capture *k = user;
    if (!k->c->stage.at || k->c->im->header->streams > 1) return TITAN_OK;
    TRY(cut(k));
    k->plan->update = k->plan->ngraphs;
    return TITAN_OK;
}

static TitanStatus count(void *user, const TitanCommand *cmd)
{
    Capture *k = user;
    if (k->nodes >= MOST_NODES && k->c->im->header->streams == 1) TRY(cut(k));
    k->nodes++;
    return k->watch ? k->watch->command(k->watch->user, cmd) : TITAN_OK;
}

TitanStatus cuda_capture(Cuda *c, const TitanEntry *e, const CudaWatch *w,
                         CudaPlan *out)
{
    *out = (CudaPlan){0};
    Capture k = {.c = c, .plan = out, .watch = w};
    CudaWatch watch = {
        .user = &k, .command = count, .segment = cut, .update = cut_update};
    TRY(begin(&k));
    TitanStatus st = cuda_walk(c, e, &watch);
    if (st == TITAN_OK) st = end(&k);
    if (st == TITAN_OK) {
        out->entry = e;
        return TITAN_OK;
    }
    CuGraph half = NULL;
    if (k.open) c->cu.cuStreamEndCapture(c->stream, &half);
    if (half) c->cu.cuGraphDestroy(half);
    cuda_plan_release(c, out);
    return st;
}

/* It waits until the queues of the GPU have room, which they get as other ranks
 * get on. */
static CuResult launch(Cuda *c, CuGraphExec graph)
{
    cuda_say_waits(c, true);
    CuResult r = c->cu.cuGraphLaunch(graph, c->stream);
    cuda_say_waits(c, false);
    return r;
}

TitanStatus cuda_replay(Cuda *c, const CudaPlan *p)
{
    for (uint32_t i = 0; i < p->ngraphs; i++) {
        if (i == p->update) TRY(cuda_hold(c));
        CuResult r = launch(c, p->graphs[i]);
        if (r != 0) return cu_fail(c->story, &c->cu, "cuGraphLaunch", r);
    }
    return TITAN_OK;
}

void cuda_plan_release(Cuda *c, CudaPlan *p)
{
    for (uint32_t i = 0; i < p->ngraphs; i++)
        c->cu.cuGraphExecDestroy(p->graphs[i]);
    free(p->graphs);
    *p = (CudaPlan){0};
}
