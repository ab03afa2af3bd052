/*
 * gather.c: rank 0 waits for the other ranks of its run.
 *
 * One that ends before all are there is missed at once: by its connection, or
 * since it comes to say so.  Nobody misses one that was never started, so it is
 * said who is waited for.
 */
#include "words.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "clock.h"

enum { HEARD_AT_ONCE = 256 };

typedef struct Gathering {
    TitanStory *story;
    const World *world;
    Joined *joined;
    Patience patience;
    uint32_t there; /* ranks, this one too */
    uint32_t came;  /* other processes of this run, whatever they said */
    struct pollfd *polls;
    uint32_t *who; /* of each poll */
} Gathering;

static TitanStatus take(const Gathering *g, int fd, const Words *w)
{
    Joined *j = g->joined;
    uint32_t rank = w->who.rank;
    if (w->ranks != g->world->ranks)
        return titan_fail(g->story, TITAN_MISMATCH,
                          "rank %" PRIu32 " was told of %" PRIu32
                          " ranks, rank 0 of %" PRIu32,
                          rank, w->ranks, g->world->ranks);
    if (rank >= w->ranks)
        return titan_fail(g->story, TITAN_MISMATCH,
                          "a process says that it is rank %" PRIu32
                          ", and %" PRIu32 " ranks count from 0",
                          rank, w->ranks);
    if (rank == 0 || j->fds[rank] >= 0)
        return titan_fail(g->story, TITAN_MISMATCH,
                          "a second process says that it is rank %" PRIu32
                          " of %" PRIu32,
                          rank, w->ranks);
    j->fds[rank] = fd;
    j->places[rank] = place_there(fd);
    j->places[rank].port = (uint16_t)w->port;
    return TITAN_OK;
}

/* The story of one that ends before it has joined. */
static TitanStatus take_story(const Gathering *g, int fd, const Words *w)
{
    TitanStatus st = answer_status(w->status);
    TitanStory *s = g->story;
    if (fd_get(fd, s, sizeof *s, in_seconds(HELLO_SECONDS)) && s->n > 0)
        titan_story_mend(s);
    else
        titan_fail(s, st, "it has not said why");
    return titan_while(s, st, "rank %" PRIu32 " of %" PRIu32 " began",
                       w->who.rank, w->ranks);
}

/* False: it is none of this run, and is told so where it is of another. */
static bool is_of_run(const Gathering *g, int fd, Words *w)
{
    if (!fd_get(fd, w, sizeof *w, in_seconds(HELLO_SECONDS)) ||
        !words_are_known(w))
        return false;
    bool comes = w->who.use == JOIN_come || w->who.use == JOIN_decline;
    if (comes && memcmp(w->key, g->world->run, RUN_NAME) == 0) return true;
    answer_say(fd, OTHER_RUN);
    return false;
}

/* One that has gone again is no trouble. */
static TitanStatus not_taken(const Gathering *g)
{
    if (errno != EMFILE && errno != ENFILE) return TITAN_OK;
    return titan_fail(g->story, TITAN_UNAVAILABLE,
                      "could not take a connection when %" PRIu32 " of %" PRIu32
                      " ranks had come: %s; ulimit -n allows more",
                      g->there, g->world->ranks, strerror(errno));
}

/* The next at the door; VERDICT: on all that come, or OK: they may join. */
static TitanStatus hear(Gathering *g, TitanStatus verdict)
{
    Words w;
    TitanStatus st = verdict;
    int fd = dial_accept(g->joined->listener);
    if (fd < 0) return verdict == TITAN_OK ? not_taken(g) : verdict;
    if (!is_of_run(g, fd, &w)) {
        close(fd);
        return verdict;
    }
    g->came++;
    answer_say(fd, HEARD);
    bool declines = w.who.use == JOIN_decline;
    if (verdict == TITAN_OK)
        st = declines ? take_story(g, fd, &w) : take(g, fd, &w);
    g->there += st == TITAN_OK;
    if (st == TITAN_OK) return TITAN_OK;
    answer_say(fd, st);
    close(fd);
    return st;
}

/* One that is there says nothing before it is told more. */
static TitanStatus miss(const Gathering *g, uint32_t rank)
{
    titan_fail(g->story, TITAN_RANK_LOST,
               "rank %" PRIu32 " of %" PRIu32
               " was lost: its connection was closed",
               rank, g->world->ranks);
    return titan_while(g->story, TITAN_RANK_LOST, "the ranks found each other");
}

static bool is_knocked(const Gathering *g, int wait_ms)
{
    struct pollfd p = {.fd = g->joined->listener, .events = POLLIN};
    return poll(&p, 1, wait_ms) > 0;
}

/* Several at once, since to look at all that are there takes longer. */
static TitanStatus hear_some(Gathering *g)
{
    TitanStatus st = hear(g, TITAN_OK);
    for (int i = 1; i < HEARD_AT_ONCE && g->there < g->world->ranks; i++) {
        if (st != TITAN_OK || !is_knocked(g, 0)) break;
        st = hear(g, TITAN_OK);
    }
    return st;
}

