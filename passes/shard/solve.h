/*
 * solve.h: a choice in the making.
 */
#ifndef TITAN_PASSES_SHARD_SOLVE_H
#define TITAN_PASSES_SHARD_SOLVE_H

#include "shard.h"

typedef struct Wants Wants;

typedef struct Solve {
    Shard *s;
    uint32_t n;      /* mesh axes that count, the first of the order */
    double *work;    /* by item: when nothing of it is split */
    bool *chosen;    /* by item: what it needs counts */
    bool *placed;    /* by node: where it is counts */
    uint32_t *into;  /* hand-overs, by port */
    uint32_t *first; /* of them */
    uint32_t *seen;  /* raws of a port, and their first */
    uint32_t *seen_first;
    uint32_t *maker;  /* by raw: its item, or NO_RAW */
    uint32_t changes; /* made so far */
    /* How many there were when it was looked at, by mesh axis and item, and
     * when something beside it changed, by item; ports as their first. */
    uint32_t *looked, *stirred;
    uint32_t *moved;   /* the same of values that many read, by raw: when */
    Wants *wants;      /* NULL: each reader is looked at */
    uint32_t *tried;   /* of windows, by two mesh axes and raw */
    uint32_t favoured; /* a raw that is taken to be at `favour` already */
    Where favour;
} Solve;

static inline const Raw *raw_at(const Solve *x, uint32_t arg)
{
    return &x->s->raws.at[x->s->args.at[arg].raw];
}

static inline bool is_port(const Solve *x, uint32_t item)
{
    return x->s->items.at[item].raw == NO_RAW;
}

/* What is paid: all of it, and of that what is moved. */
typedef struct Cost {
    double all, moved;
} Cost;

/* What an item costs where it stands, beside those that are chosen: its work,
 * and its operands in forms that nobody else has.  What a node costs where it
 * is: what is kept of it, what all who are chosen and read it pay, and those
 * who hand something over to it. */
Cost item_cost(const Solve *x, uint32_t item);
Cost node_cost(const Solve *x, uint32_t node);
/* The forms of a value that are paid for. */
double raw_cost(const Solve *x, uint32_t raw);
/* The parts of that: work, as it is over all mesh axes but some; another place
 * than the rules say; what is kept; what is sent between ranks. */
double work_cost(const Solve *x, uint32_t item, const MeshAxis *but,
                 uint32_t n);
double all_misses(const Solve *x, uint32_t item);
double kept_cost(const Solve *x, uint32_t node);
double sent_cost(const Solve *x, uint32_t node);
/* Each device does a part of the item; its result is where the rules say.  That
 * or an operand that comes in parts makes its work less. */
bool is_in_parts(const Solve *x, const Item *it, MeshAxis m);
bool is_as_ruled(const Solve *x, const Item *it, MeshAxis m);
/* Two uses of one value are in one phase, and want it in one form over all mesh
 * axes but some. */
bool same_form(const Solve *x, uint32_t a, uint32_t b, const MeshAxis *but,
               uint32_t n);
/* What two uses of one value pay for first steps that are the same. */
double share_cost(const Solve *x, uint32_t a, uint32_t b);
/* An operand that is made and needed as the tables have it; as these say. */
Move move_of(const Solve *x, uint32_t arg);

/* All is chosen as it is in the tables of S, over all mesh axes; what a step
 * moves and does then, in bytes that a device receives, and what it moves. */
Solve solve_of(Shard *s);
double solve_cost(const Solve *x);
double solve_moves(const Solve *x);

/* alike.c: its operands can be brought into the forms in which it needs them;
 * mesh axes over which it is pending, or they, are nowhere in it from now on.
 */
bool item_is_possible(const Solve *x, uint32_t item);
void item_unpend(Solve *x, uint32_t item);

/* Its choice has changed, so all that stand beside it may choose again. */
void stir(Solve *x, uint32_t item);

/* The ways of an item over one mesh axis; it takes one, or it is at WHERE. */
Ways item_ways(const Solve *x, uint32_t item, MeshAxis m);
void take_way(Solve *x, uint32_t item, MeshAxis m, const Way *way);
/* The port is at WHERE, and what is handed over to it. */
void place_port(Solve *x, uint32_t node, MeshAxis m, Where where);
/* held.c: what a step gathers once is gathered by who hands it over; whether
 * there is such a thing. */
bool held_settle(Solve *x);
/* The rules alone say where a port is. */
bool is_fixed(const Solve *x, uint32_t node, MeshAxis m);

/* wants.c: counts the forms in which what many read is needed, from where
 * nothing is chosen. */
void wants_begin(Solve *x);
void wants_none(const Solve *x);
/* What the item needs counts. */
void wants_choose(const Solve *x, uint32_t item);
/* The operand is needed there. */
void need_put(const Solve *x, MeshAxis m, uint32_t arg, Where where);
/* What an operand pays beside others, and what all pay for a value; false: few
 * read it, nothing is counted. */
bool wants_operand(const Solve *x, uint32_t arg, double *cost);
bool wants_all(const Solve *x, uint32_t raw, double *cost);
/* The ports that the value is handed over to, by their first items; NULL: few
 * read it. */
const uint32_t *wants_ports(const Solve *x, uint32_t raw, uint32_t *n);
/* How many changes there were when something beside the item changed. */
uint32_t stirred_at(const Solve *x, uint32_t item);
/* To bring operand ARG from where it is made to where it is needed. */
double bring_cost(const Solve *x, uint32_t arg);

/* The item takes the way that costs least, with what reads its value. */
void choose_again(Solve *x, uint32_t item, MeshAxis m);

/* together.c: where several read a value in one form and each alone would lose
 * by taking another.  Whether anything got better. */
bool together_improve(Solve *x, MeshAxis m);
/* window.c: ops that stand beside each other take other ways, all at once and
 * over several mesh axes, for as long as less is moved.  Whether anything got
 * better. */
bool windows_improve(Solve *x);

#endif
