/*
 * host.c: the compiled program against the interpreter.
 *
 * The program goes through the whole pipeline to a host object, which is
 * linked to a shared object and run by the runtime on the interpreter's
 * inputs.  The interpreter runs the program as it was made, rounding every
 * value to its dtype; where a narrower dtype is asked for, it runs what the
 * passes up to `precision` made of it, whose roundings are those of the code.
 */
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
#include "../../runtime/titan.h"

extern char **environ;

/* The program as it was made, and as it is compiled. */
typedef struct Host {
    Unit made, compiled;
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

static bool run_linker(const char *object, const char *shared)
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
    const char *object = arena_printf(&h->made.arena, "%s/a.o", folder);
    const char *shared = arena_printf(&h->made.arena, "%s/a.so", folder);
    void *lib = NULL;
    if (write_file(object, h->artifact.object, h->artifact.object_size,
                   false) &&
        run_linker(object, shared))
        lib = dlopen(shared, RTLD_NOW | RTLD_LOCAL);
    unlink(object);
    unlink(shared);
    rmdir(folder);
    return lib;
}

/* --------------------------------------------------------------- running -- */

/* Where a value of the entry lies. */
typedef struct Home {
    uint32_t dtype;
    TitanRange axes;
    uint64_t offset;
    TitanBase base;
    const TitanSlot *slot; /* NULL: a port */
} Home;

static bool home_of(const Host *h, const TitanEntry *e, const Port *p,
                    Home *out)
{
    const char *path = str_of(&h->made.m, p->path);
    static const TitanRole roles[] = {[ROLE_input] = TITAN_ROLE_input,
                                      [ROLE_record] = TITAN_ROLE_record,
                                      [ROLE_output] = TITAN_ROLE_output};
    if (!role_is_slot(p->role)) {
        const TitanPort *port = titan_port(&h->image, e, roles[p->role], path);
        if (port)
            *out = (Home){port->dtype, port->axes, port->offset, TITAN_BASE_io,
                          NULL};
        return port != NULL;
    }
    for (uint32_t i = 0; i < h->image.nslots; i++) {
        const TitanSlot *s = &h->image.slots[i];
        *out = (Home){s->dtype, s->axes, s->offset, TITAN_BASE_persistent, s};
        if (!strcmp(titan_string(&h->image, s->path), path)) return true;
    }
    return false;
}

/* How far element `k` of a tensor of type T is from the first, in memory: the
 * axes of a slot may lie in another order.  -1: an axis is missing. */
static int64_t element_at(const Host *h, const Home *at, const TypeInfo *t,
                          int64_t k)
{
    int64_t offset = 0;
    for (uint32_t i = t->naxes; i-- > 0; k /= t->axes[i].size) {
        int64_t stride = 1;
        uint32_t j = at->axes.n;
        for (; j-- > 0;) {
            const TitanAxis *a = &h->image.axes[at->axes.first + j];
            bool same = !strcmp(titan_string(&h->image, a->name),
                                axis_name(&h->made.m, t->axes[i].axis));
            if (same && a->size == t->axes[i].size) break;
            stride *= a->size;
        }
        if (j == UINT32_MAX) return -1;
        offset += k % t->axes[i].size * stride;
    }
    return at->slot ? titan_slot_place(at->slot, offset) : offset;
}

/* Where element `k` of a port lies; NULL: it has another type, or there is no
 * such port. */
static uint8_t *port_element(Host *h, const TitanEntry *e, const Port *p,
                             int64_t k)
{
    Home at;
    const TypeInfo *t = type_info(&h->made.m, p->type);
    if (!home_of(h, e, p, &at) || at.dtype != (uint32_t)t->dtype ||
        at.axes.n != t->naxes)
        return NULL;
    int64_t i = element_at(h, &at, t, k);
    uint8_t *base = titan_host_base(h->host, at.base);
    return i < 0 ? NULL : base + at.offset + i * (int64_t)dtype_bytes(t->dtype);
}

