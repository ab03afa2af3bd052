/*
 * cuda_pin.c: memory of the host that the GPU reaches.
 *
 * The driver's own allocation clears pages one by one, 2 GiB in a second.  Here
 * several threads touch pages, huge ones where the system has them, and the
 * driver is told of them then: 20 GiB in a second.  Under unified addressing
 * both sides have one address for them.
 */
#include "cuda_device.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MOST_THREADS = 16, LEAST_PIECE = 64 << 20 };

typedef struct Piece {
    char *at;
    size_t bytes;
    pthread_t thread;
} Piece;

static void *touch(void *piece)
{
    const Piece *p = piece;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t i = 0; i < p->bytes; i += page)
        ((volatile char *)p->at)[i] = 0;
    return NULL;
}

/* A thread that does not start leaves its piece to the driver. */
static void touch_all(char *at, size_t bytes)
{
    Piece pieces[MOST_THREADS];
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned n = 0, most = online > MOST_THREADS ? MOST_THREADS
                           : online > 1          ? (unsigned)online
                                                 : 1;
    size_t each = bytes / most & -(size_t)LEAST_PIECE;
    if (each == 0) return;
    for (; n < most; n++) {
        Piece *p = &pieces[n];
        p->at = at + n * each;
        p->bytes = n + 1 < most ? each : bytes - n * each;
        if (pthread_create(&p->thread, NULL, touch, p) != 0) break;
    }
    while (n-- > 0)
        pthread_join(pieces[n].thread, NULL);
}

TitanStatus cuda_pin(Cuda *c, size_t bytes, char **out)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    bytes = (bytes + page - 1) / page * page;
    char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return titan_fail(c->story, TITAN_UNAVAILABLE,
                          "could not map %zu bytes of the host: %s", bytes,
                          strerror(errno));
    madvise(at, bytes, MADV_HUGEPAGE);
    touch_all(at, bytes);
    CuResult r = c->cu.cuMemHostRegister(at, bytes, 0);
    if (r != 0) {
        munmap(at, bytes);
        return cu_fail(c->story, &c->cu, "cuMemHostRegister", r);
    }
    *out = at;
    return TITAN_OK;
}

void cuda_unpin(Cuda *c, char *at, size_t bytes)
{
    c->cu.cuMemHostUnregister(at);
    munmap(at, bytes);
}
