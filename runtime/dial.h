/*
 * dial.h: connections between the processes of a run: listened for, made, and
 * written and read for no longer than somebody waits.
 */
#ifndef TITAN_DIAL_H
#define TITAN_DIAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where somebody listens; of family 0: not known, or at all addresses. */
typedef struct Place {
    uint32_t family;
    uint16_t port; /* as the network has it */
    uint8_t address[16];
} Place;

struct sockaddr;
/* Of either kind of address. */
Place place_of(const struct sockaddr *at);
/* The ends of a connection, or where one listens. */
Place place_here(int fd);
Place place_there(int fd);
bool place_is_loopback(const Place *p);
/* Of a host by its number; of a name, family 0. */
Place place_of_number(const char *host);

/* -1: errno says why. */
int dial(const Place *to);
/* NULL: *FD is connected; else why not, in words. */
const char *dial_host(const char *host, const char *port, int *fd);
/* At any port where that is 0; where an address is none of this machine, at all
 * that it has.  -1: errno says why. */
int dial_listen(const Place *at, uint32_t most);
/* Who waits there; -1: nobody does. */
int dial_accept(int listener);

/* How long somebody waits. */
typedef struct Until {
    double end;               /* as seconds_now says; 0: for ever */
    const atomic_bool *ended; /* or until this is; NULL: nobody says so */
} Until;

Until in_seconds(double seconds);

/* False: the other end has gone, or it is over. */
bool fd_put(int fd, const void *at, size_t bytes, Until u);
bool fd_get(int fd, void *at, size_t bytes, Until u);

#endif
