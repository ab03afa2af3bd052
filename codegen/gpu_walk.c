/*
 * gpu_walk.c: totals over rows that run one after the other.
 *
 * The threads of a row take the next one behind it, and have the totals of its
 * lanes: sums, or maxima.  They store them behind the last row.
 *
 *     in registers       a vector for each chunk of an unrolled sweep
 *     in shared memory   where a long row is swept once, and all totals are of
 *                        16 bits, a place for each thread and chunk: with few
 *                        registers another block loads while this one stores
 *
 * While a short row is at work the second-level cache gets the next one.
 *
 * Rows so short that a block has several at a time are those of one walk, each
 * the next of those that came before it: what the threads of each hold they add
 * up through shared memory, row by row, and a part of them stores it.
 *
 * The largest |x| of x that were widened from 16 bits is that of the 16 bits:
 * without their sign they are in the order of numbers, NaN last.
 */
#include "gpu_rows.h"
#include "sm90.h"

enum { SIXTEEN = 2, MANY_THREADS = 256, SIGN = 1 << 15 };

/* X of a total that is the largest |x|, x of 16 bits; else none. */
static Node sixteen_of(const Kir *k, const NodeInfo *total)
{
    const NodeInfo *b = node_info(k, total->b);
    if (total->n != ACC_max || b->op != KN_scalar || b->sc != SC_abs)
        return (Node){0};
    const NodeInfo *wide = node_info(k, b->a);
    DType d = (DType)node_info(k, wide->a)->dtype;
    bool sixteen = d == DT_bf16 || d == DT_f16;
    return wide->op == KN_cast && wide->dtype == DT_f32 && sixteen ? wide->a
                                                                   : (Node){0};
}

static int64_t span_of(uint32_t row_threads)
{
    return (int64_t)row_threads * ROW_LANES;
}

/* Chunks of a sweep over lanes, the last of which may be cut. */
static int64_t chunks_of(const Loop *l, uint32_t row_threads)
{
    int64_t span = span_of(row_threads);
    return (l->hi + span - 1) / span;
}

uint32_t gpu_totals_bytes(const Kir *k, uint32_t row_threads)
{
    int64_t bytes = 0, blocks = 2 * ROW_MOST / row_threads;
    if (row_threads < MANY_THREADS || row_sweeps(k) != 1) return 0;
    for (uint32_t i = 1; i < k->nodes.n; i++) {
        const NodeInfo *in = &k->nodes.at[i];
        const Loop *l = &k->loops.at[in->loop];
        if (in->op != KN_total) continue;
        if (!sixteen_of(k, in).id || l->hi % ROW_LANES || !row_is_plain(k, l))
            return 0;
        bytes += chunks_of(l, row_threads) * span_of(row_threads) * SIXTEEN;
    }
    return bytes * blocks <= SM90_SHARED_MOST * 3 / 4 ? (uint32_t)bytes : 0;
}

/* Chunks of a sweep that is unrolled; 0: it is not. */
static int64_t chunks_held(const Kir *k, const Loop *l, uint32_t row_threads)
{
    if (l->kind != LOOP_lanes || l->hi % ROW_LANES != 0 ||
        l->hi > ROW_HELD * span_of(row_threads) || !row_is_plain(k, l))
        return 0;
    return chunks_of(l, row_threads);
}

/* Bytes of what a thread holds of a chunk. */
static unsigned vector_bytes(const Kir *k, const NodeInfo *in)
{
    return ROW_LANES *
           (sixteen_of(k, in).id ? SIXTEEN : dtype_bytes((DType)in->dtype));
}

/* Turns of the walk; 0: there is none. */
static int64_t turns_of(const Kir *k)
{
    for (LoopId i = 1; i < k->loops.n; i++)
        if (k->loops.at[i].walks) return k->loops.at[i].hi;
    return 0;
}

