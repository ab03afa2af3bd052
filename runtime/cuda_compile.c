/*
 * cuda_compile.c: PTX compiled by the driver, in parts beside each other.
 *
 * The driver compiles modules one after the other, whichever thread asks for
 * them.  Libraries, which belong to no context, it compiles beside each other,
 * and beside the making of a context.  So the text is cut between kernels
 * (cuda_cut.h).  The longest first, each kernel goes to the part that is the
 * shortest.  Text whose kernels share something (variables, functions, lines of
 * a source file) is one part, and so is text without kernels.
 *
 * Needs: the driver is initialised.  A thread that does not start leaves its
 * part to whoever waits for it.
 */
#include "cuda_cut.h"
#include "cuda_device.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"

enum { LOG_BYTES = 4096 };

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

static int longer_first(const void *a, const void *b)
{
    const PtxKernel *x = a, *y = b;
    if (x->n != y->n) return x->n > y->n ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

static void share_out(const PtxText *t, CudaCompiler *x)
{
    if (t->nkernels)
        qsort(t->kernels, t->nkernels, sizeof *t->kernels, longer_first);
    for (unsigned i = 0; i < t->nkernels; i++) {
        unsigned least = 0;
        for (unsigned p = 1; p < x->n; p++)
            if (x->parts[p].n < x->parts[least].n) least = p;
        t->kernels[i].part = least;
        x->parts[least].n += t->kernels[i].n;
    }
}

static unsigned parts_of(const PtxText *t)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned n = online > 1 ? (unsigned)online : 1;
    if (n > t->nkernels) n = t->nkernels;
    return n < CUDA_MOST_MODULES ? n : CUDA_MOST_MODULES;
}

/* The texts of the parts; false: no memory. */
static bool cut(const TitanCode *code, CudaCompiler *x)
{
    PtxText t;
    bool ok = cuda_cut_open(code, &t);
    x->n = ok && t.nkernels ? parts_of(&t) : 1;
    if (ok) share_out(&t, x);
    for (unsigned i = 0; ok && i < x->n; i++)
        ok = (x->parts[i].text = cuda_cut_part(&t, i)) != NULL;
    cuda_cut_close(&t);
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
    cuda_unguard(c);
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
