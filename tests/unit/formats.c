/* links: titan_codegen titan_runtime */
/*
 * Every float format of 8 and 16 bits, over all of its patterns and all
 * borders of its rounding: the interpreter's, the runtime's and the compiled
 * conversions against the definition as it is written here.  Values are a
 * sorted list, and rounding is search in it.  The points at which kernels of
 * all kinds are tried, and GPUs (tests/gpu/points.h), have every one of these.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "codegen/kernel.h"
#include "runtime/narrow.h"
#include "tests/gpu/points.h"
#include "tests/unit/opened.h"
#include "tests/unit/unit.h"

enum { PATTERNS = 65536, POINTS = 8 * PATTERNS };

typedef struct Spec {
    DType dtype;
    const char *name;
    uint32_t patterns, finite; /* finite: numbers that are not negative */
    int digits, bias;
    uint32_t infinity; /* 0: none */
    double over;       /* what larger numbers become */
} Spec;

static const Spec specs[] = {
    {DT_bf16, "bf16", 65536, 0x7f80, 7, 127, 0x7f80, INFINITY},
    {DT_f16, "f16", 65536, 0x7c00, 10, 15, 0x7c00, INFINITY},
    {DT_e4m3, "e4m3", 256, 0x7f, 3, 7, 0, 448},
    {DT_e5m2, "e5m2", 256, 0x7c, 2, 15, 0x7c, 57344},
    {DT_e2m1, "e2m1", 16, 8, 1, 1, 0, 6},
    {DT_e8m0, "e8m0", 256, 255, 0, 127, 0, 0x1p127},
};
enum { NSPECS = sizeof specs / sizeof *specs };

typedef struct Kernels {
    Unit u;
    KernelSet *set;
    const TitanHostKernel *code;
    uint32_t row[2 * NSPECS]; /* to a format, from it */
} Kernels;

static Kernels kernels;
static float points[POINTS], back[PATTERNS];
static double list[PATTERNS];
static uint16_t stored[POINTS];

/* ------------------------------------------------------------ definition -- */

static double power(int e)
{
    double x = 1;
    for (; e > 0; e--)
        x *= 2;
    for (; e < 0; e++)
        x /= 2;
    return x;
}

static bool has_sign(const Spec *s)
{
    return s->dtype != DT_e8m0;
}

static double meaning(const Spec *s, uint32_t bits)
{
    uint32_t half = has_sign(s) ? s->patterns / 2 : s->patterns;
    uint32_t body = bits % half, e = body >> s->digits;
    double sign = bits >= half ? -1 : 1;
    if (body >= s->finite)
        return s->infinity && body == s->infinity ? sign * INFINITY : NAN;
    double part = (double)(body % (1u << s->digits)) / (1u << s->digits);
    if (!has_sign(s)) return power((int)e - s->bias);
    if (e == 0) return sign * part * power(1 - s->bias);
    return sign * (1 + part) * power((int)e - s->bias);
}

/* The place in `list` of the last number that is not above x, which is at
 * least the first. */
static uint32_t below(const Spec *s, double x)
{
    uint32_t lo = 0, hi = s->finite;
    while (hi - lo > 1) {
        uint32_t mid = lo + (hi - lo) / 2;
        *(list[mid] <= x ? &lo : &hi) = mid;
    }
    return lo;
}

/* Above the largest number stands one more, where rounding would go if the
 * format went on. */
static double next(const Spec *s, uint32_t at)
{
    if (at + 1 < s->finite) return list[at + 1];
    return 2 * list[at] - list[at - 1];
}

static double rounded_down(const Spec *s, double x)
{
    if (isnan(x)) return x;
    return x < list[0] ? list[0] : list[below(s, x)];
}

static double rounded(const Spec *s, double x)
{
    if (!has_sign(s)) return rounded_down(s, x);
    if (isnan(x)) return s->dtype == DT_e2m1 ? s->over : x;
    double m = fabs(x);
    uint32_t at = below(s, m);
    double middle = list[at] / 2 + next(s, at) / 2;
    bool up = m > middle || (m == middle && at % 2);
    double y = !up ? list[at] : at + 1 < s->finite ? list[at + 1] : s->over;
    return copysign(isinf(x) ? s->over : y, x);
}

