/* links: titan_ptx */
/*
 * ptx_copy.c: copies between global and shared memory that nobody waits for, as
 * the tests' machine makes them, against loops over single bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/rig.h"

enum {
    MEMORY = 1 << 20,
    TENSOR = 4096, /* where one lies in the memory, and where results go */
    RESULT = 1 << 19,
    SHARED = 64 << 10,
    ROUNDS = 60
};

/* Kinds of numbers of a map: the driver's, bytes. */
static const struct Kind {
    unsigned dtype, bytes;
} kinds[] = {{0, 1}, {9, 2}, {6, 2}, {7, 4}, {2, 4}, {8, 8}};

static uint64_t below(uint64_t *state, uint64_t n)
{
    return rig_random(state) % n;
}

/* A tensor, a box and where it is asked for: outside too. */
typedef struct Case {
    PtxMap map;
    unsigned each, bytes; /* of a number, of the box */
    int at[5];
    unsigned shared; /* the box's place there */
} Case;

static Case draw(uint64_t *state)
{
    static const unsigned swizzles[] = {0, 32, 64, 128};
    Case c = {.shared = (unsigned)below(state, 20) * 128};
    const struct Kind *kind = &kinds[below(state, 6)];
    unsigned rank = 1 + (unsigned)below(state, 5);
    unsigned swizzle = swizzles[below(state, 4)];
    unsigned row = swizzle ? swizzle : 16 * (1 + (unsigned)below(state, 8));
    uint64_t size[5];
    uint16_t box[5];
    c.each = kind->bytes;
    c.bytes = row;
    for (unsigned d = 0; d < rank; d++) {
        box[d] =
            (uint16_t)(d ? 1 + below(state, rank > 3 ? 3 : 12) : row / c.each);
        size[d] = d ? 1 + below(state, rank > 3 ? 4 : 16)
                    : 1 + below(state, 2 * row / c.each);
        c.at[d] = (int)below(state, size[d] + box[d] + 2u) - box[d] - 1;
        if (d) c.bytes *= box[d];
    }
    c.map = rig_map(TENSOR, rank, kind->dtype, c.each, size, box, swizzle,
                    below(state, 64));
    return c;
}

/* Byte K of the box is in the tensor, at *AT of the memory. */
static bool inside(const Case *c, unsigned k, uint64_t *at)
{
    unsigned rest = k / c->each;
    *at = TENSOR + k % c->each;
    for (unsigned d = 0; d < c->map.rank; d++) {
        int x = c->at[d] + (int)(rest % c->map.box[d]);
        rest /= c->map.box[d];
        if (x < 0 || (uint64_t)x >= c->map.size[d]) return false;
        *at += (uint64_t)x * c->map.stride[d];
    }
    return true;
}

/* Where byte K of the box lies in shared memory: of each 128 bytes the pieces
 * of 16 change places by the number of the line. */
static unsigned place(const Case *c, unsigned k)
{
    unsigned at = c->shared + k, line = at / 128, piece = at % 128 / 16;
    unsigned of = c->map.swizzle ? c->map.swizzle / 16 : 1;
    return line * 128 + (piece ^ line % of) * 16 + at % 16;
}

static void say_box(Rig *r, const Case *c, const char *map)
{
    rig_say(r, "[%s, {", map);
    for (unsigned d = 0; d < c->map.rank; d++)
        rig_say(r, "%s%d", d ? ", " : "", c->at[d]);
    rig_say(r, "}]");
}

static void say_load(Rig *r, const Case *c, const char *hint)
{
    rig_say(r,
            "add.u32 %%r20, %%r1, %u;\n"
            "@%%p0 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%%r1+%u], "
            "%u;\n"
            "@%%p0 cp.async.bulk.tensor.%ud.shared::cluster.global.tile."
            "mbarrier::complete_tx::bytes%s [%%r20], ",
            c->shared, SHARED - 8, c->bytes, c->map.rank,
            *hint ? ".L2::cache_hint" : "");
    say_box(r, c, "%rd1");
    rig_say(r, ", [%%r1+%u]%s;\n", SHARED - 8, hint);
}

static void say_store(Rig *r, const Case *c, const char *how)
{
    rig_say(r, "add.u32 %%r20, %%r1, %u;\n@%%p0 %s ", c->shared, how);
    say_box(r, c, "%rd2");
    rig_say(r, ", [%%r20];\n");
}

