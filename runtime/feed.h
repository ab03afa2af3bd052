/*
 * feed.h: what a step reads: rows of tokens in the input ports of an entry.
 *
 *     Feed f = {.story = s, .im = im, .device = d, .entry = train};
 *     TRY(feed_open(&f, &options));
 *     TRY(feed_restore(&f, json));        or nothing: from the first row on
 *     TRY(feed_skip(&f, batches));        or nothing
 *     for each step, counted from 1, or from what was restored
 *         TRY(feed_wait(&f, step, &more));
 *         if (!more) ... the data has ended, this step is not to be run
 *         TRY(feed_step(&f, step));
 *     feed_close(&f);
 *
 * Rows are read ahead by a thread of the feed's own; everything here is called
 * from one other thread.  Steps are asked for in order, but the last two that
 * were given can be given again (a device that lags looks into the step
 * before).  Which rows a step has depends on the data and the options alone,
 * never on the number of ranks.
 */
#ifndef TITAN_FEED_H
#define TITAN_FEED_H

#include "device.h"

/* What becomes of documents in rows (docs/data.md). */
typedef enum FeedPack {
    PACK_stream,   /* one behind the other, without end: no token is lost */
    PACK_chunks,   /* T + 1 tokens a row, which share none with the next row */
    PACK_documents /* as stream; the end of a document predicts nothing */
} FeedPack;

/* {0} with paths and npaths reads token files in order, again and again. */
typedef struct FeedOptions {
    const char *const *paths; /* as --data has them: [WEIGHT:]PATH */
    uint32_t npaths;
    const char *tokenizer; /* NULL: text is bytes */
    const char *text_key;  /* of JSONL, MDS; NULL: "text" */
    const char *end_token; /* id that ends documents in token files, or NULL */
    FeedPack pack;
    int64_t seed;
    int64_t shuffle; /* how many documents or rows at a time; 0: in order */
    int64_t epochs;  /* 0: without end */
    /* A last row or step that the data does not fill is filled up with
     * labels that do not count, instead of being left out. */
    bool fill;
    /* Of `ranks` ranks (0 means 1) the rows of this one: a rank has a part of
     * each of the `passes` (0 means 1) over the batch that make a step. */
    uint32_t rank, ranks;
    int64_t passes;
} FeedOptions;

typedef struct FeedData FeedData;

/* The first four are its maker's. */
typedef struct Feed {
    TitanStory *story;
    const TitanImage *im;
    TitanDevice *device;
    const TitanEntry *entry;
    int64_t rows, length; /* of an input of a step: rows of T tokens */
    FeedData *data;
} Feed;

/* Opens the data; MISMATCH where the entry wants what it does not have.  An
 * entry without inputs needs no data. */
TitanStatus feed_open(Feed *f, const FeedOptions *o);
void feed_close(Feed *f);

/* Waits until the rows of a step are at hand.  MORE: false where the data ends
 * before the step is whole. */
TitanStatus feed_wait(Feed *f, int64_t step, bool *more);
/* Writes the inputs of a step to the device, waiting if need be. */
TitanStatus feed_step(Feed *f, int64_t step);

/* How many labels of a step count; 1 where the entry reads none, so that such
 * steps weigh alike. */
TitanStatus feed_labels(Feed *f, int64_t step, int64_t *labels);

/* Where the data stands behind a step that was given last or just before it
 * (0: where it begins), as JSON text for free().  It says places, not data, so
 * its size does not grow with either. */
TitanStatus feed_state(Feed *f, int64_t step, char **json);
/* The next step that is asked for is the one behind that of the state, with
 * bitwise the rows of a run that never stopped.  Before the first step.
 * BAD_DATA: no state; MISMATCH: the state of other data or options. */
TitanStatus feed_restore(Feed *f, const char *json);
/* The data begins anew with the step behind STEP.  Before the first step. */
void feed_from(Feed *f, int64_t step);
/* Leaves out the rows of so many steps.  Before the first step. */
TitanStatus feed_skip(Feed *f, int64_t batches);

/* What the data is, for people. */
void feed_about(const Feed *f, char *text, size_t size);

#endif
