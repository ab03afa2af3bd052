/*
 * remote.c: the crew of processes that mpirun has started.
 *
 * An order goes to each rank as a message, with what is to be written behind
 * it; each answers, with what was read.  A rank that cannot go on tells its
 * story itself and ends the job: the launcher ends the others.
 */
#include "remote.h"

#include "pool.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Remote {
    Crew crew; /* first */
    Mpi *mpi;
    MpiMail mail;
    TitanRank rank;
    PartRun *parts; /* of the order at hand */
    size_t most_parts;
    char *data;
    size_t most_data;
} Remote;

static TitanStatus pass(Remote *r, MpiWay way, uint32_t rank, void *at,
                        size_t bytes)
{
    MpiMessage what = {way, rank, MPI_tag_order, at, bytes};
    return mpi_pass(r->crew.story, r->mpi, &r->mail, what);
}

static TitanStatus need(Remote *r, size_t parts, size_t data)
{
    if (parts > r->most_parts) {
        PartRun *more = realloc(r->parts, parts * sizeof *more);
        if (!more) return titan_no_memory(r->crew.story);
        r->parts = more;
        r->most_parts = parts;
    }
    if (data > r->most_data) {
        char *more = realloc(r->data, data);
        if (!more) return titan_no_memory(r->crew.story);
        r->data = more;
        r->most_data = data;
    }
    return TITAN_OK;
}

static bool moves(const Order *o)
{
    return o->kind == ORDER_write || o->kind == ORDER_read;
}

static size_t bytes_of(const PartRun *parts, size_t n)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += parts[i].bytes;
    return bytes;
}

/* ------------------------------------------------------------------ rank 0 --
 */

/* The bytes of O's runs side by side in `data`, or back. */
static void pack(Remote *r, const Order *o, bool back)
{
    char *at = r->data;
    for (size_t i = 0; i < o->nparts; i++) {
        char *there = o->at + o->parts[i].whole;
        memcpy(back ? there : at, back ? at : there, o->parts[i].bytes);
        at += o->parts[i].bytes;
    }
}

static TitanStatus tell_move(Remote *r, uint32_t rank, const Order *o)
{
    size_t bytes = bytes_of(o->parts, o->nparts), before = 0;
    TRY(need(r, o->nparts, bytes));
    for (size_t i = 0; i < o->nparts; i++) {
        r->parts[i] = o->parts[i];
        r->parts[i].whole = before;
        before += o->parts[i].bytes;
    }
    if (o->kind == ORDER_write) pack(r, o, false);
    TRY(pass(r, MPI_send, rank, r->parts, o->nparts * sizeof *r->parts));
    TRY(pass(r, o->kind == ORDER_write ? MPI_send : MPI_receive, rank, r->data,
             bytes));
    if (o->kind == ORDER_read) pack(r, o, true);
    return TITAN_OK;
}

static TitanStatus remote_one(Crew *c, uint32_t rank, Order *o)
{
    Remote *r = (Remote *)c;
    if (rank == 0) return order_run(c->im, c->first, o);
    TRY(pass(r, MPI_send, rank, o, sizeof *o));
    if (o->kind == ORDER_found)
        return pass(r, MPI_receive, rank, &o->found, sizeof o->found);
    return moves(o) ? tell_move(r, rank, o) : TITAN_OK;
}

static TitanStatus remote_all(Crew *c, const Order *o)
{
    Remote *r = (Remote *)c;
    Order mine = *o;
    uint32_t status;
    for (uint32_t k = 1; k < c->ranks; k++)
        TRY(pass(r, MPI_send, k, &mine, sizeof mine));
    TRY(order_run(c->im, c->first, &mine));
    for (uint32_t k = 1; k < c->ranks; k++)
        TRY(pass(r, MPI_receive, k, &status, sizeof status));
    return TITAN_OK;
}

static void close_remote(Remote *r)
{
    device_free(r->crew.first);
    r->mpi->board = NULL;
    if (r->rank.transport) r->rank.transport->class->free(r->rank.transport);
    mail_free(&r->mail);
    free(r->parts);
    free(r->data);
}

static void remote_free(Crew *c)
{
    close_remote((Remote *)c);
    free(c);
}

static const CrewClass remote_class = {
    .all = remote_all, .one = remote_one, .free = remote_free};

/* The device of this process's rank. */
static TitanStatus open_remote(Remote *r, TitanStory *story,
                               const TitanImage *im, const TitanCode *code,
                               const DeviceOptions *o)
{
    DeviceOptions mine = *o;
    r->crew.story = story;
    r->crew.im = im;
    r->mpi = o->mpi;
    r->mpi->board = o->board;
    r->rank.rank = o->mpi->rank;
    r->mpi->room = o->send_room;
    TRY(mpi_transport(story, im, o->mpi, &r->rank.transport));
    mine.rank = &r->rank;
    mine.threads = pool_share(o->threads, o->mpi->local);
    if (o->board) mine.command = &o->board->rows[o->mpi->rank].command;
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
    snprintf(r->crew.about, sizeof r->crew.about,
             "%" PRIu32 " ranks under mpirun", r->crew.ranks);
    TitanStatus st = open_remote(r, story, im, code, o);
    *out = &r->crew;
    if (st != TITAN_OK) remote_free(&r->crew);
    return st;
}

void remote_dismiss(Mpi *m, TitanStatus status)
{
    Remote r = {.crew = {.story = &(TitanStory){0}}, .mpi = m};
    Order end = {.kind = ORDER_end, .turn = status};
    for (uint32_t k = 1; k < m->ranks; k++)
        pass(&r, MPI_send, k, &end, sizeof end);
    mail_free(&r.mail);
}

