/*
 * group.c: collectives with an axis that counts the devices.
 *
 *      all_gather      [a] -> [g, a]        the parts of a, then a of them
 *      reduce_scatter  a as [g, a] -> [a]
 *      all_to_all      b as [g, b] -> [g, b], then a of [g, a]
 *      cut             a as [g, a] -> [a]   the part at this device's
 *                                           coordinate; nothing is sent
 *
 * What stands around them are moves like any other.  Parts that are not even
 * are padded in front and cut to size behind, split by split; those of a zig
 * split are put in order.
 */
#include "localise.h"

/* Some splits of an axis, the innermost ones: of sizes[k] indices split k makes
 * parts of sizes[k + 1]. */
typedef struct Cut {
    Axis axis;
    const MeshAxis *over;
    uint32_t n;
    bool even, zig;
    int64_t sizes[PART_OPERANDS + 1];
} Cut;

/* A has the splits, and OVER are its innermost N. */
static Cut cut_of(const Module *m, const TypeAxis *a, uint32_t n)
{
    TypeAxis outer = *a;
    outer.nsplits -= n;
    Cut c = {.axis = a->axis, .over = a->splits + outer.nsplits, .n = n};
    c.zig = a->spread == SPREAD_zig;
    CHECK(n <= PART_OPERANDS);
    c.sizes[0] = type_local_size(m, &outer);
    c.even = c.sizes[0] % group_size(m, c.over, n) == 0;
    for (uint32_t k = 0; k < n; k++) {
        int64_t parts = group_size(m, &c.over[k], 1);
        c.sizes[k + 1] = (c.sizes[k] + parts - 1) / parts;
    }
    return c;
}

/* The innermost splits of an operand's axis that a collective takes away. */
static Cut cut_taken(const Local *l, const Inst *in, Axis axis)
{
    Type t = value_type(l->old, inst_arg(l->old, in, 0));
    return cut_of(l->m, type_axis(l->m, t, axis),
                  attr_get(l->m, in->attr, AT_over)->n);
}

/* Those of the result's that it adds. */
static Cut cut_added(const Local *l, const Inst *in, Axis axis)
{
    return cut_of(l->m, type_axis(l->m, in->type, axis),
                  attr_get(l->m, in->attr, AT_over)->n);
}

static Axis made_axis(Local *l, const char *stem, int64_t size)
{
    Str s = module_str(l->m, stem);
    for (uint32_t i = 0; i < l->made->n; i++)
        if (str_eq(l->made->at[i].stem, s) && l->made->at[i].size == size)
            return l->made->at[i].axis;
    Made made = {s, size, axis_fresh(l->m, stem, size)};
    vec_push(l->m->scratch, l->made, made);
    return made.axis;
}

static Axis group_axis(Local *l, const Cut *c)
{
    Buf name = {0};
    for (uint32_t i = 0; i < c->n; i++)
        buf_printf(&name, "%s%s", i ? "." : "", mesh_name(l->m, c->over[i]));
    Axis g = made_axis(l, name.at, group_size(l->m, c->over, c->n));
    buf_release(&name);
    return g;
}

static TypeAxis sized(Axis a, int64_t n)
{
    return (TypeAxis){.axis = a, .size = n};
}

/* ---------------------------------------------------------- zig splits -- */

/* Parts c and 2n - 1 - c of 2n belong to device c, as halves 0 and 1. */
static Value zig_apart(Local *l, Value x, const Cut *c, Axis g)
{
    Module *m = l->m;
    int64_t n = group_size(m, c->over, c->n), part = c->sizes[0] / (2 * n);
    Axis parts = made_axis(l, "part", 2 * n), half = made_axis(l, "half", 2);
    TypeAxis to[2] = {sized(parts, 2 * n), sized(c->axis, part)};
    TypeAxis ids[2] = {sized(g, n), sized(half, 2)};
    Axis from[2] = {half, c->axis};
    Expr at = expr_index(m, g), last = expr_i32(m, 2 * n - 1);
    Expr first = expr_op2(m, SC_eq, expr_index(m, half), expr_i32(m, 0));
    Expr second = expr_op2(m, SC_sub, last, at);
    x = emit_split(&l->b, x, c->axis, to, 2);
    Value which = emit_map_over(&l->b, expr_op(m, SC_where, first, at, second),
                                NULL, 0, ids, 2);
    x = emit_gather(&l->b, x, which, parts);
    return emit_merge(&l->b, x, from, 2, c->axis);
}

/* The other way round: part p is half 0 of device p, or half 1 of device
 * 2n - 1 - p. */
