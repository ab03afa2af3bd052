/*
 * join.c: how processes that know their numbers and one address find each
 * other.
 *
 * Rank 0 listens there.  The others connect, and say who they are and at which
 * port they listen themselves; when all are there they are told where each is,
 * for those that have something for each other later, and a number that rank 0
 * has drawn, by which these know each other.
 *
 * They say so in words.h's words; rank 0's part is gather.c.
 */
#include "words.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

/* Who is called has work to do, and waits less long; somebody else at rank 0's
 * port is not waited for. */
enum { PEER_SECONDS = 1, STRANGER_SECONDS = 8, MARGIN_SECONDS = 10 };

static Words come_with(const World *w, JoinUse use)
{
    Words x = words_of(w->rank, w->ranks, use);
    memcpy(x.key, w->run, sizeof x.key);
    return x;
}

/* ------------------------------------------------------------ the others -- */

typedef enum Door {
    DOOR_open,      /* rank 0 has heard */
    DOOR_closed,    /* nobody listens there */
    DOOR_strangers, /* somebody else does */
    DOOR_none       /* this rank has none of its own */
} Door;

typedef struct Coming {
    TitanStory *story;
    const World *world;
    Joined *joined;
    Patience patience;
    const char *why;  /* the door is closed */
    double strangers; /* since when they are there; 0: they are not */
    bool other_run;
} Coming;

/* Where it came from; those of one machine alone are to listen there alone. */
static int listen_beside(const World *w, int fd)
{
    Place here = place_here(fd), named = place_of_number(w->host);
    if (place_is_loopback(&here) && !place_is_loopback(&named))
        here = (Place){0};
    here.port = 0;
    return dial_listen(&here, w->ranks);
}

/* Of several on a machine one says it. */
static void say_comes(Coming *c, const char *why)
{
    const World *w = c->world;
    if (w->rank != 1 && w->local != 0) return;
    double left = patience_says(&c->patience);
    if (left == 0) return;
    fprintf(stderr,
            "note: rank %" PRIu32 " has not reached rank 0 at %s, port %s yet: "
            "%s; waiting %.0f s more\n",
            w->rank, w->host, w->port, why, left);
}

/* An answer may take as long as others are heard. */
static bool hear_answer(Coming *c, int fd, Answer *a)
{
    size_t done = 0;
    while (done < sizeof *a && seconds_now() < c->patience.end) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        say_comes(c, "who listens there has not answered");
        if (poll(&p, 1, DOOR_MS) <= 0) continue;
        ssize_t n = recv(fd, (char *)a + done, sizeof *a - done, MSG_DONTWAIT);
        if (n <= 0 && (n == 0 || (errno != EAGAIN && errno != EINTR)))
            return false;
        done += n > 0 ? (size_t)n : 0;
    }
    return done == sizeof *a && answer_is_known(a);
}

static Door knock(Coming *c)
{
    Joined *j = c->joined;
    Answer a = {.verdict = OTHER_RUN};
    Words mine = come_with(c->world, JOIN_come);
    c->why = dial_host(c->world->host, c->world->port, &j->fds[0]);
    if (c->why) return DOOR_closed;
    if (j->listener < 0) j->listener = listen_beside(c->world, j->fds[0]);
    if (j->listener < 0) return DOOR_none;
    mine.port = place_here(j->listener).port;
    bool answered =
        fd_put(j->fds[0], &mine, sizeof mine, in_seconds(HELLO_SECONDS)) &&
        hear_answer(c, j->fds[0], &a);
    if (answered && a.verdict == HEARD) return DOOR_open;
    close(j->fds[0]);
    j->fds[0] = -1;
    c->other_run = answered;
    return DOOR_strangers;
}

static TitanStatus turned_away(const Coming *c)
{
    return titan_fail(c->story, TITAN_UNAVAILABLE,
                      "rank %" PRIu32 " has found %s at %s, port %s, where "
                      "rank 0 is to be; set MASTER_PORT to a free one",
                      c->world->rank,
                      c->other_run ? "another run" : "something else",
                      c->world->host, c->world->port);
}

/* ERROR: why this rank has no door. */
static TitanStatus shut_in(const Coming *c, int error)
{
    return titan_fail(c->story, TITAN_UNAVAILABLE,
                      "rank %" PRIu32 " cannot listen for other ranks: %s",
                      c->world->rank, strerror(error));
}

/* A port that another run still has may be rank 0's a moment later. */
static TitanStatus reach_first(Coming *c, double patience)
{
    static const struct timespec naps[] = {
        [DOOR_closed] = {0, 50000000}, [DOOR_strangers] = {0, 500000000}};
    const World *w = c->world;
    c->patience = patience_of(patience);
    for (;;) {
        Door door = knock(c);
        if (door == DOOR_none) return shut_in(c, errno);
        double now = seconds_now();
        if (door == DOOR_open) return TITAN_OK;
        if (door == DOOR_closed) c->strangers = 0;
        if (door == DOOR_strangers && c->strangers == 0) c->strangers = now;
        if (c->strangers > 0 && now > c->strangers + STRANGER_SECONDS)
            return turned_away(c);
        if (now > c->patience.end) break;
        if (door == DOOR_closed) say_comes(c, c->why);
        nanosleep(&naps[door], NULL);
    }
    return titan_fail(c->story, TITAN_UNAVAILABLE,
                      "rank %" PRIu32 " could not reach rank 0 at %s, port %s, "
                      "in %.0f s: %s; --join-timeout waits longer",
                      w->rank, w->host, w->port, patience,
                      c->why ? c->why : "it has not answered");
}

