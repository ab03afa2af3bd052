/*
 * gpu_columns.c: sums over columns mapped to the blocks of a GPU.
 *
 * A block takes some neighbouring lanes of an item and shares each long loop
 * inside.  A thread has `width` lanes, 16 bytes of the narrowest operand; the
 * threads of a warp that lie side by side take the lanes of a block, the others
 * further rows:
 *
 *     warp 0     row 0       | lanes 0 .. 7 | 8 .. 15 | ... |
 *                row W       | ...
 *     warp 1     row 1       | ...
 *
 * Maxima of blocks of rows are no such sums: a thread has a block for itself.
 *
 * The partial sum of row i (kir.h, tree_partials) is that of thread row i mod
 * L: what one thread has comes first in the tree, then the rows of a warp by
 * shuffles, then the warps through shared memory.
 */
#include "target.h"

enum { SHORT = 16, BLOCK = 128 }; /* loops that a thread runs by itself */
enum { NARROW = 16, WIDE = 32, WIDER = 64 }; /* lanes of a block */
enum { MOST_WARPS = 32, FEW_BLOCKS = 100 };

/* Whether all that is reduced are maxima, over so few rows that a thread has
 * them soon: as of blocks that share a scale. */
bool gpu_takes_blocks(const Kir *k)
{
    bool any = false;
    for (LoopId i = 1; i < k->loops.n; i++) {
        const Loop *l = &k->loops.at[i];
        if (l->kind == LOOP_seq && l->hi > BLOCK) return false;
        for (uint32_t a = 0; a < l->accs.n; a++) {
            if (l->accs.at[a].kind != ACC_max) return false;
            any = true;
        }
    }
    return any;
}

/* Loops right below the lanes that all warps of a block can share. */
bool gpu_columns_share(const Kir *k, LoopId loop)
{
    const Loop *l = &k->loops.at[loop];
    return l->kind == LOOP_seq && l->hi > SHORT && !gpu_takes_blocks(k) &&
           !l->in_order && !l->scans && !l->when.id && !l->reverse &&
           k->loops.at[l->parent].kind != LOOP_seq;
}

/* The least tree of the loops that are shared; 0: the kernel is no such one. */
static int64_t least_tree(const Kir *k)
{
    int64_t least = 0;
    for (LoopId i = 1; i < k->loops.n; i++) {
        const Loop *l = &k->loops.at[i];
        if (l->in_order || l->scans) return 0;
        if (!gpu_columns_share(k, i)) continue;
        int64_t p = tree_partials(l->hi);
        if (!least || p < least) least = p;
    }
    return least;
}

/* Of the loops that are shared: what a thread holds partial results of. */
static uint32_t shared_results(const Kir *k)
{
    uint32_t n = 0;
    for (LoopId i = 1; i < k->loops.n; i++)
        if (gpu_columns_share(k, i)) n += (uint32_t)k->loops.at[i].accs.n;
    return n;
}

/* As many as leave blocks for most processors: the lanes of a row lie in lines
 * of memory, of which a wide block reads all.  A warp has a thread for each; in
 * a wide block it may have two partial results in the place of one, for which
 * it has registers where there is one of them. */
static int64_t lanes_of_block(const Kir *k, int64_t all)
{
    bool wider = all / WIDER >= 2 * FEW_BLOCKS && shared_results(k) == 1;
    int64_t lanes = all / WIDE < FEW_BLOCKS ? NARROW : wider ? WIDER : WIDE;
    return lanes < WARP * k->width ? lanes : WARP * k->width;
}

/* Where there are blocks enough for all processors, a thread has several rows
 * under way at a time, and few warps meet; it holds their partial results. */
static int64_t warps_of_block(const Kir *k, int64_t blocks)
{
    enum { ENOUGH = 4 * FEW_BLOCKS, FEW_WARPS = 8 };
    return blocks >= ENOUGH && shared_results(k) == 1 ? FEW_WARPS : MOST_WARPS;
}

bool gpu_columns_grid(Kir *k, Grid *out)
{
    int64_t tree = least_tree(k), n = gpu_lanes(k)->hi;
    if (!tree) return false;
    k->width = gpu_lanes_of_thread(k);
    int64_t lanes = lanes_of_block(k, k->rows * n);
    int64_t beside = lanes / k->width, rows = WARP / beside;
    int64_t warps = tree / rows, blocks = k->rows * ((n + lanes - 1) / lanes);
    int64_t most = warps_of_block(k, blocks);
    if (warps > most) warps = most;
    *out = (Grid){.map = MAP_column,
                  .blocks = blocks,
                  .threads = (uint32_t)(warps * WARP),
                  .beside = (uint32_t)beside};
    return true;
}

static int64_t rows_of_warp(const Emit *e)
{
    return WARP / e->beside;
}

