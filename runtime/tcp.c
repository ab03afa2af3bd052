/*
 * tcp.c: connections of our own as a link, between ranks that join.c has
 * brought together.
 *
 * Every rank is connected to rank 0, and to another when they first have
 * something for each other: the later of the two connects.  A connection
 * carries frames, in order; what nobody has asked for yet is kept aside.
 *
 *     data    to a tag            taken   of a frame that asked for it
 *     meet    the same, asks      end     the sender ends all ranks
 *                                 bye     the sender is done
 *
 * A connection that breaks without a bye is a rank that is lost.
 */
#include "join.h"
#include "link.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "clock.h"

typedef enum FrameKind {
    FRAME_data,
    FRAME_meet,
    FRAME_taken,
    FRAME_end, /* tag: the status; bytes: 1 + the rank that is lost, or 0, and
                * how above 32 bits */
    FRAME_bye
} FrameKind;

typedef struct Frame {
    uint32_t kind;
    int32_t tag;
    uint64_t bytes;
} Frame;

/* A letter that was posted, in one of its peer's queues until it is over. */
struct LinkRequestRow {
    LinkRequest next;
    Frame frame;
    char *at;
    size_t done;      /* of frame and bytes: sent; of bytes: received */
    bool over, owned; /* owned: nobody waits for it */
};

typedef struct Queue {
    LinkRequest first, *end;
} Queue;

typedef struct Peer {
    int fd;   /* -1: not connected */
    int line; /* a further connection, that nobody has asked for yet; or -1 */
    bool closed;
    bool cut; /* nothing can be sent; what it has sent is still read */
    Queue out, wants, meets, early; /* early: came before it was wanted */
    Frame in;
    size_t got;       /* bytes of `in` */
    LinkRequest into; /* whose bytes come now, or NULL */
} Peer;

/* How a rank was missed. */
typedef enum Way { WAY_closed, WAY_broken, WAY_unreached, WAY_strange } Way;

typedef struct Loss {
    uint32_t by; /* the rank that says so */
    Way way;
    int error; /* errno */
} Loss;

typedef struct Tcp {
    Link link; /* first */
    Loss loss; /* of link.lost */
    Joined joined;
    Peer *peers;
    struct pollfd *polls;
    uint32_t *who; /* of each poll */
    int *first;    /* connections as they were made, or -1 */
    TitanStatus status;
} Tcp;

enum {
    WAIT_MS = 1,
    LEAVE_SECONDS = 2,
    LINE_SECONDS = 20,
    FRAME_MOST = 64 << 20 /* bytes */
};

bool tcp_is_there(void)
{
    World w;
    return world_read(&w);
}

void tcp_told(const char **rank, const char **ranks)
{
    world_told(rank, ranks);
}

void tcp_decline(const TitanStory *s, TitanStatus status)
{
    World w;
    if (world_read(&w)) world_decline(s, &w, status);
}

/* ---------------------------------------------------------------- queues -- */

static void append(Queue *q, LinkRequest r)
{
    if (!q->first) q->end = &q->first;
    r->next = NULL;
    *q->end = r;
    q->end = &r->next;
}

/* The first of a tag, taken out; NULL: there is none. */
static LinkRequest take(Queue *q, int32_t tag)
{
    LinkRequest *at = &q->first;
    while (*at && (*at)->frame.tag != tag)
        at = &(*at)->next;
    LinkRequest r = *at;
    if (!r) return NULL;
    if (q->end == &r->next) q->end = at;
    *at = r->next;
    return r;
}

static void clear(Queue *q)
{
    while (q->first) {
        LinkRequest r = take(q, q->first->frame.tag);
        free(r);
    }
}

/* ----------------------------------------------------------- connections -- */

static void miss(Tcp *t, uint32_t rank, Way way, int error)
{
    if (t->link.ended || t->link.lost) return;
    t->link.lost = rank + 1;
    t->loss = (Loss){t->link.rank, way, error};
}

static void lose(Tcp *t, uint32_t rank, Way way)
{
    int error = errno;
    Peer *p = &t->peers[rank];
    if (p->fd >= 0) close(p->fd);
    p->fd = -1;
    if (!p->closed) miss(t, rank, way, error);
    p->closed = true;
}

