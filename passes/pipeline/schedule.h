/*
 * schedule.h: in which order the ranks of a pipeline run its stages.
 *
 *      rank 0   0F0 0F1 0F2 0F3 ... 0B0 0B1 ...       <stage><what><microbatch>
 *      rank 1       1F0 1F1 1F2 1F3 1B0 1B1 ...
 *
 * A *stage* is a range of layers; a rank holds one or several, as many as the
 * plan has chunks.  What a stage does for one microbatch is an *action*: F runs
 * it forward, B backward; B may be done in two parts, I for the gradients of
 * its inputs, which the stage before waits for, and W for those of its weights,
 * which nobody does.
 */
#ifndef TITAN_PASSES_SCHEDULE_H
#define TITAN_PASSES_SCHEDULE_H

#include "../../ir/ir.h"

typedef enum ActionKind {
    ACTION_forward,
    ACTION_backward,
    ACTION_input,
    ACTION_weight,
    ACTION_idle, /* of a file: a cell left empty */
    ACTION_count
} ActionKind;

typedef struct Action {
    ActionKind kind;
    bool beside; /* runs beside the action behind it */
    uint32_t stage, micro;
    uint32_t at, length; /* in the text of a file; 0, 0: made */
} Action;

typedef VEC(Action) ActionVec;

/* Where the stages are, where there are two a rank or more: rank r has r,
 * r + ranks, ...; or r and, counted from the end, r again. */
typedef enum Placing { PLACING_loop, PLACING_v } Placing;

typedef struct Schedule {
    uint32_t ranks, stages, micros;
    uint32_t *owner; /* by stage: its rank */
    ActionVec *rows; /* by rank */
} Schedule;

/* schedules.def */
typedef enum ScheduleKind {
#define SCHEDULE(name, text, least, most, placing) SCHEDULE_##name,
#include "schedules.def"
#undef SCHEDULE
    SCHEDULE_count
} ScheduleKind;

/* Upper and lower case, and '_', make no difference. */
bool schedule_find(const char *word, ScheduleKind *out);
const char *schedule_name(ScheduleKind k);
/* "gpipe, 1f1b, ..." */
const char *schedule_list(Arena *a);
uint32_t schedule_chunks(ScheduleKind k, bool most);
Placing schedule_placing(ScheduleKind k);

/* What is asked for, and where to complain. */
typedef struct ScheduleAsk {
    Arena *arena;
    Diag *diag;
    Span at;
    uint32_t ranks, chunks, micros; /* chunks: stages of a rank */
} ScheduleAsk;

/* generate.c; NULL: an error was reported. */
Schedule *schedule_make(const ScheduleAsk *ask, ScheduleKind k);
/* csv.c: from text, whose source is ask->at.file. */
Schedule *schedule_read(const ScheduleAsk *ask, const char *text);
/* Every action once, on the rank of its stage, forward first.  check.c */
bool schedule_complete(const ScheduleAsk *ask, const Schedule *s);

/* A new one without actions. */
Schedule *schedule_new(Arena *a, uint32_t ranks, uint32_t stages,
                       uint32_t micros);
/* "3F12" */
const char *action_text(Arena *a, Action x);
/* "the backward of microbatch 2 by stage 1" */
const char *action_words(Arena *a, Action x);
/* Where a file has it, or else the whole is asked for. */
Span action_span(const ScheduleAsk *ask, Action x);
/* Some backward is in two parts. */
bool schedule_splits(const Schedule *s);

/* --------------------------------------------------------------- running -- */

/* What each kind of action costs. */
typedef struct ActionCosts {
    double at[ACTION_count];
} ActionCosts;
ActionCosts costs_usual(void); /* F 1, B 2, I 1, W 1 */

typedef struct Started {
    uint32_t rank, place; /* row and action */
    double start, end;
} Started;

/* An action begins, or it ends. */
typedef struct Moment {
    const Started *of;
    bool ends;
} Moment;

typedef struct Simulation {
    Started *order; /* every action, by its start: each behind all it reads */
    uint32_t n;
    Moment *moments;     /* 2n, by time; what ends at one comes first */
    double length, busy; /* of the longest row; of all rows together */
    double bubble;       /* the part of the ranks' time that is idle */
    uint32_t *held;      /* by rank: most forwards that wait for a backward */
    uint32_t stuck;      /* actions that never start: they wait in a circle */
} Simulation;
Simulation schedule_run(Arena *a, const Schedule *s, const ActionCosts *costs);

/* -------------------------------------------------------------- commands -- */

/* What a rank gives to its streams, in the order of its launches. */
typedef enum CommandKind {
    COMMAND_action,
    COMMAND_send,
    COMMAND_receive,
    COMMAND_together /* a collective: of all who have one of that tag */
} CommandKind;

typedef struct Command {
    CommandKind kind;
    uint32_t stream;       /* commands of one run one after the other */
    uint32_t channel;      /* of a transfer; those of one keep their order */
    uint32_t peer;         /* of a transfer: the other rank */
    uint64_t tag;          /* what is carried: equal on both sides */
    Action action;         /* itself; of a transfer, the one that made it */
    uint32_t to_stage;     /* of a transfer */
    const char *text;      /* what it is; NULL: as its action says */
    const uint32_t *waits; /* commands of this rank that come first */
    uint32_t nwaits;
} Command;

typedef struct CommandList {
    VEC(Command) rows;
} CommandList;

/* The commands of all ranks run to their end, whatever the speed of each: a
 * transfer or collective is one node, which comes behind what is in front of
 * it on every rank.  False: said, with the circle. */
bool commands_check(const ScheduleAsk *ask, const CommandList *lists,
                    uint32_t n);
/* The actions of a schedule with their transfers, each where it is in one
 * order of the whole; waits and streams are those of one stream a rank. */
CommandList *schedule_commands(Arena *a, const Schedule *s,
                               const Simulation *run);
/* lists.c: the same of rank functions as they are written. */
bool lists_check(const ScheduleAsk *ask, Module *m, Fn *const *fns, uint32_t n);

#endif
