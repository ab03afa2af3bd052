/*
 * route.c: products with weights that each row chooses, in blocks of rows.
 *
 *     %g = gather %w, %ids axis expert     [row.., k, n], a matrix a row
 *     %h = einsum %x, %g sum (k)           [row.., n]
 *
 * says what a layer of experts computes, and
 *
 *     %u = map %x, %d { _0 * _1 }          [row.., k, n]
 *     %d_w = scatter %ids, %u axis expert
 *
 * is what the derivative of its weight is.  Neither big value needs to exist:
 * rows are sorted by their ids into blocks of BLOCK rows with one id each, what
 * is left of a block is zero, and both become products of blocks:
 *
 *     %g = gather %w, %of axis chosen      [block, k, n], a matrix a block
 *     %h = einsum %x', %g sum (k)          [block, in, n]
 *     %u = einsum %x', %d' sum (in)        [block, k, n]
 *     %d_w = scatter %of, %u axis chosen ascending
 *
 * of which fuse makes one kernel each.
 *
 *   needs    types of what one device holds: rows are sorted where they are, be
 *            it those that dispatch sent there
 *   keeps    the value of every result, but for the order of sums, and for the
 *            factors of derivatives, which are rounded as operands of products
 *            are (passes/precision)
 *   result   no product has a matrix for each row, and no scatter adds one for
 *            each, where rows fill blocks and kernels of products are made
 *
 * Options: `target` and `matmul`, as for fuse, and `dtype`, as for precision:
 * it is done where such kernels are made.
 *
 * `sort` is the same in the global view, before precision, for products that
 * are to be quantised: sums of gradients, whose rows share scales with those
 * that choose alike, and on one device all others too, whatever it is.  So are
 * all of rows that were sent to what they choose (dispatch): these are in order
 * on each device, which has an index of the axes along which they went.
 *
 *   needs    gradless; behind microbatch, which cuts rows
 *   keeps    the value of every result, but for the order of sums
 *   result   no scatter adds a product of a row that is to be quantised
 */
#include "route/route.h"

#include "cast.h"

#include <string.h>

enum { LEAST_SIDE = 64 };

static int64_t side(const Module *m, Type t, Type without)
{
    const TypeInfo *ti = type_info(m, t);
    int64_t n = 1;
    for (uint32_t i = 0; i < ti->naxes; i++)
        if (!type_axis(m, without, ti->axes[i].axis)) n *= ti->axes[i].size;
    return n;
}

/* -------------------------------------------------------------- forwards -- */

static bool reads(const Module *m, Expr e, uint32_t operand)
{
    const ExprInfo *x = expr_info(m, e);
    bool any = x->op == SC_arg && x->operand == operand;
    for (uint32_t i = 0; i < x->nargs && x->op != SC_arg; i++)
        any |= reads(m, x->args[i], operand);
    return any;
}

/* Zero where the operand is: it is cast, or replaced by zero. */
static bool keeps_zero(const Module *m, Expr e, uint32_t operand)
{
    const ExprInfo *x = expr_info(m, e);
    if (x->op == SC_arg) return x->operand == operand;
    if (x->op == SC_cast) return keeps_zero(m, x->args[0], operand);
    if (x->op != SC_where || reads(m, x->args[0], operand)) return false;
    const ExprInfo *zero = expr_info(m, x->args[2]);
    return zero->op == SC_const && zero->f == 0 &&
           keeps_zero(m, x->args[1], operand);
}

/* The operand of a map of weights that were gathered, where the map could as
 * well be one of all weights: nothing else in it differs from row to row. */
static bool weights_map(const Route *r, const Inst *in, uint32_t *operand)
{
    uint32_t n = 0;
    for (uint32_t i = 0; in->op == OP_map && i < in->nargs; i++) {
        Type t = value_type(r->rw.old, inst_arg(r->rw.old, in, i));
        if (type_info(r->m, t)->naxes == 0) continue;
        *operand = i;
        n++;
    }
    return n == 1 && keeps_zero(r->m, attr_expr(r->m, in->attr), *operand);
}

/* The gather of weights behind operand I of a product, or NULL. */
static const Inst *gather_at(const Route *r, const Inst *in, uint32_t i)
{
    const Fn *fn = r->rw.old;
    const Inst *first = inst_of(fn, inst_arg(fn, in, i)), *g = first;
    while (weights_map(r, g, &i))
        g = inst_of(fn, inst_arg(fn, g, i));
    if (g->op != OP_gather) return NULL;
    Type rows = value_type(fn, inst_arg(fn, g, 1));
    for (const Inst *map = first; map != g;) {
        if (map_asks_index(r->m, map, rows)) return NULL;
        weights_map(r, map, &i);
        map = inst_of(fn, inst_arg(fn, map, i));
    }
    return g;
}

