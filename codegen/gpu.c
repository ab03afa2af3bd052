/*
 * gpu.c: loops of the kernel IR mapped to a grid of threads.
 */
#include "target.h"

Grid gpu_grid(Kir *k)
{
    (void)k;
    BUG("no mapping");
}

void emit_gpu_kernel(Emit *e, const char *name, const Grid *g)
{
    (void)e;
    (void)name;
    (void)g;
}
void emit_loop_gpu(Emit *e, LoopId loop)
{
    (void)e;
    (void)loop;
}
