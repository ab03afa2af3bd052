/*
 * quantise.c: products in eight bits, or four.
 *
 *   needs    gradless, precise; the marks of the pass `recipe`
 *   keeps    everything but contractions with a recipe
 *   result   no contraction has a recipe; those that had one multiply numbers
 *            of eight bits or fewer
 *
 * A quantised value is a value in a narrow format, a scale, and the axes that
 * share the scale:
 *
 *     amax = max over those axes of |x|
 *     q    = cast(x * scale)                  saturating, to nearest
 *     x    ~ q * inverse                      inverse = 1 / scale
 *
 * A linear layer has three products, each quantised along the axes that it
 * sums: the output x w, the gradient of the input g w, the gradient of the
 * weight x g.
 *
 *   tensorwise   One scale for the whole logical tensor, 448 or 57344 (the
 *                largest e4m3, e5m2) over max(amax, 1e-12), divided in f64 and
 *                rounded to f32.  Activations and weights are e4m3, cotangents
 *                e5m2.
 *   rowwise      One scale for each row of what is summed, rounded down to a
 *                power of two; all e4m3.
 *   rowwise_with_gw_hp   The output as rowwise, the gradient of the input with
 *                a weight that is scaled as a whole, that of the weight as it
 *                was.
 *   blockwise    A scale for 128 elements of what is summed, for a weight for
 *                128 x 128; powers of two, e4m3.
 *   mxfp8, mxfp4 A scale 2^k for 32 elements, k the exponent of amax less that
 *                of the largest e4m3 or e2m1 (OCP Microscaling Formats 1.0,
 *                section 6.3); mxfp8_rceil: the exponent of amax / 448,
 *                rounded up.
 *
 * What shares a scale with something that is not finite is NaN, so that no
 * format hides it.  What shares one with zeros alone is zero.
 *
 * Scales that do not vary along the sum are taken out of it: the product of the
 * narrow numbers is summed in f32, multiplied by both inverses, and rounded to
 * the dtype of what was narrowed, but for gradients of weights.  Scales that
 * do vary, all powers of two, are multiplied in first: what they give is exact
 * in bf16, and the product is one of bf16.
 *
 * Where the target multiplies rows, or blocks of 128, with their scales, that
 * is written of these too: the product has the narrow numbers and the inverses
 * for operands, and nobody else multiplies by them.
 */
#include <string.h>

#include "remat/remat.h"

enum { MOST_AXES = 32 };

typedef enum Method {
    METHOD_none,
    METHOD_tensor,
    METHOD_row,
    METHOD_block
} Method;

/* How an operand is quantised. */
typedef struct Way {
    Method method;
    DType format;
    bool power;    /* scales are powers of two */
    bool mx;       /* the inverse is the power, of amax's exponent */
    bool up;       /* rounded up, else down */
    int64_t block; /* how many share a scale */
    bool square;   /* and along the other side of a weight too */
} Way;

/* What a value became, by blocks along some axes. */
typedef struct Blocked {
    Value x, y;
    Way way;
    Axis sum[MOST_AXES];
    uint32_t nsum;
} Blocked;

/* Some axes of a value as one, cut in blocks; the way back. */
typedef struct Cut {
    Axis from[MOST_AXES];
    TypeAxis was[MOST_AXES];
    uint32_t n;
    Axis whole, block, part; /* part: within a block */
    Axis again;              /* another name for it */
} Cut;

typedef struct Shared {
    bool side; /* not of what is summed */
    Cut cut;
} Shared;

typedef struct Quantise {
    Module *m;
    const PassCtx *cx;
    Rewrite rw;
    const Inst *in;       /* the contraction */
    VEC(Blocked) blocked; /* of this function */
    VEC(Shared) shared;   /* of products that take scales */
    bool scales;          /* the target has such */
    Axis sum[MOST_AXES], inner[MOST_AXES];
    uint32_t nsum;
    Map names; /* of axes: what they are called innermost */
    uint32_t made;
} Quantise;

/* --------------------------------------------------------------- recipes -- */

typedef enum Product {
    PRODUCT_output,
    PRODUCT_input, /* its gradient */
    PRODUCT_weight
} Product;

static Way tensor_way(bool cot)
{
    return (Way){.method = METHOD_tensor, .format = cot ? DT_e5m2 : DT_e4m3};
}

