/*
 * solve.h: a choice in the making, over one mesh axis.
 */
#ifndef TITAN_PASSES_SHARD_SOLVE_H
#define TITAN_PASSES_SHARD_SOLVE_H

#include "shard.h"

typedef struct Solve {
    Shard *s;
    MeshAxis mesh;
    uint32_t ndecided; /* mesh axes that are, in front of it in s->order */
    MeshAxis *decided;
    bool *chosen;    /* by item */
    bool *placed;    /* by node */
    uint32_t *into;  /* hand-overs, by port */
    uint32_t *first; /* of them */
    uint32_t *seen;  /* raws of a port, and their first */
    uint32_t *seen_first;
    uint32_t changes;  /* made so far, by whoever looked again */
    uint32_t *looked;  /* by port: how many there were when it was looked at,
                          and it stayed; plus 1 */
    uint32_t favoured; /* a raw that is taken to be at `favour` already */
    Where favour;
} Solve;

static inline const Raw *raw_at(const Solve *x, uint32_t arg)
{
    return &x->s->raws.at[x->s->args.at[arg].raw];
}

static inline Where made_at(const Solve *x, uint32_t arg)
{
    return *where_at(x->s, x->mesh, raw_at(x, arg)->node);
}

/* solve.c: what all who read a value pay when it is made at OUT; what an item
 * costs by itself; what a node costs that is kept. */
double readers_cost(const Solve *x, uint32_t raw, Where out);
double item_cost(const Solve *x, const Item *it);
double kept_cost(const Solve *x, uint32_t node, Where where);
/* The item takes the way that costs least, with what reads its value. */
void choose_again(Solve *x, uint32_t item);

/* The ways of an item; whether it has that one; it takes it. */
Ways item_ways(const Solve *x, uint32_t item);
bool is_way_taken(const Solve *x, uint32_t item, const Way *way);
void choose_way(Solve *x, uint32_t item, const Way *way);
/* The way that costs least of those that have the result there; if there is
 * one. */
void choose_making(Solve *x, uint32_t item, Where where);

/* together.c: where several read a value in one form and each alone would lose
 * by taking another.  Whether anything got better. */
bool choose_together(Solve *x);
/* The same of ops one behind the other, of which each alone would lose. */
bool choose_chains(Solve *x);

#endif
