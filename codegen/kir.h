/*
 * kir.h: the kernel IR, loops and tiles over index expressions.
 *
 * A kernel is a tree of loops.  A loop's body is a list of nodes in the order
 * in which they run: pure ones (loads, scalar functions), stores, and inner
 * loops.  A pure node lives in the innermost loop on which it depends, so
 * whatever does not change in a loop stands before it.  Equal pure nodes are
 * one node.
 *
 *     loop 0          the kernel: constants, counters
 *       loop 1        items: one row, or one chunk of lanes
 *         loop 2      seq: a sum over an axis      -> result 0, result 1
 *         loop 3      lanes: the innermost unit-stride axis; the target
 *                     takes several indices at once
 *
 * Index expressions (Ix) are sums of constants times atoms: loop variables,
 * quotients and remainders of index expressions, and loaded integers.  They
 * know their range, so that bounds which always hold vanish.  Nothing here
 * knows a name of an axis: two kernels are equal when their texts are.
 */
#ifndef TITAN_KIR_H
#define TITAN_KIR_H

#include "kernel.h"

typedef struct Ix {
    uint32_t id;
} Ix; /* interned; 0 is the constant 0 */
typedef struct Node {
    uint32_t id;
} Node;                  /* 0: none */
typedef uint32_t LoopId; /* 0: the kernel itself */

/* ------------------------------------------------------ index expressions */

typedef enum AtomKind { ATOM_var, ATOM_div, ATOM_mod, ATOM_node } AtomKind;

typedef struct Atom {
    AtomKind kind;
    LoopId loop;    /* the innermost loop it depends on */
    Ix of;          /* div, mod */
    int64_t by;     /* div, mod: positive */
    Node node;      /* node: an integer */
    int64_t lo, hi; /* range, both included */
} Atom;

typedef struct IxTerm {
    uint32_t atom;
    int64_t coef;
} IxTerm;

typedef struct IxInfo {
    int64_t base;
    uint32_t n;
    const IxTerm *terms; /* by atom */
    int64_t lo, hi;
    LoopId loop;
} IxInfo;

/* ------------------------------------------------------------------ nodes */

typedef enum NodeOp {
    KN_none,
    KN_const,   /* f or i, of the dtype */
    KN_index,   /* ix as a number of the dtype */
    KN_inside,  /* bool: 0 <= ix < n */
    KN_divides, /* bool: n divides ix */
    KN_load,    /* element ix of argument arg; zero when guard a is false */
    KN_counter, /* argument arg, i32 */
    KN_scalar,  /* scalar function sc of a, b, c */
    KN_cast,    /* a in the dtype */
    KN_result,  /* accumulator n of the loop, after it */
    KN_piece,   /* piece n of the thread's fragment, at the turns of its loop */
    KN_exp2,    /* 2^a, about: within a few units of f32's last place */
    KN_rcp,     /* 1 / a, about: within a unit; 0 and inf for one another */
    KN_scan,    /* running sum of a in the loop; n: exclusive */
    KN_store,   /* b to element ix of argument arg, when a holds (0: always) */
    KN_total,   /* b of all turns of loop inner, put together as AccKind n
                   says, to ix of arg */
    KN_loop     /* an inner loop runs here */
} NodeOp;

typedef struct NodeInfo {
    uint8_t op, dtype, sc;
    Loc loc;     /* of the instruction that first asked for it */
    LoopId loop; /* where it lives; result and loop: see `inner` */
    Node a, b, c;
    Ix ix;
    uint32_t arg;
    LoopId inner; /* result, total, loop: the loop meant */
    int64_t n;
    union {
        double f;
        int64_t i;
    };
} NodeInfo;

/* ------------------------------------------------------------------ loops */

/* Sweep, dot, outer and wide are those of tiles, on a GPU: a warp sweeps the
 * columns of its rows, one column a thread; a dot is a thread's own, several
 * terms at a time; outer goes over the columns that the warp holds, and wide
 * over the vector of a row, a few neighbours a thread.
 *
 * The last three are those of tensor cores.  Blocks are tiles of columns that
 * a block of threads sweeps.  Rows and columns, one inside the other, are the
 * elements of an accumulator that one thread holds (fragment.c): two rows,
 * and in each of them pairs of neighbouring columns.  Both are unrolled; their
 * variables count rows and columns of the whole tile, so their ranges are
 * known and bounds vanish.  An element is read by a node_piece that lives in
 * the columns loop, a value per row by one that lives in the rows loop; from
 * there on it is a node like any other.  What depends on the row alone, or on
 * the column alone, is made once. */
