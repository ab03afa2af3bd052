/*
 * lower.c: from a group function to kernel IR.
 *
 * A loop group has row axes P and inner axes R (docs/architecture.md, G1 and
 * G2).  Its kernel is one of two nests, with R flattened in either:
 *
 *     lanes inside       items over P
 *                            lanes over R: reductions, then the last sweep
 *
 *     lanes across       items over the outer part of P, and chunks
 *                            lanes over the inner part of P, flattened
 *                                seq over R: reductions, then the last sweep
 *
 * Of a group that also sums over rows (ir/column.h) an item of the first is as
 * many rows as a sum has, in a loop seq.  The second is that of pointwise
 * groups (R is empty), of column sums and of running sums; of a product with
 * tallies, where R are the columns of one.  Which one it is, nest.c finds.
 */
#include "nest.h"
#include "tensor.h"

enum { ITEM_ELEMENTS = 4096 };
/* Column sums take wide strips of few rows: the more of a row, the fewer
 * pages; the rest of a large group would not fit in registers. */
enum { SMALL_GROUP = 4, WIDE_STRIP = 64 };

/* ------------------------------------------------------------------ levels */

static void find_levels(Lower *l)
{
    uint32_t *level = NEW_ARRAY(l->k->arena, uint32_t, l->fn->ninsts);
    for (uint32_t i = 0; i < l->fn->ninsts; i++) {
        const Inst *in = &l->fn->insts[i];
        for (uint32_t a = 0; a < in->nargs; a++) {
            uint32_t below = level[inst_arg(l->fn, in, a).id];
            if (below > level[i]) level[i] = below;
        }
        if (in->op == OP_reduce || in->op == OP_einsum) level[i]++;
    }
    l->level = level;
}

void lower_init(Lower *l, Module *m, const Fn *fn, Kir *k)
{
    *l = (Lower){.m = m, .fn = fn, .k = k};
    l->made = NEW_ARRAY(k->arena, Made, fn->ninsts + 1);
    l->late = NEW_ARRAY(k->arena, bool, fn->ninsts + 1);
    l->kept = NEW_ARRAY(k->arena, bool, fn->ninsts + 1);
    map_init(&l->memo, k->arena);
    find_levels(l);
}

/* -------------------------------------------------------------------- axes */

/* Whether the result is of sums over rows (ir/column.h). */
static bool is_column(const Lower *l, uint32_t result, ColumnSum *sum)
{
    return column_sum(l->m, l->fn, l->fn->result_values[result], sum);
}

/* All sums over rows cut the same axis in the same way. */
static void find_walk(const Lower *l, Nest *nest)
{
    ColumnSum sum;
    for (uint32_t r = 0; r < l->fn->nresults; r++) {
        if (!is_column(l, r, &sum)) continue;
        nest->turns = sum.turns;
        nest->walked = sum.axis;
    }
}

/* Tallies (ir/column.h) are rows, and R is what one is of. */
static void find_tally(const Lower *l, Nest *nest)
{
    ColumnSum of;
    for (uint32_t r = 0; r < l->fn->nresults; r++) {
        Value v = l->fn->result_values[r];
        if (!product_tally(l->m, l->fn, v, &of)) continue;
        const Inst *in = inst_of(l->fn, v);
        Type cut = value_type(l->fn, inst_arg(l->fn, in, 0));
        const AttrItem *axes = attr_get(l->m, in->attr, AT_axes);
        nest->each = of.turns;
        nest->tallied = *type_axis(l->m, in->type, of.axis);
        nest->inner = type_axis(l->m, cut, axes->axes[0]);
        nest->ninner = 1;
    }
}

/* The axis of which tallies are, whole. */
static bool is_tallied(const Nest *nest, const TypeAxis *a)
{
    return nest->each && a->axis.id == nest->tallied.axis.id &&
           a->size != nest->tallied.size;
}