/* Loss, and the rank that is lost, as a frame has them; and back. */
static uint64_t put_loss(const Tcp *t)
{
    uint64_t how = (uint64_t)t->loss.way << 16 | (t->loss.error & 0xffff);
    return t->link.lost ? how << 32 | t->link.lost : 0;
}

static void take_loss(Tcp *t, uint32_t by, uint64_t word)
{
    uint32_t lost = (uint32_t)word, how = (uint32_t)(word >> 32);
    bool known = lost <= t->link.ranks && how >> 16 <= WAY_strange;
    t->link.lost = known ? lost : 0;
    t->loss = (Loss){by, (Way)(how >> 16 & 3), (int)(how & 0xffff)};
}

static void adopt(Tcp *t, uint32_t rank, int fd)
{
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    t->peers[rank].fd = fd;
}

/* The later of two ranks connects. */
static void need(Tcp *t, uint32_t rank)
{
    Peer *p = &t->peers[rank];
    if (p->fd >= 0 || p->closed || rank > t->link.rank) return;
    int fd = joined_connect(&t->joined, rank, JOIN_link);
    if (fd < 0)
        lose(t, rank, WAY_unreached);
    else
        adopt(t, rank, fd);
}

static void accept_one(Tcp *t)
{
    Caller who;
    int fd = joined_accept(&t->joined, &who);
    if (fd < 0) return;
    Peer *p = &t->peers[who.rank];
    if (who.use == JOIN_link && p->fd < 0 && !p->closed)
        adopt(t, who.rank, fd);
    else if (who.use == JOIN_line && p->line < 0)
        p->line = fd;
    else
        close(fd);
}

/* --------------------------------------------------------------- sending -- */

static bool has_bytes(const Frame *f)
{
    return f->kind == FRAME_data || f->kind == FRAME_meet;
}

/* What is left of a frame and its bytes, at once.  False: not all of it.  Who
 * does not listen any more may have said why, so it is lost by what is read. */
static bool send_one(Tcp *t, uint32_t rank, LinkRequest r)
{
    Peer *p = &t->peers[rank];
    size_t head = sizeof r->frame, bytes = 0, skip = r->done;
    if (has_bytes(&r->frame)) bytes = (size_t)r->frame.bytes;
    if (skip > head) skip = head;
    struct iovec parts[2] = {
        {(char *)&r->frame + skip, head - skip},
        {r->at + (r->done - skip), bytes - (r->done - skip)}};
    struct msghdr all = {.msg_iov = parts, .msg_iovlen = bytes ? 2 : 1};
    ssize_t n = sendmsg(p->fd, &all, MSG_NOSIGNAL);
    if (n > 0) r->done += (size_t)n;
    if (n < 0 && errno != EAGAIN && errno != EINTR) p->cut = true;
    return r->done == head + bytes;
}

static bool has_to_send(const Peer *p)
{
    return p->fd >= 0 && p->out.first && !p->cut;
}

static void flush(Tcp *t, uint32_t rank)
{
    Peer *p = &t->peers[rank];
    while (has_to_send(p) && send_one(t, rank, p->out.first)) {
        LinkRequest r = take(&p->out, p->out.first->frame.tag);
        if (r->owned)
            free(r);
        else if (r->frame.kind == FRAME_meet)
            append(&p->meets, r);
        else
            r->over = true;
    }
}

/* A frame that nobody waits for.  Without memory for it the other rank waits,
 * and the watchdog sees that. */
static void tell(Tcp *t, uint32_t rank, Frame f)
{
    LinkRequest r = calloc(1, sizeof *r);
    if (!r) return;
    r->frame = f;
    r->owned = true;
    append(&t->peers[rank].out, r);
    flush(t, rank);
}

/* ------------------------------------------------------------- receiving -- */

/* Room for what nobody has asked for yet. */
static LinkRequest set_aside(Tcp *t, const Frame *f)
{
    LinkRequest r = calloc(1, sizeof *r + (size_t)f->bytes);
    if (!r) {
        t->status = TITAN_UNAVAILABLE;
        return NULL;
    }
    r->at = (char *)(r + 1);
    r->owned = true;
    return r;
}

