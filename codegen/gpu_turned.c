/*
 * gpu_turned.c: maps that turn operands round, mapped to the blocks of a GPU.
 *
 * Some results of such a kernel lie along the lanes, as the operands do, and
 * others along the items: these *cross*.  A block takes a tile of LANES lanes
 * and so many items that a crossing result has LINE bytes of them:
 *
 *                 lanes                          LINE bytes of items
 *           +---------------+                   +---------------+
 *     items | . . w . . . . |  -- in shared --> | lane 0        |
 *           | . . w . . . . |       memory      | lane 1        |
 *           +---------------+                   +---------------+
 *
 * A thread makes w neighbouring lanes of a few items, one after the other, and
 * has 16 bytes of operands in flight for each.  What lies along the lanes is
 * stored as it is.  What crosses is put together over the items of the thread,
 * in words, which lie in shared memory lane by lane; from there each thread
 * stores 16 bytes of a lane.  The 16 bytes of a line change places with those
 * w lanes apart, so that neighbouring threads do not meet in one bank.
 *
 * The last items come first: whoever made the operands has written those last,
 * and a part of them is in the second-level cache still.
 */
#include <string.h>

#include "gpu_turned.h"

enum { LANES = TURNED_LANES, THREADS = TURNED_THREADS };
enum { LINE = 128, UNIT = 16, WORD = 4 };
enum { LEAST_WIDTH = 4, MOST_ROOM = 48 << 10 };
enum { ITEMS_LOOP = 1, LANES_LOOP }; /* and no others */

/* ---------------------------------------------------------------- the grid */

static const Loop *lanes_of(const Kir *k)
{
    return &k->loops.at[LANES_LOOP];
}

static bool is_plain(const Kir *k)
{
    return k->across && !k->tile && !k->tensor &&
           k->loops.n == LANES_LOOP + 1 && lanes_of(k)->kind == LOOP_lanes &&
           !lanes_of(k)->when.id && !lanes_of(k)->lo;
}

/* Whether so many neighbours of the loop lie in 16 bytes, at such an address.
 */
static bool lies_along(const Kir *k, uint32_t node, LoopId loop, int64_t n)
{
    Emit e = {.k = k};
    return emit_stores_whole(&e, (Node){node}, loop, (unsigned)n);
}

static int64_t in_unit(const Kir *k, const NodeInfo *store)
{
    return UNIT / dtype_bytes(k->arg_dtypes[store->arg]);
}

bool turned_crosses(const Kir *k, uint32_t node)
{
    const NodeInfo *in = &k->nodes.at[node];
    DType d = k->arg_dtypes[in->arg];
    LoopId along = in->loop == LANES_LOOP ? ITEMS_LOOP : in->loop;
    int64_t n = along == ITEMS_LOOP ? k->rows : k->loops.at[along].hi;
    return in->op == KN_store && !in->a.id && d != DT_bool &&
           dtype_bytes(d) <= WORD && n % in_unit(k, in) == 0 &&
           lies_along(k, node, along, in_unit(k, in));
}

/* Bytes of the narrowest result that crosses; 0: the kernel is no such one. */
static unsigned crossing_bytes(const Kir *k)
{
    unsigned bytes = 0;
    for (uint32_t i = 1; i < k->nodes.n; i++) {
        const NodeInfo *in = &k->nodes.at[i];
        int64_t coef;
        if (in->op == KN_total || in->op == KN_scan) return 0;
        if (in->op != KN_load && in->op != KN_store) continue;
        if (in->op == KN_store && in->loop != LANES_LOOP) return 0;
        bool along = ix_steps(k, in->ix, LANES_LOOP, k->width, &coef) &&
                     (coef == 1 || (coef == 0 && in->op == KN_load));
        if (along) continue;
        if (in->op == KN_load || !turned_crosses(k, i)) return 0;
        unsigned b = dtype_bytes(k->arg_dtypes[in->arg]);
        if (!bytes || b < bytes) bytes = b;
    }
    return bytes;
}

int64_t turned_room(const Kir *k, LoopId loop, int64_t elements)
{
    unsigned widest = 0;
    for (uint32_t i = 1; i < k->nodes.n; i++) {
        const NodeInfo *in = &k->nodes.at[i];
        if (in->op != KN_store || in->loop != loop || !turned_crosses(k, i))
            continue;
        unsigned b = dtype_bytes(k->arg_dtypes[in->arg]);
        if (b > widest) widest = b;
    }
    return elements * widest;
}

