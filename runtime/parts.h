/*
 * parts.h: which rank holds which bytes of a slot or port, and where.
 *
 * The whole persistent base and the whole io base, as slots and ports describe
 * them, exist on no rank of several; what is read of them or written to them
 * comes from, or goes to, the parts.
 */
#ifndef TITAN_PARTS_H
#define TITAN_PARTS_H

#include "ranks.h"

/* A slot or port: the whole, and what ranks have of it. */
typedef struct Tensor {
    const TitanImage *im;
    TitanRange axes;
    uint32_t dtype;
    TitanBase base;
    uint64_t offset, piece, pitch; /* in the whole base */
    TitanRange parts;
} Tensor;

Tensor tensor_of_slot(const TitanImage *im, const TitanSlot *s);
Tensor tensor_of_port(const TitanImage *im, const TitanPort *p);
size_t tensor_bytes(const Tensor *t);

/* Bytes that lie side by side in both. */
typedef struct PartRun {
    uint64_t whole; /* from the first byte of the whole base */
    uint64_t own;   /* from the first byte of the rank's */
    size_t bytes;
    bool pads; /* beyond the whole: `whole` says nothing */
} PartRun;

typedef struct PartSink {
    TitanStatus (*take)(struct PartSink *s, const PartRun *r);
} PartSink;

/* Who is asked for bytes of the whole base. */
typedef struct PartAsk {
    uint32_t rank;
    uint64_t from, to; /* these bytes */
    bool first;        /* only what it is the first of all ranks to hold */
} PartAsk;

/* What a rank holds of that, part by part, each in the order of the whole.  The
 * pads of a row of an axis come with its last byte. */
TitanStatus tensor_runs(const Tensor *t, const PartAsk *ask, PartSink *sink);

/* Of an image whose stages, mesh, splits and axes are sound: the parts of T,
 * which is called WHAT, make sense and lie in the bases of their stages. */
TitanStatus parts_check(TitanStory *story, const char *what, const Tensor *t);

/* Bytes of the io base of a rank. */
typedef struct PortPlace {
    uint64_t offset;
    size_t bytes;
} PortPlace;

/* Of the places that RANK has of a port, the next from row *AT on, which begins
 * as 0; of one rank, the port itself.  False: there is no further one. */
bool port_place_next(const TitanImage *im, const TitanPort *p, uint32_t rank,
                     uint32_t *at, PortPlace *out);

#endif
