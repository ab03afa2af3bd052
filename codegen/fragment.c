/*
 * fragment.c: the elements of an accumulator of the tensor cores as loops.
 *
 * A warpgroup's accumulator of 64 rows lies in registers so that each thread
 * has two rows, eight apart, and in each the same pairs of neighbouring
 * columns, eight apart.  A nest of rows and columns (kir.h) runs its nodes on
 * these elements: rows one after another, columns in vectors of a pair, all
 * unrolled.  So whatever a node can say (a mask, a bias read from memory, a
 * scale per row, a store) is said on accumulators too.
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

void emit_fragment_columns(Emit *e, LoopId loop)
{
    const Loop *l = &e->k->loops.at[loop];
    LV *sums = NEW_ARRAY(e->k->arena, LV, (size_t)l->accs.n + 1);
    e->s.w = PAIR;
    e->lanes = loop;
    e->aligned = true;
    for (unsigned j = 0; j < turns_of(l); j++) {
        e->column_turn = j;
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
    }
}
