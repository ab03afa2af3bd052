/*
 * localise.h: the parts of localise.
 *
 *     part     where a device's part of a split axis lies in the whole
 *     group    collectives with an axis that counts the devices
 *     core     what a region exchanges is done by its caller
 *     op       ops that ask for indices, or reduce over pads
 */
#ifndef TITAN_LOCALISE_H
#define TITAN_LOCALISE_H

#include "../pass.h"

/* An axis that the pass has made; those of one name and size are one. */
typedef struct Made {
    Str stem;
    int64_t size;
    Axis axis;
} Made;
typedef VEC(Made) MadeVec;

/* One function on its way. */
typedef struct Local {
    Module *m;
    MadeVec *made;
    Builder b;
    const Fn *old;
    Value *map;     /* old value -> new value */
    Value **fields; /* by old call of a core: its results; else NULL */
    /* By old value: the sum of products that it is an operand of, with pads
     * that hold zeros for all who read it; NULL: as they are. */
    const AttrItem **zeroed;
} Local;

static inline Value local_arg(const Local *l, const Inst *in, uint32_t i)
{
    return l->map[inst_arg(l->old, in, i).id];
}

/* ---------------------------------------------------------------- part -- */

/* This device's coordinate in a group. */
Value local_coord(Local *l, const MeshAxis *over, uint32_t n);

/* A split axis in a map that is being made: coordinates are operands. */
typedef struct Part {
    TypeAxis axis;  /* with its splits */
    uint32_t first; /* operand: its first coordinate */
    bool even;      /* no pads: one coordinate says all; else one a level */
} Part;

/* The parts of the axis all have the same size. */
bool axis_is_even(const Module *m, const TypeAxis *a);
/* Adds the operands that the place of an axis needs to ARGS[*n ...]. */
Part part_of(Local *l, const TypeAxis *a, Value *args, uint32_t *n);
enum { PART_OPERANDS = 16 }; /* at most so many */

/* Expressions of a map: the index in the whole of the index I in this device's
 * part, and past the whole's end for a pad; the other way round, what another
 * device has lies outside of the part.  Both of the dtype of the operand, which
 * has a sign; the order of indices is kept where parts are even blocks. */
Expr part_whole(Module *m, const Part *p, Expr i);
Expr part_local(Module *m, const Part *p, Expr i);

/* --------------------------------------------------------------- group -- */

Value local_all_gather(Local *l, const Inst *in);
Value local_reduce_scatter(Local *l, const Inst *in);
Value local_all_reduce(Local *l, const Inst *in);
Value local_all_to_all(Local *l, const Inst *in);
Value local_cut(Local *l, const Inst *in);
Value local_pending(Local *l, const Inst *in);

/* ---------------------------------------------------------------- core -- */

/* A region in three parts. */
typedef struct Core {
    const Fn *whole;    /* NULL: it has one part */
    bool *early, *late; /* by value: made by the caller */
    VEC(Value) in, out; /* what the core takes and gives */
} Core;
/* The core's function; NULL: the caller has nothing to do. */
Fn *core_find(Module *m, const Fn *region, Core *c);
/* A copy of one instruction whose operands are mapped. */
Value core_copy(Builder *b, const Fn *from, Value v, const Value *map);

/* ------------------------------------------------------------------ op -- */

/* What changes no sum, prod, min or max. */
Expr local_neutral(Module *m, DType d, const char *kind);

/* Finds what is zeroed; zeroes V, which was just made, if it is to be. */
void local_find_zeroed(Local *l);
Value local_zeroed(Local *l, Value old, Value v);

Value local_map(Local *l, const Inst *in);
Value local_reduce(Local *l, const Inst *in);
Value local_einsum(Local *l, const Inst *in);
Value local_gather(Local *l, const Inst *in);
Value local_scatter(Local *l, const Inst *in);

#endif
