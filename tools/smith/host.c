/*
 * host.c: the compiled program against the interpreter.
 *
 * The program goes through the whole pipeline to a host object, which is
 * linked to a shared object and run by the runtime on the interpreter's
 * inputs.  The interpreter runs the program as it was made, rounding every
 * value to its dtype; where a narrower dtype is asked for, it runs what the
 * passes up to `precision` made of it, whose roundings are those of the code.
 */
#include "home.h"
#include "smith.h"

#include <dlfcn.h>
#include <errno.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../codegen/codegen.h"

extern char **environ;

/* The program as it was made, and as it is compiled. */
typedef struct Host {
    Unit *made, compiled;
    const Fn *fn;
    Tensor *args, *results; /* of the interpreter */
    double *moved;          /* by result; NULL: was not asked for */
    Artifact artifact;
    TitanStory story;
    TitanImage image;
    TitanHost *host;
    Buf *why;
} Host;

static bool complain(Host *h, const char *what, const char *detail)
{
    return unit_failed(&h->compiled, h->why, "%s: %s", what, detail);
}

/* ------------------------------------------------------------- compiling -- */

/* Pass by pass, so that the name of the one that fails is at hand. */
static bool run_pipeline(Host *h, Module *m, const char *last)
{
    char name[32];
    for (uint32_t i = 0; check_step(i, name); i++) {
        if (pass_find(name) && !pipeline_run(m, name, &(PipelineOpts){0}))
            return complain(h, "host: a pass fails", name);
        if (last && !strcmp(name, last)) break;
    }
    return true;
}

static bool is_narrowed(const Module *m)
{
    return strcmp(str_of(m, option_get(m, "dtype")), "f32") != 0;
}

static bool compile(Host *h)
{
    CodegenOpts o = {.target = TARGET_host, .cpu = "x86-64-v3", .level = 1};
    return run_pipeline(h, &h->compiled.m, NULL) &&
           (codegen_run(&h->compiled.m, &o, WANT_image | WANT_object,
                        &h->artifact) ||
            complain(h, "host", "code generation fails"));
}

bool link_shared(const char *object, const char *shared)
{
    const char *cc = getenv("CC");
    const char *words[] = {cc && *cc ? cc : "cc",
                           "-shared",
                           "-nostdlib",
                           "-o",
                           shared,
                           object,
                           "-lm",
                           NULL};
    char *argv[8];
    pid_t pid;
    int status;
    memcpy(argv, words, sizeof argv);
    if (posix_spawnp(&pid, words[0], NULL, NULL, argv, environ)) return false;
    return waitpid(pid, &status, 0) == pid && status == 0;
}

/* Links the object and opens it; the files go at once. */
static void *load(Host *h)
{
    char folder[] = "/tmp/titan-smith-XXXXXX";
    if (!mkdtemp(folder)) return NULL;
    const char *object = arena_printf(&h->made->arena, "%s/a.o", folder);
    const char *shared = arena_printf(&h->made->arena, "%s/a.so", folder);
    void *lib = NULL;
    if (write_file(object, h->artifact.object, h->artifact.object_size,
                   false) &&
        link_shared(object, shared))
        lib = dlopen(shared, RTLD_NOW | RTLD_LOCAL);
    unlink(object);
    unlink(shared);
    rmdir(folder);
    return lib;
}

/* --------------------------------------------------------------- running -- */

static uint8_t *home_bytes(Host *h, const Home *at)
{
    uint8_t *base = titan_host_base(h->host, at->base);
    return base + at->offset;
}

static Homes homes_of(const Host *h, const TitanEntry *e)
{
    return (Homes){&h->made->m, &h->image, e};
}

static bool store_args(Host *h, const TitanEntry *e)
{
    Homes homes = homes_of(h, e);
    for (uint32_t i = 0; i < h->fn->nparams; i++) {
        const Tensor *t = &h->args[i];
        const TypeInfo *info = type_info(&h->made->m, t->type);
        Home at;
        if (!home_of(&homes, &h->fn->params[i], &at))
            return complain(h, "host", "the image lacks an input");
        for (int64_t k = 0; k < t->n; k++)
            dtype_store(info->dtype, t->at[k],
                        home_bytes(h, &at) + home_place(&at, info, k) *
                                                 dtype_bytes(info->dtype));
    }
    return true;
}

static bool run_image(Host *h)
{
    void *lib = load(h);
    if (!lib) return complain(h, "host", "the object does not link");
    const TitanHostKernel *kernels = dlsym(lib, TITAN_SYMBOL_KERNELS);
    TitanStatus st = titan_image_open(&h->story, h->artifact.image,
                                      h->artifact.image_size, &h->image);
    if (!st) st = titan_host_new(&h->story, &h->image, kernels, 2, &h->host);
    if (st) return complain(h, "host", h->story.line[0]);
    const TitanEntry *e = titan_entry(&h->image, "train");
    if (!e || !store_args(h, e)) return false;
    st = titan_host_run(h->host, e);
    return st ? complain(h, "host", h->story.line[0]) : true;
}

