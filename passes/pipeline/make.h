/*
 * make.h: what the files that make schedules share.
 */
#ifndef TITAN_PASSES_MAKE_H
#define TITAN_PASSES_MAKE_H

#include "schedule.h"

/* A row on its way. */
typedef struct Make {
    const ScheduleAsk *ask;
    Schedule *s;
    Placing placing;
    uint32_t rank;
} Make;
typedef void MakeRow(Make *k);

void make_row(Make *k, ActionKind kind, uint32_t stage, uint32_t micro);
/* The stage that is a rank's first, second, ... */
uint32_t chunk_stage(const Make *k, uint32_t chunk);

/* zero.c */
MakeRow make_zbv, make_dualpipev;

#endif
