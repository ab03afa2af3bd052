/*
 * gpu_tensor.c: a tile region on Hopper's tensor cores (tensor.h).
 *
 *     warpgroup 0       one thread feeds the panels to shared memory, one warp
 *                       the values per column (gpu_stage.c)
 *     the others        64 rows each: dots, nests, wide products
 *
 * Steps go round in slots.  Each swept panel has a pair of barriers per slot:
 * full, when the copy engine has written it, and empty, when every consumer
 * warp has read it.  Step number n of a panel takes slot n mod slots.
 *
 * Where registers allow it the wide products of a step run under the dots and
 * nests of the next one (`lags`):
 *
 *     dots 0, nests 0
 *     for step i:    dots i | wides i - 1    the tensor cores
 *                    nests i                 when dots i are there
 *     wides of the last step
 */
#include <math.h>

#include "gpu_tensor.h"

/* ------------------------------------------------------------------- steps */

LV core_i32(const Core *c, int64_t i)
{
    return sm90_i32(&c->e->s, i);
}

LV core_add(const Core *c, LV x, LV y)
{
    return LLVMBuildAdd(c->e->s.b, x, y, "");
}

LV core_at(const Core *c, LV x, int64_t by, int64_t plus)
{
    LV at = LLVMBuildMul(c->e->s.b, x, core_i32(c, by), "");
    return core_add(c, c->base, core_add(c, at, core_i32(c, plus)));
}

LV core_count(const Core *c, CoreCount which)
{
    if (!c->t->listed || which == COUNT_all)
        return core_i32(c, which == COUNT_full ? 0 : c->t->nblocks);
    if (which == COUNT_full)
        return LLVMBuildSub(c->e->s.b, core_count(c, COUNT_run),
                            core_count(c, COUNT_mixed), "");
    LV at = core_i32(c, c->t->list_offset + (which == COUNT_run ? 4 : 0));
    LV p = sm90_at(&c->e->s, core_add(c, c->base, at));
    return LLVMBuildLoad2(c->e->s.b, LLVMInt32TypeInContext(c->e->s.cx), p, "");
}

LV core_step(const Core *c, LV i, CoreClass class)
{
    LLVMBuilderRef b = c->e->s.b;
    LV at = i;
    if (!c->t->listed) return i;
    if (core_full_first(c)) {
        LV last = core_i32(c, c->t->nblocks - 1), full = NULL;
        at = LLVMBuildSub(b, last, i, "");
        if (class != STEP_full) full = core_count(c, COUNT_full);
        if (class == STEP_mixed) at = LLVMBuildSub(b, i, full, "");
        if (class == STEP_either)
            at = LLVMBuildSelect(b, LLVMBuildICmp(b, LLVMIntSLT, i, full, ""),
                                 at, LLVMBuildSub(b, i, full, ""), "");
    } else if (class != STEP_mixed) {
        LV mixed = core_count(c, COUNT_mixed);
        at = core_add(c, mixed, core_i32(c, c->t->nblocks - 1));
        at = LLVMBuildSub(b, at, i, "");
        LV front = LLVMBuildICmp(b, LLVMIntSLT, i, mixed, "");
        if (class == STEP_either) at = LLVMBuildSelect(b, front, i, at, "");
    }
    LV p = sm90_at(&c->e->s, core_at(c, at, 2, c->t->list_offset + 16));
    LLVMTypeRef half = LLVMInt16TypeInContext(c->e->s.cx);
    return LLVMBuildZExt(b, LLVMBuildLoad2(b, half, p, ""),
                         LLVMInt32TypeInContext(c->e->s.cx), "");
}

LV core_index(const Core *c, LV x)
{
    return LLVMBuildIntCast2(c->e->s.b, x, c->e->ity, true, "");
}

LV core_long(const Core *c, LV x)
{
    return LLVMBuildSExt(c->e->s.b, x, LLVMInt64TypeInContext(c->e->s.cx), "");
}

/* ------------------------------------------------------------------- slots */

typedef struct Ring {
    LV number, parity;
} Ring;

static uint32_t passes_before(const Core *c, uint32_t pass, uint32_t panel)
{
    uint32_t n = 0;
    for (uint32_t p = 0; p < pass; p++)
        n += core_reads(c, p, panel, true) || core_reads(c, p, panel, false);
    return n;
}

