/*
 * cuda_module.c: the kernels of a program on the GPU.
 *
 * A training program holds machine code where an assembler was at hand, which
 * is loaded in no time.  PTX goes to the driver's compiler, whose time is told,
 * without the image that the text of a step.ptx ends with; so does the PTX of a
 * program whose machine code this driver does not take.
 */
#include "cuda_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

enum { LOG_BYTES = 4096 };

/* The text up to the image; for free(). */
static char *kernels_of(const TitanCode *code)
{
    static const char image[] =
        "\n.visible .global .align 8 .b64 " TITAN_SYMBOL_IMAGE "[";
    const char *end = strstr(code->ptx, image);
    size_t n = end ? (size_t)(end - code->ptx) : code->ptx_size;
    char *text = malloc(n + 1);
    if (!text) return NULL;
    memcpy(text, code->ptx, n);
    text[n] = 0;
    return text;
}

/* The compiler's first complaint, on one line. */
static const char *first_line(char *log)
{
    log += strspn(log, " \n");
    log[strcspn(log, "\n")] = 0;
    return *log ? log : "the driver gave no reason";
}

static TitanStatus compile(Cuda *c, const char *text)
{
    char log[LOG_BYTES] = "";
    int options[] = {CU_jit_error_log, CU_jit_error_log_bytes};
    void *values[] = {log, (void *)(uintptr_t)sizeof log};
    CuResult r = c->cu.cuModuleLoadDataEx(&c->module, text, 2, options, values);
    if (r == 0) return TITAN_OK;
    cu_fail(c->story, &c->cu, "cuModuleLoadDataEx", r);
    /* other reasons lie with the driver: it may be too old, say */
    TitanStatus st =
        r == CU_error_invalid_ptx ? TITAN_BAD_DATA : TITAN_UNAVAILABLE;
    return titan_while(c->story, st, "compiling the PTX: %s", first_line(log));
}

static TitanStatus load_ptx(Cuda *c, const TitanCode *code, char *how,
                            size_t size)
{
    char *text = kernels_of(code);
    if (!text) return titan_no_memory(c->story);
    double start = seconds_now();
    TitanStatus st = compile(c, text);
    free(text);
    snprintf(how, size, "PTX compiled by the driver in %.0f ms",
             (seconds_now() - start) * 1e3);
    return st;
}

static TitanStatus load_cubin(Cuda *c, const TitanCode *code, char *how,
                              size_t size)
{
    double start = seconds_now();
    CuResult r =
        c->cu.cuModuleLoadDataEx(&c->module, code->cubin, 0, NULL, NULL);
    if (r != 0 && code->ptx) return load_ptx(c, code, how, size);
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

TitanStatus cuda_function(Cuda *c, uint32_t kernel, CuFunction *out)
{
    const TitanKernel *k = &c->im->kernels[kernel];
    *out = c->functions[kernel];
    if (*out) return TITAN_OK;
    CU_TRY(c,
           cuModuleGetFunction(out, c->module, titan_string(c->im, k->name)));
    /* 48 KiB less what the kernel has of its own are free for all */
    if (k->shared_bytes > 0)
        CU_TRY(c, cuFuncSetAttribute(*out, CU_function_max_dynamic_shared,
                                     (int)k->shared_bytes));
    c->functions[kernel] = *out;
    return TITAN_OK;
}
