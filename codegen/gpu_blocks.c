/*
 * gpu_blocks.c: blocks of rows that share a scale, mapped to the blocks of a
 * GPU.
 *
 * Such a kernel sweeps the rows of an item twice, lane by lane: for maxima, and
 * for what is made with them.  A block of threads takes a tile of ROWS rows,
 * those of one item or of a few, and reads them once:
 *
 *                 lanes
 *           +---------------+        each thread holds w lanes of a few rows
 *     rows  | . . w . . . . |        as they were loaded, and their maxima;
 *           | . . w . . . . |
 *           +---------------+
 *           | m m m m m m m |        a thread for each lane of an item makes of
 *           +---------------+        all threads' what the sweep needs;
 *           +---------------+
 *           | . . w . . . . |        all make the results of the rows that
 *           +---------------+        they hold
 *
 * Where a GPU has places for all tiles at once, they have half as many lanes:
 * of two that are in step with all others a processor would only wait.
 *
 * Results lie along the lanes, or along the rows: these go through shared
 * memory (gpu_turned.c).
 */
#include <string.h>

#include "gpu_rows.h"
#include "gpu_turned.h"

/* Of a tile; lanes where tiles are few. */
enum { LANES = TURNED_LANES, FEW_LANES = 64, ROWS = 128 };
enum { THREADS = TURNED_THREADS };
enum { SLOT = TURNED_SLOT, MOST_ROOM = 48 << 10, MOST_HELD = 384 };
/* Loops, and there are no others; the last two are in the lanes. */
enum { ITEMS_LOOP = 1, LANES_LOOP, INNER_LOOPS, LOOPS = 5 };

/* ---------------------------------------------------------------- the grid */

static const Loop *lanes_of(const Kir *k)
{
    return &k->loops.at[LANES_LOOP];
}

/* Of the two loops inside the lanes, the one that makes maxima, and the other.
 */
static LoopId maxima_id(const Kir *k)
{
    return k->loops.at[INNER_LOOPS].accs.n ? INNER_LOOPS : INNER_LOOPS + 1;
}

static LoopId sweep_id(const Kir *k)
{
    return 2 * INNER_LOOPS + 1 - maxima_id(k);
}

static const Loop *maxima_of(const Kir *k)
{
    return &k->loops.at[maxima_id(k)];
}

static const Loop *sweep_of(const Kir *k)
{
    return &k->loops.at[sweep_id(k)];
}

static bool is_plain_loop(const Loop *l, LoopKind kind, LoopId parent)
{
    return l->kind == kind && l->parent == parent && !l->lo && !l->when.id &&
           !l->from.id && !l->to.id && !l->reverse && !l->scans &&
           !l->in_order && !l->walks;
}

static bool has_loops(const Kir *k)
{
    if (!k->across || k->tile || k->tensor || k->loops.n != LOOPS) return false;
    const Loop *maxima = maxima_of(k), *sweep = sweep_of(k);
    for (uint32_t a = 0; a < maxima->accs.n; a++)
        if (maxima->accs.at[a].kind != ACC_max ||
            maxima->accs.at[a].dtype != DT_f32)
            return false;
    return is_plain_loop(lanes_of(k), LOOP_lanes, ITEMS_LOOP) &&
           is_plain_loop(maxima, LOOP_seq, LANES_LOOP) &&
           is_plain_loop(sweep, LOOP_seq, LANES_LOOP) &&
           maxima->hi == sweep->hi && maxima->accs.n && !sweep->accs.n;
}

static bool is_held(const Kir *k, Node node)
{
    const NodeInfo *in = node_info(k, node);
    for (uint32_t i = 1; i < k->nodes.n; i++) {
        const NodeInfo *by = &k->nodes.at[i];
        if (by->loop == maxima_id(k) &&
            node_alike(k, (Node){i}, by->loop, node, in->loop))
            return true;
    }
    return false;
}

