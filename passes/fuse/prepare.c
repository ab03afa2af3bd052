/*
 * prepare.c: a function whose every op some kind of group takes.
 *
 *   - a region (norm) is put in place of its call; one whose intermediate
 *     values are large (attention, loss) is cut into tiles; on a GPU
 *     attention of few rows is put in place, too
 *   - an einsum that is no product of matrices, or is in such attention,
 *     becomes a product and a sum
 *   - on a GPU numbers of 8 bits whose products do not fill its units are bf16
 *   - what a gather makes more of is rounded before it
 *   - on a GPU one that is rounded to a dtype which the library does not give
 *     is rounded behind it
 *   - a sum to few elements is made in two steps, so that it has enough rows
 *     to be shared; the intermediate sums are in the dtype of accumulation
 */
#include "../added.h"
#include "../cast.h"
#include "fuse.h"

enum {
    LEAST_MATRIX = 2,     /* rows, columns and terms of a matmul */
    FEW_ROWS = 64,        /* a sum with fewer results ... */
    MANY_TERMS = 1 << 16, /* ... of so many elements is cut */
    STEP_ROWS = 1024      /* into about so many sums */
};

typedef struct Prep {
    Fuse *fx;
    Builder *b;
    const Fn *fn;
    Value *map;     /* old value -> new */
    Value **fields; /* of a call that was put in place */
    bool few;       /* contractions of few rows are loops */
} Prep;

static void prep_body(Prep *p, uint32_t first);

static Value operand(const Prep *p, const Inst *in, uint32_t i)
{
    return p->map[inst_arg(p->fn, in, i).id];
}

static Type operand_type(const Prep *p, const Inst *in, uint32_t i)
{
    return value_type(p->b->fn, operand(p, in, i));
}

/* ------------------------------------------------------------- einsums -- */

static bool is_matrix_product(const Prep *p, const Inst *in)
{
    int64_t size[4];
    if (p->few) return false;
    einsum_sizes(p->fx->m, p->fn, in, size);
    return size[EINSUM_row] >= LEAST_MATRIX &&
           size[EINSUM_column] >= LEAST_MATRIX &&
           size[EINSUM_sum] >= LEAST_MATRIX;
}

static Value as_loops(Prep *p, const Inst *in)
{
    Module *m = p->fx->m;
    Value args[2] = {operand(p, in, 0), operand(p, in, 1)};
    DType d = type_dtype(m, operand_type(p, in, 0));
    DType acc = attr_dtype(m, in->attr, AT_acc, dtype_acc(d));
    Expr x = expr_cast(m, acc, expr_arg(m, 0, d));
    Expr y = expr_cast(m, acc, expr_arg(m, 1, d));
    Value v = emit_map(p->b, expr_op2(m, SC_mul, x, y), args, 2);
    const AttrItem *sum = attr_get(m, in->attr, AT_sum);
    if (sum->n > 0)
        v = emit_reduce(p->b, "sum", v, sum->axes, sum->n, acc, acc);
    return emit_cast(p->b, v, type_dtype(m, in->type));
}

/* The library gives its sums, or rounds them to the dtype of the operands; of
 * operands of 8 bits, to any of 16, with scales or without. */
static Value as_gemm(Prep *p, const Inst *in)
{
    Module *m = p->fx->m;
    Value args[2] = {operand(p, in, 0), operand(p, in, 1)};
    DType d = type_dtype(m, operand_type(p, in, 0));
    DType to = type_dtype(m, in->type);
    DType acc = attr_dtype(m, in->attr, AT_acc, dtype_acc(d));
    if (!p->fx->gpu || to == acc || to == d || dtype_bytes(d) == 1 ||
        einsum_takes_scales(m, p->fn, in) ||
        einsum_takes_chosen_scales(m, p->fn, in))
        return NO_VALUE;
    Type t = type_with_dtype(m, in->type, acc);
    return emit_cast(p->b, emit(p->b, OP_einsum, t, in->attr, args, 2), to);
}

/* The axis that lies innermost in memory. */
static Axis innermost(Prep *p, Type t)
{
    const Fuse *fx = p->fx;
    Layout l = layout_ordered(fx->m, t, fx->outer.at, fx->outer.n, fx->a);
    Axis *order =
        NEW_ARRAY(fx->a, Axis, (size_t)type_info(fx->m, t)->naxes + 1);
    return order[layout_order(fx->m, l, order) - 1];
}

