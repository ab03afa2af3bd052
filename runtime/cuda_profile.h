/*
 * cuda_profile.h: the times of a step's commands.
 */
#ifndef TITAN_CUDA_PROFILE_H
#define TITAN_CUDA_PROFILE_H

#include "cuda_device.h"

#define NONE UINT32_MAX /* no launch */

typedef struct Launch {
    const TitanCommand *command;
    CuEvent before;
    CuEvent met;      /* of a collective by engines: all members are there */
    CuEvent added[2]; /* begin and end of what is added beside the stream */
    uint32_t next;    /* launch on the same stream; NONE: the end */
    double start, ms; /* in the last replay */
    double waits;     /* of these, for other members */
    double adds[2];   /* begin and length; 0: nothing */
} Launch;

/* All launches of one command of the image. */
typedef struct Row {
    const TitanCommand *command;
    uint64_t n;
    double ms, waits;
} Row;

struct CudaProfile {
    CudaPlan plan;
    Launch *launches;
    uint32_t n, cap;
    bool open; /* it is being captured */
    CuEvent end;
    uint32_t last[TITAN_MOST_STREAMS]; /* launch so far */
    Row *rows;                         /* by command */
    uint32_t steps;
    double step_ms; /* of all steps */
};

#endif
