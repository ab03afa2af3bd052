/*
 * predict.h: how long a rank takes for an entry, before anything has run.
 *
 * The list of the entry is played with streams and events, each command for as
 * long as its machine would take: the larger of its bytes at the rate of a copy
 * and its operations at the share of the peak that a step keeps; a collective,
 * what it moves at the rate of the slowest link of its group.  What runs beside
 * each other slows each other down (play.c).  All ranks of a stage run the same
 * list, so one stands for all of them; the stages of a pipeline are played
 * together, and a message between two begins when both have come to it.
 */
#ifndef TITAN_TOOLS_PREDICT_H
#define TITAN_TOOLS_PREDICT_H

#include "../ir/base/base.h"
#include "../runtime/work.h"

/* One run of a command. */
typedef struct Played {
    uint32_t command, stream, stage;
    double start, seconds;
} Played;

/* All that an entry moves over one group by one kind of collective. */
typedef struct Moved {
    uint32_t command; /* the first of them */
    uint64_t times;   /* a step */
    double bytes;     /* of all of them, to or from other ranks */
    double seconds;
} Moved;

/* Of several stages, what is of one rank is of the busiest. */
typedef struct Prediction {
    const Machine *machine; /* NULL: nothing was predicted */
    double seconds;
    double products, rest, collectives; /* seconds of commands, by kind */
    double exposed;                     /* nothing but collectives runs */
    double link, network;               /* bytes that leave the rank */
    uint32_t stage;                     /* the busiest */
    double busy;        /* something else than collectives runs */
    double bubble;      /* the share of all stages' time in which
                           nothing does */
    VEC(double) stages; /* how long each is busy */
    VEC(Played) played; /* of all stages */
    VEC(Moved) moved;
} Prediction;

/* False: no machine is known for the target, or there is no such entry. */
bool predict(Arena *a, const TitanImage *im, const char *entry, Prediction *p);

/* What a rank hands to or takes from others over mesh axes in a step. */
typedef struct MovedOver {
    const char *over; /* "dp", "tp0, tp1" */
    uint64_t times;   /* collectives */
    double bytes;
} MovedOver;

typedef struct StageMoves {
    uint32_t stage;
    double bytes;
    VEC(MovedOver) over; /* in the order of the step */
} StageMoves;

/* Of a rank of a stage (moved.c); no rows: nothing. */
StageMoves stage_moves(Arena *a, const TitanImage *im, const char *entry,
                       uint32_t stage);
/* Of the stage whose ranks move the most. */
StageMoves most_moves(Arena *a, const TitanImage *im, const char *entry);

/* Of each command of the image the first that has its name, source, class and
 * work, which may be itself (alike.c). */
uint32_t *commands_alike(Arena *a, const TitanImage *im);

/* --stats=commands: what commands take of the step, by class and one by one,
 * those that are alike together (costs.c). */
void costs_print(Arena *a, const TitanImage *im, const Prediction *p);

/* Bytes of its device that a rank needs: of a GPU its arena and what may be
 * beside it (reserve.h), RESERVE of them, of the stage with the most; else its
 * arena alone. */
uint64_t rank_needs(const TitanImage *im, uint64_t *reserve);

#endif
