/*
 * llvm.c: target machines, passes and output, through LLVM-C.
 *
 * Kernels come out of emit.c vectorised and unrolled as they should be, so
 * the pipeline is short: it cleans up, and moves what a loop does not change
 * out of it.
 */
#include <llvm-c/Analysis.h>
#include <llvm-c/ErrorHandling.h>
#include <llvm-c/Target.h>
#include <llvm-c/Transforms/PassBuilder.h>

#include "../runtime/abi.h"
#include "target.h"

/* ----------------------------------------------------------------- targets */

typedef struct TargetRow {
    const char *text, *triple, *cpu;
    bool gpu;
} TargetRow;

static const TargetRow *target_row(TargetId t)
{
    enum { HOST = 0, GPU = 1 };
    static const TargetRow rows[] = {
#define TARGET(id, text, kind, triple, cpu) \
    [TARGET_##id] = {text, triple, cpu, kind == GPU},
#include "targets.def"
#undef TARGET
    };
    return &rows[t];
}

bool target_find(const char *text, TargetId *out)
{
    for (int t = 0; t < TARGET_count; t++) {
        if (strcmp(target_row((TargetId)t)->text, text) != 0) continue;
        *out = (TargetId)t;
        return true;
    }
    return false;
}

uint32_t target_in_image(TargetId t)
{
    static const uint32_t targets[TARGET_count] = {
#define TARGET(id, text, kind, triple, cpu) TITAN_TARGET_##id,
#include "targets.def"
#undef TARGET
    };
    return targets[t];
}

const char *target_name(TargetId t)
{
    return target_row(t)->text;
}

bool target_is_gpu(TargetId t)
{
    return target_row(t)->gpu;
}

/* ---------------------------------------------------------------- machines */

static void on_fatal(const char *reason)
{
    BUG("LLVM: %s", reason);
}

static void initialise(bool gpu)
{
    LLVMResetFatalErrorHandler();
    LLVMInstallFatalErrorHandler(on_fatal);
    if (gpu) {
        LLVMInitializeNVPTXTargetInfo();
        LLVMInitializeNVPTXTarget();
        LLVMInitializeNVPTXTargetMC();
        LLVMInitializeNVPTXAsmPrinter();
    } else {
        LLVMInitializeX86TargetInfo();
        LLVMInitializeX86Target();
        LLVMInitializeX86TargetMC();
        LLVMInitializeX86AsmPrinter();
    }
}

static bool is_native(const CodegenOpts *o)
{
    return o->cpu && strcmp(o->cpu, "native") == 0;
}

LLVMTargetMachineRef machine_new(const CodegenOpts *o)
{
    const TargetRow *row = target_row(o->target);
    initialise(row->gpu);
    LLVMTargetRef target;
    char *error = NULL;
    if (LLVMGetTargetFromTriple(row->triple, &target, &error))
        BUG("LLVM has no target %s: %s", row->triple, error);
    char *cpu = NULL, *features = NULL;
    if (!row->gpu && is_native(o)) {
        cpu = LLVMGetHostCPUName();
        features = LLVMGetHostCPUFeatures();
    }
    const char *name = cpu ? cpu : !row->gpu && o->cpu ? o->cpu : row->cpu;
    LLVMTargetMachineRef tm = LLVMCreateTargetMachine(
        target, row->triple, name, features ? features : "",
        o->level == 0 ? LLVMCodeGenLevelNone : LLVMCodeGenLevelDefault,
        LLVMRelocPIC, LLVMCodeModelDefault);
    if (cpu) LLVMDisposeMessage(cpu);
    if (features) LLVMDisposeMessage(features);
    if (!tm) BUG("LLVM makes no machine for %s", name);
    return tm;
}

int64_t machine_lanes(const CodegenOpts *o)
{
    if (target_is_gpu(o->target)) return 4;
    if (is_native(o)) {
        char *features = LLVMGetHostCPUFeatures();
        bool wide = strstr(features, "+avx512f") != NULL;
        LLVMDisposeMessage(features);
        return wide ? 16 : 8;
    }
    return o->cpu && strcmp(o->cpu, "x86-64-v4") == 0 ? 16 : 8;
}

void machine_prepare(LLVMTargetMachineRef tm, LLVMModuleRef module)
{
    char *triple = LLVMGetTargetMachineTriple(tm);
    LLVMSetTarget(module, triple);
    LLVMDisposeMessage(triple);
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(tm);
    LLVMSetModuleDataLayout(module, layout);
    LLVMDisposeTargetData(layout);
}

/* -------------------------------------------------------- passes and output */

static void verify(LLVMModuleRef module)
{
    char *why = NULL;
    if (LLVMVerifyModule(module, LLVMReturnStatusAction, &why))
        BUG("generated code is not well formed: %s", why);
    LLVMDisposeMessage(why);
}

void machine_optimise(LLVMTargetMachineRef tm, LLVMModuleRef module, int level)
{
    verify(module);
    if (level == 0) return;
    const char *passes =
        "function(sroa,early-cse,instcombine<no-verify-fixpoint>,simplifycfg,"
        "loop-mssa(licm),early-cse,instcombine<no-verify-fixpoint>,"
        "simplifycfg)";
    LLVMPassBuilderOptionsRef opts = LLVMCreatePassBuilderOptions();
    LLVMErrorRef error =
        LLVMRunPasses(module, level > 2 ? "default<O3>" : passes, tm, opts);
    LLVMDisposePassBuilderOptions(opts);
    if (error) BUG("LLVM: %s", LLVMGetErrorMessage(error));
}

const void *machine_emit(LLVMTargetMachineRef tm, LLVMModuleRef module,
                         LLVMCodeGenFileType kind, Arena *a, size_t *size)
{
    LLVMMemoryBufferRef buffer;
    char *error = NULL;
    if (LLVMTargetMachineEmitToMemoryBuffer(tm, module, kind, &error, &buffer))
        BUG("LLVM: %s", error);
    *size = LLVMGetBufferSize(buffer);
    char *copy = arena_strndup(a, LLVMGetBufferStart(buffer), *size);
    LLVMDisposeMemoryBuffer(buffer);
    return copy;
}
