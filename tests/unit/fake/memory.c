/*
 * memory.c: memory of the driver without a GPU: what is allocated, mapped,
 * shared with other processes, copied and filled.
 */
#include "driver.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

CuResult cuMemGetInfo(size_t *available, size_t *total)
{
    BEGIN();
    *available = fake_device()->available;
    *total = (size_t)1 << 40;
    return 0;
}

/* Of processes that were started together: files without a name, which others
 * reach by the process that has them. */
typedef struct Memory {
    struct Memory *next;
    CuPtr at; /* 0: without an address */
    size_t bytes;
    int file, gpu;  /* of that one */
    CuPtr base;     /* of what has no address */
    unsigned users; /* of that: who made it, and windows to it */
} Memory;

/* Where a GPU reaches memory that was made without an address. */
typedef struct Window {
    struct Window *next;
    CuPtr at;
    size_t bytes;
    Memory *memory;
    bool open; /* the GPU may */
    int gpu;   /* it is that one */
} Window;

enum { ILLEGAL_ADDRESS = 700 };

/* What kernels reach besides: what was allocated, opened or pinned. */
typedef struct Place {
    struct Place *next;
    CuPtr at;
    size_t bytes;
    int gpu; /* that does; -1: all do */
} Place;

/* Memory of another process, by the one thread that opens and closes. */
typedef struct Opened {
    struct Opened *next;
    CuPtr at;
    size_t bytes;
    int file;
} Opened;

static Memory *memories;
static Window *windows;
static Opened *opened;
static Place *places;
static pthread_mutex_t list = PTHREAD_MUTEX_INITIALIZER; /* of memories */
/* Of windows, and of places: who reads them puts no order between threads. */
static pthread_rwlock_t panes = PTHREAD_RWLOCK_INITIALIZER;
static pthread_rwlock_t reached = PTHREAD_RWLOCK_INITIALIZER;

/* ---------------------------------------------------------------- places -- */

static void add_place(CuPtr at, size_t bytes, int gpu)
{
    Place *p = malloc(sizeof *p);
    pthread_rwlock_wrlock(&reached);
    *p = (Place){.next = places, .at = at, .bytes = bytes, .gpu = gpu};
    places = p;
    pthread_rwlock_unlock(&reached);
}

static void drop_place(CuPtr at)
{
    pthread_rwlock_wrlock(&reached);
    Place **to = &places, *p;
    while (*to && (*to)->at != at)
        to = &(*to)->next;
    p = *to;
    if (p) *to = p->next;
    pthread_rwlock_unlock(&reached);
    free(p);
}

static bool find_place(CuPtr at, PtxPane *out)
{
    int gpu = fake_gpu();
    pthread_rwlock_rdlock(&reached);
    const Place *p = places;
    while (p && !(at >= p->at && at - p->at < p->bytes &&
                  (p->gpu < 0 || p->gpu == gpu)))
        p = p->next;
    if (p) *out = (PtxPane){p->at, p->bytes, (void *)(uintptr_t)p->at};
    pthread_rwlock_unlock(&reached);
    return p != NULL;
}

/* -------------------------------------------------------------- windows -- */

static Window **window_at(CuPtr at)
{
    Window **w = &windows;
    while (*w && !(at >= (*w)->at && at - (*w)->at < (*w)->bytes))
        w = &(*w)->next;
    return w;
}

void *fake_host(CuPtr at)
{
    if (fake_is_leaving()) return (void *)(uintptr_t)at;
    pthread_rwlock_rdlock(&panes);
    const Window *w = *window_at(at);
    if (w && w->open) at = w->memory->base + (at - w->at);
    pthread_rwlock_unlock(&panes);
    return (void *)(uintptr_t)at;
}

static bool find_window(CuPtr at, PtxPane *out)
{
    int gpu = fake_gpu();
    pthread_rwlock_rdlock(&panes);
    const Window *w = *window_at(at);
    bool found = w && w->open && w->gpu == gpu;
    if (found)
        *out = (PtxPane){w->at, w->bytes, (void *)(uintptr_t)w->memory->base};
    pthread_rwlock_unlock(&panes);
    return found;
}

bool fake_pane(void *user, uint64_t at, PtxPane *out)
{
    (void)user;
    return find_place(at, out) || find_window(at, out);
}

void *fake_span(CuPtr at, size_t n, const char *what)
{
    PtxPane pane;
    if (!fake_runs_ptx() || n == 0) return fake_host(at);
    if (fake_pane(NULL, at, &pane) && n <= pane.n - (at - pane.at))
        return pane.host + (at - pane.at);
    fake_complain("%s: %zu bytes at %#llx are no memory of this GPU", what, n,
                  (unsigned long long)at);
    fake_fault(ILLEGAL_ADDRESS);
    return NULL;
}

