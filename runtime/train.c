/*
 * train.c: one rank's training run.
 *
 * init, weights, then for each step: the batch into the io base, the entry
 * `train`, and the records out again.  The arena is all the memory that the
 * step uses.  A device may lag: the batch of the next step is read and
 * submitted before the records of this one are waited for.
 *
 * A program with the entry `train.worst` may find in a step that rows had no
 * room: the step was not applied then, its loss is NaN, and it is run again
 * with that entry before anything follows it.
 */
#include "train.h"

#include "diagnose.h"
#include "skip.h"
#include "steplog.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { PROFILE_AFTER = 3, PROFILED = 2 };

typedef struct Run {
    TitanStory *story;
    const TitanImage *im;
    const RunOptions *o;
    TitanDevice *device;
    const TitanEntry *train;
    const TitanEntry *worst; /* what a step is repeated with, or NULL */
    Feed feed;
    Validation valid;
    StepLog log;
    Skips skips;
    bool diagnosed; /* a skipped step */
    Stop *stop;
    Pulse *pulse;
    Checkpoints checkpoints;
    RunPoint start; /* where the run goes on from */
    int64_t seed;
    int64_t done;   /* steps that are over: run, and looked at */
    int64_t last;   /* the step behind which the run ends */
    bool exhausted; /* because the data does */
} Run;

static TitanStatus set_scalar(Run *r, const TitanEntry *e, const char *name,
                              int64_t value)
{
    const TitanPort *p = titan_port(r->im, e, TITAN_ROLE_scalar, name);
    if (!p) return TITAN_OK;
    return device_put(r->device, p, &value, titan_dtype_bytes(p->dtype));
}

static TitanStatus fill_step(Run *r, const TitanEntry *e, int64_t step)
{
    Phase before = pulse_enter(r->pulse, PHASE_data);
    r->feed.entry = e;
    TRY(feed_step(&r->feed, step));
    pulse_enter(r->pulse, before);
    TRY(set_scalar(r, e, "step", step));
    return set_scalar(r, e, "seed", r->seed);
}

static TitanStatus read_checks(Run *r, int64_t step)
{
    const TitanEntry *e = r->log.entry;
    for (uint32_t i = 0; i < e->ports.n; i++) {
        const TitanPort *p = &r->im->ports[e->ports.first + i];
        if (p->role == TITAN_ROLE_check && !r->log.io[p->offset])
            return titan_fail(r->story, TITAN_BAD_DATA,
                              "check failed in step %" PRId64 ": %s", step,
                              titan_string(r->im, p->path));
    }
    return TITAN_OK;
}

static Suspect suspect(const Run *r, int64_t step)
{
    return (Suspect){r->im, r->device, step, &r->o->inject};
}

/* Says where the step stops being finite.  A device that lags has gone on by a
 * step, and what that changed is changed here too. */
static TitanStatus diagnose(Run *r, int64_t step)
{
    const TitanEntry *e = titan_entry(r->im, "diagnose");
    Suspect s = suspect(r, step);
    if (!e) return TITAN_OK;
    TRY(fill_step(r, r->train, step));
    return titan_while(r->story, diagnose_run(&s, e, stderr), "diagnosing it");
}

/* Where the data stands behind the step says which samples it had. */
static TitanStatus ledger_skip(Run *r, const Skip *k)
{
    char *data = NULL;
    TRY(feed_state(&r->feed, k->step, &data));
    TitanStatus st = log_skipped(&r->log, k, data);
    free(data);
    return st;
}

/* The first step that is skipped without a rule is looked into. */
static TitanStatus note_skip(Run *r, int64_t step)
{
    if (log_applied(&r->log)) {
        skips_end(&r->skips);
        return TITAN_OK;
    }
    Skip k = log_skip(&r->log, step);
    TRY(ledger_skip(r, &k));
    TitanStatus st = skips_add(r->story, &r->skips, &k);
    /* A rule of the program says why itself. */
    if (k.rule || r->diagnosed) return st;
    r->diagnosed = true;
    TRY(diagnose(r, step));
    return st;
}

/* ------------------------------------------------------------------- run -- */

static TitanStatus init_weights(Run *r)
{
    const TitanEntry *init = titan_entry(r->im, "init");
    if (init) {
        TRY(set_scalar(r, init, "seed", r->seed));
        TRY(titan_while(r->story, device_run(r->device, init),
                        "making initial values"));
    }
    return TITAN_OK;
}

