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
    uint32_t next;    /* launch on the same stream; NONE: the end */
    double start, ms; /* in the last replay */
} Launch;

/* All launches of one command of the image. */
typedef struct Row {
    const TitanCommand *command;
    uint64_t n;
    double ms;
} Row;

struct CudaProfile {
    CudaPlan plan;
    Launch *launches;
    uint32_t n, cap;
    CuEvent end;
    uint32_t last[TITAN_MOST_STREAMS]; /* launch so far */
    Row *rows;                         /* by command */
    uint32_t steps;
    double step_ms; /* of all steps */
};

#endif
