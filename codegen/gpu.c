/*
 * gpu.c: loops of the kernel IR mapped to a grid of threads.
 *
 *     thread   one thread takes a few neighbouring lanes of an item
 *     rows     some threads share each loop over lanes of an item (gpu_rows.c)
 *     column   one block takes some neighbouring lanes of an item; its threads
 *              share each loop inside (gpu_columns.c)
 *     turned   one block takes a tile of lanes and items, of which some results
 *              lie along the former and others along the latter (gpu_turned.c)
 *     blocks   one block takes a tile of lanes and of rows that share a scale
 *              (gpu_blocks.c)
 *     both     one block takes such a tile, of which both orders are made
 *              (gpu_both.c)
 *     tile     one warp takes the rows of an item (gpu_tile.c)
 *     tensor   one block takes a tile of rows (gpu_tensor.c)
 *
 * Sums of the first three are those of the host, bit for bit: partial sum p
 * (kir.h) belongs to one thread, and the tree over the partials goes first
 * through threads (shuffles, or shared memory), then through what a thread
 * holds, or the other way round, in the same order of halves.
 */
#include "lines.h"
#include "sm90.h"
#include "target.h"
#include "tensor.h"

enum { WARPS_OF_ROWS = 4, THREADS = 256 };

/* ---------------------------------------------------------------- the grid */

static LoopId lanes_id(const Kir *k)
{
    for (LoopId i = 1; i < k->loops.n; i++)
        if (k->loops.at[i].kind == LOOP_lanes) return i;
    BUG("no loop over lanes");
}

const Loop *gpu_lanes(const Kir *k)
{
    return &k->loops.at[lanes_id(k)];
}

/* Bytes of the narrowest elements that lie side by side in w lanes.  False:
 * some lie so in fewer lanes alone. */
static bool narrowest(const Kir *k, LoopId lanes, int64_t w, unsigned *bytes)
{
    int64_t coef;
    *bytes = 16;
    for (uint32_t i = 1; i < k->nodes.n; i++) {
        const NodeInfo *in = &k->nodes.at[i];
        if ((in->op != KN_load && in->op != KN_store) ||
            !ix_steps(k, in->ix, lanes, 2, &coef) || coef != 1)
            continue;
        if (!ix_steps(k, in->ix, lanes, w, &coef)) return false;
        unsigned b = dtype_bytes(k->arg_dtypes[in->arg]);
        if (b < *bytes) *bytes = b;
    }
    return true;
}

/* Lanes of one thread: 16 bytes of the narrowest operand, and a divisor. */
int64_t gpu_lanes_of_thread(const Kir *k)
{
    enum { MOST = 8 };
    unsigned bytes;
    for (int64_t w = MOST; w > 1; w /= 2)
        if (gpu_lanes(k)->hi % w == 0 && narrowest(k, lanes_id(k), w, &bytes) &&
            w * bytes <= 16)
            return w;
    return 1;
}

/* A body of values, loads and stores. */
static bool is_flat(const Kir *k, const Loop *l)
{
    for (uint32_t i = 0; i < l->body.n; i++) {
        const NodeInfo *in = node_info(k, l->body.at[i]);
        if (in->op == KN_loop || in->op == KN_scan || in->op == KN_total)
            return false;
    }
    return !l->when.id && !l->scans;
}

/* The same where the last of a line's threads may have fewer: lines are long,
 * and begin where vectors do. */
static int64_t lanes_of_thread_cut(const Kir *k)
{
    enum { MOST = 8, FEWEST = 16 /* threads of a line */ };
    int64_t all = gpu_lanes_of_thread(k), n = gpu_lanes(k)->hi;
    unsigned bytes;
    if (n % MOST == 0 || !k->lined || !is_flat(k, gpu_lanes(k))) return all;
    for (int64_t w = MOST; w > all; w /= 2)
        if (n >= FEWEST * w && narrowest(k, lanes_id(k), w, &bytes) &&
            w * bytes <= 16)
            return w;
    return all;
}

