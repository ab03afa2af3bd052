/* links: titan_runtime fake_cuda fake_cublaslt fake_cupti
 *
 * cuda_errors.c: what the GPU side of the runtime says when something is wrong,
 * and that it gives back what it took.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <limits.h>
#include <string.h>

#include "tests/unit/made.h"

/* Opening fails with STATUS and a story that has WORDS. */
static void refuses(Made *m, const TitanCode *code, TitanStatus status,
                    const char *words)
{
    static const DeviceOptions o;
    TitanDevice *d;
    assert_int_equal(open_with(m, code, &o, &d), status);
    if (!strstr(story.line[0], words) && !strstr(story.line[1], words))
        fail_msg("\"%s\" is not in \"%s\", \"%s\"", words, story.line[0],
                 story.line[1]);
    assert_int_equal(fake_device()->allocations, 0);
    fake_reset();
}

static void says_what_is_missing(void **state)
{
    (void)state;
    Made m;
    begin(&m);
    bump(&m, 0);
    const TitanCode cubin = {.cubin = "machine code"};
    const TitanCode ptx = {.ptx = "// text", .ptx_size = 7};
    const TitanCode none = {0};
    Fake *fake = fake_device();
    fake->fails = "cuInit", fake->fails_with = 100;
    refuses(&m, &cubin, TITAN_UNAVAILABLE,
            "cuInit failed: CUDA_ERROR_NO_DEVICE");
    fake->count = 0;
    refuses(&m, &cubin, TITAN_UNAVAILABLE, "no GPU is visible");
    fake->major = 8;
    refuses(&m, &cubin, TITAN_UNAVAILABLE,
            "compute capability 9.0; Fake 9000 here has 8.0");
    fake->available = 10 << 20;
    refuses(&m, &cubin, TITAN_UNAVAILABLE,
            "Fake 9000 has 0.01 free of 1024.00, and 0.06 more are needed");
    fake->fails = "cuMemAlloc", fake->fails_with = 2;
    refuses(&m, &cubin, TITAN_UNAVAILABLE, "CUDA_ERROR_OUT_OF_MEMORY");
    fake->compiler = "\nptxas: line 3: no such instruction\nmore\n";
    refuses(&m, &ptx, TITAN_BAD_DATA,
            "compiling the PTX: ptxas: line 3: no such instruction");
    refuses(&m, &none, TITAN_MISMATCH, "no kernels for a GPU");
    m.stage.base_bytes[TITAN_BASE_host] = UINT64_C(1) << 49;
    refuses(&m, &cubin, TITAN_UNAVAILABLE,
            "the plan offloads 524288.00 GiB to the memory of the host, which "
            "has ");
    m.stage.base_bytes[TITAN_BASE_host] = 4096;
    fake->fails = "cuMemHostRegister", fake->fails_with = 2;
    refuses(&m, &cubin, TITAN_UNAVAILABLE,
            "pinning 0.00 GiB of host memory for what the plan offloads");
}

/* Each call that a device makes may fail: the story names it, and nothing is
 * left behind. */
static void names_the_call(void **state)
{
    (void)state;
    static const char *const calls[] = {"cuMemcpyHtoDAsync", "cuGraphLaunch",
                                        "cuEventRecord", "cuEventSynchronize"};
    for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++) {
        Made m;
        begin(&m);
        bump(&m, 0);
        TitanDevice *d = open_device(&m);
        ok(device_prepare(d, &m.entry));
        fake_device()->fails = calls[i];
        fake_device()->fails_with = 700;
        const char *io;
        TitanStatus st = device_write(d, TITAN_BASE_io, 64, &i, sizeof i);
        if (st == TITAN_OK) st = device_run(d, &m.entry);
        if (st == TITAN_OK) st = device_keep(d, &m.entry, 1);
        if (st == TITAN_OK) st = device_kept(d, 1, &io);
        assert_int_equal(st, TITAN_UNAVAILABLE);
        assert_non_null(strstr(story.line[0], calls[i]));
        assert_non_null(strstr(story.line[0], "CUDA_ERROR_ILLEGAL_ADDRESS"));
        fake_device()->fails = NULL;
        close_device(d);
        fake_reset();
    }
}

