/* links: titan_runtime */
/*
 * line.c: two ranks, which have a link between them, make a connection beside
 * it; where one of them goes meanwhile, or the two cannot meet, there is none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/dial.h"
#include "runtime/link.h"

/* A link of two ranks that waits for each letter. */
typedef struct Wire {
    Link link; /* first */
    int fd;
    int letters; /* that pass; then it breaks */
} Wire;

static TitanStatus wire_begin(Link *l, TitanStory *s, const Letter *x,
                              LinkRequest *out)
{
    Wire *w = (Wire *)l;
    const Until ever = {0};
    *out = NULL;
    bool passed =
        w->letters-- > 0 &&
        (x->way == LINK_receive ? fd_get(w->fd, x->at, x->bytes, ever)
                                : fd_put(w->fd, x->at, x->bytes, ever));
    if (passed) return TITAN_OK;
    shutdown(w->fd, SHUT_RDWR);
    return titan_fail(s, TITAN_RANK_LOST, "it has gone");
}

static TitanStatus wire_test(Link *l, TitanStory *s, LinkRequest *r,
                             bool patient, bool *gone)
{
    (void)l, (void)s, (void)r, (void)patient;
    *gone = true;
    return TITAN_OK;
}

static const LinkClass wire_class = {
    .begin = wire_begin, .test = wire_test, .line = link_line};

static int line_of(uint32_t rank, int fd, int letters)
{
    Wire w = {.link = {.class = &wire_class,
                       .rank = rank,
                       .ranks = 2,
                       .most = 1 << 20},
              .fd = fd,
              .letters = letters};
    return link_line(&w.link, 1 - rank);
}

/* What the other says over the line; 0: nothing. */
static char meet(int letters)
{
    int pair[2], status;
    char said = 0;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    pid_t other = fork();
    if (other == 0) {
        alarm(60);
        close(pair[0]);
        int fd = line_of(1, pair[1], letters);
        _exit(fd >= 0 && write(fd, "x", 1) == 1);
    }
    close(pair[1]);
    int fd = line_of(0, pair[0], letters);
    if (fd >= 0 && read(fd, &said, 1) != 1) said = 0;
    if (fd >= 0) close(fd);
    close(pair[0]);
    assert_int_equal(waitpid(other, &status, 0), other);
    return said;
}

static void two_meet(void **state)
{
    (void)state;
    assert_int_equal(meet(3), 'x');
}

static void one_goes(void **state)
{
    (void)state;
    for (int letters = 0; letters < 3; letters++)
        assert_int_equal(meet(letters), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(two_meet),
                                       cmocka_unit_test(one_goes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
