/*
 * matmul.c: the matmul kernel of sm_90a.
 *
 * Blocks stay on their processor and walk over the tiles.  One thread of the
 * first warpgroup fills a ring of stages of K by the copy engine; the other
 * warpgroups multiply what is there and give it back.  Each stage has two
 * barriers, `full` and `empty`.  The p-th stage that a block uses is slot
 * p % stages in its turn p / stages, so neither side carries more than a count.
 *
 * Every element has one writer and one order of its sum: bits do not change
 * from run to run.
 */
#include "matmul_emit.h"

/* Registers of a thread in its role; what the producer gives is what the others
 * take.  0: as at entry. */
typedef struct Registers {
    unsigned producer, consumer;
} Registers;

static Registers registers_of(const Matmul *p)
{
    uint32_t sums = p->group_m / 64 * p->t.n / 2 * (p->promotes ? 2 : 1);
    sums += matmul_scale_registers(p);
    if (p->t.groups == 1) return (Registers){0, 0};
    if (p->t.groups == 3) return (Registers){32, 160};
    return sums > 128 ? (Registers){24, 240} : (Registers){40, 232};
}

/* ----------------------------------------------------------------- tiles -- */

static LV tile_of(const Mm *m, LV turn)
{
    return mm_add(m, m->block, LLVMBuildMul(m->s.b, turn, m->blocks, ""));
}

/* Tiles are walked in bands of `raster` rows of tiles, down each band first, so
 * that what all processors read at a time is as near to a square as may be. */
static Corner corner_of(const Mm *m, LV tile)
{
    const Matmul *p = m->p;
    Corner at;
    LV batch = mm_over(m, tile, p->tiles_m * p->tiles_n);
    LV t = mm_rest(m, tile, p->tiles_m * p->tiles_n);
    at.batch[MATMUL_CHOSEN] = batch;
    for (uint32_t i = p->g.nbatch; i-- > 0;) {
        at.batch[i] = mm_rest(m, batch, p->g.batch[i]);
        batch = mm_over(m, batch, p->g.batch[i]);
    }
    int64_t band = p->t.raster * p->tiles_n;
    LV top = mm_times(m, mm_over(m, t, band), p->t.raster);
    LV in = mm_rest(m, t, band);
    LV left = LLVMBuildSub(m->s.b, mm_num(m, p->tiles_m), top, "");
    LV few = mm_is(m, LLVMIntULT, left, mm_num(m, p->t.raster));
    LV high = LLVMBuildSelect(m->s.b, few, left, mm_num(m, p->t.raster), "");
    LV down = LLVMBuildURem(m->s.b, in, high, "");
    LV along = LLVMBuildUDiv(m->s.b, in, high, "");
    down = mm_add(m, top, down);
    if (p->t.pair == MATMUL_DOWN)
        down = mm_add(m, mm_times(m, down, 2), m->rank);
    if (p->t.pair == MATMUL_ACROSS)
        along = mm_add(m, mm_times(m, along, 2), m->rank);
    at.m = mm_times(m, down, p->t.m);
    at.n = mm_times(m, along, p->group_n);
    at.from = mm_num(m, 0);
    at.steps = mm_num(m, p->steps);
    if (p->blocked.chosen) mm_choose(m, &at);
    if (p->blocked.scattered) mm_gather_terms(m, &at);
    return at;
}

uint32_t mm_coordinates(const MatmulView *v, const Corner *at, LV inner,
                        LV outer, LV out[SM90_DIMS])
{
    out[0] = inner;
    out[1] = outer;
    for (uint32_t i = 2; i < v->map.rank; i++)
        out[i] = at->batch[v->batch[i]];
    return v->map.rank;
}

/* ---------------------------------------------------------------- stages -- */

static uint32_t stage_bytes(const Mm *m)
{
    return m->p->a_bytes + m->p->b_bytes;
}

static LV slot_of(const Mm *m, LV count)
{
    return mm_rest(m, count, m->p->t.stages);
}

static LV stage_at(const Mm *m, LV slot)
{
    return mm_add(m, m->base, mm_times(m, slot, stage_bytes(m)));
}

