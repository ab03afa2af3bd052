/*
 * cuda.c: opens the CUDA driver, and tells its errors.
 */
#include "cuda.h"

#include <dlfcn.h>
#include <string.h>

bool symbol_find(void *library, const char *symbol, void *out)
{
    *(void **)out = dlsym(library, symbol);
    return *(void **)out != NULL;
}

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
