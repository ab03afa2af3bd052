/* links: titan_ptx */
/*
 * ptx_product.c: products of matrices as the tests' machine makes them, against
 * loops over single numbers, and how matrices lie in memory and in registers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/rig.h"

#include <math.h>

enum {
    MEMORY = 1 << 20,
    A_IMAGE = 1 << 15, /* bytes of A in shared memory, B behind it */
    IMAGE = A_IMAGE + (1 << 17),
    A_PARTS = 1 << 18, /* in global memory: A's registers, D before, D after */
    D_BEFORE = 1 << 19,
    D_AFTER = 3 << 18,
    THREADS = 128,
    ROUNDS = 120
};

static unsigned below(uint64_t *state, unsigned n)
{
    return (unsigned)(rig_random(state) % n);
}

/* ------------------------------------------------------------------ numbers */

typedef struct Float {
    const char *name;
    int bytes, fraction, bias;
    bool infinite; /* the largest exponent is infinite, or no number */
} Float;

static const Float floats[] = {{"bf16", 2, 7, 127, true},
                               {"f16", 2, 10, 15, true},
                               {"e4m3", 1, 3, 7, false},
                               {"e5m2", 1, 2, 15, true}};

static double number(const Float *f, unsigned bits)
{
    int width = 8 * f->bytes - 1 - f->fraction;
    int e = (int)(bits >> f->fraction) & ((1 << width) - 1);
    int m = (int)bits & ((1 << f->fraction) - 1), most = (1 << width) - 1;
    double sign = bits >> (8 * f->bytes - 1) & 1 ? -1 : 1;
    bool all = m == (1 << f->fraction) - 1;
    if (e == most && f->infinite) return m ? NAN : sign * INFINITY;
    if (e == most && all) return NAN;
    if (!e) return sign * ldexp(m, 1 - f->bias - f->fraction);
    return sign * ldexp(m + (1 << f->fraction), e - f->bias - f->fraction);
}

/* Any bits, or those of a number that is near one. */
static unsigned draw_bits(const Float *f, uint64_t *state, bool any)
{
    unsigned all = below(state, 1u << 8 * f->bytes);
    if (any) return all;
    unsigned sign = all & 1u << (8 * f->bytes - 1);
    unsigned fraction = all & ((1u << f->fraction) - 1);
    unsigned e = (unsigned)f->bias - 3 + below(state, 6);
    return sign | e << f->fraction | fraction;
}

/* ------------------------------------------------------------- how they lie */

/* An operand in shared memory: the canonical layouts of the PTX ISA. */
typedef struct Layout {
    unsigned swizzle, lead, stride, start;
    bool across;
} Layout;

static unsigned place(const Layout *o, unsigned row, unsigned k, unsigned each)
{
    unsigned t = 16 / each, w = o->swizzle ? o->swizzle : 16, at;
    if (!o->across && o->swizzle)
        at = row / 8 * o->stride + row % 8 * w + k * each;
    else if (!o->across)
        at =
            row / 8 * o->stride + row % 8 * 16 + k / t * o->lead + k % t * each;
    else if (o->swizzle)
        at = row / (w / each) * o->lead + row % (w / each) * each +
             k / 8 * o->stride + k % 8 * w;
    else
        at =
            row / t * o->stride + row % t * each + k / 8 * o->lead + k % 8 * 16;
    at += o->start;
    unsigned line = at / 128, piece = at % 128 / 16;
    return line * 128 + (piece ^ line % (w / 16)) * 16 + at % 16;
}

static Layout draw_layout(uint64_t *state, unsigned rows, bool across,
                          unsigned start)
{
    static const unsigned swizzles[] = {0, 32, 64, 128};
    Layout o = {.swizzle = swizzles[below(state, 4)], .across = across};
    unsigned w = o.swizzle ? o.swizzle : 16, core = 8 * w;
    unsigned far = rows / 8 * core;
    bool turn = below(state, 2);
    o.start = start;
    if (!across && o.swizzle) {
        o.stride = core * (1 + below(state, 2));
        o.start += below(state, w / 32) * 32;
        o.lead = 16 * below(state, 100);
    } else if (across && o.swizzle) {
        unsigned blocks = (rows * 2 + w - 1) / w;
        o.stride = turn ? core : core * blocks;
        o.lead = turn ? 2 * core : core;
    } else {
        o.stride = turn ? 128 : 256;
        o.lead = turn ? far : 128;
    }
    return o;
}

