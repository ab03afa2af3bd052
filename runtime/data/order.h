/*
 * order.h: orders that are drawn.  An order is a function of its key alone, so
 * no generator has a state that would have to be kept.
 */
#ifndef TITAN_DATA_ORDER_H
#define TITAN_DATA_ORDER_H

#include <stdint.h>

/* What an order is of: the last two count, the first two tell streams and kinds
 * of orders apart. */
typedef struct OrderKey {
    uint64_t seed, stream, epoch, block;
} OrderKey;

/* For orders that are of a whole epoch. */
#define ORDER_FILES  UINT64_MAX
#define ORDER_BLOCKS (UINT64_MAX - 1)

/* A permutation of 0 .. n - 1, each as likely as any other. */
void order_draw(OrderKey key, uint32_t *order, uint32_t n);

#endif