/* The threads that have a line's lanes. */
static int64_t threads_of_lanes(const Kir *k)
{
    return (gpu_lanes(k)->hi + k->width - 1) / k->width;
}

/* The lanes of a thread of a kernel that draws numbers and reads none: it
 * computes for long and moves little, and each lane is much code. */
static int64_t lanes_that_draw(const Kir *k, int64_t lanes)
{
    int64_t draws = 0, most = 2;
    for (uint32_t i = 1; i < k->nodes.n; i++) {
        const NodeInfo *in = &k->nodes.at[i];
        if (in->op == KN_load && ix_uses(k, in->ix, lanes_id(k))) return lanes;
        draws += in->op == KN_scalar && in->sc == SC_random;
    }
    while (draws * lanes > most && lanes > 1)
        lanes /= 2;
    return lanes;
}

/* Whether neighbouring threads better take neighbouring items than neighbouring
 * lanes: where the kernel turns operands round, elements that lie beside those
 * of other items are read one by one, and lanes by 16 bytes either way. */
static bool items_beside(const Kir *k)
{
    enum { JUMP = 2 };
    int64_t coef;
    LoopId lanes = lanes_id(k), items = k->loops.at[lanes].parent;
    int better = 0;
    for (uint32_t i = 1; i < k->nodes.n && k->rows > 1; i++) {
        const NodeInfo *in = &k->nodes.at[i];
        if (in->op != KN_load && in->op != KN_store) continue;
        if (ix_steps(k, in->ix, lanes, 2, &coef) && coef == 1) better--;
        if (ix_beside(k, in->ix, lanes, items)) better += JUMP;
    }
    return better > 0;
}

/* Whether the lanes of a thread may be made in two ways (gpu_usual.c): results
 * are held until it is known that one was enough. */
static bool divides(const Kir *k)
{
    for (uint32_t i = 1; i < k->nodes.n && k->exact; i++) {
        const NodeInfo *in = &k->nodes.at[i];
        if (in->op == KN_scalar && in->dtype == DT_f32 &&
            (in->sc == SC_div || in->sc == SC_rsqrt || in->sc == SC_sigmoid))
            return true;
    }
    return false;
}

/* Functions that are long pieces of code; sigmoid is not of them. */
static bool takes_long(const NodeInfo *in)
{
    if (in->op != KN_scalar) return false;
    switch ((ScalarOp)in->sc) {
    case SC_exp:
    case SC_log:
    case SC_log1p:
    case SC_sin:
    case SC_cos:
    case SC_tanh:
    case SC_erf:
    case SC_pow:
    case SC_random:
        return true;
    default:
        return in->dtype == DT_f64;
    }
}

bool gpu_is_whole(const Kir *k, const NodeInfo *in, LoopId lanes)
{
    const IxInfo *x = ix_info(k, in->ix);
    unsigned bytes = dtype_bytes((DType)in->dtype);
    uint64_t bits = (uint64_t)x->base;
    int64_t coef;
    if (!ix_linear(k, in->ix, lanes, &coef) || coef > 1 || coef < 0)
        return false;
    for (uint32_t i = 0; i < x->n && coef == 1; i++)
        if (k->atoms.at[x->terms[i].atom].loop != lanes)
            bits |= (uint64_t)x->terms[i].coef;
    return coef == 0 || (bits * bytes | k->args[in->arg].align) % 16 == 0;
}

/* Threads of a walk leave each other registers for the totals, where these do
 * not lie in shared memory, and for rows that are loaded whole; elements that
 * come one by one take more, and so do many totals where a warp has all of a
 * row and waits for no other. */
