/* links: titan_codegen */
/*
 * Hopper's layouts against plain models of them, and every instruction of the
 * layer as PTX.  With a path as its argument the program writes that PTX there,
 * for the assembler to judge.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "codegen/sm90.h"
#include "codegen/target.h"

/* ---------------------------------------------------------------- layouts */

/* Each element of 64 x N is held by one register of one thread. */
static void test_fragment_covers(void **state)
{
    (void)state;
    enum { N = 256 };
    static uint8_t seen[64][N];
    for (unsigned n = 8; n <= N; n *= 2) {
        memset(seen, 0, sizeof seen);
        for (unsigned t = 0; t < SM90_GROUP; t++)
            for (unsigned r = 0; r < n / 2; r++)
                seen[sm90_fragment_row(t, r)][sm90_fragment_column(t, r)]++;
        for (unsigned i = 0; i < 64; i++)
            for (unsigned j = 0; j < N; j++)
                assert_int_equal(seen[i][j], j < n);
    }
}

/* The figure of the manual: thread 37 is in warp 1, group 1, pair 1. */
static void test_fragment_known(void **state)
{
    (void)state;
    assert_int_equal(sm90_fragment_row(37, 0), 17);
    assert_int_equal(sm90_fragment_column(37, 0), 2);
    assert_int_equal(sm90_fragment_row(37, 2), 25);
    assert_int_equal(sm90_fragment_column(37, 5), 11);
}

/* The swizzle of an offset that is known. */
static uint32_t swizzled(const Site *s, uint32_t offset, uint32_t bytes)
{
    LV to = sm90_swizzle(s, sm90_i32(s, offset), bytes);
    return (uint32_t)LLVMConstIntGetZExtValue(to);
}

static Site site_open(void)
{
    Site s = {.cx = LLVMContextCreate(), .w = 1, .gpu = true};
    s.b = LLVMCreateBuilderInContext(s.cx);
    return s;
}

static void site_close(Site *s)
{
    LLVMDisposeBuilder(s->b);
    LLVMContextDispose(s->cx);
}

/* The 16-byte units of 8 rows of a swizzled tile fall on all banks. */
static void test_swizzle_spreads(void **state)
{
    (void)state;
    Site s = site_open();
    for (unsigned unit = 0; unit < 8; unit++) {
        unsigned banks = 0;
        for (unsigned row = 0; row < 8; row++)
            banks |= 1u << (swizzled(&s, 128 * row + 16 * unit, 128) / 16 % 8);
        assert_int_equal(banks, 0xff);
    }
    site_close(&s);
}

/* A swizzle moves bytes within their row and is its own inverse. */
static void test_swizzle_inverse(void **state)
{
    (void)state;
    static const uint32_t modes[] = {32, 64, 128};
    Site s = site_open();
    for (unsigned m = 0; m < 3; m++)
        for (uint32_t at = 0; at < 4096; at++) {
            uint32_t to = swizzled(&s, at, modes[m]);
            assert_int_equal(to / modes[m], at / modes[m]);
            assert_int_equal(swizzled(&s, to, modes[m]), at);
        }
    assert_int_equal(swizzled(&s, 0x1234, 0), 0x1234);
    site_close(&s);
}

static void test_descriptor(void **state)
{
    (void)state;
    uint64_t d = sm90_descriptor_bits(128, 8192, 1024);
    assert_int_equal(d >> 62, 1);
    assert_int_equal(d >> 32 & 0x3fff, 64);
    assert_int_equal(d >> 16 & 0x3fff, 512);
    assert_int_equal(d & 0x3fff, 0);
    assert_int_equal(sm90_descriptor_bits(64, 0, 512) >> 62, 2);
    assert_int_equal(sm90_descriptor_bits(32, 0, 256) >> 62, 3);
}

/* ------------------------------------------------------------ instructions */

static LV zero(const Site *s)
{
    return LLVMConstReal(LLVMFloatTypeInContext(s->cx), 0);
}

/* The producer: one thread loads a box of each rank. */
static void emit_producer(const Site *s, LV map, LV base)
{
    LV at[SM90_DIMS];
    for (int i = 0; i < SM90_DIMS; i++)
        at[i] = sm90_i32(s, i);
    sm90_registers(s, 40, false);
    sm90_mbar_expect(s, base, sm90_i32(s, 4096));
    for (unsigned dims = 1; dims <= SM90_DIMS; dims++)
        sm90_load(s, LLVMBuildAdd(s->b, base, sm90_i32(s, 1024), ""), map, at,
                  dims, base);
    sm90_arrive_at(s, sm90_i32(s, 1), 384);
}

static void emit_products(const Site *s, LV base, LV acc[128])
{
    uint64_t bits = sm90_descriptor_bits(128, 8192, 1024);
    LV d = sm90_descriptor(s, base, bits);
    LV no = LLVMConstNull(LLVMInt1TypeInContext(s->cx));
    Sm90Mma op = {
        .n = 256, .dtype = DT_bf16, .steps = 4, .a_step = 32, .b_step = 32};
    sm90_mma(s, &op, acc, &d, d, no);
    op.a_across = op.b_across = true;
    op.a_step = op.b_step = 2048;
    sm90_mma(s, &op, acc, &d, d, LLVMConstNot(no));
    sm90_mma_wait(s, 0, acc, 128);
    LV a[8], narrow[32];
    for (unsigned i = 0; i < 8; i++)
        a[i] = sm90_pack(s, DT_f16, acc[2 * i], acc[2 * i + 1]);
    for (unsigned i = 0; i < 32; i++)
        narrow[i] = zero(s);
    op = (Sm90Mma){.n = 64,
                   .dtype = DT_f16,
                   .a_registers = true,
                   .b_across = true,
                   .steps = 2,
                   .b_step = 2048};
    sm90_mma(s, &op, narrow, a, d, no);
    sm90_mma_wait(s, 0, narrow, 32);
    for (unsigned i = 0; i < 32; i++)
        acc[i] = LLVMBuildFAdd(s->b, acc[i], narrow[i], "");
}

