/*
 * matmul_plan.c: which groups are matmul kernels, and their layout.
 *
 * A result that is dense along M is made as the transposed product, so that the
 * kernel knows rows alone.  Shared memory is
 *
 *     stages x (A | B of each product) | slots of each warp | barriers
 *
 * An operand along K is one box of 64 x rows, one across K is boxes of 64 rows
 * of M or N by 64 of K; both have rows of 128 swizzled bytes.  One that a pair
 * of blocks shares comes in halves: of its rows, or of K.  Values that run
 * along come and go in slots of 16 rows, one for each and each chunk of
 * columns; a result takes over the slot of a value that was read.  Chunks of
 * columns that are cut into parts are made together, so that what the parts
 * share is read once.
 */
#include "matmul.h"

#include <string.h>

/* A value of more is gone from the second-level cache before anything reads it
 * again. */
enum { CACHED_BYTES = 128 << 20 };
enum { UNIT = 16, FEWEST_STAGES = 3, MOST_WITH_MAPS = 192 };

/* ----------------------------------------------------------------- views -- */

/* Rows of `inner` dense elements. */
typedef struct Matrix {
    uint32_t arg;
    DType dtype;
    int64_t inner, outer, stride; /* sizes; elements from row to row */
    const int64_t *batch;         /* strides */
} Matrix;

/* Coordinates are i32, and a tile's may lie beyond the end. */
enum { LONGEST = INT32_MAX - 1024 };

/* From the last dimension to one of a single index, which is never stepped
 * along: its own stride says nothing, and may be any. */
static int64_t dense_stride(const TitanMap *map)
{
    int64_t all = map->stride[map->rank - 1] * map->size[map->rank - 1];
    return (all + UNIT - 1) / UNIT * UNIT;
}

static bool add_dim(TitanMap *map, int64_t size, int64_t stride, uint32_t box)
{
    if (size == 1 && stride % UNIT != 0) stride = dense_stride(map);
    if (map->rank == TITAN_MAP_DIMS || size > LONGEST || stride < 0 ||
        stride % UNIT != 0 || stride >> 40)
        return false;
    uint32_t i = map->rank++;
    map->size[i] = size;
    map->stride[i] = stride;
    map->box[i] = box;
    return true;
}

/* Boxes of `bytes` by `rows`. */
static bool view_of(const Matrix *x, const Gemm *g, uint32_t bytes,
                    uint32_t rows, MatmulView *v)
{
    uint32_t each = dtype_bytes(x->dtype);
    v->map = (TitanMap){.arg = x->arg,
                        .dtype = x->dtype,
                        .rank = 1,
                        .swizzle = bytes,
                        .size = {x->inner},
                        .stride = {each},
                        .box = {bytes / each}};
    if (x->inner > LONGEST ||
        !add_dim(&v->map, x->outer, x->stride * each, rows))
        return false;
    for (uint32_t i = 0; i < g->nbatch; i++) {
        if (x->batch[i] == 0) continue;
        v->batch[v->map.rank] = i;
        if (!add_dim(&v->map, g->batch[i], x->batch[i] * each, 1)) return false;
    }
    return true;
}

/* `rows` of M or N; a block brings one of `parts`, in whole groups of eight
 * rows, by which the swizzle goes. */
static bool view_operand(const Matrix *x, const Gemm *g, uint32_t rows,
                         uint32_t parts, MatmulView *v)
{
    v->parts = parts;
    return rows % (v->across ? 64 : 8 * parts) == 0 &&
           view_of(x, g, MATMUL_ROW_BYTES,
                   (v->across ? MATMUL_K : rows) / parts, v);
}

/* Elements of K that lie side by side. */
static int64_t piece_of(const Gemm *g)
{
    return g->k / g->pieces;
}

static bool view_a(const Matmul *p, uint32_t arg, MatmulView *v)
{
    const Gemm *g = &p->g;
    v->across = g->a_col != 1;
    int64_t k = piece_of(g);
    Matrix x = {arg, g->a, k, g->m, g->a_row, g->a_batch};
    if (v->across) x = (Matrix){arg, g->a, g->m, k, g->a_col, g->a_batch};
    return view_operand(&x, g, p->t.m, p->t.pair == MATMUL_ACROSS ? 2 : 1, v);
}