static bool store_args(Host *h, const TitanEntry *e)
{
    for (uint32_t i = 0; i < h->fn->nparams; i++) {
        const Tensor *t = &h->args[i];
        DType d = type_dtype(&h->made.m, t->type);
        for (int64_t k = 0; k < t->n; k++) {
            uint8_t *to = port_element(h, e, &h->fn->params[i], k);
            if (!to) return complain(h, "host", "the image lacks an input");
            dtype_store(d, t->at[k], to);
        }
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

static int64_t longest_sum(const Module *m)
{
    int64_t longest = 1;
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        for (uint32_t i = 0; i < fn->ninsts; i++) {
            const Inst *in = &fn->insts[i];
            int64_t n =
                in->nargs
                    ? type_elements(m, value_type(fn, inst_arg(fn, in, 0)))
                    : 1;
            if (n > longest && in->op != OP_grad) longest = n;
        }
    }
    return longest;
}

static bool has_dtype(const Module *m, DType d)
{
    for (uint32_t f = 0; f < m->fns.n; f++)
        for (uint32_t i = 0; i < m->fns.at[f]->ninsts; i++) {
            const TypeInfo *t = type_info(m, m->fns.at[f]->insts[i].type);
            if (!t->is_tuple && t->dtype == d) return true;
        }
    return false;
}

/* Only derivatives round an inexact value to fewer digits: those of bf16
 * values to bf16, those of still narrower ones to f32. */
static double unit_of(const Host *h)
{
    const Module *m = &h->made.m;
    double unit = dtype_unit(has_dtype(m, DT_f32) ? DT_f32 : DT_f64);
    bool narrow = has_dtype(m, DT_f16) || has_dtype(m, DT_e4m3) ||
                  has_dtype(m, DT_e5m2) || has_dtype(m, DT_e2m1);
    if (fn_has_op(h->fn, OP_grad) && narrow) unit = dtype_unit(DT_f32);
    if (fn_has_op(h->fn, OP_grad) && has_dtype(m, DT_bf16))
        unit = dtype_unit(DT_bf16);
    return unit;
}

static double bound_of(const Host *h)
{
    return 64 * unit_of(h) * (1 + log2((double)longest_sum(&h->made.m)));
}

enum { MAGNIFIED = 4 }; /* as --check-meaning has it */

static bool is_floats(const Module *m, const Tensor *t)
{
    return dtype_class(type_dtype(m, t->type)) == DC_float;
}

static double largest_of(const Tensor *t)
{
    double largest = 0;
    for (int64_t i = 0; i < t->n; i++)
        if (fabs(t->at[i].f) > largest) largest = fabs(t->at[i].f);
    return largest;
}

static bool same_cell(DType d, Cell a, Cell b, double room)
{
    if (dtype_class(d) != DC_float) return a.i == b.i;
    return a.f == b.f || fabs(a.f - b.f) <= room;
}

/* How far some element of each result moves when every value is off by the
 * unit, up or down by chance: what a program that magnifies its roundings, as
 * the slope of a tanh near one, does in any order of its sums. */
static bool find_moved(Host *h)
{
    enum { RUNS = 3 };
    Module *m = &h->made.m;
    Tensor *now = NEW_ARRAY(&h->made.arena, Tensor, h->fn->nresults);
    if (h->moved) return true;
    h->moved = NEW_ARRAY(&h->made.arena, double, h->fn->nresults);
    for (uint64_t k = 1; k <= RUNS; k++) {
        InterpOpts o = {.jitter = unit_of(h), .chance = k};
        if (!interp_fn(m, h->fn, &o, h->args, now, &h->made.arena))
            return complain(h, "host", "the program does not run");
        for (uint32_t i = 0; i < h->fn->nresults; i++)
            for (int64_t e = 0; e < now[i].n; e++) {
                double off = fabs(now[i].at[e].f - h->results[i].at[e].f);
                if (is_floats(m, &now[i]) && off > h->moved[i])
                    h->moved[i] = off;
            }
    }
    return true;
}

/* The plain bound; where it does not hold, what the program magnifies. */
static bool compare_result(Host *h, const TitanEntry *e, uint32_t i)
{
    const Tensor *t = &h->results[i];
    DType d = type_dtype(&h->made.m, t->type);
    bool floats = is_floats(&h->made.m, t);
    double room = floats ? bound_of(h) * largest_of(t) : 0;
    for (int64_t k = 0; k < t->n; k++) {
        const uint8_t *at = port_element(h, e, &h->fn->results[i], k);
        if (!at) return complain(h, "host", "the image lacks a result");
        Cell c = dtype_load(d, at);
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

bool check_host(const char *text, size_t n, uint64_t seed, Buf *why)
{
    Host h = {.why = why};
    bool ok = unit_read(&h.made, text, n) && unit_read(&h.compiled, text, n);
    Module *m = &h.made.m;
    if (ok) pad_lines(&h.compiled.m, seed);
    if (ok && is_narrowed(m)) ok = run_pipeline(&h, m, "precision");
    if (ok) {
        h.fn = unit_entry(&h.made);
        h.args = inputs_random(m, h.fn, seed, &h.made.arena);
        h.results = NEW_ARRAY(&h.made.arena, Tensor, h.fn->nresults);
        ok = interp_fn(m, h.fn, &(InterpOpts){.round = true}, h.args, h.results,
                       &h.made.arena) &&
             compile(&h) && run_image(&h) && compare_all(&h);
    }
    if (h.host) titan_host_free(h.host);
    unit_release(&h.made);
    unit_release(&h.compiled);
    return ok;
}
