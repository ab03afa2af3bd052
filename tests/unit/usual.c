/*
 * usual.c: the steps of the forms that a GPU takes for usual operands
 * (codegen/gpu_math.c, math.c) give what the host gives.
 *
 * They are the same steps in C.  That the hardware's approximations, set right
 * once, are the rounded inverses and roots is tried on a GPU, for every
 * mantissa (tests/gpu/operators.py).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

enum { MANTISSAS = 1 << 23, ONE = 0x3f800000 };

static float of_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static uint32_t bits_of(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static float moved(float f, int units)
{
    return of_bits(bits_of(f) + (uint32_t)units);
}

/* ------------------------------------------------------------- quotients */

static float inverse_of(float by, float near)
{
    return fmaf(fmaf(-by, near, 1), near, near);
}

static float quotient_of(float x, float by, float inverse)
{
    float first = x * inverse;
    return fmaf(fmaf(-by, first, x), inverse, first);
}

/* With the rounded inverse of any divisor the quotient is the rounded one; from
 * an approximation within a unit in the last place that inverse comes of nearly
 * every divisor. */
static void quotients_are_rounded(void **state)
{
    (void)state;
    enum { SOME = 2, ELSEWHERE = 40 };
    uint64_t random = 88172645463325252u;
    unsigned others = 0;
    for (uint32_t m = 0; m < MANTISSAS; m++) {
        float by = of_bits(ONE | m), rounded = (float)(1.0 / by);
        for (int units = -1; units <= 1; units++)
            others += inverse_of(by, moved(rounded, units)) != rounded;
        for (int i = 0; i < SOME; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            float x = of_bits(ONE | (uint32_t)(random >> 41));
            assert_true(quotient_of(x, by, rounded) == x / by);
        }
    }
    assert_true(others < ELSEWHERE);
}

/* ---------------------------------------------------------------- powers */

/* 2^n p in two steps, and by the exponent alone. */
static void powers_are_exact(void **state)
{
    (void)state;
    enum { MOST = 125, STEP = 4099 };
    for (int n = -MOST + 1; n < MOST; n++)
        for (uint32_t u = bits_of(0.7f); u < bits_of(1.42f); u += STEP) {
            int half = n >> 1;
            float twice = of_bits(u) * of_bits((uint32_t)(half + 127) << 23) *
                          of_bits((uint32_t)(n - half + 127) << 23);
            assert_int_equal(bits_of(twice), u + ((uint32_t)n << 23));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quotients_are_rounded),
        cmocka_unit_test(powers_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