/* At the door, and at those that are there, for a moment. */
static TitanStatus look(Gathering *g)
{
    nfds_t n = 0;
    const Joined *j = g->joined;
    for (uint32_t r = 1; r < g->world->ranks; r++) {
        if (j->fds[r] < 0) continue;
        g->who[n] = r;
        g->polls[n++] = (struct pollfd){.fd = j->fds[r], .events = POLLIN};
    }
    g->polls[n] = (struct pollfd){.fd = j->listener, .events = POLLIN};
    if (poll(g->polls, n + 1, DOOR_MS) <= 0) return TITAN_OK;
    for (nfds_t i = 0; i < n; i++)
        if (g->polls[i].revents) return miss(g, g->who[i]);
    return g->polls[n].revents ? hear_some(g) : TITAN_OK;
}

static uint32_t first_absent(const Gathering *g)
{
    uint32_t rank = 1;
    while (rank + 1 < g->world->ranks && g->joined->fds[rank] >= 0)
        rank++;
    return rank;
}

static void say_waits(Gathering *g)
{
    const World *w = g->world;
    char others[64] = "";
    uint32_t absent = w->ranks - g->there;
    double left = patience_says(&g->patience);
    if (left == 0) return;
    if (absent > 1)
        snprintf(others, sizeof others, " and %" PRIu32 " other%s", absent - 1,
                 absent > 2 ? "s" : "");
    fprintf(stderr,
            "note: rank %" PRIu32 " of %" PRIu32 "%s %s not come to port %s "
            "yet; waiting %.0f s more\n",
            first_absent(g), w->ranks, others, absent > 1 ? "have" : "has",
            w->port, left);
}

static TitanStatus gather(Gathering *g, double patience)
{
    TitanStatus st = TITAN_OK;
    g->patience = patience_of(patience);
    while (st == TITAN_OK && g->there < g->world->ranks) {
        if (seconds_now() > g->patience.end)
            return titan_fail(g->story, TITAN_RANK_LOST,
                              "rank %" PRIu32 " of %" PRIu32
                              " has not come to port %s in %.0f s; "
                              "--join-timeout waits longer",
                              first_absent(g), g->world->ranks, g->world->port,
                              patience);
        say_waits(g);
        st = look(g);
    }
    return st;
}

/* Whether they begin, and where each is.  Where one of them has gone, those
 * that are told later do not; the others miss this rank. */
static TitanStatus answer(const Gathering *g, TitanStatus verdict)
{
    const Joined *j = g->joined;
    uint32_t ranks = g->world->ranks;
    for (uint32_t r = 1; r < ranks; r++) {
        if (j->fds[r] < 0) continue;
        bool told = answer_say(j->fds[r], verdict);
        Until u = in_seconds(HELLO_SECONDS);
        if (told && verdict == TITAN_OK)
            told = fd_put(j->fds[r], j->token, sizeof j->token, u) &&
                   fd_put(j->fds[r], j->places, ranks * sizeof *j->places, u);
        if (!told && verdict == TITAN_OK) verdict = miss(g, r);
    }
    return verdict;
}

/* Those that come late are told that nothing begins. */
static void linger(Gathering *g, TitanStatus verdict)
{
    double end = seconds_now() + LINGER_SECONDS;
    while (g->came + 1 < g->world->ranks && seconds_now() < end)
        if (is_knocked(g, DOOR_MS)) hear(g, verdict);
}

static int listen_first(const World *w)
{
    Place p = place_of_number(w->host);
    p.port = htons((uint16_t)atoi(w->port));
    return dial_listen(&p, w->ranks);
}

static TitanStatus begin_gathering(Gathering *g)
{
    Joined *j = g->joined;
    const World *w = g->world;
    g->polls = calloc(w->ranks, sizeof *g->polls);
    g->who = calloc(w->ranks, sizeof *g->who);
    if (!g->polls || !g->who) return titan_no_memory(g->story);
    j->listener = listen_first(w);
    if (j->listener < 0)
        return titan_fail(g->story, TITAN_UNAVAILABLE,
                          "could not listen at port %s, where the other ranks "
                          "come: %s; set MASTER_PORT to a free one",
                          w->port, strerror(errno));
    if (getrandom(j->token, sizeof j->token, 0) == sizeof j->token)
        return TITAN_OK;
    return titan_fail(g->story, TITAN_UNAVAILABLE,
                      "could not draw a number for the ranks: %s",
                      strerror(errno));
}

TitanStatus gather_ranks(TitanStory *s, const World *w, double patience,
                         Joined *j)
{
    Gathering g = {.story = s, .world = w, .joined = j, .there = 1};
    TitanStatus st = begin_gathering(&g);
    if (st == TITAN_OK) st = answer(&g, gather(&g, patience));
    if (st != TITAN_OK) joined_hang_up(j);
    if (st != TITAN_OK && seconds_now() < g.patience.end) {
        titan_story_print(s, "titan");
        *s = (TitanStory){0};
        linger(&g, st);
    }
    free(g.polls);
    free(g.who);
    return st;
}

void gather_in_vain(const World *w, TitanStatus status)
{
    Joined j = {.listener = listen_first(w)};
    Gathering g = {.world = w, .joined = &j};
    if (j.listener < 0) return;
    linger(&g, status);
    close(j.listener);
}
