/*
 * work.h: how many operations a tile kernel has, for reports.
 */
#ifndef TITAN_CODEGEN_WORK_H
#define TITAN_CODEGEN_WORK_H

#include "kir.h"
#include <llvm-c/Core.h>

/* Of a group of kind `tile`: its products, where a mask leaves some. */
uint64_t tile_flops(Module *m, const Fn *group, LLVMContextRef cx,
                    const Kir *k);

#endif