static Way row_way(void)
{
    return (Way){.method = METHOD_row, .format = DT_e4m3, .power = true};
}

static Way mx_way(DType format, bool up)
{
    return (Way){.method = METHOD_block,
                 .format = format,
                 .power = true,
                 .mx = true,
                 .up = up,
                 .block = 32};
}

/* Of the operand that is a cotangent, or of the other, which is the weight in
 * the gradient of the input. */
static Way way_of(const char *recipe, Product product, bool cot, bool weight)
{
    if (strcmp(recipe, "tensorwise") == 0) return tensor_way(cot);
    if (strcmp(recipe, "rowwise") == 0) return row_way();
    if (strcmp(recipe, "mxfp8") == 0) return mx_way(DT_e4m3, false);
    if (strcmp(recipe, "mxfp8_rceil") == 0) return mx_way(DT_e4m3, true);
    if (strcmp(recipe, "mxfp4") == 0) return mx_way(DT_e2m1, false);
    if (strcmp(recipe, "blockwise") == 0)
        return (Way){.method = METHOD_block,
                     .format = DT_e4m3,
                     .power = true,
                     .block = 128,
                     .square = weight};
    if (product == PRODUCT_weight) return (Way){.method = METHOD_none};
    Way way =
        weight && product == PRODUCT_input ? tensor_way(false) : row_way();
    way.power = true;
    return way;
}

/* ---------------------------------------------------------------- scales -- */

static double largest(DType format)
{
    return dtype_round(format, 1e30);
}

static Value amax_over(Quantise *q, Value x, const Axis *axes, uint32_t n)
{
    Builder *b = &q->rw.b;
    Value wide = emit_unary(b, SC_abs, emit_cast(b, x, DT_f32));
    return n ? emit_reduce(b, "max", wide, axes, n, DT_f32, DT_f32) : wide;
}

/* X, or NaN where something under the scale is not finite: e8m0 has neither an
 * infinity nor the zero that is its inverse. */
static Expr if_finite(Module *m, Expr amax, Expr x)
{
    Expr none = {0}, finite = expr_op(m, SC_isfinite, amax, none, none);
    Expr nan = expr_float(m, DT_f32, (double)__builtin_nanf(""));
    return expr_op(m, SC_where, finite, x, nan);
}

static Expr power_of_two(Module *m, Expr x)
{
    return expr_cast(m, DT_f32, expr_cast(m, DT_e8m0, x));
}

/* The body of scale(amax): what x is multiplied by. */
static Expr scale_body(Module *m, const Way *way)
{
    Expr none = {0}, amax = expr_arg(m, 0, DT_f32);
    Expr least = expr_float(m, DT_f64, 1e-12);
    Expr wide = expr_op(m, SC_max, expr_cast(m, DT_f64, amax), least, none);
    Expr top = expr_float(m, DT_f64, largest(way->format));
    Expr scale = expr_cast(m, DT_f32, expr_op(m, SC_div, top, wide, none));
    return way->power ? if_finite(m, amax, power_of_two(m, scale)) : scale;
}

/* The body of inverse(amax), a power of two: of amax's exponent, or of what
 * amax is beside the largest number, rounded up. */
static Expr inverse_body(Module *m, const Way *way)
{
    Expr none = {0}, amax = expr_arg(m, 0, DT_f32);
    double most = largest(way->format);
    Expr by = expr_float(m, DT_f32, way->up ? 1 / most : 1);
    Expr part = expr_op(m, SC_mul, amax, by, none);
    Expr down = power_of_two(m, part);
    if (way->up) {
        Expr twice = expr_op(m, SC_mul, down, expr_float(m, DT_f32, 2), none);
        Expr less = expr_op(m, SC_lt, down, part, none);
        down = expr_op(m, SC_where, less, twice, down);
    } else {
        double below = dtype_round(DT_e8m0, most);
        down = power_of_two(m, expr_op(m, SC_mul, down,
                                       expr_float(m, DT_f32, 1 / below), none));
    }
    return if_finite(m, amax, power_of_two(m, down));
}

static Value of_amax(Quantise *q, Expr body, Value amax)
{
    return emit_map(&q->rw.b, body, &amax, 1);
}

