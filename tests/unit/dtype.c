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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_beyond_the_largest),
        cmocka_unit_test(test_f32_is_the_machine_conversion),
        cmocka_unit_test(test_integers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
