/*
 * gpu_both.c: a matrix in both orders (both.c), mapped to the blocks of a GPU.
 *
 * A block of threads takes a tile of ROWS rows and LANES columns, which has
 * whole blocks of either, and makes each element of the matrix once:
 *
 *                 lanes
 *           +---------------+        each thread holds w lanes of a few rows;
 *     rows  | . . w . . . . |        threads beside each other make the maxima
 *           | . . w . . . . |        of blocks of their rows
 *           +---------------+
 *           | m m m m m m m |        a thread for each lane of a block of rows,
 *           +---------------+        and for each row of a block of columns,
 *           +---------------+        makes of maxima what the sweep needs
 *           | . . w . . . . |
 *           | . . w . . . . |        all make what is stored of the elements
 *           +---------------+        that they hold
 *
 * Where a GPU has places for all tiles at once, more threads hold fewer rows
 * each: the tiles of a processor are in step, so that none hides what another
 * waits for.
 *
 * Results lie along the lanes, or along the rows: these go through shared
 * memory (gpu_turned.c).
 */
#include <string.h>

#include "gpu_both.h"
#include "gpu_rows.h"

/* ---------------------------------------------------------------- the tile */

typedef struct Run {
    Emit *e;
    const Both *b;
    Tile t;
    LV *held; /* by turn */
} Run;

/* Of a body what is made then, without its loops and stores. */
static void emit_part(const Run *r, LoopId loop, MadeWhen when)
{
    const Kir *k = r->e->k;
    for (uint32_t i = 1; i < k->nodes.n; i++) {
        const NodeInfo *in = &k->nodes.at[i];
        if (in->loop == loop)
            r->e->skips[i] = r->b->when[i] != when || in->op == KN_loop ||
                             in->op == KN_store || in->op == KN_result;
    }
    emit_straight(r->e, loop);
}

/* ------------------------------------------------------------ the elements */

static bool is_load(const Kir *k, const NodeInfo *in)
{
    (void)k;
    return in->op == KN_load;
}

static bool is_no_load(const Kir *k, const NodeInfo *in)
{
    return !is_load(k, in) && in->op != KN_loop;
}

static void set_element(const Run *r, Node element, LV v)
{
    r->e->vals[element.id] = v;
    r->e->wide[element.id] = true;
}

static void enter_turn(const Run *r, int64_t turn)
{
    LV exists;
    turned_enter(r->e, &r->t, turned_row(r->e, &r->t, turn, &exists),
                 r->e->chunk);
}

/* Loads of all turns are in flight at once. */
static void make_elements(Run *r)
{
    Emit *e = r->e;
    const Kir *k = e->k;
    uint32_t n = k->nodes.n, at = r->b->element.id;
    LV **loaded = NEW_ARRAY(k->arena, LV *, r->t.turns);
    LV exists;
    turned_take_lanes(e, &r->t);
    e->chunk = turned_lane(e, &r->t, &exists);
    enter_turn(r, 0);
    emit_part(r, ITEMS_LOOP, MADE_below);
    emit_part(r, LANES_LOOP, MADE_below);
    for (uint32_t i = 1; i < n; i++)
        e->skips[i] = r->b->when[i] != MADE_below;
    for (int64_t i = 0; i < r->t.turns; i++) {
        enter_turn(r, i);
        emit_some(e, SWEEP_LOOP, is_load);
        loaded[i] = NEW_ARRAY(k->arena, LV, n);
        memcpy(loaded[i], e->vals, n * sizeof(LV));
    }
    for (int64_t i = 0; i < r->t.turns; i++) {
        enter_turn(r, i);
        memcpy(e->vals, loaded[i], n * sizeof(LV));
        emit_some(e, SWEEP_LOOP, is_no_load);
        r->held[i] = e->wide[at] ? e->vals[at] : site_splat(&e->s, e->vals[at]);
    }
}

/* ------------------------------------------------------------------ maxima */

/* What is put together of an element, at its lanes. */
static LV of_element(const Run *r, LoopId loop, uint32_t acc, int64_t turn)
{
    set_element(r, r->b->maxima[loop].element, r->held[turn]);
    emit_part(r, loop, MADE_last);
    return emit_use(r->e, r->e->k->loops.at[loop].accs.at[acc].value);
}

/* Of the columns of a block, in all threads that have some of them. */
static LV over_block(const Run *r, LoopId loop, const Acc *acc, LV x)
{
    Emit *e = r->e;
    int64_t threads = r->b->maxima[loop].columns / r->t.w;
    LLVMTypeRef word = LLVMInt32TypeInContext(e->s.cx);
    x = fold_vector(e, acc, x, (unsigned)r->t.w);
    for (int64_t i = 1; i < threads; i *= 2)
        x = acc_combine(e, acc, x,
                        gpu_shuffle(e, SHUFFLE_xor, x,
                                    LLVMConstInt(word, (uint64_t)i, false)),
                        1);
    return x;
}

