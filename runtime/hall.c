/*
 * hall.c: the transport between ranks of one machine.
 *
 * The ranks see each other's memory: threads because they are in one process,
 * processes because their arenas are one piece of shared memory that lies at
 * the same address in all of them.  So nothing is sent: a member says where its
 * pieces are, and counts; the others wait for the count and read.
 *
 *     post of a rank in a group     ready   exchanges that it has offered
 *                                   taken   exchanges that it has read
 *
 * A message of one rank to another that is small enough (hall_leave) is left in
 * memory between the two, and its sender goes on; with LEFT of them there, or a
 * larger one, the sender waits until its receiver has read.  A program that
 * comes to its end without that memory comes to the same end with it.
 */
#include "transport.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { LEFT = 4 }; /* messages, between two ranks on one channel */

typedef struct Post {
    _Alignas(64) _Atomic uint32_t ready, taken;
    const char *out;
    size_t stride; /* 0: one piece for all */
} Post;

/* Messages from one rank to another on a channel. */
typedef struct Pair {
    _Alignas(64) _Atomic uint32_t ready, taken;
    const char *out[LEFT]; /* of message n: n mod LEFT */
} Pair;

struct Hall {
    const TitanImage *im;
    Board *board;
    Post *posts; /* [group][rank] */
    size_t bytes;
    uint32_t *channels; /* those of the image, as they come */
    uint32_t nchannels;
    Pair *pairs; /* [channel][from][to] */
    char *left;  /* [pair][LEFT] times `room` bytes */
    size_t room;
};

typedef struct Local {
    Transport transport; /* first */
    Hall *hall;
    BoardWait wait;
    uint32_t *rounds; /* exchanges of each group so far */
} Local;

static Post *post_of(const Hall *h, uint32_t group, uint32_t rank)
{
    return &h->posts[(size_t)group * h->board->ranks + rank];
}

/* How many there are, if it is none of them. */
static uint32_t row_of_channel(const Hall *h, uint32_t channel)
{
    uint32_t c = 0;
    while (c < h->nchannels && h->channels[c] != channel)
        c++;
    return c;
}

static Pair *pair_of(const Hall *h, uint32_t channel, uint32_t from,
                     uint32_t to)
{
    size_t n = h->board->ranks, c = row_of_channel(h, channel);
    return &h->pairs[(c * n + from) * n + to];
}

static size_t pairs_of(const Hall *h)
{
    return (size_t)h->nchannels * h->board->ranks * h->board->ranks;
}

static TitanStatus ended(const Transport *t)
{
    return titan_fail(t->story, TITAN_RANK_LOST, "another rank ended the run");
}

/* ------------------------------------------------------------- exchanges -- */

static bool wait_peer(const Local *l, _Atomic uint32_t *word, uint32_t least,
                      uint32_t peer)
{
    return board_until(&l->wait, word, least, peer);
}

static TitanStatus local_begin(Transport *t, const Exchange *x, char **in)
{
    Local *l = (Local *)t;
    Post *mine = post_of(l->hall, x->group, t->rank);
    uint32_t me = rank_member(t->im, x->group, t->rank);
    uint32_t n = ranks_in_group(t->im, x->group);
    uint32_t round = ++l->rounds[x->group];
    mine->out = x->out;
    mine->stride = x->spread ? x->stride : 0;
    board_count(&mine->ready);
    for (uint32_t i = 0; i < n; i++) {
        if (!exchange_has(x->from, i)) continue;
        uint32_t peer = rank_of_member(t->im, x->group, t->rank, i);
        Post *p = post_of(l->hall, x->group, peer);
        if (!wait_peer(l, &p->ready, round, peer)) return ended(t);
        /* it is read only */
        in[i] = (char *)(uintptr_t)(p->out + me * p->stride);
    }
    return TITAN_OK;
}

static TitanStatus local_end(Transport *t, const Exchange *x)
{
    Local *l = (Local *)t;
    uint32_t n = ranks_in_group(t->im, x->group);
    board_count(&post_of(l->hall, x->group, t->rank)->taken);
    for (uint32_t i = 0; i < n; i++) {
        if (!exchange_has(x->to, i)) continue;
        uint32_t peer = rank_of_member(t->im, x->group, t->rank, i);
        Post *p = post_of(l->hall, x->group, peer);
        if (!wait_peer(l, &p->taken, l->rounds[x->group], peer))
            return ended(t);
    }
    return TITAN_OK;
}

/* Where message ROUND of a pair is read. */
static const char *offer(const Hall *h, Pair *p, uint32_t round, const char *at,
                         size_t bytes)
{
    if (bytes > h->room || bytes == 0) return at;
    size_t row = (size_t)(p - h->pairs) * LEFT + round % LEFT;
    return memcpy(h->left + row * h->room, at, bytes);
}

