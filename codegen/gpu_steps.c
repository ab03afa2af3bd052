/*
 * gpu_steps.c: which steps a block of threads runs, by class (classes.c).
 *
 * Before the roles part, one warp looks at all steps, 32 at a time, and lists
 * those that are not empty: the ones whose conditions have to be asked from
 * the front, the full ones from the back.
 *
 *     list_offset    how many are mixed, how many there are: two words
 *          + 8       the number of this block, where sums cross: a word
 *          + 16      numbers of steps, 16 bits each
 *
 * Where conditions read integers per column, the warps first find the least
 * and the most of each step, in tables of their own.
 */
#include "gpu_tensor.h"

#include <limits.h>

static LLVMTypeRef word(const Core *c)
{
    return LLVMInt32TypeInContext(c->e->s.cx);
}

static LV place(const Core *c, LV i, int64_t by, int64_t offset)
{
    return sm90_at(&c->e->s, core_at(c, i, by, offset));
}

/* ----------------------------------------------------------------- vectors */

static LV clipped(Core *c, LV when, LV x, int64_t otherwise)
{
    if (!when) return x;
    return LLVMBuildSelect(c->e->s.b, when, x, core_i32(c, otherwise), "");
}

/* The least and the most of a vector, by one warp. */
static void scan_vector(Core *c, const TensorVector *v, LV *lo, LV *hi)
{
    Emit *e = c->e;
    LLVMBuilderRef b = e->s.b;
    const NodeInfo *in = node_info(e->k, v->load);
    const Acc least = {ACC_min, DT_i32, {0}, {0}, false};
    const Acc most = {ACC_max, DT_i32, {0}, {0}, false};
    *lo = core_i32(c, INT_MAX);
    *hi = core_i32(c, INT_MIN);
    for (int64_t u = 0; u < e->k->loops.at[v->loop].hi; u += WARP) {
        LV i = core_index(c, core_add(c, c->lane, core_i32(c, u)));
        emit_enter(e, v->loop, i);
        LV when = in->a.id ? stage_guard(c, in->a, v->loop) : NULL;
        LV at = emit_ix(e, in->ix);
        if (when) at = LLVMBuildSelect(b, when, at, emit_iconst(e, 0), "");
        LV p = LLVMBuildGEP2(b, word(c), e->args[in->arg], &at, 1, "");
        LV x = LLVMBuildLoad2(b, word(c), p, "");
        *lo = acc_combine(e, &least, *lo, clipped(c, when, x, INT_MAX), 1);
        *hi = acc_combine(e, &most, *hi, clipped(c, when, x, INT_MIN), 1);
    }
    *lo = gpu_over_warp(e, &least, *lo, 1);
    *hi = gpu_over_warp(e, &most, *hi, 1);
}

static LoopId blocks_of(const Core *c, const TensorVector *v)
{
    const Kir *k = c->e->k;
    LoopId rows = v->columns ? k->loops.at[v->loop].parent : v->loop;
    return k->loops.at[rows].parent;
}

static void scan_columns(Core *c, const TensorVector *v)
{
    Emit *e = c->e;
    CoreLoop l = core_loop(c, c->warp, COUNT_all, NULL, 0);
    LV lo, hi;
    emit_enter(e, blocks_of(c, v), core_index(c, l.i));
    scan_vector(c, v, &lo, &hi);
    LLVMBuildStore(e->s.b, lo, place(c, l.i, 8, v->offset));
    LLVMBuildStore(e->s.b, hi, place(c, l.i, 8, v->offset + 4));
    core_loop_end(c, &l, NULL, core_i32(c, 4 * (c->t->groups + 1)));
}

static bool has_table(const TensorVector *v)
{
    return v->columns && v->offset;
}

/* -------------------------------------------------------------------- list */

typedef struct Ranges {
    LV lo[MOST_VECTORS], hi[MOST_VECTORS];
} Ranges;

static void row_ranges(Core *c, Ranges *r)
{
    for (uint32_t i = 0; i < c->t->vectors.n; i++) {
        const TensorVector *v = &c->t->vectors.at[i];
        LV lo, hi;
        if (v->columns) continue;
        emit_enter(c->e, blocks_of(c, v), core_index(c, core_i32(c, 0)));
        scan_vector(c, v, &lo, &hi);
        r->lo[i] = core_long(c, lo);
        r->hi[i] = core_long(c, hi);
    }
}

static void column_ranges(Core *c, LV step, Ranges *r)
{
    LLVMBuilderRef b = c->e->s.b;
    for (uint32_t i = 0; i < c->t->vectors.n; i++) {
        const TensorVector *v = &c->t->vectors.at[i];
        if (!has_table(v)) continue;
        LV lo = LLVMBuildLoad2(b, word(c), place(c, step, 8, v->offset), "");
        LV hi =
            LLVMBuildLoad2(b, word(c), place(c, step, 8, v->offset + 4), "");
        r->lo[i] = core_long(c, lo);
        r->hi[i] = core_long(c, hi);
    }
}

static LV count_bits(Core *c, LV x)
{
    return site_call(&c->e->s, "llvm.ctpop", &x, 1);
}