int turned_at_a_time(int64_t threads, int64_t registers)
{
    enum { REGISTERS = 65536 };
    int64_t blocks = REGISTERS / threads / registers;
    return blocks > 1 ? (int)blocks : 1;
}

bool turned_are_few(const Kir *k, int64_t tiles, int at_a_time)
{
    return tiles < (int64_t)k->processors * at_a_time;
}

bool turned_has_words(const Kir *k, LoopId loop, int64_t turns)
{
    for (uint32_t i = 1; i < k->nodes.n; i++) {
        const NodeInfo *in = &k->nodes.at[i];
        if (in->op == KN_store && in->loop == loop && turned_crosses(k, i) &&
            turns * dtype_bytes(k->arg_dtypes[in->arg]) < WORD)
            return false;
    }
    return turns > 0;
}

bool gpu_turned_grid(Kir *k, Grid *out)
{
    if (!is_plain(k)) return false;
    int64_t was = k->width, n = lanes_of(k)->hi;
    k->width = gpu_lanes_of_thread(k);
    unsigned bytes = crossing_bytes(k);
    int64_t items = bytes ? LINE / bytes : 0;
    if (k->width < LEAST_WIDTH || !bytes || n < LANES / 2 ||
        k->rows < items / 2 ||
        turned_room(k, LANES_LOOP, items * LANES) > MOST_ROOM) {
        k->width = was;
        return false;
    }
    int64_t tiles = (k->rows + items - 1) / items;
    *out = (Grid){.map = MAP_turned,
                  .blocks = tiles * ((n + LANES - 1) / LANES),
                  .threads = THREADS,
                  .beside = (uint32_t)items,
                  .tile_lanes = LANES};
    return true;
}

/* Registers hold the operands of a thread's items, and where those are that ids
 * choose, then what is made of them. */
int gpu_turned_blocks(const Kir *k, const Grid *g)
{
    enum { BESIDES = 48, ADDRESS = 2 };
    int64_t loads = 0, stores = 0, chosen = 0;
    for (uint32_t i = 1; i < k->nodes.n; i++) {
        const NodeInfo *in = &k->nodes.at[i];
        bool load = in->op == KN_load && ix_uses(k, in->ix, LANES_LOOP);
        if (!load && in->op != KN_store) continue;
        *(load ? &loads : &stores) += dtype_bytes(k->arg_dtypes[in->arg]);
        chosen += load && ix_chosen(k, in->ix);
    }
    int64_t each = g->beside * LANES / THREADS; /* elements */
    int64_t held = (loads > stores ? loads : stores) * each / WORD +
                   chosen * each / k->width * ADDRESS;
    return turned_at_a_time(THREADS, held + BESIDES);
}

uint32_t gpu_turned_places(const Kir *k, const Grid *g)
{
    return (uint32_t)(turned_room(k, LANES_LOOP, g->beside * LANES) /
                      (int64_t)sizeof(uint64_t));
}

/* ---------------------------------------------------------------- the tile */

static LV part(Emit *e, LV x, int64_t by)
{
    return LLVMBuildUDiv(e->s.b, x, number(e, by), "");
}

static LV rest(Emit *e, LV x, int64_t by)
{
    return LLVMBuildURem(e->s.b, x, number(e, by), "");
}

LV turned_slot(Emit *e, int64_t behind, LV i)
{
    LV byte = plus(e, number(e, behind), times(e, i, TURNED_SLOT));
    return LLVMBuildGEP2(e->s.b, LLVMInt8TypeInContext(e->s.cx), e->shared,
                         &byte, 1, "");
}

LV turned_below(Emit *e, LV x, int64_t n, LV *exists)
{
    *exists = LLVMBuildICmp(e->s.b, LLVMIntSLT, x, number(e, n), "");
    return LLVMBuildSelect(e->s.b, *exists, x, number(e, 0), "");
}

void turned_take_lanes(Emit *e, const Tile *t)
{
    e->s.w = (unsigned)t->w;
    e->lanes = LANES_LOOP;
    e->aligned = true;
}