/* R: what reductions reduce and running sums run along. */
static void find_inner(Lower *l, Nest *nest)
{
    TypeAxis *inner = NULL;
    for (uint32_t i = l->fn->nparams; i < l->fn->ninsts; i++) {
        const Inst *in = &l->fn->insts[i];
        const AttrItem *axes = NULL;
        Axis one[1];
        AttrItem item = {.n = 1, .axes = one};
        if (in->op == OP_reduce) axes = attr_get(l->m, in->attr, AT_axes);
        if (in->op == OP_einsum) axes = attr_get(l->m, in->attr, AT_sum);
        if (in->op == OP_cumsum) {
            one[0] = attr_axis(l->m, in->attr, AT_axis);
            axes = &item;
        }
        ColumnSum sum;
        if (!axes || nest->ninner || column_sum(l->m, l->fn, (Value){i}, &sum))
            continue;
        const TypeInfo *t =
            type_info(l->m, value_type(l->fn, inst_arg(l->fn, in, 0)));
        inner = NEW_ARRAY(l->k->arena, TypeAxis, t->naxes);
        for (uint32_t a = 0; a < t->naxes; a++)
            for (uint32_t j = 0; j < axes->n; j++)
                if (axes->axes[j].id == t->axes[a].axis.id)
                    inner[nest->ninner++] = t->axes[a];
    }
    nest->inner = inner;
}

/* Of a group that reduces rows alone: the innermost axes behind those, as many
 * as registers hold sums of. */
static void find_columns(Lower *l, Nest *nest)
{
    ColumnSum sum;
    for (uint32_t r = 0; r < l->fn->nresults && !nest->ninner; r++) {
        if (!is_column(l, r, &sum)) continue;
        const TypeInfo *t = type_info(l->m, value_type(l->fn, sum.of));
        uint32_t first = t->naxes;
        int64_t n = 1;
        while (first > 0 && t->axes[first - 1].axis.id != sum.axis.id) {
            n *= type_local_size(l->m, &t->axes[first - 1]);
            if (n > ROW_HELD * ROW_LANES * ROW_MOST) break;
            first--;
        }
        nest->inner = t->axes + first;
        nest->ninner = t->naxes - first;
    }
}

Root nest_root(const Lower *l, Value v, Axis axis)
{
    const Inst *in = inst_of(l->fn, v);
    for (uint32_t k; axis_below(l->m, l->fn, in, &axis, &k);
         in = inst_of(l->fn, v))
        v = inst_arg(l->fn, in, k);
    return (Root){v, axis};
}

static bool same_root(Root x, Root y)
{
    return value_eq(x.param, y.param) && x.axis.id == y.axis.id;
}

/* What the first result calls the axes of the others.  What it has under the
 * same name is that one, whatever else its operands call so. */
static void find_names(const Lower *l, Nest *nest)
{
    const Fn *fn = l->fn;
    Value first = fn->result_values[0];
    const TypeInfo *to = type_info(l->m, value_type(fn, first));
    map_init(&nest->names, l->k->arena);
    for (uint32_t r = 1; r < fn->nresults; r++) {
        Value v = fn->result_values[r];
        const TypeInfo *t = type_info(l->m, value_type(fn, v));
        for (uint32_t i = 0; i < t->naxes; i++) {
            Root root = nest_root(l, v, t->axes[i].axis);
            if (type_axis(l->m, value_type(fn, first), t->axes[i].axis))
                continue;
            for (uint32_t j = 0; j < to->naxes; j++)
                if (same_root(root, nest_root(l, first, to->axes[j].axis)))
                    map_set(&nest->names, t->axes[i].axis.id,
                            to->axes[j].axis.id);
        }
    }
}

static Axis first_name(const Nest *nest, Axis axis)
{
    uint32_t id;
    return map_find(&nest->names, axis.id, &id) ? (Axis){id} : axis;
}

/* P: the other axes of the results, outermost in the memory of the first. */
static void find_rows(Lower *l, Nest *nest)
{
    const Fn *fn = l->fn;
    uint32_t most = 0;
    for (uint32_t r = 0; r < fn->nresults; r++)
        most += type_info(l->m, fn->results[r].type)->naxes;
    TypeAxis *rows = NEW_ARRAY(l->k->arena, TypeAxis, most);
    int64_t *stride = NEW_ARRAY(l->k->arena, int64_t, most);
    for (uint32_t r = 0; r < fn->nresults; r++) {
        const TypeInfo *t = type_info(l->m, fn->results[r].type);
        ColumnSum sum;
        if (is_column(l, r, &sum)) continue;
        for (uint32_t i = 0; i < t->naxes; i++) {
            Axis a = first_name(nest, t->axes[i].axis);
            if (type_axes_have(rows, nest->nrows, a) ||
                type_axes_have(nest->inner, nest->ninner, a))
                continue;
            int64_t s = l->k->args[fn->nparams + r].stride[i];
            uint32_t at = nest->nrows++;
            for (; at > 0 && stride[at - 1] < s; at--) {
                rows[at] = rows[at - 1];
                stride[at] = stride[at - 1];
            }
            rows[at] =
                is_tallied(nest, &t->axes[i]) ? nest->tallied : t->axes[i];
            stride[at] = s;
        }
    }
    nest->rows = rows;
}