/* --------------------------------------------------------------- memory -- */

/* Nothing lies before and behind what is mapped: what runs out of it does not
 * come to other memory. */
enum { APART = 1 << 16 };

static size_t with_gaps(size_t bytes)
{
    return (bytes + 2 * APART - 1) / APART * APART + APART;
}

static CuPtr map_file(int file, size_t bytes)
{
    char *none = mmap(NULL, with_gaps(bytes), PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (none == MAP_FAILED) return 0;
    void *at = mmap(none + APART, bytes, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_FIXED, file, 0);
    return at == MAP_FAILED ? 0 : (CuPtr)(uintptr_t)at;
}

static void unmap_file(CuPtr at, size_t bytes)
{
    munmap((void *)(uintptr_t)(at - APART), with_gaps(bytes));
}

static Memory *new_memory(size_t bytes, bool has_address)
{
    Memory *m = calloc(1, sizeof *m);
    m->bytes = bytes;
    m->gpu = fake_gpu();
    m->file = memfd_create("fake", MFD_CLOEXEC);
    if (ftruncate(m->file, (off_t)bytes) != 0) abort();
    m->users = 1;
    *(has_address ? &m->at : &m->base) = map_file(m->file, bytes);
    pthread_mutex_lock(&list);
    m->next = memories;
    memories = m;
    pthread_mutex_unlock(&list);
    return m;
}

static Memory **memory_at(CuPtr at)
{
    Memory **m = &memories;
    while (*m && (*m)->at != at)
        m = &(*m)->next;
    return m;
}

/* Who has memory of another process open has a lock on its file. */
static void check_closed(const Memory *m)
{
    if (flock(m->file, LOCK_EX | LOCK_NB) == 0) return;
    fprintf(stderr, "fake driver: memory is freed that another process has "
                    "open\n");
    abort();
}

/* False: it is not shared. */
static bool free_shared(CuPtr at)
{
    pthread_mutex_lock(&list);
    Memory **place = memory_at(at), *m = *place;
    if (m) *place = m->next;
    pthread_mutex_unlock(&list);
    if (!m) return false;
    check_closed(m);
    unmap_file(m->at, m->bytes);
    close(m->file);
    free(m);
    return true;
}

CuResult cuIpcGetMemHandle(CuIpcHandle *handle, CuPtr at)
{
    BEGIN();
    pthread_mutex_lock(&list);
    const Memory *m = *memory_at(at);
    pthread_mutex_unlock(&list);
    if (!m) return 801;
    snprintf(handle->byte, sizeof handle->byte, "/proc/%d/fd/%d", getpid(),
             m->file);
    return 0;
}

CuResult cuIpcOpenMemHandle(CuPtr *at, CuIpcHandle handle, unsigned flags)
{
    BEGIN();
    struct stat st;
    int file = open(handle.byte, O_RDWR | O_CLOEXEC);
    if (file < 0 || fstat(file, &st) != 0 || flags != CU_ipc_lazy) return 201;
    if (flock(file, LOCK_SH | LOCK_NB) != 0) return 201;
    Opened *o = malloc(sizeof *o);
    *o = (Opened){.next = opened,
                  .at = map_file(file, (size_t)st.st_size),
                  .bytes = (size_t)st.st_size,
                  .file = file};
    opened = o;
    *at = o->at;
    add_place(o->at, o->bytes, fake_gpu());
    fake_run_beside();
    return *at ? 0 : 2;
}

CuResult cuIpcCloseMemHandle(CuPtr at)
{
    Opened **place = &opened;
    while (*place && (*place)->at != at)
        place = &(*place)->next;
    Opened *o = *place;
    if (!o) return 1;
    *place = o->next;
    drop_place(at);
    unmap_file(o->at, o->bytes);
    close(o->file);
    free(o);
    return 0;
}

/* Under the lock of windows. */
static void leave_memory(Memory *m)
{
    if (--m->users == 0) unmap_file(m->base, m->bytes);
}

/* Without an address: a file, too, until it is released; what is mapped stays.
 */
CuResult cuMemCreate(CuMemory *memory, size_t bytes, const CuMemoryKind *kind,
                     unsigned long long flags)
{
    BEGIN();
    Memory *m = new_memory(bytes, false);
    *memory = (CuMemory)(uintptr_t)m;
    FAKE_COUNT(fake_device()->allocations, 1);
    return flags || kind->type != CU_memory_pinned ||
           kind->place.type != CU_place_device;
}

CuResult cuMemRelease(CuMemory memory)
{
    Memory *m = (Memory *)(uintptr_t)memory;
    FAKE_COUNT(fake_device()->allocations, -1);
    pthread_mutex_lock(&list);
    int file = m->file;
    m->file = -1;
    pthread_mutex_unlock(&list);
    pthread_rwlock_wrlock(&panes);
    leave_memory(m);
    pthread_rwlock_unlock(&panes);
    return close(file) ? 1 : 0;
}

static CuResult map_none(CuPtr where, CuPtr *at, size_t bytes)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | (where ? MAP_FIXED : 0);
    void *p = mmap((void *)(uintptr_t)where, bytes, PROT_NONE, flags, -1, 0);
    *at = (CuPtr)(uintptr_t)p;
    return p == MAP_FAILED ? 2 : 0;
}

