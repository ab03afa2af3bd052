/*
 * gpu_tile.c: loops of tiles (tile.c) mapped to the threads of a warp.
 *
 * Of a sweep's 32 columns at a time each thread has one.  A dot is the
 * thread's own, several terms in a vector.  For a contraction with a side the
 * warp turns round: the columns come one after another, their pairs are
 * handed out by shuffles, and each thread adds to a few neighbours of the
 * vector of each row.
 */
#include "emit.h"

enum { TERMS = 8, TOGETHER = 4 };

/* Code for w neighbours of a loop's variable at once. */
static void take(Emit *e, LoopId loop, unsigned w)
{
    e->s.w = w;
    e->lanes = w > 1 ? loop : 0;
    e->aligned = w > 1;
}

static void take_one(Emit *e)
{
    take(e, 0, 1);
}

/* slot += value * by, with one rounding. */
static void add_product(Emit *e, const Acc *a, LV slot, LV x, LV y, unsigned w)
{
    LV old = LLVMBuildLoad2(e->s.b, acc_type(e, a, w), slot, "");
    LV sum = site_call(&e->s, "llvm.fma", (LV[]){x, y, old}, 3);
    LLVMBuildStore(e->s.b, sum, slot);
}

static LV *slots_of(Emit *e, const Loop *l, unsigned w)
{
    LV *slots = NEW_ARRAY(e->k->arena, LV, l->accs.n);
    for (uint32_t i = 0; i < l->accs.n; i++) {
        slots[i] = emit_alloca(e, acc_type(e, &l->accs.at[i], w), 1);
        LLVMBuildStore(e->s.b, acc_identity(e, &l->accs.at[i], w), slots[i]);
    }
    return slots;
}

static void read_slots(Emit *e, const Loop *l, const LV *slots, unsigned w,
                       LV *out)
{
    for (uint32_t i = 0; i < l->accs.n; i++)
        out[i] = LLVMBuildLoad2(e->s.b, acc_type(e, &l->accs.at[i], w),
                                slots[i], "");
}

/* -------------------------------------------------------------------- dots */

static void emit_dot(Emit *e, LoopId loop)
{
    const Loop *l = &e->k->loops.at[loop];
    unsigned w = TERMS;
    while (l->hi % w)
        w /= 2;
    LV *slots = slots_of(e, l, w);
    LV *results = NEW_ARRAY(e->k->arena, LV, l->accs.n);
    take(e, loop, w);
    Count c = count_begin(e, emit_iconst(e, 0), emit_iconst(e, l->hi), w);
    emit_turn(e, loop, c.i, c.latch);
    for (uint32_t i = 0; i < l->accs.n; i++) {
        const Acc *a = &l->accs.at[i];
        add_product(e, a, slots[i], emit_use(e, a->value), emit_use(e, a->by),
                    w);
    }
    count_end(e, &c);
    take_one(e);
    read_slots(e, l, slots, w, results);
    for (uint32_t i = 0; w > 1 && i < l->accs.n; i++)
        results[i] = fold_vector(e, &l->accs.at[i], results[i], w);
    emit_set_results(e, loop, results);
}

/* ------------------------------------------------------------------- wide */

/* The neighbours of this thread; past the end those of the last that has any,
 * which are then not stored. */
static void emit_wide(Emit *e, LoopId loop)
{
    const Loop *l = &e->k->loops.at[loop];
    int64_t w = tile_lanes(l->hi);
    LV at = LLVMBuildMul(e->s.b, e->lane, emit_iconst(e, w), "");
    e->active = NULL;
    if (l->hi / w < WARP) {
        LV last = emit_iconst(e, l->hi - w);
        e->active = LLVMBuildICmp(e->s.b, LLVMIntSLE, at, last, "");
        at = LLVMBuildSelect(e->s.b, e->active, at, last, "");
    }
    take(e, loop, (unsigned)w);
    emit_turn(e, loop, at, NULL);
    /* of an outer loop, which goes on in this width */
    if (e->k->loops.at[l->parent].kind != LOOP_outer) take_one(e);
}

/* ------------------------------------------------------------------- outer */

static LoopId child(const Kir *k, LoopId loop)
{
    for (uint32_t i = loop + 1; i < k->loops.n; i++)
        if (k->loops.at[i].parent == loop) return i;
    BUG("an outer loop without a vector");
}

static unsigned outer_width(const Kir *k, LoopId outer)
{
    return (unsigned)tile_lanes(k->loops.at[child(k, outer)].hi);
}

