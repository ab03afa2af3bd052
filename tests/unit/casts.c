/* links: titan_codegen */
/*
 * Every cast between floats, and between them and integers, at all its borders
 * (tests/gpu/points.h), in every kind of kernel that has casts.
 *
 * The groups are made of the table of dtypes.  Each is compiled for the host,
 * run, and held against dtype_cast bit for bit; what that gives, and that the
 * points leave no border out, is formats.c's to say.  With TITAN_CASES=FOLDER
 * they are written there, assembled for a GPU or as text (tests/gpu/cases.h),
 * for gpu-replay, which holds a GPU against dtype_cast at the same points.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "codegen/kernel.h"
#include "tests/gpu/agree.h"
#include "tests/gpu/cases.h"
#include "tests/gpu/points.h"
#include "tests/unit/opened.h"
#include "tests/unit/unit.h"

enum { MOST = 4096, ARGS = 4, INNER = 64, ALIGN = 32, LAPS = 2 };

/* ---------------------------------------------------------------- patterns */

static bool is_float(DType d)
{
    return dtype_class(d) == DC_float;
}

static bool any_pair(DType from, DType to)
{
    return is_float(from) || is_float(to);
}

static bool floats(DType from, DType to)
{
    return is_float(from) && is_float(to);
}

static bool by_f32(DType from, DType to)
{
    return dtype_fits_f32(from) && dtype_fits_f32(to);
}

/* How operand and result lie: both dense; at odd addresses; not side by side;
 * the result along the other axis. */
typedef enum Lie { LIE_dense, LIE_odd, LIE_apart, LIE_turned, LIE_count } Lie;

/* Groups with a cast of %x to %y.  In the text F and T are the two dtypes, W
 * that in which F computes, X the axes of both. */
typedef struct Pattern {
    const char *name;
    bool (*takes)(DType from, DType to);
    unsigned lies;        /* bits */
    int power;            /* of two, that it multiplies by before */
    uint32_t x, nresults; /* place of %x; of %y that is the last parameter's */
    const char *text;
} Pattern;

static const Pattern patterns[] = {
    {"whole", any_pair, 1u << LIE_dense, 0, 0, 1,
     "(%x : F[X]) -> T[X] kind loop {\n"
     "  %y : T[X] = map %x { T(_0) }\n"
     "  ret %y\n}\n"},
    {"map", floats, 1u << LIE_odd | 1u << LIE_apart | 1u << LIE_turned, 0, 0, 1,
     "(%x : F[X]) -> T[X] kind loop {\n"
     "  %y : T[X] = map %x { T(_0) }\n"
     "  ret %y\n}\n"},
    {"scaled", floats, 1u << LIE_dense | 1u << LIE_turned, 1, 0, 1,
     "(%x : F[X]) -> T[X] kind loop {\n"
     "  %y : T[X] = map %x { T(W(_0) * 2) }\n"
     "  ret %y\n}\n"},
    {"rows", floats, 1u << LIE_dense, 0, 0, 2,
     "(%x : F[X]) -> (T[X], W[r]) kind loop {\n"
     "  %w : W[X] = map %x { W(_0) }\n"
     "  %m : W[r] = reduce %w kind max axes (c)\n"
     "  %y : T[X] = map %x { T(_0) }\n"
     "  ret %y, %m\n}\n"},
    {"columns", floats, 1u << LIE_dense, 0, 0, 2,
     "(%x : F[X]) -> (T[X], W[c]) kind loop {\n"
     "  %w : W[X] = map %x { W(_0) }\n"
     "  %m : W[c] = reduce %w kind max axes (r)\n"
     "  %y : T[X] = map %x { T(_0) }\n"
     "  ret %y, %m\n}\n"},
    {"product", by_f32, 1u << LIE_dense, 0, 2, 1,
     "(%a : bf16[r, k], %b : bf16[c, k], %x : F[X]) -> T[X] kind product {\n"
     "  %s : f32[X] = einsum %a, %b sum (k)\n"
     "  %y : T[X] = map %s, %x { T(where(_0 < 1e30, f32(_1), _0)) }\n"
     "  ret %y\n}\n"},
};
enum { NPATTERNS = sizeof patterns / sizeof *patterns };