static Value inverse_of(Quantise *q, Value scale)
{
    Value one = emit_const(&q->rw.b, DT_f32, 1);
    return emit_binary(&q->rw.b, SC_div, one, scale);
}

/* -------------------------------------------------------------- operands -- */

static Value narrow(Quantise *q, Value x, Value scale, DType format)
{
    Builder *b = &q->rw.b;
    Value wide = emit_cast(b, x, DT_f32);
    return emit_cast(b, emit_binary(b, SC_mul, wide, scale), format);
}

static Type type_of(const Quantise *q, Value x)
{
    return value_type(q->rw.b.fn, x);
}

static uint32_t all_axes(const Quantise *q, Type of, Axis *out)
{
    const TypeInfo *t = type_info(q->m, of);
    for (uint32_t i = 0; i < t->naxes; i++)
        out[i] = t->axes[i].axis;
    return t->naxes;
}

/* Axes of X, in its order, that are summed, or that are not. */
static uint32_t axes_where(const Quantise *q, Type of, bool summed, Axis *out)
{
    Axis all[MOST_AXES];
    uint32_t n = all_axes(q, of, all), k = 0;
    for (uint32_t i = 0; i < n; i++) {
        bool is = false;
        for (uint32_t s = 0; s < q->nsum; s++)
            is = is || q->sum[s].id == all[i].id;
        if (is == summed) out[k++] = all[i];
    }
    return k;
}

/* Whether an axis comes behind all of some, and is none of them. */
static bool is_after(Axis a, const Axis *some, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (a.id <= some[i].id) return false;
    return true;
}

static int64_t elements(const Quantise *q, Type t, const Axis *axes, uint32_t n)
{
    int64_t size = 1;
    for (uint32_t i = 0; i < n; i++)
        size *= type_size(q->m, t, axes[i]);
    return size;
}

/* The axes that are summed get names that come last, so that they lie innermost
 * in memory: tensor cores read numbers of eight bits along them alone. */
static void name_inner(Quantise *q)
{
    for (uint32_t i = 0; i < q->nsum; i++) {
        uint32_t id;
        if (!map_find(&q->names, q->sum[i].id, &id)) {
            const AxisInfo *a = &q->m->axes.at[q->sum[i].id];
            id = axis_fresh(q->m, str_of(q->m, a->name), a->size).id;
            map_set(&q->names, q->sum[i].id, id);
        }
        q->inner[i] = (Axis){id};
    }
}

/* The narrow value, and what its products are multiplied by. */
static Value scaled_operand(Quantise *q, Value x, const Way *way,
                            Value *inverse)
{
    Axis all[MOST_AXES];
    bool row = way->method == METHOD_row;
    uint32_t n = row ? q->nsum : all_axes(q, type_of(q, x), all);
    Value amax = amax_over(q, x, row ? q->sum : all, n);
    Value scale = of_amax(q, scale_body(q->m, way), amax);
    *inverse = inverse_of(q, scale);
    x = emit_rename(&q->rw.b, x, q->sum, q->inner, q->nsum);
    return narrow(q, x, scale, way->format);
}

static Cut cut_new(Quantise *q, Type t, const Axis *axes, uint32_t n,
                   int64_t size)
{
    int64_t all = elements(q, t, axes, n);
    Cut c = {.n = n,
             .whole = axis_fresh(q->m, "cut", all),
             .block = axis_fresh(q->m, "block", all / size),
             .part = axis_fresh(q->m, "part", size)};
    for (uint32_t i = 0; i < n; i++) {
        c.from[i] = axes[i];
        c.was[i] = *type_axis(q->m, t, axes[i]);
    }
    return c;
}

static Value cut(Quantise *q, Value x, const Cut *c)
{
    Builder *b = &q->rw.b;
    const Module *m = q->m;
    TypeAxis to[2] = {{.axis = c->block, .size = m->axes.at[c->block.id].size},
                      {.axis = c->part, .size = m->axes.at[c->part.id].size}};
    x = c->n > 1 ? emit_merge(b, x, c->from, c->n, c->whole)
                 : emit_rename(b, x, c->from, &c->whole, 1);
    return emit_split(b, x, c->whole, to, 2);
}