/* The dimension of pieces of K. */
static bool view_pieces(const Gemm *g, const GemmPlace *at, MatmulView *v)
{
    if (g->pieces == 1) return true;
    v->batch[v->map.rank] = MATMUL_PIECE;
    return add_dim(&v->map, g->pieces, at->piece * dtype_bytes(g->a), 1);
}

/* The dimension along which blocks choose. */
static bool view_chosen(const Matmul *p, const KernelArg *arg, MatmulView *v)
{
    Layout l = {arg->type, arg->stride};
    int64_t stride = layout_stride(p->m, l, p->blocked.axis);
    v->batch[v->map.rank] = MATMUL_CHOSEN;
    return add_dim(&v->map, p->blocked.of,
                   stride * dtype_bytes(type_dtype(p->m, arg->type)), 1);
}

static bool view_b(const Matmul *p, const Gemm *g, uint32_t arg, MatmulView *v)
{
    v->across = g->b_row != 1;
    int64_t k = piece_of(g);
    Matrix x = {arg, g->b, k, g->n, g->b_col, g->b_batch};
    if (v->across) x = (Matrix){arg, g->b, g->n, k, g->b_row, g->b_batch};
    return view_operand(&x, g, p->group_n, p->t.pair == MATMUL_DOWN ? 2 : 1, v);
}

/* -------------------------------------------------------------- operands -- */

/* The product of the transposed matrices. */
static void turn(Gemm *g, GemmPlace *places, uint32_t n)
{
    const Gemm of = *g;
    g->a = of.b, g->b = of.a;
    g->m = of.n, g->n = of.m;
    g->a_row = of.b_col, g->a_col = of.b_row;
    g->b_row = of.a_col, g->b_col = of.a_row;
    g->d_row = of.d_col, g->d_col = of.d_row;
    memcpy(g->a_batch, of.b_batch, sizeof g->a_batch);
    memcpy(g->b_batch, of.a_batch, sizeof g->b_batch);
    for (uint32_t i = 0; i < n; i++) {
        int64_t row = places[i].row;
        places[i].row = places[i].col;
        places[i].col = row;
    }
}

static bool is_eight(DType d)
{
    return d == DT_e4m3 || d == DT_e5m2;
}

/* Tensor cores read numbers of eight bits along K alone. */
static bool has_dtypes(const Gemm *g)
{
    bool sixteen = (g->a == DT_bf16 || g->a == DT_f16) && g->b == g->a;
    bool eight =
        is_eight(g->a) && is_eight(g->b) && g->a_col == 1 && g->b_row == 1;
    return (sixteen || eight) && g->acc == DT_f32 && g->k > 0;
}

uint32_t matmul_product(const Matmul *p, const Inst *einsum)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->group->ninsts; i++) {
        if (&p->group->insts[i] == einsum) return n;
        n += p->group->insts[i].op == OP_einsum;
    }
    BUG("a product of another group");
}

/* A and the Bs: views 0, 1, ...  Further products have the same first operand.
 */
static bool view_operands(Matmul *p, const KernelArg *args,
                          const GemmPlace *places, bool turned)
{
    const Fn *f = p->group;
    const Inst *first = group_einsum(f);
    uint32_t a = einsum_param(f, first, turned);
    p->group_n = p->t.n / p->products;
    if (!view_a(p, a, &p->view[0]) ||
        !view_pieces(&p->g, &places[a], &p->view[0]))
        return false;
    p->nviews = 1;
    for (uint32_t i = 0; i < f->ninsts; i++) {
        const Inst *in = &f->insts[i];
        if (in->op != OP_einsum) continue;
        uint32_t b = einsum_param(f, in, !turned);
        Gemm g = p->g;
        if (in != first) {
            if (turned || inst_arg(f, in, 0).id != a) return false;
            g.b_row = places[b].sum;
            g.b_col = places[b].col;
            memcpy(g.b_batch, places[b].batch, sizeof g.b_batch);
            if (g.b_row != 1 && g.b_col != 1) return false;
        }
        MatmulView *v = &p->view[p->nviews++];
        if (!view_b(p, &g, b, v) || v->across != p->view[1].across ||
            !view_pieces(&g, &places[b], v) ||
            (p->blocked.chosen && !view_chosen(p, &args[b], v)))
            return false;
    }
    return true;
}

/* ----------------------------------------------------------------- parts -- */

