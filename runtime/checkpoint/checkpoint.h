/*
 * checkpoint.h: the state of a run, kept in a folder of steps.
 *
 *     checkpoint_open                       what is there, and may be done
 *     checkpoint_resume                     the newest whole one, or none
 *     each step:
 *         submit step n to the device
 *         checkpoint_stage(c, point of n)   the state is copied behind step n
 *         look at the records of step n
 *         checkpoint_write(c)               a thread writes the copy
 *     checkpoint_last                       what the run leaves
 *     checkpoint_close
 *
 * Nothing that runs after checkpoint_stage shows in what is written.  All calls
 * come from the thread that uses the device.
 */
#ifndef TITAN_CHECKPOINT_H
#define TITAN_CHECKPOINT_H

#include <pthread.h>
#include <stdatomic.h>

#include "../device.h"
#include "../files.h"
#include "state.h"

typedef struct CheckpointOptions {
    const char *dir;     /* --checkpoint; NULL: nothing is saved */
    const char *resume;  /* "auto", a step, or a folder; NULL: begin anew */
    int64_t rewind;      /* "auto": one that is so many steps older or more */
    const char *exclude; /* what is not loaded, by commas; or NULL */
    const char *last;    /* "full" or "model": what the last save keeps */
    const char *dtype;   /* of the weights of a save of the model alone */
    const char *failure; /* "go-on" or "stop" */
    int64_t every;       /* steps; 0: only the last */
    int64_t keep;        /* the newest so many; 0: all */
    bool first;          /* step 1 too */
    bool on_exhaustion;  /* the end of the data is a last step */
    bool sync, load_only;
    bool seed;  /* save step 0 and end */
    bool reads; /* nothing is gone on from: the model alone will do */
    bool quiet;
} CheckpointOptions;

/* Where a run stands, beside its tensors. */
typedef struct RunPoint {
    int64_t step;
    int64_t tokens; /* of the data, up to here */
    int64_t seed;
    char *data; /* state of the reader, as JSON; or NULL; malloc'ed */
} RunPoint;

/* One save on its way. */
typedef struct Save {
    RunPoint at;
    bool model_only, last;
    TitanDevice *from; /* whose persistent base is written */
    TitanStory story;
    TitanStatus status;
    double begun, seconds; /* until all of it is on the disk */
    double checked;        /* reading it back, and what follows */
    uint64_t bytes;
} Save;

typedef struct Checkpoints {
    TitanStory *story;
    const TitanImage *im;
    TitanDevice *device;
    const CheckpointOptions *o;
    Files *files;
    State state;
    uint32_t dtype; /* of o->dtype */
    bool saves, stages;
    bool locked; /* the folder is this run's while `lock` is open */
    int lock;
    bool staged; /* `save` is for what was staged and not yet written */
    bool running;
    atomic_bool over; /* the thread has nothing more to do */
    pthread_t thread;
    Save save;
    int64_t newest; /* whole checkpoint of this run; -1: none yet */
    double took;    /* seconds of a save that is over; its reader sets 0 */
    /* NULL, or called where a save has become a checkpoint */
    void (*saved)(void *user, const Save *save);
    void *user;
} Checkpoints;

/* Checks what was asked for against what is in the folder, before the run
 * begins.  STORY, IM, DEVICE and O outlive C; FILES: NULL is the real ones. */
TitanStatus checkpoint_open(TitanStory *s, const TitanImage *im,
                            TitanDevice *device, const CheckpointOptions *o,
                            Files *files, Checkpoints *c);
/* FOUND: the state is loaded and AT says where it stands; the model alone where
 * the step is 0.  IGNORES: what the run was to begin with instead is not to be
 * loaded. */
TitanStatus checkpoint_resume(Checkpoints *c, RunPoint *at, bool *found,
                              bool *ignores);

/* A step whose turn it is, of a run that ends with LAST. */
bool checkpoint_due(const Checkpoints *c, int64_t step, int64_t last);
/* Takes AT over.  Waits for a save that is not over. */
TitanStatus checkpoint_stage(Checkpoints *c, RunPoint at);
/* Writes what was staged, if anything was and its step is not beyond DONE. */
TitanStatus checkpoint_write(Checkpoints *c, int64_t done);
/* Saves what the device has, and waits; takes AT over.  FULL: whatever
 * --last-save says. */
TitanStatus checkpoint_last(Checkpoints *c, RunPoint at, bool full);
/* Waits for a save that is not over; OK where there was none. */
TitanStatus checkpoint_close(Checkpoints *c);

void point_free(RunPoint *at);

#endif
