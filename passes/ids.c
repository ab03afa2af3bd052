/*
 * running.c: how many come before (see running.h).
 *
 * A running sum takes its elements one after the other.  Of a long axis it is
 * the sum within a part and that of all parts before: twice the square root of
 * the steps.
 */
#include "running.h"

enum { LEAST = 32 };

/* The length of parts: that divides the axis and is nearest to its root from
 * below, or, where none is near, the root. */
static int64_t part_of(int64_t n)
{
    int64_t root = LEAST;
    while ((root + 1) * (root + 1) <= n)
        root++;
    for (int64_t part = root; part >= root / 2 && part >= LEAST; part--)
        if (n % part == 0) return part;
    return root;
}

Value running_count(Builder *b, Value ones, Axis axis, Axis parts)
{
    int64_t n = type_size(b->m, value_type(b->fn, ones), axis);
    int64_t part = part_of(n), more = (part - n % part) % part;
    if (n <= 2 * part) return emit_cumsum(b, ones, axis, false, true);
    if (more) ones = emit_pad(b, ones, axis, 0, more, 1);
    TypeAxis to[2] = {{.axis = parts, .size = (n + more) / part},
                      {.axis = axis, .size = part}};
    ones = emit_split(b, ones, axis, to, 2);
    Value here = emit_cumsum(b, ones, axis, false, true);
    Value all = emit_reduce(b, "sum", ones, &axis, 1, DT_i32, DT_i32);
    Value before = emit_cumsum(b, all, parts, false, true);
    Value sum = emit_binary(b, SC_add, here, before);
    sum = emit_merge(b, sum, (Axis[]){parts, axis}, 2, axis);
    return more ? emit_slice(b, sum, axis, 0, n, 1) : sum;
}
