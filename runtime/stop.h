/*
 * stop.h: who asks a run to save or to end, and whether somebody has.
 *
 *     Stop *stop;
 *     TRY(stop_install(story, &(StopOptions){...}, &stop));   before threads
 *     for each step ...
 *         switch (stop_asked(stop)) ...                       at its boundary
 *     stop_free(stop);
 *
 * SIGTERM, SIGINT, SIGHUP, SIGUSR1 and SIGUSR2, the stop file and the time
 * limit ask for the end: the state is saved and the run ends with
 * TITAN_STOPPED.  The save file asks for a save alone.  A second signal ends
 * the process at once, as that signal does by default.
 */
#ifndef TITAN_STOP_H
#define TITAN_STOP_H

#include "titan.h"

typedef struct StopOptions {
    const char *stop_file; /* NULL: none; a run ends while it is there */
    const char *save_file; /* NULL: none; it is removed when it is seen */
    double limit;          /* seconds from stop_install; 0: none */
    double state_bytes;    /* of a save, as long as none was measured */
} StopOptions;

typedef enum StopAsked { STOP_no, STOP_save, STOP_end } StopAsked;

typedef struct Stop Stop;

/* Blocks the signals in the calling thread, and so in all that it starts, and
 * starts the one that waits for them. */
TitanStatus stop_install(TitanStory *story, const StopOptions *o, Stop **out);
/* The signals mean again what they meant before. */
void stop_free(Stop *s);

/* Between two steps, from the thread that runs them: costs no system call but
 * the clock's.  A wish to save is told once, the end each time. */
StopAsked stop_asked(Stop *s);
/* A save kept the run (not: a background) so many seconds: the time limit
 * leaves that much. */
void stop_saved(Stop *s, double seconds);

/* What asks for the end, for people: "SIGTERM", "the file \"run/stop\"", "the
 * time limit". */
const char *stop_reason(const Stop *s);

/* The signal by which the watchdog has the process end: as TITAN_RANK_LOST, at
 * once. */
int stop_hang_signal(void);

/* "3h30m", "90m", "2d", "45s" or seconds without a unit.  False: it is not. */
bool stop_parse_time(const char *text, double *seconds);

#endif
