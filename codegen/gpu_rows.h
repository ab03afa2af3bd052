/*
 * gpu_rows.h: what the sweeps over rows, short ones and long ones, share.
 */
#ifndef TITAN_GPU_ROWS_H
#define TITAN_GPU_ROWS_H

#include "target.h"

/* Partial sums of a thread, in stack slots that become registers: for each
 * accumulator one vector of neighbours, or a slot for each neighbour. */
typedef struct Partials {
    LV *at;
    unsigned w, each; /* values of a slot; slots of an accumulator */
} Partials;
Partials row_partials_new(Emit *e, const Loop *l, unsigned w);
void row_partials_add(Emit *e, const Loop *l, const Partials *p, unsigned j);
LV row_partials_sum(Emit *e, const Acc *acc, const Partials *p, uint32_t a);
/* The sums over the row's threads of what each has, X, in all of them. */
void gpu_over_row(Emit *e, const Acc *accs, LV *x, uint32_t n);

typedef struct Sweep {
    LoopId loop;
    const Loop *l;
    Partials partials;
    LV first;     /* the thread's first lane */
    int64_t span; /* lanes of a chunk */
} Sweep;

/* Neighbour j of a chunk (or all of them), whose first lane is `at`; `cut`:
 * some threads may be beyond the row, and some neighbours of one. */
LV row_lane(Emit *e, const Sweep *s, LV at, unsigned j, bool cut);
/* Chunks that are in flight together: few where they hold much. */
enum { ROW_TOGETHER = 4 };
unsigned row_together(const Kir *k, const Loop *l);
/* Loops over lanes. */
uint32_t row_sweeps(const Kir *k);
/* Nothing nested in the loop. */
bool row_is_plain(const Kir *k, const Loop *l);
/* Whether two loads in different loops of a kind are of the same elements. */
bool row_same_load(const Kir *k, const NodeInfo *x, const NodeInfo *y);
/* The same bits, of which the compiler knows nothing. */
LV gpu_opaque(Emit *e, LV x);

#endif
