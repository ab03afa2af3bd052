/*
 * interp.h: the reference interpreter, which is the meaning of the IR.
 *
 * Loops over axes, no cleverness.  Floats are held as doubles; by default
 * nothing is rounded to its dtype (so that a correct pass agrees to 1e-9),
 * and with `round` every value of a float dtype is rounded to it, bit for
 * bit.  For a local view all devices of the mesh are simulated at once.
 */
#ifndef TITAN_INTERP_H
#define TITAN_INTERP_H

typedef union Cell {
    double f;  /* float dtypes */
    int64_t i; /* integers and bool */
} Cell;

/* Row-major in the order of the type's axes.  Global view: one tensor.  Local
 * view: one per device, each of the local shape, device-major. */
typedef struct Tensor {
    Type type;
    uint32_t ndevices; /* 1 in a global view */
    int64_t n;         /* elements per device */
    Cell *at;          /* ndevices * n */
} Tensor;

typedef struct InterpOpts {
    bool round;      /* round each value to its dtype */
    bool once;       /* ... but a sum at its end alone: none is a judge of others
                        whose own order takes as much from it as theirs */
    uint64_t limit;  /* scalar operations before giving up; 0: no limit */
    uint64_t order;  /* kernel view: seed of the order among ready launches */
    double jitter;   /* global view: each float that is computed, not moved, is
                        off by this share of itself, up or down by chance: how
                        far a result then is says how well it is determined */
    uint64_t chance; /* seed of that */
    bool own;        /* ... but by no more than the unit of its dtype */
} InterpOpts;

/* Runs FN on ARGS (one per parameter) and fills RESULTS (one per result),
 * allocated in ARENA.  False: an error was reported (the limit, say).  A
 * result of role check is a value like any other. */
bool interp_fn(Module *m, const Fn *fn, const InterpOpts *o, const Tensor *args,
               Tensor *results, Arena *arena);

/* Runs the rank functions of a pipeline together: args[i] and results[i] are
 * those of fns[i], whose pp coordinate is i.  An error too: they wait for one
 * another. */
bool interp_ranks(Module *m, const Fn *const *fns, uint32_t n,
                  const InterpOpts *o, const Tensor *const *args,
                  Tensor *const *results, Arena *arena);

/* About how many scalar operations a run takes, from the sizes
 * alone; UINT64_MAX: more than can be counted. */
uint64_t interp_cost(Module *m, const Fn *fn);

/* Whether the function's values are parts on several devices. */
/* What each device has of a port, of its whole tensor, and back. */
Tensor port_spread(Module *m, const Port *p, const Tensor *whole, Arena *arena);
Tensor port_gather(Module *m, const Port *p, const Tensor *local, Arena *arena);
bool fn_is_spread(const Module *m, const Fn *fn);
/* The parts of a whole tensor on all devices, and back.  Pads are zero; what
 * is pending lies at coordinate 0, and is combined on the way back. */
Tensor tensor_spread(Module *m, const Tensor *whole, Type t, Arena *arena);
Tensor tensor_whole(Module *m, const Tensor *local, Arena *arena);

Tensor tensor_new(Module *m, Type t, uint32_t ndevices, Arena *arena);

/* Rounds x to a dtype as a cast does (nearest even; e4m3 and e5m2 saturate). */
double dtype_round(DType d, double x);
/* A value of one dtype as a cast to another makes it, rounded once: integers
 * of floats are cut off and saturate, a NaN is 0; integers wrap. */
Cell dtype_cast(DType to, DType from, Cell c);
/* The stored bytes of a value, little-endian, and back. */
void dtype_store(DType d, Cell c, void *out);
Cell dtype_load(DType d, const void *in);

#endif
