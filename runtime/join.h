/*
 * join.h: how processes that know their numbers and one address find each
 * other.
 */
#ifndef TITAN_JOIN_H
#define TITAN_JOIN_H

#include "dial.h"
#include "titan.h"

enum { RUN_NAME = 64, JOIN_TOKEN = 16 };

/* What the launcher's variables say. */
typedef struct World {
    uint32_t rank, ranks;
    uint32_t local, beside; /* its number on this machine, and of how many */
    char host[256], port[16];
    char run[RUN_NAME]; /* whatever tells it from others; or empty */
    char wrong[160];    /* what keeps it from being a world; or empty */
} World;

/* False: no launcher, or it has started one process. */
bool world_read(World *out);
/* When it is true: the variables of which rank this is, and of how many. */
void world_told(const char **rank, const char **ranks);
/* The variable of two that a launcher sets and that is there alone, OTHER: the
 * one that is not; NULL: both are, or neither. */
const char *world_half(const char **other);

typedef struct Joined {
    uint32_t rank, ranks;
    int listener;              /* -1: nobody connects here */
    int *fds;                  /* to each rank; -1: none, or taken over */
    Place *places;             /* of each rank */
    uint8_t token[JOIN_TOKEN]; /* what only ranks of this run know */
} Joined;

/* Every other rank connects to rank 0; PATIENCE: seconds until all are there.
 * What keeps one of them from it ends all with its status; rank 0 prints the
 * story. */
TitanStatus world_join(TitanStory *s, const World *w, double patience,
                       Joined *out);
/* In its place: this one ends with STATUS before it has joined, for a reason
 * that S tells.  Rank 0 is told; of rank 0 whoever comes, for a while. */
void world_decline(const TitanStory *s, const World *w, TitanStatus status);
void joined_hang_up(Joined *j);
void joined_free(Joined *j); /* hung up */

/* What a connection is for: the link, or a line beside it. */
typedef enum JoinUse { JOIN_link, JOIN_line, JOIN_come, JOIN_decline } JoinUse;

typedef struct Caller {
    uint32_t rank, use;
} Caller;

/* Connected to a rank that listens; -1: it does not. */
int joined_connect(const Joined *j, uint32_t rank, JoinUse use);
/* Who waits at the listener: connected, and a later rank than this; -1: it is
 * none of this run. */
int joined_accept(const Joined *j, Caller *who);

#endif
