/*
 * part.c: where a device's part of a split axis lies in the whole.
 *
 * A block split gives the device with coordinate c the indices from c times the
 * size of a part on; several splits are one, in order, where parts are even,
 * and one after the other where the last part of one of them has pads.  A zig
 * split gives it the parts c and 2n - 1 - c of 2n.
 */
#include "../ids.h"
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

/* Coordinate K, times N. */
static Expr coords(Module *m, const Part *p, uint32_t k, Expr like, int64_t n)
{
    Expr c =
        expr_cast(m, expr_dtype(m, like), expr_arg(m, p->first + k, DT_i32));
    return expr_op2(m, SC_mul, c, expr_like(m, like, n));
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
    return expr_op2(m, SC_sub, expr_like(m, like, (2 * n - 1) * part),
                    coords(m, p, 0, like, part));
}

static int64_t zig_part(const Module *m, const Part *p)
{
    return type_local_size(m, &p->axis) / 2;
}

static Expr zig_whole(Module *m, const Part *p, Expr i)
{
    int64_t part = zig_part(m, p);
    Expr first = expr_op2(m, SC_add, i, coords(m, p, 0, i, part));
    Expr second =
        expr_op2(m, SC_add, expr_op2(m, SC_sub, i, expr_like(m, i, part)),
                 zig_second(m, p, i, part));
    return expr_op(m, SC_where, expr_op2(m, SC_lt, i, expr_like(m, i, part)),
                   first, second);
}

Expr part_whole(Module *m, const Part *p, Expr i)
{
    const TypeAxis *a = &p->axis;
    if (a->spread == SPREAD_zig) return zig_whole(m, p, i);
    if (p->even)
        return expr_op2(m, SC_add, i,
                        coords(m, p, 0, i, type_local_size(m, a)));
    int64_t sizes[PART_OPERANDS + 1];
    level_sizes(m, a, sizes);
    for (uint32_t k = a->nsplits; k-- > 0;) {
        i = expr_op2(m, SC_add, i, coords(m, p, k, i, sizes[k + 1]));
        if (k > 0)
            i = expr_op(m, SC_where,
                        expr_op2(m, SC_lt, i, expr_like(m, i, sizes[k])), i,
                        expr_like(m, i, a->size));
    }
    return i;
}

static Expr zig_local(Module *m, const Part *p, Expr i)
{
    int64_t part = zig_part(m, p);
    Expr first = expr_op2(m, SC_sub, i, coords(m, p, 0, i, part));
    Expr second = expr_op2(m, SC_sub, i, zig_second(m, p, i, part));
    second = id_where(m, id_in(m, second, part),
                      expr_op2(m, SC_add, second, expr_like(m, i, part)));
    return expr_op(m, SC_where, id_in(m, first, part), first, second);
}

Expr part_local(Module *m, const Part *p, Expr i)
{
    const TypeAxis *a = &p->axis;
    if (a->spread == SPREAD_zig) return zig_local(m, p, i);
    if (p->even)
        return expr_op2(m, SC_sub, i,
                        coords(m, p, 0, i, type_local_size(m, a)));
    int64_t sizes[PART_OPERANDS + 1];
    level_sizes(m, a, sizes);
    Expr there = id_in(m, i, sizes[0]);
    for (uint32_t k = 0; k < a->nsplits; k++) {
        i = expr_op2(m, SC_sub, i, coords(m, p, k, i, sizes[k + 1]));
        there = expr_op2(m, SC_and, there, id_in(m, i, sizes[k + 1]));
    }
    return id_where(m, there, i);
}
