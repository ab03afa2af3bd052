/*
 * mpi.c: Open MPI as a link, opened at run time, with declarations of our own.
 *
 * Who waits sleeps in between, since several ranks may share a processor.  Who
 * is lost, the launcher finds, and ends the job; a process that never asks for
 * Open MPI it does not find, and the others wait for that inside the library.
 */
#include "link.h"
#include "words.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

typedef struct MpiCommRow *MpiComm;
typedef struct MpiTypeRow *MpiType;
typedef LinkRequest MpiRequest;

typedef struct Mpi {
    Link link; /* first */
    void *library;
    MpiComm world;
    MpiType byte;
#define MPI(name, ...) int (*name)(__VA_ARGS__);
#include "mpi.def"
#undef MPI
} Mpi;

enum { MOST = 1 << 30, NAP_NS = 20000, THREAD_FUNNELED = 1 };

bool mpi_is_there(void)
{
    return getenv("OMPI_COMM_WORLD_SIZE") != NULL;
}

void mpi_told(const char **rank, const char **ranks)
{
    *rank = "OMPI_COMM_WORLD_RANK";
    *ranks = "OMPI_COMM_WORLD_SIZE";
}

/* --------------------------------------------------------------- library -- */

static bool symbol(void *library, const char *name, void *out)
{
    *(void **)out = dlsym(library, name);
    return *(void **)out != NULL;
}