static TitanStatus take_start(Run *r)
{
    if (r->o->seed_given && r->seed != r->start.seed)
        fprintf(stderr,
                "note: the checkpoint was made with --seed %" PRId64
                ", the run goes on with %" PRId64 "\n",
                r->start.seed, r->seed);
    else
        r->seed = r->start.seed;
    r->done = r->start.step;
    return TITAN_OK;
}

/* A folder that is there says what a run begins with, even an empty one. */
static TitanStatus load_weights(Run *r)
{
    bool found, ignores;
    char from[FILES_PATH];
    TRY(checkpoint_resume(&r->checkpoints, &r->start, &found, &ignores));
    if (found) TRY(take_start(r));
    if (r->o->import.n == 0) return TITAN_OK;
    if (!ignores)
        return weights_import(r->story, r->im, r->device, &r->o->import);
    weights_import_words(&r->o->import, from, sizeof from);
    fprintf(
        stderr,
        "warning: --init-from %s is ignored: the run goes on from what is "
        "in \"%s\"%s\n",
        from,
        r->o->checkpoint.dir ? r->o->checkpoint.dir : r->o->checkpoint.resume,
        found ? ""
              : ", which is nothing: it begins with its own initial values");
    return TITAN_OK;
}

/* What was drawn depends on the seed, which a checkpoint may say. */
static TitanStatus begin_state(Run *r)
{
    TRY(init_weights(r));
    return load_weights(r);
}

/* Two steps after the first three, or the last of a shorter run. */
static bool is_profiled(const Run *r, int64_t step, int64_t steps)
{
    int64_t first =
        steps < PROFILE_AFTER + PROFILED ? steps - PROFILED : PROFILE_AFTER;
    return r->o->profile && step > first && step <= first + PROFILED;
}

static TitanStatus run_step(Run *r, const TitanEntry *e, int64_t step)
{
    r->log.entry = e;
    TRY(fill_step(r, e, step));
    TRY(device_run(r->device, e));
    return device_keep(r->device, e, step);
}

/* A row that finds no room makes the loss NaN. */
static TitanStatus repeat_step(Run *r, int64_t step)
{
    if (!r->worst || r->o->inject.step == step) return TITAN_OK;
    TRY(device_kept(r->device, step, &r->log.io));
    if (log_applied(&r->log) || !isnan(log_record(&r->log, "loss")))
        return TITAN_OK;
    TRY(titan_while(r->story, run_step(r, r->worst, step),
                    "repeating it with room for all rows"));
    TRY(device_kept(r->device, step, &r->log.io));
    if (log_applied(&r->log)) r->log.repeated++;
    return TITAN_OK;
}

static TitanStatus submit_step(Run *r, int64_t step, int64_t steps)
{
    Suspect s = suspect(r, step);
    pulse_step(r->pulse, step);
    if (step == 1 && r->o->diagnose) {
        fprintf(stderr, "step 1, looked into before it is run:\n");
        TRY(diagnose(r, step));
    }
    TRY(fill_step(r, r->train, step));
    r->log.entry = r->train;
    if (r->o->inject.step == step)
        TRY(diagnose_inject(&s, r->train, stderr));
    else if (is_profiled(r, step, steps))
        TRY(r->device->class->profile(r->device, r->train));
    else
        TRY(device_run(r->device, r->train));
    TRY(device_keep(r->device, r->train, step));
    return repeat_step(r, step);
}

static TitanStatus finish_step(Run *r, int64_t step, int64_t steps)
{
    TRY(device_kept(r->device, step, &r->log.io));
    TRY(read_checks(r, step));
    Phase before = pulse_enter(r->pulse, PHASE_log);
    TRY(log_step(&r->log, step, steps));
    pulse_enter(r->pulse, before);
    return note_skip(r, step);
}

static TitanStatus open_log(Run *r)
{
    StepLog *l = &r->log;
    l->story = r->story;
    l->im = r->im;
    l->entry = r->train;
    l->repeats = r->worst != NULL;
    l->pulse = r->pulse;
    l->every = r->o->log_every;
    l->tokens = r->feed.rows * r->feed.length;
    l->tokens_seen = r->start.tokens;
    return log_open(l);
}

static void print_start(const Run *r)
{
    if (r->o->metrics.quiet) return;
    char data[256];
    feed_about(&r->feed, data, sizeof data);
    printf("%.0f parameters, arena %.1f MiB%s, %s, %s, %" PRId64 " x %" PRId64
           " tokens a step\n",
           titan_fact(r->im, "parameters", 0),
           (double)r->im->header->arena_bytes / 1048576.0,
           r->im->header->ranks > 1 ? " each" : "", r->device->about, data,
           r->feed.rows, r->feed.length);
    const TitanHeader *h = r->im->header;
    if (h->rehearses)
        printf("a rehearsal: %" PRIu32 " ranks play %" PRIu32
               "; only times and memory mean something\n",
               h->ranks, h->rehearses);
    fflush(stdout);
}