uint32_t gpu_walkers(const Kir *k, uint32_t row_threads, uint32_t most)
{
    int64_t turns = turns_of(k);
    uint32_t n = turns ? most : 1;
    if (gpu_totals_bytes(k, row_threads)) return 1;
    for (uint32_t i = 1; i < k->nodes.n; i++) {
        const NodeInfo *in = &k->nodes.at[i];
        if (in->op == KN_total &&
            !chunks_held(k, &k->loops.at[in->loop], row_threads))
            return 1;
    }
    while (turns % n)
        n /= 2;
    return n;
}

static Acc total_acc(const NodeInfo *in)
{
    return (Acc){(AccKind)in->n, (DType)in->dtype, in->b, {0}, false};
}

static LLVMTypeRef held_type(Emit *e, const NodeInfo *in)
{
    Acc acc = total_acc(in);
    return sixteen_of(e->k, in).id
               ? LLVMVectorType(LLVMInt16TypeInContext(e->s.cx), ROW_LANES)
               : acc_type(e, &acc, ROW_LANES);
}

static LV first_value(Emit *e, const NodeInfo *in)
{
    Acc acc = total_acc(in);
    return sixteen_of(e->k, in).id ? LLVMConstNull(held_type(e, in))
                                   : acc_identity(e, &acc, ROW_LANES);
}

/* ------------------------------------------------------------------ places */

/* Where all totals lie in shared memory: of lanes from `lane` on. */
static LV shared_place(Emit *e, uint32_t node, LV lane)
{
    int64_t offset = 0;
    for (uint32_t i = 1; i < node; i++) {
        const NodeInfo *in = node_info(e->k, (Node){i});
        if (in->op == KN_total)
            offset += chunks_of(&e->k->loops.at[in->loop], e->row_threads) *
                      span_of(e->row_threads) * SIXTEEN;
    }
    LLVMBuilderRef b = e->s.b;
    LV at =
        LLVMBuildIntCast2(b, lane, LLVMInt32TypeInContext(e->s.cx), true, "");
    at = LLVMBuildMul(b, at, sm90_i32(&e->s, SIXTEEN), "");
    at = LLVMBuildAdd(b, at, sm90_i32(&e->s, (uint32_t)offset), "");
    return sm90_at(&e->s, LLVMBuildAdd(b, sm90_shared(&e->s), at, ""));
}

/* Of the chunk at hand; NULL: the thread does not hold it. */
static LV place_of(Emit *e, uint32_t node)
{
    if (e->totals_bytes) return shared_place(e, node, e->chunk_lane);
    if (!e->totals[node] || e->chunk_number < 0) return NULL;
    return e->totals[node][e->chunk_number];
}

static LV first_lane(Emit *e)
{
    return LLVMBuildMul(e->s.b, e->place, emit_iconst(e, ROW_LANES), "");
}

static void total_new(Emit *e, uint32_t node)
{
    const NodeInfo *in = node_info(e->k, (Node){node});
    const Loop *l = &e->k->loops.at[in->loop];
    int64_t n = chunks_held(e->k, l, e->row_threads);
    if (n == 0) return;
    e->totals[node] = NEW_ARRAY(e->k->arena, LV, n);
    for (int64_t c = 0; c < n; c++) {
        LV lane = emit_iconst(e, c * span_of(e->row_threads));
        e->totals[node][c] =
            e->totals_bytes
                ? shared_place(e, node,
                               LLVMBuildAdd(e->s.b, first_lane(e), lane, ""))
                : emit_alloca(e, held_type(e, in), 1);
        LLVMBuildStore(e->s.b, first_value(e, in), e->totals[node][c]);
    }
}

int64_t gpu_totals_held(const Kir *k, uint32_t row_threads)
{
    int64_t bytes = 0;
    if (gpu_totals_bytes(k, row_threads)) return 0;
    for (uint32_t i = 1; i < k->nodes.n; i++) {
        const NodeInfo *in = &k->nodes.at[i];
        if (in->op != KN_total) continue;
        const Loop *l = &k->loops.at[in->loop];
        bytes += chunks_held(k, l, row_threads) * vector_bytes(k, in);
    }
    return bytes;
}

