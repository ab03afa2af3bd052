/* links: titan_runtime golden */
/*
 * The tokenizer gives the reference's tokens: tokenizers that the reference
 * has trained, and what it made of every code point and of texts, are in
 * tests/golden/tokens (tools/check-tokenizer says what is in the files).
 */
#include "runtime/text/tokenizer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

#include "runtime/text/unicode.h"

enum { BLOCK = 1024, GROUP = 16 };
#if defined(__SANITIZE_ADDRESS__)
enum { EACH = 16 }; /* block is looked at */
#else
enum { EACH = 1 };
#endif

/* -------------------------------------------------------------- fixtures -- */

static char *unpack(const char *name, size_t *bytes)
{
    char path[600];
    snprintf(path, sizeof path, "%s/tokens/%s.gz", TITAN_GOLDEN, name);
    gzFile in = gzopen(path, "rb");
    assert_non_null(in);
    size_t cap = 1 << 20;
    char *text = malloc(cap + 1);
    int n = gzread(in, text, (unsigned)cap);
    assert_true(n > 0 && (size_t)n < cap);
    gzclose(in);
    text[n] = 0;
    *bytes = (size_t)n;
    return text;
}

typedef struct Fixture {
    TitanStory story;
    Tokenizer *t;
    TokenScratch *scratch;
    TokenIds ids;
    TokenText text;
} Fixture;

static void open_text(Fixture *f, const char *json, const char *config)
{
    *f = (Fixture){0};
    TitanStatus st = tokenizer_parse(&f->story, json, strlen(json), config,
                                     config ? strlen(config) : 0, &f->t);
    if (st != TITAN_OK) titan_story_print(&f->story, "tokenizer");
    assert_int_equal(st, TITAN_OK);
    f->scratch = token_scratch_new();
}

static void open_golden(Fixture *f, const char *name)
{
    char file[60];
    size_t bytes;
    snprintf(file, sizeof file, "%s.json", name);
    char *json = unpack(file, &bytes);
    open_text(f, json, NULL);
    free(json);
}

static void drop(Fixture *f)
{
    tokenizer_free(f->t);
    token_scratch_free(f->scratch);
    token_ids_release(&f->ids);
    token_text_release(&f->text);
}

static void encode(Fixture *f, const char *text, size_t n, unsigned ends)
{
    TitanStatus st =
        tokenizer_encode(&f->story, f->t, f->scratch, text, n, ends, &f->ids);
    if (st != TITAN_OK) titan_story_print(&f->story, "tokenizer");
    assert_int_equal(st, TITAN_OK);
}

static void decode(Fixture *f)
{
    f->text.n = 0;
    assert_int_equal(
        tokenizer_decode(&f->story, f->t, f->ids.at, f->ids.n, true, &f->text),
        TITAN_OK);
}

/* --------------------------------------------------------------- goldens -- */

static uint32_t point(uint32_t i)
{
    return i < 0xd800 ? i : i + 0x800;
}
enum { POINTS = 0x110000 - 0x800 };

/* One code point between others, as tools/check-tokenizer has it. */
static size_t put_between(char *to, uint32_t code)
{
    static const char form[] = "a@b1@2 @ @x'@B's\n@\n";
    size_t n = 0;
    for (const char *p = form; *p; p++)
        if (*p == '@')
            n += utf8_write(code, to + n);
        else
            to[n++] = *p;
    return n;
}

/* The checksum of the documents of a block; of each document's ids and an
 * end. */
static uint32_t block_sum(Fixture *f, uint32_t first, uint32_t step,
                          bool between)
{
    char doc[GROUP * 60];
    uint32_t end = UINT32_MAX;
    f->ids.n = 0;
    uLong sum = crc32(0, NULL, 0);
    unsigned group = between ? GROUP : 1;
    for (uint32_t i = 0; i < BLOCK && (first + i) * step < POINTS;) {
        size_t n = 0;
        for (unsigned k = 0; k < group && i < BLOCK; k++, i++) {
            uint32_t at = (first + i) * step;
            if (at >= POINTS) break;
            n += between ? put_between(doc + n, point(at))
                         : utf8_write(point(at), doc + n);
        }
        f->ids.n = 0;
        encode(f, doc, n, TOKEN_TEMPLATE);
        sum = crc32(sum, (const Bytef *)f->ids.at,
                    (uInt)(f->ids.n * sizeof *f->ids.at));
        sum = crc32(sum, (const Bytef *)&end, sizeof end);
    }
    return (uint32_t)sum;
}

