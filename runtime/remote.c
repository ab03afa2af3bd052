/*
 * remote.c: the crew of processes that a launcher has started.
 *
 * An order goes to each rank as a message, with what is to be written behind
 * it; each answers, with what was read.  A rank that cannot go on tells its
 * story itself and ends all of them.
 */
#include "remote.h"

#include "fetch.h"
#include "leave.h"
#include "pool.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Remote {
    Crew crew; /* first */
    Link *link;
    Mail mail;
    TitanRank rank;
    Crate *crate;     /* of the order at hand */
    FetchLine *lines; /* of rank 0, to each other */
    FetchServer server;
    Leave *leave;      /* of GPUs */
    DeviceGuard guard; /* of a machine's first rank */
    uint32_t gone;     /* the rank that it misses */
    atomic_bool ended;
} Remote;

static TitanStatus pass(Remote *r, LinkWay way, uint32_t rank, void *at,
                        size_t bytes)
{
    Letter what = {way, rank, LINK_tag_order, at, bytes};
    return link_pass(r->crew.story, r->link, &r->mail, what);
}

/* ---------------------------------------------------------------- rank 0 -- */

/* The runs of a crate, and behind them the bytes. */
static TitanStatus pass_crate(Remote *r, const Order *o, uint32_t rank)
{
    Crate *c = r->crate;
    LinkWay way = o->kind == ORDER_write ? LINK_send : LINK_receive;
    Order told = crate_order(c, o);
    TRY(pass(r, LINK_send, rank, &told, sizeof told));
    TRY(pass(r, LINK_send, rank, c->runs, c->n * sizeof *c->runs));
    return pass(r, way, rank, c->at, c->bytes);
}

static TitanStatus tell_move(Remote *r, uint32_t rank, const Order *o)
{
    for (CrateWalk w = {0}; crate_fill(r->crate, o, &w);) {
        TRY(pass_crate(r, o, rank));
        if (o->kind != ORDER_write) crate_unpack(r->crate, o);
    }
    return TITAN_OK;
}

static bool is_host(const Remote *r)
{
    return r->crew.im->header->target == TITAN_TARGET_host;
}

static void say_where(const Remote *r, TitanStory *s, TitanStatus st,
                      uint32_t rank)
{
    char where[256];
    const Board *b = r->link->board;
    if (!board_knows(b, rank)) return;
    command_words(r->crew.im, atomic_load(&b->rows[rank].command), where,
                  sizeof where);
    if (where[0]) titan_while(s, st, "rank %" PRIu32 " was in %s", rank, where);
}

/* Of what became of rank 0: one for each machine, and on its own none where it
 * has told the end itself. */
static bool is_to_tell(const Link *l)
{
    Board *b = l->board;
    if (!b || !board_knows(b, 0)) return l->local == 0;
    board_end(b, l->rank);
    return atomic_load(&b->ended) == l->rank + 1;
}

/* Where one that was missed was, and this rank. */
static TitanStatus conclude(Remote *r, TitanStatus st)
{
    const Link *l = r->link;
    TitanStory *s = r->crew.story;
    if (st != TITAN_OK) atomic_store(&r->ended, true);
    if (st != TITAN_OK && l->rank == 0 && l->board) board_end(l->board, 0);
    if (st != TITAN_RANK_LOST || !l->board) return st;
    if (l->lost && l->lost - 1 != l->rank) say_where(r, s, st, l->lost - 1);
    say_where(r, s, st, l->rank);
    leave_soon(r->leave, s, st);
    return st;
}

/* This rank may be in a launch that waits for one that is lost. */
static bool has_ended(void *user)
{
    Remote *r = user;
    const LinkClass *class = r->link->class;
    return class->misses && class->misses(r->link, &r->gone);
}

static TitanStatus why_ended(void *user, TitanStory *out)
{
    const Remote *r = user;
    const TitanStatus st = TITAN_RANK_LOST;
    uint32_t me = r->link->rank;
    if (!is_to_tell(r->link) && me > 0) return st;
    titan_fail(out, st,
               "rank %" PRIu32 " of %" PRIu32
               " was lost: its connection was closed",
               r->gone, r->link->ranks);
    say_where(r, out, st, r->gone);
    say_where(r, out, st, me);
    return st;
}

/* Whether the rank can, and then a line to it. */
static TitanStatus ask_stage(Remote *r, uint32_t rank, Order *o)
{
    uint32_t can = 0;
    FetchLine *line = &r->lines[rank];
    o->at = line->fd >= 0 ? (char *)line : NULL;
    if (o->at) return TITAN_OK;
    TRY(pass(r, LINK_send, rank, o, sizeof *o));
    TRY(pass(r, LINK_receive, rank, &can, sizeof can));
    if (!can) return TITAN_OK;
    line->fd = r->link->class->line(r->link, rank);
    line->crate = malloc(sizeof *line->crate);
    TRY(pass(r, LINK_receive, rank, &can, sizeof can));
    if (can && line->fd >= 0 && line->crate) {
        o->at = (char *)line;
        return TITAN_OK;
    }
    fetch_hang_up(line);
    fprintf(stderr,
            "note: there is no connection to rank %" PRIu32 " for a copy of "
            "its state\n",
            rank);
    return TITAN_OK;
}

