/*
 * scaled.c: the kernel of products whose blocks have scales, for sm_100a.
 *
 * A block of threads makes a tile of 128 x 128 in tensor memory.  One thread
 * fills a ring of stages, 128 of K each, by the copy engine; one has the tensor
 * cores multiply what is there, four times 32 of K; four warps take the sums
 * from tensor memory when all are made.
 *
 *     stage     A 128 x 128 | B 128 x 128 | scales of A, 512 bytes | of B
 *     columns   sums, 128 | for each stage: scales of A, 4 | of B, 4
 *
 * Rows of A and B are 128 swizzled bytes.  The scales of a stage go to tensor
 * memory in front of its products, in the order of which the tensor cores work;
 * each stage has columns of its own, so that none is overwritten that is read.
 * Each stage has two barriers, `full` and `empty`, as in matmul.c.
 */
#include "scaled.h"

#include "matmul_emit.h"

enum {
    SIDE = SCALED_SIDE,
    STAGES = 6,
    K_STEP = 32, /* of one instruction */
    UNIT = 16,   /* bytes that strides are multiples of */
    OPERAND = SIDE * SIDE,
    STAGE = 2 * (OPERAND + SM100_SCALE_BYTES),
    FULL = STAGES * STAGE,
    EMPTY = FULL + 8 * STAGES,
    DONE = EMPTY + 8 * STAGES,
    TENSOR = DONE + 8, /* where the address of tensor memory is */
    SHARED = TENSOR + 8,
    COLUMNS = 256, /* of tensor memory; the sums, then scales */
    LOADER = 4,
    MULTIPLIER = 5, /* warps */
    GROUP_ROWS = 8  /* rows after which a swizzle begins again */
};

/* ------------------------------------------------------------------ plan -- */

/* STRIDE: elements from row to row. */
static TitanMap map_of(uint32_t arg, int64_t rows, int64_t k, int64_t stride)
{
    return (TitanMap){.arg = arg,
                      .dtype = DT_e4m3,
                      .rank = 2,
                      .swizzle = SIDE,
                      .size = {k, rows},
                      .stride = {1, stride},
                      .box = {SIDE, SIDE}};
}

bool scaled_plan(Module *m, const Fn *group, const KernelArg *args, Scaled *out)
{
    GemmParams p = group_gemm(group);
    if (p.scale[0] == NO_PARAM || p.scale[1] == NO_PARAM) return false;
    uint32_t result = group->nparams, a = p.a, b = p.b;
    const Layout layouts[3] = {{args[a].type, args[a].stride},
                               {args[b].type, args[b].stride},
                               {args[result].type, args[result].stride}};
    *out = (Scaled){.nargs = group->nparams + group->nresults,
                    .shared = SHARED,
                    .scale = {p.scale[0], p.scale[1]},
                    .result = result};
    Gemm *g = &out->g;
    if (!gemm_fit(m, group, layouts, g) || g->nbatch || g->accumulate ||
        g->scale_a != GEMM_SCALE_tile32 || g->scale_b != GEMM_SCALE_tile32 ||
        g->a_col != 1 || g->b_row != 1 || g->a_row % UNIT != 0 ||
        g->b_col % UNIT != 0)
        return false;
    if (g->d_col != 1) { /* the transposed product */
        int64_t n = g->m;
        *g = (Gemm){.a = g->b,
                    .b = g->a,
                    .d = g->d,
                    .m = g->n,
                    .n = n,
                    .k = g->k,
                    .a_row = g->b_col,
                    .b_col = g->a_row,
                    .d_row = g->d_col,
                    .d_col = g->d_row};
        out->scale[0] = p.scale[1];
        out->scale[1] = p.scale[0];
        a = p.b, b = p.a;
    }
    out->map[0] = map_of(a, g->m, g->k, g->a_row);
    out->map[1] = map_of(b, g->n, g->k, g->b_col);
    out->tiles_m = g->m / SIDE;
    out->tiles_n = g->n / SIDE;
    out->steps = g->k / SIDE;
    return g->a == DT_e4m3 && g->b == DT_e4m3 && g->d_col == 1 &&
           (g->d == DT_f32 || g->d == DT_bf16 || g->d == DT_f16) &&
           g->m % SIDE == 0 && g->n % SIDE == 0 && g->k % SIDE == 0;
}

