/*
 * cuda.c: the driver without a GPU: devices, modules and launches.
 *
 * Only what cuda.def lists is there.
 */
#include "driver.h"

#include "runtime/cuda_scan.h"
#include "runtime/cuda_sums.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_FUNCTIONS = 256, NO_BINARY = 209 };

static Fake device;
static bool is_ready; /* fake_reset was called */
static pthread_mutex_t begins = PTHREAD_MUTEX_INITIALIZER; /* of cuInit */

Fake *fake_device(void)
{
    return &device;
}

void fake_reset(void)
{
    fake_streams_reset();
    is_ready = true;
    device = (Fake){
        .count = 1, .major = 9, .minor = 0, .available = (size_t)1 << 40};
}

/* FAKE_CAPABILITY: "10.0", of the GPUs where no test says so. */
static void read_capability(void)
{
    const char *said = getenv("FAKE_CAPABILITY");
    if (said) sscanf(said, "%d.%d", &device.major, &device.minor);
}

/* Of several GPUs nobody reads one. */
void fake_log(const char *fmt, ...)
{
    static pthread_mutex_t lines = PTHREAD_MUTEX_INITIALIZER;
    va_list args;
    if (device.count > 1) return;
    pthread_mutex_lock(&lines);
    size_t n = strlen(device.log);
    va_start(args, fmt);
    vsnprintf(device.log + n, FAKE_LOG - n, fmt, args);
    va_end(args);
    pthread_mutex_unlock(&lines);
}

void fake_spend(unsigned us)
{
    FAKE_COUNT(device.us, us);
}

/* FAKE_SLOW: "GPU CALL MS", as often as wanted with a comma between them; the
 * call `kernel` is a kernel that runs. */
static void linger(const char *call)
{
    const char *at = getenv("FAKE_SLOW");
    char name[64];
    int gpu;
    unsigned ms;
    while (at && sscanf(at, "%d %63s %u", &gpu, name, &ms) == 3) {
        if (gpu == fake_gpu() && !strcmp(name, call)) usleep(1000 * ms);
        at = strchr(at, ',');
        if (at) at++;
    }
}

/* FAKE_FAILS: "GPU CALL", or the number of one of all calls of the GPU. */
static bool is_to_fail(const char *call, unsigned calls)
{
    const char *said = getenv("FAKE_FAILS");
    char name[64], number[16];
    int gpu;
    snprintf(number, sizeof number, "%u", calls);
    if (!said || sscanf(said, "%d %63s", &gpu, name) != 2) return false;
    return gpu == fake_gpu() && (!strcmp(name, call) || !strcmp(name, number));
}

CuResult fake_fails(const char *call)
{
    unsigned calls = fake_count_call();
    linger(call);
    if (is_to_fail(call, calls)) return 999;
    if (fake_faulted()) return fake_faulted();
    if (FAKE_COUNT(device.calls, 1) + 1 == device.fails_at) return 999;
    return device.fails && !strcmp(device.fails, call) ? device.fails_with : 0;
}

/* ---------------------------------------------------------------- device -- */

/* As of a driver: what was forked behind it has none. */
CuResult cuInit(unsigned flags)
{
    static pid_t of;
    const char *gpus = getenv("FAKE_GPUS");
    pthread_mutex_lock(&begins);
    if (of == 0) of = getpid();
    bool forked = of != getpid();
    if (!is_ready) {
        fake_reset();
        device.count = gpus ? atoi(gpus) : fake_runs_ptx();
        read_capability();
    }
    pthread_mutex_unlock(&begins);
    if (forked) return 3;
    BEGIN();
    return flags ? 1 : 0;
}

CuResult cuDriverGetVersion(int *version)
{
    *version = 13000;
    return 0;
}

CuResult cuGetErrorName(CuResult r, const char **name)
{
    *name = r == 2     ? "CUDA_ERROR_OUT_OF_MEMORY"
            : r == 100 ? "CUDA_ERROR_NO_DEVICE"
            : r == 209 ? "CUDA_ERROR_NO_BINARY_FOR_GPU"
            : r == 218 ? "CUDA_ERROR_INVALID_PTX"
            : r == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS"
            : r == 719 ? "CUDA_ERROR_LAUNCH_FAILED"
                       : NULL;
    return 0;
}

CuResult cuGetErrorString(CuResult r, const char **text)
{
    *text = r == 100   ? "no CUDA-capable device is detected"
            : r == 719 ? "unspecified launch failure"
                       : "as asked for";
    return 0;
}

CuResult cuDeviceGetCount(int *count)
{
    BEGIN();
    *count = device.count;
    return 0;
}

CuResult cuDeviceGet(CuDevice *out, int ordinal)
{
    BEGIN();
    *out = ordinal;
    return 0;
}

CuResult cuDeviceGetName(char *name, int size, CuDevice d)
{
    BEGIN();
    (void)d;
    const char *said = getenv("FAKE_NAME");
    snprintf(name, (size_t)size, "%s", said ? said : "Fake 9000");
    return 0;
}

