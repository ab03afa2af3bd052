/*
 * cores.h: what the files that lay a tile region out for tensor cores share.
 */
#ifndef TITAN_CORES_H
#define TITAN_CORES_H

#include "lower.h"
#include "sm90.h"
#include "tensor.h"

typedef struct Cores {
    Lower *l;
    TileFit fit;
    TensorTile *t;
    VEC(TypeAxis) own, swept; /* the axis of lines last */
    Env base;                 /* other own axes */
    Ix first_row;             /* of the tile */
    Env step;                 /* and other swept axes, in a pass */
    Ix first_column;
    Node whole; /* guard of the nest: the element exists; none: always */
    Node column_in;
} Cores;

static inline int64_t size_of(const Cores *c, const TypeAxis *a)
{
    return type_local_size(c->l->m, a);
}
static inline const TypeAxis *rows_of(const Cores *c)
{
    return &c->own.at[c->own.n - 1];
}
static inline const TypeAxis *columns_of(const Cores *c)
{
    return &c->swept.at[c->swept.n - 1];
}

/* tensor_parts.c: axes, dots, sweeps and panels.  False: not of this form. */
bool cores_find_parts(Cores *c);
/* The one axis of a type that is neither own nor swept, or NULL. */
const TypeAxis *cores_terms(const Cores *c, Type t);
/* The tensor map of a panel, where first row and first column are bound. */
void cores_make_map(Cores *c, Panel *p);

/* tensor.c: the dots below each value, as bits. */
const uint32_t *cores_find_dots(const Cores *c);

/* tensor_shape.c: how large the tile is.  False: none fits. */
bool cores_choose_shape(Cores *c);
/* Tables of what conditions read per column; one without room is done
 * without. */
void cores_place_tables(TensorTile *t);

#endif
