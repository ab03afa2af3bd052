/*
 * emit.h: from kernel IR to LLVM IR.
 *
 * Values are LLVM scalars, or vectors of `w` where a node depends on the loop
 * whose lanes are taken together.  In registers bf16 and f16 are i16, the
 * 8-bit floats i8, bool i1; in memory bool is a byte.
 */
#ifndef TITAN_EMIT_H
#define TITAN_EMIT_H

#include <llvm-c/Core.h>

#include "kir.h"

typedef LLVMValueRef LV;
typedef struct Lines Lines; /* lines.h */

/* What the emitters of scalar functions need. */
typedef struct Site {
    LLVMContextRef cx;
    LLVMModuleRef module;
    LLVMBuilderRef b;
    unsigned w; /* 1: scalars; else vectors of w */
    bool gpu;
    bool exact; /* GPU: the host's bits, where a neighbour is faster */
    /* GPU: forms for usual operands are taken, and this says whether all were
     * such; NULL: forms for any operands. */
    LV *usual;
    bool words; /* GPU: what lies in words is widened word by word */
    bool few; /* what the hardware's form leaves is lost beside what the operand
                 has lost, or beside what the result is added to */
} Site;

/* Neighbours on a GPU, whose instructions are to be interleaved. */
static inline bool site_is_beside(const Site *s, DType d)
{
    return s->gpu && s->w > 1 && d == DT_f32;
}

/* Whether functions may give a neighbour of the host's result. */
static inline bool site_is_near(const Site *s, DType d)
{
    return site_is_beside(s, d) && !s->exact;
}

/* The same of one value, beside which many are held: in place of branches. */
static inline bool site_is_near_one(const Site *s, DType d)
{
    return s->gpu && d == DT_f32 && !s->exact;
}

/* Whether the hardware's form of a function is as good as another. */
static inline bool site_is_coarse(const Site *s, DType d)
{
    return site_is_near_one(s, d) && s->few;
}

/* Whether forms for usual operands are taken. */
static inline bool site_is_usual(const Site *s, DType d)
{
    return site_is_beside(s, d) && s->usual;
}

LLVMTypeRef site_type(const Site *s, LLVMTypeRef scalar); /* widened to w */
LLVMTypeRef dtype_reg(const Site *s, DType d);            /* scalar */
LLVMTypeRef dtype_mem(const Site *s, DType d);            /* scalar */
LV site_int(const Site *s, DType d, int64_t i);
LV site_float(const Site *s, DType d, double f);
/* An overloaded intrinsic on the type of its first operand. */
LV site_call(const Site *s, const char *name, const LV *args, unsigned n);
LV site_splat(const Site *s, LV scalar);

/* scalar.c, cast.c: any width.  D is the dtype of the operands. */
LV emit_scalar(const Site *s, ScalarOp op, DType d, const LV args[3]);
LV emit_dtype_cast(const Site *s, DType to, DType from, LV x);

/* math.c: f32 and f64. */
typedef LV MathFn(const Site *s, DType d, LV x);
MathFn math_exp, math_log, math_log1p, math_sin, math_cos, math_tanh, math_erf,
    math_sigmoid;
LV math_pow(const Site *s, DType d, LV x, LV y);

/* gpu_math.c: f32, neighbours at once. */
LV gpu_quotient(const Site *s, LV x, LV by);
LV gpu_quotient_by_one(const Site *s, LV x, LV by); /* by: one for all lanes */
LV gpu_ratio(const Site *s, LV x,
             LV by);                  /* x in [0, 1], by in [1, 2], or NaN */
LV gpu_logistic(const Site *s, LV x); /* 1 / (1 + exp(-x)) */
/* Rounded; what is known of both operands.  by: one for all lanes, or of each.
 */
LV gpu_division(const Site *s, LV x, LV by, const Limits of[2]);
LV gpu_sqrt(const Site *s, LV x); /* rounded */
LV gpu_exp(const Site *s, LV x);
LV gpu_tanh(const Site *s, LV x);                        /* within 2^-21 */
void gpu_expect_below(const Site *s, LV x, double most); /* |x| <= most */

/* ------------------------------------------------------------- a kernel */

