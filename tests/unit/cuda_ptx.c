/* links: titan_runtime fake_cuda titan_ptx
 *
 * cuda_ptx.c: the tests' own driver runs kernels of PTX: what they make, what
 * becomes of one that does what it may not, and what is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/cuda.h"
#include "tests/unit/fake/fake.h"

enum { THREADS = 64, FAILED = 719, NO_BINARY = 209 };

#define HEAD ".version 8.0\n.target sm_90a\n.address_size 64\n"

/* Thread I adds i to word I of `at`, OFF bytes further on. */
static const char text[] = HEAD
    ".visible .entry plus(.param .u64 at, .param .u32 off)\n{\n"
    ".reg .b32 %r<5>;\n.reg .b64 %d<5>;\n"
    "ld.param.u64 %d1, [at];\nld.param.u32 %r1, [off];\n"
    "mov.u32 %r2, %tid.x;\nmul.wide.u32 %d2, %r2, 4;\n"
    "cvt.u64.u32 %d3, %r1;\nadd.u64 %d1, %d1, %d2;\nadd.u64 %d1, %d1, %d3;\n"
    "ld.global.u32 %r3, [%d1];\nadd.u32 %r3, %r3, %r2;\n"
    "st.global.u32 [%d1], %r3;\nret;\n}\n";

typedef struct World {
    CuApi cu;
    TitanStory story;
    CuContext context;
    CuStream stream;
    CuModule module;
    CuFunction plus;
    CuPtr at;
} World;

#define CALL(w, call) assert_int_equal((w)->cu.call, 0)

static void open_world(World *w)
{
    *w = (World){0};
    fake_reset();
    assert_int_equal(cu_open(&w->story, &w->cu), TITAN_OK);
    CALL(w, cuInit(0));
    CALL(w, cuDevicePrimaryCtxRetain(&w->context, 0));
    CALL(w, cuCtxSetCurrent(w->context));
    CALL(w, cuStreamCreate(&w->stream, 0));
    CALL(w, cuMemAlloc(&w->at, 4 * THREADS));
    CALL(w, cuMemsetD8Async(w->at, 0, 4 * THREADS, w->stream));
    CALL(w, cuModuleLoadDataEx(&w->module, text, 0, NULL, NULL));
    CALL(w, cuModuleGetFunction(&w->plus, w->module, "plus"));
}

static void close_world(World *w)
{
    w->cu.cuModuleUnload(w->module);
    w->cu.cuMemFree(w->at);
    w->cu.cuStreamDestroy(w->stream);
    cu_close(&w->cu);
}

static CuResult launch(World *w, uint32_t off)
{
    void *args[] = {&w->at, &off};
    return w->cu.cuLaunchKernel(w->plus, 1, 1, 1, THREADS, 1, 1, 0, w->stream,
                                args, NULL);
}

/* Behind what is in front of it, with the arguments that it had at the call,
 * and as often as a graph of it runs. */
static void runs_kernels(void **state)
{
    (void)state;
    World w;
    CuGraph graph;
    CuGraphExec ready;
    uint32_t got[THREADS];
    open_world(&w);
    CALL(&w, cuStreamBeginCapture(w.stream, CU_capture_relaxed));
    assert_int_equal(launch(&w, 0), 0);
    assert_int_equal(launch(&w, 0), 0);
    CALL(&w, cuStreamEndCapture(w.stream, &graph));
    CALL(&w, cuGraphInstantiate(&ready, graph, 0));
    for (int i = 0; i < 3; i++)
        CALL(&w, cuGraphLaunch(ready, w.stream));
    assert_int_equal(launch(&w, 0), 0);
    CALL(&w, cuMemcpyDtoHAsync(got, w.at, sizeof got, w.stream));
    CALL(&w, cuStreamSynchronize(w.stream));
    for (uint32_t i = 0; i < THREADS; i++)
        assert_int_equal(got[i], 7 * i);
    CALL(&w, cuGraphExecDestroy(ready));
    CALL(&w, cuGraphDestroy(graph));
    close_world(&w);
}