/* ------------------------------------------------------------------ groups */

typedef struct Group {
    const Pattern *pattern;
    Lie lie;
    DType from, to;
    KernelArg args[ARGS];
    int64_t extent[ARGS];
    uint32_t nargs, row, fn;
} Group;

typedef struct World {
    Unit u;
    KernelSet *set;
    Group groups[MOST];
    uint32_t n;
} World;

static World world;

static uint32_t param_count(const Pattern *p)
{
    return p->x + 1;
}

/* Room for all points, twice, and for whole blocks of a GPU's kernels. */
static void sides_of(DType from, DType to, int64_t *rows, int64_t *columns)
{
    Points p = points_of(from, to);
    int64_t n = LAPS * (int64_t)p.n, most = 1024, least = 64;
    free(p.at);
    *columns = least;
    while (*columns < most && *columns * *columns < n)
        *columns *= 2;
    *rows = (n + *columns - 1) / *columns;
    *rows = (*rows + least - 1) / least * least;
}

/* The text with its letters replaced; axes are those of the pair. */
static void write_group(Buf *b, const char *text, const char *pair, DType from,
                        DType to)
{
    for (; *text; text++) {
        bool word = text[-1] == ' ' || text[-1] == '(' || text[-1] == '[';
        bool ends = strchr("[](), ", text[1]) != NULL;
        if (!word || !ends)
            buf_putc(b, *text);
        else if (*text == 'F')
            buf_puts(b, dtype_name(from));
        else if (*text == 'T')
            buf_puts(b, dtype_name(to));
        else if (*text == 'W')
            buf_puts(b, from == DT_f64 ? "f64" : "f32");
        else if (*text == 'X')
            buf_printf(b, "r%s, c%s", pair, pair);
        else if (*text == 'r' || *text == 'c')
            buf_printf(b, "%c%s", *text, pair);
        else
            buf_putc(b, *text);
    }
}

static void write_pair(World *w, Buf *axes, Buf *b, DType from, DType to)
{
    char pair[40];
    int64_t rows, columns;
    sides_of(from, to, &rows, &columns);
    snprintf(pair, sizeof pair, "_%s_%s", dtype_name(from), dtype_name(to));
    buf_printf(axes, ", r%s = %lld, c%s = %lld", pair, (long long)rows, pair,
               (long long)columns);
    for (uint32_t f = 0; f < NPATTERNS; f++) {
        if (from == to || !patterns[f].takes(from, to)) continue;
        for (int lie = 0; lie < LIE_count; lie++) {
            if (!(patterns[f].lies >> lie & 1)) continue;
            assert_true(w->n < MOST);
            w->groups[w->n] =
                (Group){&patterns[f], (Lie)lie, from, to, .fn = w->n};
            buf_printf(b, "fn local @%s%d%s", patterns[f].name, lie, pair);
            write_group(b, patterns[f].text, pair, from, to);
            w->n++;
        }
    }
}

static void world_open(World *w)
{
    Buf axes = {0}, text = {0};
    unit_open(&w->u);
    w->n = 0;
    buf_printf(&axes, "axes (k = %d", INNER);
    for (DType from = 0; from < DT_count; from++)
        for (DType to = 0; to < DT_count; to++)
            if (any_pair(from, to)) write_pair(w, &axes, &text, from, to);
    buf_puts(&axes, ")\n");
    buf_puts(&axes, text.at);
    bool ok =
        unit_parse(&w->u, "casts", axes.at, axes.n) && module_verify(&w->u.m);
    Buf said = {0};
    diag_render(&w->u.diag, DIAG_TEXT, &said);
    if (said.n) fputs(said.at, stderr);
    assert_true(ok);
    buf_release(&said);
    buf_release(&axes);
    buf_release(&text);
}

/* ----------------------------------------------------------------- layouts */

static Type type_at(const Fn *fn, uint32_t i)
{
    return i < fn->nparams ? fn->params[i].type
                           : fn->results[i - fn->nparams].type;
}

