/*
 * mix.h: the rows of a run: one stream, or several by weight.
 */
#ifndef TITAN_DATA_MIX_H
#define TITAN_DATA_MIX_H

#include "stream.h"

/* What a run reads, before it is opened. */
typedef struct MixOptions {
    const char *const *paths; /* [WEIGHT:]PATH */
    uint32_t npaths;
    StreamOptions stream;
} MixOptions;

/* A stream and where it stands. */
typedef struct Part {
    Stream *stream;
    int64_t weight; /* of MIX_WHOLE */
    int64_t credit; /* what the stream is owed */
    bool over;
} Part;

typedef struct Mix {
    TitanStory *story;
    StreamOptions o;
    Part *parts;
    uint32_t n;
    Row scratch;
} Mix;

/* Where a part stands behind some row. */
typedef struct Mark {
    Cursor at;
    int64_t credit;
} Mark;

TitanStatus mix_open(TitanStory *s, const MixOptions *o, Mix *out);
void mix_close(Mix *m);

/* The next row, into OUT, or nowhere where that is NULL.  MORE: false where a
 * part that it would have to come from has ended. */
TitanStatus mix_row(Mix *m, Row *out, bool *more);

/* A mark for each part. */
void mix_marks(const Mix *m, Mark *out);
TitanStatus mix_seek(Mix *m, const Mark *to);

/* A hash of the names and sizes of all files. */
uint64_t mix_files(const Mix *m);
void mix_about(const Mix *m, char *text, size_t size);

#endif
