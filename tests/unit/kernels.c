/* links: titan_codegen */
/*
 * Every kernel against the interpreter.
 *
 * The groups in tests/unit/groups are compiled to one object, which is linked
 * and opened; each is run on fresh random inputs, in several layouts, its
 * items in two pieces out of order, and compared with what the interpreter
 * makes of the same inputs.  Functions named exact_* must agree bit for bit;
 * those named rounded_* are compared with what the interpreter makes of them as
 * they are rounded, and where they are dense they have to be kernels on Hopper;
 * those named *in_place* write over their first operand.  A GPU's kernels that
 * promise the host's bits are held against the host's kernels, bit for bit;
 * those named bits_* take operands of any bits, for which the interpreter,
 * whose exp is another, is no judge.
 * TITAN_SEED picks other inputs.  With TITAN_CASES=FOLDER they are written to
 * that folder instead, assembled for sm_90a or for TITAN_CASES_TARGET, for
 * gpu-replay to run elsewhere; with TITAN_CASES_PTX=N besides, one of N of
 * them, as text (tests/gpu/cases.h). Tiles that are few are made in another
 * way, as all are here, so a GPU of one processor is compiled for as well.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "codegen/kernel.h"
#include "tests/gpu/agree.h"
#include "tests/gpu/cases.h"
#include "tests/unit/device.h"
#include "tests/unit/opened.h"

enum { MOST_FILES = 64, MOST_ARGS = 24, LAYOUTS = 3, ALIGN = 32 };
enum { MANY_LAYOUTS = 7 }; /* of groups that turn operands round */
enum { LINED = LAYOUTS };  /* of groups with padded lines, that alone */

typedef struct World {
    Arena arena, scratch;
    Diag diag;
    Module module[MOST_FILES];
    KernelSet *set[MOST_FILES];
    bool small[MOST_FILES]; /* of a GPU of one processor */
    KernelSet *host;        /* beside a GPU's set */
    uint32_t nfiles;
    uint64_t seed;
    Draws draws;
    bool maps;  /* kernels may have tensor maps */
    bool cores; /* tiles run on Hopper's tensor cores */
} World;

/* ------------------------------------------------------------------ groups */

static const char *folder(World *w)
{
    char *path = arena_strdup(&w->arena, __FILE__);
    *strrchr(path, '/') = '\0';
    return arena_printf(&w->arena, "%s/groups", path);
}

static void show_errors(World *w)
{
    Buf b = {0};
    diag_render(&w->diag, DIAG_TEXT, &b);
    if (b.n) fputs(b.at, stderr);
    buf_release(&b);
}

