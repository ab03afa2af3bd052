/*
 * run.h: what the files of the interpreter share.
 *
 * A Run is one interpretation; a Frame is one function being executed in it,
 * with a Val per instruction.  A Val holds the tensors of all devices, and
 * its tangent while a derivative is taken:
 *
 *      at    | device 0: n cells | device 1: n cells | ...
 *      dot   | the same, doubles; absent: zero everywhere
 *
 * Temporaries live in run->temp and go when the function returns; results are
 * allocated before the frame, so that one mark and pop frees a whole call.
 */
#ifndef TITAN_INTERP_RUN_H
#define TITAN_INTERP_RUN_H

#include "../ir.h"

/* Where a buffer of the kernel view lies; see kernel.c. */
typedef struct Memory {
    uint32_t space;        /* index into the run's spaces, plus 1; 0: none */
    int64_t offset;        /* bytes */
    const int64_t *stride; /* elements, one per axis of the type */
} Memory;

typedef struct Val {
    Type type;
    int64_t n; /* elements per device */
    Cell *at;
    double *dot;
    uint32_t nfields;
    struct Val *fields; /* of a tuple */
    Memory place;
} Val;

typedef struct Scalars Scalars; /* a compiled map body, scalar.c */
typedef struct Space Space;     /* bytes of the kernel view, kernel.c */
typedef struct Ranks Ranks;     /* messages between ranks, rank.c */

typedef struct Run {
    Module *m;
    InterpOpts o;
    Arena temp;     /* values; marked and popped by calls */
    Arena keep;     /* what lives as long as the run */
    uint64_t ops;   /* scalar operations done */
    uint64_t draws; /* random choices made, for `order` */
    bool failed;    /* an error was reported */
    uint32_t ndev;
    Map bodies; /* expression -> compiled body */
    VEC(Scalars *) scalars;
    VEC(Space *) spaces;
    uint32_t streams; /* kernel view: how many there are */
    Ranks *ranks;     /* NULL: no rank functions are running */
    uint32_t rank;    /* which of them is */
} Run;

typedef struct Frame {
    Run *r;
    const Fn *fn;
    Val *vals;           /* one per instruction */
    const Val *args;     /* one per parameter */
    struct Frame *outer; /* kernel view: the frame of the enclosing loop */
    int64_t counter;     /* kernel view: the turn of that loop */
    bool parallel;       /* kernel view: that loop is parallel */
    uint32_t next;       /* the next instruction */
    bool blocked;        /* a rank function: waits for a message */
} Frame;

/* One rule per op: computes the value of instruction `in` into `out`. */
typedef void Rule(Frame *f, const Inst *in, Val *out);
#define OP(name, least, most, flags, views, req, opt) Rule interp_##name;
#include "../ops.def"
#undef OP

/* ------------------------------------------------ running (interp.c) -- */

/* Executes one instruction, or a whole function on `args`; the values of the
 * results are then f->vals[fn->result_values[i].id]. */
void run_inst(Frame *f, Value v, Val *out);
void run_body(Frame *f);
Frame frame_new(Run *r, const Fn *fn, const Val *args);
/* Runs FN and copies its results to RESULTS, which the caller has made. */
void run_call(Run *r, const Fn *fn, const Val *args, Val *results);
/* Counts scalar operations; false when the limit is passed. */
bool run_count(Run *r, int64_t n);
void run_fail(Run *r, const Fn *fn, const Inst *in, DiagId id, const char *fmt,
              ...) PRINTF(5, 6);
void run_begin(Run *r, Module *m, const InterpOpts *o, const Fn *fn);
void run_end(Run *r);
Val *vals_of_tensors(Run *r, const Fn *fn, const Tensor *args);
Val *vals_of_results(Run *r, const Fn *fn);
void tensors_of_vals(Run *r, const Fn *fn, const Val *vals, Tensor *out,
                     Arena *arena);

static inline const Val *frame_arg(const Frame *f, const Inst *in, uint32_t i)
{
    return &f->vals[inst_arg(f->fn, in, i).id];
}