void turned_take_one(Emit *e)
{
    e->s.w = 1;
    e->lanes = 0;
    e->aligned = false;
}

Tile turned_tile(Emit *e, LV tid, LV block, LoopId sweep)
{
    const Kir *k = e->k;
    int64_t w = k->width, lanes = e->tile_lanes, beside = lanes / w;
    int64_t threads = e->warps * WARP;
    int64_t each = sweep ? k->loops.at[sweep].hi : 1, rows = k->rows * each;
    int64_t tiles = (lanes_of(k)->hi + lanes - 1) / lanes;
    int64_t last = (rows + e->beside - 1) / e->beside - 1;
    LV from_end =
        LLVMBuildSub(e->s.b, number(e, last), part(e, block, tiles), "");
    return (Tile){.sweep = sweep,
                  .each = each,
                  .rows = rows,
                  .w = w,
                  .turns = e->beside * beside / threads,
                  .lanes = lanes,
                  .threads = threads,
                  .tid = tid,
                  .column = rest(e, tid, beside),
                  .row = part(e, tid, beside),
                  .first_lane = times(e, rest(e, block, tiles), lanes),
                  .first_row = times(e, from_end, e->beside),
                  .made = NEW_ARRAY(k->arena, LV *, k->nodes.n)};
}

/* X where it is below n, of tiles of so many; else the last that is.  *EXISTS:
 * which it was; NULL: below. */
static LV within(Emit *e, LV x, int64_t n, int64_t tile, int64_t last,
                 LV *exists)
{
    *exists = NULL;
    if (n % tile == 0) return x;
    *exists = LLVMBuildICmp(e->s.b, LLVMIntSLT, x, number(e, n), "");
    return LLVMBuildSelect(e->s.b, *exists, x, number(e, last), "");
}

static LV both(Emit *e, LV x, LV y)
{
    return x && y ? LLVMBuildAnd(e->s.b, x, y, "") : x ? x : y;
}

LV turned_lane(Emit *e, const Tile *t, LV *exists)
{
    int64_t n = lanes_of(e->k)->hi;
    LV at = plus(e, t->first_lane, times(e, t->column, t->w));
    return within(e, at, n, t->lanes, n - t->w, exists);
}

LV turned_row(Emit *e, const Tile *t, int64_t turn, LV *exists)
{
    int64_t n = t->rows;
    LV at = plus(e, t->first_row, times(e, t->row, t->turns));
    return within(e, plus(e, at, number(e, turn)), n, e->beside, n - 1, exists);
}

void turned_enter(Emit *e, const Tile *t, LV row, LV lane)
{
    emit_enter(e, ITEMS_LOOP, t->sweep ? part(e, row, t->each) : row);
    emit_enter(e, LANES_LOOP, lane);
    if (t->sweep) emit_enter(e, t->sweep, rest(e, row, t->each));
}

/* All values of the thread, before any is stored. */
static void make_values(Emit *e, Tile *t)
{
    LV exists;
    e->chunk = turned_lane(e, t, &exists);
    e->defers = true;
    for (int64_t i = 0; i < t->turns; i++) {
        emit_turn(e, ITEMS_LOOP, turned_row(e, t, i, &exists), NULL);
        for (uint32_t n = 1; n < e->k->nodes.n; n++) {
            if (e->k->nodes.at[n].op != KN_store) continue;
            if (!t->made[n]) t->made[n] = NEW_ARRAY(e->k->arena, LV, t->turns);
            t->made[n][i] = e->vals[n];
        }
    }
    e->defers = false;
}

/* A store of w neighbours of a loop, at a row and a lane, if they exist. */
typedef struct Neighbours {
    LoopId along;
    unsigned w;
    LV row, lane, exists;
} Neighbours;

static void store_at(Emit *e, const Tile *t, uint32_t node,
                     const Neighbours *at, LV v)
{
    LLVMBuilderRef b = e->s.b;
    LLVMBasicBlockRef then = emit_block(e, "exists"), on = emit_block(e, "on");
    if (at->exists)
        LLVMBuildCondBr(b, at->exists, then, on);
    else
        LLVMBuildBr(b, then);
    LLVMPositionBuilderAtEnd(b, then);
    e->lanes = at->along;
    e->s.w = at->w;
    e->aligned = true;
    turned_enter(e, t, at->row, at->lane);
    emit_store_value(e, (Node){node}, v);
    turned_take_one(e);
    LLVMBuildBr(b, on);
    LLVMPositionBuilderAtEnd(b, on);
}

