/*
 * crew.h: the ranks of a mesh, and how they are told what to do.
 *
 * The process that runs the training run is rank 0 and gives the orders; the
 * others wait for them.  So one rank alone reads data, saves, hears signals and
 * prints, and nothing can be decided in two ways.
 */
#ifndef TITAN_CREW_H
#define TITAN_CREW_H

#include "board.h"
#include "exam.h"
#include "parts.h"

typedef enum OrderKind {
    ORDER_prepare,    /* entry */
    ORDER_run,        /* entry */
    ORDER_examine,    /* entry, exam; the device keeps what it finds */
    ORDER_profile,    /* entry */
    ORDER_keep,       /* entry, turn */
    ORDER_stage_open, /* `at`: NULL where there is no room */
    ORDER_stage,
    ORDER_write,    /* base, `nparts` from `parts`, of the bytes at `at` */
    ORDER_read,     /* as write, the other way */
    ORDER_kept,     /* as read, of the io base as it was kept in `turn` */
    ORDER_trace,    /* as read, of the text of what was profiled */
    ORDER_found,    /* `found`: of the last exam */
    ORDER_profiled, /* `profiled`, whose text counts from its `begin` as it is
                       given */
    ORDER_close,    /* of ranks that a launcher has started: the device */
    ORDER_end
} OrderKind;

typedef struct Order {
    OrderKind kind;
    TitanBase base;
    uint32_t entry; /* of the first stage */
    Exam exam;
    Finding found;
    Profiled profiled;
    int64_t turn;
    const PartRun *parts; /* `whole` counts from `at` */
    size_t nparts;
    char *at;
} Order;

static inline bool order_moves(const Order *o)
{
    return o->kind == ORDER_write || o->kind == ORDER_read ||
           o->kind == ORDER_kept || o->kind == ORDER_trace;
}

/* Something of it comes back. */
static inline bool order_answers(const Order *o)
{
    return o->kind == ORDER_found || o->kind == ORDER_profiled;
}

typedef struct Crew Crew;

typedef struct CrewClass {
    /* Every rank carries out O, rank 0 in this thread; returns when all have.
     */
    TitanStatus (*all)(Crew *c, const Order *o);
    /* One rank does. */
    TitanStatus (*one)(Crew *c, uint32_t rank, Order *o);
    /* O, which reads, on what a rank has staged, from one other thread. */
    TitanStatus (*staged)(Crew *c, uint32_t rank, TitanStory *story,
                          const Order *o);
    void (*free)(Crew *c);
} CrewClass;

struct Crew {
    const CrewClass *class;
    TitanStory *story;
    const TitanImage *im;
    uint32_t ranks;
    TitanDevice *first; /* rank 0's */
    char about[64];     /* "4 ranks as processes" */
};

/* Carries out an order on the device of a rank. */
TitanStatus order_run(const TitanImage *im, TitanDevice *d, Order *o);
/* O, which reads, on what the device has staged; from any thread. */
TitanStatus order_staged(TitanStory *story, TitanDevice *d, const Order *o);

/* What all ranks say of their profiles: tables on stdout, and a trace. */
TitanStatus crew_profile_write(Crew *c, const char *path);

typedef TitanStatus CrewNew(TitanStory *story, const TitanImage *im,
                            const TitanCode *code, const DeviceOptions *o,
                            Crew **out);
CrewNew crew_new; /* of this machine */

#endif
