/*
 * cuda_beside.c: kernels of the runtime that a stream does not wait for.
 *
 * What is copied within a GPU, and what is added, is the work of kernels, which
 * wait for processors while a product has them all; what their stream has to do
 * next, which is to move something between GPUs, needs none.  So they go to a
 * stream of their own beside, behind what was put on the stream before, and are
 * waited for by signals, and by what has to do with their bytes.
 */
#include "cuda_device.h"

#include <stdlib.h>

enum { MOST = 64 }; /* that may be on their way */

/* What a kernel writes, and what it reads. */
typedef struct Use {
    CudaBytes to, from[2];
} Use;

/* Of a stream; kernel i of all is at i % MOST, so is the event behind it. */
typedef struct Beside {
    CuStream on; /* NULL: not asked for yet */
    CuEvent begin, end;
    CuEvent done[MOST];
    Use uses[MOST];
    uint32_t first, next; /* [first, next) may be on their way */
} Beside;

struct CudaBeside {
    Beside streams[TITAN_MOST_STREAMS];
};

TitanStatus cuda_beside_open(Cuda *c, uint32_t stream)
{
    int least, greatest;
    if (!c->beside) c->beside = calloc(1, sizeof *c->beside);
    if (!c->beside) return titan_no_memory(c->story);
    Beside *b = &c->beside->streams[stream];
    CU_TRY(c, cuCtxGetStreamPriorityRange(&least, &greatest));
    CU_TRY(c, cuStreamCreateWithPriority(&b->on, CU_stream_non_blocking,
                                         greatest));
    CU_TRY(c, cuEventCreate(&b->begin, CU_event_no_timing));
    CU_TRY(c, cuEventCreate(&b->end, CU_event_no_timing));
    for (int i = 0; i < MOST; i++)
        CU_TRY(c, cuEventCreate(&b->done[i], CU_event_no_timing));
    return TITAN_OK;
}

/* NULL: none was made on it. */
static Beside *beside_of(const Cuda *c, uint32_t stream)
{
    Beside *b = c->beside ? &c->beside->streams[stream] : NULL;
    return b && b->next != b->first ? b : NULL;
}

/* All before number N are done when the stream goes on. */
static TitanStatus wait_for(Cuda *c, uint32_t stream, uint32_t n)
{
    Beside *b = &c->beside->streams[stream];
    CU_TRY(c,
           cuStreamWaitEvent(c->streams[stream], b->done[(n - 1) % MOST], 0));
    b->first = n;
    cuda_profile_joins(c, stream);
    return TITAN_OK;
}

TitanStatus cuda_beside_begin(Cuda *c, uint32_t stream)
{
    Beside *b = c->beside ? &c->beside->streams[stream] : NULL;
    if (b) CU_TRY(c, cuEventRecord(b->begin, c->streams[stream]));
    return TITAN_OK;
}

static TitanStatus begin(Cuda *c, uint32_t stream)
{
    Beside *b = &c->beside->streams[stream];
    if (b->next - b->first == MOST) TRY(wait_for(c, stream, b->first + 1));
    CU_TRY(c, cuStreamWaitEvent(b->on, b->begin, 0));
    return TITAN_OK;
}

static TitanStatus end(Cuda *c, uint32_t stream, const Use *use)
{
    Beside *b = &c->beside->streams[stream];
    CU_TRY(c, cuEventRecord(b->done[b->next % MOST], b->on));
    b->uses[b->next++ % MOST] = *use;
    return TITAN_OK;
}

TitanStatus cuda_beside_copy(Cuda *c, uint32_t stream, CuPtr to, CuPtr from,
                             size_t bytes)
{
    Use use = {.to = {to, bytes}, .from = {{from, bytes}}};
    if (to == from || bytes == 0) return TITAN_OK;
    TRY(begin(c, stream));
    cuda_profile_copies(c, stream, false);
    CU_TRY(c, cuMemcpyAsync(to, from, bytes, c->beside->streams[stream].on));
    cuda_profile_copies(c, stream, true);
    return end(c, stream, &use);
}

