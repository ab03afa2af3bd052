/*
 * cupti.h: CUPTI, which knows when a GPU has begun and ended each node of a
 * graph.  It is opened at run time; the declarations are our own
 * (tests/unit/cuda_facts.c holds them against NVIDIA's).
 *
 * A process has one, and its ranks share it: what a GPU has done is handed to
 * functions that are not told for whom, so it is kept for the whole process.
 * All of this may be called from several threads.
 */
#ifndef TITAN_CUPTI_H
#define TITAN_CUPTI_H

#include "cuda.h"

#include <pthread.h>

typedef int CuptiResult;
typedef struct CuptiSubscriberRow *CuptiSubscriber;
typedef void CuptiCallback(void *user, int domain, uint32_t what,
                           const void *data);
typedef void CuptiGive(uint8_t **buffer, size_t *bytes, size_t *most);
typedef void CuptiTake(CuContext context, uint32_t stream, uint8_t *buffer,
                       size_t bytes, size_t filled);

enum {
    CUPTI_resources = 3,     /* domain */
    CUPTI_node_created = 13, /* what */
    CUPTI_node_cloned = 20,
    CUPTI_flush_forced = 1
};

/* Kinds of records. */
enum {
#define CUPTI_RECORD(kind, number, ...) CUPTI_##kind = number,
#include "cupti.def"
#undef CUPTI_RECORD
};

/* The beginnings of what a callback of `resources` is told of a node. */
typedef struct CuptiGraphData {
    void *graph, *graph_of; /* it was cloned of */
    void *node, *node_of;
} CuptiGraphData;
typedef struct CuptiResource {
    CuContext context;
    void *handle;
    const CuptiGraphData *data;
} CuptiResource;

/* What a node took once, in ns by one clock of the machine. */
typedef struct CuptiTime {
    uint64_t node, begin, end;
} CuptiTime;

/* Who captures a graph, and is told of its nodes, which this thread makes, or
 * another one for it; and of those that they are copied to. */
typedef struct CuptiListener {
    void (*made)(void *user, uint64_t node);
    void (*cloned)(void *user, uint64_t node, uint64_t of);
    void *user;
    /* cupti.c's */
    struct CuptiListener *next;
    pthread_t thread;
    const void *graph;
} CuptiListener;

/* From here to cupti_close times are kept; false: they are not, and WHY has
 * the reason. */
bool cupti_open(char *why, size_t size);
void cupti_close(void);
/* What the version is, as 130001 for 13.0 update 1; 0: it is not open. */
uint32_t cupti_version(void);
/* GPUs are watched from here to cupti_rest, of as many calls; false as above.
 */
bool cupti_watch(char *why, size_t size);
void cupti_rest(void);
/* L is told from here to cupti_ignore, and lives as long; false as above. */
bool cupti_listen(CuptiListener *l, char *why, size_t size);
void cupti_ignore(CuptiListener *l);
/* By the clock of all times. */
uint64_t cupti_now(void);
/* GPUs have done what there is to know: it is kept; ALL: also beside what is
 * not over. */
void cupti_collect(bool all);
/* CALL for each time that is kept, in no order. */
void cupti_times(void (*call)(void *user, const CuptiTime *t), void *user);

#endif
