/*
 * gpu.c: loops of the kernel IR mapped to a grid of threads.
 *
 *     thread   one thread takes a few neighbouring lanes of an item
 *     rows     some threads share each loop over lanes of an item (gpu_rows.c)
 *     column   one block takes 32 neighbouring lanes of an item; its 32 warps
 *              share each loop inside
 *
 * Sums are those of the host, bit for bit: partial sum p (kir.h) belongs to
 * one thread, and the tree over the partials goes first through threads
 * (shuffles, or shared memory), then through what a thread holds, or the
 * other way round, in the same order of halves.
 */
#include "lines.h"
#include "sm90.h"
#include "target.h"
#include "tensor.h"

enum { WARPS_OF_ROWS = 4, THREADS = 256, COLUMN_WARPS = 32 };
enum { SHORT = 16 }; /* loops that a thread runs by itself */

/* ---------------------------------------------------------------- the grid */

static LoopId lanes_id(const Kir *k)
{
    for (LoopId i = 1; i < k->loops.n; i++)
        if (k->loops.at[i].kind == LOOP_lanes) return i;
    BUG("no loop over lanes");
}

static const Loop *lanes_loop(const Kir *k)
{
    return &k->loops.at[lanes_id(k)];
}

/* Loops right below the lanes that all warps of a block can share. */
static bool shares(const Kir *k, LoopId loop)
{
    const Loop *l = &k->loops.at[loop];
    return l->kind == LOOP_seq && l->hi > SHORT && !l->in_order && !l->scans &&
           !l->when.id && !l->reverse &&
           k->loops.at[l->parent].kind != LOOP_seq;
}