static bool is_of_units(Prep *p, const Inst *in)
{
    const Module *m = p->fx->m;
    return einsum_fills_units(
        m, p->fn, in, einsum_role(m, p->fn, in, innermost(p, in->type)));
}

/* Numbers of 8 bits that do not fill units are multiplied as bf16, which has
 * all of them. */
static Value as_wider(Prep *p, const Inst *in)
{
    Module *m = p->fx->m;
    Value args[2];
    for (uint32_t i = 0; i < 2; i++) {
        DType d = type_dtype(m, operand_type(p, in, i));
        if (dtype_class(d) != DC_float || dtype_bytes(d) != 1) return NO_VALUE;
        args[i] = emit_cast(p->b, operand(p, in, i), DT_bf16);
    }
    DType acc = attr_dtype(m, in->attr, AT_acc, DT_f32);
    Type t = type_with_dtype(m, in->type, acc);
    return emit_cast(p->b, emit(p->b, OP_einsum, t, in->attr, args, 2),
                     type_dtype(m, in->type));
}

static Value as_product(Prep *p, const Inst *in)
{
    Value v = NO_VALUE;
    if (p->fx->gpu && !is_of_units(p, in)) v = as_wider(p, in);
    return value_eq(v, NO_VALUE) ? as_gemm(p, in) : v;
}

/* A gather that gives more elements than it has, rounded: less is rounded. */
static Value rounded_first(Prep *p, const Inst *map)
{
    Module *m = p->fx->m;
    if (!is_cast(m, p->fn, map)) return NO_VALUE;
    const Inst *in = inst_of(p->fn, inst_arg(p->fn, map, 0));
    if (in->op != OP_gather ||
        type_local_elements(m, map->type) <=
            type_local_elements(m, operand_type(p, in, 0)))
        return NO_VALUE;
    Value x = emit_cast(p->b, operand(p, in, 0), type_dtype(m, map->type));
    Value args[2] = {x, operand(p, in, 1)};
    return emit(p->b, OP_gather, map->type, in->attr, args, 2);
}

/* ---------------------------------------------------------------- sums -- */

/* The axes of the sum that are outermost in memory are kept in the first
 * step. */
static uint32_t step_axes(const Fuse *fx, Type t, const AttrItem *axes,
                          Axis *out)
{
    Module *m = fx->m;
    Layout l = layout_ordered(m, t, fx->outer.at, fx->outer.n, fx->a);
    Axis *order = NEW_ARRAY(fx->a, Axis, (size_t)type_info(m, t)->naxes + 1);
    uint32_t all = layout_order(m, l, order), n = 0;
    int64_t rows = 1;
    for (uint32_t i = 0; i < all && rows < STEP_ROWS; i++) {
        bool summed = false;
        for (uint32_t k = 0; k < axes->n; k++)
            summed |= axes->axes[k].id == order[i].id;
        if (!summed) continue;
        rows *= type_local_size(m, type_axis(m, t, order[i]));
        out[n++] = order[i];
    }
    return n;
}

/* One long axis is cut in two: a, near the root of its size, and the rest. */
static Value cut_axis(Prep *p, Value x, Axis axis, Axis *outer, Axis *inner)
{
    Module *m = p->fx->m;
    int64_t size = type_size(m, value_type(p->b->fn, x), axis);
    int64_t rows = 1;
    for (int64_t r = 2; r <= STEP_ROWS && r * r <= size; r++)
        if (size % r == 0) rows = r;
    if (rows < FEW_ROWS / 4) return NO_VALUE;
    *outer = axis_fresh(m, axis_name(m, axis), rows);
    *inner = axis_fresh(m, axis_name(m, axis), size / rows);
    TypeAxis to[2] = {{.axis = *outer, .size = rows},
                      {.axis = *inner, .size = size / rows}};
    return emit_split(p->b, x, axis, to, 2);
}

/* How many elements a tensor has for each turn of the repeats whose axes the
 * sum keeps: how it is made does not depend on the number of layers. */
static int64_t turn_elements(const Prep *p, Type t, const AttrItem *axes)
{
    int64_t n = type_local_elements(p->fx->m, t);
    for (uint32_t i = 0; i < p->fx->outer.n; i++) {
        const TypeAxis *a = type_axis(p->fx->m, t, p->fx->outer.at[i]);
        bool summed = false;
        for (uint32_t k = 0; k < axes->n; k++)
            summed |= axes->axes[k].id == p->fx->outer.at[i].id;
        if (a && !summed) n /= type_local_size(p->fx->m, a);
    }
    return n;
}