static void check_points(Fixture *f, char *line, uint32_t step, bool between)
{
    char *rest, *word = strtok_r(line, " ", &rest);
    assert_string_equal(word, between ? "between" : "alone");
    uint32_t first = 0;
    for (; (word = strtok_r(NULL, " ", &rest)); first += BLOCK) {
        if (first / BLOCK % EACH) continue;
        uint32_t expected = (uint32_t)strtoul(word, NULL, 16);
        if (block_sum(f, first, step, between) != expected)
            fail_msg("code points from U+%04X on, %s",
                     (unsigned)point(first * step), line);
    }
    assert_true(first * step >= POINTS);
}

static void check_text(Fixture *f, const char *text, size_t n, const char *line)
{
    f->ids.n = 0;
    encode(f, text, n, TOKEN_TEMPLATE);
    for (size_t i = 0; i < f->ids.n; i++) {
        char *end;
        unsigned long id = strtoul(line, &end, 10);
        if (end == line || id != f->ids.at[i])
            fail_msg("token %zu of \"%.30s\" is %u, not %lu", i, text,
                     (unsigned)f->ids.at[i], id);
        line = end;
    }
    assert_int_equal(*line, 0);
}

static void check_texts(Fixture *f, char *lines)
{
    size_t bytes;
    char *texts = unpack("texts.txt", &bytes), *at = texts, *rest = lines;
    for (char *end = texts + bytes; at <= end;) {
        char *stop = memchr(at, '\f', (size_t)(end - at));
        size_t n = (size_t)((stop ? stop : end) - at);
        char *line = strsep(&rest, "\n");
        assert_non_null(line);
        check_text(f, at, n, line);
        at += n + 1;
    }
    free(texts);
}

static void check_golden(const char *name)
{
    Fixture f;
    char file[60];
    size_t bytes;
    open_golden(&f, name);
    snprintf(file, sizeof file, "%s.golden", name);
    char *golden = unpack(file, &bytes), *rest = golden;
    uint32_t step = (uint32_t)atoi(strsep(&rest, "\n"));
    check_points(&f, strsep(&rest, "\n"), step, false);
    check_points(&f, strsep(&rest, "\n"), step, true);
    check_texts(&f, rest);
    free(golden);
    drop(&f);
}

#define GOLDENS(X) \
    X(gpt2)        \
    X(llama3)      \
    X(qwen)        \
    X(qwen35)      \
    X(deepseek)    \
    X(o200k)       \
    X(other)       \
    X(llama2)      \
    X(metaspace)   \
    X(words)