static void load(World *w, const char *path)
{
    size_t size;
    char *text = read_file(&w->arena, path, &size);
    assert_non_null(text);
    Module *m = &w->module[w->nfiles++];
    module_init(m, &w->arena, &w->scratch, &w->diag);
    uint32_t source = diag_add_source(&w->diag, path, text, size);
    bool ok = module_parse(m, source) && module_verify(m);
    show_errors(w);
    assert_true(ok);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void load_all(World *w)
{
    const char *dir = folder(w), *names[MOST_FILES];
    DIR *d = opendir(dir);
    assert_non_null(d);
    unsigned n = 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        if (strstr(e->d_name, ".tir"))
            names[n++] = arena_printf(&w->arena, "%s/%s", dir, e->d_name);
    closedir(d);
    qsort(names, n, sizeof *names, by_name);
    for (unsigned i = 0; i < n; i++)
        load(w, names[i]);
    for (unsigned i = 0; i < n; i++) {
        if (!strstr(names[i], "/both.tir") && !strstr(names[i], "/blocks.tir"))
            continue;
        w->small[w->nfiles] = true;
        load(w, names[i]);
    }
}

static CodegenOpts opts_of_gpu(const World *w, uint32_t file, TargetId target)
{
    return (CodegenOpts){.target = target, .level = 2, .chip = w->small[file]};
}

/* -------------------------------------------------------------- arguments */

typedef struct Launch {
    const Fn *fn;
    KernelArg args[MOST_ARGS];
    int64_t extent[MOST_ARGS];    /* elements that the layout spans */
    uint32_t nargs, kernel, host; /* rows of the sets */
} Launch;

static bool is_lined(const Module *m, const Fn *fn)
{
    return strstr(str_of(m, fn->name), "lines");
}

/* Dense, but for lines that begin at multiples of 16 bytes. */
static void layout_lined(World *w, Module *m, Launch *l, uint32_t i)
{
    KernelArg *arg = &l->args[i];
    const TypeInfo *t = type_info(m, arg->type);
    int64_t *stride = NEW_ARRAY(&w->arena, int64_t, t->naxes), n = 1;
    int64_t unit = 16 / (int64_t)dtype_bytes(t->dtype);
    for (uint32_t a = t->naxes; a-- > 0;) {
        int64_t size = t->axes[a].size, line = (size + unit - 1) / unit * unit;
        bool padded = a + 1 == t->naxes && t->naxes > 1;
        stride[a] = n;
        n *= padded ? line : size;
        if (padded && arg->written) arg->pad = line - size;
    }
    arg->stride = stride;
    arg->align = ALIGN;
    l->extent[i] = n;
}

/* Dense; dense in a random order of the axes, at any address; that with gaps;
 * or at good addresses, as the groups named *turned* need them. */
static void layout(World *w, Module *m, Launch *l, uint32_t i, int style)
{
    if (style == LINED && is_lined(m, l->fn)) {
        layout_lined(w, m, l, i);
        return;
    }
    const TypeInfo *t = type_info(m, l->args[i].type);
    int64_t *stride = NEW_ARRAY(&w->arena, int64_t, t->naxes);
    uint32_t order[16];
    for (uint32_t a = 0; a < t->naxes; a++)
        order[a] = a;
    for (uint32_t a = t->naxes; style > 0 && a-- > 1;) {
        uint32_t b = (uint32_t)(draw(&w->draws) % (a + 1)), keep = order[a];
        order[a] = order[b];
        order[b] = keep;
    }
    int64_t n = 1;
    for (uint32_t a = t->naxes; a-- > 0;) {
        stride[order[a]] = n;
        n *= t->axes[order[a]].size;
        if (style == 2) n += (int64_t)(draw(&w->draws) % 3);
    }
    l->args[i].stride = stride;
    bool good = style == 0 || style > 2;
    l->args[i].align = good ? ALIGN : dtype_bytes(t->dtype);
    l->extent[i] = n;
}

static bool is_rounded(const Module *m, const Fn *fn)
{
    return strncmp(str_of(m, fn->name), "rounded_", 8) == 0;
}

/* Products of blocks with scales: those named tensor_memory* are made there. */
static bool is_scaled(const Module *m, const Fn *fn)
{
    return strncmp(str_of(m, fn->name), "tensor_memory", 13) == 0;
}

/* Scales behind their operand, as tensor memory takes them. */
static void layout_scales(World *w, Module *m, Launch *l, uint32_t i)
{
    GemmParams p = group_gemm(l->fn);
    for (uint32_t k = 0; k < 2; k++) {
        const KernelArg *of = &l->args[k ? p.b : p.a];
        Layout operand = {of->type, of->stride}, out;
        GemmScale scale;
        if (p.scale[k] != i) continue;
        assert_true(
            gemm_scale_layout(m, l->fn, operand, k, &w->arena, &out, &scale));
        l->args[i].stride = out.stride;
    }
}

/* False: a tile group that only its parts are kernels of. */
static bool plan(World *w, uint32_t file, const Fn *fn, int style, Launch *l)
{
    Module *m = &w->module[file];
    *l = (Launch){.fn = fn, .nargs = fn->nparams + fn->nresults};
    assert_true(l->nargs <= MOST_ARGS);
    for (uint32_t i = 0; i < l->nargs; i++) {
        bool out = i >= fn->nparams;
        l->args[i].type =
            out ? fn->results[i - fn->nparams].type : fn->params[i].type;
        l->args[i].written = out;
        l->args[i].same = -1;
        layout(w, m, l, i, style);
        if (is_scaled(m, fn)) layout_scales(w, m, l, i);
    }
    if (strstr(str_of(m, fn->name), "in_place")) {
        l->args[fn->nparams].same = 0;
        l->args[fn->nparams].stride = l->args[0].stride;
        l->extent[fn->nparams] = l->extent[0];
    }
    KernelSet *set = w->set[file];
    bool product = (fn_is(m, fn, FK_product) || is_scaled(m, fn)) && w->maps &&
                   kernels_add_matmul(set, fn, l->args, &l->kernel);
    assert_true(product || !is_scaled(m, fn));
    bool added = product || kernels_add(set, fn, l->args, l->nargs, &l->kernel);
    bool must =
        !fn_is(m, fn, FK_tile) || (w->cores && style == 0 && is_rounded(m, fn));
    assert_true(added || !must);
    if (added && w->host && kernel_at(set, l->kernel)->exact)
        assert_true(kernels_add(w->host, fn, l->args, l->nargs, &l->host));
    return added;
}

static bool takes_any(const Module *m, const Fn *fn)
{
    return strncmp(str_of(m, fn->name), "bits_", 5) == 0;
}

static DrawShape shape_of(const Module *m, const Launch *l, uint32_t i)
{
    const TypeInfo *t = type_info(m, l->args[i].type);
    DrawShape s = {.naxes = t->naxes};
    for (uint32_t a = 0; a < t->naxes; a++) {
        s.size[a] = t->axes[a].size;
        s.stride[a] = l->args[i].stride[a];
    }
    return s;
}

/* -------------------------------------------------------------------- runs */

/* Whether the parameter is ids that a scatter takes to ascend. */
static bool ascends(const Module *m, const Fn *fn, uint32_t param)
{
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (in->op == OP_scatter && attr_flag(m, in->attr, AT_ascending) &&
            inst_arg(fn, in, 0).id == param)
            return true;
    }
    return false;
}

