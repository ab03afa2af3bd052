/*
 * budget.h: how the driver keeps a program within a budget of memory.
 */
#ifndef TITAN_BUDGET_H
#define TITAN_BUDGET_H

#include "driver.h"

/* In front of the step `at`, which is the pass remat: puts rules in the place
 * of a budget, where the plan has one.  False: there are none that keep to
 * it; an error was reported. */
bool budget_settle(Module *m, const StepVec *steps, uint32_t at,
                   const PipelineOpts *o);

#endif
