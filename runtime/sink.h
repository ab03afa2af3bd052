/*
 * sink.h: a file that grows record by record: a record is in it whole or not
 * at all, and what a full disk does to the run is the user's choice.
 */
#ifndef TITAN_SINK_H
#define TITAN_SINK_H

#include "titan.h"

typedef struct Sink {
    char *path; /* NULL: closed */
    int fd;
    int64_t length; /* bytes of whole records */
    bool go_on;     /* a record that cannot be written is lost, with a word */
    int64_t lost;   /* records, since the last that was written */
} Sink;

typedef enum SinkMode { SINK_anew, SINK_append } SinkMode;

TitanStatus sink_open(TitanStory *s, Sink *k, const char *path, SinkMode mode);
/* Writes a record at once: nothing is kept back that a killed run would lose.
 * IO where it cannot and `go_on` is not set. */
TitanStatus sink_write(TitanStory *s, Sink *k, const void *at, size_t n);
/* Cuts the file to its first bytes. */
TitanStatus sink_cut(TitanStory *s, Sink *k, int64_t length);
TitanStatus sink_close(TitanStory *s, Sink *k);

#endif
