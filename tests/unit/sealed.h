/*
 * sealed.h: images that a test changed.
 */
#ifndef TITAN_TEST_SEALED_H
#define TITAN_TEST_SEALED_H

#include <string.h>
#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>

#include "runtime/abi.h"

/* The hash of what the image has now. */
static inline void seal(TitanHeader *h)
{
    XXH128_canonical_t c;
    memset(h->hash, 0, sizeof h->hash);
    XXH128_canonicalFromHash(&c, XXH3_128bits(h, h->size));
    memcpy(h->hash, c.digest, sizeof h->hash);
}

#endif
