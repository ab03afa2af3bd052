/*
 * rows.c: rows in the order of what they choose, in blocks that choose alike.
 *
 * A row's slot is where the blocks of its id begin, plus how many rows of that
 * id come before it.  How many blocks there are is known to within one for each
 * id, so all sizes are: those that no row needs have an id that counts for
 * nothing, as have rows whose id is out of range.
 *
 * Where ids and weights share axes (rows that came from several devices to the
 * experts of one), these and the axis that is chosen from become one, of which
 * every row chooses.  In the global view, where those axes are split, each part
 * along them has an order of its own, in blocks of its own; so have rows that
 * were sent to other devices with the same experts.
 */
#include "../ids.h"
#include "route.h"

enum { LEAST_BLOCKS = 2 };

static TypeAxis sized(Axis axis, int64_t size)
{
    return (TypeAxis){.axis = axis, .size = size};
}

/* ------------------------------------------------------------------ find -- */

bool has_all(const Module *m, Type t, Type axes)
{
    const TypeInfo *ti = type_info(m, axes);
    for (uint32_t i = 0; i < ti->naxes; i++)
        if (!type_axis(m, t, ti->axes[i].axis)) return false;
    return true;
}

/* Rows that were sent, in parts that have an order each. */
static bool find_parts(const Route *r, const Inst *in, Rows *out)
{
    const AttrItem *sent = attr_get(r->m, in->attr, AT_sent);
    const AttrItem *parts = attr_get(r->m, in->attr, AT_parts);
    out->sent = r->marked && sent;
    for (uint32_t i = 0; out->sent && i < sent->n; i++) {
        if (parts->ints[i] == 1) continue;
        if (out->napart == MOST_SHARED) return false;
        out->apart[out->napart] = sent->axes[i];
        out->parts[out->napart++] = parts->ints[i];
        out->rows /= parts->ints[i];
    }
    return true;
}

bool route_rows(const Route *r, Type ids, Type w, const Inst *in, Rows *out)
{
    const Module *m = r->m;
    const TypeInfo *ti = type_info(m, ids);
    Axis axis = attr_axis(m, in->attr, AT_axis);
    *out = (Rows){.type = ids, .chosen = axis};
    out->each = out->all = type_size(m, w, axis);
    out->rows = type_elements(m, ids);
    for (uint32_t i = 0; i < ti->naxes; i++) {
        if (!type_axis(m, w, ti->axes[i].axis)) continue;
        if (out->nshared == MOST_SHARED) return false;
        out->shared[out->nshared++] = ti->axes[i].axis;
        out->all *= ti->axes[i].size;
    }
    out->experts = r->marked ? out->each : out->all;
    out->rows /= out->all / out->experts;
    if (!find_parts(r, in, out)) return false;
    out->blocks = out->rows / BLOCK + out->experts;
    return ti->dtype == DT_i32 && ti->naxes > out->nshared &&
           (r->marked || out->rows >= LEAST_BLOCKS * BLOCK);
}

/* --------------------------------------------------------------- naming -- */

static bool is_indexed(const Inst *in)
{
    return in->op == OP_gather || in->op == OP_scatter;
}

/* Axes of all that is chosen from get names in one order, so that weights and
 * their gradients keep theirs. */
static void note_features(const Route *r, const Fn *fn, bool *is)
{
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (!is_indexed(in)) continue;
        Type w = in->op == OP_gather ? value_type(fn, inst_arg(fn, in, 0))
                                     : in->type;
        const TypeInfo *ti = type_info(r->m, w);
        for (uint32_t k = 0; k < ti->naxes; k++)
            is[ti->axes[k].axis.id] = true;
    }
}

/* How many axes of any rows are in parts by themselves. */
static uint32_t most_parts(const Route *r)
{
    uint32_t most = 0;
    for (uint32_t f = 0; f < r->m->fns.n && r->marked; f++) {
        const Fn *fn = r->m->fns.at[f];
        for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
            const AttrItem *parts = attr_get(r->m, fn->insts[i].attr, AT_parts);
            uint32_t n = 0;
            for (uint32_t k = 0; parts && k < parts->n; k++)
                n += parts->ints[k] > 1;
            if (n > most && n <= MOST_SHARED) most = n;
        }
    }
    return most;
}