static int walks_at_a_time(const Kir *k, const Grid *g)
{
    enum { WALKING = 512, LOADED = 384, MUCH = 128 /* bytes of a thread */ };
    uint32_t threads = g->threads;
    int64_t held = gpu_totals_held(k, g->row_threads);
    if (gpu_totals_bytes(k, g->row_threads))
        return (int)(2 * WALKING / threads);
    for (uint32_t i = 1; i < k->nodes.n; i++) {
        const NodeInfo *in = &k->nodes.at[i];
        if (in->op == KN_load && k->loops.at[in->loop].kind == LOOP_lanes &&
            !gpu_is_whole(k, in, in->loop))
            return 1;
    }
    bool much = held >= MUCH && g->row_threads <= WARP;
    uint32_t walking = much ? LOADED : WALKING;
    return threads < walking ? (int)(walking / threads) : 1;
}

/* Maxima of several rows are under way in a thread at a time, and where these
 * are that ids choose; quotients in f64 behind them.  Of chosen rows whose
 * elements come one by one each has a register, and each lane an address. */
static int blocks_of_maxima(const Kir *k)
{
    enum { REGISTERS = 65536 / THREADS, BESIDES = 32, ROWS = 8, WORD = 4 };
    enum { CHOSEN = 3 * ROWS };         /* an id, and an address */
    enum { ADDRESS = 2, QUOTIENT = 8 }; /* of each lane */
    int64_t bytes = 0, besides = BESIDES, quotients = 0;
    for (uint32_t i = 1; i < k->nodes.n; i++) {
        const NodeInfo *in = &k->nodes.at[i];
        quotients +=
            in->op == KN_scalar && in->sc == SC_div && in->dtype == DT_f64;
        if (in->op != KN_load) continue;
        bool chosen = ix_chosen(k, in->ix);
        bool single = chosen && !gpu_is_whole(k, in, lanes_id(k));
        int64_t each = dtype_bytes(k->arg_dtypes[in->arg]);
        int64_t places = single ? CHOSEN + ADDRESS * k->width : CHOSEN;
        if (ix_uses(k, in->ix, lanes_id(k)) && k->loops.at[in->loop].accs.n)
            bytes += single && each < WORD ? WORD : each;
        if (chosen && besides < BESIDES + places) besides = BESIDES + places;
    }
    besides += quotients * QUOTIENT * k->width;
    int64_t n = REGISTERS / (ROWS * k->width * bytes / WORD + besides);
    return n > 1 ? (int)n : 1;
}

/* Of a kernel that computes more than it reads; 0: as it comes.  Left alone,
 * ptxas spills some of many results to have more blocks. */
static int blocks_that_compute(const Kir *k)
{
    enum { MANY = 4 };
    int stores = 0;
    for (uint32_t i = 1; i < k->nodes.n; i++)
        stores += k->nodes.at[i].op == KN_store;
    return stores >= MANY;
}

/* Of one whose lanes have loops, for the same reason: a sum of sums holds those
 * that are made. */
static int blocks_that_loop(const Kir *k)
{
    for (LoopId i = 1; i < k->loops.n; i++) {
        const Loop *l = &k->loops.at[i];
        if (l->accs.n && k->loops.at[l->parent].accs.n) return 1;
    }
    return 0;
}

/* Blocks of a multiprocessor, so that enough loads are in flight; 0: as it
 * comes.  A block of columns is alone, and one that looks for turns needs its
 * registers. */
