/*
 * tokenizer.h: text to token ids and back, as a tokenizer.json says.
 *
 *     Tokenizer *t;
 *     TRY(tokenizer_open(s, "assets/tokenizer.json", &t));
 *     TokenScratch *scratch = token_scratch_new();       one a thread
 *     TokenIds ids = {0};
 *     st = tokenizer_encode(s, t, scratch, text, bytes, TOKEN_BOS | TOKEN_EOS,
 *                           &ids);
 *     ... ids.at[0 .. ids.n) ...
 *     token_ids_release(&ids);
 *     token_scratch_free(scratch);
 *     tokenizer_free(t);
 *
 * A Tokenizer does not change once it is open: threads share it.  What
 * encoding writes to is the caller's: scratch (buffers and a cache of words;
 * the result never depends on what is in it), ids and story.
 *
 * The unit is a document: pieces of a text encoded one by one are other tokens
 * than the whole.  Documents may be of any length.
 */
#ifndef TITAN_TOKENIZER_H
#define TITAN_TOKENIZER_H

#include "../titan.h"

typedef struct Tokenizer Tokenizer;
typedef struct TokenScratch TokenScratch;

/* PATH is a tokenizer.json or the directory it lies in, which may have
 * vocab.json or vocab.txt in its stead, with or without merges.txt; a
 * tokenizer_config.json beside it is read as well.  IO: no such file;
 * BAD_DATA: what is in it cannot be taken, with the reason. */
TitanStatus tokenizer_open(TitanStory *s, const char *path, Tokenizer **out);
/* The same of texts; CONFIG is NULL where there is none.  Neither has to
 * outlive the call. */
TitanStatus tokenizer_parse(TitanStory *s, const char *json, size_t bytes,
                            const char *config, size_t config_bytes,
                            Tokenizer **out);
void tokenizer_free(Tokenizer *t);

/* ------------------------------------------------------------ vocabulary -- */

/* One more than the greatest id. */
uint32_t tokenizer_size(const Tokenizer *t);
/* Ids of the tokens that begin and end a document; -1: none is known. */
int64_t tokenizer_bos(const Tokenizer *t);
int64_t tokenizer_eos(const Tokenizer *t);
/* The id of a token as it stands in the file; -1: there is none. */
int64_t tokenizer_find(const Tokenizer *t, const char *token, size_t bytes);

/* -------------------------------------------------------------- encoding -- */

/* Ids, which grow by realloc; {0} to begin with. */
typedef struct TokenIds {
    uint32_t *at;
    size_t n, cap;
} TokenIds;

void token_ids_release(TokenIds *ids);

/* What stands around the ids of a text.  Bits; 0: the text's own ids alone.
 * The pieces of a document that is encoded in pieces have what stands in front
 * with the first, and what stands behind with the last. */
typedef enum TokenEnds {
    /* What the file's post-processor puts in front of a text, and behind it. */
    TOKEN_FRONT = 1,
    TOKEN_BACK = 2,
    TOKEN_TEMPLATE = TOKEN_FRONT | TOKEN_BACK,
    /* The same, and BOS or EOS unless the post-processor puts it somewhere.
     * Where the tokenizer knows none, nothing. */
    TOKEN_BOS = 4 | TOKEN_FRONT,
    TOKEN_EOS = 8 | TOKEN_BACK
} TokenEnds;

/* What tokenizer_config.json asks for where a caller does not say. */
unsigned tokenizer_ends(const Tokenizer *t);

/* NULL: out of memory. */
TokenScratch *token_scratch_new(void);
void token_scratch_free(TokenScratch *scratch);

/* Appends the ids of a document.  Special tokens that are spelled out in the
 * text are found, as the reference library does.  A byte-level tokenizer takes
 * any bytes; another one refuses what is not UTF-8 (BAD_DATA, with the byte).
 * What was appended before an error stays. */
TitanStatus tokenizer_encode(TitanStory *s, const Tokenizer *t,
                             TokenScratch *scratch, const char *text,
                             size_t bytes, unsigned ends, TokenIds *out);

/* -------------------------------------------------------------- decoding -- */

/* Bytes, which grow by realloc; {0} to begin with; not NUL-terminated. */
typedef struct TokenText {
    char *at;
    size_t n, cap;
} TokenText;

void token_text_release(TokenText *text);

/* Appends the bytes of ids; special tokens are left out where SPECIAL is
 * false, and ids that no token has always. */
TitanStatus tokenizer_decode(TitanStory *s, const Tokenizer *t,
                             const uint32_t *ids, size_t n, bool special,
                             TokenText *out);

/* Decoding as the ids come.  The texts that it yields, one behind the other,
 * are what tokenizer_decode gives for all ids at once; each but the last ends
 * with a whole UTF-8 character, so that it can be printed. */
typedef struct TokenDecoder TokenDecoder;

/* NULL: out of memory.  T outlives it. */
TokenDecoder *token_decoder_new(const Tokenizer *t, bool special);
void token_decoder_free(TokenDecoder *d);
/* Appends to OUT what is certain with this id. */
TitanStatus token_decoder_add(TitanStory *s, TokenDecoder *d, uint32_t id,
                              TokenText *out);
/* Appends what is left, and begins anew. */
TitanStatus token_decoder_end(TitanStory *s, TokenDecoder *d, TokenText *out);

#endif