TitanStatus cuda_beside_sum(Cuda *c, uint32_t stream, const CudaSumArgs *a)
{
    CuStream on = c->beside->streams[stream].on;
    size_t bytes = a->count * cuda_sums_bytes(a->kind);
    Use use = {.to = {a->to, bytes},
               .from = {{a->mine, bytes}, {a->from, (a->n - 1) * a->pitch}}};
    if (bytes == 0) return TITAN_OK;
    TRY(begin(c, stream));
    TRY(cuda_profile_adds(c, stream, on, false));
    TRY(cuda_sums_add(c, a, on));
    TRY(cuda_profile_adds(c, stream, on, true));
    return end(c, stream, &use);
}

TitanStatus cuda_beside_await(Cuda *c, uint32_t stream, CudaBytes what,
                              bool written)
{
    const Beside *b = beside_of(c, stream);
    for (uint32_t n = b ? b->next : 0; b && n != b->first; n--) {
        const Use *use = &b->uses[(n - 1) % MOST];
        bool reads = cuda_bytes_meet(what, use->from[0]) ||
                     cuda_bytes_meet(what, use->from[1]);
        if (cuda_bytes_meet(what, use->to) || (written && reads))
            return wait_for(c, stream, n);
    }
    return TITAN_OK;
}

TitanStatus cuda_beside_reach(Cuda *c, uint32_t stream, CudaBytes what,
                              uint32_t other, bool *known)
{
    const Beside *b = beside_of(c, stream);
    *known = false;
    for (uint32_t n = b ? b->next : 0; b && n != b->first; n--) {
        CudaBytes to = b->uses[(n - 1) % MOST].to;
        if (to.at != what.at || to.n != what.n) continue;
        *known = true;
        CU_TRY(c, cuStreamWaitEvent(c->streams[other], b->done[(n - 1) % MOST],
                                    0));
        break;
    }
    return TITAN_OK;
}

TitanStatus cuda_beside_join(Cuda *c, uint32_t stream)
{
    const Beside *b = beside_of(c, stream);
    return b ? wait_for(c, stream, b->next) : TITAN_OK;
}

TitanStatus cuda_beside_signal(Cuda *c, uint32_t stream, CuEvent event)
{
    Beside *b = beside_of(c, stream);
    CuStream on = c->streams[stream];
    if (b) {
        CU_TRY(c, cuEventRecord(b->end, on));
        CU_TRY(c, cuStreamWaitEvent(b->on, b->end, 0));
        on = b->on;
    }
    CU_TRY(c, cuEventRecord(event, on));
    return TITAN_OK;
}

void cuda_beside_forget(Cuda *c)
{
    for (uint32_t i = 0; c->beside && i < TITAN_MOST_STREAMS; i++)
        c->beside->streams[i].first = c->beside->streams[i].next;
}

bool cuda_beside_done(const Cuda *c)
{
    for (uint32_t i = 0; c->beside && i < TITAN_MOST_STREAMS; i++)
        if (c->beside->streams[i].on &&
            c->cu.cuStreamQuery(c->beside->streams[i].on) == CU_error_not_ready)
            return false;
    return true;
}

static void close_beside(Cuda *c, Beside *b)
{
    for (int i = 0; i < MOST; i++)
        if (b->done[i]) c->cu.cuEventDestroy(b->done[i]);
    if (b->end) c->cu.cuEventDestroy(b->end);
    if (b->begin) c->cu.cuEventDestroy(b->begin);
    if (b->on) c->cu.cuStreamDestroy(b->on);
}

void cuda_beside_close(Cuda *c)
{
    for (uint32_t i = 0; c->beside && i < TITAN_MOST_STREAMS; i++)
        close_beside(c, &c->beside->streams[i]);
    free(c->beside);
    c->beside = NULL;
}
