/* links: titan_runtime */
/*
 * jsonl.c: a file of rows that is continued, and records that fit whole or not
 * at all.
 */
#include "runtime/jsonl.h"

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

static const char *put(const char *text)
{
    static const char path[] = "jsonl-test.jsonl";
    FILE *out = fopen(path, "w");
    fputs(text, out);
    fclose(out);
    return path;
}

static const char *get(const char *path, char *out, size_t size)
{
    FILE *in = fopen(path, "r");
    out[fread(out, 1, size - 1, in)] = 0;
    fclose(in);
    return out;
}

/* Jsonl behind the step go, and half a row at the end. */
static void test_continue(void **state)
{
    static const struct {
        const char *before, *after;
    } cases[] = {{"{\"step\":1}\n{\"step\":5}\n{\"step\":9}\n",
                  "{\"step\":1}\n{\"step\":5}\n{\"step\":6}\n"},
                 {"{\"step\":1}\n{\"step\":5", "{\"step\":1}\n{\"step\":6}\n"},
                 {"{\"step\":1}\n{\"st", "{\"step\":1}\n{\"step\":6}\n"},
                 {"{\"step\":7}\n", "{\"step\":6}\n"},
                 {"", "{\"step\":6}\n"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        TitanStory s = {0};
        Jsonl r = {0};
        char text[256];
        const char *path = put(cases[i].before);
        assert_int_equal(jsonl_continue(&s, &r, path, 5), TITAN_OK);
        jsonl_begin(&r);
        jsonl_whole(&r, "step", 6);
        assert_int_equal(jsonl_end(&s, &r), TITAN_OK);
        assert_int_equal(jsonl_close(&s, &r), TITAN_OK);
        assert_string_equal(get(path, text, sizeof text), cases[i].after);
        unlink(path);
    }
}

static void test_other_file(void **state)
{
    TitanStory s = {0};
    Jsonl r = {0};
    char text[256];
    (void)state;
    const char *path = put("{\"step\":1}\nimport os\n");
    assert_int_equal(jsonl_continue(&s, &r, path, 5), TITAN_BAD_DATA);
    assert_non_null(strstr(s.line[0], "line 2 of"));
    assert_string_equal(get(path, text, sizeof text),
                        "{\"step\":1}\nimport os\n");
    path = put("no row, and no end of a line");
    assert_int_equal(jsonl_continue(&s, &r, path, 5), TITAN_BAD_DATA);
    assert_string_equal(get(path, text, sizeof text),
                        "no row, and no end of a line");
    unlink(path);
}

static void test_text(void **state)
{
    TitanStory s = {0};
    Jsonl r = {0};
    char text[256];
    const double some[] = {0.1, NAN, -INFINITY};
    (void)state;
    const char *path = "jsonl-test.jsonl";
    assert_int_equal(jsonl_open(&s, &r, path, SINK_anew), TITAN_OK);
    jsonl_begin(&r);
    jsonl_numbers(&r, "a\"b\\\n", some, 3);
    jsonl_number(&r, "x", 1.0 / 3);
    jsonl_text(&r, "t", "tab\there");
    assert_int_equal(jsonl_end(&s, &r), TITAN_OK);
    assert_int_equal(jsonl_close(&s, &r), TITAN_OK);
    assert_string_equal(get(path, text, sizeof text),
                        "{\"a\\\"b\\\\\\u000a\":[0.10000000000000001,null,"
                        "null],\"x\":0.33333333333333331,\"t\":\"tab\\u0009"
                        "here\"}\n");
    unlink(path);
}

/* A limit on the size of files is a disk that gets full, at any byte. */
static void test_full(void **state)
{
    struct rlimit before, little;
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    for (rlim_t room = 11; room < 22; room++) {
        TitanStory s = {0};
        Jsonl r = {.sink = {.go_on = true}};
        char text[256];
        const char *path = put("");
        assert_int_equal(jsonl_open(&s, &r, path, SINK_anew), TITAN_OK);
        little = (struct rlimit){room, before.rlim_max};
        for (int64_t step = 1; step < 4; step++) {
            if (step == 2) setrlimit(RLIMIT_FSIZE, &little);
            if (step == 3) setrlimit(RLIMIT_FSIZE, &before);
            jsonl_begin(&r);
            jsonl_whole(&r, "step", step);
            assert_int_equal(jsonl_end(&s, &r), TITAN_OK);
        }
        assert_int_equal(jsonl_close(&s, &r), TITAN_OK);
        assert_string_equal(get(path, text, sizeof text),
                            "{\"step\":1}\n{\"step\":3}\n");
        unlink(path);
    }
    TitanStory s = {0};
    Jsonl r = {0};
    const char *path = put("");
    assert_int_equal(jsonl_open(&s, &r, path, SINK_anew), TITAN_OK);
    little = (struct rlimit){4, before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &little);
    jsonl_begin(&r);
    jsonl_whole(&r, "step", 1);
    assert_int_equal(jsonl_end(&s, &r), TITAN_IO);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(r.sink.length, 0);
    jsonl_close(&s, &r);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_continue), cmocka_unit_test(test_other_file),
        cmocka_unit_test(test_text), cmocka_unit_test(test_full)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
