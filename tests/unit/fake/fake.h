/*
 * fake.h: a CUDA driver, a cuBLASLt, an NCCL and a CUPTI that need no GPU.
 *
 * Four shared libraries carry the names of the real ones, so that the runtime
 * opens them.  Memory of the device is memory of the host; copies, fills and
 * matrix products are done, of kernels `bump` alone (it adds 1 to the f32 at
 * its first argument), `add` (the f32 at its second) and the runtime's own,
 * which looks for what is not finite.  Nothing is done
 * before somebody waits for it; each piece of work is a line of a log when it
 * is done. A clock goes on by what the work costs, and events keep its time.
 */
#ifndef TITAN_TESTS_FAKE_H
#define TITAN_TESTS_FAKE_H

#include <stdatomic.h>

#include "runtime/cuda.h"

enum { FAKE_LOG = 1 << 16 };

typedef struct Fake {
    /* set by tests */
    int count, major, minor;
    size_t available;  /* free bytes */
    const char *fails; /* the call that fails, NULL: none */
    CuResult fails_with;
    unsigned fails_at;    /* the number of the call that fails, 0: none */
    const char *compiler; /* what the PTX compiler complains of */
    /* read by tests */
    char log[FAKE_LOG];                              /* of one GPU */
    _Atomic unsigned calls;                          /* that may fail */
    _Atomic unsigned allocations, graphs, libraries; /* alive */
    CuPtr arena; /* the largest allocation, of one GPU */
    size_t arena_bytes;
    size_t pinned_bytes;         /* the largest of the host, of one GPU */
    _Atomic uint64_t us;         /* the clock: what the work costs */
    _Atomic unsigned scans;      /* of the runtime's own kernel */
    _Atomic unsigned registered; /* pieces of memory that NCCL knows */
} Fake;

/* Counters go on so that they put no order between the threads that count: an
 * order that the runtime lacks would not be seen. */
#define FAKE_COUNT(counter, by) \
    atomic_fetch_add_explicit(&(counter), (by), memory_order_relaxed)

/* The one device; fake_reset brings it to its first state.  Where no test says
 * so, there are as many GPUs as FAKE_GPUS in the environment, their name is
 * FAKE_NAME and their capability FAKE_CAPABILITY ("10.0").  FAKE_FAILS and FAKE_SLOW say what fails there, and what lasts. */
Fake *fake_device(void);
void fake_reset(void);
/* What a call that may fail returns at its beginning. */
CuResult fake_fails(const char *call);
void fake_log(const char *fmt, ...) TITAN_PRINTF(1, 2);
/* The clock goes on. */
void fake_spend(unsigned us);

/* Where what a GPU has at AT lies, whichever GPU asks; of the host: there.  All
 * reach it so, and ThreadSanitizer sees who has to do with the same bytes. */
void *fake_host(CuPtr at);
/* As fake_host, of N bytes that WHAT reads or writes.  Where PTX is run they
 * have to be memory that the GPU reaches: else NULL, and it fails. */
void *fake_span(CuPtr at, size_t n, const char *what);

/* Work of a stream: done when somebody waits for it, or kept for the graph that
 * is captured.  A copy of N bytes at DATA is handed to RUN. */
void fake_work(CuStream stream, void (*run)(const void *data), const void *data,
               size_t n);
/* As fake_work, for what waits for others: POLL is called, on its own copy of
 * DATA, until it is true. */
void fake_until(CuStream stream, bool (*poll)(void *data), const void *data,
                size_t n);
/* As fake_work, for what is no kernel. */
typedef enum FakeKind { FAKE_kernel, FAKE_copy, FAKE_fill, FAKE_none } FakeKind;
void fake_work_of(FakeKind kind, CuStream stream, void (*run)(const void *data),
                  const void *data, size_t n);
/* From now on work is also done while nobody waits: others may wait for it. */
void fake_run_beside(void);

/* Who wants to know of the nodes of graphs: of one that is captured, of its
 * copy in what is launched, and what that took, by the clock. A node is where
 * its number is. */
typedef struct FakeWatch {
    void (*made)(const void *graph, const uint64_t *node);
    void (*cloned)(const void *graph, const uint64_t *node, const uint64_t *of);
    void (*done)(FakeKind kind, uint64_t node, uint64_t begin, uint64_t end);
} FakeWatch;
void fake_watch(const FakeWatch *w);
/* Kinds of records that CUPTI makes. */
unsigned fake_recorded(void);

#endif