/* One column: the pairs of the thread that has it times the side's vector. */
static void outer_column(Emit *e, LoopId loop, LV at, const LV *pairs)
{
    const Loop *l = &e->k->loops.at[loop];
    unsigned w = outer_width(e->k, loop);
    LV column = LLVMBuildAdd(e->s.b, e->first, at, "");
    emit_turn(e, loop, column, NULL);
    LLVMTypeRef word = LLVMInt32TypeInContext(e->s.cx);
    LV from = LLVMBuildIntCast2(e->s.b, at, word, false, "");
    for (uint32_t i = 0; i < l->accs.n; i++) {
        const Acc *a = &l->accs.at[i];
        LV p = gpu_shuffle(e, SHUFFLE_from, pairs[i], from);
        add_product(e, a, e->held[loop][i], site_splat(&e->s, p),
                    emit_use(e, a->value), w);
    }
    take_one(e);
}

static void emit_outer(Emit *e, LoopId loop)
{
    const Loop *l = &e->k->loops.at[loop];
    LLVMBuilderRef b = e->s.b;
    LV *pairs = NEW_ARRAY(e->k->arena, LV, l->accs.n);
    for (uint32_t i = 0; i < l->accs.n; i++) {
        pairs[i] = emit_use(e, l->accs.at[i].by);
        if (e->valid)
            pairs[i] = LLVMBuildSelect(b, e->valid, pairs[i],
                                       LLVMConstNull(LLVMTypeOf(pairs[i])), "");
    }
    bool whole = l->hi % WARP == 0;
    LV n = emit_iconst(e, WARP);
    if (!whole) {
        LV rest = LLVMBuildSub(b, emit_iconst(e, l->hi), e->first, "");
        LV less = LLVMBuildICmp(b, LLVMIntSLT, rest, n, "");
        n = LLVMBuildSelect(b, less, rest, n, "");
    }
    int64_t step = whole ? TOGETHER : 1;
    Count c = count_begin(e, emit_iconst(e, 0), n, step);
    for (int64_t u = 0; u < step; u++)
        outer_column(e, loop, LLVMBuildAdd(b, c.i, emit_iconst(e, u), ""),
                     pairs);
    count_end(e, &c);
}

/* ------------------------------------------------------------------- sweeps */

static void sweep_columns(Emit *e, LoopId loop, const LV *slots)
{
    const Loop *l = &e->k->loops.at[loop];
    LLVMBuilderRef b = e->s.b;
    LV n = emit_iconst(e, l->hi), last = emit_iconst(e, l->hi - 1);
    Count c = count_begin(e, emit_iconst(e, 0), n, WARP);
    LV mine = LLVMBuildAdd(b, c.i, e->lane, "");
    e->first = c.i;
    e->valid = NULL;
    if (l->hi % WARP) {
        e->valid = LLVMBuildICmp(b, LLVMIntSLE, mine, last, "");
        mine = LLVMBuildSelect(b, e->valid, mine, last, "");
    }
    emit_turn(e, loop, mine, c.latch);
    for (uint32_t i = 0; i < l->accs.n; i++) {
        const Acc *a = &l->accs.at[i];
        LV x = emit_use(e, a->value);
        if (e->valid)
            x = LLVMBuildSelect(b, e->valid, x, acc_identity(e, a, 1), "");
        LV old = LLVMBuildLoad2(b, acc_type(e, a, 1), slots[i], "");
        LLVMBuildStore(b, acc_combine(e, a, old, x, 1), slots[i]);
    }
    count_end(e, &c);
}

static void emit_sweep(Emit *e, LoopId loop)
{
    const Kir *k = e->k;
    const Loop *l = &k->loops.at[loop];
    for (uint32_t i = loop + 1; i < k->loops.n; i++)
        if (k->loops.at[i].parent == loop && k->loops.at[i].kind == LOOP_outer)
            e->held[i] = slots_of(e, &k->loops.at[i], outer_width(k, i));
    LV *slots = slots_of(e, l, 1);
    sweep_columns(e, loop, slots);
    LV *results = NEW_ARRAY(k->arena, LV, l->accs.n);
    read_slots(e, l, slots, 1, results);
    for (uint32_t i = 0; i < l->accs.n; i++)
        results[i] = gpu_over_warp(e, &l->accs.at[i], results[i], 1);
    emit_set_results(e, loop, results);
    for (uint32_t i = loop + 1; i < k->loops.n; i++) {
        if (!e->held[i] || k->loops.at[i].parent != loop) continue;
        const Loop *outer = &k->loops.at[i];
        LV *vectors = NEW_ARRAY(k->arena, LV, outer->accs.n);
        read_slots(e, outer, e->held[i], outer_width(k, i), vectors);
        emit_set_results(e, i, vectors);
    }
}

void emit_tile_loop(Emit *e, LoopId loop)
{
    switch (e->k->loops.at[loop].kind) {
    case LOOP_sweep:
        emit_sweep(e, loop);
        return;
    case LOOP_dot:
        emit_dot(e, loop);
        return;
    case LOOP_outer:
        emit_outer(e, loop);
        return;
    default:
        emit_wide(e, loop);
        return;
    }
}