/* ---------------------------------------------------------------- building */

/* Where a result is stored, and the index of its value. */
typedef struct Point {
    const Ix *rows, *inner; /* per axis of the nest */
    Ix part;                /* of a walk */
} Point;

static const Ix *result_ix(Lower *l, const Nest *nest, Type t, Point at)
{
    const TypeInfo *info = type_info(l->m, t);
    Ix *ix = NEW_ARRAY(l->k->arena, Ix, info->naxes);
    for (uint32_t i = 0; i < info->naxes; i++) {
        Axis name = first_name(nest, info->axes[i].axis);
        for (uint32_t j = 0; j < nest->nrows; j++)
            if (nest->rows[j].axis.id == name.id) ix[i] = at.rows[j];
        for (uint32_t j = 0; j < nest->ninner; j++)
            if (nest->inner[j].axis.id == info->axes[i].axis.id)
                ix[i] = at.inner[j];
        if (is_tallied(nest, &info->axes[i]) && at.inner)
            ix[i] = ix_add_scaled(l->k, at.inner[0], ix[i], nest->each);
    }
    return ix;
}

static bool has_inner(const Lower *l, const Nest *nest, uint32_t result)
{
    const TypeInfo *t = type_info(l->m, l->fn->results[result].type);
    for (uint32_t i = 0; i < t->naxes; i++)
        if (type_axes_have(nest->inner, nest->ninner, t->axes[i].axis) ||
            is_tallied(nest, &t->axes[i]))
            return true;
    return false;
}

/* Of a sum over rows, what this row adds to it. */
static Node eval_result(Lower *l, const Nest *nest, uint32_t r, Point at)
{
    ColumnSum sum;
    Value v = l->fn->result_values[r];
    if (!is_column(l, r, &sum))
        return eval(l, v, result_ix(l, nest, l->fn->results[r].type, at),
                    (Node){0});
    const Ix *ix = result_ix(l, nest, value_type(l->fn, sum.of), at);
    Node n = eval(l, sum.of, ix, (Node){0});
    return node_cast(l->k, type_dtype(l->m, l->fn->results[r].type), n);
}

/* Every value is made before the first store: a result may overwrite an
 * operand at the same index. */
static void eval_results(Lower *l, const Nest *nest, bool inner, bool late,
                         Point at, Node *values)
{
    for (uint32_t r = 0; r < l->fn->nresults; r++)
        if (has_inner(l, nest, r) == inner &&
            l->late[l->fn->result_values[r].id] == late)
            values[r] = eval_result(l, nest, r, at);
}

/* What is needed for results with inner axes, and what other reductions read,
 * and elements that are chosen: that is made before the last sweep. */
static bool *find_early(const Lower *l, const Nest *nest)
{
    const Fn *fn = l->fn;
    bool *early = NEW_ARRAY(l->k->arena, bool, fn->ninsts + 1);
    for (uint32_t r = 0; r < fn->nresults; r++)
        early[fn->result_values[r].id] |= has_inner(l, nest, r);
    for (uint32_t i = fn->ninsts; i-- > fn->nparams;) {
        const Inst *in = &fn->insts[i];
        for (uint32_t k = 0; k < in->nargs; k++)
            early[inst_arg(fn, in, k).id] |= early[i] || in->op == OP_reduce ||
                                             row_pick(l->m, fn, (Value){i});
    }
    return early;
}

