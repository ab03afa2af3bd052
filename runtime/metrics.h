/*
 * metrics.h: what a run says while it goes: a line for people, rows of
 * metrics.jsonl, events for TensorBoard, and the loss curve at the end.
 */
#ifndef TITAN_METRICS_H
#define TITAN_METRICS_H

#include "events.h"
#include "jsonl.h"
#include "progress.h"

/* A step, as logged. */
typedef struct StepMetrics {
    int64_t step, steps;
    double loss, grad_norm, lr;
    bool validated;
    double valid_loss;
    const char *skipped; /* why; NULL: it was applied */
    bool repeats;        /* steps may be repeated with room for all rows */
    /* of the steps since the last that was logged: */
    int64_t since;       /* how many */
    int64_t repeated;    /* how many of them were repeated */
    double seconds;      /* all of them, without saves and validation */
    double data;         /* of these waiting for data */
    int64_t tokens;      /* on this device */
    int64_t tokens_seen; /* since the first step */
} StepMetrics;

/* A further record of the step, by name: numbers, one per element. */
typedef struct StepRecord {
    const char *name;
    const double *values;
    int64_t n;
} StepRecord;

typedef struct MetricsOptions {
    const char *jsonl, *events; /* NULL: not asked for */
    bool quiet, go_on;          /* go_on: see Sink */
} MetricsOptions;

typedef struct Metrics {
    Jsonl rows;
    Events events;
    Progress progress;
    double flops_per_token;          /* 0: not known */
    double peak_flops;               /* of the device, 0: not known */
    double peak_bytes, memory_bytes; /* of the arena; the device's, 0: ditto */
    float *losses; /* of every so many logged steps, for the curve */
    int64_t nlosses, nlogged, every;
    int64_t first_step, last_step; /* of the first and the last of them */
} Metrics;

/* DONE: the steps that the run has behind it.  Jsonl of later ones are dropped;
 * 0 begins the files anew. */
TitanStatus metrics_open(TitanStory *s, Metrics *m, const MetricsOptions *o,
                         int64_t done);
TitanStatus metrics_step(TitanStory *s, Metrics *m, const StepMetrics *step,
                         const StepRecord *records, uint32_t n);
/* The loss curve on stdout, for people; nothing for fewer than two points. */
void metrics_curve(const Metrics *m);
TitanStatus metrics_close(TitanStory *s, Metrics *m);

#endif