/* The first symbol that the library does not have, or NULL. */
static const char *find_all(Mpi *m)
{
#define MPI(name, ...) \
    if (!symbol(m->library, #name, &m->name)) return #name;
#include "mpi.def"
#undef MPI
    if (!symbol(m->library, "ompi_mpi_comm_world", &m->world))
        return "ompi_mpi_comm_world";
    if (!symbol(m->library, "ompi_mpi_byte", &m->byte)) return "ompi_mpi_byte";
    return NULL;
}

/* Its own modules look for its symbols among the global ones. */
static TitanStatus find_library(TitanStory *s, Mpi *m)
{
    static const char *const names[] = {"libmpi.so.40", "libmpi.so"};
    for (unsigned i = 0; i < 2 && !m->library; i++)
        m->library = dlopen(names[i], RTLD_NOW | RTLD_GLOBAL);
    if (!m->library)
        return titan_fail(s, TITAN_UNAVAILABLE,
                          "could not open Open MPI (libmpi.so.40), which ranks "
                          "under mpirun need; install libopenmpi3, or use "
                          "--nproc on one machine");
    const char *missing = find_all(m);
    if (!missing) return TITAN_OK;
    return titan_fail(s, TITAN_UNAVAILABLE,
                      "libmpi has no %s; Open MPI 4 or 5 is needed", missing);
}

static uint32_t number_of(const char *name, uint32_t otherwise)
{
    const char *text = getenv(name);
    return text ? (uint32_t)atoi(text) : otherwise;
}

/* Beside MPI_Init, which says nothing while it waits. */
typedef struct Waiting {
    double patience;
    atomic_bool over;
} Waiting;

static void say_waits(uint32_t rank, double left)
{
    if (left == 0 || rank > 0) return;
    fprintf(stderr,
            "note: not all of the ranks that mpirun has started have come yet; "
            "waiting %.0f s more\n",
            left);
}

static void *wait_for_others(void *user)
{
    Waiting *w = user;
    const struct timespec nap = {0, DOOR_MS * 1000000};
    Patience p = patience_of(w->patience);
    uint32_t rank = number_of("OMPI_COMM_WORLD_RANK", 0);
    while (!atomic_load(&w->over) && seconds_now() < p.end) {
        say_waits(rank, patience_says(&p));
        nanosleep(&nap, NULL);
    }
    if (atomic_load(&w->over)) return NULL;
    fprintf(stderr,
            "titan: error: rank %" PRIu32 " has waited %.0f s for the others "
            "to begin; --join-timeout waits longer\n",
            rank, w->patience);
    _exit(TITAN_RANK_LOST);
}

/* Its threads leave signals to the one of ours that waits for them. */
static bool init(Mpi *m, double patience)
{
    int provided;
    pthread_t thread;
    sigset_t all, before;
    Waiting w = {.patience = patience};
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool waits = pthread_create(&thread, NULL, wait_for_others, &w) == 0;
    int error = m->MPI_Init_thread(NULL, NULL, THREAD_FUNNELED, &provided);
    atomic_store(&w.over, true);
    if (waits) pthread_join(thread, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error == 0;
}

static TitanStatus join(TitanStory *s, Mpi *m, double patience)
{
    int rank = 0, ranks = 0;
    if (!init(m, patience) || m->MPI_Comm_rank(m->world, &rank) != 0 ||
        m->MPI_Comm_size(m->world, &ranks) != 0)
        return titan_fail(s, TITAN_UNAVAILABLE, "Open MPI could not start");
    m->link.rank = (uint32_t)rank;
    m->link.ranks = (uint32_t)ranks;
    m->link.local = number_of("OMPI_COMM_WORLD_LOCAL_RANK", 0);
    m->link.beside = number_of("OMPI_COMM_WORLD_LOCAL_SIZE", 1);
    m->link.most = MOST; /* the library counts bytes in an int */
    return TITAN_OK;
}

/* -------------------------------------------------------------- messages -- */

static int post(const Mpi *m, const Letter *x, LinkRequest *out)
{
    int to = (int)x->rank, n = (int)x->bytes;
    switch (x->way) {
    case LINK_send:
        return m->MPI_Isend(x->at, n, m->byte, to, x->tag, m->world, out);
    case LINK_meet:
        return m->MPI_Issend(x->at, n, m->byte, to, x->tag, m->world, out);
    case LINK_receive:
        return m->MPI_Irecv(x->at, n, m->byte, to, x->tag, m->world, out);
    }
    return 0;
}

static TitanStatus mpi_begin(Link *l, TitanStory *s, const Letter *x,
                             LinkRequest *out)
{
    if (post((Mpi *)l, x, out) == 0) return TITAN_OK;
    return titan_fail(s, TITAN_RANK_LOST,
                      "Open MPI could not reach rank %" PRIu32, x->rank);
}

/* All make progress while one is looked at. */
static TitanStatus mpi_test(Link *l, TitanStory *s, LinkRequest *r,
                            bool patient, bool *gone)
{
    const struct timespec nap = {0, NAP_NS};
    int done = 0;
    (void)s;
    *gone = ((Mpi *)l)->MPI_Test(r, &done, NULL) != 0 || done;
    if (!*gone && patient) nanosleep(&nap, NULL);
    return TITAN_OK;
}

static TitanStatus mpi_look(Link *l, TitanStory *s)
{
    (void)l, (void)s;
    return TITAN_OK;
}

static void mpi_abort(Link *l, TitanStatus status)
{
    Mpi *m = (Mpi *)l;
    m->MPI_Abort(m->world, (int)status);
}

static void mpi_close(Link *l)
{
    ((Mpi *)l)->MPI_Finalize();
    free(l);
}

static const LinkClass mpi_class = {.about = "under mpirun",
                                    .who = "mpirun has started",
                                    .begin = mpi_begin,
                                    .test = mpi_test,
                                    .look = mpi_look,
                                    .line = link_line,
                                    .abort = mpi_abort,
                                    .close = mpi_close};

/* Of what has not started, nothing can be ended. */
TitanStatus mpi_open(TitanStory *s, double patience, Link **out)
{
    Mpi *m = calloc(1, sizeof *m);
    if (!m) return titan_no_memory(s);
    m->link.class = &mpi_class;
    TitanStatus st = find_library(s, m);
    if (st == TITAN_OK) st = join(s, m, patience);
    if (st == TITAN_OK)
        *out = &m->link;
    else
        free(m);
    return st;
}
