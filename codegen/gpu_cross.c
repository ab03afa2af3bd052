/*
 * gpu_cross.c: sums over the rows, to which the blocks of threads add in order.
 *
 * A block owns a tile of rows and sweeps the columns.  What it adds to the
 * vector of a column is the pairs of the step, in shared memory, times an own
 * panel: a product that all warpgroups share.  Its sums go to shared memory
 * too, and from there a warp of the feeding group has the copy engine add them
 * to global memory.
 *
 *     consumers                                  warps, a stage each
 *         pairs -> shared memory
 *         pairs x panel -> sums                  wait for our turn
 *         sums -> stage                          stage -> global memory
 *         next step                              pass the turn on
 *
 * Order: f32 sums depend on it, so it is fixed.  To each tile of columns the
 * blocks add in the order of their numbers; a word per tile says whose rows
 * were last: which tile of rows, plus 1.  The block before ours is the nearest
 * whose tile of pairs is not empty, by the same classes by which that block
 * lists its steps (classes.c), which go by indices alone.  The first stores its
 * sums instead of adding them; the last puts the word back to 0, as it was.
 *
 * No block waits for ever: it has its number from a counter, so all blocks that
 * it may wait for run already, and the one with the least number waits for
 * nobody.  Of the items that are taken together (tensor.c) long ones come
 * first, and all blocks go through the columns in one direction, so that a
 * block that starts with others follows its neighbour at a distance of about
 * one step.
 */
#include "gpu_tensor.h"

static const TensorCross *cross(const Core *c)
{
    return c->t->cross;
}

static LV bit(const Core *c, LV x, unsigned n)
{
    LLVMBuilderRef b = c->e->s.b;
    return LLVMBuildAnd(b, LLVMBuildLShr(b, x, core_i32(c, n), ""),
                        core_i32(c, 1), "");
}

/* Of the pairs, and of the stages that hold sums. */
typedef enum Bar { PAIRS_full, PAIRS_empty, STAGE_full, STAGE_empty } Bar;

/* What belongs to step i goes round. */
typedef struct Held {
    LV slot, parity, other;
} Held;

static Held held(const Core *c, Bar which, LV i)
{
    LLVMBuilderRef b = c->e->s.b;
    bool two = (which < STAGE_full ? cross(c)->pairs : cross(c)->stages) == 2;
    LV one = core_i32(c, 1), turn = i;
    if (two) turn = LLVMBuildLShr(b, i, one, "");
    Held p = {.slot = two ? LLVMBuildAnd(b, i, one, "") : core_i32(c, 0),
              .parity = LLVMBuildAnd(b, turn, one, "")};
    p.other = LLVMBuildXor(b, p.parity, one, "");
    return p;
}

static LV barrier(const Core *c, Bar which, LV slot)
{
    return core_at(c, slot, 8, cross(c)->bar_offset + 8 * CROSS_MOST * which);
}

/* Until the pairs, or the stage, of step i are full; or are free for it. */
static void wait_for(const Core *c, Bar which, LV i)
{
    Held p = held(c, which, i);
    bool empty = which == PAIRS_empty || which == STAGE_empty;
    sm90_mbar_wait(&c->e->s, barrier(c, which, p.slot),
                   empty ? p.other : p.parity);
}

/* One of a warp arrives, when all of its threads are there. */
static void arrive(const Core *c, Bar which, LV i)
{
    sm90_sync_warp(&c->e->s);
    LV one = LLVMBuildICmp(c->e->s.b, LLVMIntEQ, c->lane, core_i32(c, 0), "");
    sm90_mbar_arrive_if(&c->e->s, barrier(c, which, held(c, which, i).slot),
                        one);
}

void core_cross_barriers(const Core *c)
{
    for (unsigned i = 0; i < CROSS_MOST; i++)
        for (Bar w = PAIRS_full; w <= STAGE_empty; w++)
            sm90_mbar_init(&c->e->s, barrier(c, w, core_i32(c, i)),
                           w == STAGE_empty ? 1 : 4 * c->t->groups);
}