static void lay(World *w, Group *g, uint32_t i)
{
    const Fn *fn = w->u.m.fns.at[g->fn];
    const TypeInfo *t = type_info(&w->u.m, type_at(fn, i));
    int64_t *stride = NEW_ARRAY(&w->u.arena, int64_t, 2);
    int64_t rows = t->axes[0].size,
            columns = t->naxes > 1 ? t->axes[1].size : 1;
    bool odd = g->lie == LIE_odd, apart = g->lie == LIE_apart;
    bool turned = g->lie == LIE_turned && i >= fn->nparams;
    int64_t each = apart ? 2 : 1,
            line = columns * each + (odd || apart ? 1 : 0);
    stride[0] = turned ? 1 : t->naxes > 1 ? line : 1;
    stride[1] = turned ? rows : each;
    g->extent[i] = turned || t->naxes < 2 ? rows * columns : rows * line;
    g->args[i] = (KernelArg){.type = type_at(fn, i),
                             .stride = stride,
                             .align = odd ? dtype_bytes(t->dtype) : ALIGN,
                             .written = i >= fn->nparams,
                             .same = -1};
}

static void add_group(World *w, Group *g, TargetId target)
{
    const Fn *fn = w->u.m.fns.at[g->fn];
    g->nargs = fn->nparams + fn->nresults;
    assert_true(g->nargs <= ARGS);
    for (uint32_t i = 0; i < g->nargs; i++)
        lay(w, g, i);
    bool made = target == TARGET_sm_90a && fn_is(&w->u.m, fn, FK_product) &&
                kernels_add_matmul(w->set, fn, g->args, &g->row);
    if (!made) assert_true(kernels_add(w->set, fn, g->args, g->nargs, &g->row));
}

static void add_all(World *w, TargetId target)
{
    CodegenOpts o = {.target = target, .level = 2};
    w->set = kernels_new(&w->u.m, &o);
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->n; i++) {
        const Fn *fn = w->u.m.fns.at[w->groups[i].fn];
        if (!cases_take(str_of(&w->u.m, fn->name), 0)) continue;
        w->groups[n] = w->groups[i];
        add_group(w, &w->groups[n++], target);
    }
    w->n = n;
}

static DrawShape shape_of(const World *w, const Group *g, uint32_t i)
{
    const TypeInfo *t = type_info(&w->u.m, g->args[i].type);
    DrawShape s = {.naxes = t->naxes};
    for (uint32_t a = 0; a < t->naxes; a++) {
        s.size[a] = t->axes[a].size;
        s.stride[a] = g->args[i].stride[a];
    }
    return s;
}

/* -------------------------------------------------------------------- host */

static Cell wanted(const Group *g, Cell x)
{
    DType d = g->from;
    if (g->pattern->power) {
        d = d == DT_f64 ? d : DT_f32;
        x.f = dtype_round(d, ldexp(x.f, g->pattern->power));
    }
    return dtype_cast(g->to, d, x);
}

static void check_group(const World *w, const Group *g, const char *x,
                        const char *y)
{
    DrawShape in = shape_of(w, g, g->pattern->x);
    DrawShape out = shape_of(w, g, param_count(g->pattern));
    for (int64_t i = draw_elements(&in); i-- > 0;) {
        Cell from =
            dtype_load(g->from, x + draw_place(&in, i) * dtype_bytes(g->from));
        Cell got =
            dtype_load(g->to, y + draw_place(&out, i) * dtype_bytes(g->to));
        Cell want = wanted(g, from);
        if (agrees(g->to, got, want, NEAR_exact, 0)) continue;
        fail_msg("%s: %a (%lld) of %s to %s is %a (%lld), not %a (%lld)",
                 g->pattern->name, from.f, (long long)from.i,
                 dtype_name(g->from), dtype_name(g->to), got.f,
                 (long long)got.i, want.f, (long long)want.i);
    }
}

