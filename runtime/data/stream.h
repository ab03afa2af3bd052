/*
 * stream.h: rows of tokens, one behind the other, from the files of one --data
 * (or of all that have no weight).
 *
 * There are two: sequences, token files as one long array of which any row can
 * be computed, and documents, which are read, shuffled, turned to tokens and
 * packed from front to back.  Both can go on from a cursor, which says places
 * and no data.
 */
#ifndef TITAN_DATA_STREAM_H
#define TITAN_DATA_STREAM_H

#include "../text/tokenizer.h"
#include "paths.h"

/* Where the next row begins.  Sequences need `rows` alone. */
typedef struct Cursor {
#define CURSOR(X)                                                         \
    X(rows)   /* before this one */                                       \
    X(epoch)  /* of the document that the row begins in, from 0 */        \
    X(block)  /* of the shuffle, in the epoch */                          \
    X(file)   /* where the block begins, in the epoch's order of files */ \
    X(offset) /* and in that file */                                      \
    X(number)                                                             \
    X(taken) /* documents of the block that are in front */               \
    X(token) /* tokens of the document that are in front */
#define FIELD(name) int64_t name;
    CURSOR(FIELD)
#undef FIELD
} Cursor;

/* What all streams of a run share. */
typedef struct StreamOptions {
    const Tokenizer *tokenizer; /* NULL: text is bytes */
    const char *text_key;       /* NULL: the usual ones */
    int64_t end_token;          /* ends a document in a sequence; -1: none */
    uint32_t bound;             /* tokens are below; 0: any */
    int64_t length, span;       /* T, and T or T + 1 tokens to a row */
    int64_t stride;             /* tokens from row to row, T or span */
    uint64_t seed;
    int64_t shuffle, epochs;
    bool fill; /* the last row may lack tokens */
} StreamOptions;

/* `span` tokens, of which n are there; which begin a document. */
typedef struct Row {
    int32_t *tokens;
    bool *starts;
    int64_t n;
} Row;

typedef struct Stream Stream;

typedef struct StreamClass {
    TitanStatus (*row)(Stream *st, Row *out, bool *more);
    TitanStatus (*seek)(Stream *st, const Cursor *to);
    void (*about)(const Stream *st, char *text, size_t size);
    void (*free)(Stream *st);
} StreamClass;

struct Stream {
    const StreamClass *class;
    TitanStory *story; /* of whoever reads */
    const StreamOptions *o;
    DataFiles files;
    uint64_t which; /* which stream of the run it is */
    Cursor at;      /* of the next row */
};

/* Takes FILES, if it comes to reading them.  O outlives it.  USAGE: they do
 * not go together. */
TitanStatus stream_open(TitanStory *s, const StreamOptions *o, uint64_t which,
                        DataFiles *files, Stream **out);
static inline void stream_free(Stream *st)
{
    if (st) st->class->free(st);
}

TitanStatus sequence_open(Stream *base, Stream **out);
TitanStatus pack_open(Stream *base, Stream **out);

#endif
