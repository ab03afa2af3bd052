/*
 * driver.h: what the files of the driver share.
 */
#ifndef TITAN_PASSES_DRIVER_H
#define TITAN_PASSES_DRIVER_H

#include "pass.h"

/* One pass of a pipeline text, with its options. */
typedef struct Step {
    const Pass *pass;
    const char **keys, **values;
    uint32_t noptions;
} Step;

typedef VEC(Step) StepVec;

/* Parses "a,b{k=v;k2=v2}"; a name may also be that of a pipeline.  False: an
 * error was reported. */
bool pipeline_parse(Module *m, const char *text, StepVec *out);
/* The step as pipeline text. */
void step_print(const Step *s, Buf *out);

/* The properties that can be seen in the module itself, and those that hold. */
enum {
    PROPS_SEEN = PROP_inlined | PROP_gradless | PROP_local | PROP_own |
                 PROP_kernel | PROP_planned
};
uint32_t module_props(const Module *m);
/* "no op 'grad'" */
const char *prop_text(uint32_t prop);

#endif
