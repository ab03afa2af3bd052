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
 * Results lie along the lanes, or along the rows: these go through shared
 * memory (gpu_turned.c).
 */
#include <string.h>

#include "gpu_rows.h"
#include "gpu_turned.h"

enum { LANES = TURNED_LANES, THREADS = TURNED_THREADS, ROWS = 128 };
enum { SLOT = 4, MOST_ROOM = 48 << 10, MOST_HELD = 256, MOST_INNER = 8 };
enum { ITEMS_LOOP = 1, LANES_LOOP, SWEEP_LOOP, LEAST_LOOPS };

/* ---------------------------------------------------------------- the form */

static int64_t rows_of_block(const Kir *k)
{
    return k->loops.at[SWEEP_LOOP].hi;
}

/* A loop that makes maxima: of columns, of blocks of both, or of rows. */
typedef enum Way { WAY_columns, WAY_both, WAY_rows } Way;

static Way way_of(const Kir *k, LoopId loop)
{
    const Loop *l = &k->loops.at[loop];
    if (l->parent == SWEEP_LOOP) return WAY_rows;
    return l->hi == rows_of_block(k) ? WAY_columns : WAY_both;
}

/* Columns of a block of which there are maxima, if not of columns alone. */
static int64_t columns_of_block(const Kir *k, LoopId loop)
{
    int64_t n = k->loops.at[loop].hi;
    return way_of(k, loop) == WAY_rows ? n : n / rows_of_block(k);
}

/* Rows of a thread. */
static int64_t turns_of(const Kir *k)
{
    return ROWS * LANES / k->width / THREADS;
}

/* The element of the matrix that a loop asks for. */
static Node element_of(const Kir *k, LoopId loop)
{
    for (uint32_t i = 0; i < k->elements.n; i++)
        if (node_info(k, k->elements.at[i])->loop == loop)
            return k->elements.at[i];
    return (Node){0};
}

static bool has_loops(const Kir *k)
{
    if (k->loops.n < LEAST_LOOPS || k->loops.n > MOST_INNER) return false;
    for (LoopId i = LEAST_LOOPS; i < k->loops.n; i++) {
        const Loop *l = &k->loops.at[i];
        bool inside = l->parent == LANES_LOOP || l->parent == SWEEP_LOOP;
        if (l->kind != LOOP_seq || !inside || !element_of(k, i).id)
            return false;
        for (uint32_t a = 0; a < l->accs.n; a++)
            if (l->accs.at[a].kind != ACC_max || l->accs.at[a].dtype != DT_f32)
                return false;
    }
    return element_of(k, SWEEP_LOOP).id &&
           k->elements.n + LEAST_LOOPS == k->loops.n + 1;
}

/* ------------------------------------------------------------------ nodes */

static void mark_below(const Kir *k, Node n, bool *below);

static void mark_index(const Kir *k, Ix x, bool *below)
{
    const IxInfo *of = ix_info(k, x);
    for (uint32_t i = 0; i < of->n; i++) {
        const Atom *a = &k->atoms.at[of->terms[i].atom];
        if (a->kind == ATOM_node) mark_below(k, a->node, below);
        if (a->kind == ATOM_div || a->kind == ATOM_mod)
            mark_index(k, a->of, below);
    }
}

static void mark_below(const Kir *k, Node n, bool *below)
{
    if (!n.id || below[n.id]) return;
    const NodeInfo *in = node_info(k, n);
    below[n.id] = true;
    mark_below(k, in->a, below);
    mark_below(k, in->b, below);
    mark_below(k, in->c, below);
    mark_index(k, in->ix, below);
}

/* By node, what elements are made of and they themselves. */
static bool *find_below(const Kir *k)
{
    bool *below = NEW_ARRAY(k->arena, bool, k->nodes.n);
    for (uint32_t i = 0; i < k->elements.n; i++)
        mark_below(k, k->elements.at[i], below);
    return below;
}

/* A store of each element, not of each block. */
static bool stores_elements(const Kir *k, uint32_t node)
{
    const NodeInfo *in = &k->nodes.at[node];
    return in->op == KN_store && in->loop == SWEEP_LOOP && !in->a.id;
}

/* Loads of neighbours, or of one for all lanes of a thread; stores of
 * neighbours in either order. */