CuResult cuDeviceGetAttribute(int *out, int attribute, CuDevice d)
{
    BEGIN();
    (void)d;
    *out = attribute == CU_attribute_major ? device.major : device.minor;
    return 0;
}

CuResult cuDevicePrimaryCtxRetain(CuContext *context, CuDevice d)
{
    BEGIN();
    if (d >= FAKE_GPUS) return 1;
    *context = fake_context(d);
    return 0;
}

/* FAKE_CLOSE: so many seconds.  The next context begins without a fault. */
CuResult cuDevicePrimaryCtxRelease(CuDevice d)
{
    const char *seconds = getenv("FAKE_CLOSE");
    (void)d;
    fake_fault(0);
    if (seconds) sleep((unsigned)atoi(seconds));
    return 0;
}

CuResult cuCtxSynchronize(void)
{
    BEGIN();
    fake_finish();
    return fake_faulted();
}

CuResult cuCtxSetCurrent(CuContext context)
{
    BEGIN();
    fake_use(context);
    return 0;
}

/* --------------------------------------------------------------- modules -- */

CuResult cuModuleLoadDataEx(CuModule *module, const void *code, unsigned n,
                            int *options, void **values)
{
    for (unsigned i = 0; i < n && device.compiler; i++)
        if (options[i] == CU_jit_error_log) strcpy(values[i], device.compiler);
    if (device.compiler) return 218;
    BEGIN();
    fake_log("load %.12s\n", (const char *)code);
    *module = (CuModule)(void *)&device;
    if (!fake_runs_ptx()) return 0;
    if (!fake_is_ptx(code)) return NO_BINARY;
    return fake_library_new(code, (CuLibrary *)(void *)module);
}

CuResult cuModuleUnload(CuModule module)
{
    if ((void *)module != &device) fake_library_free((CuLibrary)(void *)module);
    return 0;
}

/* FAKE_CRASH: the name of a kernel that the compiler dies of. */
static void crash_on(const char *text)
{
    const char *name = getenv("FAKE_CRASH");
    char entry[128];
    snprintf(entry, sizeof entry, ".entry %s(", name ? name : "");
    if (name && strstr(text, entry)) raise(SIGSEGV);
}

CuResult cuLibraryLoadData(CuLibrary *library, const void *code, int *options,
                           void **values, unsigned n, int *more,
                           void **more_values, unsigned nmore)
{
    (void)more, (void)more_values, (void)nmore;
    for (unsigned i = 0; i < n && device.compiler; i++)
        if (options[i] == CU_jit_error_log) strcpy(values[i], device.compiler);
    if (device.compiler) return 218;
    BEGIN();
    crash_on(code);
    FAKE_COUNT(device.libraries, 1);
    return fake_library_new(code, library);
}

CuResult cuLibraryGetModule(CuModule *module, CuLibrary library)
{
    BEGIN();
    *module = (CuModule)(void *)library;
    return 0;
}

CuResult cuLibraryUnload(CuLibrary library)
{
    FAKE_COUNT(device.libraries, -1);
    fake_library_free(library);
    return 0;
}

static bool has_function(CuModule module, const char *name)
{
    char entry[128];
    if ((void *)module == &device) return true;
    snprintf(entry, sizeof entry, ".entry %s(", name);
    return strstr(((CuLibrary)(void *)module)->text, entry) != NULL;
}

/* Functions live as long as the process: there are few. */
static CuFunction function_named(const char *name)
{
    static struct CuFunctionRow all[MOST_FUNCTIONS];
    for (int i = 0; i < MOST_FUNCTIONS; i++) {
        if (all[i].name[0] && strcmp(all[i].name, name)) continue;
        if (!all[i].name[0])
            snprintf(all[i].name, sizeof all[i].name, "%s", name);
        return &all[i];
    }
    return NULL;
}

CuResult cuModuleGetFunction(CuFunction *fn, CuModule module, const char *name)
{
    static pthread_mutex_t names = PTHREAD_MUTEX_INITIALIZER;
    BEGIN();
    if (!has_function(module, name)) return CU_error_not_found;
    if (fake_runs_ptx())
        return fake_library_function((CuLibrary)(void *)module, name, fn);
    pthread_mutex_lock(&names);
    *fn = function_named(name);
    pthread_mutex_unlock(&names);
    return *fn ? 0 : CU_error_not_found;
}

CuResult cuFuncSetAttribute(CuFunction fn, int attribute, int value)
{
    BEGIN();
    if (attribute == CU_function_max_dynamic_shared)
        atomic_store_explicit(&fn->shared, value, memory_order_relaxed);
    return 0;
}

/* The arguments that a test's own kernels take: two words, then maps.  Of
 * others nothing is known. */
static bool is_known(const char *name)
{
    return !strcmp(name, "bump") || !strcmp(name, "add") ||
           !strcmp(name, "tile");
}

typedef struct Launch {
    CuFunction fn;
    unsigned grid, threads, shared;
    int stream;
    uint64_t args[2];
} Launch;

