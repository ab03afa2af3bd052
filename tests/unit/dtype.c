/* dtype.c: rounding beyond the largest numbers, f32 as the machine converts it,
 * and integers.  Every pattern and border of a float is in formats.c. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ir/ir.h"

static void test_round_beyond_the_largest(void **state)
{
    (void)state;
    assert_true(isinf(dtype_round(DT_bf16, 3.4e38 * 1.01)));
    assert_true(dtype_round(DT_f16, 65519.99) == 65504);
    assert_true(isinf(dtype_round(DT_f16, 65520)));
    assert_true(dtype_round(DT_e4m3, 1e9) == 448);
    assert_true(dtype_round(DT_e4m3, -INFINITY) == -448);
    assert_true(dtype_round(DT_e5m2, 60000) == 57344);
    assert_true(dtype_round(DT_e5m2, INFINITY) == 57344);
    assert_true(isnan(dtype_round(DT_e4m3, NAN)));
    assert_true(isnan(dtype_round(DT_e5m2, NAN)));
    assert_true(dtype_round(DT_e2m1, NAN) == 6);
    assert_true(dtype_round(DT_e8m0, -1) == 0x1p-127);
    assert_true(signbit(dtype_round(DT_bf16, -0.0)));
}

static void test_f32_is_the_machine_conversion(void **state)
{
    (void)state;
    const double xs[] = {1.0 / 3, 1e-45, 1e-46, 3.5e38, 16777217, -0.1};
    for (size_t i = 0; i < sizeof xs / sizeof xs[0]; i++) {
        float f = (float)xs[i], back;
        uint8_t bytes[4];
        assert_true(dtype_round(DT_f32, xs[i]) == (double)f);
        dtype_store(DT_f32, (Cell){.f = xs[i]}, bytes);
        memcpy(&back, bytes, 4);
        assert_true(back == f);
    }
}

static void test_integers(void **state)
{
    (void)state;
    uint8_t bytes[8];
    dtype_store(DT_i16, (Cell){.i = -2}, bytes);
    assert_int_equal(bytes[0], 0xfe);
    assert_int_equal(bytes[1], 0xff);
    assert_int_equal(dtype_load(DT_i16, bytes).i, -2);
    assert_int_equal(dtype_load(DT_u16, bytes).i, 0xfffe);
    dtype_store(DT_i64, (Cell){.i = INT64_MIN + 5}, bytes);
    assert_true(dtype_load(DT_i64, bytes).i == INT64_MIN + 5);
    dtype_store(DT_bool, (Cell){.i = 1}, bytes);
    assert_int_equal(dtype_load(DT_bool, bytes).i, 1);
}

/* Beside a tie by less than f64 can say. */
static void test_integers_are_rounded_once(void **state)
{
    (void)state;
    Cell over = {.i = (int64_t)UINT64_C(0xfffe008000000001)};
    Cell tie = {.i = (int64_t)UINT64_C(0xfffe008000000000)};
    Cell low = {.i = -(INT64_C(1) << 62) - (INT64_C(1) << 54) - 1};
    assert_true(dtype_cast(DT_f32, DT_u64, over).f == 0x1.fffc02p63);
    assert_true(dtype_cast(DT_f32, DT_u64, tie).f == 0x1.fffcp63);
    assert_true(dtype_cast(DT_bf16, DT_i64, low).f == -0x1.02p62);
    low.i++;
    assert_true(dtype_cast(DT_bf16, DT_i64, low).f == -0x1p62);
}

static void test_casts_to_integers(void **state)
{
    (void)state;
    Cell x = {.f = -128.9}, nan = {.f = NAN}, wide = {.i = -129};
    assert_int_equal(dtype_cast(DT_i8, DT_f32, x).i, -128);
    assert_int_equal(dtype_cast(DT_u8, DT_f32, x).i, 0);
    assert_int_equal(dtype_cast(DT_i32, DT_f32, nan).i, 0);
    assert_int_equal(dtype_cast(DT_bool, DT_f32, nan).i, 1);
    assert_int_equal(dtype_cast(DT_i8, DT_i32, wide).i, 127);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_beyond_the_largest),
        cmocka_unit_test(test_f32_is_the_machine_conversion),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_integers_are_rounded_once),
        cmocka_unit_test(test_casts_to_integers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
