/*
 * voice.h: between text and token ids.
 *
 * With a tokenizer, its ids; without one a token is a byte.  Bytes come out in
 * whole UTF-8 characters, so that a terminal can show them as they come.
 */
#ifndef TITAN_VOICE_H
#define TITAN_VOICE_H

#include "../text/tokenizer.h"

typedef struct Voice {
    TitanStory *story;
    Tokenizer *tokenizer; /* NULL: bytes */
    TokenScratch *scratch;
} Voice;

/* PATH: of the tokenizer, or NULL. */
TitanStatus voice_open(Voice *v, TitanStory *s, const char *path);
void voice_close(Voice *v);
/* -1: no token ends a text. */
int64_t voice_end(const Voice *v);
/* Appends the ids of a text. */
TitanStatus voice_encode(Voice *v, const char *text, size_t n, TokenIds *out);

/* Appends the text with U+FFFD in the place of what is not UTF-8. */
TitanStatus text_whole(TitanStory *s, const char *text, size_t n,
                       TokenText *out);

/* The text of ids, as they come. */
typedef struct Reader {
    Voice *voice;
    TokenDecoder *decoder; /* NULL: bytes */
    char held[4];          /* the begin of a character */
    size_t nheld;
} Reader;

TitanStatus reader_open(Reader *r, Voice *v);
void reader_close(Reader *r);
/* Appends to OUT what is certain with this id: whole characters. */
TitanStatus reader_add(Reader *r, uint32_t id, TokenText *out);
/* Appends what is left, and begins anew. */
TitanStatus reader_end(Reader *r, TokenText *out);

#endif