static bool fits(const Kir *k, uint32_t node)
{
    const NodeInfo *in = &k->nodes.at[node];
    int64_t coef;
    if (in->op == KN_total || in->op == KN_scan) return false;
    if (in->op == KN_load) {
        if (in->a.id || ix_chosen(k, in->ix)) return false;
        if (in->loop > SWEEP_LOOP) return true; /* at hand */
        return ix_steps(k, in->ix, LANES_LOOP, k->width, &coef) &&
               (coef == 0 || (coef == 1 && gpu_is_whole(k, in, LANES_LOOP)));
    }
    if (!stores_elements(k, node) || turned_crosses(k, node)) return true;
    Emit e = {.k = k};
    return emit_stores_whole(&e, (Node){node}, LANES_LOOP, (unsigned)k->width);
}

/* How a node is made: with the elements, for each lane of a block of rows, for
 * each row of a block of columns, or with what is stored of elements. */
typedef enum MadeWhen {
    MADE_before, /* in front of the items */
    MADE_below,
    MADE_lanes,
    MADE_rows,
    MADE_last
} MadeWhen;

static bool is_of_rows(const MadeWhen *when, Node n)
{
    return !n.id || when[n.id] == MADE_before || when[n.id] == MADE_rows;
}

/* Operands have smaller numbers. */
static MadeWhen *find_when(const Kir *k)
{
    const bool *below = find_below(k);
    MadeWhen *when = NEW_ARRAY(k->arena, MadeWhen, k->nodes.n);
    for (uint32_t i = 1; i < k->nodes.n; i++) {
        const NodeInfo *in = &k->nodes.at[i];
        bool rows = is_of_rows(when, in->b) && is_of_rows(when, in->c) &&
                    (in->op == KN_store || is_of_rows(when, in->a));
        bool element = in->op == KN_store && !in->a.id;
        when[i] = in->loop < ITEMS_LOOP    ? MADE_before
                  : below[i]               ? MADE_below
                  : in->loop < SWEEP_LOOP  ? MADE_lanes
                  : in->loop != SWEEP_LOOP ? MADE_last
                  : rows && !element       ? MADE_rows
                                           : MADE_last;
    }
    return when;
}

/* A value of a lane, or of a row, that what is made last reads. */
static bool is_shared(const Kir *k, const MadeWhen *when, uint32_t node,
                      MadeWhen of)
{
    if (when[node] != of) return false;
    for (uint32_t i = 1; i < k->nodes.n; i++) {
        const NodeInfo *in = &k->nodes.at[i];
        if (in->loop == SWEEP_LOOP && when[i] == MADE_last &&
            in->op != KN_loop &&
            (in->a.id == node || in->b.id == node || in->c.id == node))
            return true;
    }
    return false;
}

static uint32_t count_shared(const Kir *k, MadeWhen of)
{
    const MadeWhen *when = find_when(k);
    uint32_t n = 0;
    for (uint32_t i = 1; i < k->nodes.n; i++)
        n += is_shared(k, when, i, of);
    return n;
}

/* ------------------------------------------------------------ shared room */

/* Threads, one below the other, that a tile has. */
static int64_t thread_rows(const Kir *k)
{
    return ROWS / turns_of(k);
}

/* Maxima of a loop for a row, or for a row of threads. */
static int64_t maxima_of_row(const Kir *k, LoopId loop)
{
    return way_of(k, loop) == WAY_columns ? LANES
                                          : LANES / columns_of_block(k, loop);
}

/* How many such rows a tile has. */
static int64_t rows_of_maxima(const Kir *k, LoopId loop)
{
    return way_of(k, loop) == WAY_rows ? ROWS : thread_rows(k);
}

/* Bytes in front of those of a loop: they lie where results cross later. */
static int64_t maxima_at(const Kir *k, LoopId loop)
{
    int64_t at = 0;
    for (LoopId i = LEAST_LOOPS; i < loop; i++)
        at += maxima_of_row(k, i) * rows_of_maxima(k, i) * SLOT *
              k->loops.at[i].accs.n;
    return at;
}

static int64_t values_at(const Kir *k)
{
    int64_t maxima = maxima_at(k, k->loops.n);
    int64_t crossing = turned_room(k, SWEEP_LOOP, ROWS);
    return maxima > crossing ? maxima : crossing;
}

/* Lanes of the blocks of rows of a tile. */
static int64_t lanes_of_items(const Kir *k)
{
    return ROWS / rows_of_block(k) * LANES;
}