static TitanStatus one_run(Made *m, const TitanCode *code, unsigned *calls)
{
    static const DeviceOptions o;
    TitanDevice *d = NULL;
    const char *io;
    unsigned x = 1;
    *calls = UINT_MAX;
    TRY(open_with(m, code, &o, &d));
    TitanStatus st = device_run(d, &m->entry);
    if (st == TITAN_OK) st = device_prepare(d, &m->entry);
    if (st == TITAN_OK) st = device_write(d, TITAN_BASE_io, 64, &x, sizeof x);
    if (st == TITAN_OK) st = device_write(d, TITAN_BASE_frame, 0, &x, sizeof x);
    if (st == TITAN_OK) st = d->class->profile(d, &m->entry);
    if (st == TITAN_OK) st = device_run(d, &m->entry);
    if (st == TITAN_OK) st = device_keep(d, &m->entry, 1);
    if (st == TITAN_OK) st = device_kept(d, 1, &io);
    *calls = fake_device()->calls;
    device_free(d);
    return st;
}

static void fail_each_call(const TitanCode *code)
{
    TitanStatus st = TITAN_UNAVAILABLE;
    for (unsigned n = 1, calls; st != TITAN_OK; n++) {
        Made m;
        begin(&m);
        bump(&m, 0);
        m.header.streams = 2;
        m.header.events = 1;
        command(&m, TITAN_COMMAND_signal, 0, 0);
        run(&m, TITAN_RUN_segment, 0, 0);
        operand(&m, TITAN_BASE_frame, 256, 0);
        command(&m, TITAN_COMMAND_zero, 0, 40);
        fake_reset();
        fake_device()->fails_at = n;
        st = one_run(&m, code, &calls);
        assert_int_equal(st != TITAN_OK, calls >= n);
        if (st != TITAN_OK) assert_true(story.n > 0);
        assert_int_equal(fake_device()->allocations, 0);
        assert_int_equal(fake_device()->graphs, 0);
        assert_int_equal(fake_device()->libraries, 0);
        assert_true(n < 1000);
    }
}

/* Whichever call fails, once: it is an error, and everything is given back. */
static void every_call_fails_once(void **state)
{
    (void)state;
    setenv("TITAN_CUPTI", "none", 1); /* a profile by events */
    fail_each_call(&(TitanCode){.cubin = "machine code"});
    unsetenv("TITAN_CUPTI");
    fail_each_call(&(TitanCode){.ptx = kernels, .ptx_size = strlen(kernels)});
}

/* A launch that fails names its kernel and its line, also in a capture. */
static void names_the_kernel(void **state)
{
    (void)state;
    Made m;
    begin(&m);
    bump(&m, 0);
    TitanDevice *d = open_device(&m);
    fake_device()->fails = "cuLaunchKernel";
    fake_device()->fails_with = 700;
    assert_int_equal(device_prepare(d, &m.entry), TITAN_UNAVAILABLE);
    assert_string_equal(story.line[1], "while running bump (m.tt:1)");
    fake_device()->fails = NULL;
    ok(device_prepare(d, &m.entry));
    close_device(d);
}

/* With --sync each command is waited for, so that an error of the GPU names
 * its kernel. */
static void waits_for_each(void **state)
{
    (void)state;
    Made m;
    begin(&m);
    bump(&m, 0);
    const DeviceOptions o = {.sync = true};
    TitanDevice *d = open_asked(&m, &o);
    ok(device_prepare(d, &m.entry));
    expect_log(d, "");
    fake_device()->fails = "cuStreamSynchronize";
    fake_device()->fails_with = 700;
    assert_int_equal(device_run(d, &m.entry), TITAN_UNAVAILABLE);
    assert_string_equal(story.line[1], "while running bump (m.tt:1)");
    fake_device()->fails = NULL;
    ok(d->class->profile(d, &m.entry));
    close_device(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(says_what_is_missing, reset),
        cmocka_unit_test_setup(names_the_call, reset),
        cmocka_unit_test_setup(every_call_fails_once, reset),
        cmocka_unit_test_setup(names_the_kernel, reset),
        cmocka_unit_test_setup(waits_for_each, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