/* Whether it is ids of a put of which no two are one. */
static bool is_distinct(const Module *m, const Fn *fn, uint32_t param)
{
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (in->op == OP_put && attr_flag(m, in->attr, AT_distinct) &&
            inst_arg(fn, in, 1).id == param)
            return true;
    }
    return false;
}

static DrawWay way_of(const Module *m, const Fn *fn, uint32_t param)
{
    if (is_distinct(m, fn, param)) return DRAW_distinct;
    if (takes_any(m, fn)) return DRAW_any;
    return ascends(m, fn, param) ? DRAW_ascending : DRAW_plain;
}

/* Everything else is compared with the unrounded value. */
static bool is_exact(const Module *m, const Fn *fn)
{
    return strncmp(str_of(m, fn->name), "exact_", 6) == 0;
}

static Near near_of(const Module *m, const Fn *fn, bool bits)
{
    if (bits || is_exact(m, fn)) return NEAR_exact;
    return is_rounded(m, fn) ? NEAR_flips : NEAR_sums;
}

static void check_result(Module *m, const Launch *l, uint32_t r,
                         const Tensor *want, const char *bytes, bool bits)
{
    DType d = type_dtype(m, want->type);
    const char *name = str_of(m, l->fn->name);
    Near near = near_of(m, l->fn, bits);
    DrawShape shape = shape_of(m, l, l->fn->nparams + r);
    double most = 0;
    for (int64_t x = 0; x < want->n; x++)
        most = larger(d, want->at[x], most);
    for (int64_t x = 0; x < want->n; x++) {
        int64_t at = draw_place(&shape, x) * dtype_bytes(d);
        Cell got = dtype_load(d, bytes + at);
        if (agrees(d, got, want->at[x], near, most)) continue;
        if (dtype_class(d) == DC_float)
            fail_msg("%s result %u [%lld] is %.17g, not %.17g", name, r,
                     (long long)x, got.f, want->at[x].f);
        fail_msg("%s result %u [%lld] is %lld, not %lld", name, r, (long long)x,
                 (long long)got.i, (long long)want->at[x].i);
    }
}

