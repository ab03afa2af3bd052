/*
 * ops.c: a random use of each op, by ops.def: a new op without a rule here
 * does not build.  Ops of other views than the global one make nothing.
 */
#include "smith.h"

#include <math.h>
#include <string.h>

/* -------------------------------------------------------------- operands -- */

bool anything(const Gen *g, const Made *x)
{
    (void)g;
    (void)x;
    return true;
}

static bool has_axes(const Gen *g, const Made *x)
{
    return axes_of(g, x->v) > 0;
}

static bool float_axes(const Gen *g, const Made *x)
{
    return has_axes(g, x) && is_float(g, x);
}

static bool exact_axes(const Gen *g, const Made *x)
{
    return has_axes(g, x) && x->exact;
}

int64_t elements_of(const Gen *g, Value v)
{
    return type_elements(g->w->m, value_type(g->b.fn, v));
}

static TypeAxis random_axis_of(Gen *g, Value v)
{
    return *axis_at(g, v, draw_below(g->w, axes_of(g, v)));
}

static bool has_axis(const Gen *g, Value v, Axis a)
{
    return type_axis(g->w->m, value_type(g->b.fn, v), a) != NULL;
}

/* Axes of the same name have the same size. */
static bool aligned(const Gen *g, Value x, Value y)
{
    for (uint32_t i = 0; i < axes_of(g, x); i++) {
        const TypeAxis *a = axis_at(g, x, i);
        int64_t size = type_size(g->w->m, value_type(g->b.fn, y), a->axis);
        if (size && size != a->size) return false;
    }
    return true;
}

static int64_t joined(const Gen *g, Value x, Value y)
{
    return type_elements(g->w->m, type_union(g->w->m, value_type(g->b.fn, x),
                                             value_type(g->b.fn, y)));
}

TypeAxis fresh_axis(Gen *g, int64_t size)
{
    return (TypeAxis){.axis = axis_fresh(g->w->m, "n", size), .size = size};
}

/* An axis that v has not: one of the module's, if its size fits or none is
 * asked for, or a new one. */
static TypeAxis other_axis(Gen *g, Value v, int64_t size)
{
    TypeAxis a = random_axis(g);
    if (!has_axis(g, v, a.axis) && (!size || a.size == size)) return a;
    return fresh_axis(g, size ? size : 1 + draw_below(g->w, 3));
}

/* ------------------------------------------------------------------ sums -- */

bool gen_map(Gen *g)
{
    Made args[MOST_ARGS];
    Value values[MOST_ARGS];
    uint32_t n = 0, want = draw_below(g->w, MOST_ARGS + 1);
    Type shape = type_scalar(g->w->m, g->w->real);
    for (uint32_t i = 0; i < want; i++) {
        Made *x = pool_pick(g, anything);
        bool fits = x != NULL;
        for (uint32_t k = 0; k < n && fits; k++)
            fits = aligned(g, x->v, values[k]) && !value_eq(x->v, values[k]);
        if (!fits) continue;
        Type t = type_union(g->w->m, shape, value_type(g->b.fn, x->v));
        if (type_elements(g->w->m, t) > g->w->most) continue;
        shape = t;
        args[n] = *x;
        values[n++] = x->v;
    }
    TypeAxis more = random_axis(g);
    bool wider = draw_chance(g->w, n ? 15 : 80) &&
                 !type_axis(g->w->m, shape, more.axis) &&
                 type_elements(g->w->m, shape) * more.size <= g->w->most;
    if (wider) shape = type_with_axis(g->w->m, shape, more);
    Body b = {.g = g, .args = args, .nargs = n, .shape = shape};
    uint32_t kind = draw_below(g->w, 10);
    Part x;
    if (kind == 0   ? !body_bool(&b, &x)
        : kind == 1 ? !body_int(&b, &x)
                    : !body_real(&b, &x))
        return false;
    if (kind == 2 && x.exact) x.e = expr_cast(g->w->m, g->w->narrow, x.e);
    pool_add(g, emit_map_over(&g->b, x.e, values, n, &more, wider), x.most,
             x.exact);
    return true;
}