static void open_rig(Rig *r)
{
    rig_open(r, MEMORY);
    r->shared = SHARED;
    r->threads = 64;
    r->races = true;
}

static void boxes_are_loaded(void **state)
{
    (void)state;
    uint64_t seed = 0x1234567;
    Rig r;
    open_rig(&r);
    for (r.seed = 0; r.seed < ROUNDS; r.seed++) {
        Case c = draw(&seed);
        rig_fill(&r, &seed);
        r.map[0] = c.map;
        rig_clear(&r);
        rig_barrier(&r, SHARED - 8, 1);
        say_load(&r, &c, r.seed % 2 ? ", %rd0" : "");
        rig_wait(&r, "again", SHARED - 8, 0);
        rig_move(&r, "out", 0, RESULT, c.shared + c.bytes + 1024, true);
        rig_works(&r);
        for (unsigned k = 0; k < c.bytes; k++) {
            uint64_t at;
            unsigned want = inside(&c, k, &at) ? r.bytes[at] : 0;
            assert_int_equal(r.bytes[RESULT + place(&c, k)], want);
        }
    }
    rig_close(&r);
}

static const char store[] = "cp.async.bulk.tensor.%ud.global.shared::cta.tile."
                            "bulk_group";

static void boxes_are_stored(void **state)
{
    (void)state;
    uint64_t seed = 0x7654321;
    unsigned char *want = malloc(MEMORY);
    assert_non_null(want);
    Rig r;
    open_rig(&r);
    for (r.seed = 0; r.seed < ROUNDS; r.seed++) {
        Case c = draw(&seed);
        char how[128];
        rig_fill(&r, &seed);
        r.map[1] = c.map;
        memcpy(want, r.bytes, MEMORY);
        for (unsigned k = 0; k < c.bytes; k++) {
            uint64_t at;
            if (inside(&c, k, &at)) want[at] = r.bytes[RESULT + place(&c, k)];
        }
        rig_clear(&r);
        rig_move(&r, "in", 0, RESULT, c.shared + c.bytes + 1024, false);
        rig_say(&r, "fence.proxy.async.shared::cta;\nbar.sync 0;\n");
        snprintf(how, sizeof how, store, c.map.rank);
        say_store(&r, &c, how);
        rig_say(&r,
                "@%%p0 cp.async.bulk.commit_group;\n"
                "@%%p0 cp.async.bulk.wait_group%s 0;\n",
                r.seed % 2 ? ".read" : "");
        rig_works(&r);
        assert_memory_equal(r.bytes, want, MEMORY);
    }
    free(want);
    rig_close(&r);
}

/* Two blocks add each its box to the same one; numbers are whole and small. */
static void boxes_are_added(void **state)
{
    static const struct Kind floats[] = {{7, 4}, {9, 2}, {6, 2}};
    (void)state;
    uint64_t seed = 0x2468;
    Rig r;
    open_rig(&r);
    r.blocks = 2;
    for (r.seed = 1; r.seed < 30; r.seed++) {
        const struct Kind *kind = &floats[r.seed % 3];
        uint64_t size[2] = {40, 9};
        uint16_t box[2] = {(uint16_t)(128 / kind->bytes), 8};
        Case c = {.map = rig_map(TENSOR, 2, kind->dtype, kind->bytes, size, box,
                                 128, 0),
                  .each = kind->bytes,
                  .bytes = 1024,
                  .at = {(int)below(&seed, 60) - 20, (int)below(&seed, 12) - 4},
                  .shared = 1024};
        float old[MEMORY / 64], more[1024];
        memset(r.bytes, 0, MEMORY);
        /* numbers -8 .. 7, of which these are the bits */
        for (unsigned k = 0; k < sizeof old / sizeof *old; k++) {
            bool box_of = k < 1024 / kind->bytes;
            float x = (float)below(&seed, 16) - 8, y = (float)below(&seed, 16);
            uint32_t bits[2], half[2];
            float xs[2] = {x, y};
            old[k] = x;
            if (box_of) more[k] = y;
            memcpy(bits, xs, 8);
            for (unsigned j = 0; j < 2; j++)
                half[j] = kind->dtype == 7   ? bits[j]
                          : kind->dtype == 9 ? bits[j] >> 16
                          : xs[j] == 0
                              ? 0
                              : (bits[j] >> 16 & 0x8000) |
                                    ((bits[j] >> 13 & 0x3fc00) - (112u << 10)) |
                                    (bits[j] >> 13 & 0x3ff);
            memcpy(r.bytes + TENSOR + k * kind->bytes, half, kind->bytes);
            if (box_of)
                memcpy(r.bytes + RESULT + place(&c, k * kind->bytes), half + 1,
                       kind->bytes);
        }
        r.map[1] = c.map;
        rig_clear(&r);
        rig_move(&r, "in", 0, RESULT, 2048, false);
        rig_say(&r, "fence.proxy.async.shared::cta;\nbar.sync 0;\n");
        say_store(&r, &c,
                  "cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.tile."
                  "bulk_group");
        rig_say(&r, "@%%p0 cp.async.bulk.commit_group;\n"
                    "@%%p0 cp.async.bulk.wait_group 0;\n");
        rig_works(&r);
        for (unsigned k = 0; k < 1024; k += kind->bytes) {
            uint64_t at;
            if (!inside(&c, k, &at)) continue;
            float want =
                old[(at - TENSOR) / kind->bytes] + 2 * more[k / kind->bytes];
            uint32_t got = 0;
            memcpy(&got, r.bytes + at, kind->bytes);
            if (kind->dtype == 9) got <<= 16;
            if (kind->dtype == 6 && got & 0x7fff)
                got = (got & 0x8000) << 16 |
                      (((got & 0x7fff) << 13) + (112u << 23));
            else if (kind->dtype == 6)
                got <<= 16;
            float x;
            memcpy(&x, &got, 4);
            assert_true(x == want);
        }
    }
    rig_close(&r);
}

