/* links: titan_ptx m */
/*
 * ptx_read.c: modules of PTX as the tests' machine reads them: what it takes
 * from them, what it refuses and on which line, and that text of any kind harms
 * nobody.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/warp.h"

static const char module[] =
    "// an image's first lines\n"
    ".version 8.0\n.target sm_90a\n.address_size 64\n"
    "\t// .globl k\n"
    ".extern .shared .align 1024 .b8 dynamic[];\n"
    ".shared .align 8 .b8 common[24];\n"
    ".visible .global .align 8 .b64 table[3] = {\n1, "
    "0x8000000000000002,\n-1\n};\n"
    ".global .align 4 .f32 one = 0f3F800000;\n"
    ".visible .entry k(\n"
    "\t.param .u64 .ptr .global .align 1 k_0,\n"
    "\t.param .align 64 .b8 k_1[128],\n\t.param .u32 k_2\n)\n"
    ".reqntid 256, 1, 1\n.minnctapersm 2\n.explicitcluster\n"
    ".reqnctapercluster 2, 1, 1\n{\n"
    "\t.local .align 16 .b8 __local_depot0[40];\n"
    "\t.reg .b64 %SP;\n\t.reg .pred %p<3>;\n\t.reg .b16 %rs<9>;\n"
    "\t.reg .b32 %r<30>;\n\t.reg .b64 %rd<9>;\n"
    "\t.shared .align 128 .b8 own[100];\n"
    "\t.loc 1 2 3\n\t.pragma \"nounroll\";\n"
    "\tmov.b64 %SP, __local_depot0; /* a\ncomment */\n"
    "\tld.param.b64 %rd1, [k_0];\n"
    "\tld.param.b32 %r1, [k_2+0];\n"
    "\tmov.b64 %rd2, k_1;\n\tcvta.param.u64 %rd3, %rd2;\n"
    "\tmov.u32 %r2, %tid.x;\n"
    "\tst.shared.v2.b32 [own+8], {%r1, -1};\n"
    "\tmov.b64 %rd4, dynamic;\n"
    "\tld.shared.b32 %r3, [common+4];\n"
    "\tld.global.v4.b32 {%r4, %r5, %r6, _}, [%rd1+-16];\n"
    "$L__BB0_1:\n"
    "\tsetp.lt.s32 %p1, %r1, %r2;\n"
    "\t@!%p1 bra $L__BB0_2;\n"
    "\t{ .reg .pred p; .reg .b32 x;\nagain:\n"
    "\tmbarrier.try_wait.parity.shared::cta.b64 p, [%r1], %r2;\n"
    "\t@!p bra again;\n\t}\n"
    "\t{ .reg .pred q; .reg .b32 x;\nagain:\n"
    "\tsetp.ne.b32 q, %r1, 0;\n"
    "\t@q bra again;\n\t}\n"
    "\tcp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::"
    "complete_tx::bytes.multicast::cluster.L2::cache_hint [%r1], [%rd3, {%r1, "
    "%r2}], [%r2], %rs1, %rd1;\n"
    "\twgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16\n"
    "\t{%r10, %r11, %r12, %r13, %r14, %r15, %r16, %r17},\n"
    "\t%rd1, %rd2, %p1, 1, -1, 0, 1;\n"
    "\tshfl.sync.bfly.b32 %r7|%p2, %r6, 16, 31, -1;\n"
    "$L_brx_0: .branchtargets\n\t$L__BB0_1,\n\t$L__BB0_2;\n"
    "\tbrx.idx %r7, $L_brx_0;\n"
    "$L__BB0_2:\n}\n"
    ".visible .entry other()\n{\nret;\n}\n";

static void fail_read(const char *why)
{
    fail_msg("the module is not read: %s", why);
}

static const PtxInst *inst(const PtxKernel *k, PtxOp op, unsigned nth)
{
    for (uint32_t i = 0; i < k->ninsts; i++)
        if (k->insts[i].op == op && !nth--) return &k->insts[i];
    fail_msg("there is no instruction %d", op);
    return NULL;
}

static const PtxArg *arg(const PtxKernel *k, const PtxInst *i, uint32_t n)
{
    assert_true(n < i->nargs);
    return &k->args[i->first + n];
}