/* Whether what is loaded has a part in an index that is not loaded itself. */
static bool is_chosen_by_more(const Kir *k, Ix x)
{
    const IxInfo *of = ix_info(k, x);
    for (uint32_t i = 0; i < of->n; i++) {
        const Atom *a = &k->atoms.at[of->terms[i].atom];
        if (a->kind == ATOM_node ? node_info(k, a->node)->op != KN_load
                                 : a->kind != ATOM_var && ix_chosen(k, a->of))
            return true;
    }
    return false;
}

/* A load or a store of neighbours, or a load of one for all lanes, as that of
 * an id which chooses a row; the sweep loads what the maxima were made of. */
static bool fits(const Kir *k, uint32_t node)
{
    const NodeInfo *in = &k->nodes.at[node];
    bool load = in->op == KN_load, sweeps = in->loop == sweep_id(k);
    int64_t coef;
    if (in->op == KN_total || in->op == KN_scan) return false;
    if (!load && in->op != KN_store) return true;
    if (is_chosen_by_more(k, in->ix) || node_uses(k, in->a, LANES_LOOP) ||
        (!load && (in->a.id || ix_chosen(k, in->ix))))
        return false;
    if (in->loop < INNER_LOOPS) return true;
    if (!load && turned_crosses(k, node)) return true;
    if (!ix_steps(k, in->ix, LANES_LOOP, k->width, &coef)) return false;
    if (load && coef == 0) return true;
    return coef == 1 && gpu_is_whole(k, in, LANES_LOOP) &&
           (load ? !sweeps || is_held(k, (Node){node}) : sweeps);
}

/* A value of a lane that the sweep reads. */
static bool is_shared(const Kir *k, uint32_t node)
{
    if (k->nodes.at[node].loop != LANES_LOOP) return false;
    for (uint32_t i = 1; i < k->nodes.n; i++) {
        const NodeInfo *in = &k->nodes.at[i];
        if (in->loop == sweep_id(k) &&
            (in->a.id == node || in->b.id == node || in->c.id == node))
            return true;
    }
    return false;
}

static uint32_t count_shared(const Kir *k)
{
    uint32_t n = 0;
    for (uint32_t i = 1; i < k->nodes.n; i++)
        n += is_shared(k, i);
    return n;
}

/* Lanes of the items of a tile of so many lanes. */
static int64_t lanes_of_items(const Kir *k, int64_t lanes)
{
    return ROWS / sweep_of(k)->hi * lanes;
}

/* Rows of a thread. */
static int64_t turns_with(const Kir *k, int64_t lanes)
{
    return ROWS * lanes / k->width / THREADS;
}

/* Shared memory: crossing results, maxima by threads, values of lanes. */
static int64_t maxima_at(const Kir *k, int64_t lanes)
{
    return turned_room(k, sweep_id(k), ROWS * lanes);
}

/* Bytes of one of the maxima. */
static int64_t maximum_bytes(const Kir *k, int64_t lanes)
{
    return ROWS / turns_with(k, lanes) * lanes * SLOT;
}

static int64_t values_at(const Kir *k, int64_t lanes)
{
    return maxima_at(k, lanes) + maxima_of(k)->accs.n * maximum_bytes(k, lanes);
}

static int64_t room_with(const Kir *k, int64_t lanes)
{
    return values_at(k, lanes) +
           lanes_of_items(k, lanes) * SLOT * count_shared(k);
}

static int64_t tiles_with(const Kir *k, int64_t lanes)
{
    int64_t rows = k->rows * sweep_of(k)->hi;
    return (rows + ROWS - 1) / ROWS * ((lanes_of(k)->hi + lanes - 1) / lanes);
}

/* Bytes that a thread holds of what it has loaded. */
static int64_t held_with(const Kir *k, int64_t lanes)
{
    int64_t bytes = 0;
    for (uint32_t i = 1; i < k->nodes.n; i++) {
        const NodeInfo *in = &k->nodes.at[i];
        if (in->op == KN_load && in->loop == maxima_id(k) &&
            ix_uses(k, in->ix, LANES_LOOP))
            bytes += dtype_bytes((DType)in->dtype);
    }
    return bytes * k->width * turns_with(k, lanes);
}