/* Maximum `at` of a row, or of a row of threads. */
static LV maximum_at(const Run *r, LoopId loop, uint32_t acc, LV row, LV at)
{
    const Maxima *x = &r->b->maxima[loop];
    int64_t behind = x->at + acc * x->n * x->rows * SLOT;
    return turned_slot(r->e, behind, plus(r->e, times(r->e, row, x->n), at));
}

/* Of each row of the thread, by the first thread of a block of columns. */
static void leave_rows(const Run *r, LoopId loop, LV *const *most)
{
    Emit *e = r->e;
    LLVMBuilderRef b = e->s.b;
    int64_t threads = r->b->maxima[loop].columns / r->t.w;
    LV at = LLVMBuildUDiv(b, r->t.column, number(e, threads), "");
    LV first = LLVMBuildURem(b, r->t.column, number(e, threads), "");
    first = LLVMBuildICmp(b, LLVMIntEQ, first, number(e, 0), "");
    LLVMBasicBlockRef on = emit_when(e, first, "first");
    for (uint32_t a = 0; a < e->k->loops.at[loop].accs.n; a++)
        for (int64_t i = 0; i < r->t.turns; i++) {
            LV row = plus(e, times(e, r->t.row, r->t.turns), number(e, i));
            LLVMBuildStore(b, most[a][i], maximum_at(r, loop, a, row, at));
        }
    emit_on(e, on);
}

/* Of all rows of the thread: of its columns, or of the block of both. */
static void leave_columns(const Run *r, LoopId loop, LV *const *most)
{
    Emit *e = r->e;
    const Loop *l = &e->k->loops.at[loop];
    const Maxima *x = &r->b->maxima[loop];
    bool columns = x->way == WAY_columns;
    LV at = times(e, r->t.column, r->t.w);
    if (!columns) at = LLVMBuildUDiv(e->s.b, at, number(e, x->columns), "");
    for (uint32_t a = 0; a < l->accs.n; a++) {
        LV v = most[a][0];
        if (!columns) v = over_block(r, loop, &l->accs.at[a], v);
        LV st = LLVMBuildStore(e->s.b, v, maximum_at(r, loop, a, r->t.row, at));
        LLVMSetAlignment(st, columns ? 4 * SLOT : SLOT);
    }
}

/* Row by row, so that what several maxima are of is made once. */
static void make_maxima(const Run *r)
{
    Emit *e = r->e;
    const Kir *k = e->k;
    LV **most[MOST_LOOP] = {0};
    for (LoopId l = MAXIMA_LOOPS; l < k->loops.n; l++) {
        uint32_t n = k->loops.at[l].accs.n;
        most[l] = NEW_ARRAY(k->arena, LV *, n);
        for (uint32_t a = 0; a < n; a++)
            most[l][a] = NEW_ARRAY(k->arena, LV, r->t.turns);
    }
    for (int64_t i = 0; i < r->t.turns; i++)
        for (LoopId l = MAXIMA_LOOPS; l < k->loops.n; l++)
            for (uint32_t a = 0; a < k->loops.at[l].accs.n; a++) {
                const Acc *acc = &k->loops.at[l].accs.at[a];
                LV x = of_element(r, l, a, i), *at = most[l][a];
                if (r->b->maxima[l].way == WAY_rows)
                    at[i] = over_block(r, l, acc, x);
                else
                    at[0] = i ? acc_combine(e, acc, at[0], x, e->s.w) : x;
            }
    for (LoopId l = MAXIMA_LOOPS; l < k->loops.n; l++) {
        if (r->b->maxima[l].same != l) continue;
        if (r->b->maxima[l].way == WAY_rows)
            leave_rows(r, l, most[l]);
        else
            leave_columns(r, l, most[l]);
    }
}

/* ------------------------------------------------------ a lane of an item */

/* The maxima of all threads that have the item. */
static void set_maxima(const Run *r, LoopId loop, LV item, LV lane)
{
    Emit *e = r->e;
    const Loop *l = &e->k->loops.at[loop];
    LV *all = NEW_ARRAY(e->k->arena, LV, l->accs.n);
    int64_t n = r->t.each / r->t.turns;
    const Maxima *of = &r->b->maxima[loop];
    if (of->way != WAY_columns)
        lane = LLVMBuildUDiv(e->s.b, lane, number(e, of->columns), "");
    for (uint32_t a = 0; a < l->accs.n; a++) {
        const Acc *acc = &l->accs.at[a];
        for (int64_t i = 0; i < n; i++) {
            LV row = plus(e, times(e, item, n), number(e, i));
            LV x = LLVMBuildLoad2(e->s.b, acc_type(e, acc, 1),
                                  maximum_at(r, loop, a, row, lane), "");
            all[a] = i ? acc_combine(e, acc, all[a], x, 1) : x;
        }
    }
    emit_set_results(e, loop, all);
}