typedef enum LoopKind {
    LOOP_kernel,
    LOOP_items,
    LOOP_seq,
    LOOP_lanes,
    LOOP_sweep,
    LOOP_dot,
    LOOP_outer,
    LOOP_wide,
    LOOP_blocks,
    LOOP_rows,
    LOOP_columns
} LoopKind;
typedef enum AccKind { ACC_sum, ACC_max, ACC_min, ACC_prod } AccKind;

/* A value that the loop reduces; dots and outer loops add value * by, with
 * one rounding.  Loops over columns may also keep it, element by element. */
typedef struct Acc {
    AccKind kind;
    DType dtype;
    Node value, by;
    bool keep;
} Acc;

typedef struct Loop {
    LoopKind kind;
    LoopId parent;
    uint32_t depth;
    int64_t lo, hi; /* the variable runs lo .. hi - 1 */
    int64_t chunk;  /* lanes right below items: indices of one item; 0: all */
    bool reverse, scans;
    bool closed;   /* nodes that live in it are out of reach */
    bool in_order; /* one accumulator, in the order of the indices */
    bool walks;    /* a turn is a row; totals of its lanes go over the turns */
    LoopId online; /* runs in the turns of this loop (online.c); 0: alone */
    uint32_t top;  /* with the maximum so far of this accumulator of it */
    Node when;     /* turns in which this is false end there; or none */
    Node from, to; /* no turn outside of from .. to counts; or none */
    VEC(Node) body;
    VEC(Acc) accs;
} Loop;

typedef struct TensorTile TensorTile; /* tensor.h */

typedef struct Kir {
    Arena *arena;
    Loc loc; /* of nodes made from now on */
    VEC(Atom) atoms;
    VEC(IxInfo) ixs;
    VEC(NodeInfo) nodes;
    VEC(Loop) loops;
    Map ix_map, atom_map, node_map;
    uint32_t nargs;
    const KernelArg *args;
    const DType *arg_dtypes;
    int64_t width;        /* indices of a lanes loop that are taken at once */
    int64_t rows, chunks; /* host: items = rows * chunks */
    uint64_t zero;        /* bits: arguments that must be zero before */
    bool exact;  /* GPU: the host's bits, where a neighbour is faster */
    bool sm90;   /* GPU: what registers hold has been looked at */
    uint32_t processors; /* GPU: how many */
    bool across; /* every item is one loop over lanes */
    bool lined;  /* GPU: odd lines of arguments begin at multiples of 16 bytes
                  */
    bool tile;   /* items are a few rows that sweep the columns */
    const TensorTile *tensor; /* tiles on tensor cores; NULL: none */
    VEC(Node) elements; /* of a matrix in both orders (both.c), by loops */
} Kir;

void kir_init(Kir *k, Arena *arena);

static inline const IxInfo *ix_info(const Kir *k, Ix x)
{
    return &k->ixs.at[x.id];
}
static inline const NodeInfo *node_info(const Kir *k, Node n)
{
    return &k->nodes.at[n.id];
}
static inline LoopId loop_deeper(const Kir *k, LoopId a, LoopId b)
{
    return k->loops.at[a].depth >= k->loops.at[b].depth ? a : b;
}

/* Index expressions (index.c).  Division and remainder take floors. */
Ix ix_const(Kir *k, int64_t c);
Ix ix_var(Kir *k, LoopId loop);
Ix ix_node(Kir *k, Node n);
Ix ix_add(Kir *k, Ix a, Ix b);
Ix ix_scale(Kir *k, Ix a, int64_t c);
Ix ix_add_scaled(Kir *k, Ix a, Ix b, int64_t c); /* a + c * b */
Ix ix_div(Kir *k, Ix a, int64_t by);
Ix ix_mod(Kir *k, Ix a, int64_t by);
/* Whether 0 <= x < n always holds. */
bool ix_within(const Kir *k, Ix x, int64_t n);
/* Whether x depends on the variable of the loop. */
bool ix_uses(const Kir *k, Ix x, LoopId loop);
/* The same of a node that is made of loaded values and indices. */
bool node_uses(const Kir *k, Node n, LoopId loop);
/* Whether a value, such as an id that was loaded, has a part in x. */
bool ix_chosen(const Kir *k, Ix x);
/* Whether x = c * variable + something without it; *coef = c. */
bool ix_linear(const Kir *k, Ix x, LoopId loop, int64_t *coef);
/* Whether x grows by *coef per index within each block of w indices of the
 * loop that starts at a multiple of w. */
bool ix_steps(const Kir *k, Ix x, LoopId loop, int64_t w, int64_t *coef);
/* The same of a quotient or a remainder; one that grows by 1 is a multiple of w
 * where such a block starts. */
bool atom_steps(const Kir *k, const Atom *a, LoopId loop, int64_t w,
                int64_t *coef);