/* ------------------------------------------------------------- comparing -- */

static double bound_of(const Host *h)
{
    return program_bound(&h->made->m, program_unit(&h->made->m, h->fn));
}

static bool same_cell(DType d, Cell a, Cell b, double room)
{
    if (dtype_class(d) != DC_float) return a.i == b.i;
    return a.f == b.f || fabs(a.f - b.f) <= room;
}

static bool find_moved(Host *h)
{
    Module *m = &h->made->m;
    if (h->moved) return true;
    h->moved = NEW_ARRAY(&h->made->arena, double, h->fn->nresults);
    InterpOpts o = {.jitter = program_unit(m, h->fn)};
    return program_moved(m, h->fn, &o, h->args, h->results, h->moved) ||
           complain(h, "host", "the program does not run");
}

/* The plain bound; where it does not hold, what the program magnifies. */
static bool compare_result(Host *h, const TitanEntry *e, uint32_t i)
{
    const Tensor *t = &h->results[i];
    const TypeInfo *info = type_info(&h->made->m, t->type);
    DType d = info->dtype;
    Homes homes = homes_of(h, e);
    Home home;
    if (!home_of(&homes, &h->fn->results[i], &home))
        return complain(h, "host", "the image lacks a result");
    bool floats = tensor_is_floats(&h->made->m, t);
    double room = floats ? bound_of(h) * tensor_largest(t) : 0;
    for (int64_t k = 0; k < t->n; k++) {
        Cell c = dtype_load(d, home_bytes(h, &home) +
                                   home_place(&home, info, k) * dtype_bytes(d));
        if (same_cell(d, t->at[k], c, room)) continue;
        if (floats && !find_moved(h)) return false;
        if (floats && MAGNIFIED * h->moved[i] > room) {
            room = MAGNIFIED * h->moved[i];
            if (same_cell(d, t->at[k], c, room)) continue;
        }
        buf_printf(h->why,
                   "host: a result differs\nresult %u, element %lld: ", i,
                   (long long)k);
        buf_double(h->why, floats ? t->at[k].f : (double)t->at[k].i);
        buf_puts(h->why, " interpreted, ");
        buf_double(h->why, floats ? c.f : (double)c.i);
        buf_printf(h->why, " compiled; the bound is %.3g\n", room);
        return false;
    }
    return true;
}

static bool compare_all(Host *h)
{
    const TitanEntry *e = titan_entry(&h->image, "train");
    for (uint32_t i = 0; i < h->fn->nresults; i++)
        if (!compare_result(h, e, i)) return false;
    return true;
}

bool host_results(Unit *made, const Fn *fn, Tensor *args, const char *text,
                  size_t n, Tensor *results, Buf *why)
{
    Host h = {.made = made, .fn = fn, .args = args, .why = why};
    bool ok = unit_read(&h.compiled, text, n) && compile(&h) && run_image(&h);
    Homes homes = homes_of(&h, titan_entry(&h.image, "train"));
    Home home;
    for (uint32_t i = 0; ok && i < fn->nresults; i++) {
        const TypeInfo *info = type_info(&made->m, fn->results[i].type);
        ok = home_of(&homes, &fn->results[i], &home) ||
             complain(&h, "host", "the image lacks a result");
        results[i] = tensor_new(&made->m, fn->results[i].type, 1, &made->arena);
        for (int64_t k = 0; ok && k < results[i].n; k++)
            results[i].at[k] =
                dtype_load(info->dtype, home_bytes(&h, &home) +
                                            home_place(&home, info, k) *
                                                dtype_bytes(info->dtype));
    }
    if (h.host) titan_host_free(h.host);
    unit_release(&h.compiled);
    return ok;
}

bool check_host(const char *text, size_t n, uint64_t seed, Buf *why)
{
    Unit made;
    Host h = {.made = &made, .why = why};
    bool ok = unit_read(&made, text, n) && unit_read(&h.compiled, text, n);
    Module *m = &made.m;
    if (ok) pad_lines(&h.compiled.m, seed);
    if (ok && is_narrowed(m)) ok = run_pipeline(&h, m, "precision");
    if (ok) {
        h.fn = unit_entry(&made);
        h.args = inputs_random(m, h.fn, seed, &made.arena);
        h.results = NEW_ARRAY(&made.arena, Tensor, h.fn->nresults);
        InterpOpts o = {.round = true, .once = true};
        ok = interp_fn(m, h.fn, &o, h.args, h.results, &made.arena) &&
             compile(&h) && run_image(&h) && compare_all(&h);
    }
    if (h.host) titan_host_free(h.host);
    unit_release(&made);
    unit_release(&h.compiled);
    return ok;
}
