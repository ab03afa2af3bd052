/*
 * reader.h: the rows of steps, read ahead by a thread.
 *
 * Steps are counted from 0 here, from where reading begins.  A ring of batches
 * stands between the thread that reads and the one that takes: a batch stays
 * until the one two further on is taken.
 */
#ifndef TITAN_DATA_READER_H
#define TITAN_DATA_READER_H

#include "fields.h"
#include "mix.h"

/* Which rows of a step are kept, out of all: of each of `passes` passes over
 * `rows` rows, those of one of so many ranks. */
typedef struct ReaderShape {
    int64_t rows;   /* that are kept, of a step */
    int64_t passes; /* over the batch */
    uint32_t rank, ranks;
    bool wants[FIELDS];
    bool apart; /* documents predict nothing of each other */
} ReaderShape;

/* The rows of one step. */
typedef struct Batch {
    int32_t *field[FIELDS]; /* rows x T; NULL: not wanted */
    Mark *behind;           /* where the data stands then */
    int64_t valid;          /* labels that count */
    bool whole;             /* false: the data has ended before */
    TitanStatus status;
    TitanStory story;
} Batch;

typedef struct Reader Reader;

/* From here on the thread alone reads MIX and writes its story. */
TitanStatus reader_new(TitanStory *s, Mix *mix, const ReaderShape *shape,
                       Reader **out);
void reader_free(Reader *r);

/* The batch of a step, waiting if need be; NULL where it is no longer held. */
const Batch *reader_take(Reader *r, int64_t step);
/* Reads over the rows of a step, before the first is taken. */
TitanStatus reader_skip(Mix *mix, const ReaderShape *shape, bool *more);

#endif
