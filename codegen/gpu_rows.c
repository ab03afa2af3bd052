/*
 * gpu_rows.c: rows of the kernel IR mapped to the threads of a GPU.
 *
 * An item is a row, or, of a group that also sums over rows, as many as a sum
 * has, one after the other.  row_threads (kir.h) threads share each of a row's
 * loops over lanes: a part of a warp, or a block of its own.  A thread takes
 * ROW_LANES neighbours at a time, so that each load and store is 16 bytes or
 * more, and every partial sum of the row's tree belongs to one thread.
 *
 *     lanes     | t0 x 8 | t1 x 8 | ... | t0 x 8 | t1 x 8 | ...
 *     chunks    | 0                     | 1
 *
 * The chunks of a short row are unrolled, and the loads of a sweep made ahead
 * of it, all in flight at once.  What a later sweep loads again stays in
 * registers as it was loaded; it passes through an empty piece of assembly, so
 * that values made of it are made again rather than held too.  Long rows are
 * gpu_long.c's; totals over the rows of an item gpu_walk.c's.
 */
#include "gpu_rows.h"

enum { BLOCK = 128, TOGETHER = 4 };

/* Bytes of loaded rows that a thread may hold, by the registers it can have:
 * sums of columns take some of them. */
static int64_t bytes_to_keep(const Emit *e)
{
    if (e->totals) return 288 - gpu_totals_held(e->k, e->row_threads);
    return e->row_threads <= 256 ? 320 : 192;
}

/* ---------------------------------------------------------------- the grid */

/* Rows that a block has beside each other. */
static uint32_t rows_of_block(uint32_t row_threads)
{
    return row_threads > WARP ? 1 : BLOCK / row_threads;
}

Grid gpu_rows_grid(Kir *k)
{
    int64_t most = 1;
    bool leaves = false;
    for (uint32_t i = 1; i < k->loops.n; i++) {
        const Loop *l = &k->loops.at[i];
        if (l->kind == LOOP_lanes && l->hi > most) most = l->hi;
        leaves |= l->kind == LOOP_items && l->when.id;
    }
    int64_t t = row_threads(most);
    /* threads that leave early leave with their warp */
    if (leaves && t < WARP) t = WARP;
    k->width = ROW_LANES;
    int64_t rows = rows_of_block((uint32_t)t);
    int64_t walkers = gpu_walkers(k, (uint32_t)t, (uint32_t)rows);
    uint32_t shared;
    rows /= walkers;
    gpu_stash_plan(NULL, k, (uint32_t)t, &shared);
    if (!shared) shared = gpu_totals_bytes(k, (uint32_t)t);
    return (Grid){.map = MAP_rows,
                  .shared = shared,
                  .blocks = (k->rows + rows - 1) / rows,
                  .threads = (uint32_t)(t * rows * walkers),
                  .row_threads = (uint32_t)t};
}

/* Sums that cross warps, each with a place per warp; of a walk, twice. */
uint32_t gpu_rows_places(const Kir *k, uint32_t row_threads)
{
    uint32_t n = 0, rows = 1;
    for (uint32_t i = 1; i < k->loops.n; i++) {
        if (k->loops.at[i].kind == LOOP_lanes) n += k->loops.at[i].accs.n;
        if (k->loops.at[i].walks) rows = 2;
    }
    if (row_threads > WARP) return n * WARP * rows;
    bool joins = gpu_walkers(k, row_threads, rows_of_block(row_threads)) > 1;
    return joins ? gpu_walkers_places(k, row_threads, BLOCK) : 0;
}

/* Rows that do not exist are the last one again, and store nothing: their
 * threads take part in what the warp does together. */
LV gpu_row_item(Emit *e, LV tid, LV block)
{
    LLVMBuilderRef b = e->s.b;
    int64_t t = e->row_threads, rows = rows_of_block(e->row_threads);
    e->walkers = gpu_walkers(e->k, e->row_threads, (uint32_t)rows);
    e->place = LLVMBuildAnd(b, tid, emit_iconst(e, t - 1), "");
    if (rows == 1) return block;
    rows /= e->walkers;
    LV item = LLVMBuildMul(b, block, emit_iconst(e, rows), "");
    LV mine = LLVMBuildUDiv(b, tid, emit_iconst(e, t), "");
    if (e->walkers > 1) {
        e->walker = LLVMBuildURem(b, mine, emit_iconst(e, e->walkers), "");
        mine = LLVMBuildUDiv(b, mine, emit_iconst(e, e->walkers), "");
    }
    if (rows == 1) return block;
    item = LLVMBuildAdd(b, item, mine, "");
    if (e->k->rows % rows == 0) return item;
    LV last = emit_iconst(e, e->k->rows - 1);
    e->exists = LLVMBuildICmp(b, LLVMIntSLE, item, last, "");
    return LLVMBuildSelect(b, e->exists, item, last, "");
}

