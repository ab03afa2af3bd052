/*
 * driver.h: what the files of the driver share.
 */
#ifndef TITAN_TESTS_DRIVER_H
#define TITAN_TESTS_DRIVER_H

#include "fake.h"

/* Streams of one capture; GPUs that may be there. */
enum { FAKE_CAPTURED = 64, FAKE_GPUS = 16 };

/* What has been captured of each stream, in commands. */
typedef struct Clock {
    unsigned at[FAKE_CAPTURED];
} Clock;

struct CuStreamRow {
    int number;
    bool waits;       /* it has waited for an event */
    unsigned capture; /* that it is in, or was */
    unsigned row;     /* of clocks */
    Clock clock;      /* what it comes behind */
};

#define BEGIN()                            \
    do {                                   \
        CuResult r = fake_fails(__func__); \
        if (r != 0) return r;              \
    } while (0)

/* The prototypes, and the versioned names under which dlsym finds them. */
#define CU(name, symbol, ...) CuResult name(__VA_ARGS__) __asm__(symbol);
#include "runtime/cuda.def"
#undef CU

/* Of a GPU; whose GPU this thread has from here on. */
CuContext fake_context(CuDevice gpu);
void fake_use(CuContext context);

/* The number of the thread's GPU; its calls so far, with this one. */
int fake_gpu(void);
unsigned fake_count_call(void);
/* Words are written that others would write: its streams come to an end, with
 * whatever bytes. */
void fake_leave(void);
bool fake_is_leaving(void);
/* A place of the arena, as tests name it. */
long long fake_place(CuPtr at);
/* A word at AT, which others may look at meanwhile. */
void fake_put(CuPtr at, uint32_t word);
/* All that is pending is done. */
void fake_finish(void);
/* And no graph is being captured. */
void fake_streams_reset(void);
/* What was asked for last, of a stream, reads or writes so many bytes: what is
 * captured beside it has nothing to do with them. */
void fake_touch(CuStream stream, CuPtr at, size_t n, bool writes);
/* Nothing stands in front of what a stream is asked for next. */
bool fake_is_free(CuStream stream);

#endif
