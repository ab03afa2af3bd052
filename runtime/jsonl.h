/*
 * jsonl.h: a file of JSON objects, one a line.
 *
 *     jsonl_begin(&r);
 *     jsonl_whole(&r, "step", 12);
 *     jsonl_number(&r, "loss", 2.5);
 *     TRY(jsonl_end(story, &r));
 *
 * Numbers read back exactly; one that is not finite is null.
 */
#ifndef TITAN_JSONL_H
#define TITAN_JSONL_H

#include "sink.h"

typedef struct Jsonl {
    Sink sink;
    char *at; /* the line that is being made */
    size_t n, cap;
    bool failed; /* memory ran out in it */
} Jsonl;

/* Begins the file anew, or appends to it. */
TitanStatus jsonl_open(TitanStory *s, Jsonl *r, const char *path,
                       SinkMode mode);
/* Goes on behind the row of STEP: later ones, and half a line at the end, go.
 * BAD_DATA where the file holds something else than rows. */
TitanStatus jsonl_continue(TitanStory *s, Jsonl *r, const char *path,
                           int64_t step);
TitanStatus jsonl_close(TitanStory *s, Jsonl *r);
static inline bool jsonl_is_open(const Jsonl *r)
{
    return r->sink.path != NULL;
}

void jsonl_begin(Jsonl *r);
void jsonl_whole(Jsonl *r, const char *key, int64_t x);
void jsonl_number(Jsonl *r, const char *key, double x);
void jsonl_numbers(Jsonl *r, const char *key, const double *x, int64_t n);
void jsonl_text(Jsonl *r, const char *key, const char *text);
/* A value that is JSON already, on one line. */
void jsonl_json(Jsonl *r, const char *key, const char *json);
TitanStatus jsonl_end(TitanStory *s, Jsonl *r);
/* Ends the line and gives it instead of writing it.  NULL: memory ran out. */
const char *jsonl_line(Jsonl *r, size_t *n);

#endif
