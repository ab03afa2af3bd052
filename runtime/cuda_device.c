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

#include "clock.h"

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

/* ---------------------------------------------------------------- memory -- */

/* What the driver takes for graphs and what libraries load, at most. */
#define MARGIN (UINT64_C(256) << 20)

static double gib(uint64_t bytes)
{
    return (double)bytes / 1073741824.0;
}

/* Bytes beside the arena. */
static uint64_t reserve_of(const Cuda *c)
{
    uint64_t bytes = MARGIN + cuda_ranks_reserve(c);
    for (uint32_t i = 0; i < c->im->header->streams; i++)
        bytes += cuda_gemm_workspace(c->im, i);
    return bytes;
}

static TitanStatus check_memory(Cuda *c)
{
    size_t available, total;
    uint64_t arena = stage_of(c->im, c->rank.rank)->arena_bytes,
             reserve = reserve_of(c);
    CU_TRY(c, cuMemGetInfo(&available, &total));
    if (arena + reserve <= available) return TITAN_OK;
    return titan_fail(c->story, TITAN_UNAVAILABLE,
                      "the step needs %.2f GiB, an arena of %.2f and a "
                      "reserve of %.2f for libraries and driver; %s has %.2f "
                      "free of %.2f",
                      gib(arena + reserve), gib(arena), gib(reserve), c->name,
                      gib(available), gib(total));
}

/* By all programs; 0: not known. */
static size_t bytes_in_use(Cuda *c)
{
    size_t available, total;
    if (!c->context || c->cu.cuMemGetInfo(&available, &total)) return 0;
    return total - available;
}

/* With --verbose: what is really used beside the arena. */
static void say_memory(Cuda *c)
{
    if (!c->options.verbose) return;
    double used = (double)bytes_in_use(c) -
                  (double)stage_of(c->im, c->rank.rank)->arena_bytes;
    fprintf(stderr,
            "beside the arena: %.0f MiB of the GPU, other programs "
            "included\n",
            used / 1048576.0);
}

static TitanStatus alloc_arena(Cuda *c)
{
    const TitanStage *s = stage_of(c->im, c->rank.rank);
    size_t bytes = s->arena_bytes ? (size_t)s->arena_bytes : 256;
    CU_TRY(c, cuMemAlloc(&c->arena, bytes));
    CU_TRY(c, cuMemsetD8Async(c->arena, 0, bytes, c->stream));
    for (int b = 0; b <= TITAN_BASE_lane; b++)
        c->base[b] = c->arena + stage_base_at(s, (TitanBase)b);
    return TITAN_OK;
}

/* Pinned, so that the GPU copies from it and to it beside its kernels, which
 * reach it as well. */
static TitanStatus alloc_host(Cuda *c)
{
    uint64_t bytes = stage_of(c->im, c->rank.rank)->base_bytes[TITAN_BASE_host];
    uint64_t available = host_available();
    if (bytes == 0) return TITAN_OK;
    if (available && bytes > available)
        return titan_fail(c->story, TITAN_UNAVAILABLE,
                          "the plan offloads %.2f GiB to the memory of the "
                          "host, which has %.2f GiB available",
                          gib(bytes), gib(available));
    TitanStatus st = cuda_pin(c, (size_t)bytes, &c->host);
    if (st != TITAN_OK)
        return titan_while(c->story, st,
                           "pinning %.2f GiB of host memory for what the plan "
                           "offloads; ulimit -l may be too low",
                           gib(bytes));
    c->host_bytes = (size_t)bytes;
    c->base[TITAN_BASE_host] = (CuPtr)(uintptr_t)c->host;
    return TITAN_OK;
}

static TitanStatus alloc_memory(Cuda *c)
{
    TRY(check_memory(c));
    TRY(alloc_arena(c));
    TRY(alloc_host(c));
    for (uint32_t i = 0; i < c->im->header->streams; i++) {
        size_t bytes = (size_t)cuda_gemm_workspace(c->im, i);
        if (bytes) CU_TRY(c, cuMemAlloc(&c->workspace[i], bytes));
    }
    return TITAN_OK;
}

