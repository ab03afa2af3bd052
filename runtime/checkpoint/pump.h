/*
 * pump.h: a thread that writes a file while another one makes what comes next.
 *
 *     pump_begin(p, file)
 *     pump_put(p, at, n) ...     AT stays as it is until that is written
 *     pump_wait(p, p->put)       all that was put is written
 *     pump_end(p)                likewise, and the thread has ended
 *
 * The file is the thread's from begin to end.
 */
#ifndef TITAN_PUMP_H
#define TITAN_PUMP_H

#include <pthread.h>

#include "../files.h"

enum { PUMP_SLOTS = 8 };

typedef struct Pump {
    FileWriter *to;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct {
        const void *at;
        size_t n;
    } slot[PUMP_SLOTS];    /* of number i: slot[i % PUMP_SLOTS] */
    uint64_t put, written; /* so many */
    bool threaded, ends, failed;
} Pump;

/* Where no thread can be made, pump_put writes. */
void pump_begin(Pump *p, FileWriter *to);
/* False: the file has failed, and nothing more need be made. */
bool pump_put(Pump *p, const void *at, size_t n);
/* The first COUNT that were put are written. */
void pump_wait(Pump *p, uint64_t count);
void pump_end(Pump *p);

#endif
