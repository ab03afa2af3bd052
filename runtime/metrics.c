/*
 * metrics.c: what is known of a logged step, in the three forms that people
 * and programs read: the names of metrics.jsonl are Titan's own, the tags of
 * events those that torchtitan gives them, so that dashboards made for it show
 * a run of Titan.  What a device alone sees (`local_loss`) and the greatest
 * over devices are the same as the mean where there is one device.
 */
#include "metrics.h"

#include "plot.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GIB = 1 << 30, TAG = 256 };

/* What follows from a step and the program. */
typedef struct Derived {
    double tokens_per_second, tflops, mfu;
    double seconds, data, data_part; /* of a step */
    double perplexity;
    double memory, memory_part; /* GiB; of the device's */
} Derived;

TitanStatus metrics_open(TitanStory *s, Metrics *m, const MetricsOptions *o,
                         int64_t done)
{
    progress_open(&m->progress, o->quiet);
    m->rows.sink.go_on = m->events.sink.go_on = o->go_on;
    if (o->jsonl)
        TRY(done > 0 ? jsonl_continue(s, &m->rows, o->jsonl, done)
                     : jsonl_open(s, &m->rows, o->jsonl, SINK_anew));
    return o->events ? events_open(s, &m->events, o->events, done) : TITAN_OK;
}

static double known(double x)
{
    return x > 0 ? x : NAN;
}

static Derived derive(const Metrics *m, const StepMetrics *step)
{
    double n = (double)step->since, t = known(step->seconds);
    double tps = (double)step->tokens / t;
    double flops = known(m->flops_per_token) * tps;
    return (Derived){.tokens_per_second = tps,
                     .tflops = flops / 1e12,
                     .mfu = flops / known(m->peak_flops),
                     .seconds = step->seconds / n,
                     .data = step->data / n,
                     .data_part = step->data / t,
                     .perplexity = isfinite(step->loss) ? exp(step->loss) : NAN,
                     .memory = m->peak_bytes / GIB,
                     .memory_part = m->peak_bytes / known(m->memory_bytes)};
}

/* ------------------------------------------------------------------ rows -- */

static bool is_record(const StepRecord *records, uint32_t n, const char *name)
{
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(records[i].name, name) == 0) return true;
    return false;
}

/* A record that the model calls the same stands for it. */
static void put_further(Jsonl *r, const char *key, double x,
                        const StepRecord *records, uint32_t n)
{
    if (!is_record(records, n, key)) jsonl_number(r, key, x);
}

static TitanStatus write_row(TitanStory *s, Metrics *m, const StepMetrics *step,
                             const Derived *d, const StepRecord *records,
                             uint32_t n)
{
    Jsonl *r = &m->rows;
    jsonl_begin(r);
    jsonl_whole(r, "step", step->step);
    jsonl_number(r, "loss", step->loss);
    jsonl_number(r, "grad_norm", step->grad_norm);
    jsonl_number(r, "lr", step->lr);
    jsonl_number(r, "tokens_per_second", d->tokens_per_second);
    jsonl_number(r, "tflops", d->tflops);
    jsonl_number(r, "mfu", d->mfu);
    jsonl_whole(r, "peak_bytes", (int64_t)m->peak_bytes);
    put_further(r, "max_loss", step->loss, records, n);
    put_further(r, "perplexity", d->perplexity, records, n);
    put_further(r, "tokens_seen", (double)step->tokens_seen, records, n);
    put_further(r, "seconds", d->seconds, records, n);
    put_further(r, "data_seconds", d->data, records, n);
    put_further(r, "data_percent", 100 * d->data_part, records, n);
    if (step->repeats)
        put_further(r, "repeated", (double)step->repeated, records, n);
    if (step->validated) jsonl_number(r, "valid_loss", step->valid_loss);
    if (step->skipped) jsonl_text(r, "skipped", step->skipped);
    for (uint32_t i = 0; i < n; i++)
        if (records[i].n == 1)
            jsonl_number(r, records[i].name, records[i].values[0]);
        else
            jsonl_numbers(r, records[i].name, records[i].values, records[i].n);
    return jsonl_end(s, r);
}

/* ---------------------------------------------------------------- events -- */

/* NaN where nothing is known: no event. */
static void put_known(Events *e, const char *tag, double x)
{
    if (!isnan(x)) events_scalar(e, tag, x);
}

static void put_record(Events *e, const StepRecord *r)
{
    char tag[TAG];
    if (r->n == 1) events_scalar(e, r->name, r->values[0]);
    if (r->n == 1) return;
    for (int64_t i = 0; i < r->n; i++) {
        snprintf(tag, sizeof tag, "%s/%" PRId64, r->name, i);
        events_scalar(e, tag, r->values[i]);
    }
}

