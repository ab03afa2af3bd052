/*
 * data.h: token files, mapped, as one sequence.
 */
#ifndef TITAN_DATA_H
#define TITAN_DATA_H

#include "titan.h"

typedef struct TokenFile {
    const char *path;
    const unsigned char *at; /* mapped */
    size_t bytes;
    unsigned width;   /* bytes of a token: 1 (text), 2, 4 */
    int64_t first, n; /* tokens before this file, tokens in it */
} TokenFile;

typedef struct Tokens {
    TokenFile *files;
    uint32_t nfiles;
    int64_t n;
} Tokens;

/* Maps the files: X.u16 and X.u32 are raw little-endian tokens, anything else
 * is text, one token a byte.  The sequence is not empty afterwards. */
TitanStatus tokens_open(TitanStory *s, const char *const *paths, uint32_t n,
                        Tokens *out);
void tokens_close(Tokens *t);

/* Copies n tokens from index `from` (modulo the length) to i32s.  A token
 * that is not below `bound` (0: any) is BAD_DATA, with its file and
 * position. */
TitanStatus tokens_read(TitanStory *s, const Tokens *t, int64_t from, int64_t n,
                        uint32_t bound, int32_t *out);

#endif
