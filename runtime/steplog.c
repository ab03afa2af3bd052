/*
 * steplog.c: from the records that a step leaves in its ports to a logged
 * step.
 */
#include "steplog.h"

#include "narrow.h"
#include "ranks.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

double log_record(const StepLog *l, const char *name)
{
    const TitanPort *p = titan_port(l->im, l->entry, TITAN_ROLE_record, name);
    return p ? narrow_load_one(p->dtype, l->io + p->offset) : NAN;
}

static bool is_headline(const char *name)
{
    return strcmp(name, "loss") == 0 || strcmp(name, "grad_norm") == 0 ||
           strcmp(name, "lr") == 0;
}

/* The user's own records. */
static uint32_t read_records(StepLog *l)
{
    uint32_t n = 0;
    double *to = l->values;
    for (uint32_t i = 0; i < l->entry->ports.n; i++) {
        const TitanPort *p = &l->im->ports[l->entry->ports.first + i];
        const char *name = titan_string(l->im, p->path);
        if (p->role != TITAN_ROLE_record || is_headline(name)) continue;
        int64_t count = titan_elements(l->im, p->axes);
        for (int64_t k = 0; k < count; k++)
            to[k] = narrow_load_one(
                p->dtype, l->io + p->offset + k * titan_dtype_bytes(p->dtype));
        l->records[n++] = (StepRecord){name, to, count};
        to += count;
    }
    return n;
}

TitanStatus log_open(StepLog *l)
{
    int64_t n = 1;
    for (uint32_t i = 0; i < l->entry->ports.n; i++) {
        const TitanPort *p = &l->im->ports[l->entry->ports.first + i];
        if (p->role == TITAN_ROLE_record) n += titan_elements(l->im, p->axes);
    }
    l->values = calloc((size_t)n, sizeof(double));
    l->records = calloc((size_t)l->entry->ports.n + 1, sizeof *l->records);
    if (l->values && l->records) return TITAN_OK;
    return titan_no_memory(l->story);
}

bool log_applied(const StepLog *l)
{
    return !(log_record(l, "applied") == 0);
}

void log_valid(StepLog *l, int64_t step, double loss)
{
    l->valid_step[step % 2] = step;
    l->valid_loss[step % 2] = loss;
}

static bool is_validated(const StepLog *l, int64_t step)
{
    return l->valid_step[step % 2] == step;
}

/* A skipped step is always logged. */
static bool is_logged(StepLog *l, int64_t step)
{
    return step == 1 || step % l->every == 0 || !log_applied(l) ||
           is_validated(l, step);
}

/* The text of the first that held. */
static const char *skip_rule(const StepLog *l)
{
    for (uint32_t i = 0; i < l->entry->ports.n; i++) {
        const TitanPort *p = &l->im->ports[l->entry->ports.first + i];
        if (p->role == TITAN_ROLE_skip && l->io[p->offset])
            return titan_string(l->im, p->path);
    }
    return NULL;
}

Skip log_skip(const StepLog *l, int64_t step)
{
    return (Skip){step, log_record(l, "loss"), log_record(l, "grad_norm"),
                  log_record(l, "lr"), skip_rule(l)};
}

/* Saves and validation are no time of steps. */
static double step_seconds(const StepLog *l)
{
    return pulse_seconds(l->pulse, PHASE_step) +
           pulse_seconds(l->pulse, PHASE_data) +
           pulse_seconds(l->pulse, PHASE_log);
}

/* --steps may be more than the schedule was made for. */
static void warn_idle(StepLog *l, int64_t step)
{
    int64_t planned = (int64_t)titan_fact(l->im, "steps", 0);
    if (l->idle || planned == 0 || step <= planned) return;
    if (log_record(l, "lr") != 0) return;
    l->idle = true;
    progress_clear(&l->metrics.progress);
    fprintf(stderr,
            "warning: the rate is 0 from step %" PRId64
            " on: the program's schedule is for %" PRId64
            " steps; compile it with -D steps=N for more\n",
            step, planned);
}

