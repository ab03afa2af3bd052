/*
 * remat.h: rules of recomputation, as a plan has them.
 *
 * The frontend writes them to the option `remat`, passes read them there, and
 * what passes print of them can be put into a plan: so they are text, with one
 * reader.  The IR itself knows nothing of what they do.
 *
 *     rules  := rule (';' rule)*
 *     rule   := subject [mode] clause*
 *     mode   := none | early | full | ops | every N | keep names
 *     mode   := remake names | budget BYTES
 *     clause := 'except' names | 'offload' names | 'gathered' names
 *     clause := 'first' number
 *
 * Numbers begin at 1; a list ends where no comma follows.  A rule that
 * offloads, or keeps what is gathered, may leave out the mode, which is `early`
 * then, as without a rule.
 */
#ifndef TITAN_IR_REMAT_H
#define TITAN_IR_REMAT_H

#include "ir.h"

typedef enum RematMode {
    REMAT_none,
    REMAT_early,
    REMAT_full,
    REMAT_every,
    REMAT_ops,
    REMAT_keep,
    REMAT_remake,
    REMAT_budget
} RematMode;

typedef struct RematWords {
    const char **at;
    uint32_t n;
} RematWords;

typedef struct RematRule {
    const char *text;   /* as the plan has it */
    RematWords subject; /* paths of repeats; "repeat": all of them */
    RematMode mode;
    RematWords names;    /* of keep and remake */
    RematWords except;   /* of ops: parameters of matmuls that do not count */
    RematWords offload;  /* values of the record that go to the host */
    RematWords gathered; /* parameters that turns gather and keep; "param": all
                          */
    int64_t number;      /* of every; of budget: bytes */
    int64_t first;       /* how many of the turns that are left; 0: all */
    /* For who follows it, false at first: it was of use; by name, in the order
     * of the four lists: that stands for a value of some repeat. */
    bool used;
    bool *named;
} RematRule;

typedef struct RematRules {
    VEC(RematRule) at;
} RematRules;

/* The rules of TEXT, in the module's scratch; false: it does not follow the
 * grammar, and an error was reported. */
bool remat_read(Module *m, const char *text, RematRules *out);
/* Whether one has a budget; whether one says what turns keep of what they
 * gather. */
bool remat_has_budget(const RematRules *rules);
bool remat_says_gathered(const RematRules *rules);

#endif