static TitanStatus ask(Remote *r, uint32_t rank, Order *o)
{
    if (rank == 0) return order_run(r->crew.im, r->crew.first, o);
    if (order_moves(o)) return tell_move(r, rank, o);
    if (o->kind == ORDER_stage_open) return ask_stage(r, rank, o);
    TRY(pass(r, LINK_send, rank, o, sizeof *o));
    if (order_answers(o)) return pass(r, LINK_receive, rank, o, sizeof *o);
    return TITAN_OK;
}

static TitanStatus remote_one(Crew *c, uint32_t rank, Order *o)
{
    Remote *r = (Remote *)c;
    return conclude(r, ask(r, rank, o));
}

static TitanStatus tell_all(Remote *r, const Order *o)
{
    Order mine = *o;
    uint32_t status;
    for (uint32_t k = 1; k < r->crew.ranks; k++)
        TRY(pass(r, LINK_send, k, &mine, sizeof mine));
    TRY(order_run(r->crew.im, r->crew.first, &mine));
    for (uint32_t k = 1; k < r->crew.ranks; k++)
        TRY(pass(r, LINK_receive, k, &status, sizeof status));
    return TITAN_OK;
}

static TitanStatus remote_all(Crew *c, const Order *o)
{
    Remote *r = (Remote *)c;
    return conclude(r, tell_all(r, o));
}

static TitanStatus remote_staged(Crew *c, uint32_t rank, TitanStory *story,
                                 const Order *o)
{
    Remote *r = (Remote *)c;
    return rank ? fetch_read(story, &r->lines[rank], o)
                : order_staged(story, c->first, o);
}

static void close_device(Remote *r)
{
    fetch_close(&r->server);
    device_free(r->crew.first);
    r->crew.first = NULL;
}

static void stop_leave(Remote *r)
{
    leave_stop(r->leave);
    r->leave = NULL;
}

/* It ends by itself, and of no kernel. */
static void end_guard(void *user)
{
    device_guard_end(&((Remote *)user)->guard);
}

static void close_remote(Remote *r)
{
    for (uint32_t k = 0; r->lines && k < r->link->ranks; k++)
        fetch_hang_up(&r->lines[k]);
    free(r->lines);
    close_device(r);
    stop_leave(r);
    end_guard(r);
    r->link->board = NULL;
    if (r->rank.transport) r->rank.transport->class->free(r->rank.transport);
    mail_free(&r->mail);
    free(r->crate);
}

/* Devices are closed side by side, for one waits until the others have nothing
 * of it open.  Who is told nothing may be anywhere. */
static void tell_close(const Remote *r)
{
    TitanStory nobody = {0};
    Order o = {.kind = ORDER_close};
    Remote teller = {.crew = {.story = &nobody}, .link = r->link};
    bool whole = r->crew.first && !atomic_load(&r->ended);
    for (uint32_t k = 1; whole && k < r->link->ranks; k++)
        whole = pass(&teller, LINK_send, k, &o, sizeof o) == TITAN_OK;
    mail_free(&teller.mail);
}

static void remote_free(Crew *c)
{
    tell_close((Remote *)c);
    close_remote((Remote *)c);
    free(c);
}

static const CrewClass remote_class = {.all = remote_all,
                                       .one = remote_one,
                                       .staged = remote_staged,
                                       .free = remote_free};

/* The device of this process's rank. */
static TitanStatus open_remote(Remote *r, TitanStory *story,
                               const TitanImage *im, const TitanCode *code,
                               const DeviceOptions *o)
{
    DeviceOptions mine = *o;
    r->crew.story = story;
    r->crew.im = im;
    r->link = o->link;
    r->link->board = o->board;
    r->rank = (TitanRank){.rank = r->link->rank, .local = r->link->local};
    r->link->room = o->send_room;
    if (r->rank.local == 0) device_guard_begin(&r->guard, im, code);
    r->crate = malloc(sizeof *r->crate);
    r->lines = calloc(r->link->ranks, sizeof *r->lines);
    if (!r->crate || !r->lines) return titan_no_memory(story);
    for (uint32_t k = 0; k < r->link->ranks; k++)
        r->lines[k] = (FetchLine){.fd = -1, .rank = k, .ended = &r->ended};
    if (!is_host(r))
        r->leave = leave_watch((LeaveRule){has_ended, why_ended, end_guard, r});
    TRY(link_transport(story, im, o->link, &r->rank.transport));
    mine.rank = &r->rank;
    mine.guard = &r->guard;
    mine.threads = pool_share(o->threads, o->link->beside);
    if (o->board) mine.command = &o->board->rows[o->link->rank].command;
    return device_new(story, im, code, &mine, &r->crew.first);
}