/* --------------------------------------------------------------- consumers */

static int64_t pairs_bytes(const Core *c)
{
    return c->t->columns / PANEL_WIDTH * cross(c)->box_bytes;
}

/* Rows of pairs lie one after another, columns within a row, 64 to a box: the
 * first operand across.  The packed accumulator is what stmatrix takes. */
void core_cross_put(Core *c, LV i, const LV *pairs)
{
    Emit *e = c->e;
    LLVMBuilderRef b = e->s.b;
    LV seven = core_i32(c, 7), slot = held(c, PAIRS_full, i).slot;
    LV lane = sm90_again(&e->s, c->lane);
    wait_for(c, PAIRS_empty, i);
    LV warp = LLVMBuildSub(b, c->warp, core_i32(c, 4), "");
    LV line = LLVMBuildAnd(b, lane, core_i32(c, 15), "");
    line = core_add(c, line, LLVMBuildMul(b, warp, core_i32(c, 16), ""));
    LV unit = LLVMBuildXor(b, LLVMBuildLShr(b, lane, core_i32(c, 4), ""),
                           LLVMBuildAnd(b, lane, seven, ""), "");
    LV at = core_at(c, line, PANEL_BYTES, cross(c)->pairs_offset);
    at = core_add(c, at, LLVMBuildMul(b, unit, core_i32(c, 16), ""));
    at =
        core_add(c, at, LLVMBuildMul(b, slot, core_i32(c, pairs_bytes(c)), ""));
    for (uint32_t s = 0; s < c->t->columns / 16; s++) {
        uint32_t box = s * 16 / PANEL_WIDTH, in_box = s * 16 % PANEL_WIDTH;
        LV to = LLVMBuildXor(b, at, core_i32(c, 2 * in_box), "");
        to = core_add(c, to, core_i32(c, box * cross(c)->box_bytes));
        sm90_stmatrix(&e->s, to, false, &pairs[(size_t)4 * s]);
    }
    sm90_proxy_fence(&e->s);
    arrive(c, PAIRS_full, i);
}

uint32_t core_cross_width(const Core *c)
{
    return cross(c)->by_terms ? cross(c)->terms / c->t->groups
                              : cross(c)->terms;
}

/* Bytes from one warpgroup's part of the terms to the next's. */
static uint32_t part_bytes(const Core *c, const Panel *p)
{
    uint32_t part = core_cross_width(c);
    if (p->across) return part * PANEL_BYTES;
    return part % PANEL_WIDTH ? 2 * part : part / PANEL_WIDTH * p->box_bytes;
}

void core_cross_multiply(Core *c, LV i, LV *acc)
{
    Emit *e = c->e;
    const TensorCross *x = cross(c);
    const Panel *p = &c->t->panels.at[x->panel];
    LV zero = core_i32(c, 0), group = x->by_terms ? zero : c->group;
    wait_for(c, PAIRS_full, i);
    LV from = core_at(c, group, x->box_bytes, x->pairs_offset);
    LV slot = held(c, PAIRS_full, i).slot;
    from = core_add(
        c, from, LLVMBuildMul(e->s.b, slot, core_i32(c, pairs_bytes(c)), ""));
    LV a = sm90_descriptor(
        &e->s, from,
        sm90_descriptor_bits(PANEL_BYTES, x->box_bytes, 8 * PANEL_BYTES));
    LV part = x->by_terms ? c->group : zero;
    LV b = core_descriptor(c, p, core_at(c, part, part_bytes(c, p), p->offset),
                           false);
    CoreSteps k = core_steps(p, false);
    Sm90Mma op = {.n = core_cross_width(c),
                  .dtype = p->dtype,
                  .a_across = true,
                  .b_across = !p->across,
                  .steps = (unsigned)c->t->lines / 16,
                  .a_step = 16 * PANEL_BYTES,
                  .b_step = k.step,
                  .b_run = k.run,
                  .b_skip = k.skip};
    LLVMTypeRef f32 = LLVMFloatTypeInContext(e->s.cx);
    for (unsigned r = 0; r < op.n / 2; r++)
        acc[r] = LLVMGetUndef(f32);
    sm90_mma(&e->s, &op, acc, &a, b,
             LLVMConstInt(LLVMInt1TypeInContext(e->s.cx), 0, false));
}