/* Registers hold what was loaded, and where tiles are cut which rows exist. */
static int at_a_time_with(const Kir *k, int64_t lanes)
{
    enum { BESIDES = 40, CUT = 24 };
    bool cut = k->rows * sweep_of(k)->hi % ROWS || lanes_of(k)->hi % lanes;
    int64_t besides = BESIDES + (cut ? CUT : 0);
    return turned_at_a_time(THREADS, held_with(k, lanes) / SLOT + besides);
}

static int64_t lanes_of_tile(const Kir *k)
{
    int64_t few = FEW_LANES;
    bool takes = turned_has_words(k, sweep_id(k), turns_with(k, few)) &&
                 turned_are_few(k, tiles_with(k, few), at_a_time_with(k, few));
    return takes && room_with(k, few) <= MOST_ROOM ? few : LANES;
}

static bool takes_tiles(const Kir *k)
{
    int64_t rows = sweep_of(k)->hi, lanes = lanes_of_tile(k);
    if (k->width < 4 || ROWS % rows || rows % turns_with(k, lanes) ||
        lanes_of(k)->hi < LANES / 2 || k->rows * rows < ROWS / 2)
        return false;
    for (uint32_t i = 1; i < k->nodes.n; i++)
        if (!fits(k, i) || (is_shared(k, i) && k->nodes.at[i].dtype != DT_f32))
            return false;
    return held_with(k, lanes) <= MOST_HELD && room_with(k, lanes) <= MOST_ROOM;
}

bool gpu_blocks_grid(Kir *k, Grid *out)
{
    if (!has_loops(k)) return false;
    int64_t was = k->width;
    k->width = gpu_lanes_of_thread(k);
    if (!takes_tiles(k)) {
        k->width = was;
        return false;
    }
    int64_t lanes = lanes_of_tile(k);
    *out = (Grid){.map = MAP_blocks,
                  .blocks = tiles_with(k, lanes),
                  .threads = THREADS,
                  .beside = ROWS,
                  .tile_lanes = (uint32_t)lanes};
    return true;
}

int gpu_blocks_at_a_time(const Kir *k)
{
    return at_a_time_with(k, lanes_of_tile(k));
}

uint32_t gpu_blocks_places(const Kir *k)
{
    return (uint32_t)(room_with(k, lanes_of_tile(k)) /
                      (int64_t)sizeof(uint64_t));
}

/* ---------------------------------------------------------------- maxima */

/* Number i of shared memory behind so many bytes. */
/* At the row of a turn, in either loop. */
static void enter_turn(Emit *e, const Tile *t, int64_t turn)
{
    LV exists;
    turned_enter(e, t, turned_row(e, t, turn, &exists), e->chunk);
    emit_enter(e, maxima_id(e->k), e->vars[t->sweep]);
    e->chunk_number = turn;
}

/* Loads, and whether an id is one. */
static bool is_early(const Kir *k, const NodeInfo *in)
{
    (void)k;
    return in->op == KN_load || in->op == KN_inside;
}

/* All of the thread, in flight at once. */
static void load_rows(Emit *e, const Tile *t)
{
    const Loop *l = maxima_of(e->k);
    for (int64_t i = 0; i < t->turns; i++) {
        enter_turn(e, t, i);
        emit_some(e, maxima_id(e->k), is_early);
        for (uint32_t n = 0; n < l->body.n; n++) {
            Node of = l->body.at[n];
            if (node_info(e->k, of)->op == KN_load && e->wide[of.id])
                vec_push(e->k->arena, &e->loaded,
                         ((Loaded){of, i, e->vals[of.id]}));
        }
    }
}

