/*
 * titan.h: the runtime library: loads a step image and executes it.
 *
 * Every function that can fail returns a TitanStatus, which is also the exit
 * code of a training program; the story is in the context (titan_fail adds
 * the first line, WHILE frames add where it happened).
 */
#ifndef TITAN_H
#define TITAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi.h"

typedef enum TitanStatus {
    TITAN_OK = 0,
    TITAN_USAGE = 64,       /* command line */
    TITAN_BAD_DATA = 65,    /* a file's content, a damaged image too */
    TITAN_UNAVAILABLE = 69, /* device or library missing, or another one */
    TITAN_INTERNAL = 70,
    TITAN_IO = 74,      /* a file cannot be opened, read or written */
    TITAN_STOPPED = 75, /* by a signal, state saved */
    TITAN_RANK_LOST = 76,
    TITAN_MISMATCH = 78, /* a sound image that does not fit */
    TITAN_NUMERICS = 79
} TitanStatus;

enum { TITAN_FRAMES = 8, TITAN_FRAME_TEXT = 400 };

/* What went wrong: one line, then up to eight lines of "while ...". */
typedef struct TitanStory {
    uint32_t n;
    char line[TITAN_FRAMES + 1][TITAN_FRAME_TEXT];
} TitanStory;

#define TITAN_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* Begins the story and returns STATUS, so that `return titan_fail(...)`. */
TitanStatus titan_fail(TitanStory *s, TitanStatus status, const char *fmt, ...)
    TITAN_PRINTF(3, 4);
static inline TitanStatus titan_no_memory(TitanStory *s)
{
    return titan_fail(s, TITAN_UNAVAILABLE, "out of memory");
}
/* Adds "while ..." when STATUS is not OK; returns it. */
TitanStatus titan_while(TitanStory *s, TitanStatus status, const char *fmt, ...)
    TITAN_PRINTF(3, 4);
void titan_story_print(const TitanStory *s, const char *program);
/* One that another process has sent: its lines end, and order a terminal
 * nothing. */
void titan_story_mend(TitanStory *s);

#define TRY(call)                                      \
    do {                                               \
        TitanStatus try_status = (call);               \
        if (try_status != TITAN_OK) return try_status; \
    } while (0)

/* ---------------------------------------------------------------- images -- */

/* A checked view of image bytes, which must outlive it. */
typedef struct TitanImage {
    const unsigned char *at;
    size_t size;
    const TitanHeader *header;
#define T(name, type) \
    const type *name; \
    uint32_t n##name;
    TITAN_TABLES(T)
#undef T
    const char *strings;
} TitanImage;

/* Checks every reference; AT is 8-byte aligned.  BAD_DATA: damaged;
 * MISMATCH: another version. */
TitanStatus titan_image_open(TitanStory *s, const void *at, size_t size,
                             TitanImage *out);
static inline const char *titan_string(const TitanImage *im, uint32_t offset)
{
    return im->strings + offset;
}
/* Whose ranks need the most memory. */
static inline const TitanStage *titan_largest_stage(const TitanImage *im)
{
    const TitanStage *s = im->stages;
    while (s->arena_bytes < im->header->arena_bytes)
        s++;
    return s;
}
/* Of the first stage. */
const TitanEntry *titan_entry(const TitanImage *im, const char *name);
const TitanPort *titan_port(const TitanImage *im, const TitanEntry *e,
                            TitanRole role, const char *path);
/* The value of a fact, or OTHERWISE. */
double titan_fact(const TitanImage *im, const char *name, double otherwise);
/* The image inside the text of a step.ptx, in a buffer for free(). */
TitanStatus titan_ptx_image(TitanStory *s, const char *text, size_t size,
                            void **image, size_t *image_size);
/* The schedule, buffers, parameters and memory of an image, as text for
 * people, written to a stdio stream (FILE *, passed as void to keep stdio
 * out of this header). */
void titan_describe(const TitanImage *im, void *stream);

