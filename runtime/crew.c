/*
 * crew.c: the ranks of this machine: threads of this process, or processes.
 *
 * Both are the same but for how they are started: the arenas of host ranks lie
 * in memory that is shared with what is forked, at the same address, and orders
 * and stories on the board.  What processes have on GPUs goes through a crate.
 * A rank that fails ends the run for all and leaves its story; a process that
 * vanishes is missed by rank 0, which looks whenever it waits.
 */
#include "crew.h"

#include "fetch.h"
#include "leave.h"
#include "pool.h"
#include "transport.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096 };

typedef struct Local Local;

typedef struct Member {
    Local *crew;
    TitanRank rank;
    TitanDevice *device; /* of a process: in that process alone */
    pthread_t thread;
    bool started;
    atomic_bool served; /* a thread has done all it was told */
    int socket;     /* of a process with a GPU, in that process: to rank 0 */
    FetchLine line; /* the other end */
    FetchServer server;
    DeviceGuard guard; /* of rank 0 */
} Member;

struct Local {
    Crew crew; /* first */
    const TitanCode *code;
    DeviceOptions options;
    Board *board;
    bool own_board;
    Hall *hall;
    Order *orders;      /* of each rank, shared */
    char *arenas;       /* shared; of GPUs, a page each for what others read */
    size_t arena_bytes; /* of each, as of the largest */
    Crate *crate;       /* shared; NULL: rank 0 reaches what the others have */
    Member *members;
    atomic_bool closing; /* all are told to end */
    atomic_bool apart;   /* no thread reaches into what another has */
    atomic_bool ended;
    TitanStatus status;    /* of what ended the run */
    Leave *leave;          /* of GPUs */
    pthread_mutex_t looks; /* of these two */
    uint32_t lost;         /* 1 + the rank that vanished */
    char fate[64];
};

static size_t orders_bytes(const Local *l)
{
    return l->crew.ranks * sizeof *l->orders;
}

static bool is_host(const Local *l)
{
    return l->crew.im->header->target == TITAN_TARGET_host;
}

/* ------------------------------------------------------- those who serve -- */

static TitanStory *story_of(const Member *m)
{
    uint32_t r = m->rank.rank;
    return r ? &m->crew->board->rows[r].story : m->crew->crew.story;
}

static TitanStatus open_member(Member *m, const BoardWait *w)
{
    Local *l = m->crew;
    DeviceOptions o = l->options;
    TitanStory *s = story_of(m);
    TRY(hall_transport(s, l->hall, w, &m->rank.transport));
    o.rank = &m->rank;
    o.board = l->board;
    o.guard = &m->guard;
    o.command = &l->board->rows[m->rank.rank].command;
    TRY(device_new(s, l->crew.im, l->code, &o, &m->device));
    if (m->rank.rank == 0) l->crew.first = m->device;
    return TITAN_OK;
}

static void close_member(Member *m)
{
    device_free(m->device);
    if (m->rank.transport) m->rank.transport->class->free(m->rank.transport);
    m->device = NULL;
    m->rank.transport = NULL;
}

/* What became of an order. */
static void report(const Member *m, TitanStatus st)
{
    Board *b = m->crew->board;
    uint32_t r = m->rank.rank;
    b->rows[r].status = st;
    if (st != TITAN_OK) board_end(b, r);
    board_count(&b->rows[r].over);
}

/* What this rank will stage is at hand for rank 0. */
static bool let_fetch(Member *m)
{
    const Local *l = m->crew;
    if (!l->options.processes || m->server.runs) return true;
    int fd = m->socket;
    m->socket = -1;
    return fd >= 0 && fetch_serve(&m->server, fd, l->crew.im, m->device);
}

