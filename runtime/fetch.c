/*
 * fetch.c: how the process of rank 0 reads what another has staged.
 *
 * Who asks looks up now and then whether the run has ended, since one that is
 * stopped closes no connection.
 */
#include "fetch.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "words.h"

/* ---------------------------------------------------------------- rank 0 -- */

/* False: the rank has gone.  STATUS: what it says; of a failure S has why. */
static bool pass_crate(TitanStory *s, const FetchLine *line, uint32_t *status)
{
    Crate *c = line->crate;
    const Until u = {.ended = line->ended};
    uint64_t n = c->n;
    bool told = fd_put(line->fd, &n, sizeof n, u) &&
                fd_put(line->fd, c->runs, c->n * sizeof *c->runs, u) &&
                fd_get(line->fd, status, sizeof *status, u);
    if (!told || *status == TITAN_OK)
        return told && fd_get(line->fd, c->at, c->bytes, u);
    if (!fd_get(line->fd, s, sizeof *s, u)) return false;
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
            return titan_while(s, answer_status(status),
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

/* ------------------------------------------------------------ the others -- */

/* Bytes of the staged base, which is all that a rank has. */
static TitanStatus read_staged(TitanStory *s, const FetchServer *f)
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
    const Until ever = {0};
    uint64_t n;
    if (!fd_get(f->fd, &n, sizeof n, ever) || n > CRATE_RUNS) return false;
    if (!fd_get(f->fd, c->runs, (size_t)n * sizeof *c->runs, ever))
        return false;
    c->n = (size_t)n;
    if (crate_close(c) != n) return false;
    uint32_t status = read_staged(&story, f);
    if (!fd_put(f->fd, &status, sizeof status, ever)) return false;
    return status == TITAN_OK ? fd_put(f->fd, c->at, c->bytes, ever)
                              : fd_put(f->fd, &story, sizeof story, ever);
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
