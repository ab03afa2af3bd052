/* sources: runtime/text/added.c runtime/text/bpe.c runtime/text/bytes.c
 * runtime/text/cuts.c runtime/text/decode.c runtime/text/encode.c
 * runtime/text/json.c runtime/text/match.c runtime/text/model.c
 * runtime/text/normal.c runtime/text/parts.c runtime/text/plain.c
 * runtime/text/regex.c runtime/text/scan.c runtime/text/split.c
 * runtime/text/tokenizer.c runtime/text/unicode.c runtime/text/vocab.c
 * runtime/text/vocabulary.c runtime/status.c */
/* links: -lutf8proc -lpcre2-8 -lz */
/* goal: 2000000 */
/*
 * Texts through the golden tokenizers: what the byte-level ones have encoded
 * comes back, whatever bytes it was.
 */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "runtime/text/tokenizer.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size);

/* The first ones give back any bytes; the others change their texts. */
enum { EXACT = 4, ALL = 9 };
static const char *const names[ALL] = {"llama3", "deepseek",  "o200k",
                                       "other",  "gpt2",      "qwen",
                                       "llama2", "metaspace", "words"};
static Tokenizer *tokenizers[ALL];
static TokenScratch *scratch[ALL]; /* each keeps its words */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    static char json[1 << 17];
    for (unsigned i = 0; i < ALL; i++) {
        scratch[i] = token_scratch_new();
        TitanStory story = {0};
        char path[80] = "tests/golden/tokens/";
        strcat(strcat(path, names[i]), ".json.gz");
        gzFile in = gzopen(path, "rb");
        int n = in ? gzread(in, json, sizeof json) : 0;
        if (in) gzclose(in);
        if (n <= 0 || tokenizer_parse(&story, json, (size_t)n, NULL, 0,
                                      &tokenizers[i]) != TITAN_OK)
            abort();
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size)
{
    for (unsigned i = 0; i < ALL; i++) {
        TitanStory story = {0};
        TokenIds ids = {0};
        TokenText back = {0};
        TitanStatus st = tokenizer_encode(&story, tokenizers[i], scratch[i],
                                          (const char *)at, size, 0, &ids);
        if (i < EXACT && st != TITAN_OK) abort();
        if (st == TITAN_OK)
            st = tokenizer_decode(&story, tokenizers[i], ids.at, ids.n, true,
                                  &back);
        if (i < EXACT && (st != TITAN_OK || back.n != size ||
                          (size && memcmp(back.at, at, size) != 0)))
            abort();
        token_ids_release(&ids);
        token_text_release(&back);
    }
    return 0;
}