static void store_pair(Core *c, LV at, LV x, LV y)
{
    LLVMBuilderRef b = c->e->s.b;
    LLVMTypeRef two = LLVMVectorType(LLVMFloatTypeInContext(c->e->s.cx), 2);
    LV v = LLVMBuildInsertElement(b, LLVMGetPoison(two), x, core_i32(c, 0), "");
    v = LLVMBuildInsertElement(b, v, y, core_i32(c, 1), "");
    LLVMSetAlignment(LLVMBuildStore(b, v, sm90_at(&c->e->s, at)), 8);
}

enum { BOX_TERMS = PANEL_BYTES / 4, BOX_GROUPS = BOX_TERMS / 8 };

/* A thread's pairs of a box of 32 terms.  Lines are swizzled, 16 bytes by 16
 * bytes; odd ones begin with the third group of 8 terms, else the threads of a
 * warp would meet in half of the banks. */
static void leave_box(Core *c, LV at, LV odd, const LV *acc, uint32_t groups)
{
    LLVMBuilderRef b = c->e->s.b;
    uint32_t swap = groups == BOX_GROUPS ? 2 : 0;
    for (uint32_t g = 0; g < groups; g++)
        for (uint32_t r = 0; r < 4; r += 2) {
            LV x[2];
            for (uint32_t i = 0; i < 2; i++)
                x[i] = LLVMBuildSelect(b, odd, acc[4 * (g ^ swap) + r + i],
                                       acc[4 * g + r + i], "");
            LV to = LLVMBuildXor(b, at, core_i32(c, 32 * g), "");
            to = core_add(c, to, core_i32(c, r / 2 * 8 * PANEL_BYTES));
            store_pair(c, to, x[0], x[1]);
        }
}

/* Where this thread's first pair of a tile goes, but for the group's swap. */
static LV leave_at(Core *c, LV i, LV lane)
{
    LLVMBuilderRef b = c->e->s.b;
    const TensorCross *x = cross(c);
    LV warp = LLVMBuildSub(b, c->warp, core_i32(c, 4), "");
    if (x->by_terms) warp = LLVMBuildAnd(b, warp, core_i32(c, 3), "");
    LV line = LLVMBuildLShr(b, lane, core_i32(c, 2), "");
    LV unit = bit(c, lane, 1);
    unit = LLVMBuildXor(b, unit, line, "");
    line = core_add(c, line, LLVMBuildMul(b, warp, core_i32(c, 16), ""));
    LV at = core_at(c, held(c, STAGE_full, i).slot, panel_bytes(&x->to),
                    x->to.offset);
    at = core_add(c, at, LLVMBuildMul(b, line, core_i32(c, PANEL_BYTES), ""));
    at = core_add(c, at, LLVMBuildMul(b, unit, core_i32(c, 16), ""));
    at = core_add(c, at, LLVMBuildMul(b, bit(c, lane, 0), core_i32(c, 8), ""));
    if (!x->by_terms) return at;
    uint32_t boxes = core_cross_width(c) / BOX_TERMS;
    return core_add(
        c, at,
        LLVMBuildMul(b, c->group, core_i32(c, boxes * x->to.box_bytes), ""));
}