/* Each block of a cluster loads a box into all of them. */
static void boxes_go_to_several_blocks(void **state)
{
    (void)state;
    uint64_t seed = 0x97531;
    Rig r;
    open_rig(&r);
    for (r.seed = 1; r.seed < 30; r.seed++) {
        enum { BOX = 1024 };
        unsigned n = r.seed % 2 ? 2 : 4;
        uint64_t size[2] = {64, 64};
        uint16_t box[2] = {64, 8};
        r.cluster = n;
        r.blocks = 2 * n;
        rig_fill(&r, &seed);
        r.map[0] = rig_map(TENSOR, 2, 9, 2, size, box, 128, 0);
        rig_clear(&r);
        rig_barrier(&r, SHARED - 8, 1);
        rig_say(&r,
                "barrier.cluster.arrive;\nbarrier.cluster.wait;\n"
                "mov.u32 %%r30, %%ctaid.x;\nshl.b32 %%r31, %%r30, 3;\n"
                "shl.b32 %%r32, %%r2, 10;\nadd.u32 %%r32, %%r32, %%r1;\n"
                "mov.b16 %%h1, %u;\n"
                "@%%p0 mbarrier.arrive.expect_tx.shared::cta.b64 _, "
                "[%%r1+%u], %u;\n"
                "@%%p0 cp.async.bulk.tensor.2d.shared::cluster.global."
                "tile.mbarrier::complete_tx::bytes.multicast::cluster "
                "[%%r32], [%%rd1, {0, %%r31}], [%%r1+%u], %%h1;\n",
                (1u << n) - 1, SHARED - 8, n * BOX, SHARED - 8);
        rig_wait(&r, "again", SHARED - 8, 0);
        rig_say(&r,
                "mul.wide.u32 %%rd10, %%r30, %u;\n"
                "add.u64 %%rd0, %%rd0, %%rd10;\n",
                4 * BOX);
        rig_move(&r, "out", 0, RESULT, n * BOX, true);
        rig_say(&r, "barrier.cluster.arrive;\nbarrier.cluster.wait;\n");
        rig_works(&r);
        for (unsigned b = 0; b < 2 * n; b++)
            for (unsigned k = 0; k < n * BOX; k++) {
                Case c = {.map = r.map[0], .each = 2};
                unsigned from = b / n * n * BOX + k;
                assert_int_equal(r.bytes[RESULT + b * 4 * BOX + place(&c, k)],
                                 r.bytes[TENSOR + from]);
            }
    }
    rig_close(&r);
}