/* Barriers: full of each stage, then empty of each stage. */
static LV full_bar(const Mm *m, LV slot)
{
    return mm_plus(m, mm_add(m, m->base, mm_times(m, slot, 8)), m->p->bars_at);
}

static LV empty_bar(const Mm *m, LV slot)
{
    return mm_plus(m, full_bar(m, slot), 8 * m->p->t.stages);
}

/* The turn of the ring, even or odd. */
static LV parity_of(const Mm *m, LV count)
{
    return mm_and(m, mm_over(m, count, m->p->t.stages), mm_num(m, 1));
}

/* Stages of the tiles before, which are counted where tiles differ. */
static LV stages_before(const Mm *m, const Turns *tiles)
{
    return matmul_is_blocked(m->p) ? tiles->carried[0]
                                   : mm_times(m, tiles->i, m->p->steps);
}

/* -------------------------------------------------------------- producer -- */

/* Rows (or columns) `from` .. of an operand, at K = k; of one that is shared
 * this block's part, to all. */
static void load_operand(const Mm *m, uint32_t view, const Corner *at, LV from,
                         LV k, uint32_t extent, LV to, LV bar)
{
    const MatmulView *v = &m->p->view[view];
    uint32_t boxes = v->across ? extent / MATMUL_LINES : 1,
             part = v->map.box[1];
    LV c[SM90_DIMS];
    if (v->parts > 1) {
        LV skip = mm_times(m, m->rank, part);
        to = mm_add(m, to, mm_times(m, skip, MATMUL_ROW_BYTES));
        if (v->across)
            k = mm_add(m, k, skip);
        else
            from = mm_add(m, from, skip);
    }
    for (uint32_t i = 0; i < boxes; i++) {
        LV mn = mm_plus(m, from, MATMUL_LINES * i);
        LV there = mm_plus(m, to, MATMUL_BOX_BYTES * i);
        uint32_t n = v->across ? mm_coordinates(v, at, mn, k, c)
                               : mm_coordinates(v, at, k, mn, c);
        sm90_load_as(&m->s, there, m->map[view], c, n, bar,
                     &(Sm90How){.blocks = v->parts > 1 ? 3 : 0});
    }
}

static void fill_stage(const Mm *m, const Corner *at, LV count, LV step)
{
    const Matmul *p = m->p;
    LV slot = slot_of(m, count), to = stage_at(m, slot);
    LV full = full_bar(m, slot);
    LV k = mm_add(m, at->from, mm_times(m, step, matmul_k(p)));
    Corner here = *at;
    if (p->g.pieces > 1) {
        here.batch[MATMUL_PIECE] = mm_over(m, k, p->g.k / p->g.pieces);
        k = mm_rest(m, k, p->g.k / p->g.pieces);
    }
    LV parity = LLVMBuildXor(m->s.b, parity_of(m, count), mm_num(m, 1), "");
    sm90_mbar_wait(&m->s, empty_bar(m, slot), parity);
    sm90_mbar_expect(&m->s, full, mm_num(m, stage_bytes(m)));
    load_operand(m, 0, &here, at->m, k, p->t.m, to, full);
    to = mm_plus(m, to, p->a_bytes);
    for (uint32_t i = 0; i < p->products; i++)
        load_operand(m, 1 + i, &here, at->n, k, p->group_n,
                     mm_plus(m, to, p->b_bytes / p->products * i), full);
}

/* A block's memory is there until the others have given back all stages. */
static void emit_end(const Mm *m)
{
    if (m->p->blocks > 1) sm90_sync_cluster(&m->s, true);
    LLVMBuildRetVoid(m->s.b);
}

