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

/* A slot or port: the whole, and what a rank has of it. */
typedef struct Tensor {
    const TitanImage *im;
    TitanRange axes;
    uint32_t dtype;
    uint64_t offset, piece, pitch; /* in the whole base */
    const TitanPart *part;
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

/* What RANK holds of the bytes [from, to) of the whole base, in the order of
 * the whole.  The pads of a row of an axis come with its last byte. */
TitanStatus tensor_runs(const Tensor *t, uint32_t rank, uint64_t from,
                        uint64_t to, PartSink *sink);

/* Of the ranks that hold the same of it, the first. */
bool tensor_is_first(const Tensor *t, uint32_t rank);

/* Where a port's part lies in the io base of a rank, and its bytes; of one
 * rank, the port itself. */
uint64_t port_own_offset(const TitanImage *im, const TitanPort *p);
size_t port_own_bytes(const TitanImage *im, const TitanPort *p);

#endif
