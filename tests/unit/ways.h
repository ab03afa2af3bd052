/*
 * ways.h: one use or more of each op that whole tensors have.
 */
#ifndef TITAN_TESTS_WAYS_H
#define TITAN_TESTS_WAYS_H

#include "ir/ir.h"

typedef struct Single {
    Op op;
    const char *params, *result, *text;
} Single;

/* Sizes are small, and most of them divided by eight devices. */
#define AXES "axes (a = 8, b = 4, c = 8, k = 4, i = 4, j = 3, n = 2, one = 1)\n"

static const Single uses[] = {
    {OP_map, "%x : f32[a, b], %y : f32[a]", "f32[a, b]",
     "map %x, %y { _0 * _1 + sin(f32(index(b)) + 2 * f32(index(a))) }"},
    {OP_map, "%x : f32[a, b], %y : f32[b]", "f32[a, b]",
     "map %x, %y { 3 * _0 - _1 }"},
    {OP_map, "%x : f32[a], %y : f32[b]", "f32[a, b]", "map %x, %y { _0 * _1 }"},
    {OP_map, "%x : f32[a], %y : f32[a, b], %z : f32[b]", "f32[a, b]",
     "map %x, %y, %z { fma(_0, _2, _1) / 4 }"},
    {OP_map, "%x : f32[b], %y : bool[a]", "f32[a, b]",
     "map %x, %y { where(_1, _0, 0) }"},
    {OP_map, "%x : f32[a]", "f64[a]", "map %x { f64(_0) }"},
    {OP_map, "%x : i32[a]", "i32[a, b]", "map %x { _0 + index(b) * 0 }"},
    {OP_map, "", "f32[a, b]", "map { f32(index(a)) - f32(index(b)) }"},
    {OP_map, "", "f32[a, b]",
     "map { f32(random(i64(7), i64(index(a)), i64(index(b)))) }"},
    {OP_reduce, "%x : f32[a, b, c]", "f32[b]",
     "reduce %x kind sum axes (a, c)"},
    {OP_reduce, "%x : i32[a, b]", "i32[b]", "reduce %x kind sum axes (a)"},
    {OP_reduce, "%x : f32[a, b, c]", "f32[b]",
     "reduce %x kind max axes (a, c)"},
    {OP_reduce, "%x : i32[a, b]", "i32[b]", "reduce %x kind max axes (a)"},
    {OP_reduce, "%x : bool[a, b]", "bool[b]", "reduce %x kind max axes (a)"},
    {OP_reduce, "%x : f32[a, b]", "f32[b]", "reduce %x kind min axes (a)"},
    {OP_reduce, "%x : f32[a, b]", "f32[b]", "reduce %x kind prod axes (a)"},
    {OP_einsum, "%x : f32[a, b, k], %y : f32[b, c, k]", "f32[a, b, c]",
     "einsum %x, %y sum (k)"},
    {OP_einsum, "%x : f32[b, k, c], %y : f32[b, k, c]", "f32[b]",
     "einsum %x, %y sum (k, c)"},
    {OP_rename, "%x : f32[a, b, k]", "f32[c, i, k]",
     "rename %x from (a, b) to (c, i)"},
    {OP_split, "%x : f32[a, b]", "f32[b, i, n]", "split %x axis a to (i, n)"},
    {OP_merge, "%x : f32[b, i, n]", "f32[a, b]", "merge %x from (i, n) axis a"},
    {OP_slice, "%x : f32[a, b]", "f32[a, b:2]",
     "slice %x axis b start 1 step 2"},
    {OP_pick, "%x : f32[a, b]", "f32[a]", "pick %x axis b start 2"},
    {OP_pad, "%x : f32[a, b]", "f32[a, b:8]",
     "pad %x axis b low 1 high 0 step 2"},
    {OP_concat, "%x : f32[a, b], %y : f32[a, b:2]", "f32[a, b:6]",
     "concat %x, %y axis b"},
    {OP_stack, "%x : f32[a, b], %y : f32[a, b]", "f32[a, b, n]",
     "stack %x, %y axis n"},
    {OP_window, "%x : f32[a, b]", "f32[a, i, j]",
     "window %x axis b to (i, j) coef (1, 1) start -1"},
    {OP_fold, "%x : f32[a, i, j]", "f32[a, b]",
     "fold %x axis b to (i, j) coef (1, 1) start -1"},
    {OP_gather, "%x : f32[a, b], %ids : i32[c]", "f32[b, c]",
     "gather %x, %ids axis a"},
    {OP_gather, "%x : f32[a, b], %ids : i32[b, a]", "f32[a, b]",
     "gather %x, %ids axis a"},
    {OP_gather, "%x : i32[a, b], %ids : i32[b, c]", "i32[b, c]",
     "gather %x, %ids axis a"},
    {OP_scatter, "%ids : i32[b, c], %u : f32[b, c, k]", "f32[a, k]",
     "scatter %ids, %u axis a"},
    {OP_scatter, "%ids : i32[b, c], %u : f32[b]", "f32[a, c]",
     "scatter %ids, %u axis a"},
    {OP_put, "%x : f32[a, b], %ids : i32[c], %y : f32[b, c]", "f32[a, b]",
     "put %x, %ids, %y axis a"},
    {OP_cumsum, "%x : f32[a, b, c]", "f32[a, b, c]",
     "cumsum %x axis b reverse"},
    {OP_top, "%x : f32[a, b, c]", "i32[a, c, n]",
     "top %x axis b to (n) kind max"},
};
enum { NUSES = sizeof uses / sizeof *uses };

#endif