static void name_axes(Route *r)
{
    Module *m = r->m;
    uint32_t n = m->axes.n;
    bool *is = NEW_ARRAY(m->scratch, bool, (size_t)n + 1);
    r->feature = NEW_ARRAY(m->scratch, Axis, (size_t)n + 1);
    for (uint32_t i = 0; i < m->fns.n; i++)
        note_features(r, m->fns.at[i], is);
    uint32_t groups = most_parts(r);
    for (uint32_t i = 0; i < groups; i++)
        r->group[i] = axis_fresh(m, "group", 0);
    r->expert = axis_fresh(m, "chosen", 0);
    r->block = axis_fresh(m, "block", 0);
    r->in = axis_fresh(m, "in", 0);
    for (uint32_t i = 0; i < n; i++)
        r->feature[i] =
            is[i] ? axis_fresh(m, axis_name(m, (Axis){i}), 0) : (Axis){i};
    r->named = true;
}

Axis route_feature(const Route *r, Axis a)
{
    return r->feature[a.id];
}

/* V with other names for its features, or with their own again. */
static Value renamed(Route *r, const Rows *x, Value v, Type of, bool back)
{
    const TypeInfo *ti = type_info(r->m, of);
    Axis *from = NEW_ARRAY(r->m->scratch, Axis, 2 * (size_t)ti->naxes + 1);
    Axis *to = from + ti->naxes;
    uint32_t n = 0;
    for (uint32_t i = 0; i < ti->naxes; i++) {
        Axis a = ti->axes[i].axis, b = route_feature(r, a);
        if (a.id == b.id || a.id == x->chosen.id || type_axis(r->m, x->type, a))
            continue;
        from[n] = back ? b : a;
        to[n++] = back ? a : b;
    }
    return n ? emit_rename(&r->rw.b, v, from, to, n) : v;
}

/* ----------------------------------------------------------------- order -- */

/* The axes of one order, and those of which each index has one. */
static void part_axes(const Route *r, Rows *x)
{
    Module *m = r->m;
    const TypeInfo *ti = type_info(m, x->type);
    x->along = x->beside = type_scalar(m, DT_i32);
    for (uint32_t i = 0; i < ti->naxes; i++) {
        TypeAxis a = ti->axes[i];
        bool shared = false;
        for (uint32_t k = 0; k < x->nshared; k++)
            shared |= r->marked && x->shared[k].id == a.axis.id;
        for (uint32_t k = 0; k < x->napart; k++) {
            if (x->apart[k].id != a.axis.id) continue;
            a.size /= x->parts[k];
            TypeAxis group = sized(r->group[k], x->parts[k]);
            x->beside = type_with_axis(m, x->beside, group);
        }
        Type *to = shared ? &x->beside : &x->along;
        *to = type_with_axis(m, *to, a);
    }
}

/* Axes of rows that are in parts by themselves, as two, and the way back. */
static Value in_parts(Route *r, const Rows *x, Value v)
{
    for (uint32_t k = 0; k < x->napart; k++) {
        const TypeAxis *a = type_axis(r->m, type_at(r, v), x->apart[k]);
        if (!a) continue;
        TypeAxis to[2] = {sized(r->group[k], x->parts[k]),
                          sized(a->axis, a->size / x->parts[k])};
        v = emit_split(&r->rw.b, v, x->apart[k], to, 2);
    }
    return v;
}

static Value without_parts(Route *r, const Rows *x, Value v)
{
    for (uint32_t k = 0; k < x->napart; k++)
        v = emit_merge(&r->rw.b, v, (Axis[]){r->group[k], x->apart[k]}, 2,
                       x->apart[k]);
    return v;
}

/* All rows of an order along one axis. */
static Value flat(Route *r, const Rows *x, Value v, Axis to)
{
    const TypeInfo *ti = type_info(r->m, x->along);
    v = in_parts(r, x, v);
    Axis *from = NEW_ARRAY(r->m->scratch, Axis, (size_t)ti->naxes + 1);
    uint32_t n = 0;
    for (uint32_t i = 0; i < ti->naxes; i++)
        if (type_axis(r->m, type_at(r, v), ti->axes[i].axis))
            from[n++] = ti->axes[i].axis;
    return emit_merge(&r->rw.b, v, from, n, to);
}

/* Such a value for each order. */
static Value of_each(Route *r, const Rows *x, Expr body, TypeAxis axis)
{
    const TypeInfo *ti = type_info(r->m, type_with_axis(r->m, x->beside, axis));
    return emit_map_over(&r->rw.b, body, NULL, 0, ti->axes, ti->naxes);
}

static Value index_along(Route *r, TypeAxis axis)
{
    return emit_map_over(&r->rw.b, expr_index(r->m, axis.axis), NULL, 0, &axis,
                         1);
}

