/*
 * budget.h: how the driver keeps a program within a budget of memory.
 */
#ifndef TITAN_BUDGET_H
#define TITAN_BUDGET_H

#include "driver.h"

/* A copy of a module, on which passes are tried. */
typedef struct Trial {
    Arena arena, scratch;
    Diag diag;
    Module m;
} Trial;

void trial_begin(Trial *t, const Buf *text);
void trial_end(Trial *t);

/* Whether the rules of `remat` have a budget; false: an error was reported. */
bool budget_asked(Module *m, const PassCtx *cx, bool *is);

/* In front of the step `at`, which is the pass remat: puts rules in the place
 * of a budget, where the plan has one; if the program is judged alone, whether
 * they keep to it or not.  False: there are none that keep to it; an error was
 * reported. */
bool budget_settle(Module *m, const StepVec *steps, uint32_t at,
                   const PipelineOpts *o);

/* A step within a budget. */
typedef struct BudgetStep {
    double seconds; /* of a step; INFINITY: none keeps to the budget, or none
                       that takes less than what was asked; by what is made
                       again alone, where nobody predicts a step */
    int64_t bytes;  /* of the device's memory */
    bool fits;      /* the budget has room for them */
} BudgetStep;

/* The step of a module, which has a budget, where nothing is made again, or on
 * the host. */
BudgetStep budget_plain(Module *m, const StepVec *steps, uint32_t at,
                        const PipelineOpts *o);

/* About what `budget_settle` would make of it where that has no room; PLAIN: as
 * above.  Less than LEAST seconds are worth looking for. */
BudgetStep budget_step(Module *m, const StepVec *steps, uint32_t at,
                       const PipelineOpts *o, BudgetStep plain, double least);

/* hold.c: in front of the step `at`, which is the pass once: what the stages of
 * a pipeline hold over a step, and whether their collectives are beside
 * compute, where a budget decides that. */
bool hold_settle(Module *m, const StepVec *steps, uint32_t at,
                 const PipelineOpts *o);

#endif
