/*
 * cuda_memory.c: the memory of a GPU: the arena, what lies beside it, and what
 * that may be.
 */
#include "cuda_device.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "engines.h"

static double gib(uint64_t bytes)
{
    return (double)bytes / 1073741824.0;
}

ReserveAsk cuda_reserve_ask(const Cuda *c, const bool *engines)
{
    return (ReserveAsk){.im = c->im,
                        .rank = c->rank.rank,
                        .engines = engines,
                        .in_order = c->options.rank_order,
                        .context = c->before};
}

TitanStatus cuda_reserve(const Cuda *c, const bool *engines, Reserve *out)
{
    ReserveAsk ask = cuda_reserve_ask(c, engines);
    return reserve_of(&ask, out) ? TITAN_OK : titan_no_memory(c->story);
}

TitanStatus cuda_memory_check(Cuda *c, uint64_t more, const Reserve *r)
{
    uint64_t arena = stage_of(c->im, c->rank.rank)->arena_bytes,
             reserve = reserve_sum(r);
    size_t available, total;
    char parts[256];
    CU_TRY(c, cuMemGetInfo(&available, &total));
    if (more <= available) return TITAN_OK;
    reserve_about(r, parts, sizeof parts);
    return titan_fail(c->story, TITAN_UNAVAILABLE,
                      "the step needs %.2f GiB, an arena of %.2f and a "
                      "reserve of %.2f beside it (%s); %s has %.2f free of "
                      "%.2f, and %.2f more are needed",
                      gib(arena + reserve), gib(arena), gib(reserve), parts,
                      c->name, gib(available), gib(total), gib(more));
}

/* Where copy engines bring what they can, unless nobody lets them: that is the
 * least; what is really so is known when the others are there. */
static TitanStatus check_memory(Cuda *c)
{
    bool *engines = calloc((size_t)c->im->ngroups + 1, sizeof *engines);
    Reserve r;
    if (!engines) return titan_no_memory(c->story);
    for (uint32_t g = 0; g < c->im->ngroups; g++)
        engines[g] = !c->options.nccl_alone && engines_use(c->im, g);
    TitanStatus st = cuda_reserve(c, engines, &r);
    free(engines);
    TRY(st);
    uint64_t arena = stage_of(c->im, c->rank.rank)->arena_bytes;
    return cuda_memory_check(c, arena + reserve_sum(&r) - r.context, &r);
}

/* By all programs; 0: not known. */
static size_t bytes_in_use(Cuda *c)
{
    size_t available, total;
    if (!c->context || c->cu.cuMemGetInfo(&available, &total)) return 0;
    return total - available;
}

void cuda_say_memory(Cuda *c)
{
    if (!c->options.verbose) return;
    double used = (double)bytes_in_use(c) -
                  (double)stage_of(c->im, c->rank.rank)->arena_bytes;
    fprintf(stderr,
            "beside the arena: %.0f MiB of the GPU, other programs "
            "included\n",
            used / 1048576.0);
}

void cuda_say(Cuda *c, const char *what)
{
    if (!c->options.verbose) return;
    double now = seconds_now() * 1e3;
    size_t used = bytes_in_use(c);
    if (what)
        fprintf(stderr,
                "rank %" PRIu32
                ": %s: %.1f ms, %+.1f MiB, %.1f MiB of the GPU in use\n",
                c->rank.rank, what, now - c->said,
                ((double)used - (double)c->said_used) / 1048576.0,
                (double)used / 1048576.0);
    c->said = now;
    c->said_used = used;
}

/* Pages are of 2 MiB; a size that is no multiple is opened by other ranks in
 * pages of 64 or 4 KiB, which takes them seconds, and memory for their tables.
 */
static size_t whole_pages(uint64_t bytes)
{
    const size_t page = (size_t)2 << 20;
    return bytes ? ((size_t)bytes + page - 1) / page * page : page;
}

static TitanStatus alloc_arena(Cuda *c)
{
    const TitanStage *s = stage_of(c->im, c->rank.rank);
    size_t bytes = whole_pages(s->arena_bytes);
    TRY(cuda_shared_alloc(c, bytes, &c->whole));
    c->arena = c->whole.at;
    c->arena_bytes = bytes;
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

TitanStatus cuda_memory_open(Cuda *c)
{
    TRY(check_memory(c));
    TRY(alloc_arena(c));
    TRY(alloc_host(c));
    cuda_say(c, "arena");
    for (uint32_t i = 0; i < c->im->header->streams; i++) {
        size_t bytes = (size_t)cuda_gemm_workspace(c->im, i);
        if (bytes) CU_TRY(c, cuMemAlloc(&c->workspace[i], bytes));
    }
    cuda_say(c, "workspaces");
    return TITAN_OK;
}

void cuda_memory_close(Cuda *c)
{
    for (uint32_t i = 0; i < TITAN_MOST_STREAMS; i++)
        if (c->workspace[i]) c->cu.cuMemFree(c->workspace[i]);
    cuda_shared_free(c, &c->whole);
    if (c->host) cuda_unpin(c, c->host, c->host_bytes);
}
