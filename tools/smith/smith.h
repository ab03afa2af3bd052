/*
 * smith.h: what the parts of titan-smith share.
 *
 * A program is made from its seed alone.  Every seed features one op and one
 * scalar function, by its remainder, so that a run of n programs has each of
 * them at least n / (number of ops) times, and any one program can be made
 * again without the others.
 *
 * Values stay finite and comparable: each carries a bound of its magnitude
 * (larger ones are scaled down by a power of two) and whether it is *exact*,
 * the same in every correct compilation.  Sums and transcendental functions
 * are not; what would turn a last bit into another answer (comparisons,
 * floor, narrowing casts, top) takes exact values only.
 */
#ifndef TITAN_SMITH_H
#define TITAN_SMITH_H

#include "../../codegen/codegen.h"
#include "../../passes/pass.h"

typedef struct Made {
    Value v;
    double most; /* bound of the magnitude */
    bool exact;
    bool used; /* by another instruction */
} Made;

/* What all functions of one program share. */
typedef struct World {
    Module *m;
    uint64_t random;
    DType real, narrow; /* f32 or f64; a storage format */
    Op feature;
    ScalarOp scalar; /* SC_count: was featured already */
    bool backward;
    bool wide;    /* for a GPU: more of products and sums */
    int64_t most; /* elements of a value */
    uint32_t nmade[OP_count], nscalars[SC_count];
} World;

/* A function while it is made. */
typedef struct Gen {
    World *w;
    Builder b;
    VEC(Made) pool;
    uint32_t depth; /* of calls around it */
} Gen;

/* Random numbers. */
uint64_t draw(World *w);
uint32_t draw_below(World *w, uint32_t n);
bool draw_chance(World *w, uint32_t percent);

/* gen.c */
typedef struct SmithOpts {
    uint64_t seed;
    uint32_t ninsts;
    bool wide; /* sizes around those of a GPU's tiles */
} SmithOpts;
/* The text of a program; adds what it has to the counts of W. */
void smith_program(const SmithOpts *o, World *w, Buf *out);
/* A function over PARAMS (types and bounds of those values) that is called
 * by another one; results: see the callers. */
void gen_insts(Gen *g, uint32_t n);
void pool_add(Gen *g, Value v, double most, bool exact);
typedef bool Wanted(const Gen *g, const Made *x);
Made *pool_pick(Gen *g, Wanted *wanted); /* NULL: there is none */
uint32_t axes_of(const Gen *g, Value v);
const TypeAxis *axis_at(const Gen *g, Value v, uint32_t i);
TypeAxis random_axis(Gen *g);
DType dtype_of(const Gen *g, Value v);
bool is_float(const Gen *g, const Made *x);
bool is_int(const Gen *g, const Made *x);
bool anything(const Gen *g, const Made *x);
int64_t elements_of(const Gen *g, Value v);
TypeAxis fresh_axis(Gen *g, int64_t size);

/* ops.c, calls.c: one rule per op, a random use of it; false: nothing at hand
 * fits. */
typedef bool OpRule(Gen *g);
#define OP(name, least, most, flags, views, req, opt) OpRule gen_##name;
#include "../../ir/ops.def"
#undef OP
bool gen_op(Gen *g, Op op);
bool op_is_made(Op op); /* by programs of the global view */

/* body.c: a scalar expression for a map. */
typedef struct Part {
    Expr e;
    double most;
    bool exact;
} Part;
enum { MOST_ARGS = 3 };
typedef struct Body {
    Gen *g;
    const Made *args;
    uint32_t nargs;
    Type shape; /* of the result: index() may name its axes */
    bool used[MOST_ARGS];
} Body;
/* Uses every operand; false: folding left one out. */
bool body_real(Body *b, Part *out);
bool body_int(Body *b, Part *out);
bool body_bool(Body *b, Part *out);

/* step.c: the text of a training step; its order of things is not canonical. */
void step_text(World *w, bool wide, Buf *out);