/* How the loops of a kernel are spread over the machine. */
typedef enum Mapping {
    MAP_host,   /* a range of items in order; lanes are vectors */
    MAP_thread, /* GPU: a thread takes a few lanes of an item */
    MAP_rows,   /* GPU: threads share an item's lanes (gpu_rows.c) */
    MAP_column, /* GPU: a block takes some lanes (gpu_columns.c) */
    MAP_turned, /* GPU: a block takes lanes of many items (gpu_turned.c) */
    MAP_blocks, /* GPU: and rows that share a scale (gpu_blocks.c) */
    MAP_both,   /* GPU: and columns that do, too (gpu_both.c) */
    MAP_tile,   /* GPU: a warp takes the rows of an item (gpu_tile.c) */
    MAP_tensor  /* GPU: warpgroups take a tile of rows (gpu_tensor.c) */
} Mapping;

/* GPU rows: what a chunk of lanes has loaded, for a later sweep. */
typedef struct Loaded {
    Node node;
    int64_t chunk;
    LV value;
} Loaded;

/* GPU, long rows: the first lanes of a load, in shared memory. */
typedef struct Stash {
    Node node;       /* which fills it */
    uint32_t offset; /* bytes */
} Stash;

/* What is done between the two rows of a nest of a fragment. */
typedef struct Halfway {
    void (*fn)(void *of); /* or NULL */
    void *of;
} Halfway;

typedef struct Emit {
    Site s;
    Lines *lines; /* NULL: none */
    Loc loc;      /* of the group */
    const Kir *k;
    Mapping map;
    LV fn;
    LLVMTypeRef ity;  /* of indices */
    LoopId lanes;     /* the loop whose lanes are vectors now, or 0 */
    bool aligned;     /* its variable is a multiple of w */
    LV *args;         /* address or counter */
    LV *vals;         /* per node */
    bool *wide;       /* per node: vals is a vector */
    LV *vars, *atoms; /* per loop, per atom: the value at lane 0 */
    LV chunk;         /* host: the chunk of the item; GPU: our first lane */
    LV lane, warp;    /* GPU: of this thread */
    LV active;        /* GPU: this thread's lanes exist; NULL: always */
    LV offsets;       /* GPU: of the lanes at hand, from our first, where some
                         are beyond the last: those are the last again; NULL:
                         all exist */
    LV shared;        /* GPU rows, columns: room for sums of warps */
    LV **held;        /* GPU tile, per outer loop: vectors that rows add up */
    LV first, valid;  /* GPU sweep: its first column; whether ours exists */
    LV row, column;   /* fragment: of this thread's first element */
    unsigned row_turn, column_turn;
    Halfway halfway;
    LV **pieces;     /* fragment: per piece, its elements (fragment.c) */
    LV **kept;       /* per loop over columns: what it leaves */
    LV *staged;      /* per load: its tile's values in shared memory */
    bool *skips;     /* per node: no body makes it now; NULL: all are made */
    bool *holds;     /* per node: a condition that is known to be true */
    uint32_t warps;  /* GPU: of a block */
    uint32_t beside; /* GPU columns: threads of a warp in a row; GPU turned:
                        items of a tile */
    uint32_t tile_lanes;          /* GPU turned: of a tile */
    uint32_t row_threads, places; /* GPU rows: of a row; sums in shared */
    LV place, exists; /* this thread in its row; its row; NULL: always */
    uint32_t walkers; /* of a walk: rows that a block has beside each other, */
    LV walker;        /* and which of them is this thread's */
    LV turn_place;    /* of a walk: where sums of this row lie; NULL: no walk */
    VEC(Loaded) loaded;
    int64_t chunk_number, loaded_bytes; /* of an unrolled sweep; else -1 */
    LV **totals;           /* per total: its slots, by chunk; NULL: no walk */
    uint32_t totals_bytes; /* or bytes of shared memory where they lie */
    LV chunk_lane;         /* our first lane, which the row may not have */
    VEC(Stash) stash;
    int64_t stash_lanes;      /* how many of a row */
    bool in_stash;            /* the lanes at hand are of these */
    LLVMBasicBlockRef *latch; /* per loop: where a turn ends */
    bool defers;   /* fragment, GPU turned: stores leave what they would store
                      in vals */
    uint64_t zero; /* bits: more arguments that must be zero before */
} Emit;

