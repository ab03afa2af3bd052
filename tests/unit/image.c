/* links: titan_codegen titan_passes titan_runtime */
/*
 * Images, from the grouped program to a run on the host.
 *
 * Each file under tests/passes/expand goes through fuse, expand and memplan;
 * its image, with and without streams, is read back by the runtime's reader,
 * run on two threads, and each result compared with the interpreter's for the
 * program as written.  The same input gives the same bytes.  A damaged row of
 * results is refused.  Another folder can be named on the command line.
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

#include "codegen/kernel.h"
#include "passes/pass.h"
#include "runtime/titan.h"
#include "tests/unit/opened.h"
#include "tests/unit/sealed.h"

static const char in_order[] = "localise,fuse{tile-bytes=32},expand,memplan";
static const char in_streams[] = "localise,fuse{tile-bytes=32},expand,schedule{"
                                 "streams=3;spread=1;growth=100},"
                                 "memplan";

typedef struct World {
    Arena arena, scratch;
    Diag diag;
    const char *pipeline;
} World;

static void show_errors(World *w)
{
    Buf b = {0};
    diag_render(&w->diag, DIAG_TEXT, &b);
    if (b.n) fputs(b.at, stderr);
    buf_release(&b);
    assert_int_equal(w->diag.nerrors, 0);
}

static const char *folder(World *w, const char *given)
{
    if (given) return given;
    char *path = arena_strdup(&w->arena, __FILE__);
    *strstr(path, "unit/image.c") = '\0';
    return arena_printf(&w->arena, "%spasses/expand", path);
}

static Module *load(World *w, const char *path, const char *passes)
{
    size_t size;
    char *text = read_file(&w->arena, path, &size);
    assert_non_null(text);
    Module *m = NEW(&w->arena, Module);
    module_init(m, &w->arena, &w->scratch, &w->diag);
    uint32_t source = diag_add_source(&w->diag, path, text, size);
    bool ok = module_parse(m, source) && module_verify(m);
    show_errors(w);
    PipelineOpts o = {0};
    if (passes) ok = ok && pipeline_run(m, passes, &o);
    show_errors(w);
    assert_true(ok);
    return m;
}

typedef struct Compiled {
    Module *m;
    KernelSet *set;
    const void *image;
    size_t size;
} Compiled;

static Compiled compile(World *w, const char *path)
{
    CodegenOpts o = {.target = TARGET_host, .cpu = "x86-64-v3", .level = 2};
    Compiled c = {.m = load(w, path, w->pipeline)};
    c.set = kernels_new(c.m, &o);
    assert_true(image_write(c.m, &o, c.set, &c.image, &c.size));
    show_errors(w);
    return c;
}

/* ------------------------------------------------------ values in memory -- */

typedef struct Memory {
    Module *m;
    const Fn *fn;
    TitanHost *host;
    Arena *arena;
    const char *path;
} Memory;

static char *base_of(const Memory *y, const Inst *in)
{
    static const char *const words[] = {"persistent", "io"};
    for (int i = 0; i < 2; i++)
        if (attr_is(y->m, in->attr, AT_base, words[i]))
            return titan_host_base(y->host, (TitanBase)i);
    fail_msg("a port lies in no base of its own");
    return NULL;
}

/* The bytes of the element FLAT, counted in the order of the type. */
static char *element(const Memory *y, Value v, int64_t flat)
{
    const Inst *in = inst_of(y->fn, v);
    Layout l = layout_of(y->m, y->fn, v, y->arena);
    const TypeInfo *ti = type_info(y->m, l.type);
    int64_t at = 0;
    for (uint32_t a = ti->naxes; a-- > 0;) {
        at += flat % ti->axes[a].size * l.stride[a];
        flat /= ti->axes[a].size;
    }
    return base_of(y, in) + attr_int(y->m, in->attr, AT_offset, 0) +
           at * dtype_bytes((DType)ti->dtype);
}

static void store(const Memory *y, Value v, const Tensor *t, DType d)
{
    for (int64_t i = 0; i < t->n; i++)
        dtype_store(d, t->at[i], element(y, v, i));
}

