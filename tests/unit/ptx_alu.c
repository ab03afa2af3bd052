/* links: titan_ptx m */
/*
 * ptx_alu.c: the arithmetic of the machine for PTX, against the values that the
 * ISA says and against formulas of another kind on random ones.
 */
#include <fenv.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/ptx/lanes.h"
#include "tests/ptx/number.h"
#include "tests/unit/warp.h"

__extension__ typedef unsigned __int128 Uint128;
__extension__ typedef __int128 Int128;

static uint64_t draw(uint64_t *seed)
{
    uint64_t z = (*seed += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Bits that are often near where something happens. */
static uint64_t draw_bits(uint64_t *seed)
{
    static const uint64_t edges[] = {
        0,          1,          0x7f,       0x80,       0xff,       0x7fff,
        0x8000,     0xffff,     0x7f800000, 0xff800000, 0x7f800001, 0x7fffffff,
        0x80000000, 0x00800000, 0x007fffff, 0x3f800000, 0xbf800000, 0xffffffff,
        UINT64_MAX, 31,         32,         33,         63,         64};
    uint64_t x = draw(seed);
    if (x % 5) return draw(seed);
    uint64_t e = edges[x / 5 % (sizeof edges / sizeof *edges)];
    return x >> 40 & 1 ? e : e << 32 | (draw(seed) & UINT32_MAX);
}

static void open_warp(TestWarp *t, const char *body)
{
    const char *why = warp_open(t, body);
    if (why) fail_msg("%s: %s", body, why);
}

/* BODY's result in lane 0 for the bits X, Y and Z of its operands. */
static uint64_t of(const char *body, uint64_t x, uint64_t y, uint64_t z)
{
    TestWarp t;
    open_warp(&t, body);
    const PtxKernel *k = t.module->kernels;
    const uint64_t in[] = {x, y, z};
    for (uint32_t n = 1; n < k->insts[0].nargs && n <= 3; n++)
        if (k->args[k->insts[0].first + n].kind == PA_reg)
            warp_operand(&t, n)[0] = in[n - 1];
    warp_run(&t, 1);
    uint64_t out = warp_operand(&t, 0)[0];
    warp_close(&t);
    return out;
}

typedef struct Known {
    const char *body;
    uint64_t x, y, z, is;
} Known;

static void check_known(const Known *k, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t is = of(k[i].body, k[i].x, k[i].y, k[i].z);
        if (is != k[i].is)
            fail_msg("%s of %#llx, %#llx, %#llx is %#llx, not %#llx", k[i].body,
                     (unsigned long long)k[i].x, (unsigned long long)k[i].y,
                     (unsigned long long)k[i].z, (unsigned long long)is,
                     (unsigned long long)k[i].is);
    }
}

#define CHECK_KNOWN(table) check_known(table, sizeof(table) / sizeof *(table))

/* --------------------------------------------------------------- the table */

static void test_whole_numbers(void **state)
{
    (void)state;
    static const Known known[] = {
        {"add.s32 %r0, %r1, %r2;", 0xffffffff, 2, 0, 1},
        {"add.sat.s32 %r0, %r1, %r2;", 0x7fffffff, 2, 0, 0x7fffffff},
        {"sub.sat.s32 %r0, %r1, %r2;", 0x80000000, 2, 0, 0x80000000},
        {"mul.hi.s32 %r0, %r1, %r2;", 0xffffffff, 2, 0, 0xffffffff},
        {"mul.hi.u32 %r0, %r1, %r2;", 0xffffffff, 2, 0, 1},
        {"mul.hi.u16 %h0, %h1, %h2;", 0xffff, 0xffff, 0, 0xfffe},
        {"mul.lo.u16 %h0, %h1, %h2;", 0xffff, 0xffff, 0, 1},
        {"mul.wide.u16 %r0, %h1, %h2;", 0xffff, 0xffff, 0, 0xfffe0001},
        {"mul.wide.s16 %r0, %h1, %h2;", 0xffff, 2, 0, 0xfffffffe},
        {"mul.wide.s32 %d0, %r1, %r2;", 0xffffffff, 3, 0, UINT64_MAX - 2},
        {"mad.wide.u32 %d0, %r1, %r2, %d3;", 0xffffffff, 0xffffffff,
         UINT64_C(0xfffffffe), UINT64_C(0xfffffffeffffffff)},
        {"mad.hi.s32 %r0, %r1, %r2, %r3;", 0x40000000, 4, 0xffffffff, 0},
        {"mad.lo.s32 %r0, %r1, 3, -1;", 5, 0, 0, 14},
        {"div.s32 %r0, %r1, %r2;", 0x80000000, 0xffffffff, 0, 0x80000000},
        {"rem.s32 %r0, %r1, %r2;", 0x80000000, 0xffffffff, 0, 0},
        {"div.s32 %r0, %r1, %r2;", (uint32_t)-7, 2, 0, (uint32_t)-3},
        {"rem.s32 %r0, %r1, %r2;", (uint32_t)-7, 2, 0, (uint32_t)-1},
        {"div.s64 %d0, %d1, %d2;", UINT64_C(1) << 63, UINT64_MAX, 0,
         UINT64_C(1) << 63},
        {"div.u32 %r0, %r1, %r2;", 7, 0, 0, 0xffffffff},
        {"rem.u32 %r0, %r1, %r2;", 7, 0, 0, 7},
        {"neg.s32 %r0, %r1;", 0x80000000, 0, 0, 0x80000000},
        {"abs.s32 %r0, %r1;", 0x80000000, 0, 0, 0x80000000},
        {"abs.s64 %d0, %d1;", UINT64_MAX, 0, 0, 1},
        {"max.s32 %r0, %r1, %r2;", 0xffffffff, 1, 0, 1},
        {"max.u32 %r0, %r1, %r2;", 0xffffffff, 1, 0, 0xffffffff},
        {"min.s64 %d0, %d1, %d2;", UINT64_MAX, 1, 0, UINT64_MAX},
        {"max.u16x2 %r0, %r1, %r2;", 0x0001ffff, 0x00020003, 0, 0x0002ffff},
        {"max.s16x2 %r0, %r1, %r2;", 0x0001ffff, 0x00020003, 0, 0x00020003},
        {"add.u16x2 %r0, %r1, %r2;", 0x0001ffff, 0x00020003, 0, 0x00030002},
    };
    CHECK_KNOWN(known);
}

static void test_bits(void **state)
{
    (void)state;
    static const Known known[] = {
        {"shl.b32 %r0, %r1, %r2;", 1, 31, 0, 0x80000000},
        {"shl.b32 %r0, %r1, %r2;", 1, 32, 0, 0},
        {"shl.b32 %r0, %r1, %r2;", 1, 0xffffffff, 0, 0},
        {"shl.b64 %d0, %d1, %r2;", 1, 64, 0, 0},
        {"shl.b16 %h0, %h1, 15;", 3, 0, 0, 0x8000},
        {"shr.u32 %r0, %r1, %r2;", 0x80000000, 32, 0, 0},
        {"shr.s32 %r0, %r1, %r2;", 0x80000000, 32, 0, 0xffffffff},
        {"shr.s32 %r0, %r1, %r2;", 0x80000000, 200, 0, 0xffffffff},
        {"shr.s16 %h0, %h1, 4;", 0x8000, 0, 0, 0xf800},
        {"shr.u16 %h0, %h1, 4;", 0x8000, 0, 0, 0x0800},
        {"shr.s64 %d0, %d1, 64;", UINT64_C(1) << 63, 0, 0, UINT64_MAX},
        {"shf.l.wrap.b32 %r0, %r1, %r2, %r3;", 0x80000001, 2, 33, 5},
        {"shf.r.wrap.b32 %r0, %r1, %r2, %r3;", 2, 1, 33, 0x80000001},
        {"shf.l.clamp.b32 %r0, %r1, %r2, %r3;", 7, 2, 33, 7},
        {"shf.r.clamp.b32 %r0, %r1, %r2, %r3;", 7, 2, 33, 2},
        {"not.b16 %h0, %h1;", 1, 0, 0, 0xfffe},
        {"not.pred %p0, %p1;", 1, 0, 0, 0},
        {"cnot.b32 %r0, %r1;", 0, 0, 0, 1},
        {"popc.b64 %r0, %d1;", UINT64_MAX, 0, 0, 64},
        {"clz.b32 %r0, %r1;", 0, 0, 0, 32},
        {"clz.b64 %r0, %d1;", 1, 0, 0, 63},
        {"brev.b32 %r0, %r1;", 1, 0, 0, 0x80000000},
        {"brev.b64 %d0, %d1;", 6, 0, 0, UINT64_C(3) << 61},
        {"bfe.u32 %r0, %r1, 4, 8;", 0x12345678, 0, 0, 0x67},
        {"bfe.s32 %r0, %r1, 4, 4;", 0x80, 0, 0, 0xfffffff8},
        {"bfe.s32 %r0, %r1, 28, 8;", 0x80000000, 0, 0, 0xfffffff8},
        {"bfe.s32 %r0, %r1, 40, 8;", 0x80000000, 0, 0, 0xffffffff},
        {"bfe.u32 %r0, %r1, 40, 8;", 0x80000000, 0, 0, 0},
        {"bfe.s32 %r0, %r1, 0, 0;", 0x80000000, 0, 0, 0},
        {"bfe.u32 %r0, %r1, 256, 32;", 0x87654321, 0, 0, 0x87654321},
        {"bfe.u64 %d0, %d1, 0, 64;", UINT64_MAX, 0, 0, UINT64_MAX},
        {"bfe.s64 %d0, %d1, 60, 2;", UINT64_C(1) << 61, 0, 0, UINT64_MAX - 1},
        {"bfi.b32 %r0, %r1, %r2, 4, 8;", 0xfff, 0x10000001, 0, 0x10000ff1},
        {"bfi.b32 %r0, %r1, %r2, 28, 8;", 0xff, 1, 0, 0xf0000001},
        {"bfi.b32 %r0, %r1, %r2, 32, 8;", 0xff, 1, 0, 1},
        {"bfi.b64 %d0, %d1, %d2, 0, 64;", 5, 9, 0, 5},
        {"bfi.b64 %d0, %d1, %d2, 3, 0;", 5, 9, 0, 9},
        {"prmt.b32 %r0, %r1, %r2, 0x5410U;", 0x33221100, 0x77665544, 0,
         0x55441100},
        {"prmt.b32 %r0, %r1, %r2, 0x7632;", 0x33221100, 0x77665544, 0,
         0x77663322},
        {"prmt.b32 %r0, %r1, %r2, 0xba98;", 0x80018001, 0, 0, 0xff00ff00},
        {"prmt.b32.f4e %r0, %r1, %r2, 1;", 0x33221100, 0x77665544, 0,
         0x44332211},
        {"prmt.b32.b4e %r0, %r1, %r2, 1;", 0x33221100, 0x77665544, 0,
         0x66770011},
        {"prmt.b32.rc8 %r0, %r1, %r2, 2;", 0x33221100, 0, 0, 0x22222222},
        {"prmt.b32.ecl %r0, %r1, %r2, 2;", 0x33221100, 0, 0, 0x33222222},
        {"prmt.b32.ecr %r0, %r1, %r2, 1;", 0x33221100, 0, 0, 0x11111100},
        {"prmt.b32.rc16 %r0, %r1, %r2, 1;", 0x33221100, 0, 0, 0x33223322},
        {"selp.b32 %r0, %r1, %r2, %p3;", 1, 2, 1, 1},
        {"selp.b32 %r0, %r1, %r2, !%p3;", 1, 2, 1, 2},
        {"selp.f64 %d0, %d1, 0d3FF0000000000000, %p3;", 7, 0, 0,
         UINT64_C(0x3ff0000000000000)},
        {"slct.f32.s32 %r0, %r1, %r2, %r3;", 1, 2, 0x80000000, 2},
        {"slct.f32.s32 %r0, %r1, %r2, %r3;", 1, 2, 0, 1},
        {"slct.b64.f32 %d0, %d1, %d2, %r3;", 1, 2, 0x80000000, 1},
        {"slct.b64.f32 %d0, %d1, %d2, %r3;", 1, 2, 0x7fc00000, 2},
        {"slct.b64.f32 %d0, %d1, %d2, %r3;", 1, 2, 0x80000001, 2},
        {"slct.ftz.b64.f32 %d0, %d1, %d2, %r3;", 1, 2, 0x80000001, 1},
    };
    CHECK_KNOWN(known);
}

static void test_floats(void **state)
{
    (void)state;
    enum { NANS = 0x7fffffff, INF = 0x7f800000, ONE = 0x3f800000 };
    static const Known known[] = {
        {"add.rn.f32 %r0, %r1, %r2;", INF, 0xff800000, 0, NANS},
        {"add.rn.f32 %r0, %r1, %r2;", 0xffc12345, ONE, 0, NANS},
        {"add.rn.f32 %r0, %r1, %r2;", 1, 1, 0, 2},
        {"add.rn.ftz.f32 %r0, %r1, %r2;", 1, 1, 0, 0},
        {"add.rn.ftz.f32 %r0, %r1, %r2;", 0x80000001, 0x80000001, 0,
         0x80000000},
        {"mul.rn.f32 %r0, %r1, %r2;", 0x00800000, 0x3f000000, 0, 0x00400000},
        {"mul.rn.ftz.f32 %r0, %r1, %r2;", 0x80800000, 0x3f000000, 0,
         0x80000000},
        {"add.sat.f32 %r0, %r1, %r2;", ONE, ONE, 0, ONE},
        {"add.sat.f32 %r0, %r1, %r2;", 0x7fc00000, ONE, 0, 0},
        {"mul.sat.f32 %r0, %r1, %r2;", 0xbf800000, ONE, 0, 0},
        {"add.rz.f32 %r0, %r1, %r2;", ONE, 0x33ffffff, 0, ONE},
        {"add.rp.f32 %r0, %r1, %r2;", ONE, 1, 0, ONE + 1},
        {"add.rm.f32 %r0, %r1, %r2;", ONE, 0x80000001, 0, ONE - 1},
        {"add.rn.f32 %r0, %r1, %r2;", ONE, 0x33800000, 0, ONE},
        {"add.rn.f32 %r0, %r1, %r2;", ONE + 1, 0x33800000, 0, ONE + 2},
        {"fma.rp.f32 %r0, %r1, %r2, %r3;", ONE, ONE, 1, ONE + 1},
        {"fma.rz.f32 %r0, %r1, %r2, %r3;", ONE + 1, ONE + 1, 0, ONE + 2},
        {"fma.rn.sat.f32 %r0, %r1, %r2, %r3;", ONE, ONE, ONE, ONE},
        {"div.rn.f32 %r0, %r1, %r2;", ONE, 0, 0, INF},
        {"div.rz.f32 %r0, %r1, %r2;", ONE, 0x40400000, 0, 0x3eaaaaaa},
        {"div.rn.f32 %r0, %r1, %r2;", ONE, 0x40400000, 0, 0x3eaaaaab},
        {"rcp.rn.f32 %r0, %r1;", 0x80000000, 0, 0, 0xff800000},
        {"rcp.approx.f32 %r0, %r1;", 1, 0, 0, INF},
        {"rcp.approx.ftz.f32 %r0, %r1;", 0x80000001, 0, 0, 0xff800000},
        {"rcp.approx.ftz.f32 %r0, %r1;", 0x7f000000, 0, 0, 0},
        {"rcp.approx.f32 %r0, %r1;", 0x7f000000, 0, 0, 0x00400000},
        {"rsqrt.approx.f32 %r0, %r1;", 0x80000000, 0, 0, 0xff800000},
        {"rsqrt.approx.f32 %r0, %r1;", 0xbf800000, 0, 0, NANS},
        {"rsqrt.approx.ftz.f32 %r0, %r1;", 0x80000001, 0, 0, 0xff800000},
        {"rsqrt.approx.f32 %r0, %r1;", INF, 0, 0, 0},
        {"sqrt.rn.f32 %r0, %r1;", 0x40000000, 0, 0, 0x3fb504f3},
        {"sqrt.rp.f32 %r0, %r1;", 0x40000000, 0, 0, 0x3fb504f4},
        {"ex2.approx.ftz.f32 %r0, %r1;", 0xc3000000, 0, 0, 0},
        {"ex2.approx.f32 %r0, %r1;", 0xc3000000, 0, 0, 0x00200000},
        {"ex2.approx.f32 %r0, %r1;", 0xff800000, 0, 0, 0},
        {"ex2.approx.f32 %r0, %r1;", INF, 0, 0, INF},
        {"ex2.approx.f32 %r0, %r1;", 0x7fc00000, 0, 0, NANS},
        {"ex2.approx.f32 %r0, %r1;", 0x40400000, 0, 0, 0x41000000},
        {"lg2.approx.f32 %r0, %r1;", 0, 0, 0, 0xff800000},
        {"lg2.approx.f32 %r0, %r1;", 1, 0, 0, 0xc3150000},
        {"lg2.approx.ftz.f32 %r0, %r1;", 1, 0, 0, 0xff800000},
        {"lg2.approx.f32 %r0, %r1;", 0xbf800000, 0, 0, NANS},
        {"tanh.approx.f32 %r0, %r1;", INF, 0, 0, ONE},
        {"rcp.approx.ftz.f64 %d0, %d1;", UINT64_C(0x4008000000000000), 0, 0,
         UINT64_C(0x3fd5555500000000)},
        {"rcp.approx.ftz.f64 %d0, %d1;", 1, 0, 0, UINT64_C(0x7ff0000000000000)},
        {"rcp.approx.ftz.f64 %d0, %d1;", UINT64_C(0xfff0000000000000), 0, 0,
         UINT64_C(1) << 63},
        {"abs.f32 %r0, %r1;", 0xffc00001, 0, 0, 0x7fc00001},
        {"abs.ftz.f32 %r0, %r1;", 0x80000001, 0, 0, 0},
        {"neg.f32 %r0, %r1;", 0, 0, 0, 0x80000000},
        {"neg.f64 %d0, %d1;", 1, 0, 0, UINT64_C(0x8000000000000001)},
        {"copysign.f32 %r0, %r1, %r2;", 0x80000000, ONE, 0, 0xbf800000},
        {"copysign.f32 %r0, %r1, %r2;", 0, 0xbf800000, 0, ONE},
        {"copysign.f64 %d0, %d1, %d2;", UINT64_C(1) << 63, 5, 0,
         UINT64_C(0x8000000000000005)},
        {"min.f32 %r0, %r1, %r2;", 0, 0x80000000, 0, 0x80000000},
        {"min.f32 %r0, %r1, %r2;", 0x80000000, 0, 0, 0x80000000},
        {"max.f32 %r0, %r1, %r2;", 0x80000000, 0, 0, 0},
        {"max.f32 %r0, %r1, %r2;", 0, 0x80000000, 0, 0},
        {"max.f32 %r0, %r1, %r2;", 0x7fc00000, ONE, 0, ONE},
        {"max.f32 %r0, %r1, %r2;", ONE, 0x7fc00000, 0, ONE},
        {"min.f32 %r0, %r1, %r2;", 0x7fc00000, 0xffc00000, 0, NANS},
        {"max.NaN.f32 %r0, %r1, %r2;", ONE, 0xffc00000, 0, NANS},
        {"min.NaN.f32 %r0, %r1, %r2;", 0x7fc00000, ONE, 0, NANS},
        {"min.NaN.f32 %r0, %r1, %r2;", 0x40000000, ONE, 0, ONE},
        {"max.ftz.f32 %r0, %r1, %r2;", 1, 0x80000000, 0, 0},
        {"max.f64 %d0, %d1, %d2;", UINT64_C(0x7ff8000000000000), 3, 0, 3},
    };
    CHECK_KNOWN(known);
}

static void test_comparisons(void **state)
{
    (void)state;
    enum { NANS = 0x7fc00000, ONE = 0x3f800000 };
    static const Known known[] = {
        {"setp.lt.s32 %p0, %r1, %r2;", 0xffffffff, 0, 0, 1},
        {"setp.lt.u32 %p0, %r1, %r2;", 0xffffffff, 0, 0, 0},
        {"setp.lo.u32 %p0, %r1, %r2;", 0, 1, 0, 1},
        {"setp.hs.u64 %p0, %d1, %d2;", UINT64_MAX, 1, 0, 1},
        {"setp.eq.b16 %p0, %h1, 65535;", 0xffff, 0, 0, 1},
        {"setp.eq.b16 %p0, %h1, -1;", 0xffff, 0, 0, 1},
        {"setp.gt.s64 %p0, %d1, -1;", 0, 0, 0, 1},
        {"setp.eq.f32 %p0, %r1, %r2;", 0, 0x80000000, 0, 1},
        {"setp.eq.f32 %p0, %r1, %r2;", NANS, NANS, 0, 0},
        {"setp.ne.f32 %p0, %r1, %r2;", NANS, ONE, 0, 0},
        {"setp.neu.f32 %p0, %r1, %r2;", NANS, ONE, 0, 1},
        {"setp.equ.f32 %p0, %r1, %r2;", NANS, ONE, 0, 1},
        {"setp.equ.f32 %p0, %r1, %r2;", 0, ONE, 0, 0},
        {"setp.ltu.f32 %p0, %r1, %r2;", NANS, ONE, 0, 1},
        {"setp.lt.f32 %p0, %r1, %r2;", NANS, ONE, 0, 0},
        {"setp.geu.f32 %p0, %r1, %r2;", 0, ONE, 0, 0},
        {"setp.num.f32 %p0, %r1, %r2;", ONE, ONE, 0, 1},
        {"setp.num.f32 %p0, %r1, %r2;", ONE, NANS, 0, 0},
        {"setp.nan.f64 %p0, %d1, %d2;", UINT64_C(0x7ff8000000000000), 0, 0, 1},
        {"setp.gt.f32 %p0, %r1, %r2;", 1, 0, 0, 1},
        {"setp.gt.ftz.f32 %p0, %r1, %r2;", 1, 0, 0, 0},
        {"setp.lt.f16 %p0, %h1, %h2;", 0xbc00, 0x3c00, 0, 1},
        {"setp.eq.and.s32 %p0, %r1, %r2, %p3;", 1, 1, 0, 0},
        {"setp.eq.and.s32 %p0, %r1, %r2, !%p3;", 1, 1, 0, 1},
        {"setp.eq.or.s32 %p0, %r1, %r2, %p3;", 1, 2, 1, 1},
        {"setp.eq.xor.s32 %p0, %r1, %r2, %p3;", 1, 1, 1, 0},
        {"set.eq.u32.s32 %r0, %r1, %r2;", 1, 1, 0, 0xffffffff},
        {"set.lt.f32.f32 %r0, %r1, %r2;", 0, ONE, 0, ONE},
        {"set.lt.u32.f32 %r0, %r1, %r2;", ONE, 0, 0, 0},
        {"set.eq.and.u32.s32 %r0, %r1, %r2, %p3;", 1, 1, 0, 0},
    };
    CHECK_KNOWN(known);
}

static void test_conversions(void **state)
{
    (void)state;
    enum { NANS = 0x7fc00000, INF = 0x7f800000, ONE = 0x3f800000 };
    static const uint64_t nan64 = UINT64_C(0x7ff8000000000000);
    const Known known[] = {
        /* of whole numbers: a wider register has the sign */
        {"cvt.s32.s16 %r0, %h1;", 0x8000, 0, 0, 0xffff8000},
        {"cvt.u32.u16 %r0, %h1;", 0x8000, 0, 0, 0x8000},
        {"cvt.s64.s32 %d0, %d1;", 0x80000000, 0, 0,
         UINT64_C(0xffffffff80000000)},
        {"cvt.s16.s8 %r0, %r1;", 0x80, 0, 0, 0xffffff80},
        {"cvt.u8.u32 %r0, %r1;", 0x1ff, 0, 0, 0xff},
        {"cvt.sat.u8.s32 %r0, %r1;", 0xffffffff, 0, 0, 0},
        {"cvt.sat.u8.s32 %r0, %r1;", 300, 0, 0, 255},
        {"cvt.sat.s8.s32 %r0, %r1;", (uint32_t)-300, 0, 0, 0xffffff80},
        {"cvt.sat.s32.u32 %r0, %r1;", 0xffffffff, 0, 0, 0x7fffffff},
        {"cvt.sat.u32.s64 %r0, %d1;", UINT64_C(1) << 40, 0, 0, 0xffffffff},
        /* to them: to the nearest there is; NaN is 0, of 64 bits is not */
        {"cvt.rzi.s32.f32 %r0, %r1;", 0x4f000000, 0, 0, 0x7fffffff},
        {"cvt.rzi.s32.f32 %r0, %r1;", 0xff800000, 0, 0, 0x80000000},
        {"cvt.rzi.s32.f32 %r0, %r1;", NANS, 0, 0, 0},
        {"cvt.rzi.u32.f32 %r0, %r1;", 0xbf800000, 0, 0, 0},
        {"cvt.rzi.u32.f32 %r0, %r1;", INF, 0, 0, 0xffffffff},
        {"cvt.rzi.s64.f32 %d0, %r1;", NANS, 0, 0, UINT64_C(1) << 63},
        {"cvt.rzi.u64.f32 %d0, %r1;", NANS, 0, 0, UINT64_C(1) << 63},
        {"cvt.rzi.s32.f64 %r0, %d1;", nan64, 0, 0, 0x80000000},
        {"cvt.rzi.u64.f64 %d0, %d1;", UINT64_C(0x43efffffffffffff), 0, 0,
         UINT64_C(0xfffffffffffff800)},
        {"cvt.rzi.u64.f64 %d0, %d1;", UINT64_C(0x43f0000000000000), 0, 0,
         UINT64_MAX},
        {"cvt.rni.s32.f32 %r0, %r1;", 0x40200000, 0, 0, 2},
        {"cvt.rni.s32.f32 %r0, %r1;", 0x40600000, 0, 0, 4},
        {"cvt.rmi.s32.f32 %r0, %r1;", 0xbf000000, 0, 0, 0xffffffff},
        {"cvt.rpi.s32.f32 %r0, %r1;", 0x3f000000, 0, 0, 1},
        {"cvt.rzi.s8.f32 %r0, %r1;", 0xc3800000, 0, 0, 0xffffff80},
        {"cvt.rni.f32.f32 %r0, %r1;", 0xbf000000, 0, 0, 0x80000000},
        {"cvt.rni.f32.f32 %r0, %r1;", 0x40600000, 0, 0, 0x40800000},
        {"cvt.rmi.f64.f64 %d0, %d1;", UINT64_C(0xbfe0000000000000), 0, 0,
         UINT64_C(0xbff0000000000000)},
        /* of them, rounded once */
        {"cvt.rn.f32.u64 %r0, %d1;", UINT64_C(0x8000008000000001), 0, 0,
         0x5f000001},
        {"cvt.rn.f32.s64 %r0, %d1;", UINT64_MAX, 0, 0, 0xbf800000},
        {"cvt.rz.f32.u32 %r0, %r1;", 0xffffffff, 0, 0, 0x4f7fffff},
        {"cvt.rn.f32.u32 %r0, %r1;", 0xffffffff, 0, 0, 0x4f800000},
        {"cvt.rp.f32.s32 %r0, %r1;", (uint32_t)-16777217, 0, 0, 0xcb800000},
        {"cvt.rn.f64.u64 %d0, %d1;", UINT64_MAX, 0, 0,
         UINT64_C(0x43f0000000000000)},
        {"cvt.rn.f16.s32 %h0, %r1;", 65520, 0, 0, 0x7c00},
        {"cvt.rn.f16.s32 %h0, %r1;", 65519, 0, 0, 0x7bff},
        {"cvt.rn.bf16.u64 %h0, %d1;", UINT64_C(0x8080000000000001), 0, 0,
         0x5f01},
        /* of floats */
        {"cvt.f64.f32 %d0, %r1;", 1, 0, 0, UINT64_C(0x36a0000000000000)},
        {"cvt.ftz.f64.f32 %d0, %r1;", 0x80000001, 0, 0, UINT64_C(1) << 63},
        {"cvt.rn.f32.f64 %r0, %d1;", UINT64_C(0x36a0000000000000), 0, 0, 1},
        {"cvt.rn.ftz.f32.f64 %r0, %d1;", UINT64_C(0xb6a0000000000000), 0, 0,
         0x80000000},
        {"cvt.rp.f32.f64 %r0, %d1;", 1, 0, 0, 1},
        {"cvt.rz.f32.f64 %r0, %d1;", UINT64_C(0x7fe0000000000000), 0, 0,
         0x7f7fffff},
        {"cvt.rn.f32.f64 %r0, %d1;", nan64, 0, 0, 0x7fffffff},
        {"cvt.sat.f32.f32 %r0, %r1;", 0x40000000, 0, 0, ONE},
        {"cvt.sat.f32.f32 %r0, %r1;", NANS, 0, 0, 0},
        {"cvt.sat.f32.f32 %r0, %r1;", 0x80000000, 0, 0, 0},
        {"cvt.f32.f16 %r0, %h1;", 0x0001, 0, 0, 0x33800000},
        {"cvt.f32.f16 %r0, %h1;", 0xfc00, 0, 0, 0xff800000},
        {"cvt.f32.bf16 %r0, %h1;", 0x3f80, 0, 0, ONE},
        {"cvt.rn.f16.f32 %h0, %r1;", 0x33000000, 0, 0, 0},
        {"cvt.rn.f16.f32 %h0, %r1;", 0x33000001, 0, 0, 1},
        {"cvt.rn.f16.f32 %h0, %r1;", NANS, 0, 0, 0x7fff},
        {"cvt.rn.satfinite.f16.f32 %h0, %r1;", INF, 0, 0, 0x7bff},
        {"cvt.rn.bf16.f32 %h0, %r1;", 0x3f808000, 0, 0, 0x3f80},
        {"cvt.rn.bf16.f32 %h0, %r1;", 0x3f818000, 0, 0, 0x3f82},
        {"cvt.rn.bf16.f32 %h0, %r1;", 0x7f7fffff, 0, 0, 0x7f80},
        {"cvt.rz.bf16.f32 %h0, %r1;", 0x7f7fffff, 0, 0, 0x7f7f},
        {"cvt.rn.bf16.f32 %h0, %r1;", 0xff800001, 0, 0, 0x7fff},
        {"cvt.rn.relu.bf16.f32 %h0, %r1;", 0xbf800000, 0, 0, 0},
        /* the first operand is the upper half */
        {"cvt.rn.bf16x2.f32 %r0, %r1, %r2;", ONE, 0x40000000, 0, 0x3f804000},
        {"cvt.rz.bf16x2.f32 %r0, %r1, %r2;", 0x3f80ffff, 0, 0, 0x3f800000},
        {"cvt.rn.f16x2.f32 %r0, %r1, %r2;", ONE, 0x40000000, 0, 0x3c004000},
        {"cvt.rn.relu.f16x2.f32 %r0, %r1, %r2;", 0xbf800000, ONE, 0, 0x3c00},
        {"cvt.rn.satfinite.e4m3x2.f32 %h0, %r1, %r2;", ONE, 0x44000000, 0,
         0x387e},
        {"cvt.rn.satfinite.e4m3x2.f32 %h0, %r1, %r2;", NANS, 0xff800000, 0,
         0x7ffe},
        {"cvt.rn.satfinite.e4m3x2.f32 %h0, %r1, %r2;", 0x3a800000, 0x3a800001,
         0, 0x0001},
        {"cvt.rn.satfinite.e4m3x2.f32 %h0, %r1, %r2;", 0x80000000, 0xbf800000,
         0, 0x80b8},
        {"cvt.rn.satfinite.e5m2x2.f32 %h0, %r1, %r2;", ONE, INF, 0, 0x3c7b},
        {"cvt.rn.satfinite.e5m2x2.f32 %h0, %r1, %r2;", 0x47600000, 0x477fffff,
         0, 0x7b7b},
        {"cvt.rn.satfinite.e4m3x2.f16x2 %h0, %r1;", 0x3c004000, 0, 0, 0x3840},
        {"cvt.rn.f16x2.e4m3x2 %r0, %h1;", 0x38b8, 0, 0, 0x3c00bc00},
        {"cvt.rn.f16x2.e4m3x2 %r0, %h1;", 0x7f01, 0, 0, 0x7fff1800},
        {"cvt.rn.f16x2.e5m2x2 %r0, %h1;", 0x7cfe, 0, 0, 0x7c007fff},
        {"cvt.rn.relu.f16x2.e4m3x2 %r0, %h1;", 0x38b8, 0, 0, 0x3c000000},
    };
    CHECK_KNOWN(known);
}

static void test_halves(void **state)
{
    (void)state;
    static const Known known[] = {
        {"abs.bf16x2 %r0, %r1;", 0xbf80ffc0, 0, 0, 0x3f807fc0},
        {"neg.bf16 %h0, %h1;", 0, 0, 0, 0x8000},
        {"add.rn.bf16 %h0, %h1, %h2;", 0x3f80, 0x3b80, 0, 0x3f80},
        {"add.rn.bf16 %h0, %h1, %h2;", 0x3f81, 0x3b80, 0, 0x3f82},
        {"add.f16 %h0, %h1, %h2;", 0x7bff, 0x7bff, 0, 0x7c00},
        {"mul.f16 %h0, %h1, %h2;", 0x0001, 0x3800, 0, 0},
        /* 1 + 2^-8 + a very small one, rounded once: up */
        {"fma.rn.bf16 %h0, %h1, %h2, %h3;", 0x3b80, 0x3f80, 0x3f80, 0x3f80},
        {"fma.rn.bf16x2 %r0, %r1, %r2, %r3;", 0x3f803f80, 0x40004040,
         0x3f803f80, 0x40404080},
        {"max.bf16x2 %r0, %r1, %r2;", 0x7fc03f80, 0x3f800000, 0, 0x3f803f80},
        {"max.NaN.bf16 %h0, %h1, %h2;", 0x7fc0, 0x3f80, 0, 0x7fff},
        {"min.f16x2 %r0, %r1, %r2;", 0x80003c00, 0x00004000, 0, 0x80003c00},
    };
    CHECK_KNOWN(known);
}

/* --------------------------------------------------- against other formulas */

typedef void Check(const uint64_t in[3], uint64_t is);

/* BODY on random bits that BITS cuts, all lanes at once. */
static void sweep(const char *body, const unsigned bits[3], Check *check)
{
    uint64_t seed = 1, in[3][PTX_LANES];
    for (const char *c = body; *c; c++)
        seed = seed * 31 + (unsigned char)*c;
    TestWarp t;
    open_warp(&t, body);
    uint32_t n = t.module->kernels->insts[0].nargs - 1;
    if (n > 3) n = 3; /* a fourth is a number */
    for (unsigned round = 0; round < 500; round++) {
        for (uint32_t k = 0; k < n; k++)
            for (unsigned l = 0; l < PTX_LANES; l++)
                warp_operand(&t, k + 1)[l] = in[k][l] =
                    draw_bits(&seed) & ~UINT64_C(0) >> (64 - bits[k]);
        warp_run(&t, UINT32_MAX);
        for (unsigned l = 0; l < PTX_LANES; l++) {
            uint64_t each[3] = {0};
            for (uint32_t k = 0; k < n; k++)
                each[k] = in[k][l];
            check(each, warp_operand(&t, 0)[l]);
        }
    }
    warp_close(&t);
}

static const unsigned w32[3] = {32, 32, 32}, w64[3] = {64, 64, 64};

static uint64_t canonical(float x)
{
    return x != x ? 0x7fffffff : float_bits(x);
}

/* A fused product by exact parts: the product is one f64, and what its sum with
 * the third lacks says whether the last bit stands for more. */
static void check_fma(const uint64_t in[3], uint64_t is)
{
    double p =
        (double)float_of((uint32_t)in[0]) * (double)float_of((uint32_t)in[1]);
    double c = (double)float_of((uint32_t)in[2]), s = p + c, t = s - p;
    double left = (p - (s - t)) + (c - t);
    if (isfinite(s) && fabs(left) > 0 && !(double_bits(s) & 1))
        s = nextafter(s, left > 0 ? INFINITY : -INFINITY);
    assert_int_equal(is, canonical((float)s));
}

static void check_mul_wide(const uint64_t in[3], uint64_t is)
{
    assert_int_equal(
        is, (uint64_t)((int64_t)(int32_t)in[0] * (int64_t)(int32_t)in[1]));
}

static void check_mul_hi_u64(const uint64_t in[3], uint64_t is)
{
    assert_int_equal(is, (uint64_t)((Uint128)in[0] * in[1] >> 64));
}

static void check_mul_hi_s64(const uint64_t in[3], uint64_t is)
{
    assert_int_equal(is,
                     (uint64_t)((Int128)(int64_t)in[0] * (int64_t)in[1] >> 64));
}

/* bfe, bit by bit, as the ISA writes it */
static void check_bfe(const uint64_t in[3], uint64_t is)
{
    uint64_t pos = in[1] & 255, len = in[2] & 255, out = 0;
    uint64_t last = pos + len - 1 < 31 ? pos + len - 1 : 31;
    uint64_t sign = len ? in[0] >> last & 1 : 0;
    for (unsigned i = 0; i < 32; i++) {
        bool there = i < len && pos + i <= 31;
        out |= (there ? in[0] >> (pos + i) & 1 : sign) << i;
    }
    assert_int_equal(is, out);
}

static void check_bfi(const uint64_t in[3], uint64_t is)
{
    uint64_t pos = in[2] & 255, out = in[1];
    for (unsigned i = 0; i < 13 && pos + i <= 63; i++) {
        out &= ~(UINT64_C(1) << (pos + i));
        out |= (in[0] >> i & 1) << (pos + i);
    }
    assert_int_equal(is, out);
}

static void check_prmt(const uint64_t in[3], uint64_t is)
{
    unsigned char bytes[8];
    for (unsigned b = 0; b < 4; b++) {
        bytes[b] = (unsigned char)(in[0] >> 8 * b);
        bytes[4 + b] = (unsigned char)(in[1] >> 8 * b);
    }
    for (unsigned b = 0; b < 4; b++) {
        unsigned how = in[2] >> 4 * b & 15;
        signed char byte = (signed char)bytes[how & 7];
        unsigned want = how & 8 ? (byte < 0 ? 255 : 0) : bytes[how & 7];
        assert_int_equal(is >> 8 * b & 255, want);
    }
}

static void check_ex2(const uint64_t in[3], uint64_t is)
{
    double x = (double)float_of((uint32_t)in[0]);
    assert_int_equal(is, canonical((float)exp2(x)));
}

static void check_rsqrt(const uint64_t in[3], uint64_t is)
{
    double x = (double)float_of((uint32_t)in[0]);
    assert_int_equal(is, canonical((float)(1 / sqrt(x))));
}

static void check_to_s32(const uint64_t in[3], uint64_t is)
{
    float x = float_of((uint32_t)in[0]);
    int64_t want = x != x          ? 0
                   : x >= 0x1p31f  ? INT32_MAX
                   : x <= -0x1p31f ? INT32_MIN
                                   : (int64_t)x;
    assert_int_equal(is, (uint32_t)want);
}

static void check_min(const uint64_t in[3], uint64_t is)
{
    float x = float_of((uint32_t)in[0]), y = float_of((uint32_t)in[1]);
    float want = x != x       ? y
                 : y != y     ? x
                 : x < y      ? x
                 : x > y      ? y
                 : signbit(x) ? x
                              : y;
    assert_int_equal(is, canonical(want));
}

static void test_sweeps(void **state)
{
    (void)state;
    static const unsigned w323264[3] = {64, 64, 32};
    sweep("fma.rn.f32 %r0, %r1, %r2, %r3;", w32, check_fma);
    sweep("mul.wide.s32 %d0, %r1, %r2;", w32, check_mul_wide);
    sweep("mul.hi.u64 %d0, %d1, %d2;", w64, check_mul_hi_u64);
    sweep("mul.hi.s64 %d0, %d1, %d2;", w64, check_mul_hi_s64);
    sweep("bfe.s32 %r0, %r1, %r2, %r3;", w32, check_bfe);
    sweep("bfi.b64 %d0, %d1, %d2, %r3, 13;", w323264, check_bfi);
    sweep("prmt.b32 %r0, %r1, %r2, %r3;", w32, check_prmt);
    sweep("ex2.approx.f32 %r0, %r1;", w32, check_ex2);
    sweep("rsqrt.approx.f32 %r0, %r1;", w32, check_rsqrt);
    sweep("cvt.rzi.s32.f32 %r0, %r1;", w32, check_to_s32);
    sweep("min.f32 %r0, %r1, %r2;", w32, check_min);
}

/* ------------------------------------------------------------ small formats */

/* That CODE is the nearest of all codes to X, and of two the even one. */
static void check_nearest(PtxType t, double x, uint64_t code, uint64_t top)
{
    double is = fabs(ptx_number(t, code)), a = fabs(x);
    uint64_t sign = UINT64_C(1) << (ptx_types[t].bits - 1), low = code % sign;
    assert_int_equal(code / sign, signbit(x) ? 1 : 0);
    assert_true(low <= top);
    for (uint64_t near = low - 1; near != low + 2; near++) {
        if (near == low || near > top) continue;
        double other = fabs(ptx_number(t, near));
        double here = fabs(a - is), there = fabs(a - other);
        assert_true(here < there || (!(here > there) && !(low & 1)));
    }
}

static void test_formats(void **state)
{
    (void)state;
    static const struct {
        PtxType type;
        uint64_t top;
        const char *body; /* of an f32 */
        unsigned down;    /* where in its result */
    } formats[] = {
        {PT_e4m3, 0x7e, "cvt.rn.satfinite.e4m3x2.f32 %h0, %r1, %r2;", 8},
        {PT_e5m2, 0x7b, "cvt.rn.satfinite.e5m2x2.f32 %h0, %r1, %r2;", 8},
        {PT_bf16, 0x7f7f, "cvt.rn.bf16x2.f32 %r0, %r1, %r2;", 16},
        {PT_f16, 0x7bff, "cvt.rn.satfinite.f16x2.f32 %r0, %r1, %r2;", 16},
    };
    uint64_t seed = 7;
    for (size_t f = 0; f < sizeof formats / sizeof *formats; f++) {
        PtxType t = formats[f].type;
        uint64_t codes = UINT64_C(1) << ptx_types[t].bits;
        for (uint64_t c = 0; c < codes; c++)
            if (c % (codes / 2) <= formats[f].top)
                assert_int_equal(ptx_bits(t, ptx_number(t, c)), c);
        TestWarp w;
        open_warp(&w, formats[f].body);
        double most = ptx_number(t, formats[f].top);
        for (unsigned n = 0; n < 3000; n++) {
            for (unsigned l = 0; l < PTX_LANES; l++) {
                /* often half way between two of them */
                double x = ptx_number(t, draw(&seed) % (formats[f].top + 1));
                double y = ptx_number(t, draw(&seed) % (formats[f].top + 1));
                float z = (float)(draw(&seed) & 1 ? x + y / 64 : (x + y) / 2);
                if ((double)z > most) z = (float)most;
                if (draw(&seed) & 1) z = -z;
                warp_operand(&w, 1)[l] = float_bits(z);
                warp_operand(&w, 2)[l] = float_bits(-z);
            }
            warp_run(&w, UINT32_MAX);
            for (unsigned l = 0; l < PTX_LANES; l++) {
                double x = (double)float_of((uint32_t)warp_operand(&w, 1)[l]);
                uint64_t both = warp_operand(&w, 0)[l];
                uint64_t half = UINT64_C(1) << formats[f].down;
                check_nearest(t, x, both / half, formats[f].top);
                check_nearest(t, -x, both % half, formats[f].top);
                assert_int_equal(both / half, ptx_bits(t, x));
            }
        }
        warp_close(&w);
    }
}

/* ----------------------------------------------------------- lanes, vectors */

/* What sm_100a has beside them: two sums or products of f32 at once, and sums
 * with an operand of 16 bits; as one by one, and as converted before. */
static void test_wide(void **state)
{
    (void)state;
    static const Known known[] = {
        {"add.rn.f32x2 %d0, %d1, %d2;", UINT64_C(0x3f80000040000000),
         UINT64_C(0x4000000040400000), 0, UINT64_C(0x4040000040a00000)},
        {"sub.f32x2 %d0, %d1, %d2;", UINT64_C(0x3f80000000000000),
         UINT64_C(0x400000003f800000), 0, UINT64_C(0xbf800000bf800000)},
        {"mul.rn.ftz.f32x2 %d0, %d1, %d2;", UINT64_C(0x8000000100800000),
         UINT64_C(0x3f8000003f000000), 0, UINT64_C(0x8000000000000000)},
        {"fma.rp.f32x2 %d0, %d1, %d2, %d3;", UINT64_C(0x3f8000003f800000),
         UINT64_C(0x3f8000003f800000), 1, UINT64_C(0x3f8000003f800001)},
        {"add.rn.f32.f16 %r0, %h1, %r2;", 0x0001, 0x3f800000, 0, 0x3f800000},
        {"add.rp.f32.f16 %r0, %h1, %r2;", 0x0001, 0x3f800000, 0, 0x3f800001},
        {"sub.rn.f32.bf16 %r0, %h1, %r2;", 0x4000, 0x3f800000, 0, 0x3f800000},
        {"add.sat.f32.bf16 %r0, %h1, %r2;", 0x4000, 0x3f800000, 0, 0x3f800000},
        {"fma.rn.f32.bf16 %r0, %h1, %h2, %r3;", 0x3f81, 0x3f81, 0xbf810000,
         0x3c010000},
    };
    CHECK_KNOWN(known);
    static const struct {
        const char *both, *one;
    } pairs[] = {
        {"add.rn.f32x2 %d0, %d1, %d2;", "add.rn.f32 %r0, %r1, %r2;"},
        {"add.rz.ftz.f32x2 %d0, %d1, %d2;", "add.rz.ftz.f32 %r0, %r1, %r2;"},
        {"sub.rm.f32x2 %d0, %d1, %d2;", "sub.rm.f32 %r0, %r1, %r2;"},
        {"mul.rn.f32x2 %d0, %d1, %d2;", "mul.rn.f32 %r0, %r1, %r2;"},
        {"fma.rn.ftz.f32x2 %d0, %d1, %d2, %d3;",
         "fma.rn.ftz.f32 %r0, %r1, %r2, %r3;"},
        {"fma.rp.f32x2 %d0, %d1, %d2, %d3;", "fma.rp.f32 %r0, %r1, %r2, %r3;"},
    };
    uint64_t seed = 100;
    for (unsigned n = 0; n < 300; n++)
        for (size_t k = 0; k < sizeof pairs / sizeof *pairs; k++) {
            uint64_t x = draw_bits(&seed) << 32 | (uint32_t)draw_bits(&seed);
            uint64_t y = draw_bits(&seed) << 32 | (uint32_t)draw_bits(&seed);
            uint64_t z = draw_bits(&seed) << 32 | (uint32_t)draw_bits(&seed);
            uint64_t low =
                of(pairs[k].one, (uint32_t)x, (uint32_t)y, (uint32_t)z);
            uint64_t high = of(pairs[k].one, x >> 32, y >> 32, z >> 32);
            assert_int_equal(of(pairs[k].both, x, y, z), high << 32 | low);
        }
    for (unsigned n = 0; n < 300; n++) {
        uint64_t x = draw_bits(&seed) & 0xffff, y = draw_bits(&seed) & 0xffff;
        uint64_t z = draw_bits(&seed) & UINT32_MAX;
        uint64_t wide = of("cvt.f32.f16 %r0, %h1;", x, 0, 0);
        uint64_t too = of("cvt.f32.f16 %r0, %h1;", y, 0, 0);
        assert_int_equal(of("sub.rz.f32.f16 %r0, %h1, %r2;", x, z, 0),
                         of("sub.rz.f32 %r0, %r1, %r2;", wide, z, 0));
        assert_int_equal(of("fma.rn.f32.f16 %r0, %h1, %h2, %r3;", x, y, z),
                         of("fma.rn.f32 %r0, %r1, %r2, %r3;", wide, too, z));
    }
}

static void test_lanes_alone(void **state)
{
    (void)state;
    TestWarp t;
    open_warp(&t, "add.s32 %r1, %r1, %r1;"); /* its own operand */
    for (unsigned l = 0; l < PTX_LANES; l++)
        warp_operand(&t, 0)[l] = l;
    warp_run(&t, 0x80000101);
    for (unsigned l = 0; l < PTX_LANES; l++)
        assert_int_equal(warp_operand(&t, 0)[l],
                         0x80000101 >> l & 1 ? 2 * l : l);
    warp_run(&t, UINT32_MAX);
    assert_int_equal(warp_operand(&t, 0)[31], 124);
    warp_close(&t);
}

static uint64_t *item(TestWarp *t, uint32_t operand, uint32_t k)
{
    const PtxKernel *kernel = t->module->kernels;
    const PtxArg *list = &kernel->args[kernel->insts[0].first + operand];
    return t->warp.reg[kernel->args[list->first + k].reg];
}

static void test_vectors(void **state)
{
    (void)state;
    TestWarp t;
    open_warp(&t, "mov.b32 {%h1, %h2}, %r1;");
    warp_operand(&t, 1)[5] = 0x12345678;
    warp_run(&t, 1u << 5);
    assert_int_equal(item(&t, 0, 0)[5], 0x5678);
    assert_int_equal(item(&t, 0, 1)[5], 0x1234);
    warp_close(&t);

    open_warp(&t, "mov.b64 %d1, {%r1, -1};");
    item(&t, 1, 0)[0] = 7;
    warp_run(&t, 1);
    assert_int_equal(warp_operand(&t, 0)[0], UINT64_C(0xffffffff00000007));
    warp_close(&t);

    open_warp(&t, "mov.b64 {_, %r2}, %d1;");
    warp_operand(&t, 1)[0] = UINT64_C(0x1122334455667788);
    warp_run(&t, 1);
    assert_int_equal(item(&t, 0, 1)[0], 0x11223344);
    warp_close(&t);

    open_warp(&t, "setp.lt.and.s32 %p1|%p2, %r1, %r2, %p3;");
    warp_operand(&t, 1)[0] = 1;
    warp_operand(&t, 3)[0] = 1;
    warp_run(&t, 1);
    assert_int_equal(item(&t, 0, 0)[0], 0);
    assert_int_equal(item(&t, 0, 1)[0], 1);
    warp_close(&t);
}

/* Both builds of lanes.def say the same. */
static void test_builds(void **state)
{
    (void)state;
#ifdef PTX_AVX2
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        skip();
    uint64_t seed = 3, in[PTX_SOURCES][PTX_LANES];
    uint64_t plain[PTX_LANES], avx2[PTX_LANES];
    const uint64_t *s[PTX_SOURCES] = {in[0], in[1], in[2], in[3]};
    for (unsigned round = 0; round < 200; round++) {
        for (unsigned k = 0; k < PTX_SOURCES; k++)
            for (unsigned l = 0; l < PTX_LANES; l++)
                in[k][l] = draw_bits(&seed);
        for (unsigned row = 0; row < LANE_ROWS; row++) {
            lanes_plain[row](plain, s);
            lanes_avx2[row](avx2, s);
            if (memcmp(plain, avx2, sizeof plain)) fail_msg("row %u", row);
        }
    }
#else
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_numbers),
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_floats),
        cmocka_unit_test(test_comparisons),
        cmocka_unit_test(test_conversions),
        cmocka_unit_test(test_halves),
        cmocka_unit_test(test_sweeps),
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_wide),
        cmocka_unit_test(test_lanes_alone),
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_builds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
