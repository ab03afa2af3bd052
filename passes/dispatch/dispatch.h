/*
 * dispatch.h: rows that go to the devices of the weights that they choose.
 *
 *     find     which rows, in how many parts, with how much room
 *     worst    the entry that a step is repeated with
 */
#ifndef TITAN_DISPATCH_H
#define TITAN_DISPATCH_H

#include "../pass.h"
#include "../shard/shard.h"

enum { MOST_AXES = 8 };

/* Rows that choose by one value of ids. */
typedef struct Rows {
    Value ids; /* of the old function */
    Axis expert;
    int64_t experts;
    uint32_t n; /* axes of the rows, in order */
    Axis axes[MOST_AXES];
    /* what it is split into: the turns that microbatch will make, parts of
     * devices, the rest */
    Axis turn[MOST_AXES], part[MOST_AXES], inner[MOST_AXES];
    int64_t turns[MOST_AXES], from[MOST_AXES], rest[MOST_AXES];
    int64_t alike[MOST_AXES]; /* parts of `from` whose experts are others of the
                                 same: it is split over other mesh axes too */
    Axis to, own, slot;       /* own: the experts of one part */
    Axis piece;               /* of slots, that are counted together */
    int64_t rows, parts, room; /* of a part; parts of the experts; slots */
    bool made;
    /* Of the new function: the slot of each row, -1 where it found none; the
     * row in each slot, -1: none; its expert, of those of the part; whether a
     * row found its buffer full. */
    Value place, source, local, full;
} Rows;

typedef struct Dispatch {
    Module *m;
    PassCtx *cx;
    Shard s; /* the rules */
    Rewrite rw;
    const Fn *fn;
    VEC(Rows) rows;
    bool worst;      /* there is room for all rows */
    bool runs_out;   /* some rows may find none */
    bool failed;     /* a report was made */
    bool *used;      /* by rule: it bounds what some rows send */
    int64_t *uneven; /* by rule: what its devices do not divide; or 0 */
    uint32_t *in; /* by value: its rows, plus 1, if it is made where they go */
    Value *sent;  /* by value: what it is there; NO_VALUE: not yet */
} Dispatch;

static inline Type type_of(const Dispatch *d, Value v)
{
    return value_type(d->fn, v);
}

bool is_row_axis(const Rows *x, Axis a);
bool has_row_axis(const Dispatch *d, const Rows *x, Type t);
/* The rows of the operands that are made there; 0: none, or of several. */
uint32_t rows_of_args(const Dispatch *d, const Inst *in);
/* Which values of the function are made where rows go; false: none is.  Weights
 * that only others read are gathered where those are. */
bool rows_find(Dispatch *d);

#endif
