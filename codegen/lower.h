/*
 * lower.h: what the files that turn groups into kernel IR share.
 */
#ifndef TITAN_LOWER_H
#define TITAN_LOWER_H

#include "kir.h"

typedef struct Known {
    Value value;
    Node guard, node;
    const Ix *ix;
} Known;

/* Where a reduction of the rows is made. */
typedef struct Made {
    LoopId loop; /* 0: nowhere */
    uint32_t acc;
} Made;

/* Values are made where they are asked for: the node of value v at an index
 * is found by following its instruction back to loads. */
typedef struct Lower {
    Module *m;
    const Fn *fn;
    Kir *k;
    Map memo;
    VEC(Known) known;
    const uint32_t *level; /* per value: reductions on the way to it */
    LoopId items;          /* no reduction stands outside of it */
    LoopId sweep;          /* the loop along which running sums run, or 0 */
    bool lanes_inner;      /* reductions take several indices at once */
    bool reassociated;     /* values of lanes are made by algebra.c */
    Made *made;            /* per value */
    bool *late;            /* per value: of a reduction of the last sweep */
    bool *kept;            /* per value: chosen before it for one behind it */
    const TypeAxis *order; /* of what is reduced, outermost first; NULL: the
                              types' own */
    uint32_t norder;
} Lower;

/* The element of v at ix, one index per axis of its type in order.  Guard
 * (none: true): where it is false the result is not used, and nothing
 * outside of any operand is read. */
Node eval(Lower *l, Value v, const Ix *ix, Node guard);

/* From now on the element is this node. */
void eval_remember(Lower *l, Value v, const Ix *ix, Node node);
/* The same where it is asked for under this guard. */
void eval_remember_under(Lower *l, Value v, const Ix *ix, Node guard,
                         Node node);

/* Indices of `to` by name from those of `from`; an axis that `from` has not
 * gets `other`. */
const Ix *ix_by_name(Lower *l, Type from, const Ix *ix, Type to, Ix other);
/* The index along one axis. */
Ix ix_along(const Lower *l, Type t, const Ix *ix, Axis axis);
/* Cuts a flat index, first axis outermost, into one index per axis. */
void ix_cut(Kir *k, Ix flat, const int64_t *sizes, uint32_t n, Ix *out);
int64_t axis_extent(const Lower *l, Type t, Axis axis);

typedef Node EvalRule(Lower *l, Value v, const Inst *in, const Ix *ix,
                      Node guard);

/* reductions.c, scatter.c */
EvalRule eval_reduce, eval_einsum, eval_cumsum, eval_fold;
EvalRule eval_scatter, eval_put;
/* moves.c */
EvalRule eval_rename, eval_split, eval_merge, eval_slice, eval_pick, eval_pad,
    eval_concat, eval_stack, eval_window, eval_gather;

/* A reduction of the rows at ix is made by a loop that is open: which of its
 * accumulators that is.  And what it gives, once the loop is closed. */
uint32_t reduce_in(Lower *l, Value v, const Ix *ix, LoopId loop);
void reduced_in(Lower *l, Value v, const Ix *ix, LoopId loop, uint32_t acc);

DType default_acc(DType d);
AccKind acc_kind(const Lower *l, Attr a);

/* Indices by axis (env.c). */
enum { MOST_BOUND = 64 };
typedef struct Binding {
    Axis axis;
    Ix ix;
} Binding;
typedef struct Env {
    Binding at[MOST_BOUND];
    uint32_t n;
} Env;
int64_t axes_extent(const Lower *l, const TypeAxis *axes, uint32_t n);
/* As the first value of the group has it. */
const TypeAxis *fn_axis(const Lower *l, Axis a);
void env_bind(Env *e, Axis axis, Ix ix); /* replaces */
void env_bind_flat(Lower *l, Env *e, const TypeAxis *axes, uint32_t n, Ix flat);
Ix env_lookup(const Lower *l, const Env *e, Axis axis);
const Ix *env_ix(Lower *l, const Env *e, Type type);
Node env_eval(Lower *l, const Env *e, Value v, Node guard);
Ix env_place(Lower *l, const Env *e, uint32_t arg); /* of an argument */

/* Kernels that are not read off at an index: sort.c, scatter.c,
 * tile.c. */
void lower_sort(Lower *l, const LowerOpts *o, const Inst *in);
/* Whether a scatter or put is better run over its ids. */
bool scatter_by_rows(Lower *l, const Inst *in);
void lower_rows(Lower *l, const LowerOpts *o, const Inst *in);
/* Whether threads share the sum of one of its elements. */
bool scatter_is_long(Lower *l, const Inst *in);
void lower_long_scatter(Lower *l, const LowerOpts *o, const Inst *in);
/* both.c */
void lower_both(Lower *l, const BothOrders *o);
/* tile.c; false: the group is not of that form */
bool lower_tile(Lower *l);
/* tensor.c: the same on tensor cores */
bool lower_tensor(Lower *l);

void lower_init(Lower *l, Module *m, const Fn *fn, Kir *k);

#endif
