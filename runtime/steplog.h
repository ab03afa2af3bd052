/*
 * steplog.h: what is said of a step once it is done: its records, read from
 * the ports that the device has kept, go to the metrics.
 */
#ifndef TITAN_STEPLOG_H
#define TITAN_STEPLOG_H

#include "ledger.h"
#include "metrics.h"
#include "pulse.h"
#include "skip.h"

/* The first eight are its maker's. */
typedef struct StepLog {
    TitanStory *story;
    const TitanImage *im;
    const TitanEntry *entry; /* that made the step in `io` */
    const Pulse *pulse;
    int64_t every;    /* steps: step 1 and every such one is logged */
    int64_t tokens;   /* of a step */
    bool repeats;     /* steps may be repeated */
    int64_t repeated; /* how many were, since the last that was logged */
    const char *io;   /* as the step that is looked at left it */
    Metrics metrics;
    Ledger ledger;
    int64_t tokens_seen;   /* since the first step of the run or of those that
                            * it goes on from */
    int64_t since;         /* steps since the last logged one */
    double seconds, data;  /* of steps, and waiting for data, up to that one */
    int64_t valid_step[2]; /* that were validated last, odd and even ones */
    double valid_loss[2];
    bool idle;           /* that the rate has come to nothing was said */
    StepRecord *records; /* one for each port at most */
    double *values;      /* of all records */
} StepLog;

TitanStatus log_open(StepLog *l);
void log_close(StepLog *l);

/* A scalar record of the step in `io`; NaN where the entry has none such. */
double log_record(const StepLog *l, const char *name);
bool log_applied(const StepLog *l);
Skip log_skip(const StepLog *l, int64_t step);

/* What the validation behind a step gave; before the step is logged. */
void log_valid(StepLog *l, int64_t step, double loss);
/* Logs the step in `io`, if its turn has come, or it was skipped or validated.
 */
TitanStatus log_step(StepLog *l, int64_t step, int64_t steps);
/* What the time of the run went into, on stdout, for people. */
void log_time(const StepLog *l);

/* Rows of the ledger.  DATA: where the data stands behind the step, as JSON or
 * NULL. */
TitanStatus log_begin(StepLog *l, int64_t step, const char *event,
                      const char *data);
TitanStatus log_skipped(StepLog *l, const Skip *k, const char *data);
TitanStatus log_left_out(StepLog *l, int64_t step, int64_t batches,
                         const char *data);
TitanStatus log_end(StepLog *l, int64_t step, TitanStatus how);

#endif