/* Rank 0 is where it was reached.  Those on its machine came to it by an
 * address that others cannot use. */
static void mend_places(const World *w, Joined *j)
{
    Place there = place_there(j->fds[0]);
    j->places[0] = there;
    for (uint32_t r = 1; r < w->ranks && !place_is_loopback(&there); r++) {
        uint16_t port = j->places[r].port;
        if (!place_is_loopback(&j->places[r])) continue;
        j->places[r] = there;
        j->places[r].port = port;
    }
}

static TitanStatus lose_first(const Coming *c)
{
    titan_fail(c->story, TITAN_RANK_LOST,
               "rank 0 of %" PRIu32 " was lost: its connection was closed",
               c->world->ranks);
    return titan_while(c->story, TITAN_RANK_LOST, "the ranks found each other");
}

/* It is rank 0's patience that ends first. */
static TitanStatus enter(TitanStory *s, const World *w, double patience,
                         Joined *j)
{
    Answer a;
    Coming c = {.story = s, .world = w, .joined = j};
    TRY(reach_first(&c, patience));
    int fd = j->fds[0];
    Until u = in_seconds(patience + MARGIN_SECONDS);
    if (!fd_get(fd, &a, sizeof a, u)) return lose_first(&c);
    if (a.verdict != TITAN_OK) return answer_status(a.verdict);
    if (!fd_get(fd, j->token, sizeof j->token, u) ||
        !fd_get(fd, j->places, w->ranks * sizeof *j->places, u))
        return lose_first(&c);
    mend_places(w, j);
    return TITAN_OK;
}

static TitanStatus check_world(TitanStory *s, const World *w)
{
    if (w->wrong[0]) return titan_fail(s, TITAN_USAGE, "%s", w->wrong);
    char *end;
    long n = strtol(w->port, &end, 10);
    if (!*end && n > 0 && n <= UINT16_MAX) return TITAN_OK;
    return titan_fail(s, TITAN_USAGE,
                      "rank 0 cannot be at port \"%s\"; set MASTER_PORT to a "
                      "number from 1 to %d",
                      w->port, UINT16_MAX);
}

TitanStatus world_join(TitanStory *s, const World *w, double patience,
                       Joined *out)
{
    *out = (Joined){.rank = w->rank, .ranks = w->ranks, .listener = -1};
    TRY(check_world(s, w));
    out->fds = malloc(w->ranks * sizeof *out->fds);
    out->places = calloc(w->ranks, sizeof *out->places);
    if (!out->fds || !out->places) return titan_no_memory(s);
    for (uint32_t r = 0; r < w->ranks; r++)
        out->fds[r] = -1;
    return w->rank == 0 ? gather_ranks(s, w, patience, out)
                        : enter(s, w, patience, out);
}

/* ------------------------------------------------------- who ends before -- */

/* True: rank 0 has heard, or somebody else who does not care. */
static bool tell_first(const TitanStory *s, const World *w, TitanStatus status)
{
    int fd;
    Answer a;
    Words mine = come_with(w, JOIN_decline);
    Until u = in_seconds(LINGER_SECONDS);
    mine.status = status;
    if (dial_host(w->host, w->port, &fd)) return false;
    if (fd_put(fd, &mine, sizeof mine, u) && fd_put(fd, s, sizeof *s, u))
        fd_get(fd, &a, sizeof a, u);
    close(fd);
    return true;
}

void world_decline(const TitanStory *s, const World *w, TitanStatus status)
{
    const struct timespec nap = {0, 50000000};
    double end = seconds_now() + LINGER_SECONDS;
    if (w->wrong[0]) return;
    if (w->rank == 0) {
        gather_in_vain(w, status);
        return;
    }
    while (!tell_first(s, w, status) && seconds_now() < end)
        nanosleep(&nap, NULL);
}

/* ----------------------------------------------------------------- later -- */

static Words call_of(const Joined *j, Caller who)
{
    Words x = words_of(who.rank, j->ranks, who.use);
    memcpy(x.key, j->token, sizeof j->token);
    return x;
}

int joined_connect(const Joined *j, uint32_t rank, JoinUse use)
{
    Words mine = call_of(j, (Caller){j->rank, use});
    int fd = dial(&j->places[rank]);
    if (fd < 0 || fd_put(fd, &mine, sizeof mine, in_seconds(HELLO_SECONDS)))
        return fd;
    close(fd);
    return -1;
}

static bool is_ours(const Joined *j, const Words *x)
{
    Words want = call_of(j, x->who);
    return memcmp(x, &want, sizeof want) == 0 && x->who.rank > j->rank &&
           x->who.rank < j->ranks && x->who.use <= JOIN_line;
}

int joined_accept(const Joined *j, Caller *who)
{
    Words theirs;
    int fd = dial_accept(j->listener);
    if (fd < 0) return -1;
    bool whole = fd_get(fd, &theirs, sizeof theirs, in_seconds(PEER_SECONDS));
    if (whole && is_ours(j, &theirs)) {
        *who = theirs.who;
        return fd;
    }
    /* one that comes to find its rank 0 is to look elsewhere */
    if (whole && words_are_known(&theirs)) answer_say(fd, OTHER_RUN);
    close(fd);
    return -1;
}

void joined_hang_up(Joined *j)
{
    for (uint32_t r = 0; j->fds && r < j->ranks; r++) {
        if (j->fds[r] >= 0) close(j->fds[r]);
        j->fds[r] = -1;
    }
}

void joined_free(Joined *j)
{
    joined_hang_up(j);
    free(j->fds);
    free(j->places);
    *j = (Joined){.listener = -1};
}