static uint64_t descriptor(const Layout *o)
{
    uint64_t mode = o->swizzle == 128  ? 1
                    : o->swizzle == 64 ? 2
                    : o->swizzle == 32 ? 3
                                       : 0;
    return mode << 62 | (uint64_t)(o->stride / 16) << 32 |
           (uint64_t)(o->lead / 16) << 16 | o->start / 16;
}

/* ------------------------------------------------------------------- a case */

typedef struct Case {
    const Float *a_type, *b_type;
    unsigned n, depth;
    bool held; /* A in registers */
    bool adds; /* to what D has */
    int a_sign, b_sign;
    Layout a, b;
} Case;

static Case draw(uint64_t *state)
{
    Case c = {.n = 8 * (1 + below(state, 32))};
    bool eight = below(state, 3) == 0;
    unsigned k = below(state, 2);
    c.a_type = &floats[eight ? 2 + k : k];
    c.b_type = &floats[eight ? 2 + below(state, 2) : k];
    c.depth = eight ? 32 : 16;
    c.held = below(state, 3) == 0;
    c.adds = below(state, 2);
    c.a_sign = below(state, 4) ? 1 : -1;
    c.b_sign = below(state, 4) ? 1 : -1;
    c.a = draw_layout(state, 64, !eight && !c.held && below(state, 2), 0);
    c.b = draw_layout(state, c.n, !eight && below(state, 2), A_IMAGE);
    return c;
}

static void say_list(Rig *r, const char *of, unsigned first, unsigned n)
{
    rig_say(r, "{");
    for (unsigned k = 0; k < n; k++)
        rig_say(r, "%s%s%u", k ? ", " : "", of, first + k);
    rig_say(r, "}");
}

static void say_product(Rig *r, const Case *c, const char *adds)
{
    rig_say(r, "wgmma.mma_async.sync.aligned.m64n%uk%u.f32.%s.%s ", c->n,
            c->depth, c->a_type->name, c->b_type->name);
    say_list(r, "%f", 0, c->n / 2);
    rig_say(r, ", ");
    if (c->held)
        say_list(r, "%r", 200, 4);
    else
        rig_say(r, "%%rd20");
    rig_say(r, ", %%rd21, %s, %d, %d", adds, c->a_sign, c->b_sign);
    if (c->depth == 16 && !c->held) rig_say(r, ", %d", c->a.across);
    if (c->depth == 16) rig_say(r, ", %d", c->b.across);
    rig_say(r, ";\n");
}

/* D's registers from or to global memory. */
static void say_d(Rig *r, const Case *c, unsigned at, bool out)
{
    rig_say(r,
            "mul.wide.u32 %%rd22, %%r0, %u;\nadd.u64 %%rd22, %%rd22, "
            "%%rd0;\n",
            2 * c->n);
    for (unsigned k = 0; k < c->n / 2 && out; k++)
        rig_say(r, "st.global.f32 [%%rd22+%u], %%f%u;\n", at + 4 * k, k);
    for (unsigned k = 0; k < c->n / 2 && !out; k++)
        rig_say(r, "ld.global.f32 %%f%u, [%%rd22+%u];\n", k, at + 4 * k);
}

static void say_operands(Rig *r, const Case *c)
{
    rig_move(r, "in", 0, 0, IMAGE, false);
    rig_say(r, "fence.proxy.async.shared::cta;\nbar.sync 0;\n");
    say_d(r, c, D_BEFORE, false);
    rig_say(r,
            "mul.wide.u32 %%rd23, %%r0, 16;\n"
            "add.u64 %%rd23, %%rd23, %%rd0;\n"
            "ld.global.v4.b32 {%%r200, %%r201, %%r202, %%r203}, "
            "[%%rd23+%u];\n",
            A_PARTS);
    rig_say(r,
            "mov.b64 %%rd20, %llu;\nmov.b64 %%rd21, %llu;\n"
            "setp.eq.u32 %%p5, 1, %d;\n",
            (unsigned long long)descriptor(&c->a),
            (unsigned long long)descriptor(&c->b), c->adds);
}

typedef struct Matrices {
    double a[64][32], b[256][32];
    float d[64][256];
} Matrices;

/* Register R of thread T of D. */
static float *element(Matrices *m, unsigned t, unsigned r)
{
    return &m->d[t / 32 * 16 + t % 32 / 4 + r / 2 % 2 * 8]
                [r / 4 * 8 + t % 4 * 2 + r % 2];
}