bool gen_reduce(Gen *g)
{
    static const char *const words[] = {"sum", "max", "min", "prod"};
    Made *x = pool_pick(g, has_axes);
    if (!x) return false;
    DType d = dtype_of(g, x->v);
    uint32_t kind = draw_below(g->w, 4), n = 0;
    if (d == DT_bool) kind = 1 + draw_below(g->w, 2);
    bool extreme = kind == 1 || kind == 2;
    if (extreme && g->w->backward && !x->exact) return false;
    Axis axes[8];
    int64_t count = 1;
    for (uint32_t i = 0; i < axes_of(g, x->v) && n < 8; i++)
        if (n == 0 || draw_chance(g->w, 40)) {
            const TypeAxis *a = axis_at(g, x->v, draw_chance(g->w, 50) ? i : 0);
            bool twice = false;
            for (uint32_t k = 0; k < n; k++)
                twice |= axes[k].id == a->axis.id;
            if (twice) continue;
            axes[n++] = a->axis;
            count *= a->size;
        }
    double most = x->most;
    if (kind == 0) most *= (double)count;
    if (kind == 3) most = pow(fmax(most, 1), (double)count);
    if (most > 1e6) return false;
    bool narrow = dtype_class(d) == DC_float && !dtype_computes(d);
    DType acc = narrow ? DT_f32 : d;
    bool exact = x->exact && (extreme || dtype_class(d) != DC_float);
    DType to = exact ? d : acc;
    pool_add(g, emit_reduce(&g->b, words[kind], x->v, axes, n, to, acc), most,
             exact);
    return true;
}

static bool is_narrow(const Gen *g, const Made *x)
{
    return dtype_of(g, x->v) == g->w->narrow;
}

bool gen_einsum(Gen *g)
{
    bool narrow = g->w->wide && draw_chance(g->w, 50);
    Wanted *wanted = narrow ? is_narrow : is_float;
    Made *x = pool_pick(g, wanted), *y = pool_pick(g, wanted);
    if (!x || !y || dtype_of(g, x->v) != dtype_of(g, y->v)) return false;
    if (!aligned(g, x->v, y->v) ||
        joined(g, x->v, y->v) > (g->w->wide ? 64 : 4) * g->w->most)
        return false;
    Axis sum[8];
    uint32_t n = 0;
    double count = 1;
    for (uint32_t i = 0; i < axes_of(g, x->v) && n < 8; i++) {
        const TypeAxis *a = axis_at(g, x->v, i);
        if (!has_axis(g, y->v, a->axis) || draw_chance(g->w, 30)) continue;
        sum[n++] = a->axis;
        count *= (double)a->size;
    }
    DType d = dtype_of(g, x->v), acc = d == DT_f64 ? DT_f64 : DT_f32;
    double most = x->most * y->most * count;
    Value v = emit_einsum(&g->b, x->v, y->v, sum, n, acc, acc);
    if (elements_of(g, v) > g->w->most) return false;
    pool_add(g, v, most, false);
    return true;
}

bool gen_cumsum(Gen *g)
{
    Made *x = pool_pick(g, float_axes);
    if (!x || !dtype_computes(dtype_of(g, x->v))) return false;
    TypeAxis a = random_axis_of(g, x->v);
    bool reverse = draw_chance(g->w, 50), exclusive = draw_chance(g->w, 50);
    pool_add(g, emit_cumsum(&g->b, x->v, a.axis, reverse, exclusive),
             x->most * (double)a.size, false);
    return true;
}

/* ----------------------------------------------------------------- moves -- */

bool gen_rename(Gen *g)
{
    Made *x = pool_pick(g, has_axes);
    if (!x) return false;
    TypeAxis a = random_axis_of(g, x->v), to = other_axis(g, x->v, a.size);
    pool_add(g, emit_rename(&g->b, x->v, &a.axis, &to.axis, 1), x->most,
             x->exact);
    return true;
}

