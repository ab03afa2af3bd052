/*
 * both.h: a matrix of which blocks share numbers, in both orders.
 *
 * A loop group may make of one value, a matrix, what is scaled by the largest
 * elements of blocks of its columns and what is by those of blocks of its rows,
 * or of blocks of both, and give it in whichever order of axes:
 *
 *     %x : bf16[row, column]                a parameter, or maps of such
 *     %a : bf16[row, block, part]           = split .. of what is renamed
 *     %m : f32[row, block]                  = reduce .. kind max axes (part)
 *     %p : e4m3[row, block, part]           = map %a, %m ..
 *     %b : bf16[block_1, part_1, column]    = split ..
 *     %n : f32[block_1, column]             = reduce .. kind max axes (part_1)
 *     %q : e4m3[block_1, part_1, column]    = map %b, %n ..
 *
 * All that is behind the matrix is a map, a name, a split or merge of axes that
 * lie side by side, or a maximum over a part of its innermost columns or rows.
 * Behind maxima there are maps alone, which read numbers of the group, and no
 * index.
 */
#ifndef TITAN_BOTH_H
#define TITAN_BOTH_H

/* An axis of something behind the matrix: of all elements, counted row by row,
 * element n is at n / step % size of it. */
typedef struct Digit {
    Axis axis;
    int64_t step, size;
} Digit;

typedef struct Digits {
    uint32_t n;
    Digit *at;
    bool scaled; /* by a maximum, or one */
} Digits;

typedef struct BothOrders {
    Value of; /* the matrix: what all other forms of it are made of */
    int64_t rows, columns;
    bool apart;            /* maxima are over other axes: no row has all (G1) */
    int64_t each, beside;  /* rows, and columns, of a block */
    const Digits **digits; /* per value; NULL: it is not behind the matrix */
} BothOrders;

/* What of a function is, or may become, a group. */
typedef struct BothOf {
    const Fn *fn;
    const bool *inside;            /* per value */
    const bool *leaves;            /* who is inside and read outside */
    const int64_t *const *strides; /* per parameter, of its axes in order: rows
                                      lie outermost; NULL: as in types */
} BothOf;

/* Whether it is such a group, of blocks that tiles of BOTH_TILE rows and
 * columns hold whole.  The digits are in the arena. */
enum { BOTH_TILE = 128 };
bool both_find(const Module *m, const BothOf *o, Arena *a, BothOrders *out);
/* The same of a group function. */
bool both_of_group(const Module *m, const Fn *group,
                   const int64_t *const *strides, Arena *a, BothOrders *out);

#endif
