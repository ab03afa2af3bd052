/*
 * order.h: what happens before what in the kernel view, and which bytes it
 * touches.
 *
 * A *step* is a launch or a loop.  The steps of a function run behind one
 * another on each stream; a step that waits for an event runs behind the one
 * that signals it.  A loop is one step for the function around it.  The
 * streams of its body are the body's own: they part when a turn begins and
 * meet when it ends, and a turn ends before the next one begins, but for the
 * turns of a parallel loop.
 *
 * A *host point* is a step with a guarded loop in it: whether its next turn
 * runs is known when everything else has come to rest.
 */
#ifndef TITAN_ORDER_H
#define TITAN_ORDER_H

enum { MOST_STREAMS = 8 };

static inline bool is_step(const Inst *in)
{
    return in->op == OP_launch || in->op == OP_loop;
}

/* Whether a step may write what is behind an operand: of a launch the last
 * `outs` are written; of a loop any may be. */
static inline bool step_writes(const Module *m, const Inst *in,
                               uint32_t operand)
{
    return in->op == OP_loop ||
           operand + attr_int(m, in->attr, AT_outs, 0) >= in->nargs;
}

/* The order of the steps of one function; steps are named by the number of
 * their instruction. */
typedef struct StepOrder {
    const Fn *fn;
    uint32_t *stream, *place;       /* by step: its place there, from 1 */
    uint32_t (*done)[MOST_STREAMS]; /* by step: places that are behind it */
} StepOrder;

StepOrder order_of(const Module *m, const Fn *fn, Arena *a);
/* Whether step EARLY ends before step LATE begins, whatever the run. */
bool order_before(const StepOrder *o, uint32_t early, uint32_t late);
/* One more than the highest stream of the kernel functions. */
uint32_t module_streams(const Module *m);

/* ------------------------------------------------------------- accesses -- */

/* A place in a ring: each turn of one of the loops around has one of the rows,
 * PITCH apart. */
typedef struct RingReach {
    TurnRing ring;
    int64_t pitch;
    uint32_t loop; /* 0: the innermost around the function */
} RingReach;

/* Bytes that a step reads or writes, of a base of the plan or of one buffer. */
typedef struct Access {
    uint32_t step;
    bool write;
    uint32_t space;           /* Base, or more: a buffer without a place */
    int64_t first, end;       /* in all turns of the loops in the step */
    int64_t pitch, row;       /* of every PITCH bytes from `first` on, only the
                                 first ROW; pitch 0: all */
    int64_t turn[MOST_LOOPS]; /* more bytes for each turn of the loops around
                                 the function, innermost first */
    RingReach ring;           /* of which `first` to `end` are all rows */
} Access;

/* A kernel function in one place where it runs. */
typedef struct FnSteps {
    FnRef fn;
    const Access *at; /* in the order of steps */
    uint32_t n;
    uint32_t own;          /* spaces from this one on are of its buffers */
    const bool *point;     /* by instruction: a host point */
    const int64_t *counts; /* turns of the loops around, innermost first */
    uint32_t depth;
} FnSteps;

/* Calls VISIT for every kernel function, once for each place where it runs,
 * bodies of loops before the functions around them.  False from VISIT ends
 * the walk. */
typedef bool StepsVisit(void *user, const FnSteps *s);
bool steps_walk(Module *m, Arena *a, StepsVisit *visit, void *user);

/* Calls VISIT for every two accesses of different steps, one of which writes
 * bytes that the other touches in the same turn; the earlier step first. */
typedef bool ClashVisit(void *user, const Access *early, const Access *late);
bool steps_clashes(const FnSteps *s, Arena *a, ClashVisit *visit, void *user);

#endif