static void run_group(const World *w, const Group *g,
                      const TitanHostKernel *code)
{
    uint64_t words[ARGS];
    char *at[ARGS];
    for (uint32_t i = 0; i < g->nargs; i++) {
        DType d = type_dtype(&w->u.m, g->args[i].type);
        size_t bytes = (size_t)g->extent[i] * dtype_bytes(d);
        at[i] = aligned_alloc(ALIGN, (bytes + ALIGN) & -(size_t)ALIGN);
        memset(at[i], i < g->pattern->x ? 0 : 0xff, bytes);
        words[i] = (uint64_t)(uintptr_t)at[i];
    }
    DrawShape in = shape_of(w, g, g->pattern->x);
    points_store(&in, g->from, g->to, at[g->pattern->x]);
    code[g->row](words, 0, kernel_at(w->set, g->row)->items);
    check_group(w, g, at[g->pattern->x], at[param_count(g->pattern)]);
    for (uint32_t i = 0; i < g->nargs; i++)
        free(at[i]);
}

static void host_casts_at_every_border(void **state)
{
    (void)state;
    World *w = &world;
    add_all(w, TARGET_host);
    const TitanHostKernel *code = opened_object(&w->u.arena, w->set);
    for (uint32_t i = 0; i < w->n; i++)
        run_group(w, &w->groups[i], code);
    kernels_free(w->set);
}

/* --------------------------------------------------------------------- GPU */

static void assemble(World *w, TargetId target, const char *cubin)
{
    const char *text;
    size_t size;
    assert_true(kernels_ptx(w->set, &text, &size));
    char path[] = "/tmp/titan-ptx-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, size), (ssize_t)size);
    close(fd);
    const char *command = arena_printf(&w->u.arena, "ptxas -arch=%s -o %s %s",
                                       target_name(target), cubin, path);
    assert_int_equal(system(command), 0);
    unlink(path);
}

static void write_case(const World *w, const Group *g, Cases *c)
{
    const Kernel *k = kernel_at(w->set, g->row);
    uint32_t x = g->pattern->x, y = param_count(g->pattern);
    cases_kernel(c, k);
    for (uint32_t i = 0; i < g->nargs; i++) {
        DType d = type_dtype(&w->u.m, g->args[i].type);
        DrawShape s = shape_of(w, g, i);
        size_t bytes = (size_t)g->extent[i] * dtype_bytes(d);
        if (i != x) {
            bool zero = i < x || kernel_zeroes(k, i);
            fprintf(c->text, "arg %zu fill %d\n", bytes, zero ? 0 : 0xff);
            continue;
        }
        fprintf(c->text, "arg %zu points %d %d", bytes, (int)g->to,
                (int)g->from);
        cases_shape(c, &s);
    }
    DrawShape s = shape_of(w, g, y);
    fprintf(c->text, "cast %u %u %d %d", y, x, g->pattern->power, (int)g->to);
    cases_shape(c, &s);
    for (uint32_t i = y + 1; i < g->nargs; i++)
        fprintf(c->text, "any %u\n", i);
    fputs("run\n", c->text);
}

static void write_module(World *w, const char *out, Cases *c)
{
    const char *text;
    size_t size;
    if (cases_ptx_of()) {
        assert_true(kernels_ptx(w->set, &text, &size));
        cases_ptx(c, "casts.ptx", text, size);
        return;
    }
    assemble(w, cases_target(),
             arena_printf(&w->u.arena, "%s/casts.cubin", out));
    fputs("module casts.cubin\n", c->text);
}

static void write_cases(void **state)
{
    (void)state;
    const char *out = getenv("TITAN_CASES");
    if (!out) skip();
    static Cases c;
    World *w = &world;
    add_all(w, cases_target());
    cases_open(&c, out);
    write_module(w, out, &c);
    for (uint32_t i = 0; i < w->n; i++)
        write_case(w, &w->groups[i], &c);
    cases_close(&c);
    kernels_free(w->set);
}

static int open_world(void **state)
{
    (void)state;
    world_open(&world);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    unit_close(&world.u);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(host_casts_at_every_border),
        cmocka_unit_test(write_cases),
    };
    if (getenv("TITAN_CASES")) cmocka_set_test_filter("write_cases");
    return cmocka_run_group_tests(tests, open_world, close_world);
}
