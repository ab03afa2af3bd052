/*
 * order.c: Fisher and Yates, with numbers that are hashes of the key and a
 * counter (splitmix64).
 */
#include "order.h"

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* The part of 2^64 that is too little for one more turn of n is below 2^-32 of
 * it: the bias cannot be seen. */
static uint32_t below(uint64_t random, uint32_t n)
{
    return (uint32_t)((random >> 32) * n >> 32);
}

void order_draw(OrderKey key, uint32_t *order, uint32_t n)
{
    uint64_t base =
        mix(mix(mix(mix(key.seed) + key.stream) + key.epoch) + key.block);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t j = below(mix(base + i), i + 1);
        order[i] = order[j];
        order[j] = i;
    }
}