static PtxModule *read_it(void)
{
    char why[PTX_FAULT];
    PtxModule *m = ptx_read(module, sizeof module - 1, why);
    if (!m) fail_read(why);
    return m;
}

static void test_kernel(void **state)
{
    (void)state;
    PtxModule *m = read_it();
    size_t at, n;
    const PtxKernel *k = ptx_kernel(m, "k");
    assert_non_null(k);
    assert_non_null(ptx_kernel(m, "other"));
    assert_null(ptx_kernel(m, "third"));
    assert_string_equal(ptx_kernel_name(k), "k");
    assert_true(ptx_kernel_param(k, 1, &at, &n) && at == 64 && n == 128);
    assert_true(ptx_kernel_param(k, 2, &at, &n) && at == 192 && n == 4);
    assert_false(ptx_kernel_param(k, 3, &at, &n));
    assert_int_equal(ptx_kernel_params(k), 196);
    assert_int_equal(k->threads[0], 256);
    assert_true(k->exactly);
    assert_int_equal(k->cluster[0], 2);
    assert_int_equal(k->local, 40);
    /* its own, what it names of the module, dynamic memory behind them */
    assert_int_equal(k->shared_align, 1024);
    assert_int_equal(ptx_kernel_shared(k), 1024);
    assert_int_equal(ptx_kernel_shared(ptx_kernel(m, "other")), 0);
    uint64_t table[3];
    memcpy(table, m->globals, sizeof table);
    assert_true(table[0] == 1 && table[1] == UINT64_C(0x8000000000000002) &&
                table[2] == UINT64_MAX);
    assert_int_equal(m->global_bytes, 28);
    ptx_free(m);
}

static void test_operands(void **state)
{
    (void)state;
    PtxModule *m = read_it();
    const PtxKernel *k = ptx_kernel(m, "k");
    const PtxInst *i = inst(k, PO_ld, 1);
    assert_true(arg(k, i, 1)->kind == PA_sum && arg(k, i, 1)->reg == PR_zero &&
                arg(k, i, 1)->value == 192);
    i = inst(k, PO_mov, 1); /* a parameter's address */
    assert_true(arg(k, i, 1)->kind == PA_value && arg(k, i, 1)->value == 64);
    i = inst(k, PO_mov, 2);
    assert_true(arg(k, i, 1)->kind == PA_reg && arg(k, i, 1)->reg == PR_tid_x);
    i = inst(k, PO_st, 0);
    assert_true(arg(k, i, 0)->reg == PR_shared_base &&
                arg(k, i, 0)->value == 8 && ptx_has(i, PM_v2));
    assert_int_equal(k->args[arg(k, i, 1)->first + 1].value, 0xffffffff);
    i = inst(k, PO_mov, 3); /* dynamic memory */
    assert_true(arg(k, i, 1)->kind == PA_sum &&
                arg(k, i, 1)->reg == PR_shared_base &&
                arg(k, i, 1)->value == 1024);
    i = inst(k, PO_ld, 2);
    assert_int_equal(arg(k, i, 1)->value, 104 + 4);
    i = inst(k, PO_ld, 3);
    assert_int_equal(arg(k, i, 1)->value, (uint64_t)-16);
    assert_true(arg(k, i, 0)->n == 4 &&
                k->args[arg(k, i, 0)->first + 3].kind == PA_none);
    i = inst(k, PO_bulk_tensor, 0);
    assert_int_equal(i->nargs, 6);
    assert_true(i->nspaces == 2 && i->space[0] == PS_cluster &&
                i->space[1] == PS_global);
    assert_true(ptx_has(i, PM_d2) && ptx_has(i, PM_multicast) &&
                ptx_has(i, PM_complete_tx) && ptx_has(i, PM_cache_hint));
    assert_true(arg(k, i, 2)->kind == PA_list && arg(k, i, 2)->n == 2);
    i = inst(k, PO_wgmma, 0);
    assert_true(i->shape[0] == 64 && i->shape[1] == 16 && i->shape[2] == 16);
    assert_true(i->ntypes == 3 && i->type[1] == PT_bf16);
    assert_true(arg(k, i, 0)->n == 8 && arg(k, i, 5)->value == UINT64_MAX);
    i = inst(k, PO_shfl, 0);
    assert_true(arg(k, i, 0)->kind == PA_list && arg(k, i, 0)->n == 2);
    ptx_free(m);
}

