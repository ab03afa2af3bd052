/*
 * slice.h: launches on slots in the memory of the host, slice by slice.
 */
#ifndef TITAN_SLICE_H
#define TITAN_SLICE_H

#include "../pass.h"

/* ENTRY, in which each launch that changes slots on the host and can be cut is
 * a loop over slices of them, of MOST bytes or less. */
Fn *offload_sliced(Module *m, PassCtx *cx, const Fn *entry, int64_t most);

#endif