static void store_step(Core *c, LV when, LV at, LV step)
{
    LLVMBuilderRef b = c->e->s.b;
    LLVMBasicBlockRef then = emit_block(c->e, "listed");
    LLVMBasicBlockRef on = emit_block(c->e, "on");
    LLVMBuildCondBr(b, when, then, on);
    LLVMPositionBuilderAtEnd(b, then);
    LLVMTypeRef half = LLVMInt16TypeInContext(c->e->s.cx);
    LLVMBuildStore(b, LLVMBuildTrunc(b, step, half, ""),
                   place(c, at, 2, c->t->list_offset + 16));
    LLVMBuildBr(b, on);
    LLVMPositionBuilderAtEnd(b, on);
}

/* Steps first .. first + 31: one a thread.  counts: mixed, full so far. */
static void list_turn(Core *c, LV first, Ranges *r, LV *counts)
{
    LLVMBuilderRef b = c->e->s.b;
    LV n = core_i32(c, c->t->nblocks), step = core_add(c, first, c->lane);
    LV exists = LLVMBuildICmp(b, LLVMIntSLT, step, n, "");
    step = LLVMBuildSelect(b, exists, step, core_i32(c, 0), "");
    column_ranges(c, step, r);
    Tile3 tile = {.s = &c->e->s,
                  .k = c->e->k,
                  .item = core_long(c, c->item),
                  .step = core_long(c, step),
                  .lo = r->lo,
                  .hi = r->hi};
    LV empty, full;
    classes_of_step(&tile, c->t, &empty, &full);
    LV some = LLVMBuildAnd(b, exists, LLVMBuildNot(b, empty, ""), "");
    LV whole = LLVMBuildAnd(b, some, full, "");
    LV part = LLVMBuildAnd(b, some, LLVMBuildNot(b, full, ""), "");
    LV parts = gpu_ballot(c->e, part), wholes = gpu_ballot(c->e, whole);
    LV below = LLVMBuildShl(b, core_i32(c, 1), c->lane, "");
    below = LLVMBuildSub(b, below, core_i32(c, 1), "");
    LV up = core_add(c, counts[0],
                     count_bits(c, LLVMBuildAnd(b, parts, below, "")));
    LV down = core_add(c, counts[1],
                       count_bits(c, LLVMBuildAnd(b, wholes, below, "")));
    down = LLVMBuildSub(b, core_i32(c, c->t->nblocks - 1), down, "");
    store_step(c, some, LLVMBuildSelect(b, part, up, down, ""), step);
    counts[0] = core_add(c, counts[0], count_bits(c, parts));
    counts[1] = core_add(c, counts[1], count_bits(c, wholes));
}

static void make_list(Core *c)
{
    LLVMBuilderRef b = c->e->s.b;
    Ranges r = {{0}, {0}};
    row_ranges(c, &r);
    LV zero = core_i32(c, 0), counts[] = {zero, zero};
    CoreLoop l = core_loop(c, zero, COUNT_all, counts, 2);
    list_turn(c, l.i, &r, counts);
    core_loop_end(c, &l, counts, core_i32(c, WARP));
    LLVMBuildStore(b, counts[0], place(c, zero, 0, c->t->list_offset));
    LLVMBuildStore(b, core_add(c, counts[0], counts[1]),
                   place(c, zero, 0, c->t->list_offset + 4));
}

void core_list(Core *c)
{
    bool tables = false;
    if (!c->t->listed) return;
    for (uint32_t i = 0; i < c->t->vectors.n; i++) {
        if (!has_table(&c->t->vectors.at[i])) continue;
        scan_columns(c, &c->t->vectors.at[i]);
        tables = true;
    }
    if (tables) sm90_sync_block(&c->e->s);
    LLVMBuilderRef b = c->e->s.b;
    LV first = LLVMBuildICmp(b, LLVMIntEQ, c->warp, core_i32(c, 0), "");
    LLVMBasicBlockRef then = emit_block(c->e, "list");
    LLVMBasicBlockRef on = emit_block(c->e, "on");
    LLVMBuildCondBr(b, first, then, on);
    LLVMPositionBuilderAtEnd(b, then);
    make_list(c);
    LLVMBuildBr(b, on);
    LLVMPositionBuilderAtEnd(b, on);
}

/* No: it is known to be empty. */
static bool may_run(Core *c, int64_t item, int64_t step, bool *known)
{
    LLVMTypeRef wide = LLVMInt64TypeInContext(c->e->s.cx);
    Tile3 tile = {.s = &c->e->s,
                  .k = c->e->k,
                  .item = LLVMConstInt(wide, (uint64_t)item, true),
                  .step = LLVMConstInt(wide, (uint64_t)step, true)};
    LV empty, full;
    classes_of_step(&tile, c->t, &empty, &full);
    *known = LLVMIsAConstantInt(empty) != NULL;
    return !*known || !LLVMConstIntGetZExtValue(empty);
}

bool core_known(Core *c, int64_t item, int64_t step)
{
    bool known;
    return may_run(c, item, step, &known) && known;
}

/* How many steps of an item are not empty, as far as that is known now. */
static int64_t known_steps(Core *c, int64_t item)
{
    int64_t n = 0;
    bool known;
    for (int64_t i = 0; i < c->t->nblocks; i++)
        n += may_run(c, item, i, &known);
    return n;
}

bool core_backward(Core *c)
{
    return c->t->listed &&
           known_steps(c, c->e->k->rows - 1) > known_steps(c, 0);
}
