/*
 * validate.c: the loss over other data, between steps.
 */
#include "validate.h"

#include "narrow.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { IGNORED = -100 }; /* a label that does not count */

static TitanStatus open_feed(Validation *v, Feed *f)
{
    *f = (Feed){
        .story = v->story, .im = v->im, .device = v->device, .entry = v->entry};
    return titan_while(v->story, feed_open(f, &v->o.data),
                       "opening the data of --valid-data");
}

TitanStatus validation_open(Validation *v, TitanStory *s, const TitanImage *im,
                            TitanDevice *device, const ValidOptions *o)
{
    *v = (Validation){.story = s, .im = im, .device = device, .o = *o};
    if (o->data.npaths == 0) return TITAN_OK;
    v->entry = titan_entry(im, "validate");
    if (!v->entry)
        return titan_fail(s, TITAN_MISMATCH,
                          "the program has no entry \"validate\"");
    v->loss = titan_port(im, v->entry, TITAN_ROLE_record, "loss");
    if (!v->loss)
        return titan_fail(s, TITAN_MISMATCH,
                          "the entry \"validate\" has no record \"loss\"");
    v->labels = titan_port(im, v->entry, TITAN_ROLE_input, "labels");
    Feed f;
    TitanStatus st = open_feed(v, &f);
    feed_close(&f);
    TRY(st);
    return titan_while(s, device_prepare(device, v->entry),
                       "preparing the validation");
}

bool validation_due(const Validation *v, int64_t step)
{
    return v->entry && (step == 1 || step % v->o.every == 0);
}

static TitanStatus set_scalar(Validation *v, const char *name, int64_t value)
{
    const TitanPort *p = titan_port(v->im, v->entry, TITAN_ROLE_scalar, name);
    if (!p) return TITAN_OK;
    return device_write(v->device, TITAN_BASE_io, p->offset, &value,
                        titan_dtype_bytes(p->dtype));
}

/* How many labels of the batch at hand count. */
static TitanStatus count_labels(Validation *v, int64_t *out)
{
    Window w;
    *out = 1;
    if (!v->labels) return TITAN_OK;
    int64_t n = titan_elements(v->im, v->labels->axes);
    TRY(window_open(v->device, TITAN_BASE_io, v->labels->offset,
                    (size_t)n * sizeof(int32_t), true, &w));
    const int32_t *at = (const int32_t *)(const void *)w.at;
    *out = 0;
    for (int64_t i = 0; i < n; i++)
        *out += at[i] != IGNORED;
    return window_close(v->device, &w, false);
}

/* Adds what the batch at hand weighs, and its loss times that. */
static TitanStatus add_batch(Validation *v, double *sum, double *weight)
{
    int64_t n;
    char loss[8];
    TRY(count_labels(v, &n));
    if (n == 0) return TITAN_OK;
    TRY(device_run(v->device, v->entry));
    TRY(device_read(v->device, TITAN_BASE_io, v->loss->offset, loss,
                    titan_dtype_bytes(v->loss->dtype)));
    *sum += (double)n * narrow_load_one(v->loss->dtype, loss);
    *weight += (double)n;
    return TITAN_OK;
}

static TitanStatus run_batches(Validation *v, Feed *f, int64_t step,
                               int64_t seed, double *loss)
{
    double sum = 0, weight = 0;
    for (int64_t batch = 1; v->o.steps == 0 || batch <= v->o.steps; batch++) {
        bool more;
        TRY(feed_wait(f, batch, &more));
        if (!more) break;
        TRY(feed_step(f, batch));
        TRY(set_scalar(v, "step", step));
        TRY(set_scalar(v, "seed", seed));
        TRY(titan_while(v->story, add_batch(v, &sum, &weight),
                        "running batch %" PRId64, batch));
    }
    *loss = weight > 0 ? sum / weight : NAN;
    return TITAN_OK;
}

TitanStatus validation_run(Validation *v, int64_t step, int64_t seed,
                           double *loss)
{
    Feed f;
    TitanStatus st = open_feed(v, &f);
    if (st == TITAN_OK) st = run_batches(v, &f, step, seed, loss);
    feed_close(&f);
    return titan_while(v->story, st, "validating behind step %" PRId64, step);
}