static int blocks_at_a_time(const Kir *k, const Grid *g)
{
    enum { FEW = 2, FEW_HELD = 3, MANY_HELD = 7 };
    int loads = 0, stores = 0, chosen = 0;
    bool whole = true;
    /* Left alone, ptxas spills the state of rows to have more of them. */
    if (k->tile) return 2;
    for (uint32_t i = 1; i < k->loops.n && g->map == MAP_rows; i++) {
        if (k->loops.at[i].walks) return walks_at_a_time(k, g);
        if (k->loops.at[i].in_order) return 1;
    }
    if (g->map == MAP_column) return 1;
    if (g->map == MAP_turned) return gpu_turned_blocks(k, g);
    if (g->map == MAP_blocks) return gpu_blocks_at_a_time(k);
    if (g->map == MAP_both) return gpu_both_at_a_time(k);
    if (g->map != MAP_thread) return 0;
    if (k->elements.n) return 1;
    if (gpu_takes_blocks(k)) return blocks_of_maxima(k);
    for (uint32_t i = 1; i < k->nodes.n; i++) {
        const NodeInfo *in = &k->nodes.at[i];
        if (takes_long(in)) return blocks_that_compute(k);
        if (in->op == KN_loop && in->loop == lanes_id(k))
            return blocks_that_loop(k);
        bool loads_lanes = in->op == KN_load && ix_uses(k, in->ix, lanes_id(k));
        loads += loads_lanes;
        chosen += loads_lanes && ix_chosen(k, in->ix);
        whole &= !loads_lanes || gpu_is_whole(k, in, in->loop);
        stores += in->op == KN_store;
    }
    if (loads == 0) return 0;
    if (!divides(k)) return loads <= FEW ? 5 : 4;
    if (!k->sm90) return 0;
    int held = loads + 2 * chosen + stores; /* an id, and where it leads */
    return held <= FEW_HELD ? 5 : whole && held <= MANY_HELD ? 4 : 3;
}

Grid gpu_grid(Kir *k)
{
    if (k->tensor)
        return (Grid){.map = MAP_tensor,
                      .blocks = k->rows,
                      .threads = SM90_GROUP * (k->tensor->groups + 1)};
    if (k->tile) {
        k->width = 4;
        return (Grid){.map = MAP_tile,
                      .blocks = (k->rows + WARPS_OF_ROWS - 1) / WARPS_OF_ROWS,
                      .threads = WARPS_OF_ROWS * WARP};
    }
    if (!k->across) return gpu_rows_grid(k);
    Grid both, columns, turned, blocks;
    if (k->elements.n) {
        if (gpu_both_grid(k, &both)) return both;
        k->width = 1;
    } else {
        if (gpu_columns_grid(k, &columns)) return columns;
        if (gpu_turned_grid(k, &turned)) return turned;
        if (gpu_blocks_grid(k, &blocks)) return blocks;
        k->width = lanes_that_draw(k, lanes_of_thread_cut(k));
    }
    int64_t all = k->rows * threads_of_lanes(k);
    return (Grid){.map = MAP_thread,
                  .blocks = (all + THREADS - 1) / THREADS,
                  .threads = THREADS};
}

/* ------------------------------------------------------- calls and lanes -- */

static LV call_named(Emit *e, const char *name, LV *args, unsigned n)
{
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    if (!id) BUG("LLVM has no %s", name);
    LV f = LLVMGetIntrinsicDeclaration(e->s.module, id, NULL, 0);
    return LLVMBuildCall2(e->s.b, LLVMGlobalGetValueType(f), f, args, n, "");
}

static LV i32(const Emit *e, int64_t i)
{
    LLVMTypeRef t = LLVMInt32TypeInContext(e->s.cx);
    return LLVMConstInt(t, (uint64_t)i, true);
}

static LV special(Emit *e, const char *name)
{
    return LLVMBuildZExtOrBitCast(e->s.b, call_named(e, name, NULL, 0), e->ity,
                                  "");
}

void gpu_barrier(Emit *e)
{
    LV zero = i32(e, 0);
    call_named(e, "llvm.nvvm.barrier.cta.sync.aligned.all", &zero, 1);
}

/* Whether the loop may store over an element of the row that its threads have
 * read, each for itself, outside of it (alias.c). */
static bool overwrites_row(const Kir *k, LoopId loop)
{
    for (uint32_t i = 1; i < k->nodes.n; i++) {
        const NodeInfo *st = &k->nodes.at[i];
        if (st->op != KN_store || st->loop != loop) continue;
        unsigned bytes = dtype_bytes(k->arg_dtypes[st->arg]);
        for (uint32_t j = 1; j < k->nodes.n; j++) {
            const NodeInfo *in = &k->nodes.at[j];
            if (in->op == KN_load && in->loop == k->loops.at[loop].parent &&
                ix_chosen(k, in->ix) &&
                dtype_bytes(k->arg_dtypes[in->arg]) == bytes)
                return true;
        }
    }
    return false;
}