/* The product is done: others may write pairs in the place of its own. */
void core_cross_leave(Core *c, LV i, const LV *acc)
{
    LLVMBuilderRef b = c->e->s.b;
    arrive(c, PAIRS_empty, i);
    LV lane = sm90_again(&c->e->s, c->lane);
    LV at = leave_at(c, i, lane), odd = bit(c, lane, 2);
    LV swapped = LLVMBuildMul(b, odd, core_i32(c, 64), "");
    swapped = LLVMBuildXor(b, at, swapped, "");
    odd = LLVMBuildICmp(b, LLVMIntNE, odd, core_i32(c, 0), "");
    wait_for(c, STAGE_empty, i);
    uint32_t width = core_cross_width(c);
    for (uint32_t t = 0; t < width; t += BOX_TERMS) {
        bool all = width - t >= BOX_TERMS;
        LV box = core_i32(c, t / BOX_TERMS * cross(c)->to.box_bytes);
        leave_box(c, core_add(c, all ? swapped : at, box), odd, acc + t / 2,
                  all ? BOX_GROUPS : (width - t) / 8);
    }
    sm90_proxy_fence(&c->e->s);
    arrive(c, STAGE_full, i);
}

/* ------------------------------------------------------------------- order */

static int64_t tiles_of(const Core *c)
{
    return c->t->ntiles;
}

static int64_t part_items(const Core *c)
{
    return tiles_of(c) * c->t->beside;
}

/* The number of our tile of rows; the item of another with the same other
 * axes. */
static LV tile_number(const Core *c)
{
    LLVMBuilderRef b = c->e->s.b;
    LV in_part = LLVMBuildURem(b, c->item, core_i32(c, part_items(c)), "");
    return LLVMBuildUDiv(b, in_part, core_i32(c, c->t->beside), "");
}

static LV item_of(const Core *c, LV tile)
{
    LLVMBuilderRef b = c->e->s.b;
    LV mine = LLVMBuildMul(b, tile_number(c), core_i32(c, c->t->beside), "");
    LV first = LLVMBuildSub(b, c->item, mine, "");
    return core_add(c, first,
                    LLVMBuildMul(b, tile, core_i32(c, c->t->beside), ""));
}

/* Whether some block is known to add to each tile of columns. */
bool core_cross_covers(Core *c)
{
    enum { MOST_ASKED = 1 << 18 };
    int64_t tiles = tiles_of(c), others = c->e->k->rows / tiles, tile = 0;
    int64_t asked = 0, beside = c->t->beside;
    if (!c->t->listed) return true;
    for (int64_t i = 0; i < others * c->t->nblocks; i++) {
        int64_t rest = i / c->t->nblocks, step = i % c->t->nblocks, tried = 0;
        rest = rest / beside * part_items(c) + rest % beside;
        while (tried < tiles && !core_known(c, tile * beside + rest, step)) {
            tile = (tile + 1) % tiles;
            tried++;
        }
        asked += tried + 1;
        if (tried == tiles || asked > MOST_ASKED) return false;
    }
    return true;
}

/* Bits of the lanes whose block, base + lane * way, has pairs in the step. */
static LV ballot_blocks(Core *c, LV base, int way, LV step)
{
    LLVMBuilderRef b = c->e->s.b;
    int64_t tiles = tiles_of(c);
    LV lane = LLVMBuildMul(b, c->lane, core_i32(c, way), "");
    LV block = core_add(c, base, lane);
    LV exists = LLVMBuildICmp(b, LLVMIntULT, block, core_i32(c, tiles), "");
    block = LLVMBuildSelect(b, exists, block, core_i32(c, 0), "");
    LV some = exists;
    if (c->t->listed) {
        LV empty, full;
        Tile3 tile = {.s = &c->e->s,
                      .k = c->e->k,
                      .item = core_long(c, item_of(c, block)),
                      .step = core_long(c, step)};
        classes_of_step(&tile, c->t, &empty, &full);
        some = LLVMBuildAnd(b, exists, LLVMBuildNot(b, empty, ""), "");
    }
    return gpu_ballot(c->e, some);
}

/* The nearest block on the way from ours that has pairs in the step, plus 1;
 * 0: none. */
