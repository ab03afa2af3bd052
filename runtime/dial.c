/*
 * dial.c: connections between the processes of a run.
 *
 * An address of the old kind that came to a socket of the new one is told as
 * what it is, since a machine without the new one is to reach it too.
 */
#include "dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"

/* A machine that has vanished says nothing. */
enum { CONNECT_SECONDS = 10, LOOK_MS = 100 };

/* ---------------------------------------------------------------- places -- */

typedef union Address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_storage room;
} Address;

static Place place_of_room(const Address *a)
{
    static const uint8_t mapped[12] = {[10] = 255, [11] = 255};
    Place p = {.family = a->any.sa_family};
    if (p.family == AF_INET) {
        p.port = a->v4.sin_port;
        memcpy(p.address, &a->v4.sin_addr, 4);
    } else if (p.family == AF_INET6) {
        const uint8_t *at = a->v6.sin6_addr.s6_addr;
        bool old = memcmp(at, mapped, sizeof mapped) == 0;
        p.family = old ? AF_INET : AF_INET6;
        p.port = a->v6.sin6_port;
        memcpy(p.address, old ? at + sizeof mapped : at, old ? 4 : 16);
    }
    return p;
}

Place place_of(const struct sockaddr *at)
{
    Address a = {0};
    bool old = at->sa_family == AF_INET;
    memcpy(&a, at, old ? sizeof a.v4 : sizeof a.v6);
    return place_of_room(&a);
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

Place place_here(int fd)
{
    Address a = {0};
    socklen_t n = sizeof a;
    getsockname(fd, &a.any, &n);
    return place_of_room(&a);
}

Place place_there(int fd)
{
    Address a = {0};
    socklen_t n = sizeof a;
    getpeername(fd, &a.any, &n);
    return place_of_room(&a);
}

bool place_is_loopback(const Place *p)
{
    static const uint8_t one[16] = {[15] = 1};
    if (p->family == AF_INET) return p->address[0] == 127;
    return p->family == AF_INET6 && memcmp(p->address, one, 16) == 0;
}

Place place_of_number(const char *host)
{
    Place p = {.family = AF_INET};
    if (inet_pton(AF_INET, host, p.address) == 1) return p;
    p.family = AF_INET6;
    return inet_pton(AF_INET6, host, p.address) == 1 ? p : (Place){0};
}

/* ----------------------------------------------------------- connections -- */

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

/* Closed, and errno is what it was. */
static int give_up(int fd)
{
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* A connection that is being made, until it is made or not. */
static bool is_connected(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int error = ETIMEDOUT, n;
    socklen_t size = sizeof error;
    do
        n = poll(&p, 1, CONNECT_SECONDS * 1000);
    while (n < 0 && errno == EINTR);
    if (n > 0) getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    errno = error;
    return error == 0;
}

/* Where nobody listens at a port that the system gives to who connects. */
static bool meets_itself(int fd)
{
    Place here = place_here(fd), there = place_there(fd);
    errno = ECONNREFUSED;
    return here.family == there.family && here.port == there.port &&
           memcmp(here.address, there.address, sizeof here.address) == 0;
}

static int connect_to(const struct sockaddr *at, socklen_t n)
{
    int fd =
        socket(at->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    bool begun = connect(fd, at, n) == 0 || errno == EINPROGRESS;
    if (!begun || !is_connected(fd) || meets_itself(fd)) return give_up(fd);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    return fd_tuned(fd);
}

int dial(const Place *to)
{
    Address a;
    socklen_t n = address_of(to, &a);
    return connect_to(&a.any, n);
}

const char *dial_host(const char *host, const char *port, int *fd)
{
    struct addrinfo like = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    int error = getaddrinfo(host, port, &like, &list);
    *fd = -1;
    if (error == EAI_SYSTEM) return strerror(errno);
    if (error) return gai_strerror(error);
    for (struct addrinfo *a = list; a && *fd < 0; a = a->ai_next)
        *fd = connect_to(a->ai_addr, a->ai_addrlen);
    error = errno;
    freeaddrinfo(list);
    return *fd < 0 ? strerror(error) : NULL;
}

static int listen_at(const Place *at, int most)
{
    const int yes = 1, no = 0;
    Address a;
    int fd = socket((int)at->family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (at->family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
    socklen_t n = address_of(at, &a);
    bool listens = bind(fd, &a.any, n) == 0 && listen(fd, most) == 0;
    return listens ? fd : give_up(fd);
}

int dial_listen(const Place *at, uint32_t most)
{
    Place any = {.family = AF_INET6, .port = at->port};
    int n = most < SOMAXCONN ? (int)most : SOMAXCONN;
    int fd = at->family ? listen_at(at, n) : -1;
    if (fd >= 0 || (at->family && errno == EADDRINUSE)) return fd;
    fd = listen_at(&any, n);
    if (fd >= 0 || errno == EADDRINUSE) return fd;
    any.family = AF_INET;
    return listen_at(&any, n);
}

int dial_accept(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    return fd < 0 ? -1 : fd_tuned(fd);
}

/* ----------------------------------------------------------------- bytes -- */

Until in_seconds(double seconds)
{
    return (Until){.end = seconds_now() + seconds};
}

/* False: it is over. */
static bool is_ready(int fd, short what, Until u)
{
    struct pollfd p = {.fd = fd, .events = what};
    for (;;) {
        double left = u.end > 0 ? u.end - seconds_now() : 1;
        if (left <= 0 || (u.ended && atomic_load(u.ended))) return false;
        int wait = left * 1000 < LOOK_MS ? (int)(left * 1000) + 1 : LOOK_MS;
        int n = poll(&p, 1, u.end > 0 || u.ended ? wait : -1);
        if (n > 0) return true;
        if (n < 0 && errno != EINTR) return false;
    }
}

static bool is_passing(ssize_t n)
{
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

bool fd_put(int fd, const void *at, size_t bytes, Until u)
{
    for (size_t done = 0; done < bytes;) {
        if (!is_ready(fd, POLLOUT, u)) return false;
        ssize_t n = send(fd, (const char *)at + done, bytes - done,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (!is_passing(n)) return false;
        done += n > 0 ? (size_t)n : 0;
    }
    return true;
}

bool fd_get(int fd, void *at, size_t bytes, Until u)
{
    for (size_t done = 0; done < bytes;) {
        if (!is_ready(fd, POLLIN, u)) return false;
        ssize_t n = recv(fd, (char *)at + done, bytes - done, MSG_DONTWAIT);
        if (!is_passing(n)) return false;
        done += n > 0 ? (size_t)n : 0;
    }
    return true;
}
