/*
 * driver.h: the CUDA driver, opened at run time: device 0, its memory, its
 * modules, and launches of kernels with their tensor maps.
 *
 * Programs that include it need no CUDA to build and no LLVM to run.  A call
 * that fails ends the program with the driver's words.
 */
#ifndef TITAN_TESTS_GPU_DRIVER_H
#define TITAN_TESTS_GPU_DRIVER_H

#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/abi.h"

/*   name                 symbol                     parameters */
#define DRIVER_CALLS(C)                                                    \
    C(init, "cuInit", (unsigned))                                          \
    C(get, "cuDeviceGet", (int *, int))                                    \
    C(device_name, "cuDeviceGetName", (char *, int, int))                  \
    C(retain, "cuDevicePrimaryCtxRetain", (void **, int))                  \
    C(set_current, "cuCtxSetCurrent", (void *))                            \
    C(load, "cuModuleLoadData", (void **, const void *))                   \
    C(unload, "cuModuleUnload", (void *))                                  \
    C(function, "cuModuleGetFunction", (void **, void *, const char *))    \
    C(limit, "cuFuncSetAttribute", (void *, int, int))                     \
    C(function_has, "cuFuncGetAttribute", (int *, int, void *))            \
    C(launch, "cuLaunchKernel",                                            \
      (void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, \
       unsigned, void *, void **, void **))                                \
    C(sync, "cuCtxSynchronize", (void))                                    \
    C(alloc, "cuMemAlloc_v2", (uint64_t *, size_t))                        \
    C(release, "cuMemFree_v2", (uint64_t))                                 \
    C(to, "cuMemcpyHtoD_v2", (uint64_t, const void *, size_t))             \
    C(from, "cuMemcpyDtoH_v2", (void *, uint64_t, size_t))                 \
    C(copy, "cuMemcpyDtoDAsync_v2", (uint64_t, uint64_t, size_t, void *))  \
    C(fill, "cuMemsetD8Async", (uint64_t, unsigned char, size_t, void *))  \
    C(stream_new, "cuStreamCreate", (void **, unsigned))                   \
    C(event_new, "cuEventCreate", (void **, unsigned))                     \
    C(event_free, "cuEventDestroy_v2", (void *))                           \
    C(event, "cuEventRecord", (void *, void *))                            \
    C(event_wait, "cuEventSynchronize", (void *))                          \
    C(between, "cuEventElapsedTime", (float *, void *, void *))            \
    C(capture, "cuStreamBeginCapture_v2", (void *, int))                   \
    C(captured, "cuStreamEndCapture", (void *, void **))                   \
    C(graph_ready, "cuGraphInstantiateWithFlags",                          \
      (void **, void *, unsigned long long))                               \
    C(graph_run, "cuGraphLaunch", (void *, void *))                        \
    C(graph_free, "cuGraphDestroy", (void *))                              \
    C(ready_free, "cuGraphExecDestroy", (void *))                          \
    C(words, "cuGetErrorString", (int, const char **))                     \
    C(encode, "cuTensorMapEncodeTiled",                                    \
      (void *, int, uint32_t, void *, const uint64_t *, const uint64_t *,  \
       const uint32_t *, const uint32_t *, int, int, int, int))

typedef struct Driver {
#define C(name, symbol, params) int(*name) params;
    DRIVER_CALLS(C)
#undef C
} Driver;

enum { MOST_PARAMS = 64, MOST_MAPS = 16, MAP_BYTES = 128 };

static inline void driver_fail(const Driver *d, int code, const char *call)
{
    const char *text = NULL;
    d->words(code, &text);
    fprintf(stderr, "%s: error %d: %s\n", call, code, text ? text : "?");
    exit(1);
}

