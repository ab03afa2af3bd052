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
 *   blockwise    For 128 elements of what is summed, of a weight for 128 x 128,
 *                the scale 448 / amax and the inverse amax / 448, in f32; e4m3.
 *                amax is taken for 1e-4 at least, that of cotangents for 1e-12,
 *                for they are the smaller the larger the batch is.
 *                blockwise_pow2: scales as those of rowwise.
 *   mxfp8        A scale 2^k for 32 elements, k the exponent of amax less that
 *                of the largest e4m3 (OCP Microscaling Formats 1.0, section
 *                6.3); mxfp8_rceil: the exponent of amax / 448, rounded up;
 *                mxfp8_ceil: that of amax, rounded up;
 *                mxfp8_native: mxfp8, where the target multiplies such blocks
 *                itself.
 *   mxfp4        The same of e2m1, with amax rounded to its two places first,
 *                so that one between 7 and 8 does not saturate at 6, which a
 *                loss shows; mxfp4_floor: not rounded; mxfp4_rceil: the
 *                exponent of amax / 6, rounded up.
 *
 * The output of `tensorwise`, and all products by rows, may be summed in fewer
 * bits than those of f32 (`fast`); the gradients of `tensorwise` and blocks are
 * not.
 *
 * What shares a scale with something that is not finite is NaN, so that no
 * format hides it.  What shares one with zeros alone is zero.
 *
 * Scales that do not vary along the sum are taken out of it: the product of the
 * narrow numbers is summed in f32, multiplied by both inverses, and rounded to
 * the dtype of what was narrowed, but for gradients of weights.  Scales that do
 * vary go to the product where the target has one that takes them
 * (quantise/native.c).  Elsewhere they are multiplied in first (quantise/
 * blocks.c): what powers of two give is exact in bf16, and the product is one
 * of bf16.  What others give is f32 on a host; a GPU rounds it to bf16, which
 * its tensor cores take.
 */
#include <string.h>

#include "cast.h"
#include "quantise/quantise.h"

/* --------------------------------------------------------------- recipes -- */

/* What the largest element is taken for at least; of blocks, but for
 * cotangents, which are as small as a batch is large. */
static const double LEAST = 1e-12, LEAST_BLOCK = 1e-4;

static Way tensor_way(bool cot)
{
    return (Way){.method = METHOD_tensor,
                 .format = cot ? DT_e5m2 : DT_e4m3,
                 .least = LEAST};
}

static Way row_way(void)
{
    return (Way){
        .method = METHOD_row, .format = DT_e4m3, .power = true, .least = LEAST};
}

static Way mx_way(DType format, Rounding to)
{
    return (Way){.method = METHOD_block,
                 .format = format,
                 .power = true,
                 .mx = true,
                 .to = to,
                 .block = 32};
}

/* Of the operand that is a cotangent, or of the other, which is the weight in
 * the gradient of the input. */
static Way way_of(const char *recipe, Product product, bool cot, bool weight)
{
    if (strcmp(recipe, "tensorwise") == 0) return tensor_way(cot);
    if (strcmp(recipe, "rowwise") == 0) return row_way();
    if (strcmp(recipe, "mxfp8") == 0) return mx_way(DT_e4m3, ROUND_down);
    if (strcmp(recipe, "mxfp8_rceil") == 0) return mx_way(DT_e4m3, ROUND_up);
    if (strcmp(recipe, "mxfp8_ceil") == 0) return mx_way(DT_e4m3, ROUND_ceil);
    if (strcmp(recipe, "mxfp8_native") == 0) {
        Way way = mx_way(DT_e4m3, ROUND_down);
        way.native = true;
        return way;
    }
    if (strcmp(recipe, "mxfp4") == 0) return mx_way(DT_e2m1, ROUND_even);
    if (strcmp(recipe, "mxfp4_floor") == 0) return mx_way(DT_e2m1, ROUND_down);
    if (strcmp(recipe, "mxfp4_rceil") == 0) return mx_way(DT_e2m1, ROUND_up);
    bool power = strcmp(recipe, "blockwise_pow2") == 0;
    if (power || strcmp(recipe, "blockwise") == 0)
        return (Way){.method = METHOD_block,
                     .format = DT_e4m3,
                     .power = power,
                     .quotients = !power,
                     .least = power || cot ? LEAST : LEAST_BLOCK,
                     .block = 128,
                     .square = weight};
    if (product == PRODUCT_weight) return (Way){.method = METHOD_none};
    Way way =
        weight && product == PRODUCT_input ? tensor_way(false) : row_way();
    way.power = true;
    return way;
}

/* -------------------------------------------------------------- operands -- */

/* The axes that are summed get names that come last, so that they lie innermost
 * in memory: tensor cores read numbers of eight bits along them alone. */
