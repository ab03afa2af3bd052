/*
 * cuda_device.c: a GPU as a device of the runtime.
 *
 * Made in an order in which each step tells what it needs: driver, GPU of the
 * kind that the image is compiled for, context, cuBLASLt, memory, kernels,
 * whose PTX is compiled beside all that.  The arena is one allocation, zeroed
 * once; whether it fits is known before.
 */
#include "cuda_device.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------- GPU -- */

typedef struct Capability {
    int major, minor;
} Capability;

static Capability needed(const TitanImage *im)
{
    bool blackwell = im->header->target == TITAN_TARGET_sm_100a;
    return blackwell ? (Capability){10, 0} : (Capability){9, 0};
}

/* Kernels with an `a` at the end of their target run on this capability and
 * on no other. */
static TitanStatus check_capability(Cuda *c)
{
    Capability need = needed(c->im), have;
    CU_TRY(c, cuDeviceGetAttribute(&have.major, CU_attribute_major, c->gpu));
    CU_TRY(c, cuDeviceGetAttribute(&have.minor, CU_attribute_minor, c->gpu));
    if (have.major == need.major && have.minor == need.minor) return TITAN_OK;
    return titan_fail(c->story, TITAN_UNAVAILABLE,
                      "the step is compiled for sm_%d%da, a GPU of compute "
                      "capability %d.%d; %s here has %d.%d",
                      need.major, need.minor, need.major, need.minor, c->name,
                      have.major, have.minor);
}

/* A collective holds up all devices: it is given processors first, as they
 * fall free. */
static TitanStatus open_stream(Cuda *c, uint32_t stream)
{
    const TitanImage *im = c->im;
    int least, greatest;
    bool talks = false;
    for (uint32_t i = 0; i < im->ncommands; i++)
        talks |= im->commands[i].kind == TITAN_COMMAND_collective &&
                 im->commands[i].stream == stream;
    CU_TRY(c, cuCtxGetStreamPriorityRange(&least, &greatest));
    CU_TRY(c, cuStreamCreateWithPriority(&c->streams[stream],
                                         CU_stream_non_blocking,
                                         talks ? greatest : least));
    return TITAN_OK;
}

static TitanStatus open_streams(Cuda *c)
{
    const TitanHeader *h = c->im->header;
    for (uint32_t i = 0; i < h->streams; i++)
        TRY(open_stream(c, i));
    c->stream = c->streams[0];
    c->events = calloc((size_t)h->events + 1, sizeof *c->events);
    if (!c->events) return titan_no_memory(c->story);
    for (uint32_t i = 0; i < h->events; i++)
        CU_TRY(c, cuEventCreate(&c->events[i], CU_event_no_timing));
    return TITAN_OK;
}

static void close_streams(Cuda *c)
{
    for (uint32_t i = 0; c->events && i < c->im->header->events; i++)
        if (c->events[i]) c->cu.cuEventDestroy(c->events[i]);
    for (uint32_t i = 0; i < TITAN_MOST_STREAMS; i++)
        if (c->streams[i]) c->cu.cuStreamDestroy(c->streams[i]);
    free(c->events);
}

/* CUDA_VISIBLE_DEVICES says which one is the first. */
static TitanStatus find_gpu(Cuda *c)
{
    int n = 0;
    CU_TRY(c, cuInit(0));
    CU_TRY(c, cuDeviceGetCount(&n));
    if (n == 0)
        return titan_fail(c->story, TITAN_UNAVAILABLE,
                          "no GPU is visible to the CUDA driver");
    if (c->rank.local >= (uint32_t)n)
        return titan_fail(c->story, TITAN_UNAVAILABLE,
                          "rank %" PRIu32 " needs a GPU of its own, number "
                          "%" PRIu32 " of this machine, and %d "
                          "%s visible",
                          c->rank.rank, c->rank.local, n,
                          n == 1 ? "is" : "are");
    CU_TRY(c, cuDeviceGet(&c->gpu, (int)c->rank.local));
    CU_TRY(c, cuDeviceGetName(c->name, sizeof c->name, c->gpu));
    return check_capability(c);
}

static TitanStatus open_gpu(Cuda *c)
{
    size_t available, total;
    CU_TRY(c, cuDevicePrimaryCtxRetain(&c->context, c->gpu));
    CU_TRY(c, cuCtxSetCurrent(c->context));
    CU_TRY(c, cuMemGetInfo(&available, &total));
    c->before = total - available;
    return open_streams(c);
}

/* --------------------------------------------------------------- entries -- */

static CudaPlan *plan_of(Cuda *c, const TitanEntry *e)
{
    return &c->plans[e - c->im->entries];
}

static TitanStatus prepare(TitanDevice *d, const TitanEntry *e)
{
    Cuda *c = (Cuda *)d;
    CudaPlan *p = plan_of(c, e);
    if (p->entry || cuda_has_while(c->im, e)) return TITAN_OK;
    cuda_say(c, NULL);
    TRY(cuda_gemm_tune(c, e));
    cuda_say(c, "matrix products");
    if (c->options.sync) return TITAN_OK;
    TRY(cuda_capture(c, e, NULL, p));
    char text[64];
    snprintf(text, sizeof text, "graphs, %zu nodes", p->nodes);
    cuda_say(c, text);
    cuda_say_memory(c);
    return TITAN_OK;
}

