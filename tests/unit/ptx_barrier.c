/* links: titan_ptx */
/*
 * ptx_barrier.c: barriers in shared memory, as the tests' machine has them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/rig.h"

enum { WORDS = 16, SHARED = 256 };

static void open_one(Rig *r)
{
    rig_open(r, 4096);
    r->shared = SHARED;
}

/* Thread 0 asks whether the phase of PARITY is complete, into word K. */
static void ask(Rig *r, unsigned k, unsigned parity)
{
    rig_say(r,
            "mbarrier.test_wait.parity.shared::cta.b64 %%p1, [%%r1], %u;\n"
            "selp.b32 %%r10, 1, 0, %%p1;\n"
            "@%%p0 st.global.b32 [%%rd0+%u], %%r10;\n",
            parity, 4 * k);
}

static void arrive(Rig *r, const char *how)
{
    rig_say(r, "@%%p0 mbarrier.arrive%s;\n", how);
}

static void phases_end_when_all_came(void **state)
{
    static const uint32_t want[WORDS] = {0, 1, 0, 1, 1, 0, 0, 1, 0, 1};
    (void)state;
    Rig r;
    open_one(&r);
    rig_barrier(&r, 0, 3);
    ask(&r, 0, 0), ask(&r, 1, 1);
    arrive(&r, ".shared::cta.b64 _, [%r1]");
    ask(&r, 2, 0), ask(&r, 3, 1);
    arrive(&r, ".shared::cta.b64 %rd10, [%r1], 2");
    ask(&r, 4, 0), ask(&r, 5, 1);
    arrive(&r, ".noComplete.shared::cta.b64 %rd11, [%r1], 1");
    arrive(&r, ".shared::cta.b64 _, [%r1]");
    ask(&r, 6, 1);
    arrive(&r, ".shared::cta.b64 _, [%r1]");
    ask(&r, 7, 1), ask(&r, 8, 0);
    /* states name the phase that they were got in */
    rig_say(&r, "@!%%p0 bra end;\n"
                "mbarrier.test_wait.shared::cta.b64 %%p1, [%%r1], %%rd11;\n"
                "selp.b32 %%r10, 1, 0, %%p1;\nst.global.b32 [%%rd0+36], "
                "%%r10;\nend:\n");
    for (r.seed = 1; r.seed < 20; r.seed++) {
        rig_works(&r);
        assert_memory_equal(r.bytes, want, sizeof want);
    }
    rig_close(&r);
}

static void bytes_count_too(void **state)
{
    static const uint32_t want[WORDS] = {0, 0, 1};
    (void)state;
    Rig r;
    open_one(&r);
    rig_barrier(&r, 0, 2);
    rig_say(&r, "@%%p0 mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%%r1], "
                "16;\n");
    arrive(&r, ".shared::cta.b64 _, [%r1]");
    ask(&r, 0, 0);
    arrive(&r, ".expect_tx.shared::cta.b64 _, [%r1], 32");
    ask(&r, 1, 0);
    rig_say(&r, "@%%p0 cp.async.bulk.shared::cluster.global.mbarrier::"
                "complete_tx::bytes [%%r1+16], [%%rd0+64], 48, [%%r1];\n");
    rig_wait(&r, "again", 0, 0);
    ask(&r, 2, 0);
    rig_move(&r, "out", 16, 128, 48, true);
    r.races = true;
    for (r.seed = 1; r.seed < 20; r.seed++) {
        for (unsigned k = 64; k < 112; k++)
            r.bytes[k] = (unsigned char)(k * r.seed);
        rig_works(&r);
        assert_memory_equal(r.bytes, want, 12);
        assert_memory_equal(r.bytes + 128, r.bytes + 64, 48);
    }
    rig_close(&r);
}

static void blocks_arrive_at_others(void **state)
{
    (void)state;
    Rig r;
    open_one(&r);
    r.blocks = r.cluster = 4;
    rig_barrier(&r, 0, 4);
    rig_say(&r, "barrier.cluster.arrive.aligned;\n"
                "barrier.cluster.wait.aligned;\n");
    /* each writes its number into the others' memory */
    for (unsigned k = 0; k < 4; k++)
        rig_say(&r,
                "mapa.shared::cluster.u32 %%r11, %%r1, %u;\n"
                "shl.b32 %%r12, %%r2, 2;\nadd.u32 %%r12, %%r12, %%r11;\n"
                "@%%p0 st.shared::cluster.b32 [%%r12+64], %%r2;\n"
                "@%%p0 mbarrier.arrive.release.cluster.shared::cluster.b64 _, "
                "[%%r11];\n",
                k);
    rig_wait(&r, "again", 0, 0);
    for (unsigned k = 0; k < 4; k++)
        rig_say(&r,
                "ld.shared.b32 %%r13, [%%r1+%u];\n"
                "mul.lo.u32 %%r14, %%r2, 16;\ncvt.u64.u32 %%rd10, %%r14;\n"
                "add.u64 %%rd10, %%rd10, %%rd0;\n"
                "@%%p0 st.global.b32 [%%rd10+%u], %%r13;\n",
                64 + 4 * k, 4 * k);
    rig_say(&r, "barrier.cluster.arrive.aligned;\n"
                "barrier.cluster.wait.aligned;\n");
    r.races = true;
    for (r.seed = 1; r.seed < 20; r.seed++) {
        memset(r.bytes, 0xff, 64);
        rig_works(&r);
        for (unsigned k = 0; k < 16; k++)
            assert_int_equal(r.bytes[4 * k], k % 4);
    }
    rig_close(&r);
}

