/*
 * hash.h: digests by which data sets say what is in their files.
 */
#ifndef TITAN_DATA_HASH_H
#define TITAN_DATA_HASH_H

#include <stdbool.h>
#include <stddef.h>

enum { HASH_TEXT = 65 };

/* The digest in hexadecimal; false where the algorithm is not known.  Known
 * are sha1, sha256, xxh32, xxh64, xxh3_64, xxh128 and xxh3_128. */
bool hash_of(const char *algorithm, const void *at, size_t n,
             char out[HASH_TEXT]);

#endif
