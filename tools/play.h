/*
 * play.h: the lists of an entry on a clock, those of all stages together.
 */
#ifndef TITAN_TOOLS_PLAY_H
#define TITAN_TOOLS_PLAY_H

#include "predict.h"

/* A command as it is reached, loops unrolled. */
typedef struct Task {
    uint32_t command;
    uint32_t after; /* a wait: the task that signals, plus 1; 0: none does */
    bool joins;     /* a collective: one kernel with that in front of it */
} Task;

/* A stream of a stage. */
typedef struct Lane {
    VEC(uint32_t) tasks;
    uint32_t next;      /* of these */
    bool runs;          /* the next one does */
    bool ready;         /* it is a collective, and waits for processors */
    bool owes;          /* a kernel behind it waits for them */
    uint32_t meets;     /* it waits for the other side, plus 1 */
    double start, left; /* seconds, if nothing runs beside it */
} Lane;

/* One stage. */
typedef struct Play {
    struct World *w;
    Prediction *p;
    uint32_t stage;
    VEC(Task) tasks;
    bool *signalled;     /* by task */
    uint32_t *moved_row; /* by command, plus 1 */
    VEC(uint32_t) late;  /* tasks that signal when kernels of lanes have run */
    Lane lanes[TITAN_MOST_STREAMS];
    double now, ends; /* when the first of what runs does */
    Map messages;     /* on a channel, so far */
} Play;

/* A message to which one side has come. */
typedef struct Meet {
    uint32_t stage, stream;
} Meet;

/* All stages. */
typedef struct World {
    Arena *a;
    const TitanImage *im;
    const Machine *machine;
    Play *plays;
    uint32_t n;
    VEC(Meet) meets;
    Map by_message; /* a meeting, plus 1 */
} World;

/* Plays the entry of a number; each stage's prediction has what was played and
 * moved, and when it ended. */
void play(World *w, uint32_t entry);

#endif