bool gen_split(Gen *g)
{
    Made *x = pool_pick(g, has_axes);
    if (!x) return false;
    TypeAxis a = random_axis_of(g, x->v);
    for (int64_t k = 2; k < a.size; k++)
        if (a.size % k == 0) {
            TypeAxis to[2] = {fresh_axis(g, k), fresh_axis(g, a.size / k)};
            pool_add(g, emit_split(&g->b, x->v, a.axis, to, 2), x->most,
                     x->exact);
            return true;
        }
    TypeAxis to[2] = {fresh_axis(g, a.size), fresh_axis(g, 1)};
    pool_add(g, emit_split(&g->b, x->v, a.axis, to, 2), x->most, x->exact);
    return true;
}

bool gen_merge(Gen *g)
{
    Made *x = pool_pick(g, has_axes);
    if (!x || axes_of(g, x->v) < 2) return false;
    uint32_t i = draw_below(g->w, axes_of(g, x->v));
    uint32_t k = draw_below(g->w, axes_of(g, x->v));
    if (i == k) return false;
    TypeAxis a = *axis_at(g, x->v, i), b = *axis_at(g, x->v, k);
    TypeAxis to = fresh_axis(g, a.size * b.size);
    pool_add(g, emit_merge(&g->b, x->v, (Axis[]){a.axis, b.axis}, 2, to.axis),
             x->most, x->exact);
    return true;
}

bool gen_slice(Gen *g)
{
    Made *x = pool_pick(g, has_axes);
    if (!x) return false;
    TypeAxis a = random_axis_of(g, x->v);
    int64_t step = 1 + draw_below(g->w, 2);
    int64_t start = draw_below(g->w, (uint32_t)a.size);
    int64_t room = (a.size - 1 - start) / step + 1;
    int64_t size = 1 + draw_below(g->w, (uint32_t)room);
    pool_add(g, emit_slice(&g->b, x->v, a.axis, start, size, step), x->most,
             x->exact);
    return true;
}

bool gen_pad(Gen *g)
{
    Made *x = pool_pick(g, has_axes);
    if (!x || dtype_of(g, x->v) == DT_bool) return false;
    TypeAxis a = random_axis_of(g, x->v);
    int64_t low = draw_below(g->w, 3), high = draw_below(g->w, 3);
    int64_t step = 1 + draw_below(g->w, 2);
    pool_add(g, emit_pad(&g->b, x->v, a.axis, low, high, step), x->most,
             x->exact);
    return elements_of(g, g->pool.at[g->pool.n - 1].v) <= g->w->most;
}

/* Values with the type of x, x among them. */
static uint32_t alike(Gen *g, const Made *x, Value out[3], double *most,
                      bool *exact)
{
    uint32_t n = 0;
    out[n++] = x->v;
    *most = x->most;
    *exact = x->exact;
    for (int i = 0; i < 6 && n < 3; i++) {
        const Made *y = pool_pick(g, anything);
        if (!y ||
            !type_eq(value_type(g->b.fn, y->v), value_type(g->b.fn, x->v)))
            continue;
        out[n++] = y->v;
        *most = fmax(*most, y->most);
        *exact &= y->exact;
    }
    return n;
}

bool gen_concat(Gen *g)
{
    const Made *x = pool_pick(g, has_axes);
    Value xs[3];
    double most;
    bool exact;
    if (!x || elements_of(g, x->v) * 3 > g->w->most) return false;
    TypeAxis a = random_axis_of(g, x->v);
    uint32_t n = alike(g, x, xs, &most, &exact);
    if (draw_chance(g->w, 50))
        xs[n - 1] = emit_slice(&g->b, xs[n - 1], a.axis, 0, 1, 1);
    pool_add(g, emit_concat(&g->b, xs, n, a.axis), most, exact);
    return true;
}