static void launch(const void *data)
{
    const Launch *l = data;
    fake_log("%s <<<%u, %u, %u>>> on %d: %lld %lld\n", l->fn->name, l->grid,
             l->threads, l->shared, l->stream, fake_place(l->args[0]),
             (long long)l->args[1]);
    fake_spend(2000);
    linger("kernel");
    float *to = fake_host(l->args[0]);
    if (!strcmp(l->fn->name, "bump")) *to += 1;
    if (!strcmp(l->fn->name, "add")) *to += *(float *)fake_host(l->args[1]);
}

static uint64_t load_bits(uint64_t at, unsigned bytes)
{
    uint64_t x = 0;
    memcpy(&x, fake_host(at), bytes);
    return x;
}

static bool is_bad(const CudaScanArgs *a, uint64_t x)
{
    uint64_t magnitude = x & a->magnitude;
    bool minus = magnitude != x;
    if (magnitude != a->infinite) return magnitude > a->infinite;
    return !(a->may & (minus ? TITAN_MAY_minus : TITAN_MAY_plus));
}

/* What the runtime's own kernel does. */
static void scan(const void *data)
{
    const CudaScanArgs *a = data;
    uint64_t *first = fake_host(a->first);
    FAKE_COUNT(device.scans, 1);
    for (uint64_t i = 0; i < a->n; i++) {
        uint64_t at = a->at, rest = i;
        for (uint64_t k = a->nspans; k-- > 0; rest /= (uint64_t)a->span[k].n)
            at += rest % (uint64_t)a->span[k].n * (uint64_t)a->span[k].bytes;
        if (is_bad(a, load_bits(at, a->bytes)) && i < *first) *first = i;
    }
}

/* f32, and bf16 as its upper half. */
static float piece_at(const CudaSumArgs *a, uint32_t m, uint64_t i)
{
    uint64_t slot = m - (m > a->me);
    const char *at =
        (const char *)(uintptr_t)(m == a->me ? a->mine
                                             : a->from + slot * a->pitch);
    uint32_t bits = 0;
    float x;
    if (a->kind == SUM_f32)
        memcpy(&bits, at + 4 * i, 4);
    else
        memcpy((char *)&bits + 2, at + 2 * i, 2);
    memcpy(&x, &bits, 4);
    return x;
}

static void add_pieces(const void *data)
{
    CudaSumArgs here = *(const CudaSumArgs *)data, *a = &here;
    fake_spend(100);
    char *to = fake_host(a->to);
    a->from = (CuPtr)(uintptr_t)fake_host(a->from);
    if (a->me < a->n) a->mine = (CuPtr)(uintptr_t)fake_host(a->mine);
    for (uint64_t i = 0; i < a->count; i++) {
        float sum = piece_at(a, 0, i);
        uint32_t bits;
        for (uint32_t m = 1; m < a->n; m++)
            sum += piece_at(a, m, i);
        memcpy(&bits, &sum, 4);
        uint32_t even = bits + 0x7fff + (bits >> 16 & 1);
        if (a->kind == SUM_f32)
            memcpy(to + 4 * i, &bits, 4);
        else
            memcpy(to + 2 * i, (char *)&even + 2, 2);
    }
}

static void touch_sum(CuStream stream, const CudaSumArgs *a)
{
    uint64_t bytes = a->count * (a->kind == SUM_f32 ? 4 : 2);
    uint32_t others = a->n - (a->me < a->n);
    for (uint32_t i = 0; i < others; i++)
        fake_touch(stream, a->from + i * a->pitch, bytes, false);
    if (a->me < a->n) fake_touch(stream, a->mine, bytes, false);
    fake_touch(stream, a->to, bytes, true);
}

static bool is_sum(const char *name)
{
    return !strcmp(name, CUDA_SUMS_KERNEL) ||
           !strncmp(name, CUDA_WIDE_KERNEL, strlen(CUDA_WIDE_KERNEL));
}

CuResult cuLaunchKernel(CuFunction fn, unsigned x, unsigned y, unsigned z,
                        unsigned tx, unsigned ty, unsigned tz, unsigned shared,
                        CuStream stream, void **args, void **extra)
{
    (void)extra;
    BEGIN();
    if (shared >
        (unsigned)atomic_load_explicit(&fn->shared, memory_order_relaxed))
        return 1;
    if (fn->library)
        return fake_ptx_launch(
            &(FakeShot){fn, {x, y, z}, {tx, ty, tz}, shared, stream, args});
    if (!strcmp(fn->name, CUDA_SCAN_KERNEL)) {
        fake_work(stream, scan, args[0], sizeof(CudaScanArgs));
        return 0;
    }
    if (is_sum(fn->name)) {
        CudaSumArgs a = *(const CudaSumArgs *)args[0];
        if (strcmp(fn->name, CUDA_SUMS_KERNEL) != 0)
            a.count *= a.kind == SUM_f32 ? 4 : 8;
        fake_work(stream, add_pieces, &a, sizeof a);
        touch_sum(stream, &a);
        return 0;
    }
    Launch l = {fn, x, tx, shared, stream->number, {0, 0}};
    for (int i = 0; i < 2 && is_known(fn->name); i++)
        l.args[i] = *(uint64_t *)args[i];
    fake_work(stream, launch, &l, sizeof l);
    return 0;
}
