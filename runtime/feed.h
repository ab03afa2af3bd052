/*
 * feed.h: what a step reads: rows of tokens in the input ports of an entry.
 */
#ifndef TITAN_FEED_H
#define TITAN_FEED_H

#include "data.h"
#include "device.h"

/* The first four are its maker's. */
typedef struct Feed {
    TitanStory *story;
    const TitanImage *im;
    TitanDevice *device;
    const TitanEntry *entry;
    Tokens tokens;
    int64_t rows, length; /* of an input of a step: G rows of T tokens */
} Feed;

/* Opens the data; MISMATCH where the entry wants what token data does not
 * have. */
TitanStatus feed_open(Feed *f, const char *const *paths, uint32_t n);
void feed_close(Feed *f);

/* Writes the inputs of a step, counted from 1, to the device. */
TitanStatus feed_step(Feed *f, int64_t step);

#endif
