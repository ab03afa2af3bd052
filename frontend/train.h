/*
 * train.h: the train block under elaboration.
 */
#ifndef TITAN_TRAIN_H
#define TITAN_TRAIN_H

#include "sema.h"

/* A parameter that an update leaves as it is. */
typedef struct Frozen {
    Mem *mem;
    const Node *by;
} Frozen;

struct Train {
    const Node *block;
    Scope *scope; /* of the block */
    Span at;
    Val loss;
    Span loss_at;
    bool loss_wrong; /* and reported */
    bool known;      /* the parameters are */
    VEC(Frozen) frozen;
    Val params;     /* bundles */
    Val raw;        /* the gradients, as differentiated */
    bool *taken;    /* by trained parameter: some update has */
    Val *next;      /* their next values */
    Scope **bodies; /* of their optimizers, as they ended */
    VEC(const Node *) rules;
    Val rate; /* lr of the first update */
    bool has_rate;
    Mem *updating; /* in an optimizer: for which parameter */
};

typedef struct Update {
    Span at;
    Callee callee;
    Val *args;
    uint32_t nargs;
    Val grads;
} Update;

/* The next value of a parameter or state. */
typedef struct Next {
    Mem *mem;
    Value value;
} Next;

typedef VEC(Next) Nexts;

/* guard.c */
/* Makes the state that counts applied steps. */
void guard_updates(Sema *s);
/* `updates`: the number of the present update, from 1. */
Val updates_value(Sema *s, Span at);
/* Each value becomes the present one where the step is not finite; the result
 * says that it is. */
Value guard_step(Sema *s, Next *next, uint32_t n);

/* frozen.c */
/* update … = frozen */
bool update_freezes(Sema *s, const Node *n);
/* Of the parameters of the loss, s->trained, takes out those that an update of
 * the block freezes. */
bool train_freeze(Sema *s);

bool path_matches(Sema *s, const char *path, const Mem *mem);
/* One of the update's paths does, or it has none. */
bool rule_matches(Sema *s, const Node *n, const Mem *mem);
void path_unknown(Sema *s, Span at, const char *who, const char *path);
/* Every trained parameter has its update; else an error. */
bool train_all_taken(Sema *s);
/* The step changes some parameter or state of NEXT, or has none that are
 * frozen; else an error. */
bool train_changes(Sema *s, const Nexts *next);

#endif