/* ------------------------------------------------------- what is loaded
 */

/* The same bits, of which the compiler knows nothing. */
LV gpu_opaque(Emit *e, LV x)
{
    enum { MOST_WORDS = 32 };
    LLVMBuilderRef b = e->s.b;
    LLVMTypeRef t = LLVMTypeOf(x), word = LLVMInt32TypeInContext(e->s.cx);
    bool vector = LLVMGetTypeKind(t) == LLVMVectorTypeKind;
    LLVMTypeRef one = vector ? LLVMGetElementType(t) : t;
    unsigned bits = LLVMGetTypeKind(one) == LLVMFloatTypeKind    ? 32
                    : LLVMGetTypeKind(one) == LLVMDoubleTypeKind ? 64
                                                                 : 0;
    if (!bits) bits = LLVMGetIntTypeWidth(one);
    unsigned n = bits * (vector ? LLVMGetVectorSize(t) : 1) / 32;
    if (n == 0 || n > MOST_WORDS) return x;
    LLVMTypeRef words = LLVMVectorType(word, n), types[MOST_WORDS];
    LV v = LLVMBuildBitCast(b, x, n > 1 ? words : word, ""), in[MOST_WORDS];
    Buf text = {0};
    for (unsigned i = 0; i < n; i++) {
        LV at = LLVMConstInt(word, i, false);
        in[i] = n > 1 ? LLVMBuildExtractElement(b, v, at, "") : v;
        types[i] = word;
        buf_puts(&text, "=r,");
    }
    for (unsigned i = 0; i < n; i++)
        buf_printf(&text, i ? ",%u" : "%u", i);
    LLVMTypeRef out =
        n > 1 ? LLVMStructTypeInContext(e->s.cx, types, n, false) : word;
    LLVMTypeRef ft = LLVMFunctionType(out, types, n, false);
    LV f = LLVMGetInlineAsm(ft, "", 0, text.at, text.n, true, false,
                            LLVMInlineAsmDialectATT, false);
    LV r = LLVMBuildCall2(b, ft, f, in, n, "");
    buf_release(&text);
    if (n == 1) return LLVMBuildBitCast(b, r, t, "");
    LV back = LLVMGetPoison(words);
    for (unsigned i = 0; i < n; i++)
        back =
            LLVMBuildInsertElement(b, back, LLVMBuildExtractValue(b, r, i, ""),
                                   LLVMConstInt(word, i, false), "");
    return LLVMBuildBitCast(b, back, t, "");
}

/* Whether two loads in different loops of a kind are of the same elements. */
bool row_same_load(const Kir *k, const NodeInfo *x, const NodeInfo *y)
{
    return y->op == KN_load && x->arg == y->arg && x->loop != y->loop &&
           k->loops.at[x->loop].kind == k->loops.at[y->loop].kind &&
           k->loops.at[x->loop].hi == k->loops.at[y->loop].hi &&
           node_alike(k, x->a, x->loop, y->a, y->loop) &&
           ix_alike(k, x->ix, x->loop, y->ix, y->loop);
}

LV gpu_row_loaded(Emit *e, const NodeInfo *in)
{
    for (uint32_t i = 0; i < e->loaded.n; i++) {
        const Loaded *x = &e->loaded.at[i];
        const NodeInfo *by = node_info(e->k, x->node);
        if (x->chunk != e->chunk_number) continue;
        if (by == in) return x->value;
        if (row_same_load(e->k, by, in)) return gpu_opaque(e, x->value);
    }
    return NULL;
}

static bool loaded_again(const Kir *k, const NodeInfo *in)
{
    for (uint32_t i = 1; i < k->nodes.n; i++)
        if (row_same_load(k, in, &k->nodes.at[i])) return true;
    return false;
}