/* Where kernels run: the host's code, or a module on a device; or files for
 * another machine. */
typedef struct Machine {
    KernelSet *set;
    const Launch *all;            /* of that set */
    const struct Machine *beside; /* with the same launches; or NULL */
    const TitanHostKernel *code;
    const TitanHostKernel *host; /* of the host's set, beside a GPU's */
    const Device *device;
    void *module;
    Cases *cases;
} Machine;

static void run_on_device(const Machine *at, const Kernel *kernel,
                          const size_t *sizes, uint64_t *words)
{
    const Device *d = at->device;
    uint64_t there[MOST_ARGS];
    void *fn, *params[MOST_ARGS];
    for (uint32_t i = 0; i < kernel->nargs; i++) {
        params[i] = &there[i];
        there[i] = 0;
        for (uint32_t j = 0; j < i; j++)
            if (words[j] == words[i]) there[i] = there[j];
        if (there[i]) continue;
        DEVICE(d->alloc(&there[i], sizes[i]));
        DEVICE(d->to(there[i], (void *)(uintptr_t)words[i], sizes[i]));
    }
    DEVICE(d->function(&fn, at->module, kernel->name));
    DEVICE(d->launch(fn, (unsigned)kernel->items, 1, 1, kernel->threads, 1, 1,
                     kernel->shared, NULL, params, NULL));
    if (d->sync() != 0) fail_msg("%s does not end well", kernel->name);
    for (uint32_t i = 0; i < kernel->nargs; i++) {
        DEVICE(d->from((void *)(uintptr_t)words[i], there[i], sizes[i]));
        bool again = false;
        for (uint32_t j = i + 1; j < kernel->nargs; j++)
            again |= there[j] == there[i];
        if (!again) DEVICE(d->release(there[i]));
    }
}

static void execute(World *w, const Machine *at, uint32_t row,
                    const Kernel *kernel, const size_t *sizes, uint64_t *words)
{
    if (at->device) {
        run_on_device(at, kernel, sizes, words);
        return;
    }
    int64_t cut = (int64_t)(draw(&w->draws) % (uint64_t)(kernel->items + 1));
    at->code[row](words, cut, kernel->items);
    at->code[row](words, 0, cut);
}

static void write_case(Cases *c, const Module *m, const Launch *l,
                       const Kernel *kernel, const size_t *sizes,
                       const Draws *draws, const Tensor *want, bool bits)
{
    cases_kernel(c, kernel);
    for (uint32_t i = 0; i < l->nargs; i++) {
        DrawShape shape = shape_of(m, l, i);
        if (l->args[i].same >= 0)
            fprintf(c->text, "arg same %d\n", (int)l->args[i].same);
        else if (i >= l->fn->nparams)
            fprintf(c->text, "arg %zu fill %d\n", sizes[i],
                    kernel_zeroes(kernel, i) ? 0 : 0xff);
        else
            cases_drawn(c, sizes[i], way_of(m, l->fn, i), &draws[i],
                        type_dtype(m, l->args[i].type), &shape);
    }
    for (uint32_t r = 0; r < l->fn->nresults; r++) {
        uint32_t i = l->fn->nparams + r;
        DrawShape shape = shape_of(m, l, i);
        cases_want(c, i, type_dtype(m, l->args[i].type), &shape,
                   near_of(m, l->fn, bits), &want[r]);
        int64_t pad =
            l->args[i].pad * dtype_bytes(type_dtype(m, l->args[i].type));
        if (pad && fn_is(m, l->fn, FK_product))
            fprintf(c->text, "pads %lld\n", (long long)pad);
    }
    fputs("run\n", c->text);
}

