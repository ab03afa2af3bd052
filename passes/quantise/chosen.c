/*
 * chosen.c: products of rows with matrices that they choose (route.c).
 *
 *     %g = gather %w, %of axis expert      [block, k, n], a matrix a block
 *     %h = einsum %x, %g sum (k)           [block, in, n]
 *
 *     %u = einsum %x, %d sum (in)          [block, k, n]
 *     %d_w = scatter %of, %u axis expert   ascending
 *
 * or, where rows are sorted later, with one matrix a row.  Numbers do not
 * depend on who chooses them: the weight is quantised, then gathered, and so
 * are rows that were gathered into blocks.  What shares a scale does not depend
 * on the blocks either: a whole tensor is all experts' matrices, or all rows; a
 * row of a gradient's sum is a column of all rows of one expert, however many
 * blocks they fill; blocks of a scale lie in an expert's rows one behind the
 * other, from its first row on.
 *
 * Where kernels multiply blocks of rows in eight bits, rows with their scales
 * are narrow operands, and the sums are multiplied by both scales; so are sums
 * of gradients where a tensor has one scale.  Those of 128 terms with a scale
 * are multiplied by it there (native.c).  Elsewhere the narrow numbers are
 * multiplied as numbers of bf16, which has them all.  Scales that are powers of
 * two are multiplied in first, for bf16 has those products too; so are those of
 * blocks, whose products are rounded where they are not; others behind the sum.
 */
#include <string.h>

#include "../cast.h"
#include "quantise.h"

enum { MOST_STEPS = 12 };

/* Under casts of what is chosen: what it is chosen of, in the new function.
 * Rows that were sent are chosen twice, with moves between: of those that are
 * here, to go, and of those that have come. */
typedef struct Chosen {
    Value of;
    const Inst *gather;            /* of the old function: the last */
    const Inst *steps[MOST_STEPS]; /* last first */
    uint32_t nsteps;
    Axis kept[QUANT_AXES]; /* axes of what is chosen that ids do not have */
    uint32_t nkept;
    bool is;
    bool sent; /* ids have axes of what it is chosen of */
} Chosen;

/* What chooses an operand of the contraction, in the old function, or NULL. */
static const Inst *gather_of(const Quantise *q, uint32_t operand)
{
    const Fn *fn = q->rw.old;
    const Inst *in = inst_of(fn, inst_arg(fn, q->in, operand));
    while (is_cast(q->m, fn, in))
        in = inst_of(fn, inst_arg(fn, in, 0));
    return in->op == OP_gather ? in : NULL;
}

static Type base_type(const Quantise *q, const Inst *gather)
{
    return value_type(q->rw.old, inst_arg(q->rw.old, gather, 0));
}

/* The sum goes along axes that it is not chosen by. */
static bool has_sum(const Quantise *q, const Inst *gather)
{
    for (uint32_t i = 0; i < q->nsum; i++)
        if (!type_axis(q->m, base_type(q, gather), q->sum[i])) return false;
    return true;
}

/* What an operand is chosen of has a matrix each along the axis of ids, and
 * along others that these have. */
static void note_each(Quantise *q, const Inst *gather)
{
    q->neach = 0;
    if (!gather) return;
    Type of = base_type(q, gather);
    const TypeInfo *ids =
        type_info(q->m, value_type(q->rw.old, inst_arg(q->rw.old, gather, 1)));
    q->each[q->neach++] = attr_axis(q->m, gather->attr, AT_axis);
    for (uint32_t i = 0; i < ids->naxes; i++)
        if (type_axis(q->m, of, ids->axes[i].axis))
            q->each[q->neach++] = ids->axes[i].axis;
}

/* V with other names for such axes as it has. */
static Value renamed(Quantise *q, Value v, const Axis *from, const Axis *to,
                     uint32_t n)
{
    Axis some[2][QUANT_AXES];
    uint32_t k = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (from[i].id == to[i].id ||
            !type_axis(q->m, quant_type(q, v), from[i]))
            continue;
        some[0][k] = from[i];
        some[1][k++] = to[i];
    }
    return k ? emit_rename(&q->rw.b, v, some[0], some[1], k) : v;
}

/* Rows stay along axes that they and the ids have. */
static bool is_sent(const Quantise *q, const Inst *gather)
{
    const TypeInfo *ids =
        type_info(q->m, value_type(q->rw.old, inst_arg(q->rw.old, gather, 1)));
    for (uint32_t i = 0; i < ids->naxes; i++)
        if (type_axis(q->m, base_type(q, gather), ids->axes[i].axis))
            return true;
    return false;
}

