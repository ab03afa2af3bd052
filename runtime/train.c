/*
 * train.c: one rank's training run.
 *
 * init, weights, then for each step: the batch into the io base, the entry
 * `train`, and the records out again.  The arena is all the memory that the
 * step uses.  A device may lag: the batch of the next step is read and
 * submitted before the records of this one are waited for.
 */
#include "train.h"

#include "data.h"
#include "diagnose.h"
#include "metrics.h"
#include "narrow.h"
#include "skip.h"
#include "weights.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PROFILE_AFTER = 3, PROFILED = 2 };

typedef struct Run {
    TitanStory *story;
    const TitanImage *im;
    const RunOptions *o;
    TitanDevice *device;
    const char *io; /* as the step that is looked at left it */
    const TitanEntry *train;
    Tokens tokens;
    Metrics metrics;
    int64_t rows, length; /* of a step's input: G rows of T tokens */
    double logged_at;
    int64_t since; /* steps since the last logged one */
    Skips skips;
    StepRecord *records; /* one for each port at most */
    double *values;      /* of all records */
} Run;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static TitanStatus set_scalar(Run *r, const TitanEntry *e, const char *name,
                              int64_t value)
{
    const TitanPort *p = titan_port(r->im, e, TITAN_ROLE_scalar, name);
    if (!p) return TITAN_OK;
    return device_write(r->device, TITAN_BASE_io, p->offset, &value,
                        titan_dtype_bytes(p->dtype));
}

/* ------------------------------------------------------------------ input --
 */

/* Which shift of the token sequence a field is; -1: not known. */
static int field_shift(const char *name)
{
    if (strcmp(name, "tokens") == 0) return 0;
    return strcmp(name, "labels") == 0 ? 1 : -1;
}

static TitanStatus check_input(Run *r, const TitanPort *p)
{
    const char *name = titan_string(r->im, p->path);
    if (field_shift(name) < 0)
        return titan_fail(r->story, TITAN_MISMATCH,
                          "the program wants the field \"%s\"; token data has "
                          "\"tokens\" and \"labels\"",
                          name);
    if (strcmp(titan_dtype_name(p->dtype), "i32") != 0 || p->axes.n == 0)
        return titan_fail(r->story, TITAN_MISMATCH,
                          "the field \"%s\" has dtype %s, i32 is needed", name,
                          titan_dtype_name(p->dtype));
    int64_t length = r->im->axes[p->axes.first + p->axes.n - 1].size;
    int64_t rows = titan_elements(r->im, p->axes) / (length ? length : 1);
    if (r->length && (rows != r->rows || length != r->length))
        return titan_fail(r->story, TITAN_MISMATCH,
                          "the fields of the data differ in shape");
    r->rows = rows;
    r->length = length;
    return TITAN_OK;
}

static TitanStatus check_inputs(Run *r)
{
    for (uint32_t i = 0; i < r->train->ports.n; i++) {
        const TitanPort *p = &r->im->ports[r->train->ports.first + i];
        if (p->role == TITAN_ROLE_input) TRY(check_input(r, p));
    }
    if (r->length > 0) return TITAN_OK;
    return titan_fail(r->story, TITAN_MISMATCH,
                      "the entry \"train\" reads no tokens");
}

/* Row g of the run has tokens[g T .. g T + T - 1] and, as labels, those one
 * further on (DESIGN: token files). */
static TitanStatus fill_input(Run *r, const TitanPort *p, int64_t step)
{
    int64_t first = (step - 1) * r->rows;
    int shift = field_shift(titan_string(r->im, p->path));
    Window w;
    TRY(window_open(r->device, TITAN_BASE_io, p->offset,
                    (size_t)(r->rows * r->length) * sizeof(int32_t), false,
                    &w));
    int32_t *to = (int32_t *)(void *)w.at;
    TitanStatus st = TITAN_OK;
    for (int64_t g = 0; g < r->rows && st == TITAN_OK; g++)
        st = tokens_read(r->story, &r->tokens, (first + g) * r->length + shift,
                         r->length, p->bound, to + g * r->length);
    TitanStatus closed = window_close(r->device, &w, st == TITAN_OK);
    return st == TITAN_OK ? closed : st;
}

static TitanStatus fill_inputs(Run *r, int64_t step)
{
    for (uint32_t i = 0; i < r->train->ports.n; i++) {
        const TitanPort *p = &r->im->ports[r->train->ports.first + i];
        if (p->role == TITAN_ROLE_input) TRY(fill_input(r, p, step));
    }
    TRY(set_scalar(r, r->train, "step", step));
    return set_scalar(r, r->train, "seed", r->o->seed);
}

/* ----------------------------------------------------------------- output --
 */

static double record(Run *r, const char *name)
{
    const TitanPort *p = titan_port(r->im, r->train, TITAN_ROLE_record, name);
    return p ? narrow_load_one(p->dtype, r->io + p->offset) : NAN;
}

