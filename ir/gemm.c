/*
 * gemm.c: a matmul group as one matrix product.
 *
 * Each axis of the einsum is a row, column, sum or batch axis.  Axes of one
 * sort are folded where the outer one continues the inner one in every place
 * that has them.  The sum must fold to one axis, or two where it may lie in
 * pieces.  Of the rows, one folded run
 * becomes m, the others become batches that stand still in the second
 * operand; likewise the columns.
 */
#include "ir.h"

enum { A, B, D, PLACES = MOST_PRODUCT_PLACES, MOST_AXES = 16 };

/* A folded run of axes: its size and its stride in each place; 0 in those that
 * are not there. */
typedef struct Run {
    int64_t size, stride[PLACES];
} Run;

typedef struct Runs {
    Run at[MOST_AXES];
    uint32_t n;
} Runs;

const Inst *group_einsum(const Fn *group)
{
    for (uint32_t i = 0; i < group->ninsts; i++)
        if (group->insts[i].op == OP_einsum) return &group->insts[i];
    return NULL;
}

static const ExprInfo *below_cast(const Module *m, Expr e)
{
    const ExprInfo *x = expr_info(m, e);
    return x->op == SC_cast ? expr_info(m, x->args[0]) : x;
}

bool map_multiplies(const Module *m, const Inst *map)
{
    if (map->op != OP_map || map->nargs != 2) return false;
    const ExprInfo *e = below_cast(m, attr_expr(m, map->attr));
    if (e->op != SC_mul || e->dtype != DT_f32) return false;
    const ExprInfo *x = below_cast(m, e->args[0]);
    const ExprInfo *y = below_cast(m, e->args[1]);
    return x->op == SC_arg && y->op == SC_arg && x->operand != y->operand;
}

const Inst *below_gather(const Fn *fn, Value v)
{
    const Inst *in = inst_of(fn, v);
    return in->op == OP_gather ? inst_of(fn, inst_arg(fn, in, 0)) : in;
}

/* The map that makes operand I of narrow numbers and their scales, or what it
 * is gathered from, or NULL. */
static const Inst *scaling_map(const Fn *group, const Inst *einsum, uint32_t i)
{
    const Inst *of = below_gather(group, inst_arg(group, einsum, i));
    return of->op == OP_map && of->nargs == 2 ? of : NULL;
}

/* Operands are what is read; the library's, and those of rows that choose their
 * matrix, also that times what scales it, which is not rounded to eight bits
 * again.  No gemm makes another map. */
static bool has_operands(const Module *m, const Fn *group)
{
    ProductBlocks blocks;
    bool scales = fn_is(m, group, FK_matmul) || group_blocks(m, group, &blocks);
    for (uint32_t i = group->nparams; i < group->ninsts; i++) {
        const Inst *in = &group->insts[i];
        if (in->op != OP_einsum) continue;
        for (uint32_t k = 0; k < 2; k++) {
            const Inst *of = below_gather(group, inst_arg(group, in, k));
            if (of->op == OP_map && (!scales || !map_multiplies(m, of) ||
                                     dtype_bytes(type_dtype(m, of->type)) < 2))
                return false;
        }
    }
    return true;
}

/* Axes of an operand that its scales are for alone, or for all of. */
typedef struct ScaleAxes {
    Axis block;      /* of what is summed */
    bool whole;      /* all of what is summed shares a scale, and no rows do */
    int64_t k, rows; /* elements of both sides */
    int64_t lead;    /* from row to row */
    bool square;     /* blocks of rows, too, share a scale */
} ScaleAxes;

/* Blocks are of so many neighbours. */
static bool is_block(const Module *m, Layout operand, Axis axis, int64_t step)
{
    const TypeAxis *t = type_axis(m, operand.type, axis);
    return t && type_local_size(m, t) == GEMM_SCALE_BLOCK &&
           layout_stride(m, operand, axis) == step;
}