void gpu_await_readers(Emit *e, LoopId loop)
{
    if (overwrites_row(e->k, loop)) gpu_barrier(e);
}

LV gpu_ballot(Emit *e, LV condition)
{
    LV args[] = {i32(e, -1), condition};
    return call_named(e, "llvm.nvvm.vote.ballot.sync", args, 2);
}

static LV shuffle_word(Emit *e, Shuffle how, LV x, LV other)
{
    static const char *const names[] = {"llvm.nvvm.shfl.sync.bfly.i32",
                                        "llvm.nvvm.shfl.sync.idx.i32"};
    LV args[] = {i32(e, -1), x, other, i32(e, WARP - 1)};
    return call_named(e, names[how], args, 4);
}

static LV shuffle_wide(Emit *e, Shuffle how, LV u, LV other)
{
    LLVMBuilderRef b = e->s.b;
    LLVMTypeRef word = LLVMInt32TypeInContext(e->s.cx), wide = LLVMTypeOf(u);
    LV shift = LLVMConstInt(wide, 32, false);
    LV lo = shuffle_word(e, how, LLVMBuildTrunc(b, u, word, ""), other);
    LV hi = LLVMBuildTrunc(b, LLVMBuildLShr(b, u, shift, ""), word, "");
    hi = LLVMBuildZExt(b, shuffle_word(e, how, hi, other), wide, "");
    return LLVMBuildOr(b, LLVMBuildShl(b, hi, shift, ""),
                       LLVMBuildZExt(b, lo, wide, ""), "");
}

LV gpu_shuffle(Emit *e, Shuffle how, LV x, LV other)
{
    LLVMBuilderRef b = e->s.b;
    LLVMTypeRef word = LLVMInt32TypeInContext(e->s.cx), t = LLVMTypeOf(x);
    LLVMTypeRef wide = LLVMInt64TypeInContext(e->s.cx);
    bool is_double = t == LLVMDoubleTypeInContext(e->s.cx);
    bool floats = is_double || t == LLVMFloatTypeInContext(e->s.cx);
    LLVMTypeRef bits = is_double || t == wide ? wide : word;
    LV u = floats ? LLVMBuildBitCast(b, x, bits, "")
                  : LLVMBuildIntCast2(b, x, bits, false, "");
    u = bits == wide ? shuffle_wide(e, how, u, other)
                     : shuffle_word(e, how, u, other);
    return floats ? LLVMBuildBitCast(b, u, t, "")
                  : LLVMBuildIntCast2(b, u, t, false, "");
}

LV gpu_shuffle_lanes(Emit *e, LV x, unsigned w, unsigned mask)
{
    if (w == 1) return gpu_shuffle(e, SHUFFLE_xor, x, i32(e, mask));
    LV out = LLVMGetPoison(LLVMTypeOf(x));
    for (unsigned i = 0; i < w; i++) {
        LV v = LLVMBuildExtractElement(e->s.b, x, i32(e, i), "");
        v = gpu_shuffle(e, SHUFFLE_xor, v, i32(e, mask));
        out = LLVMBuildInsertElement(e->s.b, out, v, i32(e, i), "");
    }
    return out;
}

/* The same value in all threads: halves of the warp, then quarters, ... */
LV gpu_over_warp(Emit *e, const Acc *a, LV x, unsigned w)
{
    for (unsigned mask = WARP / 2; mask; mask /= 2)
        x = acc_combine(e, a, x, gpu_shuffle_lanes(e, x, w, mask), w);
    return x;
}

/* ---------------------------------------------------------- accumulators */

LLVMTypeRef acc_type(const Emit *e, const Acc *a, unsigned w)
{
    Site s = e->s;
    s.w = w;
    return site_type(&s, dtype_reg(&s, a->dtype));
}