static bool is_headline(const char *name)
{
    return strcmp(name, "loss") == 0 || strcmp(name, "grad_norm") == 0 ||
           strcmp(name, "lr") == 0;
}

/* The user's own records. */
static uint32_t read_records(Run *r)
{
    uint32_t n = 0;
    double *to = r->values;
    for (uint32_t i = 0; i < r->train->ports.n; i++) {
        const TitanPort *p = &r->im->ports[r->train->ports.first + i];
        const char *name = titan_string(r->im, p->path);
        if (p->role != TITAN_ROLE_record || is_headline(name)) continue;
        int64_t count = titan_elements(r->im, p->axes);
        for (int64_t k = 0; k < count; k++)
            to[k] = narrow_load_one(
                p->dtype, r->io + p->offset + k * titan_dtype_bytes(p->dtype));
        r->records[n++] = (StepRecord){name, to, count};
        to += count;
    }
    return n;
}

static TitanStatus alloc_records(Run *r)
{
    int64_t n = 1;
    for (uint32_t i = 0; i < r->train->ports.n; i++) {
        const TitanPort *p = &r->im->ports[r->train->ports.first + i];
        if (p->role == TITAN_ROLE_record) n += titan_elements(r->im, p->axes);
    }
    r->values = calloc((size_t)n, sizeof(double));
    r->records = calloc((size_t)r->train->ports.n + 1, sizeof *r->records);
    if (r->values && r->records) return TITAN_OK;
    return titan_fail(r->story, TITAN_UNAVAILABLE, "out of memory");
}

static TitanStatus read_checks(Run *r, int64_t step)
{
    for (uint32_t i = 0; i < r->train->ports.n; i++) {
        const TitanPort *p = &r->im->ports[r->train->ports.first + i];
        if (p->role == TITAN_ROLE_check && !r->io[p->offset])
            return titan_fail(r->story, TITAN_BAD_DATA,
                              "check failed in step %" PRId64 ": %s", step,
                              titan_string(r->im, p->path));
    }
    return TITAN_OK;
}

static bool is_applied(Run *r)
{
    return !(record(r, "applied") == 0);
}

/* A skipped step is always logged. */
static bool is_logged(Run *r, int64_t step)
{
    return step == 1 || step % r->o->log_every == 0 || !is_applied(r);
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
    TRY(fill_inputs(r, step));
    return titan_while(r->story, diagnose_run(&s, e, stderr), "diagnosing it");
}

static Skip skip_of(Run *r, int64_t step)
{
    return (Skip){step, record(r, "loss"), record(r, "grad_norm"),
                  record(r, "lr")};
}

/* The first skipped step is looked into. */
static TitanStatus note_skip(Run *r, int64_t step)
{
    if (is_applied(r)) {
        skips_end(&r->skips);
        return TITAN_OK;
    }
    Skip k = skip_of(r, step);
    TitanStatus st = skips_add(r->story, &r->skips, &k);
    if (r->skips.total == 1) TRY(diagnose(r, step));
    return st;
}

static TitanStatus log_step(Run *r, int64_t step, int64_t steps)
{
    r->since++;
    if (!is_logged(r, step)) return TITAN_OK;
    double t = now(), seconds = t - r->logged_at;
    double each = seconds / (double)r->since;
    double *mean = &r->metrics.mean_step;
    *mean = *mean > 0 ? 0.7 * *mean + 0.3 * each : each;
    char why[64];
    Skip k = skip_of(r, step);
    StepMetrics m = {
        .step = step,
        .steps = steps,
        .loss = k.loss,
        .grad_norm = k.grad_norm,
        .lr = k.lr,
        .skipped = is_applied(r) ? NULL : skip_reason(&k, why, sizeof why),
        .seconds = seconds,
        .tokens = r->since * r->rows * r->length};
    r->logged_at = t;
    r->since = 0;
    return metrics_step(r->story, &r->metrics, &m, r->records, read_records(r));
}

/* -------------------------------------------------------------------- run --
 */

static TitanStatus init_weights(Run *r)
{
    const TitanEntry *init = titan_entry(r->im, "init");
    if (init) {
        TRY(set_scalar(r, init, "seed", r->o->seed));
        TRY(titan_while(r->story, device_run(r->device, init),
                        "making initial values"));
    }
    if (!r->o->init_from) return TITAN_OK;
    return weights_import(r->story, r->im, r->device, r->o->init_from);
}

/* Two steps after the first three, or the last of a shorter run. */
static bool is_profiled(const Run *r, int64_t step, int64_t steps)
{
    int64_t first =
        steps < PROFILE_AFTER + PROFILED ? steps - PROFILED : PROFILE_AFTER;
    return r->o->profile && step > first && step <= first + PROFILED;
}

