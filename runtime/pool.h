/*
 * pool.h: the one thread pool of a process.
 */
#ifndef TITAN_POOL_H
#define TITAN_POOL_H

#include "titan.h"

typedef struct Pool Pool;

/* One piece of work: indices [begin, end) on worker `worker` (0 is the
 * caller). */
typedef void (*PoolWork)(void *user, int64_t begin, int64_t end,
                         unsigned worker);

/* Threads of each of so many pools of this machine: ASKED, or 0, and they share
 * its processors. */
unsigned pool_share(unsigned asked, uint32_t pools);

/* NULL: threads could not be started. */
Pool *pool_new(unsigned threads);
void pool_free(Pool *p);
unsigned pool_threads(const Pool *p);

/* Runs WORK over [0, n) in chunks of `chunk`, by all workers, and returns when
 * all is done.  Which worker takes which chunk is open; what a chunk computes
 * must not depend on it. */
void pool_run(Pool *p, PoolWork work, void *user, int64_t n, int64_t chunk);

#endif