static bool find_scale_axes(const Module *m, const Fn *group, Layout operand,
                            Type scale, ScaleAxes *out)
{
    const Inst *in = group_einsum(group);
    const TypeInfo *ti = type_info(m, operand.type);
    uint32_t blocks = 0, parts = 0, odd = 0;
    *out = (ScaleAxes){.block = {UINT32_MAX}, .k = 1, .rows = 1};
    for (uint32_t i = 0; i < ti->naxes; i++) {
        Axis axis = ti->axes[i].axis;
        EinsumRole role = einsum_role(m, group, in, axis);
        bool has = type_axis(m, scale, axis) != NULL;
        int64_t n = type_local_size(m, &ti->axes[i]);
        int64_t stride = layout_stride(m, operand, axis);
        if (role == EINSUM_batch) return false;
        if (role != EINSUM_sum) {
            out->rows *= n;
            out->square |= !has;
            if (!out->lead || stride < out->lead) out->lead = stride;
            continue;
        }
        out->k *= n;
        blocks += has;
        parts += !has;
        if (has) out->block = axis;
        odd += !has && !is_block(m, operand, axis, 1);
    }
    out->whole = blocks == 0 && !out->square;
    if (out->whole) return true;
    return blocks == 1 && parts == 1 && odd == 0 &&
           layout_stride(m, operand, out->block) == GEMM_SCALE_BLOCK;
}

static int64_t stride_in_blocks(const ScaleAxes *s, bool block, int64_t of)
{
    int64_t blocks = s->k / GEMM_SCALE_BLOCK;
    int64_t whole = (blocks + GEMM_SCALE_UNIT - 1) / GEMM_SCALE_UNIT;
    if (!s->square) return block ? s->rows : of / s->lead;
    return block ? 1
                 : of / s->lead / GEMM_SCALE_BLOCK * whole * GEMM_SCALE_UNIT;
}

/* Rows r, 32 + r, 64 + r and 96 + r lie side by side, with four of K each.
 * LEAD: of the operand, from row to row. */
static int64_t stride_in_tiles(int64_t k, int64_t lead, bool sum, int64_t of)
{
    enum { PART = 32, ROWS = 32, SIDE = 128, TILE = 512 };
    if (sum) return of >= SIDE ? of / SIDE * TILE : of / PART;
    int64_t row = of / lead;
    return row >= SIDE   ? row / SIDE * TILE * (k / SIDE)
           : row >= ROWS ? row / ROWS * 4
                         : row * 16;
}

/* Of e8m0, which tensor memory takes; K lies side by side. */
static Layout tile_layout(const Module *m, const Fn *group, Layout operand,
                          Type t, Arena *a)
{
    const TypeInfo *ti = type_info(m, t);
    const Inst *in = group_einsum(group);
    int64_t *stride = NEW_ARRAY(a, int64_t, (size_t)ti->naxes + 1), k = 1;
    int64_t lead = INT64_MAX;
    const TypeInfo *of = type_info(m, operand.type);
    for (uint32_t i = 0; i < of->naxes; i++) {
        int64_t each = layout_stride(m, operand, of->axes[i].axis);
        if (einsum_role(m, group, in, of->axes[i].axis) == EINSUM_sum)
            k *= type_local_size(m, &of->axes[i]);
        else if (type_local_size(m, &of->axes[i]) > 1 && each < lead)
            lead = each;
    }
    for (uint32_t i = 0; i < ti->naxes; i++) {
        Axis axis = ti->axes[i].axis;
        bool sum = einsum_role(m, group, in, axis) == EINSUM_sum;
        stride[i] =
            stride_in_tiles(k, lead, sum, layout_stride(m, operand, axis));
    }
    return (Layout){t, stride};
}

bool gemm_scale_layout(Module *m, const Fn *group, Layout operand,
                       uint32_t which, Arena *a, Layout *out, GemmScale *scale)
{
    uint32_t param = group_gemm(group).scale[which];
    Type t = group->params[param].type;
    const TypeInfo *ti = type_info(m, t);
    ScaleAxes s;
    if (type_dtype(m, t) == DT_e8m0) {
        *out = tile_layout(m, group, operand, t, a);
        *scale = GEMM_SCALE_tile32;
        return true;
    }
    if (!find_scale_axes(m, group, operand, t, &s)) return false;
    int64_t *stride = NEW_ARRAY(a, int64_t, (size_t)ti->naxes + 1);
    int64_t unit = s.square ? s.lead * GEMM_SCALE_BLOCK : s.lead;
    for (uint32_t i = 0; i < ti->naxes; i++) {
        Axis axis = ti->axes[i].axis;
        bool block = axis.id == s.block.id;
        int64_t of = layout_stride(m, operand, axis);
        if (!block && of % unit != 0) return false;
        stride[i] = stride_in_blocks(&s, block, of);
    }
    *out = (Layout){t, stride};
    *scale = s.whole    ? GEMM_SCALE_row
             : s.square ? GEMM_SCALE_block128
                        : GEMM_SCALE_row128;
    return true;
}

