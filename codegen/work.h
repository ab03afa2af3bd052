/*
 * work.h: what a kernel has to do, for reports.
 */
#ifndef TITAN_CODEGEN_WORK_H
#define TITAN_CODEGEN_WORK_H

#include "kir.h"
#include "matmul.h"
#include "scaled.h"
#include <llvm-c/Core.h>

KernelWork loop_work(Module *m, const Kir *k);
/* Of a group of kind `tile`: its products and maps, where a mask leaves some.
 */
KernelWork tile_work(Module *m, const Fn *group, LLVMContextRef cx,
                     const Kir *k);
/* Of a product, with the sums that are made beside the tensor cores. */
KernelWork matmul_work(const Matmul *p, const KernelArg *args);
KernelWork scaled_work(Module *m, const Scaled *p, const KernelArg *args);

#endif
