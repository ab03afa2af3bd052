/*
 * trace.h: the file of a profile, for a viewer of traces (Chrome's JSON form):
 * a process for each rank, a row for each stream.
 */
#ifndef TITAN_TRACE_H
#define TITAN_TRACE_H

#include "titan.h"

#include <stdio.h>

typedef struct Trace {
    TitanStory *story;
    const char *path;
    FILE *file;
    const char *between; /* the next events and those before */
} Trace;

/* HOW the times were made.  IO: the file cannot be made. */
TitanStatus trace_begin(TitanStory *s, const char *path, const char *how,
                        Trace *out);
/* N bytes of events with commas between. */
void trace_add(Trace *t, const char *events, size_t n);
/* IO: something could not be written. */
TitanStatus trace_end(Trace *t);

#endif
