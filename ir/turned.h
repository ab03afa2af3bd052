/*
 * turned.h: results of a loop group under other names.
 *
 * A group of maps alone may give one value with its axes in several orders.
 * Memory has the axes in the order of the module, so what lies otherwise has
 * other names, and the group begins with those:
 *
 *     %a : bf16[row, column_1] = rename %x from (column) to (column_1)
 *     %b : bf16[column, row_1] = rename %x from (row) to (row_1)
 *     %p : e4m3[row, column_1] = map %a, %scale ...
 *     %q : e4m3[column, row_1] = map %b, %scale ...
 *
 * Axes of two results are the same where maps and names lead down to one axis
 * of one value.
 */
#ifndef TITAN_TURNED_H
#define TITAN_TURNED_H

/* Of a map or a rename: the first operand that has the axis, and what the axis
 * is called there.  False: another op, or nobody has it. */
bool axis_below(const Module *m, const Fn *fn, const Inst *in, Axis *axis,
                uint32_t *operand);

#endif