/* All weights as the product has the gathered ones. */
static Value weights_of(Route *r, Value v)
{
    const Fn *fn = r->rw.old;
    const Inst *in = inst_of(fn, v);
    if (in->op == OP_gather) return rewrite_value(&r->rw, inst_arg(fn, in, 0));
    uint32_t operand = 0;
    weights_map(r, in, &operand);
    Value *args = NEW_ARRAY(r->m->scratch, Value, in->nargs);
    for (uint32_t i = 0; i < in->nargs; i++) {
        Value old = inst_arg(fn, in, i);
        args[i] =
            i == operand ? weights_of(r, old) : rewrite_value(&r->rw, old);
    }
    return emit_map(&r->rw.b, attr_expr(r->m, in->attr), args, in->nargs);
}

/* Sums of rows go behind the product, those of the weight's axes into it. */
static void part_sums(const Route *r, const Rows *x, const Inst *in,
                      AttrItem *inside, AttrItem *behind)
{
    const AttrItem *sum = attr_get(r->m, in->attr, AT_sum);
    Axis *axes = NEW_ARRAY(r->m->scratch, Axis, 2 * (size_t)sum->n + 1);
    *inside = (AttrItem){.axes = axes};
    *behind = (AttrItem){.axes = axes + sum->n};
    for (uint32_t i = 0; i < sum->n; i++) {
        bool row = type_axis(r->m, x->type, sum->axes[i]) != NULL;
        AttrItem *to = row ? behind : inside;
        axes[(row ? sum->n : 0) + to->n++] = sum->axes[i];
    }
}

static Value say_missed(const Route *r, const Inst *in, const Rows *x)
{
    pass_missed(r->m, r->cx, in->loc,
                "rows that choose a weight are not sorted: %lld fill no two "
                "blocks of %d",
                (long long)x->rows, BLOCK);
    return NO_VALUE;
}

/* COT: which operand is a cotangent, 0: none. */
static Value with_recipe(Route *r, const Inst *of, Value einsum, int64_t cot)
{
    Builder *b = &r->rw.b;
    const Inst *in = inst_of(b->fn, einsum);
    Value args[2] = {inst_arg(b->fn, in, 0), inst_arg(b->fn, in, 1)};
    AttrList l = attr_list(r->m, in->attr);
    attr_put_id(&l, AT_recipe, attr_get(r->m, of->attr, AT_recipe)->id);
    if (cot) attr_put_int(&l, AT_cot, cot);
    return emit(b, OP_einsum, in->type, attr_intern(r->m, &l), args, 2);
}

/* Rows and the matrices that their blocks chose. */
static Value blocks_product(Route *r, const Order *at, const Inst *in,
                            Value rows, Value each)
{
    Module *m = r->m;
    Builder *b = &r->rw.b;
    AttrItem inside, behind;
    part_sums(r, &at->rows, in, &inside, &behind);
    Axis *sum = NEW_ARRAY(m->scratch, Axis, (size_t)inside.n + 1);
    for (uint32_t i = 0; i < inside.n; i++)
        sum[i] = route_feature(r, inside.axes[i]);
    DType d = type_dtype(m, in->type);
    DType acc = attr_dtype(m, in->attr, AT_acc, dtype_acc(d));
    DType to = behind.n ? acc : d;
    Value h = emit_einsum(b, rows, each, sum, inside.n, to, acc);
    if (r->marked)
        h = with_recipe(r, in, h, attr_get(m, in->attr, AT_cot) ? 1 : 0);
    h = route_from_blocks(r, at, h, in->type);
    if (!behind.n) return h;
    h = emit_reduce(b, "sum", h, behind.axes, behind.n, acc, acc);
    return acc == d ? h : emit_cast(b, h, d);
}

static Value route_product(Route *r, const Inst *in, uint32_t which)
{
    Module *m = r->m;
    const Fn *fn = r->rw.old;
    const Inst *g = gather_at(r, in, which);
    Type w = value_type(fn, inst_arg(fn, g, 0));
    Value ids = inst_arg(fn, g, 1), v = inst_arg(fn, in, 1 - which);
    Rows x;
    AttrItem inside, behind;
    bool fill = route_rows(r, value_type(fn, ids), w, g, &x);
    if (r->marked && !r->alone && !x.sent) return NO_VALUE;
    part_sums(r, &x, in, &inside, &behind);
    int64_t k = side(m, value_type(fn, v), x.type);
    int64_t n = side(m, in->type, x.type);
    bool large = k >= LEAST_SIDE && n >= LEAST_SIDE;
    if (inside.n == 0 || !(large || r->marked) ||
        k * n * x.all != type_elements(m, w))
        return NO_VALUE;
    if (!fill) return r->marked ? NO_VALUE : say_missed(r, in, &x);
    const Order *at = route_order(r, &x, rewrite_value(&r->rw, ids));
    Value rows = route_in_blocks(r, at, rewrite_value(&r->rw, v));
    Value each = route_chosen(r, at, weights_of(r, inst_arg(fn, in, which)));
    return blocks_product(r, at, in, rows, each);
}

/* ------------------------------------------------------------- backwards -- */

