/*
 * cuda_profile.h: the times of a step's commands.
 */
#ifndef TITAN_CUDA_PROFILE_H
#define TITAN_CUDA_PROFILE_H

#include "cuda_device.h"

#define NONE UINT32_MAX /* no launch */

/* In ms. */
typedef struct Interval {
    bool there;
    double start, ms;
} Interval;

/* A command, each time that it is put on a stream. */
typedef struct Launch {
    const TitanCommand *command;
    CuEvent before;
    CuEvent met;      /* of a collective by engines: all members are there */
    CuEvent added[2]; /* begin and end of what is added beside the stream */
    uint32_t next;    /* launch on the same stream; NONE: the end */
    bool meets;       /* it waits for other members first */
    bool joins;       /* it comes behind what was beside its stream */
    /* in the last step, from its begin */
    Interval own;          /* by CUPTI it may have nothing of its own: one of
                              several collectives that are one kernel */
    double waits;          /* of it, for other members */
    Interval adds, copies; /* beside the stream */
} Launch;

/* All launches of one command of the image. */
typedef struct Row {
    const TitanCommand *command;
    uint64_t n;
    double ms, waits;
} Row;

typedef struct CudaCupti CudaCupti;

struct CudaProfile {
    CudaPlan plan;
    Launch *launches;
    uint32_t n, cap;
    bool open;                          /* it is being captured */
    uint32_t walked;                    /* launch */
    uint32_t last[TITAN_MOST_STREAMS];  /* launch so far */
    uint32_t early[TITAN_MOST_STREAMS]; /* one that is yet to come, or NONE */
    bool joined[TITAN_MOST_STREAMS];    /* behind what was beside it */
    CuEvent end;
    CudaCupti *cupti; /* NULL: by events */
    char how[200];    /* it is timed, for people */
    Row *rows;        /* by command */
    uint32_t steps;
    double step_ms;  /* of all steps */
    double idle_ms;  /* of these: nothing runs; events do not know */
    uint64_t begin;  /* of the last step, in ns by a clock of the machine; 0:
                        events have none */
    char *text;      /* of the trace; NULL: nobody asked */
    uint32_t missed; /* kernels and products without a time */
};

/* Seconds that the compiler expects; 0: not known. */
double cuda_predicted(const Cuda *c, const TitanCommand *cmd);
/* Work a second; 0 of a command that is shorter than the clock's step. */
double cuda_rate(double work, double seconds);
/* What a launch took in a step goes to its row. */
void cuda_profile_count(Cuda *c, const Launch *l);
/* All steps are over: their times are there. */
TitanStatus cuda_profile_settle(Cuda *c);

/* ------------------------------------------------------ cuda_cupti.c -- */

/* What is done for a launch. */
typedef enum CudaPart { PART_own, PART_adds, PART_copies, PART_COUNT } CudaPart;

/* NULL: CUPTI is not to be had, and WHY has the reason. */
CudaCupti *cuda_cupti_new(char *why, size_t size);
void cuda_cupti_free(CudaCupti *t);
/* "CUPTI 13.0" */
void cuda_cupti_about(char *out, size_t size);
/* The nodes of what is captured between are those of launches; false: nothing
 * is heard of them, and WHY has the reason. */
bool cuda_cupti_listen(CudaCupti *t, char *why, size_t size);
bool cuda_cupti_heard(CudaCupti *t, char *why, size_t size);
/* Nodes that are made from here on are a launch's. */
void cuda_cupti_part(CudaCupti *t, uint32_t launch, CudaPart part);
/* Around a step, which is over when it ends. */
TitanStatus cuda_cupti_begin(Cuda *c);
void cuda_cupti_end(void);
/* Whether there is any time of its nodes. */
bool cuda_cupti_any(const CudaCupti *t);
/* Up to the next step no GPU is watched. */
void cuda_cupti_rest(CudaCupti *t);
/* Of all steps: what launches took in the last one, and rows in all. */
TitanStatus cuda_cupti_read(Cuda *c);

#endif