/* Ids of all that is chosen from, by row. */
static Value flat_ids(Route *r, const Rows *x, Value ids)
{
    Module *m = r->m;
    Expr id = id_arg(m, 0), at = expr_i32(m, 0);
    if (r->marked) return flat(r, x, ids, r->in);
    for (uint32_t i = 0; i < x->nshared; i++) {
        int64_t size = type_size(m, x->type, x->shared[i]);
        at = expr_op2(m, SC_mul, at, expr_i32(m, size));
        at = expr_op2(m, SC_add, at, expr_index(m, x->shared[i]));
    }
    at = expr_op2(m, SC_mul, at, expr_i32(m, x->each));
    at = expr_op2(m, SC_add, at, id);
    at = id_where(m, id_in(m, id, x->each), at);
    if (x->nshared) ids = emit_map(&r->rw.b, at, &ids, 1);
    return flat(r, x, ids, r->in);
}

/* Ids of rows that were sent, with some of nothing behind them.  What is padded
 * is whole: so the ids go to the device that has the rows, once, where else
 * each counts its own, and parts of the sums go to and fro. */
static Value ids_there(Route *r, Value ids)
{
    Module *m = r->m;
    Builder *b = &r->rw.b;
    Expr up = expr_op2(m, SC_add, id_arg(m, 0), expr_i32(m, 1));
    Expr down = expr_op2(m, SC_sub, id_arg(m, 0), expr_i32(m, 1));
    ids = emit_pad(b, emit_map(b, up, &ids, 1), r->in, 0, BLOCK, 1);
    return emit_map(b, down, &ids, 1);
}

/* Rows of one id that come before each row, along `in`. */
static Value rank_of(Route *r, Value one, Value ids)
{
    Builder *b = &r->rw.b;
    Value before = id_count(b, one, r->in, r->block);
    return emit_gather(b, before, ids, r->expert);
}

/* 1 where IS holds of X and Y, else 0. */
static Value counted(Builder *b, ScalarOp is, Value x, Value y)
{
    Module *m = b->m;
    Expr holds = expr_op2(m, is, id_arg(m, 0), id_arg(m, 1));
    return emit_map(b, expr_cast(m, DT_i32, holds), (Value[]){x, y}, 2);
}

/* The id of each block: the last that begins there or before. */
static Value ids_of(Route *r, const Rows *x, Value first, Value count)
{
    Builder *b = &r->rw.b;
    Module *m = r->m;
    TypeAxis blocks = sized(r->block, x->blocks);
    Value at = index_along(r, blocks);
    Value begun = counted(b, SC_le, first, at);
    begun = emit_reduce(b, "sum", begun, &r->expert, 1, DT_i32, DT_i32);
    Value all = emit_reduce(b, "sum", count, &r->expert, 1, DT_i32, DT_i32);
    Expr used = expr_op2(m, SC_lt, id_arg(m, 0), id_arg(m, 1));
    Expr id = expr_op2(m, SC_sub, id_arg(m, 2), expr_i32(m, 1));
    return emit_map(b, expr_op(m, SC_where, used, id, expr_i32(m, x->experts)),
                    (Value[]){at, all, begun}, 3);
}

static void place_rows(Route *r, Order *out, Value ids, Value first, Value rank)
{
    Builder *b = &r->rw.b;
    Module *m = r->m;
    const Rows *x = &out->rows;
    Value begin = emit_gather(b, first, ids, r->expert);
    Expr at = expr_op2(m, SC_mul, id_arg(m, 0), expr_i32(m, BLOCK));
    at = expr_op2(m, SC_add, at, id_arg(m, 1));
    at = id_where(m, id_in(m, id_arg(m, 2), x->experts), at);
    Value place = emit_map(b, at, (Value[]){begin, rank, ids}, 3);
    TypeAxis all = sized(r->block, x->blocks * BLOCK);
    Value none = of_each(r, x, expr_i32(m, -1), all);
    int64_t rows = type_size(m, type_at(r, ids), r->in);
    Value row = index_along(r, sized(r->in, rows));
    Value source = emit_put_distinct(b, none, place, row, r->block);
    TypeAxis to[2] = {sized(r->block, x->blocks), sized(r->in, BLOCK)};
    out->source = emit_split(b, source, r->block, to, 2);
    const TypeInfo *ti = type_info(m, x->along);
    if (rows > x->rows) place = emit_slice(b, place, r->in, 0, x->rows, 1);
    out->place = emit_split(b, place, r->in, ti->axes, ti->naxes);
}