/* ---------------------------------------------------------- items, lanes */

static LV block_number(Emit *e)
{
    return special(e, "llvm.nvvm.read.ptx.sreg.ctaid.x");
}

static LV quotient(Emit *e, LV x, int64_t by)
{
    return by == 1 ? x : LLVMBuildUDiv(e->s.b, x, emit_iconst(e, by), "");
}

static LV remainder_of(Emit *e, LV x, int64_t by)
{
    return by == 1 ? emit_iconst(e, 0)
                   : LLVMBuildURem(e->s.b, x, emit_iconst(e, by), "");
}

/* Which item, and for a thread or a column which lanes; false threads have
 * nothing to do. */
static LV find_item(Emit *e, LV tid, LV *lanes, LV *exists)
{
    LLVMBuilderRef b = e->s.b;
    const Kir *k = e->k;
    LV block = block_number(e);
    if (e->map == MAP_rows) return gpu_row_item(e, tid, block);
    if (e->map == MAP_tile) {
        LV first = LLVMBuildMul(b, block, emit_iconst(e, WARPS_OF_ROWS), "");
        LV item = LLVMBuildAdd(b, first, e->warp, "");
        *exists =
            LLVMBuildICmp(b, LLVMIntSLT, item, emit_iconst(e, k->rows), "");
        return item;
    }
    if (e->map == MAP_column) return gpu_column_item(e, block, lanes);
    int64_t per = threads_of_lanes(k);
    bool turned = items_beside(k);
    LV t = LLVMBuildMul(b, block, emit_iconst(e, THREADS), "");
    t = LLVMBuildAdd(b, t, tid, "");
    *exists =
        LLVMBuildICmp(b, LLVMIntSLT, t, emit_iconst(e, k->rows * per), "");
    LV item = turned         ? remainder_of(e, t, k->rows)
              : k->rows == 1 ? emit_iconst(e, 0)
                             : quotient(e, t, per);
    LV rest = turned         ? quotient(e, t, k->rows)
              : k->rows == 1 ? t
                             : remainder_of(e, t, per);
    *lanes = LLVMBuildMul(b, rest, emit_iconst(e, k->width), "");
    return item;
}

static void gpu_items(Emit *e, LoopId items)
{
    LLVMBuilderRef b = e->s.b;
    LV tid = special(e, "llvm.nvvm.read.ptx.sreg.tid.x");
    e->lane = LLVMBuildAnd(b, tid, emit_iconst(e, WARP - 1), "");
    e->warp = quotient(e, tid, WARP);
    if (e->map == MAP_turned) {
        gpu_turned_items(e, tid, block_number(e));
        return;
    }
    if (e->map == MAP_blocks) {
        gpu_blocks_items(e, tid, block_number(e));
        return;
    }
    if (e->map == MAP_both) {
        gpu_both_items(e, tid, block_number(e));
        return;
    }
    LV exists = NULL, lanes = NULL;
    LV item = find_item(e, tid, &lanes, &exists);
    LLVMBasicBlockRef end = emit_block(e, "end");
    if (exists) {
        LLVMBasicBlockRef then = emit_block(e, "item");
        LLVMBuildCondBr(b, exists, then, end);
        LLVMPositionBuilderAtEnd(b, then);
    }
    e->chunk = lanes;
    emit_turn(e, items, item, end);
    LLVMBuildBr(b, end);
    LLVMPositionBuilderAtEnd(b, end);
}

LV gpu_lane_offsets(Emit *e, LV at, int64_t hi)
{
    LV own[64], left = LLVMBuildSub(e->s.b, emit_iconst(e, hi - 1), at, "");
    for (unsigned i = 0; i < e->s.w; i++)
        own[i] = emit_iconst(e, i);
    LV each = LLVMConstVector(own, e->s.w);
    left = site_splat(&e->s, left);
    LV there = LLVMBuildICmp(e->s.b, LLVMIntSLE, each, left, "");
    return LLVMBuildSelect(e->s.b, there, each, left, "");
}

