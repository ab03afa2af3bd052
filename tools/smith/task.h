/*
 * task.h: random training programs of the language, under random plans.
 *
 * A task is a list of choices (choices.def), from which the text of a model and
 * of a plan follow.
 */
#ifndef TITAN_SMITH_TASK_H
#define TITAN_SMITH_TASK_H

#include <stdlib.h>

#include "smith.h"

typedef enum Choice {
#define CHOICE(id, percent, words) CHOICE_##id,
#include "choices.def"
#undef CHOICE
    CHOICE_count
} Choice;

/* Ways that others ask for, by their places in choices.def. */
enum { MIXER_attention = 1, MIXER_scan = 2, MIXER_convolution = 3 };
enum { FEED_gated = 1, FEED_plain = 2, FEED_experts = 3, FEED_shared = 4 };
enum { SCHEDULE_dual_pipe_v = 6 };
enum { EACH_step = 1 };
enum { RESIDUAL_whole = 1 }; /* in no parts */
enum { FSDP_states = 3 };    /* parameters lie whole */
enum { AGAIN_every = 5, AGAIN_keep = 6, AGAIN_remake = 7, AGAIN_budget = 8 };

typedef struct Task {
    uint64_t seed;
    uint32_t way[CHOICE_count]; /* 0: the plain one */
    bool layouts;               /* these are drawn, too */
    int64_t gpus; /* for so many GPUs, of sizes around those of tiles; 0: of as
                     many devices as come */
} Task;

/* choose.c */
const char *choice_name(uint32_t i);
uint32_t choice_ways(uint32_t i);
const char *choice_word(uint32_t i, uint32_t way, char out[32]);
/* GPUS: see Task; up to eight, and no multiple of 5 or 7.  PLAIN, by choice, or
 * NULL: what is not drawn, which may leave fewer devices. */
void task_choose(uint64_t seed, int64_t gpus, const bool plain[CHOICE_count],
                 Task *out);
const char *chosen(const Task *t, Choice c, char out[32]);
/* Of several GPUs one in so many has products that fill some tiles. */
bool task_is_large(const Task *t);
/* A row of recipes.def. */
typedef struct Recipe {
    const char *name, *rule;
    int64_t multiple; /* of which both sides of a layer have to be */
} Recipe;

/* NULL: none is chosen. */
const Recipe *task_recipe(const Task *t);
/* Its scales are for blocks of what is summed. */
bool task_has_blocks(const Task *t);
int64_t number(const Task *t, Choice c); /* its word as a number */
int64_t devices(const Task *t);
/* What is not plain. */
void task_print(const Task *t, Buf *out);

/* What came of many tasks: how often a pass changed, and how often one device's
 * program had an op, under each way of each choice. */
enum { MOST_WAYS = 12, MOST_STEPS = 64, MOST_REFUSALS = 32 };
typedef struct Cover {
    uint32_t whole; /* compiled to the end */
    uint32_t unchecked;
    uint32_t passes[CHOICE_count][MOST_WAYS][MOST_STEPS];
    uint32_t ops[CHOICE_count][MOST_WAYS][OP_count];
    uint32_t refused[MOST_REFUSALS]; /* by diagnostic */
    uint64_t first_refused[MOST_REFUSALS];
} Cover;

/* plans.c.  Whether all errors are refusals of a plan, or of sizes under it. */
bool plan_is_refused(const Diag *d);
/* The program of a task, in the global view; false: WHY says how it
 * fails, or nothing, where the plan is refused. */
bool task_read(const Task *t, const char *text, size_t n, Buf *program,
               Buf *why);
/* False: the task fails, and WHY says how. */
bool check_plans(const Task *task, const char *text, size_t n, Cover *cover,
                 Buf *why);
/* What was refused and, if WHOLE, all counts. */
void cover_print(const Cover *c, bool whole);

/* source.c, rules.c: the text. */
void source_print(const Task *t, Buf *out);
void rules_print(const Task *t, Buf *out);

#endif
