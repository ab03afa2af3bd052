/*
 * metrics.h: what a run says while it goes: the progress line, metrics.jsonl,
 * and the loss curve at the end.
 */
#ifndef TITAN_METRICS_H
#define TITAN_METRICS_H

#include <stdio.h>

#include "titan.h"

/* A step, as logged. */
typedef struct StepMetrics {
    int64_t step, steps;
    double loss, grad_norm, lr;
    const char *skipped;      /* why; NULL: it was applied */
    double seconds;           /* since the last logged step */
    int64_t tokens;           /* likewise, on this device */
    double tokens_per_second; /* filled by metrics_step */
} StepMetrics;

/* A further record of the step, by name: numbers, one per element. */
typedef struct StepRecord {
    const char *name;
    const double *values;
    int64_t n;
} StepRecord;

typedef struct Metrics {
    FILE *jsonl; /* NULL: not asked for */
    const char *path;
    double flops_per_token; /* 0: not known */
    double peak_flops;      /* of the device, 0: not known */
    uint64_t peak_bytes;
    bool quiet, tty;
    double mean_step; /* seconds, smoothed, for the time left */
    float *losses;    /* of logged steps, for the curve */
    int64_t nlosses, cap;
} Metrics;

TitanStatus metrics_open(TitanStory *s, Metrics *m, const char *path);
TitanStatus metrics_step(TitanStory *s, Metrics *m, StepMetrics *step,
                         const StepRecord *records, uint32_t n);
/* The loss curve on stdout, for people; nothing for fewer than two points. */
void metrics_curve(const Metrics *m);
TitanStatus metrics_close(TitanStory *s, Metrics *m);

#endif