/* What a frame says, but for bytes that follow. */
static void open_frame(Tcp *t, uint32_t rank)
{
    Peer *p = &t->peers[rank];
    LinkRequest r;
    if (p->in.kind > FRAME_bye ||
        (has_bytes(&p->in) && p->in.bytes > FRAME_MOST)) {
        lose(t, rank, WAY_strange);
        return;
    }
    switch ((FrameKind)p->in.kind) {
    case FRAME_data:
    case FRAME_meet:
        r = take(&p->wants, p->in.tag);
        if (r && r->frame.bytes != p->in.bytes) lose(t, rank, WAY_strange);
        if (!r) r = set_aside(t, &p->in);
        if (r) r->frame = p->in;
        p->into = r;
        return;
    case FRAME_taken:
        r = take(&p->meets, p->in.tag);
        if (r) r->over = true;
        break;
    case FRAME_end:
        t->link.ended = true;
        take_loss(t, rank, p->in.bytes);
        t->status = p->in.tag > 0 ? (TitanStatus)p->in.tag : TITAN_RANK_LOST;
        break;
    case FRAME_bye: /* not before it has sent what is wanted of it */
        if (p->wants.first || p->meets.first) miss(t, rank, WAY_closed, 0);
        p->closed = true;
        break;
    }
    p->got = 0;
}

/* What was set aside, to where it was asked for.  False: it is not what was
 * asked for, and its sender is lost. */
static bool copy_early(Tcp *t, uint32_t rank, const struct LinkRequestRow *r,
                       char *to, size_t bytes)
{
    if (r->frame.bytes == bytes)
        memcpy(to, r->at, bytes);
    else
        lose(t, rank, WAY_strange);
    return r->frame.bytes == bytes;
}

/* What was set aside may have been asked for while it came. */
static void close_frame(Tcp *t, uint32_t rank)
{
    Peer *p = &t->peers[rank];
    LinkRequest r = p->into;
    p->into = NULL;
    p->got = 0;
    LinkRequest want = r->owned ? take(&p->wants, r->frame.tag) : r;
    if (!want) {
        append(&p->early, r);
        return;
    }
    bool came = true;
    if (r->owned) {
        came = copy_early(t, rank, r, want->at, (size_t)want->frame.bytes);
        free(r);
    }
    if (p->in.kind == FRAME_meet)
        tell(t, rank, (Frame){.kind = FRAME_taken, .tag = p->in.tag});
    want->over = came;
    if (!came) append(&p->wants, want); /* it is asked for still, in vain */
}

/* False: there are no more now. */
static bool get(Tcp *t, uint32_t rank, void *at, size_t bytes, size_t *done)
{
    ssize_t n = recv(t->peers[rank].fd, at, bytes, 0);
    if (n > 0) *done += (size_t)n;
    if (n == 0 || (n < 0 && errno == ECONNRESET))
        lose(t, rank, WAY_closed);
    else if (n < 0 && errno != EAGAIN && errno != EINTR)
        lose(t, rank, WAY_broken);
    return n == (ssize_t)bytes;
}

static void receive(Tcp *t, uint32_t rank)
{
    Peer *p = &t->peers[rank];
    size_t head = sizeof p->in;
    while (p->fd >= 0 && t->status == TITAN_OK) {
        if (!p->into &&
            !get(t, rank, (char *)&p->in + p->got, head - p->got, &p->got))
            return;
        if (!p->into) open_frame(t, rank);
        LinkRequest r = p->into;
        if (!r) continue;
        if (!get(t, rank, r->at + r->done, (size_t)r->frame.bytes - r->done,
                 &r->done))
            return;
        close_frame(t, rank);
    }
}