void scaled_print(const Scaled *p, Buf *out)
{
    buf_printf(out,
               "scaled %s %lld %lld %lld rows %lld %lld to %lld args %u: %u %u "
               "%u %u %u",
               dtype_name(p->g.d), (long long)p->g.m, (long long)p->g.n,
               (long long)p->g.k, (long long)p->g.a_row, (long long)p->g.b_col,
               (long long)p->g.d_row, p->nargs, p->map[0].arg, p->map[1].arg,
               p->scale[0], p->scale[1], p->result);
}

/* ---------------------------------------------------------------- kernel -- */

typedef struct Block {
    Mm m; /* for arithmetic and control flow */
    const Scaled *p;
    LV row, column; /* the tile's, in tiles */
    LV tensor;
} Block;

static LV bar_at(const Block *k, uint32_t bars, LV slot)
{
    const Mm *m = &k->m;
    return mm_plus(m, mm_add(m, m->base, mm_times(m, slot, 8)), bars);
}

static LV odd_turn(const Block *k, LV step)
{
    return mm_and(&k->m, mm_over(&k->m, step, STAGES), mm_num(&k->m, 1));
}

static void begin(Block *k)
{
    const Mm *m = &k->m;
    LV tensor = mm_plus(m, m->base, TENSOR);
    LLVMBasicBlockRef after =
        mm_if(m, mm_is(m, LLVMIntEQ, sm90_thread(&m->s), mm_num(m, 0)));
    for (uint32_t i = 0; i < 2 * STAGES + 1; i++)
        sm90_mbar_init(&m->s, mm_plus(m, m->base, FULL + 8 * i), 1);
    sm90_mbar_fence(&m->s);
    mm_if_end(m, after);
    after = mm_if(m, mm_is(m, LLVMIntEQ, m->warp, mm_num(m, 0)));
    sm100_allocate(&m->s, tensor, COLUMNS);
    mm_if_end(m, after);
    sm100_fence_before(&m->s);
    sm90_sync_block(&m->s);
    sm100_fence_after(&m->s);
    k->tensor = LLVMBuildLoad2(m->s.b, LLVMInt32TypeInContext(m->s.cx),
                               sm90_at(&m->s, tensor), "");
}

/* The scales of 128 rows and 128 of K lie one behind the other, K first. */
static void load_scales(const Block *k, uint32_t which, LV tile, LV step, LV to,
                        LV bar)
{
    const Mm *m = &k->m;
    LLVMTypeRef i64 = LLVMInt64TypeInContext(m->s.cx);
    LV at = mm_add(m, mm_times(m, tile, k->p->steps), step);
    at = LLVMBuildMul(m->s.b, LLVMBuildZExt(m->s.b, at, i64, ""),
                      sm90_i64(&m->s, SM100_SCALE_BYTES), "");
    LV from =
        LLVMBuildGEP2(m->s.b, LLVMInt8TypeInContext(m->s.cx),
                      LLVMGetParam(m->fn, k->p->scale[which]), &at, 1, "");
    sm100_bring(&m->s, to, from, SM100_SCALE_BYTES, bar);
}

static void fill_stage(const Block *k, LV step)
{
    const Mm *m = &k->m;
    LV slot = mm_rest(m, step, STAGES), full = bar_at(k, FULL, slot);
    LV to = mm_add(m, m->base, mm_times(m, slot, STAGE));
    LV parity = LLVMBuildXor(m->s.b, odd_turn(k, step), mm_num(m, 1), "");
    LV tile[2] = {k->row, k->column};
    sm90_mbar_wait(&m->s, bar_at(k, EMPTY, slot), parity);
    sm90_mbar_expect(&m->s, full, mm_num(m, STAGE));
    for (uint32_t i = 0; i < 2; i++) {
        LV at[2] = {mm_times(m, step, SIDE), mm_times(m, tile[i], SIDE)};
        sm90_load(&m->s, mm_plus(m, to, OPERAND * i), m->map[i], at, 2, full);
        load_scales(k, i, tile[i], step,
                    mm_plus(m, to, 2 * OPERAND + SM100_SCALE_BYTES * i), full);
    }
}