static TitanStatus submit_step(Run *r, int64_t step, int64_t steps)
{
    Suspect s = suspect(r, step);
    if (step == 1 && r->o->diagnose) {
        fprintf(stderr, "step 1, looked into before it is run:\n");
        TRY(diagnose(r, step));
    }
    TRY(fill_inputs(r, step));
    if (r->o->inject.step == step)
        TRY(diagnose_inject(&s, r->train, stderr));
    else if (is_profiled(r, step, steps))
        TRY(r->device->class->profile(r->device, r->train));
    else
        TRY(device_run(r->device, r->train));
    return device_keep(r->device, r->train, step);
}

static TitanStatus finish_step(Run *r, int64_t step, int64_t steps)
{
    TRY(device_kept(r->device, step, &r->io));
    TRY(read_checks(r, step));
    TRY(log_step(r, step, steps));
    return note_skip(r, step);
}

static void print_start(const Run *r)
{
    if (r->o->quiet) return;
    printf("%.0f parameters, arena %.1f MiB, %s, %" PRId64
           " tokens of data, %" PRId64 " x %" PRId64 " tokens a step\n",
           titan_fact(r->im, "parameters", 0),
           (double)r->im->header->arena_bytes / 1048576.0, r->device->about,
           r->tokens.n, r->rows, r->length);
    fflush(stdout);
}

static TitanStatus step_through(Run *r, int64_t steps)
{
    int64_t lag = r->device->lag;
    for (int64_t step = 1; step <= steps + lag; step++) {
        if (step <= steps)
            TRY(titan_while(r->story, submit_step(r, step, steps),
                            "running step %" PRId64, step));
        if (step > lag)
            TRY(titan_while(r->story, finish_step(r, step - lag, steps),
                            "running step %" PRId64, step - lag));
    }
    return TITAN_OK;
}

static TitanStatus run_steps(Run *r, int64_t steps)
{
    if (steps == 0) return TITAN_OK;
    if (r->o->ndata == 0)
        return titan_fail(r->story, TITAN_USAGE,
                          "no data: name token or text files with --data");
    TRY(check_inputs(r));
    TRY(tokens_open(r->story, r->o->data, r->o->ndata, &r->tokens));
    TRY(alloc_records(r));
    print_start(r);
    TRY(titan_while(r->story, device_prepare(r->device, r->train),
                    "preparing the step"));
    r->logged_at = now();
    TRY(step_through(r, steps));
    if (!r->o->quiet) metrics_curve(&r->metrics);
    if (!r->o->profile) return TITAN_OK;
    return r->device->class->profile_write(r->device, r->o->profile);
}

static TitanStatus run_all(Run *r)
{
    const RunOptions *o = r->o;
    r->train = titan_entry(r->im, "train");
    if (!r->train)
        return titan_fail(r->story, TITAN_MISMATCH,
                          "the image has no entry \"train\"");
    if (o->ranks > 0 && o->ranks != r->im->header->ranks)
        return titan_fail(r->story, TITAN_MISMATCH,
                          "compiled for %" PRIu32
                          " ranks, the command line asks for %" PRId64,
                          r->im->header->ranks, o->ranks);
    if (o->profile && !r->device->class->profile)
        return titan_fail(r->story, TITAN_USAGE,
                          "--profile times the kernels of a GPU; this program "
                          "is compiled for the host");
    int64_t steps =
        o->steps >= 0 ? o->steps : (int64_t)titan_fact(r->im, "steps", 0);
    r->metrics.flops_per_token = titan_fact(r->im, "flops_per_token", 0);
    r->metrics.peak_flops =
        o->peak_tflops > 0 ? o->peak_tflops * 1e12 : r->device->peak_flops;
    r->metrics.peak_bytes = r->im->header->arena_bytes;
    r->metrics.quiet = o->quiet;
    r->skips.most = o->max_skips;
    if (o->export_to)
        TRY(weights_export_ready(r->story, o->export_to, o->export_dtype));
    TRY(init_weights(r));
    TRY(metrics_open(r->story, &r->metrics, o->metrics));
    TitanStatus st = run_steps(r, steps);
    /* Skipped steps leave the weights whole: they are worth keeping. */
    if ((st != TITAN_OK && st != TITAN_NUMERICS) || !o->export_to) return st;
    TRY(weights_export(r->story, r->im, r->device, o->export_to,
                       o->export_dtype, o->init_from));
    return st;
}

TitanStatus titan_train(TitanStory *s, const TitanImage *im,
                        const TitanCode *code, const RunOptions *o)
{
    Run r = {.story = s, .im = im, .o = o};
    TRY(device_new(s, im, code, &o->device, &r.device));
    TitanStatus st = run_all(&r);
    TitanStory closing = {0};
    TitanStatus closed = metrics_close(&closing, &r.metrics);
    if (st == TITAN_OK && closed != TITAN_OK) {
        *s = closing;
        st = closed;
    }
    tokens_close(&r.tokens);
    device_free(r.device);
    free(r.records);
    free(r.values);
    return st;
}
