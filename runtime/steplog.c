/*
 * steplog.c: from the records that a step leaves in its ports to a logged
 * step.
 */
#include "steplog.h"

#include "narrow.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

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
    return titan_fail(l->story, TITAN_UNAVAILABLE, "out of memory");
}

bool log_applied(const StepLog *l)
{
    return !(log_record(l, "applied") == 0);
}

/* A skipped step is always logged. */
static bool is_logged(StepLog *l, int64_t step)
{
    return step == 1 || step % l->every == 0 || !log_applied(l);
}

Skip log_skip(const StepLog *l, int64_t step)
{
    return (Skip){step, log_record(l, "loss"), log_record(l, "grad_norm"),
                  log_record(l, "lr")};
}

TitanStatus log_step(StepLog *l, int64_t step, int64_t steps)
{
    l->since++;
    if (!is_logged(l, step)) return TITAN_OK;
    double t = now(), seconds = t - l->logged_at;
    double each = seconds / (double)l->since;
    double *mean = &l->metrics.mean_step;
    *mean = *mean > 0 ? 0.7 * *mean + 0.3 * each : each;
    char why[64];
    Skip k = log_skip(l, step);
    StepMetrics m = {
        .step = step,
        .steps = steps,
        .loss = k.loss,
        .grad_norm = k.grad_norm,
        .lr = k.lr,
        .skipped = log_applied(l) ? NULL : skip_reason(&k, why, sizeof why),
        .seconds = seconds,
        .tokens = l->since * l->tokens};
    l->logged_at = t;
    l->since = 0;
    return metrics_step(l->story, &l->metrics, &m, l->records, read_records(l));
}

void log_start(StepLog *l)
{
    l->logged_at = now();
}

void log_close(StepLog *l)
{
    free(l->records);
    free(l->values);
}
