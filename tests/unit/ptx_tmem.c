/* links: titan_ptx m */
/*
 * ptx_tmem.c: products in tensor memory, as the tests' machine makes them,
 * against loops over single numbers; and kernels that lack something.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/rig.h"

enum {
    ROWS = 128,
    STEP = 32, /* of K, a product's */
    MEMORY = 1 << 18,
    RESULT = 1 << 16, /* where results go */
    SHARED = 80 << 10,
    BARRIER = SHARED - 16,
    ADDRESS = SHARED - 8, /* of tensor memory */
    COLUMNS = 512,
    A = 0,
    B = 16 << 10,
    SCALES_A = 48 << 10,
    SCALES_B = SCALES_A + 512,
    IMAGE = SCALES_B + 1024, /* bytes that shared memory begins with */
    ROUNDS = 24
};

typedef enum Wrong {
    RIGHT,
    NO_WAIT,
    NO_AFTER,
    NO_BEFORE,
    NO_FREE,
    FREED_TWICE,
    OTHER_LANES,
    NO_WAIT_LD,
    ODD_COLUMNS,
    CLOSED,
    BEYOND,
    OVER_SCALES,
    OVER_SUMS,
    UNFENCED,
    OVERWRITTEN,
    NO_COMMIT
} Wrong;

/* A product of ROWS x n x depth. */
typedef struct Case {
    unsigned n, depth;
    unsigned width; /* bytes of a swizzle, 0: none */
    bool five[2];   /* e5m2, of A and of B; else e4m3 */
    unsigned char a[ROWS][128], b[256][128];
    unsigned char scale_a[ROWS][4], scale_b[256][4];
    Wrong wrong;
} Case;

static uint64_t below(uint64_t *state, uint64_t n)
{
    return rig_random(state) % n;
}

/* What eight bits say; 1 sign, E exponent. */
static double number(unsigned char bits, bool five)
{
    int places = five ? 2 : 3, bias = five ? 15 : 7;
    int exponent = (bits & 127) >> places, part = bits & ((1 << places) - 1);
    double x = exponent ? ldexp((1 << places) + part, exponent - bias - places)
                        : ldexp(part, 1 - bias - places);
    return bits & 128 ? -x : x;
}

static unsigned char draw_number(uint64_t *state, bool five)
{
    for (;;) {
        unsigned char x = (unsigned char)rig_random(state);
        if ((x & 127) < (five ? 0x7c : 0x7f)) return x;
    }
}

static void draw(Case *c, uint64_t *state)
{
    static const unsigned widths[] = {128, 64, 32, 0};
    *c = (Case){.n = 8 * (1 + (unsigned)below(state, 32)),
                .width = widths[below(state, 4)]};
    if (below(state, 2)) c->n = 128;
    c->depth = c->width ? c->width : STEP * (1 + (unsigned)below(state, 4));
    for (unsigned k = 0; k < 2; k++)
        c->five[k] = below(state, 3) == 0;
    for (unsigned r = 0; r < 256; r++)
        for (unsigned k = 0; k < 128; k++) {
            c->b[r][k] = draw_number(state, c->five[1]);
            if (r < ROWS) c->a[r][k] = draw_number(state, c->five[0]);
        }
    for (unsigned r = 0; r < 256; r++)
        for (unsigned k = 0; k < 4; k++) {
            c->scale_b[r][k] = (unsigned char)(118 + below(state, 18));
            if (r < ROWS)
                c->scale_a[r][k] = (unsigned char)(118 + below(state, 18));
        }
}

/* Where byte K of a row of an operand lies: rows of the swizzle's bytes, of
 * which pieces of 16 change places by the line of 128; without, eight rows of
 * a piece together. */
static unsigned place(const Case *c, unsigned row, unsigned k)
{
    if (!c->width)
        return row / 8 * (c->depth * 8) + k / 16 * 128 + row % 8 * 16 + k % 16;
    unsigned at = row * c->width + k, line = at / 128, piece = at % 128 / 16;
    return line * 128 + (piece ^ line % (c->width / 16)) * 16 + at % 16;
}

static void put(Rig *r, const Case *c)
{
    for (unsigned k = 0; k < c->depth; k++) {
        for (unsigned row = 0; row < ROWS; row++)
            r->bytes[A + place(c, row, k)] = c->a[row][k];
        for (unsigned row = 0; row < c->n; row++)
            r->bytes[B + place(c, row, k)] = c->b[row][k];
    }
    for (unsigned row = 0; row < 256; row++) {
        unsigned at = row / 128 * 512 + row % 32 * 16 + row % 128 / 32 * 4;
        memcpy(r->bytes + SCALES_B + at, c->scale_b[row], 4);
        if (row < ROWS) memcpy(r->bytes + SCALES_A + at, c->scale_a[row], 4);
    }
}