/* Tallies are cut, too, but have no parts that maps are of. */
static const Inst *group_split(const Module *m, const Fn *f)
{
    for (uint32_t i = f->nparams; i < f->ninsts; i++)
        if (f->insts[i].op == OP_split && !column_cut(m, f, (Value){i}))
            return &f->insts[i];
    return NULL;
}

/* Whether parts are reduced, and not picked. */
static bool reduces_part(const Matmul *p, Axis part)
{
    for (uint32_t i = p->group->nparams; i < p->group->ninsts; i++) {
        const Inst *in = &p->group->insts[i];
        if (in->op == OP_reduce &&
            attr_get(p->m, in->attr, AT_axes)->axes[0].id == part.id)
            return true;
    }
    return false;
}

/* Blocks of the innermost axis share what is reduced over one; a tile has whole
 * blocks. */
static bool find_shares(Matmul *p, const KernelArg *args, const Inst *in)
{
    const Fn *f = p->group;
    p->within = attr_get(p->m, in->attr, AT_to)->axes[1];
    Layout d = {args[f->nparams].type, args[f->nparams].stride};
    const TypeInfo *ti = type_info(p->m, d.type);
    int64_t whole = type_local_size(p->m, type_axis(p->m, in->type, p->within));
    if (layout_stride(p->m, d, ti->axes[ti->naxes - 1].axis) != 1 ||
        p->g.d_col != 1 || p->group_n % whole != 0)
        return false;
    p->shares = true;
    p->whole = (uint32_t)whole;
    p->part = UNIT;
    return true;
}

/* Columns that are cut into parts: the innermost axis, of which a tile has
 * whole ones. */
static bool find_parts(Matmul *p, const KernelArg *args)
{
    const Fn *f = p->group;
    const Inst *in = group_split(p->m, f);
    p->whole = p->part = 0;
    if (!in) return true;
    if (reduces_part(p, attr_get(p->m, in->attr, AT_to)->axes[1]))
        return find_shares(p, args, in);
    const AttrItem *to = attr_get(p->m, in->attr, AT_to);
    Axis axis = attr_axis(p->m, in->attr, AT_axis);
    Layout d = {args[f->nparams].type, args[f->nparams].stride};
    int64_t whole = type_local_size(p->m, type_axis(p->m, d.type, axis));
    int64_t part =
        type_local_size(p->m, type_axis(p->m, in->type, to->axes[to->n - 1]));
    if (layout_stride(p->m, d, axis) != 1 || p->group_n % whole != 0 ||
        part % UNIT != 0 || p->products > 1)
        return false;
    p->whole = (uint32_t)whole;
    p->part = (uint32_t)part;
    return true;
}

static void find_part(const Matmul *p, const KernelArg *arg, MatmulValue *v)
{
    const Inst *in = group_split(p->m, p->group);
    const AttrItem *to = attr_get(p->m, in->attr, AT_to);
    Axis axis = to->axes[to->n - 1];
    v->parted = type_axis(p->m, arg->type, axis) != NULL;
    v->part = layout_stride(p->m, (Layout){arg->type, arg->stride}, axis);
}

/* ---------------------------------------------------------------- blocks -- */

/* ProductBlocks lie one behind the other, in whole tiles or stages.  What two
 * blocks of threads share, they choose alike. */
static bool find_blocks(Matmul *p, const KernelArg *args, bool turned)
{
    ProductBlocks b;
    if (!group_blocks(p->m, p->group, &b)) return true;
    const Inst *in = group_einsum(p->group);
    const KernelArg *a = &args[einsum_param(p->group, in, turned)];
    Layout ids = {args[b.ids].type, args[b.ids].stride};
    Layout to = {
        args[b.scattered ? p->group->nparams : einsum_param(p->group, in, 1)]
            .type,
        NULL};
    int64_t n = type_local_elements(p->m, ids.type);
    int64_t rows = b.scattered ? p->g.k : p->g.m;
    int64_t row = b.scattered ? p->g.a_col : p->g.a_row;
    p->blocked = (MatmulBlocks){
        .chosen = !b.scattered,
        .scattered = b.scattered,
        .ids = b.ids,
        .axis = b.axis,
        .n = n,
        .each = rows / n,
        .of = type_local_size(p->m, type_axis(p->m, to.type, b.axis))};
    uint32_t unit = b.scattered ? matmul_k(p) : p->t.m;
    bool pieces = b.scattered && p->g.pieces > 1;
    int64_t block = layout_stride(p->m, (Layout){a->type, a->stride}, b.block);
    return type_dtype(p->m, ids.type) == DT_i32 && rows % n == 0 &&
           p->blocked.each % unit == 0 && p->g.nbatch == 0 &&
           (!pieces || (p->g.pieces == n && block != row)) &&
           layout_stride(p->m, ids, b.block) == 1 && !p->t.turns &&
           (pieces || block == p->blocked.each * row) &&
           (b.scattered || (!turned && p->t.pair != MATMUL_DOWN));
}

