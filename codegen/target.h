/*
 * target.h: LLVM's side of the targets (llvm.c), and what the mapping to a
 * GPU decides (gpu.c).
 */
#ifndef TITAN_TARGET_H
#define TITAN_TARGET_H

#include <llvm-c/TargetMachine.h>

#include "emit.h"

/* Never fails: the targets are those of targets.def. */
LLVMTargetMachineRef machine_new(const CodegenOpts *o);
/* f32 values of a vector register of the machine's CPU. */
int64_t machine_lanes(const CodegenOpts *o);
void machine_prepare(LLVMTargetMachineRef tm, LLVMModuleRef module);
/* Checks the module and runs the passes of the level. */
void machine_optimise(LLVMTargetMachineRef tm, LLVMModuleRef module, int level);
/* Assembly or an object, in the arena. */
const void *machine_emit(LLVMTargetMachineRef tm, LLVMModuleRef module,
                         LLVMCodeGenFileType kind, Arena *a, size_t *size);
/* PTX without sums that ptxas makes wrong (halves.c); SIZE is its own, or left
 * as it is. */
const char *ptx_halves(const char *text, Arena *a, size_t *size);

/* A kernel's shape on a GPU. */
typedef struct Grid {
    Mapping map;
    int64_t blocks;
    uint32_t threads, row_threads;
    uint32_t beside; /* columns: threads of a warp that lie in one row; turned:
                        items of a tile */
    uint32_t tile_lanes; /* turned: of a tile */
    uint32_t shared; /* bytes of dynamic shared memory */
} Grid;
Grid gpu_grid(Kir *k);               /* sets k->width */
const Loop *gpu_lanes(const Kir *k); /* the loop over lanes */
int64_t gpu_lanes_of_thread(const Kir *k);
/* 16 bytes of neighbours at a time, or the same for all lanes. */
bool gpu_is_whole(const Kir *k, const NodeInfo *in, LoopId lanes);
Grid gpu_rows_grid(Kir *k);
bool gpu_columns_grid(Kir *k, Grid *out);
uint32_t gpu_columns_places(const Kir *k, const Grid *g);
/* False: the kernel turns nothing round, or not in tiles. */
bool gpu_turned_grid(Kir *k, Grid *out);
int gpu_turned_blocks(const Kir *k, const Grid *g); /* at a time */
/* False: no two sweeps over rows of which the first makes maxima. */
bool gpu_blocks_grid(Kir *k, Grid *out);
int gpu_blocks_at_a_time(const Kir *k);
/* False: not in tiles; of a kernel with elements of a matrix. */
bool gpu_both_grid(Kir *k, Grid *out);
int gpu_both_at_a_time(const Kir *k);
/* Places for a value in shared memory that its sums take, or its tile. */
uint32_t gpu_rows_places(const Kir *k, uint32_t row_threads);
uint32_t gpu_turned_places(const Kir *k, const Grid *g);
uint32_t gpu_blocks_places(const Kir *k);
uint32_t gpu_both_places(const Kir *k);
void emit_gpu_kernel(Emit *e, const char *name, const Grid *g);

#endif