static Ring ring_at(const Core *c, uint32_t passes, LV i)
{
    LLVMBuilderRef b = c->e->s.b;
    LV n = i, slots = core_i32(c, c->t->slots);
    if (passes > 0) {
        LV before = core_count(c, COUNT_run);
        before = LLVMBuildMul(b, before, core_i32(c, passes), "");
        n = core_add(c, before, i);
    }
    LV turn = LLVMBuildUDiv(b, n, slots, "");
    return (Ring){LLVMBuildURem(b, n, slots, ""),
                  LLVMBuildAnd(b, turn, core_i32(c, 1), "")};
}

static Ring slot_of(const Core *c, uint32_t pass, uint32_t panel, LV i)
{
    return ring_at(c, passes_before(c, pass, panel), i);
}

void core_stage_slot(Core *c, uint32_t pass, LV i, LV *number, LV *parity)
{
    Ring r = ring_at(c, pass, i);
    *number = r.number;
    *parity = r.parity;
}

LV core_barrier(const Core *c, uint32_t panel, LV slot, bool empty)
{
    uint32_t first = 1 + (2 * panel + empty) * c->t->slots;
    return core_at(c, slot, 8, c->t->bar_offset + 8 * first);
}

static LV own_barrier(const Core *c)
{
    return core_add(c, c->base, core_i32(c, c->t->bar_offset));
}

static LV panel_address(const Core *c, const Panel *p, LV slot)
{
    return core_at(c, slot, panel_bytes(p), p->offset);
}

/* Whether sweeps or dots of the pass read the panel. */
bool core_reads(const Core *c, uint32_t pass, uint32_t panel, bool dots)
{
    const TensorTile *t = c->t;
    const TensorPass *p = &t->passes.at[pass];
    for (uint32_t i = 0; dots && i < t->dots.n; i++)
        if (t->dots.at[i].swept == panel && dot_in(c->e->k, p, &t->dots.at[i]))
            return true;
    for (uint32_t i = 0; !dots && i < t->sweeps.n; i++)
        if (t->sweeps.at[i].wide && t->sweeps.at[i].panel == panel &&
            sweep_in(p, &t->sweeps.at[i]))
            return true;
    return false;
}

/* ------------------------------------------------------------------- loops */

CoreLoop core_loop(Core *c, LV from, CoreCount to, LV *carried, unsigned n)
{
    LLVMBuilderRef b = c->e->s.b;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(b);
    CoreLoop l = {.head = emit_block(c->e, "head"),
                  .exit = emit_block(c->e, "exit"),
                  .n = n};
    LLVMBasicBlockRef body = emit_block(c->e, "body");
    LLVMBuildBr(b, l.head);
    LLVMPositionBuilderAtEnd(b, l.head);
    l.i = LLVMBuildPhi(b, LLVMTypeOf(from), "");
    LLVMAddIncoming(l.i, &from, &before, 1);
    l.phis = NEW_ARRAY(c->e->k->arena, LV, (size_t)n + 1);
    for (unsigned i = 0; i < n; i++) {
        l.phis[i] = LLVMBuildPhi(b, LLVMTypeOf(carried[i]), "");
        LLVMAddIncoming(l.phis[i], &carried[i], &before, 1);
        carried[i] = l.phis[i];
    }
    LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, l.i, core_count(c, to), ""),
                    body, l.exit);
    LLVMPositionBuilderAtEnd(b, body);
    return l;
}

void core_loop_end(Core *c, CoreLoop *l, LV *carried, LV by)
{
    LLVMBuilderRef b = c->e->s.b;
    LV next = LLVMBuildAdd(b, l->i, by, "");
    LLVMBasicBlockRef here = LLVMGetInsertBlock(b);
    LLVMAddIncoming(l->i, &next, &here, 1);
    for (unsigned i = 0; i < l->n; i++) {
        LLVMAddIncoming(l->phis[i], &carried[i], &here, 1);
        carried[i] = l->phis[i];
    }
    LLVMBuildBr(b, l->head);
    LLVMPositionBuilderAtEnd(b, l->exit);
}

/* ---------------------------------------------------------------- the feed */