static void emit_producer(const Mm *m)
{
    unsigned mine = registers_of(m->p).producer;
    if (mine) sm90_registers(&m->s, mine, false);
    LV zero = mm_num(m, 0);
    LLVMBasicBlockRef after =
        mm_if(m, mm_and(m, mm_is(m, LLVMIntEQ, m->warp, zero), m->first));
    Turns tiles, steps;
    mm_turns(m, &tiles, zero, &zero, matmul_is_blocked(m->p));
    LV tile = tile_of(m, tiles.i);
    mm_turns_while(m, &tiles,
                   mm_is(m, LLVMIntULT, tile, mm_num(m, m->p->tiles)));
    Corner at = corner_of(m, tile);
    LV count = stages_before(m, &tiles);
    mm_turns(m, &steps, zero, NULL, 0);
    mm_turns_while(m, &steps, mm_is(m, LLVMIntULT, steps.i, at.steps));
    fill_stage(m, &at, mm_add(m, count, steps.i), steps.i);
    mm_turns_end(m, &steps, 1, NULL);
    count = mm_add(m, count, at.steps);
    mm_turns_end(m, &tiles, 1, &count);
    mm_if_end(m, after);
    emit_end(m);
}

/* -------------------------------------------------------------- consumer -- */

/* A warp has read a stage: every block that writes there hears of it. */
static void give_back(const Mm *m, LV slot, LV when)
{
    LV bar = empty_bar(m, slot);
    if (m->p->blocks == 1) {
        sm90_mbar_arrive_if(&m->s, bar, mm_and(m, when, m->first));
        return;
    }
    LV mine = mm_is(m, LLVMIntULT, m->lane, mm_num(m, m->p->blocks));
    sm90_mbar_arrive_there(&m->s, bar, m->lane, mm_and(m, when, mine));
}

/* How many instructions make a warpgroup's tile, one below the other. */
static uint32_t parts_of(const Mm *m)
{
    return m->p->group_m / MATMUL_LINES;
}

static Sm90Mma mma_of(const Mm *m)
{
    enum {
        along = MATMUL_ROW_BYTES / MATMUL_K_STEPS,
        across = MATMUL_BOX_BYTES / MATMUL_K_STEPS
    };
    bool a = m->p->view[0].across, b = m->p->view[1].across;
    return (Sm90Mma){.n = m->p->t.n,
                     .dtype = m->p->g.a,
                     .b_dtype = m->p->g.b,
                     .a_across = a,
                     .b_across = b,
                     .steps = MATMUL_K_STEPS,
                     .a_step = a ? across : along,
                     .b_step = b ? across : along};
}

/* The products of a stage: 64 rows after 64 rows. */
static void multiply(const Mm *m, LV stage, LV go_on, LV *acc)
{
    Sm90Mma op = mma_of(m);
    uint64_t bits = sm90_descriptor_bits(MATMUL_ROW_BYTES, MATMUL_BOX_BYTES,
                                         8 * MATMUL_ROW_BYTES);
    uint32_t each = m->p->t.n / 2;
    LV mine = m->p->t.turns
                  ? mm_num(m, 0)
                  : mm_times(m, m->group, MATMUL_BOX_BYTES * parts_of(m));
    LV a = sm90_descriptor(&m->s, mm_add(m, stage, mine), bits);
    LV b = sm90_descriptor(&m->s, mm_plus(m, stage, m->p->a_bytes), bits);
    for (uint32_t i = 0; i < parts_of(m); i++) {
        LV part = LLVMBuildAdd(m->s.b, a,
                               sm90_i64(&m->s, MATMUL_BOX_BYTES / 16 * i), "");
        sm90_mma(&m->s, &op, acc + each * i, &part, b, go_on);
    }
}

/* Two groups that take turns wait for each other's stages: the parity of a
 * barrier tells a stage from the one before, not from the one before that.
 * Named barrier 1 + group is that group's leave to begin. */
static void await_turn(const Mm *m)
{
    if (m->p->t.turns)
        sm90_sync_at(&m->s, mm_plus(m, m->group, 1), 2 * SM90_GROUP);
}

static void pass_turn(const Mm *m)
{
    LV other = LLVMBuildSub(m->s.b, mm_num(m, 2), m->group, "");
    if (m->p->t.turns) sm90_arrive_at(&m->s, other, 2 * SM90_GROUP);
}

/* Sums over K; a stage is given back when the next one's products are on their
 * way. */