/* Value number i of lane u of the items, or of row u of the blocks. */
static LV value_at(const Run *r, MadeWhen of, uint32_t i, LV u)
{
    return turned_slot(r->e, r->b->at[of] + i * r->b->n[of] * SLOT, u);
}

static bool is_shared(const Run *r, MadeWhen of, uint32_t node)
{
    return r->b->shared[node] && r->b->when[node] == of;
}

static void share_values(const Run *r, MadeWhen of, LV u)
{
    uint32_t n = 0;
    Emit *e = r->e;
    for (uint32_t i = 1; i < e->k->nodes.n; i++)
        if (is_shared(r, of, i))
            LLVMBuildStore(e->s.b, e->vals[i], value_at(r, of, n++, u));
}

/* What is stored once for a block, where that exists. */
static void store_blocks(const Run *r, LoopId loop, LV exists)
{
    Emit *e = r->e;
    LLVMBasicBlockRef on = emit_when(e, exists, "exists");
    for (uint32_t i = 1; i < e->k->nodes.n; i++)
        if (e->k->nodes.at[i].op == KN_store &&
            e->k->nodes.at[i].loop == loop && !both_stores_elements(e->k, i))
            emit_store(e, &e->k->nodes.at[i]);
    emit_on(e, on);
}

/* Lane u of the items of the tile: all that is no part of a sweep. */
static void make_lane(const Run *r, LV u)
{
    Emit *e = r->e;
    LLVMBuilderRef b = e->s.b;
    const Kir *k = e->k;
    LV item = LLVMBuildUDiv(b, u, number(e, LANES), ""), has_item;
    LV lane = LLVMBuildURem(b, u, number(e, LANES), ""), has_lane;
    LV first = LLVMBuildUDiv(b, r->t.first_row, number(e, r->t.each), "");
    LV at = turned_below(e, plus(e, first, item), k->rows, &has_item);
    emit_enter(e, ITEMS_LOOP, at);
    emit_part(r, ITEMS_LOOP, MADE_lanes);
    at = turned_below(e, plus(e, r->t.first_lane, lane),
                      k->loops.at[LANES_LOOP].hi, &has_lane);
    emit_enter(e, LANES_LOOP, at);
    for (LoopId i = MAXIMA_LOOPS; i < k->loops.n; i++)
        if (r->b->maxima[i].way != WAY_rows) set_maxima(r, i, item, lane);
    emit_part(r, LANES_LOOP, MADE_lanes);
    share_values(r, MADE_lanes, u);
    store_blocks(r, LANES_LOOP, LLVMBuildAnd(b, has_item, has_lane, ""));
}

/* Row u of the blocks of columns of the tile. */
static void make_row(const Run *r, LV u)
{
    Emit *e = r->e;
    LLVMBuilderRef b = e->s.b;
    const Kir *k = e->k;
    const Maxima *of = &r->b->maxima[r->b->rows];
    LV row = LLVMBuildUDiv(b, u, number(e, of->n), ""), has_row, has_lane;
    LV block = LLVMBuildURem(b, u, number(e, of->n), "");
    LV lane = plus(e, r->t.first_lane, times(e, block, of->columns));
    LV at = turned_below(e, plus(e, r->t.first_row, row), r->t.rows, &has_row);
    lane = turned_below(e, lane, k->loops.at[LANES_LOOP].hi, &has_lane);
    turned_enter(e, &r->t, at, lane);
    for (LoopId i = MAXIMA_LOOPS; i < k->loops.n; i++) {
        LV *all = NEW_ARRAY(k->arena, LV, k->loops.at[i].accs.n + 1);
        if (r->b->maxima[i].way != WAY_rows) continue;
        for (uint32_t a = 0; a < k->loops.at[i].accs.n; a++)
            all[a] =
                LLVMBuildLoad2(b, acc_type(e, &k->loops.at[i].accs.at[a], 1),
                               maximum_at(r, i, a, row, block), "");
        emit_set_results(e, i, all);
    }
    emit_part(r, SWEEP_LOOP, MADE_rows);
    share_values(r, MADE_rows, u);
    for (uint32_t i = 1; i < k->nodes.n; i++)
        if (k->nodes.at[i].op == KN_divides)
            e->vals[i] = LLVMConstInt(LLVMInt1TypeInContext(e->s.cx), 1, false);
    store_blocks(r, SWEEP_LOOP, LLVMBuildAnd(b, has_row, has_lane, ""));
}