static LV neighbour(Core *c, int way, LV step)
{
    LLVMBuilderRef b = c->e->s.b;
    LLVMTypeRef word = LLVMInt32TypeInContext(c->e->s.cx);
    int64_t tiles = tiles_of(c);
    LV mine = tile_number(c);
    LV zero = core_i32(c, 0), first = core_add(c, mine, core_i32(c, way));
    LLVMBasicBlockRef before = LLVMGetInsertBlock(b);
    LLVMBasicBlockRef head = emit_block(c->e, "look");
    LLVMBasicBlockRef body = emit_block(c->e, "blocks");
    LLVMBasicBlockRef on = emit_block(c->e, "farther");
    LLVMBasicBlockRef exit = emit_block(c->e, "found");
    LLVMBuildBr(b, head);
    LLVMPositionBuilderAtEnd(b, head);
    LV base = LLVMBuildPhi(b, word, "");
    LLVMBuildCondBr(b,
                    LLVMBuildICmp(b, LLVMIntULT, base, core_i32(c, tiles), ""),
                    body, exit);
    LLVMPositionBuilderAtEnd(b, body);
    LV bits = ballot_blocks(c, base, way, step);
    LV low = LLVMBuildAnd(b, bits, LLVMBuildNeg(b, bits, ""), "");
    low = LLVMBuildSub(b, low, core_i32(c, 1), "");
    LV lane = site_call(&c->e->s, "llvm.ctpop", &low, 1);
    LV found = core_add(c, base, LLVMBuildMul(b, lane, core_i32(c, way), ""));
    found = core_add(c, found, core_i32(c, 1));
    LV any = LLVMBuildICmp(b, LLVMIntNE, bits, zero, "");
    LLVMBasicBlockRef looked = LLVMGetInsertBlock(b);
    LLVMBuildCondBr(b, any, exit, on);
    LLVMPositionBuilderAtEnd(b, on);
    LV next = core_add(c, base, core_i32(c, (int64_t)way * WARP));
    LLVMBuildBr(b, head);
    LLVMAddIncoming(base, (LV[]){first, next},
                    (LLVMBasicBlockRef[]){before, on}, 2);
    LLVMPositionBuilderAtEnd(b, exit);
    LV at = LLVMBuildPhi(b, word, "");
    LLVMAddIncoming(at, (LV[]){zero, found},
                    (LLVMBasicBlockRef[]){head, looked}, 2);
    return at;
}

static LV word_at(Core *c, Ix at)
{
    Emit *e = c->e;
    LV i = emit_ix(e, at);
    return LLVMBuildGEP2(e->s.b, LLVMInt32TypeInContext(e->s.cx),
                         e->args[cross(c)->turns], &i, 1, "");
}

LV core_cross_number(Core *c)
{
    return sm90_count(&c->e->s, word_at(c, cross(c)->ticket));
}

void core_cross_reset(Core *c)
{
    sm90_release(&c->e->s, word_at(c, cross(c)->ticket), core_i32(c, 0));
}

/* -------------------------------------------------------------- the senders */

/* Code of lane 0 alone. */
static LLVMBasicBlockRef one_lane(Core *c)
{
    LV is = LLVMBuildICmp(c->e->s.b, LLVMIntEQ, c->lane, core_i32(c, 0), "");
    return emit_when(c->e, is, "one");
}

static void all_lanes(Core *c, LLVMBasicBlockRef on)
{
    emit_on(c->e, on);
    sm90_sync_warp(&c->e->s);
}

/* The tile of sums of step i, box by box. */
static void send_tile(Core *c, LV i, bool first)
{
    Emit *e = c->e;
    const Panel *p = &cross(c)->to;
    LV at[TITAN_MAP_DIMS], map = LLVMGetParam(e->fn, e->k->nargs + p->map);
    for (uint32_t d = 0; d < p->rank; d++)
        at[d] = LLVMBuildIntCast2(e->s.b, emit_ix(e, p->at[d]),
                                  LLVMInt32TypeInContext(e->s.cx), true, "");
    LV from =
        core_at(c, held(c, STAGE_full, i).slot, panel_bytes(p), p->offset);
    for (uint32_t t = 0; t < p->boxes; t++) {
        LV box = core_add(c, from, core_i32(c, t * p->box_bytes));
        at[0] = core_i32(c, t * BOX_TERMS);
        (first ? sm90_store : sm90_add)(&e->s, map, at, p->rank, box);
    }
}

