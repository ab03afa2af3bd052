/* links: titan_runtime */
/*
 * Memory that is not there: whichever allocation fails, the tokenizer says so,
 * and nothing is lost.
 */
#include "runtime/text/tokenizer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#if !defined(__SANITIZE_ADDRESS__)

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void __libc_free(void *p);

static long left = -1; /* allocations until one fails; below 0: none does */
static long live;      /* since `left` was set */

static bool fails(void)
{
    if (left < 0) return false;
    return left-- == 0;
}

void *malloc(size_t n)
{
    void *p = fails() ? NULL : __libc_malloc(n);
    live += p != NULL;
    return p;
}

void *calloc(size_t n, size_t size)
{
    void *p = fails() ? NULL : __libc_calloc(n, size);
    live += p != NULL;
    return p;
}

void *realloc(void *old, size_t n)
{
    void *p = fails() ? NULL : __libc_realloc(old, n);
    live += p != NULL && old == NULL;
    return p;
}

void free(void *p)
{
    live -= p != NULL;
    __libc_free(p);
}

static const char bytes[] =
    "{\"added_tokens\":[{\"id\":4,\"content\":\"\xef\xac\x81<s>\","
    "\"normalized\":true,\"special\":true}],\"normalizer\":{\"type\":"
    "\"Sequence\",\"normalizers\":[{\"type\":\"NFKC\"},{\"type\":\"Replace\","
    "\"pattern\":{\"Regex\":\"a{3}\"},\"content\":\"b\"}]},\"pre_tokenizer\":{"
    "\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Metaspace\","
    "\"replacement\":\"_\",\"prepend_scheme\":\"always\",\"split\":true},"
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":true}]},\"post_processor\":{"
    "\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":"
    "\"B\"}},{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":{\"B\":{\"id\":"
    "\"B\",\"ids\":[4]}}},\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{"
    "\"type\":\"BPE\",\"unk_token\":\"a\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,"
    "\"_\":3},\"merges\":[\"a b\"]}}";
static const char config[] = "{\"bos_token\":\"<new>\",\"eos_token\":\"ab\"}";
static const char words[] =
    "{\"normalizer\":{\"type\":\"Prepend\",\"prepend\":\"_\"},\"decoder\":{"
    "\"type\":\"Replace\",\"pattern\":{\"String\":\"_\"},\"content\":\" \"},"
    "\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"vocab\":{\"a\":0,"
    "\"b\":1,\"ab\":2,\"_\":3,\"<0xC3>\":4},\"merges\":[[\"a\",\"b\"]]}}";
static const char text[] =
    "ab a\xcc\x81\xcc\xa7 \xef\xac\x81<s> aaab \xe2\x84\xa6 "
    "ababababababababababababababababababababababababababababababababababababab"
    "a"
    "bababababababababababababababababababababababab";

static TitanStatus there_and_back(TitanStory *s, const Tokenizer *t)
{
    TokenScratch *scratch = token_scratch_new();
    TokenIds ids = {0};
    TokenText back = {0};
    TitanStatus st = TITAN_UNAVAILABLE;
    if (scratch)
        st = tokenizer_encode(s, t, scratch, text, strlen(text),
                              TOKEN_BOS | TOKEN_EOS, &ids);
    if (st == TITAN_OK) st = tokenizer_decode(s, t, ids.at, ids.n, true, &back);
    token_scratch_free(scratch);
    token_ids_release(&ids);
    token_text_release(&back);
    return st;
}

static TitanStatus all_of_it(const char *json, const char *more)
{
    TitanStory story = {0};
    Tokenizer *t;
    TitanStatus st = tokenizer_parse(&story, json, strlen(json), more,
                                     more ? strlen(more) : 0, &t);
    if (st == TITAN_OK) {
        st = there_and_back(&story, t);
        tokenizer_free(t);
    }
    return st;
}

static void check(const char *json, const char *more)
{
    TitanStatus st = TITAN_UNAVAILABLE;
    long n = 0;
    for (; st != TITAN_OK && n < 10000; n++) {
        left = n;
        live = 0;
        st = all_of_it(json, more);
        left = -1;
        long lost = live;
        assert_int_equal(lost, 0);
        if (st != TITAN_OK) assert_int_equal(st, TITAN_UNAVAILABLE);
    }
    assert_int_equal(st, TITAN_OK);
    assert_true(n > 20);
}

static void bytes_without_memory(void **s)
{
    (void)s;
    check(bytes, config);
}

static void words_without_memory(void **s)
{
    (void)s;
    check(words, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_without_memory),
        cmocka_unit_test(words_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else /* the sanitizer has an allocator of its own */

int main(void)
{
    return 0;
}

#endif