LV gpu_lanes_exist(Emit *e)
{
    LV own[64];
    for (unsigned i = 0; i < e->s.w; i++)
        own[i] = emit_iconst(e, i);
    return LLVMBuildICmp(e->s.b, LLVMIntEQ, e->offsets,
                         LLVMConstVector(own, e->s.w), "");
}

/* Those of the line's last thread where it has fewer. */
static void last_lanes(Emit *e, LoopId loop, LLVMBasicBlockRef after)
{
    LLVMBuilderRef b = e->s.b;
    int64_t hi = e->k->loops.at[loop].hi;
    LLVMBasicBlockRef some = emit_block(e, "some"), all = emit_block(e, "all");
    LV first = emit_iconst(e, hi - hi % e->s.w);
    LV cut = LLVMBuildICmp(b, LLVMIntEQ, e->chunk, first, "");
    LLVMBuildCondBr(b, cut, some, all);
    LLVMPositionBuilderAtEnd(b, some);
    e->offsets = gpu_lane_offsets(e, first, hi);
    emit_enter(e, loop, e->chunk);
    if (!gpu_lanes_usual(e, loop)) emit_body(e, loop);
    e->offsets = NULL;
    LLVMBuildBr(b, after);
    LLVMPositionBuilderAtEnd(b, all);
}

/* The lanes of this thread. */
static void own_lanes(Emit *e, LoopId loop)
{
    e->s.w = (unsigned)e->k->width;
    e->lanes = e->s.w > 1 ? loop : 0;
    e->aligned = true;
    LLVMBasicBlockRef after = emit_block(e, "lanes");
    e->latch[loop] = after;
    if (e->k->loops.at[loop].hi % e->s.w) last_lanes(e, loop, after);
    emit_enter(e, loop, e->chunk);
    if (!gpu_lanes_usual(e, loop)) emit_body(e, loop);
    LLVMBuildBr(e->s.b, after);
    LLVMPositionBuilderAtEnd(e->s.b, after);
    e->s.w = 1;
    e->lanes = 0;
    e->aligned = false;
}

void emit_loop_gpu(Emit *e, LoopId loop)
{
    switch (e->k->loops.at[loop].kind) {
    case LOOP_items:
        gpu_items(e, loop);
        return;
    case LOOP_lanes:
        if (e->map == MAP_rows)
            gpu_row_lanes(e, loop);
        else
            own_lanes(e, loop);
        return;
    case LOOP_seq:
        if (e->map == MAP_rows && e->k->loops.at[loop].walks)
            gpu_row_walk(e, loop);
        else if (e->map == MAP_column && gpu_columns_share(e->k, loop))
            gpu_column_seq(e, loop);
        else if (e->map != MAP_rows || !gpu_row_turns(e, loop))
            emit_seq(e, loop);
        return;
    case LOOP_sweep:
    case LOOP_dot:
    case LOOP_outer:
    case LOOP_wide:
        emit_tile_loop(e, loop);
        return;
    case LOOP_rows:
        emit_fragment(e, loop);
        return;
    case LOOP_columns:
        emit_fragment_columns(e, loop);
        return;
    case LOOP_blocks:
    case LOOP_kernel:
        break;
    }
    BUG("a loop that is no part of a body");
}

/* ------------------------------------------------------------ the function */

/* Whether every index fits 32 bits. */
static bool small_indices(const Kir *k)
{
    for (uint32_t i = 0; i < k->ixs.n; i++)
        if (k->ixs.at[i].lo < -INT32_MAX || k->ixs.at[i].hi > INT32_MAX)
            return false;
    return true;
}

static void set_attribute(Emit *e, const char *key, const char *value)
{
    LLVMAttributeRef a = LLVMCreateStringAttribute(
        e->s.cx, key, (unsigned)strlen(key), value, (unsigned)strlen(value));
    LLVMAddAttributeAtIndex(e->fn, LLVMAttributeFunctionIndex, a);
}

