/*
 * ways.c: what one mesh axis may do in each op: the table, maps, sums.
 *
 *   ...the first way of every op has the mesh axis nowhere: all devices of
 *      its group do the same.
 *   ...an axis that an op does not work along may be split in everything that
 *      has it.
 *   ...an axis that is summed may be split: what comes out is pending.
 *   ...what is linear takes pending sums and gives them.
 *
 * An op of a new kind owes a row: shard_<op> adds its ways to the first.
 */
#include "shard.h"

/* -------------------------------------------------------------- adding -- */

Where *way_add(Ways *w, Where out)
{
    Way way = {out, NEW_ARRAY(w->s->a, Where, w->it->n + 1)};
    vec_push(w->s->a, &w->at, way);
    return way.in;
}

Type way_type(const Ways *w, uint32_t operand)
{
    const Shard *s = w->s;
    return s->raws.at[s->args.at[w->it->first + operand].raw].type;
}

Type way_result(const Ways *w)
{
    return w->in ? w->in->type : w->s->nodes.at[w->it->out].type;
}

/* Another mesh axis cuts an axis, here. */
static bool is_cut(const Ways *w, MeshAxis m, Axis a)
{
    const Shard *s = w->s;
    bool cut = *where_at(s, m, w->it->out) == where_axis(a);
    for (uint32_t k = 0; k < w->it->n; k++)
        cut |= *need_at(s, m, w->it->first + k) == where_axis(a);
    return cut;
}

/* In how many parts the other mesh axes cut an axis, here. */
static int64_t other_parts(const Ways *w, Axis a)
{
    const Shard *s = w->s;
    int64_t parts = 1;
    for (uint32_t i = 0; i < s->m->mesh.n; i++)
        if (i != w->mesh.id && is_cut(w, (MeshAxis){i}, a))
            parts *= mesh_length(s, (MeshAxis){i});
    return parts;
}

/* A split over this mesh axis or another one is head and tail. */
bool way_zig(const Ways *w, Axis a)
{
    const Shard *s = w->s;
    bool zig = is_zig(s, w->mesh, a);
    for (uint32_t i = 0; i < s->m->mesh.n; i++)
        if (i != w->mesh.id && is_cut(w, (MeshAxis){i}, a))
            zig |= is_zig(s, (MeshAxis){i}, a);
    return zig;
}

bool way_divides(const Ways *w, Type t, Axis a)
{
    const TypeAxis *x = type_axis(w->m, t, a);
    int64_t parts = other_parts(w, a) * mesh_length(w->s, w->mesh);
    if (way_zig(w, a)) parts *= 2;
    return x && x->size % parts == 0;
}

/* What is computed in parts that are not even has something on each device;
 * what is kept may leave the last ones empty. */
static bool way_uneven(const Ways *w, const TypeAxis *x)
{
    const Shard *s = w->s;
    Axis a = x->axis;
    if (!is_named(s, w->mesh, a) || way_zig(w, a)) return false;
    if (s->nodes.at[w->it->out].roles & FOR_kept) return true;
    AxisShare all = {x->size, x->size};
    for (uint32_t i = 0; i < s->order.n; i++) {
        MeshAxis m = s->order.at[i];
        if (m.id == w->mesh.id || is_cut(w, m, a))
            all = axis_share_cut(all, mesh_length(s, m));
    }
    return all.last > 0;
}

bool way_splits(const Ways *w, Type t, Axis a)
{
    const TypeAxis *x = type_axis(w->m, t, a);
    return x && (way_divides(w, t, a) || way_uneven(w, x));
}

/* The operands that have the axis are split along it, and so is OUT. */
static void follow(Ways *w, Axis a, Where out)
{
    Where *in = way_add(w, out);
    for (uint32_t i = 0; i < w->it->n; i++)
        if (type_axis(w->m, way_type(w, i), a)) in[i] = where_axis(a);
}

/* Along an axis of the result, which the operands that have it follow. */
static void along_axis(Ways *w, Axis a)
{
    if (way_splits(w, way_result(w), a)) follow(w, a, where_axis(a));
}

void ways_along_all_but(Ways *w, const Axis *but, uint32_t n)
{
    const TypeInfo *t = type_info(w->m, way_result(w));
    for (uint32_t i = 0; i < t->naxes; i++)
        if (!axes_have(but, n, t->axes[i].axis)) along_axis(w, t->axes[i].axis);
}

