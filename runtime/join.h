/*
 * join.h: how processes that know their numbers and one address find each
 * other.
 */
#ifndef TITAN_JOIN_H
#define TITAN_JOIN_H

#include <netinet/in.h>

#include "titan.h"

/* Where a rank listens; of family 0: not known. */
typedef struct Place {
    uint32_t family;
    uint16_t port; /* as the network has it */
    uint8_t address[16];
} Place;

/* What the launcher's variables say. */
typedef struct World {
    uint32_t rank, ranks;
    uint32_t local, beside; /* its number on this machine, and of how many */
    char host[256], port[16];
} World;

/* False: no launcher, or it has started one process. */
bool world_read(World *out);

enum { JOIN_TOKEN = 16 };

typedef struct Joined {
    uint32_t rank, ranks;
    int listener;              /* -1: nobody connects here */
    int *fds;                  /* to each rank; -1: none yet */
    Place *places;             /* of each rank */
    uint8_t token[JOIN_TOKEN]; /* what only ranks of this run know */
} Joined;

/* Every other rank connects to rank 0.  MISMATCH on all of them, with a story
 * on rank 0, where they do not agree how many there are. */
TitanStatus world_join(TitanStory *s, const World *w, double patience,
                       Joined *out);
void joined_free(Joined *j);

/* What a connection is for: the link, or a line beside it. */
typedef enum JoinUse { JOIN_link, JOIN_line } JoinUse;

typedef struct Caller {
    uint32_t rank, use;
} Caller;

/* Connected to a rank that listens; -1: it does not. */
int joined_connect(const Joined *j, uint32_t rank, JoinUse use);
/* Who waits at the listener: connected, and a later rank than this; -1: it is
 * none of this run. */
int joined_accept(const Joined *j, Caller *who);

#endif