/* Elements, bytes and names of types (dtypes.def). */
unsigned titan_dtype_bytes(uint32_t dtype);
const char *titan_dtype_name(uint32_t dtype);
bool titan_dtype_is_float(uint32_t dtype);
int64_t titan_elements(const TitanImage *im, TitanRange axes);
/* Where a slot lies. */
static inline TitanBase titan_slot_base(const TitanSlot *s)
{
    return s->flags & TITAN_SLOT_host ? TITAN_BASE_host : TITAN_BASE_persistent;
}
static inline bool titan_has_host_slots(const TitanImage *im)
{
    for (uint32_t i = 0; i < im->nslots; i++)
        if (im->slots[i].flags & TITAN_SLOT_host) return true;
    return false;
}
/* How far an element of a slot is from the first, of which so many come before
 * it. */
int64_t titan_slot_place(const TitanSlot *s, int64_t before);
/* Elements from the first of a slot to the end of its last. */
int64_t titan_slot_reach(const TitanImage *im, const TitanSlot *s);

/* ------------------------------------------------------------- execution -- */

/* Where a list is, for who looks on command by command. */
enum { TITAN_MOST_LOOPS = 8 };
typedef struct TitanMoment {
    const TitanProgram *program;
    const TitanCommand *command; /* that has run */
    uint32_t depth;
    const TitanRun *loop[TITAN_MOST_LOOPS]; /* outermost first */
    int64_t counter[TITAN_MOST_LOOPS];
} TitanMoment;

typedef struct TitanWatch {
    /* Called behind each command, in the order of the list. */
    TitanStatus (*after)(struct TitanWatch *w, const TitanMoment *at);
    bool stop; /* set there: the list ends here */
} TitanWatch;

/* One rank of a host program: its arena, threads and BLAS. */
typedef struct TitanHost TitanHost;

/* Allocates the arena, zeroed, and starts THREADS - 1 threads (0: as many as
 * there are processors, at most header->lanes).  KERNELS has one function per
 * row of `kernels`. */
TitanStatus titan_host_new(TitanStory *s, const TitanImage *im,
                           const TitanHostKernel *kernels, unsigned threads,
                           TitanHost **out);
/* Bytes of the arena, and of what lies on the host behind it. */
size_t titan_host_bytes(const TitanImage *im, uint32_t rank);
/* One rank of several: which, how it reaches the others, and so many bytes,
 * zeroed, that others may reach (NULL: its own).  All of it outlives the host.
 */
typedef struct TitanRank {
    uint32_t rank;
    uint32_t local; /* its number on this machine, and of its GPU */
    bool threads;   /* the others are threads of this process */
    struct Transport *transport;
    void *arena;
} TitanRank;
TitanStatus titan_host_new_rank(TitanStory *s, const TitanImage *im,
                                const TitanHostKernel *kernels,
                                unsigned threads, const TitanRank *r,
                                TitanHost **out);
void titan_host_free(TitanHost *h);
unsigned titan_host_threads(const TitanHost *h);
/* Runs an entry to its end; not reentrant.  Fails where another rank does. */
TitanStatus titan_host_run(TitanHost *h, const TitanEntry *e);
/* Runs the first RUNS runs of an entry in the order of the list, parallel
 * turns too, all of them in lane 0. */
TitanStatus titan_host_watch(TitanHost *h, const TitanEntry *e, uint32_t runs,
                             TitanWatch *w);
/* From now on the number of each command that begins, from 1, is stored there,
 * for who asks what a run hangs in. */
void titan_host_follow(TitanHost *h, _Atomic uint32_t *command);
/* The bytes of a base (lane: of lane 0). */
void *titan_host_base(TitanHost *h, TitanBase base);

/* What a program carries: the image, and kernels for its target. */
typedef struct TitanCode {
    const void *image;
    size_t size;
    const TitanHostKernel *kernels; /* host */
    const char *ptx;                /* GPU: NUL-terminated text */
    size_t ptx_size;
    const void *cubin; /* GPU: machine code, NULL: none */
} TitanCode;

/* A training program: everything around the step.  Returns the exit code. */
int titan_main(int argc, char **argv, const TitanCode *code);

#endif