static void totals_new(Emit *e, LoopId walk)
{
    e->totals = NEW_ARRAY(e->k->arena, LV *, e->k->nodes.n);
    e->totals_bytes = gpu_totals_bytes(e->k, e->row_threads);
    for (uint32_t i = 1; i < e->k->nodes.n; i++) {
        const NodeInfo *in = node_info(e->k, (Node){i});
        if (in->op == KN_total && in->inner == walk) total_new(e, i);
    }
}

/* ------------------------------------------------------------------ values */

static LV largest(Emit *e, const NodeInfo *in, LV old)
{
    Site s = e->s;
    s.w = ROW_LANES;
    LLVMTypeRef type = held_type(e, in);
    LV x = emit_use(e, sixteen_of(e->k, in));
    LV number = LLVMConstInt(LLVMInt16TypeInContext(e->s.cx), SIGN - 1, 0);
    x = LLVMBuildBitCast(e->s.b, x, type, "");
    x = LLVMBuildAnd(e->s.b, x, site_splat(&s, number), "");
    return site_call(&s, "llvm.umax", (LV[]){old, x}, 2);
}

bool gpu_row_total(Emit *e, Node n)
{
    const NodeInfo *in = node_info(e->k, n);
    LV at = e->totals ? place_of(e, n.id) : NULL;
    if (!at) return false;
    Acc acc = total_acc(in);
    LV x = LLVMBuildLoad2(e->s.b, held_type(e, in), at, "");
    x = sixteen_of(e->k, in).id
            ? largest(e, in, x)
            : acc_combine(e, &acc, x, emit_use(e, in->b), ROW_LANES);
    LLVMBuildStore(e->s.b, x, at);
    return true;
}

/* --------------------------------------------------------- rows of a block */

uint32_t gpu_walkers_places(const Kir *k, uint32_t row_threads,
                            uint32_t threads)
{
    enum { PLACE = 8 };
    uint32_t most = 0;
    for (uint32_t i = 1; i < k->nodes.n; i++) {
        const NodeInfo *in = &k->nodes.at[i];
        if (in->op != KN_total) continue;
        int64_t chunks =
            chunks_held(k, &k->loops.at[in->loop], row_threads) * threads;
        uint32_t n = (uint32_t)chunks * vector_bytes(k, in) / PLACE;
        if (n > most) most = n;
    }
    return most;
}

/* Where the thread of a walker that has our place leaves a chunk. */
static LV walker_place(Emit *e, const NodeInfo *in, int64_t chunk, LV walker)
{
    LLVMBuilderRef b = e->s.b;
    LV first = LLVMBuildSub(b, walker, e->walker, "");
    LV at = LLVMBuildMul(b, e->warp, emit_iconst(e, WARP), "");
    at = LLVMBuildAdd(b, at, e->lane, "");
    first = LLVMBuildMul(b, first, emit_iconst(e, e->row_threads), "");
    at = LLVMBuildAdd(b, at, first, "");
    int64_t threads = (int64_t)e->warps * WARP;
    at = LLVMBuildAdd(b, at, emit_iconst(e, chunk * threads), "");
    return LLVMBuildGEP2(b, held_type(e, in), e->shared, &at, 1, "");
}

static void leave_total(Emit *e, const NodeInfo *in, int64_t chunk, LV held)
{
    LV x = LLVMBuildLoad2(e->s.b, held_type(e, in), held, "");
    LV to = walker_place(e, in, chunk, e->walker);
    LLVMSetAlignment(LLVMBuildStore(e->s.b, x, to), 16);
}

static LV walker_total(Emit *e, const NodeInfo *in, int64_t chunk, uint32_t of)
{
    LV at = walker_place(e, in, chunk, emit_iconst(e, of));
    LV x = LLVMBuildLoad2(e->s.b, held_type(e, in), at, "");
    LLVMSetAlignment(x, 16);
    return x;
}