/* One look at all connections. */
static void turn(Tcp *t, int wait_ms)
{
    nfds_t n = 0;
    for (uint32_t r = 0; r < t->link.ranks; r++) {
        const Peer *p = &t->peers[r];
        if (p->fd < 0) continue;
        t->who[n] = r;
        t->polls[n++] = (struct pollfd){
            .fd = p->fd,
            .events = (short)((t->status == TITAN_OK ? POLLIN : 0) |
                              (has_to_send(p) ? POLLOUT : 0))};
    }
    t->polls[n] = (struct pollfd){.fd = t->joined.listener, .events = POLLIN};
    if (poll(t->polls, n + 1, wait_ms) <= 0) return;
    if (t->polls[n].revents) accept_one(t);
    for (nfds_t i = 0; i < n; i++) {
        if (t->polls[i].revents & POLLOUT) flush(t, t->who[i]);
        if (t->polls[i].revents & ~POLLOUT) receive(t, t->who[i]);
    }
}

/* ------------------------------------------------------------------ link -- */

static void loss_words(const Loss *x, char *out, size_t size)
{
    switch (x->way) {
    case WAY_closed:
        snprintf(out, size, "its connection was closed");
        return;
    case WAY_broken:
        snprintf(out, size, "its connection broke: %s", strerror(x->error));
        return;
    case WAY_unreached:
        snprintf(out, size, "rank %" PRIu32 " could not reach it: %s", x->by,
                 strerror(x->error));
        return;
    case WAY_strange:
        snprintf(out, size, "it said to rank %" PRIu32 " what no rank says",
                 x->by);
        return;
    }
}

static TitanStatus lost(const Tcp *t, TitanStory *s)
{
    char how[128] = "";
    const Link *l = &t->link;
    loss_words(&t->loss, how, sizeof how);
    return titan_fail(s, TITAN_RANK_LOST,
                      "rank %" PRIu32 " of %" PRIu32 " was lost: %s",
                      l->lost - 1, l->ranks, how);
}

static TitanStatus whole(const Tcp *t, TitanStory *s)
{
    const Link *l = &t->link;
    if (l->lost) return lost(t, s);
    if (t->status == TITAN_OK) return TITAN_OK;
    return titan_fail(s, t->status,
                      l->ended ? "another rank ended the run"
                               : "out of memory");
}

/* What came before it was asked for. */
static bool take_early(Tcp *t, const Letter *x)
{
    LinkRequest r = take(&t->peers[x->rank].early, x->tag);
    if (!r) return false;
    bool came = copy_early(t, x->rank, r, x->at, x->bytes);
    if (r->frame.kind == FRAME_meet)
        tell(t, x->rank, (Frame){.kind = FRAME_taken, .tag = x->tag});
    free(r);
    return came;
}

static TitanStatus tcp_begin(Link *l, TitanStory *s, const Letter *x,
                             LinkRequest *out)
{
    Tcp *t = (Tcp *)l;
    Peer *p = &t->peers[x->rank];
    TRY(whole(t, s));
    LinkRequest r = calloc(1, sizeof *r);
    if (!r) return titan_no_memory(s);
    *out = r;
    r->at = x->at;
    r->frame = (Frame){.kind = x->way == LINK_meet ? FRAME_meet : FRAME_data,
                       .tag = x->tag,
                       .bytes = x->bytes};
    if (x->way == LINK_receive && take_early(t, x)) {
        r->over = true;
        return TITAN_OK;
    }
    append(x->way == LINK_receive ? &p->wants : &p->out, r);
    if (p->closed) miss(t, x->rank, WAY_closed, 0);
    need(t, x->rank);
    flush(t, x->rank);
    return TITAN_OK;
}

static TitanStatus tcp_test(Link *l, TitanStory *s, LinkRequest *r,
                            bool patient, bool *gone)
{
    Tcp *t = (Tcp *)l;
    if (!(*r)->over) turn(t, patient ? WAIT_MS : 0);
    *gone = (*r)->over;
    if (!*gone) return whole(t, s);
    free(*r);
    *r = NULL;
    return TITAN_OK;
}

static TitanStatus tcp_look(Link *l, TitanStory *s)
{
    turn((Tcp *)l, 0);
    return whole((Tcp *)l, s);
}

/* Its end is seen without reading what it has sent before. */
static bool tcp_misses(const Link *l, uint32_t *rank)
{
    const Tcp *t = (const Tcp *)l;
    for (uint32_t r = 0; r < l->ranks; r++) {
        struct pollfd p = {.fd = t->first[r], .events = POLLRDHUP};
        if (p.fd < 0 || poll(&p, 1, 0) <= 0) continue;
        *rank = r;
        return true;
    }
    return false;
}