void quant_name_inner(Quantise *q)
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
    Axis all[QUANT_AXES];
    bool row = way->method == METHOD_row;
    uint32_t n = row ? q->nsum : quant_axes(q, quant_type(q, x), all);
    Value amax = quant_amax(q, x, row ? q->sum : all, n);
    Value scale;
    quant_scales(q, way, amax, &scale, inverse);
    x = emit_rename(&q->rw.b, x, q->sum, q->inner, q->nsum);
    return quant_narrow(q, x, scale, way->format);
}

/* ---------------------------------------------------------- contractions -- */

/* A contraction with a recipe: what becomes of its operands. */
typedef struct Marked {
    const char *recipe;
    Product product;
    Type type[2];
    Way way[2];
} Marked;

/* Fewer bits than those of f32 may hold the sums. */
static bool is_fast(const Way *way, Product product)
{
    return way[0].method == METHOD_row || way[1].method == METHOD_row ||
           product == PRODUCT_output;
}

Value quant_product(Quantise *q, const Value *y, const Way *way,
                    Product product, DType to)
{
    Builder *b = &q->rw.b;
    if (is_fast(way, product))
        return emit_einsum_fast(b, y[0], y[1], q->inner, q->nsum, to, DT_f32);
    return emit_einsum(b, y[0], y[1], q->inner, q->nsum, to, DT_f32);
}

static Value write_scaled(Quantise *q, const Value *x, const Marked *c)
{
    const Way *way = c->way;
    Builder *b = &q->rw.b;
    Value inverse[2], small[2];
    quant_name_inner(q);
    for (int k = 0; k < 2; k++)
        small[k] = scaled_operand(q, x[k], &way[k], &inverse[k]);
    DType d = quant_result(q, x[0], c->product);
    /* powers of two move through a rounding to bf16, which has all exponents */
    bool exact = way[0].power && way[1].power && d == DT_bf16;
    Value y = quant_product(q, small, way, c->product, exact ? d : DT_f32);
    y = emit_cast(b, y, DT_f32);
    Value both = emit_binary(b, SC_mul, inverse[0], inverse[1]);
    Expr none = {0}, sum = expr_arg(q->m, 0, DT_f32);
    Expr body = expr_op(q->m, SC_mul, sum, expr_arg(q->m, 1, DT_f32), none);
    body = expr_cast(q->m, d, body);
    y = emit_map(b, body, (Value[]){y, both}, 2);
    return emit_cast(b, y, type_dtype(q->m, q->in->type));
}