static void runs_of_bytes_are_copied(void **state)
{
    (void)state;
    uint64_t seed = 0x8642;
    Rig r;
    open_rig(&r);
    for (r.seed = 1; r.seed < 30; r.seed++) {
        unsigned n = 16 * (1 + (unsigned)below(&seed, 100));
        unsigned from = 16 * (unsigned)below(&seed, 100);
        unsigned at = 16 * (unsigned)below(&seed, 100);
        unsigned to = 16 * (unsigned)below(&seed, 100);
        rig_fill(&r, &seed);
        rig_clear(&r);
        rig_barrier(&r, SHARED - 8, 1);
        rig_say(&r,
                "add.u64 %%rd10, %%rd0, %u;\nadd.u64 %%rd11, %%rd0, %u;\n"
                "@%%p0 cp.async.bulk.prefetch.L2.global [%%rd10], %u;\n"
                "@%%p0 mbarrier.arrive.expect_tx.shared::cta.b64 _, "
                "[%%r1+%u], %u;\n"
                "@%%p0 cp.async.bulk.shared::cluster.global.mbarrier::"
                "complete_tx::bytes [%%r1+%u], [%%rd10], %u, [%%r1+%u];\n",
                TENSOR + from, RESULT + to, n, SHARED - 8, n, at, n,
                SHARED - 8);
        rig_wait(&r, "again", SHARED - 8, 0);
        rig_say(&r,
                "@%%p0 cp.async.bulk.global.shared::cta.bulk_group [%%rd11], "
                "[%%r1+%u], %u;\n@%%p0 cp.async.bulk.commit_group;\n"
                "@%%p0 cp.async.bulk.wait_group.read 0;\n",
                at, n);
        rig_works(&r);
        assert_memory_equal(r.bytes + RESULT + to, r.bytes + TENSOR + from, n);
    }
    rig_close(&r);
}

static const char wait_read[] = "cp.async.bulk.wait_group.read 0;\n";

/* Warp 0 loads rows of a tensor into STAGES places, round and round; warp 1
 * stores each row one further on. EARLY: it gives a place back that is read
 * still. */
static void say_pipeline(Rig *r, bool early)
{
    enum { STAGES = 3, FULL = SHARED - 64, EMPTY = SHARED - 32 };
    for (unsigned k = 0; k < STAGES; k++) {
        rig_barrier(r, FULL + 8 * k, 1);
        rig_barrier(r, EMPTY + 8 * k, 1);
    }
    rig_say(r,
            "setp.eq.u32 %%p1, %%r0, 0;\nsetp.eq.u32 %%p2, %%r0, 32;\n"
            "mov.u32 %%r10, 0;\nmov.u32 %%r11, 0;\nmov.u32 %%r12, 0;\n"
            "@%%p1 bra load;\n@!%%p2 bra end;\nbra store;\n"
            "load:\n"
            "shl.b32 %%r20, %%r11, 3;\nadd.u32 %%r20, %%r20, %%r1;\n"
            "shl.b32 %%r21, %%r11, 10;\nadd.u32 %%r21, %%r21, %%r1;\n"
            "xor.b32 %%r22, %%r12, 1;\n"
            "empty:\nmbarrier.try_wait.parity.shared::cta.b64 %%p4, "
            "[%%r20+%u], %%r22;\n@!%%p4 bra empty;\n"
            "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%%r20+%u], 1024;\n"
            "cp.async.bulk.tensor.2d.shared::cluster.global.tile."
            "mbarrier::complete_tx::bytes [%%r21], [%%rd1, {0, %%r10}], "
            "[%%r20+%u];\n",
            EMPTY, FULL, FULL);
    rig_say(r,
            "add.u32 %%r10, %%r10, 8;\nadd.u32 %%r11, %%r11, 1;\n"
            "setp.eq.u32 %%p3, %%r11, %u;\n@%%p3 mov.u32 %%r11, 0;\n"
            "@%%p3 xor.b32 %%r12, %%r12, 1;\n"
            "setp.lt.u32 %%p3, %%r10, 128;\n@%%p3 bra load;\nbra end;\n"
            "store:\n"
            "shl.b32 %%r20, %%r11, 3;\nadd.u32 %%r20, %%r20, %%r1;\n"
            "shl.b32 %%r21, %%r11, 10;\nadd.u32 %%r21, %%r21, %%r1;\n"
            "full:\nmbarrier.try_wait.parity.shared::cta.b64 %%p4, [%%r20+%u], "
            "%%r12;\n@!%%p4 bra full;\n",
            STAGES, FULL);
    rig_say(r,
            "add.u32 %%r23, %%r10, 8;\n"
            "cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group "
            "[%%rd2, {0, %%r23}], [%%r21];\n"
            "cp.async.bulk.commit_group;\n%s"
            "mbarrier.arrive.shared::cta.b64 _, [%%r20+%u];\n%s"
            "add.u32 %%r10, %%r10, 8;\nadd.u32 %%r11, %%r11, 1;\n"
            "setp.eq.u32 %%p3, %%r11, %u;\n@%%p3 mov.u32 %%r11, 0;\n"
            "@%%p3 xor.b32 %%r12, %%r12, 1;\n"
            "setp.lt.u32 %%p3, %%r10, 128;\n@%%p3 bra store;\nend:\n",
            early ? "" : wait_read, EMPTY, early ? wait_read : "", STAGES);
}

