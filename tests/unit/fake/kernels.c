/*
 * kernels.c: the driver without a GPU: kernels of PTX, run by the tests'
 * machine for it (tests/ptx), where FAKE_PTX says so.
 *
 * FAKE_PTX is a number, from which each launch draws the order of what a GPU
 * leaves open: the launches of a process are another each, and the same when it
 * runs again.  A kernel that does what it may not is told of on stderr, and its
 * GPU fails from then on, as a real one does.  With FAKE_TALLY each launch is a
 * line on stderr, and how long it took.
 */
#include "driver.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    LAUNCH_FAILED = 719,
    NAMED_SHARED = 48 << 10, /* by a kernel itself */
    DYNAMIC_SHARED = 227 << 10,
    MOST_PARAMS = 4096
};

bool fake_runs_ptx(void)
{
    return getenv("FAKE_PTX") != NULL;
}

bool fake_is_ptx(const void *code)
{
    const unsigned char *at = code; /* files of machine code begin otherwise */
    return *at < 0x7f && strstr(code, ".version") != NULL;
}

CuResult fake_library_new(const void *code, CuLibrary *out)
{
    CuLibrary l = *out = calloc(1, sizeof *l);
    l->text = strdup(code);
    pthread_mutex_init(&l->lock, NULL);
    return 0;
}

void fake_library_free(CuLibrary l)
{
    if (l->functions) fake_finish();
    for (CuFunction fn = l->functions, next; fn; fn = next) {
        next = fn->next;
        free(fn);
    }
    if (l->ptx) ptx_free(l->ptx);
    pthread_mutex_destroy(&l->lock);
    free(l->text);
    free(l);
}

CuResult fake_library_function(CuLibrary l, const char *name, CuFunction *out)
{
    pthread_mutex_lock(&l->lock);
    CuFunction fn = l->functions;
    while (fn && strcmp(fn->name, name) != 0)
        fn = fn->next;
    if (!fn) {
        fn = calloc(1, sizeof *fn);
        snprintf(fn->name, sizeof fn->name, "%s", name);
        fn->library = l;
        fn->next = l->functions;
        l->functions = fn;
    }
    pthread_mutex_unlock(&l->lock);
    *out = fn;
    return 0;
}

void fake_complain(const char *fmt, ...)
{
    char what[PTX_FAULT];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    fprintf(stderr, "fake driver: GPU %d: %s\n", fake_gpu(), what);
    fake_log("%s\n", what);
}

/* Under the lock of the library. */
static void read_library(CuLibrary l)
{
    char why[PTX_FAULT];
    if (l->ptx || l->unread) return;
    l->ptx = ptx_read(l->text, strlen(l->text), why);
    l->unread = !l->ptx;
    if (l->unread) fake_complain("%s", why);
}

/* NULL: the machine does not take it. */
static const PtxKernel *kernel_of(CuFunction fn)
{
    CuLibrary l = fn->library;
    pthread_mutex_lock(&l->lock);
    read_library(l);
    if (l->ptx && !fn->kernel) fn->kernel = ptx_kernel(l->ptx, fn->name);
    pthread_mutex_unlock(&l->lock);
    return fn->kernel;
}

typedef struct Launch {
    char name[96];
    PtxLaunch run;
    int stream;
    _Alignas(64) unsigned char params[];
} Launch;

/* The finaliser of splitmix64. */
static uint64_t mixed(uint64_t x)
{
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ x >> 27) * 0x94D049BB133111EBull;
    return x ^ x >> 31;
}

static uint64_t drawn_seed(void)
{
    uint64_t said = strtoull(getenv("FAKE_PTX"), NULL, 10);
    return mixed(said + 0x9E3779B97F4A7C15ull * fake_count_launch());
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void tell(const Launch *l, const PtxTally *t, double seconds)
{
    if (!getenv("FAKE_TALLY")) return;
    fprintf(stderr,
            "fake driver: GPU %d: %s <<<%u, %u, %u>>>: %llu instructions, "
            "%llu products, %llu bytes loaded, %llu stored, %.3f s\n",
            fake_gpu(), l->name, l->run.grid[0], l->run.block[0], l->run.shared,
            (unsigned long long)t->instructions,
            (unsigned long long)t->products, (unsigned long long)t->loaded,
            (unsigned long long)t->stored, seconds);
}

static void run(const void *data)
{
    const Launch *l = data;
    PtxLaunch here = l->run;
    PtxTally tally = {0};
    char why[PTX_FAULT];
    here.params = l->params;
    here.seed = drawn_seed();
    here.pane = fake_pane;
    here.races = getenv("FAKE_RACES") != NULL;
    fake_log("%s <<<%u, %u, %u>>> on %d\n", l->name, here.grid[0],
             here.block[0], here.shared, l->stream);
    fake_spend(2000);
    double begun = now();
    if (!ptx_run(&here, &tally, why)) {
        fake_complain("%s", why);
        fake_fault(LAUNCH_FAILED);
    }
    tell(l, &tally, now() - begun);
}

/* What the driver says of a launch that no GPU takes, at the call. */
static bool is_grid(const FakeShot *s)
{
    static const uint64_t most[] = {INT32_MAX, UINT16_MAX, UINT16_MAX};
    static const uint64_t wide[] = {1024, 1024, 64};
    uint64_t threads = 1;
    for (int i = 0; i < 3; i++) {
        if (!s->grid[i] || s->grid[i] > most[i]) return false;
        if (!s->block[i] || s->block[i] > wide[i]) return false;
        threads *= s->block[i];
    }
    return threads <= 1024;
}

CuResult fake_ptx_launch(const FakeShot *s)
{
    const PtxKernel *k = kernel_of(s->fn);
    if (!k || ptx_kernel_shared(k) > NAMED_SHARED) return CU_error_invalid_ptx;
    if (!is_grid(s)) return 1;
    size_t bytes = ptx_kernel_params(k), at, n;
    if (bytes > MOST_PARAMS ||
        s->shared + ptx_kernel_shared(k) > DYNAMIC_SHARED)
        return 1;
    Launch *l = calloc(1, sizeof *l + bytes);
    memcpy(l->name, s->fn->name, sizeof l->name);
    l->run = (PtxLaunch){.kernel = k, .shared = s->shared};
    memcpy(l->run.grid, s->grid, sizeof s->grid);
    memcpy(l->run.block, s->block, sizeof s->block);
    l->stream = s->stream ? s->stream->number : 0;
    for (unsigned i = 0; ptx_kernel_param(k, i, &at, &n); i++)
        memcpy(l->params + at, s->args[i], n);
    fake_work(s->stream, run, l, sizeof *l + bytes);
    free(l);
    return 0;
}
