/*
 * walk.h: the documents of some files, epoch after epoch, in order or shuffled.
 */
#ifndef TITAN_DATA_WALK_H
#define TITAN_DATA_WALK_H

#include "documents.h"
#include "stream.h"

/* A document of the block: where its bytes are, and what it is. */
typedef struct Held {
    size_t at;
    Piece piece;
    const char *path, *unit; /* for messages */
} Held;

/* The block is what is held: documents that stand one behind the other in the
 * files, and are given in an order that is drawn.  Its begin is all that a
 * cursor has to say. */
typedef struct Walk {
    TitanStory *story;
    const StreamOptions *o;
    const DataFiles *files;
    uint64_t which;
    uint32_t *file_order;
    int64_t ordered; /* the epoch whose order that is; -1: none */
    DocFile *open;
    Cursor begin; /* of the block */
    Cursor next;  /* behind it */
    Held *held;
    uint32_t *order;
    uint32_t n, cap, taken;
    char *bytes;
    size_t nbytes, cap_bytes;
} Walk;

TitanStatus walk_open(Walk *w);
void walk_close(Walk *w);

/* WHERE: the cursor of this document.  MORE: false behind the last epoch.  The
 * piece stays until the next call. */
TitanStatus walk_next(Walk *w, Piece *out, Cursor *where, bool *more);
/* Goes on with the document of a cursor. */
TitanStatus walk_seek(Walk *w, const Cursor *to);
/* The document that was given last. */
const Held *walk_last(const Walk *w);

#endif