/* Whether a move leaves the axes KEPT alone, which have its operand's names
 * then. */
static bool goes_below(const Quantise *q, const Inst *in, Axis *kept,
                       uint32_t n)
{
    const AttrItem *from = attr_get(q->m, in->attr, AT_from);
    const AttrItem *to = attr_get(q->m, in->attr, AT_to);
    for (uint32_t k = 0; in->op == OP_rename && k < n; k++)
        for (uint32_t i = 0; i < to->n; i++)
            if (to->axes[i].id == kept[k].id) {
                kept[k] = from->axes[i];
                break;
            }
    if (in->op == OP_rename) return true;
    if (in->op == OP_gather) return is_sent(q, in);
    if (in->op != OP_merge && in->op != OP_split) return false;
    Axis axis = attr_axis(q->m, in->attr, AT_axis);
    if (in->op == OP_merge) return !axes_have(kept, n, axis);
    for (uint32_t i = 0; i < to->n; i++)
        if (axes_have(kept, n, to->axes[i])) return false;
    return true;
}

/* Below moves of what rows that were sent are chosen of: what those that went
 * are chosen of, or the same.  KEPT: the names of its axes there. */
static Value below_sent(const Quantise *q, Chosen *c, Axis *kept)
{
    const Fn *fn = q->rw.old;
    Value v = inst_arg(fn, c->gather, 0), found = v;
    Axis names[QUANT_AXES];
    uint32_t n = 1;
    memcpy(names, kept, c->nkept * sizeof *names);
    for (; c->sent && n < MOST_STEPS; n++) {
        const Inst *in = inst_of(fn, v);
        if (!goes_below(q, in, names, c->nkept)) break;
        c->steps[n] = in;
        v = inst_arg(fn, in, 0);
        if (in->op != OP_gather) continue;
        found = v;
        c->nsteps = n + 1;
        memcpy(kept, names, c->nkept * sizeof *names);
    }
    return found;
}

/* Rounded to the dtype that the operand has, as what is chosen is.  A tensor
 * has one scale, along whatever the sum goes. */
static Chosen chosen_of(Quantise *q, uint32_t operand, const Way *way, bool is)
{
    const Fn *fn = q->rw.old;
    Value x = inst_arg(fn, q->in, operand);
    const Inst *in = gather_of(q, operand);
    if (!is || !in || (way->method != METHOD_tensor && !has_sum(q, in)))
        return (Chosen){.of = rewrite_value(&q->rw, x)};
    Chosen c = {.gather = in, .steps = {in}, .nsteps = 1, .is = true};
    Axis kept[QUANT_AXES];
    const TypeInfo *ids = type_info(q->m, value_type(fn, inst_arg(fn, in, 1)));
    const TypeInfo *t = type_info(q->m, value_type(fn, x));
    for (uint32_t i = 0; i < t->naxes; i++) {
        bool row = false;
        for (uint32_t k = 0; k < ids->naxes; k++)
            row |= ids->axes[k].axis.id == t->axes[i].axis.id;
        if (!row) c.kept[c.nkept++] = t->axes[i].axis;
    }
    memcpy(kept, c.kept, sizeof kept);
    c.sent = is_sent(q, in);
    Value of = rewrite_value(&q->rw, below_sent(q, &c, kept));
    of = renamed(q, of, kept, c.kept, c.nkept);
    c.of = emit_cast(&q->rw.b, of, type_dtype(q->m, value_type(fn, x)));
    return c;
}

static Value split_alike(Quantise *q, const Inst *in, Value v)
{
    const AttrItem *to = attr_get(q->m, in->attr, AT_to);
    TypeAxis parts[QUANT_AXES];
    for (uint32_t i = 0; i < to->n; i++)
        parts[i] = *type_axis(q->m, in->type, to->axes[i]);
    return emit_split(&q->rw.b, v, attr_axis(q->m, in->attr, AT_axis), parts,
                      to->n);
}

