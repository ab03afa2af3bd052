/*
 * progress.c: what a run says to people.
 *
 * The line has the shape of torchtitan's, so that what reads those reads this.
 */
#include "progress.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "clock.h"

enum { BAR = 24 };

void progress_open(Progress *p, bool quiet)
{
    p->quiet = quiet;
    p->tty = isatty(STDOUT_FILENO) == 1;
}

/* The sign of a NaN says nothing. */
static double shown(double x)
{
    return isnan(x) ? NAN : x;
}

/* 12345.6 as 12,346. */
static const char *grouped(double x, char out[32])
{
    char digits[32];
    int n = snprintf(digits, sizeof digits, "%.0f", x), at = 0;
    for (int i = 0; i < n && at < 30; i++) {
        if (i > 0 && (n - i) % 3 == 0) out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = 0;
    return out;
}

static void put_known(const char *name, double x, const char *unit)
{
    if (isfinite(x))
        printf("  %s: %.2f%s", name, x, unit);
    else
        printf("  %s: -", name);
}

void progress_line(Progress *p, const ProgressLine *l)
{
    char tps[32];
    if (p->quiet) return;
    progress_clear(p);
    printf("step: %2" PRId64 "  loss: %7.4f  grad_norm: %7.4f", l->step,
           shown(l->loss), shown(l->grad_norm));
    printf("  memory: %5.2fGiB", l->memory);
    if (isfinite(l->memory_part)) printf("(%.2f%%)", 100 * l->memory_part);
    if (isfinite(l->tps))
        printf("  tps: %s", grouped(l->tps, tps));
    else
        printf("  tps: -");
    put_known("tflops", l->tflops, "");
    put_known("mfu", 100 * l->mfu, "%");
    if (l->skipped) printf("  skipped: %s", l->skipped);
    putchar('\n');
    fflush(stdout);
}

void progress_valid(Progress *p, int64_t step, double loss)
{
    if (p->quiet) return;
    progress_clear(p);
    printf("validate step: %2" PRId64 "  loss: %7.4f\n", step, shown(loss));
    fflush(stdout);
}

static void time_left(double seconds, char *out, size_t size)
{
    long t = seconds < 0 || !isfinite(seconds) ? 0 : lround(seconds);
    if (t >= 3600)
        snprintf(out, size, "%ld:%02ld:%02ld", t / 3600, t / 60 % 60, t % 60);
    else
        snprintf(out, size, "%ld:%02ld", t / 60, t % 60);
}

static void draw(Progress *p, int64_t step, int64_t steps)
{
    char left[32], bar[BAR + 1];
    double part = steps > 0 ? (double)step / (double)steps : 1;
    for (int i = 0; i < BAR; i++)
        bar[i] = i < lround(part * BAR) ? '#' : '.';
    bar[BAR] = 0;
    time_left(p->mean_step * (double)(steps - step), left, sizeof left);
    printf("\r%3.0f%% [%s] %" PRId64 "/%" PRId64 "  left %s\033[K", 100 * part,
           bar, step, steps, left);
    fflush(stdout);
    p->shown = true;
}

/* Ten times a second is as much as people can read. */
void progress_step(Progress *p, int64_t step, int64_t steps)
{
    if (p->quiet || !p->tty) return;
    double t = seconds_now(), took = t - p->step_at;
    if (p->step_at > 0)
        p->mean_step =
            p->mean_step > 0 ? 0.95 * p->mean_step + 0.05 * took : took;
    p->step_at = t;
    if (t - p->drawn < 0.1 && step < steps) return;
    p->drawn = t;
    draw(p, step, steps);
}

void progress_clear(Progress *p)
{
    if (!p->shown) return;
    fputs("\r\033[K", stdout);
    fflush(stdout);
    p->shown = false;
}