static void test_labels(void **state)
{
    (void)state;
    PtxModule *m = read_it();
    const PtxKernel *k = ptx_kernel(m, "k");
    const PtxInst *last = &k->insts[k->ninsts - 1];
    const PtxInst *out = inst(k, PO_bra, 0), *wait = inst(k, PO_bra, 1);
    assert_true(last->op == PO_ret && !last->guarded);
    assert_true(out->guarded && out->unless);
    assert_int_equal(arg(k, out, 0)->value, k->ninsts - 1);
    assert_int_equal(arg(k, wait, 0)->value,
                     inst(k, PO_mbarrier_try, 0) - k->insts);
    assert_int_equal(arg(k, inst(k, PO_bra, 2), 0)->value,
                     inst(k, PO_setp, 1) - k->insts);
    const PtxArg *table = arg(k, inst(k, PO_brx, 0), 1);
    assert_true(table->kind == PA_labels && table->n == 2);
    assert_int_equal(k->args[table->first].value,
                     inst(k, PO_setp, 0) - k->insts);
    assert_int_equal(k->args[table->first + 1].value, k->ninsts - 1);
    /* the registers of the second scope are those of the first */
    assert_int_equal(wait->guard, inst(k, PO_bra, 2)->guard);
    assert_int_equal(k->reg_bits[wait->guard], 1);
    for (uint32_t i = 0; i < k->ninsts; i++)
        assert_true(k->insts[i].line > 0);
    ptx_free(m);
}

