/* dtype.c: rounding, storing and loading of every dtype, over all patterns,
 * against the definition of the formats: sign, exponent and digits read off
 * the bits, and rounding by search in the sorted list of values. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ir/ir.h"

typedef struct Spec {
    DType dtype;
    int exponent_bits, digits, bias;
    bool infinite;
} Spec;

static const Spec specs[] = {
    {DT_bf16, 8, 7, 127, true},
    {DT_f16, 5, 10, 15, true},
    {DT_e4m3, 4, 3, 7, false},
    {DT_e5m2, 5, 2, 15, true},
};
enum { NSPECS = sizeof specs / sizeof specs[0] };

static double power(int e)
{
    double x = 1;
    for (; e > 0; e--)
        x *= 2;
    for (; e < 0; e++)
        x /= 2;
    return x;
}

/* What a pattern means, by the definition of the format. */
static double meaning(const Spec *s, uint32_t bits)
{
    uint32_t digits = bits & ((1u << s->digits) - 1);
    uint32_t top = (1u << s->exponent_bits) - 1;
    uint32_t e = bits >> s->digits & top;
    double sign = bits >> (s->digits + s->exponent_bits) ? -1 : 1;
    if (s->infinite && e == top) return digits ? NAN : sign * INFINITY;
    if (!s->infinite && e == top && digits == (1u << s->digits) - 1) return NAN;
    double fraction = (double)digits / (double)(1u << s->digits);
    if (e == 0) return sign * fraction * power(1 - s->bias);
    return sign * (1 + fraction) * power((int)e - s->bias);
}

static uint32_t patterns(const Spec *s)
{
    return 1u << (1 + s->exponent_bits + s->digits);
}

static void test_load_every_pattern(void **state)
{
    (void)state;
    for (size_t k = 0; k < NSPECS; k++)
        for (uint32_t bits = 0; bits < patterns(&specs[k]); bits++) {
            uint8_t bytes[2] = {(uint8_t)bits, (uint8_t)(bits >> 8)};
            double x = dtype_load(specs[k].dtype, bytes).f;
            double y = meaning(&specs[k], bits);
            assert_true(isnan(x) ? isnan(y) : memcmp(&x, &y, 8) == 0);
        }
}

static void test_store_gives_the_pattern_back(void **state)
{
    (void)state;
    for (size_t k = 0; k < NSPECS; k++)
        for (uint32_t bits = 0; bits < patterns(&specs[k]); bits++) {
            Cell c = {.f = meaning(&specs[k], bits)};
            uint8_t bytes[2] = {0, 0};
            dtype_store(specs[k].dtype, c, bytes);
            uint32_t back = bytes[0] | (uint32_t)bytes[1] << 8;
            if (isnan(c.f))
                assert_true(isnan(meaning(&specs[k], back)));
            else
                assert_int_equal(back, bits);
        }
}

/* Patterns 0 .. top are the values from 0 to the largest finite one in
 * order; between neighbours the nearer one is meant, at the middle the even
 * pattern. */
static void test_round_between_neighbours(void **state)
{
    (void)state;
    for (size_t k = 0; k < NSPECS; k++) {
        const Spec *s = &specs[k];
        for (uint32_t bits = 0; isfinite(meaning(s, bits + 1)); bits++) {
            double low = meaning(s, bits), high = meaning(s, bits + 1);
            double middle = low / 2 + high / 2;
            double even = bits & 1 ? high : low;
            assert_true(dtype_round(s->dtype, low) == low);
            assert_true(dtype_round(s->dtype, middle) == even);
            assert_true(dtype_round(s->dtype, -middle) == -even);
            assert_true(dtype_round(s->dtype, nextafter(middle, 0)) == low);
            assert_true(dtype_round(s->dtype, nextafter(middle, 1e300)) ==
                        high);
        }
    }
}

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
        cmocka_unit_test(test_load_every_pattern),
        cmocka_unit_test(test_store_gives_the_pattern_back),
        cmocka_unit_test(test_round_between_neighbours),
        cmocka_unit_test(test_round_beyond_the_largest),
        cmocka_unit_test(test_f32_is_the_machine_conversion),
        cmocka_unit_test(test_integers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
