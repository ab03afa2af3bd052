/*
 * validate.c: the loss over other data, between steps.
 */
#include "validate.h"

#include "narrow.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

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
                          "the program has no entry \"validate\", which "
                          "--valid-data is for (docs/generation.md)");
    v->loss = titan_port(im, v->entry, TITAN_ROLE_record, "loss");
    if (!v->loss)
        return titan_fail(s, TITAN_MISMATCH,
                          "the entry \"validate\" has no record \"loss\"");
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
    return device_put(v->device, p, &value, titan_dtype_bytes(p->dtype));
}

/* Adds what the batch at hand weighs, N, and its loss times that. */
static TitanStatus add_batch(Validation *v, int64_t n, double *sum,
                             double *weight)
{
    char loss[8];
    if (n == 0) return TITAN_OK;
    TRY(device_run(v->device, v->entry));
    TRY(device_get(v->device, v->loss, loss,
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
        int64_t labels;
        TRY(feed_wait(f, batch, &more));
        if (!more) break;
        TRY(feed_labels(f, batch, &labels));
        TRY(feed_step(f, batch));
        TRY(set_scalar(v, "step", step));
        TRY(set_scalar(v, "seed", seed));
        TRY(titan_while(v->story, add_batch(v, labels, &sum, &weight),
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