static int64_t loaded_size(const Emit *e, Node n)
{
    return ROW_LANES * dtype_bytes((DType)node_info(e->k, n)->dtype);
}

/* The same for all rows: the cache has it, and totals need the registers. */
static bool is_of_columns(const Kir *k, const NodeInfo *in)
{
    for (LoopId i = 1; i < k->loops.n; i++)
        if (k->loops.at[i].kind != LOOP_lanes && ix_uses(k, in->ix, i))
            return false;
    return true;
}

/* A load that can be made ahead of its turn. */
static void keep(Emit *e, Node n)
{
    const NodeInfo *in = node_info(e->k, n);
    if (in->op != KN_load || (e->totals && is_of_columns(e->k, in)) ||
        e->loaded_bytes + loaded_size(e, n) > bytes_to_keep(e))
        return;
    for (uint32_t i = 0; i < e->loaded.n; i++)
        if (e->loaded.at[i].chunk == e->chunk_number &&
            row_same_load(e->k, node_info(e->k, e->loaded.at[i].node), in))
            return;
    LV v = emit_load_ahead(e, in);
    if (!v) return;
    vec_push(e->k->arena, &e->loaded, ((Loaded){n, e->chunk_number, v}));
    e->loaded_bytes += loaded_size(e, n);
}

/* What no other sweep loads goes. */
static void forget(Emit *e, LoopId loop)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < e->loaded.n; i++) {
        const NodeInfo *in = node_info(e->k, e->loaded.at[i].node);
        if (in->loop == loop && !loaded_again(e->k, in))
            e->loaded_bytes -= loaded_size(e, e->loaded.at[i].node);
        else
            e->loaded.at[n++] = e->loaded.at[i];
    }
    e->loaded.n = n;
}

/* ------------------------------------------------------------------- sums */

static LV over_lanes(Emit *e, const Acc *acc, LV x, unsigned n)
{
    LLVMTypeRef word = LLVMInt32TypeInContext(e->s.cx);
    for (unsigned mask = n / 2; mask; mask /= 2)
        x = acc_combine(
            e, acc, x,
            gpu_shuffle(e, SHUFFLE_xor, x, LLVMConstInt(word, mask, 0)), 1);
    return x;
}

/* Of the next sum, the place of the first warp. */
static LV next_place(Emit *e)
{
    LV first = emit_iconst(e, (int64_t)e->places++ * WARP);
    return e->turn_place ? LLVMBuildAdd(e->s.b, first, e->turn_place, "")
                         : first;
}

/* All warps meet once. */
void gpu_over_row(Emit *e, const Acc *accs, LV *x, uint32_t n)
{
    LLVMBuilderRef b = e->s.b;
    LLVMTypeRef slot = LLVMInt64TypeInContext(e->s.cx);
    unsigned t = e->row_threads, group = t < WARP ? t : WARP, warps = t / group;
    LV *first = NEW_ARRAY(e->k->arena, LV, n + 1);
    for (uint32_t a = 0; a < n; a++) {
        x[a] = over_lanes(e, &accs[a], x[a], group);
        if (warps == 1) continue;
        first[a] = next_place(e);
        LV mine = LLVMBuildAdd(b, first[a], e->warp, "");
        LLVMBuildStore(b, x[a],
                       LLVMBuildGEP2(b, slot, e->shared, &mine, 1, ""));
    }
    if (warps == 1 || n == 0) return;
    gpu_barrier(e);
    for (uint32_t a = 0; a < n; a++) {
        LV from = LLVMBuildAnd(b, e->lane, emit_iconst(e, warps - 1), "");
        from = LLVMBuildAdd(b, first[a], from, "");
        x[a] =
            LLVMBuildLoad2(b, acc_type(e, &accs[a], 1),
                           LLVMBuildGEP2(b, slot, e->shared, &from, 1, ""), "");
        x[a] = over_lanes(e, &accs[a], x[a], warps);
    }
}

Partials row_partials_new(Emit *e, const Loop *l, unsigned w)
{
    Partials p = {.w = w, .each = ROW_LANES / w};
    p.at = NEW_ARRAY(e->k->arena, LV, l->accs.n * p.each);
    for (uint32_t i = 0; i < l->accs.n * p.each; i++) {
        const Acc *acc = &l->accs.at[i / p.each];
        p.at[i] = emit_alloca(e, acc_type(e, acc, w), 1);
        LLVMBuildStore(e->s.b, acc_identity(e, acc, w), p.at[i]);
    }
    return p;
}

