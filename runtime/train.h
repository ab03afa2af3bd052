/*
 * train.h: the run around the step, apart from the command line.
 */
#ifndef TITAN_TRAIN_H
#define TITAN_TRAIN_H

#include "checkpoint/checkpoint.h"
#include "diagnose.h"
#include "feed.h"
#include "metrics.h"
#include "stop.h"
#include "validate.h"
#include "watchdog.h"
#include "weights.h"

typedef struct RunOptions {
    FeedOptions data;
    ValidOptions valid;
    int64_t steps; /* -1: the config value `steps` */
    int64_t seed;
    bool seed_given; /* else a checkpoint's is taken */
    ImportOptions import;
    ExportOptions export;
    MetricsOptions metrics;
    const char *ledger;   /* NULL: beside the checkpoints */
    int64_t skip_batches; /* where the run begins or goes on */
    int64_t log_every, max_skips;
    int64_t ranks;       /* --ranks or --nproc; 0: as compiled */
    double peak_tflops;  /* 0: not known */
    const char *profile; /* NULL: not asked for */
    DeviceOptions device;
    CheckpointOptions checkpoint;
    StopOptions stop;
    WatchdogOptions watchdog;
    Inject inject;
    bool diagnose, describe;
} RunOptions;

TitanStatus titan_train(TitanStory *s, const TitanImage *im,
                        const TitanCode *code, const RunOptions *o);

#endif
