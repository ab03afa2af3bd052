/*
 * slice.h: launches on slots in the memory of the host, slice by slice.
 *
 *     cut     into which slices a launch is cut, and where they lie
 *     slice   the loop over them, and their copies
 */
#ifndef TITAN_SLICE_H
#define TITAN_SLICE_H

#include "transfer.h"

/* How a launch is cut. */
typedef struct Cut {
    Axis *gone; /* outermost first: a slice has one index of each */
    uint32_t ngone;
    Axis part; /* of which a slice has `size` indices; or NO_AXIS */
    int64_t size;
    Axis slices;   /* counts them */
    int64_t count; /* of them */
} Cut;

/* A launch that changes slots on the host. */
typedef struct Slicer {
    Module *m;
    Arena *a;
    const Fn *fn; /* the entry */
    const Inst *in;
    const Fn *group;
    Value largest; /* operand on the host */
    int64_t most;  /* bytes of a slice */
    Cut cut;
} Slicer;

bool lies_on_host(const Slicer *x, Value v);
/* Fills `group` and `largest`.  False: it changes no slot on the host, or none
 * that is large enough to be copied. */
bool changes_host(Slicer *x);
/* Fills `cut`.  False: there is none. */
bool find_cut(Slicer *x);
/* Whether a value of this type is cut; of what type a slice of it is. */
bool is_cut(const Slicer *x, Type t);
Type slice_type(const Slicer *x, Type t);
/* COUNT slices that lie as those of operand V. */
Layout slices_of(const Slicer *x, Value v, int64_t count);

/* ENTRY, in which each launch that changes slots on the host and can be cut is
 * a loop over slices of them, of MOST bytes or less, copied beside its turns.
 */
Fn *offload_sliced(Transfers *t, PassCtx *cx, const Fn *entry, int64_t most);

#endif