/* Of what late values are made of, the elements of a row that are chosen. */
static void find_kept(Lower *l)
{
    const Fn *fn = l->fn;
    bool *read = NEW_ARRAY(l->k->arena, bool, fn->ninsts + 1);
    for (uint32_t i = fn->ninsts; i-- > fn->nparams;) {
        const Inst *in = &fn->insts[i];
        l->kept[i] = read[i] && row_pick(l->m, fn, (Value){i});
        for (uint32_t k = 0; k < in->nargs; k++)
            read[inst_arg(fn, in, k).id] |=
                (read[i] || l->late[i]) && in->op != OP_reduce;
    }
}

/* On a GPU reductions that no sweep reads are made in the last one over a row
 * that registers hold, or over a column, beside what is stored: in a sweep of
 * their own they would make all values once more.  What is made of them comes
 * behind it. */
static void find_late(Lower *l, const Nest *nest, const LowerOpts *o)
{
    const Fn *fn = l->fn;
    int64_t n = axes_extent(l, nest->inner, nest->ninner);
    bool sweeps = false;
    if (!o->gpu || nest->ncuts || (!nest->across && row_is_long(l->k, n)))
        return;
    for (uint32_t r = 0; r < fn->nresults; r++)
        sweeps |= has_inner(l, nest, r);
    const bool *early = find_early(l, nest);
    for (uint32_t i = fn->nparams; i < fn->ninsts && sweeps; i++) {
        const Inst *in = &fn->insts[i];
        ColumnSum sum;
        l->late[i] = in->op == OP_reduce && !early[i] &&
                     !column_sum(l->m, fn, (Value){i}, &sum);
        for (uint32_t k = 0; k < in->nargs && in->op != OP_reduce; k++)
            l->late[i] |= l->late[inst_arg(fn, in, k).id];
    }
    find_kept(l);
}

static bool is_late_sum(const Lower *l, uint32_t i)
{
    return l->late[i] && l->fn->insts[i].op == OP_reduce;
}

/* Late reductions, in the sweep. */
static void open_late(Lower *l, const Nest *nest, Point at, LoopId loop,
                      uint32_t *accs)
{
    for (uint32_t i = l->fn->nparams; i < l->fn->ninsts; i++) {
        Type t = l->fn->insts[i].type;
        if (is_late_sum(l, i))
            accs[i] = reduce_in(l, (Value){i}, result_ix(l, nest, t, at), loop);
    }
}

/* And their values, behind it. */
static void close_late(Lower *l, const Nest *nest, Point at, LoopId loop,
                       const uint32_t *accs)
{
    for (uint32_t i = l->fn->nparams; i < l->fn->ninsts; i++) {
        Type t = l->fn->insts[i].type;
        if (is_late_sum(l, i))
            reduced_in(l, (Value){i}, result_ix(l, nest, t, at), loop, accs[i]);
    }
}

static void store_results(Lower *l, const Nest *nest, bool inner, Point at,
                          const Node *values, LoopId loop)
{
    for (uint32_t r = 0; r < l->fn->nresults; r++) {
        if (has_inner(l, nest, r) != inner) continue;
        Type t = l->fn->results[r].type;
        const Ix *ix = result_ix(l, nest, t, at);
        uint32_t arg = l->fn->nparams + r;
        Ix place = ix_const(l->k, 0);
        ColumnSum sum;
        bool column = is_column(l, r, &sum);
        for (uint32_t i = 0; i < type_info(l->m, t)->naxes; i++) {
            Axis a = type_info(l->m, t)->axes[i].axis;
            Ix x = column && a.id == nest->walked.id ? at.part : ix[i];
            place = ix_add_scaled(l->k, place, x, l->k->args[arg].stride[i]);
        }
        if (column) {
            Attr how = inst_of(l->fn, l->fn->result_values[r])->attr;
            Acc total = {.kind = acc_kind(l, how), .value = values[r]};
            node_total(l->k, loop, arg, place, &total, nest->walk);
        } else
            node_store(l->k, loop, arg, place, (Node){0}, values[r]);
    }
}

static Ix *cut_axes(Lower *l, const TypeAxis *axes, uint32_t n, Ix flat,
                    Ix *out)
{
    int64_t *sizes = NEW_ARRAY(l->k->arena, int64_t, n);
    for (uint32_t i = 0; i < n; i++)
        sizes[i] = type_local_size(l->m, &axes[i]);
    ix_cut(l->k, flat, sizes, n, out);
    return out;
}