static void emit_sums(const Mm *m, const Corner *corner, LV count, LV *acc)
{
    await_turn(m);
    uint32_t n = parts_of(m) * m->p->t.n / 2;
    LLVMTypeRef f32 = LLVMFloatTypeInContext(m->s.cx);
    for (uint32_t i = 0; i < n; i++)
        acc[i] =
            matmul_is_blocked(m->p) ? LLVMConstNull(f32) : LLVMGetPoison(f32);
    Turns t;
    mm_turns(m, &t, mm_num(m, 0), acc, n);
    mm_turns_while(m, &t, mm_is(m, LLVMIntULT, t.i, corner->steps));
    LV at = mm_add(m, count, t.i), slot = slot_of(m, at);
    LV go_on = mm_is(m, LLVMIntNE, t.i, mm_num(m, 0));
    sm90_mbar_wait(&m->s, full_bar(m, slot), parity_of(m, at));
    for (uint32_t i = 0; i < n; i++)
        acc[i] = t.carried[i];
    multiply(m, stage_at(m, slot), go_on, acc);
    sm90_mma_wait(&m->s, parts_of(m), NULL, 0);
    LV before = slot_of(m, mm_plus(m, at, m->p->t.stages - 1));
    give_back(m, before, go_on);
    mm_turns_end(m, &t, 1, acc);
    pass_turn(m);
    for (uint32_t i = 0; i < n; i++)
        acc[i] = t.carried[i];
    sm90_mma_wait(&m->s, 0, acc, n);
    LV last = mm_plus(m, mm_add(m, count, corner->steps), -1);
    LV any = mm_is(m, LLVMIntNE, corner->steps, mm_num(m, 0));
    give_back(m, slot_of(m, last), any);
}

/* The same where the sums of each stage are added to others: while one group
 * adds, tensor cores multiply for the other.  Behind the sums a turn carries
 * the scales of its stage. */
static void emit_promoted(const Mm *m, const Corner *corner, LV count, LV *acc)
{
    uint32_t n = parts_of(m) * m->p->t.n / 2, scales = mm_scales_count(m);
    LLVMTypeRef f32 = LLVMFloatTypeInContext(m->s.cx);
    LV yes = LLVMConstInt(LLVMInt1TypeInContext(m->s.cx), 1, false);
    for (uint32_t i = 0; i < n; i++)
        acc[i] = LLVMConstNull(f32);
    mm_scales_load(m, corner, mm_num(m, 0), acc + n);
    Turns t;
    mm_turns(m, &t, mm_num(m, 0), acc, n + scales);
    mm_turns_while(m, &t, mm_is(m, LLVMIntULT, t.i, corner->steps));
    LV at = mm_add(m, count, t.i), slot = slot_of(m, at);
    mm_scales_load(m, corner, mm_plus(m, t.i, 1), acc + n);
    sm90_mbar_wait(&m->s, full_bar(m, slot), parity_of(m, at));
    for (uint32_t i = 0; i < n; i++)
        acc[i] = LLVMGetPoison(f32);
    multiply(m, stage_at(m, slot), LLVMConstNull(LLVMTypeOf(yes)), acc);
    sm90_mma_wait(&m->s, 0, acc, n);
    give_back(m, slot, yes);
    for (uint32_t i = 0; i < n; i++)
        acc[i] = scales ? mm_scaled(m, t.carried + n, i, acc[i], t.carried[i])
                        : LLVMBuildFAdd(m->s.b, t.carried[i], acc[i], "");
    mm_turns_end(m, &t, 1, acc);
    for (uint32_t i = 0; i < n; i++)
        acc[i] = t.carried[i];
}