static Value join(Quantise *q, Value x, const Cut *c)
{
    Builder *b = &q->rw.b;
    Axis parts[2] = {c->block, c->part};
    x = emit_merge(b, x, parts, 2, c->whole);
    if (c->n > 1) return emit_split(b, x, c->whole, c->was, c->n);
    return emit_rename(b, x, &c->whole, c->from, 1);
}

/* Memory has axes in the order in which they were named, so what lies behind
 * the first cut gets new names: in blocks, too, everything lies where it did.
 */
typedef struct Cuts {
    Cut cut[2];
    uint32_t n;
    Axis from[MOST_AXES], to[MOST_AXES];
    uint32_t nbehind;
} Cuts;

static Axis name_behind(Quantise *q, Axis a, Cuts *c)
{
    const AxisInfo *of = &q->m->axes.at[a.id];
    uint32_t i = c->nbehind++;
    c->from[i] = a;
    c->to[i] = axis_fresh(q->m, str_of(q->m, of->name), of->size);
    return c->to[i];
}

static Value cut_all(Quantise *q, Value x, const Way *way, Cuts *c)
{
    Axis sum[MOST_AXES], beside[MOST_AXES], *first = sum, *second = beside;
    Type t = type_of(q, x);
    uint32_t n = axes_where(q, t, true, sum);
    uint32_t m = axes_where(q, t, false, beside);
    *c = (Cuts){.n = way->square && m > 0 ? 2 : 1};
    if (c->n == 2 && beside[0].id < sum[0].id) {
        uint32_t all = n;
        first = beside, second = sum;
        n = m, m = all;
    }
    c->cut[0] = cut_new(q, t, first, n, way->block);
    for (uint32_t i = 0; i < m; i++)
        if (is_after(second[i], first, n))
            second[i] = name_behind(q, second[i], c);
    if (c->nbehind) x = emit_rename(&q->rw.b, x, c->from, c->to, c->nbehind);
    x = cut(q, x, &c->cut[0]);
    if (c->n == 1) return x;
    c->cut[1] = cut_new(q, type_of(q, x), second, m, way->block);
    return cut(q, x, &c->cut[1]);
}

static Value join_all(Quantise *q, Value x, const Cuts *c)
{
    for (uint32_t i = c->n; i-- > 0;)
        x = join(q, x, &c->cut[i]);
    if (!c->nbehind) return x;
    return emit_rename(&q->rw.b, x, c->to, c->from, c->nbehind);
}

static void scales_of_blocks(Quantise *q, const Way *way, Value amax,
                             Value *scale, Value *inverse)
{
    if (way->mx) {
        *inverse = of_amax(q, inverse_body(q->m, way), amax);
        *scale = inverse_of(q, *inverse);
    } else {
        *scale = of_amax(q, scale_body(q->m, way), amax);
        *inverse = inverse_of(q, *scale);
    }
}

/* The value that the narrow numbers and their scales stand for. */
static Value write_blocks(Quantise *q, Value x, const Way *way)
{
    Builder *b = &q->rw.b;
    Cuts c;
    x = cut_all(q, x, way, &c);
    Axis share[2] = {c.cut[0].part, c.cut[c.n - 1].part};
    Value amax = amax_over(q, x, share, c.n), inverse, scale;
    scales_of_blocks(q, way, amax, &scale, &inverse);
    Value small = emit_cast(b, narrow(q, x, scale, way->format), DT_f32);
    Value y = emit_cast(b, emit_binary(b, SC_mul, small, inverse), DT_bf16);
    return join_all(q, y, &c);
}

static bool is_blocked(const Quantise *q, const Blocked *of, Value x,
                       const Way *way)
{
    return value_eq(of->x, x) && of->way.format == way->format &&
           of->way.square == way->square && of->nsum == q->nsum &&
           memcmp(of->sum, q->sum, q->nsum * sizeof *q->sum) == 0;
}

/* What several products of a layer read is quantised once. */
static Value blocked_operand(Quantise *q, Value x, const Way *way)
{
    for (uint32_t i = 0; i < q->blocked.n; i++)
        if (is_blocked(q, &q->blocked.at[i], x, way)) return q->blocked.at[i].y;
    Blocked made = {.x = x, .way = *way, .nsum = q->nsum};
    memcpy(made.sum, q->sum, q->nsum * sizeof *q->sum);
    made.y = write_blocks(q, x, way);
    vec_push(q->m->scratch, &q->blocked, made);
    return made.y;
}