void turned_store_along(Emit *e, const Tile *t, uint32_t node, int64_t turn)
{
    LV has_lane, has_row;
    LV lane = turned_lane(e, t, &has_lane);
    LV row = turned_row(e, t, turn, &has_row);
    Neighbours at = {LANES_LOOP, (unsigned)t->w, row, lane,
                     both(e, has_lane, has_row)};
    store_at(e, t, node, &at, t->made[node][turn]);
}

/* ---------------------------------------------------------------- crossing */

/* What crosses, in shared memory: a line of items for each lane, in units
 * that change places. */
typedef struct Crossing {
    uint32_t node;
    DType dtype;
    int64_t per;  /* elements of a word */
    int64_t line; /* bytes */
} Crossing;

static LLVMTypeRef words_type(const Emit *e, int64_t n)
{
    LLVMTypeRef word = LLVMInt32TypeInContext(e->s.cx);
    return n == 1 ? word : LLVMVectorType(word, (unsigned)n);
}

/* Byte `at` of a line, of a lane so many lanes from the first by w. */
static LV line_at(Emit *e, const Tile *t, const Crossing *c, LV lane, LV at)
{
    enum { PLACES = LINE / UNIT };
    LLVMBuilderRef b = e->s.b;
    LV swap = rest(e, part(e, lane, t->w), PLACES);
    LV unit = LLVMBuildXor(b, part(e, at, UNIT), swap, "");
    LV byte = plus(e, times(e, unit, UNIT), rest(e, at, UNIT));
    byte = plus(e, byte, times(e, lane, c->line));
    return LLVMBuildGEP2(b, LLVMInt8TypeInContext(e->s.cx), e->shared, &byte, 1,
                         "");
}

static LV permute(Emit *e, LV x, LV y, unsigned bytes)
{
    LLVMTypeRef word = LLVMInt32TypeInContext(e->s.cx);
    const char *name = "llvm.nvvm.prmt";
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    LV f = LLVMGetIntrinsicDeclaration(e->s.module, id, NULL, 0);
    LV args[] = {x, y, LLVMConstInt(word, bytes, false)};
    return LLVMBuildCall2(e->s.b, LLVMGlobalGetValueType(f), f, args, 3, "");
}

/* Words of which x[i] has neighbours of item i: y[j] has items of neighbour j.
 */
static void turn_words(Emit *e, int64_t per, const LV *x, LV *y)
{
    enum { LOW_HALVES = 0x5410, HIGH_HALVES = 0x7632 };
    enum { LOW_BYTES = 0x5140, HIGH_BYTES = 0x7362 };
    if (per == 1) y[0] = x[0];
    if (per == 2) {
        y[0] = permute(e, x[0], x[1], LOW_HALVES);
        y[1] = permute(e, x[0], x[1], HIGH_HALVES);
    }
    for (int half = 0; half < 2 && per == 4; half++) {
        unsigned pick = half ? HIGH_BYTES : LOW_BYTES;
        LV first = permute(e, x[0], x[1], pick);
        LV second = permute(e, x[2], x[3], pick);
        y[2 * half] = permute(e, first, second, LOW_HALVES);
        y[2 * half + 1] = permute(e, first, second, HIGH_HALVES);
    }
}

static LV word_of(Emit *e, LV words, int64_t i)
{
    if (LLVMGetTypeKind(LLVMTypeOf(words)) != LLVMVectorTypeKind) return words;
    LV at = LLVMConstInt(LLVMInt32TypeInContext(e->s.cx), (uint64_t)i, false);
    return LLVMBuildExtractElement(e->s.b, words, at, "");
}