static void emit_consumer(const Mm *m)
{
    const MatmulTile *t = &m->p->t;
    LV acc[MATMUL_ACC];
    unsigned mine = registers_of(m->p).consumer;
    if (mine) sm90_registers(&m->s, mine, true);
    if (t->turns) { /* the second lets the first begin */
        LLVMBasicBlockRef after =
            mm_if(m, mm_is(m, LLVMIntEQ, m->group, mm_num(m, 1)));
        pass_turn(m);
        mm_if_end(m, after);
    }
    Turns tiles;
    LV zero = mm_num(m, 0);
    mm_turns(m, &tiles, t->turns ? m->group : zero, &zero,
             matmul_is_blocked(m->p));
    LV tile = tile_of(m, tiles.i);
    mm_turns_while(m, &tiles,
                   mm_is(m, LLVMIntULT, tile, mm_num(m, m->p->tiles)));
    Corner at = corner_of(m, tile);
    if (mm_fetches(m)) mm_fetch_first(m, &at);
    LV count = stages_before(m, &tiles);
    if (m->p->promotes)
        emit_promoted(m, &at, count, acc);
    else
        emit_sums(m, &at, count, acc);
    LV before = t->turns ? mm_over(m, tiles.i, t->groups) : tiles.i;
    mm_result(m, &at, before, acc);
    count = mm_add(m, count, at.steps);
    mm_turns_end(m, &tiles, t->turns ? t->groups : 1, &count);
    LLVMBasicBlockRef after = mm_if(m, m->first);
    sm90_store_wait(&m->s, 0, false);
    mm_if_end(m, after);
    emit_end(m);
}

/* ---------------------------------------------------------------- kernel -- */

/* One thread makes the barriers: of stages, then of the warps' chunks. */
static void emit_barriers(const Mm *m)
{
    const MatmulTile *t = &m->p->t;
    LV zero = mm_num(m, 0);
    LLVMBasicBlockRef after =
        mm_if(m, mm_is(m, LLVMIntEQ, sm90_thread(&m->s), zero));
    for (uint32_t i = 0; i < m->p->nviews; i++)
        sm90_map_prefetch(&m->s, m->map[i]);
    unsigned users = 4 * (t->turns ? 1 : t->groups) * m->p->blocks;
    for (uint32_t i = 0; i < t->stages; i++) {
        sm90_mbar_init(&m->s, full_bar(m, mm_num(m, i)), 1);
        sm90_mbar_init(&m->s, empty_bar(m, mm_num(m, i)), users);
    }
    uint32_t at = m->p->bars_at + 16 * t->stages;
    for (uint32_t i = 0; i < 4 * t->groups * t->ahead && mm_fetches(m); i++)
        sm90_mbar_init(&m->s, mm_plus(m, m->base, at + 8 * i), 1);
    sm90_mbar_fence(&m->s);
    mm_if_end(m, after);
    if (m->p->blocks > 1) sm90_sync_cluster(&m->s, false);
    sm90_sync_block(&m->s);
}

LV matmul_emit(LLVMModuleRef module, const char *name, const Matmul *p)
{
    Mm m = {.p = p};
    m.fn = sm90_kernel(module, name, p->nargs, p->nviews, p->threads);
    m.s = (Site){.cx = LLVMGetModuleContext(module),
                 .module = module,
                 .w = 1,
                 .gpu = true};
    m.s.b = LLVMCreateBuilderInContext(m.s.cx);
    mm_enter(&m, mm_block(&m, "entry"));
    for (unsigned i = 0; i < p->nviews; i++)
        m.map[i] = LLVMGetParam(m.fn, p->nargs + i);
    m.base = sm90_shared(&m.s);
    m.block = mm_over(&m, sm90_block(&m.s), p->blocks);
    m.blocks = mm_over(&m, sm90_blocks(&m.s), p->blocks);
    m.rank = mm_num(&m, 0);
    if (p->blocks > 1) {
        sm90_cluster(m.fn, p->blocks);
        m.rank = sm90_cluster_rank(&m.s);
    }
    m.lane = sm90_lane(&m.s);
    m.first = mm_is(&m, LLVMIntEQ, m.lane, mm_num(&m, 0));
    emit_barriers(&m);
    LV warp = sm90_warp(&m.s), group = mm_over(&m, warp, 4);
    m.warp = mm_rest(&m, warp, 4);
    m.group = mm_plus(&m, group, -1);
    LLVMBasicBlockRef load = mm_block(&m, "load"), use = mm_block(&m, "use");
    LLVMBuildCondBr(m.s.b, mm_is(&m, LLVMIntEQ, group, mm_num(&m, 0)), load,
                    use);
    mm_enter(&m, load);
    emit_producer(&m);
    mm_enter(&m, use);
    emit_consumer(&m);
    LLVMDisposeBuilder(m.s.b);
    return m.fn;
}
