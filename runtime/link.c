/*
 * link.c: what all links share: which there is, mail, and the transport.
 *
 * Messages of an exchange are all under way at once; those from one rank to
 * another that are small enough leave as parcels, and their sender goes on.
 * Who waits looks again and again; meanwhile the board says for whom it waits.
 */
#include "link.h"

#include <stdlib.h>
#include <string.h>

enum { SPINS = 200, PARCELS = 16, PATIENCE = 120 };

bool link_is_there(void)
{
    return mpi_is_there() || tcp_is_there();
}

void link_told(const char **rank, const char **ranks)
{
    if (mpi_is_there())
        mpi_told(rank, ranks);
    else
        tcp_told(rank, ranks);
}

TitanStatus link_open(TitanStory *s, double patience, Link **out)
{
    *out = NULL;
    if (patience <= 0) patience = PATIENCE;
    return mpi_is_there() ? mpi_open(s, patience, out)
                          : tcp_open(s, patience, out);
}

void link_close(Link *l)
{
    if (l) l->class->close(l);
}

/* mpirun ends the others by the exit code of one. */
void link_decline(const TitanStory *s, TitanStatus status)
{
    if (!mpi_is_there()) tcp_decline(s, status);
}

/* ------------------------------------------------------------------ mail -- */

static bool make_room(Mail *mail)
{
    if (mail->n < mail->room) return true;
    size_t room = mail->room ? 2 * mail->room : 16;
    LinkRequest *at = realloc(mail->at, room * sizeof *at);
    if (at) mail->at = at;
    uint32_t *peers = at ? realloc(mail->peers, room * sizeof *peers) : NULL;
    if (!peers) return false;
    mail->peers = peers;
    mail->room = room;
    return true;
}

TitanStatus link_post(TitanStory *s, Link *l, Mail *mail, Letter x)
{
    while (x.bytes > 0) {
        Letter some = x;
        if (some.bytes > l->most) some.bytes = l->most;
        if (!make_room(mail)) return titan_no_memory(s);
        TRY(l->class->begin(l, s, &some, &mail->at[mail->n]));
        mail->peers[mail->n++] = x.rank;
        x.at += some.bytes;
        x.bytes -= some.bytes;
    }
    return TITAN_OK;
}

static void say_waits(Link *l, uint32_t word)
{
    if (l->board) atomic_store(&l->board->rows[l->rank].waits, word);
}

static TitanStatus wait_one(TitanStory *s, Link *l, LinkRequest *r)
{
    bool gone = false;
    for (int looks = 0; !gone; looks += looks < SPINS)
        TRY(l->class->test(l, s, r, looks >= SPINS, &gone));
    return TITAN_OK;
}

TitanStatus link_wait(TitanStory *s, Link *l, Mail *mail)
{
    TitanStatus st = TITAN_OK;
    for (size_t i = 0; i < mail->n && st == TITAN_OK; i++) {
        say_waits(l, mail->peers[i] + 1);
        st = wait_one(s, l, &mail->at[i]);
    }
    say_waits(l, 0);
    mail->n = 0;
    return st;
}

TitanStatus link_pass(TitanStory *s, Link *l, Mail *mail, Letter what)
{
    TRY(link_post(s, l, mail, what));
    return link_wait(s, l, mail);
}

void mail_free(Mail *mail)
{
    free(mail->at);
    free(mail->peers);
    *mail = (Mail){0};
}

/* ------------------------------------------------------------- transport -- */

/* A copy that is on its way. */
typedef struct Parcel {
    Mail mail;
    char *at;
} Parcel;

typedef struct Remote {
    Transport transport; /* first */
    Link *link;
    Mail in, out;
    char *block; /* COLLECTIVE_BLOCK for each member of the largest group */
    Parcel parcels[PARCELS];
    uint32_t sent; /* parcels so far */
} Remote;

static int group_tag(uint32_t group)
{
    return LINK_tag_group + (int)(group % (LINK_tag_channel - LINK_tag_group));
}

/* Ranks come to the messages of a pair in one order, so groups may share a tag;
 * channels differ in theirs. */
