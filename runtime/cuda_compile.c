/*
 * cuda_compile.c: PTX compiled by the driver, in parts beside each other.
 *
 * The driver compiles modules one after the other, whichever thread asks for
 * them.  Libraries, which belong to no context, it compiles beside each other,
 * and beside the making of a context.  So the text is cut between kernels:
 *
 *     .version .target, shared memory     in front of each part
 *     .visible .entry k0(...) ...         part 2
 *     .visible .entry k1(...) ...         part 0
 *
 * The longest first, each kernel goes to the part that is the shortest.  Text
 * whose kernels share something (variables, functions, lines of a source file)
 * is one part, and so is text without kernels.
 *
 * Needs: the driver is initialised.  A thread that does not start leaves its
 * part to whoever waits for it.
 */
#include "cuda_device.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"

enum { LOG_BYTES = 4096 };

typedef struct Kernel {
    const char *at;
    size_t n;
    unsigned part;
} Kernel;

typedef struct Part {
    const CuApi *cu;
    pthread_t thread;
    bool started;
    char *text;
    size_t n;
    CuLibrary library;
    CuResult result;
} Part;

struct CudaCompiler {
    Part parts[CUDA_MOST_MODULES];
    unsigned n;
    double start;
};

/* --------------------------------------------------------------- cutting -- */

typedef struct Text {
    const char *at;
    size_t n, front; /* up to the first kernel */
    Kernel *kernels;
    unsigned nkernels;
} Text;

/* Up to the image, which a step.ptx ends with. */
static size_t code_bytes(const TitanCode *code)
{
    static const char image[] =
        "\n.visible .global .align 8 .b64 " TITAN_SYMBOL_IMAGE "[";
    const char *end =
        memmem(code->ptx, code->ptx_size, image, sizeof image - 1);
    return end ? (size_t)(end - code->ptx) : code->ptx_size;
}

static bool begins(const char *line, const char *end, const char *with)
{
    size_t n = strlen(with);
    return (size_t)(end - line) >= n && memcmp(line, with, n) == 0;
}