/* Maximum a of thread row `row` of the tile. */
static LV maximum_at(Emit *e, const Tile *t, uint32_t a, LV row, LV lane)
{
    int64_t all = maximum_bytes(e->k, t->lanes);
    return turned_slot(e, maxima_at(e->k, t->lanes) + a * all,
                       plus(e, times(e, row, t->lanes), lane));
}

/* Of the rows of the thread, for the others. */
static void make_maxima(Emit *e, const Tile *t)
{
    const Loop *l = maxima_of(e->k);
    LV *most = NEW_ARRAY(e->k->arena, LV, l->accs.n);
    for (int64_t i = 0; i < t->turns; i++) {
        enter_turn(e, t, i);
        emit_body(e, maxima_id(e->k));
        for (uint32_t a = 0; a < l->accs.n; a++) {
            const Acc *acc = &l->accs.at[a];
            LV x = emit_use(e, acc->value);
            most[a] = i ? acc_combine(e, acc, most[a], x, e->s.w) : x;
        }
    }
    LV lane = times(e, t->column, t->w);
    for (uint32_t a = 0; a < l->accs.n; a++) {
        LV st =
            LLVMBuildStore(e->s.b, most[a], maximum_at(e, t, a, t->row, lane));
        LLVMSetAlignment(st, 4 * SLOT);
    }
}

/* ----------------------------------------------------- a lane of an item */

/* The maxima of all threads that have the item. */
static void set_maxima(Emit *e, const Tile *t, LV item, LV lane)
{
    const Loop *l = maxima_of(e->k);
    LV *all = NEW_ARRAY(e->k->arena, LV, l->accs.n);
    int64_t n = t->each / t->turns;
    for (uint32_t a = 0; a < l->accs.n; a++) {
        const Acc *acc = &l->accs.at[a];
        for (int64_t i = 0; i < n; i++) {
            LV row = plus(e, times(e, item, n), number(e, i));
            LV x = LLVMBuildLoad2(e->s.b, acc_type(e, acc, 1),
                                  maximum_at(e, t, a, row, lane), "");
            all[a] = i ? acc_combine(e, acc, all[a], x, 1) : x;
        }
    }
    emit_set_results(e, maxima_id(e->k), all);
}

/* Value number i of lane u of the items. */
static LV value_at(Emit *e, const Tile *t, uint32_t i, LV u)
{
    int64_t all = lanes_of_items(e->k, t->lanes) * SLOT;
    return turned_slot(e, values_at(e->k, t->lanes) + i * all, u);
}

static void share_values(Emit *e, const Tile *t, LV u)
{
    uint32_t n = 0;
    for (uint32_t i = 1; i < e->k->nodes.n; i++) {
        if (!is_shared(e->k, i)) continue;
        LLVMBuildStore(e->s.b, e->vals[i], value_at(e, t, n++, u));
    }
}

/* Lane u of the items of the tile: all that is no part of a sweep. */
static void make_lane(Emit *e, const Tile *t, LV u)
{
    LLVMBuilderRef b = e->s.b;
    LV item = LLVMBuildUDiv(b, u, number(e, t->lanes), ""), has_item;
    LV lane = LLVMBuildURem(b, u, number(e, t->lanes), ""), has_lane;
    LV first = LLVMBuildUDiv(b, t->first_row, number(e, t->each), "");
    LV at = turned_below(e, plus(e, first, item), e->k->rows, &has_item);
    emit_enter(e, ITEMS_LOOP, at);
    emit_straight(e, ITEMS_LOOP);
    at = turned_below(e, plus(e, t->first_lane, lane), lanes_of(e->k)->hi,
                      &has_lane);
    emit_enter(e, LANES_LOOP, at);
    emit_between(e, 0, maxima_id(e->k));
    set_maxima(e, t, item, lane);
    emit_between(e, maxima_id(e->k), sweep_id(e->k));
    share_values(e, t, u);
    LLVMBasicBlockRef on =
        emit_when(e, LLVMBuildAnd(b, has_item, has_lane, ""), "exists");
    emit_between(e, sweep_id(e->k), 0);
    emit_on(e, on);
}

