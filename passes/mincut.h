/*
 * mincut.h: what to keep and what to make again, as a minimum cut.
 *
 * Shared by the passes that decide what the backward reads of the forward:
 * autodiff, which makes the record, and remat, which makes another.
 */
#ifndef TITAN_MINCUT_H
#define TITAN_MINCUT_H

#include "../ir/ir.h"

/* A node that is needed is either saved or made again from what it reads. */
typedef struct CutNode {
    int64_t save, remake; /* what it costs; INT64_MAX: it cannot be */
    bool sink;            /* it is needed */
} CutNode;
typedef struct CutEdge {
    uint32_t from, to; /* `to` reads `from` */
} CutEdge;
typedef struct CutGraph {
    uint32_t n, nedges;
    const CutNode *nodes;
    const CutEdge *edges;
} CutGraph;

/* The cheapest way: cut[i], node i is saved; below[i], it is made again.  Of
 * several, the one whose saved nodes are nearest to the sinks. */
void mincut(Arena *a, const CutGraph *g, bool *cut, bool *below);

/* Whether an element of the result is made from a few others, so that the
 * kernel that reads it can make it again on the way. */
bool remade_cheaply(Op op);

#endif