GemmParams group_gemm(const Fn *group)
{
    const Inst *in = group_einsum(group);
    GemmParams p = {.a = einsum_param(group, in, 0),
                    .b = einsum_param(group, in, 1),
                    .scale = {NO_PARAM, NO_PARAM},
                    .third = NO_PARAM};
    for (uint32_t i = 0; i < 2; i++) {
        const Inst *map = scaling_map(group, in, i);
        if (map) p.scale[i] = inst_arg(group, map, 1).id;
    }
    const Inst *out = inst_of(group, group->result_values[0]);
    for (uint32_t i = 0; i < out->nargs && out != in; i++)
        if (inst_of(group, inst_arg(group, out, i))->op == OP_arg)
            p.third = inst_arg(group, out, i).id;
    return p;
}

bool group_is_scaled(const Module *m, const Fn *group)
{
    const Inst *out = inst_of(group, group->result_values[0]);
    if (out->op != OP_map || group_gemm(group).third == NO_PARAM) return false;
    const ExprInfo *e = expr_info(m, attr_expr(m, out->attr));
    if (e->op == SC_cast) e = expr_info(m, e->args[0]);
    return e->op == SC_mul;
}

Value group_scatter(const Fn *group)
{
    for (uint32_t i = group->nparams; i < group->ninsts; i++)
        if (group->insts[i].op == OP_scatter || group->insts[i].op == OP_put)
            return (Value){i};
    return NO_VALUE;
}

Value group_base(const Fn *group)
{
    const Inst *sum = inst_of(group, group->result_values[0]);
    for (uint32_t i = 0; i < sum->nargs && sum->op == OP_map; i++)
        if (inst_of(group, inst_arg(group, sum, i))->op == OP_arg)
            return inst_arg(group, sum, i);
    return NO_VALUE;
}

uint32_t einsum_param(const Fn *group, const Inst *in, uint32_t i)
{
    Value v = inst_arg(group, in, i);
    const Inst *of = inst_of(group, v);
    for (; of->op == OP_gather || of->op == OP_map; of = inst_of(group, v))
        v = inst_arg(group, of, 0);
    return v.id;
}

bool group_blocks(const Module *m, const Fn *group, ProductBlocks *out)
{
    for (uint32_t i = group->nparams; i < group->ninsts; i++) {
        const Inst *in = &group->insts[i];
        if (in->op != OP_gather && in->op != OP_scatter) continue;
        out->scattered = in->op == OP_scatter;
        out->ids = inst_arg(group, in, !out->scattered).id;
        out->axis = attr_axis(m, in->attr, AT_axis);
        out->block = type_info(m, group->params[out->ids].type)->axes[0].axis;
        return true;
    }
    return false;
}

EinsumRole einsum_role(const Module *m, const Fn *fn, const Inst *in, Axis axis)
{
    const AttrItem *sum = attr_get(m, in->attr, AT_sum);
    for (uint32_t i = 0; i < sum->n; i++)
        if (sum->axes[i].id == axis.id) return EINSUM_sum;
    bool x = type_axis(m, value_type(fn, inst_arg(fn, in, 0)), axis);
    bool y = type_axis(m, value_type(fn, inst_arg(fn, in, 1)), axis);
    return x && y ? EINSUM_batch : x ? EINSUM_row : EINSUM_column;
}

/* Keeps runs sorted by decreasing stride in place BY. */
static bool runs_insert(Runs *r, Run run, int by)
{
    if (run.size == 1) return true;
    if (r->n == MOST_AXES) return false;
    uint32_t at = r->n++;
    while (at > 0 && r->at[at - 1].stride[by] < run.stride[by]) {
        r->at[at] = r->at[at - 1];
        at--;
    }
    r->at[at] = run;
    return true;
}