static void make_lanes(Emit *e, const Tile *t)
{
    LLVMBuilderRef b = e->s.b;
    int64_t all = lanes_of_items(e->k, t->lanes);
    for (int64_t from = 0; from < all; from += t->threads) {
        LV u = plus(e, t->tid, number(e, from));
        LLVMBasicBlockRef on = emit_when(
            e, LLVMBuildICmp(b, LLVMIntSLT, u, number(e, all), ""), "lane");
        make_lane(e, t, u);
        emit_on(e, on);
    }
}

/* ---------------------------------------------------------------- the sweep */

/* Values of the thread's lanes. */
static void read_values(Emit *e, const Tile *t)
{
    uint32_t n = 0;
    int64_t threads = t->each / t->turns;
    LV item = LLVMBuildUDiv(e->s.b, t->row, number(e, threads), "");
    LV u = plus(e, times(e, item, t->lanes), times(e, t->column, t->w));
    LLVMTypeRef type = site_type(&e->s, dtype_reg(&e->s, DT_f32));
    for (uint32_t i = 1; i < e->k->nodes.n; i++) {
        if (!is_shared(e->k, i)) continue;
        e->vals[i] = LLVMBuildLoad2(e->s.b, type, value_at(e, t, n++, u), "");
        LLVMSetAlignment(e->vals[i], 4 * SLOT);
        e->wide[i] = true;
    }
}

/* What lies along the lanes is stored at once: the sweep reads nothing but what
 * the thread holds. */
static void make_turn(Emit *e, Tile *t, int64_t turn)
{
    const Loop *l = sweep_of(e->k);
    turned_take_lanes(e, t);
    enter_turn(e, t, turn);
    e->defers = true;
    emit_body(e, t->sweep);
    e->defers = false;
    for (uint32_t i = 0; i < l->body.n; i++) {
        uint32_t n = l->body.at[i].id;
        if (e->k->nodes.at[n].op != KN_store) continue;
        if (!t->made[n]) t->made[n] = NEW_ARRAY(e->k->arena, LV, t->turns);
        t->made[n][turn] = e->vals[n];
        if (!turned_crosses(e->k, n)) turned_store_along(e, t, n, turn);
    }
}

/* What is made before both sweeps, for the thread's lanes. */
static void make_before(Emit *e, const Tile *t)
{
    LV exists;
    e->chunk = turned_lane(e, t, &exists);
    turned_enter(e, t, turned_row(e, t, 0, &exists), e->chunk);
    emit_straight(e, ITEMS_LOOP);
    turned_take_lanes(e, t);
    emit_between(e, 0, maxima_id(e->k));
}

void gpu_blocks_items(Emit *e, LV tid, LV block)
{
    LV exists;
    uint32_t n = e->k->nodes.n;
    Tile t = turned_tile(e, tid, block, sweep_id(e->k));
    make_before(e, &t);
    load_rows(e, &t);
    make_maxima(e, &t);
    LV *vals = NEW_ARRAY(e->k->arena, LV, n);
    bool *wide = NEW_ARRAY(e->k->arena, bool, n);
    memcpy(vals, e->vals, n * sizeof *vals);
    memcpy(wide, e->wide, n * sizeof *wide);
    gpu_barrier(e);
    turned_take_one(e);
    make_lanes(e, &t);
    gpu_barrier(e);
    memcpy(e->vals, vals, n * sizeof *vals);
    memcpy(e->wide, wide, n * sizeof *wide);
    /* places are found again: registers hold what was loaded */
    t.row = gpu_opaque(e, t.row);
    t.column = gpu_opaque(e, t.column);
    e->chunk = turned_lane(e, &t, &exists);
    turned_take_lanes(e, &t);
    read_values(e, &t);
    for (int64_t i = 0; i < t.turns; i++)
        make_turn(e, &t, i);
    turned_take_one(e);
    turned_store_across(e, &t);
}