uint32_t fuse_first_step(const Fuse *fx, Type t, const AttrItem *axes,
                         Axis *out)
{
    if (type_local_elements(fx->m, t) < MANY_TERMS ||
        type_info(fx->m, t)->npending)
        return 0;
    return step_axes(fx, t, axes, out);
}

static Value sum_in_steps(Prep *p, const Inst *in)
{
    Module *m = p->fx->m;
    Value x = operand(p, in, 0);
    Type t = operand_type(p, in, 0);
    const AttrItem *axes = attr_get(m, in->attr, AT_axes);
    if (turn_elements(p, in->type, axes) >= FEW_ROWS ||
        turn_elements(p, t, axes) < MANY_TERMS || type_info(m, t)->npending)
        return NO_VALUE;
    const char *kind = str_of(m, attr_str(m, in->attr, AT_kind));
    DType d = type_dtype(m, t);
    DType acc = attr_dtype(m, in->attr, AT_acc, dtype_acc(d));
    Axis *outer = NEW_ARRAY(p->fx->a, Axis, axes->n + 1), inner;
    uint32_t n = step_axes(p->fx, t, axes, outer);
    VEC(Axis) first = {0};
    if (n == axes->n) {
        x = cut_axis(p, x, outer[n - 1], &outer[n - 1], &inner);
        if (value_eq(x, NO_VALUE)) return NO_VALUE;
        vec_push(p->fx->a, &first, inner);
    }
    for (uint32_t i = 0; i < axes->n; i++) {
        bool kept = n == axes->n;
        for (uint32_t k = 0; k < n; k++)
            kept |= axes->axes[i].id == outer[k].id;
        if (!kept) vec_push(p->fx->a, &first, axes->axes[i]);
    }
    x = emit_reduce(p->b, kind, x, first.at, first.n, acc, acc);
    x = emit_reduce(p->b, kind, x, outer, n, acc, acc);
    return emit_cast(p->b, x, type_dtype(m, in->type));
}

/* -------------------------------------------------------------- regions -- */

/* How many rows the operands of a contraction share: an operand without its
 * axes meets each of them. */
static int64_t rows_shared(const Module *m, const Fn *fn, const Inst *in)
{
    int64_t least = INT64_MAX;
    const TypeInfo *t = type_info(m, in->type);
    for (uint32_t k = 0; k < 2; k++) {
        int64_t rows = 1;
        Type of = value_type(fn, inst_arg(fn, in, k));
        for (uint32_t i = 0; i < t->naxes; i++)
            if (!type_axis(m, of, t->axes[i].axis)) rows *= t->axes[i].size;
        if (rows < least) least = rows;
    }
    return least;
}

/* The shape of a region's pairs: what its longest reduction leaves, and what it
 * reduces. */
static void find_pairs(const Module *m, const Fn *region, int64_t *rows,
                       int64_t *columns)
{
    *columns = 0;
    for (uint32_t i = 0; i < region->ninsts; i++) {
        const Inst *in = &region->insts[i];
        if (in->op != OP_reduce) continue;
        Type of = value_type(region, inst_arg(region, in, 0));
        int64_t left = type_local_elements(m, in->type);
        int64_t n = left ? type_local_elements(m, of) / left : 0;
        if (n <= *columns) continue;
        *columns = n;
        *rows = left;
    }
}

/* A sweep is worth its while where what it loads meets many rows, and where
 * there are rows for every processor.  Where few rows look back far, as those
 * of one token do, their pairs are small beside what they are made of, and
 * ordinary groups make them side by side. */
static bool is_few(const Fuse *fx, const Fn *region)
{
    enum { FEW_MEET = 32, FEW = 2048, FAR = 256 };
    const Module *m = fx->m;
    int64_t rows = 0, columns;
    if (!fx->gpu || fn_kind(m, region) != FK_attention) return false;
    for (uint32_t i = 0; i < region->ninsts; i++)
        if (region->insts[i].op == OP_einsum &&
            rows_shared(m, region, &region->insts[i]) >= FEW_MEET)
            return false;
    find_pairs(m, region, &rows, &columns);
    return rows < FEW && columns >= FAR;
}

