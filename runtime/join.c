/*
 * join.c: how processes that know their numbers and one address find each
 * other.
 *
 * Rank 0 listens there.  The others connect, and say who they are and at which
 * port they listen themselves; when all are there they are told where each is,
 * for those that have something for each other later, and a number that rank 0
 * has drawn, by which these know each other.
 *
 *     torchrun and its like   RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE,
 *                             MASTER_ADDR, MASTER_PORT
 *     srun                    SLURM_PROCID, SLURM_STEP_NUM_TASKS,
 *                             SLURM_LOCALID; without the address: the first
 *                             machine of the step, and a port by the number of
 *                             the job
 */
#include "join.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

/* Rank 0 waits so long for a word of whoever has connected, another rank, which
 * has work to do, less long; a machine that has vanished says nothing. */
enum { HELLO_SECONDS = 5, PEER_SECONDS = 1, CONNECT_SECONDS = 10 };
static const char magic[8] = "titan 2";

/* ------------------------------------------------------------- variables -- */

/* Its number, or OTHERWISE. */
static long number_of(const char *name, long otherwise)
{
    const char *text = getenv(name);
    char *end = NULL;
    long n = text ? strtol(text, &end, 10) : otherwise;
    return end == text ? otherwise : n;
}

/* "node[07-12,20]" begins with node07. */
static void first_host(const char *list, char *out, size_t size)
{
    size_t stem = strcspn(list, "[,");
    const char *rest = list[stem] == '[' ? list + stem + 1 : "";
    snprintf(out, size, "%.*s%.*s", (int)stem, list, (int)strcspn(rest, "-,]"),
             rest);
}

static bool read_torch(World *w, long *rank, long *ranks)
{
    const char *host = getenv("MASTER_ADDR");
    *rank = number_of("RANK", -1);
    *ranks = number_of("WORLD_SIZE", -1);
    /* torchrun keeps a store of its own at the port that it names */
    const char *store = getenv("TORCHELASTIC_USE_AGENT_STORE");
    long port = number_of("MASTER_PORT", 29500);
    snprintf(w->port, sizeof w->port, "%ld",
             port + (store && strcmp(store, "True") == 0));
    snprintf(w->host, sizeof w->host, "%s", host ? host : "127.0.0.1");
    w->local = (uint32_t)number_of("LOCAL_RANK", *rank);
    w->beside = (uint32_t)number_of("LOCAL_WORLD_SIZE", host ? 1 : *ranks);
    return *rank >= 0;
}

static bool read_slurm(World *w, long *rank, long *ranks)
{
    const char *host = getenv("MASTER_ADDR");
    const char *nodes = getenv("SLURM_STEP_NODELIST");
    long job = number_of("SLURM_JOB_ID", 0),
         step = number_of("SLURM_STEP_ID", 0);
    *rank = number_of("SLURM_PROCID", -1);
    /* a script that srun has not started has a number too */
    *ranks = number_of("SLURM_STEP_NUM_TASKS",
                       host ? number_of("SLURM_NTASKS", -1) : -1);
    first_host(nodes ? nodes : "127.0.0.1", w->host, sizeof w->host);
    if (host) snprintf(w->host, sizeof w->host, "%s", host);
    /* below 32768, from where on the system gives ports to who connects */
    snprintf(w->port, sizeof w->port, "%ld",
             number_of("MASTER_PORT", 20000 + (job * 31 + step) % 12000));
    w->local = (uint32_t)number_of("SLURM_LOCALID", 0);
    w->beside = (uint32_t)number_of("SLURM_STEP_TASKS_PER_NODE", 1);
    return *rank >= 0;
}

bool world_read(World *out)
{
    long rank, ranks;
    *out = (World){0};
    if (!read_torch(out, &rank, &ranks) && !read_slurm(out, &rank, &ranks))
        return false;
    out->rank = (uint32_t)rank;
    out->ranks = (uint32_t)ranks;
    if (out->beside == 0) out->beside = 1;
    return ranks > 1 && ranks < INT32_MAX;
}

/* --------------------------------------------------------------- sockets -- */

static bool fd_write(int fd, const void *at, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t n =
            send(fd, (const char *)at + done, bytes - done, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        done += (size_t)n;
    }
    return true;
}

