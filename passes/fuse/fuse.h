/*
 * fuse.h: the parts of fuse.
 *
 *     sink      sums of stacked results move into the repeats
 *     ahead     numbers of what is carried are begun in the turn before
 *     prepare   ops that no group kind takes become ones that it takes; regions
 *               are put in place or cut into tiles
 *     partial   sums that go further than the kernels of attention, in two
 *     wide      kernels of attention whose vectors are too wide, as several
 *     graph     a node per instruction, and one more for each recomputation
 *     anew      what is made again behind a number that is made of it
 *     cluster   nodes are put together while the rules of groups hold
 *     shape     what these rules say of the axes of a loop group
 *     columns   sums and maxima of columns in groups that go along rows
 *     strips    those of columns, where a group has nothing else, in parts
 *     added     matmuls and scatters take in what they are added to
 *     product   matmuls take in the maps of their results
 *     parts     and those of parts of a result
 *     share     and those of which neighbouring columns share a number
 *     tally     and sums and maxima of what they make, in parts
 *     blocks    products whose blocks of rows choose alike
 *     outline   each cluster becomes a group function and a call
 */
#ifndef TITAN_FUSE_H
#define TITAN_FUSE_H

#include "../outer.h"
#include "../pass.h"

/* Rows that run one after the other, and the axis that counts them. */
typedef struct Walk {
    Axis axis;
    int64_t turns;
    Axis turn;
} Walk;

typedef struct Fuse {
    Module *m;
    PassCtx *cx;
    Arena *a; /* scratch */
    bool gpu;
    bool crosses;       /* sums both ways may be one group of kind tile */
    bool products;      /* the target makes groups of kind product */
    int64_t tile_bytes; /* of the largest value of a tile, about */
    int64_t at_hand;    /* elements of rows that run side by side; 0: none */
    VEC(Walk) walks;
    OuterAxes outer;
    Map groups; /* hash of a group's content -> its function */
    Map twins;  /* twin of an einsum -> whether it is in a product group */
} Fuse;

typedef enum NodeKind {
    NODE_arg,
    NODE_loop, /* may share a loop group with others */
    NODE_free, /* a name or a place: no kernel of its own */
    NODE_matmul,
    NODE_product, /* matmuls with maps of their results */
    NODE_sort,
    NODE_scatter,
    NODE_collective,
    NODE_opaque /* repeat, call, coordinate */
} NodeKind;

typedef struct Node {
    Value value; /* in the prepared function */
    NodeKind kind;
    uint32_t nargs, nusers;
    uint32_t *args, *users; /* nodes; a user once per operand */
    uint32_t cluster;
    uint32_t mark; /* scratch of one question */
    bool result;   /* of the function */
    bool again;    /* computed again for one user */
    bool anew;     /* made in front of a number and behind it: anew.c */
    bool second;   /* this is behind it */
    bool part;     /* a first part of the reduction that reads it, which has the
                      same value: */
    int64_t turns; /* of so many rows (ir/column.h) */
    Axis walked;   /* of this axis; */
    int64_t each;  /* or a tally of so many columns; 0: the other one */
    uint32_t after; /* how many sends and receives are in front of it */
} Node;

/* Of nodes, or of clusters. */
typedef VEC(uint32_t) Numbers;

/* Each node is in one cluster.  Operands have smaller numbers than users. */
typedef struct Cluster {
    VEC(uint32_t) nodes; /* ascending; empty once merged into another */
    bool early;          /* it stands where the first of it is asked for */
    uint32_t mark;
} Cluster;

typedef struct Graph {
    Fuse *fx;
    const Fn *fn;
    uint32_t n;
    Node *nodes;
    uint32_t *primary;  /* value -> node; UINT32_MAX: not needed */
    Cluster *clusters;  /* at first one per node */
    uint32_t epoch;     /* of marks */
    bool numbers_apart; /* clusters that sum all of something do not meet */
    uint64_t *met;      /* by node, `words` of bits: collectives before it */
    uint32_t words;
} Graph;

/* FN with regions inlined or cut (new functions are appended to the module)
 * and every op one that a group kind takes.  NULL: an error was reported. */
Fn *fuse_prepare(Fuse *fx, const Fn *fn);

/* Function number AT of the module, with sums of stacked results moved into
 * the bodies that make them. */
void fuse_sink(Fuse *fx, uint32_t at);

/* How many repeats run the function, as a body. */
uint32_t fuse_runners(const Module *m, FnRef body);

/* Function number AT of the module, with reductions to numbers of what its
 * repeats carry begun where that is made. */
void fuse_ahead(Fuse *fx, uint32_t at);

