/*
 * link.h: processes that a launcher has started, as ranks.
 *
 * A link moves bytes between two of them and makes no sum.  There are two:
 * Open MPI's, where mpirun has started them (mpi.c), and connections of our own
 * where variables say who is where (tcp.c).  One thread of a process uses it.
 */
#ifndef TITAN_LINK_H
#define TITAN_LINK_H

#include "board.h"
#include "transport.h"

typedef struct Link Link;
typedef struct LinkRequestRow *LinkRequest;

/* Messages between two ranks with one tag are in order. */
enum {
    LINK_tag_order = 1,
    LINK_tag_line = 2,
    LINK_tag_group = 16,
    LINK_tag_channel = 16384
};

typedef enum LinkWay { LINK_send, LINK_meet, LINK_receive } LinkWay;

/* Meet: over when the receiver is there, and not before. */
typedef struct Letter {
    LinkWay way;
    uint32_t rank;
    int tag;
    char *at; /* it stays until it is waited for */
    size_t bytes;
} Letter;

typedef struct LinkClass {
    const char *about; /* "under mpirun" */
    const char *who;   /* "mpirun has started" */
    TitanStatus (*begin)(Link *l, TitanStory *s, const Letter *x,
                         LinkRequest *out);
    /* Whether it has gone or come, which makes all get on; PATIENT: a moment
     * may pass until it says so. */
    TitanStatus (*test)(Link *l, TitanStory *s, LinkRequest *r, bool patient,
                        bool *gone);
    /* RANK_LOST where one is not there any more. */
    TitanStatus (*look)(Link *l, TitanStory *s);
    /* From any thread while the link is open: whether a rank has gone that this
     * one hears of first, rank 0 of all, the others of rank 0; NULL: the
     * launcher sees to that. */
    bool (*misses)(const Link *l, uint32_t *rank);
    /* A connection beside the link between rank 0 and another, which both come
     * to, for threads of theirs; -1: there is none. */
    int (*line)(Link *l, uint32_t rank);
    /* Ends all ranks at once: this one cannot go on. */
    void (*abort)(Link *l, TitanStatus status);
    /* All ranks come here. */
    void (*close)(Link *l);
} LinkClass;

struct Link {
    const LinkClass *class;
    uint32_t rank, ranks;
    uint32_t local, beside; /* its number on this machine, and of how many */
    Board *board;           /* of this process: for whom it waits; or NULL */
    size_t room;            /* a message of so many bytes goes from a copy */
    size_t most;            /* bytes of a message */
    bool ended;             /* another rank has said that it ends all */
    uint32_t lost;          /* 1 + a rank that is not there any more; or 0 */
};

/* Whether a launcher has started this process as one of several. */
bool link_is_there(void);
/* Then: the variables that say which rank it is, and of how many. */
void link_told(const char **rank, const char **ranks);
/* PATIENCE: seconds until all ranks are there; 0: as many as usual. */
TitanStatus link_open(TitanStory *s, double patience, Link **out);
void link_close(Link *l);
/* In place of link_open: a rank that cannot come to the others lets them know
 * why.  Without a launcher nothing happens. */
void link_decline(const TitanStory *s, TitanStatus status);

bool mpi_is_there(void);
void mpi_told(const char **rank, const char **ranks);
/* UNAVAILABLE: no library. */
TitanStatus mpi_open(TitanStory *s, double patience, Link **out);
bool tcp_is_there(void);
void tcp_told(const char **rank, const char **ranks);
TitanStatus tcp_open(TitanStory *s, double patience, Link **out);
void tcp_decline(const TitanStory *s, TitanStatus status);

/* The `line` of a link that cannot make one by itself. */
int link_line(Link *l, uint32_t rank);

/* What is under way. */
typedef struct Mail {
    LinkRequest *at;
    uint32_t *peers;
    size_t n, room;
} Mail;

TitanStatus link_post(TitanStory *s, Link *l, Mail *mail, Letter what);
/* Until all of it has gone and come. */
TitanStatus link_wait(TitanStory *s, Link *l, Mail *mail);
/* Posts and waits. */
TitanStatus link_pass(TitanStory *s, Link *l, Mail *mail, Letter what);
void mail_free(Mail *mail);

TitanStatus link_transport(TitanStory *s, const TitanImage *im, Link *l,
                           Transport **out);

#endif