/* With --verbose: what the start spends its time on. */
static void say(Cuda *c, const char *what, double *since)
{
    double at = seconds_now() * 1e3;
    if (c->options.verbose && what)
        fprintf(stderr, "%s: %.1f ms, %.0f MiB of the GPU in use\n", what,
                at - *since, (double)bytes_in_use(c) / 1048576.0);
    *since = at;
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
    TRY(cuda_gemm_tune(c, e));
    if (c->options.sync) return TITAN_OK;
    double since;
    say(c, NULL, &since);
    TRY(cuda_capture(c, e, NULL, p));
    say(c, "graphs", &since);
    say_memory(c);
    return TITAN_OK;
}

static TitanStatus run(TitanDevice *d, const TitanEntry *e)
{
    Cuda *c = (Cuda *)d;
    CudaPlan *p = plan_of(c, e);
    TRY(cuda_next_turn(c));
    if (p->entry) return cuda_replay(c, p);
    TRY(cuda_hold(c));
    return cuda_walk(c, e, NULL);
}

/* ---------------------------------------------------------------- device -- */

/* Releases what there is of a device, also of one half made. */
static void release(TitanDevice *d)
{
    Cuda *c = (Cuda *)d;
    cuda_ranks_leave(c);
    if (c->stream) c->cu.cuStreamSynchronize(c->stream);
    cuda_profile_free(c);
    cuda_scan_close(c);
    cuda_stage_close(c);
    for (uint32_t i = 0; c->plans && i < c->im->nentries; i++)
        cuda_plan_release(c, &c->plans[i]);
    cuda_ranks_close(c);
    cuda_gemm_close(c);
    cuda_io_close(c);
    for (uint32_t i = 0; i < TITAN_MOST_STREAMS; i++)
        if (c->workspace[i]) c->cu.cuMemFree(c->workspace[i]);
    if (c->arena) c->cu.cuMemFree(c->arena);
    if (c->host) cuda_unpin(c, c->host, c->host_bytes);
    cuda_unload(c);
    close_streams(c);
    if (c->context) c->cu.cuDevicePrimaryCtxRelease(c->gpu);
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
                                       .profile_write = cuda_profile_write,
                                       .free = release};

/* "NVIDIA H200, CUDA 13.0, cubin loaded in 0.4 ms, reserve 320 MiB" */
static TitanStatus describe(Cuda *c, const char *how)
{
    int version = 0;
    size_t available, total;
    char ranks[80];
    cuda_ranks_about(c, ranks, sizeof ranks);
    CU_TRY(c, cuDriverGetVersion(&version));
    CU_TRY(c, cuMemGetInfo(&available, &total));
    c->device.memory_bytes = (double)total;
    c->device.peak_flops = cuda_peak_flops(c);
    snprintf(c->device.about, sizeof c->device.about,
             "%s, CUDA %d.%d, %s, reserve %.0f MiB%s", c->name, version / 1000,
             version % 1000 / 10, how,
             (double)(reserve_of(c) + c->before) / 1048576.0, ranks);
    return TITAN_OK;
}

static TitanStatus open_device(Cuda *c, const TitanCode *code)
{
    char how[128];
    double since;
    say(c, NULL, &since);
    c->plans = calloc((size_t)c->im->nentries + 1, sizeof *c->plans);
    if (!c->plans) return titan_no_memory(c->story);
    TRY(cu_open(c->story, &c->cu));
    TRY(find_gpu(c));
    say(c, "driver", &since);
    TRY(cuda_load_begin(c, code));
    TRY(open_gpu(c));
    say(c, "context", &since);
    TRY(cuda_gemm_open(c));
    say(c, "cuBLASLt", &since);
    TRY(cuda_ranks_begin(c));
    TRY(alloc_memory(c));
    TRY(cuda_io_open(c));
    say(c, "memory", &since);
    TRY(cuda_load(c, code, how, sizeof how));
    say(c, "kernels", &since);
    TRY(cuda_ranks_open(c));
    say(c, "ranks", &since);
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
    TitanStatus st = open_device(c, code);
    if (st != TITAN_OK) {
        release(&c->device);
        return st;
    }
    *out = &c->device;
    return TITAN_OK;
}