static Order make_order(Route *r, const Rows *x, Value ids)
{
    Builder *b = &r->rw.b;
    Module *m = r->m;
    Order out = {.ids = ids, .rows = *x};
    Value rows = flat_ids(r, x, ids);
    if (x->sent) rows = ids_there(r, rows);
    Value each = index_along(r, sized(r->expert, x->experts));
    Value one = counted(b, SC_eq, rows, each);
    Value rank = rank_of(r, one, rows);
    Value count = emit_reduce(b, "sum", one, &r->in, 1, DT_i32, DT_i32);
    Expr blocks = expr_op2(m, SC_add, id_arg(m, 0), expr_i32(m, BLOCK - 1));
    blocks = expr_op2(m, SC_idiv, blocks, expr_i32(m, BLOCK));
    count = emit_map(b, blocks, &count, 1);
    Value first = emit_cumsum(b, count, r->expert, false, true);
    out.of = ids_of(r, x, first, count);
    place_rows(r, &out, rows, first, rank);
    return out;
}

const Order *route_order(Route *r, const Rows *x, Value ids)
{
    if (!r->named) name_axes(r);
    Rows all = *x;
    part_axes(r, &all);
    for (uint32_t i = 0; i < r->orders.n; i++) {
        const Order *o = &r->orders.at[i];
        if (value_eq(o->ids, ids) && o->rows.chosen.id == x->chosen.id &&
            o->rows.nshared == x->nshared)
            return o;
    }
    vec_push(r->m->scratch, &r->orders, make_order(r, &all, ids));
    return &vec_last(&r->orders);
}

/* ---------------------------------------------------------------- blocks -- */

/* The row of V in each slot, where V lacks some of the rows' axes. */
static Value source_in(Route *r, const Order *at, Value v)
{
    const TypeInfo *ti = type_info(r->m, at->rows.along);
    IdAxis *axes = NEW_ARRAY(r->m->scratch, IdAxis, (size_t)ti->naxes + 1);
    bool all = true;
    for (uint32_t i = 0; i < ti->naxes; i++) {
        bool has = type_axis(r->m, type_at(r, v), ti->axes[i].axis) != NULL;
        axes[i] = (IdAxis){ti->axes[i].size, has};
        all &= has || ti->axes[i].size == 1;
    }
    if (all) return at->source;
    Expr body = id_along(r->m, id_arg(r->m, 0), axes, ti->naxes);
    return emit_map(&r->rw.b, body, &at->source, 1);
}

Value route_in_blocks(Route *r, const Order *at, Value v)
{
    Value source = source_in(r, at, v);
    v = renamed(r, &at->rows, v, type_at(r, v), false);
    return emit_gather(&r->rw.b, flat(r, &at->rows, v, r->block), source,
                       r->block);
}

/* Those that become one. */
static uint32_t chosen_axes(const Route *r, const Rows *x, Axis *out)
{
    if (r->marked) {
        out[0] = x->chosen;
        return 1;
    }
    memcpy(out, x->shared, x->nshared * sizeof *out);
    out[x->nshared] = x->chosen;
    return x->nshared + 1;
}

Value route_chosen(Route *r, const Order *at, Value w)
{
    Axis from[MOST_SHARED + 1];
    uint32_t n = chosen_axes(r, &at->rows, from);
    w = renamed(r, &at->rows, w, type_at(r, w), false);
    w = emit_merge(&r->rw.b, w, from, n, r->expert);
    return emit_gather(&r->rw.b, w, at->of, r->expert);
}

Value route_added(Route *r, const Order *at, Value v)
{
    Builder *b = &r->rw.b;
    Type t = type_without_axis(r->m, type_at(r, v), r->block);
    for (uint32_t k = 0; k < at->rows.napart; k++)
        t = type_without_axis(r->m, t, r->group[k]);
    AttrList l = {0};
    attr_put_id(&l, AT_axis, r->expert.id);
    attr_put_int(&l, AT_ascending, 1);
    t = type_with_axis(r->m, t, sized(r->expert, at->rows.experts));
    return emit(b, OP_scatter, t, attr_intern(r->m, &l), (Value[]){at->of, v},
                2);
}

Value route_unchosen(Route *r, const Order *at, Value w, Type as)
{
    Axis axes[MOST_SHARED + 1];
    TypeAxis to[MOST_SHARED + 1];
    uint32_t n = chosen_axes(r, &at->rows, axes);
    for (uint32_t i = 0; i < n; i++)
        to[i] = *type_axis(r->m, as, axes[i]);
    w = emit_split(&r->rw.b, w, r->expert, to, n);
    return renamed(r, &at->rows, w, as, true);
}

Value route_from_blocks(Route *r, const Order *at, Value v, Type as)
{
    v = emit_merge(&r->rw.b, v, (Axis[]){r->block, r->in}, 2, r->block);
    v = renamed(r, &at->rows, v, as, true);
    v = emit_gather(&r->rw.b, v, at->place, r->block);
    return without_parts(r, &at->rows, v);
}
