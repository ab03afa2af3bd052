/*
 * guard.h: a compiler's work in a child process.
 *
 * The compiler ends at the first broken promise inside it (BUG), and may die
 * of a signal.  The parent that waits for it then still can do something: it
 * writes a reproducer, a file that holds the command line, the inputs, and
 * the text to run again, and exits with 70.
 */
#ifndef TITAN_TOOLS_GUARD_H
#define TITAN_TOOLS_GUARD_H

#include "../ir/base/base.h"

/* What the child is at, in memory that the parent sees too. */
typedef struct GuardNote {
    uint32_t step;  /* number of the pass that runs; 0: none yet */
    char doing[64]; /* its name */
} GuardNote;

typedef struct Guard {
    const char *tool;
    int argc;
    char *const *argv;
    const char *const *inputs; /* files to keep, as the user named them */
    uint32_t ninputs;
    const char *reproducer; /* where to write; NULL: in this folder */
    /* The whole work; returns the exit code. */
    int (*work)(void *user, GuardNote *note);
    /* Called in another child after the death: the text just before the step
     * (0: before any), and how to run it again.  False: it is not to be had. */
    bool (*replay)(void *user, uint32_t step, Buf *text, Buf *command);
    void *user;
} Guard;

int guard_run(const Guard *g);
/* For PipelineOpts.on_step; user is the note. */
void guard_on_step(void *user, uint32_t step, const char *pass);

#endif