static bool has_more(const Tcp *t)
{
    for (uint32_t r = 0; r < t->link.ranks; r++)
        if (has_to_send(&t->peers[r])) return true;
    return false;
}

/* The later of the two connects here too. */
static int tcp_line(Link *l, uint32_t rank)
{
    Tcp *t = (Tcp *)l;
    double end = seconds_now() + LINE_SECONDS;
    if (rank < l->rank) return joined_connect(&t->joined, rank, JOIN_line);
    int *fd = &t->peers[rank].line, got;
    while (*fd < 0 && !l->lost && !l->ended && seconds_now() < end)
        turn(t, WAIT_MS);
    got = *fd;
    *fd = -1;
    return got;
}

/* The same to all that are there, and until it is on its way.  Nothing is
 * received any more: where it was wanted may be gone. */
static void tell_all(Tcp *t, Frame f)
{
    double end = seconds_now() + LEAVE_SECONDS;
    if (t->status == TITAN_OK) t->status = TITAN_RANK_LOST;
    for (uint32_t r = 0; r < t->link.ranks; r++)
        if (t->peers[r].fd >= 0) tell(t, r, f);
    while (has_more(t) && seconds_now() < end)
        turn(t, WAIT_MS);
}

static void tcp_abort(Link *l, TitanStatus status)
{
    Tcp *t = (Tcp *)l;
    tell_all(t, (Frame){.kind = FRAME_end,
                        .tag = (int32_t)status,
                        .bytes = put_loss(t)});
}

static void tcp_close(Link *l)
{
    Tcp *t = (Tcp *)l;
    if (t->peers) tell_all(t, (Frame){.kind = FRAME_bye});
    for (uint32_t r = 0; t->peers && r < l->ranks; r++) {
        Peer *p = &t->peers[r];
        if (p->fd >= 0) close(p->fd);
        if (p->line >= 0) close(p->line);
        clear(&p->out);
        clear(&p->wants);
        clear(&p->meets);
        clear(&p->early);
        free(p->into);
    }
    if (t->joined.listener >= 0) close(t->joined.listener);
    joined_free(&t->joined);
    free(t->peers);
    free(t->polls);
    free(t->who);
    free(t->first);
    free(t);
}

static const LinkClass tcp_class = {.about = "of a launcher",
                                    .who = "the launcher has started",
                                    .begin = tcp_begin,
                                    .test = tcp_test,
                                    .look = tcp_look,
                                    .misses = tcp_misses,
                                    .line = tcp_line,
                                    .abort = tcp_abort,
                                    .close = tcp_close};

static TitanStatus join(TitanStory *s, const World *w, double patience, Tcp *t)
{
    t->peers = calloc(w->ranks, sizeof *t->peers);
    t->polls = calloc(w->ranks + 1, sizeof *t->polls);
    t->who = calloc(w->ranks + 1, sizeof *t->who);
    t->first = calloc(w->ranks, sizeof *t->first);
    for (uint32_t r = 0; t->peers && r < w->ranks; r++)
        t->peers[r].fd = t->peers[r].line = -1;
    if (!t->peers || !t->polls || !t->who || !t->first)
        return titan_no_memory(s);
    TRY(world_join(s, w, patience, &t->joined));
    for (uint32_t r = 0; r < w->ranks; r++) {
        t->first[r] = t->joined.fds[r];
        if (t->first[r] >= 0) adopt(t, r, t->first[r]);
        t->joined.fds[r] = -1;
    }
    return TITAN_OK;
}

TitanStatus tcp_open(TitanStory *s, double patience, Link **out)
{
    World w;
    Tcp *t = calloc(1, sizeof *t);
    if (!t) return titan_no_memory(s);
    world_read(&w);
    t->joined.listener = -1;
    t->link = (Link){.class = &tcp_class,
                     .rank = w.rank,
                     .ranks = w.ranks,
                     .local = w.local,
                     .beside = w.beside,
                     .most = FRAME_MOST};
    TitanStatus st = join(s, &w, patience, t);
    if (st == TITAN_OK)
        *out = &t->link;
    else
        tcp_close(&t->link);
    return st;
}