static TitanStatus finish_steps(Run *r, int64_t to)
{
    while (r->done < to) {
        r->done++;
        TRY(titan_while(r->story, finish_step(r, r->done, r->last),
                        "running step %" PRId64, r->done));
    }
    return TITAN_OK;
}

/* What becomes of the state of a run whose data ended. */
static const char *kept_at_end(const Run *r)
{
    if (!r->checkpoints.saves) return "";
    return r->o->checkpoint.on_exhaustion
               ? ", its state is saved"
               : ", its state is not saved (--save-on-exhaustion)";
}

/* A step without all of its rows is not run; training is over. */
static TitanStatus note_end(Run *r, int64_t last)
{
    r->last = last;
    r->exhausted = true;
    if (last == 0)
        return titan_fail(r->story, TITAN_BAD_DATA,
                          "the data ends before one step is whole: %" PRId64
                          " rows of %" PRId64 " tokens",
                          r->feed.rows, r->feed.length);
    fflush(stdout);
    fprintf(stderr,
            "warning: the data ends behind step %" PRId64
            ": training ends there%s\n",
            last, kept_at_end(r));
    return TITAN_OK;
}

/* The step's own records are kept.  What is left of it is its time, and none
 * of validation. */
static TitanStatus validate(Run *r, int64_t step)
{
    double loss;
    TRY(finish_steps(r, step - 1));
    TRY(device_kept(r->device, step, &r->log.io));
    Phase before = pulse_enter(r->pulse, PHASE_validate);
    TRY(validation_run(&r->valid, step, r->seed, &loss));
    pulse_enter(r->pulse, before);
    log_valid(&r->log, step, loss);
    return TITAN_OK;
}

/* ----------------------------------------------------------------- saves -- */

static TitanStatus point_at(Run *r, int64_t step, RunPoint *out)
{
    *out = (RunPoint){.step = step,
                      .tokens = r->start.tokens +
                                (step - r->start.step) * r->log.tokens,
                      .seed = r->seed};
    return feed_state(&r->feed, step, &out->data);
}

/* A checkpoint is there; a failure of its row is that of the next one too. */
static void note_saved(void *user, const Save *save)
{
    Run *r = user;
    TitanStory ignored = {0};
    progress_clear(&r->log.metrics.progress);
    Jsonl *row = ledger_begin(&r->log.ledger, save->at.step, "saved");
    if (!row) return;
    jsonl_number(row, "seconds", save->seconds);
    jsonl_number(row, "checked_seconds", save->checked);
    jsonl_number(row, "bytes", (double)save->bytes);
    ledger_end(&ignored, &r->log.ledger);
}

/* What was staged, once its step is known to be good. */
static TitanStatus write_save(Run *r)
{
    Phase before = pulse_enter(r->pulse, PHASE_save);
    TRY(checkpoint_write(&r->checkpoints, r->done));
    if (r->checkpoints.took > 0) stop_saved(r->stop, r->checkpoints.took);
    r->checkpoints.took = 0;
    pulse_enter(r->pulse, before);
    return TITAN_OK;
}

/* Behind a step that was submitted.  What cannot be copied is written from
 * where it lies, so nothing may have followed it. */
static TitanStatus stage_save(Run *r, int64_t step)
{
    RunPoint at;
    Phase before = pulse_enter(r->pulse, PHASE_save);
    TRY(point_at(r, step, &at));
    TRY(checkpoint_stage(&r->checkpoints, at));
    pulse_enter(r->pulse, before);
    if (!r->checkpoints.stages) TRY(finish_steps(r, step));
    return write_save(r);
}

/* FULL: for a run that goes on later.  Where the data ended, the step is not
 * the last that the run was to have. */
static TitanStatus save_last(Run *r, bool full)
{
    RunPoint at;
    if (!r->checkpoints.saves || r->done == r->start.step) return TITAN_OK;
    if (r->exhausted && !r->o->checkpoint.on_exhaustion) return TITAN_OK;
    Phase before = pulse_enter(r->pulse, PHASE_save);
    TRY(point_at(r, r->done, &at));
    TRY(checkpoint_last(&r->checkpoints, at, full));
    pulse_enter(r->pulse, before);
    return TITAN_OK;
}