static LV all_walkers(Emit *e, const NodeInfo *in, int64_t chunk)
{
    Site s = e->s;
    Acc acc = total_acc(in);
    s.w = ROW_LANES;
    LV x = walker_total(e, in, chunk, 0);
    for (uint32_t i = 1; i < e->walkers; i++) {
        LV y = walker_total(e, in, chunk, i);
        x = sixteen_of(e->k, in).id
                ? site_call(&s, "llvm.umax", (LV[]){x, y}, 2)
                : acc_combine(e, &acc, x, y, ROW_LANES);
    }
    return x;
}

/* ----------------------------------------------------------------- the end */

/* What lies there as it is stored. */
static LV total_value(Emit *e, const NodeInfo *in, LV x)
{
    Node of = sixteen_of(e->k, in);
    if (!of.id) return x;
    return emit_dtype_cast(&e->s, DT_f32, (DType)node_info(e->k, of)->dtype, x);
}

static void store_chunk(Emit *e, const Sweep *s, Node n, int64_t chunk, LV x)
{
    const NodeInfo *in = node_info(e->k, n);
    int64_t from = chunk * s->span;
    e->s.w = ROW_LANES;
    e->lanes = in->loop;
    e->aligned = true;
    LV at = LLVMBuildAdd(e->s.b, s->first, emit_iconst(e, from), "");
    at = row_lane(e, s, at, 0, from + s->span > s->l->hi);
    emit_enter(e, in->loop, at);
    emit_store_value(e, n, total_value(e, in, x));
    e->active = NULL;
    e->s.w = 1;
    e->lanes = 0;
    e->aligned = false;
}

/* The threads of a walker store each so many chunks. */
static void store_joined(Emit *e, const Sweep *s, Node n, int64_t chunks)
{
    const NodeInfo *in = node_info(e->k, n);
    gpu_barrier(e); /* what was there has been read */
    for (int64_t c = 0; c < chunks; c++)
        leave_total(e, in, c, e->totals[n.id][c]);
    gpu_barrier(e);
    for (int64_t c = 0; c < chunks; c++) {
        LV mine = LLVMBuildICmp(e->s.b, LLVMIntEQ, e->walker,
                                emit_iconst(e, c % e->walkers), "");
        LLVMBasicBlockRef on = emit_when(e, mine, "own");
        store_chunk(e, s, n, c, all_walkers(e, in, c));
        emit_on(e, on);
    }
}

static void store_total(Emit *e, Node n)
{
    const NodeInfo *in = node_info(e->k, n);
    const Loop *l = &e->k->loops.at[in->loop];
    Sweep s = {.loop = in->loop, .l = l, .first = first_lane(e)};
    s.span = span_of(e->row_threads);
    int64_t chunks = chunks_of(l, e->row_threads);
    if (e->walkers > 1) {
        store_joined(e, &s, n, chunks);
        return;
    }
    for (int64_t c = 0; c < chunks; c++)
        store_chunk(
            e, &s, n, c,
            LLVMBuildLoad2(e->s.b, held_type(e, in), e->totals[n.id][c], ""));
}

/* ------------------------------------------------------------ the next row */

/* Elements from a row that is loaded to the next one of the walk, if rows are
 * whole units of the copy engine; 0: they are not, or it is the same row. */
static int64_t row_step(const Kir *k, const NodeInfo *in, LoopId walk)
{
    enum { UNIT = 16 };
    const IxInfo *x = ix_info(k, in->ix);
    const Loop *l = &k->loops.at[in->loop];
    int64_t bytes = dtype_bytes((DType)in->dtype), lane, step;
    if (in->op != KN_load || l->kind != LOOP_lanes || in->a.id ||
        !ix_linear(k, in->ix, in->loop, &lane) || lane != 1 ||
        !ix_linear(k, in->ix, walk, &step))
        return 0;
    uint64_t bits = (uint64_t)x->base | (uint64_t)l->hi;
    for (uint32_t i = 0; i < x->n; i++)
        if (k->atoms.at[x->terms[i].atom].loop != in->loop)
            bits |= (uint64_t)x->terms[i].coef;
    return (bits * bytes | k->args[in->arg].align) % UNIT ? 0 : step;
}