/* Room for so many values. */
static void add_shared(Emit *e, const char *name, uint32_t places)
{
    if (!places) return;
    LLVMTypeRef room = LLVMArrayType2(LLVMInt64TypeInContext(e->s.cx), places);
    char *own = arena_printf(e->k->arena, "%s_shared", name);
    e->shared = LLVMAddGlobalInAddressSpace(e->s.module, room, own, 3);
    LLVMSetLinkage(e->shared, LLVMInternalLinkage);
    LLVMSetInitializer(e->shared, LLVMGetUndef(room));
    LLVMSetAlignment(e->shared, 16);
}

/* What every kernel's function begins with, and its body. */
static void gpu_function(Emit *e, const char *name, const Grid *g)
{
    LLVMContextRef cx = e->s.cx;
    e->ity = small_indices(e->k) && g->blocks < INT32_MAX / 1024
                 ? LLVMInt32TypeInContext(cx)
                 : LLVMInt64TypeInContext(cx);
    for (uint32_t i = 0; i < e->k->nargs; i++)
        e->args[i] = LLVMGetParam(e->fn, i);
    e->row_threads = g->row_threads;
    e->beside = g->beside;
    e->tile_lanes = g->tile_lanes;
    e->warps = g->threads / WARP;
    e->chunk_number = -1;
    if (g->map == MAP_column) add_shared(e, name, gpu_columns_places(e->k, g));
    if (g->map == MAP_turned) add_shared(e, name, gpu_turned_places(e->k, g));
    if (g->map == MAP_blocks) add_shared(e, name, gpu_blocks_places(e->k));
    if (g->map == MAP_both) add_shared(e, name, gpu_both_places(e->k));
    if (g->map == MAP_rows)
        add_shared(e, name, gpu_rows_places(e->k, g->row_threads));
    lines_begin(e->lines, e, name, e->loc);
    LLVMBasicBlockRef entry = emit_block(e, "entry");
    LLVMBasicBlockRef start = emit_block(e, "start");
    LLVMPositionBuilderAtEnd(e->s.b, start);
    if (e->k->tensor)
        emit_tensor(e);
    else
        emit_body(e, 0);
    LLVMBuildRetVoid(e->s.b);
    LLVMPositionBuilderAtEnd(e->s.b, entry);
    LLVMBuildBr(e->s.b, start);
}

void emit_gpu_kernel(Emit *e, const char *name, const Grid *g)
{
    enum { PTX_KERNEL = 71, GLOBAL = 1 };
    LLVMContextRef cx = e->s.cx;
    if (e->k->tensor) {
        const TensorTile *tensor = e->k->tensor;
        e->fn = sm90_kernel(e->s.module, name, e->k->nargs, tensor->maps.n,
                            g->threads);
        gpu_function(e, name, g);
        return;
    }
    LLVMTypeRef *params = NEW_ARRAY(e->k->arena, LLVMTypeRef, e->k->nargs);
    for (uint32_t i = 0; i < e->k->nargs; i++)
        params[i] = e->k->args[i].counter
                        ? LLVMInt64TypeInContext(cx)
                        : LLVMPointerTypeInContext(cx, GLOBAL);
    LLVMTypeRef t =
        LLVMFunctionType(LLVMVoidTypeInContext(cx), params, e->k->nargs, false);
    e->fn = LLVMAddFunction(e->s.module, name, t);
    LLVMSetFunctionCallConv(e->fn, PTX_KERNEL);
    set_attribute(e, "nvvm.reqntid",
                  arena_printf(e->k->arena, "%u,1,1", g->threads));
    int blocks = blocks_at_a_time(e->k, g);
    if (blocks)
        set_attribute(e, "nvvm.minctasm",
                      arena_printf(e->k->arena, "%d", blocks));
    gpu_function(e, name, g);
}
