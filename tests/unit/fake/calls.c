/*
 * calls.c: the driver without a GPU: what programs of tests/gpu call
 * (tests/gpu/driver.h) and the runtime does not.
 */
#include "driver.h"

#include <string.h>

CuResult cuModuleLoadData(CuModule *module, const void *code);
CuResult cuFuncGetAttribute(int *out, int attribute, CuFunction fn);
CuResult cuMemcpyHtoD_v2(CuPtr to, const void *from, size_t bytes);
CuResult cuMemcpyDtoH_v2(void *to, CuPtr from, size_t bytes);
CuResult cuMemcpyDtoDAsync_v2(CuPtr to, CuPtr from, size_t bytes,
                              CuStream stream);

CuResult cuModuleLoadData(CuModule *module, const void *code)
{
    return cuModuleLoadDataEx(module, code, 0, NULL, NULL);
}

/* Of no kernel is known what the GPU's compiler makes of it. */
CuResult cuFuncGetAttribute(int *out, int attribute, CuFunction fn)
{
    BEGIN();
    (void)attribute, (void)fn;
    *out = 0;
    return 0;
}

CuResult cuMemcpyHtoD_v2(CuPtr to, const void *from, size_t bytes)
{
    BEGIN();
    fake_finish();
    memcpy(fake_host(to), from, bytes);
    return fake_faulted();
}

CuResult cuMemcpyDtoH_v2(void *to, CuPtr from, size_t bytes)
{
    BEGIN();
    fake_finish();
    memcpy(to, fake_host(from), bytes);
    return fake_faulted();
}

CuResult cuMemcpyDtoDAsync_v2(CuPtr to, CuPtr from, size_t bytes,
                              CuStream stream)
{
    return cuMemcpyAsync(to, from, bytes, stream);
}
