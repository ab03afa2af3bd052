/*
 * base.c: arenas, strings, maps, vectors, buffers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "ir/base/base.h"

/* Memory is zeroed and aligned, also after a pop gave it back. */
static void test_arena(void **state)
{
    (void)state;
    Arena a;
    arena_init(&a, "test");
    char *first = NEW_ARRAY(&a, char, 3);
    ArenaMark mark = arena_mark(&a);
    for (int i = 0; i < 1000; i++) {
        unsigned char *p = arena_alloc(&a, 100);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (int k = 0; k < 100; k++)
            assert_int_equal(p[k], 0);
        memset(p, 0xff, 100);
    }
    memcpy(first, "ab", 3);
    arena_pop(&a, mark);
    assert_string_equal(first, "ab");
    assert_int_equal(*(char *)arena_alloc(&a, 100), 0);
    assert_string_equal(arena_printf(&a, "%d-%s", 7, "x"), "7-x");
    arena_release(&a);
}

/* Equal text has an equal handle; handles count from the empty string. */
static void test_str(void **state)
{
    (void)state;
    Arena a;
    StrTable t;
    arena_init(&a, "test");
    str_init(&t, &a);
    assert_int_equal(str_intern(&t, "").id, 0);
    Str x = str_intern(&t, "batch");
    for (int i = 0; i < 5000; i++) {
        Str s = str_printf(&t, "name.%d", i);
        assert_int_equal(s.id, x.id + 1 + (uint32_t)i);
    }
    assert_true(str_eq(x, str_intern_n(&t, "batches", 5)));
    assert_string_equal(str_text(&t, str_intern(&t, "name.4321")), "name.4321");
    arena_release(&a);
}

/* Entries of one key keep their order while the table grows. */
static void test_map(void **state)
{
    (void)state;
    Arena a;
    Map m;
    MapIter it;
    uint32_t v;
    arena_init(&a, "test");
    map_init(&m, &a);
    for (uint32_t i = 0; i < 3000; i++)
        map_add(&m, i % 1000, i);
    for (uint32_t key = 0; key < 1000; key++) {
        assert_true(map_first(&m, key, &it, &v));
        assert_int_equal(v, key);
        assert_true(map_next(&m, &it, &v));
        assert_int_equal(v, key + 1000);
        assert_true(map_next(&m, &it, &v));
        assert_int_equal(v, key + 2000);
        assert_false(map_next(&m, &it, &v));
    }
    assert_false(map_find(&m, 1000, &v));
    map_set(&m, 5, 77);
    assert_true(map_find(&m, 5, &v));
    assert_int_equal(v, 77);
    arena_release(&a);
}

static void test_vec(void **state)
{
    (void)state;
    Arena a;
    VEC(int) v = {0};
    arena_init(&a, "test");
    for (int i = 0; i < 100; i++)
        vec_push(&a, &v, i);
    assert_int_equal(v.n, 100);
    assert_int_equal(v.at[42], 42);
    assert_int_equal(vec_last(&v), 99);
    arena_release(&a);
}

static const char *json(Buf *b, const char *s)
{
    buf_clear(b);
    buf_json_str(b, s);
    return b->at;
}

static const char *number(Buf *b, double x)
{
    buf_clear(b);
    buf_double(b, x);
    return b->at;
}

/* What is no UTF-8 is replaced; numbers are the shortest that read back. */
static void test_buf(void **state)
{
    (void)state;
    Buf b = {0};
    assert_string_equal(json(&b, "a\"\n\x01"), "\"a\\\"\\n\\u0001\"");
    assert_string_equal(json(&b, "\xc3\xa9\xff"), "\"\xc3\xa9\\ufffd\"");
    assert_string_equal(json(&b, "\xe2\x82"), "\"\\ufffd\\ufffd\"");
    assert_string_equal(number(&b, 0.1), "0.1");
    assert_string_equal(number(&b, 1.0 / 3), "0.3333333333333333");
    assert_string_equal(number(&b, -0.0), "-0");
    buf_clear(&b);
    buf_puts(&b, "line\nab");
    buf_pad(&b, 4);
    assert_string_equal(b.at, "line\nab  ");
    buf_release(&b);
}

/* A device stays a device. */
static void test_write_device(void **state)
{
    (void)state;
    Arena a;
    size_t n;
    arena_init(&a, "test");
    assert_true(write_file("/dev/null", "text", 4, false));
    assert_non_null(read_file(&a, "/dev/null", &n));
    assert_int_equal(n, 0);
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arena), cmocka_unit_test(test_str),
        cmocka_unit_test(test_map),   cmocka_unit_test(test_vec),
        cmocka_unit_test(test_buf),   cmocka_unit_test(test_write_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