/* END: the time by which all must be there; 0: none. */
static bool fd_read(int fd, void *at, size_t bytes, double end)
{
    for (size_t done = 0; done < bytes;) {
        if (end > 0 && seconds_now() > end) return false;
        ssize_t n = recv(fd, (char *)at + done, bytes - done, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        done += (size_t)n;
    }
    return true;
}

/* Small messages go at once; a machine that has vanished is missed. */
static int fd_tuned(int fd)
{
    const int yes = 1, idle = 10, every = 5, times = 3;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof every);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof times);
    return fd;
}

/* Whoever waits for bytes gives up after so many seconds; 0: never. */
static void set_patience(int fd, double seconds)
{
    struct timeval t = {.tv_sec = (time_t)(seconds > 1 ? seconds : 1)};
    if (seconds <= 0) t.tv_sec = 0;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
}

typedef union Address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_storage room;
} Address;

static Place place_of(const Address *a)
{
    Place p = {.family = a->any.sa_family};
    if (p.family == AF_INET) {
        p.port = a->v4.sin_port;
        memcpy(p.address, &a->v4.sin_addr, 4);
    } else {
        p.port = a->v6.sin6_port;
        memcpy(p.address, &a->v6.sin6_addr, 16);
    }
    return p;
}

static socklen_t address_of(const Place *p, Address *out)
{
    *out = (Address){0};
    out->any.sa_family = (sa_family_t)p->family;
    if (p->family == AF_INET) {
        out->v4.sin_port = p->port;
        memcpy(&out->v4.sin_addr, p->address, 4);
        return sizeof out->v4;
    }
    out->v6.sin6_port = p->port;
    memcpy(&out->v6.sin6_addr, p->address, 16);
    return sizeof out->v6;
}

static bool is_loopback(const Place *p)
{
    static const uint8_t mapped[12] = {[10] = 255, [11] = 255};
    static const uint8_t one[16] = {[15] = 1};
    if (p->family == AF_INET) return p->address[0] == 127;
    if (memcmp(p->address, mapped, 12) == 0) return p->address[12] == 127;
    return memcmp(p->address, one, 16) == 0;
}

/* A connection that is being made, until it is made or not. */
static bool is_connected(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int error = 0;
    socklen_t n = sizeof error;
    if (poll(&p, 1, CONNECT_SECONDS * 1000) <= 0) return false;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) == 0 && error == 0;
}