/* Of a reduction of a T to a number: the axes that its first step keeps, which
 * OUT has room for, and how many; 0: it is one step. */
uint32_t fuse_first_step(const Fuse *fx, Type t, const AttrItem *axes,
                         Axis *out);

/* Values of a call that is run tile by tile: emits the nest of repeats and
 * fills RESULTS.  False: the region has no axis to cut; nothing was emitted. */
bool fuse_tile(Fuse *fx, Builder *b, const Fn *region, const Value *args,
               Value *results);

/* A region of attention as what its kernels can give, and what is made of that
 * and of the region's parameters behind them; neither is in the module.  False:
 * there is nothing to cut. */
bool fuse_partial(Fuse *fx, const Fn *region, Fn **early, Fn **late);

/* Whether registers hold all vectors of a tile group.  wide.c */
bool fuse_one_kernel(Fuse *fx, const Fn *fn);
/* Calls FN, of kind tile and not yet in the module, as one kernel or, where its
 * vectors are too wide, as several; fills RESULTS. */
void fuse_call_kernel(Fuse *fx, Builder *b, Fn *fn, const Value *args,
                      Value *results);

Graph *fuse_graph(Fuse *fx, const Fn *fn);

/* By value: whether it is made once more behind a number that is made of it,
 * and whether its operands of that kind are those. */
typedef struct Anew {
    bool *value, *behind;
} Anew;

/* AGAIN: by value, made by whoever reads it in a loop. */
Anew fuse_anew(Fuse *fx, const Fn *fn, const Uses *uses, const bool *again);
const Inst *node_inst(const Graph *g, uint32_t node);
/* Whether it is a result, or a node of another cluster reads it. */
bool fuse_is_read_outside(const Graph *g, uint32_t node);
Type node_type(const Graph *g, uint32_t node);
/* The same axes as f32. */
Type node_axes(const Graph *g, uint32_t node);
bool is_listed(const Numbers *list, uint32_t number);
/* Puts X, of which kind, cluster and form of the part are given, between a
 * reduction and what it reduces; returns its number.  Operands have smaller
 * numbers than users but for such parts, which are last in their cluster. */
uint32_t fuse_part(Graph *g, uint32_t node, Node x);
void fuse_cluster(Graph *g);
/* Groups that go along rows take in sums over rows, in parts (ir/column.h). */
void fuse_columns(Graph *g);
/* Groups that reduce long columns do so in parts. */
void fuse_strips(Graph *g);
/* Joins what scales blocks of one value in both orders (ir/both.h). */
void fuse_both(Graph *g);
/* Joins matmuls and scatters with maps that add to their sums. */
void fuse_added(Graph *g);
/* Joins matmuls with maps of their results. */
void fuse_products(Graph *g);
/* The last axis that is not outermost in memory; NULL: there is none. */
const TypeAxis *fuse_innermost(const Fuse *fx, Type t);
/* Gives product groups tallies for what alone would read them again. */
void fuse_tallies(Graph *g);
/* Cuts a cluster of maps and reductions, of which tallies can be parts, in two:
 * the maps, cluster MAPS, and the rest; only where another cluster reads a map,
 * too.  fuse_uncut takes that back. */
bool fuse_cut(Graph *g, uint32_t cluster, uint32_t *maps);
void fuse_uncut(Graph *g, uint32_t cluster, uint32_t maps);
/* Whether a node is a product that a kernel can make with maps of it. */
bool fuse_is_product(const Graph *g, uint32_t node);
/* The same of blocks of rows, of which the library knows nothing: operands may
 * have eight bits. */
bool fuse_is_blocks_product(const Graph *g, uint32_t node);
/* Whether an instruction is one of those before it is anyone's. */
bool fuse_could_be_blocks(const Fuse *fx, const Fn *fn, const Inst *in);
/* Whether V is one whose second operand is a gather that its kernel makes for
 * it. */
bool fuse_chooses(const Fuse *fx, const Fn *fn, Value v, const Uses *uses);
/* Joins products of blocks with what chooses for them. */
void fuse_blocks(Graph *g);
/* Joins the product, or its group, with maps of parts of it. */
void fuse_parts(Graph *g, uint32_t product);
/* The same with maps of which blocks of columns share a number. */
void fuse_share(Graph *g, uint32_t product);
Fn *fuse_outline(Graph *g);

/* Makes one cluster of kind KIND of so many clusters, into the first of them,
 * unless a path leads out and back in. */
bool fuse_join(Graph *g, const uint32_t *clusters, uint32_t n, NodeKind kind);

/* At most a few plain operations: recomputing it costs less than reading it
 * from memory. */
bool expr_is_cheap(const Module *m, Expr e);

#endif
