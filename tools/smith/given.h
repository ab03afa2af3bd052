/*
 * given.h: programs with inputs and expected results, as files, for a machine
 * that has no compiler.
 *
 * A folder has of each program its step, N.ptx (of the host: N.so, with the
 * symbols of an object), and N.txt, a list of records, one word and its numbers
 * a line:
 *
 *     draw PLACE HOW STATE    a value before the step, whose elements are drawn
 *     hold PLACE NUMBER ...   ... or those
 *     want PLACE ROOM STEP EACH NUMBER ...  a value behind it: each element is
 *         within ROOM of its number, or, where that is -1, has its bits; there
 *         are those of elements 0, EACH, 2 EACH ..
 *
 * Numbers of a float are times STEP, or, where that is 0, as C prints them with
 * %a.  A PLACE is
 *
 *     BASE OFFSET DTYPE PIECE PITCH NAXES  SIZE STRIDE ...
 *
 * base and dtype by number, the offset in bytes; pieces as of a TitanSlot;
 * sizes and strides, in elements, outermost axis first.
 */
#ifndef TITAN_SMITH_GIVEN_H
#define TITAN_SMITH_GIVEN_H

#include "../../ir/ir.h"
#include "../../runtime/titan.h"

enum { MOST_GIVEN_AXES = 16, GIVEN_BITS = -1 };

typedef struct GivenPlace {
    uint32_t base, dtype, naxes;
    uint64_t offset;
    TitanSlot slot; /* its pieces */
    int64_t size[MOST_GIVEN_AXES], stride[MOST_GIVEN_AXES];
} GivenPlace;

static inline int64_t given_elements(const GivenPlace *p)
{
    int64_t n = 1;
    for (uint32_t i = 0; i < p->naxes; i++)
        n *= p->size[i];
    return n;
}

/* How many elements element K is behind the first. */
static inline int64_t given_place(const GivenPlace *p, int64_t k)
{
    int64_t before = 0;
    for (uint32_t i = p->naxes; i-- > 0; k /= p->size[i])
        before += k % p->size[i] * p->stride[i];
    return titan_slot_place(&p->slot, before);
}

/* How a value is drawn: about normal, a quarter of that, as weights are, or not
 * negative. */
typedef enum GivenHow { GIVEN_plain, GIVEN_weight, GIVEN_positive } GivenHow;

static inline uint64_t given_bits(uint64_t state, uint64_t k)
{
    uint64_t x = state + k * UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* Element K, the same on every machine: no function of a library has a part in
 * it.  Booleans are drawn too; integers are held. */
static inline Cell given_cell(uint64_t state, int64_t k, GivenHow how, DType d)
{
    Cell c = {.i = 0};
    uint64_t bits = given_bits(state, (uint64_t)k);
    if (dtype_class(d) != DC_float) {
        c.i = (int64_t)(bits & 1);
        return c;
    }
    double sum = -4; /* and four numbers below two: variance 4/3 */
    for (int i = 0; i < 4; i++, bits >>= 16)
        sum += (double)(bits & 0xffff) * 0x1p-15;
    sum += (double)(given_bits(~state, (uint64_t)k) >> 40) * 0x1p-44;
    if (how == GIVEN_weight) sum *= 0.25;
    if (how == GIVEN_positive && sum < 0) sum = -sum;
    c.f = dtype_round(d, sum);
    return c;
}

#endif
