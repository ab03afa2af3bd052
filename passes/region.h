/*
 * region.h: what each axis of a region means to its results.
 *
 * A region (a function with a `kind`: attention, loss, their backwards) is
 * run tile by tile along some of its axes: the parameters that have the axis
 * are cut, the others are passed whole, and the body runs on each cut.  This
 * header says for which axes that gives the whole answer, and how the results
 * of the tiles are put together:
 *
 *     parallel      every result is a slice at the tile's place (or does not
 *                   depend on the axis): tiles are independent
 *     accumulated   besides, some results are sums over the axis: the tiles'
 *                   values are added up, in order, beginning with zero
 *     internal      the body needs the whole axis at once
 *
 * Collectives among the ops are internal, but for those of a loss over rows:
 * statistics of a vocabulary that is split.  Such tiles run in order
 * (region_meets).
 *
 * A body that is cut along an axis must still count index(axis) over the whole
 * axis.  Sums that are rounded to a narrow dtype inside the body are to be
 * added up in the dtype before that rounding.
 */
#ifndef TITAN_REGION_H
#define TITAN_REGION_H

#include "../ir/ir.h"

typedef enum AxisUse { AXIS_internal, AXIS_parallel, AXIS_accumulated } AxisUse;

typedef enum ResultUse {
    RESULT_whole, /* the same value in every tile */
    RESULT_slice, /* has the axis: written at the tile's place */
    RESULT_sum    /* a sum over the axis: added up over the tiles */
} ResultUse;

typedef struct RegionAxis {
    Axis axis;
    int64_t size;
    AxisUse use;
    const ResultUse *results; /* one per result; NULL for an internal axis */
} RegionAxis;

typedef struct RegionAxes {
    RegionAxis *at; /* by Axis.id */
    uint32_t n;
} RegionAxes;

/* Every axis of every value of FN, a function without tuples of its own. */
RegionAxes region_axes(Module *m, const Fn *fn, Arena *a);

/* Some of its ops are collectives. */
bool region_meets(const Fn *fn);

#endif