/* ---------------------------------------------------- values (value.c) -- */

/* Zeroed cells for all devices; a tangent too where `dual`.  A tuple gets its
 * fields. */
void val_init(Run *r, Val *v, Type t, bool dual);
/* The result of `in`: with a tangent when an operand has one. */
void val_result(Frame *f, const Inst *in, Val *out);
bool args_active(const Frame *f, const Inst *in);
void val_copy(Run *r, Val *to, const Val *from);
/* What adds nothing to a sum, or to a maximum: what is kept of a pending value
 * elsewhere than at coordinate 0. */
Cell cell_neutral(DType d, bool max);
/* out[to] += x[from], rounded to acc. */
void val_add(const Run *r, DType acc, Val *out, int64_t to, const Val *x,
             int64_t from);
/* Rounds to the dtype when the run rounds. */
double run_round(const Run *r, DType d, double x);
/* The dtype a sum is made in: `acc`, or its default. */
DType acc_of(const Run *r, const Inst *in, DType operand);

/* ----------------------------------------------------- walking (walk.c) -- */

/* An odometer over named axes, last one fastest, that keeps an offset into
 * each of several tensors. */
typedef struct Walk {
    uint32_t ndims, nparts;
    Axis *axis;
    int64_t *size, *index;
    int64_t *stride; /* [part * ndims + dim] */
    int64_t *at;     /* offset in each part */
    int64_t total;
    bool **pads; /* by dim: which indices are pads; NULL: none is */
} Walk;

/* The axes of t; then, by walk_extend, those of u that are not there yet. */
void walk_init(Walk *w, Run *r, Type t, uint32_t nparts);
/* Those axes of t that are in the list, in the order of t. */
void walk_axes(Walk *w, Run *r, Type t, const AttrItem *axes, uint32_t nparts);
void walk_extend(Walk *w, Run *r, Type u, Axis except);
/* Puts the axes in order of declaration, which is the logical order. */
void walk_sort(Walk *w);
/* Offsets of `part` follow the axes of t by name, but for `except`. */
void walk_align(Walk *w, const Run *r, uint32_t part, Type t, Axis except);
/* Adds `by` elements of `part` per step of `axis`. */
void walk_step(Walk *w, uint32_t part, Axis axis, int64_t by);
/* The next index of the first NDIMS axes; false: it was the last one, and all
 * of these are 0 again. */
bool walk_carry(Walk *w, uint32_t ndims);
static inline bool walk_next(Walk *w)
{
    uint32_t last = w->ndims - 1;
    if (!w->ndims || w->index[last] + 1 == w->size[last])
        return walk_carry(w, w->ndims);
    w->index[last]++;
    for (uint32_t p = 0; p < w->nparts; p++)
        w->at[p] += w->stride[p * w->ndims + last];
    return true;
}
static inline bool walk_start(const Walk *w)
{
    return w->total > 0;
}
/* A line: all along the last axis, whose index stays 0.  How many elements. */
static inline int64_t walk_line(const Walk *w)
{
    return w->ndims ? w->size[w->ndims - 1] : 1;
}
static inline bool walk_next_line(Walk *w)
{
    return walk_carry(w, w->ndims ? w->ndims - 1 : 0);
}
/* Elements of a part from one of a line to the next. */
static inline int64_t walk_last(const Walk *w, uint32_t part)
{
    return w->ndims ? w->stride[(part + 1) * w->ndims - 1] : 0;
}
uint32_t walk_dim(const Walk *w, Axis a);
/* Finds the pads of a device along those axes that t has: what sums passes them
 * over. */
void walk_pads(Walk *w, Run *r, Type t, uint32_t device);
static inline bool walk_at_pad(const Walk *w)
{
    bool pad = false;
    for (uint32_t d = 0; w->pads && d < w->ndims; d++)
        pad |= w->pads[d] && w->pads[d][w->index[d]];
    return pad;
}
/* Distance of neighbours along an axis of a dense tensor; 0: no such axis. */
int64_t type_stride(const Run *r, Type t, Axis a);
int64_t local_size(const Run *r, Type t, Axis a);
/* Indices of an axis on one device.  With one device the tensor is whole,
 * whatever its splits say: they are annotations in the global view. */