/* One element too far is told of; its GPU does nothing from then on. */
static void faults_stay(void **state)
{
    (void)state;
    World w;
    CuPtr more;
    open_world(&w);
    assert_int_equal(launch(&w, 4), 0);
    assert_int_equal(w.cu.cuStreamSynchronize(w.stream), FAILED);
    assert_non_null(strstr(fake_device()->log, "plus: block 0, thread 63"));
    assert_non_null(strstr(fake_device()->log, "ld.global.u32 %r3, [%d1];"));
    assert_int_equal(launch(&w, 0), FAILED);
    assert_int_equal(w.cu.cuMemAlloc(&more, 16), FAILED);
    close_world(&w);
}

static void refuses_what_it_cannot_run(void **state)
{
    (void)state;
    static const char odd[] = HEAD ".visible .entry odd()\n{\nodd.b32 5;\n}\n";
    World w;
    CuModule module;
    CuFunction fn;
    open_world(&w);
    assert_int_equal(
        w.cu.cuModuleLoadDataEx(&module, "\177ELF...", 0, NULL, NULL),
        NO_BINARY);
    CALL(&w, cuModuleLoadDataEx(&module, odd, 0, NULL, NULL));
    assert_int_equal(w.cu.cuModuleGetFunction(&fn, module, "even"),
                     CU_error_not_found);
    CALL(&w, cuModuleGetFunction(&fn, module, "odd"));
    assert_int_equal(
        w.cu.cuLaunchKernel(fn, 1, 1, 1, 32, 1, 1, 0, w.stream, NULL, NULL),
        CU_error_invalid_ptx);
    CALL(&w, cuModuleUnload(module));
    close_world(&w);
}

/* As the driver does, at the call; the GPU goes on. */
static void refuses_launches(void **state)
{
    (void)state;
    static const unsigned bad[][6] = {
        {0, 1, 1, 32, 1, 1},  {1, 65536, 1, 32, 1, 1}, {1, 1, 65536, 32, 1, 1},
        {1, 1, 1, 0, 1, 1},   {1, 1, 1, 1025, 1, 1},   {1, 1, 1, 1, 1, 65},
        {1, 1, 1, 1024, 2, 1}};
    World w;
    uint32_t off = 0;
    open_world(&w);
    void *args[] = {&w.at, &off};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const unsigned *n = bad[i];
        assert_int_equal(w.cu.cuLaunchKernel(w.plus, n[0], n[1], n[2], n[3],
                                             n[4], n[5], 0, w.stream, args,
                                             NULL),
                         1);
    }
    assert_int_equal(launch(&w, 0), 0);
    CALL(&w, cuStreamSynchronize(w.stream));
    close_world(&w);
}

typedef struct Map {
    int dtype;
    uint64_t off, size[3], stride[2];
    uint32_t box[3], step[3];
    int swizzle;
} Map;

static CuResult encode(World *w, Map m)
{
    CuTensorMap map;
    return w->cu.cuTensorMapEncodeTiled(
        &map, m.dtype, 3, (void *)(uintptr_t)(w->at + m.off), m.size, m.stride,
        m.box, m.step, 0, m.swizzle, CU_promotion_256, 0);
}

/* As the driver does, of what the copy engine cannot do. */
static void refuses_maps(void **state)
{
    (void)state;
    World w;
    static const Map good = {CU_map_bf16, 0,         {128, 8, 4},   {256, 2048},
                             {64, 8, 1},  {1, 1, 1}, CU_swizzle_128};
    Map bad[9];
    open_world(&w);
    assert_int_equal(encode(&w, good), 0);
    for (int i = 0; i < 9; i++)
        bad[i] = good;
    bad[0].off = 8;
    bad[1].stride[0] = 264;
    bad[2].box[1] = 257;
    bad[3].box[0] = 128; /* 256 bytes, swizzled by 128 */
    bad[4].box[0] = 4;   /* 8 bytes */
    bad[5].size[1] = 0;
    bad[6].step[2] = 9;
    bad[7].stride[1] = UINT64_C(1) << 40;
    bad[8].swizzle = CU_swizzle_64;
    for (int i = 0; i < 9; i++)
        assert_int_equal(encode(&w, bad[i]), 1);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_kernels),
        cmocka_unit_test(faults_stay),
        cmocka_unit_test(refuses_what_it_cannot_run),
        cmocka_unit_test(refuses_launches),
        cmocka_unit_test(refuses_maps),
    };
    setenv("FAKE_PTX", "1", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
