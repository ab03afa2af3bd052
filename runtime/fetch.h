/*
 * fetch.h: how the process of rank 0 reads what another has staged, while both
 * go on with their steps.
 *
 * The other rank has a thread that answers over a connection of its own; rank 0
 * asks from whichever thread saves.
 *
 *     ask      how many runs, and these; they lie side by side (crate.h)
 *     answer   a status, and their bytes or the story of the failure
 */
#ifndef TITAN_FETCH_H
#define TITAN_FETCH_H

#include <pthread.h>
#include <stdatomic.h>

#include "crate.h"

/* The end of rank 0. */
typedef struct FetchLine {
    int fd; /* -1: none */
    uint32_t rank;
    atomic_bool *ended; /* the run is: nobody answers any more */
    Crate *crate;
} FetchLine;

/* The end of a rank. */
typedef struct FetchServer {
    int fd;
    const TitanImage *im;
    TitanDevice *device;
    Crate *crate;
    pthread_t thread;
    bool runs;
} FetchServer;

/* Carries out O, which reads, on what the rank has staged last. */
TitanStatus fetch_read(TitanStory *s, FetchLine *line, const Order *o);
void fetch_hang_up(FetchLine *line);

/* A thread answers at FD, which is the server's now, for D.  False: there is
 * none. */
bool fetch_serve(FetchServer *f, int fd, const TitanImage *im, TitanDevice *d);
/* Before D is closed; also where nothing was served. */
void fetch_close(FetchServer *f);

#endif