static bool sweep_reverse(const Lower *l)
{
    for (uint32_t i = l->fn->nparams; i < l->fn->ninsts; i++)
        if (l->fn->insts[i].op == OP_cumsum)
            return attr_flag(l->m, l->fn->insts[i].attr, AT_reverse);
    return false;
}

static void build_sweep(Lower *l, const Nest *nest, Point at, LoopId parent,
                        int64_t lo, int64_t hi, Node *values)
{
    LoopKind kind = nest->across ? LOOP_seq : LOOP_lanes;
    LoopId loop = loop_open(l->k, kind, parent, lo, hi);
    l->k->loops.at[loop].reverse = sweep_reverse(l);
    l->sweep = loop;
    Ix *inner = NEW_ARRAY(l->k->arena, Ix, nest->ninner);
    at.inner =
        cut_axes(l, nest->inner, nest->ninner, ix_var(l->k, loop), inner);
    eval_results(l, nest, true, false, at, values);
    for (uint32_t r = 0; r < l->fn->nresults && l->reassociated; r++)
        if (has_inner(l, nest, r)) values[r] = algebra_fast(l->k, values[r]);
    uint32_t *accs = NEW_ARRAY(l->k->arena, uint32_t, l->fn->ninsts);
    open_late(l, nest, at, loop, accs);
    store_results(l, nest, true, at, values, loop);
    loop_close(l->k, loop);
    l->sweep = 0;
    close_late(l, nest, at, loop, accs);
}

/* Elements of the row that are chosen for what comes behind the last sweep,
 * which may store over them. */
static void eval_picks(Lower *l, const Nest *nest, Point at)
{
    const Fn *fn = l->fn;
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++)
        if (l->kept[i])
            eval(l, (Value){i}, result_ix(l, nest, fn->insts[i].type, at),
                 (Node){0});
}

/* All results of a row: those without inner axes are made before the last
 * sweep overwrites anything, or of what was, and stored after it. */
static void build_row(Lower *l, const Nest *nest, Point at, LoopId loop)
{
    Node *values = NEW_ARRAY(l->k->arena, Node, l->fn->nresults);
    eval_results(l, nest, false, false, at, values);
    eval_picks(l, nest, at);
    bool sweeps = false;
    for (uint32_t r = 0; r < l->fn->nresults; r++)
        sweeps |= has_inner(l, nest, r);
    int64_t n = axes_extent(l, nest->inner, nest->ninner);
    if (sweeps && (nest->across || nest->ncuts == 0))
        build_sweep(l, nest, at, loop, 0, n, values);
    else if (sweeps)
        for (uint32_t i = 0; i + 1 < nest->ncuts; i++)
            build_sweep(l, nest, at, loop, nest->cuts[i], nest->cuts[i + 1],
                        values);
    eval_results(l, nest, false, true, at, values);
    store_results(l, nest, false, at, values, loop);
}

/* A GPU sweeps a long row several times, and what it reads of it has 16 bits:
 * hardware powers, and sums in any order, are far below its rounding. */
static bool may_reassociate(const Lower *l, const Nest *nest,
                            const LowerOpts *o)
{
    int64_t n = axes_extent(l, nest->inner, nest->ninner);
    if (!o->gpu || o->exact || nest->across || !row_is_long(l->k, n))
        return false;
    bool any = false;
    for (uint32_t i = 0; i < l->fn->nparams; i++) {
        Type t = l->fn->params[i].type;
        const TypeInfo *info = type_info(l->m, t);
        bool inner = false;
        for (uint32_t k = 0; k < info->naxes; k++)
            inner |=
                type_axes_have(nest->inner, nest->ninner, info->axes[k].axis);
        if (!inner) continue;
        if (dtype_class(info->dtype) != DC_float ||
            dtype_bytes(info->dtype) > 2)
            return false;
        any = true;
    }
    return any;
}

static int64_t chunk_of(const Lower *l, const Nest *nest, int64_t n)
{
    int64_t w = l->k->width;
    int64_t per = ITEM_ELEMENTS / axes_extent(l, nest->inner, nest->ninner);
    int64_t chunk = per < w ? w : per / w * w;
    return chunk < n ? chunk : n;
}