/* unit.c */
/* A module and everything it stands on. */
typedef struct Unit {
    Arena arena, scratch;
    Diag diag;
    Module m;
} Unit;
void unit_init(Unit *u);
void unit_release(Unit *u);
/* Initialises, parses and verifies. */
bool unit_read(Unit *u, const char *text, size_t n);
/* Adds to WHY what went wrong, in front of the reports.  False. */
bool unit_failed(const Unit *u, Buf *why, const char *fmt, ...) PRINTF(3, 4);
const Fn *unit_entry(const Unit *u);

/* check.c */
typedef enum Mode {
    MODE_print = 1,
    MODE_passes = 2,
    MODE_host = 4,
    MODE_mesh = 8,
    MODE_plans = 16,
    MODE_layouts = 32,
    MODE_gpu = 64
} Mode;
typedef struct Tally {
    uint32_t checked[64]; /* per step of the pipeline: programs it changed */
    uint32_t skipped;     /* parts that could not be compared */
    uint32_t given;       /* programs that were written */
    uint32_t exact;       /* of these, held to the host's bits */
    uint32_t refused;     /* whose plan does not fit */
    uint32_t alone;       /* of which no device needs another */
} Tally;
/* False: the program fails, and WHY says how. */
bool check_program(const char *text, size_t n, unsigned modes, uint64_t seed,
                   Tally *t, Buf *why);
/* The name of a step of the pipeline; false past the last. */
bool check_step(uint32_t i, char out[32]);
bool was_unchecked(const Diag *d); /* something was not compared */

/* near.c */
enum { MAGNIFIED = 4 }; /* as --check-meaning has it */
/* What a program computes in, as a unit; before its derivatives are made. */
double program_unit(const Module *m, const Fn *fn);
/* How far a result may be off, as a share of its largest element. */
double program_bound(const Module *m, double unit);
/* How far some element of each result moves when every value is off by
 * HOW->jitter, up or down by chance: what a program that magnifies its
 * roundings, as the slope of a tanh near one, does in any order of its sums.
 * Of integers: 1 where some are others.  False: it does not run. */
bool program_moved(Module *m, const Fn *fn, const InterpOpts *how,
                   const Tensor *args, const Tensor *results, double *moved);
bool tensor_is_floats(const Module *m, const Tensor *t);
double tensor_largest(const Tensor *t);

/* host.c */
bool check_host(const char *text, size_t n, uint64_t seed, Buf *why);
/* What the program, compiled for the host, makes of the ARGS of FN, its entry
 * in MADE; results of that type. */
bool host_results(Unit *made, const Fn *fn, Tensor *args, const char *text,
                  size_t n, Tensor *results, Buf *why);

/* An object of the host as one that dlopen takes. */
bool link_shared(const char *object, const char *shared);

/* give.c: the program, of that seed, with what it must compute, is written to
 * a folder (given.h). */
typedef struct GiveOpts {
    const char *folder;
    TargetId target;
    int64_t devices; /* of a mesh that is drawn where the program has none */
} GiveOpts;
bool give_program(const GiveOpts *o, const char *text, size_t n, uint64_t seed,
                  Tally *t, Buf *why);

/* Streams, one to three, and whatever may leave the first one leaves it. */
void spread_launches(Module *m, uint64_t seed);
/* Of every other program all lines of buffers begin at multiples of 16 bytes.
 */
void pad_lines(Module *m, uint64_t seed);

/* mesh.c: a mesh of so many devices, 0: of some, and rules for what the entry
 * has. */
void mesh_draw(Module *m, const Fn *fn, uint64_t seed, int64_t devices);
bool check_mesh(const char *text, size_t n, uint64_t seed, Tally *t, Buf *why);

/* layouts.c: what `shard` would choose is drawn. */
void layouts_draw(Module *m, uint64_t seed);
bool mesh_has_devices(const Module *m);
/* The first of the passes that share out a program. */
bool shares_out(const char *pass);
/* STANDS_THERE: in front of what shares a program out. */
bool check_layouts(const char *text, size_t n, uint64_t seed, Tally *tally,
                   bool stands_there, Buf *why);

/* shrink.c: makes a failing program smaller while it fails in the same way;
 * FAILS runs it apart, and lives through a crash. */
typedef bool Fails(void *user, const char *text, size_t n);
void shrink_program(Buf *text, Fails *fails, void *user);

#endif