static void make_each(const Run *r, int64_t all,
                      void (*make)(const Run *r, LV u))
{
    Emit *e = r->e;
    LLVMBuilderRef b = e->s.b;
    for (int64_t from = 0; from < all; from += r->t.threads) {
        LV u = plus(e, r->t.tid, number(e, from));
        LLVMBasicBlockRef on = emit_when(
            e, LLVMBuildICmp(b, LLVMIntSLT, u, number(e, all), ""), "lane");
        make(r, u);
        emit_on(e, on);
    }
}

/* ---------------------------------------------------------------- the sweep */

/* Values of the thread's lanes. */
static void read_values(const Run *r)
{
    uint32_t n = 0;
    Emit *e = r->e;
    int64_t threads = r->t.each / r->t.turns;
    LV item = LLVMBuildUDiv(e->s.b, r->t.row, number(e, threads), "");
    LV u = plus(e, times(e, item, LANES), times(e, r->t.column, r->t.w));
    LLVMTypeRef type = site_type(&e->s, dtype_reg(&e->s, DT_f32));
    for (uint32_t i = 1; i < e->k->nodes.n; i++) {
        if (!is_shared(r, MADE_lanes, i)) continue;
        e->vals[i] =
            LLVMBuildLoad2(e->s.b, type, value_at(r, MADE_lanes, n++, u), "");
        LLVMSetAlignment(e->vals[i], 4 * SLOT);
        e->wide[i] = true;
    }
    for (uint32_t i = 1; i < e->k->nodes.n; i++) {
        e->vals[i] = e->vals[r->b->same[i]];
        e->wide[i] = e->wide[r->b->same[i]];
    }
}

/* Values of a row of the thread. */
static void read_row(const Run *r, int64_t turn)
{
    uint32_t n = 0;
    Emit *e = r->e;
    const Maxima *of = &r->b->maxima[r->b->rows];
    if (!r->b->rows) return;
    int64_t threads = of->columns / r->t.w;
    LV row = plus(e, times(e, r->t.row, r->t.turns), number(e, turn));
    LV u = plus(e, times(e, row, of->n),
                LLVMBuildUDiv(e->s.b, r->t.column, number(e, threads), ""));
    LLVMTypeRef type = dtype_reg(&e->s, DT_f32);
    for (uint32_t i = 1; i < e->k->nodes.n; i++) {
        if (!is_shared(r, MADE_rows, i)) continue;
        e->vals[i] =
            LLVMBuildLoad2(e->s.b, type, value_at(r, MADE_rows, n++, u), "");
        e->wide[i] = false;
    }
}

/* As it was found for the maxima; threads that hold many make it again of what
 * they hold. */
static LV element_again(const Run *r, int64_t turn)
{
    LV held = r->held[turn];
    return r->t.threads == MORE_THREADS ? held : gpu_opaque(r->e, held);
}

/* What lies along the lanes is stored at once. */
static void make_turn(Run *r, int64_t turn)
{
    Emit *e = r->e;
    const Kir *k = e->k;
    turned_take_lanes(e, &r->t);
    enter_turn(r, turn);
    set_element(r, r->b->element, element_again(r, turn));
    read_row(r, turn);
    emit_part(r, SWEEP_LOOP, MADE_last);
    for (uint32_t n = 1; n < k->nodes.n; n++) {
        const NodeInfo *in = &k->nodes.at[n];
        if (!both_stores_elements(k, n)) continue;
        LV **made = &r->t.made[n];
        if (!*made) *made = NEW_ARRAY(k->arena, LV, r->t.turns);
        (*made)[turn] = emit_use(e, in->b);
        if (turned_crosses(k, n)) continue;
        turned_store_along(e, &r->t, n, turn);
        turned_take_lanes(e, &r->t);
        enter_turn(r, turn);
    }
}

void gpu_both_items(Emit *e, LV tid, LV block)
{
    LV exists;
    const Kir *k = e->k;
    const Both both = both_of(k);
    Run r = {.e = e, .b = &both, .t = turned_tile(e, tid, block, SWEEP_LOOP)};
    r.held = NEW_ARRAY(k->arena, LV, r.t.turns);
    make_elements(&r);
    make_maxima(&r);
    gpu_barrier(e);
    turned_take_one(e);
    make_each(&r, both.n[MADE_lanes], make_lane);
    make_each(&r, both.n[MADE_rows], make_row);
    gpu_barrier(e);
    /* places are found again: registers hold the elements */
    r.t.row = gpu_opaque(e, r.t.row);
    r.t.column = gpu_opaque(e, r.t.column);
    turned_take_lanes(e, &r.t);
    e->chunk = turned_lane(e, &r.t, &exists);
    read_values(&r);
    for (int64_t i = 0; i < r.t.turns; i++)
        make_turn(&r, i);
    turned_take_one(e);
    turned_store_across(e, &r.t);
}