/* emit.c */
void emit_body(Emit *e, LoopId loop);
/* The nodes of a body up to one of them; false: an inner loop comes first. */
bool emit_until(Emit *e, LoopId loop, Node last);
/* A body whose condition is known to hold. */
void emit_all(Emit *e, LoopId loop);
/* The nodes of a body, its inner loops left out. */
void emit_straight(Emit *e, LoopId loop);
/* Those of these kinds alone. */
typedef bool NodeKind(const Kir *k, const NodeInfo *in);
void emit_some(Emit *e, LoopId loop, NodeKind *are);
LV emit_use(Emit *e, Node n); /* widened when lanes are taken together */
/* The nodes of the parent's body between two loops in it; 0: from its start, or
 * to its end. */
void emit_between(Emit *e, LoopId first, LoopId next);
LLVMBasicBlockRef emit_block(Emit *e, const char *name);
/* What is emitted between the two runs where WHEN holds; NAME says what. */
LLVMBasicBlockRef emit_when(Emit *e, LV when, const char *name);
void emit_on(Emit *e, LLVMBasicBlockRef on);
LV emit_alloca(Emit *e, LLVMTypeRef t, int64_t n);
LV emit_iconst(const Emit *e, int64_t i);

/* memory.c */
void emit_enter(Emit *e, LoopId loop, LV var); /* at the start of a turn */
LV emit_ix(Emit *e, Ix ix);                    /* at lane 0 */
LV emit_ix_wide(Emit *e, Ix ix);               /* at all lanes */
bool emit_ix_is_wide(const Emit *e, Ix ix);    /* lanes may differ */
LV emit_load(Emit *e, const NodeInfo *in, bool wide);
/* Of the element so many beyond the one that is loaded at lane 0. */
LV emit_address(Emit *e, const NodeInfo *in, int64_t beyond);
/* A load that needs nothing of its turn but the lane; NULL: another one. */
LV emit_load_ahead(Emit *e, const NodeInfo *in);
void emit_store(Emit *e, const NodeInfo *in);
/* What N stores is this value. */
void emit_store_value(Emit *e, Node n, LV v);
/* Whether N stores w neighbours of the loop over lanes by one access, under a
 * guard that is one for all of them. */
bool emit_stores_whole(Emit *e, Node n, LoopId lanes, unsigned w);
/* A total in memory: the thread that has the lane is the same in each turn. */
void emit_total(Emit *e, const NodeInfo *in);

/* loops.c: counted loops, accumulators, the host's mapping. */
typedef struct Count {
    LLVMBasicBlockRef head, latch, exit;
    LV i;
} Count;
/* for (i = from; i < to; i += step); the builder is left in the body. */
Count count_begin(Emit *e, LV from, LV to, int64_t step);
void count_end(Emit *e, Count *c); /* and after the loop */
LV acc_identity(Emit *e, const Acc *a, unsigned w);
LV acc_combine(Emit *e, const Acc *a, LV x, LV y, unsigned w);
/* Halves of a vector of w, down to one value. */
LV fold_vector(Emit *e, const Acc *a, LV v, unsigned w);
/* The body of a loop, once; `latch` is where a turn may end early. */
void emit_turn(Emit *e, LoopId loop, LV i, LLVMBasicBlockRef latch);
void emit_loop_host(Emit *e, LoopId loop);
void emit_seq(Emit *e, LoopId loop);
/* Where its turns begin, and end. */
LV loop_first(Emit *e, const Loop *l);
LV loop_end(Emit *e, const Loop *l);
void emit_set_results(Emit *e, LoopId loop, const LV *values);
void emit_host_kernel(Emit *e, const char *name);

/* gpu.c */
enum { WARP = 32 };
void emit_loop_gpu(Emit *e, LoopId loop);
/* The value of x in the thread that `other` names: by the bits in which its
 * number differs, or by its number. */
typedef enum Shuffle { SHUFFLE_xor, SHUFFLE_from } Shuffle;
LV gpu_shuffle(Emit *e, Shuffle how, LV x, LV other);
LV gpu_over_warp(Emit *e, const Acc *a, LV x, unsigned w);
LV gpu_shuffle_lanes(Emit *e, LV x, unsigned w, unsigned mask); /* xor */
void gpu_barrier(Emit *e);
/* Before a loop that threads share: nobody stores over an element of the row
 * that another thread is still to read. */
