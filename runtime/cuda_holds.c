/*
 * cuda_holds.c: memory of a GPU that another process has open is not freed.
 *
 * What becomes of the others' accesses, and of their later closing, the driver
 * does not say.  Copy engines have it open (cuda_peers.c), and so has NCCL
 * where it knows the arena.  So each rank has a file without a name, of which
 * every rank of its machine that may open its memory has a lock, until it has
 * closed it; who frees waits until he has the file to himself.  A process that
 * ends loses its locks, whatever it dies of, and all close what they have open
 * before they wait, so nobody waits in a circle.
 *
 * Where a rank does not close in time the memory is left as it is, to be gone
 * with the process.  Threads of one process need none of this: what one of them
 * maps stays as long as it does.
 */
#include "cuda_device.h"

#include "boot.h"
#include "clock.h"
#include "transport.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Seconds that are waited for others: who end as they were told, or because the
 * run has ended, which they may not see. */
enum { GIVES_UP = 30, GIVES_UP_LOST = 1 };

struct CudaHolds {
    int mine;    /* -1: there is none */
    int *theirs; /* of each rank, locked; -1: none */
};

/* Where a rank's file is. */
typedef struct Card {
    BootName boot;
    int pid, file;
    ino_t number;
} Card;

static Card card_of(const CudaHolds *h)
{
    struct stat st;
    Card card = {.boot = boot_name(), .pid = (int)getpid(), .file = h->mine};
    if (h->mine < 0 || fstat(h->mine, &st) != 0) card.file = -1;
    if (card.file >= 0) card.number = st.st_ino;
    return card;
}

/* -1: it is not on this machine, or frees already. */
static int take_hold(const Card *mine, const Card *theirs)
{
    char path[64];
    struct stat st;
    if (theirs->file < 0 || theirs->pid == mine->pid ||
        !boot_is_same(&mine->boot, &theirs->boot))
        return -1;
    snprintf(path, sizeof path, "/proc/%d/fd/%d", theirs->pid, theirs->file);
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0) return -1;
    if (fstat(file, &st) == 0 && st.st_ino == theirs->number &&
        flock(file, LOCK_SH | LOCK_NB) == 0)
        return file;
    close(file);
    return -1;
}

static TitanStatus hold_group(Cuda *c, uint32_t group, Card *cards)
{
    CudaHolds *h = c->holds;
    Card mine = card_of(h);
    TRY(cuda_ranks_share(c, group, &mine, sizeof mine, cards));
    for (uint32_t i = 0; i < ranks_in_group(c->im, group); i++) {
        uint32_t rank = rank_of_member(c->im, group, c->rank.rank, i);
        if (rank != c->rank.rank && h->theirs[rank] < 0)
            h->theirs[rank] = take_hold(&mine, &cards[i]);
    }
    return TITAN_OK;
}

TitanStatus cuda_holds_open(Cuda *c)
{
    if (c->rank.threads) return TITAN_OK;
    CudaHolds *h = c->holds = calloc(1, sizeof *h);
    if (!h) return titan_no_memory(c->story);
    h->mine = memfd_create("titan-hold", MFD_CLOEXEC);
    h->theirs = malloc(c->im->header->ranks * sizeof *h->theirs);
    if (!h->theirs) return titan_no_memory(c->story);
    for (uint32_t r = 0; r < c->im->header->ranks; r++)
        h->theirs[r] = -1;
    Card *cards = calloc(ranks_most_members(c->im), sizeof *cards);
    if (!cards) return titan_no_memory(c->story);
    TitanStatus st = TITAN_OK;
    for (uint32_t g = 0; g < c->im->ngroups && st == TITAN_OK; g++)
        if (ranks_in_group(c->im, g) > 1) st = hold_group(c, g, cards);
    free(cards);
    return st;
}

bool cuda_holds(const Cuda *c, uint32_t rank)
{
    return c->rank.threads || c->holds->theirs[rank] >= 0;
}

/* This rank has failed, or another one is lost. */
static bool has_ended(const Cuda *c)
{
    Transport *t = c->rank.transport;
    TitanStory first = *c->story;
    bool lost = first.n > 0 || t->class->look(t) != TITAN_OK;
    *c->story = first;
    return lost;
}

static bool is_alone(const Cuda *c, int file)
{
    const struct timespec nap = {0, 1000000};
    double begin = seconds_now();
    while (flock(file, LOCK_EX | LOCK_NB) != 0) {
        int patience = has_ended(c) ? GIVES_UP_LOST : GIVES_UP;
        if (seconds_now() - begin > patience) return false;
        nanosleep(&nap, NULL);
    }
    return true;
}

void cuda_holds_close(Cuda *c)
{
    CudaHolds *h = c->holds;
    if (!h) return;
    for (uint32_t r = 0; h->theirs && r < c->im->header->ranks; r++)
        if (h->theirs[r] >= 0) close(h->theirs[r]);
    c->stays = h->mine >= 0 && !is_alone(c, h->mine);
    if (h->mine >= 0) close(h->mine);
    free(h->theirs);
    free(h);
    c->holds = NULL;
}