static void open_pipeline(Rig *r)
{
    uint64_t size[2] = {64, 128}, size_of_second[2] = {64, 136};
    uint16_t box[2] = {64, 8};
    open_rig(r);
    r->map[0] = rig_map(TENSOR, 2, 9, 2, size, box, 128, 0);
    r->map[1] = rig_map(RESULT, 2, 9, 2, size_of_second, box, 128, 0);
}

static void pipelines_give_the_same_always(void **state)
{
    (void)state;
    uint64_t seed = 0x13579;
    Rig r;
    open_pipeline(&r);
    say_pipeline(&r, false);
    for (r.seed = 1; r.seed < 100; r.seed++) {
        r.races = r.seed % 2;
        rig_fill(&r, &seed);
        rig_works(&r);
        assert_memory_equal(r.bytes + RESULT + 1024, r.bytes + TENSOR, 16384);
    }
    rig_close(&r);
}

/* Without races looked for, a place that is filled too early gives another
 * result under some seed. */
static void races_are_told_or_seen(void **state)
{
    (void)state;
    uint64_t seed = 0x24681;
    unsigned seen = 0;
    Rig r;
    open_pipeline(&r);
    say_pipeline(&r, true);
    rig_fails(&r, "nothing between that orders the two");
    r.races = false;
    for (r.seed = 1; r.seed < 30; r.seed++) {
        rig_fill(&r, &seed);
        seen += !rig_run(&r) ||
                memcmp(r.bytes + RESULT + 1024, r.bytes + TENSOR, 16384) != 0;
    }

    assert_true(seen > 20);
    rig_close(&r);
}

/* ------------------------------------------------------------------- faults */

#define INIT                                               \
    "@%p0 mbarrier.init.shared::cta.b64 [%r1+65528], 1;\n" \
    "fence.mbarrier_init.release.cluster;\nbar.sync 0;\n"
#define EXPECT(n) \
    "@%p0 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r1+65528], " #n ";\n"
#define LOAD(at)                                                   \
    "@%p0 cp.async.bulk.tensor.2d.shared::cluster.global.tile."    \
    "mbarrier::complete_tx::bytes [%r1+" #at "], [%rd1, {0, 0}], " \
    "[%r1+65528];\n"
#define WAIT                                                                  \
    "again:\nmbarrier.try_wait.parity.shared::cta.b64 %p4, [%r1+65528], 0;\n" \
    "@!%p4 bra again;\n"
#define WRITE                                        \
    "shl.b32 %r9, %r0, 4;\nadd.u32 %r9, %r9, %r1;\n" \
    "st.shared.v4.b32 [%r9], {%r0, %r0, %r0, %r0};\n"
#define FENCE "fence.proxy.async.shared::cta;\nbar.sync 0;\n"
#define STORE                                                          \
    "@%p0 cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group " \
    "[%rd2, {0, 0}], [%r1];\n@%p0 cp.async.bulk.commit_group;\n"
#define READ "@%p0 cp.async.bulk.wait_group.read 0;\n"
#define ROW                                                \
    "@%p0 cp.async.bulk.shared::cluster.global.mbarrier::" \
    "complete_tx::bytes "

