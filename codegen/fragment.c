/*
 * fragment.c: the elements of an accumulator of the tensor cores as loops.
 *
 * A warpgroup's accumulator of 64 rows lies in registers so that each thread
 * has two rows, eight apart, and in each the same pairs of neighbouring
 * columns, eight apart.  A nest of rows and columns (kir.h) runs its nodes on
 * these elements: rows one after another, columns in vectors of a pair, all
 * unrolled.  So whatever a node can say (a mask, a bias read from memory, a
 * scale per row, a store) is said on accumulators too.
 *
 * Four threads share a row.  What they would store of four turns, a pair a
 * thread and turn, they exchange first, where elements have 16 bits: then each
 * stores the eight neighbours of one turn.
 */
#include "emit.h"

enum { PAIR = 2 };

static LV i32(const Emit *e, unsigned i)
{
    return LLVMConstInt(LLVMInt32TypeInContext(e->s.cx), i, false);
}

LV emit_piece(Emit *e, const NodeInfo *in)
{
    LV *at = e->pieces[in->n];
    if (!at) BUG("piece %lld of a fragment is not there", (long long)in->n);
    if (e->k->loops.at[in->loop].kind == LOOP_rows) return at[e->row_turn];
    unsigned reg = fragment_register(e->row_turn, e->column_turn);
    LV v = LLVMGetPoison(LLVMVectorType(LLVMTypeOf(at[reg]), PAIR));
    for (unsigned i = 0; i < PAIR; i++)
        v = LLVMBuildInsertElement(e->s.b, v, at[reg + i], i32(e, i), "");
    return v;
}

/* ------------------------------------------------------- what is left over */

static unsigned turns_of(const Loop *columns)
{
    return (unsigned)(columns->hi / FRAGMENT_STEP);
}

static unsigned kept_size(const Loop *columns, uint32_t acc)
{
    if (!columns->accs.at[acc].keep) return FRAGMENT_ROWS;
    return FRAGMENT_ROWS * PAIR * turns_of(columns);
}

LV *fragment_kept(const Emit *e, LoopId columns, uint32_t i)
{
    const Loop *l = &e->k->loops.at[columns];
    unsigned at = 0;
    for (uint32_t a = 0; a < i; a++)
        at += kept_size(l, a);
    return e->kept[columns] + at;
}

static void keep(Emit *e, LoopId columns, uint32_t acc)
{
    LV v = emit_use(e, e->k->loops.at[columns].accs.at[acc].value);
    unsigned reg = fragment_register(e->row_turn, e->column_turn);
    LV *out = fragment_kept(e, columns, acc);
    for (unsigned i = 0; i < PAIR; i++)
        out[reg + i] = LLVMBuildExtractElement(e->s.b, v, i32(e, i), "");
}

/* ------------------------------------------------------------------ stores */

enum { QUAD = 4, WHOLE = QUAD * PAIR };

static bool all_whole(Emit *e, LoopId loop)
{
    const Loop *l = &e->k->loops.at[loop];
    bool any = false;
    if (turns_of(l) % QUAD) return false;
    for (uint32_t i = 0; i < l->body.n; i++) {
        const NodeInfo *in = node_info(e->k, l->body.at[i]);
        if (in->op == KN_total || in->op == KN_loop) return false;
        if (in->op != KN_store) continue;
        any = true;
        if (dtype_bytes((DType)in->dtype) != 2 ||
            !emit_stores_whole(e, l->body.at[i], loop, WHOLE))
            return false;
    }
    return any;
}

/* A square of words, a row in each of the four threads: word t of thread q goes
 * to thread t as its word q. */
static void exchange(Emit *e, LV *x)
{
    LLVMBuilderRef b = e->s.b;
    LV q = LLVMBuildLShr(b, e->column, emit_iconst(e, 1), "");
    for (unsigned mask = 1; mask < QUAD; mask *= 2) {
        LV on = LLVMBuildAnd(b, q, emit_iconst(e, mask), "");
        on = LLVMBuildICmp(b, LLVMIntNE, on, emit_iconst(e, 0), "");
        for (unsigned t = 0; t < QUAD; t++) {
            if (t & mask) continue;
            LV *low = &x[t], *high = &x[t | mask];
            LV sent = LLVMBuildSelect(b, on, *low, *high, "");
            LV got = gpu_shuffle(e, SHUFFLE_xor, sent, i32(e, mask));
            *low = LLVMBuildSelect(b, on, got, *low, "");
            *high = LLVMBuildSelect(b, on, *high, got, "");
        }
    }
}

/* Of turns j .. j + 3, whose pairs are x: this thread's turn is the one of its
 * place in the row. */
