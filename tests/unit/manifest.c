/* links: titan_runtime
 *
 * manifest.c: manifests whose digest holds and that are hostile all the same
 * are refused, each for its own reason.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/checkpoint/manifest.h"

#define HEX "00112233445566778899aabbccddeeff"
#define HEAD                                                                \
    "{\"format\": \"titan checkpoint\", \"version\": 1, \"kind\": \"full\"" \
    ", \"step\": 3, \"updates\": 3, \"tokens\": 9, \"seed\": 0, "           \
    "\"artifact\": \"" HEX "\", \"config\": {}, \"data\": null, "
#define FILE_OF(name, bytes, header, blocks, tensors)                    \
    "{\"name\": \"" name "\", \"bytes\": " bytes ", \"header\": " header \
    ", \"xxh3\": \"" HEX "\", \"blocks\": \"" blocks                     \
    "\", \"tensors\": " tensors "}"
#define WITH(files) HEAD "\"files\": [" files "]"
#define GOOD        FILE_OF("a.safetensors", "100", "20", HEX, "[[\"w\", 100]]")

/* The text with the digest that belongs to it. */
static TitanStatus parse(TitanStory *s, const char *text, Manifest *out)
{
    static const char key[] = ", \"digest\": \"";
    size_t n = strlen(text) + sizeof key - 1;
    char *whole = calloc(n + 64, 1);
    strcpy(whole, text);
    strcat(whole, key);
    Digest d = digest_of(whole, n);
    digest_print(&d, whole + n);
    strcat(whole, "\"}\n");
    TitanStatus st = manifest_parse(s, whole, strlen(whole), out);
    free(whole);
    return st;
}

static void good(void **state)
{
    (void)state;
    TitanStory s = {0};
    Manifest m;
    assert_int_equal(parse(&s, WITH(GOOD), &m), TITAN_OK);
    assert_int_equal(m.step, 3);
    assert_int_equal(m.n, 1);
    assert_string_equal(m.files[0].name, "a.safetensors");
    assert_string_equal(m.files[0].tensors[0].name, "w");
    assert_int_equal(m.files[0].blocks[0].at[15], 0xff);
    manifest_free(&m);
}

typedef struct Case {
    const char *text, *why;
} Case;

static const Case hostile[] = {
    {"{\"a\": 1, \"a\": 2", "duplicate object key"},
    {"[", "line 1"},
    {"{\"format\": \"zip\"", "the format is \"zip\""},
    {"{\"format\": 3", "\"format\" is no text"},
    {HEAD "\"files\": {}", "\"files\" is no list"},
    {HEAD "\"no\": 1", "\"files\" is no list"},
    {WITH(FILE_OF("../a", "100", "20", HEX, "[]")), "no plain file name"},
    {WITH(FILE_OF("/etc/passwd", "100", "20", HEX, "[]")),
     "no plain file name"},
    {WITH(FILE_OF(".hidden", "100", "20", HEX, "[]")), "no plain file name"},
    {WITH(FILE_OF("", "100", "20", HEX, "[]")), "no plain file name"},
    {WITH(FILE_OF("a\\u0000b", "100", "20", HEX, "[]")), "line 1"},
    {WITH(GOOD ", " GOOD), "the file \"a.safetensors\" twice"},
    {WITH(FILE_OF("a", "-1", "0", HEX, "[]")), "\"bytes\" is no whole number"},
    {WITH(FILE_OF("a", "1e2", "0", HEX, "[]")), "\"bytes\" is no whole number"},
    {WITH(FILE_OF("a", "99999999999999999999", "0", HEX, "[]")),
     "too big integer"},
    {WITH(FILE_OF("a", "9223372036854775807", "0", HEX, "[]")),
     "\"bytes\" is no whole number"},
    {WITH(FILE_OF("a", "1000000000000000", "0", HEX, "[]")), "hex digits"},
    {WITH(FILE_OF("a", "100", "101", HEX, "[]")), "\"header\" is no whole"},
    {WITH(FILE_OF("a", "100", "0", "", "[]")), "hex digits"},
    {WITH(FILE_OF("a", "100", "0", HEX HEX, "[]")), "hex digits"},
    {WITH(FILE_OF("a", "100", "0", "00112233445566778899AABBCCDDEEFF", "[]")),
     "hex digits"},
    {WITH(FILE_OF("a", "100", "20", HEX, "[[\"w\", 101]]")), "where it ends"},
    {WITH(FILE_OF("a", "100", "20", HEX, "[[\"w\", 19]]")), "where it ends"},
    {WITH(FILE_OF("a", "100", "20", HEX, "[[\"v\", 50], [\"w\", 40]]")),
     "where it ends"},
    {WITH(FILE_OF("a", "100", "20", HEX, "[[\"w\"]]")), "where it ends"},
    {WITH(FILE_OF("a", "100", "20", HEX, "[3]")), "where it ends"},
    {WITH(FILE_OF("a", "100", "20", HEX, "3")), "\"tensors\" is no list"},
    {WITH("3"), "\"name\" is no text"},
};