/* What stands in a kernel, and what is said of it; its first line is 9. */
static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *body, *says;
    } bad[] = {
        {"add.s32 %r1, %r2;", "line 10: its operands are not known"},
        {"add.s32 %r1, %r2, %r3, %r4;", "its operands are not known"},
        {"\nadd.s32 %r1, %r2, %d3;", "line 11: its operands are not known"},
        {"add.s32 %r1, %r2, [%r3];", "a name is wanted"},
        {"add.s32 %r1, %r2, %r9;", "'%r9' is not a register"},
        {"add.s32 %r1, %r2, %r08;", "'%r08' is not a register"},
        {"add.s32 %r1, %r2, x;", "'x' is not a register"},
        {"add.s32 1, %r2, %r3;", "its operands are not known"},
        {"add.s32 %r1, %r2, 0x100000000;", "more than 32 bits"},
        {"add.s32 %r1, %r2, 12a;", "a broken number"},
        {"add.s32 %r1, %r2, 0f3F80;", "a broken number"},
        {"add.s32 %r1, %r2, 1.5;", "a broken number"},
        {"add.f32 %r1, %r2, 0d3FF0000000000000;", "a constant of 64 bits"},
        {"add.s32 %r1, %r2, %r3", "';' is wanted"},
        {"add.b32 %r1, %r2, %r3;", "there is no 'add.b32'"},
        {"add.cc.u32 %r1, %r2, %r3;", "'cc' is not known of 'add'"},
        {"fma.f32 %r1, %r2, %r3, %r4;", "there is no 'fma.f32'"},
        {"add.rn.rz.f32 %r1, %r2, %r3;", "there is no 'add.rn.rz.f32'"},
        {"add.rn.rn.f32 %r1, %r2, %r3;", "'rn' is not known of 'add'"},
        {"ex2.approx.sat.f32 %r1, %r2;", "there is no 'ex2.approx.sat.f32'"},
        {"cvt.f32.f64 %r1, %d1;", "there is no 'cvt.f32.f64'"},
        {"cvt.rn.f64.f32 %d1, %r1;", "there is no 'cvt.rn.f64.f32'"},
        {"cvt.s32.f32 %r1, %r1;", "there is no 'cvt.s32.f32'"},
        {"cvt.rn.e4m3x2.f32 %h1, %r1, %r2;", "there is no"},
        {"cvt.rn.bf16x2.f32 %r1, %r1;", "its operands are not known"},
        {"mov.b32 %r1, {%h1, %r2};", "mov's operands"},
        {"mov.b32 {%h1, %h2}, %d1;", "mov's operands"},
        {"mov.b64 %d1, nobody;", "'nobody' was not declared"},
        {"mov.u64 %d1, %tid.x;", "mov's operands"},
        {"mov.u32 %r1, %clock;", "'%clock' was not declared"},
        {"cvta.to.shared.u64 %d1, %d2;", "there is no 'cvta.to.shared.u64'"},
        {"call f;", "there is no instruction 'call'"},
        {"add.s32x %r1, %r2, %r3;", "'s32x' is not known"},
        {"addx.s32 %r1, %r2, %r3;", "there is no instruction 'addx.s32'"},
        {"ld.global.b32 %r1, %d1;", "its operands are not known"},
        {"ld.global.v2.b32 {%r1, %r2, %r3}, [%d1];", "its operands"},
        {"ld.global.b32 %r1, [%h1];", "this is no address"},
        {"ld.global.b32 %r1, [%d1+0f3F800000];", "this is no address"},
        {"ld.global.b32 %r1, [%d1+];", "a number is wanted"},
        {"ld.global.b32 %r1, [%d1", "']' is wanted"},
        {"ld.global.L1::maybe.b32 %r1, [%d1];", "'L1::maybe' is not known"},
        {"st.global.b32 [%d1], {%r1};", "its operands are not known"},
        {"bra nowhere;", "line 10: there is no label 'nowhere'"},
        {"bra;", "its operands are not known"},
        {"{ inner: bra inner; }\nbra inner;", "there is no label 'inner'"},
        {"{ .reg .b32 x; }\nmov.b32 x, %r1;", "'x' was not declared"},
        {"a: a: ret;", "'a' is there already"},
        {".reg .b32 %r<3>;", "'%r' is there already"},
        {".reg .b128 %q;", "'.b128' is not known here"},
        {".reg .b32 %q<0>;", "0 registers"},
        {".shared .align 3 .b8 x[4];", "a power of two"},
        {".shared .b8 x[];", "a variable of 0 bytes"},
        {".callprototype x;", "'.callprototype' is not known here"},
        {"@%r1 ret;", "a guard is a predicate"},
        {"@%p1", "there is no instruction ''"},
        {"setp.eq.s32 %p1, !%r1, %r2;", "'!' is for predicates"},
        {"setp.eq.and.s32 %p1, %r1, %r2;", "its operands are not known"},
        {"bar.sync %p1;", "its operands are not known"},
        {"wgmma.wait_group.sync.aligned %r1;", "its operands are not known"},
        {"cp.async.bulk.tensor.3d.global.shared::cta.tile.bulk_group [%d1, "
         "{%r1, %r2}], [%r3];",
         "its operands are not known"},
        {"tcgen05.ld.sync.aligned.32x32b.x32.b32 %r1, [%r2];",
         "its operands are not known"},
        {"tcgen05.mma.cta_group::1.kind::f16 [%r1], %d1, %d2, %r2, %p1;",
         "there is no instruction"},
        {"{", "a name is wanted"},
        {"mul.wide.s32 %d1, %r1, 1234567890123456789012;", "too long"},
    };
    for (size_t b = 0; b < sizeof bad / sizeof *bad; b++) {
        TestWarp t;
        const char *why = warp_open(&t, bad[b].body);
        if (!why) fail_msg("'%s' is read", bad[b].body);
        if (strncmp(why, "line ", 5) || !strstr(why, bad[b].says))
            fail_msg("'%s': %s, not %s", bad[b].body, why, bad[b].says);
    }
}