/* Rows with their scales, in a product that takes both. */
static Value write_rows(Quantise *q, const Value *x, const Marked *c)
{
    Value y[2];
    quant_name_inner(q);
    for (int k = 0; k < 2; k++) {
        Value inverse, small = scaled_operand(q, x[k], &c->way[k], &inverse);
        y[k] = quant_both(q, small, inverse);
    }
    Value v = quant_product(q, y, c->way, c->product,
                            quant_result(q, x[0], c->product));
    return emit_cast(&q->rw.b, v, type_dtype(q->m, q->in->type));
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
    int64_t n = quant_elements(q, x, q->sum, q->nsum);
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

static bool refuse_native(Quantise *q, const char *recipe, const Type *t)
{
    Axis beside[QUANT_AXES];
    int64_t side[2];
    for (int k = 0; k < 2; k++)
        side[k] = quant_elements(q, t[k], beside,
                                 quant_axes_where(q, t[k], false, beside));
    Span at = loc_span(q->m, q->in->loc);
    if (q->native == NATIVE_tiles) {
        Report *r = diag_error(
            q->m->diag, DIAG_recipe_rule, at,
            "a product of this layer is %lld by %lld and sums over %lld "
            "elements; recipe %s takes multiples of 128",
            (long long)side[0], (long long)side[1],
            (long long)quant_elements(q, t[0], q->sum, q->nsum), recipe);
        report_help(r, "choose other sizes, or recipe mxfp8");
        return false;
    }
    Report *r =
        diag_error(q->m->diag, DIAG_recipe_rule, at,
                   "recipe %s needs products of blocks of 32 with their "
                   "scales, and target %s has none",
                   recipe, pass_option(q->m, q->cx, "target", "host"));
    report_help(r, "sm_100a has them; recipe mxfp8 gives the same numbers by "
                   "other products on any target");
    return false;
}

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

static Value write_in_way(Quantise *q, const Marked *c, const Value *x)
{
    Method method = c->way[0].method;
    if (method == METHOD_none) {
        Value y = write_plain(q, x);
        return q->scatter ? quant_scattered(q, y) : y;
    }
    if (quant_is_chosen(q)) return quant_chosen(q, x, c->way, c->product);
    if (quant_is_native(q, c->type, c->way, METHOD_block))
        return quant_native(q, x, c->type, c->way, c->product);
    if (quant_is_native(q, c->type, c->way, METHOD_row))
        return write_rows(q, x, c);
    if (method == METHOD_block) return quant_blocked(q, x, c->way);
    return write_scaled(q, x, c);
}

/* AS: what its sums are, itself or what adds them up. */
static bool write_contraction(Quantise *q, Value v, Value as)
{
    const Fn *fn = q->rw.old;
    Marked c = marked_of(q, fn, v);
    Value x[2];
    for (uint32_t k = 0; k < 2; k++)
        x[k] = rewrite_value(&q->rw, inst_arg(fn, q->in, k));
    if (!blocks_fit(q, c.recipe, c.type[0], c.way)) return false;
    if (c.way[0].native && !quant_is_native(q, c.type, c.way, METHOD_block))
        return refuse_native(q, c.recipe, c.type);
    q->scatter = as.id == v.id ? NULL : inst_of(fn, as);
    q->neach = 0;
    q->wide = c.way[0].power && c.way[1].power ? DT_bf16 : DT_f32;
    q->rw.b.loc = q->in->loc;
    q->rw.b.phase = (Phase)q->in->phase;
    Value y = write_in_way(q, &c, x);
    q->made += c.way[0].method != METHOD_none;
    DType to = type_dtype(q->m, value_type(fn, as));
    y = emit_cast(&q->rw.b, y, to);
    value_set_name(&q->rw.b, y, fn->names[as.id]);
    rewrite_set(&q->rw, as, y);
    return true;
}

static bool has_recipe(const Module *m, const Inst *in)
{
    return in->op == OP_einsum && attr_get(m, in->attr, AT_recipe);
}

/* What adds up the blocks of a contraction, which nobody else reads; itself:
 * nothing does. */
static Value added_up_by(Quantise *q, const Fn *fn, const Uses *u, Value v)
{
    uint32_t first = u->first[v.id];
    if (u->nresult[v.id] || u->first[v.id + 1] - first != 1) return v;
    Value by = u->at[first];
    const Inst *in = inst_of(fn, by);
    bool adds = in->op == OP_scatter && attr_flag(q->m, in->attr, AT_ascending);
    return adds ? by : v;
}

/* A mark of what no product of blocks was made of. */
static void copy_unmarked(Quantise *q, Value v)
{
    const Inst *in = inst_of(q->rw.old, v);
    rewrite_copy(&q->rw, v);
    if (!attr_get(q->m, in->attr, AT_recipe)) return;
    if (in->op == OP_scatter)
        pass_missed(q->m, q->cx, in->loc,
                    "a gradient of what rows choose is not quantised: its rows "
                    "are not sorted");
    AttrList l = attr_list(q->m, in->attr);
    attr_drop(&l, AT_recipe);
    attr_drop(&l, AT_sum);
    attr_drop(&l, AT_sent);
    attr_drop(&l, AT_parts);
    Value x[2] = {rewrite_value(&q->rw, inst_arg(q->rw.old, in, 0)),
                  rewrite_value(&q->rw, inst_arg(q->rw.old, in, 1))};
    rewrite_set(
        &q->rw, v,
        emit(&q->rw.b, (Op)in->op, in->type, attr_intern(q->m, &l), x, 2));
}

/* Contractions are written where their sums are complete. */
static bool write_fn(Quantise *q, const Fn *fn)
{
    Uses u = fn_uses(fn, q->m->scratch);
    Value *sums = no_values(q->m->scratch, fn->ninsts);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        Value v = {i};
        if (has_recipe(q->m, &fn->insts[i])) {
            Value as = added_up_by(q, fn, &u, v);
            sums[as.id] = v;
            if (as.id != i) continue;
        }
        if (value_eq(sums[i], NO_VALUE))
            copy_unmarked(q, v);
        else if (!write_contraction(q, sums[i], v))
            return false;
    }
    return true;
}

static bool quantise_fn(Quantise *q, Fn **at)
{
    const Fn *fn = *at;
    if (!fn_has_attr(q->m, fn, AT_recipe)) return true;
    q->made = q->blocked.n = 0;
    rewrite_begin(&q->rw, q->m, fn);
    if (!write_fn(q, fn)) return false;
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
        q->rw.old = fn;
        q->neach = 0;
        if (quant_is_chosen(q))
            quant_name_chosen(q, c.way);
        else if (quant_is_native(q, c.type, c.way, METHOD_block))
            quant_name_sides(q, c.type, c.way);
    }
}

bool pass_quantise(Module *m, PassCtx *cx)
{
    Quantise q = {.m = m, .cx = cx};
    const char *target = pass_option(m, cx, "target", "host");
    q.native = strcmp(target, "sm_90a") == 0    ? NATIVE_blocks
               : strcmp(target, "sm_100a") == 0 ? NATIVE_tiles
                                                : NATIVE_none;
    q.kernels = q.native == NATIVE_blocks &&
                strcmp(pass_option(m, cx, "matmul", "library"), "library") != 0;
    map_init(&q.names, m->scratch);
    for (uint32_t f = 0; f < m->fns.n; f++)
        name_sides(&q, m->fns.at[f]);
    for (uint32_t f = 0; f < m->fns.n; f++)
        if (!quantise_fn(&q, &m->fns.at[f])) return false;
    return true;
}