static void list_values(const Spec *s)
{
    for (uint32_t i = 0; i < s->finite; i++)
        list[i] = meaning(s, i);
}

/* ---------------------------------------------------------------- points -- */

static uint32_t push(uint32_t n, double x)
{
    float f = (float)x;
    if (n + 2 > POINTS || !isfinite(x)) return n;
    points[n++] = f;
    points[n++] = -f;
    return n;
}

/* Every number, every middle, and the f32 beside each. */
static uint32_t make_points(const Spec *s)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->finite; i++) {
        float middle = (float)(list[i] / 2 + next(s, i) / 2);
        n = push(n, middle);
        n = push(n, (double)nextafterf(middle, 0));
        n = push(n, (double)nextafterf(middle, INFINITY));
        n = push(n, list[i]);
    }
    static const float more[] = {
        0x1p-149f, 0x1p-126f, 0x1.fffffep127f, 0x1.fffffep-127f, INFINITY,
        -INFINITY, NAN};
    uint32_t m = sizeof more / sizeof *more;
    n = n < POINTS - m ? n : POINTS - m;
    memcpy(points + n, more, sizeof more);
    return n + m;
}

/* --------------------------------------------------------------- kernels -- */

static KernelArg dense_arg(Type t, bool written)
{
    static const int64_t dense[] = {1};
    return (KernelArg){
        .type = t, .stride = dense, .same = -1, .written = written};
}

static void add_kernel(uint32_t i)
{
    const Fn *fn = kernels.u.m.fns.at[i];
    KernelArg args[] = {dense_arg(fn->params[0].type, false),
                        dense_arg(fn->results[0].type, true)};
    assert_true(kernels_add(kernels.set, fn, args, 2, &kernels.row[i]));
}

static void compile_all(void)
{
    Buf text = {0};
    unit_open(&kernels.u);
    buf_printf(&text, "axes (n = %d, p = %d)\n", POINTS, PATTERNS);
    for (int i = 0; i < NSPECS; i++) {
        const char *d = specs[i].name;
        buf_printf(&text,
                   "fn local @to_%s(%%x : f32[n]) -> %s[n] kind loop {\n"
                   "  %%r : %s[n] = map %%x { %s(_0) }\n  ret %%r\n}\n"
                   "fn local @of_%s(%%x : %s[p]) -> f32[p] kind loop {\n"
                   "  %%r : f32[p] = map %%x { f32(_0) }\n  ret %%r\n}\n",
                   d, d, d, d, d, d);
    }
    assert_true(unit_parse(&kernels.u, "formats", text.at, text.n));
    CodegenOpts o = {.target = TARGET_host, .level = 2};
    kernels.set = kernels_new(&kernels.u.m, &o);
    for (uint32_t i = 0; i < 2 * NSPECS; i++)
        add_kernel(i);
    kernels.code = opened_object(&kernels.u.arena, kernels.set);
    buf_release(&text);
}

static void run(uint32_t i, void *in, void *out)
{
    uint64_t words[] = {(uint64_t)(uintptr_t)in, (uint64_t)(uintptr_t)out};
    uint32_t row = kernels.row[i];
    kernels.code[row](words, 0, kernel_at(kernels.set, row)->items);
}

/* ----------------------------------------------------------------- tests -- */

static void check(const Spec *s, const char *who, float x, uint32_t bits)
{
    double want = rounded(s, (double)x), have = meaning(s, bits);
    if (isnan(want) ? isnan(have) : memcmp(&want, &have, 8) == 0) return;
    fail_msg("%s: %a to %s is 0x%x, %a; not %a", who, (double)x, s->name, bits,
             have, want);
}