static void build_across(Lower *l, const Nest *nest, Ix *rows, LoopId items,
                         const LowerOpts *o)
{
    Kir *k = l->k;
    uint32_t outer = nest->nrows - nest->suffix;
    int64_t n = axes_extent(l, nest->rows + outer, nest->suffix);
    int64_t chunk = o->gpu ? n : chunk_of(l, nest, n);
    k->chunks = n == 0 ? 1 : (n + chunk - 1) / chunk;
    for (uint32_t i = 0; i == 0 || i + 1 < nest->ncuts; i++) {
        int64_t lo = nest->ncuts ? nest->cuts[i] : 0;
        int64_t hi = nest->ncuts ? nest->cuts[i + 1] : n;
        LoopId lanes = loop_open(k, LOOP_lanes, items, lo, hi);
        k->loops.at[lanes].chunk = chunk;
        Ix *at = NEW_ARRAY(k->arena, Ix, nest->nrows);
        for (uint32_t r = 0; r < outer; r++)
            at[r] = rows[r];
        cut_axes(l, nest->rows + outer, nest->suffix, ix_var(k, lanes),
                 at + outer);
        build_row(l, nest, (Point){.rows = at}, lanes);
        loop_close(k, lanes);
    }
}

/* An item is as many rows as a sum has, one after the other. */
static void build_walk(Lower *l, Nest nest, LoopId items)
{
    Kir *k = l->k;
    Point at = {0};
    int64_t *sizes = NEW_ARRAY(k->arena, int64_t, nest.nrows);
    Ix *rows = NEW_ARRAY(k->arena, Ix, nest.nrows);
    for (uint32_t i = 0; i < nest.nrows; i++) {
        bool cut = nest.rows[i].axis.id == nest.walked.id;
        sizes[i] = type_local_size(l->m, &nest.rows[i]);
        if (cut) sizes[i] /= nest.turns;
    }
    ix_cut(k, ix_var(k, items), sizes, nest.nrows, rows);
    nest.walk = loop_open(k, LOOP_seq, items, 0, nest.turns);
    k->loops.at[nest.walk].in_order = k->loops.at[nest.walk].walks = true;
    for (uint32_t i = 0; i < nest.nrows; i++) {
        if (nest.rows[i].axis.id != nest.walked.id) continue;
        at.part = rows[i];
        rows[i] = ix_add_scaled(k, ix_var(k, nest.walk), rows[i], nest.turns);
    }
    at.rows = rows;
    l->items = nest.walk;
    build_row(l, &nest, at, nest.walk);
    loop_close(k, nest.walk);
}

void nest_build(Lower *l, const Nest *nest, const LowerOpts *o)
{
    Kir *k = l->k;
    uint32_t outer = nest->across ? nest->nrows - nest->suffix : nest->nrows;
    k->rows = axes_extent(l, nest->rows, outer);
    if (nest->turns) k->rows /= nest->turns;
    k->chunks = 1;
    k->width = o->lanes;
    if (nest->across && nest->ninner && !o->gpu)
        k->width = l->fn->ninsts - l->fn->nparams <= SMALL_GROUP ? WIDE_STRIP
                                                                 : 2 * o->lanes;
    k->across = nest->across;
    l->lanes_inner = !nest->across;
    l->order = nest->ordered ? nest->inner : NULL;
    l->norder = nest->ninner;
    l->reassociated = may_reassociate(l, nest, o);
    find_late(l, nest, o);
    LoopId items = l->items = loop_open(k, LOOP_items, 0, 0, k->rows);
    Ix *rows = NEW_ARRAY(k->arena, Ix, nest->nrows);
    if (!nest->turns) cut_axes(l, nest->rows, outer, ix_var(k, items), rows);
    if (nest->turns)
        build_walk(l, *nest, items);
    else if (nest->across)
        build_across(l, nest, rows, items, o);
    else
        build_row(l, nest, (Point){.rows = rows}, items);
    loop_close(k, items);
}

/* What a group of kind sort or scatter is about. */
static const Inst *only_op(Module *m, const Fn *fn)
{
    return inst_of(fn, fn_is(m, fn, FK_scatter) ? group_scatter(fn)
                                                : fn->result_values[0]);
}