static void load_panel(Core *c, uint32_t panel, LV to, LV bar)
{
    Emit *e = c->e;
    const Panel *p = &c->t->panels.at[panel];
    LV at[TITAN_MAP_DIMS];
    for (uint32_t d = 0; d < p->rank; d++)
        at[d] = LLVMBuildIntCast2(e->s.b, emit_ix(e, p->at[d]),
                                  LLVMInt32TypeInContext(e->s.cx), true, "");
    LV map = LLVMGetParam(e->fn, e->k->nargs + p->map), first = at[0];
    sm90_mbar_expect(&e->s, bar, core_i32(c, panel_bytes(p)));
    for (uint32_t i = 0; i < p->boxes; i++) {
        at[0] = core_add(c, first, core_i32(c, i * PANEL_WIDTH));
        LV box = core_add(c, to, core_i32(c, i * p->box_bytes));
        sm90_load(&e->s, box, map, at, p->rank, bar);
    }
}

static void feed_step(Core *c, uint32_t pass, LV i)
{
    Emit *e = c->e;
    /* the places of panels are said by the steps of the first pass */
    emit_enter(e, c->t->passes.at[0].blocks,
               core_index(c, core_step(c, i, STEP_either)));
    for (uint32_t p = 0; p < c->t->panels.n; p++) {
        bool read =
            core_reads(c, pass, p, true) || core_reads(c, pass, p, false);
        if (!c->t->panels.at[p].swept || !read) continue;
        Ring s = slot_of(c, pass, p, i);
        LV fresh = LLVMBuildXor(e->s.b, s.parity, core_i32(c, 1), "");
        sm90_mbar_wait(&e->s, core_barrier(c, p, s.number, true), fresh);
        load_panel(c, p, panel_address(c, &c->t->panels.at[p], s.number),
                   core_barrier(c, p, s.number, false));
    }
}

static void feed_own(Core *c)
{
    for (uint32_t p = 0; p < c->t->panels.n; p++)
        if (!c->t->panels.at[p].swept)
            load_panel(c, p,
                       panel_address(c, &c->t->panels.at[p], core_i32(c, 0)),
                       own_barrier(c));
}

static void feed(Core *c)
{
    LV zero = core_i32(c, 0);
    for (uint32_t pass = 0; pass < c->t->passes.n; pass++) {
        CoreLoop l = core_loop(c, zero, COUNT_run, NULL, 0);
        feed_step(c, pass, l.i);
        core_loop_end(c, &l, NULL, core_i32(c, 1));
    }
}

/* ------------------------------------------------------------ products */

void core_wait_full(Core *c, uint32_t pass, uint32_t panel, LV i)
{
    Ring s = slot_of(c, pass, panel, i);
    sm90_mbar_wait(&c->e->s, core_barrier(c, panel, s.number, false), s.parity);
}

void core_release(Core *c, uint32_t pass, uint32_t panel, LV i)
{
    Ring s = slot_of(c, pass, panel, sm90_again(&c->e->s, i));
    LV one = LLVMBuildICmp(c->e->s.b, LLVMIntEQ, c->lane, core_i32(c, 0), "");
    sm90_mbar_arrive_if(&c->e->s, core_barrier(c, panel, s.number, true), one);
}

LV core_descriptor(Core *c, const Panel *p, LV address, bool terms_are_k)
{
    bool across = p->across == terms_are_k;
    uint32_t lead = across ? p->box_bytes : 16;
    uint64_t bits = sm90_descriptor_bits(PANEL_BYTES, lead, 8 * PANEL_BYTES);
    return sm90_descriptor(&c->e->s, address, bits);
}

CoreSteps core_steps(const Panel *p, bool terms_are_k)
{
    if (p->across == terms_are_k) return (CoreSteps){.step = 16 * PANEL_BYTES};
    return (CoreSteps){32, PANEL_WIDTH / 16, p->box_bytes - PANEL_BYTES};
}