/* The loop that makes maxima of rows; 0: none does.  All are of as many. */
static LoopId loop_of_rows(const Kir *k)
{
    for (LoopId i = LEAST_LOOPS; i < k->loops.n; i++)
        if (way_of(k, i) == WAY_rows) return i;
    return 0;
}

/* Rows of the blocks of columns of a tile. */
static int64_t rows_of_blocks(const Kir *k)
{
    LoopId loop = loop_of_rows(k);
    return loop ? ROWS * maxima_of_row(k, loop) : 0;
}

static int64_t row_values_at(const Kir *k)
{
    return values_at(k) +
           lanes_of_items(k) * SLOT * count_shared(k, MADE_lanes);
}

static int64_t room_of(const Kir *k)
{
    return row_values_at(k) +
           rows_of_blocks(k) * SLOT * count_shared(k, MADE_rows);
}

static int64_t held_bytes(const Kir *k)
{
    DType d = (DType)node_info(k, element_of(k, SWEEP_LOOP))->dtype;
    return dtype_bytes(d) * k->width * turns_of(k);
}

static bool takes_tiles(const Kir *k)
{
    if (k->width < 4 || !has_loops(k) || ROWS % rows_of_block(k) ||
        rows_of_block(k) % turns_of(k) || held_bytes(k) > MOST_HELD)
        return false;
    const MadeWhen *when = find_when(k);
    LoopId rows = loop_of_rows(k);
    for (LoopId i = LEAST_LOOPS; i < k->loops.n; i++) {
        int64_t n = columns_of_block(k, i);
        if (way_of(k, i) != WAY_columns && (n % k->width || LANES % n))
            return false;
        if (way_of(k, i) == WAY_rows && n != columns_of_block(k, rows))
            return false;
    }
    for (uint32_t i = 1; i < k->nodes.n; i++) {
        const NodeInfo *in = &k->nodes.at[i];
        bool shared = is_shared(k, when, i, MADE_lanes) ||
                      is_shared(k, when, i, MADE_rows);
        bool once = in->op == KN_store && in->loop == SWEEP_LOOP && in->a.id;
        if (!fits(k, i) || (shared && in->dtype != DT_f32) ||
            (once && when[i] != MADE_rows))
            return false;
    }
    return room_of(k) <= MOST_ROOM;
}

bool gpu_both_grid(Kir *k, Grid *out)
{
    int64_t was = k->width, n = k->loops.at[LANES_LOOP].hi;
    k->width = gpu_lanes_of_thread(k);
    if (!takes_tiles(k)) {
        k->width = was;
        return false;
    }
    int64_t tiles = (k->rows * rows_of_block(k) + ROWS - 1) / ROWS;
    *out = (Grid){.map = MAP_both,
                  .blocks = tiles * ((n + LANES - 1) / LANES),
                  .threads = THREADS,
                  .beside = ROWS};
    return true;
}

/* Registers hold the elements, or all that they are made of; beside that what a
 * lane has, what is stored of an element, and where tiles are cut which rows
 * exist. */
int gpu_both_at_a_time(const Kir *k)
{
    enum { REGISTERS = 65536 / THREADS, BESIDES = 16, CUT = 24, EACH = 8 };
    int64_t n = k->loops.at[LANES_LOOP].hi;
    int64_t besides = k->rows * rows_of_block(k) % ROWS || n % LANES ? CUT : 0;
    int64_t loaded = 0, held = held_bytes(k);
    for (uint32_t i = 1; i < k->nodes.n; i++) {
        const NodeInfo *in = &k->nodes.at[i];
        bool load = in->op == KN_load && ix_uses(k, in->ix, LANES_LOOP);
        bool lane = load && in->loop == LANES_LOOP;
        besides += lane || stores_elements(k, i) ? EACH : 0;
        if (load && in->loop == SWEEP_LOOP)
            loaded += dtype_bytes((DType)in->dtype) * k->width * turns_of(k);
    }
    if (loaded > held) held = loaded;
    int64_t blocks = REGISTERS / (held / SLOT + BESIDES + besides);
    return blocks > 1 ? (int)blocks : 1;
}

uint32_t gpu_both_places(const Kir *k)
{
    return (uint32_t)(room_of(k) / (int64_t)sizeof(uint64_t));
}

/* ---------------------------------------------------------------- the tile */

typedef struct Run {
    Emit *e;
    Tile t;
    MadeWhen *when; /* by node */
    LV *held;       /* by turn */
} Run;