/* MUST(d, launch, (fn, ...)) */
#define MUST(d, name, args)                         \
    do {                                            \
        int must = (d)->name args;                  \
        if (must != 0) driver_fail(d, must, #name); \
    } while (0)

/* False: no driver, or no device. */
static inline bool driver_open(Driver *d)
{
    void *lib = dlopen("libcuda.so.1", RTLD_NOW), *context;
    if (!lib) return false;
#define C(name, symbol, params)              \
    *(void **)&d->name = dlsym(lib, symbol); \
    if (!d->name) return false;
    DRIVER_CALLS(C)
#undef C
    int device;
    if (d->init(0) != 0 || d->get(&device, 0) != 0) return false;
    MUST(d, retain, (&context, device));
    MUST(d, set_current, (context));
    return true;
}

/* The driver's number of a dtype of dtypes.def. */
static inline int map_dtype(uint32_t dtype)
{
    /*                         f64 f32 bf16 f16 e4m3 e5m2 i64 i32 i16 i8
     *                         u64 u32 u16 u8 bool e2m1 e8m0 */
    static const int numbers[] = {8, 7, 9, 6, 0, 0, 5, 3, 1,
                                  0, 4, 2, 1, 0, 0, 0, 0};
    return numbers[dtype];
}

static inline void map_encode(const Driver *d, const TitanMap *m, uint64_t at,
                              void *out)
{
    uint64_t size[TITAN_MAP_DIMS], stride[TITAN_MAP_DIMS];
    uint32_t ones[TITAN_MAP_DIMS];
    for (uint32_t i = 0; i < m->rank; i++) {
        size[i] = (uint64_t)m->size[i];
        ones[i] = 1;
        if (i > 0) stride[i - 1] = (uint64_t)m->stride[i];
    }
    int swizzle = m->swizzle == 128  ? 3
                  : m->swizzle == 64 ? 2
                  : m->swizzle == 32 ? 1
                                     : 0;
    enum { PROMOTE_256 = 3 };
    MUST(d, encode,
         (out, map_dtype(m->dtype), m->rank,
          (void *)(uintptr_t)(at + (uint64_t)m->offset), size, stride, m->box,
          ones, 0, swizzle, PROMOTE_256, 0));
}

/* A kernel, its words and its tensor maps, as they are launched. */
typedef struct Shot {
    void *fn;
    unsigned blocks, threads, shared;
    uint32_t nargs, nmaps;
    uint64_t words[MOST_PARAMS];
    _Alignas(64) unsigned char maps[MOST_MAPS][MAP_BYTES];
} Shot;

/* Another tensor map of a kernel; how many come before it. */
static inline uint32_t shot_map(Shot *s)
{
    if (s->nmaps == MOST_MAPS) {
        fprintf(stderr, "a kernel has more than %d tensor maps\n", MOST_MAPS);
        exit(1);
    }
    return s->nmaps++;
}

static inline void shot_prepare(const Driver *d, Shot *s)
{
    enum { DYNAMIC_SHARED = 8 };
    if (s->shared > 0) /* what a kernel has of its own counts too */
        MUST(d, limit, (s->fn, DYNAMIC_SHARED, (int)s->shared));
}

static inline void shot_launch(const Driver *d, Shot *s, void *stream)
{
    void *params[MOST_PARAMS + MOST_MAPS];
    for (uint32_t i = 0; i < s->nargs; i++)
        params[i] = &s->words[i];
    for (uint32_t i = 0; i < s->nmaps; i++)
        params[s->nargs + i] = s->maps[i];
    MUST(d, launch,
         (s->fn, s->blocks, 1, 1, s->threads, 1, 1, s->shared, stream, params,
          NULL));
}

/* A whole file and a NUL; the program ends when it cannot be read. */
static inline char *whole_file(const char *path, size_t *size)
{
    FILE *in = fopen(path, "rb");
    if (!in) {
        perror(path);
        exit(1);
    }
    char *at = NULL;
    size_t n = 0, room = 0, got = 1;
    while (got) {
        if (room - n < 2) at = realloc(at, room = 2 * room + (1 << 16));
        if (!at) exit(1);
        got = fread(at + n, 1, room - n - 1, in);
        n += got;
    }
    at[n] = '\0';
    fclose(in);
    if (size) *size = n;
    return at;
}

#endif