static void fill(Rig *r, const Case *c, Matrices *m, uint64_t *state, bool any)
{
    unsigned ea = (unsigned)c->a_type->bytes, eb = (unsigned)c->b_type->bytes;
    for (unsigned row = 0; row < 64; row++)
        for (unsigned k = 0; k < c->depth; k++) {
            unsigned bits = draw_bits(c->a_type, state, any);
            unsigned each = 4 / ea, half = k / (c->depth / 2);
            unsigned t =
                row / 16 * 32 + row % 8 * 4 + k % (c->depth / 2) / each;
            unsigned reg = half * 2 + row / 8 % 2;
            m->a[row][k] = number(c->a_type, bits);
            memcpy(r->bytes + (c->held
                                   ? A_PARTS + t * 16 + reg * 4 + k % each * ea
                                   : place(&c->a, row, k, ea)),
                   &bits, ea);
        }
    for (unsigned row = 0; row < c->n; row++)
        for (unsigned k = 0; k < c->depth; k++) {
            unsigned bits = draw_bits(c->b_type, state, any);
            m->b[row][k] = number(c->b_type, bits);
            memcpy(r->bytes + place(&c->b, row, k, eb), &bits, eb);
        }
    for (unsigned t = 0; t < THREADS; t++)
        for (unsigned k = 0; k < c->n / 2; k++) {
            float x = (float)below(state, 1000) / 7 - 50;
            *element(m, t, k) = x;
            memcpy(r->bytes + D_BEFORE + t * 2 * c->n + 4 * k, &x, 4);
        }
}

static void multiply(const Case *c, Matrices *m, bool adds)
{
    for (unsigned row = 0; row < 64; row++)
        for (unsigned n = 0; n < c->n; n++) {
            double sum = adds ? (double)m->d[row][n] : 0;
            for (unsigned k = 0; k < c->depth; k++)
                sum += m->a[row][k] * c->a_sign * m->b[n][k] * c->b_sign;
            m->d[row][n] = (float)sum;
        }
}

static void expect(const Rig *r, const Case *c, Matrices *m)
{
    for (unsigned t = 0; t < THREADS; t++)
        for (unsigned k = 0; k < c->n / 2; k++) {
            float want = *element(m, t, k), got;
            const unsigned char *at = r->bytes + D_AFTER + t * 2 * c->n + 4 * k;
            memcpy(&got, at, 4);
            uint32_t bits;
            memcpy(&bits, at, 4);
            if (want != want)
                assert_int_equal(bits, 0x7fffffff);
            else
                assert_true(got == want);
        }
}

static void open_rig(Rig *r)
{
    rig_open(r, MEMORY);
    r->shared = IMAGE;
    r->threads = THREADS;
    r->races = true;
}

static void products_are_those_of_loops(void **state)
{
    (void)state;
    static Matrices m;
    uint64_t seed = 0x5a5a5a;
    Rig r;
    open_rig(&r);
    for (r.seed = 0; r.seed < ROUNDS; r.seed++) {
        Case c = draw(&seed);
        fill(&r, &c, &m, &seed, r.seed % 8 == 0);
        rig_clear(&r);
        say_operands(&r, &c);
        rig_say(&r, "wgmma.fence.sync.aligned;\n");
        say_product(&r, &c, "%p5");
        say_product(&r, &c, "1");
        rig_say(&r, "wgmma.commit_group.sync.aligned;\n"
                    "wgmma.wait_group.sync.aligned 0;\n");
        say_d(&r, &c, D_AFTER, true);
        r.tally = (PtxTally){0};
        rig_works(&r);
        assert_int_equal(r.tally.products, 8);
        multiply(&c, &m, c.adds);
        multiply(&c, &m, true);
        expect(&r, &c, &m);
    }
    rig_close(&r);
}