void row_partials_add(Emit *e, const Loop *l, const Partials *p, unsigned j)
{
    for (uint32_t a = 0; a < l->accs.n; a++) {
        const Acc *acc = &l->accs.at[a];
        LV at = p->at[a * p->each + j], x = emit_use(e, acc->value);
        if (e->active)
            x = LLVMBuildSelect(e->s.b, e->active, x,
                                acc_identity(e, acc, p->w), "");
        if (e->offsets)
            x = LLVMBuildSelect(e->s.b, gpu_lanes_exist(e), x,
                                acc_identity(e, acc, p->w), "");
        LV old = LLVMBuildLoad2(e->s.b, acc_type(e, acc, p->w), at, "");
        LLVMBuildStore(e->s.b, acc_combine(e, acc, old, x, p->w), at);
    }
}

LV row_partials_sum(Emit *e, const Acc *acc, const Partials *p, uint32_t a)
{
    LV x[ROW_LANES];
    for (unsigned j = 0; j < p->each; j++)
        x[j] = LLVMBuildLoad2(e->s.b, acc_type(e, acc, p->w),
                              p->at[a * p->each + j], "");
    if (p->w > 1) return fold_vector(e, acc, x[0], p->w);
    for (unsigned n = p->each / 2; n; n /= 2)
        for (unsigned j = 0; j < n; j++)
            x[j] = acc_combine(e, acc, x[j], x[j + n], 1);
    return x[0];
}

/* ------------------------------------------------------------------ a sweep */

/* Neighbour j of a chunk (or all of them), whose first lane is `at`; `cut`:
 * some threads may be beyond the row, and some neighbours of one. */
LV row_lane(Emit *e, const Sweep *s, LV at, unsigned j, bool cut)
{
    LLVMBuilderRef b = e->s.b;
    e->active = e->exists;
    at = LLVMBuildAdd(b, at, emit_iconst(e, j), "");
    if (!cut) return at;
    LV in = LLVMBuildICmp(b, LLVMIntSLT, at, emit_iconst(e, s->l->hi), "");
    e->active = e->exists ? LLVMBuildAnd(b, in, e->exists, "") : in;
    at = LLVMBuildSelect(b, in, at, emit_iconst(e, 0), "");
    if (e->s.w > 1 && s->l->hi % e->s.w)
        e->offsets = gpu_lane_offsets(e, at, s->l->hi);
    return at;
}

static void chunk(Emit *e, const Sweep *s, LV from, bool cut)
{
    LV at = LLVMBuildAdd(e->s.b, s->first, from, "");
    e->chunk_lane = at;
    for (unsigned j = 0; j < s->partials.each; j++) {
        emit_turn(e, s->loop, row_lane(e, s, at, j, cut), NULL);
        row_partials_add(e, s->l, &s->partials, j);
    }
    e->active = e->offsets = NULL;
}

/* All loads of the sweep, before its first store. */
static void load_ahead(Emit *e, const Sweep *s)
{
    for (int64_t c = 0, from = 0; from < s->l->hi; c++, from += s->span) {
        LV at = LLVMBuildAdd(e->s.b, s->first, emit_iconst(e, from), "");
        at = row_lane(e, s, at, 0, from + s->span > s->l->hi);
        emit_enter(e, s->loop, at);
        e->chunk_number = c;
        for (uint32_t i = 0; i < s->l->body.n; i++)
            keep(e, s->l->body.at[i]);
        e->offsets = NULL;
    }
}

/* Neighbours are vectors; of rows that end in a part of one where they do
 * nothing else. */
static bool takes_vectors(const Emit *e, const Loop *l)
{
    if (l->hi % ROW_LANES == 0) return true;
    return row_has_vectors(e->k, l->hi) && l->hi >= 2 * ROW_LANES &&
           row_is_plain(e->k, l) && !e->turn_place && !e->totals;
}

/* A few chunks a turn; the loads of a turn need not wait for each other. */
static int64_t whole_chunks(Emit *e, const Sweep *s, unsigned n)
{
    int64_t step = n * s->span, whole = s->l->hi / step * step;
    if (!whole) return 0;
    Count c = count_begin(e, emit_iconst(e, 0), emit_iconst(e, whole), step);
    for (unsigned i = 0; i < n; i++)
        chunk(e, s, LLVMBuildAdd(e->s.b, c.i, emit_iconst(e, i * s->span), ""),
              false);
    count_end(e, &c);
    return whole;
}

