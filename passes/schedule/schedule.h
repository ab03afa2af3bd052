/*
 * schedule.h: the parts of schedule.
 *
 *     cost      how long each launch and loop takes, and what of the machine
 *               it fills
 *     choose    which of them may run beside stream 0, and on which stream
 *     fill      what waits for no collective stands in front of what does
 *     ahead     collectives stand where other work covers them
 *     apart     those of several groups, which share the links
 *     turns     and in another turn of a loop than the one that they serve
 *     order     a list in another order
 *     events    the waits and signals that keep the order
 *     bound     products that leave processors to collectives beside them
 *
 * A *list* is one kernel function: its steps (launches and loops), numbered
 * from 0 in the order in which they stand.
 */
#ifndef TITAN_SCHEDULE_H
#define TITAN_SCHEDULE_H

#include "../machine.h"

typedef struct Step {
    uint32_t inst;
    bool point;      /* a host point: nothing runs beside it */
    bool talks;      /* a collective */
    bool grows;      /* likewise, that gives more than it takes */
    bool message;    /* one of two ranks of a pipeline: a send or receive */
    uint32_t group;  /* of a collective: the number of its group of devices */
    uint64_t within; /* of a loop: the groups of those in it, a bit each */
    double time;     /* microseconds, alone */
    double full;     /* how much of the machine it keeps busy, 0 to 1 */
    double gain;     /* microseconds that it saves beside something else; 0:
                        it stays on stream 0 */
    double until;    /* microseconds of other work up to its first reader */
    uint32_t reader; /* that; or the number of all steps */
    double weight;   /* bytes whose life it lengthens */
    bool beside;     /* it may leave stream 0 */
    bool transfer;   /* it has a stream of its own: the copy engines' */
    bool from_host;
    uint32_t stream, rank;
} Step;

typedef struct List {
    FnRef ref;
    Fn *fn;
    uint32_t n;
    Step *steps;
    uint32_t *number; /* by instruction: its step */
    uint64_t *before; /* n rows of bits: steps that come first, as they touch
                         the same bytes */
    uint64_t *joined; /* likewise: that stream 0 takes in, because they are
                         done by then, or that a transfer waits for, because
                         it would come too soon, or a collective, which leaves
                         the links to them */
    uint32_t words;   /* of a row */
    double time;      /* alone, one step after the other */
    uint32_t talks;   /* streams of collectives */
    bool sends;       /* something to another rank of a pipeline */
    uint64_t groups;  /* of its collectives, and of its loops', a bit each */
    double runs;      /* how often it runs in one call of an entry */
} List;

static inline void row_set(uint64_t *rows, const List *l, uint32_t row,
                           uint32_t bit)
{
    rows[(size_t)row * l->words + bit / 64] |= UINT64_C(1) << bit % 64;
}
static inline bool row_has(const uint64_t *rows, const List *l, uint32_t row,
                           uint32_t bit)
{
    return rows[(size_t)row * l->words + bit / 64] >> bit % 64 & 1;
}

/* The first step of a row from BIT on; none: at least the number of all. */
static inline uint32_t row_next(const uint64_t *rows, const List *l,
                                uint32_t row, uint32_t bit)
{
    const uint64_t *r = rows + (size_t)row * l->words;
    uint32_t w = bit / 64;
    if (w >= l->words) return bit;
    uint64_t word = r[w] & UINT64_MAX << bit % 64;
    while (!word && ++w < l->words)
        word = r[w];
    return w * 64 + (word ? (uint32_t)__builtin_ctzll(word) : 0);
}

/* The last one of a row in front of BIT, plus 1; 0: none. */
static inline uint32_t row_last(const uint64_t *rows, const List *l,
                                uint32_t row, uint32_t bit)
{
    const uint64_t *r = rows + (size_t)row * l->words;
    uint32_t w = bit / 64;
    uint64_t word = w < l->words ? r[w] & ((UINT64_C(1) << bit % 64) - 1) : 0;
    while (!word && w > 0)
        word = r[--w];
    return word ? w * 64 + 64 - (uint32_t)__builtin_clzll(word) : 0;
}

/* Something in front of it has to do with its places. */
static inline bool has_needs(const List *l, uint32_t step)
{
    return row_next(l->before, l, step, 0) < step;
}

/* What is sent to another rank has no result. */
static inline bool is_send(const Module *m, const List *l, uint32_t step)
{
    const Inst *in = &l->fn->insts[l->steps[step].inst];
    return l->steps[step].message && attr_int(m, in->attr, AT_outs, 0) == 0;
}

/* What is asked for. */
typedef struct Choice {
    uint32_t streams; /* besides those of transfers: one in, one out */
    bool spread;      /* each step goes where it begins first, pay or not */
    uint32_t talks;   /* of these, the last ones, that are for collectives */
    bool messages;    /* or, where there are no others, the last for messages */
    Machine on;
} Choice;

/* Fills time, full and weight of the step; LOOP_TIME is that of a turn. */
void step_cost(Module *m, const List *l, Step *s, const Machine *on,
               double turn_time);

/* The function of a list with its steps in another order. */
Fn *list_in_order(Module *m, const List *l, const uint32_t *order);

/* The function of a list in which what waits for no collective comes first. */
Fn *list_filled(Module *m, const List *l);

/* The function of a list with its collectives where they are covered by what
 * stands between them and their readers. */
Fn *collectives_ahead(Module *m, const List *l);

/* The function of a list with the collectives that no step of it needs where
 * work covers them that covers no others. */
Fn *collectives_apart(Module *m, const List *l);

/* A collective that work does not cover before a step of the list, or the next
 * turn, reads what it brings. */
bool is_exposed(const List *l, uint32_t step);

/* How long a collective may take beside all else, which it shares memory and
 * processors with. */
static inline double talk_time(const Step *s)
{
    return 2 * s->time;
}

/* Has collectives of the loops of a list run in the turn before, or after.
 * BODIES, by step: the list of a loop's body, if nobody else runs it and it is
 * as it was when its list was made; else NULL. */
void collectives_turned(Module *m, const List *l, const List *const *bodies,
                        Arena *a);

/* Fills gain and until of every step. */
void list_gains(List *l, const Machine *on, Arena *a);
/* Chooses the stream of every step, and what stream 0 takes in. */
void list_streams(List *l, const Choice *c, Arena *a);
/* Writes streams, waits and signals to the instructions; the number of
 * events. */
uint32_t list_events(Module *m, const List *l, Arena *a);
/* Bounds products beside collectives that need processors, where the list is
 * faster so; how many.  ALONE: NCCL makes all collectives. */
uint32_t list_bound(Module *m, const List *l, const Machine *on, bool alone,
                    Arena *a);

#endif
