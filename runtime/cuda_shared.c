/*
 * cuda_shared.c: memory of a GPU that the GPUs of other ranks reach.
 *
 * Ranks that are processes open it by handles between processes.  Threads of
 * one process have each other's addresses, but the driver copies between two
 * GPUs that it knows by those in a queue of its own, one for all streams of the
 * GPU that asks: what one stream asks for waits behind a copy of another
 * stream, which waits for a word that only comes behind the first.  So such
 * memory is made without an address, and each GPU that reaches it has it at one
 * of its own, where copies stand in their streams alone.
 */
#include "cuda_device.h"

/* For the GPU of C alone; 0: it could not be reached. */
static CuPtr map(const Cuda *c, CuMemory memory, size_t bytes)
{
    CuMemoryAccess mine = {.place = {CU_place_device, c->gpu},
                           .flags = CU_access_read_write};
    CuPtr at = 0;
    if (c->cu.cuMemAddressReserve(&at, bytes, 0, 0, 0) != 0) return 0;
    if (c->cu.cuMemMap(at, bytes, 0, memory, 0) == 0) {
        if (c->cu.cuMemSetAccess(at, bytes, &mine, 1) == 0) return at;
        c->cu.cuMemUnmap(at, bytes);
    }
    c->cu.cuMemAddressFree(at, bytes);
    return 0;
}

static void unmap(const Cuda *c, CuPtr at, size_t bytes)
{
    c->cu.cuMemUnmap(at, bytes);
    c->cu.cuMemAddressFree(at, bytes);
}

TitanStatus cuda_shared_alloc(Cuda *c, size_t bytes, CudaShared *out)
{
    CuMemoryKind kind = {.type = CU_memory_pinned,
                         .place = {CU_place_device, c->gpu}};
    *out = (CudaShared){.bytes = bytes};
    if (c->rank.threads) {
        CuResult r = c->cu.cuMemCreate(&out->memory, bytes, &kind, 0);
        if (r != 0 && r != CU_error_not_supported)
            return cu_fail(c->story, &c->cu, "cuMemCreate", r);
        out->mapped = r == 0;
    }
    if (!out->mapped) {
        CU_TRY(c, cuMemAlloc(&out->at, bytes));
        return TITAN_OK;
    }
    out->at = map(c, out->memory, bytes);
    if (out->at) return TITAN_OK;
    cuda_shared_free(c, out);
    return titan_fail(c->story, TITAN_UNAVAILABLE,
                      "%zu bytes of the GPU could not be mapped", bytes);
}

void cuda_shared_free(Cuda *c, CudaShared *s)
{
    if (!s->mapped && s->at && !c->stays) c->cu.cuMemFree(s->at);
    if (s->mapped && s->at) unmap(c, s->at, s->bytes);
    if (s->mapped) c->cu.cuMemRelease(s->memory);
    *s = (CudaShared){0};
}

bool cuda_shared_handle(const Cuda *c, const CudaShared *s, CudaHandle *out)
{
    *out = (CudaHandle){.memory = s->memory, .bytes = s->bytes};
    if (c->rank.threads) return s->mapped;
    return c->cu.cuIpcGetMemHandle(&out->ipc, s->at) == 0;
}

bool cuda_shared_open(const Cuda *c, const CudaHandle *h, CudaShared *out)
{
    *out = (CudaShared){.bytes = h->bytes, .mapped = c->rank.threads};
    if (out->mapped)
        out->at = map(c, h->memory, h->bytes);
    else if (c->cu.cuIpcOpenMemHandle(&out->at, h->ipc, CU_ipc_lazy) != 0)
        out->at = 0;
    return out->at != 0;
}

void cuda_shared_close(const Cuda *c, CudaShared *s)
{
    if (s->at && s->mapped) unmap(c, s->at, s->bytes);
    if (s->at && !s->mapped) c->cu.cuIpcCloseMemHandle(s->at);
    *s = (CudaShared){0};
}
