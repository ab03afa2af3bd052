/*
 * device.h: one rank of a program, on the host or on a GPU: the arena, and the
 * entries that run on it.
 *
 * What is asked of a device happens in the order of asking: a write before a
 * run is seen by it, a run before a read is over when the read returns.  A GPU
 * runs behind: `device_run` and `device_keep` return at once, and so that it
 * never waits for the host, the records of a step are looked at `lag` steps
 * later.
 *
 *     device_write(d, inputs of step n)
 *     device_run(d, train)
 *     device_keep(d, train, n)          the io base as step n left it
 *     device_kept(d, n - d->lag, &io)   waits for that step
 *
 * One thread uses a device, but for `device_staged`.  A failure's story goes to
 * the TitanStory that it was made with.
 */
#ifndef TITAN_DEVICE_H
#define TITAN_DEVICE_H

#include "titan.h"

typedef struct TitanDevice TitanDevice;

/* A process beside this one that says of which kernel the driver's compiler
 * dies, should this one end while that is at work; 0: there is none. */
typedef _Atomic int DeviceGuard;

typedef struct DeviceOptions {
    unsigned threads;       /* host: 0: all processors */
    int64_t gemm_algos;     /* GPU: how many to time for each gemm; 0: none */
    const char *gemm_table; /* GPU: file of the choices, or NULL */
    _Atomic uint32_t *command; /* where the command that runs is told; NULL */
    bool sync;                 /* GPU: one command at a time */
    bool rank_order;           /* GPU: sums over ranks in their order */
    bool nccl_alone;           /* GPU: nothing by copy engines */
    bool nccl_copies;          /* GPU: NCCL does not know the arena */
    bool verbose;
    const TitanRank *rank; /* of several; NULL: the image is for one */
    bool processes;        /* the ranks are processes, not threads */
    size_t send_room;      /* host: a message of so many bytes is left for its
                              receiver, and the sender goes on */
    struct Link *link;     /* the ranks are a launcher's, or NULL */
    double patience;       /* seconds until all ranks are there */
    struct Board *board;   /* what the ranks are doing, or NULL */
    DeviceGuard *guard;    /* GPU: begun, ended when all is compiled; NULL: the
                              device has its own */
} DeviceOptions;

/* Floats somewhere in a base: the last span is the innermost. */
typedef struct DeviceFloats {
    uint32_t dtype;
    unsigned may; /* bits of TITAN_MAY_ */
    const TitanSpan *spans;
    uint32_t nspans;
} DeviceFloats;

/* A list that is run command by command and looked at (exam.h). */
typedef struct Exam {
    int64_t fault; /* VALUE is put into the float tensor of this number that is
                      written, from 1; 0: into none */
    double value;
    uint32_t rank; /* on this one */
    bool look;     /* for what is not finite; else the fault is told */
    bool whole;    /* all of the entry, not just up to its update */
} Exam;

enum { FINDING_TEXT = 1024 };

/* What a rank has seen; of several, what all of them have. */
typedef struct Finding {
    int64_t seen; /* float tensors that were written; of a fault: on its rank */
    bool found;   /* one is not finite */
    bool brought; /* by a collective: it comes from elsewhere, or is a sum */
    uint32_t rank;
    double when;             /* by a clock that machines share */
    char text[FINDING_TEXT]; /* lines, where there is something to tell */
} Finding;

/* What a rank says of the steps that were profiled; times of one step, in ms.
 */
typedef struct Profiled {
    uint64_t begin;    /* of the last of them, in ns by the machine's clock; 0:
                          not known */
    double step, idle; /* nothing runs in it; 0: not known */
    double computes, collectives, waits; /* waits: for other ranks */
    char how[200];                       /* it was timed */
    size_t bytes;                        /* of the text */
    const char *text; /* events of a trace in JSON with commas between, as long
                         as the device lives and is asked nothing of this */
} Profiled;