/* Whether an element that the lanes jump to lies beside those of the items
 * next to it: 32 of them, say. */
bool ix_beside(const Kir *k, Ix x, LoopId lanes, LoopId items);
/* Whether y is x with the variable of loop `to` for that of `from`; the same of
 * a load, or a bound. */
bool ix_alike(const Kir *k, Ix x, LoopId from, Ix y, LoopId to);
bool node_alike(const Kir *k, Node x, LoopId from, Node y, LoopId to);

/* Nodes and loops (kir.c). */
LoopId loop_open(Kir *k, LoopKind kind, LoopId parent, int64_t lo, int64_t hi);
void loop_close(Kir *k, LoopId loop);
Node node_const_int(Kir *k, DType d, int64_t i);
Node node_const_float(Kir *k, DType d, double f);
Node node_index(Kir *k, DType d, Ix ix);
Node node_inside(Kir *k, Ix ix, int64_t n); /* none when it always holds */
Node node_divides(Kir *k, Ix ix, int64_t n);
Node node_and(Kir *k, Node a, Node b); /* either may be none: true */
Node node_load(Kir *k, uint32_t arg, Ix ix, Node guard);
Node node_counter(Kir *k, uint32_t arg);
Node node_scalar(Kir *k, ScalarOp sc, DType d, Node a, Node b, Node c);
Node node_cast(Kir *k, DType d, Node a);
Node node_result(Kir *k, LoopId loop, uint32_t acc);
Node node_result_in(Kir *k, LoopId home, LoopId loop, uint32_t acc);
Node node_scan(Kir *k, LoopId loop, Node a, bool exclusive);
Node node_piece(Kir *k, LoopId home, DType d, uint32_t n);
Node node_exp2(Kir *k, Node a); /* f32 */
Node node_rcp(Kir *k, Node a);  /* f32 */
/* guard (none: true) ? a : zero of a's dtype */
Node node_or_zero(Kir *k, Node guard, Node a);
void node_store(Kir *k, LoopId loop, uint32_t arg, Ix ix, Node guard, Node v);
/* What LOOP, inside of WALK, has at ix: the same element in every turn.  TOTAL
 * has its kind, and its value. */
void node_total(Kir *k, LoopId loop, uint32_t arg, Ix ix, const Acc *total,
                LoopId walk);

/* How many interleaved partial sums a reduction of n elements has: partial p
 * takes the elements p, p + L, p + 2 L, ... in order, then halves are added:
 * p and p + L / 2, and so on.  A function of n alone. */
int64_t tree_partials(int64_t n);
enum { TREE_MOST = 128 };

/* Lanes that are reduced, a row, have another tree: L = T * ROW_LANES partial
 * sums, ROW_LANES neighbours for each of T threads.  The neighbours are added
 * by halves, then the threads of each group of ROW_GROUP by halves, then the
 * groups by halves.  A function of n alone too. */
int64_t row_threads(int64_t n);
enum {
    ROW_LANES = 8,
    ROW_GROUP = 32,
    ROW_MOST = 512,
    ROW_HELD = 8,       /* times ROW_LANES: what a thread holds of a row */
    LONG_ROW = 1 << 16, /* from here on twice as many threads */
};
/* Whether its threads take ROW_LANES neighbours as one: it is whole ones of
 * these, or begins where vectors do. */
bool row_has_vectors(const Kir *k, int64_t n);
/* Whether its threads take them so, and hold too little of it in registers. */
bool row_is_long(const Kir *k, int64_t n);

/* What is known of a number before the kernel runs, unless it is NaN
 * (limits.c). */
typedef struct Limits {
    double lo, hi;
} Limits;
static inline Limits limits_none(void)
{
    return (Limits){-__builtin_inf(), __builtin_inf()};
}
Limits node_limits(const Kir *k, Node n);

/* The canonical text: equal kernels have equal texts. */
void kir_print(const Kir *k, Buf *out);
void ix_print(const Kir *k, Ix ix, Buf *out);

/* From groups (lower.c, index.c). */
typedef struct LowerOpts {
    bool gpu;
    int64_t lanes; /* f32 values of a vector register */
    bool sm90;     /* the tensor cores and the copy engine of sm_90a */
    bool exact;    /* GPU: the host's bits */
} LowerOpts;
/* K has its arguments; the rest is filled in.  False: a tile group whose sums
 * go both ways, which no kernel makes at once. */
bool lower_group(Module *m, const Fn *fn, const LowerOpts *o, Kir *k);
/* Pure nodes that nothing needs go. */
void kir_sweep(Kir *k);
/* Scalar functions that one launch computes. */
uint64_t kir_flops(const Kir *k);
/* How often a node runs. */
int64_t kir_runs(const Kir *k, Node n);

#endif