static inline int64_t axis_extent(const Run *r, const TypeAxis *a)
{
    return r->ndev == 1 ? a->size : type_local_size(r->m, a);
}

/* Copies element by element: part 0 of the walk is an offset into out, part 1
 * one into x. */
void move_walk(Run *r, Walk *w, Val *out, int64_t to, const Val *x,
               int64_t from);

/* ---------------------------------------------------- devices (mesh.c) -- */

uint32_t mesh_devices(const Module *m);
/* The coordinate in a group over several mesh axes, the first one major. */
int64_t group_coord(const Module *m, uint32_t device, const MeshAxis *over,
                    uint32_t n);
/* The device of the same group as `device` with another coordinate. */
uint32_t group_member(const Module *m, uint32_t device, const MeshAxis *over,
                      uint32_t n, int64_t coord);
/* The logical index of a local one; -1: a pad. */
int64_t axis_logical(const Module *m, const TypeAxis *a, uint32_t device,
                     int64_t local);

/* ---------------------------------------------------- scalars (scalar.c) -- */

typedef struct Dual {
    Cell v;
    double d;
} Dual;

typedef struct ScalarNode ScalarNode;
typedef Dual Eval(const ScalarNode *n, const Dual *x);

struct ScalarNode {
    Eval *eval;    /* NULL: arg, const, index */
    uint8_t op;    /* ScalarOp */
    uint8_t dtype; /* of the result */
    uint8_t from;  /* of the first operand */
    bool round;
    uint8_t nargs;
    uint32_t arg[3]; /* earlier nodes */
    uint32_t which;  /* SC_arg: operand; SC_index: number of the index */
    Cell constant;
};

struct Scalars {
    uint32_t n, nindex, noperands;
    ScalarNode *nodes; /* the last one is the body's value */
    Axis *index;       /* axes read by index() */
};

const Scalars *scalars_of(Run *r, Expr body);
Dual cast_value(DType to, DType from, bool round, Dual x);
uint32_t philox(uint64_t key, uint64_t high, uint64_t low);

/* ------------------- ranks (rank.c), kernel view (kernel.c, steps.c) -- */

void rank_recv(Frame *f, const Inst *in, Val *out);
/* Kernel view: the place of a parameter. */
void place_arg(Frame *f, const Inst *in, const Val *arg, Val *out);
/* Bytes from a place's begin to the end of its last element. */
int64_t place_extent(const Run *r, const Val *v);
/* Bytes `from` to `to` of the space that the place is in. */
void place_poison(const Run *r, const Val *v, int64_t from, int64_t to);
/* Runs a kernel function whose arguments have places. */
void run_places(Frame *f);
/* The same of the ranks of a pipeline: bases for each, arguments into their
 * places, steps until all are done or one waits for a message, and results. */
typedef struct Queue Queue;
void places_open(Run *r, uint32_t ranks);
void places_fill(Frame *f);
Queue *places_begin(Frame *f);
/* False: it waits; f->next is the step.  *progress: some step was done. */
bool places_go(Queue *q, bool *progress);
void places_results(Frame *f, Val *results);
/* Lays out the arguments of an entry, runs it and reads its results. */
void run_kernel_fn(Run *r, const Fn *fn, const Val *args, Val *results);

/* Whether sums are rounded with every element that they take in. */
static inline bool run_sums_round(const Run *r)
{
    return r->o.round && !r->o.once;
}

/* HIGH + LOW takes in X; LOW is what additions have lost (Knuth, TAOCP
 * 2, 4.2.2, theorem B).  So a sum in f64 is judged by one that does not lean on
 * its order. */
static inline void sum_add(double *high, double *low, double x)
{
    double sum = *high + x, part = sum - *high;
    *low += (*high - (sum - part)) + (x - part);
    *high = sum;
}

/* What came of it; infinities and what is no number have lost nothing. */
static inline double sum_of(double high, double low)
{
    return low - low == 0 ? high + low : high;
}

#endif