static const struct Wrong {
    const char *body, *why;
} wrong[] = {
    {INIT EXPECT(1024) LOAD(0), "is over"},
    {INIT EXPECT(1008) LOAD(0) WAIT, "got more bytes than it expects"},
    {INIT EXPECT(1040) LOAD(0) WAIT, "waits for ever at mbarrier.try_wait"},
    {INIT EXPECT(1024) LOAD(64) WAIT, "no multiple of 128"},
    {INIT EXPECT(1024) LOAD(65024) WAIT, "the block has 65536"},
    {"bar.sync 0;\n" LOAD(0), "there is no barrier"},
    {"@%p0 mbarrier.init.shared::cta.b64 [%r1+65528], 1;\nbar.sync 0;\n" EXPECT(
         1024) LOAD(0) WAIT,
     "no fence.mbarrier_init since"},
    {INIT EXPECT(1024) LOAD(0) "bar.sync 0;\nld.shared.b32 %r5, [%r1];\n" WAIT,
     "nothing between that orders the two"},
    {INIT EXPECT(1024) LOAD(0) WAIT "bar.sync 0;\n" EXPECT(1024)
         LOAD(0) "@!%p0 bra end;\n"
                 "more:\nmbarrier.try_wait.parity.shared::cta.b64 %p4, "
                 "[%r1+65528], 1;\n"
                 "@!%p4 bra more;\nend:\nld.shared.b32 %r5, [%r1];\n",
     "nothing between that orders the two"},
    {WRITE FENCE STORE, "nobody waited for it"},
    {WRITE FENCE STORE WRITE READ, "nothing between that orders the two"},
    {WRITE "bar.sync 0;\n" STORE READ, "fence.proxy.async"},
    {WRITE "fence.proxy.async.shared::cta;\n" STORE READ,
     "nothing between that orders the two"},
    {INIT EXPECT(16) ROW "[%r1+8], [%rd0], 16, [%r1+65528];\n" WAIT,
     "no multiple of 16"},
    {INIT EXPECT(16) ROW "[%r1], [%rd0+8], 16, [%r1+65528];\n" WAIT,
     "reads from"},
    {INIT EXPECT(16) ROW "[%r1], [%rd0], 24, [%r1+65528];\n" WAIT, "bytes"},
    {INIT EXPECT(16) ROW "[%r1], [%rd0+1048576], 16, [%r1+65528];\n" WAIT,
     "memory that nobody has"},
    {"@%p0 cp.async.bulk.prefetch.L2.global [%rd0+8], 16;\n", "brings from"},
    {"@%p0 cp.async.bulk.prefetch.L2.global [%rd0], 8;\n", "brings bytes"}};

static void wrong_copies_are_told(void **state)
{
    (void)state;
    uint64_t size[2] = {64, 64};
    uint16_t box[2] = {64, 8};
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
        Rig r;
        open_rig(&r);
        r.map[0] = rig_map(TENSOR, 2, 9, 2, size, box, 128, 0);
        r.map[1] = rig_map(RESULT, 2, 9, 2, size, box, 128, 0);
        rig_say(&r, "%s", wrong[k].body);
        rig_fails(&r, wrong[k].why);
        rig_close(&r);
    }
}

/* Maps that no copy can be made by. */
static void wrong_maps_are_told(void **state)
{
    (void)state;
    uint64_t size[2] = {64, 64};
    uint16_t box[2] = {64, 8};
    PtxMap good = rig_map(TENSOR, 2, 9, 2, size, box, 128, 0), bad[5];
    static const char *const why[] = {
        "is no tensor map", "another rank", "as wide as its swizzle",
        "no multiple of 16 bytes", "a size, a box or a stride"};
    for (unsigned k = 0; k < 5; k++)
        bad[k] = good;
    bad[0].sign = 0;
    bad[1].rank = 1;
    bad[2].swizzle = 64;
    bad[3].box[0] = 63;
    bad[4].stride[1] = 120;
    for (unsigned k = 0; k < 5; k++) {
        Rig r;
        open_rig(&r);
        r.map[0] = bad[k];
        rig_say(&r, "%s", INIT EXPECT(1024) LOAD(0) WAIT);
        rig_fails(&r, why[k]);
        rig_close(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(boxes_are_loaded),
        cmocka_unit_test(boxes_are_stored),
        cmocka_unit_test(boxes_are_added),
        cmocka_unit_test(boxes_go_to_several_blocks),
        cmocka_unit_test(runs_of_bytes_are_copied),
        cmocka_unit_test(pipelines_give_the_same_always),
        cmocka_unit_test(races_are_told_or_seen),
        cmocka_unit_test(wrong_copies_are_told),
        cmocka_unit_test(wrong_maps_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