static TitanStatus write_events(TitanStory *s, Metrics *m,
                                const StepMetrics *step, const Derived *d,
                                const StepRecord *records, uint32_t n)
{
    Events *e = &m->events;
    events_begin(e, step->step);
    events_scalar(e, "loss_metrics/global_avg_loss", step->loss);
    events_scalar(e, "loss_metrics/global_max_loss", step->loss);
    events_scalar(e, "local_loss", step->loss);
    events_scalar(e, "loss_metrics/local_perplexity", d->perplexity);
    events_scalar(e, "loss_metrics/global_avg_perplexity", d->perplexity);
    events_scalar(e, "loss_metrics/global_max_perplexity", d->perplexity);
    events_scalar(e, "grad_norm", step->grad_norm);
    events_scalar(e, "lr", step->lr);
    events_scalar(e, "n_tokens_seen", (double)step->tokens_seen);
    put_known(e, "throughput(tps)", d->tokens_per_second);
    put_known(e, "tflops", d->tflops);
    put_known(e, "mfu(%)", 100 * d->mfu);
    events_scalar(e, "time_metrics/end_to_end(s)", d->seconds);
    events_scalar(e, "time_metrics/data_loading(s)", d->data);
    put_known(e, "time_metrics/data_loading(%)", 100 * d->data_part);
    /* The arena is what is reserved and what is used: planned, never more. */
    events_scalar(e, "memory/max_active(GiB)", d->memory);
    put_known(e, "memory/max_active(%)", 100 * d->memory_part);
    events_scalar(e, "memory/max_reserved(GiB)", d->memory);
    put_known(e, "memory/max_reserved(%)", 100 * d->memory_part);
    events_scalar(e, "memory/num_alloc_retries", 0);
    events_scalar(e, "memory/num_ooms", 0);
    if (step->validated)
        events_scalar(e, "validation_metrics/loss", step->valid_loss);
    for (uint32_t i = 0; i < n; i++)
        put_record(e, &records[i]);
    return events_end(s, e);
}

/* ------------------------------------------------------------------ step -- */

static void write_line(Metrics *m, const StepMetrics *step, const Derived *d)
{
    progress_line(&m->progress, &(ProgressLine){.step = step->step,
                                                .loss = step->loss,
                                                .grad_norm = step->grad_norm,
                                                .memory = d->memory,
                                                .memory_part = d->memory_part,
                                                .tps = d->tokens_per_second,
                                                .tflops = d->tflops,
                                                .mfu = d->mfu,
                                                .skipped = step->skipped});
    if (step->validated)
        progress_valid(&m->progress, step->step, step->valid_loss);
}

/* The curve shows the run as a whole: where it gets long, every second value
 * goes. */
enum { CURVE = 4096 };
static void remember(Metrics *m, const StepMetrics *step)
{
    if (!m->losses) m->losses = malloc(CURVE * sizeof *m->losses);
    if (!m->losses) return;
    if (m->every == 0) m->every = 1;
    if (m->nlogged++ % m->every != 0) return;
    if (m->nlosses == CURVE) {
        for (int64_t i = 0; i < CURVE / 2; i++)
            m->losses[i] = m->losses[2 * i];
        m->nlosses = CURVE / 2;
        m->every *= 2;
    }
    if (m->nlosses == 0) m->first_step = step->step;
    m->last_step = step->step;
    m->losses[m->nlosses++] = (float)step->loss;
}

TitanStatus metrics_step(TitanStory *s, Metrics *m, const StepMetrics *step,
                         const StepRecord *records, uint32_t n)
{
    Derived d = derive(m, step);
    remember(m, step);
    write_line(m, step, &d);
    if (jsonl_is_open(&m->rows)) TRY(write_row(s, m, step, &d, records, n));
    if (!events_are_open(&m->events)) return TITAN_OK;
    return write_events(s, m, step, &d, records, n);
}

void metrics_curve(const Metrics *m)
{
    if (m->nlosses < 2) return;
    printf("\nloss\n");
    plot_curve(m->losses, m->nlosses, m->first_step, m->last_step, stdout);
}

TitanStatus metrics_close(TitanStory *s, Metrics *m)
{
    progress_clear(&m->progress);
    TitanStatus st = jsonl_close(s, &m->rows);
    TitanStatus events = events_close(s, &m->events);
    free(m->losses);
    m->losses = NULL;
    return st == TITAN_OK ? events : st;
}
