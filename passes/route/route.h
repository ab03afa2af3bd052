/*
 * route.h: rows in blocks that choose alike.
 *
 *     rows       which rows choose of what, and their order in blocks
 *     factors    a product of maps, as one map for each side of a weight
 *     join       blocks that have orders by parts, as one list
 */
#ifndef TITAN_ROUTE_H
#define TITAN_ROUTE_H

#include "../pass.h"

enum { BLOCK = 128, MOST_SHARED = 4 };

/* Rows that choose of one axis by a value of ids.  Along some axes each part
 * has an order of its own: where they are marked, those that ids and what is
 * chosen from share, and where rows were sent, such parts of others as went to
 * different devices. */
typedef struct Rows {
    Type type;                /* of the ids */
    Axis chosen;              /* of what is chosen from */
    Axis shared[MOST_SHARED]; /* axes of ids and of what is chosen from */
    uint32_t nshared;
    bool sent;               /* to those that have what is chosen from */
    Axis apart[MOST_SHARED]; /* axes of rows that are in parts by themselves */
    int64_t parts[MOST_SHARED];
    uint32_t napart;
    Type along, beside; /* of an order: the axes of its rows, and others */
    /* Of one order: rows, their blocks, and what they choose from; that of all
     * orders; each: along the chosen axis. */
    int64_t rows, blocks, experts, all, each;
} Rows;

/* Their order, of the new function. */
typedef struct Order {
    Value ids; /* as the source has them */
    Rows rows;
    Value place;  /* of each row, its slot; -1: its id counts for nothing */
    Value source; /* [block, in]: the row that is there; -1: none */
    Value of;     /* [block]: the id */
} Order;

/* A gradient of what rows choose, added up, and the order of its rows; of the
 * old function, in the new one. */
typedef struct Added {
    Value old, sum;
    Order at;
} Added;

typedef struct Route {
    Module *m;
    PassCtx *cx;
    DType compute; /* of what a product reads */
    bool marked;   /* only what is to be quantised, however few rows */
    bool alone;    /* one device has all rows that were not sent */
    Rewrite rw;
    VEC(Order) orders;
    VEC(Added) added;
    /* What blocks and what they choose have for axes.  They are declared behind
     * all others, rows first, so that rows lie outermost in memory. */
    bool named;
    Axis group[MOST_SHARED]; /* parts that have an order of their own */
    Axis expert, block, in;
    Axis *feature; /* by axis: what stands for it; NO_AXIS: itself */
} Route;

static inline Type type_at(const Route *r, Value v)
{
    return value_type(r->rw.b.fn, v);
}

/* T has all axes of AXES. */
bool has_all(const Module *m, Type t, Type axes);
/* The rows that choose of W by IDS, in a gather or scatter; false: they fill no
 * blocks. */
bool route_rows(const Route *r, Type ids, Type w, const Inst *in, Rows *out);
const Order *route_order(Route *r, const Rows *x, Value ids);
/* V's rows in blocks; it may lack some of the rows' axes. */
Value route_in_blocks(Route *r, const Order *at, Value v);
/* What each block chooses of W. */
Value route_chosen(Route *r, const Order *at, Value w);
/* V of all blocks of an id, added up, by id; the same as AS is. */
Value route_added(Route *r, const Order *at, Value v);
Value route_unchosen(Route *r, const Order *at, Value w, Type as);
/* What blocks have, at the rows; AS has the features by their own names. */
Value route_from_blocks(Route *r, const Order *at, Value v, Type as);
/* What stands for an axis in blocks. */
Axis route_feature(const Route *r, Axis a);

/* A map that is a product of factors: on one side those that have the axes of
 * one, on the other the rest; axes of rows beside them may be in both. */
typedef struct Factors {
    const Inst *in;
    const Rows *rows;
    Expr side[2];
    Type type[2]; /* the axes beside those of the rows */
    bool known[2];
    bool marked; /* the second side is the cotangent's: so is what has but axes
                    of the rows */
} Factors;

/* Of the updates of a scatter that is marked: its sides. */
void factors_know(const Route *r, Factors *f, const Inst *scatter);

/* False: it is no such product. */
bool factors_find(Route *r, Factors *f);
/* The map of a side, in the dtype of products. */
Value factors_side(Route *r, const Factors *f, uint32_t s);

/* In a function, by number: products of blocks of several axes, as those of
 * one. */
void route_join(Route *r, uint32_t at);

#endif
