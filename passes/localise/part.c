/*
 * part.c: where a device's part of a split axis lies in the whole.
 *
 * A block split gives the device with coordinate c the indices from c times the
 * size of a part on; several splits are one, in order, where parts are even,
 * and one after the other where the last part of one of them has pads.  A zig
 * split gives it the parts c and 2n - 1 - c of 2n.
 */
#include "localise.h"

Value local_coord(Local *l, const MeshAxis *over, uint32_t n)
{
    AttrList list = {.n = 0};
    attr_put_mesh(&list, AT_over, over, n);
    return emit(&l->b, OP_coord, type_scalar(l->m, DT_i32),
                attr_intern(l->m, &list), NULL, 0);
}

bool axis_is_even(const Module *m, const TypeAxis *a)
{
    return a->size % group_size(m, a->splits, a->nsplits) == 0;
}

Part part_of(Local *l, const TypeAxis *a, Value *args, uint32_t *n)
{
    Part p = {.axis = *a, .first = *n};
    p.even = a->spread == SPREAD_zig || axis_is_even(l->m, a);
    CHECK(p.even || a->nsplits <= PART_OPERANDS);
    if (p.even) {
        args[(*n)++] = local_coord(l, a->splits, a->nsplits);
        return p;
    }
    for (uint32_t i = 0; i < a->nsplits; i++)
        args[(*n)++] = local_coord(l, &a->splits[i], 1);
    return p;
}

/* --------------------------------------------------------- expressions -- */

/* Arithmetic in the dtype of X. */
static Expr number(Module *m, Expr x, int64_t i)
{
    return expr_int(m, expr_dtype(m, x), i);
}

static Expr op(Module *m, ScalarOp o, Expr x, Expr y)
{
    return expr_op(m, o, x, y, (Expr){0});
}

static Expr where(Module *m, Expr c, Expr x, Expr y)
{
    return expr_op(m, SC_where, c, x, y);
}

/* Coordinate K, times N. */
static Expr coords(Module *m, const Part *p, uint32_t k, Expr like, int64_t n)
{
    Expr c =
        expr_cast(m, expr_dtype(m, like), expr_arg(m, p->first + k, DT_i32));
    return op(m, SC_mul, c, number(m, like, n));
}

/* What each split cuts: sizes[k] by split k, and last what is left. */
static void level_sizes(const Module *m, const TypeAxis *a, int64_t *sizes)
{
    sizes[0] = a->size;
    for (uint32_t k = 0; k < a->nsplits; k++) {
        int64_t n = m->mesh.at[a->splits[k].id].size;
        sizes[k + 1] = (sizes[k] + n - 1) / n;
    }
}

/* (2n - 1 - c) times the size of a part. */
static Expr zig_second(Module *m, const Part *p, Expr like, int64_t part)
{
    int64_t n = group_size(m, p->axis.splits, p->axis.nsplits);
    return op(m, SC_sub, number(m, like, (2 * n - 1) * part),
              coords(m, p, 0, like, part));
}

static int64_t zig_part(const Module *m, const Part *p)
{
    return type_local_size(m, &p->axis) / 2;
}

static Expr zig_whole(Module *m, const Part *p, Expr i)
{
    int64_t part = zig_part(m, p);
    Expr first = op(m, SC_add, i, coords(m, p, 0, i, part));
    Expr second = op(m, SC_add, op(m, SC_sub, i, number(m, i, part)),
                     zig_second(m, p, i, part));
    return where(m, op(m, SC_lt, i, number(m, i, part)), first, second);
}

Expr part_whole(Module *m, const Part *p, Expr i)
{
    const TypeAxis *a = &p->axis;
    if (a->spread == SPREAD_zig) return zig_whole(m, p, i);
    if (p->even)
        return op(m, SC_add, i, coords(m, p, 0, i, type_local_size(m, a)));
    int64_t sizes[PART_OPERANDS + 1];
    level_sizes(m, a, sizes);
    for (uint32_t k = a->nsplits; k-- > 0;) {
        i = op(m, SC_add, i, coords(m, p, k, i, sizes[k + 1]));
        if (k > 0)
            i = where(m, op(m, SC_lt, i, number(m, i, sizes[k])), i,
                      number(m, i, a->size));
    }
    return i;
}

static Expr within(Module *m, Expr i, int64_t n)
{
    return op(m, SC_and, op(m, SC_le, number(m, i, 0), i),
              op(m, SC_lt, i, number(m, i, n)));
}

static Expr zig_local(Module *m, const Part *p, Expr i)
{
    int64_t part = zig_part(m, p);
    Expr first = op(m, SC_sub, i, coords(m, p, 0, i, part));
    Expr second = op(m, SC_sub, i, zig_second(m, p, i, part));
    Expr none = number(m, i, -1);
    second = where(m, within(m, second, part),
                   op(m, SC_add, second, number(m, i, part)), none);
    return where(m, within(m, first, part), first, second);
}

Expr part_local(Module *m, const Part *p, Expr i)
{
    const TypeAxis *a = &p->axis;
    if (a->spread == SPREAD_zig) return zig_local(m, p, i);
    if (p->even)
        return op(m, SC_sub, i, coords(m, p, 0, i, type_local_size(m, a)));
    int64_t sizes[PART_OPERANDS + 1];
    level_sizes(m, a, sizes);
    Expr there = within(m, i, sizes[0]);
    for (uint32_t k = 0; k < a->nsplits; k++) {
        i = op(m, SC_sub, i, coords(m, p, k, i, sizes[k + 1]));
        there = op(m, SC_and, there, within(m, i, sizes[k + 1]));
    }
    return where(m, there, i, number(m, i, -1));
}
