/*
 * line.c: a connection beside a link that has none of its own, between rank 0
 * and another, for threads of theirs.
 *
 *     rank        where it is                                     rank 0
 *     rank 0      where it listens, and a number that it draws    rank
 *     rank        whether it has called there, with the number    rank 0
 *
 * Of one machine they meet at its own address, else at one of those that rank 0
 * has on its networks.
 */
#include "boot.h"
#include "dial.h"
#include "link.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "clock.h"

enum { OFFER_PLACES = 16, LINE_TOKEN = 16, LINE_SECONDS = 10 };

typedef struct Offer {
    uint8_t token[LINE_TOKEN];
    uint32_t n; /* 0: there is none */
    Place at[OFFER_PLACES];
} Offer;

static bool pass(Link *l, LinkWay way, uint32_t rank, void *at, size_t bytes)
{
    TitanStory nobody = {0};
    Mail mail = {0};
    Letter what = {way, rank, LINK_tag_line, at, bytes};
    bool passed = link_pass(&nobody, l, &mail, what) == TITAN_OK;
    mail_free(&mail);
    return passed;
}

/* ---------------------------------------------------------------- rank 0 -- */

/* Who calls at a network that leads nowhere waits for nothing. */
static bool is_usable(const struct ifaddrs *a)
{
    if (!a->ifa_addr || !(a->ifa_flags & IFF_RUNNING)) return false;
    int family = a->ifa_addr->sa_family;
    return family == AF_INET || family == AF_INET6;
}

static void offer_networks(Offer *o, uint16_t port)
{
    struct ifaddrs *list;
    if (getifaddrs(&list) != 0) return;
    for (struct ifaddrs *a = list; a && o->n < OFFER_PLACES; a = a->ifa_next) {
        if (!is_usable(a)) continue;
        Place p = place_of(a->ifa_addr);
        p.port = port;
        if (!place_is_loopback(&p)) o->at[o->n++] = p;
    }
    freeifaddrs(list);
}

/* Listens for one that is BESIDE, or elsewhere; -1: it cannot. */
static int make_offer(Offer *o, bool beside)
{
    Place own = beside ? place_of_number("127.0.0.1") : (Place){0};
    *o = (Offer){.n = 0};
    if (getrandom(o->token, sizeof o->token, 0) != sizeof o->token) return -1;
    int fd = dial_listen(&own, OFFER_PLACES);
    if (fd < 0) return -1;
    own.port = place_here(fd).port;
    if (beside)
        o->at[o->n++] = own;
    else
        offer_networks(o, own.port);
    return fd;
}

/* Who has called before may be a stranger. */
static int take_caller(int listener, const Offer *o)
{
    uint8_t token[LINE_TOKEN];
    double end = seconds_now() + LINE_SECONDS;
    while (seconds_now() < end) {
        struct pollfd p = {.fd = listener, .events = POLLIN};
        if (poll(&p, 1, LINE_SECONDS * 1000) <= 0) continue;
        int fd = dial_accept(listener);
        if (fd < 0) continue;
        if (fd_get(fd, token, sizeof token, in_seconds(1)) &&
            memcmp(token, o->token, sizeof token) == 0)
            return fd;
        close(fd);
    }
    return -1;
}

static int be_called(Link *l, uint32_t rank)
{
    Offer o;
    BootName theirs, mine = boot_name();
    uint32_t called = 0;
    if (!pass(l, LINK_receive, rank, &theirs, sizeof theirs)) return -1;
    int fd = -1, listener = make_offer(&o, boot_is_same(&mine, &theirs));
    if (pass(l, LINK_send, rank, &o, sizeof o) &&
        pass(l, LINK_receive, rank, &called, sizeof called) && called &&
        listener >= 0)
        fd = take_caller(listener, &o);
    if (listener >= 0) close(listener);
    return fd;
}

/* ------------------------------------------------------------ the others -- */

static int call_one(const Offer *o)
{
    for (uint32_t i = 0; i < o->n && i < OFFER_PLACES; i++) {
        int fd = dial(&o->at[i]);
        if (fd >= 0 &&
            fd_put(fd, o->token, sizeof o->token, in_seconds(LINE_SECONDS)))
            return fd;
        if (fd >= 0) close(fd);
    }
    return -1;
}

static int call_first(Link *l)
{
    Offer o;
    BootName mine = boot_name();
    if (!pass(l, LINK_send, 0, &mine, sizeof mine) ||
        !pass(l, LINK_receive, 0, &o, sizeof o))
        return -1;
    int fd = call_one(&o);
    uint32_t called = fd >= 0;
    pass(l, LINK_send, 0, &called, sizeof called);
    return fd;
}

int link_line(Link *l, uint32_t rank)
{
    return l->rank == 0 ? be_called(l, rank) : call_first(l);
}
