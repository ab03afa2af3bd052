/*
 * cuda.c: opens the CUDA driver, and tells its errors.
 *
 * A library of the toolkit is looked for on the loader's path, then below
 * CUDA_HOME and where the toolkit installs itself.
 */
#include "cuda.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool symbol_find(void *library, const char *symbol, void *out)
{
    *(void **)out = dlsym(library, symbol);
    return *(void **)out != NULL;
}

/* ----------------------------------------------------------- the toolkit -- */

static const char *const folders[] = {
    "/lib64", "/lib", "/targets/x86_64-linux/lib", "/extras/CUPTI/lib64"};

/* In a folder; empty: on the loader's path. */
static void *open_in(const char *folder, const char *sub,
                     const char *const *names, size_t n)
{
    char path[4096];
    const char *slash = *folder ? "/" : "";
    for (size_t i = 0; i < n; i++) {
        int length = snprintf(path, sizeof path, "%s%s%s%s", folder, sub, slash,
                              names[i]);
        if (length < 0 || (size_t)length >= sizeof path) continue;
        void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (lib) return lib;
    }
    return NULL;
}

static void *open_below(const char *toolkit, const char *const *names, size_t n)
{
    void *lib = NULL;
    for (size_t i = 0; !lib && i < sizeof folders / sizeof *folders; i++)
        lib = open_in(toolkit, folders[i], names, n);
    return lib;
}

void *toolkit_open(const char *const *names, size_t n)
{
    const char *home = getenv("CUDA_HOME");
    void *lib = open_in("", "", names, n);
    if (!lib && home && *home) lib = open_below(home, names, n);
    return lib ? lib : open_below("/usr/local/cuda", names, n);
}

/* ------------------------------------------------------------ the driver -- */

/* The first symbol that the library does not have, or NULL. */
static const char *find_all(CuApi *cu)
{
#define CU(name, symbol, ...) \
    if (!symbol_find(cu->library, symbol, &cu->name)) return symbol;
#include "cuda.def"
#undef CU
    return NULL;
}

TitanStatus cu_open(TitanStory *s, CuApi *out)
{
    *out = (CuApi){.library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL)};
    if (!out->library)
        return titan_fail(s, TITAN_UNAVAILABLE,
                          "could not open the CUDA driver (libcuda.so.1), "
                          "which a step for a GPU needs; it comes with the "
                          "NVIDIA driver of this machine");
    const char *missing = find_all(out);
    if (!missing) return TITAN_OK;
    cu_close(out);
    return titan_fail(s, TITAN_UNAVAILABLE,
                      "libcuda.so.1 has no %s; a driver for CUDA 12 or newer "
                      "is needed",
                      missing);
}

void cu_close(CuApi *cu)
{
    if (cu->library) dlclose(cu->library);
    *cu = (CuApi){0};
}

TitanStatus cu_fail(TitanStory *s, const CuApi *cu, const char *call,
                    CuResult r)
{
    const char *name = NULL, *text = NULL;
    cu->cuGetErrorName(r, &name);
    cu->cuGetErrorString(r, &text);
    return titan_fail(s, TITAN_UNAVAILABLE, "%.*s failed: %s (%s)",
                      (int)strcspn(call, "("), call,
                      name ? name : "an unknown error", text ? text : "?");
}