void core_dot(Core *c, uint32_t pass, const TensorDot *d, LV i, CoreHalf half,
              LV *acc)
{
    Emit *e = c->e;
    const Panel *own = &c->t->panels.at[d->own];
    const Panel *swept = &c->t->panels.at[d->swept];
    Ring s = slot_of(c, pass, d->swept, i);
    uint32_t group = own->across ? own->box_bytes : GROUP_LINES * PANEL_BYTES;
    LV a = core_add(c, panel_address(c, own, core_i32(c, 0)),
                    LLVMBuildMul(e->s.b, c->group, core_i32(c, group), ""));
    unsigned steps = (unsigned)own->terms / 16;
    CoreSteps ka = core_steps(own, true), kb = core_steps(swept, true);
    Sm90Mma op = {.n = (unsigned)c->t->columns,
                  .dtype = own->dtype,
                  .a_across = own->across,
                  .b_across = swept->across,
                  .from = half == HALF_second ? steps / 2 : 0,
                  .steps = half == HALF_first ? steps / 2 : steps,
                  .a_step = ka.step,
                  .b_step = kb.step,
                  .a_run = ka.run,
                  .a_skip = ka.skip,
                  .b_run = kb.run,
                  .b_skip = kb.skip};
    a = core_descriptor(c, own, a, true);
    LV b = core_descriptor(c, swept, panel_address(c, swept, s.number), true);
    LLVMTypeRef f32 = LLVMFloatTypeInContext(e->s.cx);
    for (unsigned r = 0; r < op.n / 2 && half != HALF_second; r++)
        acc[r] = LLVMGetUndef(f32);
    sm90_mma(&e->s, &op, acc, &a, b,
             LLVMConstInt(LLVMInt1TypeInContext(e->s.cx), half == HALF_second,
                          false));
}

void core_wide(Core *c, uint32_t pass, const TensorSweep *w, LV i,
               const LV *pairs, LV *acc)
{
    Emit *e = c->e;
    const Panel *p = &c->t->panels.at[w->panel];
    Ring s = slot_of(c, pass, w->panel, i);
    CoreSteps k = core_steps(p, false);
    Sm90Mma op = {.n = w->terms,
                  .dtype = p->dtype,
                  .a_registers = true,
                  .b_across = !p->across,
                  .steps = (unsigned)p->lines / 16,
                  .b_step = k.step,
                  .b_run = k.run,
                  .b_skip = k.skip};
    LV b = core_descriptor(c, p, panel_address(c, p, s.number), false);
    sm90_mma(&e->s, &op, acc, pairs, b,
             LLVMConstInt(LLVMInt1TypeInContext(e->s.cx), 1, false));
}

/* -------------------------------------------------------------- the kernel */

static void make_barriers(Core *c)
{
    const Site *s = &c->e->s;
    const TensorTile *t = c->t;
    sm90_mbar_init(s, own_barrier(c), c->nown);
    for (uint32_t p = 0; p <= t->panels.n; p++)
        for (uint32_t i = 0; i < t->slots; i++) {
            LV slot = core_i32(c, i);
            unsigned lanes = p < t->panels.n ? 1 : WARP; /* of a warp arrive */
            sm90_mbar_init(s, core_barrier(c, p, slot, false), lanes);
            sm90_mbar_init(s, core_barrier(c, p, slot, true),
                           lanes * 4 * t->groups);
        }
    if (t->cross) core_cross_barriers(c);
    sm90_mbar_fence(s);
}

/* The rows' panels come while the steps are listed. */
static void begin(Core *c)
{
    const Emit *e = c->e;
    for (uint32_t i = 0; i < c->t->maps.n; i++)
        sm90_map_prefetch(&e->s, LLVMGetParam(e->fn, e->k->nargs + i));
    make_barriers(c);
    sm90_proxy_fence(&e->s);
    feed_own(c);
}

typedef void Part(Core *c);

static void only_if(Core *c, LV when, Part *part)
{
    LLVMBasicBlockRef on = emit_when(c->e, when, "then");
    part(c);
    emit_on(c->e, on);
}

static LV is_number(const Core *c, LV x, int64_t n)
{
    return LLVMBuildICmp(c->e->s.b, LLVMIntEQ, x, core_i32(c, n), "");
}

static void feed_group(Core *c)
{
    LV first = is_number(c, sm90_thread(&c->e->s), 0);
    if (c->t->groups > 1)
        sm90_registers(&c->e->s, c->t->groups > 2 ? 32 : 24, false);
    only_if(c, first, feed);
    if (c->t->staged.n) only_if(c, is_number(c, c->warp, 1), core_stage);
    if (!c->t->cross) return;
    LV least = core_i32(c, 4 - c->t->cross->stages);
    only_if(c, LLVMBuildICmp(c->e->s.b, LLVMIntUGE, c->warp, least, ""),
            core_cross_send);
}