static void multiply_stage(const Block *k, LV step)
{
    const Mm *m = &k->m;
    const Site *s = &m->s;
    LV slot = mm_rest(m, step, STAGES), scale[2], operand[2];
    LV at = mm_add(m, m->base, mm_times(m, slot, STAGE));
    LV columns = mm_plus(
        m, mm_add(m, k->tensor, mm_times(m, slot, 2 * SM100_SCALE_COLUMNS)),
        SIDE);
    sm90_mbar_wait(s, bar_at(k, FULL, slot), odd_turn(k, step));
    sm100_fence_after(s);
    for (uint32_t i = 0; i < 2; i++) {
        LV from = mm_plus(m, at, 2 * OPERAND + SM100_SCALE_BYTES * i);
        scale[i] = mm_plus(m, columns, SM100_SCALE_COLUMNS * i);
        operand[i] = sm100_descriptor(s, mm_plus(m, at, OPERAND * i), SIDE,
                                      GROUP_ROWS * SIDE);
        sm100_bring_scales(s, scale[i], sm100_descriptor(s, from, 0, SIDE));
    }
    for (uint32_t i = 0; i < SIDE / K_STEP; i++) {
        LV skip = sm90_i64(s, K_STEP / 16 * i);
        LV add = i ? LLVMConstInt(LLVMInt1TypeInContext(s->cx), 1, false)
                   : mm_is(m, LLVMIntNE, step, mm_num(m, 0));
        sm100_mma(s, &(Sm100Mma){.n = SIDE, .which = i}, k->tensor,
                  LLVMBuildAdd(s->b, operand[0], skip, ""),
                  LLVMBuildAdd(s->b, operand[1], skip, ""), scale[0], scale[1],
                  add);
    }
    sm100_commit(s, bar_at(k, EMPTY, slot));
}

/* One thread of a warp walks over the stages. */
static void walk(const Block *k, uint32_t warp,
                 void (*stage)(const Block *k, LV step))
{
    const Mm *m = &k->m;
    LV zero = mm_num(m, 0);
    LV mine = mm_is(m, LLVMIntEQ, m->warp, mm_num(m, warp));
    LLVMBasicBlockRef after = mm_if(m, mm_and(m, mine, m->first));
    Turns t;
    mm_turns(m, &t, zero, NULL, 0);
    mm_turns_while(m, &t, mm_is(m, LLVMIntULT, t.i, mm_num(m, k->p->steps)));
    stage(k, t.i);
    mm_turns_end(m, &t, 1, NULL);
    if (stage == multiply_stage) sm100_commit(&m->s, mm_plus(m, m->base, DONE));
    mm_if_end(m, after);
    sm90_sync_warp(&m->s);
}

/* Neighbouring columns of a row, 16 bytes at a time. */
static void store_row(const Block *k, LV at, const LV *columns)
{
    const Mm *m = &k->m;
    LLVMTypeRef i32 = LLVMInt32TypeInContext(m->s.cx);
    LLVMTypeRef f32 = LLVMFloatTypeInContext(m->s.cx);
    LV word[SM100_LOADED];
    bool half = dtype_bytes(k->p->g.d) == 2;
    uint32_t n = half ? SM100_LOADED / 2 : SM100_LOADED;
    for (uint32_t i = 0; i < n; i++)
        word[i] =
            !half ? columns[i]
                  : sm90_pack(
                        &m->s, k->p->g.d,
                        LLVMBuildBitCast(m->s.b, columns[2 * i], f32, ""),
                        LLVMBuildBitCast(m->s.b, columns[2 * i + 1], f32, ""));
    for (uint32_t i = 0; i < n; i += 4) {
        LV four = LLVMGetPoison(LLVMVectorType(i32, 4)), by = mm_num(m, i);
        for (uint32_t j = 0; j < 4; j++)
            four = LLVMBuildInsertElement(m->s.b, four, word[i + j],
                                          mm_num(m, j), "");
        LV to = LLVMBuildGEP2(m->s.b, i32, at, &by, 1, "");
        LLVMSetAlignment(LLVMBuildStore(m->s.b, four, to), 16);
    }
}