static int connect_to(const struct sockaddr *at, socklen_t n)
{
    int fd =
        socket(at->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    bool begun = connect(fd, at, n) == 0 || errno == EINPROGRESS;
    if (begun && is_connected(fd)) {
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
        return fd_tuned(fd);
    }
    close(fd);
    return -1;
}

/* At PORT of all addresses of this machine; 0: at any port. */
static int listen_at(int family, uint16_t port, int most)
{
    const int yes = 1, no = 0;
    Address a = {0};
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
    Place any = {.family = (uint32_t)family, .port = htons(port)};
    socklen_t n = address_of(&any, &a);
    if (bind(fd, &a.any, n) == 0 && listen(fd, most) == 0) return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static int listen_anywhere(uint16_t port, int most)
{
    int fd = listen_at(AF_INET6, port, most);
    return fd >= 0 || errno == EADDRINUSE ? fd : listen_at(AF_INET, port, most);
}

static uint16_t port_of(int fd)
{
    Address a = {0};
    socklen_t n = sizeof a;
    getsockname(fd, &a.any, &n);
    return place_of(&a).port;
}

/* ---------------------------------------------------------------- rank 0 -- */

typedef struct Hello {
    char magic[sizeof magic];
    uint32_t rank, ranks;
    uint16_t port, pad[3];
} Hello;

static TitanStatus take(TitanStory *s, const World *w, int fd, const Hello *h,
                        Joined *j)
{
    Address from = {0};
    socklen_t n = sizeof from;
    if (h->ranks != w->ranks)
        return titan_fail(s, TITAN_MISMATCH,
                          "rank %" PRIu32 " was told of %" PRIu32
                          " ranks, rank 0 of %" PRIu32,
                          h->rank, h->ranks, w->ranks);
    if (h->rank == 0 || h->rank >= w->ranks || j->fds[h->rank] >= 0)
        return titan_fail(s, TITAN_MISMATCH,
                          "a second process says that it is rank %" PRIu32
                          " of %" PRIu32,
                          h->rank, w->ranks);
    getpeername(fd, &from.any, &n);
    j->fds[h->rank] = fd;
    j->places[h->rank] = place_of(&from);
    j->places[h->rank].port = h->port;
    return TITAN_OK;
}

/* Who says something else is none of ours. */
static TitanStatus hear(TitanStory *s, const World *w, Joined *j,
                        uint32_t *there)
{
    Hello h;
    int fd = accept4(j->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) return TITAN_OK;
    set_patience(fd, HELLO_SECONDS);
    bool ours = fd_read(fd, &h, sizeof h, seconds_now() + HELLO_SECONDS) &&
                memcmp(h.magic, magic, sizeof magic) == 0;
    TitanStatus st = ours ? take(s, w, fd_tuned(fd), &h, j) : TITAN_OK;
    uint32_t verdict = st;
    if (st != TITAN_OK) fd_write(fd, &verdict, sizeof verdict);
    if (!ours || st != TITAN_OK) close(fd);
    *there += ours && st == TITAN_OK;
    return st;
}

static TitanStatus say_absent(TitanStory *s, const World *w, const Joined *j,
                              double patience)
{
    uint32_t rank = 1;
    while (rank + 1 < w->ranks && j->fds[rank] >= 0)
        rank++;
    return titan_fail(s, TITAN_RANK_LOST,
                      "rank %" PRIu32 " of %" PRIu32 " has not come to port %s "
                      "in %.0f s; --join-timeout waits longer",
                      rank, w->ranks, w->port, patience);
}

static TitanStatus gather(TitanStory *s, const World *w, double patience,
                          Joined *j)
{
    double end = seconds_now() + patience;
    TitanStatus st = TITAN_OK;
    for (uint32_t there = 1; st == TITAN_OK && there < w->ranks;) {
        struct pollfd p = {.fd = j->listener, .events = POLLIN};
        if (seconds_now() > end) return say_absent(s, w, j, patience);
        if (poll(&p, 1, 100) > 0) st = hear(s, w, j, &there);
    }
    return st;
}

/* Whether they begin, and where each is. */
static TitanStatus answer(TitanStory *s, const World *w, const Joined *j,
                          TitanStatus verdict)
{
    uint32_t word = verdict;
    for (uint32_t r = 1; r < w->ranks; r++) {
        if (j->fds[r] < 0) continue;
        set_patience(j->fds[r], 0);
        bool told = fd_write(j->fds[r], &word, sizeof word);
        if (told && verdict == TITAN_OK)
            told = fd_write(j->fds[r], j->token, sizeof j->token) &&
                   fd_write(j->fds[r], j->places, w->ranks * sizeof *j->places);
        if (!told && verdict == TITAN_OK)
            return titan_fail(s, TITAN_RANK_LOST,
                              "rank %" PRIu32 " of %" PRIu32 " was lost while "
                              "they found each other",
                              r, w->ranks);
    }
    return verdict;
}

static TitanStatus receive_all(TitanStory *s, const World *w, double patience,
                               Joined *j)
{
    j->listener = listen_anywhere((uint16_t)atoi(w->port), (int)w->ranks);
    if (j->listener < 0)
        return titan_fail(s, TITAN_UNAVAILABLE,
                          "could not listen at port %s, where the other ranks "
                          "come: %s; set MASTER_PORT to a free one",
                          w->port, strerror(errno));
    if (getrandom(j->token, sizeof j->token, 0) != sizeof j->token)
        return titan_fail(s, TITAN_UNAVAILABLE,
                          "could not draw a number for the ranks: %s",
                          strerror(errno));
    return answer(s, w, j, gather(s, w, patience, j));
}

/* ------------------------------------------------------------ the others -- */

static int try_hosts(const World *w)
{
    struct addrinfo like = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    int fd = -1;
    if (getaddrinfo(w->host, w->port, &like, &list) != 0) return -1;
    for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next)
        fd = connect_to(a->ai_addr, a->ai_addrlen);
    freeaddrinfo(list);
    return fd;
}

static TitanStatus reach_first(TitanStory *s, const World *w, double patience,
                               int *out)
{
    const struct timespec nap = {0, 50000000};
    double end = seconds_now() + patience;
    while ((*out = try_hosts(w)) < 0 && seconds_now() < end)
        nanosleep(&nap, NULL);
    if (*out >= 0) return TITAN_OK;
    return titan_fail(s, TITAN_UNAVAILABLE,
                      "rank %" PRIu32 " could not reach rank 0 at %s, port %s, "
                      "in %.0f s; --join-timeout waits longer",
                      w->rank, w->host, w->port, patience);
}

/* Rank 0 is where it was reached.  Those on its machine came to it by an
 * address that others cannot use. */
static void mend_places(const World *w, Joined *j)
{
    Address first = {0};
    socklen_t n = sizeof first;
    getpeername(j->fds[0], &first.any, &n);
    Place there = place_of(&first);
    j->places[0] = there;
    for (uint32_t r = 1; r < w->ranks && !is_loopback(&there); r++) {
        uint16_t port = j->places[r].port;
        if (!is_loopback(&j->places[r])) continue;
        j->places[r] = there;
        j->places[r].port = port;
    }
}

static TitanStatus enter(TitanStory *s, const World *w, double patience,
                         Joined *j)
{
    Hello h = {.rank = w->rank, .ranks = w->ranks};
    uint32_t verdict = TITAN_RANK_LOST;
    memcpy(h.magic, magic, sizeof magic);
    j->listener = listen_anywhere(0, (int)w->ranks);
    if (j->listener >= 0) h.port = port_of(j->listener);
    TRY(reach_first(s, w, patience, &j->fds[0]));
    set_patience(j->fds[0], patience);
    bool told = fd_write(j->fds[0], &h, sizeof h) &&
                fd_read(j->fds[0], &verdict, sizeof verdict, 0);
    if (told && verdict == TITAN_OK)
        told = fd_read(j->fds[0], j->token, sizeof j->token, 0) &&
               fd_read(j->fds[0], j->places, w->ranks * sizeof *j->places, 0);
    if (told && verdict != TITAN_OK) return (TitanStatus)verdict;
    if (!told)
        return titan_fail(s, TITAN_RANK_LOST,
                          "rank %" PRIu32 " has heard nothing from rank 0",
                          w->rank);
    set_patience(j->fds[0], 0);
    mend_places(w, j);
    return TITAN_OK;
}

TitanStatus world_join(TitanStory *s, const World *w, double patience,
                       Joined *out)
{
    *out = (Joined){.rank = w->rank, .ranks = w->ranks, .listener = -1};
    out->fds = malloc(w->ranks * sizeof *out->fds);
    out->places = calloc(w->ranks, sizeof *out->places);
    if (!out->fds || !out->places) return titan_no_memory(s);
    for (uint32_t r = 0; r < w->ranks; r++)
        out->fds[r] = -1;
    return w->rank == 0 ? receive_all(s, w, patience, out)
                        : enter(s, w, patience, out);
}

/* ----------------------------------------------------------------- later -- */

typedef struct Call {
    char magic[sizeof magic];
    uint8_t token[JOIN_TOKEN];
    Caller who;
} Call;

static Call call_of(const Joined *j, Caller who)
{
    Call c = {.who = who};
    memcpy(c.magic, magic, sizeof magic);
    memcpy(c.token, j->token, sizeof c.token);
    return c;
}

int joined_connect(const Joined *j, uint32_t rank, JoinUse use)
{
    Address a;
    Call mine = call_of(j, (Caller){j->rank, use});
    socklen_t n = address_of(&j->places[rank], &a);
    int fd = connect_to(&a.any, n);
    if (fd < 0 || fd_write(fd, &mine, sizeof mine)) return fd;
    close(fd);
    return -1;
}

static bool is_ours(const Joined *j, const Call *c)
{
    Call want = call_of(j, c->who);
    return memcmp(c, &want, sizeof want) == 0 && c->who.rank > j->rank &&
           c->who.rank < j->ranks && c->who.use <= JOIN_line;
}

int joined_accept(const Joined *j, Caller *who)
{
    Call theirs;
    int fd = accept4(j->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) return -1;
    set_patience(fd, PEER_SECONDS);
    bool whole =
        fd_read(fd, &theirs, sizeof theirs, seconds_now() + PEER_SECONDS);
    if (whole && is_ours(j, &theirs)) {
        *who = theirs.who;
        return fd_tuned(fd);
    }
    close(fd);
    return -1;
}

void joined_free(Joined *j)
{
    free(j->fds);
    free(j->places);
    *j = (Joined){.listener = -1};
}