static void test_modules_refused(void **state)
{
    (void)state;
#define HEAD ".version 8.0\n.target sm_90a\n.address_size 64\n"
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"", "line 1: '.version' is wanted"},
        {".version 8.0\n.address_size 64\n", "line 2: '.target' is wanted"},
        {".version 8.0 .target sm_90a .address_size 32", "64 bits"},
        {HEAD ".func f() { ret; }", "line 4: '.func' is not known here"},
        {HEAD ".entry k() { ret; } .entry k() { ret; }", "there already"},
        {HEAD ".entry k() .maxwarps 3 { ret; }", "'.maxwarps' is not known"},
        {HEAD ".entry k(.param .u32 a, .param .u32 a) { ret; }",
         "'a' is there already"},
        {HEAD ".entry k(.param .b8 a[99999]) { ret; }", "a parameter of"},
        {HEAD ".entry k() { ret;", "a name is wanted"},
        {HEAD ".global .b32 x[2] = { 1, 2, 3 };", "more values than elements"},
        {HEAD ".global .f64 x = 0f3F800000;", "a constant of 32 bits"},
        {HEAD ".global .b32 x[4294967295];", "bytes"},
        {HEAD ".global .b8 x[70000][70000];", "an array is too long"},
        {HEAD ".shared .b8 x[];", "of a size, or of others"},
        {HEAD ".extern .global .b8 x[4];", "'.global' is not known here"},
        {HEAD "hello", "'hello' is not known here"},
    };
#undef HEAD
    for (size_t b = 0; b < sizeof bad / sizeof *bad; b++) {
        char why[PTX_FAULT] = "";
        PtxModule *m = ptx_read(bad[b].text, strlen(bad[b].text), why);
        if (m) fail_msg("'%s' is read", bad[b].text);
        if (strncmp(why, "line ", 5) || !strstr(why, bad[b].says))
            fail_msg("'%s': %s, not %s", bad[b].text, why, bad[b].says);
    }
    char why[PTX_FAULT];
    assert_null(ptx_read(module, sizeof module, why)); /* with its last 0 */
    assert_non_null(strstr(why, "a zero in the text"));
}

/* --------------------------------------------------------- text of any kind */

static uint32_t draw(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

/* Does what lanes do for themselves of whatever was read: its operands are
 * there, in registers that the kernel has. */
static void run_all(PtxModule *m)
{
    for (uint32_t n = 0; n < m->nkernels; n++) {
        PtxKernel *k = &m->kernels[n];
        PtxBlock block = {.kernel = k};
        PtxWarp w = {.block = &block};
        w.reg = calloc(k->nregs, sizeof *w.reg);
        assert_non_null(w.reg);
        for (uint32_t i = 0; i < k->ninsts; i++)
            if (k->insts[i].form)
                ptx_do_alu(&w, &k->insts[i], i % 2 ? UINT32_MAX : 0xff0f);
        free(w.reg);
    }
}

static bool try_text(const char *text, size_t n)
{
    char why[PTX_FAULT] = "";
    /* in memory of its own, so that nothing behind it is read unseen */
    char *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, text, n);
    PtxModule *m = ptx_read(copy, n, why);
    free(copy);
    if (!m) assert_int_equal(strncmp(why, "line ", 5), 0);
    if (m) run_all(m);
    ptx_free(m);
    return m;
}

static void test_cut(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof module; n++)
        try_text(module, n);
}

/* A few characters of it are others, or words stand elsewhere. */
static void test_changed(void **state)
{
    (void)state;
    static const char pieces[] =
        "{}[](),;:.@!|+-_%0123456789abfxr \n\t$\"/*<>=";
    char text[sizeof module];
    uint32_t seed = 12345, taken = 0;
    for (unsigned round = 0; round < 8000; round++) {
        memcpy(text, module, sizeof text);
        size_t n = sizeof text - 1;
        for (uint32_t c = draw(&seed) % 3; c < 3; c++) {
            size_t at = draw(&seed) % n, from = draw(&seed) % n;
            size_t len = 1 + draw(&seed) % 12;
            if (at + len > n || from + len > n) len = 1;
            if (draw(&seed) % 2)
                text[at] = pieces[draw(&seed) % (sizeof pieces - 1)];
            else
                memmove(text + at, text + from, len);
        }
        taken += try_text(text, n);
    }
    assert_true(taken > 0); /* a comment is anything */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kernel),          cmocka_unit_test(test_operands),
        cmocka_unit_test(test_labels),          cmocka_unit_test(test_refused),
        cmocka_unit_test(test_modules_refused), cmocka_unit_test(test_cut),
        cmocka_unit_test(test_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
