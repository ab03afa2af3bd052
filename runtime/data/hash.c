/*
 * hash.c: xxHash's functions by the names that Python gives them, and SHA-1
 * and SHA-256, which are one scheme (FIPS 180-4): blocks of 64 bytes, the last
 * of which ends with the length in bits.
 */
#include "hash.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static uint32_t left(uint32_t x, unsigned n)
{
    return x << n | x >> (32 - n);
}

static uint32_t right(uint32_t x, unsigned n)
{
    return left(x, 32 - n);
}

static void load_block(const unsigned char *p, uint32_t w[16])
{
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 |
               (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
}

static uint32_t sha1_round(const uint32_t h[5], int i)
{
    uint32_t b = h[1], c = h[2], d = h[3];
    if (i < 20) return ((b & c) | (~b & d)) + 0x5a827999;
    if (i < 40) return (b ^ c ^ d) + 0x6ed9eba1;
    if (i < 60) return ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
    return (b ^ c ^ d) + 0xca62c1d6;
}

static void sha1_block(uint32_t *state, const unsigned char *p)
{
    uint32_t w[80], h[5];
    load_block(p, w);
    for (int i = 16; i < 80; i++)
        w[i] = left(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    memcpy(h, state, sizeof h);
    for (int i = 0; i < 80; i++) {
        uint32_t t = left(h[0], 5) + sha1_round(h, i) + h[4] + w[i];
        h[4] = h[3];
        h[3] = h[2];
        h[2] = left(h[1], 30);
        h[1] = h[0];
        h[0] = t;
    }
    for (int i = 0; i < 5; i++)
        state[i] += h[i];
}

/* Fractions of the cube roots of the first 64 primes. */
static const uint32_t sha256_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
    0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
    0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
    0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
    0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
    0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
    0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static void sha256_block(uint32_t *state, const unsigned char *p)
{
    uint32_t w[64], h[8];
    load_block(p, w);
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (right(a, 7) ^ right(a, 18) ^ a >> 3) +
               (right(b, 17) ^ right(b, 19) ^ b >> 10);
    }
    memcpy(h, state, sizeof h);
    for (int i = 0; i < 64; i++) {
        uint32_t e = h[4], a = h[0];
        uint32_t t = h[7] + (right(e, 6) ^ right(e, 11) ^ right(e, 25)) +
                     ((e & h[5]) ^ (~e & h[6])) + sha256_k[i] + w[i];
        uint32_t u = (right(a, 2) ^ right(a, 13) ^ right(a, 22)) +
                     ((a & h[1]) ^ (a & h[2]) ^ (h[1] & h[2]));
        memmove(h + 1, h, 7 * sizeof *h);
        h[0] = t + u;
        h[4] += t;
    }
    for (int i = 0; i < 8; i++)
        state[i] += h[i];
}

typedef void ShaBlock(uint32_t *state, const unsigned char *p);

static void sha_print(const uint32_t *first, unsigned words, ShaBlock *block,
                      const unsigned char *at, size_t n, char *out)
{
    uint32_t state[8];
    unsigned char tail[128] = {0};
    size_t whole = n / 64 * 64, rest = n - whole;
    size_t tails = rest < 56 ? 64 : 128;
    memcpy(state, first, words * sizeof *state);
    for (size_t i = 0; i < whole; i += 64)
        block(state, at + i);
    if (rest) memcpy(tail, at + whole, rest);
    tail[rest] = 0x80;
    for (unsigned i = 0; i < 8; i++)
        tail[tails - 1 - i] = (unsigned char)((uint64_t)n * 8 >> 8 * i);
    for (size_t i = 0; i < tails; i += 64)
        block(state, tail + i);
    for (unsigned i = 0; i < words; i++)
        snprintf(out + (size_t)8 * i, 9, "%08x", state[i]);
}

static void sha1_print(const void *at, size_t n, char *out)
{
    static const uint32_t first[] = {0x67452301, 0xefcdab89, 0x98badcfe,
                                     0x10325476, 0xc3d2e1f0};
    sha_print(first, 5, sha1_block, at, n, out);
}

static void sha256_print(const void *at, size_t n, char *out)
{
    static const uint32_t first[] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372,
                                     0xa54ff53a, 0x510e527f, 0x9b05688c,
                                     0x1f83d9ab, 0x5be0cd19};
    sha_print(first, 8, sha256_block, at, n, out);
}

static void xxh32_print(const void *at, size_t n, char *out)
{
    snprintf(out, HASH_TEXT, "%08x", XXH32(at, n, 0));
}

static void xxh64_print(const void *at, size_t n, char *out)
{
    snprintf(out, HASH_TEXT, "%016llx", (unsigned long long)XXH64(at, n, 0));
}

static void xxh3_64_print(const void *at, size_t n, char *out)
{
    snprintf(out, HASH_TEXT, "%016llx", (unsigned long long)XXH3_64bits(at, n));
}

static void xxh3_128_print(const void *at, size_t n, char *out)
{
    XXH128_hash_t h = XXH3_128bits(at, n);
    snprintf(out, HASH_TEXT, "%016llx%016llx", (unsigned long long)h.high64,
             (unsigned long long)h.low64);
}

static const struct {
    const char *name;
    void (*print)(const void *at, size_t n, char *out);
} algorithms[] = {{"sha1", sha1_print},        {"sha256", sha256_print},
                  {"xxh32", xxh32_print},      {"xxh64", xxh64_print},
                  {"xxh3_64", xxh3_64_print},  {"xxh128", xxh3_128_print},
                  {"xxh3_128", xxh3_128_print}};

bool hash_of(const char *algorithm, const void *at, size_t n,
             char out[HASH_TEXT])
{
    for (unsigned i = 0; i < sizeof algorithms / sizeof *algorithms; i++)
        if (strcmp(algorithm, algorithms[i].name) == 0) {
            algorithms[i].print(at, n, out);
            return true;
        }
    return false;
}
