/* sources: runtime/text/added.c runtime/text/bpe.c runtime/text/bytes.c
 * runtime/text/cuts.c runtime/text/decode.c runtime/text/encode.c
 * runtime/text/json.c runtime/text/match.c runtime/text/model.c
 * runtime/text/normal.c runtime/text/parts.c runtime/text/plain.c
 * runtime/text/regex.c runtime/text/scan.c runtime/text/split.c
 * runtime/text/tokenizer.c runtime/text/unicode.c runtime/text/vocab.c
 * runtime/text/vocabulary.c runtime/status.c */
/* links: -lutf8proc -lpcre2-8 */
/* goal: 2000000 */
/*
 * The reader of tokenizers, and what it takes: up to the first byte of 0 the
 * input is a tokenizer.json, up to the next one a tokenizer_config.json, and
 * the rest is a text.  What can be encoded can be decoded, in one go or as the
 * ids come.
 */
#include <stdlib.h>
#include <string.h>

#include "runtime/text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size);

static void decode_each(const Tokenizer *t, const TokenIds *ids,
                        const TokenText *whole)
{
    TitanStory story = {0};
    TokenText text = {0};
    TokenDecoder *d = token_decoder_new(t, true);
    TitanStatus st = TITAN_OK;
    for (size_t i = 0; i < ids->n && st == TITAN_OK; i++)
        st = token_decoder_add(&story, d, ids->at[i], &text);
    if (st == TITAN_OK) st = token_decoder_end(&story, d, &text);
    if (st == TITAN_OK &&
        (text.n != whole->n || (text.n && memcmp(text.at, whole->at, text.n))))
        abort();
    token_decoder_free(d);
    token_text_release(&text);
}

static void use(const Tokenizer *t, const char *text, size_t bytes)
{
    TitanStory story = {0};
    TokenScratch *scratch = token_scratch_new();
    TokenIds ids = {0};
    TokenText back = {0};
    TitanStatus st = tokenizer_encode(&story, t, scratch, text, bytes,
                                      TOKEN_BOS | TOKEN_EOS, &ids);
    for (size_t i = 0; i < ids.n; i++)
        if (ids.at[i] >= tokenizer_size(t)) abort();
    if (st == TITAN_OK)
        st = tokenizer_decode(&story, t, ids.at, ids.n, true, &back);
    if (st == TITAN_OK) decode_each(t, &ids, &back);
    token_text_release(&back);
    token_ids_release(&ids);
    token_scratch_free(scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size)
{
    TitanStory story = {0};
    Tokenizer *t;
    const char *json = (const char *)at, *end = json + size;
    const char *config = memchr(json, 0, size);
    size_t bytes = (size_t)((config ? config : end) - json);
    const char *text =
        config ? memchr(config + 1, 0, (size_t)(end - config - 1)) : NULL;
    size_t more = text ? (size_t)(text - config - 1) : 0;
    TitanStatus st = tokenizer_parse(&story, json, bytes,
                                     more ? config + 1 : NULL, more, &t);
    if (st != TITAN_OK) return 0;
    if (text) use(t, text + 1, (size_t)(end - text - 1));
    tokenizer_free(t);
    return 0;
}