static bool is_column(const Kir *k)
{
    bool any = false;
    for (uint32_t i = 1; i < k->loops.n; i++) {
        const Loop *l = &k->loops.at[i];
        if (l->in_order || l->scans) return false;
        any |= shares(k, i);
    }
    return any;
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
static int64_t lanes_of_thread(const Kir *k)
{
    enum { MOST = 8 };
    unsigned bytes;
    for (int64_t w = MOST; w > 1; w /= 2)
        if (lanes_loop(k)->hi % w == 0 &&
            narrowest(k, lanes_id(k), w, &bytes) && w * bytes <= 16)
            return w;
    return 1;
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
    int64_t n = lanes_loop(k)->hi;
    if (is_column(k)) {
        k->width = 1;
        return (Grid){.map = MAP_column,
                      .blocks = k->rows * ((n + WARP - 1) / WARP),
                      .threads = COLUMN_WARPS * WARP};
    }
    k->width = lanes_of_thread(k);
    int64_t all = k->rows * (n / k->width);
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

static LV shuffle(Emit *e, LV x, unsigned w, unsigned mask)
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
        x = acc_combine(e, a, x, shuffle(e, x, w, mask), w);
    return x;
}

/* ---------------------------------------------------------- accumulators */

enum { HELD = TREE_MOST / WARP }; /* partial sums of one thread */

LLVMTypeRef acc_type(const Emit *e, const Acc *a, unsigned w)
{
    Site s = e->s;
    s.w = w;
    return site_type(&s, dtype_reg(&s, a->dtype));
}

/* Stack slots that become registers: accumulator a, part j. */
static LV *held_new(Emit *e, const Loop *l, unsigned w, unsigned parts)
{
    LV *held = NEW_ARRAY(e->k->arena, LV, l->accs.n * HELD);
    for (uint32_t a = 0; a < l->accs.n; a++)
        for (unsigned j = 0; j < parts; j++) {
            held[a * HELD + j] =
                emit_alloca(e, acc_type(e, &l->accs.at[a], w), 1);
            LLVMBuildStore(e->s.b, acc_identity(e, &l->accs.at[a], w),
                           held[a * HELD + j]);
        }
    return held;
}

static void held_add(Emit *e, const Loop *l, const LV *held, unsigned w,
                     unsigned j)
{
    for (uint32_t a = 0; a < l->accs.n; a++) {
        const Acc *acc = &l->accs.at[a];
        LV p = held[a * HELD + j];
        LV old = LLVMBuildLoad2(e->s.b, acc_type(e, acc, w), p, "");
        LV sum = acc_combine(e, acc, old, emit_use(e, acc->value), w);
        LLVMBuildStore(e->s.b, sum, p);
    }
}

/* What a thread holds, halves first. */
static LV held_sum(Emit *e, const Acc *acc, const LV *held, unsigned parts)
{
    LV x[HELD];
    for (unsigned j = 0; j < parts; j++)
        x[j] = LLVMBuildLoad2(e->s.b, acc_type(e, acc, 1), held[j], "");
    for (; parts > 1; parts /= 2)
        for (unsigned j = 0; j < parts / 2; j++)
            x[j] = acc_combine(e, acc, x[j], x[j + parts / 2], 1);
    return x[0];
}

/* Index c + 32 j + who, when it is below n, for each part j. */
static void strided_parts(Emit *e, LoopId loop, LV who, const LV *held,
                          unsigned parts)
{
    const Loop *l = &e->k->loops.at[loop];
    Count c = count_begin(e, who, emit_iconst(e, l->hi), (int64_t)parts * WARP);
    for (unsigned j = 0; j < parts; j++) {
        LV i = LLVMBuildAdd(e->s.b, c.i, emit_iconst(e, (int64_t)j * WARP), "");
        LLVMBasicBlockRef after = emit_block(e, "after"), then = after;
        if (j > 0) {
            then = emit_block(e, "part");
            LV in =
                LLVMBuildICmp(e->s.b, LLVMIntSLT, i, emit_iconst(e, l->hi), "");
            LLVMBuildCondBr(e->s.b, in, then, after);
            LLVMPositionBuilderAtEnd(e->s.b, then);
        }
        emit_turn(e, loop, i, after);
        held_add(e, l, held, 1, j);
        LLVMBuildBr(e->s.b, after);
        LLVMPositionBuilderAtEnd(e->s.b, after);
    }
    count_end(e, &c);
}

static unsigned parts_of(int64_t n)
{
    int64_t p = tree_partials(n) / WARP;
    return p < 1 ? 1 : (unsigned)p;
}

/* -------------------------------------------------------- blocks of columns */

static LV shared_at(Emit *e, const Acc *acc, LV warp)
{
    LV at = LLVMBuildMul(e->s.b, warp, emit_iconst(e, WARP), "");
    at = LLVMBuildAdd(e->s.b, at, e->lane, "");
    return LLVMBuildGEP2(e->s.b, acc_type(e, acc, 1), e->shared, &at, 1, "");
}

/* The partial sums of the warps, through shared memory. */
static LV over_block(Emit *e, const Acc *acc, LV x)
{
    LLVMBuilderRef b = e->s.b;
    LLVMTypeRef t = acc_type(e, acc, 1);
    LV mine = shared_at(e, acc, e->warp);
    LLVMBuildStore(b, x, mine);
    gpu_barrier(e);
    for (unsigned half = COLUMN_WARPS / 2; half; half /= 2) {
        LLVMBasicBlockRef then = emit_block(e, "half"),
                          on = emit_block(e, "on");
        LV low =
            LLVMBuildICmp(b, LLVMIntSLT, e->warp, emit_iconst(e, half), "");
        LLVMBuildCondBr(b, low, then, on);
        LLVMPositionBuilderAtEnd(b, then);
        LV up = LLVMBuildAdd(b, e->warp, emit_iconst(e, half), "");
        LV y = LLVMBuildLoad2(b, t, shared_at(e, acc, up), "");
        LV sum = acc_combine(e, acc, LLVMBuildLoad2(b, t, mine, ""), y, 1);
        LLVMBuildStore(b, sum, mine);
        LLVMBuildBr(b, on);
        LLVMPositionBuilderAtEnd(b, on);
        gpu_barrier(e);
    }
    LV all = LLVMBuildLoad2(b, t, shared_at(e, acc, emit_iconst(e, 0)), "");
    gpu_barrier(e); /* before the room is used again */
    return all;
}

static void column_seq(Emit *e, LoopId loop)
{
    const Loop *l = &e->k->loops.at[loop];
    unsigned parts = l->accs.n ? parts_of(l->hi) : 1;
    LV *held = held_new(e, l, 1, parts);
    LV *results = NEW_ARRAY(e->k->arena, LV, l->accs.n);
    strided_parts(e, loop, e->warp, held, parts);
    for (uint32_t a = 0; a < l->accs.n; a++) {
        const Acc *acc = &l->accs.at[a];
        results[a] =
            over_block(e, acc, held_sum(e, acc, held + a * HELD, parts));
    }
    emit_set_results(e, loop, results);
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
    int64_t n = lanes_loop(k)->hi;
    if (e->map == MAP_column) {
        int64_t groups = (n + WARP - 1) / WARP;
        LV at = LLVMBuildMul(b, remainder_of(e, block, groups),
                             emit_iconst(e, WARP), "");
        at = LLVMBuildAdd(b, at, e->lane, "");
        LV last = emit_iconst(e, n - 1);
        e->active = LLVMBuildICmp(b, LLVMIntSLE, at, last, "");
        *lanes = LLVMBuildSelect(b, e->active, at, last, "");
        return quotient(e, block, groups);
    }
    int64_t per = n / k->width;
    LV t = LLVMBuildMul(b, block, emit_iconst(e, THREADS), "");
    t = LLVMBuildAdd(b, t, tid, "");
    *exists =
        LLVMBuildICmp(b, LLVMIntSLT, t, emit_iconst(e, k->rows * per), "");
    LV item = k->rows == 1 ? emit_iconst(e, 0) : quotient(e, t, per);
    LV rest = k->rows == 1 ? t : remainder_of(e, t, per);
    *lanes = LLVMBuildMul(b, rest, emit_iconst(e, k->width), "");
    return item;
}

static void gpu_items(Emit *e, LoopId items)
{
    LLVMBuilderRef b = e->s.b;
    LV tid = special(e, "llvm.nvvm.read.ptx.sreg.tid.x");
    e->lane = LLVMBuildAnd(b, tid, emit_iconst(e, WARP - 1), "");
    e->warp = quotient(e, tid, WARP);
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

/* The lanes of this thread. */
static void own_lanes(Emit *e, LoopId loop)
{
    e->s.w = (unsigned)e->k->width;
    e->lanes = e->s.w > 1 ? loop : 0;
    e->aligned = true;
    LLVMBasicBlockRef after = emit_block(e, "lanes");
    emit_turn(e, loop, e->chunk, after);
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
        if (e->map == MAP_column && shares(e->k, loop))
            column_seq(e, loop);
        else
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
    e->chunk_number = -1;
    if (g->map == MAP_column) add_shared(e, name, COLUMN_WARPS * WARP);
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
    gpu_function(e, name, g);
}