static void compare(const Memory *y, Value v, const Tensor *want, DType d)
{
    bool is_float = dtype_class(d) == DC_float;
    double bound = d == DT_bf16 ? 0x1p-6 : 1e-4;
    for (int64_t i = 0; i < want->n; i++) {
        Cell got = dtype_load(d, element(y, v, i));
        double a = is_float ? want->at[i].f : (double)want->at[i].i;
        double b = is_float ? got.f : (double)got.i;
        if (fabs(a - b) <= bound * (1 + fabs(a)) || (isnan(a) && isnan(b)))
            continue;
        fail_msg("%s @%s: result %u: element %lld is %.9g, not %.9g", y->path,
                 str_of(y->m, y->fn->name), v.id, (long long)i, b, a);
    }
}

/* -------------------------------------------------------------- the runs -- */

static void run_entry(World *w, Module *plain, const Fn *old, Compiled *c,
                      const TitanImage *im, const TitanHostKernel *kernels,
                      const char *path)
{
    TitanStory story = {0};
    Memory y = {.m = c->m, .arena = &w->arena, .path = path};
    assert_int_equal(titan_host_new(&story, im, kernels, 2, &y.host), TITAN_OK);
    const char *name = str_of(plain, old->name);
    FnRef f;
    assert_true(fn_find(c->m, module_str(c->m, name), &f));
    y.fn = fn_of(c->m, f);
    Tensor *args = inputs_random(plain, old, 1, &w->arena);
    for (uint32_t i = 0; i < old->nparams; i++)
        store(&y, (Value){i}, &args[i], type_dtype(plain, old->params[i].type));
    const TitanEntry *e = titan_entry(im, name);
    assert_non_null(e);
    assert_int_equal(titan_host_run(y.host, e), TITAN_OK);
    Tensor *want = NEW_ARRAY(&w->arena, Tensor, old->nresults + 1);
    InterpOpts o = {.round = true};
    assert_true(interp_fn(plain, old, &o, args, want, &w->arena));
    for (uint32_t i = 0; i < old->nresults; i++)
        compare(&y, y.fn->result_values[i], &want[i],
                type_dtype(plain, old->results[i].type));
    titan_host_free(y.host);
}

static void run_file(World *w, const char *path)
{
    Module *plain = load(w, path, NULL);
    Compiled c = compile(w, path);
    TitanStory story = {0};
    TitanImage im;
    TitanStatus st = titan_image_open(&story, c.image, c.size, &im);
    if (st != TITAN_OK) titan_story_print(&story, path);
    assert_int_equal(st, TITAN_OK);
    const TitanHostKernel *kernels = opened_object(&w->arena, c.set);
    for (uint32_t i = 0; i < plain->fns.n; i++) {
        const Fn *fn = plain->fns.at[i];
        FnRef f;
        if (fn_find(c.m, module_str(c.m, str_of(plain, fn->name)), &f) &&
            fn_of(c.m, f)->entry)
            run_entry(w, plain, fn, &c, &im, kernels, path);
    }
    kernels_free(c.set);
}

/* What is for several devices one host alone does not run. */
static void visit_file(World *w, const char *path,
                       void (*visit)(World *w, const char *path))
{
    if (load(w, path, NULL)->mesh.n == 0) visit(w, path);
}

static void each_file(World *w, const char *given,
                      void (*visit)(World *w, const char *path))
{
    const char *dir = folder(w, given);
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        if (strstr(e->d_name, ".tir"))
            visit_file(w, arena_printf(&w->arena, "%s/%s", dir, e->d_name),
                       visit);
    closedir(d);
}

static World world_new(const char *pipeline)
{
    World w = {.pipeline = pipeline};
    arena_init(&w.arena, "module");
    arena_init(&w.scratch, "scratch");
    return w;
}

static void world_release(World *w)
{
    arena_release(&w->scratch);
    arena_release(&w->arena);
}

static void run_files(char *given, const char *pipeline)
{
    World w = world_new(pipeline);
    diag_init(&w.diag, &w.arena);
    each_file(&w, given, run_file);
    world_release(&w);
}

static void images_compute_what_the_program_says(void **state)
{
    run_files(*state, in_order);
}

static void images_with_streams_can_be_captured(void **state)
{
    run_files(*state, in_streams);
}

