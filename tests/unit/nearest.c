/*
 * nearest.c: which word was meant.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "ir/base/base.h"

static const char *meant(const char *word)
{
    static const char *const known[] = {
        "attention", "swiglu", "wq", "wk", "mlp", "embedding_of_positions"};
    Nearest n = nearest_to(word);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        nearest_try(&n, known[i]);
    return n.best;
}

static void test_near(void **state)
{
    (void)state;
    assert_string_equal(meant("atention"), "attention");
    assert_string_equal(meant("attentino"), "attention");
    assert_string_equal(meant("swiglue"), "swiglu");
    assert_string_equal(meant("embeding_of_postions"),
                        "embedding_of_positions");
    /* of equally near words the first */
    assert_string_equal(meant("wx"), "wq");
}

static void test_far(void **state)
{
    (void)state;
    assert_null(meant("convolution"));
    assert_null(meant("m"));
    assert_null(meant(""));
    /* longer than any name worth comparing */
    assert_null(
        meant("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
              "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_near),
        cmocka_unit_test(test_far),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