bool row_is_plain(const Kir *k, const Loop *l)
{
    for (uint32_t i = 0; i < l->body.n; i++)
        if (node_info(k, l->body.at[i])->op == KN_loop) return false;
    return true;
}

unsigned row_together(const Kir *k, const Loop *l)
{
    unsigned accesses = 0;
    for (uint32_t i = 0; i < l->body.n; i++) {
        uint8_t op = node_info(k, l->body.at[i])->op;
        accesses += op == KN_load || op == KN_store;
    }
    return accesses > 2 ? 1 : ROW_TOGETHER;
}

uint32_t row_sweeps(const Kir *k)
{
    uint32_t n = 0;
    for (uint32_t i = 1; i < k->loops.n; i++)
        n += k->loops.at[i].kind == LOOP_lanes;
    return n;
}

/* One sweep over a row that has as many threads as a block may, or whose totals
 * lie in shared memory: nothing is held
 * for another, and fewer registers leave room for a second block, which loads
 * while the first one stores. */
static bool is_sole(const Emit *e, const Loop *l)
{
    bool room = e->totals ? e->totals_bytes > 0 : e->row_threads == ROW_MOST;
    return room && row_sweeps(e->k) == 1 && l->hi % ROW_LANES == 0;
}

void gpu_row_lanes(Emit *e, LoopId loop)
{
    const Loop *l = &e->k->loops.at[loop];
    if (l->online) return; /* has run with its maximum */
    if (row_is_long(e->k, l->hi) && row_is_plain(e->k, l)) {
        gpu_await_readers(e, loop);
        gpu_long_lanes(e, loop);
        return;
    }
    unsigned w = takes_vectors(e, l) ? ROW_LANES : 1;
    Sweep s = {.loop = loop, .l = l, .partials = row_partials_new(e, l, w)};
    gpu_await_readers(e, loop);
    s.span = (int64_t)e->row_threads * ROW_LANES;
    s.first = LLVMBuildMul(e->s.b, e->place, emit_iconst(e, ROW_LANES), "");
    s.first = gpu_opaque(e, s.first);
    e->s.w = w;
    e->lanes = w > 1 ? loop : 0;
    e->aligned = w > 1;
    bool plain = row_is_plain(e->k, l),
         unrolled = plain && l->hi <= ROW_HELD * s.span && !is_sole(e, l);
    if (unrolled && w > 1) load_ahead(e, &s);
    int64_t at =
        unrolled ? 0 : whole_chunks(e, &s, plain ? row_together(e->k, l) : 1);
    for (int64_t c = 0; at < l->hi; c++, at += s.span) {
        e->chunk_number = unrolled && w > 1 ? c : -1;
        chunk(e, &s, emit_iconst(e, at), at + s.span > l->hi);
    }
    forget(e, loop);
    e->chunk_number = -1;
    e->s.w = 1;
    e->lanes = 0;
    e->aligned = false;
    LV *results = NEW_ARRAY(e->k->arena, LV, l->accs.n);
    for (uint32_t a = 0; a < l->accs.n; a++)
        results[a] = row_partials_sum(e, &l->accs.at[a], &s.partials, a);
    gpu_over_row(e, l->accs.at, results, l->accs.n);
    emit_set_results(e, loop, results);
}

/* ------------------------------------------------------------ turns that count
 */

/* Which of the 32 turns that begin at `first` count: a thread asks for one. */
static LV turns_that_count(Emit *e, LoopId loop, LV first)
{
    LLVMBuilderRef b = e->s.b;
    const Loop *l = &e->k->loops.at[loop];
    LV i = LLVMBuildAdd(b, first, e->lane, ""),
       last = emit_iconst(e, l->hi - 1);
    LV in = LLVMBuildICmp(b, LLVMIntSLE, i, last, "");
    emit_enter(e, loop, LLVMBuildSelect(b, in, i, last, ""));
    emit_until(e, loop, l->when);
    return gpu_ballot(e, LLVMBuildAnd(b, in, e->vals[l->when.id], ""));
}

