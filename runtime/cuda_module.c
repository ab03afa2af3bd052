/*
 * cuda_module.c: the kernels of a program on the GPU.
 *
 * A training program holds machine code where an assembler was at hand, which
 * is loaded in no time.  PTX goes to the driver's compiler (cuda_compile.c),
 * whose time is told; so does the PTX of a program whose machine code this
 * driver does not take.
 */
#include "cuda_device.h"

#include <stdio.h>
#include <stdlib.h>

#include "clock.h"

TitanStatus cuda_load_begin(Cuda *c, const TitanCode *code)
{
    if (code->cubin || !code->ptx) return TITAN_OK;
    return cuda_compile_begin(c, code);
}

static TitanStatus load_ptx(Cuda *c, const TitanCode *code, char *how,
                            size_t size)
{
    double seconds;
    if (!c->compiler) TRY(cuda_compile_begin(c, code));
    TRY(cuda_compile_end(c, &seconds));
    snprintf(how, size, "PTX compiled by the driver in %.0f ms", seconds * 1e3);
    return TITAN_OK;
}

static TitanStatus load_cubin(Cuda *c, const TitanCode *code, char *how,
                              size_t size)
{
    double start = seconds_now();
    CuResult r =
        c->cu.cuModuleLoadDataEx(&c->modules[0], code->cubin, 0, NULL, NULL);
    if (r != 0 && code->ptx) return load_ptx(c, code, how, size);
    c->nmodules = r == 0;
    snprintf(how, size, "cubin loaded in %.1f ms",
             (seconds_now() - start) * 1e3);
    return r == 0 ? TITAN_OK
                  : cu_fail(c->story, &c->cu, "cuModuleLoadDataEx", r);
}

static TitanStatus alloc_launch(Cuda *c)
{
    for (uint32_t i = 0; i < c->im->nkernels; i++) {
        const TitanKernel *k = &c->im->kernels[i];
        if (k->args > c->most_args) c->most_args = k->args;
        if (k->maps.n > c->most_maps) c->most_maps = k->maps.n;
    }
    size_t args = c->most_args, maps = c->most_maps;
    c->functions = calloc((size_t)c->im->nkernels + 1, sizeof(CuFunction));
    c->args = calloc(args + 1, sizeof *c->args);
    c->params = calloc(args + maps + 1, sizeof *c->params);
    c->maps =
        aligned_alloc(_Alignof(CuTensorMap), (maps + 1) * sizeof *c->maps);
    if (c->functions && c->args && c->params && c->maps) return TITAN_OK;
    return titan_no_memory(c->story);
}

TitanStatus cuda_load(Cuda *c, const TitanCode *code, char *how, size_t size)
{
    TRY(alloc_launch(c));
    snprintf(how, size, "no kernels");
    if (code->cubin) return load_cubin(c, code, how, size);
    if (code->ptx) return load_ptx(c, code, how, size);
    if (c->im->nkernels == 0) return TITAN_OK;
    return titan_fail(c->story, TITAN_MISMATCH,
                      "the program has no kernels for a GPU");
}

void cuda_unload(Cuda *c)
{
    if (c->nmodules && !c->compiler) c->cu.cuModuleUnload(c->modules[0]);
    cuda_compile_close(c);
}

/* Each kernel is in one of the modules. */
static CuResult find_function(Cuda *c, const char *name, CuFunction *out)
{
    CuResult r = CU_error_not_found;
    for (unsigned i = 0; i < c->nmodules && r == CU_error_not_found; i++)
        r = c->cu.cuModuleGetFunction(out, c->modules[i], name);
    return r;
}

TitanStatus cuda_function(Cuda *c, uint32_t kernel, CuFunction *out)
{
    const TitanKernel *k = &c->im->kernels[kernel];
    *out = c->functions[kernel];
    if (*out) return TITAN_OK;
    CuResult r = find_function(c, titan_string(c->im, k->name), out);
    if (r != 0) return cu_fail(c->story, &c->cu, "cuModuleGetFunction", r);
    /* 48 KiB less what the kernel has of its own are free for all */
    if (k->shared_bytes > 0)
        CU_TRY(c, cuFuncSetAttribute(*out, CU_function_max_dynamic_shared,
                                     (int)k->shared_bytes));
    c->functions[kernel] = *out;
    return TITAN_OK;
}