/* True: it was told to end. */
static bool serve(Member *m)
{
    Local *l = m->crew;
    uint32_t r = m->rank.rank, told = 0;
    BoardWait w = {.board = l->board, .rank = r};
    TitanStatus st = open_member(m, &w);
    report(m, st);
    while (st == TITAN_OK &&
           board_until(&w, &l->board->rows[r].told, ++told, 0)) {
        Order *o = &l->orders[r];
        if (o->kind == ORDER_end) return true;
        st = order_run(l->crew.im, m->device, o);
        bool stages = st == TITAN_OK && o->kind == ORDER_stage_open && o->at;
        if (stages && !let_fetch(m)) o->at = NULL;
        report(m, st);
    }
    return false;
}

static void await(const atomic_bool *what)
{
    const struct timespec nap = {0, 1000000};
    while (!atomic_load(what))
        nanosleep(&nap, NULL);
}

/* A device is closed by the thread that made it, when nobody looks at it, nor
 * is about to open what it has. */
static void *serve_thread(void *user)
{
    Member *m = user;
    serve(m);
    atomic_store(&m->served, true);
    await(&m->crew->apart);
    close_member(m);
    return NULL;
}

/* To those that were started so far. */
static void hang_up(Local *l)
{
    for (uint32_t r = 1; r < l->crew.ranks; r++)
        fetch_hang_up(&l->members[r].line);
}

/* Between rank 0 and a process whose memory it does not see. */
static bool open_line(Member *m)
{
    int pair[2] = {-1, -1};
    Local *l = m->crew;
    if (is_host(l)) return true;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return false;
    m->socket = pair[1];
    m->line = (FetchLine){.fd = pair[0],
                          .rank = m->rank.rank,
                          .ended = &l->ended,
                          .crate = malloc(sizeof *m->line.crate)};
    return m->line.crate != NULL;
}

/* It ends with rank 0, whatever that dies of.  Others may have memory of its
 * GPU open, so it does not leave before it is closed; where the run has ended
 * it does. */
static void serve_process(Member *m, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    hang_up(m->crew);
    if (getppid() == parent && serve(m)) {
        fetch_close(&m->server);
        close_member(m);
    }
    _exit(0);
}

static TitanStatus start_process(Member *m)
{
    Local *l = m->crew;
    pid_t parent = getpid();
    fflush(NULL);
    pid_t pid = open_line(m) ? fork() : -1;
    if (pid == 0) serve_process(m, parent);
    if (m->socket >= 0) close(m->socket);
    if (pid < 0)
        return titan_fail(l->crew.story, TITAN_UNAVAILABLE,
                          "could not start a process for rank %" PRIu32 ": %s",
                          m->rank.rank, strerror(errno));
    atomic_store(&l->board->rows[m->rank.rank].pid, pid);
    return TITAN_OK;
}

/* Signals are for the thread that waits for them. */
static TitanStatus start_thread(Member *m)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&m->thread, NULL, serve_thread, m);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0) return TITAN_OK;
    return titan_fail(m->crew->crew.story, TITAN_UNAVAILABLE,
                      "could not start a thread for rank %" PRIu32 ": %s",
                      m->rank.rank, strerror(error));
}

/* -------------------------------------------------------- who tells them -- */

