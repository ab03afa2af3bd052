/*
 * digest.h: XXH3-128 of a file as it goes by: of the whole and of each block of
 * 1 MiB, so that damage has a place.
 */
#ifndef TITAN_DIGEST_H
#define TITAN_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DIGEST_BLOCK = 1 << 20, DIGEST_BYTES = 16 };

typedef struct Digest {
    unsigned char at[DIGEST_BYTES];
} Digest;

typedef struct DigestStream DigestStream;

/* NULL: out of memory. */
DigestStream *digest_new(void);
void digest_add(DigestStream *d, const void *at, size_t n);
/* Of what was added; BLOCKS, for free(), has one for each begun block.  False:
 * memory ran out somewhere on the way. */
bool digest_end(DigestStream *d, Digest *whole, Digest **blocks, uint64_t *n);
void digest_free(DigestStream *d);

Digest digest_of(const void *at, size_t n);
/* 32 lower-case hex digits, without an end. */
void digest_print(const Digest *d, char *to);
bool digest_parse(const char *hex, Digest *out);

static inline uint64_t digest_blocks(uint64_t bytes)
{
    return bytes / DIGEST_BLOCK + (bytes % DIGEST_BLOCK != 0);
}

#endif
