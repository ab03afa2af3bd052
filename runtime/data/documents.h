/*
 * documents.h: files of documents: what the formats have in common.
 *
 * A file gives its documents from front to back, in pieces: a document of
 * bounded length is one piece.  Each piece has a place, from which reading can
 * go on later, so a place is also the stable id of a document.
 */
#ifndef TITAN_DATA_DOCUMENTS_H
#define TITAN_DATA_DOCUMENTS_H

#include "paths.h"

enum {
    MOST_TEXT = 32 << 20, /* bytes of a document or line */
    PIECE_TOKENS = 1 << 20
};

/* Text, or token ids of WIDTH bytes, little-endian.  It stays until the next
 * call for its file. */
typedef struct Piece {
    const void *at;
    size_t bytes;
    unsigned width; /* 0: text */
    bool is_signed;
    bool first, last; /* of its document */
    int64_t number;   /* of the document or line in its file, from 1 */
} Piece;

/* Bytes and documents in front; what they count is the format's. */
typedef struct Place {
    int64_t offset, number;
} Place;

typedef struct DocFile DocFile;

typedef struct DocClass {
    const char *unit; /* what Piece.number counts, for messages */
    /* To a place that `at` was before; anything else is BAD_DATA. */
    TitanStatus (*seek)(DocFile *f, Place to);
    TitanStatus (*next)(DocFile *f, Piece *out, bool *more);
    void (*close)(DocFile *f);
} DocClass;

struct DocFile {
    const DocClass *class;
    TitanStory *story;
    const DataFile *file;
    Place at; /* of the next piece */
};

/* The format's file; TEXT_KEY is where JSONL and MDS have the text. */
TitanStatus documents_open(TitanStory *s, const DataFile *file,
                           const char *text_key, DocFile **out);
static inline void documents_close(DocFile *f)
{
    if (f) f->class->close(f);
}

TitanStatus text_open(TitanStory *s, const DataFile *file, DocFile **out);
TitanStatus lines_open(TitanStory *s, const DataFile *file,
                       const char *text_key, DocFile **out);
TitanStatus megatron_open(TitanStory *s, const DataFile *file, DocFile **out);
TitanStatus mds_open(TitanStory *s, const DataFile *file, const char *text_key,
                     DocFile **out);

#endif