static uint32_t by_interpreter(const Spec *s, float x)
{
    uint8_t out[2] = {0};
    double r = dtype_round(s->dtype, (double)x);
    dtype_store(s->dtype, (Cell){.f = r}, out);
    return out[0] | (uint32_t)out[1] << 8;
}

static uint32_t by_runtime(const Spec *s, float x)
{
    uint32_t bits = 0;
    narrow_store_one(s->dtype, (double)x, (char *)&bits);
    return bits;
}

static uint32_t compiled(const Spec *s, uint32_t i)
{
    return s->patterns > 256 ? stored[i] : ((const uint8_t *)stored)[i];
}

static void rounding_at_every_border(void **state)
{
    (void)state;
    for (uint32_t k = 0; k < NSPECS; k++) {
        const Spec *s = &specs[k];
        list_values(s);
        uint32_t n = make_points(s);
        run(2 * k, points, stored);
        for (uint32_t i = 0; i < n; i++) {
            check(s, "interpreter", points[i], by_interpreter(s, points[i]));
            check(s, "runtime", points[i], by_runtime(s, points[i]));
            check(s, "kernel", points[i], compiled(s, i));
        }
    }
}

static void expect_same(const Spec *s, const char *who, uint32_t bits, double x)
{
    double want = meaning(s, bits);
    if (isnan(want) ? isnan(x) : memcmp(&want, &x, 8) == 0) return;
    fail_msg("%s: 0x%x of %s is %a, not %a", who, bits, s->name, x, want);
}

static void meaning_of_every_pattern(void **state)
{
    (void)state;
    for (uint32_t k = 0; k < NSPECS; k++) {
        const Spec *s = &specs[k];
        for (uint32_t i = 0; i < PATTERNS; i++) {
            uint32_t bits = i % s->patterns;
            if (s->patterns > 256)
                stored[i] = (uint16_t)bits;
            else
                ((uint8_t *)stored)[i] = (uint8_t)bits;
        }
        run(2 * k + 1, stored, back);
        for (uint32_t i = 0; i < s->patterns; i++) {
            expect_same(s, "interpreter", i, dtype_load(s->dtype, &i).f);
            expect_same(s, "runtime", i,
                        narrow_load_one(s->dtype, (const char *)&i));
            expect_same(s, "kernel", i, (double)back[i]);
        }
    }
}

/* Numbers and infinities come back as they were stored; e5m2 casts saturate. */
static void every_pattern_comes_back(void **state)
{
    (void)state;
    for (uint32_t k = 0; k < NSPECS; k++)
        for (uint32_t i = 0; i < specs[k].patterns; i++) {
            double x = meaning(&specs[k], i);
            uint8_t out[2] = {0};
            if (isnan(x)) continue;
            dtype_store(specs[k].dtype, (Cell){.f = x}, out);
            assert_int_equal(out[0] | (uint32_t)out[1] << 8, i);
            if (isinf(x) && specs[k].dtype == DT_e5m2) continue;
            assert_int_equal(by_runtime(&specs[k], (float)x), i);
        }
}

/* A f64 is rounded once: beside a middle by less than f32 can say. */
static void f64_is_rounded_once(void **state)
{
    (void)state;
    for (uint32_t k = 0; k < NSPECS; k++) {
        const Spec *s = &specs[k];
        list_values(s);
        for (uint32_t i = 0; i < s->finite; i++) {
            double middle = list[i] / 2 + next(s, i) / 2;
            for (int side = 0; side < 2; side++) {
                double x = nextafter(middle, side ? INFINITY : 0);
                double want = rounded(s, x), have = dtype_round(s->dtype, x);
                uint32_t bits = 0;
                narrow_store_one(s->dtype, x, (char *)&bits);
                double stored_as = meaning(s, bits);
                assert_true(memcmp(&want, &have, 8) == 0);
                if (s->dtype != DT_bf16)
                    assert_true(memcmp(&want, &stored_as, 8) == 0);
            }
        }
    }
}

/* ---------------------------------------------------- points of other tests */

