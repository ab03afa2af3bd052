/*
 * digest.c: one state for the whole, one for the block that is open.
 */
#include "digest.h"

#define XXH_INLINE_ALL
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct DigestStream {
    XXH3_state_t *whole, *block;
    size_t open; /* bytes in the open block */
    Digest *blocks;
    uint64_t n, cap;
    bool failed;
};

static Digest canonical(XXH128_hash_t h)
{
    XXH128_canonical_t c;
    Digest d;
    XXH128_canonicalFromHash(&c, h);
    memcpy(d.at, c.digest, sizeof d.at);
    return d;
}

DigestStream *digest_new(void)
{
    DigestStream *d = calloc(1, sizeof *d);
    if (!d) return NULL;
    d->whole = XXH3_createState();
    d->block = XXH3_createState();
    if (!d->whole || !d->block) {
        digest_free(d);
        return NULL;
    }
    XXH3_128bits_reset(d->whole);
    XXH3_128bits_reset(d->block);
    return d;
}

void digest_free(DigestStream *d)
{
    if (!d) return;
    XXH3_freeState(d->whole);
    XXH3_freeState(d->block);
    free(d->blocks);
    free(d);
}

static void close_block(DigestStream *d)
{
    if (d->n == d->cap) {
        uint64_t cap = d->cap ? d->cap * 2 : 64;
        Digest *more = realloc(d->blocks, cap * sizeof *more);
        if (!more) {
            d->failed = true;
            return;
        }
        d->blocks = more;
        d->cap = cap;
    }
    d->blocks[d->n++] = canonical(XXH3_128bits_digest(d->block));
    XXH3_128bits_reset(d->block);
    d->open = 0;
}

void digest_add(DigestStream *d, const void *at, size_t n)
{
    const char *from = at;
    while (n > 0 && !d->failed) {
        size_t room = DIGEST_BLOCK - d->open, some = n < room ? n : room;
        XXH3_128bits_update(d->whole, from, some);
        XXH3_128bits_update(d->block, from, some);
        d->open += some;
        if (d->open == DIGEST_BLOCK) close_block(d);
        from += some;
        n -= some;
    }
}

bool digest_end(DigestStream *d, Digest *whole, Digest **blocks, uint64_t *n)
{
    if (d->open > 0) close_block(d);
    if (d->failed) return false;
    *whole = canonical(XXH3_128bits_digest(d->whole));
    *blocks = d->blocks;
    *n = d->n;
    d->blocks = NULL;
    return true;
}

Digest digest_of(const void *at, size_t n)
{
    return canonical(XXH3_128bits(at, n));
}

void digest_print(const Digest *d, char *to)
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < DIGEST_BYTES; i++) {
        to[2 * i] = digits[d->at[i] >> 4];
        to[2 * i + 1] = digits[d->at[i] & 15];
    }
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool digest_parse(const char *hex, Digest *out)
{
    for (int i = 0; i < DIGEST_BYTES; i++) {
        int high = hex_digit(hex[2 * i]);
        int low = high < 0 ? -1 : hex_digit(hex[2 * i + 1]);
        if (low < 0) return false;
        out->at[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}
