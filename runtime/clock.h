/*
 * clock.h: what the clocks of the machine say.
 */
#ifndef TITAN_CLOCK_H
#define TITAN_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Of a clock that never goes back, for durations. */
static inline double seconds_now(void)
{
    return (double)clock_ns(CLOCK_MONOTONIC) * 1e-9;
}

#endif