/* A body that must not pass. */
typedef struct Wrong {
    const char *body, *why;
} Wrong;

#define INIT "@%p0 mbarrier.init.shared::cta.b64 [%r1], 2;\nbar.sync 0;\n"

static const Wrong wrong[] = {
    {"@%p0 mbarrier.arrive.shared::cta.b64 _, [%r1];\n", "there is no barrier"},
    {"st.shared.b64 [%r1], %rd0;\n"
     "@%p0 mbarrier.arrive.shared::cta.b64 _, [%r1];\n",
     "there is no barrier"},
    {INIT INIT, "is a barrier already"},
    {"@%p0 mbarrier.init.shared::cta.b64 [%r1], 0;\n", "0 arrivals"},
    {"@%p0 mbarrier.init.shared::cta.b64 [%r1], 1048576;\n", "arrivals"},
    {"@%p0 mbarrier.init.shared::cta.b64 [%r1+4], 1;\n", "no multiple of 8"},
    {"@%p0 mbarrier.init.shared::cta.b64 [%r1+256], 1;\n", "the block has"},
    {INIT "@%p0 mbarrier.arrive.shared::cta.b64 _, [%r1], 3;\n",
     "3 arrive at a barrier that waits for 2"},
    {INIT "@%p0 mbarrier.arrive.shared::cta.b64 _, [%r1], 2;\n"
          "@%p0 mbarrier.arrive.shared::cta.b64 _, [%r1], 2;\n",
     "nobody has seen the last one"},
    {INIT "@%p0 mbarrier.arrive.noComplete.shared::cta.b64 %rd9, [%r1], 2;\n",
     "completes the phase"},
    {INIT "@%p0 st.shared.b32 [%r1+4], 7;\n"
          "@%p0 mbarrier.arrive.shared::cta.b64 _, [%r1];\n",
     "written over"},
    {INIT "@%p0 mbarrier.inval.shared::cta.b64 [%r1];\nbar.sync 0;\n"
          "@%p0 mbarrier.arrive.shared::cta.b64 _, [%r1];\n",
     "there is no barrier"},
    {INIT "@%p0 mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%r1], "
          "1048576;\n",
     "cannot count"},
    {INIT "@%p0 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r1], 16;\n",
     "16 bytes short"},
    {INIT "@%p0 mbarrier.arrive.shared::cta.b64 _, [%r1];\nagain:\n"
          "mbarrier.try_wait.parity.shared::cta.b64 %p1, [%r1], 0;\n"
          "@!%p1 bra again;\n",
     "waits for ever at mbarrier.try_wait"},
    {INIT "mapa.shared::cluster.u32 %r9, %r1, 1;\n"
          "@%p0 mbarrier.arrive.shared::cluster.b64 _, [%r9];\n",
     "at 0x1000000 of shared memory"},
    {INIT "mbarrier.test_wait.parity.shared::cta.b64 %p1, [%r1], 2;\n",
     "no parity"}};

static void wrong_uses_are_told(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
        Rig r;
        open_one(&r);
        rig_say(&r, "%s", wrong[k].body);
        rig_fails(&r, wrong[k].why);
        rig_close(&r);
    }
}

/* Another warp uses what no barrier of the block has shown it. */
static void beginnings_are_ordered(void **state)
{
    (void)state;
    Rig r;
    open_one(&r);
    r.threads = 64;
    r.races = true;
    rig_say(&r, "@%%p0 mbarrier.init.shared::cta.b64 [%%r1], 1;\n"
                "setp.lt.u32 %%p1, %%r0, 32;\n@%%p1 bra end;\n"
                "setp.ne.u32 %%p1, %%r0, 32;\n@%%p1 bra end;\n"
                "mbarrier.arrive.shared::cta.b64 _, [%%r1];\nend:\n");
    rig_fails(&r, " 0x0");
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(phases_end_when_all_came),
        cmocka_unit_test(bytes_count_too),
        cmocka_unit_test(blocks_arrive_at_others),
        cmocka_unit_test(wrong_uses_are_told),
        cmocka_unit_test(beginnings_are_ordered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
