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
 *     %g = gather %w, %of axis expert      [block, k, n], a matrix a block
 *     %h = einsum %x', %g sum (k)          [block, in, n]
 *     %u = einsum %x', %d' sum (in)        [block, k, n]
 *     %d_w = scatter %of, %u axis expert ascending
 *
 * of which fuse makes one kernel each.  How many blocks there are is known to
 * within one for each id, so all sizes are: those that no row needs have an id
 * that counts for nothing.
 *
 *   needs    gradless; it stands behind microbatch, which cuts rows, and before
 *            precision, which rounds operands of products
 *   keeps    the value of every result, but for the order of sums
 *   result   no product has a matrix for each row, and no scatter adds one for
 *            each, where rows fill blocks and kernels of products are made
 *
 * Options: `target` and `matmul`, as for fuse, and `dtype`, as for precision:
 * it is done where such kernels are made.  Axes of rows come before those of
 * the weight, which begins with the axis of ids: the blocks' axes take the
 * names of the first two, so that they lie outermost in memory.
 */
#include "pass.h"

enum { BLOCK = 128, LEAST_BLOCKS = 2, LEAST_SIDE = 64, MOST_SCAN = 256 };

typedef struct Route {
    Value ids; /* of the new function */
    Axis expert;
    Value place;  /* of each row, its slot; -1: its id counts for nothing */
    Value source; /* [block, in]: the row that is there; -1: none */
    Value of;     /* [block]: the id */
} Route;

typedef struct Routes {
    Module *m;
    PassCtx *cx;
    Rewrite rw;
    VEC(Route) made;
} Routes;

/* Rows of one pattern. */
typedef struct Rows {
    Type type; /* of the ids */
    Axis block, in, expert;
    int64_t rows, blocks, experts;
} Rows;

static Type type_at(const Routes *r, Value v)
{
    return value_type(r->rw.b.fn, v);
}

static Expr number(Routes *r, int64_t n)
{
    return expr_int(r->m, DT_i32, n);
}

static Expr op(Routes *r, ScalarOp o, Expr a, Expr b)
{
    return expr_op(r->m, o, a, b, (Expr){0});
}

static Expr arg(Routes *r, uint32_t i)
{
    return expr_arg(r->m, i, DT_i32);
}

static Expr index_of(Routes *r, Axis axis)
{
    return expr_index(r->m, axis);
}

static TypeAxis sized(Axis axis, int64_t size)
{
    return (TypeAxis){.axis = axis, .size = size};
}

/* ------------------------------------------------------------------ rows -- */

static bool has_all(const Module *m, Type t, Type axes)
{
    const TypeInfo *ti = type_info(m, axes);
    for (uint32_t i = 0; i < ti->naxes; i++)
        if (!type_axis(m, t, ti->axes[i].axis)) return false;
    return true;
}

/* W is experts by matrices; the rows' axes come first and are not in it. */
static bool find_rows(const Routes *r, Type ids, Type w, Axis expert, Rows *out)
{
    const Module *m = r->m;
    const TypeInfo *ti = type_info(m, ids), *wi = type_info(m, w);
    if (ti->dtype != DT_i32 || ti->naxes < 2 || wi->naxes < 3 ||
        wi->axes[0].axis.id != expert.id)
        return false;
    for (uint32_t i = 0; i < ti->naxes; i++)
        if (type_axis(m, w, ti->axes[i].axis)) return false;
    for (uint32_t i = 1; i < wi->naxes; i++)
        if (wi->axes[i].axis.id < ti->axes[1].axis.id) return false;
    *out = (Rows){.type = ids,
                  .block = ti->axes[0].axis,
                  .in = ti->axes[1].axis,
                  .expert = expert,
                  .rows = type_elements(m, ids),
                  .experts = wi->axes[0].size};
    out->blocks = out->rows / BLOCK + out->experts;
    return out->rows % BLOCK == 0 && out->rows >= LEAST_BLOCKS * BLOCK;
}

