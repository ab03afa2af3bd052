/*
 * work.c: how many operations a tile kernel has, for reports.
 *
 * Its products are those of the region, of which a mask leaves out whole tiles.
 * What it leaves is counted over a sample of tiles, by the conditions that the
 * kernel itself asks (classes.c): operands that are constants fold.  Conditions
 * that read memory, as those of documents do, leave out nothing here.
 */
#include "work.h"

#include "classes.h"

enum { SAMPLES = 64 };

static double region_flops(Module *m, const Fn *fn)
{
    double n = 0;
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++)
        if (fn->insts[i].op == OP_einsum)
            n += einsum_flops(m, fn, &fn->insts[i]);
    return n;
}

static bool is_empty(const Site *s, const Kir *k, int64_t item, int64_t step)
{
    LLVMTypeRef i64 = LLVMInt64TypeInContext(s->cx);
    Tile3 tile = {.s = s,
                  .k = k,
                  .item = LLVMConstInt(i64, (uint64_t)item, 0),
                  .step = LLVMConstInt(i64, (uint64_t)step, 0)};
    LV empty, full;
    classes_of_step(&tile, k->tensor, &empty, &full);
    return LLVMIsAConstantInt(empty) && LLVMConstIntGetZExtValue(empty);
}

/* The share of the tiles that are not empty. */
static double share_of(const Site *s, const Kir *k)
{
    const TensorTile *t = k->tensor;
    int64_t items = k->loops.at[t->items].hi, steps = t->nblocks, full = 0;
    int64_t n = steps < SAMPLES ? steps : SAMPLES;
    double at = 0;
    for (int i = 0; i < SAMPLES; i++) {
        at += 0.6180339887498949; /* spread over the items, whatever their order
                                   */
        at -= (int64_t)at;
        for (int64_t k2 = 0; k2 < n; k2++)
            full += !is_empty(s, k, (int64_t)(at * (double)items),
                              (2 * k2 + 1) * steps / (2 * n));
    }
    return (double)full / (double)(n * SAMPLES);
}

uint64_t tile_flops(Module *m, const Fn *group, LLVMContextRef cx, const Kir *k)
{
    double n = region_flops(m, group);
    if (!k->tensor) return (uint64_t)n;
    Site s = {.cx = cx, .b = LLVMCreateBuilderInContext(cx), .w = 1};
    n *= share_of(&s, k);
    LLVMDisposeBuilder(s.b);
    return (uint64_t)n;
}