/* ---------------------------------------------------------------- values -- */

static bool is_operand(const Fn *f, uint32_t param)
{
    for (uint32_t i = 0; i < f->ninsts; i++)
        if (f->insts[i].op == OP_einsum &&
            (einsum_param(f, &f->insts[i], 0) == param ||
             einsum_param(f, &f->insts[i], 1) == param))
            return true;
    return false;
}

static bool is_ids(const Matmul *p, uint32_t arg)
{
    return matmul_is_blocked(p) && p->blocked.ids == arg;
}

/* Its rows are dense, and it moves with every index of the result. */
static bool runs_along(const Gemm *g, const MatmulValue *v)
{
    bool whole = v->at.col == 1 || g->n == 1;
    whole &= v->at.row != 0 || g->m == 1;
    for (uint32_t i = 0; i < g->nbatch; i++)
        whole &= v->at.batch[i] != 0;
    return whole && !v->parted;
}

/* Neighbouring columns lie side by side, the first at a multiple of two. */
static bool has_pairs(const Gemm *g, const MatmulValue *v, uint32_t align)
{
    int64_t bits = v->at.row | (v->parted ? 0 : g->n);
    for (uint32_t i = 0; i < g->nbatch; i++)
        bits |= v->at.batch[i];
    return (v->parted ? v->part : v->at.col) == 1 && bits % 2 == 0 &&
           align % (2 * dtype_bytes(v->dtype)) == 0;
}

/* Columns of a chunk: slots have rows of WIDEST bytes an element. */
static uint32_t chunk_of(const Matmul *p, uint32_t widest)
{
    uint32_t most = MATMUL_ROW_BYTES / widest;
    uint32_t chunk = p->t.chunk < most ? p->t.chunk : most;
    while (p->group_n % chunk != 0 ||
           (p->whole % chunk != 0 && chunk % p->whole != 0))
        chunk /= 2;
    return chunk;
}

static bool is_tally(const Matmul *p, uint32_t arg, ColumnSum *out)
{
    const Fn *f = p->group;
    return arg >= f->nparams &&
           product_tally(p->m, f, f->result_values[arg - f->nparams], out);
}

/* Whole ones of a tile, along the columns that lie side by side. */
static bool list_tallies(Matmul *p, const KernelArg *args,
                         const GemmPlace *places)
{
    const Fn *f = p->group;
    ColumnSum of;
    Layout d = {args[f->nparams].type, args[f->nparams].stride};
    for (uint32_t i = f->nparams; i < p->nargs; i++) {
        if (!is_tally(p, i, &of)) continue;
        const Inst *in = inst_of(f, f->result_values[i - f->nparams]);
        if (p->ntallies == MATMUL_TALLIES || p->whole || matmul_is_blocked(p) ||
            p->group_n % of.turns != 0 || of.turns % UNIT != 0 ||
            p->g.d_col != 1 || layout_stride(p->m, d, of.axis) != 1 ||
            type_dtype(p->m, in->type) != DT_f32)
            return false;
        MatmulTally *t = &p->tally[p->ntallies++];
        *t = (MatmulTally){.arg = i,
                           .columns = (uint32_t)of.turns,
                           .of = of.of,
                           .max = attr_is(p->m, in->attr, AT_kind, "max"),
                           .at = places[i]};
        t->at.row /= of.turns;
        for (uint32_t b = 0; b < p->g.nbatch; b++)
            t->at.batch[b] /= of.turns;
    }
    return true;
}