/* ---------------------------------------------------------- contractions -- */

/* What a product gives is rounded as its operands are, whatever asks for it:
 * gradients of weights alone, which are added up, keep what they have. */
static DType result_dtype(const Quantise *q, Value x, Product product)
{
    DType d = type_dtype(q->m, value_type(q->rw.b.fn, x));
    DType to = type_dtype(q->m, q->in->type);
    bool narrower = dtype_bytes(d) < dtype_bytes(to);
    return product != PRODUCT_weight && narrower ? d : to;
}

static Value write_scaled(Quantise *q, const Value *x, const Way *way,
                          Product product)
{
    Builder *b = &q->rw.b;
    Value inverse[2], small[2];
    name_inner(q);
    for (int k = 0; k < 2; k++)
        small[k] = scaled_operand(q, x[k], &way[k], &inverse[k]);
    DType d = result_dtype(q, x[0], product);
    /* powers of two move through a rounding to bf16, which has all exponents */
    bool exact = way[0].power && way[1].power && d == DT_bf16;
    Value y = emit_einsum(b, small[0], small[1], q->inner, q->nsum,
                          exact ? d : DT_f32, DT_f32);
    y = emit_cast(b, y, DT_f32);
    Value both = emit_binary(b, SC_mul, inverse[0], inverse[1]);
    Expr none = {0}, sum = expr_arg(q->m, 0, DT_f32);
    Expr body = expr_op(q->m, SC_mul, sum, expr_arg(q->m, 1, DT_f32), none);
    body = expr_cast(q->m, d, body);
    y = emit_map(b, body, (Value[]){y, both}, 2);
    return emit_cast(b, y, type_dtype(q->m, q->in->type));
}

static Value write_blocked(Quantise *q, const Value *x, const Way *way)
{
    Value y[2];
    for (int k = 0; k < 2; k++)
        y[k] = blocked_operand(q, x[k], &way[k]);
    return emit_einsum(&q->rw.b, y[0], y[1], q->sum, q->nsum,
                       type_dtype(q->m, q->in->type), DT_f32);
}

/* ----------------------------------------- products that take the scales -- */

/* The cut of all that sums, or that has beside the sum, these axes. */
static Cut shared_cut(Quantise *q, bool side, Type t, const Axis *axes,
                      uint32_t n, int64_t size)
{
    for (uint32_t i = 0; i < q->shared.n; i++) {
        const Shared *c = &q->shared.at[i];
        if (c->side == side && c->cut.n == n &&
            memcmp(c->cut.from, axes, n * sizeof *axes) == 0)
            return c->cut;
    }
    Shared made = {side, cut_new(q, t, axes, n, size)};
    made.cut.again = axis_fresh(q->m, "part", size);
    vec_push(q->m->scratch, &q->shared, made);
    return made.cut;
}

/* The largest of each block, within which elements have other names than those
 * of the numbers: it is made by itself, and what turns the numbers round finds
 * it. */
static Value amax_apart(Quantise *q, Value x, const Cut *sum, const Cut *side)
{
    Cut cuts[2] = {*sum};
    Axis share[2] = {sum->again};
    uint32_t n = 1;
    if (side) {
        cuts[n] = *side;
        share[n++] = side->again;
    }
    for (uint32_t i = 0; i < n; i++) {
        cuts[i].part = cuts[i].again;
        x = cut(q, x, &cuts[i]);
    }
    return amax_over(q, x, share, n);
}

static bool sum_is_innermost(const Quantise *q, Value x)
{
    Axis all[MOST_AXES];
    uint32_t n = all_axes(q, type_of(q, x), all);
    for (uint32_t i = 0; i < n; i++)
        if (is_after(all[i], q->sum, q->nsum)) return false;
    return true;
}

/* Narrow numbers and their scales as one operand, which products make. */
static Value both_of(Quantise *q, Value small, Value inverse)
{
    Expr none = {0};
    DType d = type_dtype(q->m, type_of(q, small));
    Expr wide = expr_cast(q->m, DT_f32, expr_arg(q->m, 0, d));
    Expr body = expr_op(q->m, SC_mul, wide, expr_arg(q->m, 1, DT_f32), none);
    Value args[2] = {small, inverse};
    return emit_map(&q->rw.b, expr_cast(q->m, DT_bf16, body), args, 2);
}

