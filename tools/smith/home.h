/*
 * home.h: where the image of a program has the values of its entry.
 *
 * The program and its image name the values alike, by role and path, and their
 * axes by name; axes of a slot may lie in another order.
 */
#ifndef TITAN_SMITH_HOME_H
#define TITAN_SMITH_HOME_H

#include "../../ir/ir.h"
#include "../../runtime/titan.h"

enum { MOST_HOME_AXES = 16 };

typedef struct Homes {
    const Module *m;
    const TitanImage *image;
    const TitanEntry *entry;
} Homes;

typedef struct Home {
    uint32_t dtype;
    TitanRange axes;
    uint64_t offset;
    TitanBase base;
    const TitanSlot *slot;          /* NULL: a port */
    int64_t stride[MOST_HOME_AXES]; /* elements, by axis of the type */
} Home;

/* False: the image has no such value, or one of another type. */
bool home_of(const Homes *h, const Port *p, Home *out);
/* How many elements element K of a value of type T is behind the first. */
int64_t home_place(const Home *at, const TypeInfo *t, int64_t k);

#endif
