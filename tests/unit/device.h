/*
 * device.h: just enough of the CUDA driver to run a kernel, opened at run
 * time.  Device 0; every call that fails stops the test.
 */
#ifndef TITAN_TESTS_DEVICE_H
#define TITAN_TESTS_DEVICE_H

#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct Device {
    int (*init)(unsigned flags);
    int (*get)(int *device, int ordinal);
    int (*retain)(void **context, int device);
    int (*set_current)(void *context);
    int (*attribute)(int *out, int which, int device);
    int (*load)(void **module, const void *text);
    int (*function)(void **fn, void *module, const char *name);
    int (*launch)(void *fn, unsigned x, unsigned y, unsigned z, unsigned tx,
                  unsigned ty, unsigned tz, unsigned shared, void *stream,
                  void **params, void **extra);
    int (*sync)(void);
    int (*alloc)(uint64_t *at, size_t bytes);
    int (*release)(uint64_t at);
    int (*to)(uint64_t at, const void *from, size_t bytes);
    int (*from)(void *to, uint64_t at, size_t bytes);
    int major;
} Device;

#define DEVICE(call) assert_int_equal((call), 0)

static inline bool device_symbol(void *lib, const char *name, void *out)
{
    *(void **)out = dlsym(lib, name);
    return *(void **)out != NULL;
}

/* False: this machine has no device. */
static inline bool device_open(Device *d)
{
    enum { MAJOR = 75 };
    void *lib = dlopen("libcuda.so.1", RTLD_NOW), *context;
    if (!lib) return false;
    bool all = device_symbol(lib, "cuInit", &d->init) &&
               device_symbol(lib, "cuDeviceGet", &d->get) &&
               device_symbol(lib, "cuDevicePrimaryCtxRetain", &d->retain) &&
               device_symbol(lib, "cuCtxSetCurrent", &d->set_current) &&
               device_symbol(lib, "cuDeviceGetAttribute", &d->attribute) &&
               device_symbol(lib, "cuModuleLoadData", &d->load) &&
               device_symbol(lib, "cuModuleGetFunction", &d->function) &&
               device_symbol(lib, "cuLaunchKernel", &d->launch) &&
               device_symbol(lib, "cuCtxSynchronize", &d->sync) &&
               device_symbol(lib, "cuMemAlloc_v2", &d->alloc) &&
               device_symbol(lib, "cuMemFree_v2", &d->release) &&
               device_symbol(lib, "cuMemcpyHtoD_v2", &d->to) &&
               device_symbol(lib, "cuMemcpyDtoH_v2", &d->from);
    int device;
    if (!all || d->init(0) != 0 || d->get(&device, 0) != 0) return false;
    DEVICE(d->retain(&context, device));
    DEVICE(d->set_current(context));
    DEVICE(d->attribute(&d->major, MAJOR, device));
    return true;
}

#endif