static int by_bits(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static Points sorted_points(DType from, DType to)
{
    Points p = points_of(from, to);
    qsort(p.at, p.n, sizeof *p.at, by_bits);
    return p;
}

static void expect_point(const Points *p, uint64_t bits)
{
    if (bsearch(&bits, p->at, p->n, sizeof bits, by_bits)) return;
    fail_msg("0x%llx of %s is not among the points of casts to %s",
             (unsigned long long)bits, dtype_name(p->from), dtype_name(p->to));
}

static void expect_number(const Points *p, double x)
{
    uint64_t bits = 0;
    float f = (float)x;
    if (p->from == DT_f32)
        memcpy(&bits, &f, sizeof f);
    else
        memcpy(&bits, &x, sizeof x);
    expect_point(p, bits);
}

/* Of a border of f64 what is just beside it is no f32. */
static void expect_beside(const Points *p, double x)
{
    for (int sign = -1; sign <= 1; sign += 2) {
        expect_number(p, sign * x);
        expect_number(p, sign * nextafter(x, 0));
        expect_number(p, sign * nextafter(x, INFINITY));
    }
}

static void points_leave_no_border_out(void **state)
{
    (void)state;
    for (uint32_t k = 0; k < NSPECS; k++) {
        const Spec *s = &specs[k];
        list_values(s);
        Points narrow = sorted_points(DT_f32, s->dtype);
        Points wide = sorted_points(DT_f64, s->dtype);
        for (uint32_t i = 0, n = make_points(s); i < n; i++) {
            if (isnan(points[i])) continue;
            expect_number(&narrow, (double)points[i]);
            expect_number(&wide, (double)points[i]);
        }
        for (uint32_t i = 0; i < s->finite; i++) {
            expect_beside(&wide, list[i]);
            expect_beside(&wide, list[i] / 2 + next(s, i) / 2);
        }
        free(narrow.at);
        free(wide.at);
    }
}

/* NaNs: quiet ones and others, of both signs, with the least, the largest and
 * other payloads. */
static void points_have_every_nan(void **state)
{
    (void)state;
    static const uint64_t f32[] = {0x7f800001, 0xff800001, 0x7fbfffff,
                                   0x7fc00000, 0xffc00000, 0x7fc00001,
                                   0x7fffffff, 0xffffffff};
    static const uint64_t f64[] = {0x7ff0000000000001, 0xfff7ffffffffffff,
                                   0x7ff8000000000000, 0xffffffffffffffff};
    for (DType to = 0; to < DT_count; to++) {
        Points narrow = sorted_points(DT_f32, to);
        Points wide = sorted_points(DT_f64, to);
        for (unsigned i = 0; i < sizeof f32 / sizeof *f32; i++)
            expect_point(&narrow, f32[i]);
        for (unsigned i = 0; i < sizeof f64 / sizeof *f64; i++)
            expect_point(&wide, f64[i]);
        free(narrow.at);
        free(wide.at);
    }
}

static void points_have_every_pattern(void **state)
{
    (void)state;
    for (uint32_t k = 0; k < NSPECS; k++)
        for (DType to = 0; to < DT_count; to++) {
            Points p = sorted_points(specs[k].dtype, to);
            assert_int_equal(p.n, specs[k].patterns);
            for (uint32_t i = 0; i < p.n; i++)
                assert_int_equal(p.at[i], i);
            free(p.at);
        }
}

static int open_kernels(void **state)
{
    (void)state;
    compile_all();
    return 0;
}

static int close_kernels(void **state)
{
    (void)state;
    kernels_free(kernels.set);
    unit_close(&kernels.u);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounding_at_every_border),
        cmocka_unit_test(meaning_of_every_pattern),
        cmocka_unit_test(every_pattern_comes_back),
        cmocka_unit_test(f64_is_rounded_once),
        cmocka_unit_test(points_leave_no_border_out),
        cmocka_unit_test(points_have_every_nan),
        cmocka_unit_test(points_have_every_pattern),
    };
    return cmocka_run_group_tests(tests, open_kernels, close_kernels);
}