typedef struct DeviceClass {
    TitanStatus (*write)(TitanDevice *d, TitanBase base, uint64_t offset,
                         const void *from, size_t bytes);
    TitanStatus (*read)(TitanDevice *d, TitanBase base, uint64_t offset,
                        void *to, size_t bytes);
    /* NULL: write and read at the port's offset */
    TitanStatus (*put)(TitanDevice *d, const TitanPort *p, const void *from);
    TitanStatus (*get)(TitanDevice *d, const TitanPort *p, void *to);
    TitanStatus (*prepare)(TitanDevice *d, const TitanEntry *e);
    TitanStatus (*run)(TitanDevice *d, const TitanEntry *e);
    TitanStatus (*keep)(TitanDevice *d, const TitanEntry *e, int64_t turn);
    TitanStatus (*kept)(TitanDevice *d, int64_t turn, const char **io);
    TitanStatus (*watch)(TitanDevice *d, const TitanEntry *e, uint32_t runs,
                         TitanWatch *w);
    /* All ranks, where there are several; NULL: exam_run */
    TitanStatus (*examine)(TitanDevice *d, const TitanEntry *e, const Exam *x,
                           Finding *out);
    bool (*stage_open)(TitanDevice *d);
    TitanStatus (*stage)(TitanDevice *d);
    TitanStatus (*staged)(TitanDevice *d, TitanStory *story,
                          TitanDevice **copy);
    /* NULL: the host looks for itself */
    TitanStatus (*scan)(TitanDevice *d, TitanBase base, uint64_t offset,
                        const DeviceFloats *f, bool *clean);
    /* NULL: this device has no profile */
    TitanStatus (*profile)(TitanDevice *d, const TitanEntry *e);
    /* The trace counts from FROM, as `begin` does, or, if it is 0 or not known,
     * from the step's begin; into d->profiled. */
    TitanStatus (*profiled)(TitanDevice *d, uint64_t from);
    /* A table on stdout, of what is in d->profiled, and a trace. */
    TitanStatus (*profile_table)(TitanDevice *d);
    TitanStatus (*profile_write)(TitanDevice *d, const char *path);
    void (*free)(TitanDevice *d);
} DeviceClass;

struct TitanDevice {
    const DeviceClass *class;
    TitanStory *story;
    char *arena[TITAN_BASE_COUNT]; /* where the host reaches it, else NULL */
    uint32_t rank;                 /* of several */
    int64_t lag;                   /* steps that records come late: 0 or 1 */
    double peak_flops;             /* for mfu; 0: not known */
    double memory_bytes;           /* of the device; 0: not known */
    char about[512];               /* what it is, for people */
    Finding finding;               /* of one rank: of its last exam */
    Profiled profiled;             /* of one rank */
};

/* The device that the image is compiled for; of several ranks, all of them as
 * one (mesh.h).  STORY outlives it.  Of a GPU that is one of several ranks *OUT
 * is what could be made of it, also where that is not all: other ranks may be
 * about to reach into it, and it is freed when they are not any more. */
TitanStatus device_new(TitanStory *story, const TitanImage *im,
                       const TitanCode *code, const DeviceOptions *o,
                       TitanDevice **out);
TitanStatus device_cuda_new(TitanStory *story, const TitanImage *im,
                            const TitanCode *code, const DeviceOptions *o,
                            TitanDevice **out);

/* Where the image is for a GPU and has to be compiled; before other threads of
 * this process open a driver, which what is forked beside them cannot. */
void device_guard_begin(DeviceGuard *g, const TitanImage *im,
                        const TitanCode *code);
/* Once or more often, from any thread. */
void device_guard_end(DeviceGuard *g);

/* FROM may be changed when it returns. */
static inline TitanStatus device_write(TitanDevice *d, TitanBase base,
                                       uint64_t offset, const void *from,
                                       size_t bytes)
{
    return d->class->write(d, base, offset, from, bytes);
}

