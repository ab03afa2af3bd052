/* links: titan_runtime */
/*
 * join.c: three processes find each other at a port; then the second is called
 * by strangers, whom it turns away, and by the third.  One that has no socket
 * left to be called at says so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "runtime/words.h"
#include "tests/unit/port.h"

enum { RANKS = 3 };

static World world_of(uint32_t rank, uint16_t port)
{
    World w = {.rank = rank, .ranks = RANKS, .local = rank, .beside = RANKS};
    snprintf(w.host, sizeof w.host, "127.0.0.1");
    snprintf(w.port, sizeof w.port, "%d", port);
    return w;
}

/* At the door of rank 1; -1: nobody listens. */
static int knock(const Joined *j)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = j->places[1].port,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0) return fd;
    close(fd);
    return -1;
}

/* A process that says a byte now and then, until nobody listens; its status
 * is 0 if all were taken. */
static pid_t says_slowly(const Joined *j, const char *says, size_t bytes)
{
    const struct timespec nap = {0, 300000000};
    pid_t pid = fork();
    if (pid != 0) return pid;
    int fd = knock(j);
    size_t done = 0;
    while (done < bytes && send(fd, says + done, 1, MSG_NOSIGNAL) == 1) {
        nanosleep(&nap, NULL);
        done++;
    }
    _exit(done < bytes);
}

/* It holds nobody up. */
static bool slow_is_turned_away(const Joined *j, const char *says, size_t bytes)
{
    Caller who;
    int status = 0;
    pid_t pid = says_slowly(j, says, bytes);
    bool away = joined_accept(j, &who) < 0;
    return pid > 0 && waitpid(pid, &status, 0) == pid && away && status != 0;
}

/* Somebody says so many bytes there, and is not let in. */
static bool is_turned_away(const Joined *j, const void *says, size_t bytes)
{
    Caller who;
    int fd = knock(j);
    bool there = fd >= 0 && write(fd, says, bytes) == (ssize_t)bytes;
    shutdown(fd, SHUT_WR);
    int got = joined_accept(j, &who);
    close(fd);
    return there && got < 0;
}

/* With the words of a rank and another number; as ranks that cannot call. */
static bool turns_strangers_away(const Joined *j)
{
    static const uint32_t wrong[] = {0, 1, RANKS};
    Words call = words_of(2, RANKS, JOIN_line);
    Words other = call, many = call;
    if (!is_turned_away(j, "two", 3)) return false;
    if (!is_turned_away(j, &call, sizeof call)) return false;
    memcpy(call.key, j->token, JOIN_TOKEN);
    if (!is_turned_away(j, &call, sizeof call - 1)) return false;
    memcpy(other.key, j->token, JOIN_TOKEN);
    other.who.use = JOIN_come;
    if (!is_turned_away(j, &other, sizeof other)) return false;
    memcpy(many.key, j->token, JOIN_TOKEN);
    many.ranks++;
    if (!is_turned_away(j, &many, sizeof many)) return false;
    for (int i = 0; i < 3; i++) {
        call.who.rank = wrong[i];
        if (!is_turned_away(j, &call, sizeof call)) return false;
    }
    call.who.rank = 2;
    return slow_is_turned_away(j, (const char *)&call, sizeof call);
}

/* The second is called when it has turned the strangers away. */
static bool meet(const Joined *j, uint32_t rank, const int gate[2])
{
    char open = 0;
    Caller who;
    if (rank == 1)
        return turns_strangers_away(j) && write(gate[1], &open, 1) == 1 &&
               joined_accept(j, &who) >= 0 && who.rank == 2 &&
               who.use == JOIN_line;
    return rank == 0 || (read(gate[0], &open, 1) == 1 &&
                         joined_connect(j, 1, JOIN_line) >= 0);
}

static bool takes_part(uint32_t rank, uint16_t port, const int gate[2])
{
    Joined j;
    TitanStory s = {0};
    World w = world_of(rank, port);
    bool well = world_join(&s, &w, 100, &j) == TITAN_OK && meet(&j, rank, gate);
    joined_free(&j);
    return well;
}

static void knows_its_ranks(void **state)
{
    (void)state;
    int gate[2], status;
    uint16_t port = free_port();
    pid_t pids[RANKS];
    assert_int_equal(pipe(gate), 0);
    for (uint32_t r = 0; r < RANKS; r++) {
        pids[r] = fork();
        if (pids[r] == 0) {
            alarm(300);
            _exit(!takes_part(r, port, gate));
        }
    }
    for (uint32_t r = 0; r < RANKS; r++) {
        assert_int_equal(waitpid(pids[r], &status, 0), pids[r]);
        assert_int_equal(status, 0);
    }
}

/* The status of a rank that has one descriptor left: to reach rank 0. */
static int joins_with_one(uint32_t rank, uint16_t port, TitanStory *s)
{
    Joined j;
    World w = world_of(rank, port);
    int next = dup(0);
    struct rlimit few = {(rlim_t)next + 1, (rlim_t)next + 1};
    close(next);
    setrlimit(RLIMIT_NOFILE, &few);
    TitanStatus st = world_join(s, &w, 100, &j);
    joined_free(&j);
    return st;
}

static void says_that_it_cannot_listen(void **state)
{
    (void)state;
    int status;
    Place here = {.family = AF_INET, .address = {127, 0, 0, 1}};
    int first = dial_listen(&here, RANKS);
    assert_true(first >= 0);
    uint16_t port = ntohs(place_here(first).port);
    pid_t pid = fork();
    if (pid == 0) {
        TitanStory s = {0};
        alarm(300);
        bool right = joins_with_one(1, port, &s) == TITAN_UNAVAILABLE &&
                     strcmp(s.line[0], "rank 1 cannot listen for other ranks: "
                                       "Too many open files") == 0;
        _exit(!right);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    close(first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_its_ranks),
        cmocka_unit_test(says_that_it_cannot_listen)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