/* A product that is bounded has fewer blocks: once all of its tiles are made by
 * as few as there may be. */
static bool has_fewer(const Kernel *kernel, Kernel *out)
{
    *out = *kernel;
    out->items = kernel->cluster;
    return kernel->cluster && kernel->items > kernel->cluster;
}

/* What the host's kernel makes of the same bytes. */
static void run_on_host(World *w, Module *m, const Launch *l,
                        TitanHostKernel code, const size_t *sizes,
                        const uint64_t *words, Tensor *want)
{
    uint64_t there[MOST_ARGS];
    for (uint32_t i = 0; i < l->nargs; i++) {
        int64_t same = l->args[i].same;
        size_t room = (sizes[i] + ALIGN) & -(size_t)ALIGN;
        there[i] = same >= 0 ? there[same]
                             : (uint64_t)(uintptr_t)aligned_alloc(ALIGN, room);
        if (same < 0)
            memcpy((void *)(uintptr_t)there[i],
                   (const void *)(uintptr_t)words[i], sizes[i]);
    }
    code(there, 0, kernel_at(w->host, l->host)->items);
    for (uint32_t r = 0; r < l->fn->nresults; r++) {
        uint32_t i = l->fn->nparams + r;
        DType d = type_dtype(m, l->args[i].type);
        const char *bytes = (const char *)(uintptr_t)there[i];
        DrawShape shape = shape_of(m, l, i);
        want[r] = tensor_new(m, l->args[i].type, 1, &w->arena);
        for (int64_t x = 0; x < want[r].n; x++)
            want[r].at[x] =
                dtype_load(d, bytes + draw_place(&shape, x) * dtype_bytes(d));
    }
    for (uint32_t i = 0; i < l->nargs; i++)
        if (l->args[i].same < 0) free((void *)(uintptr_t)there[i]);
}

/* What a group is run with: operands, drawn, and the place of results. */
typedef struct Given {
    size_t sizes[MOST_ARGS];
    uint64_t words[MOST_ARGS]; /* addresses */
    Draws draws[MOST_ARGS];
    Tensor in[MOST_ARGS];
} Given;

static void give(World *w, Module *m, const Launch *l, const Kernel *kernel,
                 Given *g)
{
    const Fn *fn = l->fn;
    for (uint32_t i = 0; i < l->nargs; i++) {
        DType d = type_dtype(m, l->args[i].type);
        g->sizes[i] = (size_t)l->extent[i] * dtype_bytes(d);
        if (l->args[i].same >= 0) {
            g->words[i] = g->words[l->args[i].same];
            continue;
        }
        char *bytes = aligned_alloc(ALIGN, (g->sizes[i] + ALIGN) & -ALIGN);
        memset(bytes, kernel_zeroes(kernel, i) ? 0 : 0xff, g->sizes[i]);
        g->words[i] = (uint64_t)(uintptr_t)bytes;
        if (i >= fn->nparams) continue;
        DrawShape shape = shape_of(m, l, i);
        g->draws[i] = w->draws;
        g->in[i] = tensor_new(m, l->args[i].type, 1, &w->arena);
        draw_cells(&w->draws, way_of(m, fn, i), d, g->in[i].at, g->in[i].n);
        draw_store(&shape, d, g->in[i].at, bytes);
    }
}

static void take_back(const Launch *l, uint64_t *words)
{
    for (uint32_t i = 0; i < l->nargs; i++)
        if (l->args[i].same < 0) free((void *)(uintptr_t)words[i]);
}