static bool loaded_before(const Kir *k, uint32_t node)
{
    for (uint32_t i = 1; i < node; i++) {
        const NodeInfo *x = &k->nodes.at[i], *y = &k->nodes.at[node];
        if (x->op == KN_load && (row_same_load(k, x, y) ||
                                 (x->arg == y->arg && x->ix.id == y->ix.id)))
            return true;
    }
    return false;
}

/* Bytes of such rows of one turn; ASKS: by node, whether it is one of them. */
static int64_t rows_to_ask_for(const Kir *k, LoopId walk, bool *asks)
{
    int64_t bytes = 0;
    for (uint32_t i = 1; i < k->nodes.n; i++) {
        const NodeInfo *in = &k->nodes.at[i];
        asks[i] = row_step(k, in, walk) && !loaded_before(k, i);
        if (asks[i])
            bytes += k->loops.at[in->loop].hi * dtype_bytes((DType)in->dtype);
    }
    return bytes;
}

/* Few rows are at work at once, and each waits for its own sums and stores: the
 * second-level cache gets the next ones meanwhile, as far as it has room for
 * them beside what is stored.  (Of 24 KiB a turn and more it was slower.) */
static void ask_for_next(Emit *e, LoopId walk, LV turn)
{
    enum { MOST_BYTES = 8 << 10 };
    LLVMBuilderRef b = e->s.b;
    const Kir *k = e->k;
    bool *asks = NEW_ARRAY(k->arena, bool, k->nodes.n);
    if (rows_to_ask_for(k, walk, asks) > MOST_BYTES) return;
    LV zero = emit_iconst(e, 0),
       last = emit_iconst(e, k->loops.at[walk].hi - e->walkers);
    LV when = LLVMBuildAnd(b, LLVMBuildICmp(b, LLVMIntSLT, turn, last, ""),
                           LLVMBuildICmp(b, LLVMIntEQ, e->place, zero, ""), "");
    for (uint32_t i = 1; i < k->nodes.n; i++) {
        const NodeInfo *in = &k->nodes.at[i];
        if (!asks[i]) continue;
        emit_enter(e, walk, turn);
        emit_enter(e, in->loop, zero);
        int64_t bytes =
            k->loops.at[in->loop].hi * dtype_bytes((DType)in->dtype);
        sm90_prefetch(&e->s,
                      emit_address(e, in, row_step(k, in, walk) * e->walkers),
                      (uint32_t)bytes, when);
    }
}

/* Sums of warps lie in one room or the other: what a row has read there is
 * written again behind the barrier of the next one. */
static LV own_places(Emit *e, LV turn)
{
    LLVMBuilderRef b = e->s.b;
    int64_t room = gpu_rows_places(e->k, e->row_threads) / 2;
    LV odd = LLVMBuildAnd(b, turn, emit_iconst(e, 1), "");
    return LLVMBuildMul(b, odd, emit_iconst(e, room), "");
}

void gpu_row_walk(Emit *e, LoopId loop)
{
    const Loop *l = &e->k->loops.at[loop];
    totals_new(e, loop);
    LV first = e->walkers > 1 ? e->walker : emit_iconst(e, 0);
    Count c = count_begin(e, first, emit_iconst(e, l->hi), e->walkers);
    ask_for_next(e, loop, c.i);
    e->turn_place = own_places(e, c.i);
    emit_turn(e, loop, c.i, c.latch);
    count_end(e, &c);
    e->turn_place = NULL;
    e->loaded.n = 0;
    e->loaded_bytes = 0;
    for (uint32_t i = 1; i < e->k->nodes.n; i++)
        if (e->totals[i]) store_total(e, (Node){i});
}