static TitanStatus local_send(Transport *t, uint32_t rank, uint32_t channel,
                              const void *at, size_t bytes)
{
    Local *l = (Local *)t;
    Hall *h = l->hall;
    Pair *p = pair_of(h, channel, t->rank, rank);
    uint32_t round = atomic_load(&p->ready) + 1;
    if (!wait_peer(l, &p->taken, round - LEFT, rank)) return ended(t);
    p->out[round % LEFT] = offer(h, p, round, at, bytes);
    board_count(&p->ready);
    if (bytes <= h->room) return TITAN_OK;
    return wait_peer(l, &p->taken, round, rank) ? TITAN_OK : ended(t);
}

static TitanStatus local_receive(Transport *t, uint32_t rank, uint32_t channel,
                                 void *at, size_t bytes)
{
    Local *l = (Local *)t;
    Pair *p = pair_of(l->hall, channel, rank, t->rank);
    uint32_t round = atomic_load(&p->taken) + 1;
    if (!wait_peer(l, &p->ready, round, rank)) return ended(t);
    memcpy(at, p->out[round % LEFT], bytes);
    board_count(&p->taken);
    return TITAN_OK;
}

static TitanStatus local_look(Transport *t)
{
    const BoardWait *w = &((Local *)t)->wait;
    if (w->look) w->look(w->user);
    return atomic_load(&w->board->ended) ? ended(t) : TITAN_OK;
}

static void local_free(Transport *t)
{
    free(((Local *)t)->rounds);
    free(t);
}

static const TransportClass local_class = {.begin = local_begin,
                                           .end = local_end,
                                           .send = local_send,
                                           .receive = local_receive,
                                           .look = local_look,
                                           .free = local_free};

/* ------------------------------------------------------------------ hall -- */

static void find_channels(Hall *h)
{
    for (uint32_t i = 0; i < h->im->ncollectives; i++) {
        const TitanCollective *x = &h->im->collectives[i];
        if (!collective_is_message(x->kind)) continue;
        if (row_of_channel(h, x->channel) == h->nchannels)
            h->channels[h->nchannels++] = x->channel;
    }
}

TitanStatus hall_new(TitanStory *s, const TitanImage *im, Board *b, Hall **out)
{
    Hall *h = calloc(1, sizeof *h);
    if (!h) return titan_no_memory(s);
    h->im = im;
    h->board = b;
    h->channels = calloc((size_t)im->ncollectives + 1, sizeof *h->channels);
    if (h->channels) find_channels(h);
    h->bytes = ((size_t)im->ngroups * b->ranks + 1) * sizeof(Post);
    h->posts = board_memory(h->bytes);
    h->pairs = board_memory((pairs_of(h) + 1) * sizeof(Pair));
    if (!h->posts || !h->pairs || !h->channels) {
        hall_free(h);
        return titan_no_memory(s);
    }
    *out = h;
    return TITAN_OK;
}

/* Bytes of the largest message that has at most MOST. */
static size_t largest_message(const Hall *h, size_t most)
{
    size_t largest = 0;
    for (uint32_t i = 0; i < h->im->ncollectives; i++) {
        const TitanCollective *x = &h->im->collectives[i];
        size_t bytes = collective_piece_bytes(x);
        if (collective_is_message(x->kind) && bytes <= most && bytes > largest)
            largest = bytes;
    }
    return largest;
}

static size_t left_bytes(const Hall *h)
{
    return pairs_of(h) * LEFT * h->room;
}

TitanStatus hall_leave(TitanStory *s, Hall *h, size_t room)
{
    h->room = largest_message(h, room);
    if (left_bytes(h) == 0) return TITAN_OK;
    h->left = board_memory(left_bytes(h));
    if (h->left) return TITAN_OK;
    return titan_fail(
        s, TITAN_UNAVAILABLE,
        "could not allocate %zu bytes for messages between %" PRIu32
        " ranks; --send-buffer takes less",
        left_bytes(h), h->board->ranks);
}

void hall_free(Hall *h)
{
    if (!h) return;
    if (h->posts) munmap(h->posts, h->bytes);
    if (h->pairs) munmap(h->pairs, (pairs_of(h) + 1) * sizeof(Pair));
    if (h->left) munmap(h->left, left_bytes(h));
    free(h->channels);
    free(h);
}

TitanStatus hall_transport(TitanStory *s, Hall *h, const BoardWait *w,
                           Transport **out)
{
    Local *l = calloc(1, sizeof *l);
    if (!l) return titan_no_memory(s);
    l->transport = (Transport){.class = &local_class,
                               .story = s,
                               .im = h->im,
                               .rank = w->rank,
                               .most = SIZE_MAX};
    l->hall = h;
    l->wait = *w;
    l->rounds = calloc((size_t)h->im->ngroups + 1, sizeof *l->rounds);
    if (!l->rounds) {
        local_free(&l->transport);
        return titan_no_memory(s);
    }
    *out = &l->transport;
    return TITAN_OK;
}