/* All rows along one axis. */
static Value flat(Routes *r, const Rows *x, Value v, Axis to)
{
    Type t = type_at(r, v);
    const TypeInfo *ti = type_info(r->m, t);
    VEC(Axis) from = {0};
    for (uint32_t i = 0; i < ti->naxes; i++)
        if (type_axis(r->m, x->type, ti->axes[i].axis))
            vec_push(r->m->scratch, &from, ti->axes[i].axis);
    return emit_merge(&r->rw.b, v, from.at, from.n, to);
}

static Value index_along(Routes *r, TypeAxis axis)
{
    return emit_map_over(&r->rw.b, index_of(r, axis.axis), NULL, 0, &axis, 1);
}

/* ---------------------------------------------------------------- routes -- */

/* Rows of one id that come before each row, along `in`: sums of parts, then of
 * the parts before. */
static Value rank_of(Routes *r, const Rows *x, Value one, Value ids)
{
    Builder *b = &r->rw.b;
    int64_t part = 1;
    for (int64_t n = 2; n <= MOST_SCAN; n++)
        if (x->rows % n == 0) part = n;
    TypeAxis to[2] = {sized(x->block, x->rows / part), sized(x->in, part)};
    one = emit_split(b, one, x->in, to, 2);
    ids = emit_split(b, ids, x->in, to, 2);
    Value here = emit_cumsum(b, one, x->in, false, true);
    Value all = emit_reduce(b, "sum", one, &x->in, 1, DT_i32, DT_i32);
    Value before = emit_cumsum(b, all, x->block, false, true);
    Expr sum = op(r, SC_add, arg(r, 0), arg(r, 1));
    Value rank = emit_gather(b, emit_map(b, sum, (Value[]){here, before}, 2),
                             ids, x->expert);
    return emit_merge(b, rank, (Axis[]){x->block, x->in}, 2, x->in);
}

/* The id of each block: the last that begins there or before. */
static Value ids_of(Routes *r, const Rows *x, Value first, Value count)
{
    Builder *b = &r->rw.b;
    TypeAxis blocks = sized(x->block, x->blocks);
    Value at = index_along(r, blocks);
    Value begun =
        emit_map(b, expr_cast(r->m, DT_i32, op(r, SC_le, arg(r, 0), arg(r, 1))),
                 (Value[]){first, at}, 2);
    begun = emit_reduce(b, "sum", begun, &x->expert, 1, DT_i32, DT_i32);
    Value all = emit_reduce(b, "sum", count, &x->expert, 1, DT_i32, DT_i32);
    Expr used = op(r, SC_lt, arg(r, 0), arg(r, 1));
    Expr id = op(r, SC_sub, arg(r, 2), number(r, 1));
    return emit_map(b, expr_op(r->m, SC_where, used, id, number(r, x->experts)),
                    (Value[]){at, all, begun}, 3);
}

static void place_rows(Routes *r, const Rows *x, Value ids, Value first,
                       Value rank, Route *out)
{
    Builder *b = &r->rw.b;
    int64_t slots = x->blocks * BLOCK;
    Value begin = emit_gather(b, first, ids, x->expert);
    Expr at =
        op(r, SC_add, op(r, SC_mul, arg(r, 0), number(r, BLOCK)), arg(r, 1));
    Expr known = op(r, SC_and, op(r, SC_le, number(r, 0), arg(r, 2)),
                    op(r, SC_lt, arg(r, 2), number(r, x->experts)));
    Value place = emit_map(b, expr_op(r->m, SC_where, known, at, number(r, -1)),
                           (Value[]){begin, rank, ids}, 3);
    TypeAxis all = sized(x->block, slots);
    Value none = emit_map_over(b, number(r, -1), NULL, 0, &all, 1);
    Value row = index_along(r, sized(x->in, x->rows));
    Value source = emit_put(b, none, place, row, x->block);
    TypeAxis to[2] = {sized(x->block, x->blocks), sized(x->in, BLOCK)};
    out->source = emit_split(b, source, x->block, to, 2);
    const TypeInfo *ti = type_info(r->m, x->type);
    out->place = emit_split(b, place, x->in, ti->axes, ti->naxes);
}