static Value zig_together(Local *l, Value x, const Cut *c, Axis g)
{
    Module *m = l->m;
    int64_t n = group_size(m, c->over, c->n), part = c->sizes[0] / (2 * n);
    Axis parts = made_axis(l, "part", 2 * n), half = made_axis(l, "half", 2);
    Axis all = made_axis(l, "halves", 2 * n);
    TypeAxis to[2] = {sized(half, 2), sized(c->axis, part)};
    TypeAxis ids = sized(parts, 2 * n);
    Axis halves[2] = {g, half}, from[2] = {parts, c->axis};
    Expr p = expr_index(m, parts), two = expr_i32(m, 2);
    Expr low = expr_op2(m, SC_mul, two, p);
    Expr high = expr_op2(m, SC_sub, expr_i32(m, 4 * n - 1), low);
    Expr first = expr_op2(m, SC_lt, p, expr_i32(m, n));
    x = emit_split(&l->b, x, c->axis, to, 2);
    x = emit_merge(&l->b, x, halves, 2, all);
    Value which = emit_map_over(&l->b, expr_op(m, SC_where, first, low, high),
                                NULL, 0, &ids, 1);
    x = emit_gather(&l->b, x, which, all);
    return emit_merge(&l->b, x, from, 2, c->axis);
}

/* ---------------------------------------------------- parts of an axis -- */

/* The axis, padded so that N parts of SIZE have room. */
static Value padded(Local *l, Value x, Axis a, int64_t size)
{
    int64_t n = type_size(l->m, value_type(l->b.fn, x), a);
    return n < size ? emit_pad(&l->b, x, a, 0, size - n, 1) : x;
}

/* The first SIZE indices. */
static Value trimmed(Local *l, Value x, Axis a, int64_t size)
{
    int64_t n = type_size(l->m, value_type(l->b.fn, x), a);
    return n > size ? emit_slice(&l->b, x, a, 0, size, 1) : x;
}

/* One axis for each split. */
static Axis *level_axes(Local *l, const Cut *c)
{
    Axis *axes = NEW_ARRAY(l->m->scratch, Axis, (size_t)c->n + 1);
    for (uint32_t k = 0; k < c->n; k++)
        axes[k] = made_axis(
            l,
            arena_printf(l->m->scratch, "of.%s", mesh_name(l->m, c->over[k])),
            group_size(l->m, &c->over[k], 1));
    return axes;
}

/* A as [g, a]: what each device of the group is to have. */
static Value apart(Local *l, Value x, const Cut *c, Axis g)
{
    if (c->zig) return zig_apart(l, x, c, g);
    if (c->even) {
        TypeAxis to[2] = {sized(g, group_size(l->m, c->over, c->n)),
                          sized(c->axis, c->sizes[c->n])};
        return emit_split(&l->b, x, c->axis, to, 2);
    }
    Axis *levels = level_axes(l, c);
    for (uint32_t k = 0; k < c->n; k++) {
        int64_t n = group_size(l->m, &c->over[k], 1), part = c->sizes[k + 1];
        TypeAxis to[2] = {sized(levels[k], n), sized(c->axis, part)};
        x = padded(l, x, c->axis, n * part);
        x = emit_split(&l->b, x, c->axis, to, 2);
    }
    return emit_merge(&l->b, x, levels, c->n, g);
}

/* [g, a] as a: what each device of the group had. */
static Value together(Local *l, Value x, const Cut *c, Axis g)
{
    if (c->zig) return zig_together(l, x, c, g);
    if (c->even) {
        Axis from[2] = {g, c->axis};
        return emit_merge(&l->b, x, from, 2, c->axis);
    }
    Axis *levels = level_axes(l, c);
    TypeAxis *to = NEW_ARRAY(l->m->scratch, TypeAxis, (size_t)c->n + 1);
    for (uint32_t k = 0; k < c->n; k++)
        to[k] = sized(levels[k], group_size(l->m, &c->over[k], 1));
    x = emit_split(&l->b, x, g, to, c->n);
    for (uint32_t k = c->n; k-- > 0;) {
        Axis from[2] = {levels[k], c->axis};
        x = emit_merge(&l->b, x, from, 2, c->axis);
        x = trimmed(l, x, c->axis, c->sizes[k]);
    }
    return x;
}

/* ---------------------------------------------------------- collectives -- */