static bool goes_both_ways(Lower *l)
{
    TileFit fit;
    return tile_fit(l->m, l->fn, &fit, l->k->arena) && fit.crosses;
}

static bool lower_region(Lower *l, const LowerOpts *o)
{
    if (o->sm90 && lower_tensor(l)) return true;
    if (goes_both_ways(l)) return false;
    if (o->sm90)
        diag_remark(l->m->diag, "codegen", true, loc_span(l->m, l->fn->loc),
                    "@%s runs without tensor cores: they take bf16 and f16, "
                    "heads that are multiples of 16 up to 256, and strides and "
                    "addresses that are multiples of 16 bytes",
                    str_of(l->m, l->fn->name));
    return lower_tile(l);
}

/* Rows and columns as the matrix lies in memory, where that makes such a group
 * too. */
static bool find_both(const Lower *l, BothOrders *out)
{
    const Fn *fn = l->fn;
    Arena *a = l->k->arena;
    const int64_t **strides = NEW_ARRAY(a, const int64_t *, fn->nparams + 1);
    BothOrders lies;
    if (!fn_is(l->m, fn, FK_loop) || !both_of_group(l->m, fn, NULL, a, out))
        return false;
    for (uint32_t i = 0; i < fn->nparams; i++)
        strides[i] = l->k->args[i].stride;
    if (both_of_group(l->m, fn, strides, a, &lies)) *out = lies;
    return true;
}

/* Elements of an argument that lie side by side, of several such lines; 0: it
 * has not several.  *BEGINS has the bits of what their addresses add up of. */
static int64_t line_of(const Lower *l, const KernelArg *arg, uint64_t *begins)
{
    const TypeInfo *t = type_info(l->m, arg->type);
    int64_t bytes = dtype_bytes((DType)t->dtype), line = 0, lines = 1;
    *begins = arg->align;
    for (uint32_t i = 0; i < t->naxes && !arg->counter; i++) {
        int64_t n = type_local_size(l->m, &t->axes[i]);
        if (n > 1 && arg->stride[i] == 1) {
            line = n;
        } else if (n > 1) {
            *begins |= (uint64_t)(arg->stride[i] * bytes);
            lines *= n;
        }
    }
    return lines > 1 ? line : 0;
}

/* The longest lines of the arguments end in a part of a vector, and begin at
 * multiples of 16 bytes. */
static bool has_lines(const Lower *l)
{
    enum { UNIT = 16 };
    int64_t longest = 0;
    bool whole = true;
    for (uint32_t i = 0; i < l->k->nargs; i++) {
        uint64_t begins;
        int64_t n = line_of(l, &l->k->args[i], &begins);
        if (n < longest || n == 0) continue;
        whole = (n > longest || whole) && begins % UNIT == 0;
        longest = n;
    }
    return whole && longest % ROW_LANES != 0;
}

bool lower_group(Module *m, const Fn *fn, const LowerOpts *o, Kir *k)
{
    Lower l;
    BothOrders both;
    lower_init(&l, m, fn, k);
    k->lined = o->gpu && has_lines(&l);
    Op op = (Op)only_op(m, fn)->op;
    bool tile = o->gpu && fn_is(m, fn, FK_tile);
    if (tile && lower_region(&l, o)) return true;
    if (tile && goes_both_ways(&l)) return false;
    if (op == OP_top) {
        lower_sort(&l, o, only_op(m, fn));
    } else if ((op == OP_scatter || op == OP_put) &&
               scatter_by_rows(&l, only_op(m, fn))) {
        lower_rows(&l, o, only_op(m, fn));
    } else if (scatter_is_long(&l, only_op(m, fn))) {
        lower_long_scatter(&l, o, only_op(m, fn));
    } else if (find_both(&l, &both) && (o->gpu || both.apart)) {
        lower_both(&l, &both);
    } else {
        Nest nest = {0};
        find_walk(&l, &nest);
        find_tally(&l, &nest);
        if (!nest.each) find_inner(&l, &nest);
        if (nest.turns) find_columns(&l, &nest);
        find_names(&l, &nest);
        find_rows(&l, &nest);
        if (!nest.turns) nest_choose(&l, &nest, o);
        nest_build(&l, &nest, o);
        if (o->gpu && !o->exact && !nest.across) online_rows(&l);
    }
    return true;
}