bool gen_stack(Gen *g)
{
    const Made *x = pool_pick(g, anything);
    Value xs[3];
    double most;
    bool exact;
    if (!x || elements_of(g, x->v) * 3 > g->w->most) return false;
    uint32_t n = alike(g, x, xs, &most, &exact);
    pool_add(g, emit_stack(&g->b, xs, n, other_axis(g, xs[0], n).axis), most,
             exact);
    return true;
}

bool gen_window(Gen *g)
{
    const Made *x = pool_pick(g, has_axes);
    if (!x || elements_of(g, x->v) * 4 > g->w->most) return false;
    if (dtype_of(g, x->v) == DT_bool) return false;
    TypeAxis a = random_axis_of(g, x->v);
    TypeAxis to[2] = {fresh_axis(g, 1 + draw_below(g->w, (uint32_t)a.size)),
                      fresh_axis(g, 1 + draw_below(g->w, 3))};
    int64_t coef[2] = {1 + draw_below(g->w, 2),
                       (int64_t)draw_below(g->w, 4) - 1};
    if (coef[1] == 0) coef[1] = 2;
    int64_t start = (int64_t)draw_below(g->w, 4) - 2;
    pool_add(g, emit_window(&g->b, x->v, a.axis, to, coef, 2, start), x->most,
             x->exact);
    return true;
}

bool gen_fold(Gen *g)
{
    const Made *x = pool_pick(g, float_axes);
    if (!x || axes_of(g, x->v) < 2 || !dtype_computes(dtype_of(g, x->v)))
        return false;
    uint32_t i = draw_below(g->w, axes_of(g, x->v) - 1);
    TypeAxis a = *axis_at(g, x->v, i), b = *axis_at(g, x->v, i + 1);
    int64_t coef[2] = {1 + draw_below(g->w, 2), 1};
    int64_t start = (int64_t)draw_below(g->w, 3) - 1;
    TypeAxis to =
        fresh_axis(g, 1 + draw_below(g->w, (uint32_t)(a.size + b.size)));
    pool_add(
        g, emit_fold(&g->b, x->v, to, (Axis[]){a.axis, b.axis}, coef, 2, start),
        x->most * (double)(a.size * b.size), false);
    return true;
}

/* -------------------------------------------------------------- indexing -- */

bool gen_gather(Gen *g)
{
    const Made *x = pool_pick(g, has_axes), *ids = pool_pick(g, is_int);
    if (!x || !ids || dtype_of(g, x->v) == DT_bool) return false;
    TypeAxis a = random_axis_of(g, x->v);
    Value rest = emit_pick(&g->b, x->v, a.axis, 0);
    if (!aligned(g, rest, ids->v) || joined(g, rest, ids->v) > g->w->most)
        return false;
    pool_add(g, emit_gather(&g->b, x->v, ids->v, a.axis), x->most, x->exact);
    return true;
}

bool gen_scatter(Gen *g)
{
    const Made *x = pool_pick(g, is_float), *ids = pool_pick(g, is_int);
    if (!x || !ids || !dtype_computes(dtype_of(g, x->v))) return false;
    if (!aligned(g, x->v, ids->v)) return false;
    Type both = type_union(g->w->m, value_type(g->b.fn, x->v),
                           value_type(g->b.fn, ids->v));
    const TypeInfo *info = type_info(g->w->m, both);
    Axis keep[8];
    uint32_t n = 0;
    for (uint32_t i = 0; i < info->naxes && n < 8; i++)
        if (draw_chance(g->w, 50)) keep[n++] = info->axes[i].axis;
    int64_t count = type_elements(g->w->m, both);
    if (count > 4 * g->w->most) return false;
    TypeAxis to = fresh_axis(g, 1 + draw_below(g->w, 6));
    pool_add(g,
             emit_scatter(&g->b, ids->v, x->v, to, keep, n, dtype_of(g, x->v)),
             x->most * (double)count, false);
    return true;
}

/* One row of the base, or several, replaced by rows of the base itself or of
 * a like value. */