static uint64_t descriptor(const Case *c, unsigned at, unsigned step)
{
    uint64_t how = c->width == 128 ? 2 : c->width == 64 ? 4 : c->width ? 6 : 0;
    uint64_t stride = c->width ? 8 * c->width : c->depth * 8, lead = 128;
    at += step * (c->width ? STEP : 2 * 128);
    return at / 16 | lead / 16 << 16 | stride / 16 << 32 | UINT64_C(1) << 46 |
           how << 61;
}

static unsigned about(const Case *c, unsigned step)
{
    return step << 4 | (unsigned)c->five[0] << 7 | (unsigned)c->five[1] << 10 |
           c->n / 8 << 17 | 1u << 23 | 1u << 27 | step << 29;
}

static void say_copy(Rig *r, unsigned column, unsigned from)
{
    uint64_t bits = from / 16 | UINT64_C(8) << 32 | UINT64_C(1) << 46;
    rig_say(r,
            "mov.b64 %%rd20, %llu;\n"
            "tcgen05.cp.cta_group::1.32x128b.warpx4 [%%r11+%u], %%rd20;\n",
            (unsigned long long)bits, column);
}

/* Thread 0 asks for all. */
static void say_products(Rig *r, const Case *c)
{
    unsigned scales = (c->n + 3) / 4 * 4;
    rig_say(r, "@!%%p0 bra asked;\n");
    say_copy(r, scales, SCALES_A);
    say_copy(r, scales + 4, SCALES_B);
    if (c->n > 128) say_copy(r, scales + 8, SCALES_B + 512);
    for (unsigned k = 0; k < c->depth / STEP; k++)
        rig_say(r,
                "setp.ne.u32 %%p2, %u, 0;\nmov.b64 %%rd20, %llu;\n"
                "mov.b64 %%rd21, %llu;\nmov.b32 %%r12, %u;\n"
                "add.u32 %%r13, %%r11, %u;\nadd.u32 %%r14, %%r11, %u;\n"
                "tcgen05.mma.cta_group::1.kind::mxf8f6f4.block_scale."
                "scale_vec::1X [%%r11+%u], %%rd20, %%rd21, %%r12, [%%r13], "
                "[%%r14], %%p2;\n",
                k, (unsigned long long)descriptor(c, A, k),
                (unsigned long long)descriptor(c, B, k), about(c, k), scales,
                scales + 4, c->wrong == BEYOND ? COLUMNS - c->n + 8 : 0);
    if (c->wrong == OVER_SCALES) say_copy(r, scales, SCALES_B);
    if (c->wrong == OVER_SUMS) say_copy(r, 0, SCALES_B);
    if (c->wrong == OVERWRITTEN)
        rig_say(r, "st.shared.b32 [%%r1+%u], %%r0;\n", B + 64);
    if (c->wrong != NO_COMMIT)
        rig_say(r,
                "add.u32 %%r12, %%r1, %u;\n"
                "tcgen05.commit.cta_group::1.mbarrier::arrive::one."
                "shared::cluster.b64 [%%r12];\n",
                BARRIER);
    rig_say(r, "asked:\nbar.warp.sync -1;\n");
}

static void say_loads(Rig *r, const Case *c)
{
    rig_say(r, "shr.u32 %%r12, %%r0, 5;\nshl.b32 %%r12, %%r12, 21;\n");
    if (c->wrong == OTHER_LANES) rig_say(r, "mov.u32 %%r12, 0;\n");
    rig_say(r, "add.u32 %%r12, %%r12, %%r11;\n");
    rig_say(r,
            "mul.wide.u32 %%rd10, %%r0, %u;\nadd.u64 %%rd10, %%rd10, "
            "%%rd0;\n",
            4 * c->n);
    for (unsigned at = 0; at < c->n; at += 8) {
        rig_say(r,
                "tcgen05.ld.sync.aligned.32x32b.x8.b32 {%%r20, %%r21, "
                "%%r22, %%r23, %%r24, %%r25, %%r26, %%r27}, [%%r12+%u];\n",
                at);
        if (c->wrong != NO_WAIT_LD)
            rig_say(r, "tcgen05.wait::ld.sync.aligned;\n");
        rig_say(r,
                "st.global.v4.b32 [%%rd10+%u], {%%r20, %%r21, %%r22, %%r23};\n"
                "st.global.v4.b32 [%%rd10+%u], {%%r24, %%r25, %%r26, %%r27};\n",
                RESULT + 4 * at, RESULT + 4 * at + 16);
    }
}

static void say_allocate(Rig *r, const Case *c)
{
    rig_say(r, "setp.lt.u32 %%p1, %%r0, 32;\nadd.u32 %%r10, %%r1, %u;\n",
            ADDRESS);
    if (c->wrong == CLOSED)
        rig_say(r, "@%%p1 tcgen05.relinquish_alloc_permit.cta_group::1.sync."
                   "aligned;\n");
    rig_say(r,
            "@%%p1 tcgen05.alloc.cta_group::1.sync.aligned.shared::cta.b32 "
            "[%%r10], %u;\ntcgen05.fence::before_thread_sync;\nbar.sync 0;\n"
            "tcgen05.fence::after_thread_sync;\nld.shared.b32 %%r11, "
            "[%%r10];\n",
            c->wrong == ODD_COLUMNS ? 48 : COLUMNS);
}