static void emit_consumer(const Site *s, LV map, LV base)
{
    LV acc[128], at[SM90_DIMS], words[4];
    for (int i = 0; i < SM90_DIMS; i++)
        at[i] = sm90_i32(s, i);
    for (unsigned i = 0; i < 128; i++)
        acc[i] = zero(s);
    sm90_registers(s, 232, true);
    sm90_mbar_wait(s, base, sm90_i32(s, 0));
    emit_products(s, base, acc);
    sm90_mbar_arrive(s, LLVMBuildAdd(s->b, base, sm90_i32(s, 8), ""));
    for (unsigned i = 0; i < 128; i += 8) {
        acc[i] = sm90_exp2(s, acc[i]);
        for (unsigned j = 0; j < 4; j++)
            words[j] =
                sm90_pack(s, DT_bf16, acc[i + 2 * j], acc[i + 2 * j + 1]);
        LV offset = LLVMBuildMul(s->b, sm90_lane(s), sm90_i32(s, 128), "");
        LV row = LLVMBuildAdd(s->b, base, sm90_swizzle(s, offset, 128), "");
        sm90_stmatrix(s, row, i % 16 != 0, words);
        sm90_ldmatrix(s, row, i % 16 != 0, words);
        LLVMBuildStore(s->b, words[3], sm90_at(s, base));
    }
    sm90_proxy_fence(s);
    sm90_sync_at(s, LLVMBuildAdd(s->b, sm90_warp(s), sm90_i32(s, 3), ""), 32);
    for (unsigned dims = 1; dims <= SM90_DIMS; dims++)
        sm90_store(s, map, at, dims, base);
    sm90_store_commit(s);
    sm90_store_wait(s, 1, true);
    sm90_store_wait(s, 0, false);
}

static void emit_roles(Site *s, LV fn)
{
    LLVMBasicBlockRef entry = LLVMAppendBasicBlockInContext(s->cx, fn, "entry");
    LLVMBasicBlockRef load = LLVMAppendBasicBlockInContext(s->cx, fn, "load");
    LLVMBasicBlockRef use = LLVMAppendBasicBlockInContext(s->cx, fn, "use");
    LLVMPositionBuilderAtEnd(s->b, entry);
    LV base = sm90_shared(s), map = LLVMGetParam(fn, 1);
    sm90_map_prefetch(s, map);
    sm90_mbar_init(s, base, 1);
    sm90_mbar_fence(s);
    sm90_sync_block(s);
    sm90_sync_warp(s);
    LV at = LLVMBuildAdd(s->b, sm90_block(s), sm90_blocks(s), "");
    at = LLVMBuildAdd(s->b, sm90_least(s, at), sm90_most(s, at), "");
    LLVMBuildStore(s->b, at, LLVMGetParam(fn, 0));
    LV group = LLVMBuildLShr(s->b, sm90_warp(s), sm90_i32(s, 2), "");
    LV first = LLVMBuildICmp(s->b, LLVMIntEQ, group, sm90_i32(s, 0), "");
    LLVMBuildCondBr(s->b, first, load, use);
    LLVMPositionBuilderAtEnd(s->b, load);
    emit_producer(s, map, base);
    LLVMBuildRetVoid(s->b);
    LLVMPositionBuilderAtEnd(s->b, use);
    emit_consumer(s, map, base);
    LLVMBuildRetVoid(s->b);
}

static const char *make_ptx(Arena *a, size_t *size)
{
    CodegenOpts o = {.target = TARGET_sm_90a, .level = 2};
    LLVMTargetMachineRef tm = machine_new(&o);
    Site s = {.cx = LLVMContextCreate(), .w = 1, .gpu = true};
    s.module = LLVMModuleCreateWithNameInContext("sm90", s.cx);
    s.b = LLVMCreateBuilderInContext(s.cx);
    machine_prepare(tm, s.module);
    emit_roles(&s, sm90_kernel(s.module, "all", 1, 1, 384));
    machine_optimise(tm, s.module, 2);
    const char *text = machine_emit(tm, s.module, LLVMAssemblyFile, a, size);
    LLVMDisposeBuilder(s.b);
    LLVMDisposeModule(s.module);
    LLVMContextDispose(s.cx);
    LLVMDisposeTargetMachine(tm);
    return text;
}

static void test_instructions(void **state)
{
    (void)state;
    Arena a = {0};
    size_t size;
    const char *text = make_ptx(&a, &size);
    static const char *const want[] = {
        ".maxntid 384",
        ".extern .shared .align 1024",
        ".param .align 64 .b8 all_param_1[128]",
        "cp.async.bulk.tensor.5d.shared::cluster.global.tile",
        "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16",
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16",
        "wgmma.wait_group.sync.aligned 0",
        "setmaxnreg.inc.sync.aligned.u32 232",
        "stmatrix.sync.aligned.m8n8.x4.trans.shared::cta.b16"};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        if (!strstr(text, want[i])) fail_msg("no '%s'", want[i]);
    arena_release(&a);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        Arena a = {0};
        size_t size;
        const char *text = make_ptx(&a, &size);
        bool ok = write_file(argv[1], text, size, false);
        arena_release(&a);
        return !ok;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fragment_covers),
        cmocka_unit_test(test_fragment_known),
        cmocka_unit_test(test_swizzle_spreads),
        cmocka_unit_test(test_swizzle_inverse),
        cmocka_unit_test(test_descriptor),
        cmocka_unit_test(test_instructions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