/* Lane 0: in our turn, which is that after `before`. */
static void send_in_turn(Core *c, LV i, LV word, LV before)
{
    Emit *e = c->e;
    LLVMBuilderRef b = e->s.b;
    LLVMBasicBlockRef begin = emit_block(e, "begin");
    LLVMBasicBlockRef add = emit_block(e, "add");
    LLVMBasicBlockRef sent = emit_block(e, "sent");
    LV first = LLVMBuildICmp(b, LLVMIntEQ, before, core_i32(c, 0), "");
    LLVMBuildCondBr(b, first, begin, add);
    LLVMPositionBuilderAtEnd(b, begin);
    wait_for(c, STAGE_full, i);
    send_tile(c, i, true);
    LLVMBuildBr(b, sent);
    LLVMPositionBuilderAtEnd(b, add);
    sm90_acquire_wait(&e->s, word, before);
    wait_for(c, STAGE_full, i);
    send_tile(c, i, false);
    LLVMBuildBr(b, sent);
    LLVMPositionBuilderAtEnd(b, sent);
    sm90_store_commit(&e->s);
    sm90_store_wait(&e->s, 0, true);
    sm90_mbar_arrive(&e->s,
                     barrier(c, STAGE_empty, held(c, STAGE_full, i).slot));
}

static LV enter(Core *c, LV i)
{
    LV step = core_step(c, i, STEP_either);
    emit_enter(c->e, c->t->passes.at[0].blocks, core_index(c, step));
    return step;
}

/* While the copy engine adds, the warp looks who comes after it, and after whom
 * it comes in its next step. */
static LV send_step(Core *c, LV i, LV before, int way)
{
    Emit *e = c->e;
    LLVMBuilderRef b = e->s.b;
    LV step = enter(c, i), word = word_at(c, cross(c)->turn);
    LLVMBasicBlockRef on = one_lane(c);
    send_in_turn(c, i, word, before);
    all_lanes(c, on);
    LV after = neighbour(c, -way, step);
    LV next = core_add(c, i, core_i32(c, cross(c)->stages));
    LV more = LLVMBuildICmp(b, LLVMIntSLT, next, core_count(c, COUNT_run), "");
    next = LLVMBuildSelect(b, more, next, i, "");
    before = neighbour(c, way, core_step(c, next, STEP_either));
    LV mine = core_add(c, tile_number(c), core_i32(c, 1));
    LV last = LLVMBuildICmp(b, LLVMIntEQ, after, core_i32(c, 0), "");
    on = one_lane(c);
    sm90_store_wait(&e->s, 0, false);
    sm90_release(&e->s, word,
                 LLVMBuildSelect(b, last, core_i32(c, 0), mine, ""));
    all_lanes(c, on);
    return before;
}

/* A warp for each stage, the last of the feeding group. */
void core_cross_send(Core *c)
{
    LLVMBuilderRef b = c->e->s.b;
    int way = core_backward(c) ? 1 : -1;
    LV from = LLVMBuildSub(b, core_i32(c, 3), c->warp, "");
    LV some = LLVMBuildICmp(b, LLVMIntSLT, from, core_count(c, COUNT_run), "");
    LV first = LLVMBuildSelect(b, some, from, core_i32(c, 0), "");
    LV before = neighbour(c, way, core_step(c, first, STEP_either));
    CoreLoop l = core_loop(c, from, COUNT_run, &before, 1);
    before = send_step(c, l.i, before, way);
    core_loop_end(c, &l, &before, core_i32(c, cross(c)->stages));
}
