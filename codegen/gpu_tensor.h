/*
 * gpu_tensor.h: what the files that emit a kernel for tensor cores share.
 */
#ifndef TITAN_GPU_TENSOR_H
#define TITAN_GPU_TENSOR_H

#include "classes.h"
#include "sm90.h"

typedef struct Core {
    Emit *e;
    const TensorTile *t;
    LV base;       /* of shared memory, a 32-bit address */
    LV warp, lane; /* of this thread */
    LV item, group;
    uint32_t nown; /* panels of the rows */
} Core;

/* gpu_tensor.c */
LV core_i32(const Core *c, int64_t i);
LV core_add(const Core *c, LV x, LV y);
LV core_index(const Core *c, LV x); /* as an index */
LV core_long(const Core *c, LV x);  /* as an i64 */
/* The address x * by + plus in the block's shared memory. */
LV core_at(const Core *c, LV x, int64_t by, int64_t plus);
/* Steps: those that need their conditions, those that do not, all that are run,
 * all there are.  All but the last are read anew each time, rather than held.
 */
typedef enum CoreCount {
    COUNT_mixed,
    COUNT_full,
    COUNT_run,
    COUNT_all
} CoreCount;
LV core_count(const Core *c, CoreCount which);
/* Whether full steps come first: where sums cross, the steps of all blocks
 * begin at the far end. */
static inline bool core_full_first(const Core *c)
{
    return c->t->cross != NULL;
}
/* The number of the i-th step that is run. */
typedef enum CoreClass { STEP_mixed, STEP_full, STEP_either } CoreClass;
LV core_step(const Core *c, LV i, CoreClass class);
bool core_reads(const Core *c, uint32_t pass, uint32_t panel, bool dots);
/* for (i = from; i < to; i += by), with values that go round. */
typedef struct CoreLoop {
    LLVMBasicBlockRef head, exit;
    LV i, *phis;
    unsigned n;
} CoreLoop;
CoreLoop core_loop(Core *c, LV from, CoreCount to, LV *carried, unsigned n);
void core_loop_end(Core *c, CoreLoop *l, LV *carried, LV by);
/* Of step i of a pass: wait for a panel, give its slot back, multiply. */
void core_wait_full(Core *c, uint32_t pass, uint32_t panel, LV i);
void core_release(Core *c, uint32_t pass, uint32_t panel, LV i);
/* A dot may be issued in two halves of its terms. */
typedef enum CoreHalf { HALF_both, HALF_first, HALF_second } CoreHalf;
void core_dot(Core *c, uint32_t pass, const TensorDot *d, LV i, CoreHalf half,
              LV *acc);
void core_wide(Core *c, uint32_t pass, const TensorSweep *w, LV i,
               const LV *pairs, LV *acc);

LV core_barrier(const Core *c, uint32_t panel, LV slot, bool empty);
/* The slot of what is staged: as a panel after the last. */
void core_stage_slot(Core *c, uint32_t pass, LV i, LV *number, LV *parity);

/* gpu_stage.c: values per column by way of shared memory. */
void core_stage(Core *c); /* one warp, for all steps */
void core_stage_wait(Core *c, uint32_t pass, LV i);
void core_stage_release(Core *c, uint32_t pass, LV i);
/* The part of a load's guard that is about the loop; NULL: none. */
LV stage_guard(Core *c, Node n, LoopId loop);

/* A panel as an operand: where it begins, and from one step of 16 along K to
 * the next. */
LV core_descriptor(Core *c, const Panel *p, LV address, bool terms_are_k);
typedef struct CoreSteps {
    uint32_t step, run, skip;
} CoreSteps;
CoreSteps core_steps(const Panel *p, bool terms_are_k);

/* gpu_cross.c: sums over the rows. */
void core_cross_barriers(const Core *c);
LV core_cross_number(Core *c); /* of this block, by one thread */
void core_cross_reset(Core *c);
/* Consumers: the pairs of step i, packed; a warpgroup's part of their product
 * with the panel; what it gave. */
void core_cross_put(Core *c, LV i, const LV *pairs);
uint32_t core_cross_width(const Core *c); /* terms of a warpgroup's part */
void core_cross_multiply(Core *c, LV i, LV *acc);
void core_cross_leave(Core *c, LV i, const LV *acc);
void core_cross_send(Core *c); /* a warp for each stage, for all steps */
/* Whether some block is known to add to each tile of columns. */
bool core_cross_covers(Core *c);

/* gpu_steps.c: the list of steps by class. */
void core_list(const Core *c);
/* Whether a step of an item is known to be run. */
bool core_known(Core *c, int64_t item, int64_t step);
bool core_backward(Core *c); /* whether the last items have more to do */

/* gpu_consume.c: sweeps and results of a warpgroup. */
void core_consume(Core *c);

#endif
