/* sources: runtime/dial.c runtime/gather.c runtime/join.c runtime/status.c runtime/words.c runtime/world.c */
/* goal: 2000000 */
/*
 * What another process sends over a connection between ranks: frames of any
 * kind, tag and length, some of which were asked for.  What was asked for comes
 * whole or the peer is lost, and nothing is left behind.
 */
#include "runtime/tcp.c"

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size);

enum { WANTS = 3, ROOM = 32, MOST = 16 << 10 };

/* Of ranks 0 and 1 the first; -1: no sockets. */
static int open_pair(Tcp *t)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return -1;
    *t = (Tcp){.link = {.class = &tcp_class, .ranks = 2, .most = FRAME_MOST}};
    t->joined.listener = -1;
    t->peers = calloc(2, sizeof *t->peers);
    t->polls = calloc(3, sizeof *t->polls);
    t->who = calloc(3, sizeof *t->who);
    t->peers[0].fd = t->peers[0].line = t->peers[1].line = -1;
    adopt(t, 1, pair[0]);
    return pair[1];
}

/* False: the peer is lost already. */
static bool want(Tcp *t, int tag, char *to, size_t bytes, LinkRequest *out)
{
    TitanStory story = {0};
    Letter x = {LINK_receive, 1, tag, to, bytes};
    return tcp_begin(&t->link, &story, &x, out) == TITAN_OK;
}

/* The first bytes say how long each of the wanted ones is; the last is asked
 * for when half of the others has come. */
int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size)
{
    char room[WANTS][ROOM];
    LinkRequest wants[WANTS];
    TitanStory story = {0};
    Tcp *t = malloc(sizeof *t);
    int far = size < WANTS || size > MOST || !t ? -1 : open_pair(t);
    if (far < 0) {
        free(t);
        return 0;
    }
    size_t rest = size - WANTS, first = rest / 2;
    for (int i = 0; i < WANTS - 1; i++)
        if (!want(t, i, room[i], at[i] % ROOM, &wants[i])) abort();
    send(far, at + WANTS, first, MSG_NOSIGNAL);
    turn(t, 0);
    int n = WANTS - 1;
    n += want(t, n, room[n], at[n] % ROOM, &wants[n]);
    send(far, at + WANTS + first, rest - first, MSG_NOSIGNAL);
    close(far);
    for (int i = 0; i < 8; i++)
        turn(t, 0);
    for (int i = 0; i < n; i++) {
        bool gone;
        TitanStatus st = tcp_test(&t->link, &story, &wants[i], false, &gone);
        if (st == TITAN_OK && !gone) abort(); /* the peer has gone */
    }
    tcp_close(&t->link);
    return 0;
}