TitanStatus log_step(StepLog *l, int64_t step, int64_t steps)
{
    warn_idle(l, step);
    l->since++;
    l->tokens_seen += l->tokens;
    progress_step(&l->metrics.progress, step, steps);
    if (!is_logged(l, step)) return TITAN_OK;
    double seconds = step_seconds(l);
    double data = pulse_seconds(l->pulse, PHASE_data);
    char why[SKIP_REASON];
    Skip k = log_skip(l, step);
    StepMetrics m = {
        .step = step,
        .steps = steps,
        .loss = k.loss,
        .grad_norm = k.grad_norm,
        .lr = k.lr,
        .validated = is_validated(l, step),
        .valid_loss = l->valid_loss[step % 2],
        .skipped = log_applied(l) ? NULL : skip_reason(&k, why, sizeof why),
        .repeats = l->repeats,
        .repeated = l->repeated,
        .since = l->since,
        .seconds = seconds - l->seconds,
        .data = data - l->data,
        .tokens = l->since * l->tokens / (int64_t)ranks_played(l->im),
        .tokens_seen = l->tokens_seen};
    l->seconds = seconds;
    l->data = data;
    l->since = 0;
    l->repeated = 0;
    return metrics_step(l->story, &l->metrics, &m, l->records, read_records(l));
}

void log_time(const StepLog *l)
{
    double all = 0;
    for (int p = 0; p < PHASE_COUNT; p++)
        all += pulse_seconds(l->pulse, (Phase)p);
    printf("%.1f s:", all);
    for (int p = 0; p < PHASE_COUNT; p++) {
        double part = pulse_seconds(l->pulse, (Phase)p) / all;
        if (part >= 0.001) printf("  %.1f%% %s", 100 * part, phase_words(p));
    }
    putchar('\n');
    fflush(stdout);
}

/* ---------------------------------------------------------------- ledger -- */

static void put_data(Jsonl *row, const char *data)
{
    if (data) jsonl_json(row, "data", data);
}

TitanStatus log_begin(StepLog *l, int64_t step, const char *event,
                      const char *data)
{
    Jsonl *row = ledger_begin(&l->ledger, step, event);
    if (row) put_data(row, data);
    return ledger_end(l->story, &l->ledger);
}

TitanStatus log_skipped(StepLog *l, const Skip *k, const char *data)
{
    char why[SKIP_REASON];
    Jsonl *row = ledger_begin(&l->ledger, k->step, "skipped");
    if (!row) return TITAN_OK;
    jsonl_text(row, "why", skip_reason(k, why, sizeof why));
    jsonl_number(row, "loss", k->loss);
    jsonl_number(row, "grad_norm", k->grad_norm);
    put_data(row, data);
    return ledger_end(l->story, &l->ledger);
}

TitanStatus log_left_out(StepLog *l, int64_t step, int64_t batches,
                         const char *data)
{
    Jsonl *row = ledger_begin(&l->ledger, step, "left out");
    if (!row) return TITAN_OK;
    jsonl_whole(row, "batches", batches);
    put_data(row, data);
    return ledger_end(l->story, &l->ledger);
}

/* All seconds of the run are in one phase or another. */
TitanStatus log_end(StepLog *l, int64_t step, TitanStatus how)
{
    double all = 0;
    char key[32];
    Jsonl *row = ledger_begin(&l->ledger, step, "ended");
    if (!row) return TITAN_OK;
    jsonl_whole(row, "code", how);
    for (int p = 0; p < PHASE_COUNT; p++) {
        double seconds = pulse_seconds(l->pulse, (Phase)p);
        snprintf(key, sizeof key, "%s_seconds", phase_name(p));
        jsonl_number(row, key, seconds);
        all += seconds;
    }
    jsonl_number(row, "seconds", all);
    return ledger_end(l->story, &l->ledger);
}

void log_close(StepLog *l)
{
    free(l->records);
    free(l->values);
}