/* Where operand i is made. */
static Where made_at(const Ways *w, uint32_t i)
{
    const Shard *s = w->s;
    return *where_at(s, w->mesh,
                     s->raws.at[s->args.at[w->it->first + i].raw].node);
}

void way_linear(Ways *w)
{
    Where *in = way_add(w, WHERE_sum);
    for (uint32_t i = 0; i < w->it->n; i++)
        in[i] = WHERE_sum;
}

/* --------------------------------------------------------------- legal -- */

static bool kinds_agree(const Shard *s, MeshAxis mesh, Where w, uint32_t node,
                        uint32_t arg)
{
    for (uint32_t i = 0; i < s->m->mesh.n; i++) {
        MeshAxis m = {i};
        if (m.id == mesh.id) continue;
        Where o =
            arg == UINT32_MAX ? *where_at(s, m, node) : *need_at(s, m, arg);
        if (where_is_pending(o) && o != w) return false;
    }
    return true;
}

static bool may_pend(const Module *m, Type t)
{
    return dtype_class(type_dtype(m, t)) != DC_bool;
}

/* A value is pending in one kind, and bool never. */
static bool is_legal(const Ways *w, const Way *way)
{
    const Shard *s = w->s;
    if (where_is_pending(way->out) &&
        (!may_pend(w->m, way_result(w)) ||
         !kinds_agree(s, w->mesh, way->out, w->it->out, UINT32_MAX)))
        return false;
    for (uint32_t i = 0; i < w->it->n; i++)
        if (where_is_pending(way->in[i]) &&
            (!may_pend(w->m, way_type(w, i)) ||
             !kinds_agree(s, w->mesh, way->in[i], 0, w->it->first + i)))
            return false;
    return true;
}