static bool continues(const Run *outer, const Run *inner)
{
    for (int p = 0; p < PLACES; p++)
        if (outer->stride[p] != inner->stride[p] * inner->size) return false;
    return true;
}

static void runs_fold(Runs *r)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->n; i++) {
        if (n > 0 && continues(&r->at[n - 1], &r->at[i])) {
            Run *last = &r->at[n - 1];
            last->size *= r->at[i].size;
            memcpy(last->stride, r->at[i].stride, sizeof last->stride);
        } else {
            r->at[n++] = r->at[i];
        }
    }
    r->n = n;
}

typedef struct Fit {
    Module *m;
    Layout at[PLACES]; /* A, B, D, then any others */
    uint32_t n;
    bool pieces;  /* the sum may lie in */
    bool any;     /* scales of blocks may lie anywhere */
    Runs runs[4]; /* by EinsumRole */
} Fit;

/* ProductBlocks of rows that choose their second matrix are rows, blocks of
 * terms that are scattered are terms. */
static EinsumRole role_in(const Fit *f, const Fn *fn, const Inst *in, Axis axis)
{
    EinsumRole role = einsum_role(f->m, fn, in, axis);
    if (role != EINSUM_batch) return role;
    return !type_axis(f->m, f->at[D].type, axis)   ? EINSUM_sum
           : !type_axis(f->m, f->at[B].type, axis) ? EINSUM_row
                                                   : role;
}

static bool collect(Fit *f, const Fn *fn, const Inst *in)
{
    const Layout *at = f->at;
    static const int by[4] = {[EINSUM_batch] = D,
                              [EINSUM_row] = D,
                              [EINSUM_column] = D,
                              [EINSUM_sum] = A};
    for (int p = 0; p < 2; p++) {
        const TypeInfo *ti = type_info(f->m, at[p].type);
        for (uint32_t i = 0; i < ti->naxes; i++) {
            Axis axis = ti->axes[i].axis;
            if (p == B && type_axis(f->m, at[A].type, axis)) continue;
            Run run = {.size = type_local_size(f->m, &ti->axes[i])};
            for (uint32_t q = 0; q < f->n; q++)
                run.stride[q] = layout_stride(f->m, at[q], axis);
            EinsumRole role = role_in(f, fn, in, axis);
            if (!runs_insert(&f->runs[role], run, by[role])) return false;
        }
    }
    for (int r = 0; r < 4; r++)
        runs_fold(&f->runs[r]);
    return true;
}

/* One of the two strides must be 1.  The stride of a side with one index is
 * free: it becomes what a dense matrix would have. */
static bool unit(int64_t rows, int64_t *row, int64_t cols, int64_t *col)
{
    if (cols == 1 && *row != 1) *col = 1;
    if (rows == 1 && *col != 1) *row = 1;
    if (rows == 1 && *col == 1) *row = cols;
    if (cols == 1 && *row == 1) *col = rows;
    if (*col == 1) return *row >= cols;
    return *row == 1 && *col >= rows;
}

static Run run_or_one(const Runs *r, uint32_t i)
{
    return i < r->n ? r->at[i] : (Run){.size = 1};
}

static bool matrix_of(const Fit *f, uint32_t row, uint32_t col, Gemm *g,
                      GemmPlace *places)
{
    Run rows = run_or_one(&f->runs[EINSUM_row], row);
    Run cols = run_or_one(&f->runs[EINSUM_column], col);
    const Runs *sums = &f->runs[EINSUM_sum];
    Run sum = run_or_one(sums, sums->n == 2), piece = {.size = 1};
    if (sums->n == 2) piece = sums->at[0];
    g->m = rows.size, g->n = cols.size, g->k = sum.size;
    g->pieces = piece.size;
    g->a_row = rows.stride[A], g->a_col = sum.stride[A];
    g->b_row = sum.stride[B], g->b_col = cols.stride[B];
    g->d_row = rows.stride[D], g->d_col = cols.stride[D];
    for (uint32_t i = 0; i < f->n; i++)
        places[i] = (GemmPlace){.row = rows.stride[i],
                                .col = cols.stride[i],
                                .sum = sum.stride[i],
                                .piece = piece.stride[i]};
    bool found = unit(g->m, &g->a_row, g->k, &g->a_col) &&
                 unit(g->k, &g->b_row, g->n, &g->b_col) &&
                 unit(g->m, &g->d_row, g->n, &g->d_col);
    g->k *= g->pieces;
    return found;
}