static void say(Rig *r, const Case *c)
{
    rig_clear(r);
    rig_move(r, "image", 0, 0, IMAGE, false);
    if (c->wrong != UNFENCED) rig_say(r, "fence.proxy.async.shared::cta;\n");
    rig_barrier(r, BARRIER, 1);
    say_allocate(r, c);
    say_products(r, c);
    if (c->wrong != NO_WAIT && c->wrong != NO_COMMIT)
        rig_wait(r, "made", BARRIER, 0);
    if (c->wrong != NO_AFTER) rig_say(r, "tcgen05.fence::after_thread_sync;\n");
    say_loads(r, c);
    if (c->wrong != NO_BEFORE)
        rig_say(r, "tcgen05.fence::before_thread_sync;\n");
    rig_say(r, "bar.sync 0;\ntcgen05.fence::after_thread_sync;\n");
    for (unsigned k = 0; k < 1u + (c->wrong == FREED_TWICE); k++)
        if (c->wrong != NO_FREE)
            rig_say(r,
                    "@%%p1 tcgen05.dealloc.cta_group::1.sync.aligned.b32 "
                    "%%r11, %u;\n",
                    COLUMNS);
}

static void open_case(Rig *r, Case *c, uint64_t *state)
{
    rig_open(r, MEMORY);
    r->threads = 128;
    r->shared = SHARED;
    draw(c, state);
    put(r, c);
}

static double scale(unsigned char bits)
{
    return bits == 255 ? (double)NAN : ldexp(1, bits - 127);
}

/* Row ROW, column COLUMN: rounded after each 32 terms. */
static float wanted(const Case *c, unsigned row, unsigned column)
{
    float d = 0;
    for (unsigned k = 0; k < c->depth; k += STEP) {
        double sum = 0;
        for (unsigned j = k; j < k + STEP; j++)
            sum += number(c->a[row][j], c->five[0]) *
                   scale(c->scale_a[row][k / STEP]) *
                   number(c->b[column][j], c->five[1]) *
                   scale(c->scale_b[column][k / STEP]);
        d = (float)(sum + (double)d);
    }
    return d;
}

static void check(const Rig *r, const Case *c)
{
    for (unsigned row = 0; row < ROWS; row++)
        for (unsigned column = 0; column < c->n; column++) {
            float got, want = wanted(c, row, column);
            memcpy(&got, r->bytes + RESULT + 4 * (row * c->n + column), 4);
            bool both = got != got && want != want;
            if (!both && (got < want || got > want || got != got))
                fail_msg("%u x %u, swizzle %u, row %u column %u: %a, not %a",
                         c->n, c->depth, c->width, row, column, (double)got,
                         (double)want);
        }
}

static void test_products(void **state)
{
    static Case c;
    uint64_t seed = 12;
    Rig r;
    (void)state;
    for (unsigned n = 0; n < ROUNDS; n++) {
        open_case(&r, &c, &seed);
        if (n == 0) c.scale_a[5][0] = c.scale_b[7][0] = 255;
        put(&r, &c);
        r.seed = n;
        r.races = n % 2;
        say(&r, &c);
        rig_works(&r);
        check(&r, &c);
        rig_close(&r);
    }
}

static void check_wrong(Wrong wrong, bool races, const char *what)
{
    static Case c;
    uint64_t seed = 77;
    Rig r;
    open_case(&r, &c, &seed);
    c.wrong = wrong;
    c.n = 64;
    put(&r, &c);
    r.races = races;
    say(&r, &c);
    rig_fails(&r, what);
    rig_close(&r);
}

static void test_faults(void **state)
{
    (void)state;
    check_wrong(NO_WAIT, false, "is not waited for");
    check_wrong(NO_COMMIT, false, "is not waited for");
    check_wrong(NO_AFTER, false, "no tcgen05.fence::after_thread_sync");
    check_wrong(NO_BEFORE, false, "no tcgen05.fence::before_thread_sync");
    check_wrong(NO_FREE, false, "512 columns of tensor memory are not freed");
    check_wrong(FREED_TWICE, false, "nobody has allocated 512 columns");
    check_wrong(OTHER_LANES, false, "this warp reaches");
    check_wrong(NO_WAIT_LD, false, "nobody waited for a load");
    check_wrong(ODD_COLUMNS, false, "48 columns cannot be allocated");
    check_wrong(CLOSED, false, "nobody allocates any more");
    check_wrong(BEYOND, false, "are not the block's");
    check_wrong(OVER_SCALES, false, "it touches the tensor memory of line");
    check_wrong(OVER_SUMS, false, "it touches the tensor memory of line");
    check_wrong(UNFENCED, true, "fence.proxy.async");
    check_wrong(OVERWRITTEN, true, "with nothing between");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