/* Lanes beyond the last are the last ones again, and store nothing. */
LV gpu_column_item(Emit *e, LV block, LV *lanes)
{
    LLVMBuilderRef b = e->s.b;
    const Kir *k = e->k;
    int64_t n = gpu_lanes(k)->hi, each = (int64_t)e->beside * k->width;
    LV groups = emit_iconst(e, (n + each - 1) / each);
    LV own = LLVMBuildURem(b, e->lane, emit_iconst(e, e->beside), "");
    LV row = LLVMBuildUDiv(b, e->lane, emit_iconst(e, e->beside), "");
    row = LLVMBuildMul(b, row, emit_iconst(e, e->warps), "");
    e->place = LLVMBuildAdd(b, row, e->warp, "");
    LV at = LLVMBuildMul(b, LLVMBuildURem(b, block, groups, ""),
                         emit_iconst(e, each), "");
    own = LLVMBuildMul(b, own, emit_iconst(e, k->width), "");
    at = LLVMBuildAdd(b, at, own, "");
    if (n % each) {
        LV last = emit_iconst(e, n - k->width);
        e->active = LLVMBuildICmp(b, LLVMIntSLE, at, last, "");
        at = LLVMBuildSelect(b, e->active, at, last, "");
    }
    *lanes = at;
    return LLVMBuildUDiv(b, block, groups, "");
}

/* ------------------------------------------------------------ partial sums */

/* Stack slots that become registers: `each` partial sums per accumulator. */
typedef struct Partials {
    LV *at;
    unsigned each;
} Partials;

static Partials partials_new(Emit *e, const Loop *l)
{
    int64_t rows = rows_of_warp(e) * e->warps;
    Partials p = {.each = (unsigned)(tree_partials(l->hi) / rows)};
    if (!l->accs.n || p.each == 0) p.each = 1;
    p.at = NEW_ARRAY(e->k->arena, LV, l->accs.n * p.each);
    for (uint32_t i = 0; i < l->accs.n * p.each; i++) {
        const Acc *acc = &l->accs.at[i / p.each];
        p.at[i] = emit_alloca(e, acc_type(e, acc, e->s.w), 1);
        LLVMBuildStore(e->s.b, acc_identity(e, acc, e->s.w), p.at[i]);
    }
    return p;
}

static void partials_add(Emit *e, const Loop *l, const Partials *p, unsigned j)
{
    unsigned w = e->s.w;
    for (uint32_t a = 0; a < l->accs.n; a++) {
        const Acc *acc = &l->accs.at[a];
        LV at = p->at[a * p->each + j];
        LV old = LLVMBuildLoad2(e->s.b, acc_type(e, acc, w), at, "");
        LLVMBuildStore(
            e->s.b, acc_combine(e, acc, old, emit_use(e, acc->value), w), at);
    }
}

static LV partials_sum(Emit *e, const Acc *acc, const Partials *p, uint32_t a)
{
    LV x[TREE_MOST];
    unsigned w = e->s.w;
    for (unsigned j = 0; j < p->each; j++)
        x[j] = LLVMBuildLoad2(e->s.b, acc_type(e, acc, w),
                              p->at[a * p->each + j], "");
    for (unsigned n = p->each / 2; n; n /= 2)
        for (unsigned j = 0; j < n; j++)
            x[j] = acc_combine(e, acc, x[j], x[j + n], w);
    return x[0];
}

/* -------------------------------------------------------- over the block -- */

/* Places of a warp in shared memory, one for each lane of the block. */
static int64_t places(int64_t width, uint32_t beside)
{
    int64_t lanes = width * beside;
    return lanes > WARP ? lanes : WARP;
}

uint32_t gpu_columns_places(const Kir *k, const Grid *g)
{
    return g->threads / WARP * (uint32_t)places(k->width, g->beside);
}

/* Where the value of a lane of the block lies, for a warp. */
static LV shared_at(Emit *e, const Acc *acc, LV warp, LV lane)
{
    int64_t n = places(e->k->width, e->beside);
    LV at = LLVMBuildMul(e->s.b, warp, emit_iconst(e, n), "");
    at = LLVMBuildAdd(e->s.b, at, lane, "");
    Site one = e->s;
    one.w = 1;
    return LLVMBuildGEP2(e->s.b, dtype_reg(&one, acc->dtype), e->shared, &at, 1,
                         "");
}

/* The same of this thread's first lane. */
static LV own_at(Emit *e, const Acc *acc, LV warp)
{
    LV own = LLVMBuildURem(e->s.b, e->lane, emit_iconst(e, e->beside), "");
    own = LLVMBuildMul(e->s.b, own, emit_iconst(e, e->s.w), "");
    return shared_at(e, acc, warp, own);
}