/* Two groups: the first is waited for while the second is on its way. */
static void groups_are_waited_for_one_by_one(void **state)
{
    (void)state;
    static Matrices m;
    uint64_t seed = 0xa5a5a5;
    Rig r;
    open_rig(&r);
    Case c = draw(&seed);
    c = (Case){&floats[0], &floats[0], 16, 16, true, true, 1, 1, c.a, c.b};
    c.b = (Layout){128, 16, 1024, A_IMAGE, false};
    for (r.seed = 1; r.seed < 30; r.seed++) {
        fill(&r, &c, &m, &seed, false);
        rig_clear(&r);
        say_operands(&r, &c);
        rig_say(&r, "wgmma.fence.sync.aligned;\n");
        say_product(&r, &c, "1");
        rig_say(&r, "wgmma.commit_group.sync.aligned;\n");
        rig_say(&r, "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 "
                    "{%%f20, %%f21, %%f22, %%f23}, {%%r200, %%r201, %%r202, "
                    "%%r203}, %%rd21, 0, 1, 1, 0;\n"
                    "wgmma.commit_group.sync.aligned;\n"
                    "wgmma.wait_group.sync.aligned 1;\n");
        say_d(&r, &c, D_AFTER, true);
        rig_say(&r, "wgmma.wait_group.sync.aligned 0;\n");
        rig_works(&r);
        multiply(&c, &m, true);
        expect(&r, &c, &m);
    }
    rig_close(&r);
}

/* ------------------------------------------------------------------- faults */

#define MADE                                                           \
    "shl.b32 %r9, %r0, 4;\nadd.u32 %r9, %r9, %r1;\n"                   \
    "st.shared.v4.b32 [%r9], {%r0, %r0, %r0, %r0};\n"                  \
    "st.shared.v4.b32 [%r9+2048], {%r0, %r0, %r0, %r0};\n"             \
    "mov.b64 %rd20, 0x4000004000010000;\nmov.b64 %rd21, %rd20;\n"      \
    "mov.f32 %f0, 0f00000000;\nmov.f32 %f1, %f0;\nmov.f32 %f2, %f0;\n" \
    "mov.f32 %f3, %f0;\n"
#define PROXY "fence.proxy.async.shared::cta;\nbar.sync 0;\n"
#define FENCE "wgmma.fence.sync.aligned;\n"
#define PRODUCT                                            \
    "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 " \
    "{%f0, %f1, %f2, %f3}, %rd20, %rd21, 1, 1, 1, 0, 0;\n"
#define USE    "add.f32 %f4, %f0, %f0;\n"
#define COMMIT "wgmma.commit_group.sync.aligned;\n"
#define WAIT   "wgmma.wait_group.sync.aligned 0;\n"

static const struct Wrong {
    const char *body, *why;
} wrong[] = {
    {MADE PROXY FENCE PRODUCT COMMIT, "nobody waited for its product"},
    {MADE PROXY FENCE PRODUCT WAIT, "nobody waited for its product"},
    {MADE PROXY FENCE PRODUCT COMMIT "add.f32 %f4, %f3, %f3;\n" WAIT,
     "operand 1 is of a product that nobody waited for"},
    {MADE PROXY FENCE PRODUCT COMMIT "mov.f32 %f2, 0f00000000;\n" WAIT,
     "operand 0 is of a product that nobody waited for"},
    {MADE PROXY FENCE "mov.f32 %f0, 0f00000000;\n" PRODUCT COMMIT WAIT,
     "no wgmma.fence since"},
    {MADE PROXY PRODUCT COMMIT WAIT, "no wgmma.fence since"},
    {MADE PROXY FENCE PRODUCT COMMIT WAIT PRODUCT COMMIT WAIT,
     "no wgmma.fence since"},
    {MADE "bar.sync 0;\n" FENCE PRODUCT COMMIT WAIT USE, "(fence.proxy.async)"},
    {MADE "fence.proxy.async.shared::cta;\n" FENCE PRODUCT COMMIT WAIT USE,
     "nothing between that orders the two"},
    {MADE PROXY FENCE PRODUCT COMMIT "bar.sync 0;\nxor.b32 %r9, %r9, 1024;\n"
                                     "st.shared.b32 [%r9], %r0;\n" WAIT,
     "nothing between that orders the two"},
    {MADE PROXY
     "setp.lt.u32 %p1, %r0, 32;\n@%p1 bra end;\n" FENCE PRODUCT COMMIT WAIT
     "end:\n",
     "products, warp"},
    {MADE PROXY
     "or.b64 %rd21, %rd21, 0x2000000000000;\n" FENCE PRODUCT COMMIT WAIT,
     "base offset"},
    {MADE PROXY
     "mov.b64 %rd21, 0x4000004000013fff;\n" FENCE PRODUCT COMMIT WAIT,
     "that the block has not"},
    {MADE PROXY "cvt.u64.u32 %rd21, %r0;\n" FENCE PRODUCT COMMIT WAIT,
     "not the same on all lanes"},
    {MADE PROXY FENCE PRODUCT
     "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f4, %f5, %f6, "
     "%f7}, {%f0, %f1, %f2, %f3}, %rd21, 1, 1, 1, 0;\n" COMMIT WAIT,
     "an open product has registers"}};