/* The same move of a value that may lack axes. */
static Value moved(Quantise *q, const Inst *in, Value v)
{
    const AttrItem *from = attr_get(q->m, in->attr, AT_from);
    const AttrItem *to = attr_get(q->m, in->attr, AT_to);
    Axis axis = in->op == OP_rename ? (Axis){UINT32_MAX}
                                    : attr_axis(q->m, in->attr, AT_axis);
    switch ((Op)in->op) {
    case OP_rename:
        return renamed(q, v, from->axes, to->axes, from->n);
    case OP_merge:
        return emit_merge(&q->rw.b, v, from->axes, from->n, axis);
    case OP_split:
        return split_alike(q, in, v);
    default:
        return emit_gather(&q->rw.b, v,
                           rewrite_value(&q->rw, inst_arg(q->rw.old, in, 1)),
                           axis);
    }
}

static Value choose(Quantise *q, const Chosen *c, Value v)
{
    for (uint32_t i = c->nsteps; i-- > 0;)
        v = moved(q, c->steps[i], v);
    return v;
}

static bool has_axes(const Quantise *q, Value v, const Axis *axes, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (!type_axis(q->m, quant_type(q, v), axes[i])) return false;
    return true;
}

/* ----------------------------------------------------- sums of gradients -- */

/* The largest element of each block as that of all blocks of its id. */
static Value of_all_blocks(Quantise *q, Value amax)
{
    Builder *b = &q->rw.b;
    Module *m = q->m;
    const Inst *s = q->scatter;
    Value ids = rewrite_value(&q->rw, inst_arg(q->rw.old, s, 0));
    Axis expert = attr_axis(m, s->attr, AT_axis);
    const TypeInfo *of = type_info(m, quant_type(q, ids));
    Axis blocks[QUANT_AXES];
    uint32_t n = 0;
    for (uint32_t i = 0; i < of->naxes; i++)
        if (!type_axis(m, s->type, of->axes[i].axis))
            blocks[n++] = of->axes[i].axis;
    Expr none = {0}, id = expr_arg(m, 0, DT_i32);
    Expr own = expr_op(m, SC_eq, id, expr_index(m, expert), none);
    Expr body = expr_op(m, SC_where, own, expr_arg(m, 1, DT_f32),
                        expr_float(m, DT_f32, 0));
    Value each = emit_map_over(b, body, (Value[]){ids, amax}, 2,
                               type_axis(m, s->type, expert), 1);
    Value all = emit_reduce(b, "max", each, blocks, n, DT_f32, DT_f32);
    return emit_gather(b, all, ids, expert);
}

/* -------------------------------------------------------------- operands -- */

static Value largest_of(Quantise *q, Value x, const Way *way)
{
    Axis all[QUANT_AXES];
    if (way->method == METHOD_row) {
        Value amax = quant_amax(q, x, q->sum, q->nsum);
        return q->scatter ? of_all_blocks(q, amax) : amax;
    }
    return quant_amax(q, x, all, quant_axes(q, quant_type(q, x), all));
}

/* What stands for an operand in a product of bf16; BEHIND: what its sums are
 * multiplied by, where scales are no powers of two. */
static Value chosen_operand(Quantise *q, const Chosen *c, const Way *way,
                            Value *behind)
{
    Builder *b = &q->rw.b;
    if (way->method == METHOD_block) {
        note_each(q, c->is ? c->gather : NULL);
        return choose(q, c, quant_block_operand(q, c->of, way));
    }
    Value scale, inverse;
    quant_scales(q, way, largest_of(q, c->of, way), &scale, &inverse);
    Value y = quant_narrow(q, c->of, scale, way->format);
    if (way->power)
        y = emit_binary(b, SC_mul, emit_cast(b, y, DT_f32), inverse);
    *behind = inverse;
    return choose(q, c, emit_cast(b, y, DT_bf16));
}

/* What stands for it in a product of eight bits, along the sum in memory.  A
 * sum along what it is chosen for turns what was chosen. */
static Value narrow_operand(Quantise *q, const Chosen *c, const Way *way,
                            Value *behind)
{
    Value scale, inverse;
    quant_scales(q, way, largest_of(q, c->of, way), &scale, &inverse);
    bool each = type_info(q->m, quant_type(q, inverse))->naxes > 0;
    *behind = each ? choose(q, c, inverse) : inverse;
    bool turned = !has_axes(q, c->of, q->sum, q->nsum);
    Value x = turned ? choose(q, c, c->of) : c->of;
    x = emit_rename(&q->rw.b, x, q->sum, q->inner, q->nsum);
    Value y = quant_narrow(q, x, scale, way->format);
    return turned ? y : choose(q, c, y);
}

/* -------------------------------------------------------------- products -- */