bool gen_put(Gen *g)
{
    const Made *x = pool_pick(g, has_axes), *ids = pool_pick(g, is_int);
    if (!x || !ids || dtype_of(g, x->v) == DT_bool) return false;
    TypeAxis a = random_axis_of(g, x->v);
    Value base = x->v, like[3];
    double most;
    bool exact;
    uint32_t n = alike(g, x, like, &most, &exact);
    Value rows = emit_pick(&g->b, like[n - 1], a.axis, 0), id = ids->v;
    while (axes_of(g, id))
        id = emit_pick(&g->b, id, axis_at(g, id, 0)->axis, 0);
    if (draw_chance(g->w, 60)) {
        TypeAxis several = fresh_axis(g, 1 + draw_below(g->w, 3));
        Expr e = expr_op2(g->w->m, SC_add, expr_arg(g->w->m, 0, DT_i32),
                          expr_index(g->w->m, several.axis));
        id = emit_map_over(&g->b, e, &id, 1, &several, 1);
        rows = emit_broadcast(&g->b, rows, &several, 1);
    }
    bool distinct = draw_chance(g->w, 50);
    Value made = distinct ? emit_put_distinct(&g->b, base, id, rows, a.axis)
                          : emit_put(&g->b, base, id, rows, a.axis);
    pool_add(g, made, most, exact);
    return true;
}

bool gen_top(Gen *g)
{
    const Made *x = pool_pick(g, exact_axes);
    if (!x || dtype_of(g, x->v) == DT_bool) return false;
    TypeAxis a = random_axis_of(g, x->v);
    TypeAxis to = fresh_axis(g, 1 + draw_below(g->w, (uint32_t)a.size));
    pool_add(g,
             emit_top(&g->b, x->v, a.axis, to,
                      draw_chance(g->w, 50) ? "max" : "min"),
             (double)a.size, true);
    return true;
}

bool gen_pick(Gen *g)
{
    const Made *x = pool_pick(g, has_axes);
    if (!x) return false;
    TypeAxis a = random_axis_of(g, x->v);
    int64_t at = draw_below(g->w, (uint32_t)a.size);
    pool_add(g, emit_pick(&g->b, x->v, a.axis, at), x->most, x->exact);
    return true;
}

/* -------------------------------------------------------- made elsewhere -- */

/* Parameters, fields and derivatives come with what needs them; the others
 * belong to the local and the kernel view. */
#define MADE_ELSEWHERE(name) \
    bool gen_##name(Gen *g)  \
    {                        \
        (void)g;             \
        return false;        \
    }
MADE_ELSEWHERE(arg)
MADE_ELSEWHERE(proj)
MADE_ELSEWHERE(grad)
MADE_ELSEWHERE(all_gather)
MADE_ELSEWHERE(reduce_scatter)
MADE_ELSEWHERE(all_reduce)
MADE_ELSEWHERE(all_to_all)
MADE_ELSEWHERE(permute)
MADE_ELSEWHERE(cut)
MADE_ELSEWHERE(part)
MADE_ELSEWHERE(reshard)
MADE_ELSEWHERE(done)
MADE_ELSEWHERE(pending)
MADE_ELSEWHERE(coord)
MADE_ELSEWHERE(send)
MADE_ELSEWHERE(recv)
MADE_ELSEWHERE(buffer)
MADE_ELSEWHERE(view)
MADE_ELSEWHERE(counter)
MADE_ELSEWHERE(launch)
MADE_ELSEWHERE(loop)

static OpRule *const rules[OP_count] = {
#define OP(name, least, most, flags, views, req, opt) [OP_##name] = gen_##name,
#include "../../ir/ops.def"
#undef OP
};

bool gen_op(Gen *g, Op op)
{
    return rules[op](g);
}

bool op_is_made(Op op)
{
    if (op >= OP_count || op == OP_arg || op == OP_proj || op == OP_grad)
        return false;
    return (op_info(op)->views & 1u << VIEW_global) != 0;
}