static WayRule *const rules[OP_count] = {
#define OP(name, least, most, flags, views, req, opt) \
    [OP_##name] = shard_##name,
#include "../../ir/ops.def"
#undef OP
};

/* A hand-over: as the port is, whatever that is. */
static void hand_over(Ways *w)
{
    const TypeInfo *t = type_info(w->m, way_result(w));
    way_add(w, WHERE_sum)[0] = WHERE_sum;
    if (made_at(w, 0) == WHERE_max) way_add(w, WHERE_max)[0] = WHERE_max;
    for (uint32_t i = 0; i < t->naxes; i++)
        along_axis(w, t->axes[i].axis);
}

void ways_find(Ways *w)
{
    w->at.n = 0;
    way_add(w, WHERE_none);
    if (w->in)
        rules[w->in->op](w);
    else
        hand_over(w);
    uint32_t n = 1;
    for (uint32_t i = 1; i < w->at.n; i++)
        if (is_legal(w, &w->at.at[i])) w->at.at[n++] = w->at.at[i];
    w->at.n = n;
}

/* ---------------------------------------------------------------- maps -- */

/* What is pending over another mesh axis already, or else what follows from
 * each operand that is pending over this one: M6 wants the same of both. */
static bool marked_before(const Ways *w, bool *marked)
{
    const Shard *s = w->s;
    bool any = false;
    for (uint32_t i = 0; i < s->m->mesh.n; i++)
        for (uint32_t k = 0; k < w->it->n && i != w->mesh.id; k++)
            if (*need_at(s, (MeshAxis){i}, w->it->first + k) == WHERE_sum)
                any = marked[k] = true;
    return any;
}

/* What becomes narrower is rounded on each device.  That is as good as rounding
 * what is sent, unless something is added that only one device has. */
static bool rounds(Module *m, Expr body)
{
    uint32_t n;
    Expr *nodes = expr_walk(m, body, m->scratch, &n);
    for (uint32_t i = 0; i < n; i++) {
        const ExprInfo *x = expr_info(m, nodes[i]);
        if (x->op == SC_cast && dtype_class((DType)x->dtype) == DC_float &&
            dtype_bytes((DType)x->dtype) <
                dtype_bytes(expr_dtype(m, x->args[0])))
            return true;
    }
    return false;
}

static void add_marked(Ways *w, Expr body, const bool *marked)
{
    bool parts = true;
    for (uint32_t k = 0; k < w->it->n; k++)
        parts &= !marked[k] || made_at(w, k) == WHERE_sum;
    if (!parts && rounds(w->m, body)) return;
    Where *in = way_add(w, WHERE_sum);
    for (uint32_t k = 0; k < w->it->n; k++)
        if (marked[k]) in[k] = WHERE_sum;
}

static void linear_ways(Ways *w, Expr body)
{
    bool *marked = NEW_ARRAY(w->s->a, bool, w->it->n + 1);
    if (marked_before(w, marked)) {
        add_marked(w, body, marked);
        return;
    }
    for (uint32_t k = 0; k < w->it->n; k++) {
        if (made_at(w, k) != WHERE_sum) continue;
        memset(marked, 0, w->it->n * sizeof *marked);
        if (linear_set(w->m, body, k, marked)) add_marked(w, body, marked);
    }
}

void shard_map(Ways *w)
{
    Expr body = attr_expr(w->m, w->in->attr);
    ways_along_all_but(w, NULL, 0);
    linear_ways(w, body);
    if (w->it->n == 1 && made_at(w, 0) == WHERE_max &&
        expr_keeps_order(w->m, body))
        way_add(w, WHERE_max)[0] = WHERE_max;
}

/* ---------------------------------------------------------------- sums -- */

void shard_reduce(Ways *w)
{
    const AttrItem *axes = attr_get(w->m, w->in->attr, AT_axes);
    bool sum = attr_is(w->m, w->in->attr, AT_kind, "sum");
    bool max = attr_is(w->m, w->in->attr, AT_kind, "max");
    ways_along_all_but(w, NULL, 0);
    if (!sum && !max) return;
    Where pending = sum ? WHERE_sum : WHERE_max;
    for (uint32_t i = 0; i < axes->n; i++)
        if (way_splits(w, way_type(w, 0), axes->axes[i]))
            follow(w, axes->axes[i], pending);
    way_add(w, pending)[0] = pending;
}

/* Over which other mesh axis an operand is pending: one operand at most. */
static bool other_pends(const Ways *w, uint32_t operand)
{
    const Shard *s = w->s;
    for (uint32_t i = 0; i < s->m->mesh.n; i++)
        if (i != w->mesh.id &&
            *need_at(s, (MeshAxis){i}, w->it->first + operand) == WHERE_sum)
            return true;
    return false;
}

void shard_einsum(Ways *w)
{
    const AttrItem *sum = attr_get(w->m, w->in->attr, AT_sum);
    ways_along_all_but(w, NULL, 0);
    for (uint32_t i = 0; i < sum->n; i++)
        if (way_splits(w, way_type(w, 0), sum->axes[i]))
            follow(w, sum->axes[i], WHERE_sum);
    for (uint32_t k = 0; k < 2; k++)
        if (!other_pends(w, !k)) way_add(w, WHERE_sum)[k] = WHERE_sum;
}

void shard_cumsum(Ways *w)
{
    Axis axis = attr_axis(w->m, w->in->attr, AT_axis);
    ways_along_all_but(w, &axis, 1);
    way_linear(w);
}

/* -------------------------------------------------------------- others -- */

/* What the ports say: the graph has hand-overs in the place of these. */
#define AS_PORTS(name)         \
    void shard_##name(Ways *w) \
    {                          \
        (void)w;               \
    }
AS_PORTS(arg)
AS_PORTS(call)
AS_PORTS(repeat)
AS_PORTS(proj)
AS_PORTS(send)
AS_PORTS(recv)

/* Of the local and the kernel view, and what autodiff has taken away. */
#define NOT_HERE(op)                         \
    void shard_##op(Ways *w)                 \
    {                                        \
        (void)w;                             \
        BUG("'%s' in the global view", #op); \
    }
NOT_HERE(grad)
NOT_HERE(all_gather)
NOT_HERE(reduce_scatter)
NOT_HERE(all_reduce)
NOT_HERE(all_to_all)
NOT_HERE(permute)
NOT_HERE(cut)
NOT_HERE(part)
NOT_HERE(reshard)
NOT_HERE(done)
NOT_HERE(pending)
NOT_HERE(coord)
NOT_HERE(buffer)
NOT_HERE(view)
NOT_HERE(counter)
NOT_HERE(launch)
NOT_HERE(loop)
