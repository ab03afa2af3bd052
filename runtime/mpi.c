/*
 * mpi.c: Open MPI, and the transport over it.
 *
 * Messages of an exchange are all under way at once; those from one rank to
 * another that are small enough leave as parcels, and their sender goes on.
 * Who waits looks again and again, and soon sleeps in between, since several
 * ranks may share a processor; meanwhile the board says for whom it waits.
 */
#include "mpi.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST = 1 << 30, SPINS = 200, NAP_NS = 20000 };
enum { THREAD_FUNNELED = 1, PARCELS = 16 };

bool mpi_is_there(void)
{
    return getenv("OMPI_COMM_WORLD_SIZE") != NULL;
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

static TitanStatus join(TitanStory *s, Mpi *out)
{
    int rank = 0, ranks = 0, provided;
    const char *local = getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
    if (out->MPI_Init_thread(NULL, NULL, THREAD_FUNNELED, &provided) != 0 ||
        out->MPI_Comm_rank(out->world, &rank) != 0 ||
        out->MPI_Comm_size(out->world, &ranks) != 0)
        return titan_fail(s, TITAN_UNAVAILABLE, "Open MPI could not start");
    out->rank = (uint32_t)rank;
    out->ranks = (uint32_t)ranks;
    out->local = local ? (uint32_t)atoi(local) : 1;
    return TITAN_OK;
}

/* Of what has not started, nothing can be ended. */
TitanStatus mpi_open(TitanStory *s, Mpi *out)
{
    *out = (Mpi){0};
    TitanStatus st = find_library(s, out);
    if (st == TITAN_OK) st = join(s, out);
    if (st != TITAN_OK) *out = (Mpi){0};
    return st;
}

void mpi_close(Mpi *m)
{
    if (m->library) m->MPI_Finalize();
    *m = (Mpi){0};
}

/* -------------------------------------------------------------- messages -- */

static bool make_room(MpiMail *mail)
{
    if (mail->n < mail->room) return true;
    size_t room = mail->room ? 2 * mail->room : 16;
    MpiRequest *at = realloc(mail->at, room * sizeof *at);
    if (at) mail->at = at;
    uint32_t *peers = at ? realloc(mail->peers, room * sizeof *peers) : NULL;
    if (!peers) return false;
    mail->peers = peers;
    mail->room = room;
    return true;
}

static int begin(const Mpi *m, const MpiMessage *x, int n, MpiRequest *out)
{
    int to = (int)x->rank;
    switch (x->way) {
    case MPI_send:
        return m->MPI_Isend(x->at, n, m->byte, to, x->tag, m->world, out);
    case MPI_meet:
        return m->MPI_Issend(x->at, n, m->byte, to, x->tag, m->world, out);
    case MPI_receive:
        return m->MPI_Irecv(x->at, n, m->byte, to, x->tag, m->world, out);
    }
    return 0;
}

/* The library counts the bytes of a message in an int. */
TitanStatus mpi_post(TitanStory *s, Mpi *m, MpiMail *mail, MpiMessage x)
{
    while (x.bytes > 0) {
        size_t n = x.bytes < MOST ? x.bytes : MOST;
        if (!make_room(mail)) return titan_no_memory(s);
        if (begin(m, &x, (int)n, &mail->at[mail->n]) != 0)
            return titan_fail(s, TITAN_RANK_LOST,
                              "Open MPI could not reach rank %" PRIu32, x.rank);
        mail->peers[mail->n++] = x.rank;
        x.at += n;
        x.bytes -= n;
    }
    return TITAN_OK;
}

static void rest(int looks)
{
    const struct timespec nap = {0, NAP_NS};
    if (looks >= SPINS) nanosleep(&nap, NULL);
}

static void say_waits(Mpi *m, uint32_t word)
{
    if (m->board) atomic_store(&m->board->rows[m->rank].waits, word);
}

static bool has_gone(Mpi *m, MpiRequest *r)
{
    int done = 0;
    return m->MPI_Test(r, &done, NULL) != 0 || done;
}

/* All make progress while one is looked at. */
void mpi_wait(Mpi *m, MpiMail *mail)
{
    for (size_t i = 0; i < mail->n; i++) {
        say_waits(m, mail->peers[i] + 1);
        for (int looks = 0; !has_gone(m, &mail->at[i]); looks += looks < SPINS)
            rest(looks);
    }
    say_waits(m, 0);
    mail->n = 0;
}

TitanStatus mpi_pass(TitanStory *s, Mpi *m, MpiMail *mail, MpiMessage what)
{
    TRY(mpi_post(s, m, mail, what));
    mpi_wait(m, mail);
    return TITAN_OK;
}

void mail_free(MpiMail *mail)
{
    free(mail->at);
    free(mail->peers);
    *mail = (MpiMail){0};
}

/* ------------------------------------------------------------- transport -- */

/* A copy that is on its way. */
typedef struct Parcel {
    MpiMail mail;
    char *at;
} Parcel;

typedef struct Remote {
    Transport transport; /* first */
    Mpi *mpi;
    MpiMail in, out;
    char *block; /* COLLECTIVE_BLOCK for each member of the largest group */
    Parcel parcels[PARCELS];
    uint32_t sent; /* parcels so far */
} Remote;

static int group_tag(uint32_t group)
{
    return MPI_tag_group + (int)(group % (MPI_tag_channel - MPI_tag_group));
}

/* Ranks come to the messages of a pair in one order, so groups may share a tag;
 * channels differ in theirs. */
static int channel_tag(uint32_t channel)
{
    return MPI_tag_channel + (int)(channel % MPI_tag_channel);
}

static TitanStatus receive_from(Remote *r, const Exchange *x, uint32_t member,
                                char **place)
{
    Transport *t = &r->transport;
    uint32_t me = rank_member(t->im, x->group, t->rank);
    if (!*place) *place = r->block + member * (size_t)COLLECTIVE_BLOCK;
    MpiMessage what = {.way = MPI_receive,
                       .rank = rank_of_member(t->im, x->group, t->rank, member),
                       .tag = group_tag(x->group),
                       .at = *place,
                       .bytes = exchange_gets(x, me, member)};
    return mpi_post(t->story, r->mpi, &r->in, what);
}

static TitanStatus send_to(Remote *r, const Exchange *x, uint32_t member)
{
    Transport *t = &r->transport;
    uint32_t me = rank_member(t->im, x->group, t->rank);
    MpiMessage what = {.way = MPI_send,
                       .rank = rank_of_member(t->im, x->group, t->rank, member),
                       .tag = group_tag(x->group),
                       /* it is read only */
                       .at = (char *)(uintptr_t)exchange_out(x, member),
                       .bytes = exchange_sends(x, me, member)};
    return mpi_post(t->story, r->mpi, &r->out, what);
}

static TitanStatus remote_begin(Transport *t, const Exchange *x, char **in)
{
    Remote *r = (Remote *)t;
    uint32_t n = ranks_in_group(t->im, x->group);
    uint32_t me = rank_member(t->im, x->group, t->rank);
    for (uint32_t i = 0; i < n; i++)
        if (i != me && exchange_has(x->from, i))
            TRY(receive_from(r, x, i, &in[i]));
    for (uint32_t i = 0; i < n; i++)
        if (i != me && exchange_has(x->to, i)) TRY(send_to(r, x, i));
    /* it is read only */
    if (exchange_has(x->from, me))
        in[me] = (char *)(uintptr_t)exchange_out(x, me);
    mpi_wait(r->mpi, &r->in);
    return TITAN_OK;
}

static TitanStatus remote_end(Transport *t, const Exchange *x)
{
    Remote *r = (Remote *)t;
    (void)x;
    mpi_wait(r->mpi, &r->out);
    return TITAN_OK;
}

/* When the parcel that it takes the place of has come. */
static TitanStatus send_parcel(Remote *r, MpiMessage what)
{
    Parcel *p = &r->parcels[r->sent++ % PARCELS];
    mpi_wait(r->mpi, &p->mail);
    if (!p->at) p->at = malloc(r->mpi->room);
    if (!p->at) return titan_no_memory(r->transport.story);
    what.at = memcpy(p->at, what.at, what.bytes);
    return mpi_post(r->transport.story, r->mpi, &p->mail, what);
}

static TitanStatus remote_send(Transport *t, uint32_t rank, uint32_t channel,
                               const void *at, size_t bytes)
{
    Remote *r = (Remote *)t;
    bool leaves = bytes > 0 && bytes <= r->mpi->room;
    MpiMessage what = {.way = leaves ? MPI_send : MPI_meet,
                       .rank = rank,
                       .tag = channel_tag(channel),
                       .at = (char *)(uintptr_t)at,
                       .bytes = bytes};
    if (leaves) return send_parcel(r, what);
    return mpi_pass(t->story, r->mpi, &r->out, what);
}

static TitanStatus remote_receive(Transport *t, uint32_t rank, uint32_t channel,
                                  void *at, size_t bytes)
{
    Remote *r = (Remote *)t;
    MpiMessage what = {.way = MPI_receive,
                       .rank = rank,
                       .tag = channel_tag(channel),
                       .at = at,
                       .bytes = bytes};
    return mpi_pass(t->story, r->mpi, &r->in, what);
}

/* Who is lost, the launcher finds. */
static TitanStatus remote_look(Transport *t)
{
    (void)t;
    return TITAN_OK;
}

/* What is still on its way, of a run that was broken off, keeps its memory. */
static void free_parcel(Remote *r, Parcel *p)
{
    bool gone = true;
    for (size_t i = 0; i < p->mail.n; i++)
        gone &= has_gone(r->mpi, &p->mail.at[i]);
    if (!gone) return;
    mail_free(&p->mail);
    free(p->at);
}

static void remote_free(Transport *t)
{
    Remote *r = (Remote *)t;
    for (int i = 0; i < PARCELS; i++)
        free_parcel(r, &r->parcels[i]);
    mail_free(&r->in);
    mail_free(&r->out);
    free(r->block);
    free(r);
}

static const TransportClass remote_class = {.begin = remote_begin,
                                            .end = remote_end,
                                            .send = remote_send,
                                            .receive = remote_receive,
                                            .look = remote_look,
                                            .free = remote_free};

TitanStatus mpi_transport(TitanStory *s, const TitanImage *im, Mpi *m,
                          Transport **out)
{
    Remote *r = calloc(1, sizeof *r);
    if (!r) return titan_no_memory(s);
    r->transport = (Transport){.class = &remote_class,
                               .story = s,
                               .im = im,
                               .rank = m->rank,
                               .most = COLLECTIVE_BLOCK};
    r->mpi = m;
    r->block = malloc(ranks_most_members(im) * (size_t)COLLECTIVE_BLOCK);
    if (!r->block) {
        free(r);
        return titan_no_memory(s);
    }
    *out = &r->transport;
    return TITAN_OK;
}