static bool add_batches(const Runs *runs, uint32_t without, Runs *out)
{
    for (uint32_t i = 0; i < runs->n; i++)
        if (i != without && !runs_insert(out, runs->at[i], D)) return false;
    return true;
}

static bool batches_of(const Fit *f, uint32_t row, uint32_t col, Gemm *g,
                       GemmPlace *places)
{
    Runs all = {.n = 0};
    if (!add_batches(&f->runs[EINSUM_batch], UINT32_MAX, &all) ||
        !add_batches(&f->runs[EINSUM_row], row, &all) ||
        !add_batches(&f->runs[EINSUM_column], col, &all))
        return false;
    runs_fold(&all);
    if (all.n > MOST_GEMM_BATCHES) return false;
    g->nbatch = all.n;
    for (uint32_t i = 0; i < all.n; i++) {
        g->batch[i] = all.at[i].size;
        g->a_batch[i] = all.at[i].stride[A];
        g->b_batch[i] = all.at[i].stride[B];
        g->d_batch[i] = all.at[i].stride[D];
        for (uint32_t p = 0; p < f->n; p++)
            places[p].batch[i] = all.at[i].stride[p];
    }
    return true;
}

/* The largest matrix of the possible ones. */
static bool choose(const Fit *f, Gemm *g, GemmPlace *places)
{
    bool found = false;
    GemmPlace at[PLACES];
    uint32_t nrows = f->runs[EINSUM_row].n, ncols = f->runs[EINSUM_column].n;
    for (uint32_t r = 0; r < (nrows ? nrows : 1); r++) {
        for (uint32_t c = 0; c < (ncols ? ncols : 1); c++) {
            Gemm try = *g;
            if (!matrix_of(f, r, c, &try, at) || !batches_of(f, r, c, &try, at))
                continue;
            if (found && try.m * try.n <= g->m * g->n) continue;
            *g = try;
            memcpy(places, at, f->n * sizeof *at);
            found = true;
        }
    }
    return found;
}

static bool find_scales(const Fit *f, const Fn *group, const GemmParams *p,
                        Gemm *g)
{
    Layout l;
    GemmScale *to[2] = {&g->scale_a, &g->scale_b};
    for (uint32_t i = 0; i < 2 && !f->any; i++)
        if (p->scale[i] != NO_PARAM &&
            !gemm_scale_layout(f->m, group, f->at[i], i, f->m->scratch, &l,
                               to[i]))
            return false;
    return true;
}

/* Scales are of one matrix, not of a batch of them. */
static bool scales_fit(const Gemm *g)
{
    bool scales =
        g->scale_a != GEMM_SCALE_none || g->scale_b != GEMM_SCALE_none;
    return !scales || g->nbatch == 0;
}

/* What is fast for numbers of eight bits is no matter for wider ones. */
static bool of_bytes(const Fit *f)
{
    return dtype_bytes(type_dtype(f->m, f->at[A].type)) == 1 &&
           dtype_bytes(type_dtype(f->m, f->at[B].type)) == 1;
}

static bool fit(Fit *f, const Fn *group, Gemm *out, GemmPlace *places)
{
    const Inst *in = group_einsum(group);
    Module *m = f->m;
    if (!has_operands(m, group) || !collect(f, group, in)) return false;
    const Runs *sums = &f->runs[EINSUM_sum];
    if (sums->n > 1 &&
        (!f->pieces || sums->n > 2 || sums->at[1].size % GEMM_PIECE_UNIT != 0))
        return false;
    DType d = type_dtype(m, f->at[D].type);
    *out = (Gemm){
        .a = type_dtype(m, f->at[A].type),
        .b = type_dtype(m, f->at[B].type),
        .d = d,
        .acc = attr_dtype(m, in->attr, AT_acc, d == DT_f64 ? DT_f64 : DT_f32),
        .fast = attr_flag(m, in->attr, AT_fast) && of_bytes(f),
        .scaled = group_is_scaled(m, group)};
    GemmParams p = group_gemm(group);
    out->accumulate = p.third != NO_PARAM && !out->scaled;
    return find_scales(f, group, &p, out) && choose(f, out, places) &&
           scales_fit(out);
}

