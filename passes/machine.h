/*
 * machine.h: what passes weigh work and communication with.
 */
#ifndef TITAN_MACHINE_H
#define TITAN_MACHINE_H

#include "pass.h"

/* Rates of a device, as far as passes have to know them. */
typedef struct Machine {
    double flops, bytes;       /* per microsecond */
    double odd;                /* flops of products with lines that are no
                                  multiples of 16 bytes */
    double transfer;           /* bytes, to the memory of the host or from it */
    double launch, wait;       /* microseconds: of any launch, of an event */
    double tiles;              /* parts of a matmul that run at once */
    double elements;           /* of a result, that keep the memory busy */
    bool links;                /* that are there beside compute */
    double link, meet;         /* bytes per microsecond between devices, beside
                                  compute; until all of them are there */
    double alone, taken;       /* those where nothing is beside; the parts of a
                                  matmul that could run where they are sent */
    double near, far;          /* bytes per microsecond by NCCL, which needs
                                  processors: inside of a host, and out of it */
    double least;              /* bytes, that a collective counts as more */
    uint32_t processors, host; /* of one; how many share a host */
    uint32_t channels;         /* processors that NCCL needs, for a lot */
} Machine;

/* Elements of a matmul's result that are made in one place. */
enum { TILE_ELEMENTS = 128 * 256 };

Machine machine_of(const Module *m, const PassCtx *cx);

/* How far apart the members of a group over mesh axes are, in ranks. */
double group_spread(const Module *m, const MeshAxis *over, uint32_t n);
/* Members so far apart are of several hosts; what one of them receives by NCCL,
 * in bytes per microsecond. */
bool leaves_host(const Machine *on, double spread);
double link_rate(const Machine *on, double spread);

#endif
