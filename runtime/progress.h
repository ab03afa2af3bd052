/*
 * progress.h: what a run says to people: a line for each logged step, and on a
 * terminal below them one that shows how far it is and what time is left.
 */
#ifndef TITAN_PROGRESS_H
#define TITAN_PROGRESS_H

#include "titan.h"

typedef struct ProgressLine {
    int64_t step;
    double loss, grad_norm;
    double memory, memory_part; /* GiB; of the device's, NaN: not known */
    double tps, tflops, mfu;    /* NaN: not known */
    const char *skipped;        /* NULL: it was not */
} ProgressLine;

typedef struct Progress {
    bool quiet, tty;
    bool shown;       /* the bar is on the screen */
    double mean_step; /* seconds, smoothed, for the time left */
    double drawn;     /* when the bar was drawn */
    double step_at;   /* when the last step was over */
} Progress;

void progress_open(Progress *p, bool quiet);
void progress_line(Progress *p, const ProgressLine *l);
/* The loss of a validation. */
void progress_valid(Progress *p, int64_t step, double loss);
/* A step is over. */
void progress_step(Progress *p, int64_t step, int64_t steps);
/* Takes the bar away: others write to the terminal. */
void progress_clear(Progress *p);

#endif
