/*
 * cublaslt.c: opens cuBLASLt, the library of matrix products.
 *
 * It is looked for on the loader's path, then below CUDA_HOME and where the
 * toolkit installs itself.
 */
#include "cuda.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12"};

static const char *const folders[] = {"/lib64", "/lib",
                                      "/targets/x86_64-linux/lib"};

/* Below the folder of a toolkit; FOLDER and SUB empty: the loader's path. */
static void *open_in(const char *folder, const char *sub)
{
    char path[4096];
    const char *slash = *folder ? "/" : "";
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        int n = snprintf(path, sizeof path, "%s%s%s%s", folder, sub, slash,
                         names[i]);
        if (n < 0 || (size_t)n >= sizeof path) continue;
        void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (lib) return lib;
    }
    return NULL;
}

static void *open_below(const char *toolkit)
{
    void *lib = NULL;
    for (unsigned i = 0; !lib && i < sizeof folders / sizeof *folders; i++)
        lib = open_in(toolkit, folders[i]);
    return lib;
}

static void *open_library(void)
{
    const char *home = getenv("CUDA_HOME");
    void *lib = open_in("", "");
    if (!lib && home && *home) lib = open_below(home);
    return lib ? lib : open_below("/usr/local/cuda");
}

static const char *find_all(LtApi *lt)
{
    if (!symbol_find(lt->library, "cublasLtGetVersion", &lt->version))
        return "cublasLtGetVersion";
    if (!symbol_find(lt->library, "cublasLtGetStatusName", &lt->status_name))
        return "cublasLtGetStatusName";
#define LT(name, symbol, ...) \
    if (!symbol_find(lt->library, symbol, &lt->name)) return symbol;
#include "cublaslt.def"
#undef LT
    return NULL;
}

static void lt_close(LtApi *lt)
{
    if (lt->library) dlclose(lt->library);
    *lt = (LtApi){0};
}

TitanStatus lt_open(TitanStory *s, LtApi *out)
{
    *out = (LtApi){.library = open_library()};
    if (!out->library)
        return titan_fail(s, TITAN_UNAVAILABLE,
                          "could not open cuBLASLt (%s), which matrix "
                          "products on the GPU need; looked on the loader's "
                          "path (LD_LIBRARY_PATH) and below CUDA_HOME and "
                          "/usr/local/cuda",
                          names[0]);
    const char *missing = find_all(out);
    if (!missing) return TITAN_OK;
    lt_close(out);
    return titan_fail(s, TITAN_UNAVAILABLE, "cuBLASLt has no %s", missing);
}

TitanStatus lt_fail(TitanStory *s, const LtApi *lt, const char *call,
                    LtStatus st)
{
    return titan_fail(s, TITAN_UNAVAILABLE, "cuBLASLt's %.*s failed: %s",
                      (int)strcspn(call, "("), call, lt->status_name(st));
}