bool gemm_fit(Module *m, const Fn *group, const Layout layouts[3], Gemm *out)
{
    GemmPlace places[PLACES];
    Fit f = {.m = m, .n = 3};
    memcpy(f.at, layouts, 3 * sizeof *layouts);
    return fit(&f, group, out, places);
}

bool gemm_fit_pieces(Module *m, const Fn *group, const Layout layouts[3],
                     Gemm *out)
{
    GemmPlace places[PLACES];
    Fit f = {.m = m, .n = 3, .pieces = true};
    memcpy(f.at, layouts, 3 * sizeof *layouts);
    return fit(&f, group, out, places);
}

/* Without the axis along which a gather chooses. */
static Layout layout_chosen(Module *m, const Fn *group, const Inst *einsum,
                            uint32_t i, Layout l)
{
    const Inst *in = inst_of(group, inst_arg(group, einsum, i));
    if (in->op != OP_gather) return l;
    Axis axis = attr_axis(m, in->attr, AT_axis);
    const TypeInfo *ti = type_info(m, l.type);
    int64_t *stride = NEW_ARRAY(m->scratch, int64_t, ti->naxes);
    for (uint32_t a = 0, n = 0; a < ti->naxes; a++)
        if (ti->axes[a].axis.id != axis.id) stride[n++] = l.stride[a];
    return (Layout){type_without_axis(m, l.type, axis), stride};
}

/* Tallies lie as what they are of would: an element of them is `turns` of the
 * axis that is cut. */
static Layout layout_tally(Module *m, const Fn *group, const ColumnSum *tally,
                           Layout l)
{
    Type whole = value_type(group, tally->of);
    const TypeInfo *ti = type_info(m, whole);
    int64_t *stride = NEW_ARRAY(m->scratch, int64_t, ti->naxes);
    for (uint32_t a = 0; a < ti->naxes; a++) {
        Axis axis = ti->axes[a].axis;
        stride[a] = layout_stride(m, l, axis);
        if (axis.id != tally->axis.id) stride[a] *= tally->turns;
    }
    return (Layout){whole, stride};
}

bool product_fit(Module *m, const Fn *group, const Layout *layouts, Gemm *out,
                 GemmPlace *places)
{
    const Inst *in = group_einsum(group);
    uint32_t n = group->nparams + group->nresults, order[PLACES];
    GemmPlace found[PLACES];
    ProductBlocks blocks;
    GemmParams params = group_gemm(group);
    Fit f = {.m = m, .pieces = true, .any = true};
    if (n > PLACES) return false;
    order[f.n++] = einsum_param(group, in, 0);
    order[f.n++] = einsum_param(group, in, 1);
    order[f.n++] = group->nparams;
    if (!group_blocks(m, group, &blocks)) blocks.ids = UINT32_MAX;
    for (uint32_t i = 0; i < n; i++) {
        places[i] = (GemmPlace){0};
        if (i != order[A] && i != order[B] && i != order[D] &&
            i != blocks.ids && i != params.scale[0] && i != params.scale[1])
            order[f.n++] = i;
    }
    for (uint32_t i = 0; i < f.n; i++) {
        ColumnSum tally;
        f.at[i] = layouts[order[i]];
        if (order[i] >= group->nparams &&
            product_tally(m, group,
                          group->result_values[order[i] - group->nparams],
                          &tally))
            f.at[i] = layout_tally(m, group, &tally, f.at[i]);
    }
    for (uint32_t i = 0; i < 2; i++)
        f.at[i] = layout_chosen(m, group, in, i, f.at[i]);
    if (!fit(&f, group, out, found)) return false;
    for (uint32_t i = 0; i < f.n; i++)
        places[order[i]] = found[i];
    return true;
}