static void store_whole(Emit *e, LoopId loop, Node n, unsigned j, LV *x)
{
    LLVMBuilderRef b = e->s.b;
    LLVMTypeRef word = LLVMInt32TypeInContext(e->s.cx), pair = LLVMTypeOf(x[0]);
    LV all = LLVMGetPoison(LLVMVectorType(word, QUAD));
    e->s.w = 1;
    for (unsigned t = 0; t < QUAD; t++)
        x[t] = LLVMBuildBitCast(b, x[t], word, "");
    exchange(e, x);
    for (unsigned t = 0; t < QUAD; t++)
        all = LLVMBuildInsertElement(b, all, x[t], i32(e, t), "");
    LLVMTypeRef whole = LLVMVectorType(LLVMGetElementType(pair), WHOLE);
    LV at = LLVMBuildMul(b, e->column, emit_iconst(e, QUAD), "");
    at = LLVMBuildNSWAdd(b, at, emit_iconst(e, (int64_t)j * FRAGMENT_STEP), "");
    emit_enter(e, loop, at);
    e->s.w = WHOLE;
    emit_store_value(e, n, LLVMBuildBitCast(b, all, whole, ""));
    e->s.w = PAIR;
}

/* ------------------------------------------------------------------- loops */

static void columns_turn(Emit *e, LoopId loop, LV *sums)
{
    const Loop *l = &e->k->loops.at[loop];
    LV at = emit_iconst(e, (int64_t)e->column_turn * FRAGMENT_STEP);
    emit_turn(e, loop, LLVMBuildNSWAdd(e->s.b, e->column, at, ""), NULL);
    for (uint32_t i = 0; i < l->accs.n; i++) {
        const Acc *a = &l->accs.at[i];
        if (a->keep) {
            keep(e, loop, i);
            continue;
        }
        LV x = emit_use(e, a->value);
        sums[i] = e->column_turn ? acc_combine(e, a, sums[i], x, PAIR) : x;
    }
}

/* Turns j .. j + 3; what they store, afterwards. */
static void turns_together(Emit *e, LoopId loop, unsigned j, LV *sums)
{
    const Loop *l = &e->k->loops.at[loop];
    LV *x = NEW_ARRAY(e->k->arena, LV, (size_t)l->body.n * QUAD);
    e->defers = true;
    for (unsigned t = 0; t < QUAD; t++) {
        e->column_turn = j + t;
        columns_turn(e, loop, sums);
        for (uint32_t i = 0; i < l->body.n; i++)
            x[QUAD * i + t] = e->vals[l->body.at[i].id];
    }
    e->defers = false;
    for (uint32_t i = 0; i < l->body.n; i++)
        if (node_info(e->k, l->body.at[i])->op == KN_store)
            store_whole(e, loop, l->body.at[i], j, &x[QUAD * i]);
}

void emit_fragment_columns(Emit *e, LoopId loop)
{
    const Loop *l = &e->k->loops.at[loop];
    LV *sums = NEW_ARRAY(e->k->arena, LV, (size_t)l->accs.n + 1);
    bool whole = all_whole(e, loop);
    e->s.w = PAIR;
    e->lanes = loop;
    e->aligned = true;
    for (unsigned j = 0; j < turns_of(l); j += whole ? QUAD : 1) {
        e->column_turn = j;
        if (whole)
            turns_together(e, loop, j, sums);
        else
            columns_turn(e, loop, sums);
    }
    e->s.w = 1;
    e->lanes = 0;
    e->aligned = false;
    for (uint32_t i = 0; i < l->accs.n; i++)
        if (!l->accs.at[i].keep)
            fragment_kept(e, loop, i)[e->row_turn] =
                fold_vector(e, &l->accs.at[i], sums[i], PAIR);
}

static void make_room(Emit *e, LoopId columns)
{
    const Loop *l = &e->k->loops.at[columns];
    unsigned n = 1;
    for (uint32_t i = 0; i < l->accs.n; i++)
        n += kept_size(l, i);
    e->kept[columns] = NEW_ARRAY(e->k->arena, LV, n);
}

void emit_fragment(Emit *e, LoopId rows)
{
    const Kir *k = e->k;
    for (uint32_t i = rows + 1; i < k->loops.n; i++)
        if (k->loops.at[i].parent == rows &&
            k->loops.at[i].kind == LOOP_columns)
            make_room(e, i);
    for (unsigned r = 0; r < FRAGMENT_ROWS; r++) {
        e->row_turn = r;
        LV at = emit_iconst(e, (int64_t)r * FRAGMENT_STEP);
        emit_turn(e, rows, LLVMBuildNSWAdd(e->s.b, e->row, at, ""), NULL);
        if (r == 0 && e->halfway.fn) e->halfway.fn(e->halfway.of);
    }
}