static void add_in_order(Emit *e, const Loop *l, const LV *sums)
{
    for (uint32_t a = 0; a < l->accs.n; a++) {
        const Acc *acc = &l->accs.at[a];
        LLVMTypeRef t = acc_type(e, acc, e->s.w);
        LV old = LLVMBuildLoad2(e->s.b, t, sums[a], "");
        LV x = emit_use(e, acc->value);
        LLVMBuildStore(e->s.b, acc_combine(e, acc, old, x, e->s.w), sums[a]);
    }
}

/* The turns of a mask, lowest bit first. */
static void run_turns(Emit *e, LoopId loop, LV first, LV mask, const LV *sums)
{
    LLVMBuilderRef b = e->s.b;
    LLVMTypeRef word = LLVMInt32TypeInContext(e->s.cx);
    LV left = emit_alloca(e, word, 1), none = LLVMConstInt(word, 0, false);
    LLVMBuildStore(b, mask, left);
    LLVMBasicBlockRef head = emit_block(e, "turns"),
                      body = emit_block(e, "turn"),
                      after = emit_block(e, "after");
    LLVMBuildBr(b, head);
    LLVMPositionBuilderAtEnd(b, head);
    LV bits = LLVMBuildLoad2(b, word, left, "");
    LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntNE, bits, none, ""), body,
                    after);
    LLVMPositionBuilderAtEnd(b, body);
    unsigned id = LLVMLookupIntrinsicID("llvm.cttz", 9);
    LV f = LLVMGetIntrinsicDeclaration(e->s.module, id, &word, 1);
    LV args[] = {bits, LLVMConstInt(LLVMInt1TypeInContext(e->s.cx), 1, false)};
    LV bit = LLVMBuildCall2(b, LLVMGlobalGetValueType(f), f, args, 2, "");
    LV less = LLVMBuildSub(b, bits, LLVMConstInt(word, 1, false), "");
    LLVMBuildStore(b, LLVMBuildAnd(b, bits, less, ""), left);
    bit = LLVMBuildZExtOrBitCast(b, bit, e->ity, "");
    emit_enter(e, loop, LLVMBuildAdd(b, first, bit, ""));
    emit_all(e, loop);
    add_in_order(e, &e->k->loops.at[loop], sums);
    LLVMBuildBr(b, head);
    LLVMPositionBuilderAtEnd(b, after);
}

static bool asks_alone(const Emit *e, const Loop *l)
{
    for (uint32_t i = 0; i < l->body.n; i++) {
        const NodeInfo *in = node_info(e->k, l->body.at[i]);
        if (in->op == KN_loop) return false;
        if (l->body.at[i].id == l->when.id) return true;
    }
    return false;
}

/* Threads ask for different turns whether they count, and then run those that
 * do together, in order.  The condition is the same for all lanes. */
bool gpu_row_turns(Emit *e, LoopId loop)
{
    const Loop *l = &e->k->loops.at[loop];
    if (!l->in_order || !l->when.id || e->row_threads < WARP ||
        !asks_alone(e, l))
        return false;
    LV *sums = NEW_ARRAY(e->k->arena, LV, l->accs.n);
    LV *results = NEW_ARRAY(e->k->arena, LV, l->accs.n);
    for (uint32_t a = 0; a < l->accs.n; a++) {
        const Acc *acc = &l->accs.at[a];
        sums[a] = emit_alloca(e, acc_type(e, acc, e->s.w), 1);
        LLVMBuildStore(e->s.b, acc_identity(e, acc, e->s.w), sums[a]);
    }
    LV masks[TOGETHER], first[TOGETHER];
    Count c = count_begin(e, loop_first(e, l), loop_end(e, l), TOGETHER * WARP);
    for (unsigned i = 0; i < TOGETHER; i++) {
        first[i] = LLVMBuildAdd(e->s.b, c.i, emit_iconst(e, i * WARP), "");
        masks[i] = turns_that_count(e, loop, first[i]);
    }
    for (unsigned i = 0; i < TOGETHER; i++)
        run_turns(e, loop, first[i], masks[i], sums);
    count_end(e, &c);
    for (uint32_t a = 0; a < l->accs.n; a++)
        results[a] = LLVMBuildLoad2(e->s.b, acc_type(e, &l->accs.at[a], e->s.w),
                                    sums[a], "");
    emit_set_results(e, loop, results);
    return true;
}
