/* sources: runtime/text/added.c runtime/text/bpe.c runtime/text/bytes.c
 * runtime/text/cuts.c runtime/text/decode.c runtime/text/encode.c
 * runtime/text/json.c runtime/text/match.c runtime/text/model.c
 * runtime/text/normal.c runtime/text/parts.c runtime/text/plain.c
 * runtime/text/regex.c runtime/text/scan.c runtime/text/split.c
 * runtime/text/tokenizer.c runtime/text/unicode.c runtime/text/vocab.c
 * runtime/text/vocabulary.c runtime/status.c */
/* links: -lutf8proc -lpcre2-8 */
/* goal: 1000000 */
/*
 * Tokenizers without a tokenizer.json: of what stands between bytes of 0 the
 * first is vocab.json or vocab.txt, the second merges.txt, the third
 * tokenizer_config.json.  What is taken encodes its own vocabulary.
 */
#include <string.h>

#include "runtime/text/tokenizer.h"
#include "tests/fuzz/folder.h"

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size);

enum { PARTS = 3 };

/* Removes what it gave the input before. */
static void put_part(const char *name, const uint8_t *at, size_t n)
{
    char path[FOLDER_PATH + 32];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (at)
        folder_write(path, at, n);
    else
        unlink(path);
}

static void use(const Tokenizer *t, const char *text, size_t n)
{
    TitanStory s = {0};
    TokenScratch *scratch = token_scratch_new();
    TokenIds ids = {0};
    tokenizer_encode(&s, t, scratch, text, n, TOKEN_BOS | TOKEN_EOS, &ids);
    for (size_t i = 0; i < ids.n; i++)
        if (ids.at[i] >= tokenizer_size(t)) abort();
    token_ids_release(&ids);
    token_scratch_free(scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size)
{
    if (size == 0) return 0;
    const char *names[PARTS] = {at[0] % 2 ? "vocab.json" : "vocab.txt",
                                "merges.txt", "tokenizer_config.json"};
    const uint8_t *p = at + 1, *end = at + size;
    TitanStory s = {0};
    Tokenizer *t;
    folder_make();
    for (unsigned i = 0; i < PARTS && p; i++) {
        const uint8_t *zero = memchr(p, 0, (size_t)(end - p));
        put_part(names[i], p, (size_t)((zero ? zero : end) - p));
        p = zero ? zero + 1 : NULL;
    }
    if (tokenizer_open(&s, folder, &t) == TITAN_OK) {
        use(t, (const char *)at, size);
        tokenizer_free(t);
    }
    for (unsigned i = 0; i < PARTS; i++)
        put_part(names[i], NULL, 0);
    return 0;
}