/* The first launch of a plan, whose graphs go to the GPU with it. */
static TitanStatus replay(Cuda *c, CudaPlan *p)
{
    bool first = !p->launched;
    p->launched = true;
    if (first) cuda_say(c, NULL);
    TRY(cuda_replay(c, p));
    if (first) cuda_say(c, "the first launch");
    return TITAN_OK;
}

static TitanStatus run(TitanDevice *d, const TitanEntry *e)
{
    Cuda *c = (Cuda *)d;
    CudaPlan *p = plan_of(c, e);
    cuda_profile_rest(c);
    TRY(cuda_next_turn(c));
    if (p->entry) return replay(c, p);
    TRY(cuda_hold(c));
    return cuda_walk(c, e, NULL);
}

/* ---------------------------------------------------------------- device -- */

/* Releases what there is of a device, also of one half made. */
static void release(TitanDevice *d)
{
    Cuda *c = (Cuda *)d;
    cuda_ranks_leave(c);
    /* all streams: memory of others is unmapped while the GPU goes on */
    if (c->context) c->cu.cuCtxSynchronize();
    cuda_profile_free(c);
    cuda_scan_close(c);
    cuda_stage_close(c);
    for (uint32_t i = 0; c->plans && i < c->im->nentries; i++)
        cuda_plan_release(c, &c->plans[i]);
    cuda_ranks_close(c);
    cuda_gemm_close(c);
    cuda_io_close(c);
    cuda_memory_close(c);
    cuda_unload(c);
    cuda_unguard(c);
    close_streams(c);
    if (c->context && !c->stays) c->cu.cuDevicePrimaryCtxRelease(c->gpu);
    free(c->plans);
    free(c->functions);
    free(c->args);
    free(c->params);
    free(c->maps);
    free(c);
}

static const DeviceClass cuda_class = {.write = cuda_write,
                                       .read = cuda_read,
                                       .prepare = prepare,
                                       .run = run,
                                       .watch = cuda_watch,
                                       .keep = cuda_keep,
                                       .kept = cuda_kept,
                                       .stage_open = cuda_stage_open,
                                       .stage = cuda_stage,
                                       .staged = cuda_staged,
                                       .scan = cuda_scan,
                                       .profile = cuda_profile,
                                       .profiled = cuda_profiled,
                                       .profile_table = cuda_profile_table,
                                       .profile_write = cuda_profile_write,
                                       .free = release};

/* "NVIDIA H200, CUDA 13.0, cubin loaded in 0.4 ms, reserve 320 MiB" */
static TitanStatus describe(Cuda *c, const char *how)
{
    int version = 0;
    size_t available, total;
    char ranks[80], parts[256];
    Reserve r;
    TRY(cuda_reserve(c, cuda_peers_groups(c), &r));
    reserve_about(&r, parts, sizeof parts);
    cuda_ranks_about(c, ranks, sizeof ranks);
    CU_TRY(c, cuDriverGetVersion(&version));
    CU_TRY(c, cuMemGetInfo(&available, &total));
    c->device.memory_bytes = (double)total;
    c->device.peak_flops = cuda_peak_flops(c);
    snprintf(c->device.about, sizeof c->device.about,
             "%s, CUDA %d.%d, %s, reserve %.0f MiB%s", c->name, version / 1000,
             version % 1000 / 10, how, (double)reserve_sum(&r) / 1048576.0,
             ranks);
    if (c->options.verbose)
        fprintf(stderr, "rank %" PRIu32 ": reserve: %s\n", c->rank.rank, parts);
    return TITAN_OK;
}

static TitanStatus open_device(Cuda *c, const TitanCode *code)
{
    char how[128];
    cuda_say(c, NULL);
    c->plans = calloc((size_t)c->im->nentries + 1, sizeof *c->plans);
    if (!c->plans) return titan_no_memory(c->story);
    if (!c->options.guard) device_guard_begin(&c->own_guard, c->im, code);
    TRY(cu_open(c->story, &c->cu));
    TRY(find_gpu(c));
    cuda_say(c, "driver");
    TRY(cuda_load_begin(c, code));
    TRY(open_gpu(c));
    cuda_say(c, "context");
    TRY(cuda_gemm_open(c));
    cuda_say(c, "cuBLASLt");
    TRY(cuda_ranks_begin(c));
    TRY(cuda_memory_open(c));
    TRY(cuda_io_open(c));
    cuda_say(c, "memory");
    TRY(cuda_load(c, code, how, sizeof how));
    cuda_say(c, "kernels");
    TRY(cuda_ranks_open(c));
    cuda_say(c, "ranks");
    return describe(c, how);
}

TitanStatus device_cuda_new(TitanStory *story, const TitanImage *im,
                            const TitanCode *code, const DeviceOptions *o,
                            TitanDevice **out)
{
    Cuda *c = calloc(1, sizeof *c);
    if (!c) return titan_no_memory(story);
    c->device = (TitanDevice){.class = &cuda_class, .story = story, .lag = 1};
    c->story = story;
    c->im = im;
    c->options = *o;
    if (o->rank) c->rank = *o->rank;
    c->device.rank = c->rank.rank;
    *out = &c->device;
    TitanStatus st = open_device(c, code);
    if (st == TITAN_OK || o->rank) return st;
    release(&c->device);
    *out = NULL;
    return st;
}
