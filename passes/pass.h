/*
 * pass.h: passes and their driver.
 *
 * A pass is one file (or folder) named as the pass; its head comment is its
 * contract: needs, gives, keeps, result.  It reads module->fns and replaces
 * them.  Nothing but the driver calls a pass.  Parameters come from the
 * module's options (so that a .tir file alone reproduces a run) or from
 * `name{key=value}` in a pipeline, which overrides.
 */
#ifndef TITAN_PASS_H
#define TITAN_PASS_H

#include "../ir/ir.h"

/* What holds of a module; the driver checks `needs` and records `gives`. */
enum {
    PROP_inlined = 1,   /* no call of an ordinary function */
    PROP_gradless = 2,  /* no op `grad` */
    PROP_micro = 4,     /* the batch is split as asked */
    PROP_precise = 8,   /* dtypes are final */
    PROP_local = 16,    /* local view */
    PROP_grouped = 32,  /* every op of an entry is in a group */
    PROP_kernel = 64,   /* kernel view */
    PROP_planned = 128, /* every buffer has its place */
    PROP_own = 256      /* types are of what one device holds */
};

/* How far a pass may change results: not at all; by the order of sums; by
 * rounding to other dtypes. */
typedef enum Contract { EXACT, REASSOCIATING, FORMAT_CHANGING } Contract;

typedef struct PassCtx {
    const char *const *keys, *const *values; /* name{key=value} */
    bool *asked; /* which of them pass_option was asked for */
    uint32_t noptions;
    const char *pass; /* its name */
} PassCtx;

typedef struct Pass {
    const char *name;
    bool (*run)(Module *m, PassCtx *cx); /* false: an error was reported */
    uint32_t needs, gives, drops;        /* PROP_ bits */
    Contract contract;
    const char *summary;
} Pass;

/* Each pass of passes.def; the driver alone calls them. */
#define PASS(name, needs, gives, drops, contract, summary) \
    bool pass_##name(Module *m, PassCtx *cx);
#include "passes.def"
#undef PASS

const Pass *pass_find(const char *name); /* NULL: no such pass */
const Pass *pass_at(uint32_t i);         /* NULL past the last */
/* The text of a named pipeline ("train"), or NULL. */
const char *pipeline_find(const char *name);
const char *pipeline_at(uint32_t i); /* its name; NULL past the last */

/* What passes may ask for, a row of parameters.def; NULL past the last. */
typedef struct Parameter {
    const char *name, *value; /* and what its value is called */
    const char *help;
} Parameter;
const Parameter *parameter_at(uint32_t i);

/* The option of this pass in the pipeline text, else the module's option,
 * else `otherwise`.  NAME is in the table. */
const char *pass_option(const Module *m, const PassCtx *cx, const char *name,
                        const char *otherwise);
int64_t pass_option_int(const Module *m, const PassCtx *cx, const char *name,
                        int64_t otherwise);

/* What the pass did, and what it could not do and why: for those who ask by
 * -Rpass and -Rpass-missed.  What is costly to find out is asked for first. */
bool pass_remarks(const Module *m, const PassCtx *cx, bool missed);
void pass_remark(const Module *m, const PassCtx *cx, Loc at, const char *fmt,
                 ...) PRINTF(4, 5);
void pass_missed(const Module *m, const PassCtx *cx, Loc at, const char *fmt,
                 ...) PRINTF(4, 5);

/* When a module is verified. */
typedef enum Verify {
    VERIFY_each,
    VERIFY_end, /* after the last pass alone */
    VERIFY_none /* of a module of which only a number is wanted */
} Verify;

/* Runs a pipeline text: "inline,canonicalise,fuse{tile=64}", in which the name
 * of a pipeline stands for its text.  --print-after goes to stdout, times to
 * stderr. */
typedef struct PipelineOpts {
    const char *print_after; /* a pass name, "all" or "changed"; or NULL */
    const char *dump_dir;    /* one numbered .tir per changing pass, or NULL */
    const char *stop_after;  /* pass name, or NULL */
    bool time_passes;        /* a table on stderr at the end */
    bool check_meaning;      /* interpreter before and after each pass */
    uint64_t seed;           /* of its inputs */
    bool locs;
    Verify verify;
    uint32_t most_steps; /* run no more passes than these; 0: all */
    bool judge;          /* whether the program is refused is wanted alone: no
                            rules are looked for that keep to a budget */
    /* Called in front of each pass, numbered from 1; or NULL. */
    void (*on_step)(void *user, uint32_t step, const char *pass);
    /* The bytes that a planned module takes on its target, for budgets, and,
     * unless that is NULL, the seconds that `train` is predicted to take; 0:
     * nothing is known of the machine.  NULL: the bytes are those of the memory
     * plan. */
    bool (*arena)(void *user, Module *planned, uint64_t *bytes,
                  double *seconds);
    void *user;
} PipelineOpts;
bool pipeline_run(Module *m, const char *text, const PipelineOpts *o);
/* The text of the steps from number `step` (from 1) on. */
const char *pipeline_from(Module *m, const char *text, uint32_t step);

/* Interprets every entry (or, without entries, every function) of both
 * modules on the same random inputs and compares under the contract;
 * reports meaning-changed, to after->diag, with the result and index that
 * differs most.  The modules share nothing: names alone say what is the
 * same. */
bool meaning_same(Module *before, Module *after, Contract c, uint64_t seed);

/* Random arguments, whole tensors, of sensible ranges: one per parameter. */
Tensor *inputs_random(Module *m, const Fn *fn, uint64_t seed, Arena *arena);

/* Removes the functions that no entry reaches; without entries, none.  The
 * handles of the others change. */
void module_drop_unused(Module *m);

#endif