static Route make_route(Routes *r, const Rows *x, Value ids)
{
    Builder *b = &r->rw.b;
    Route out = {.ids = ids, .expert = x->expert};
    Value rows = flat(r, x, ids, x->in);
    TypeAxis experts = sized(x->expert, x->experts);
    Value each = index_along(r, experts);
    Value one =
        emit_map(b, expr_cast(r->m, DT_i32, op(r, SC_eq, arg(r, 0), arg(r, 1))),
                 (Value[]){rows, each}, 2);
    Value rank = rank_of(r, x, one, rows);
    Value count = emit_reduce(b, "sum", one, &x->in, 1, DT_i32, DT_i32);
    Expr blocks = op(r, SC_idiv, op(r, SC_add, arg(r, 0), number(r, BLOCK - 1)),
                     number(r, BLOCK));
    count = emit_map(b, blocks, &count, 1);
    Value first = emit_cumsum(b, count, x->expert, false, true);
    out.of = ids_of(r, x, first, count);
    place_rows(r, x, rows, first, rank, &out);
    return out;
}

static Route route_of(Routes *r, const Rows *x, Value ids)
{
    for (uint32_t i = 0; i < r->made.n; i++)
        if (value_eq(r->made.at[i].ids, ids) &&
            r->made.at[i].expert.id == x->expert.id)
            return r->made.at[i];
    vec_push(r->m->scratch, &r->made, make_route(r, x, ids));
    return vec_last(&r->made);
}

/* V's rows in blocks; it may lack some of the rows' axes. */
static Value in_blocks(Routes *r, const Rows *x, const Route *at, Value v)
{
    Builder *b = &r->rw.b;
    const TypeInfo *ti = type_info(r->m, x->type);
    Value source = at->source;
    int64_t stride = 1, all = 1;
    Expr own = number(r, 0), rest = arg(r, 0);
    for (uint32_t i = ti->naxes; i-- > 0; all *= ti->axes[i].size) {
        if (!type_axis(r->m, type_at(r, v), ti->axes[i].axis)) continue;
        Expr e = op(r, SC_idiv, rest, number(r, all));
        e = op(r, SC_imod, e, number(r, ti->axes[i].size));
        own = op(r, SC_add, own, op(r, SC_mul, e, number(r, stride)));
        stride *= ti->axes[i].size;
    }
    if (stride != x->rows) {
        Expr none = op(r, SC_lt, rest, number(r, 0));
        source = emit_map(b, expr_op(r->m, SC_where, none, number(r, -1), own),
                          &source, 1);
    }
    return emit_gather(b, flat(r, x, v, x->block), source, x->block);
}

/* -------------------------------------------------------------- forwards -- */

static const Inst *gather_at(const Routes *r, const Inst *in, uint32_t i)
{
    const Inst *g = inst_of(r->rw.old, inst_arg(r->rw.old, in, i));
    return g->op == OP_gather ? g : NULL;
}

static int64_t side(const Module *m, Type t, Type without)
{
    const TypeInfo *ti = type_info(m, t);
    int64_t n = 1;
    for (uint32_t i = 0; i < ti->naxes; i++)
        if (!type_axis(m, without, ti->axes[i].axis)) n *= ti->axes[i].size;
    return n;
}

