/*
 * reserve.h: what a rank may have of its GPU beside the arena, part by part.
 *
 * All of it follows from the image and from what copy engines make, so titanc
 * knows it before anything runs.
 */
#ifndef TITAN_RESERVE_H
#define TITAN_RESERVE_H

#include "titan.h"

/* PART(name, words): parts, in the order in which they are taken. */
#define RESERVE_PARTS(PART)                  \
    PART(context, "context and libraries")   \
    PART(products, "workspaces of products") \
    PART(peers, "the memory of other ranks") \
    PART(room, "room for what they bring")   \
    PART(nccl, "NCCL")                       \
    PART(graphs, "graphs and what the driver adds")

typedef struct Reserve {
#define PART(name, words) uint64_t name;
    RESERVE_PARTS(PART)
#undef PART
} Reserve;

typedef struct ReserveAsk {
    const TitanImage *im;
    uint32_t rank;
    const bool *engines; /* of each group: copy engines bring what they can;
                            NULL: of none */
    bool in_order;       /* sums are made in the order of ranks */
    uint64_t context;    /* bytes in use when there is nothing else */
} ReserveAsk;

/* What a communicator of a group and a stream has to do: kinds of collectives
 * as bits, 0: there is none, and how many channels it may have, 0: as many as
 * NCCL likes.  The same for all members. */
typedef struct ReserveComm {
    uint32_t kinds, channels;
} ReserveComm;

/* Bits of kinds; those of NCCL's own, the others send and receive. */
enum {
    RESERVE_gather = 1u << TITAN_COLLECTIVE_all_gather,
    RESERVE_scatter = 1u << TITAN_COLLECTIVE_reduce_scatter,
    RESERVE_reduce = 1u << TITAN_COLLECTIVE_all_reduce,
    RESERVE_COLLECTIVES = RESERVE_gather | RESERVE_scatter | RESERVE_reduce
};

/* Of [group][stream], as many as the image has. */
void reserve_comms(const ReserveAsk *ask, ReserveComm *out);
/* Bytes of the place where what is exchanged in place is set aside. */
uint64_t reserve_exchange(const TitanImage *im);
/* False: no memory. */
bool reserve_of(const ReserveAsk *ask, Reserve *out);
/* Of a rank of a stage, before anything runs: the ranks of a machine, HOST of
 * them, are processes.  0: no memory. */
uint64_t reserve_planned(const TitanImage *im, uint32_t stage, uint32_t host);
uint64_t reserve_sum(const Reserve *r);
/* "530 MiB context and libraries, 64 workspaces of products, .." */
void reserve_about(const Reserve *r, char *out, size_t size);

/* Bytes of a first use, each member's. */
#define RESERVE_WARM UINT64_C(4096)

#endif
