/* links: titan_runtime fake_cuda */
/*
 * A tensor is looked at where it lies: in every dtype, dense and by spans, with
 * infinities that are meant; a driver that does not take the kernel leaves it
 * to the host.  The driver is the tests' own, which does what the kernel's text
 * says; ptxas, where it is, takes the text.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/cuda_device.h"
#include "runtime/cuda_scan.h"
#include "runtime/narrow.h"
#include "tests/unit/assembled.h"
#include "tests/unit/fake/fake.h"

enum { F64, F32, BF16, F16, E4M3, E5M2, FLOATS };
enum { N = 1000, AT = 701, INSIDE = 899 };

typedef struct World {
    Cuda c;
    TitanStory story;
    Fake *fake;
    char bytes[N * 8];
} World;

static void open_world(World *w)
{
    *w = (World){0};
    fake_reset();
    w->fake = fake_device();
    w->c.story = &w->story;
    assert_int_equal(cu_open(&w->story, &w->c.cu), TITAN_OK);
    assert_int_equal(w->c.cu.cuStreamCreate(&w->c.stream, 0), 0);
    w->c.base[TITAN_BASE_frame] = (CuPtr)(uintptr_t)w->bytes;
}

static void close_world(World *w)
{
    cuda_scan_close(&w->c);
    w->c.cu.cuStreamDestroy(w->c.stream);
    cu_close(&w->c.cu);
}

static void fill(World *w, uint32_t dtype)
{
    unsigned bytes = titan_dtype_bytes(dtype);
    for (int k = 0; k < N; k++)
        narrow_store_one(dtype, k % 2 ? -k % 7 : k % 7, w->bytes + k * bytes);
}

static bool is_clean(World *w, const DeviceFloats *f)
{
    bool clean = true;
    assert_int_equal(cuda_scan(&w->c.device, TITAN_BASE_frame, 0, f, &clean),
                     TITAN_OK);
    return clean;
}

static void put(World *w, uint32_t dtype, double value)
{
    narrow_store_one(dtype, value, w->bytes + AT * titan_dtype_bytes(dtype));
}

static void every_dtype(void **state)
{
    (void)state;
    static World w;
    open_world(&w);
    for (uint32_t d = 0; d < FLOATS; d++) {
        TitanSpan all = {N, titan_dtype_bytes(d)};
        DeviceFloats f = {d, 0, &all, 1}, meant = f;
        meant.may = TITAN_MAY_minus;
        fill(&w, d);
        assert_true(is_clean(&w, &f));
        put(&w, d, NAN);
        assert_false(is_clean(&w, &f));
        assert_false(is_clean(&w, &meant));
        if (d == E4M3 || d == E5M2) continue; /* casts saturate */
        put(&w, d, -INFINITY);
        assert_false(is_clean(&w, &f));
        assert_true(is_clean(&w, &meant));
        put(&w, d, INFINITY);
        assert_false(is_clean(&w, &meant));
    }
    assert_int_not_equal(w.fake->scans, 0);
    close_world(&w);
}

/* Rows 0, 2, .. of 100 elements: AT is in none of them. */
static void spans(void **state)
{
    (void)state;
    static World w;
    open_world(&w);
    TitanSpan rows[] = {{N / 200, 200 * 4}, {100, 4}}, none[] = {{0, 4}};
    DeviceFloats f = {F32, 0, rows, 2}, one = {F32, 0, rows, 0};
    fill(&w, F32);
    put(&w, F32, NAN);
    assert_true(is_clean(&w, &f));
    narrow_store_one(F32, NAN, w.bytes + 4 * INSIDE);
    assert_false(is_clean(&w, &f));
    assert_true(is_clean(&w, &one));
    narrow_store_one(F32, NAN, w.bytes);
    assert_false(is_clean(&w, &one));
    assert_true(is_clean(&w, &(DeviceFloats){F32, 0, none, 1}));
    close_world(&w);
}

static void a_driver_without_a_compiler(void **state)
{
    (void)state;
    static World w;
    open_world(&w);
    w.fake->compiler = "none here";
    fill(&w, F32);
    TitanSpan all = {N, 4};
    assert_false(is_clean(&w, &(DeviceFloats){F32, 0, &all, 1}));
    assert_int_equal(w.fake->scans, 0);
    close_world(&w);
}

static void assembles(void **state)
{
    (void)state;
    assemble_text(cuda_scan_ptx());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_dtype),
        cmocka_unit_test(spans),
        cmocka_unit_test(a_driver_without_a_compiler),
        cmocka_unit_test(assembles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