static inline TitanStatus device_read(TitanDevice *d, TitanBase base,
                                      uint64_t offset, void *to, size_t bytes)
{
    return d->class->read(d, base, offset, to, bytes);
}

/* The value of a port, of BYTES. */
static inline TitanStatus device_put(TitanDevice *d, const TitanPort *p,
                                     const void *from, size_t bytes)
{
    if (d->class->put) return d->class->put(d, p, from);
    return device_write(d, TITAN_BASE_io, p->offset, from, bytes);
}

static inline TitanStatus device_get(TitanDevice *d, const TitanPort *p,
                                     void *to, size_t bytes)
{
    if (d->class->get) return d->class->get(d, p, to);
    return device_read(d, TITAN_BASE_io, p->offset, to, bytes);
}

/* Says that E will run often. */
static inline TitanStatus device_prepare(TitanDevice *d, const TitanEntry *e)
{
    return d->class->prepare(d, e);
}

static inline TitanStatus device_run(TitanDevice *d, const TitanEntry *e)
{
    return d->class->run(d, e);
}

/* Runs the first RUNS runs of E command by command; `after` may read and write
 * the bases of D, and sees what the command has written.  Of one rank. */
static inline TitanStatus device_watch(TitanDevice *d, const TitanEntry *e,
                                       uint32_t runs, TitanWatch *w)
{
    return d->class->watch(d, e, runs, w);
}

/* CLEAN: all of F are finite, or infinities that are meant; false where the
 * device cannot say. */
static inline TitanStatus device_scan(TitanDevice *d, TitanBase base,
                                      uint64_t offset, const DeviceFloats *f,
                                      bool *clean)
{
    *clean = false;
    if (!d->class->scan) return TITAN_OK;
    return d->class->scan(d, base, offset, f, clean);
}

static inline bool port_is_kept(const TitanPort *p)
{
    return p->role == TITAN_ROLE_record || p->role == TITAN_ROLE_check ||
           p->role == TITAN_ROLE_skip;
}

/* Keeps what E's records and checks are after the runs so far, until the
 * turn after the next is kept (a device that does not lag: the next). */
static inline TitanStatus device_keep(TitanDevice *d, const TitanEntry *e,
                                      int64_t turn)
{
    return d->class->keep(d, e, turn);
}

/* IO: the io base, of which the kept ports are as they were. */
static inline TitanStatus device_kept(TitanDevice *d, int64_t turn,
                                      const char **io)
{
    return d->class->kept(d, turn, io);
}

/* Makes room for a copy of the persistent base; false: there is none, or not
 * all slots lie there. */
static inline bool device_stage_open(TitanDevice *d)
{
    return d->class->stage_open(d);
}

/* Begins to copy the persistent base as the runs so far leave it; what is run
 * later does not show in the copy, and is not held up longer than it must. */
static inline TitanStatus device_stage(TitanDevice *d)
{
    return d->class->stage(d);
}

/* Waits for the copy, which stays until the next is begun: a device of D's that
 * can be read and nothing else.  From any thread, with a story of its own. */
static inline TitanStatus device_staged(TitanDevice *d, TitanStory *story,
                                        TitanDevice **copy)
{
    return d->class->staged(d, story, copy);
}

/* Bytes of memory that programs of this machine could have; 0: not known. */
uint64_t host_available(void);

static inline void device_free(TitanDevice *d)
{
    if (d) d->class->free(d);
}

/* Bytes of a base as host memory: where they lie, if the host reaches them,
 * else a copy. */
typedef struct Window {
    char *at;
    TitanBase base;
    uint64_t offset;
    size_t bytes;
    bool copied;
} Window;

/* FILL: with what the device has, not just for writing all of it. */
TitanStatus window_open(TitanDevice *d, TitanBase base, uint64_t offset,
                        size_t bytes, bool fill, Window *out);
/* FLUSH: what was written goes to the device. */
TitanStatus window_close(TitanDevice *d, Window *w, bool flush);

#endif