/* The kernel of a machine, on copies of what is given. */
static void run_one(World *w, Module *m, const Launch *l, const Machine *at,
                    const Given *g, const Tensor *want, bool bits)
{
    uint64_t words[MOST_ARGS];
    for (uint32_t i = 0; i < l->nargs; i++) {
        int64_t same = l->args[i].same;
        size_t room = (g->sizes[i] + ALIGN) & -(size_t)ALIGN;
        words[i] = same >= 0 ? words[same]
                             : (uint64_t)(uintptr_t)aligned_alloc(ALIGN, room);
        if (same < 0)
            memcpy((void *)(uintptr_t)words[i],
                   (const void *)(uintptr_t)g->words[i], g->sizes[i]);
    }
    execute(w, at, l->kernel, kernel_at(at->set, l->kernel), g->sizes, words);
    for (uint32_t r = 0; (bits || !takes_any(m, l->fn)) && r < l->fn->nresults;
         r++)
        check_result(m, l, r, &want[r],
                     (const char *)(uintptr_t)words[l->fn->nparams + r], bits);
    take_back(l, words);
}

/* Launch I of all, on each machine: what it has to give is made once. */
static void run(World *w, uint32_t file, uint32_t i, const Machine *at)
{
    Module *m = &w->module[file];
    const Launch *l = &at->all[i];
    const Kernel *kernel = kernel_at(at->set, l->kernel);
    const Fn *fn = l->fn;
    ArenaMark mark = arena_mark(&w->arena);
    Given g;
    Tensor want[MOST_ARGS];
    give(w, m, l, kernel, &g);
    InterpOpts opts = {.round = is_exact(m, fn) || is_rounded(m, fn)};
    bool bits = at->host && kernel->exact;
    bool ok = bits || interp_fn(m, fn, &opts, g.in, want, &w->arena);
    show_errors(w);
    assert_true(ok);
    if (bits) run_on_host(w, m, l, at->host[l->host], g.sizes, g.words, want);
    Kernel few;
    if (at->cases)
        write_case(at->cases, m, l, kernel, g.sizes, g.draws, want, bits);
    if (at->cases && has_fewer(kernel, &few))
        write_case(at->cases, m, l, &few, g.sizes, g.draws, want, bits);
    for (const Machine *x = at; x && !at->cases; x = x->beside)
        run_one(w, m, &x->all[i], x, &g, want, bits);
    take_back(l, g.words);
    arena_pop(&w->arena, mark);
}

/* Groups of kind tile are the GPU's. */
static bool runs_on(const Module *m, uint32_t f, const CodegenOpts *o)
{
    bool tile = strcmp(str_of(m, m->fns.at[f]->kind), "tile") == 0;
    if (is_scaled(m, m->fns.at[f])) return o->target == TARGET_sm_100a;
    return !tile || target_is_gpu(o->target);
}

static int layouts(const Module *m, uint32_t f)
{
    const char *name = str_of(m, m->fns.at[f]->name);
    if (is_lined(m, m->fns.at[f])) return LINED + 1;
    if (is_scaled(m, m->fns.at[f])) return 1;
    return strstr(name, "turned") ? MANY_LAYOUTS : LAYOUTS;
}

/* A group's own: others come and go, and its layouts stay.  All of these have
 * the same operands in cases, so most have the same results, which are written
 * once. */
static Draws draws_of_group(const World *w, uint32_t file, const Fn *fn)
{
    const char *name = str_of(&w->module[file], fn->name);
    return (Draws){(w->seed ^ cases_hash(name, strlen(name))) | 1};
}

/* Every group in every layout. */
static uint32_t plan_all(World *w, uint32_t file, const CodegenOpts *o,
                         Launch **out)
{
    Module *m = &w->module[file];
    w->set[file] = kernels_new(m, o);
    w->cores = o->target == TARGET_sm_90a;
    uint32_t n = 0;
    *out = NEW_ARRAY(&w->arena, Launch, m->fns.n * MANY_LAYOUTS);
    for (uint32_t f = 0; f < m->fns.n; f++) {
        w->draws = draws_of_group(w, file, m->fns.at[f]);
        for (int style = is_lined(m, m->fns.at[f]) ? LINED : 0;
             style < layouts(m, f) && runs_on(m, f, o); style++)
            if (is_scaled(m, m->fns.at[f]) ||
                cases_take(str_of(m, m->fns.at[f]->name), (unsigned)style))
                n += plan(w, file, m->fns.at[f], style, &(*out)[n]);
    }
    return n;
}