TitanStatus remote_crew_new(TitanStory *story, const TitanImage *im,
                            const TitanCode *code, const DeviceOptions *o,
                            Crew **out)
{
    Remote *r = calloc(1, sizeof *r);
    if (!r) return titan_no_memory(story);
    r->crew.class = &remote_class;
    r->crew.ranks = im->header->ranks;
    snprintf(r->crew.about, sizeof r->crew.about, "%" PRIu32 " ranks %s",
             r->crew.ranks, o->link->class->about);
    TitanStatus st = open_remote(r, story, im, code, o);
    *out = &r->crew;
    if (st != TITAN_OK) remote_free(&r->crew);
    return st;
}

void remote_dismiss(Link *l, TitanStatus status)
{
    Remote r = {.crew = {.story = &(TitanStory){0}}, .link = l};
    Order end = {.kind = ORDER_end, .turn = status};
    for (uint32_t k = 1; k < l->ranks; k++)
        pass(&r, LINK_send, k, &end, sizeof end);
    mail_free(&r.mail);
}

void remote_abort(Link *l, TitanStatus status)
{
    l->class->abort(l, status);
}

/* ------------------------------------------------------------ the others -- */

static TitanStatus receive_runs(Remote *r, size_t n)
{
    Crate *c = r->crate;
    if (n > CRATE_RUNS)
        return titan_fail(r->crew.story, TITAN_INTERNAL, "an order of %zu runs",
                          n);
    TRY(pass(r, LINK_receive, 0, c->runs, n * sizeof *c->runs));
    c->n = n;
    size_t whole = crate_close(c);
    if (whole == n) return TITAN_OK;
    return titan_fail(r->crew.story, TITAN_INTERNAL,
                      "run %zu of an order leaves its crate", whole);
}

static TitanStatus serve_move(Remote *r, Order *o)
{
    Crate *c = r->crate;
    TRY(receive_runs(r, o->nparts));
    if (o->kind == ORDER_write) TRY(pass(r, LINK_receive, 0, c->at, c->bytes));
    Order mine = crate_order(c, o);
    TRY(order_run(r->crew.im, r->crew.first, &mine));
    return o->kind != ORDER_write ? pass(r, LINK_send, 0, c->at, c->bytes)
                                  : TITAN_OK;
}

static TitanStatus serve_stage(Remote *r, Order *o)
{
    TRY(order_run(r->crew.im, r->crew.first, o));
    uint32_t can = o->at != NULL;
    TRY(pass(r, LINK_send, 0, &can, sizeof can));
    if (!can) return TITAN_OK;
    fetch_close(&r->server); /* of a line that rank 0 could not keep */
    int fd = r->link->class->line(r->link, 0);
    can = fd >= 0 && fetch_serve(&r->server, fd, r->crew.im, r->crew.first);
    return pass(r, LINK_send, 0, &can, sizeof can);
}

/* Rank 0 may be gone before this one is closed. */
static TitanStatus serve_close(Remote *r)
{
    stop_leave(r);
    close_device(r);
    return TITAN_OK;
}

static TitanStatus serve(Remote *r, Order *o)
{
    uint32_t status = TITAN_OK;
    if (o->kind == ORDER_close) return serve_close(r);
    if (order_moves(o)) return serve_move(r, o);
    if (o->kind == ORDER_stage_open) return serve_stage(r, o);
    TRY(order_run(r->crew.im, r->crew.first, o));
    if (order_answers(o)) return pass(r, LINK_send, 0, o, sizeof *o);
    return pass(r, LINK_send, 0, &status, sizeof status);
}

/* Signals are for rank 0, which decides for all. */
static void leave_signals(void)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        signal(numbers[i], SIG_IGN);
}

static bool first_is_gone(const Link *l)
{
    uint32_t gone = 1;
    if (l->lost == 1) return true;
    return l->class->misses && l->class->misses(l, &gone) && gone == 0;
}

/* Rank 0 tells who is lost, others that it is; who ends all has told why. */
static void tell_story(Remote *r, TitanStatus st)
{
    const Link *l = r->link;
    bool mine = l->lost ? first_is_gone(l) && is_to_tell(l) : !l->ended;
    if (mine) {
        conclude(r, st);
        titan_while(r->crew.story, st, "running rank %" PRIu32, l->rank);
        titan_story_print(r->crew.story, "titan");
    }
    *r->crew.story = (TitanStory){0};
}

TitanStatus remote_serve(TitanStory *story, const TitanImage *im,
                         const TitanCode *code, const DeviceOptions *o)
{
    Remote r = {0};
    Order order = {0};
    leave_signals();
    TitanStatus st = open_remote(&r, story, im, code, o);
    while (st == TITAN_OK) {
        st = pass(&r, LINK_receive, 0, &order, sizeof order);
        if (st != TITAN_OK || order.kind == ORDER_end) break;
        st = serve(&r, &order);
    }
    if (st != TITAN_OK) {
        tell_story(&r, st);
        if (!o->link->ended) remote_abort(o->link, st);
        leave_soon(r.leave, story, st);
    } else {
        serve_close(&r);
    }
    close_remote(&r);
    return st == TITAN_OK ? (TitanStatus)order.turn : st;
}