static void consumers(Core *c)
{
    Emit *e = c->e;
    LLVMBuilderRef b = e->s.b;
    if (c->t->groups > 1) sm90_registers(&e->s, c->t->registers, true);
    LV in_group = LLVMBuildAnd(b, c->warp, core_i32(c, 3), "");
    c->group = LLVMBuildLShr(b, c->warp, core_i32(c, 2), "");
    c->group = LLVMBuildSub(b, c->group, core_i32(c, 1), "");
    LV row = LLVMBuildMul(b, c->group, core_i32(c, GROUP_LINES), "");
    row = core_add(c, row, LLVMBuildMul(b, in_group, core_i32(c, 16), ""));
    row = core_add(c, row, LLVMBuildLShr(b, c->lane, core_i32(c, 2), ""));
    LV column = LLVMBuildAnd(b, c->lane, core_i32(c, 3), "");
    column = LLVMBuildMul(b, column, core_i32(c, 2), "");
    e->row = core_index(c, row);
    e->column = core_index(c, column);
    emit_straight(e, c->t->items);
    sm90_mbar_wait(&e->s, own_barrier(c), core_i32(c, 0));
    core_consume(c);
}

static void draw_number(Core *c)
{
    LLVMBuilderRef b = c->e->s.b;
    LV at = core_add(c, c->base, core_i32(c, c->t->list_offset + 8));
    LV number = core_cross_number(c);
    LLVMBuildStore(b, number, sm90_at(&c->e->s, at));
    only_if(c, is_number(c, number, c->e->k->rows - 1), core_cross_reset);
}

/* Where blocks wait for one another they are numbered as they start. */
static LV block_number(Core *c)
{
    LLVMTypeRef word = LLVMInt32TypeInContext(c->e->s.cx);
    if (!c->t->cross) return sm90_block(&c->e->s);
    only_if(c, is_number(c, sm90_thread(&c->e->s), 0), draw_number);
    sm90_sync_block(&c->e->s);
    LV at = core_add(c, c->base, core_i32(c, c->t->list_offset + 8));
    return LLVMBuildLoad2(c->e->s.b, word, sm90_at(&c->e->s, at), "");
}

static LV item_number(Core *c)
{
    LLVMBuilderRef b = c->e->s.b;
    LV item = block_number(c);
    if (core_backward(c))
        item = LLVMBuildSub(b, core_i32(c, c->e->k->rows - 1), item, "");
    return item;
}

static void find_own(Core *c)
{
    for (uint32_t i = 0; i < c->t->panels.n; i++)
        c->nown += !c->t->panels.at[i].swept;
}

void emit_tensor(Emit *e)
{
    const Kir *k = e->k;
    Core core = {.e = e, .t = k->tensor}, *c = &core;
    LLVMBuilderRef b = e->s.b;
    find_own(c);
    c->warp = sm90_warp(&e->s);
    c->lane = sm90_lane(&e->s);
    c->base = sm90_shared(&e->s);
    emit_straight(e, 0);
    c->item = item_number(c);
    if (c->t->cross && !core_cross_covers(c))
        e->zero |= UINT64_C(1) << c->t->cross->sums;
    emit_enter(e, c->t->items, core_index(c, c->item));
    only_if(c, is_number(c, sm90_thread(&e->s), 0), begin);
    core_list(c);
    sm90_sync_block(&e->s);
    LV feeds = LLVMBuildICmp(b, LLVMIntULT, c->warp, core_i32(c, 4), "");
    LLVMBasicBlockRef producer = emit_block(e, "feed");
    LLVMBasicBlockRef consumer = emit_block(e, "consume");
    LLVMBasicBlockRef end = emit_block(e, "end");
    LLVMBuildCondBr(b, feeds, producer, consumer);
    LLVMPositionBuilderAtEnd(b, producer);
    feed_group(c);
    LLVMBuildBr(b, end);
    LLVMPositionBuilderAtEnd(b, consumer);
    consumers(c);
    LLVMBuildBr(b, end);
    LLVMPositionBuilderAtEnd(b, end);
}
