/*
 * encode.h: the tokens of pieces of a text.
 */
#ifndef TITAN_DATA_ENCODE_H
#define TITAN_DATA_ENCODE_H

#include "../text/tokenizer.h"
#include "documents.h"

/* Appends the tokens of a piece of text to OUT, which together are those of the
 * document; ENDS are wanted around that. */
TitanStatus piece_encode(TitanStory *s, const Tokenizer *t,
                         TokenScratch *scratch, const Piece *piece,
                         unsigned ends, TokenIds *out);

#endif