static TitanStatus save_seed(Run *r)
{
    return checkpoint_last(&r->checkpoints, (RunPoint){.seed = r->seed}, false);
}

/* MORE: false where the data ends before the step does. */
static TitanStatus wait_data(Run *r, int64_t step, bool *more)
{
    Phase before = pulse_enter(r->pulse, PHASE_data);
    TitanStatus st = feed_wait(&r->feed, step, more);
    pulse_enter(r->pulse, before);
    return titan_while(r->story, st, "running step %" PRId64, step);
}

static TitanStatus stopped(Run *r)
{
    const char *reason = stop_reason(r->stop), *dir = r->o->checkpoint.dir;
    if (r->checkpoints.saves)
        return titan_fail(r->story, TITAN_STOPPED,
                          "stopped behind step %" PRId64
                          " by %s; --resume auto goes on from \"%s\"",
                          r->last, reason, dir);
    return titan_fail(r->story, TITAN_STOPPED,
                      "stopped behind step %" PRId64
                      " by %s; its state is not saved (--checkpoint DIR)",
                      r->last, reason);
}

/* A step whose submission returns when it is over. */
static bool is_alone(const Run *r, int64_t step)
{
    return r->worst || r->o->device.sync || r->o->inject.step == step ||
           is_profiled(r, step, r->last);
}

/* The step, validation behind it where that is due, and the ends of those that
 * are to be over: up to the one before, whose time ends where that of this one
 * begins, or this one too where nothing is gained by leaving it. */
static TitanStatus take_step(Run *r, int64_t step)
{
    bool alone = is_alone(r, step), due = validation_due(&r->valid, step);
    if (alone) TRY(finish_steps(r, step - 1));
    TRY(titan_while(r->story, submit_step(r, step, r->last),
                    "running step %" PRId64, step));
    if (due) TRY(validate(r, step));
    return finish_steps(r, alone || due ? step : step - r->device->lag);
}

/* One step after the other, each behind the one before it on the device, whose
 * records are looked at meanwhile. */
static TitanStatus step_through(Run *r)
{
    bool ended = false, more = true;
    for (int64_t step = r->done + 1; step <= r->last; step++) {
        TRY(wait_data(r, step, &more));
        if (!more) {
            TRY(note_end(r, step - 1));
            break;
        }
        StopAsked asked = stop_asked(r->stop);
        if (asked == STOP_end) {
            r->last = step - 1;
            ended = true;
            break;
        }
        TRY(take_step(r, step));
        TRY(write_save(r));
        if (checkpoint_due(&r->checkpoints, step, r->last) ||
            (asked == STOP_save && r->checkpoints.saves))
            TRY(stage_save(r, step));
    }
    TRY(finish_steps(r, r->last));
    TRY(write_save(r));
    TRY(save_last(r, ended));
    if (!ended) return TITAN_OK;
    return stopped(r);
}

/* --skip-batches: what is left out stands in the ledger, not in silence. */
static TitanStatus leave_out(Run *r)
{
    int64_t n = r->o->skip_batches;
    if (n == 0) return TITAN_OK;
    char *data = NULL;
    TRY(feed_state(&r->feed, r->done, &data));
    TitanStatus st = log_left_out(&r->log, r->done, n, data);
    free(data);
    TRY(st);
    if (!r->o->metrics.quiet)
        printf("the rows of %" PRId64 " steps are left out\n", n);
    return feed_skip(&r->feed, n);
}

static TitanStatus run_steps(Run *r)
{
    if (r->done >= r->last) return TITAN_OK;
    r->feed = (Feed){
        .story = r->story, .im = r->im, .device = r->device, .entry = r->train};
    TRY(feed_open(&r->feed, &r->o->data));
    if (r->start.data)
        TRY(feed_restore(&r->feed, r->start.data));
    else
        feed_from(&r->feed, r->done);
    TRY(open_log(r));
    TRY(log_begin(&r->log, r->done, r->done ? "goes on" : "begins",
                  r->start.data));
    TRY(leave_out(r));
    print_start(r);
    TRY(titan_while(r->story, device_prepare(r->device, r->train),
                    "preparing the step"));
    TRY(validation_open(&r->valid, r->story, r->im, r->device, &r->o->valid));
    TRY(step_through(r));
    if (!r->o->metrics.quiet) metrics_curve(&r->log.metrics);
    if (!r->o->profile) return TITAN_OK;
    return r->device->class->profile_write(r->device, r->o->profile);
}

