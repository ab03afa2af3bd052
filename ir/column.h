/*
 * column.h: sums and maxima over rows in a group that goes along rows.
 *
 * Such a group may also give sums, or maxima, of what its rows have, column by
 * column: one for each so many neighbouring rows.  It says so by cutting an
 * axis of the rows, a part of which keeps the axis, and by a sum over the rest:
 *
 *     %t : f32[row:64, column]         = map ...
 *     %s : f32[row:8, turn:8, column]  = split %t axis row to (row, turn)
 *     %p : f32[row:8, column]          = reduce %s kind sum axes (turn)
 *
 * while another result has the whole axis.
 *
 * A product group may give tallies in the same form: sums, or maxima, of so
 * many neighbouring elements of its innermost axis, which behind it make
 * statistics of a row or of the whole.  All of a group are of as many.
 */
#ifndef TITAN_COLUMN_H
#define TITAN_COLUMN_H

typedef struct ColumnSum {
    Value of;      /* what is summed, with all axes of a row and its columns */
    Axis axis;     /* which is cut */
    int64_t turns; /* rows of a sum */
} ColumnSum;

/* Whether V, a value of the loop group, is such a sum. */
bool column_sum(const Module *m, const Fn *group, Value v, ColumnSum *out);
/* Whether V, a value of the product group, is a tally; `turns` are its
 * elements. */
bool product_tally(const Module *m, const Fn *group, Value v, ColumnSum *out);
/* Whether V is the cut operand of one of either. */
bool column_cut(const Module *m, const Fn *group, Value v);

/* Whether V, a value of the loop group, is one element of each row, which a
 * value of the row chooses: it is loaded before the last sweep over the row
 * stores anything (docs/architecture.md, G4). */
bool row_pick(const Module *m, const Fn *group, Value v);

#endif