static Value native_operand(Quantise *q, Value x, const Way *way,
                            const Cut *sum, const Cut *side)
{
    Value blocks = cut(q, x, sum), scale, inverse;
    if (side) blocks = cut(q, blocks, side);
    Value amax = side || !sum_is_innermost(q, x)
                     ? amax_apart(q, x, sum, side)
                     : amax_over(q, blocks, &sum->part, 1);
    scales_of_blocks(q, way, amax, &scale, &inverse);
    return both_of(q, narrow(q, blocks, scale, way->format), inverse);
}

/* Of the side that shares scales too; n = 0: there is none. */
static Cut side_of(Quantise *q, const Type *t, const Way *way)
{
    Axis beside[MOST_AXES];
    for (int k = 0; k < 2; k++)
        if (way[k].square)
            return shared_cut(q, true, t[k], beside,
                              axes_where(q, t[k], false, beside), way[k].block);
    return (Cut){0};
}

static Value write_native(Quantise *q, const Value *x, const Type *t,
                          const Way *way, Product product)
{
    Value y[2];
    DType to = type_dtype(q->m, q->in->type);
    Cut side = side_of(q, t, way);
    Cut sum = shared_cut(q, false, t[0], q->sum, q->nsum, way[0].block);
    for (int k = 0; k < 2; k++)
        y[k] = native_operand(q, x[k], &way[k], &sum,
                              way[k].square ? &side : NULL);
    Axis over[2] = {sum.block, sum.part};
    Value v = emit_einsum(&q->rw.b, y[0], y[1], over, 2,
                          result_dtype(q, x[0], product), DT_f32);
    return emit_cast(&q->rw.b, side.n ? join(q, v, &side) : v, to);
}

/* Rows with their scales. */
static Value write_rows(Quantise *q, const Value *x, const Way *way,
                        Product product)
{
    Value y[2];
    name_inner(q);
    for (int k = 0; k < 2; k++) {
        Value inverse, small = scaled_operand(q, x[k], &way[k], &inverse);
        y[k] = both_of(q, small, inverse);
    }
    Value v = emit_einsum(&q->rw.b, y[0], y[1], q->inner, q->nsum,
                          result_dtype(q, x[0], product), DT_f32);
    return emit_cast(&q->rw.b, v, type_dtype(q->m, q->in->type));
}

/* The library multiplies rows, or blocks of 128, with their scales, on Hopper:
 * two matrices of whole units, of which one alone has blocks of rows. */
static bool is_native(const Quantise *q, const Type *t, const Way *way,
                      Method method)
{
    enum { UNIT = 16 };
    if (!q->scales || way[0].method != method || way[1].method != method ||
        way->mx)
        return false;
    for (int k = 0; k < 2; k++) {
        Axis beside[MOST_AXES];
        uint32_t n = axes_where(q, t[k], false, beside);
        if (elements(q, t[k], beside, n) % UNIT != 0) return false;
        for (uint32_t i = 0; i < n; i++)
            if (type_axis(q->m, t[1 - k], beside[i])) return false;
    }
    return !way[0].square || !way[1].square;
}

/* The contraction as it was, without its mark. */
static Value write_plain(Quantise *q, const Value *x)
{
    AttrList l = attr_list(q->m, q->in->attr);
    attr_drop(&l, AT_recipe);
    attr_drop(&l, AT_cot);
    return emit(&q->rw.b, OP_einsum, q->in->type, attr_intern(q->m, &l), x, 2);
}

static bool blocks_fit(Quantise *q, const char *recipe, Type x, const Way *way)
{
    int64_t n = elements(q, x, q->sum, q->nsum);
    if (way->method != METHOD_block || n % way->block == 0) return true;
    Report *r =
        diag_error(q->m->diag, DIAG_recipe_rule, loc_span(q->m, q->in->loc),
                   "a product of this layer sums over %lld elements, "
                   "and recipe %s has blocks of %lld",
                   (long long)n, recipe, (long long)way->block);
    report_help(r,
                "choose a batch and a sequence of which the rows are a "
                "multiple of %lld",
                (long long)way->block);
    return false;
}

/* A contraction with a recipe: what becomes of its operands. */
typedef struct Marked {
    const char *recipe;
    Product product;
    Type type[2];
    Way way[2];
} Marked;

