/*
 * port.h: a port for processes of a test that find each other there.
 */
#ifndef TITAN_TESTS_PORT_H
#define TITAN_TESTS_PORT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

static inline bool is_free(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_ANY)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool got = bind(fd, (struct sockaddr *)&a, sizeof a) == 0;
    close(fd);
    return got;
}

/* One that nobody has, below those that the system gives out by itself. */
static inline uint16_t free_port(void)
{
    int port = 20000 + getpid() % 12000;
    while (!is_free(port))
        port++;
    return (uint16_t)port;
}

#endif
