/*
 * pulse.c: what a run is doing, and for how long.
 *
 * The time between two changes of phase belongs to the phase between them, so
 * the sums of all phases are the time since the start.
 */
#include "pulse.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "clock.h"

int64_t pulse_now(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

Pulse *pulse_new(void)
{
    Pulse *p = mmap(NULL, sizeof *p, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return NULL;
    atomic_store(&p->since, pulse_now());
    return p;
}

void pulse_free(Pulse *p)
{
    if (p) munmap(p, sizeof *p);
}

Phase pulse_enter(Pulse *p, Phase phase)
{
    int before = atomic_load_explicit(&p->phase, memory_order_relaxed);
    int64_t now = pulse_now();
    int64_t took = now - atomic_load_explicit(&p->since, memory_order_relaxed);
    p->spent[before] += took;
    if (before == PHASE_data || before == PHASE_step) p->busy += took;
    atomic_store(&p->since, now);
    atomic_store(&p->phase, (int)phase);
    return (Phase)before;
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void note_step(Pulse *p)
{
    int64_t sorted[PULSE_STEPS];
    p->recent[p->steps++ % PULSE_STEPS] = p->busy;
    size_t n = p->steps < PULSE_STEPS ? (size_t)p->steps : PULSE_STEPS;
    memcpy(sorted, p->recent, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_size);
    atomic_store(&p->median, sorted[n / 2]);
}

void pulse_step(Pulse *p, int64_t step)
{
    pulse_enter(p, PHASE_step);
    if (atomic_load(&p->step) > 0) note_step(p);
    p->busy = 0;
    atomic_store(&p->step, step);
}

double pulse_seconds(const Pulse *p, Phase phase)
{
    int64_t ns = p->spent[phase];
    if (atomic_load(&p->phase) == (int)phase)
        ns += pulse_now() - atomic_load(&p->since);
    return (double)ns * 1e-9;
}

static const struct {
    const char *name, *words;
} phases[] = {
#define P(name, words) {#name, words},
    PHASES(P)
#undef P
};

const char *phase_name(int phase)
{
    return phase >= 0 && phase < PHASE_COUNT ? phases[phase].name : "?";
}

const char *phase_words(int phase)
{
    return phase >= 0 && phase < PHASE_COUNT ? phases[phase].words : "?";
}