static Marked marked_of(Quantise *q, const Fn *fn, Value v)
{
    q->in = inst_of(fn, v);
    Marked c = {.recipe = str_of(q->m, attr_str(q->m, q->in->attr, AT_recipe))};
    int64_t cot = attr_int(q->m, q->in->attr, AT_cot, 0);
    const AttrItem *sum = attr_get(q->m, q->in->attr, AT_sum);
    Value param = layer_param(q->m, fn, v);
    bool has_param = !value_eq(param, NO_VALUE);
    c.product = !cot        ? PRODUCT_output
                : has_param ? PRODUCT_input
                            : PRODUCT_weight;
    q->nsum = sum->n;
    memcpy(q->sum, sum->axes, sum->n * sizeof *sum->axes);
    for (uint32_t k = 0; k < 2; k++) {
        Value x = inst_arg(fn, q->in, k);
        bool weight = has_param && value_eq(taken_from(fn, x), param);
        c.type[k] = value_type(fn, x);
        c.way[k] = way_of(c.recipe, c.product, cot == 1 + k, weight);
    }
    return c;
}

static bool write_contraction(Quantise *q, Value v)
{
    const Fn *fn = q->rw.old;
    Marked c = marked_of(q, fn, v);
    Value x[2];
    for (uint32_t k = 0; k < 2; k++)
        x[k] = rewrite_value(&q->rw, inst_arg(fn, q->in, k));
    if (!blocks_fit(q, c.recipe, c.type[0], c.way)) return false;
    q->rw.b.loc = q->in->loc;
    q->rw.b.phase = (Phase)q->in->phase;
    Method method = c.way[0].method;
    Value y = method == METHOD_none ? write_plain(q, x)
              : is_native(q, c.type, c.way, METHOD_block)
                  ? write_native(q, x, c.type, c.way, c.product)
              : is_native(q, c.type, c.way, METHOD_row)
                  ? write_rows(q, x, c.way, c.product)
              : method == METHOD_block ? write_blocked(q, x, c.way)
                                       : write_scaled(q, x, c.way, c.product);
    q->made += method != METHOD_none;
    value_set_name(&q->rw.b, y, fn->names[v.id]);
    rewrite_set(&q->rw, v, y);
    return true;
}

static bool has_recipe(const Module *m, const Inst *in)
{
    return in->op == OP_einsum && attr_get(m, in->attr, AT_recipe);
}

static bool quantise_fn(Quantise *q, Fn **at)
{
    const Fn *fn = *at;
    bool any = false, ok = true;
    for (uint32_t i = 0; i < fn->ninsts; i++)
        any = any || has_recipe(q->m, &fn->insts[i]);
    if (!any) return true;
    q->made = q->blocked.n = 0;
    rewrite_begin(&q->rw, q->m, fn);
    for (uint32_t i = fn->nparams; i < fn->ninsts && ok; i++) {
        if (has_recipe(q->m, &fn->insts[i]))
            ok = write_contraction(q, (Value){i});
        else
            rewrite_copy(&q->rw, (Value){i});
    }
    if (!ok) return false;
    pass_remark(q->m, q->cx, fn->loc, "%u products of @%s are quantised",
                q->made, str_of(q->m, fn->name));
    *at = rewrite_end(&q->rw);
    return true;
}

/* Memory has axes in the order in which they were named, and tensor cores read
 * numbers of eight bits along what is summed alone: the sides that are cut are
 * named before that is. */
static void name_sides(Quantise *q, const Fn *fn)
{
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        if (!has_recipe(q->m, &fn->insts[i])) continue;
        Marked c = marked_of(q, fn, (Value){i});
        if (is_native(q, c.type, c.way, METHOD_block))
            (void)side_of(q, c.type, c.way);
    }
}

bool pass_quantise(Module *m, PassCtx *cx)
{
    Quantise q = {.m = m, .cx = cx};
    q.scales = !strcmp(pass_option(m, cx, "target", "host"), "sm_90a");
    map_init(&q.names, m->scratch);
    for (uint32_t f = 0; f < m->fns.n; f++)
        name_sides(&q, m->fns.at[f]);
    for (uint32_t f = 0; f < m->fns.n; f++)
        if (!quantise_fn(&q, &m->fns.at[f])) return false;
    return true;
}
