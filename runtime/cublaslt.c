/*
 * cublaslt.c: opens cuBLASLt, the library of matrix products.
 */
#include "cuda.h"

#include <dlfcn.h>
#include <string.h>

static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12"};

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
    *out =
        (LtApi){.library = toolkit_open(names, sizeof names / sizeof *names)};
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