/* How the host's kernels are made. */
typedef struct Way {
    const char *cpu;
    int level;
} Way;
static const Way ways[] = {{NULL, 2}, {NULL, 0}, {"x86-64-v4", 2}};
enum { WAYS = sizeof ways / sizeof *ways };

static bool is_here(const Way *way)
{
    return !way->cpu || __builtin_cpu_supports("avx512vl");
}

/* How often a launch is run: of a large group once says enough. */
static int turns_of(Module *m, const Launch *l)
{
    enum { TURNS = 3, LARGE = 1 << 23 };
    for (uint32_t i = l->fn->nparams; i < l->fn->ninsts; i++) {
        const Inst *in = &l->fn->insts[i];
        if (in->op != OP_einsum) continue;
        Type space = type_union(m, value_type(l->fn, inst_arg(l->fn, in, 0)),
                                value_type(l->fn, inst_arg(l->fn, in, 1)));
        if (type_elements(m, space) > LARGE) return 1;
    }
    return TURNS;
}

static void check_file(World *w, uint32_t file)
{
    Machine at[WAYS];
    uint32_t machines = 0, n = 0;
    for (uint32_t i = 0; i < WAYS; i++) {
        if (!is_here(&ways[i])) continue;
        CodegenOpts o = {
            .target = TARGET_host, .cpu = ways[i].cpu, .level = ways[i].level};
        Launch *all;
        n = plan_all(w, file, &o, &all);
        at[machines++] =
            (Machine){.set = w->set[file],
                      .all = all,
                      .code = opened_object(&w->arena, w->set[file])};
    }
    for (uint32_t i = 1; i < machines; i++)
        at[i - 1].beside = &at[i];
    for (uint32_t i = 0; i < n; i++)
        for (int turn = turns_of(&w->module[file], &at->all[i]); turn > 0;
             turn--)
            run(w, file, i, at);
    for (uint32_t i = 0; i < machines; i++)
        kernels_free(at[i].set);
}

/* Every group for a GPU, and those that promise bits for the host too. */
static uint32_t plan_both(World *w, uint32_t file, const CodegenOpts *o,
                          Launch **out, Machine *at)
{
    const CodegenOpts host = {.target = TARGET_host, .level = 2};
    w->host = kernels_new(&w->module[file], &host);
    uint32_t n = plan_all(w, file, o, out);
    at->host = opened_object(&w->arena, w->host);
    return n;
}

static void free_both(World *w, uint32_t file)
{
    kernels_free(w->set[file]);
    kernels_free(w->host);
    w->host = NULL;
}

static void check_on_device(World *w, uint32_t file, const CodegenOpts *o,
                            const Device *d)
{
    Launch *all;
    Machine at = {.device = d};
    uint32_t n = plan_both(w, file, o, &all, &at);
    at.set = w->set[file];
    at.all = all;
    const char *text;
    size_t size;
    assert_true(kernels_ptx(w->set[file], &text, &size));
    DEVICE(d->load(&at.module, text));
    for (uint32_t i = 0; i < n; i++)
        run(w, file, i, &at);
    free_both(w, file);
}

static void world_init(World *w)
{
    *w = (World){.seed = 0x9E3779B97F4A7C15ull};
    const char *seed = getenv("TITAN_SEED");
    if (seed) w->seed ^= strtoull(seed, NULL, 10) * 0xD1B54A32D192ED03ull;
    w->draws.state = w->seed;
    arena_init(&w->arena, "session");
    arena_init(&w->scratch, "scratch");
    diag_init(&w->diag, &w->arena);
    load_all(w);
}

static void world_release(World *w)
{
    arena_release(&w->scratch);
    arena_release(&w->arena);
}

