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
 * of a budget, where the plan has one.  False: there are none that keep to
 * it; an error was reported. */
bool budget_settle(Module *m, const StepVec *steps, uint32_t at,
                   const PipelineOpts *o);

/* A step within a budget. */
typedef struct BudgetStep {
    double seconds; /* INFINITY: none keeps to it, or it takes longer than what
                       was asked; by what is made again alone, where nobody
                       predicts a step */
    bool plain;     /* nothing is made again, or on the host */
} BudgetStep;

/* About what `budget_settle` would make of a module, which has a budget; less
 * than LEAST seconds are worth looking for. */
BudgetStep budget_step(Module *m, const StepVec *steps, uint32_t at,
                       const PipelineOpts *o, double least);

/* hold.c: in front of the step `at`, which is the pass once: what the stages of
 * a pipeline hold over a step, where a budget decides that. */
bool hold_settle(Module *m, const StepVec *steps, uint32_t at,
                 const PipelineOpts *o);

#endif