static void call_in_place(Prep *p, uint32_t call, const Fn *region,
                          const Value *args)
{
    Fuse *fx = p->fx;
    Prep q = {.fx = fx, .b = p->b, .fn = region};
    q.few = is_few(fx, region);
    q.map = NEW_ARRAY(fx->a, Value, (size_t)region->ninsts + 1);
    q.fields = NEW_ARRAY(fx->a, Value *, (size_t)region->ninsts + 1);
    memcpy(q.map, args, region->nparams * sizeof *args);
    prep_body(&q, region->nparams);
    p->fields[call] = NEW_ARRAY(fx->a, Value, (size_t)region->nresults + 1);
    for (uint32_t i = 0; i < region->nresults; i++)
        p->fields[call][i] = q.map[region->result_values[i].id];
}

static void make_some(Prep *p, const Fn *region, const bool *which, Value *made)
{
    for (uint32_t i = region->nparams; i < region->ninsts; i++) {
        const Inst *in = &region->insts[i];
        if (!which[i]) continue;
        Value *from = NEW_ARRAY(p->fx->a, Value, (size_t)in->nargs + 1);
        for (uint32_t k = 0; k < in->nargs; k++)
            from[k] = made[inst_arg(region, in, k).id];
        made[i] = emit(p->b, (Op)in->op, in->type, in->attr, from, in->nargs);
    }
}

/* Why a region whose sums go both ways became two kernels, or that it did not.
 */
static void say_ways(Prep *p, uint32_t call, const Fn *region,
                     const TileCut *cut)
{
    Module *m = p->fx->m;
    Loc loc = p->fn->insts[call].loc;
    if (cut->nparts == 2 && cut->apart)
        pass_missed(m, p->fx->cx, loc,
                    "@%s is two kernels, which both make its pairs: %s",
                    str_of(m, region->name), cut->apart);
    else if (cut->nparts == 1 && cut->crosses)
        pass_remark(m, p->fx->cx, loc,
                    "@%s is one kernel: its blocks of rows add to the vectors "
                    "of columns in one order",
                    str_of(m, region->name));
}

/* The GPU runs such a region as one kernel, or as two where its sums go both
 * ways; the second takes values of the first.  Tensor cores can run both ways
 * in one. */
static bool call_kernels(Prep *p, uint32_t call, const Fn *region,
                         const Value *args, Value *results)
{
    Module *m = p->fx->m;
    TileCut cut;
    if (!tile_cut(m, region, p->fx->crosses, &cut, p->fx->a)) return false;
    if (cut.crosses && !fuse_one_kernel(p->fx, cut.parts[0].fn)) {
        if (!tile_cut(m, region, false, &cut, p->fx->a)) return false;
        cut.apart = "registers cannot hold its vectors";
    }
    Value *made = NEW_ARRAY(p->fx->a, Value, (size_t)region->ninsts + 1);
    memcpy(made, args, region->nparams * sizeof *args);
    say_ways(p, call, region, &cut);
    make_some(p, region, cut.before, made);
    for (uint32_t i = 0; i < cut.nparts; i++) {
        const TilePart *part = &cut.parts[i];
        Value *from = NEW_ARRAY(p->fx->a, Value, (size_t)part->fn->nparams + 1);
        for (uint32_t k = 0; k < part->fn->nparams; k++)
            from[k] = made[part->args[k].id];
        Value *x = NEW_ARRAY(p->fx->a, Value, (size_t)part->fn->nresults + 1);
        fuse_call_kernel(p->fx, p->b, part->fn, from, x);
        for (uint32_t r = 0; r < part->fn->nresults; r++) {
            Value of = part->made[r];
            if (value_eq(of, NO_VALUE)) continue;
            DType d = type_dtype(m, value_type(region, of));
            made[of.id] = emit_cast(p->b, x[r], d);
        }
    }
    make_some(p, region, cut.after, made);
    for (uint32_t i = 0; i < region->nresults; i++)
        results[i] = made[region->result_values[i].id];
    return true;
}

/* Sums that go further than the kernels are made of partial ones. */
static bool call_kernels_and_more(Prep *p, uint32_t call, const Fn *region,
                                  const Value *args)
{
    Fn *early, *late;
    if (!fuse_partial(p->fx, region, &early, &late)) return false;
    Value *from = NEW_ARRAY(p->fx->a, Value, (size_t)late->nparams + 1);
    memcpy(from, args, region->nparams * sizeof *args);
    if (!call_kernels(p, call, early, args, from + region->nparams))
        return false;
    call_in_place(p, call, late, from);
    return true;
}