static Value exchange(Local *l, const Inst *in, Type t, AttrList *list, Value x)
{
    const AttrItem *over = attr_get(l->m, in->attr, AT_over);
    attr_put_mesh(list, AT_over, over->mesh, over->n);
    return emit(&l->b, (Op)in->op, t, attr_intern(l->m, list), &x, 1);
}

static void put_kind(Local *l, const Inst *in, AttrList *list)
{
    Type t = value_type(l->old, inst_arg(l->old, in, 0));
    bool max = type_info(l->m, t)->pending_kind == PENDING_max;
    attr_put_id(list, AT_kind, module_str(l->m, max ? "max" : "sum").id);
}

Value local_all_gather(Local *l, const Inst *in)
{
    Cut c = cut_taken(l, in, attr_axis(l->m, in->attr, AT_axis));
    Axis g = group_axis(l, &c);
    Value x = local_arg(l, in, 0);
    AttrList list = {.n = 0};
    attr_put_id(&list, AT_axis, g.id);
    Type t = type_with_axis(l->m, value_type(l->b.fn, x),
                            sized(g, group_size(l->m, c.over, c.n)));
    return together(l, exchange(l, in, t, &list, x), &c, g);
}

/* Numbers of some dtypes nobody adds, or compares, between GPUs: they go there
 * as others, which is the same. */
static DType added_as(DType d)
{
    if (d == DT_i16) return DT_i32;
    if (d == DT_u16) return DT_u32;
    return d == DT_e2m1 || d == DT_e8m0 ? DT_f32 : d;
}

static Value add_up(Local *l, const Inst *in, Type t, AttrList *list, Value x)
{
    DType d = type_dtype(l->m, t), as = added_as(d);
    if (as == d) return exchange(l, in, t, list, x);
    x = emit_cast(&l->b, x, as);
    x = exchange(l, in, type_with_dtype(l->m, t, as), list, x);
    return emit_cast(&l->b, x, d);
}

Value local_reduce_scatter(Local *l, const Inst *in)
{
    Cut c = cut_added(l, in, attr_axis(l->m, in->attr, AT_axis));
    Axis g = group_axis(l, &c);
    Value x = apart(l, local_arg(l, in, 0), &c, g);
    AttrList list = {.n = 0};
    attr_put_id(&list, AT_axis, g.id);
    put_kind(l, in, &list);
    Type t = type_without_axis(l->m, value_type(l->b.fn, x), g);
    return add_up(l, in, t, &list, x);
}

Value local_all_reduce(Local *l, const Inst *in)
{
    Value x = local_arg(l, in, 0);
    AttrList list = {.n = 0};
    put_kind(l, in, &list);
    return add_up(l, in, value_type(l->b.fn, x), &list, x);
}

Value local_all_to_all(Local *l, const Inst *in)
{
    const AttrItem *from = attr_get(l->m, in->attr, AT_from);
    const AttrItem *to = attr_get(l->m, in->attr, AT_to);
    Cut taken = cut_taken(l, in, from->axes[0]);
    Cut added = cut_added(l, in, to->axes[0]);
    Axis g = group_axis(l, &added);
    Value x = apart(l, local_arg(l, in, 0), &added, g);
    AttrList list = {.n = 0};
    attr_put_axes(&list, AT_from, &g, 1);
    attr_put_axes(&list, AT_to, &g, 1);
    x = exchange(l, in, value_type(l->b.fn, x), &list, x);
    return together(l, x, &taken, g);
}

/* ------------------------------------------------------ nothing is sent -- */

Value local_cut(Local *l, const Inst *in)
{
    Cut c = cut_added(l, in, attr_axis(l->m, in->attr, AT_axis));
    Axis g = group_axis(l, &c);
    Value x = apart(l, local_arg(l, in, 0), &c, g);
    return emit_gather(&l->b, x, local_coord(l, c.over, c.n), g);
}

/* The first device has the value, the others what adds nothing to it. */
Value local_pending(Local *l, const Inst *in)
{
    Module *m = l->m;
    const AttrItem *over = attr_get(m, in->attr, AT_over);
    Value args[2] = {local_arg(l, in, 0), local_coord(l, over->mesh, over->n)};
    DType d = type_dtype(m, value_type(l->b.fn, args[0]));
    const char *kind = attr_is(m, in->attr, AT_kind, "max") ? "max" : "sum";
    Expr zero = expr_i32(m, 0);
    Expr first = expr_op2(m, SC_eq, expr_arg(m, 1, DT_i32), zero);
    Expr body = expr_op(m, SC_where, first, expr_arg(m, 0, d),
                        local_neutral(m, d, kind));
    return emit_map(&l->b, body, args, 2);
}