CuResult cuMemAddressReserve(CuPtr *at, size_t bytes, size_t alignment,
                             CuPtr where, unsigned long long flags)
{
    BEGIN();
    return alignment || where || flags ? 1 : map_none(0, at, bytes);
}

CuResult cuMemAddressFree(CuPtr at, size_t bytes)
{
    return munmap((void *)(uintptr_t)at, bytes) ? 1 : 0;
}

static void add_window(CuPtr at, size_t bytes, Memory *memory)
{
    Window *w = malloc(sizeof *w);
    pthread_rwlock_wrlock(&panes);
    *w = (Window){.next = windows, .at = at, .bytes = bytes, .memory = memory};
    windows = w;
    memory->users++;
    pthread_rwlock_unlock(&panes);
}

/* Nobody reaches it before he is let.  Of a handle that was released the
 * driver says nothing: it may be that of other memory. */
CuResult cuMemMap(CuPtr at, size_t bytes, size_t offset, CuMemory memory,
                  unsigned long long flags)
{
    Memory *m = (Memory *)(uintptr_t)memory;
    BEGIN();
    pthread_mutex_lock(&list);
    if (m->file < 0) {
        fprintf(stderr, "fake driver: memory is mapped that was released\n");
        abort();
    }
    void *p = mmap((void *)(uintptr_t)at, bytes, PROT_NONE,
                   MAP_SHARED | MAP_FIXED, m->file, (off_t)offset);
    add_window(at, bytes, m);
    pthread_mutex_unlock(&list);
    return flags || offset || p == MAP_FAILED ? 1 : 0;
}

/* It waits for nothing, unlike cuMemFree: what streams have yet to do with that
 * memory dies of it. */
CuResult cuMemUnmap(CuPtr at, size_t bytes)
{
    pthread_rwlock_wrlock(&panes);
    Window **place = window_at(at), *w = *place;
    *place = w->next;
    leave_memory(w->memory);
    pthread_rwlock_unlock(&panes);
    free(w);
    return map_none(at, &at, bytes);
}

CuResult cuMemSetAccess(CuPtr at, size_t bytes, const CuMemoryAccess *access,
                        size_t n)
{
    BEGIN();
    bool all = access->flags == CU_access_read_write;
    pthread_rwlock_wrlock(&panes);
    Window *w = *window_at(at);
    w->open = all;
    w->gpu = access->place.id;
    bool others = w->memory->gpu != w->gpu;
    pthread_rwlock_unlock(&panes);
    if (others) fake_run_beside();
    return n != 1 || access->place.type != CU_place_device ||
           mprotect((void *)(uintptr_t)at, bytes,
                    all ? PROT_READ | PROT_WRITE : PROT_NONE);
}

CuResult cuMemAlloc(CuPtr *at, size_t bytes)
{
    static size_t largest;
    BEGIN();
    *at = getenv("FAKE_GPUS") || fake_runs_ptx()
              ? new_memory(bytes, true)->at
              : (CuPtr)(uintptr_t)aligned_alloc(256, (bytes + 255) / 256 * 256);
    add_place(*at, bytes, fake_gpu());
    if (FAKE_COUNT(fake_device()->allocations, 1) == 0 &&
        fake_device()->count == 1)
        largest = 0;
    if (fake_device()->count == 1 && bytes >= largest &&
        bytes != (size_t)64 << 20) {
        fake_device()->arena = *at;
        fake_device()->arena_bytes = bytes;
        largest = bytes;
    }
    return 0;
}

CuResult cuMemFree(CuPtr at)
{
    fake_finish();
    FAKE_COUNT(fake_device()->allocations, -1);
    drop_place(at);
    if (!free_shared(at)) free((void *)(uintptr_t)at);
    return 0;
}

CuResult cuMemHostAlloc(void **at, size_t bytes, unsigned flags)
{
    (void)flags;
    BEGIN();
    FAKE_COUNT(fake_device()->allocations, 1);
    *at = calloc(1, bytes);
    add_place((CuPtr)(uintptr_t)*at, bytes, -1);
    return 0;
}

