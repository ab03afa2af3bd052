/*
 * validate.h: the loss over other data, between steps.
 *
 * The entry `validate` reads tokens and labels as `train` does and has a record
 * "loss", the mean over the labels that count.  The result is the mean over
 * all such labels of the data, whatever the batches: a batch weighs as many as
 * it has.  Each validation begins with the first row.
 */
#ifndef TITAN_VALIDATE_H
#define TITAN_VALIDATE_H

#include "feed.h"

typedef struct ValidOptions {
    FeedOptions data; /* without paths: no validation */
    int64_t every;    /* behind step 1 and each such step */
    int64_t steps;    /* batches, at most; 0: all there are */
} ValidOptions;

typedef struct Validation {
    TitanStory *story;
    const TitanImage *im;
    TitanDevice *device;
    const TitanEntry *entry;
    const TitanPort *loss;
    ValidOptions o;
} Validation;

/* Looks for the entry, and whether the data is there.  Nothing where no
 * validation is asked for. */
TitanStatus validation_open(Validation *v, TitanStory *s, const TitanImage *im,
                            TitanDevice *device, const ValidOptions *o);
bool validation_due(const Validation *v, int64_t step);
/* LOSS: NaN where no label counts. */
TitanStatus validation_run(Validation *v, int64_t step, int64_t seed,
                           double *loss);

#endif
