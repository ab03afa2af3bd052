/*
 * warp.h: a warp for tests of single instructions, without blocks and memory.
 */
#ifndef TITAN_TESTS_WARP_H
#define TITAN_TESTS_WARP_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/ptx/machine.h"

/* A kernel of one instruction, with registers %p, %h, %r and %d of 1, 16, 32
 * and 64 bits, eight each. */
typedef struct TestWarp {
    PtxModule *module;
    PtxBlock block;
    PtxWarp warp;
} TestWarp;

static inline const char *warp_open(TestWarp *t, const char *body)
{
    static char why[PTX_FAULT];
    char text[2048];
    int n = snprintf(text, sizeof text,
                     ".version 8.0\n.target sm_90a\n.address_size 64\n"
                     ".visible .entry k()\n{\n"
                     ".reg .pred %%p<8>;\n.reg .b16 %%h<8>;\n"
                     ".reg .b32 %%r<8>;\n.reg .b64 %%d<8>;\n%s\n}\n",
                     body);
    *t = (TestWarp){.module = ptx_read(text, (size_t)n, why)};
    if (!t->module) return why;
    PtxKernel *k = t->module->kernels;
    t->block.kernel = k;
    t->warp.block = &t->block;
    t->warp.reg = calloc(k->nregs, sizeof *t->warp.reg);
    return t->warp.reg ? NULL : "no memory";
}

static inline void warp_close(TestWarp *t)
{
    free(t->warp.reg);
    ptx_free(t->module);
}

/* The lanes of an operand of the first instruction. */
static inline uint64_t *warp_operand(TestWarp *t, uint32_t k)
{
    const PtxKernel *kernel = t->module->kernels;
    const PtxArg *a = &kernel->args[kernel->insts[0].first + k];
    return t->warp.reg[a->reg];
}

/* Does the first instruction for the lanes of MASK. */
static inline void warp_run(TestWarp *t, uint32_t mask)
{
    ptx_do_alu(&t->warp, t->module->kernels->insts, mask);
}

#endif