CuResult cuMemFreeHost(void *at)
{
    fake_finish();
    FAKE_COUNT(fake_device()->allocations, -1);
    drop_place((CuPtr)(uintptr_t)at);
    free(at);
    return 0;
}

CuResult cuMemHostRegister(void *at, size_t bytes, unsigned flags)
{
    BEGIN();
    (void)flags;
    if ((uintptr_t)at % 4096 || bytes % 4096) return 1;
    FAKE_COUNT(fake_device()->allocations, 1);
    if (fake_device()->count == 1 && bytes > fake_device()->pinned_bytes)
        fake_device()->pinned_bytes = bytes;
    add_place((CuPtr)(uintptr_t)at, bytes, -1);
    return 0;
}

CuResult cuMemHostUnregister(void *at)
{
    fake_finish();
    drop_place((CuPtr)(uintptr_t)at);
    FAKE_COUNT(fake_device()->allocations, -1);
    return 0;
}

long long fake_place(CuPtr at)
{
    return (long long)(at - fake_device()->arena);
}

typedef struct Copy {
    char *to;
    const char *from;
    size_t n;
    char what;     /* in, out or on the device; of a fill: with this */
    uint32_t word; /* or, if it is not 0, with this */
} Copy;

/* Of a copy from the host, or to it, one is no memory of the GPU. */
static void *host_of(const Copy *c, CuPtr at, bool from)
{
    bool device = c->what == 'd' || c->what == (from ? 'o' : 'i');
    return device ? fake_span(at, c->n, "a copy") : fake_host(at);
}

static void copy(const void *data)
{
    const Copy *c = data;
    if (c->what == 'd')
        fake_log("copy %zu: %lld %lld\n", c->n, fake_place((CuPtr)c->to),
                 fake_place((CuPtr)c->from));
    if (c->what == 'd') fake_spend(100);
    void *to = host_of(c, (CuPtr)c->to, false);
    const void *from = host_of(c, (CuPtr)c->from, true);
    if (to && from) memcpy(to, from, c->n);
}

CuResult cuMemcpyHtoDAsync(CuPtr to, const void *from, size_t bytes,
                           CuStream stream)
{
    BEGIN();
    Copy c = {
        .to = (char *)(uintptr_t)to, .from = from, .n = bytes, .what = 'i'};
    fake_work_of(FAKE_copy, stream, copy, &c, sizeof c);
    return 0;
}

CuResult cuMemcpyDtoHAsync(void *to, CuPtr from, size_t bytes, CuStream stream)
{
    BEGIN();
    Copy c = {.to = to,
              .from = (const char *)(uintptr_t)from,
              .n = bytes,
              .what = 'o'};
    fake_work_of(FAKE_copy, stream, copy, &c, sizeof c);
    return 0;
}

CuResult cuMemcpyAsync(CuPtr to, CuPtr from, size_t bytes, CuStream stream)
{
    BEGIN();
    Copy c = {.to = (char *)(uintptr_t)to,
              .from = (const char *)(uintptr_t)from,
              .n = bytes,
              .what = 'd'};
    fake_work_of(FAKE_copy, stream, copy, &c, sizeof c);
    fake_touch(stream, from, bytes, false);
    fake_touch(stream, to, bytes, true);
    return 0;
}

static void fill(const void *data)
{
    const Copy *c = data;
    if (c->to != (char *)(uintptr_t)fake_device()->arena || c->n < 4096)
        fake_log("zero %zu: %lld\n", c->n, fake_place((CuPtr)c->to));
    fake_spend(1000);
    void *to = fake_span((CuPtr)c->to, c->n, "a fill");
    if (!to) return;
    if (!c->word) memset(to, c->what, c->n);
    for (size_t i = 0; c->word && i < c->n; i += 4)
        fake_put((CuPtr)c->to + i, c->word);
}

static void fill_on(CuStream stream, const Copy *c)
{
    if (fake_is_free(stream))
        fill(c);
    else
        fake_work_of(FAKE_fill, stream, fill, c, sizeof *c);
    fake_touch(stream, (CuPtr)c->to, c->n, true);
}

CuResult cuMemsetD8Async(CuPtr to, unsigned char value, size_t n,
                         CuStream stream)
{
    BEGIN();
    fill_on(stream,
            &(Copy){.to = (char *)(uintptr_t)to, .n = n, .what = (char)value});
    return 0;
}

CuResult cuMemsetD32Async(CuPtr to, unsigned value, size_t n, CuStream stream)
{
    BEGIN();
    if (value) fake_leave();
    fill_on(stream,
            &(Copy){.to = (char *)(uintptr_t)to, .n = 4 * n, .word = value});
    return 0;
}