/* The block's first lanes: a thread adds the warps of one lane, or of two. */
static void add_warps(Emit *e, const Acc *acc, unsigned half)
{
    LLVMBuilderRef b = e->s.b;
    LLVMTypeRef t = acc_type(e, acc, 1);
    LV low = LLVMBuildICmp(b, LLVMIntSLT, e->warp, emit_iconst(e, half), "");
    LLVMBasicBlockRef on = emit_when(e, low, "half");
    LV up = LLVMBuildAdd(b, e->warp, emit_iconst(e, half), "");
    for (int64_t i = 0; i < places(e->k->width, e->beside); i += WARP) {
        LV lane = LLVMBuildAdd(b, e->lane, emit_iconst(e, i), "");
        LV mine = shared_at(e, acc, e->warp, lane);
        LV y = LLVMBuildLoad2(b, t, shared_at(e, acc, up, lane), "");
        LV x = LLVMBuildLoad2(b, t, mine, "");
        LLVMBuildStore(b, acc_combine(e, acc, x, y, 1), mine);
    }
    emit_on(e, on);
    gpu_barrier(e);
}

static LV over_block(Emit *e, const Acc *acc, LV x)
{
    LLVMBuilderRef b = e->s.b;
    unsigned w = e->s.w, bytes = dtype_bytes(acc->dtype);
    for (unsigned mask = WARP / 2; mask >= e->beside; mask /= 2)
        x = acc_combine(e, acc, x, gpu_shuffle_lanes(e, x, w, mask), w);
    if (e->warps == 1) return x;
    /* the rows of a warp have the same sum, and write it to the same place */
    LLVMSetAlignment(LLVMBuildStore(b, x, own_at(e, acc, e->warp)), bytes);
    gpu_barrier(e);
    for (unsigned half = e->warps / 2; half; half /= 2)
        add_warps(e, acc, half);
    LV first = own_at(e, acc, emit_iconst(e, 0));
    LV all = LLVMBuildLoad2(b, acc_type(e, acc, w), first, "");
    LLVMSetAlignment(all, bytes);
    gpu_barrier(e); /* before the room is used again */
    return all;
}

/* ------------------------------------------------------------------ a loop */

typedef struct Turns {
    LoopId loop;
    const Loop *l;
    Partials partials;
    int64_t stride; /* rows of the block at a time */
} Turns;

static void turn(Emit *e, const Turns *t, LV i, unsigned j, bool cut)
{
    LLVMBuilderRef b = e->s.b;
    LLVMBasicBlockRef after = emit_block(e, "after");
    if (cut) {
        LLVMBasicBlockRef then = emit_block(e, "then");
        LV in = LLVMBuildICmp(b, LLVMIntSLT, i, emit_iconst(e, t->l->hi), "");
        LLVMBuildCondBr(b, in, then, after);
        LLVMPositionBuilderAtEnd(b, then);
    }
    emit_turn(e, t->loop, i, after);
    partials_add(e, t->l, &t->partials, j);
    LLVMBuildBr(b, after);
    LLVMPositionBuilderAtEnd(b, after);
}

/* Whole groups of turns without a test, whose loads are in flight together;
 * returns the row that comes next. */
static int64_t whole_turns(Emit *e, const Turns *t)
{
    unsigned n = t->partials.each, most = e->warps <= 16 ? 8 : 4;
    while (n < most)
        n *= 2;
    int64_t step = n * t->stride, whole = t->l->hi / step * step;
    if (!whole) return 0;
    Count c = count_begin(e, e->place, emit_iconst(e, whole), step);
    for (unsigned i = 0; i < n; i++)
        turn(e, t, LLVMBuildAdd(e->s.b, c.i, emit_iconst(e, i * t->stride), ""),
             i % t->partials.each, false);
    count_end(e, &c);
    return whole;
}

void gpu_column_seq(Emit *e, LoopId loop)
{
    const Loop *l = &e->k->loops.at[loop];
    Turns t = {.loop = loop, .l = l, .partials = partials_new(e, l)};
    t.stride = rows_of_warp(e) * e->warps;
    gpu_await_readers(e, loop);
    LV *results = NEW_ARRAY(e->k->arena, LV, l->accs.n);
    int64_t at = whole_turns(e, &t);
    for (unsigned j = 0; at < l->hi; at += t.stride, j++)
        turn(e, &t, LLVMBuildAdd(e->s.b, e->place, emit_iconst(e, at), ""),
             j % t.partials.each, at + t.stride > l->hi);
    for (uint32_t a = 0; a < l->accs.n; a++) {
        const Acc *acc = &l->accs.at[a];
        results[a] = over_block(e, acc, partials_sum(e, acc, &t.partials, a));
    }
    emit_set_results(e, loop, results);
}
