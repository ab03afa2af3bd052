/*
 * board.c: what each rank of this machine is doing.
 *
 * A wait spins for a moment, since most are short, and then sleeps on the word
 * itself, which works between threads and between processes alike.  It wakes
 * twenty times a second to see whether somebody has ended the run.
 */
#include "board.h"

#include "work.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SPINS = 200, NAP_NS = 50 * 1000000 };

void *board_memory(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static size_t bytes_for(uint32_t ranks)
{
    return sizeof(Board) + ranks * sizeof(BoardRow);
}

static Board *map(int fd, size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return at == MAP_FAILED ? NULL : at;
}

/* A file that has no name, for processes that were started apart. */
static Board *map_file(size_t bytes, int *fd)
{
    *fd = memfd_create("titan-board", MFD_CLOEXEC);
    if (*fd < 0) return NULL;
    Board *b = ftruncate(*fd, (off_t)bytes) == 0 ? map(*fd, bytes) : NULL;
    if (b) return b;
    close(*fd);
    *fd = -1;
    return NULL;
}

Board *board_new(uint32_t ranks)
{
    int fd;
    size_t bytes = bytes_for(ranks);
    Board *b = map_file(bytes, &fd);
    if (!b) b = board_memory(bytes);
    if (!b) return NULL;
    b->bytes = bytes;
    b->ranks = ranks;
    b->pid = getpid();
    b->fd = fd;
    return b;
}

Board *board_join(int pid, int fd, uint32_t ranks)
{
    char path[64];
    struct stat st;
    size_t bytes = bytes_for(ranks);
    if (fd < 0) return NULL;
    snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, fd);
    int here = open(path, O_RDWR | O_CLOEXEC);
    if (here < 0) return NULL;
    bool whole = fstat(here, &st) == 0 && st.st_size == (off_t)bytes;
    Board *b = whole ? map(here, bytes) : NULL;
    close(here);
    if (!b || (b->bytes == bytes && b->ranks == ranks)) return b;
    munmap(b, bytes);
    return NULL;
}

void board_free(Board *b)
{
    if (!b) return;
    if (b->fd >= 0 && b->pid == getpid()) close(b->fd);
    munmap(b, b->bytes);
}

static void sleep_on(_Atomic uint32_t *word, uint32_t value)
{
    const struct timespec nap = {0, NAP_NS};
    syscall(SYS_futex, word, FUTEX_WAIT, value, &nap, NULL, 0);
}

static void wake(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

void board_count(_Atomic uint32_t *word)
{
    atomic_fetch_add(word, 1);
    wake(word);
}

static bool has_come(_Atomic uint32_t *word, uint32_t least, uint32_t *value)
{
    *value = atomic_load_explicit(word, memory_order_acquire);
    return (int32_t)(*value - least) >= 0;
}

static bool sleep_until(const BoardWait *w, _Atomic uint32_t *word,
                        uint32_t least)
{
    uint32_t value;
    while (!has_come(word, least, &value)) {
        if (atomic_load(&w->board->ended)) return false;
        if (w->look) w->look(w->user);
        sleep_on(word, value);
    }
    return true;
}

bool board_until(const BoardWait *w, _Atomic uint32_t *word, uint32_t least,
                 uint32_t peer)
{
    uint32_t value;
    for (int i = 0; i < SPINS; i++)
        if (has_come(word, least, &value)) return true;
    _Atomic uint32_t *waits = &w->board->rows[w->rank].waits;
    uint32_t before = atomic_exchange(waits, peer + 1);
    bool came = sleep_until(w, word, least);
    atomic_store(waits, before);
    return came;
}

void board_end(Board *b, uint32_t rank)
{
    uint32_t nobody = 0;
    atomic_compare_exchange_strong(&b->ended, &nobody, rank + 1);
}

static void put_kind(const TitanImage *im, const TitanCommand *c, char *out,
                     size_t size)
{
    switch ((TitanCommandKind)c->kind) {
    case TITAN_COMMAND_kernel:
        snprintf(out, size, "kernel \"%s\"",
                 titan_string(im, im->kernels[c->index].name));
        return;
    case TITAN_COMMAND_collective: {
        const TitanCollective *x = &im->collectives[c->index];
        int n = snprintf(out, size, "%s over (%s)", collective_name(x->kind),
                         titan_string(im, im->groups[x->group].name));
        if (collective_is_message(x->kind) && (size_t)n < size)
            snprintf(out + n, size - (size_t)n,
                     ", peer %" PRIu32 ", channel %" PRIu32, x->peer,
                     x->channel);
        return;
    }
    case TITAN_COMMAND_gemm:
    case TITAN_COMMAND_copy:
    case TITAN_COMMAND_zero:
    case TITAN_COMMAND_signal:
    case TITAN_COMMAND_wait:
        snprintf(out, size, "%s", command_kind_words(c->kind));
        return;
    }
}

void command_words(const TitanImage *im, uint32_t number, char *out,
                   size_t size)
{
    out[0] = 0;
    if (number == 0 || number > im->ncommands) return;
    const TitanCommand *c = &im->commands[number - 1];
    put_kind(im, c, out, size);
    size_t n = strlen(out);
    if (c->line)
        snprintf(out + n, size - n, ", %s:%" PRIu32, titan_string(im, c->file),
                 c->line);
}
