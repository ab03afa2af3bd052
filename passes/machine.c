/*
 * machine.c: the rates of an H200, and of a few cores.
 *
 * The figures only weigh steps against each other.
 */
#include "machine.h"

static const Machine gpu = {.flops = 700e6,
                            .bytes = 4e6,
                            .transfer = 5e4,
                            .launch = 1.5,
                            .wait = 1,
                            .tiles = 132,
                            .elements = 132 * 2048 * 4,
                            .links = true,
                            .link = 0.25e6,
                            .meet = 20,
                            .alone = 0.4e6,
                            .taken = 8};
static const Machine host = {.flops = 2e5,
                             .bytes = 2e4,
                             .transfer = 1e4,
                             .launch = 1,
                             .wait = 1,
                             .tiles = 1,
                             .elements = 1 << 14,
                             .link = 2e3,
                             .meet = 1,
                             .alone = 2e3};

Machine machine_of(const Module *m, const PassCtx *cx)
{
    return strncmp(pass_option(m, cx, "target", "host"), "sm_", 3) ? host : gpu;
}