/* What is read beside the operands, then what is written. */
static bool list_values(Matmul *p, const KernelArg *args,
                        const GemmPlace *places)
{
    const Fn *f = p->group;
    uint32_t widest = 2;
    ColumnSum tally;
    for (uint32_t i = 0; i < p->nargs; i++) {
        bool written = i >= f->nparams;
        if (!written &&
            (is_operand(f, i) || is_ids(p, i) || matmul_is_scale(p, i)))
            continue;
        if (is_tally(p, i, &tally)) continue;
        if (args[i].counter || p->nvalues == MATMUL_VALUES) return false;
        DType d = type_dtype(p->m, args[i].type);
        if (!dtype_fits_f32(d)) return false;
        Value v = written ? f->result_values[i - f->nparams] : (Value){i};
        MatmulValue *x = &p->value[p->nvalues++];
        *x = (MatmulValue){.arg = i,
                           .value = v,
                           .dtype = d,
                           .at = places[i],
                           .written = written,
                           .over = written && args[i].same >= 0,
                           .passes =
                               type_bytes(p->m, args[i].type) > CACHED_BYTES,
                           .view = -1};
        if (p->whole && !p->shares) find_part(p, &args[i], x);
        x->pairs = has_pairs(&p->g, x, args[i].align);
        if (d == DT_f32 && runs_along(&p->g, x)) widest = 4;
    }
    p->chunk = chunk_of(p, widest);
    if (!p->whole) p->part = p->chunk;
    p->joint = p->whole > p->chunk ? p->whole / p->chunk : 1;
    p->slot = MATMUL_ROWS * p->chunk * widest;
    return p->chunk >= UNIT;
}

/* The copy engine writes rows in whole units of 16 bytes: pads, too. */
static bool view_value(Matmul *p, MatmulValue *v, const KernelArg *arg)
{
    const Gemm *g = &p->g;
    Matrix x = {v->arg, v->dtype, g->n, g->m, v->at.row, v->at.batch};
    int64_t unit = UNIT / (int64_t)dtype_bytes(v->dtype);
    int64_t units = (g->n + unit - 1) / unit * unit;
    bool whole = runs_along(g, v);
    if (g->m == 1) x.stride = g->d_row;
    if (v->written) {
        whole &= units - g->n <= arg->pad;
        x.inner = units;
    }
    MatmulView *view = &p->view[p->nviews];
    if (!whole || arg->align % UNIT != 0 ||
        !view_of(&x, g, p->chunk * dtype_bytes(v->dtype), MATMUL_ROWS, view) ||
        (p->blocked.scattered && !view_chosen(p, arg, view)))
        return false;
    v->view = (int32_t)p->nviews++;
    return true;
}

/* A slot of one that was read and has rows as long. */
static bool take_slot(const Matmul *p, bool *taken, MatmulValue *v)
{
    for (uint32_t i = 0; i < p->nvalues; i++) {
        const MatmulValue *of = &p->value[i];
        if (of->written || of->view < 0 || taken[i] ||
            dtype_bytes(of->dtype) != dtype_bytes(v->dtype))
            continue;
        taken[i] = true;
        v->slot = of->slot;
        return true;
    }
    return false;
}

static bool place_values(Matmul *p, const KernelArg *args)
{
    bool taken[MATMUL_VALUES] = {false};
    for (uint32_t i = 0; i < p->nvalues; i++) {
        MatmulValue *v = &p->value[i];
        if (!view_value(p, v, &args[v->arg])) {
            if (v->written) return false;
            continue;
        }
        if (!v->written)
            p->fetched += MATMUL_ROWS * p->chunk * dtype_bytes(v->dtype);
        if (!v->written || !take_slot(p, taken, v)) v->slot = p->slots++;
    }
    return true;
}

/* ----------------------------------------------------------------- plans -- */

/* As many chunks and stages as there is room for. */
static bool share_memory(Matmul *p)
{
    MatmulTile *t = &p->t;
    uint32_t stage = p->a_bytes + p->b_bytes, most = t->stages;
    for (; t->ahead > 0; t->ahead--) {
        bool together = t->ahead % p->joint == 0 || (p->shares && !p->fetched);
        if (p->chunks % t->ahead != 0 || !together) continue;
        uint32_t warps = 4 * t->groups;
        uint32_t slots = warps * t->ahead * p->slots * p->slot;
        uint32_t bars = 8 * (2 * most + warps * t->ahead);
        if (slots + bars > SM90_SHARED_MOST) continue;
        uint32_t stages = (SM90_SHARED_MOST - slots - bars) / stage;
        t->stages = stages < most ? stages : most;
        p->slots_at = t->stages * stage;
        p->bars_at = p->slots_at + slots;
        p->shared = p->bars_at + bars;
        if (t->stages >= FEWEST_STAGES) return true;
    }
    return false;
}

