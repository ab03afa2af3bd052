/*
 * opened.h: the kernels of a set, linked into a library and opened.
 */
#ifndef TITAN_TESTS_OPENED_H
#define TITAN_TESTS_OPENED_H

#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

#include "codegen/kernel.h"

/* Kernels by row, for the life of the process. */
static inline const TitanHostKernel *opened_object(Arena *a, KernelSet *set)
{
    const void *object;
    size_t size;
    assert_true(kernels_object(set, "", 0, &object, &size));
    char path[] = "/tmp/titan-kernels-XXXXXX";
    assert_non_null(mkdtemp(path));
    const char *o = arena_printf(a, "%s/k.o", path);
    const char *so = arena_printf(a, "%s/k.so", path);
    assert_true(write_file(o, object, size, false));
    const char *link = arena_printf(a, "cc -shared -o %s %s -lm", so, o);
    assert_int_equal(system(link), 0);
    void *lib = dlopen(so, RTLD_NOW);
    if (!lib) fail_msg("%s", dlerror());
    const TitanHostKernel *kernels = dlsym(lib, TITAN_SYMBOL_KERNELS);
    assert_non_null(kernels);
    unlink(o);
    unlink(so);
    rmdir(path);
    return kernels;
}

#endif