void gpu_await_readers(Emit *e, LoopId loop);
LV gpu_ballot(Emit *e, LV condition); /* of a warp, a bit per thread */
LLVMTypeRef acc_type(const Emit *e, const Acc *a, unsigned w);
/* The offsets of a vector's lanes that begin at AT, of HI lanes in all; and
 * whether each of those at hand exists. */
LV gpu_lane_offsets(Emit *e, LV at, int64_t hi);
LV gpu_lanes_exist(Emit *e);

/* gpu_usual.c: the lanes of a thread, made in two ways.  False: in one. */
bool gpu_lanes_usual(Emit *e, LoopId loop);

/* gpu_columns.c */
/* Whether a thread makes the maxima of a block of rows by itself. */
bool gpu_takes_blocks(const Kir *k);
bool gpu_columns_share(const Kir *k, LoopId loop);
void gpu_column_seq(Emit *e, LoopId loop);
LV gpu_column_item(Emit *e, LV block, LV *lanes);

/* gpu_turned.c */
void gpu_turned_items(Emit *e, LV tid, LV block);

/* gpu_blocks.c */
void gpu_blocks_items(Emit *e, LV tid, LV block);

/* gpu_both.c */
void gpu_both_items(Emit *e, LV tid, LV block);

/* gpu_rows.c */
void gpu_row_lanes(Emit *e, LoopId loop);
LV gpu_row_item(Emit *e, LV tid, LV block);
/* A loop of which few turns count; false: not of a form for this. */
bool gpu_row_turns(Emit *e, LoopId loop);
/* What a load gives, where it is at hand; else NULL. */
LV gpu_row_loaded(Emit *e, const NodeInfo *in);

/* gpu_walk.c: the rows of an item, one after the other. */
void gpu_row_walk(Emit *e, LoopId loop);
/* Adds to a total that the thread holds; false: memory holds it. */
bool gpu_row_total(Emit *e, Node n);
/* How many rows of a walk a block has beside each other, of so many that it has
 * room for; and places of shared memory where these are put together. */
uint32_t gpu_walkers(const Kir *k, uint32_t row_threads, uint32_t most);
uint32_t gpu_walkers_places(const Kir *k, uint32_t row_threads,
                            uint32_t threads);
/* Bytes of shared memory where all totals lie; 0: registers hold them. */
uint32_t gpu_totals_bytes(const Kir *k, uint32_t row_threads);
/* Bytes of totals in a thread's registers. */
int64_t gpu_totals_held(const Kir *k, uint32_t row_threads);

/* gpu_long.c: rows that registers do not hold.  The bytes of shared memory that
 * keep a part of them; E, unless NULL, knows what lies where from then on. */
void gpu_stash_plan(Emit *e, const Kir *k, uint32_t row_threads,
                    uint32_t *bytes);
/* The sweep, and the one that runs along with it. */
void gpu_long_lanes(Emit *e, LoopId loop);

/* gpu_tile.c */
void emit_tile_loop(Emit *e, LoopId loop);

/* gpu_tensor.c */
void emit_tensor(Emit *e);

/* fragment.c: the elements of a 64 x n accumulator that this thread holds.
 *
 * Element (r, j): row e->row + 8 r, columns e->column + 8 j and the next.  In
 * registers, as wgmma counts them, the two are 4 j + 2 r and 4 j + 2 r + 1. */
enum { FRAGMENT_ROWS = 2, FRAGMENT_STEP = 8 };
static inline unsigned fragment_register(unsigned r, unsigned j)
{
    return 4 * j + 2 * r;
}
/* One nest, unrolled.  Pieces of the columns loop are e->pieces[n], register
 * by register; those of the rows loop have one value per row.  Afterwards
 * e->kept[columns] holds for each accumulator in turn: one kept element per
 * register, or else two values, one per row. */
void emit_fragment(Emit *e, LoopId rows);
void emit_fragment_columns(Emit *e, LoopId columns);
LV emit_piece(Emit *e, const NodeInfo *in);
/* The values of accumulator i in what a loop over columns has left. */
LV *fragment_kept(const Emit *e, LoopId columns, uint32_t i);

#endif