/* ptxas takes the PTX of every group in every layout; MORE is options. */
static void assemble(World *w, uint32_t file, TargetId target, const char *more,
                     const char *cubin)
{
    const char *text;
    size_t size;
    assert_true(kernels_ptx(w->set[file], &text, &size));
    char path[] = "/tmp/titan-ptx-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, size), (ssize_t)size);
    close(fd);
    const char *command = arena_printf(&w->arena, "ptxas -arch=%s %s -o %s %s",
                                       target_name(target), more, cubin, path);
    assert_int_equal(system(command), 0);
    unlink(path);
}

static void assemble_file(World *w, uint32_t file, TargetId target)
{
    CodegenOpts o = opts_of_gpu(w, file, target);
    Launch *all;
    plan_all(w, file, &o, &all);
    assemble(w, file, target, "--warn-on-spills -Werror", "/dev/null");
    kernels_free(w->set[file]);
}

static void write_module(World *w, uint32_t file, TargetId target, Cases *c)
{
    const char *name = arena_printf(&w->arena, "groups%u.%s", file,
                                    cases_ptx_of() ? "ptx" : "cubin"),
               *text;
    size_t size;
    if (cases_ptx_of()) {
        assert_true(kernels_ptx(w->set[file], &text, &size));
        cases_ptx(c, name, text, size);
        return;
    }
    assemble(w, file, target, "",
             arena_printf(&w->arena, "%s/%s", c->folder, name));
    fprintf(c->text, "module %s\n", name);
}

static void write_file_cases(World *w, uint32_t file, Cases *c)
{
    CodegenOpts o = opts_of_gpu(w, file, cases_target());
    Launch *all;
    Machine at = {.cases = c};
    uint32_t n = plan_both(w, file, &o, &all, &at);
    at.set = w->set[file];
    at.all = all;
    write_module(w, file, o.target, c);
    for (uint32_t i = 0; i < n; i++) {
        w->draws = draws_of_group(w, file, all[i].fn);
        run(w, file, i, &at);
    }
    free_both(w, file);
}

static void assemble_for_gpus(void **state)
{
    (void)state;
    if (system("ptxas --version >/dev/null 2>&1") != 0) skip();
    static World w;
    world_init(&w);
    w.maps = true;
    for (uint32_t f = 0; f < w.nfiles; f++) {
        assemble_file(&w, f, TARGET_sm_90a);
        assemble_file(&w, f, TARGET_sm_100a);
    }
    world_release(&w);
}

static void write_cases(void **state)
{
    (void)state;
    const char *out = getenv("TITAN_CASES");
    if (!out) skip();
    static World w;
    world_init(&w);
    w.maps = true;
    static Cases c;
    cases_open(&c, out);
    for (uint32_t f = 0; f < w.nfiles; f++)
        write_file_cases(&w, f, &c);
    cases_close(&c);
    world_release(&w);
}

/* As a host's processor has them, unoptimised, and with wider vectors. */
static void agree_with_the_interpreter(void **state)
{
    (void)state;
    static World w;
    world_init(&w);
    for (uint32_t f = 0; f < w.nfiles && !w.small[f]; f++)
        check_file(&w, f);
    world_release(&w);
}

static void agree_on_a_gpu(void **state)
{
    (void)state;
    Device d;
    if (!device_open(&d) || (d.major != 9 && d.major != 10)) skip();
    static World w;
    world_init(&w);
    TargetId target = d.major == 9 ? TARGET_sm_90a : TARGET_sm_100a;
    for (uint32_t f = 0; f < w.nfiles; f++) {
        CodegenOpts o = opts_of_gpu(&w, f, target);
        check_on_device(&w, f, &o, &d);
    }
    world_release(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agree_with_the_interpreter),
        cmocka_unit_test(assemble_for_gpus),
        cmocka_unit_test(agree_on_a_gpu),
        cmocka_unit_test(write_cases),
    };
    if (getenv("TITAN_CASES")) cmocka_set_test_filter("write_cases");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
