/*
 * pulse.h: what a run is doing, since when, and how long it has done each of
 * the things it does.
 *
 *     Phase before = pulse_enter(p, PHASE_save);
 *     ... save ...
 *     pulse_enter(p, before);
 *
 * It lies in memory that another process may look at (watchdog.h).  One thread
 * writes it.
 */
#ifndef TITAN_PULSE_H
#define TITAN_PULSE_H

#include <stdatomic.h>

#include "titan.h"

/* name, for the ledger; what the run is doing, for people */
#define PHASES(P)                        \
    P(start, "starting")                 \
    P(load, "making or loading weights") \
    P(data, "waiting for data")          \
    P(step, "running the step")          \
    P(log, "writing metrics")            \
    P(save, "saving")                    \
    P(validate, "validating")            \
    P(end, "ending")

typedef enum Phase {
#define P(name, words) PHASE_##name,
    PHASES(P)
#undef P
        PHASE_COUNT
} Phase;

enum { PULSE_STEPS = 31 };

typedef struct Pulse {
    _Atomic int phase;
    _Atomic int64_t step;     /* that is run; 0: none yet */
    _Atomic int64_t since;    /* ns of the clock: when the phase began */
    _Atomic int64_t median;   /* ns of a step; 0: not known yet */
    _Atomic uint32_t command; /* 1 + the command that runs; 0: not known */
    /* the writer's own */
    int64_t spent[PHASE_COUNT];  /* ns */
    int64_t busy;                /* ns in data and step, of the last step */
    int64_t recent[PULSE_STEPS]; /* of the last steps */
    int64_t steps;
} Pulse;

/* In PHASE_start.  NULL: no memory. */
Pulse *pulse_new(void);
void pulse_free(Pulse *p);

/* What comes is PHASE; returns what was before. */
Phase pulse_enter(Pulse *p, Phase phase);
/* A step begins: what was spent on data and the step before is one step. */
void pulse_step(Pulse *p, int64_t step);

/* Seconds so far, the present phase included. */
double pulse_seconds(const Pulse *p, Phase phase);

const char *phase_name(int phase);
const char *phase_words(int phase);
/* ns of the clock that a pulse goes by. */
int64_t pulse_now(void);

#endif
