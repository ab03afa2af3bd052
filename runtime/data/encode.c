/*
 * encode.c: a piece within a document is no beginning of a text.
 *
 * Tokenizers may put a blank or a mark in front of a text, or take what stands
 * there for the beginning of a word.  So in front of a piece goes what a piece
 * before it ends with, a visible character and a line end, and the tokens of
 * these, which nothing behind a line end changes, are taken away again.
 */
#include "encode.h"

#include <stdlib.h>
#include <string.h>

static const char lead[] = "a\n";
enum { LEAD = sizeof lead - 1 };

static TitanStatus encode_behind(TitanStory *s, const Tokenizer *t,
                                 TokenScratch *scratch, const Piece *piece,
                                 unsigned ends, TokenIds *out)
{
    size_t before = out->n;
    char *text = malloc(LEAD + piece->bytes);
    if (!text) return titan_no_memory(s);
    memcpy(text, lead, LEAD);
    memcpy(text + LEAD, piece->at, piece->bytes);
    TitanStatus st = tokenizer_encode(s, t, scratch, lead, LEAD, 0, out);
    size_t more = out->n - before;
    out->n = before;
    if (st == TITAN_OK)
        st = tokenizer_encode(s, t, scratch, text, LEAD + piece->bytes, ends,
                              out);
    free(text);
    if (st != TITAN_OK || out->n - before < more) return st;
    memmove(out->at + before, out->at + before + more,
            (out->n - before - more) * sizeof *out->at);
    out->n -= more;
    return TITAN_OK;
}

TitanStatus piece_encode(TitanStory *s, const Tokenizer *t,
                         TokenScratch *scratch, const Piece *piece,
                         unsigned ends, TokenIds *out)
{
    if (!piece->first) ends &= ~(unsigned)TOKEN_BOS;
    if (!piece->last) ends &= ~(unsigned)TOKEN_EOS;
    if (!piece->first) return encode_behind(s, t, scratch, piece, ends, out);
    return tokenizer_encode(s, t, scratch, piece->at, piece->bytes, ends, out);
}