/* Where this thread's row of the tile begins in D. */
static LV row_at(const Block *k)
{
    const Mm *m = &k->m;
    LLVMTypeRef i64 = LLVMInt64TypeInContext(m->s.cx);
    LV lane = mm_add(m, mm_times(m, m->warp, 32), m->lane);
    LV row = mm_add(m, mm_times(m, k->row, SIDE), lane);
    LV at = LLVMBuildMul(m->s.b, LLVMBuildZExt(m->s.b, row, i64, ""),
                         sm90_i64(&m->s, (uint64_t)k->p->g.d_row), "");
    LV column = mm_times(m, k->column, SIDE);
    at = LLVMBuildAdd(m->s.b, at, LLVMBuildZExt(m->s.b, column, i64, ""), "");
    at = LLVMBuildMul(m->s.b, at, sm90_i64(&m->s, dtype_bytes(k->p->g.d)), "");
    return LLVMBuildGEP2(m->s.b, LLVMInt8TypeInContext(m->s.cx),
                         LLVMGetParam(m->fn, k->p->result), &at, 1, "");
}

static void store_tile(const Block *k)
{
    const Mm *m = &k->m;
    LV columns[SM100_LOADED];
    LLVMBasicBlockRef after =
        mm_if(m, mm_is(m, LLVMIntULT, m->warp, mm_num(m, LOADER)));
    sm90_mbar_wait(&m->s, mm_plus(m, m->base, DONE), mm_num(m, 0));
    sm100_fence_after(&m->s);
    LV quarter =
        LLVMBuildShl(m->s.b, mm_times(m, m->warp, 32), mm_num(m, 16), "");
    LV at = row_at(k), from = mm_add(m, k->tensor, quarter);
    for (uint32_t i = 0; i < SIDE; i += SM100_LOADED) {
        LV by = mm_num(m, i * dtype_bytes(k->p->g.d));
        sm100_load(&m->s, mm_plus(m, from, i), columns);
        store_row(k,
                  LLVMBuildGEP2(m->s.b, LLVMInt8TypeInContext(m->s.cx), at, &by,
                                1, ""),
                  columns);
    }
    sm100_fence_before(&m->s);
    mm_if_end(m, after);
}

static void end(const Block *k)
{
    const Mm *m = &k->m;
    sm90_sync_block(&m->s);
    LLVMBasicBlockRef after =
        mm_if(m, mm_is(m, LLVMIntEQ, m->warp, mm_num(m, 0)));
    sm100_fence_after(&m->s);
    sm100_free(&m->s, k->tensor, COLUMNS);
    mm_if_end(m, after);
    LLVMBuildRetVoid(m->s.b);
}

LV scaled_emit(LLVMModuleRef module, const char *name, const Scaled *p)
{
    Block k = {.p = p};
    Mm *m = &k.m;
    m->fn = sm90_kernel(module, name, p->nargs, SCALED_MAPS, SCALED_THREADS);
    m->s = (Site){.cx = LLVMGetModuleContext(module),
                  .module = module,
                  .w = 1,
                  .gpu = true};
    m->s.b = LLVMCreateBuilderInContext(m->s.cx);
    mm_enter(m, mm_block(m, "entry"));
    for (unsigned i = 0; i < SCALED_MAPS; i++)
        m->map[i] = LLVMGetParam(m->fn, p->nargs + i);
    m->base = sm90_shared(&m->s);
    m->warp = sm90_warp(&m->s);
    m->lane = sm90_lane(&m->s);
    m->first = mm_is(m, LLVMIntEQ, m->lane, mm_num(m, 0));
    LV block = sm90_block(&m->s);
    k.row = mm_rest(m, block, p->tiles_m);
    k.column = mm_over(m, block, p->tiles_m);
    begin(&k);
    walk(&k, LOADER, fill_stage);
    walk(&k, MULTIPLIER, multiply_stage);
    store_tile(&k);
    end(&k);
    LLVMDisposeBuilder(m->s.b);
    return m->fn;
}
