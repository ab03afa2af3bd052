/*
 * watchdog.h: a process beside the run that says when it is stuck, and in what,
 * and ends one that stays so.
 */
#ifndef TITAN_WATCHDOG_H
#define TITAN_WATCHDOG_H

#include "board.h"
#include "pulse.h"

typedef struct WatchdogOptions {
    double
        end; /* seconds without a step after which a run is ended; 0: never */
} WatchdogOptions;

typedef struct Watchdog Watchdog;

/* Starts it, before any thread: a process of its own, so that it runs when no
 * thread of the run can.  P is shared with it, and so is B, what each rank does
 * (NULL: not known).  NULL: it could not be started,
 * and stderr says so; a run needs none. */
Watchdog *watchdog_start(const TitanImage *im, const Pulse *p, const Board *b,
                         const WatchdogOptions *o);
/* Before the run ends. */
void watchdog_stop(Watchdog *w);

#endif
