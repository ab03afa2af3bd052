/*
 * cuda_stage.c: copies of the state, made while the next step runs.
 *
 * The forward and backward passes only read parameters and states, so the copy
 * stands beside them on a stream of its own, and the update behind them waits
 * for it:
 *
 *     stream   step n | forward, backward of n + 1 |     | update of n + 1
 *     copies          | state of n to pinned memory      |
 *
 * An update that cannot be told from the rest of its entry has all of it wait.
 */
#include "cuda_device.h"

static TitanStatus open_stage(Cuda *c, CudaStage *s)
{
    size_t bytes = (size_t)stage_of(c->im, c->rank.rank)
                       ->base_bytes[TITAN_BASE_persistent];
    unsigned flags = CU_event_no_timing | CU_event_blocking;
    CU_TRY(c, cuStreamCreate(&s->stream, CU_stream_non_blocking));
    CU_TRY(c, cuEventCreate(&s->reached, CU_event_no_timing));
    CU_TRY(c, cuEventCreate(&s->copied, flags));
    s->bytes = bytes ? bytes : 1;
    return cuda_pin(c, s->bytes, &s->at);
}

bool cuda_stage_open(TitanDevice *d)
{
    Cuda *c = (Cuda *)d;
    if (titan_has_host_slots(c->im)) return false;
    if (c->stage.at) return true;
    if (open_stage(c, &c->stage) == TITAN_OK) return true;
    cuda_stage_close(c);
    *c->story = (TitanStory){0}; /* the run does without */
    return false;
}

void cuda_stage_close(Cuda *c)
{
    CudaStage *s = &c->stage;
    if (s->stream) c->cu.cuStreamSynchronize(s->stream);
    if (s->at) cuda_unpin(c, s->at, s->bytes);
    if (s->copied) c->cu.cuEventDestroy(s->copied);
    if (s->reached) c->cu.cuEventDestroy(s->reached);
    if (s->stream) c->cu.cuStreamDestroy(s->stream);
    *s = (CudaStage){0};
}

TitanStatus cuda_stage(TitanDevice *d)
{
    Cuda *c = (Cuda *)d;
    CudaStage *s = &c->stage;
    size_t bytes = (size_t)stage_of(c->im, c->rank.rank)
                       ->base_bytes[TITAN_BASE_persistent];
    CU_TRY(c, cuEventRecord(s->reached, c->stream));
    CU_TRY(c, cuStreamWaitEvent(s->stream, s->reached, 0));
    CU_TRY(c, cuMemcpyDtoHAsync(s->at, c->base[TITAN_BASE_persistent], bytes,
                                s->stream));
    CU_TRY(c, cuEventRecord(s->copied, s->stream));
    s->holds = true;
    return TITAN_OK;
}

TitanStatus cuda_hold(Cuda *c)
{
    if (!c->stage.holds) return TITAN_OK;
    c->stage.holds = false;
    CU_TRY(c, cuStreamWaitEvent(c->stream, c->stage.copied, 0));
    return TITAN_OK;
}

/* Another thread has no context of its own. */
TitanStatus cuda_staged(TitanDevice *d, TitanStory *story, TitanDevice **copy)
{
    Cuda *c = (Cuda *)d;
    c->copy = (TitanDevice){.story = story};
    c->copy.arena[TITAN_BASE_persistent] = c->stage.at;
    *copy = &c->copy;
    CuResult r = c->cu.cuCtxSetCurrent(c->context);
    if (r == 0) r = c->cu.cuEventSynchronize(c->stage.copied);
    if (r == 0) return TITAN_OK;
    return cu_fail(story, &c->cu, "cuEventSynchronize", r);
}