void remote_abort(Mpi *m, TitanStatus status)
{
    m->MPI_Abort(m->world, (int)status);
}

/* -------------------------------------------------------------- the others --
 */

static TitanStatus serve_move(Remote *r, Order *o)
{
    TRY(need(r, o->nparts, 0));
    TRY(pass(r, MPI_receive, 0, r->parts, o->nparts * sizeof *r->parts));
    size_t bytes = bytes_of(r->parts, o->nparts);
    TRY(need(r, 0, bytes));
    o->parts = r->parts;
    o->at = r->data;
    if (o->kind == ORDER_write) TRY(pass(r, MPI_receive, 0, r->data, bytes));
    TRY(order_run(r->crew.im, r->crew.first, o));
    return o->kind == ORDER_read ? pass(r, MPI_send, 0, r->data, bytes)
                                 : TITAN_OK;
}

static TitanStatus serve(Remote *r, Order *o)
{
    uint32_t status = TITAN_OK;
    if (moves(o)) return serve_move(r, o);
    TRY(order_run(r->crew.im, r->crew.first, o));
    if (o->kind == ORDER_found)
        return pass(r, MPI_send, 0, &o->found, sizeof o->found);
    return pass(r, MPI_send, 0, &status, sizeof status);
}

/* Signals are for rank 0, which decides for all. */
static void leave_signals(void)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        signal(numbers[i], SIG_IGN);
}

TitanStatus remote_serve(TitanStory *story, const TitanImage *im,
                         const TitanCode *code, const DeviceOptions *o)
{
    Remote r = {0};
    Order order = {0};
    leave_signals();
    TitanStatus st = open_remote(&r, story, im, code, o);
    while (st == TITAN_OK) {
        st = pass(&r, MPI_receive, 0, &order, sizeof order);
        if (st != TITAN_OK || order.kind == ORDER_end) break;
        st = serve(&r, &order);
    }
    close_remote(&r);
    if (st == TITAN_OK) return (TitanStatus)order.turn;
    titan_while(story, st, "running rank %" PRIu32, o->mpi->rank);
    titan_story_print(story, "titan");
    remote_abort(o->mpi, st);
    return st;
}

/* ------------------------------------------------------------- at the start --
 */

typedef struct Hello {
    uint8_t hash[16];
    uint64_t options; /* bytes of the text that follows */
} Hello;

/* Where two texts begin to differ, a word. */
static const char *word_at(const char *text, const char *other, size_t *n)
{
    size_t i = 0, begin = 0;
    for (; text[i] && text[i] == other[i]; i++)
        if (text[i] == '\n') begin = i + 1;
    *n = strcspn(text + begin, "\n");
    return text + begin;
}

static TitanStatus check_hello(Remote *r, uint32_t rank, const Hello *h,
                               const char *mine)
{
    TitanStory *s = r->crew.story;
    const char *theirs = r->data;
    size_t n, k;
    if (memcmp(h->hash, r->crew.im->header->hash, sizeof h->hash) != 0)
        return titan_fail(s, TITAN_MISMATCH,
                          "rank %" PRIu32 " runs another program than rank 0: "
                          "the hashes of their images differ",
                          rank);
    if (strcmp(theirs, mine) == 0) return TITAN_OK;
    const char *a = word_at(mine, theirs, &n), *b = word_at(theirs, mine, &k);
    return titan_fail(s, TITAN_MISMATCH,
                      "rank %" PRIu32 " has other options than rank 0: "
                      "\"%.*s\", and rank 0 has \"%.*s\"",
                      rank, (int)k, b, (int)n, a);
}

static TitanStatus hear_hello(Remote *r, uint32_t rank, const char *options)
{
    Hello h;
    TRY(pass(r, MPI_receive, rank, &h, sizeof h));
    TRY(need(r, 0, (size_t)h.options + 1));
    TRY(pass(r, MPI_receive, rank, r->data, (size_t)h.options));
    r->data[h.options] = 0;
    return check_hello(r, rank, &h, options);
}

static TitanStatus hear_all(Remote *r, const char *options)
{
    TitanStatus st = TITAN_OK;
    TitanStory first = {0};
    for (uint32_t k = 1; k < r->mpi->ranks; k++) {
        TitanStatus one = hear_hello(r, k, options);
        if (st == TITAN_OK && one != TITAN_OK) first = *r->crew.story;
        if (st == TITAN_OK) st = one;
    }
    if (st != TITAN_OK) *r->crew.story = first;
    for (uint32_t k = 1; k < r->mpi->ranks; k++)
        pass(r, MPI_send, k, &st, sizeof st);
    return st;
}

static TitanStatus say_hello(Remote *r, const char *options)
{
    TitanStatus verdict = TITAN_OK;
    Hello h = {.options = strlen(options)};
    memcpy(h.hash, r->crew.im->header->hash, sizeof h.hash);
    TRY(pass(r, MPI_send, 0, &h, sizeof h));
    TRY(pass(r, MPI_send, 0, (char *)(uintptr_t)options, h.options));
    TRY(pass(r, MPI_receive, 0, &verdict, sizeof verdict));
    return verdict;
}

TitanStatus remote_compare(TitanStory *story, Mpi *m, const TitanImage *im,
                           const char *options)
{
    Remote r = {.crew = {.story = story, .im = im}, .mpi = m};
    TitanStatus st =
        m->rank == 0 ? hear_all(&r, options) : say_hello(&r, options);
    mail_free(&r.mail);
    free(r.data);
    return st;
}