static void compile_twice(World *w, const char *path)
{
    Compiled a = compile(w, path), b = compile(w, path);
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.image, b.image, a.size);
    kernels_free(a.set);
    kernels_free(b.set);
}

static void same_input_same_bytes(void **state)
{
    World w = world_new(in_streams);
    diag_init(&w.diag, &w.arena);
    each_file(&w, *state, compile_twice);
    world_release(&w);
}

/* ---------------------------------------------------------------- damage -- */

static void *row(void *image, TitanTableId table, uint32_t i)
{
    const TitanTable *t = &((TitanHeader *)image)->tables[table];
    assert_true(i < t->n);
    return (char *)image + t->offset + (size_t)i * t->row;
}

/* The last command, which no program has from here on. */
static TitanCommand *leave_out_last(void *image)
{
    const TitanHeader *h = image;
    uint32_t last = h->tables[TITAN_TABLE_commands].n - 1;
    for (uint32_t i = 0; i < h->tables[TITAN_TABLE_programs].n; i++) {
        TitanProgram *p = row(image, TITAN_TABLE_programs, i);
        TitanRange *c = &p->commands;
        if (c->first + c->n > last) c->n = last - c->first;
    }
    return row(image, TITAN_TABLE_commands, last);
}

/* The rows that an image may not have. */
static void damage(void *image, int which)
{
    TitanResult *r = row(image, TITAN_TABLE_results, 0);
    TitanSpan *s = row(image, TITAN_TABLE_spans, r->spans.first);
    uint32_t runs = ((TitanEntry *)row(image, TITAN_TABLE_entries, 0))->runs.n;
    switch (which) {
    case 0:
        r->operand = 1000;
        return;
    case 1:
        r->dtype = 7; /* i32 */
        return;
    case 2:
        r->name = UINT32_MAX;
        return;
    case 3:
        r->phase = 3;
        return;
    case 4:
        s->n = INT64_MAX;
        return;
    case 5:
        s->bytes = -4;
        return;
    case 6:
        r->spans.n = 17;
        return;
    case 7:
        ((TitanEntry *)row(image, TITAN_TABLE_entries, 0))->until = runs + 1;
        return;
    case 8: /* a part of what it gathers itself */
        ((TitanCommand *)row(image, TITAN_TABLE_commands, 0))->fed = 1;
        return;
    case 9: /* of what gathers nothing */
        ((TitanCommand *)row(image, TITAN_TABLE_commands, 1))->fed = 1;
        return;
    case 10:
        ((TitanCommand *)row(image, TITAN_TABLE_commands, 1))->fed = UINT32_MAX;
        return;
    case 11:
        leave_out_last(image)->fed = UINT32_MAX;
        return;
    case 12:
        *leave_out_last(image) =
            (TitanCommand){.kind = TITAN_COMMAND_collective, .index = 1000};
        return;
    case 13:
        leave_out_last(image)->stays = 1;
        return;
    default:
        return;
    }
}

static void damaged_results_are_refused(void **state)
{
    enum { WAYS = 14 };
    World w = world_new(in_order);
    diag_init(&w.diag, &w.arena);
    const char *path =
        arena_printf(&w.arena, "%s/repeat.tir", folder(&w, *state));
    Compiled c = compile(&w, path);
    for (int i = 0; i <= WAYS; i++) {
        TitanStory story = {0};
        TitanImage im;
        char *copy = arena_alloc(&w.arena, c.size);
        memcpy(copy, c.image, c.size);
        damage(copy, i);
        seal((TitanHeader *)(void *)copy);
        TitanStatus want = i < WAYS ? TITAN_BAD_DATA : TITAN_OK;
        if (titan_image_open(&story, copy, c.size, &im) != want)
            fail_msg("damage %d: %s", i, story.line[0]);
    }
    kernels_free(c.set);
    world_release(&w);
}

int main(int argc, char **argv)
{
    char *given = argc > 1 ? argv[1] : NULL;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(images_compute_what_the_program_says, given),
        cmocka_unit_test_prestate(images_with_streams_can_be_captured, given),
        cmocka_unit_test_prestate(same_input_same_bytes, given),
        cmocka_unit_test_prestate(damaged_results_are_refused, given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