static Value route_scatter(Route *r, Value old, const Inst *in)
{
    Module *m = r->m;
    Builder *b = &r->rw.b;
    const Fn *fn = r->rw.old;
    Value ids = inst_arg(fn, in, 0);
    const Inst *u = inst_of(fn, inst_arg(fn, in, 1));
    Rows x;
    if (u->op != OP_map || attr_flag(m, in->attr, AT_ascending) ||
        !has_all(m, u->type, value_type(fn, ids)) ||
        !route_rows(r, value_type(fn, ids), in->type, in, &x))
        return NO_VALUE;
    Factors f = {.in = u, .rows = &x};
    if (r->marked) factors_know(r, &f, in);
    if (!factors_find(r, &f)) return NO_VALUE;
    bool large = side(m, f.type[0], x.type) >= LEAST_SIDE &&
                 side(m, f.type[1], x.type) >= LEAST_SIDE;
    if (!large && !r->marked) return NO_VALUE;
    const Order *at = route_order(r, &x, rewrite_value(&r->rw, ids));
    Value k = route_in_blocks(r, at, factors_side(r, &f, 0));
    Value n = route_in_blocks(r, at, factors_side(r, &f, 1));
    DType d = type_dtype(m, in->type), acc = dtype_acc(d);
    Value p = emit_einsum(b, k, n, &r->in, 1, d, acc);
    if (r->marked) p = with_recipe(r, in, p, 2);
    p = route_added(r, at, p);
    vec_push(m->scratch, &r->added, ((Added){old, p, *at}));
    return route_unchosen(r, at, p, in->type);
}

/* A gradient that is rounded is rounded before its axes have their own names
 * again, so that the kernel which adds it up can do it. */
static Value route_rounding(Route *r, const Inst *in)
{
    if (!is_cast(r->m, r->rw.old, in)) return NO_VALUE;
    Value of = inst_arg(r->rw.old, in, 0);
    for (uint32_t i = 0; i < r->added.n; i++) {
        const Added *a = &r->added.at[i];
        if (!value_eq(a->old, of)) continue;
        Value v = emit_cast(&r->rw.b, a->sum, type_dtype(r->m, in->type));
        return route_unchosen(r, &a->at, v, in->type);
    }
    return NO_VALUE;
}

/* ------------------------------------------------------------------ pass -- */

static Value route_inst(Route *r, Value old, const Inst *in)
{
    Value v = NO_VALUE;
    if (r->marked && !attr_get(r->m, in->attr, AT_recipe)) return v;
    if (in->op == OP_scatter) return route_scatter(r, old, in);
    if (in->op != OP_einsum) return v;
    for (uint32_t i = 0; i < 2 && value_eq(v, NO_VALUE); i++)
        if (gather_at(r, in, i)) v = route_product(r, in, i);
    return v;
}

static void route_fn(Route *r, uint32_t at)
{
    const Fn *fn = r->m->fns.at[at];
    uint32_t n = 0;
    r->orders.n = r->added.n = 0;
    rewrite_begin(&r->rw, r->m, fn);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        r->rw.b.loc = in->loc;
        r->rw.b.phase = (Phase)in->phase;
        Value v = route_rounding(r, in);
        if (!value_eq(v, NO_VALUE)) {
            rewrite_set(&r->rw, (Value){i}, v);
            continue;
        }
        v = route_inst(r, (Value){i}, in);
        if (value_eq(v, NO_VALUE)) {
            rewrite_copy(&r->rw, (Value){i});
            continue;
        }
        value_set_name(&r->rw.b, v, fn->names[i]);
        rewrite_set(&r->rw, (Value){i}, v);
        pass_remark(r->m, r->cx, in->loc,
                    "rows are sorted into blocks of %d that choose alike",
                    BLOCK);
        n++;
    }
    Fn *made = rewrite_end(&r->rw);
    if (n) r->m->fns.at[at] = fn_without_unneeded(r->m, made);
}

bool pass_sort(Module *m, PassCtx *cx)
{
    Route r = {
        .m = m, .cx = cx, .compute = DT_f32, .marked = true, .alone = true};
    for (uint32_t i = 0; i < m->mesh.n; i++)
        r.alone = r.alone && m->mesh.at[i].size == 1;
    for (uint32_t i = 0; i < m->fns.n; i++)
        if (fn_has_attr(m, m->fns.at[i], AT_recipe)) route_fn(&r, i);
    return true;
}

bool pass_route(Module *m, PassCtx *cx)
{
    Route r = {.m = m, .cx = cx, .compute = DT_bf16};
    const char *maker = pass_option(m, cx, "matmul", "library");
    const char *target = pass_option(m, cx, "target", "host");
    const char *dtype = pass_option(m, cx, "dtype", "bf16");
    bool kernels = strcmp(maker, "library") != 0 &&
                   strcmp(target, "sm_90a") == 0 && strcmp(dtype, "f32") != 0;
    for (uint32_t i = 0; i < m->fns.n && kernels; i++) {
        route_join(&r, i);
        route_fn(&r, i);
    }
    return true;
}
