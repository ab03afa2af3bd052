/*
 * driver.h: what the files of the driver share.
 */
#ifndef TITAN_TESTS_DRIVER_H
#define TITAN_TESTS_DRIVER_H

#include "fake.h"

#include <pthread.h>

#include "tests/ptx/ptx.h"

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

/* A module that has its text, and so the functions of that alone; where PTX is
 * run (FAKE_PTX), every module is one.  The machine reads it when a kernel of
 * it is launched. */
struct CuLibraryRow {
    char *text;
    struct CuFunctionRow *functions; /* that were asked for, of which PTX is */
    PtxModule *ptx;
    bool unread; /* the machine does not take it */
    pthread_mutex_t lock;
};

struct CuFunctionRow {
    char name[96];
    _Atomic int shared;
    CuLibrary library; /* NULL: PTX is not run */
    const PtxKernel *kernel;
    struct CuFunctionRow *next;
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

/* The number of the thread's GPU; its calls so far, with this one; its launches
 * that were run. */
int fake_gpu(void);
unsigned fake_count_call(void);
unsigned fake_count_launch(void);
/* A kernel of the GPU did what it may not: what is pending is not done, and
 * calls give this back from now on; 0: none did. */
void fake_fault(CuResult fault);
CuResult fake_faulted(void);
/* On stderr and in the log. */
void fake_complain(const char *fmt, ...) TITAN_PRINTF(1, 2);
/* Words are written that others would write: its streams come to an end, with
 * whatever bytes. */
void fake_leave(void);
bool fake_is_leaving(void);
/* A place of the arena, as tests name it. */
long long fake_place(CuPtr at);
/* What a kernel of the thread's GPU reaches: bytes that were allocated there
 * and live, that it was let to of another GPU or process, or that are pinned.
 */
bool fake_pane(void *user, uint64_t at, PtxPane *out);
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

/* ------------------------------------------------------------- kernels.c -- */

/* FAKE_PTX is a number: kernels are run, in orders that are drawn from it, and
 * there is one GPU where FAKE_GPUS does not say how many. */
bool fake_runs_ptx(void);
/* CODE is text, not of a GPU's machine. */
bool fake_is_ptx(const void *code);
CuResult fake_library_new(const void *code, CuLibrary *out);
void fake_library_free(CuLibrary library);
CuResult fake_library_function(CuLibrary library, const char *name,
                               CuFunction *out);

typedef struct FakeShot {
    CuFunction fn;
    unsigned grid[3], block[3], shared;
    CuStream stream;
    void **args;
} FakeShot;

CuResult fake_ptx_launch(const FakeShot *s);

#endif