/* Sums of rows go behind the product, those of the weight's axes into it. */
static void part_sums(const Routes *r, const Rows *x, const Inst *in,
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

static Value say_missed(const Routes *r, const Inst *in)
{
    pass_missed(r->m, r->cx, in->loc,
                "rows that choose a weight are not sorted: they are no whole "
                "blocks of %d along two axes, or the weight's axes are not "
                "declared behind theirs, the chosen one first",
                BLOCK);
    return NO_VALUE;
}

static Value route_product(Routes *r, const Inst *in, uint32_t which)
{
    Module *m = r->m;
    Builder *b = &r->rw.b;
    const Fn *fn = r->rw.old;
    const Inst *g = gather_at(r, in, which);
    Value w = inst_arg(fn, g, 0), ids = inst_arg(fn, g, 1);
    Value v = inst_arg(fn, in, 1 - which);
    Axis expert = attr_axis(m, g->attr, AT_axis);
    Rows x;
    AttrItem inside, behind;
    if (!find_rows(r, value_type(fn, ids), value_type(fn, w), expert, &x))
        return say_missed(r, in);
    part_sums(r, &x, in, &inside, &behind);
    int64_t k = side(m, value_type(fn, v), x.type);
    int64_t n = side(m, in->type, x.type);
    if (inside.n == 0 || k < LEAST_SIDE || n < LEAST_SIDE ||
        k * n * x.experts != type_elements(m, value_type(fn, w)))
        return NO_VALUE;
    Route at = route_of(r, &x, rewrite_value(&r->rw, ids));
    Value rows = in_blocks(r, &x, &at, rewrite_value(&r->rw, v));
    Value each = emit_gather(b, rewrite_value(&r->rw, w), at.of, expert);
    DType d = type_dtype(m, in->type);
    DType acc = attr_dtype(m, in->attr, AT_acc, dtype_acc(d));
    DType to = behind.n ? acc : d;
    Value h = emit_einsum(b, rows, each, inside.axes, inside.n, to, acc);
    h = emit_merge(b, h, (Axis[]){x.block, x.in}, 2, x.block);
    h = emit_gather(b, h, at.place, x.block);
    if (behind.n) h = emit_reduce(b, "sum", h, behind.axes, behind.n, d, acc);
    return h;
}

/* ------------------------------------------------------------- backwards -- */

/* Factors of a product of maps: those with the axes of one side of the weight,
 * and those with the others'. */
typedef struct Factors {
    Routes *r;
    const Inst *in;
    const Rows *x;
    Expr side[2];
    Type type[2]; /* axes beside the rows' */
    bool known[2];
} Factors;

/* The axes beside the rows' of all that E reads. */
static bool axes_read(const Factors *f, Expr e, Type *out)
{
    Module *m = f->r->m;
    const ExprInfo *x = expr_info(m, e);
    if (x->op == SC_index) return false;
    for (uint32_t i = 0; i < x->nargs && x->op != SC_arg; i++)
        if (!axes_read(f, x->args[i], out)) return false;
    if (x->op != SC_arg) return true;
    Type t =
        value_type(f->r->rw.old, inst_arg(f->r->rw.old, f->in, x->operand));
    const TypeInfo *ti = type_info(m, t);
    for (uint32_t i = 0; i < ti->naxes; i++)
        if (!type_axis(m, f->x->type, ti->axes[i].axis))
            *out = type_with_axis(m, *out, ti->axes[i]);
    return true;
}

static void take_factor(Factors *f, uint32_t s, Expr e, Type t)
{
    f->side[s] = f->side[s].id ? op(f->r, SC_mul, f->side[s], e) : e;
    if (f->known[s] || type_info(f->r->m, t)->naxes == 0) return;
    f->type[s] = t;
    f->known[s] = true;
}

static bool split_factors(Factors *f, Expr e)
{
    Module *m = f->r->m;
    const ExprInfo *x = expr_info(m, e);
    if (x->op == SC_mul)
        return split_factors(f, x->args[0]) && split_factors(f, x->args[1]);
    Type t = type_scalar(m, DT_f32);
    if (!axes_read(f, e, &t)) return false;
    for (uint32_t s = 0; s < 2; s++)
        if (!f->known[s] || has_all(m, f->type[s], t)) {
            take_factor(f, s, e, t);
            return true;
        }
    return false;
}

/* The map of a side, of those operands alone that it reads. */
static Value factor_of(Factors *f, uint32_t s)
{
    Routes *r = f->r;
    Module *m = r->m;
    uint32_t nodes, n = 0;
    Expr *walk = expr_walk(m, f->side[s], m->scratch, &nodes);
    Value *args = NEW_ARRAY(m->scratch, Value, (size_t)f->in->nargs + 1);
    Expr *with = NEW_ARRAY(m->scratch, Expr, (size_t)f->in->nargs + 1);
    for (uint32_t i = 0; i < nodes; i++) {
        const ExprInfo *e = expr_info(m, walk[i]);
        if (e->op != SC_arg || with[e->operand].id) continue;
        Value v = inst_arg(r->rw.old, f->in, e->operand);
        with[e->operand] = expr_arg(m, n, (DType)e->dtype);
        args[n++] = rewrite_value(&r->rw, v);
    }
    ExprSubst subst = {.with = with, .n = f->in->nargs};
    return emit_map(&r->rw.b, expr_subst(m, f->side[s], &subst), args, n);
}

static Value route_scatter(Routes *r, const Inst *in)
{
    Module *m = r->m;
    Builder *b = &r->rw.b;
    const Fn *fn = r->rw.old;
    Value ids = inst_arg(fn, in, 0);
    const Inst *u = inst_of(fn, inst_arg(fn, in, 1));
    Axis expert = attr_axis(m, in->attr, AT_axis);
    Rows x;
    if (u->op != OP_map || attr_flag(m, in->attr, AT_ascending) ||
        !has_all(m, u->type, value_type(fn, ids)) ||
        !find_rows(r, value_type(fn, ids), in->type, expert, &x))
        return NO_VALUE;
    Factors f = {.r = r, .in = u, .x = &x};
    if (!split_factors(&f, attr_expr(m, u->attr)) || !f.known[0] ||
        !f.known[1] || side(m, f.type[0], x.type) < LEAST_SIDE ||
        side(m, f.type[1], x.type) < LEAST_SIDE)
        return NO_VALUE;
    Route at = route_of(r, &x, rewrite_value(&r->rw, ids));
    Value k = in_blocks(r, &x, &at, factor_of(&f, 0));
    Value n = in_blocks(r, &x, &at, factor_of(&f, 1));
    DType d = type_dtype(m, in->type), acc = dtype_acc(d);
    Value p = emit_einsum(b, k, n, &x.in, 1, d, acc);
    AttrList l = {0};
    attr_put_id(&l, AT_axis, expert.id);
    attr_put_int(&l, AT_ascending, 1);
    return emit(b, OP_scatter, in->type, attr_intern(m, &l),
                (Value[]){at.of, p}, 2);
}

/* ------------------------------------------------------------------ pass -- */

static Value route_inst(Routes *r, const Inst *in)
{
    Value v = NO_VALUE;
    if (in->op == OP_scatter) return route_scatter(r, in);
    if (in->op != OP_einsum) return v;
    for (uint32_t i = 0; i < 2 && value_eq(v, NO_VALUE); i++)
        if (gather_at(r, in, i)) v = route_product(r, in, i);
    return v;
}

static uint32_t route_fn(Routes *r, uint32_t at)
{
    const Fn *fn = r->m->fns.at[at];
    uint32_t n = 0;
    r->made.n = 0;
    rewrite_begin(&r->rw, r->m, fn);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        r->rw.b.loc = in->loc;
        r->rw.b.phase = (Phase)in->phase;
        Value v = route_inst(r, in);
        if (value_eq(v, NO_VALUE)) {
            rewrite_copy(&r->rw, (Value){i});
            continue;
        }
        rewrite_set(&r->rw, (Value){i}, v);
        pass_remark(r->m, r->cx, in->loc,
                    "rows are sorted into blocks of %d that choose alike",
                    BLOCK);
        n++;
    }
    Fn *made = rewrite_end(&r->rw);
    if (n) r->m->fns.at[at] = made;
    return n;
}

bool pass_route(Module *m, PassCtx *cx)
{
    Routes r = {.m = m, .cx = cx};
    const char *maker = pass_option(m, cx, "matmul", "library");
    const char *target = pass_option(m, cx, "target", "host");
    const char *dtype = pass_option(m, cx, "dtype", "bf16");
    bool kernels = strcmp(maker, "library") != 0 &&
                   strcmp(target, "sm_90a") == 0 && strcmp(dtype, "f32") != 0;
    for (uint32_t i = 0; i < m->mesh.n; i++)
        kernels = kernels && m->mesh.at[i].size == 1;
    for (uint32_t i = 0; i < m->fns.n && kernels; i++)
        route_fn(&r, i);
    return true;
}