static bool call_tile_groups(Prep *p, uint32_t call, const Fn *region,
                             const Value *args)
{
    Module *m = p->fx->m;
    Value *results = NEW_ARRAY(p->fx->a, Value, (size_t)region->nresults + 1);
    p->fields[call] = results;
    if (call_kernels(p, call, region, args, results) ||
        call_kernels_and_more(p, call, region, args))
        return true;
    pass_missed(m, p->fx->cx, p->fn->insts[call].loc,
                "@%s is made by loops, not by one kernel: its sums go more "
                "than two ways, or no warp holds a vector of a row (up to "
                "32 times 1, 2, 4, 8 or 16)",
                str_of(m, region->name));
    return false;
}

static void prep_call(Prep *p, uint32_t call)
{
    Fuse *fx = p->fx;
    const Inst *in = &p->fn->insts[call];
    const Fn *region = fn_of(fx->m, attr_fn(fx->m, in->attr, AT_fn));
    Value *args = NEW_ARRAY(fx->a, Value, (size_t)in->nargs + 1);
    for (uint32_t i = 0; i < in->nargs; i++)
        args[i] = operand(p, in, i);
    bool attention = fx->gpu && fn_kind(fx->m, region) == FK_attention;
    if (is_few(fx, region)) {
        pass_remark(fx->m, fx->cx, in->loc,
                    "@%s is made whole: few rows meet a column",
                    str_of(fx->m, region->name));
    } else if (fn_kind_is_region(fn_kind(fx->m, region))) {
        if (attention && call_tile_groups(p, call, region, args)) return;
        Value *out = NEW_ARRAY(fx->a, Value, (size_t)region->nresults + 1);
        if (fuse_tile(fx, p->b, region, args, out)) {
            p->fields[call] = out;
            pass_remark(
                fx->m, fx->cx, in->loc,
                "@%s runs tile by tile: what is large in it is never whole",
                str_of(fx->m, region->name));
            return;
        }
        pass_missed(fx->m, fx->cx, in->loc,
                    "@%s is not cut: it is small, or needs every axis whole",
                    str_of(fx->m, region->name));
    }
    call_in_place(p, call, region, args);
}

/* ------------------------------------------------------------- the copy -- */

static Value copy_inst(Prep *p, const Inst *in)
{
    Value *args = NEW_ARRAY(p->fx->a, Value, (size_t)in->nargs + 1);
    for (uint32_t i = 0; i < in->nargs; i++)
        args[i] = operand(p, in, i);
    return emit(p->b, (Op)in->op, in->type, in->attr, args, in->nargs);
}

static void prep_inst(Prep *p, uint32_t i)
{
    const Inst *in = &p->fn->insts[i];
    Module *m = p->fx->m;
    Value made = NO_VALUE;
    if (in->op == OP_call) {
        prep_call(p, i);
        /* A region with one result is read without a proj. */
        made = p->fields[i][0];
    } else if (in->op == OP_proj) {
        Value *fields = p->fields[inst_arg(p->fn, in, 0).id];
        if (fields) made = fields[attr_int(m, in->attr, AT_index, 0)];
    } else if (in->op == OP_einsum) {
        made = is_matrix_product(p, in) ? as_product(p, in) : as_loops(p, in);
    } else if (in->op == OP_map) {
        made = rounded_first(p, in);
    } else if (in->op == OP_reduce) {
        made = sum_in_steps(p, in);
    }
    p->map[i] = value_eq(made, NO_VALUE) ? copy_inst(p, in) : made;
}

static void prep_body(Prep *p, uint32_t first)
{
    Loc outer = p->b->loc;
    for (uint32_t i = first; i < p->fn->ninsts; i++) {
        const Inst *in = &p->fn->insts[i];
        p->b->loc = in->loc;
        p->b->phase = (Phase)in->phase;
        prep_inst(p, i);
        if (in->op != OP_call) value_set_name(p->b, p->map[i], p->fn->names[i]);
    }
    p->b->loc = outer;
}

Fn *fuse_prepare(Fuse *fx, const Fn *fn)
{
    Rewrite rw;
    rewrite_begin(&rw, fx->m, fn);
    Prep p = {.fx = fx, .b = &rw.b, .fn = fn, .map = rw.map};
    p.fields = NEW_ARRAY(fx->a, Value *, (size_t)fn->ninsts + 1);
    prep_body(&p, fn->nparams);
    return rewrite_end(&rw);
}
