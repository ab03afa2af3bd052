/*
 * metrics.c: progress line and metrics.jsonl.
 *
 * One JSON object per logged step; numbers are written so that they read back
 * exactly, and null when they are not finite.
 */
#include "metrics.h"

#include "plot.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TitanStatus metrics_open(TitanStory *s, Metrics *m, const char *path)
{
    m->tty = isatty(STDOUT_FILENO) == 1;
    if (!path) return TITAN_OK;
    m->path = path;
    m->jsonl = fopen(path, "w");
    if (m->jsonl) return TITAN_OK;
    return titan_fail(s, TITAN_IO, "could not open \"%s\": %s", path,
                      strerror(errno));
}

static void put_number(FILE *out, const char *key, double x)
{
    fprintf(out, ",\"%s\":", key);
    if (isfinite(x))
        fprintf(out, "%.17g", x);
    else
        fputs("null", out);
}

static void put_record(FILE *out, const StepRecord *r)
{
    if (r->n == 1) {
        put_number(out, r->name, r->values[0]);
        return;
    }
    fprintf(out, ",\"%s\":[", r->name);
    for (int64_t i = 0; i < r->n; i++) {
        if (i) fputc(',', out);
        if (isfinite(r->values[i]))
            fprintf(out, "%.17g", r->values[i]);
        else
            fputs("null", out);
    }
    fputc(']', out);
}

static void write_object(const Metrics *m, const StepMetrics *step,
                         const StepRecord *records, uint32_t n)
{
    FILE *out = m->jsonl;
    double flops = m->flops_per_token * step->tokens_per_second;
    fprintf(out, "{\"step\":%" PRId64, step->step);
    put_number(out, "loss", step->loss);
    put_number(out, "grad_norm", step->grad_norm);
    put_number(out, "lr", step->lr);
    put_number(out, "tokens_per_second", step->tokens_per_second);
    put_number(out, "tflops", m->flops_per_token > 0 ? flops / 1e12 : NAN);
    put_number(out, "mfu",
               m->peak_flops > 0 && m->flops_per_token > 0
                   ? flops / m->peak_flops
                   : NAN);
    fprintf(out, ",\"peak_bytes\":%" PRIu64, m->peak_bytes);
    if (step->skipped) fprintf(out, ",\"skipped\":\"%s\"", step->skipped);
    for (uint32_t i = 0; i < n; i++)
        put_record(out, &records[i]);
    fputs("}\n", out);
    fflush(out);
}

static void time_left(double seconds, char *out, size_t size)
{
    long t = seconds < 0 || !isfinite(seconds) ? 0 : lround(seconds);
    if (t >= 3600)
        snprintf(out, size, "%ld:%02ld:%02ld", t / 3600, t / 60 % 60, t % 60);
    else
        snprintf(out, size, "%ld:%02ld", t / 60, t % 60);
}

/* The sign of a NaN says nothing. */
static double shown(double x)
{
    return isnan(x) ? NAN : x;
}

static void write_line(const Metrics *m, const StepMetrics *step)
{
    char left[32];
    time_left(m->mean_step * (double)(step->steps - step->step), left,
              sizeof left);
    printf("step %5" PRId64 "/%" PRId64 "  loss %8.4f  grad_norm %8.4f  "
           "lr %.3e  %9.0f tokens/s  left %s%s\n",
           step->step, step->steps, shown(step->loss), shown(step->grad_norm),
           step->lr, step->tokens_per_second, left,
           step->skipped ? "  skipped" : "");
    fflush(stdout);
}

static void remember(Metrics *m, double loss)
{
    if (m->nlosses == m->cap) {
        int64_t cap = m->cap ? m->cap * 2 : 256;
        float *more = realloc(m->losses, (size_t)cap * sizeof *more);
        if (!more) return;
        m->losses = more;
        m->cap = cap;
    }
    m->losses[m->nlosses++] = (float)loss;
}

TitanStatus metrics_step(TitanStory *s, Metrics *m, StepMetrics *step,
                         const StepRecord *records, uint32_t n)
{
    step->tokens_per_second =
        step->seconds > 0 ? (double)step->tokens / step->seconds : NAN;
    remember(m, step->loss);
    if (!m->quiet) write_line(m, step);
    if (!m->jsonl) return TITAN_OK;
    write_object(m, step, records, n);
    if (!ferror(m->jsonl)) return TITAN_OK;
    return titan_fail(s, TITAN_IO, "could not write \"%s\": %s", m->path,
                      strerror(errno));
}

void metrics_curve(const Metrics *m)
{
    if (m->nlosses < 2) return;
    printf("\nloss\n");
    plot_curve(m->losses, m->nlosses, stdout);
}

TitanStatus metrics_close(TitanStory *s, Metrics *m)
{
    TitanStatus st = TITAN_OK;
    if (m->jsonl && fclose(m->jsonl) != 0)
        st = titan_fail(s, TITAN_IO, "could not write \"%s\": %s", m->path,
                        strerror(errno));
    free(m->losses);
    m->jsonl = NULL;
    m->losses = NULL;
    return st;
}