/* What came too early may be thrown away, and written anew. */
static void results_may_be_thrown_away(void **state)
{
    (void)state;
    Rig r;
    open_rig(&r);
    rig_say(&r, "%s",
            MADE
            "fence.proxy.async.shared::cta;\n" FENCE PRODUCT COMMIT WAIT
            "bar.sync 0;\nmov.f32 %f9, %f1;\n" FENCE
            "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 "
            "{%f0, %f1, %f2, %f3}, %rd20, %rd21, 0, 1, 1, 0, 0;\n" COMMIT WAIT
            "add.f32 %f4, %f0, %f1;\n");
    for (r.seed = 1; r.seed < 10; r.seed++)
        rig_works(&r);
    rig_say(&r, "add.f32 %%f4, %%f9, %%f9;\n");
    rig_fails(&r, "uses what the product at line");
    rig_close(&r);
}

static void wrong_products_are_told(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
        Rig r;
        open_rig(&r);
        rig_say(&r, "%s", wrong[k].body);
        rig_fails(&r, wrong[k].why);
        rig_close(&r);
    }
}

/* ---------------------------------------------------------- 8 x 8 matrices */

static void matrices_move_by_fragments(void **state)
{
    (void)state;
    uint64_t seed = 0xc3c3c3;
    Rig r;
    open_rig(&r);
    r.shared = 4096;
    r.threads = 32;
    for (r.seed = 0; r.seed < 40; r.seed++) {
        unsigned n = 1u << r.seed % 3, pitch = 16 * (1 + below(&seed, 4));
        bool turned = below(&seed, 2), loads = below(&seed, 2);
        const char *trans = turned ? ".trans" : "";
        rig_fill(&r, &seed);
        rig_clear(&r);
        rig_move(&r, "in", 0, 0, 2048, false);
        rig_say(&r,
                "bar.sync 0;\nmul.lo.u32 %%r10, %%r0, %u;\n"
                "add.u32 %%r10, %%r10, %%r1;\n"
                "mul.wide.u32 %%rd10, %%r0, 16;\n"
                "add.u64 %%rd10, %%rd10, %%rd0;\n",
                pitch);
        if (loads) {
            rig_say(&r, "ldmatrix.sync.aligned.m8n8.x%u%s.shared::cta.b16 ", n,
                    trans);
            say_list(&r, "%r", 20, n);
            rig_say(&r, ", [%%r10];\n");
            for (unsigned k = 0; k < n; k++)
                rig_say(&r, "st.global.b32 [%%rd10+%u], %%r%u;\n", 8192 + 4 * k,
                        20 + k);
        } else {
            for (unsigned k = 0; k < n; k++)
                rig_say(&r, "ld.global.b32 %%r%u, [%%rd10+%u];\n", 20 + k,
                        8192 + 4 * k);
            rig_say(&r,
                    "stmatrix.sync.aligned.m8n8.x%u%s.shared::cta.b16 "
                    "[%%r10], ",
                    n, trans);
            say_list(&r, "%r", 20, n);
            rig_say(&r, ";\nbar.sync 0;\n");
            rig_move(&r, "out", 0, 0, 2048, true);
        }
        rig_works(&r);
        for (unsigned k = 0; k < n; k++)
            for (unsigned row = 0; row < 8; row++)
                for (unsigned column = 0; column < 8; column++) {
                    unsigned i = turned ? column : row;
                    unsigned j = turned ? row : column;
                    unsigned lane = i * 4 + j / 2;
                    assert_memory_equal(
                        r.bytes + 8192 + lane * 16 + k * 4 + j % 2 * 2,
                        r.bytes + (8 * k + row) * pitch + 2 * column, 2);
                }
    }
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_those_of_loops),
        cmocka_unit_test(groups_are_waited_for_one_by_one),
        cmocka_unit_test(wrong_products_are_told),
        cmocka_unit_test(results_may_be_thrown_away),
        cmocka_unit_test(matrices_move_by_fragments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