#define TEST(name)                      \
    static void golden_##name(void **s) \
    {                                   \
        (void)s;                        \
        check_golden(#name);            \
    }
GOLDENS(TEST)
#undef TEST

/* ----------------------------------------------------------- there, back -- */

static uint64_t draw(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Any bytes come back, whether they are UTF-8 or not. */
static void bytes_come_back(void **s)
{
    static const char *const names[] = {"llama3", "deepseek", "o200k", "other"};
    uint64_t state = 0x123456789abcdef;
    (void)s;
    for (unsigned k = 0; k < 4; k++) {
        Fixture f;
        open_golden(&f, names[k]);
        for (unsigned turn = 0; turn < 3000; turn++) {
            char text[200];
            size_t n = draw(&state) % sizeof text;
            for (size_t i = 0; i < n; i++) {
                uint64_t x = draw(&state);
                text[i] = (char)(x & 256 ? x : 32 + (x & 63));
            }
            f.ids.n = 0;
            encode(&f, text, n, 0);
            decode(&f);
            assert_int_equal(f.text.n, n);
            if (n) assert_memory_equal(f.text.at, text, n);
        }
        drop(&f);
    }
}

/* Texts come back from tokenizers that say blanks and bytes by tokens. */
static void spelled_texts_come_back(void **s)
{
    static const char text[] =
        "a b  c \xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x98\x80";
    Fixture f;
    (void)s;
    open_golden(&f, "llama2");
    encode(&f, text, strlen(text), 0);
    decode(&f);
    assert_int_equal(f.text.n, strlen(text));
    assert_memory_equal(f.text.at, text, f.text.n);
    drop(&f);
}

/* A decoder of ids as they come says what decoding all at once does, in pieces
 * that end with a whole character. */
static void pieces_are_whole_characters(void **s)
{
    static const char text[] = "na\xc3\xafve \xe2\x82\xac "
                               "\xf0\x9f\x98\x80\xf0\x9f\x87\xa9 \xe4\xbd\xa0";
    Fixture f;
    TokenText piece = {0}, all = {0};
    (void)s;
    open_golden(&f, "gpt2");
    encode(&f, text, strlen(text), 0);
    decode(&f);
    TokenDecoder *d = token_decoder_new(f.t, true);
    for (size_t i = 0; i < f.ids.n; i++) {
        piece.n = 0;
        assert_int_equal(token_decoder_add(&f.story, d, f.ids.at[i], &piece),
                         TITAN_OK);
        assert_int_equal(utf8_valid(piece.at ? piece.at : "", piece.n),
                         piece.n);
        for (size_t k = 0; k < piece.n; k++) {
            all.at = realloc(all.at, all.n + 1);
            all.at[all.n++] = piece.at[k];
        }
    }
    piece.n = 0;
    assert_int_equal(token_decoder_end(&f.story, d, &piece), TITAN_OK);
    assert_int_equal(piece.n, 0);
    assert_int_equal(all.n, f.text.n);
    assert_memory_equal(all.at, f.text.at, all.n);
    token_decoder_free(d);
    token_text_release(&piece);
    free(all.at);
    drop(&f);
}

/* What is left of a character at the end is given all the same. */
static void an_end_gives_what_is_held(void **s)
{
    Fixture f;
    TokenText out = {0};
    (void)s;
    open_golden(&f, "gpt2");
    encode(&f, " \xe2\x82", 3, 0);
    TokenDecoder *d = token_decoder_new(f.t, true);
    for (size_t i = 0; i < f.ids.n; i++)
        assert_int_equal(token_decoder_add(&f.story, d, f.ids.at[i], &out),
                         TITAN_OK);
    assert_int_equal(out.n, 1);
    assert_int_equal(token_decoder_end(&f.story, d, &out), TITAN_OK);
    assert_int_equal(out.n, 3);
    assert_memory_equal(out.at, " \xe2\x82", 3);
    token_decoder_free(d);
    token_text_release(&out);
    drop(&f);
}

/* Tokens do not depend on what a scratch was used for. */
static void a_used_scratch_is_a_new_one(void **s)
{
    static const char text[] = "it's 12345 words, one two three";
    Fixture a, b;
    (void)s;
    open_golden(&a, "o200k");
    open_golden(&b, "llama3");
    TokenScratch *own = b.scratch;
    encode(&a, text, strlen(text), 0);
    encode(&b, text, strlen(text), 0);
    size_t n = b.ids.n;
    b.scratch = a.scratch;
    encode(&b, text, strlen(text), 0);
    assert_int_equal(b.ids.n, 2 * n);
    assert_memory_equal(b.ids.at, b.ids.at + n, n * sizeof *b.ids.at);
    b.scratch = own;
    drop(&a);
    drop(&b);
}

/* ----------------------------------------------------------- BOS and EOS -- */

#define WORDS(post)                                                      \
    "{\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"?\",\"vocab\":{" \
    "\"?\":0,\"a\":1,\"<s>\":2,\"</s>\":3}},\"pre_tokenizer\":{"         \
    "\"type\":\"WhitespaceSplit\"}" post "}"

static void check_ids(Fixture *f, const char *text, unsigned ends,
                      const char *expected)
{
    char line[200] = "";
    f->ids.n = 0;
    encode(f, text, strlen(text), ends);
    for (size_t i = 0; i < f->ids.n; i++)
        snprintf(line + strlen(line), sizeof line - strlen(line), "%u ",
                 (unsigned)f->ids.at[i]);
    assert_string_equal(line, expected);
}

/* Tokens of the configuration are added, then looked up; ids that it states
 * are not trusted. */
static void ends_are_of_the_configuration(void **s)
{
    Fixture f;
    (void)s;
    open_text(&f, WORDS(""),
              "{\"bos_token\":{\"content\":\"<s>\"},\"eos_token\":\"<new>\","
              "\"add_bos_token\":true,"
              "\"added_tokens_decoder\":{\"77\":{\"content\":\"<new>\"}}}");
    assert_int_equal(tokenizer_bos(f.t), 2);
    assert_int_equal(tokenizer_eos(f.t), 4);
    assert_int_equal(tokenizer_size(f.t), 5);
    check_ids(&f, "a b<new>", 0, "1 0 4 ");
    check_ids(&f, "a", tokenizer_ends(f.t), "2 1 ");
    check_ids(&f, "a", TOKEN_BOS | TOKEN_EOS, "2 1 4 ");
    check_ids(&f, "", TOKEN_BOS | TOKEN_EOS, "2 4 ");
    drop(&f);
}

/* What a template puts is not put again; a piece has its own side of it. */
static void templates_come_before_ends(void **s)
{
    Fixture f;
    (void)s;
    open_text(&f,
              WORDS(",\"post_processor\":{\"type\":\"TemplateProcessing\","
                    "\"single\":[{\"SpecialToken\":{\"id\":\"B\"}},"
                    "{\"Sequence\":{\"id\":\"A\"}},"
                    "{\"SpecialToken\":{\"id\":\"B\"}}],\"special_tokens\":{"
                    "\"B\":{\"id\":\"B\",\"ids\":[2]}}}"),
              "{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\"}");
    check_ids(&f, "a", 0, "1 ");
    check_ids(&f, "a", TOKEN_TEMPLATE, "2 1 2 ");
    check_ids(&f, "a", TOKEN_BOS | TOKEN_EOS, "2 1 2 3 ");
    check_ids(&f, "a", TOKEN_BOS, "2 1 ");
    check_ids(&f, "a", TOKEN_EOS, "1 2 3 ");
    drop(&f);
}

/* Special tokens can be left out, and ids of no token are. */
static void special_tokens_can_be_left_out(void **s)
{
    static const uint32_t ids[] = {2, 1, 99, 3, 1};
    Fixture f;
    (void)s;
    open_text(&f, WORDS(""), "{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\"}");
    assert_int_equal(tokenizer_decode(&f.story, f.t, ids, 5, false, &f.text),
                     TITAN_OK);
    assert_int_equal(f.text.n, 3);
    assert_memory_equal(f.text.at, "a a", 3);
    f.text.n = 0;
    assert_int_equal(tokenizer_decode(&f.story, f.t, ids, 5, true, &f.text),
                     TITAN_OK);
    assert_memory_equal(f.text.at, "<s> a </s> a", 12);
    drop(&f);
}

/* A word that is longer than the cache and the short way of merging. */
static void long_words_merge_like_short_ones(void **s)
{
    Fixture f;
    char text[3000];
    (void)s;
    open_golden(&f, "llama3");
    for (size_t n = 1; n < sizeof text; n += 1 + n / 3) {
        memset(text, 'a', n);
        f.ids.n = 0;
        encode(&f, text, n, 0);
        decode(&f);
        assert_int_equal(f.text.n, n);
        assert_memory_equal(f.text.at, text, n);
    }
    drop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test(golden_##name),
        GOLDENS(TEST)
#undef TEST
            cmocka_unit_test(bytes_come_back),
        cmocka_unit_test(spelled_texts_come_back),
        cmocka_unit_test(pieces_are_whole_characters),
        cmocka_unit_test(an_end_gives_what_is_held),
        cmocka_unit_test(a_used_scratch_is_a_new_one),
        cmocka_unit_test(ends_are_of_the_configuration),
        cmocka_unit_test(templates_come_before_ends),
        cmocka_unit_test(special_tokens_can_be_left_out),
        cmocka_unit_test(long_words_merge_like_short_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
