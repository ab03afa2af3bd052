/*
 * fetch.c: how the process of rank 0 reads what another has staged.
 *
 * Who asks looks up now and then whether the run has ended, since one that is
 * stopped closes no connection.
 */
#include "fetch.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LOOK_MS = 100 };

/* --------------------------------------------------------------- sockets -- */

/* False: the other end has gone, or ENDED (NULL: nobody says so). */
static bool is_ready(int fd, short what, const atomic_bool *ended)
{
    struct pollfd p = {.fd = fd, .events = what};
    for (;;) {
        if (ended && atomic_load(ended)) return false;
        int n = poll(&p, 1, ended ? LOOK_MS : -1);
        if (n > 0) return true;
        if (n < 0 && errno != EINTR) return false;
    }
}

static bool put(int fd, const void *at, size_t n, const atomic_bool *ended)
{
    const char *from = at;
    while (n > 0) {
        if (!is_ready(fd, POLLOUT, ended)) return false;
        ssize_t some = send(fd, from, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (some < 0 && (errno == EAGAIN || errno == EINTR)) continue;
        if (some <= 0) return false;
        from += some;
        n -= (size_t)some;
    }
    return true;
}

static bool get(int fd, void *at, size_t n, const atomic_bool *ended)
{
    char *to = at;
    while (n > 0) {
        if (!is_ready(fd, POLLIN, ended)) return false;
        ssize_t some = recv(fd, to, n, MSG_DONTWAIT);
        if (some < 0 && (errno == EAGAIN || errno == EINTR)) continue;
        if (some <= 0) return false;
        to += some;
        n -= (size_t)some;
    }
    return true;
}

/* ---------------------------------------------------------------- rank 0 -- */

/* False: the rank has gone.  STATUS: what it says; of a failure S has why. */
static bool pass_crate(TitanStory *s, const FetchLine *line, uint32_t *status)
{
    Crate *c = line->crate;
    uint64_t n = c->n;
    bool told = put(line->fd, &n, sizeof n, line->ended) &&
                put(line->fd, c->runs, c->n * sizeof *c->runs, line->ended) &&
                get(line->fd, status, sizeof *status, line->ended);
    if (!told || *status == TITAN_OK)
        return told && get(line->fd, c->at, c->bytes, line->ended);
    if (!get(line->fd, s, sizeof *s, line->ended)) return false;
    titan_story_mend(s);
    return true;
}

TitanStatus fetch_read(TitanStory *s, FetchLine *line, const Order *o)
{
    for (CrateWalk w = {0}; crate_fill(line->crate, o, &w);) {
        uint32_t status;
        if (!pass_crate(s, line, &status))
            return titan_fail(s, TITAN_RANK_LOST,
                              "rank %" PRIu32 " was lost while what it had "
                              "staged was read",
                              line->rank);
        if (status != TITAN_OK)
            return titan_while(s, (TitanStatus)status,
                               "reading what rank %" PRIu32 " has staged",
                               line->rank);
        crate_unpack(line->crate, o);
    }
    return TITAN_OK;
}

void fetch_hang_up(FetchLine *line)
{
    if (line->fd >= 0) close(line->fd);
    free(line->crate);
    line->fd = -1;
    line->crate = NULL;
}

/* ------------------------------------------------------------- the others --
 */

/* Bytes of the staged base, which is all that a rank has. */
static TitanStatus fill(TitanStory *s, const FetchServer *f)
{
    uint32_t rank = f->device->rank;
    uint64_t room = stage_of(f->im, rank)->base_bytes[TITAN_BASE_persistent];
    Crate *c = f->crate;
    TitanDevice *copy;
    TRY(device_staged(f->device, s, &copy));
    for (size_t i = 0; i < c->n; i++) {
        const PartRun *r = &c->runs[i];
        if (r->own > room || r->bytes > room - r->own)
            return titan_fail(s, TITAN_INTERNAL,
                              "%" PRIu64 " bytes at %" PRIu64 " were asked for,"
                              " and rank %" PRIu32 " has %" PRIu64,
                              r->bytes, r->own, rank, room);
        memcpy(c->at + r->whole, copy->arena[TITAN_BASE_persistent] + r->own,
               r->bytes);
    }
    return TITAN_OK;
}

/* False: nobody asks any more. */
static bool answer(const FetchServer *f)
{
    Crate *c = f->crate;
    TitanStory story = {0};
    uint64_t n;
    if (!get(f->fd, &n, sizeof n, NULL) || n > CRATE_RUNS) return false;
    if (!get(f->fd, c->runs, (size_t)n * sizeof *c->runs, NULL)) return false;
    c->n = (size_t)n;
    if (crate_close(c) != n) return false;
    uint32_t status = fill(&story, f);
    if (!put(f->fd, &status, sizeof status, NULL)) return false;
    return status == TITAN_OK ? put(f->fd, c->at, c->bytes, NULL)
                              : put(f->fd, &story, sizeof story, NULL);
}

static void *serve(void *server)
{
    const FetchServer *f = server;
    pthread_setname_np(pthread_self(), "fetch");
    while (answer(f))
        ;
    shutdown(f->fd, SHUT_RDWR);
    return NULL;
}

static void release(FetchServer *f)
{
    close(f->fd);
    free(f->crate);
    *f = (FetchServer){0};
}

bool fetch_serve(FetchServer *f, int fd, const TitanImage *im, TitanDevice *d)
{
    sigset_t all, before;
    *f = (FetchServer){.fd = fd, .im = im, .device = d};
    f->crate = malloc(sizeof *f->crate);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    f->runs = f->crate && pthread_create(&f->thread, NULL, serve, f) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!f->runs) release(f);
    return f->runs;
}

void fetch_close(FetchServer *f)
{
    if (!f->runs) return;
    shutdown(f->fd, SHUT_RDWR);
    pthread_join(f->thread, NULL);
    release(f);
}
