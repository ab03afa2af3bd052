/*
 * shape.h: the shape of a loop group, for who puts nodes together.
 */
#ifndef TITAN_FUSE_SHAPE_H
#define TITAN_FUSE_SHAPE_H

#include "fuse.h"

enum { MOST_NODES = 96, MOST_AXES = 32 };

typedef VEC(uint32_t) Nodes;

typedef struct AxisSet {
    uint32_t n;
    TypeAxis at[MOST_AXES];
} AxisSet;

typedef struct Shape {
    bool reduces;
    uint32_t first;        /* what leaves and has axes P, if nothing reduces */
    AxisSet rows, all;     /* P; P and R */
    bool running, reverse; /* a cumsum is there, and its direction */
    int64_t turns;         /* rows of a reduction over rows; 0: there is none */
    TypeAxis walked;
} Shape;

/* Marks the nodes of a set; whether a node is in the set that was marked last.
 */
void fuse_mark(Graph *g, const Nodes *nodes);
bool is_marked(const Graph *g, uint32_t node);

/* A sum along inner axes. */
bool sums_inner(Op op);

/* The shape of the marked nodes, which are NODES; false: they have none. */
bool shape_find(const Graph *g, const Nodes *nodes, Shape *s);
/* Whether all of them fit into it.  At most MOST_NODES. */
bool shape_takes(const Graph *g, const Nodes *nodes, const Shape *s);
/* A sum over all rows of what a row has in its columns, or a maximum over some
 * of their axes, which nobody in the group reads: the group gives those of some
 * rows at a time. */
bool shape_is_column(const Graph *g, uint32_t node, Shape *s);

/* A sum in f32, or a maximum, whose order does not matter. */
bool shape_reduces_rows(const Graph *g, const Inst *in, bool *maximum);
/* Whether registers hold reductions of so many columns, some neighbours a
 * thread. */
bool shape_holds_columns(int64_t columns);
/* Rows of so many columns that a block of threads has beside each other, a part
 * of a warp for each, and reduces to one: a power of two. */
int64_t shape_rows_together(int64_t columns);

/* The largest part of an axis, of at least and at most so many indices, into
 * which it can be cut; 0: there is none. */
int64_t shape_turns(const Module *m, const TypeAxis *a, int64_t least,
                    int64_t most);

/* Adds the nodes of a cluster, none of which is there yet, in their order. */
void fuse_add_cluster(Graph *g, uint32_t c, Nodes *out);
/* These, in their order, are the nodes of cluster C; takes the list. */
void fuse_set_cluster(Graph *g, uint32_t c, const Nodes *nodes);
/* The same where they have the shape of one, and are marked. */
const char *fuse_waits(Graph *g, const Nodes *nodes);
/* Why the nodes cannot be one cluster; NULL: they can. */
const char *fuse_obstacle(Graph *g, const Nodes *nodes);

#endif