static void refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        TitanStory s = {0};
        Manifest m;
        assert_int_equal(parse(&s, hostile[i].text, &m), TITAN_BAD_DATA);
        if (!strstr(s.line[0], hostile[i].why))
            fail_msg("%s\n  is refused as: %s", hostile[i].text, s.line[0]);
    }
}

static void other_version(void **state)
{
    (void)state;
    TitanStory s = {0};
    Manifest m;
    assert_int_equal(
        parse(&s, "{\"format\": \"titan checkpoint\", \"version\": 2", &m),
        TITAN_MISMATCH);
}

/* Nested as deep as one likes: no stack runs out. */
static void deep(void **state)
{
    (void)state;
    enum { DEPTH = 1000000 };
    TitanStory s = {0};
    Manifest m;
    char *text = malloc(DEPTH + 16);
    strcpy(text, "{\"a\": ");
    memset(text + 6, '[', DEPTH);
    text[DEPTH + 6] = 0;
    assert_int_equal(parse(&s, text, &m), TITAN_BAD_DATA);
    free(text);
}

/* What is small as text and large as a tree is not made into one. */
static void wide(void **state)
{
    (void)state;
    enum { PARTS = 1 << 22 };
    TitanStory s = {0};
    Manifest m;
    char *text = malloc(3 * PARTS + 16),
         *at = text + sprintf(text, "{\"a\": [");
    for (size_t i = 0; i < PARTS; i++, at += 3)
        memcpy(at, "{},", 3);
    strcpy(at, "0]");
    assert_int_equal(parse(&s, text, &m), TITAN_BAD_DATA);
    assert_non_null(strstr(s.line[0], "more than 262144 objects"));
    free(text);
}

/* Any bit of a manifest. */
static void any_bit(void **state)
{
    (void)state;
    TitanStory s = {0};
    Manifest m;
    static const char key[] = ", \"digest\": \"";
    char whole[1024];
    strcpy(whole, WITH(GOOD));
    strcat(whole, key);
    size_t n = strlen(whole);
    Digest d = digest_of(whole, n);
    memset(whole + n, 0, sizeof whole - n);
    digest_print(&d, whole + n);
    strcat(whole, "\"}\n");
    n = strlen(whole);
    for (size_t i = 0; i < 8 * n; i++) {
        whole[i / 8] = (char)(whole[i / 8] ^ 1 << i % 8);
        assert_int_equal(manifest_parse(&s, whole, n, &m), TITAN_BAD_DATA);
        whole[i / 8] = (char)(whole[i / 8] ^ 1 << i % 8);
    }
    for (size_t i = 0; i < n; i++)
        assert_int_equal(manifest_parse(&s, whole, i, &m), TITAN_BAD_DATA);
    assert_int_equal(manifest_parse(&s, whole, n, &m), TITAN_OK);
    manifest_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good),          cmocka_unit_test(refused),
        cmocka_unit_test(other_version), cmocka_unit_test(deep),
        cmocka_unit_test(wide),          cmocka_unit_test(any_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
