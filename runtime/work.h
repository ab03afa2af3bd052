/*
 * work.h: what a command has to do, and what a machine could do at best.
 *
 * Operations and bytes are those that the compiler counted.  A profile sets
 * them against time that was measured, the compiler predicts time from them.
 */
#ifndef TITAN_WORK_H
#define TITAN_WORK_H

#include "titan.h"

typedef struct Work {
    double flops, bytes; /* bytes of the rank's memory */
    double scalars;      /* operations of f32 beside products */
    double tiles;        /* of attention: a block of threads for each */
    unsigned width;      /* bytes of what is multiplied: 1, 2, 4, 8 */
    TitanClass limit;
    bool odd;            /* library: lines are no multiples of 16 bytes */
    uint32_t processors; /* on which it may run; 0: on all */
} Work;

typedef struct Machine {
    const char *name;
    TitanTarget target;
    double memory, f32, f16, f8; /* peaks: bytes, operations a second */
    double link, network, bus; /* bytes a second: in a host, to another, to its
                                  memory */
    uint32_t host;             /* how many share a host */
    double room;               /* bytes of memory that programs see */
    uint32_t processors;
    double copies;          /* shares that a step keeps: of memory, */
    double library[2], odd; /* of the library's products, of 16 bits, of 8,
                               and whose lines begin anywhere, */
    double products, sweeps, both; /* of kernels with products, */
    double loops; /* of operations of f32 that are no products, */
    double links, engines, buses; /* of links by NCCL, by copy engines, and of
                                     the way to the host's memory */
    double compute_beside, link_beside; /* of these, beside each other */
    double engines_beside;              /* compute beside copy engines */
    double command, block, collective;  /* seconds */
} Machine;

/* By the driver's name of it, by target; NULL: not known. */
const Machine *machine_named(const char *name);
const Machine *machine_of_target(TitanTarget target);

Work work_of(const TitanImage *im, const TitanCommand *cmd);
/* What a copy moves between the rank's memory and its host's, in bytes. */
double work_offloaded(const TitanImage *im, const TitanCommand *cmd);
/* What a collective hands to or takes from other ranks, in bytes. */
double work_moved(const TitanImage *im, const TitanCommand *cmd);

/* Seconds that the work takes at the machine's best. */
double work_roofline(const Machine *m, Work w);

/* Seconds that it is predicted to take on a machine that does nothing else, by
 * the shares that its class keeps: of a copy that leaves the device, those of
 * the bus; of a collective 0, which depends on who is beside whom. */
double work_seconds(const Machine *m, const TitanImage *im,
                    const TitanCommand *cmd);
/* Parts of that: of what is read and written, and of all operations. */
double work_memory(const Machine *m, Work w);
double work_sums(const Machine *m, Work w);

/* "gemm bf16->f32 8192x1024x4096 NTN", the name of a kernel, ... */
void command_name(const TitanImage *im, const TitanCommand *cmd, char *out,
                  size_t size);
/* "products", of commands of a class. */
const char *class_words(TitanClass limit);
/* "a matrix product", of any command of a kind. */
const char *command_kind_words(TitanCommandKind kind);
/* It does something, and does not only order what does. */
bool command_works(const TitanCommand *cmd);

#endif
