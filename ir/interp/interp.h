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
    bool round;       /* round each value to its dtype */
    uint64_t limit;   /* scalar operations before giving up; 0: no limit */
    uint64_t order;   /* kernel view: seed of the order among ready launches */
} InterpOpts;

/* Runs FN on ARGS (one per parameter) and fills RESULTS (one per result),
 * allocated in ARENA.  False: an error was reported (a check that failed, an
 * index out of range, the limit). */
bool interp_fn(Module *m, const Fn *fn, const InterpOpts *o,
               const Tensor *args, Tensor *results, Arena *arena);

Tensor tensor_new(Module *m, Type t, uint32_t ndevices, Arena *arena);

/* Rounds x to a dtype as a cast does (nearest even; e4m3 and e5m2 saturate). */
double dtype_round(DType d, double x);
/* The stored bytes of a value, little-endian, and back. */
void dtype_store(DType d, Cell c, void *out);
Cell dtype_load(DType d, const void *in);

#endif