static int channel_tag(uint32_t channel)
{
    return LINK_tag_channel + (int)(channel % LINK_tag_channel);
}

static TitanStatus receive_from(Remote *r, const Exchange *x, uint32_t member,
                                char **place)
{
    Transport *t = &r->transport;
    uint32_t me = rank_member(t->im, x->group, t->rank);
    if (!*place) *place = r->block + member * (size_t)COLLECTIVE_BLOCK;
    Letter what = {.way = LINK_receive,
                   .rank = rank_of_member(t->im, x->group, t->rank, member),
                   .tag = group_tag(x->group),
                   .at = *place,
                   .bytes = exchange_gets(x, me, member)};
    return link_post(t->story, r->link, &r->in, what);
}

static TitanStatus send_to(Remote *r, const Exchange *x, uint32_t member)
{
    Transport *t = &r->transport;
    uint32_t me = rank_member(t->im, x->group, t->rank);
    Letter what = {.way = LINK_send,
                   .rank = rank_of_member(t->im, x->group, t->rank, member),
                   .tag = group_tag(x->group),
                   /* it is read only */
                   .at = (char *)(uintptr_t)exchange_out(x, member),
                   .bytes = exchange_sends(x, me, member)};
    return link_post(t->story, r->link, &r->out, what);
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
    return link_wait(t->story, r->link, &r->in);
}

static TitanStatus remote_end(Transport *t, const Exchange *x)
{
    Remote *r = (Remote *)t;
    (void)x;
    return link_wait(t->story, r->link, &r->out);
}

/* When the parcel that it takes the place of has come. */
static TitanStatus send_parcel(Remote *r, Letter what)
{
    Parcel *p = &r->parcels[r->sent++ % PARCELS];
    TRY(link_wait(r->transport.story, r->link, &p->mail));
    if (!p->at) p->at = malloc(r->link->room);
    if (!p->at) return titan_no_memory(r->transport.story);
    what.at = memcpy(p->at, what.at, what.bytes);
    return link_post(r->transport.story, r->link, &p->mail, what);
}

static TitanStatus remote_send(Transport *t, uint32_t rank, uint32_t channel,
                               const void *at, size_t bytes)
{
    Remote *r = (Remote *)t;
    bool leaves = bytes > 0 && bytes <= r->link->room;
    Letter what = {.way = leaves ? LINK_send : LINK_meet,
                   .rank = rank,
                   .tag = channel_tag(channel),
                   .at = (char *)(uintptr_t)at,
                   .bytes = bytes};
    if (leaves) return send_parcel(r, what);
    return link_pass(t->story, r->link, &r->out, what);
}

static TitanStatus remote_receive(Transport *t, uint32_t rank, uint32_t channel,
                                  void *at, size_t bytes)
{
    Remote *r = (Remote *)t;
    Letter what = {.way = LINK_receive,
                   .rank = rank,
                   .tag = channel_tag(channel),
                   .at = at,
                   .bytes = bytes};
    return link_pass(t->story, r->link, &r->in, what);
}

static TitanStatus remote_look(Transport *t)
{
    Link *l = ((Remote *)t)->link;
    return l->class->look(l, t->story);
}

/* What is still on its way, of a run that was broken off, keeps its memory. */
static void free_parcel(Remote *r, Parcel *p)
{
    Link *l = r->link;
    TitanStory nobody = {0};
    bool all = true;
    for (size_t i = 0; i < p->mail.n && all; i++)
        if (l->class->test(l, &nobody, &p->mail.at[i], false, &all))
            all = false;
    if (!all) return;
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

TitanStatus link_transport(TitanStory *s, const TitanImage *im, Link *l,
                           Transport **out)
{
    Remote *r = calloc(1, sizeof *r);
    if (!r) return titan_no_memory(s);
    r->transport = (Transport){.class = &remote_class,
                               .story = s,
                               .im = im,
                               .rank = l->rank,
                               .most = COLLECTIVE_BLOCK};
    r->link = l;
    r->block = malloc(ranks_most_members(im) * (size_t)COLLECTIVE_BLOCK);
    if (!r->block) {
        free(r);
        return titan_no_memory(s);
    }
    *out = &r->transport;
    return TITAN_OK;
}
