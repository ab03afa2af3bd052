/*
 * cuda_io.c: bytes to the GPU and back.
 *
 * Small writes to the io base, a step's batch and scalars, go through pinned
 * memory of their turn and are put on the stream, so that the host runs ahead
 * by one step.  Everything else, which is weights, passes a staging buffer in
 * pieces.  Records and checks are copied to pinned memory behind each step.
 */
#include "cuda_device.h"
#include "parts.h"

#include <stdlib.h>
#include <string.h>

enum { STAGING = 32 << 20 };

static size_t io_bytes(const Cuda *c)
{
    size_t n = (size_t)stage_of(c->im, c->rank.rank)->base_bytes[TITAN_BASE_io];
    return n ? n : 1;
}

static TitanStatus open_turn(Cuda *c, CudaTurn *t)
{
    CU_TRY(c, cuMemHostAlloc((void **)&t->in, io_bytes(c), 0));
    CU_TRY(c, cuMemHostAlloc((void **)&t->out, io_bytes(c), 0));
    unsigned flags = CU_event_no_timing | CU_event_blocking;
    CU_TRY(c, cuEventCreate(&t->used, flags));
    CU_TRY(c, cuEventCreate(&t->kept, flags));
    return TITAN_OK;
}

TitanStatus cuda_io_open(Cuda *c)
{
    for (int i = 0; i < CUDA_TURNS; i++)
        TRY(open_turn(c, &c->turn[i]));
    return TITAN_OK;
}

void cuda_io_close(Cuda *c)
{
    for (int i = 0; i < CUDA_TURNS; i++) {
        CudaTurn *t = &c->turn[i];
        if (t->in) c->cu.cuMemFreeHost(t->in);
        if (t->out) c->cu.cuMemFreeHost(t->out);
        if (t->used) c->cu.cuEventDestroy(t->used);
        if (t->kept) c->cu.cuEventDestroy(t->kept);
    }
    if (c->staging) c->cu.cuMemFreeHost(c->staging);
}

/* ----------------------------------------------------------------- write -- */

static TitanStatus write_io(Cuda *c, uint64_t offset, const void *from,
                            size_t bytes)
{
    char *in = c->turn[c->now].in + offset;
    memcpy(in, from, bytes);
    CU_TRY(c, cuMemcpyHtoDAsync(c->base[TITAN_BASE_io] + offset, in, bytes,
                                c->stream));
    return TITAN_OK;
}

/* The copies that a run needs stand in front of it on the stream.  The next
 * writes go to the other turn's memory, once its own copies are over: those of
 * the run before, which began when the one before that was done. */
TitanStatus cuda_next_turn(Cuda *c)
{
    CU_TRY(c, cuEventRecord(c->turn[c->now].used, c->stream));
    c->now = (c->now + 1) % CUDA_TURNS;
    return cuda_wait_event(c, c->turn[c->now].used);
}

static TitanStatus need_staging(Cuda *c)
{
    if (c->staging) return TITAN_OK;
    CU_TRY(c, cuMemHostAlloc((void **)&c->staging, STAGING, 0));
    return TITAN_OK;
}

TitanStatus cuda_write(TitanDevice *d, TitanBase base, uint64_t offset,
                       const void *from, size_t bytes)
{
    Cuda *c = (Cuda *)d;
    if (base == TITAN_BASE_io) return write_io(c, offset, from, bytes);
    if (base == TITAN_BASE_host) {
        TRY(cuda_wait_stream(c, c->stream));
        memcpy(c->host + offset, from, bytes);
        return TITAN_OK;
    }
    TRY(need_staging(c));
    for (size_t done = 0; done < bytes; done += STAGING) {
        size_t n = bytes - done < STAGING ? bytes - done : STAGING;
        memcpy(c->staging, (const char *)from + done, n);
        CU_TRY(c, cuMemcpyHtoDAsync(c->base[base] + offset + done, c->staging,
                                    n, c->stream));
        TRY(cuda_wait_stream(c, c->stream));
    }
    return TITAN_OK;
}

TitanStatus cuda_read(TitanDevice *d, TitanBase base, uint64_t offset, void *to,
                      size_t bytes)
{
    Cuda *c = (Cuda *)d;
    if (base == TITAN_BASE_host) {
        TRY(cuda_wait_stream(c, c->stream));
        memcpy(to, c->host + offset, bytes);
        return TITAN_OK;
    }
    TRY(need_staging(c));
    for (size_t done = 0; done < bytes; done += STAGING) {
        size_t n = bytes - done < STAGING ? bytes - done : STAGING;
        CU_TRY(c, cuMemcpyDtoHAsync(c->staging, c->base[base] + offset + done,
                                    n, c->stream));
        TRY(cuda_wait_stream(c, c->stream));
        memcpy((char *)to + done, c->staging, n);
    }
    return TITAN_OK;
}

/* --------------------------------------------------------------- records -- */

static TitanStatus keep_port(Cuda *c, const TitanPort *p, CudaTurn *t)
{
    PortPlace own;
    uint32_t at = 0;
    while (port_place_next(c->im, p, c->rank.rank, &at, &own))
        CU_TRY(c, cuMemcpyDtoHAsync(t->out + own.offset,
                                    c->base[TITAN_BASE_io] + own.offset,
                                    own.bytes, c->stream));
    return TITAN_OK;
}

TitanStatus cuda_keep(TitanDevice *d, const TitanEntry *e, int64_t turn)
{
    Cuda *c = (Cuda *)d;
    CudaTurn *t = &c->turn[turn % CUDA_TURNS];
    for (uint32_t i = 0; i < e->ports.n; i++) {
        const TitanPort *p = &c->im->ports[e->ports.first + i];
        if (port_is_kept(p)) TRY(keep_port(c, p, t));
    }
    CU_TRY(c, cuEventRecord(t->kept, c->stream));
    return TITAN_OK;
}

TitanStatus cuda_kept(TitanDevice *d, int64_t turn, const char **io)
{
    Cuda *c = (Cuda *)d;
    CudaTurn *t = &c->turn[turn % CUDA_TURNS];
    *io = t->out;
    return cuda_wait_event(c, t->kept);
}