/* "was killed by signal 9 (Killed)" */
static void note_fate(Local *l, uint32_t rank, int status)
{
    l->lost = rank + 1;
    if (WIFSIGNALED(status))
        snprintf(l->fate, sizeof l->fate, "killed by signal %d (%s)",
                 WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(l->fate, sizeof l->fate, "ended with exit code %d",
                 WEXITSTATUS(status));
}

/* One that was not told to end has left because the run has ended. */
static bool has_left(const Local *l, int status)
{
    return atomic_load(&l->board->ended) && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

/* A process that has ended by itself has said why on the board. */
static void find_lost(Local *l)
{
    int status;
    if (atomic_load(&l->closing)) return; /* they end as they are told */
    for (uint32_t r = 1; r < l->crew.ranks; r++) {
        BoardRow *row = &l->board->rows[r];
        int pid = atomic_load(&row->pid);
        if (pid == 0 || waitpid(pid, &status, WNOHANG) != pid) continue;
        atomic_store(&row->pid, 0);
        if (row->status != TITAN_OK || l->lost || has_left(l, status)) continue;
        note_fate(l, r, status);
        board_end(l->board, r);
    }
}

static void look_for_lost(void *user)
{
    Local *l = user;
    pthread_mutex_lock(&l->looks);
    find_lost(l);
    pthread_mutex_unlock(&l->looks);
}

static TitanStatus say_lost(const Local *l, TitanStory *s)
{
    char where[256];
    uint32_t rank = l->lost - 1;
    command_words(l->crew.im, atomic_load(&l->board->rows[rank].command), where,
                  sizeof where);
    return titan_fail(s, TITAN_RANK_LOST,
                      "rank %" PRIu32 " of %" PRIu32 " was lost: %s%s%s", rank,
                      l->crew.ranks, l->fate, where[0] ? ", in " : "", where);
}

/* The story of the rank that ended the run; ST: of rank 0. */
static TitanStatus say_end(const Local *l, TitanStory *s, TitanStatus st)
{
    if (l->lost) return say_lost(l, s);
    uint32_t rank = atomic_load(&l->board->ended);
    if (rank == 0 || --rank == 0) return st;
    const BoardRow *row = &l->board->rows[rank];
    *s = row->story;
    return titan_while(s, row->status, "running rank %" PRIu32, rank);
}

static TitanStatus find_end(Local *l, TitanStory *s, TitanStatus st)
{
    pthread_mutex_lock(&l->looks);
    if (l->options.processes) find_lost(l);
    st = say_end(l, s, st);
    pthread_mutex_unlock(&l->looks);
    return st;
}

/* What has ended the run once ends all that comes behind it. */
static TitanStatus conclude(Local *l, TitanStatus st)
{
    TitanStatus end = find_end(l, l->crew.story, st);
    if (end != TITAN_OK) l->status = end;
    if (l->status != TITAN_OK) leave_soon(l->leave, l->crew.story, l->status);
    atomic_store(&l->ended, l->status != TITAN_OK);
    return l->status;
}

/* Rank 0 may be in a launch that waits for the one that is lost. */
static bool has_ended(void *user)
{
    Local *l = user;
    if (l->options.processes) look_for_lost(l);
    return atomic_load(&l->board->ended) != 0;
}

static TitanStatus why_ended(void *user, TitanStory *out)
{
    TitanStatus st = find_end(user, out, TITAN_OK);
    return st != TITAN_OK ? st
                          : titan_fail(out, TITAN_RANK_LOST,
                                       "rank 0 cannot go on, nor end");
}

/* It ends by itself, and of no kernel. */
static void end_guard(void *user)
{
    device_guard_end(&((Local *)user)->members[0].guard);
}

static BoardWait wait_of(Local *l)
{
    return (BoardWait){.board = l->board,
                       .look = l->options.processes ? look_for_lost : NULL,
                       .user = l};
}

static void tell(Local *l, uint32_t rank, const Order *o)
{
    l->orders[rank] = *o;
    board_count(&l->board->rows[rank].told);
}

/* Until RANK has done what it was told; the opening is the first it does. */
static bool is_over(Local *l, uint32_t rank)
{
    BoardWait w = wait_of(l);
    BoardRow *row = &l->board->rows[rank];
    return board_until(&w, &row->over, atomic_load(&row->told) + 1, rank);
}

static TitanStatus settle(Local *l, TitanStatus st)
{
    bool all = st == TITAN_OK;
    if (!all) board_end(l->board, 0);
    for (uint32_t r = 1; r < l->crew.ranks && all; r++)
        all = is_over(l, r);
    return all && !atomic_load(&l->board->ended) ? st : conclude(l, st);
}

static TitanStatus local_all(Crew *c, const Order *o)
{
    Local *l = (Local *)c;
    Order mine = *o;
    for (uint32_t r = 1; r < c->ranks; r++)
        tell(l, r, o);
    TitanStatus st = order_run(c->im, c->first, &mine);
    return settle(l, st);
}

/* The arenas of host ranks are at hand. */
static bool reaches(const Local *l, const Order *o)
{
    return is_host(l) && order_moves(o);
}

static void move_here(const Local *l, uint32_t rank, const Order *o)
{
    char *base = l->arenas + rank * l->arena_bytes +
                 stage_base_at(stage_of(l->crew.im, rank), o->base);
    for (size_t i = 0; i < o->nparts; i++) {
        const PartRun *r = &o->parts[i];
        if (o->kind == ORDER_write)
            memcpy(base + r->own, o->at + r->whole, r->bytes);
        else
            memcpy(o->at + r->whole, base + r->own, r->bytes);
    }
}

/* O is what the rank has made of it. */
static TitanStatus ask(Local *l, uint32_t rank, Order *o)
{
    if (rank == 0) {
        TitanStatus st = order_run(l->crew.im, l->crew.first, o);
        if (st != TITAN_OK) board_end(l->board, 0);
        return st == TITAN_OK ? st : conclude(l, st);
    }
    tell(l, rank, o);
    bool over = is_over(l, rank);
    if (over) *o = l->orders[rank];
    return over && !atomic_load(&l->board->ended) ? TITAN_OK
                                                  : conclude(l, TITAN_OK);
}

static TitanStatus by_crate(Local *l, uint32_t rank, const Order *o)
{
    for (CrateWalk w = {0}; crate_fill(l->crate, o, &w);) {
        Order told = crate_order(l->crate, o);
        TRY(ask(l, rank, &told));
        if (o->kind != ORDER_write) crate_unpack(l->crate, o);
    }
    return TITAN_OK;
}

static TitanStatus local_one(Crew *c, uint32_t rank, Order *o)
{
    Local *l = (Local *)c;
    if (!reaches(l, o))
        return rank > 0 && l->crate && order_moves(o) ? by_crate(l, rank, o)
                                                      : ask(l, rank, o);
    move_here(l, rank, o);
    return TITAN_OK;
}

static TitanStatus local_staged(Crew *c, uint32_t rank, TitanStory *story,
                                const Order *o)
{
    Member *m = &((Local *)c)->members[rank];
    return m->device ? order_staged(story, m->device, o)
                     : fetch_read(story, &m->line, o);
}

/* --------------------------------------------------------- begin and end -- */

static void join_process(const Local *l, uint32_t rank)
{
    int pid = atomic_load(&l->board->rows[rank].pid);
    if (pid == 0) return;
    if (atomic_load(&l->board->ended)) kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void local_free(Crew *c)
{
    Local *l = (Local *)c;
    Order end = {.kind = ORDER_end};
    bool ended = l->board && atomic_load(&l->board->ended);
    if (ended) leave_soon(l->leave, c->story, l->status);
    pthread_mutex_lock(&l->looks);
    atomic_store(&l->closing, true);
    pthread_mutex_unlock(&l->looks);
    /* where the run has ended they may be at work on an order still, and leave
     * by themselves */
    for (uint32_t r = 1; l->members && r < c->ranks && !ended; r++)
        if (l->members[r].started) tell(l, r, &end);
    for (uint32_t r = 1; l->members && r < c->ranks; r++)
        if (l->members[r].started && !l->options.processes)
            await(&l->members[r].served);
    atomic_store(&l->apart, true);
    if (l->members) close_member(&l->members[0]);
    for (uint32_t r = 1; l->members && r < c->ranks; r++) {
        Member *m = &l->members[r];
        if (!m->started) continue;
        if (l->options.processes)
            join_process(l, r);
        else
            pthread_join(m->thread, NULL);
    }
    if (l->members) hang_up(l);
    leave_stop(l->leave);
    if (l->members) end_guard(l);
    pthread_mutex_destroy(&l->looks);
    hall_free(l->hall);
    if (l->orders) munmap(l->orders, orders_bytes(l));
    if (l->arenas) munmap(l->arenas, l->arena_bytes * c->ranks);
    if (l->crate) munmap(l->crate, sizeof *l->crate);
    if (l->own_board) board_free(l->board);
    free(l->members);
    free(l);
}

static const CrewClass local_class = {.all = local_all,
                                      .one = local_one,
                                      .staged = local_staged,
                                      .free = local_free};

/* Of all ranks side by side. */
static TitanStatus map_arenas(Local *l)
{
    l->arena_bytes = 1;
    for (uint32_t r = 0; is_host(l) && r < l->crew.ranks; r++) {
        size_t bytes = titan_host_bytes(l->crew.im, r);
        if (bytes > l->arena_bytes) l->arena_bytes = bytes;
    }
    l->arena_bytes = (l->arena_bytes + PAGE - 1) & -(size_t)PAGE;
    l->arenas = board_memory(l->arena_bytes * l->crew.ranks);
    if (l->arenas) return TITAN_OK;
    return titan_fail(l->crew.story, TITAN_UNAVAILABLE,
                      "could not allocate %" PRIu32 " arenas of %zu bytes: %s",
                      l->crew.ranks, l->arena_bytes, strerror(errno));
}

static TitanStatus prepare(Local *l)
{
    l->own_board = !l->board;
    if (!l->board) l->board = board_new(l->crew.ranks);
    l->members = calloc(l->crew.ranks, sizeof *l->members);
    l->orders = board_memory(orders_bytes(l));
    if (!l->board || !l->members || !l->orders)
        return titan_no_memory(l->crew.story);
    TRY(hall_new(l->crew.story, l->crew.im, l->board, &l->hall));
    TRY(hall_leave(l->crew.story, l->hall, l->options.send_room));
    TRY(map_arenas(l));
    if (l->options.processes && !is_host(l)) {
        l->crate = board_memory(sizeof *l->crate);
        if (!l->crate) return titan_no_memory(l->crew.story);
    }
    for (uint32_t r = 0; r < l->crew.ranks; r++) {
        Member *m = &l->members[r];
        m->crew = l;
        m->socket = m->line.fd = -1;
        m->rank = (TitanRank){.rank = r,
                              .local = r,
                              .threads = !l->options.processes,
                              .arena = l->arenas + r * l->arena_bytes};
    }
    return TITAN_OK;
}

static TitanStatus start(Local *l)
{
    TRY(prepare(l));
    TitanStatus st = TITAN_OK;
    device_guard_begin(&l->members[0].guard, l->crew.im, l->code);
    for (uint32_t r = 1; r < l->crew.ranks && st == TITAN_OK; r++) {
        Member *m = &l->members[r];
        st = l->options.processes ? start_process(m) : start_thread(m);
        m->started = st == TITAN_OK;
    }
    BoardWait w = wait_of(l);
    if (st == TITAN_OK && !is_host(l))
        l->leave = leave_watch((LeaveRule){has_ended, why_ended, end_guard, l});
    if (st == TITAN_OK) st = open_member(&l->members[0], &w);
    return settle(l, st);
}

TitanStatus crew_new(TitanStory *story, const TitanImage *im,
                     const TitanCode *code, const DeviceOptions *o, Crew **out)
{
    Local *l = calloc(1, sizeof *l);
    if (!l) return titan_no_memory(story);
    l->crew = (Crew){.class = &local_class,
                     .story = story,
                     .im = im,
                     .ranks = im->header->ranks};
    pthread_mutex_init(&l->looks, NULL);
    l->code = code;
    l->options = *o;
    l->options.threads = pool_share(o->threads, l->crew.ranks);
    l->board = o->board;
    snprintf(l->crew.about, sizeof l->crew.about, "%" PRIu32 " ranks as %s",
             l->crew.ranks, o->processes ? "processes" : "threads");
    *out = &l->crew;
    TitanStatus st = start(l);
    if (st != TITAN_OK) local_free(&l->crew);
    return st;
}