/* Which operand rows choose, 0 or 1; 2: neither.  What is marked they choose
 * one by one, else in blocks: ids have axes of the other operand alone. */
static uint32_t weight_of(const Quantise *q, bool *marked)
{
    const Fn *fn = q->rw.old;
    for (uint32_t k = 0; k < 2; k++) {
        const Inst *g = gather_of(q, k);
        if (!g) continue;
        *marked = attr_get(q->m, g->attr, AT_recipe) != NULL;
        if (*marked) return k;
        const TypeInfo *ids =
            type_info(q->m, value_type(fn, inst_arg(fn, g, 1)));
        Type other = value_type(fn, inst_arg(fn, q->in, 1 - k));
        bool all = ids->naxes > 0 && has_sum(q, g);
        for (uint32_t i = 0; i < ids->naxes; i++)
            all = all && type_axis(q->m, other, ids->axes[i].axis);
        if (all) return k;
    }
    return 2;
}

bool quant_is_chosen(const Quantise *q)
{
    bool marked;
    return q->scatter || weight_of(q, &marked) < 2;
}

/* Sums of rows are behind those along the weight: no scale is for both. */
static void sum_along_weight(Quantise *q, uint32_t weight)
{
    uint32_t n = 0;
    Type t = base_type(q, gather_of(q, weight));
    for (uint32_t i = 0; i < q->nsum; i++)
        if (type_axis(q->m, t, q->sum[i])) q->sum[n++] = q->sum[i];
    q->nsum = n;
}

Value quant_scattered(Quantise *q, Value v)
{
    const Inst *s = q->scatter;
    DType d = type_dtype(q->m, quant_type(q, v));
    AttrList l = attr_list(q->m, s->attr);
    attr_drop(&l, AT_recipe);
    attr_drop(&l, AT_sum);
    attr_drop(&l, AT_sent);
    attr_drop(&l, AT_parts);
    Value ids = rewrite_value(&q->rw, inst_arg(q->rw.old, s, 0));
    return emit(&q->rw.b, OP_scatter, type_with_dtype(q->m, s->type, d),
                attr_intern(q->m, &l), (Value[]){ids, v}, 2);
}

static bool are_tensors(const Way *way)
{
    return way[0].method == METHOD_tensor && way[1].method == METHOD_tensor;
}

/* Of blocks of rows, where scales move through the rounding of sums or are one
 * for all of them. */
static bool is_narrow(const Quantise *q, const Way *way, bool marked)
{
    if (!q->kernels || marked || way[0].method == METHOD_block) return false;
    bool tensors = are_tensors(way);
    return tensors || (!q->scatter && way[0].power && way[1].power);
}

static Value narrow_product(Quantise *q, const Way *way, Product product,
                            DType d)
{
    Builder *b = &q->rw.b;
    Value y[2], behind[2];
    quant_name_inner(q);
    for (uint32_t k = 0; k < 2; k++) {
        Chosen c = chosen_of(q, k, &way[k], true);
        y[k] = narrow_operand(q, &c, &way[k], &behind[k]);
    }
    /* bf16 has all exponents that sums may have before powers of two */
    bool exact = way[0].power && way[1].power && d == DT_bf16;
    Value v = quant_product(q, y, way, product, exact ? d : DT_f32);
    if (q->scatter) v = quant_scattered(q, v);
    Value both = emit_binary(b, SC_mul, behind[0], behind[1]);
    v = emit_binary(b, SC_mul, emit_cast(b, v, DT_f32), both);
    return emit_cast(b, v, d);
}

/* Blocks of 128 terms with a scale, in the products of kernels. */
static bool is_scaled(const Quantise *q, const Way *way, bool marked)
{
    enum { SIDE = 128 };
    if (!q->kernels || marked) return false;
    for (uint32_t k = 0; k < 2; k++)
        if (way[k].method != METHOD_block || way[k].mx || way[k].block != SIDE)
            return false;
    Type x = value_type(q->rw.old, inst_arg(q->rw.old, q->in, 0));
    int64_t n = quant_elements(q, x, q->sum, q->nsum);
    return !q->scatter ? n % SIDE == 0 : n == SIDE;
}

/* The matrices that rows choose are cut each by itself. */
static Type chosen_type(Quantise *q, uint32_t operand, const Way *way)
{
    Chosen c = chosen_of(q, operand, way, true);
    note_each(q, c.is ? c.gather : NULL);
    return quant_type(q, c.of);
}