static LV slot(Emit *e, int64_t behind, LV i)
{
    LV byte = plus(e, number(e, behind), times(e, i, SLOT));
    return LLVMBuildGEP2(e->s.b, LLVMInt8TypeInContext(e->s.cx), e->shared,
                         &byte, 1, "");
}

static void take_lanes(const Run *r)
{
    r->e->s.w = (unsigned)r->t.w;
    r->e->lanes = LANES_LOOP;
    r->e->aligned = true;
}

static void take_one(const Run *r)
{
    r->e->s.w = 1;
    r->e->lanes = 0;
    r->e->aligned = false;
}

/* Of a body what is made then, without its loops and stores. */
static void emit_part(const Run *r, LoopId loop, MadeWhen when)
{
    const Kir *k = r->e->k;
    for (uint32_t i = 1; i < k->nodes.n; i++) {
        const NodeInfo *in = &k->nodes.at[i];
        if (in->loop == loop)
            r->e->skips[i] = r->when[i] != when || in->op == KN_loop ||
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

/* The element of a loop is this one. */
static void set_element(const Run *r, LoopId loop, LV v)
{
    uint32_t n = element_of(r->e->k, loop).id;
    r->e->vals[n] = v;
    r->e->wide[n] = true;
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
    uint32_t n = k->nodes.n, at = element_of(k, SWEEP_LOOP).id;
    LV **loaded = NEW_ARRAY(k->arena, LV *, r->t.turns);
    LV exists;
    take_lanes(r);
    e->chunk = turned_lane(e, &r->t, &exists);
    enter_turn(r, 0);
    emit_part(r, ITEMS_LOOP, MADE_below);
    emit_part(r, LANES_LOOP, MADE_below);
    for (uint32_t i = 1; i < n; i++)
        e->skips[i] = r->when[i] != MADE_below;
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
    set_element(r, loop, r->held[turn]);
    emit_part(r, loop, MADE_last);
    return emit_use(r->e, r->e->k->loops.at[loop].accs.at[acc].value);
}

/* Of the columns of a block, in all threads that have some of them. */
static LV over_block(const Run *r, LoopId loop, const Acc *acc, LV x)
{
    Emit *e = r->e;
    int64_t threads = columns_of_block(e->k, loop) / r->t.w;
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
static LV maximum_at(Emit *e, LoopId loop, uint32_t acc, LV row, LV at)
{
    int64_t n = maxima_of_row(e->k, loop);
    int64_t behind =
        maxima_at(e->k, loop) + acc * n * rows_of_maxima(e->k, loop) * SLOT;
    return slot(e, behind, plus(e, times(e, row, n), at));
}

/* Of each row of the thread, by the first thread of a block of columns. */
static void leave_rows(const Run *r, LoopId loop, LV *const *most)
{
    Emit *e = r->e;
    LLVMBuilderRef b = e->s.b;
    int64_t threads = columns_of_block(e->k, loop) / r->t.w;
    LV at = LLVMBuildUDiv(b, r->t.column, number(e, threads), "");
    LV first = LLVMBuildURem(b, r->t.column, number(e, threads), "");
    first = LLVMBuildICmp(b, LLVMIntEQ, first, number(e, 0), "");
    LLVMBasicBlockRef on = emit_when(e, first, "first");
    for (uint32_t a = 0; a < e->k->loops.at[loop].accs.n; a++)
        for (int64_t i = 0; i < r->t.turns; i++) {
            LV row = plus(e, times(e, r->t.row, r->t.turns), number(e, i));
            LLVMBuildStore(b, most[a][i], maximum_at(e, loop, a, row, at));
        }
    emit_on(e, on);
}

/* Of all rows of the thread: of its columns, or of the block of both. */
static void leave_columns(const Run *r, LoopId loop, LV *const *most)
{
    Emit *e = r->e;
    const Loop *l = &e->k->loops.at[loop];
    bool columns = way_of(e->k, loop) == WAY_columns;
    LV at = times(e, r->t.column, r->t.w);
    if (!columns)
        at = LLVMBuildUDiv(e->s.b, at, number(e, columns_of_block(e->k, loop)),
                           "");
    for (uint32_t a = 0; a < l->accs.n; a++) {
        LV x = most[a][0];
        if (!columns) x = over_block(r, loop, &l->accs.at[a], x);
        LV st = LLVMBuildStore(e->s.b, x, maximum_at(e, loop, a, r->t.row, at));
        LLVMSetAlignment(st, columns ? 4 * SLOT : SLOT);
    }
}

/* Row by row, so that what several maxima are of is made once. */
static void make_maxima(const Run *r)
{
    Emit *e = r->e;
    const Kir *k = e->k;
    LV **most[MOST_INNER] = {0};
    for (LoopId l = LEAST_LOOPS; l < k->loops.n; l++) {
        uint32_t n = k->loops.at[l].accs.n;
        most[l] = NEW_ARRAY(k->arena, LV *, n);
        for (uint32_t a = 0; a < n; a++)
            most[l][a] = NEW_ARRAY(k->arena, LV, r->t.turns);
    }
    for (int64_t i = 0; i < r->t.turns; i++)
        for (LoopId l = LEAST_LOOPS; l < k->loops.n; l++)
            for (uint32_t a = 0; a < k->loops.at[l].accs.n; a++) {
                const Acc *acc = &k->loops.at[l].accs.at[a];
                LV x = of_element(r, l, a, i), *at = most[l][a];
                if (way_of(k, l) == WAY_rows)
                    at[i] = over_block(r, l, acc, x);
                else
                    at[0] = i ? acc_combine(e, acc, at[0], x, e->s.w) : x;
            }
    for (LoopId l = LEAST_LOOPS; l < k->loops.n; l++) {
        if (way_of(k, l) == WAY_rows)
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
    if (way_of(e->k, loop) != WAY_columns)
        lane = LLVMBuildUDiv(e->s.b, lane,
                             number(e, columns_of_block(e->k, loop)), "");
    for (uint32_t a = 0; a < l->accs.n; a++) {
        const Acc *acc = &l->accs.at[a];
        for (int64_t i = 0; i < n; i++) {
            LV row = plus(e, times(e, item, n), number(e, i));
            LV x = LLVMBuildLoad2(e->s.b, acc_type(e, acc, 1),
                                  maximum_at(e, loop, a, row, lane), "");
            all[a] = i ? acc_combine(e, acc, all[a], x, 1) : x;
        }
    }
    emit_set_results(e, loop, all);
}

/* Value number i of lane u of the items, or of row u of the blocks. */
static LV value_at(Emit *e, MadeWhen of, uint32_t i, LV u)
{
    bool lanes = of == MADE_lanes;
    int64_t n = lanes ? lanes_of_items(e->k) : rows_of_blocks(e->k);
    int64_t behind = lanes ? values_at(e->k) : row_values_at(e->k);
    return slot(e, behind + i * n * SLOT, u);
}

static void share_values(const Run *r, MadeWhen of, LV u)
{
    uint32_t n = 0;
    Emit *e = r->e;
    for (uint32_t i = 1; i < e->k->nodes.n; i++)
        if (is_shared(e->k, r->when, i, of))
            LLVMBuildStore(e->s.b, e->vals[i], value_at(e, of, n++, u));
}

/* What is stored once for a block, where that exists. */
static void store_blocks(const Run *r, LoopId loop, LV exists)
{
    Emit *e = r->e;
    LLVMBasicBlockRef on = emit_when(e, exists, "exists");
    for (uint32_t i = 1; i < e->k->nodes.n; i++)
        if (e->k->nodes.at[i].op == KN_store &&
            e->k->nodes.at[i].loop == loop && !stores_elements(e->k, i))
            emit_store(e, &e->k->nodes.at[i]);
    emit_on(e, on);
}

/* X, or 0 where it is not below n; *EXISTS says which. */
static LV below(Emit *e, LV x, int64_t n, LV *exists)
{
    *exists = LLVMBuildICmp(e->s.b, LLVMIntSLT, x, number(e, n), "");
    return LLVMBuildSelect(e->s.b, *exists, x, number(e, 0), "");
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
    LV at = below(e, plus(e, first, item), k->rows, &has_item);
    emit_enter(e, ITEMS_LOOP, at);
    emit_part(r, ITEMS_LOOP, MADE_lanes);
    at = below(e, plus(e, r->t.first_lane, lane), k->loops.at[LANES_LOOP].hi,
               &has_lane);
    emit_enter(e, LANES_LOOP, at);
    for (LoopId i = LEAST_LOOPS; i < k->loops.n; i++)
        if (way_of(k, i) != WAY_rows) set_maxima(r, i, item, lane);
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
    LoopId first = loop_of_rows(k);
    int64_t n = maxima_of_row(k, first);
    LV row = LLVMBuildUDiv(b, u, number(e, n), ""), has_row, has_lane;
    LV block = LLVMBuildURem(b, u, number(e, n), "");
    LV lane =
        plus(e, r->t.first_lane, times(e, block, columns_of_block(k, first)));
    LV at = below(e, plus(e, r->t.first_row, row), r->t.rows, &has_row);
    lane = below(e, lane, k->loops.at[LANES_LOOP].hi, &has_lane);
    turned_enter(e, &r->t, at, lane);
    for (LoopId i = LEAST_LOOPS; i < k->loops.n; i++) {
        LV *all = NEW_ARRAY(k->arena, LV, k->loops.at[i].accs.n + 1);
        if (way_of(k, i) != WAY_rows) continue;
        for (uint32_t a = 0; a < k->loops.at[i].accs.n; a++)
            all[a] =
                LLVMBuildLoad2(b, acc_type(e, &k->loops.at[i].accs.at[a], 1),
                               maximum_at(e, i, a, row, block), "");
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
    for (int64_t from = 0; from < all; from += THREADS) {
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
        if (!is_shared(e->k, r->when, i, MADE_lanes)) continue;
        e->vals[i] =
            LLVMBuildLoad2(e->s.b, type, value_at(e, MADE_lanes, n++, u), "");
        LLVMSetAlignment(e->vals[i], 4 * SLOT);
        e->wide[i] = true;
    }
}

/* Values of a row of the thread. */
static void read_row(const Run *r, int64_t turn)
{
    uint32_t n = 0;
    Emit *e = r->e;
    LoopId first = loop_of_rows(e->k);
    if (!first) return;
    int64_t threads = columns_of_block(e->k, first) / r->t.w;
    LV row = plus(e, times(e, r->t.row, r->t.turns), number(e, turn));
    LV u = plus(e, times(e, row, maxima_of_row(e->k, first)),
                LLVMBuildUDiv(e->s.b, r->t.column, number(e, threads), ""));
    LLVMTypeRef type = dtype_reg(&e->s, DT_f32);
    for (uint32_t i = 1; i < e->k->nodes.n; i++) {
        if (!is_shared(e->k, r->when, i, MADE_rows)) continue;
        e->vals[i] =
            LLVMBuildLoad2(e->s.b, type, value_at(e, MADE_rows, n++, u), "");
        e->wide[i] = false;
    }
}

/* What lies along the lanes is stored at once. */
static void make_turn(Run *r, int64_t turn)
{
    Emit *e = r->e;
    const Kir *k = e->k;
    take_lanes(r);
    enter_turn(r, turn);
    set_element(r, SWEEP_LOOP, gpu_opaque(e, r->held[turn]));
    read_row(r, turn);
    emit_part(r, SWEEP_LOOP, MADE_last);
    for (uint32_t n = 1; n < k->nodes.n; n++) {
        const NodeInfo *in = &k->nodes.at[n];
        if (!stores_elements(k, n)) continue;
        LV **made = &r->t.made[n];
        if (!*made) *made = NEW_ARRAY(k->arena, LV, r->t.turns);
        (*made)[turn] = emit_use(e, in->b);
        if (turned_crosses(k, n)) continue;
        turned_store_along(e, &r->t, n, turn);
        take_lanes(r);
        enter_turn(r, turn);
    }
}

void gpu_both_items(Emit *e, LV tid, LV block)
{
    LV exists;
    const Kir *k = e->k;
    Run r = {.e = e, .t = turned_tile(e, tid, block, SWEEP_LOOP)};
    r.when = find_when(k);
    r.held = NEW_ARRAY(k->arena, LV, r.t.turns);
    make_elements(&r);
    make_maxima(&r);
    gpu_barrier(e);
    take_one(&r);
    make_each(&r, lanes_of_items(k), make_lane);
    make_each(&r, rows_of_blocks(k), make_row);
    gpu_barrier(e);
    /* places are found again: registers hold the elements */
    r.t.row = gpu_opaque(e, r.t.row);
    r.t.column = gpu_opaque(e, r.t.column);
    take_lanes(&r);
    e->chunk = turned_lane(e, &r.t, &exists);
    read_values(&r);
    for (int64_t i = 0; i < r.t.turns; i++)
        make_turn(&r, i);
    take_one(&r);
    turned_store_across(e, &r.t);
}