static TitanStatus check_rehearsal(const Run *r)
{
    const RunOptions *o = r->o;
    const struct {
        const char *option;
        bool given;
    } keeps[] = {{"--checkpoint", o->checkpoint.dir},
                 {"--resume", o->checkpoint.resume},
                 {"--init-from", o->import.n > 0},
                 {"--export", o->export.dir}};
    for (size_t i = 0; i < sizeof keeps / sizeof *keeps; i++)
        if (keeps[i].given) TRY(weights_mean(r->story, r->im, keeps[i].option));
    return TITAN_OK;
}

static TitanStatus run_all(Run *r)
{
    const RunOptions *o = r->o;
    r->train = titan_entry(r->im, "train");
    r->worst = titan_entry(r->im, "train.worst");
    if (!r->train)
        return titan_fail(r->story, TITAN_MISMATCH,
                          "the image has no entry \"train\"");
    TRY(check_rehearsal(r));
    if (o->profile && !r->device->class->profile)
        return titan_fail(r->story, TITAN_USAGE,
                          "--profile times the kernels of a GPU; this program "
                          "is compiled for the host");
    r->last = o->steps >= 0 ? o->steps : (int64_t)titan_fact(r->im, "steps", 0);
    r->log.metrics.flops_per_token = titan_fact(r->im, "flops_per_token", 0);
    r->log.metrics.peak_flops =
        o->peak_tflops > 0 ? o->peak_tflops * 1e12 : r->device->peak_flops;
    r->log.metrics.peak_bytes = (double)r->im->header->arena_bytes;
    r->log.metrics.memory_bytes = r->device->memory_bytes;
    r->skips.most = o->max_skips;
    if (o->export.dir) TRY(weights_export_ready(r->story, r->im, &o->export));
    pulse_enter(r->pulse, PHASE_load);
    TRY(checkpoint_open(r->story, r->im, r->device, &o->checkpoint, NULL,
                        &r->checkpoints));
    r->checkpoints.saved = note_saved;
    r->checkpoints.user = r;
    TRY(ledger_open(r->story, &r->log.ledger, o->ledger, o->checkpoint.dir,
                    o->metrics.go_on));
    TRY(begin_state(r));
    if (o->checkpoint.seed) return save_seed(r);
    pulse_enter(r->pulse, PHASE_start);
    TRY(metrics_open(r->story, &r->log.metrics, &o->metrics, r->done));
    TitanStatus st = run_steps(r);
    pulse_enter(r->pulse, PHASE_end);
    /* Skipped steps leave the weights whole: they are worth keeping, as are
     * those of a run that was stopped. */
    bool whole = st == TITAN_OK || st == TITAN_NUMERICS || st == TITAN_STOPPED;
    if (!whole || !o->export.dir) return st;
    const char *base = o->import.n > 0 ? o->import.from[0] : NULL;
    TRY(weights_export(r->story, r->im, r->device, &o->export, base));
    return st;
}

TitanStatus titan_train(TitanStory *s, const TitanImage *im,
                        const TitanCode *code, const RunOptions *o)
{
    Run r = {.story = s, .im = im, .o = o, .seed = o->seed};
    StopOptions stop = o->stop;
    stop.state_bytes = (double)im->header->whole_bytes[TITAN_BASE_persistent];
    r.pulse = pulse_new();
    if (!r.pulse) return titan_no_memory(s);
    DeviceOptions device = o->device;
    device.command = &r.pulse->command;
    Watchdog *dog = watchdog_start(im, r.pulse, device.board, &o->watchdog);
    TitanStatus st = stop_install(s, &stop, &r.stop);
    if (st == TITAN_OK) st = device_new(s, im, code, &device, &r.device);
    if (st == TITAN_OK) st = run_all(&r);
    TitanStatus saved = checkpoint_close(&r.checkpoints);
    if (st == TITAN_OK) st = saved;
    point_free(&r.start);
    if (!o->metrics.quiet && r.log.pulse) log_time(&r.log);
    TitanStory closing = {0};
    if (r.log.pulse) log_end(&r.log, r.done, st);
    ledger_close(&closing, &r.log.ledger);
    TitanStatus closed = metrics_close(&closing, &r.log.metrics);
    if (st == TITAN_OK && closed != TITAN_OK) {
        *s = closing;
        st = closed;
    }
    feed_close(&r.feed);
    log_close(&r.log);
    device_free(r.device);
    watchdog_stop(dog);
    stop_free(r.stop);
    pulse_free(r.pulse);
    return st;
}