/* Rows are gathered as numbers and scales; of the weight the product chooses
 * itself. */
static Value scaled_operand(Quantise *q, uint32_t operand, const Way *way,
                            bool weight)
{
    Chosen c = chosen_of(q, operand, way, true);
    Value small, inverse;
    note_each(q, c.is ? c.gather : NULL);
    quant_native_parts(q, c.of, way, &small, &inverse);
    if (weight) return choose(q, &c, quant_both(q, small, inverse));
    return quant_both(q, choose(q, &c, small), choose(q, &c, inverse));
}

static Value scaled_product(Quantise *q, const Way *way, uint32_t weight,
                            DType d)
{
    Value y[2];
    Type t[2];
    for (uint32_t k = 0; k < 2; k++)
        t[k] = chosen_type(q, k, &way[k]);
    Cut sum = quant_native_sum(q, t[0], &way[0]);
    for (uint32_t k = 0; k < 2; k++)
        y[k] = scaled_operand(q, k, &way[k], k == weight);
    Value v =
        emit_einsum(&q->rw.b, y[0], y[1], sum.part, sum.nparts, d, DT_f32);
    if (q->scatter) return quant_scattered(q, v);
    (void)chosen_type(q, weight, &way[weight]);
    return quant_native_join(q, v, t, way);
}

void quant_name_chosen(Quantise *q, const Way *way)
{
    bool marked = false;
    Type t[2];
    uint32_t weight = weight_of(q, &marked), was = q->nsum;
    if (weight > 1 || !is_scaled(q, way, marked)) return;
    const Inst *of = gather_of(q, weight);
    sum_along_weight(q, weight);
    for (uint32_t k = 0; k < 2; k++)
        t[k] = k == weight
                   ? base_type(q, of)
                   : value_type(q->rw.old, inst_arg(q->rw.old, q->in, k));
    note_each(q, of);
    quant_name_sides(q, t, way);
    q->nsum = was;
}

static Value wide_product(Quantise *q, const Way *way, bool marked,
                          uint32_t weight, DType d)
{
    Builder *b = &q->rw.b;
    Value y[2], behind[2];
    const AttrItem *sum = attr_get(q->m, q->in->attr, AT_sum);
    for (uint32_t k = 0; k < 2; k++) {
        Chosen c = chosen_of(q, k, &way[k], !marked || k == weight);
        y[k] = chosen_operand(q, &c, &way[k], &behind[k]);
    }
    bool inside =
        way[0].method == METHOD_block || (way[0].power && way[1].power);
    Value v = emit_einsum(b, y[0], y[1], sum->axes, sum->n, inside ? d : DT_f32,
                          DT_f32);
    if (q->scatter) v = quant_scattered(q, v);
    if (inside) return v;
    Value both = emit_binary(b, SC_mul, behind[0], behind[1]);
    v = emit_binary(b, SC_mul, emit_cast(b, v, DT_f32), both);
    return emit_cast(b, v, d);
}

/* On a GPU the numbers are narrow, and the product is not. */
static void say_wide(const Quantise *q, const Way *way)
{
    const char *recipe = str_of(q->m, attr_str(q->m, q->in->attr, AT_recipe));
    if (q->native == NATIVE_none) return;
    pass_missed(q->m, q->cx, q->in->loc,
                "a product of what rows choose multiplies its narrow numbers "
                "as bf16: recipe %s has %s",
                recipe,
                way[0].method == METHOD_block || way[1].method == METHOD_block
                    ? "scales for blocks, which no kernel takes so"
                : q->scatter ? "scales for columns of an expert's rows, of "
                               "which no kernel makes sums"
                             : "rows that are not sorted");
}

Value quant_chosen(Quantise *q, const Value *x, const Way *way, Product product)
{
    bool marked = false;
    uint32_t weight = weight_of(q, &marked);
    DType to = type_dtype(q->m, q->in->type);
    bool scaled = is_scaled(q, way, marked);
    bool wide = way[0].method == METHOD_block && !scaled;
    DType d = wide ? to : quant_result(q, x[0], product);
    if (!q->scatter) sum_along_weight(q, weight);
    if (scaled)
        return emit_cast(&q->rw.b, scaled_product(q, way, weight, d), to);
    if (is_narrow(q, way, marked))
        return emit_cast(&q->rw.b, narrow_product(q, way, product, d), to);
    say_wide(q, way);
    return emit_cast(&q->rw.b, wide_product(q, way, marked, weight, d), to);
}