/* Maps need registers beside those of the sums, of which there are two of each
 * where those of a stage are promoted. */
static bool has_registers(const Matmul *p)
{
    uint32_t sums = p->group_m / 64 * p->t.n / 2 * (p->promotes ? 2 : 1);
    sums += matmul_scale_registers(p);
    return fn_is(p->m, p->group, FK_matmul) ||
           (sums <= MOST_WITH_MAPS && p->t.groups <= 2);
}

/* Shared memory and the order of the tiles; false: too much of it. */
static bool lay_out(Matmul *p)
{
    const MatmulTile *t = &p->t;
    p->group_m = t->turns ? t->m : t->m / t->groups;
    p->threads = SM90_GROUP * (t->groups + 1);
    p->a_bytes = t->m * MATMUL_ROW_BYTES;
    p->b_bytes = t->n * MATMUL_ROW_BYTES;
    p->chunks = p->group_m / 64 * p->group_n / p->chunk;
    p->blocks = t->pair == MATMUL_ALONE ? 1 : 2;
    uint32_t m = t->m * (t->pair == MATMUL_DOWN ? 2 : 1);
    uint32_t n = p->group_n * (t->pair == MATMUL_ACROSS ? 2 : 1);
    p->tiles_m = (p->g.m + m - 1) / m;
    p->tiles_n = (p->g.n + n - 1) / n;
    p->steps = (p->g.k + matmul_k(p) - 1) / matmul_k(p);
    p->tiles = p->tiles_m * p->tiles_n;
    for (uint32_t i = 0; i < p->g.nbatch; i++)
        p->tiles *= p->g.batch[i];
    if (p->blocked.scattered) p->tiles *= p->blocked.of;
    return has_registers(p) && share_memory(p) && p->tiles < INT32_MAX / 2 &&
           p->tiles * p->steps < INT32_MAX / 2;
}

/* Tensor cores keep fewer bits of a sum of eight-bit numbers than f32 has, so
 * those of a stage are promoted where that is too few.  The library makes such
 * products, and multiplies them by scales, but for blocks, of which it knows
 * nothing, and short sums with maps of them. */
static bool find_promotion(Matmul *p)
{
    p->promotes = is_eight(p->g.a) && !p->g.fast;
    return !is_eight(p->g.a) || matmul_is_blocked(p) ||
           (p->g.fast && !fn_is(p->m, p->group, FK_matmul));
}

static uint32_t count_products(const Fn *f)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < f->ninsts; i++)
        n += f->insts[i].op == OP_einsum;
    return n;
}

static bool operands_aligned(const Matmul *p, const KernelArg *args)
{
    for (uint32_t i = 0; i < p->group->nparams; i++)
        if (is_operand(p->group, i) && args[i].align % UNIT != 0) return false;
    return true;
}

bool matmul_plan(Module *m, const Fn *group, const KernelArg *args,
                 const MatmulTile *t, Matmul *out)
{
    uint32_t n = group->nparams + group->nresults;
    Layout layouts[MOST_PRODUCT_PLACES];
    GemmPlace places[MOST_PRODUCT_PLACES];
    *out = (Matmul){.m = m,
                    .group = group,
                    .t = *t,
                    .nargs = n,
                    .processors = SM90_PROCESSORS};
    out->products = count_products(group);
    if (n > MOST_PRODUCT_PLACES || out->products > MATMUL_PRODUCTS)
        return false;
    for (uint32_t i = 0; i < n; i++)
        layouts[i] = (Layout){args[i].type, args[i].stride};
    if (!product_fit(m, group, layouts, &out->g, places)) return false;
    bool turned = out->g.d_col != 1;
    if (turned) turn(&out->g, places, n);
    return has_dtypes(&out->g) && operands_aligned(out, args) &&
           find_blocks(out, args, turned) && find_promotion(out) &&
           view_operands(out, args, places, turned) &&
           matmul_find_scales(out, args, turned) && find_parts(out, args) &&
           list_tallies(out, args, places) && list_values(out, args, places) &&
           place_values(out, args) && lay_out(out);
}

uint32_t matmul_blocks(const Matmul *p)
{
    int64_t blocks = p->tiles * p->blocks, most = p->processors;
    most -= most % p->blocks;
    return (uint32_t)(blocks < most ? blocks : most);
}