/* A line that says something of several kernels. */
static bool is_shared(const char *line, const char *end)
{
    static const char *const kinds[] = {".global",        ".visible .global",
                                        ".func",          ".weak",
                                        ".visible .func", "\t.file"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (begins(line, end, kinds[i])) return true;
    return false;
}

/* Where kernels begin; false: they cannot be parted.  KERNELS NULL: only how
 * many there are. */
static bool find_kernels(Text *t)
{
    const char *end = t->at + t->n, *next;
    t->nkernels = 0;
    for (const char *line = t->at; line < end; line = next) {
        next = memchr(line, '\n', (size_t)(end - line));
        next = next ? next + 1 : end;
        if (is_shared(line, end)) return false;
        if (!begins(line, end, ".visible .entry")) continue;
        if (t->nkernels == 0) t->front = (size_t)(line - t->at);
        if (t->kernels) t->kernels[t->nkernels].at = line;
        t->nkernels++;
    }
    for (unsigned i = 0; t->kernels && i < t->nkernels; i++) {
        Kernel *k = &t->kernels[i];
        k->n = (size_t)((i + 1 < t->nkernels ? k[1].at : end) - k->at);
    }
    return t->nkernels > 1;
}

static int longer_first(const void *a, const void *b)
{
    const Kernel *x = a, *y = b;
    if (x->n != y->n) return x->n > y->n ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

static void share_out(const Text *t, CudaCompiler *x)
{
    qsort(t->kernels, t->nkernels, sizeof *t->kernels, longer_first);
    for (unsigned i = 0; i < t->nkernels; i++) {
        unsigned least = 0;
        for (unsigned p = 1; p < x->n; p++)
            if (x->parts[p].n < x->parts[least].n) least = p;
        t->kernels[i].part = least;
        x->parts[least].n += t->kernels[i].n;
    }
}

static bool put_text(const Text *t, Part *p, unsigned number)
{
    char *at = p->text = malloc(t->front + p->n + 1);
    if (!at) return false;
    memcpy(at, t->at, t->front);
    at += t->front;
    for (unsigned i = 0; i < t->nkernels; i++) {
        const Kernel *k = &t->kernels[i];
        if (k->part != number) continue;
        memcpy(at, k->at, k->n);
        at += k->n;
    }
    *at = 0;
    return true;
}

static unsigned parts_of(const Text *t)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned n = online > 1 ? (unsigned)online : 1;
    if (n > t->nkernels) n = t->nkernels;
    return n < CUDA_MOST_MODULES ? n : CUDA_MOST_MODULES;
}

/* The texts of the parts; false: no memory. */
static bool cut(const TitanCode *code, CudaCompiler *x)
{
    Text t = {.at = code->ptx, .n = code_bytes(code)};
    x->n = 1;
    if (!find_kernels(&t)) {
        t.front = t.n;
        t.nkernels = 0;
        return put_text(&t, &x->parts[0], 0);
    }
    t.kernels = calloc(t.nkernels, sizeof *t.kernels);
    if (!t.kernels) return false;
    find_kernels(&t);
    x->n = parts_of(&t);
    share_out(&t, x);
    bool ok = true;
    for (unsigned i = 0; i < x->n; i++)
        ok = ok && put_text(&t, &x->parts[i], i);
    free(t.kernels);
    return ok;
}

/* ------------------------------------------------------------- compiling -- */

static void *compile(void *part)
{
    Part *p = part;
    p->result = p->cu->cuLibraryLoadData(&p->library, p->text, NULL, NULL, 0,
                                         NULL, NULL, 0);
    return NULL;
}

TitanStatus cuda_compile_begin(Cuda *c, const TitanCode *code)
{
    CudaCompiler *x = c->compiler = calloc(1, sizeof *x);
    if (x) x->start = seconds_now();
    if (!x || !cut(code, x)) return titan_no_memory(c->story);
    for (unsigned i = 0; i < x->n; i++) {
        Part *p = &x->parts[i];
        p->cu = &c->cu;
        p->started = pthread_create(&p->thread, NULL, compile, p) == 0;
    }
    return TITAN_OK;
}

static void await(Part *p)
{
    if (p->started)
        pthread_join(p->thread, NULL);
    else
        compile(p);
    p->started = false;
}

/* The compiler's first complaint, on one line. */
static const char *first_line(char *log)
{
    log += strspn(log, " \n");
    log[strcspn(log, "\n")] = 0;
    return *log ? log : "the driver gave no reason";
}

/* What is wrong is told where a module is made of the text. */
static TitanStatus failed(Cuda *c, const Part *p, const char *call, CuResult r)
{
    char log[LOG_BYTES] = "";
    int options[] = {CU_jit_error_log, CU_jit_error_log_bytes};
    void *values[] = {log, (void *)(uintptr_t)sizeof log};
    CuModule module;
    if (c->cu.cuModuleLoadDataEx(&module, p->text, 2, options, values) == 0)
        c->cu.cuModuleUnload(module);
    cu_fail(c->story, &c->cu, call, r);
    /* other reasons lie with the driver: it may be too old, say */
    TitanStatus st =
        r == CU_error_invalid_ptx ? TITAN_BAD_DATA : TITAN_UNAVAILABLE;
    return titan_while(c->story, st, "compiling the PTX: %s", first_line(log));
}

/* A driver may say of a library that it is made, and fail here. */
static TitanStatus take_module(Cuda *c, const Part *p, CuModule *out)
{
    if (p->result != 0) return failed(c, p, "cuLibraryLoadData", p->result);
    CuResult r = c->cu.cuLibraryGetModule(out, p->library);
    return r == 0 ? TITAN_OK : failed(c, p, "cuLibraryGetModule", r);
}

TitanStatus cuda_compile_end(Cuda *c, double *seconds)
{
    CudaCompiler *x = c->compiler;
    for (unsigned i = 0; i < x->n; i++)
        await(&x->parts[i]);
    for (unsigned i = 0; i < x->n; i++) {
        TRY(take_module(c, &x->parts[i], &c->modules[i]));
        c->nmodules = i + 1;
    }
    *seconds = seconds_now() - x->start;
    return TITAN_OK;
}

void cuda_compile_close(Cuda *c)
{
    CudaCompiler *x = c->compiler;
    for (unsigned i = 0; x && i < x->n; i++) {
        Part *p = &x->parts[i];
        if (p->started) pthread_join(p->thread, NULL);
        if (p->library) c->cu.cuLibraryUnload(p->library);
        free(p->text);
    }
    free(x);
}