/* Per lane of the thread, its items in words. */
static LV *lane_words(Emit *e, const Tile *t, const Crossing *c)
{
    int64_t per = c->per, each = t->turns / per;
    LV *in = NEW_ARRAY(e->k->arena, LV, t->turns);
    LV *out = NEW_ARRAY(e->k->arena, LV, t->w * each);
    for (int64_t i = 0; i < t->turns; i++)
        in[i] = LLVMBuildBitCast(e->s.b, t->made[c->node][i],
                                 words_type(e, t->w / per), "");
    for (int64_t i = 0; i < each; i++)
        for (int64_t l = 0; l < t->w / per; l++) {
            LV x[WORD], y[WORD];
            for (int64_t j = 0; j < per; j++)
                x[j] = word_of(e, in[i * per + j], l);
            turn_words(e, per, x, y);
            for (int64_t j = 0; j < per; j++)
                out[(l * per + j) * each + i] = y[j];
        }
    return out;
}

/* Units of the thread's items, or a part of one, lane by lane. */
static void put_lines(Emit *e, const Tile *t, const Crossing *c)
{
    LLVMBuilderRef b = e->s.b;
    int64_t each = t->turns / c->per, most = UNIT / WORD;
    int64_t n = each < most ? each : most;
    LV *words = lane_words(e, t, c);
    for (int64_t l = 0; l < t->w; l++)
        for (int64_t i = 0; i < each; i += n) {
            LV v = LLVMGetPoison(words_type(e, n));
            for (int64_t j = 0; j < n; j++)
                v = n == 1 ? words[l * each + i]
                           : LLVMBuildInsertElement(
                                 b, v, words[l * each + i + j],
                                 LLVMConstInt(words_type(e, 1), j, false), "");
            LV at = plus(e, times(e, t->row, each * WORD), number(e, i * WORD));
            LV lane = plus(e, times(e, t->column, t->w), number(e, l));
            LV st = LLVMBuildStore(b, v, line_at(e, t, c, lane, at));
            LLVMSetAlignment(st, (unsigned)(n * WORD));
        }
}

/* A unit after another of all lines, each by another thread. */
static void store_lines(Emit *e, const Tile *t, const Crossing *c)
{
    LLVMBuilderRef b = e->s.b;
    Site one = e->s;
    one.w = (unsigned)(UNIT / dtype_bytes(c->dtype));
    LLVMTypeRef type = site_type(&one, dtype_reg(&one, c->dtype));
    int64_t units = c->line / UNIT, lanes = lanes_of(e->k)->hi;
    for (int64_t i = 0; i < t->lanes * units; i += t->threads) {
        LV at = plus(e, t->tid, number(e, i)), has_lane, has_row;
        LV lane = part(e, at, units), unit = rest(e, at, units);
        LV from = line_at(e, t, c, lane, times(e, unit, UNIT));
        LV v = LLVMBuildLoad2(b, type, from, "");
        LLVMSetAlignment(v, UNIT);
        LV row = plus(e, t->first_row, times(e, unit, one.w));
        lane = within(e, plus(e, t->first_lane, lane), lanes, t->lanes, 0,
                      &has_lane);
        row = within(e, row, t->rows, e->beside, 0, &has_row);
        Neighbours to = {t->sweep ? t->sweep : ITEMS_LOOP, one.w, row, lane,
                         both(e, has_lane, has_row)};
        store_at(e, t, c->node, &to, v);
    }
}

static void store_across(Emit *e, const Tile *t, uint32_t node)
{
    DType d = e->k->arg_dtypes[e->k->nodes.at[node].arg];
    Crossing c = {.node = node,
                  .dtype = d,
                  .per = WORD / dtype_bytes(d),
                  .line = (int64_t)e->beside * dtype_bytes(d)};
    put_lines(e, t, &c);
    gpu_barrier(e);
    store_lines(e, t, &c);
}

void turned_store_across(Emit *e, const Tile *t)
{
    bool used = false;
    for (uint32_t i = 1; i < e->k->nodes.n; i++) {
        if (!t->made[i] || !turned_crosses(e->k, i)) continue;
        if (used) gpu_barrier(e); /* before the room is used again */
        store_across(e, t, i);
        used = true;
    }
}

void gpu_turned_items(Emit *e, LV tid, LV block)
{
    Tile t = turned_tile(e, tid, block, 0);
    make_values(e, &t);
    for (uint32_t i = 1; i < e->k->nodes.n; i++)
        for (int64_t turn = 0; turn < t.turns && t.made[i]; turn++)
            if (!turned_crosses(e->k, i)) turned_store_along(e, &t, i, turn);
    turned_store_across(e, &t);
}
